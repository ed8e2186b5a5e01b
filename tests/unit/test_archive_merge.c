/* Merging: whatever is merged, by whom, and wherever that is cut off, every step of the chain can
 * be restored; and what is there twice goes only if what stays is sound. */
#include <pthread.h>
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

#include "storage/archive/merge.h"
#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"

/* Deltas of five entries each; so many of them are merged. */
#define PER_DELTA  5u
#define PER_MERGED 4u
#define MERGE_MS   (PER_DELTA * PER_MERGED * ARCHIVE_FIXTURE_ENTRY_MS)

/* --- Faults --- */

/* What the linker calls them: __real_ is the repository's, __wrap_ is ours. */
enum status __real_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);
enum status __real_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error);
enum status __real_repository_remove(struct repository *repository, const char *name,
                                     struct error *error);
enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);
enum status __wrap_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error);
enum status __wrap_repository_remove(struct repository *repository, const char *name,
                                     struct error *error);

/* From the nth call on, counted from 1, all fail, as if the node was gone; 0: none does. The first
 * one that fails is done, if answers are lost. */
static atomic_uint fault_from;
static atomic_uint n_calls;
static atomic_bool answers_are_lost;
static pthread_t main_thread;
static atomic_uint removal_ms; /* That one takes. */
static atomic_uint n_removed;

static void arm(unsigned nth, bool loses_answers)
{
    fault_from = 0;
    n_calls = 0;
    answers_are_lost = loses_answers;
    fault_from = nth;
}

static bool has_struck(void)
{
    return fault_from != 0 && n_calls >= fault_from;
}

enum fault { FAULT_NONE, FAULT_BEFORE, FAULT_AFTER };

static enum fault next_fault(void)
{
    bool is_ours = pthread_equal(pthread_self(), main_thread) != 0; /* Only looks. */
    unsigned from = is_ours ? 0 : fault_from;
    unsigned n = from == 0 ? 0 : ++n_calls;

    if (n < from || from == 0) {
        return FAULT_NONE;
    }
    return n == from && answers_are_lost ? FAULT_AFTER : FAULT_BEFORE;
}

static enum status gone(struct error *error)
{
    return error_set(error, STATUS_IO, "the repository is gone");
}

enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error)
{
    enum fault fault = next_fault();

    if (fault == FAULT_BEFORE) {
        return gone(error);
    }
    if (fault == FAULT_AFTER) {
        (void)__real_repository_create(repository, name, content, error); /* Nobody knows. */
        return error_set(error, STATUS_UNCERTAIN, "no answer came");
    }
    return __real_repository_create(repository, name, content, error);
}

enum status __wrap_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error)
{
    return next_fault() != FAULT_NONE
               ? gone(error)
               : __real_repository_read(repository, name, offset, size, bytes, error);
}

enum status __wrap_repository_remove(struct repository *repository, const char *name,
                                     struct error *error)
{
    enum fault fault = next_fault();

    n_removed++;
    pause_ms(removal_ms);
    if (fault == FAULT_AFTER) {
        (void)__real_repository_remove(repository, name, error); /* Nobody knows. */
    }
    return fault != FAULT_NONE ? gone(error) : __real_repository_remove(repository, name, error);
}

/* --- A chain to merge --- */

static int setup(void **state)
{
    struct archive_fixture *f;
    int rv = archive_fixture_setup(state);

    f = *state;
    f->options.schedule.merge_ms = MERGE_MS;
    f->options.schedule.verify_ms = UINT64_MAX;
    return rv;
}

static int teardown(void **state)
{
    arm(0, false);
    removal_ms = 0;
    return archive_fixture_teardown(state);
}

/* Deltas go at once when they are merged. */
static void keep_nothing_twice(struct archive_fixture *f)
{
    f->options.retention = retention_of_days(30);
    f->options.retention.grace_ms = 0;
    f->options.schedule.prune_ms = 1;
}

static void make_deltas(struct archive_fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        archive_fixture_go_on(f, PER_DELTA);
        archive_fixture_catch_up(f);
    }
}

/* What is younger than two ranges waits, by indexes and with some room. */
#define YOUNG (3 * PER_DELTA * PER_MERGED)

/* How many deltas are old and in no merged one, and how many are in one; false: it could not be
 * read, as something went while it was looked at. */
