/* The archive of a state that goes on: whatever is archived can be restored, at any step of it, and
 * is then what it was; whoever archives, restarts, comes second or finds a gap leaves no hole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/archiver.h"
#include "storage/archive/copy.h"
#include "storage/archive/restore.h"
#include "tests/lib/deadline.h"
#include "tests/lib/state.h"

#define CLUSTER   "01234567-89ab-cdef-0123-456789abcdef"
#define TERM      3u
#define N_ENTRIES 200u
#define LIMIT_MS  30000u

/* What the state was after each entry. */
struct point {
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;
    uint64_t hash[2];
};

struct fixture {
    char directory[64];
    char journal_path[80];
    char work_path[80];
    char url[96];
    struct state_fixture *state;
    struct journal *journal;
    struct archiver *archiver;
    struct archiver_options options;
    struct repository *repository;
    bool is_chosen;
    unsigned n_points;
    struct point points[4 * N_ENTRIES];
    unsigned n_restores;
    struct error error;
};

/* What the linker calls it: __real_ is the repository's, __wrap_ is ours. */
enum status __real_repository_remove(struct repository *repository, const char *name,
                                     struct error *error);
enum status __wrap_repository_remove(struct repository *repository, const char *name,
                                     struct error *error);

static atomic_bool is_held; /* By a lock of objects, say. */

enum status __wrap_repository_remove(struct repository *repository, const char *name,
                                     struct error *error)
{
    return is_held ? error_set(error, STATUS_PERMISSION, "\"%s\" is held", name)
                   : __real_repository_remove(repository, name, error);
}

static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    (void)data;
    strcpy(cluster_id, CLUSTER);
    *node_id = 7;
    return true;
}

static bool is_chosen(void *data)
{
    const struct fixture *f = data;

    return f->is_chosen;
}

static void open_journal(struct fixture *f)
{
    const struct journal_options options = {.directory = f->journal_path, .file_bytes = 4096};

    assert_int_equal(journal_open(&options, &f->journal, &f->error), STATUS_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-archive-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->journal_path, sizeof f->journal_path, "%s/journal", f->directory);
    (void)snprintf(f->work_path, sizeof f->work_path, "%s", f->directory);
    (void)snprintf(f->url, sizeof f->url, "file://%s/archive", f->directory);
    f->state = state_new();
    f->is_chosen = true;
    open_journal(f);
    f->options = (struct archiver_options){
        .url = f->url,
        .store = f->state->store,
        .journal = f->journal,
        .node = "n1",
        .program = "test",
        .work_directory = f->work_path,
        .schedule = {.delta_ms = 1},
        .bytes_per_second = 1ull << 40,
        .data = f,
        .identify = identify,
        .is_chosen = is_chosen,
    };
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &f->repository, &f->error),
        STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    archiver_close(f->archiver);
    journal_close(f->journal);
    repository_close(f->repository);
    state_free(f->state);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* --- A state that goes on --- */

static void note(struct fixture *f, uint64_t first_index, struct slice entry)
{
    struct machine *machine = f->state->machine;
    struct point *point = &f->points[f->n_points++];
    struct step step = {.first_index = first_index,
                        .index = machine_applied_index(machine),
                        .term = TERM,
                        .revision = machine_revision(machine),
                        .time_ms = machine_time_ms(machine),
                        .entry = entry};

    assert_true(f->n_points < sizeof f->points / sizeof f->points[0]);
    state_hash(f->state, step.hash);
    *point = (struct point){.index = step.index,
                            .revision = step.revision,
                            .time_ms = step.time_ms,
                            .hash = {step.hash[0], step.hash[1]}};
    journal_append(f->journal, &step);
}

static void write_item(struct fixture *f, unsigned i)
{
    char value[512];
    char key[32];
    struct operation operation;

    (void)snprintf(key, sizeof key, "key-%u", i * 7919 % 97);
    memset(value, 'a' + (int)(i % 26), sizeof value);
    value[1 + i * 31 % (sizeof value - 2)] = '\0';
    operation = item_put(key, value);
    f->state->now_ms += 13;
    (void)state_operate(f->state, &operation);
    note(f, f->state->index, buffer_slice(&f->state->entry));
}

