#include "tests/lib/archive_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/archive_chain.h"
#include "tests/lib/deadline.h"

#define TERM    3u
#define NODE_ID 7u

static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    const struct archive_fixture *f = data;

    memcpy(cluster_id, f->cluster_id, NAMES_CLUSTER_BYTES + 1);
    *node_id = NODE_ID;
    return true;
}

static bool is_chosen(void *data)
{
    const struct archive_fixture *f = data;

    return f->is_chosen;
}

void archive_fixture_open_journal(struct archive_fixture *f)
{
    const struct journal_options options = {.directory = f->journal_path, .file_bytes = 4096};

    assert_int_equal(journal_open(&options, &f->journal, &f->error), STATUS_OK);
}

int archive_fixture_setup(void **state)
{
    struct archive_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-archive-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->journal_path, sizeof f->journal_path, "%s/journal", f->directory);
    (void)snprintf(f->work_path, sizeof f->work_path, "%s", f->directory);
    (void)snprintf(f->url, sizeof f->url, "file://%s/archive", f->directory);
    f->state = state_new();
    f->is_chosen = true;
    strcpy(f->cluster_id, ARCHIVE_FIXTURE_CLUSTER);
    archive_fixture_open_journal(f);
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

int archive_fixture_teardown(void **state)
{
    struct archive_fixture *f = *state;
    char command[128];

    archiver_close(f->archiver);
    archiver_close(f->other);
    journal_close(f->journal);
    repository_close(f->repository);
    state_free(f->state);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* --- A state that goes on --- */

static void note(struct archive_fixture *f, uint64_t first_index, struct slice entry)
{
    struct machine *machine = f->state->machine;
    struct archive_fixture_point *point = &f->points[f->n_points++];
    struct step step = {.first_index = first_index,
                        .index = machine_applied_index(machine),
                        .term = TERM,
                        .revision = machine_revision(machine),
                        .time_ms = machine_time_ms(machine),
                        .entry = entry};

    assert_true(f->n_points < sizeof f->points / sizeof f->points[0]);
    state_hash(f->state, step.hash);
    *point = (struct archive_fixture_point){.index = step.index,
                                            .revision = step.revision,
                                            .time_ms = step.time_ms,
                                            .hash = {step.hash[0], step.hash[1]}};
    journal_append(f->journal, &step);
}

void archive_fixture_write(struct archive_fixture *f, unsigned i)
{
    char value[512];
    char key[32];
    struct operation operation;

    (void)snprintf(key, sizeof key, "key-%u", i * 7919 % 97);
    memset(value, 'a' + (int)(i % 26), sizeof value);
    value[1 + i * 31 % (sizeof value - 2)] = '\0';
    operation = item_put(key, value);
    f->state->now_ms += ARCHIVE_FIXTURE_ENTRY_MS;
    (void)state_operate(f->state, &operation);
    note(f, f->state->index, buffer_slice(&f->state->entry));
}

/* A run of indexes without entries, as an election makes. */
static void skip_indexes(struct archive_fixture *f, unsigned n)
{
    uint64_t first = f->state->index + 1;

    f->state->index += n;
    assert_int_equal(machine_skip_to(f->state->machine, f->state->index, TERM, &f->state->error),
                     STATUS_OK);
    note(f, first, slice_of("", 0));
}

void archive_fixture_go_on(struct archive_fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (i % 37 == 5) {
            skip_indexes(f, 1 + i % 3);
        }
        archive_fixture_write(f, f->n_points);
    }
}

/* --- Archiving --- */

void archive_fixture_open_archiver(struct archive_fixture *f)
{
    assert_int_equal(archiver_open(&f->options, &f->archiver, &f->error), STATUS_OK);
}

void archive_fixture_close_archiver(struct archive_fixture *f)
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

void archive_fixture_await_asked(struct archiver *archiver, uint64_t number)
{
    struct asked asked = {.archiver = archiver, .number = number};

    assert_true(wait_until(is_done, &asked, ARCHIVE_FIXTURE_LIMIT_MS));
}

struct archiver_status archive_fixture_ask_archiver(struct archiver *archiver)
{
    struct archiver_status status;

    archive_fixture_await_asked(archiver, archiver_ask(archiver));
    archiver_status(archiver, &status);
    return status;
}

static bool has_first_full(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.fulls > 0 && status.activity == ARCHIVER_IDLE;
}