static bool count_deltas(struct archive_fixture *f, unsigned *n_unmerged, unsigned *n_merged)
{
    struct catalog catalog;
    char base[NAMES_BASE_BYTES];

    names_base(ARCHIVE_FIXTURE_CLUSTER, repository_is_local(f->repository) ? 7 : 0, base);
    if (catalog_load(f->repository, base, f->options.keys, &catalog, &f->error) != STATUS_OK) {
        return false;
    }
    *n_unmerged = 0;
    *n_merged = 0;
    for (size_t i = 0; i < catalog.n_deltas; i++) {
        const struct catalog_delta *delta = &catalog.deltas[i];

        *n_merged += delta->merged_ms != 0 ? 1 : 0;
        *n_unmerged +=
            delta->merged_ms == 0 && delta->first_index + YOUNG < catalog.last_index ? 1 : 0;
    }
    catalog_close(&catalog);
    return true;
}

static bool is_all_merged(void *data)
{
    unsigned n_unmerged;
    unsigned n_merged;

    return count_deltas(data, &n_unmerged, &n_merged) && n_unmerged == 0;
}

/* And nothing is there twice. */
static bool is_pruned(void *data)
{
    unsigned n_unmerged;
    unsigned n_merged;

    return count_deltas(data, &n_unmerged, &n_merged) && n_unmerged == 0 && n_merged == 0;
}

static void await_merged(struct archive_fixture *f)
{
    assert_true(wait_until(is_all_merged, f, ARCHIVE_FIXTURE_LIMIT_MS));
}

static void check_points(struct archive_fixture *f, unsigned n, uint64_t random)
{
    for (unsigned i = 0; i < n; i++) {
        const struct archive_fixture_point *point = &f->points[random_next(&random) % f->n_points];

        archive_fixture_check_restore(f, point->revision, UINT64_MAX, point);
        archive_fixture_check_restore(f, UINT64_MAX, point->time_ms, point);
    }
    archive_fixture_check_latest(f);
}

/* The name of the nth merged one. */
static void name_of_merged(struct archive_fixture *f, size_t nth, char name[NAMES_BYTES],
                           uint64_t *size_bytes)
{
    struct catalog catalog;
    char base[NAMES_BASE_BYTES];

    archive_fixture_load(f, &catalog);
    assert_true(nth < catalog.n_merged);
    names_base(ARCHIVE_FIXTURE_CLUSTER, repository_is_local(f->repository) ? 7 : 0, base);
    catalog_merged_name(base, &catalog.merged[nth], name);
    *size_bytes = catalog.merged[nth].bytes;
    catalog_close(&catalog);
}

/* --- Merging --- */

static void old_deltas_are_merged_and_stay_for_a_while(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    struct catalog catalog;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 40);
    await_merged(f);
    archiver_status(f->archiver, &status);
    archive_fixture_close_archiver(f);

    archive_fixture_load(f, &catalog);
    assert_int_equal(catalog.n_deltas, status.made_deltas);
    assert_true(catalog.n_merged >= 40 / PER_MERGED / 2);
    for (size_t i = 0; i < catalog.n_merged; i++) {
        assert_int_equal(catalog.merged[i].merged_ms, 0); /* None is in another one. */
        assert_true(i == 0 || catalog.merged[i].first_index > catalog.merged[i - 1].last_index);
    }
    catalog_close(&catalog);
    archive_fixture_check_chain(f, 0);
    check_points(f, 20, 3);
}