/* A run of indexes without entries, as an election makes. */
static void skip_indexes(struct fixture *f, unsigned n)
{
    uint64_t first = f->state->index + 1;

    f->state->index += n;
    assert_int_equal(machine_skip_to(f->state->machine, f->state->index, TERM, &f->state->error),
                     STATUS_OK);
    note(f, first, slice_of("", 0));
}

static void go_on(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (i % 37 == 5) {
            skip_indexes(f, 1 + i % 3);
        }
        write_item(f, f->n_points);
    }
}

/* --- Archiving --- */

static void open_archiver(struct fixture *f)
{
    assert_int_equal(archiver_open(&f->options, &f->archiver, &f->error), STATUS_OK);
}

static void close_archiver(struct fixture *f)
{
    archiver_close(f->archiver);
    f->archiver = NULL;
}

struct asked {
    struct archiver *archiver;
    uint64_t number;
};

static bool is_done(void *data)
{
    const struct asked *asked = data;
    struct archiver_status status;

    archiver_status(asked->archiver, &status);
    return status.completed >= asked->number;
}

/* All that was executed is archived, and a full is made. */
static struct archiver_status ask_archiver(struct archiver *archiver)
{
    struct asked asked = {.archiver = archiver, .number = archiver_ask(archiver)};
    struct archiver_status status;

    assert_true(wait_until(is_done, &asked, LIMIT_MS));
    archiver_status(archiver, &status);
    return status;
}

static bool has_failed(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.failures > 0;
}

static bool has_first_full(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.fulls > 0 && status.activity == ARCHIVER_IDLE;
}

/* An archiver that has just begun has made its first full. */
static void await_first_full(struct fixture *f)
{
    assert_true(wait_until(has_first_full, f->archiver, LIMIT_MS));
}

static struct archiver_status ask(struct fixture *f)
{
    return ask_archiver(f->archiver);
}

struct reached {
    struct archiver *archiver;
    uint64_t index;
};

static bool has_reached(void *data)
{
    const struct reached *reached = data;
    struct archiver_status status;

    archiver_status(reached->archiver, &status);
    return status.index >= reached->index && status.activity == ARCHIVER_IDLE;
}

/* Wait for deltas up to what was executed. */
static void catch_up(struct fixture *f)
{
    struct reached reached = {.archiver = f->archiver, .index = f->state->index};

    assert_true(wait_until(has_reached, &reached, LIMIT_MS));
}

/* --- Restoring --- */

static enum status restore(struct fixture *f, uint64_t to_revision, uint64_t to_time_ms,
                           struct restore_facts *facts)
{
    const struct restore_options options = {.url = f->url,
                                            .keys = f->options.keys,
                                            .to_revision = to_revision,
                                            .to_time_ms = to_time_ms};
    struct restore *restore;
    char directory[128];
    enum status status = restore_open(&options, &restore, &f->error);

    if (status != STATUS_OK) {
        return status;
    }
    (void)snprintf(directory, sizeof directory, "%s/restored-%u", f->directory, f->n_restores++);
    status = restore_run(restore, directory, &f->error);
    *facts = *restore_facts(restore);
    restore_close(restore);
    return status;
}

static void check_restore(struct fixture *f, uint64_t to_revision, uint64_t to_time_ms,
                          const struct point *point)
{
    struct restore_facts facts;

    if (restore(f, to_revision, to_time_ms, &facts) != STATUS_OK) {
        fail_msg("restoring revision %llu: %s", (unsigned long long)to_revision, f->error.text);
    }
    assert_int_equal(facts.revision, point->revision);
    assert_int_equal(facts.hash[0], point->hash[0]);
    assert_int_equal(facts.hash[1], point->hash[1]);
    assert_string_equal(facts.cluster_id, CLUSTER);
}

static void check_latest(struct fixture *f)
{
    check_restore(f, UINT64_MAX, UINT64_MAX, &f->points[f->n_points - 1]);
}