void archive_fixture_await_first_full(struct archive_fixture *f)
{
    assert_true(wait_until(has_first_full, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
}

struct archiver_status archive_fixture_ask(struct archive_fixture *f)
{
    return archive_fixture_ask_archiver(f->archiver);
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

void archive_fixture_catch_up(struct archive_fixture *f)
{
    struct reached reached = {.archiver = f->archiver, .index = f->state->index};

    assert_true(wait_until(has_reached, &reached, ARCHIVE_FIXTURE_LIMIT_MS));
}

/* --- Restoring --- */

static void on_damage(void *data, const char *why)
{
    struct archive_fixture *f = data;

    (void)snprintf(f->damage, sizeof f->damage, "%s", why); /* As long as it can be. */
}

enum status archive_fixture_restore(struct archive_fixture *f, uint64_t to_revision,
                                    uint64_t to_time_ms, struct restore_facts *facts)
{
    const struct restore_options options = {.url = f->url,
                                            .keys = f->options.keys,
                                            .to_revision = to_revision,
                                            .to_time_ms = to_time_ms,
                                            .n_threads = f->n_threads,
                                            .data = f,
                                            .on_damage = on_damage};
    struct restore *restore;
    char directory[128];
    enum status status;

    f->damage[0] = '\0';
    status = restore_open(&options, &restore, &f->error);
    if (status != STATUS_OK) {
        return status;
    }
    (void)snprintf(directory, sizeof directory, "%s/restored-%u", f->directory, f->n_restores++);
    status = restore_run(restore, directory, &f->error);
    *facts = *restore_facts(restore);
    restore_close(restore);
    return status;
}

struct restore *archive_fixture_begin_restore(struct archive_fixture *f, uint64_t to_revision)
{
    const struct restore_options options = {
        .url = f->url, .to_revision = to_revision, .to_time_ms = UINT64_MAX};
    struct restore *restore;

    assert_int_equal(restore_open(&options, &restore, &f->error), STATUS_OK);
    return restore;
}

enum status archive_fixture_end_restore(struct archive_fixture *f, struct restore *restore,
                                        struct restore_facts *facts)
{
    char directory[128];
    enum status status;

    (void)snprintf(directory, sizeof directory, "%s/begun-%u", f->directory, f->n_restores++);
    status = restore_run(restore, directory, &f->error);
    *facts = *restore_facts(restore);
    restore_close(restore);
    return status;
}

void archive_fixture_check_restore(struct archive_fixture *f, uint64_t to_revision,
                                   uint64_t to_time_ms, const struct archive_fixture_point *point)
{
    struct restore_facts facts;

    if (archive_fixture_restore(f, to_revision, to_time_ms, &facts) != STATUS_OK) {
        fail_msg("restoring revision %llu: %s", (unsigned long long)to_revision, f->error.text);
    }
    assert_int_equal(facts.revision, point->revision);
    assert_int_equal(facts.hash[0], point->hash[0]);
    assert_int_equal(facts.hash[1], point->hash[1]);
    assert_string_equal(facts.cluster_id, f->cluster_id);
}

void archive_fixture_check_latest(struct archive_fixture *f)
{
    archive_fixture_check_restore(f, UINT64_MAX, UINT64_MAX, &f->points[f->n_points - 1]);
}

void archive_fixture_load(struct archive_fixture *f, struct catalog *catalog)
{
    char base[NAMES_BASE_BYTES];

    names_base(f->cluster_id, repository_is_local(f->repository) ? NODE_ID : 0, base);
    assert_int_equal(catalog_load(f->repository, base, f->options.keys, catalog, &f->error),
                     STATUS_OK);
}

void archive_fixture_check_chain(struct archive_fixture *f, unsigned n_gaps)
{
    char base[NAMES_BASE_BYTES];
    struct archive_chain chain;

    names_base(f->cluster_id, repository_is_local(f->repository) ? NODE_ID : 0, base);
    archive_chain_check(f->repository, base, f->options.keys, &chain);
    assert_int_equal(chain.gaps, n_gaps);
    assert_int_equal(chain.orphans, 0);
}

void archive_fixture_use_shared(struct archive_fixture *f)
{
    strcat(f->url, "?shared");
    repository_close(f->repository);
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &f->repository, &f->error),
        STATUS_OK);
}

struct master_keys *archive_fixture_use_key(struct archive_fixture *f)
{
    struct master_keys *keys;
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
    return keys;
}

static bool add_object(void *data, const struct repository_object *object)
{
    struct archive_fixture_objects *objects = data;

    assert_true(objects->n < ARCHIVE_FIXTURE_OBJECTS);
    strcpy(objects->names[objects->n], object->name);
    objects->sizes[objects->n++] = object->size_bytes;
    return true;
}

void archive_fixture_list(struct archive_fixture *f, struct archive_fixture_objects *objects)
{
    objects->n = 0;
    assert_int_equal(repository_list(f->repository, "", NULL, add_object, objects, &f->error),
                     STATUS_OK);
}

struct archive_fixture_object *archive_fixture_read_objects(struct archive_fixture *f, size_t *n)
{
    struct archive_fixture_objects *listed = calloc(1, sizeof *listed);
    struct archive_fixture_object *objects = calloc(ARCHIVE_FIXTURE_OBJECTS, sizeof *objects);

    assert_non_null(listed);
    assert_non_null(objects);
    archive_fixture_list(f, listed);
    *n = listed->n;
    for (size_t i = 0; i < listed->n; i++) {
        memcpy(objects[i].name, listed->names[i], NAMES_BYTES);
        assert_int_equal(repository_read(f->repository, objects[i].name, 0,
                                         ARCHIVE_FIXTURE_OBJECT_BYTES, &objects[i].bytes,
                                         &f->error),
                         STATUS_OK);
    }
    free(listed);
    return objects;
}

void archive_fixture_check_objects(struct archive_fixture *f,
                                   const struct archive_fixture_object *objects, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buffer bytes = BUFFER_EMPTY;

        assert_int_equal(repository_read(f->repository, objects[i].name, 0,
                                         ARCHIVE_FIXTURE_OBJECT_BYTES, &bytes, &f->error),
                         STATUS_OK);
        assert_true(slice_equals(buffer_slice(&bytes), buffer_slice(&objects[i].bytes)));
        buffer_close(&bytes);
    }
}

void archive_fixture_forget_objects(struct archive_fixture_object *objects, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buffer_close(&objects[i].bytes);
    }
    free(objects);
}

void archive_fixture_flip(struct archive_fixture *f, const char *name, uint64_t offset)
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