static void what_is_merged_goes_and_all_can_be_restored(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    keep_nothing_twice(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 40);
    assert_true(wait_until(is_pruned, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    archive_fixture_close_archiver(f);

    assert_true(status.pruned_bytes > 0);
    assert_int_equal(status.damaged, 0);
    archive_fixture_check_chain(f, 0);
    check_points(f, 30, 5);
}

static bool has_removed_some(void *data)
{
    return n_removed >= *(unsigned *)data;
}

/* Whatever it does now. */
static bool has_archived_all(void *data)
{
    struct archive_fixture *f = data;
    struct archiver_status status;

    archiver_status(f->archiver, &status);
    return status.index >= f->state->index;
}

/* What takes long is done in parts, and deltas go on in between. */
static void pruning_does_not_hold_up_the_next_delta(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    unsigned some = 10;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 80);
    await_merged(f);
    archive_fixture_close_archiver(f);
    keep_nothing_twice(f);
    n_removed = 0;
    removal_ms = 110; /* A turn's share is a few of them. */
    archive_fixture_open_archiver(f);
    assert_true(wait_until(has_removed_some, &some, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_go_on(f, 1);
    assert_true(wait_until(has_archived_all, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    removal_ms = 0;
    assert_true(status.deltas > 40); /* There is more to remove. */
    assert_true(wait_until(is_pruned, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);

    archive_fixture_check_chain(f, 0);
    check_points(f, 5, 37);
}

static void an_encrypted_chain_is_merged_with_its_key(void **state)
{
    struct archive_fixture *f = *state;
    struct master_keys *keys = archive_fixture_use_key(f);

    keep_nothing_twice(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 20);
    assert_true(wait_until(is_pruned, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);

    archive_fixture_check_chain(f, 0);
    check_points(f, 5, 7);
    master_keys_close(keys);
}

/* --- Damage --- */

static void a_damaged_merged_one_is_told_and_the_deltas_in_it_are_used(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    struct restore_facts facts;
    struct catalog catalog;
    char name[NAMES_BYTES];
    uint64_t size;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 30);
    await_merged(f);
    archive_fixture_close_archiver(f);
    name_of_merged(f, 1, name, &size);
    for (unsigned part = 0; part < 5; part++) {
        archive_fixture_flip(f, name, (size - 1) * part / 4);
        assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_OK);
        assert_int_equal(facts.damaged, 1);
        assert_non_null(strstr(f->damage, name));
        assert_int_equal(facts.revision, f->points[f->n_points - 1].revision);
        archive_fixture_flip(f, name, (size - 1) * part / 4);
    }

    archive_fixture_flip(f, name, size / 2);
    keep_nothing_twice(f);
    archive_fixture_open_archiver(f);
    archive_fixture_go_on(f, 1);
    status = archive_fixture_ask(f);
    archive_fixture_close_archiver(f);
    assert_int_equal(status.damaged, 1);
    archive_fixture_load(f, &catalog);
    assert_true(catalog.merged[1].merged_ms == 0);
    for (size_t i = 0, n = 0; i <= catalog.n_deltas; i++) {
        bool is_in = i < catalog.n_deltas &&
                     catalog.deltas[i].first_index >= catalog.merged[1].first_index &&
                     catalog.deltas[i].last_index <= catalog.merged[1].last_index;

        n += is_in ? 1 : 0;
        assert_true(i < catalog.n_deltas || n > 1); /* They are all there. */
        /* Those of the other merged ones are not. */
        assert_true(i == catalog.n_deltas || is_in || catalog.deltas[i].merged_ms == 0);
    }
    catalog_close(&catalog);
    check_points(f, 10, 11);
}

/* Without the deltas, the damage is told, by name, but for points before it. */
static void a_damaged_merged_one_alone_is_an_error(void **state)
{
    struct archive_fixture *f = *state;
    struct restore_facts facts;
    char name[NAMES_BYTES];
    uint64_t size;

    keep_nothing_twice(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 30);
    assert_true(wait_until(is_pruned, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);
    name_of_merged(f, 1, name, &size);
    archive_fixture_flip(f, name, size - 9);

    assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, name));
    archive_fixture_check_restore(f, f->points[1].revision, UINT64_MAX, &f->points[1]);
}

/* --- Several, and crashes --- */

static void open_other(struct archive_fixture *f)
{
    assert_int_equal(archiver_open(&f->options, &f->other, &f->error), STATUS_OK);
}

static void close_other(struct archive_fixture *f)
{
    archiver_close(f->other);
    f->other = NULL;
}

static bool has_some_merged(void *data)
{
    struct archive_fixture *f = data;
    struct archiver_status status;
    struct archiver_status other;

    archiver_status(f->archiver, &status);
    archiver_status(f->other, &other);
    return status.merged >= 3 && other.merged >= 3;
}

static void two_that_merge_and_prune_leave_no_hole(void **state)
{
    struct archive_fixture *f = *state;
    uint64_t random = 17;

    archive_fixture_use_shared(f);
    keep_nothing_twice(f);
    f->options.schedule.merge_ms = 2 * MERGE_MS;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    open_other(f);
    for (unsigned i = 0; i < 80; i++) {
        archive_fixture_go_on(f, PER_DELTA);
        switch (random_next(&random) % 6) {
        case 0: /* In the middle of whatever it does. */
            archive_fixture_close_archiver(f);
            archive_fixture_open_archiver(f);
            break;
        case 1:
            close_other(f);
            open_other(f);
            break;
        default:
            pause_ms((unsigned)(random_next(&random) % 9));
        }
        if (i % 4 == 3) {
            archive_fixture_catch_up(f); /* So that deltas are short, and can be merged. */
        }
    }
    assert_true(wait_until(has_some_merged, f, ARCHIVE_FIXTURE_LIMIT_MS));
    (void)archive_fixture_ask_archiver(f->other);
    (void)archive_fixture_ask(f);
    close_other(f);
    archive_fixture_close_archiver(f);

    archive_fixture_check_chain(f, 0);
    check_points(f, 30, 19);
}

/* It has died, or merged and pruned what there was. */
static bool is_at_rest(void *data)
{
    struct archive_fixture *f = data;
    struct archiver_status status;

    archiver_status(f->archiver, &status);
    return has_struck() || (status.made_merged > 0 && is_pruned(f));
}

/* Enough for another merged one to be due. */
static void make_more(struct archive_fixture *f)
{
    f->options.schedule.merge_ms = UINT64_MAX;
    f->options.schedule.prune_ms = UINT64_MAX;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 2 * PER_MERGED + 1);
    archive_fixture_close_archiver(f);
}

/* The node dies at the first read, creation or removal, then at the second, until it has merged and
 * pruned all that there is without. */
static void sweep(struct archive_fixture *f, bool loses_answers)
{
    unsigned nth = 0;
    bool has_died;

    archive_fixture_use_shared(f);
    do {
        make_more(f);
        f->options.schedule.merge_ms = MERGE_MS;
        keep_nothing_twice(f);
        arm(nth += 1 + nth / 8, loses_answers);
        archive_fixture_open_archiver(f);
        assert_true(wait_until(is_at_rest, f, ARCHIVE_FIXTURE_LIMIT_MS));
        has_died = has_struck();
        archive_fixture_close_archiver(f);
        arm(0, false);
        archive_fixture_check_chain(f, 0);
        archive_fixture_check_latest(f);
    } while (has_died);
    assert_true(nth > 20);
    check_points(f, 20, 23);
}

static void a_crash_at_any_step_leaves_no_hole(void **state)
{
    sweep(*state, false);
}

static void a_lost_answer_at_any_step_leaves_no_hole(void **state)
{
    sweep(*state, true);
}

/* --- Merged ones that overlap --- */

struct firsts {
    uint64_t first[64];
    size_t n;
};

static void merge_some(struct archive_fixture *f, const struct firsts *firsts, size_t first,
                       size_t end, uint64_t now_ms)
{
    char base[NAMES_BASE_BYTES];
    const struct merge_options options = {.repository = f->repository,
                                          .base = base,
                                          .work_directory = f->work_path,
                                          .range_ms = UINT64_MAX / 2};
    struct merge *merge;
    uint64_t bytes = 0;

    names_base(ARCHIVE_FIXTURE_CLUSTER, 7, base);
    assert_int_equal(merge_open(&options, &merge, &f->error), STATUS_OK);
    for (size_t i = first; i < end; i++) {
        assert_int_equal(merge_add(merge, firsts->first[i], &f->error), STATUS_OK);
    }
    assert_int_equal(merge_count(merge), end - first);
    assert_int_equal(merge_create(merge, now_ms, &bytes, &f->error), STATUS_OK);
    assert_true(bytes > 0);
    merge_close(merge);
}

static void make_firsts(struct archive_fixture *f, struct firsts *firsts)
{
    struct catalog catalog;

    archive_fixture_load(f, &catalog);
    assert_true(catalog.n_deltas >= 20);
    for (firsts->n = 0; firsts->n < catalog.n_deltas && firsts->n < 64; firsts->n++) {
        firsts->first[firsts->n] = catalog.deltas[firsts->n].first_index;
    }
    catalog_close(&catalog);
}

static void merged_ones_may_overlap_and_be_in_others(void **state)
{
    struct archive_fixture *f = *state;
    struct firsts firsts;
    struct catalog catalog;

    f->options.schedule.merge_ms = UINT64_MAX;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 30);
    archive_fixture_close_archiver(f);
    make_firsts(f, &firsts);
    merge_some(f, &firsts, 0, 6, 1000);
    merge_some(f, &firsts, 0, 6, 2000);  /* The same again. */
    merge_some(f, &firsts, 0, 3, 1000);  /* In it. */
    merge_some(f, &firsts, 4, 9, 1000);  /* Overlaps it. */
    merge_some(f, &firsts, 8, 14, 1000); /* And that one. */
    merge_some(f, &firsts, 16, 18, 1000);
    check_points(f, 10, 29);

    keep_nothing_twice(f);
    archive_fixture_open_archiver(f);
    (void)archive_fixture_ask(f);
    archive_fixture_close_archiver(f);

    archive_fixture_load(f, &catalog);
    assert_int_equal(catalog.n_merged, 4);
    assert_int_equal(catalog.merged[0].created_ms, 1000);
    /* 16 are in merged ones; those may not be there twice. */
    assert_true(catalog.n_deltas >= firsts.n - 16);
    for (size_t i = 0; i < catalog.n_deltas; i++) {
        assert_int_equal(catalog.deltas[i].merged_ms, 0);
    }
    assert_int_equal(catalog.deltas[0].first_index, firsts.first[14]);
    catalog_close(&catalog);
    archive_fixture_check_chain(f, 0);
    check_points(f, 20, 31);
}

static void a_merge_takes_only_what_follows_and_has_room(void **state)
{
    struct archive_fixture *f = *state;
    char base[NAMES_BASE_BYTES];
    struct merge_options options = {
        .repository = f->repository, .base = base, .work_directory = f->work_path};
    struct merge *merge;
    struct firsts firsts;

    f->options.schedule.merge_ms = UINT64_MAX;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 30);
    archive_fixture_close_archiver(f);
    make_firsts(f, &firsts);
    names_base(ARCHIVE_FIXTURE_CLUSTER, 7, base);

    options.range_ms = UINT64_MAX / 2;
    assert_int_equal(merge_open(&options, &merge, &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[2], &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[4], &f->error), STATUS_END);
    assert_int_equal(merge_add(merge, firsts.first[2], &f->error), STATUS_END);
    assert_int_equal(merge_add(merge, firsts.first[3], &f->error), STATUS_OK);
    assert_int_equal(merge_facts(merge)->first_index, firsts.first[2]);
    assert_int_equal(merge_facts(merge)->last_index, firsts.first[4] - 1);
    assert_int_equal(merge_add(merge, firsts.first[4] + 1, &f->error), STATUS_NOT_FOUND);
    merge_close(merge);

    options.range_ms = 1;
    assert_int_equal(merge_open(&options, &merge, &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[2], &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[3], &f->error), STATUS_END);
    merge_close(merge);

    options.range_ms = UINT64_MAX / 2;
    options.max_bytes = 1;
    assert_int_equal(merge_open(&options, &merge, &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[2], &f->error), STATUS_OK);
    assert_int_equal(merge_add(merge, firsts.first[3], &f->error), STATUS_END);
    assert_int_equal(merge_count(merge), 1);
    merge_close(merge);
}

/* The damaged one, and what was alone before it. */
static bool is_all_merged_but_one_or_two(void *data)
{
    unsigned n_unmerged;
    unsigned n_merged;

    return count_deltas(data, &n_unmerged, &n_merged) && n_unmerged > 0 && n_unmerged <= 2;
}

static void a_delta_that_is_damaged_is_told_and_left_as_it_is(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    struct firsts firsts;
    struct catalog catalog;
    char base[NAMES_BASE_BYTES];
    char name[NAMES_BYTES];

    f->options.schedule.merge_ms = UINT64_MAX;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    make_deltas(f, 30);
    archive_fixture_close_archiver(f);
    make_firsts(f, &firsts);
    names_base(ARCHIVE_FIXTURE_CLUSTER, 7, base);
    names_delta(base, firsts.first[6], name);
    archive_fixture_flip(f, name, 300);
    f->options.schedule.merge_ms = MERGE_MS;
    archive_fixture_open_archiver(f);
    assert_true(wait_until(is_all_merged_but_one_or_two, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_go_on(f, 1);
    archive_fixture_catch_up(f);
    archiver_status(f->archiver, &status);
    archive_fixture_close_archiver(f);

    assert_string_equal(status.error, "");
    archive_fixture_load(f, &catalog);
    assert_int_equal(catalog.deltas[6].first_index, firsts.first[6]);
    assert_int_equal(catalog.deltas[6].merged_ms, 0);
    assert_int_not_equal(catalog.deltas[2].merged_ms, 0);
    assert_int_not_equal(catalog.deltas[10].merged_ms, 0);
    catalog_close(&catalog);
    archive_fixture_flip(f, name, 300);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_deltas_are_merged_and_stay_for_a_while, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_merged_goes_and_all_can_be_restored, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(pruning_does_not_hold_up_the_next_delta, setup, teardown),
        cmocka_unit_test_setup_teardown(an_encrypted_chain_is_merged_with_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_merged_one_is_told_and_the_deltas_in_it_are_used,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_merged_one_alone_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(two_that_merge_and_prune_leave_no_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_at_any_step_leaves_no_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_answer_at_any_step_leaves_no_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(merged_ones_may_overlap_and_be_in_others, setup, teardown),
        cmocka_unit_test_setup_teardown(a_merge_takes_only_what_follows_and_has_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_delta_that_is_damaged_is_told_and_left_as_it_is, setup,
                                        teardown),
    };

    main_thread = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