/* Deltas follow each other from the first full on. */
static void check_chain(struct fixture *f, unsigned n_gaps)
{
    struct catalog catalog;
    char base[NAMES_BASE_BYTES];
    uint64_t next = 0;
    unsigned n = 0;

    names_base(CLUSTER, f->options.url[0] != '\0' && repository_is_local(f->repository) ? 7 : 0,
               base);
    assert_int_equal(catalog_load(f->repository, base, f->options.keys, &catalog, &f->error),
                     STATUS_OK);
    for (size_t i = 0; i < catalog.n_deltas; i++) {
        struct delta_facts facts;

        assert_int_equal(delta_look(f->repository, base, catalog.deltas[i].first_index,
                                    f->options.keys, &facts, &f->error),
                         STATUS_OK);
        assert_true(next == 0 || facts.first_index >= next);
        n += next != 0 && facts.first_index > next ? 1 : 0;
        next = facts.last_index + 1;
    }
    assert_int_equal(n, n_gaps);
    for (size_t i = 0; i < catalog.n_fulls; i++) {
        assert_true(catalog.fulls[i].is_whole);
    }
    assert_int_equal(catalog.n_orphans, 0);
    catalog_close(&catalog);
}

static void use_shared(struct fixture *f)
{
    strcat(f->url, "?shared");
    repository_close(f->repository);
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &f->repository, &f->error),
        STATUS_OK);
}

/* --- Tests --- */

static void every_step_can_be_restored(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 5;

    go_on(f, 20);
    open_archiver(f);
    await_first_full(f);
    for (unsigned i = 0; i < 8; i++) {
        go_on(f, N_ENTRIES / 8);
        if (i == 4) {
            (void)ask(f);
        }
        catch_up(f);
    }
    close_archiver(f);

    check_chain(f, 0);
    check_latest(f);
    for (unsigned i = 0; i < 20; i++) {
        const struct point *point = &f->points[20 + random_next(&random) % (f->n_points - 20)];

        check_restore(f, point->revision, UINT64_MAX, point);
        check_restore(f, UINT64_MAX, point->time_ms, point);
    }
}

static void a_time_between_two_steps_gives_the_earlier_one(void **state)
{
    struct fixture *f = *state;
    const struct point *point;

    open_archiver(f);
    await_first_full(f);
    go_on(f, 10);
    catch_up(f);
    close_archiver(f);

    point = &f->points[3];
    check_restore(f, UINT64_MAX, point->time_ms + 12, point);
    point = &f->points[f->n_points - 1];
    check_restore(f, UINT64_MAX, point->time_ms + 1000000, point); /* Idle since. */
}

static void points_that_are_not_there_are_told(void **state)
{
    struct fixture *f = *state;
    struct restore_facts facts;

    assert_int_equal(restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "there is no archive in file://"));
    go_on(f, 10);
    open_archiver(f);
    await_first_full(f);
    close_archiver(f);

    assert_int_equal(restore(f, 3, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "no whole full at or before"));
    assert_int_equal(restore(f, 1000000, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "revision 1000000 is not in the archive"));
}

static void an_archive_goes_on_after_a_restart(void **state)
{
    struct fixture *f = *state;

    open_archiver(f);
    await_first_full(f);
    for (unsigned i = 0; i < 5; i++) {
        go_on(f, 10);
        if (i % 2 == 0) {
            catch_up(f); /* Else it is ended with something not archived. */
        }
        close_archiver(f);
        journal_close(f->journal);
        open_journal(f);
        f->options.journal = f->journal;
        go_on(f, 3);
        open_archiver(f);
    }
    catch_up(f);

    close_archiver(f);
    check_chain(f, 0);
    check_latest(f);
}

static void two_archivers_of_one_chain_leave_no_hole_and_no_overlap(void **state)
{
    struct fixture *f = *state;
    struct archiver *other;
    struct archiver_status first;
    struct archiver_status second;

    use_shared(f);
    open_archiver(f);
    await_first_full(f);
    assert_int_equal(archiver_open(&f->options, &other, &f->error), STATUS_OK);
    for (unsigned i = 0; i < 40; i++) {
        go_on(f, 5);
        (void)archiver_ask(other);
        (void)archiver_ask(f->archiver);
        pause_ms(i % 7);
    }
    first = ask(f);
    second = ask_archiver(other);
    archiver_close(other);
    close_archiver(f);

    assert_int_equal(first.index, f->state->index);
    assert_int_equal(second.index, f->state->index);
    assert_int_equal(first.gaps + second.gaps, 0);
    check_chain(f, 0);
    check_latest(f);
    check_restore(f, f->points[77].revision, UINT64_MAX, &f->points[77]);
}

static void a_node_that_is_not_chosen_watches_and_takes_over(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;

    use_shared(f);
    open_archiver(f);
    await_first_full(f);
    go_on(f, 5);
    catch_up(f);
    f->is_chosen = false;
    status = ask(f);
    assert_int_equal(status.activity, ARCHIVER_STANDBY);
    go_on(f, 5);
    status = ask(f);
    assert_int_equal(status.activity, ARCHIVER_STANDBY);
    assert_true(status.index < f->state->index);
    f->is_chosen = true;
    status = ask(f);

    assert_int_equal(status.index, f->state->index);
    close_archiver(f);
    check_chain(f, 0);
    check_latest(f);
}

static void a_gap_in_the_journal_begins_a_new_full(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;
    struct restore_facts facts;
    const struct point *before;
    char command[160];

    open_archiver(f);
    await_first_full(f);
    go_on(f, 30);
    catch_up(f);
    before = &f->points[f->n_points - 1];
    close_archiver(f);
    journal_close(f->journal); /* What is executed now is kept nowhere. */
    (void)snprintf(command, sizeof command, "rm -r %s", f->journal_path);
    assert_int_equal(system(command), 0);
    open_journal(f);
    go_on(f, 10);
    journal_close(f->journal);
    assert_int_equal(system(command), 0);
    open_journal(f);
    f->options.journal = f->journal;
    go_on(f, 10);
    open_archiver(f);
    status = ask(f);
    go_on(f, 10);
    catch_up(f);
    close_archiver(f);

    assert_int_equal(status.gaps, 1);
    check_latest(f);
    check_restore(f, before->revision, UINT64_MAX, before);
    /* A revision in the gap is not given for another. */
    assert_int_equal(restore(f, before->revision + 2, UINT64_MAX, &facts), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "is missing"));
}

struct objects {
    char names[64][NAMES_BYTES];
    uint64_t sizes[64];
    size_t n;
};

static bool add_object(void *data, const struct repository_object *object)
{
    struct objects *objects = data;

    assert_true(objects->n < 64);
    strcpy(objects->names[objects->n], object->name);
    objects->sizes[objects->n++] = object->size_bytes;
    return true;
}

static void flip(struct fixture *f, const char *name, uint64_t offset)
{
    char path[400];
    FILE *file;
    int byte;

    (void)snprintf(path, sizeof path, "%s/archive/%s", f->directory, name);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_true(fputc(byte ^ 4, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_copy_is_as_good_as_the_archive(void **state)
{
    struct fixture *f = *state;
    struct copy_options options = {
        .from = f->repository, .prefix = "", .work_directory = f->work_path};
    struct copy_totals totals;
    struct copy_totals second;

    open_archiver(f);
    await_first_full(f);
    go_on(f, 20);
    (void)ask(f);
    strcat(f->url, "-copied");
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &options.to, &f->error),
        STATUS_OK);
    assert_int_equal(copy_archive(&options, &totals, &f->error), STATUS_OK);
    assert_int_equal(totals.copied_objects, totals.objects);
    assert_true(totals.objects >= 5);
    go_on(f, 10);
    catch_up(f);
    close_archiver(f);
    assert_int_equal(copy_archive(&options, &second, &f->error), STATUS_OK);
    assert_true(second.copied_objects >= 1);
    assert_int_equal(second.objects, totals.objects + second.copied_objects);
    check_latest(f);

    assert_int_equal(copy_archive(&options, &second, &f->error), STATUS_OK);
    assert_int_equal(second.copied_objects, 0);
    repository_close(options.to);
}

static void what_is_held_is_removed_later(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;

    open_archiver(f);
    await_first_full(f);
    go_on(f, 10);
    (void)ask(f);
    go_on(f, 10);
    status = ask(f);
    assert_int_equal(status.fulls, 3);
    close_archiver(f);
    f->options.retention = (struct retention_policy){.deltas_ms = 1, .fulls_ms = 1};
    is_held = true;
    open_archiver(f);
    status = ask(f);
    assert_int_equal(status.activity, ARCHIVER_IDLE); /* It is no failure. */
    assert_int_equal(status.held, 3);                 /* Two fulls, and the first delta. */
    assert_int_equal(status.fulls, 4);
    close_archiver(f);
    is_held = false;
    open_archiver(f);
    status = ask(f);

    assert_int_equal(status.held, 0);
    assert_true(status.fulls <= 3);
    assert_true(status.pruned_bytes > 0);
    close_archiver(f);
    check_latest(f);
}

/* An archive on the node's own disk never takes what others need. */
static void a_short_disk_cuts_the_archive_down_and_then_stops_it(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;

    open_archiver(f);
    await_first_full(f);
    go_on(f, 10);
    status = ask(f);
    go_on(f, 10);
    status = ask(f);
    assert_int_equal(status.fulls, 3);
    close_archiver(f);
    f->options.reserve_bytes = UINT64_MAX;
    open_archiver(f);
    go_on(f, 10);
    assert_true(wait_until(has_failed, f->archiver, LIMIT_MS));
    archiver_status(f->archiver, &status);

    assert_int_equal(status.fulls, 1);
    assert_true(status.pruned_bytes > 0);
    assert_non_null(strstr(status.error, "too little disk is free"));
    assert_true(status.index < f->state->index);
    close_archiver(f);
    f->options.reserve_bytes = 0;
    open_archiver(f);
    catch_up(f);
    close_archiver(f);
    check_latest(f);
}

static bool is_verified(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.verified_ms > 0 && status.activity == ARCHIVER_IDLE;
}

static void an_archiver_tries_restores_by_itself(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;
    char path[128];

    f->options.schedule.verify_ms = 1;
    open_archiver(f);
    await_first_full(f);
    go_on(f, 30);
    assert_true(wait_until(is_verified, f->archiver, LIMIT_MS));
    status = ask(f);

    assert_string_equal(status.error, "");
    assert_true(status.verified_revision <= f->points[f->n_points - 1].revision);
    (void)snprintf(path, sizeof path, "%s/verified", f->work_path);
    close_archiver(f);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void an_archive_that_cannot_be_restored_is_told(void **state)
{
    struct fixture *f = *state;
    struct objects objects = {.n = 0};
    struct archiver_status status;

    open_archiver(f);
    await_first_full(f);
    close_archiver(f);
    assert_int_equal(repository_list(f->repository, "", NULL, add_object, &objects, &f->error),
                     STATUS_OK);
    flip(f, objects.names[1], objects.sizes[1] / 2); /* The segment: nobody else reads it. */
    f->options.schedule.verify_ms = 1;
    open_archiver(f);
    assert_true(wait_until(has_failed, f->archiver, LIMIT_MS));
    archiver_status(f->archiver, &status);

    assert_non_null(strstr(status.error, "a restore that was tried failed"));
    assert_int_equal(status.verified_ms, 0);
}

static void an_encrypted_archive_needs_its_key(void **state)
{
    struct fixture *f = *state;
    struct master_keys *keys;
    struct restore_facts facts;
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/keys", f->directory);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "k1 %064d\n", 7) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(master_keys_open(path, &keys, &f->error), STATUS_OK);
    f->options.keys = keys;
    open_archiver(f);
    await_first_full(f);
    go_on(f, 20);
    catch_up(f);
    close_archiver(f);

    check_latest(f);
    f->options.keys = NULL;
    assert_int_equal(restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "\"k1\""));
    master_keys_close(keys);
}

/* --- Damage --- */

/* Any damage to what a restore needs ends it, and says where. */
static void damage_anywhere_is_told(void **state)
{
    struct fixture *f = *state;
    struct objects objects = {.n = 0};
    struct restore_facts facts;

    open_archiver(f);
    await_first_full(f);
    go_on(f, 10);
    catch_up(f);
    go_on(f, 10);
    catch_up(f);
    close_archiver(f);
    assert_int_equal(repository_list(f->repository, "", NULL, add_object, &objects, &f->error),
                     STATUS_OK);
    assert_true(objects.n >= 4);

    for (size_t i = 0; i < objects.n; i++) {
        for (unsigned part = 0; part < 5; part++) {
            uint64_t offset = (objects.sizes[i] - 1) * part / 4;

            flip(f, objects.names[i], offset);
            assert_int_not_equal(restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_OK);
            assert_non_null(strstr(f->error.text, CLUSTER));
            flip(f, objects.names[i], offset);
        }
    }
    check_latest(f);
}

static void a_missing_object_is_told(void **state)
{
    struct fixture *f = *state;
    struct objects objects = {.n = 0};
    struct restore_facts facts;
    char path[400];
    char away[400];

    open_archiver(f);
    await_first_full(f);
    for (unsigned i = 0; i < 3; i++) {
        go_on(f, 10);
        catch_up(f);
    }
    close_archiver(f);
    assert_int_equal(repository_list(f->repository, "", NULL, add_object, &objects, &f->error),
                     STATUS_OK);

    for (size_t i = 0; i < objects.n; i++) {
        bool is_last_delta = i + 1 == objects.n;

        (void)snprintf(path, sizeof path, "%s/archive/%s", f->directory, objects.names[i]);
        (void)snprintf(away, sizeof away, "%s/away", f->directory);
        assert_int_equal(rename(path, away), 0);
        /* That the last one is missing cannot be known, unless its revision is asked for. */
        assert_int_not_equal(
            restore(f, is_last_delta ? f->points[f->n_points - 1].revision : UINT64_MAX, UINT64_MAX,
                    &facts),
            STATUS_OK);
        assert_int_equal(rename(away, path), 0);
    }
}

static void a_restore_goes_on_where_it_was_cut_off(void **state)
{
    struct fixture *f = *state;
    const struct restore_options options = {
        .url = f->url, .to_revision = UINT64_MAX, .to_time_ms = UINT64_MAX};
    struct objects objects = {.n = 0};
    struct restore *restoring;
    char directory[128];

    go_on(f, 50);
    open_archiver(f);
    await_first_full(f);
    close_archiver(f);
    assert_int_equal(repository_list(f->repository, "", NULL, add_object, &objects, &f->error),
                     STATUS_OK);
    (void)snprintf(directory, sizeof directory, "%s/restored", f->directory);
    flip(f, objects.names[1], objects.sizes[1] - 20); /* Near the end of the only segment. */
    assert_int_equal(restore_open(&options, &restoring, &f->error), STATUS_OK);
    assert_int_equal(restore_run(restoring, directory, &f->error), STATUS_CORRUPT);
    restore_close(restoring);
    flip(f, objects.names[1], objects.sizes[1] - 20);

    assert_int_equal(restore_open(&options, &restoring, &f->error), STATUS_OK);
    assert_int_equal(restore_run(restoring, directory, &f->error), STATUS_OK);
    assert_int_equal(restore_facts(restoring)->revision, f->points[f->n_points - 1].revision);
    restore_close(restoring);
    assert_int_equal(restore_open(&options, &restoring, &f->error), STATUS_OK);
    assert_int_equal(restore_run(restoring, directory, &f->error), STATUS_OK); /* Anew. */
    assert_int_equal(restore_facts(restoring)->revision, f->points[f->n_points - 1].revision);
    restore_close(restoring);
}

static void a_repository_that_fails_is_told_and_tried_again(void **state)
{
    struct fixture *f = *state;
    struct archiver_status status;
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/archive", f->directory);
    file = fopen(path, "w"); /* A file in the place of the directory. */
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    open_archiver(f);
    go_on(f, 10);
    assert_true(wait_until(has_failed, f->archiver, LIMIT_MS));
    archiver_status(f->archiver, &status);
    assert_int_equal(status.activity, ARCHIVER_FAILING);
    assert_non_null(strstr(status.error, "archive"));
    assert_int_equal(unlink(path), 0);
    status = ask(f);

    assert_int_equal(status.activity, ARCHIVER_IDLE);
    assert_string_equal(status.error, "");
    close_archiver(f);
    check_latest(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_step_can_be_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_time_between_two_steps_gives_the_earlier_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(points_that_are_not_there_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_archive_goes_on_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(two_archivers_of_one_chain_leave_no_hole_and_no_overlap,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_that_is_not_chosen_watches_and_takes_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_gap_in_the_journal_begins_a_new_full, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_is_removed_later, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_is_as_good_as_the_archive, setup, teardown),
        cmocka_unit_test_setup_teardown(a_short_disk_cuts_the_archive_down_and_then_stops_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_archiver_tries_restores_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(an_archive_that_cannot_be_restored_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_encrypted_archive_needs_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_anywhere_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_object_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_goes_on_where_it_was_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repository_that_fails_is_told_and_tried_again, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
