/* What went wrong in the archives of others with chains: who writes to one, and who removes. A test
 * each, which fails if it could go wrong here. The number is that of the report, of
 * etcd-backup-restore unless another project is named. Single objects are in
 * test_archive_lessons_objects.c, and what needs real nodes, the automatic restore over live data
 * (rqlite #1561) among it, in tests/cluster/test_archive.c and test_archive_soak.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"

#define OTHER_CLUSTER "fedcba98-89ab-cdef-0123-456789abcdef"

/* --- What is in the repository --- */

/* How many are of this cluster. */
static unsigned count_of(struct archive_fixture *f, const char *cluster_id)
{
    unsigned n_of = 0;
    size_t n;
    struct archive_fixture_object *objects = archive_fixture_read_objects(f, &n);

    for (size_t i = 0; i < n; i++) {
        n_of += strncmp(objects[i].name, cluster_id, NAMES_CLUSTER_BYTES) == 0 ? 1 : 0;
    }
    archive_fixture_forget_objects(objects, n);
    return n_of;
}

/* --- Two archivers interleaving (#749) --- */

/* There, two leaders for a while each uploaded pieces of a log of their own, and together they were
 * nobody's. Here a delta is created under its first index, once; whoever comes second reads what is
 * there, and goes on behind its end, wherever he would have ended himself. */
static void two_archivers_of_one_chain_leave_no_hole_and_no_overlap(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver *other;
    struct archiver_status first;
    struct archiver_status second;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    assert_int_equal(archiver_open(&f->options, &other, &f->error), STATUS_OK);
    for (unsigned i = 0; i < 40; i++) {
        archive_fixture_go_on(f, 5);
        (void)archiver_ask(other);
        (void)archiver_ask(f->archiver);
        pause_ms(i % 7);
    }
    first = archive_fixture_ask(f);
    second = archive_fixture_ask_archiver(other);
    archiver_close(other);
    archive_fixture_close_archiver(f);

    assert_int_equal(first.index, f->state->index);
    assert_int_equal(second.index, f->state->index);
    assert_int_equal(first.gaps + second.gaps, 0);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
    archive_fixture_check_restore(f, f->points[77].revision, UINT64_MAX, &f->points[77]);
}

/* The same with one that still thinks that it archives, knows nothing of what the other one did
 * meanwhile, and would cut the log elsewhere. */
static void an_archiver_that_slept_goes_on_behind_another(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver *sleeper;
    struct archiver_status status;

    archive_fixture_use_shared(f);
    archive_fixture_go_on(f, 5);
    assert_int_equal(archiver_open(&f->options, &sleeper, &f->error), STATUS_OK);
    (void)archive_fixture_ask_archiver(sleeper);
    archiver_stop(sleeper); /* As far as the repository sees. */
    f->options.schedule.delta_ms = 3600000;
    archive_fixture_open_archiver(f);
    for (unsigned i = 1; i < 6; i++) {
        archive_fixture_go_on(f, 7 * i);
        (void)archive_fixture_ask(f);
    }
    archive_fixture_go_on(f, 3);
    f->options.schedule.delta_ms = 1;
    archiver_close(sleeper);
    assert_int_equal(archiver_open(&f->options, &sleeper, &f->error), STATUS_OK);
    (void)archive_fixture_ask_archiver(sleeper);
    archive_fixture_go_on(f, 2);
    status = archive_fixture_ask(f); /* It was not told of the sleeper's delta. */

    assert_true(status.fenced >= 1);
    assert_int_equal(status.index, f->state->index);
    archiver_close(sleeper);
    archive_fixture_close_archiver(f);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
}

/* --- Pruning what a running restore reads (Litestream #1270) --- */

/* Three fulls, and deltas between and behind them. Gives the point of the first one. */
static const struct archive_fixture_point *make_three_fulls(struct archive_fixture *f)
{
    archive_fixture_go_on(f, 10);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 2; i++) {
        archive_fixture_go_on(f, 10);
        (void)archive_fixture_ask(f);
    }
    archive_fixture_close_archiver(f);
    return &f->points[15]; /* Behind the first full: it needs deltas, too. */
}

static struct archiver_status prune_with(struct archive_fixture *f,
                                         const struct retention_policy *policy)
{
    struct archiver_status status;

    f->options.retention = *policy;
    archive_fixture_open_archiver(f);
    status = archive_fixture_ask(f);
    archive_fixture_close_archiver(f);
    return status;
}

/* There, a restore had made its plan when what it was to read was removed. Here nothing is removed
 * as soon as the policy does not need it any more, but a day later, which is longer than any
 * restore takes: who began while it was needed ends with it. */
static void what_a_running_restore_reads_is_not_pruned(void **state)
{
    const struct retention_policy careful = {.deltas_ms = 1, .fulls_ms = 1, .grace_ms = 3600000};
    const struct retention_policy careless = {.deltas_ms = 1, .fulls_ms = 1};
    struct archive_fixture *f = *state;
    const struct archive_fixture_point *point = make_three_fulls(f);
    struct restore *running = archive_fixture_begin_restore(f, point->revision);
    struct archiver_status status;
    struct restore_facts facts;

    status = prune_with(f, &careful);
    assert_int_equal(status.pruned_bytes, 0);
    assert_int_equal(archive_fixture_end_restore(f, running, &facts), STATUS_OK);
    assert_int_equal(facts.revision, point->revision);
    assert_int_equal(facts.hash[0], point->hash[0]);
    assert_int_equal(facts.hash[1], point->hash[1]);

    status = prune_with(f, &careless); /* It is the grace that kept it. */
    assert_true(status.pruned_bytes > 0);
}

/* Only an archive on the node's own disk is cut down at once, when that gets short. Who restores
 * from it then is told that something is gone, and gets no state that never was. */
static void a_restore_whose_archive_is_cut_down_is_told(void **state)
{
    const struct retention_policy squeezed = {
        .deltas_ms = 3600000, .fulls_ms = 3600000, .grace_ms = 3600000, .max_bytes = 1};
    struct archive_fixture *f = *state;
    const struct archive_fixture_point *point = make_three_fulls(f);
    struct restore *running = archive_fixture_begin_restore(f, point->revision);
    struct archiver_status status = prune_with(f, &squeezed);
    struct restore_facts facts;

    assert_true(status.pruned_bytes > 0);
    assert_int_equal(archive_fixture_end_restore(f, running, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, f->cluster_id));
    archive_fixture_check_latest(f);
}

/* --- Archiving that silently stops after a restore (#781) --- */

/* A restored cluster: another UUID, an empty journal, and the same state, which goes on. */
static void become_another_cluster(struct archive_fixture *f)
{
    char command[128];

    journal_close(f->journal);
    (void)snprintf(command, sizeof command, "rm -r %s", f->journal_path);
    assert_int_equal(system(command), 0);
    archive_fixture_open_journal(f);
    f->options.journal = f->journal;
    strcpy(f->cluster_id, OTHER_CLUSTER);
}

/* There, the revisions of a restored store began below those that were archived, and so nothing was
 * new until they had passed them. Here a restored cluster has a UUID of its own, and so a chain of
 * its own, which begins with a full. */
static void a_restored_cluster_archives_from_its_first_moment_on(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 30);
    (void)archive_fixture_ask(f);
    archive_fixture_close_archiver(f);

    become_another_cluster(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_write(f, f->n_points);
    archive_fixture_catch_up(f);
    archiver_status(f->archiver, &status);
    archive_fixture_close_archiver(f);

    assert_int_equal(status.fulls, 1);
    assert_int_equal(status.made_deltas, 1);
    assert_int_equal(status.lag_entries, 0);
    archive_fixture_check_chain(f, 0);
}

static bool has_failed(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.failures > 0;
}

static void await_failure(struct archive_fixture *f, const char *words)
{
    struct archiver_status status;

    assert_true(wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    if (status.activity != ARCHIVER_FAILING || strstr(status.error, words) == NULL) {
        fail_msg("%s is told instead of %s", status.error, words);
    }
}

/* One with the UUID and the repository of @f, but another state, as a copy of it has that went
 * another way. */
static struct archive_fixture *open_copy(struct archive_fixture *f)
{
    void *state;
    struct archive_fixture *copy;

    assert_int_equal(archive_fixture_setup(&state), 0);
    copy = state;
    copy->options.url = f->url;
    copy->state->now_ms += 3600000;
    return copy;
}

/* A cluster whose disks are all set back to an earlier time keeps its UUID. It has nothing for the
 * archive either, until it has come as far as that goes, and then has something else. */
static void a_cluster_that_was_set_back_is_told(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture *back;
    struct archiver_status status;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 40);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);

    back = open_copy(f);
    archive_fixture_go_on(back, 10);
    back->options.schedule.full_ms = 1; /* One is due. */
    archive_fixture_open_archiver(back);
    await_failure(back, "it was set back");
    archiver_status(back->archiver, &status);
    assert_int_equal(status.fulls, 1);
    archive_fixture_close_archiver(back);
    archive_fixture_go_on(back, 60);
    archive_fixture_open_archiver(back);
    await_failure(back, "is of another history");
    archive_fixture_close_archiver(back);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
    assert_int_equal(archive_fixture_teardown((void *[]){back}), 0);
}

/* What was ahead is not there any more. */
static void a_chain_of_another_history_that_is_removed_begins_anew(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture *back;
    struct archiver_status status;
    char command[128];

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 40);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);

    back = open_copy(f);
    archive_fixture_go_on(back, 10);
    archive_fixture_open_archiver(back);
    await_failure(back, "it was set back");
    (void)snprintf(command, sizeof command, "rm -r %s/archive", f->directory);
    assert_int_equal(system(command), 0);
    status = archive_fixture_ask(back);
    assert_true(status.fulls > 0);
    assert_int_equal(archive_fixture_teardown((void *[]){back}), 0);
}

/* --- A restored clone that writes into the original's repository (pgBackRest #1161) --- */

/* There, a copy that was started for a look wrote its log into the archive of the original. Here
 * what a restored cluster writes is below its own UUID, and nothing of the original changes. (A
 * restore gives a new UUID: test_offline and tests/cluster/test_archive.) */
static void a_restored_cluster_leaves_the_archive_of_the_first_alone(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_object *before;
    size_t n_before;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 30);
    (void)archive_fixture_ask(f);
    archive_fixture_close_archiver(f);
    before = archive_fixture_read_objects(f, &n_before);

    become_another_cluster(f);
    f->options.retention = (struct retention_policy){.deltas_ms = 1, .fulls_ms = 1};
    archive_fixture_open_archiver(f); /* It prunes, too. */
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    (void)archive_fixture_ask(f);
    archive_fixture_close_archiver(f);

    archive_fixture_check_objects(f, before, n_before);
    assert_int_equal(count_of(f, ARCHIVE_FIXTURE_CLUSTER), n_before);
    assert_true(count_of(f, OTHER_CLUSTER) > 2);
    archive_fixture_forget_objects(before, n_before);
}

/* A copy of all disks, started somewhere else, is not restored, and so keeps the UUID. Whoever of
 * the two comes second notices that the delta which it finds is not of its own history, and leaves
 * it at that. */
static void a_copy_of_all_disks_is_told(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture *copy = open_copy(f);

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(copy, 10);
    archive_fixture_open_archiver(copy);
    archive_fixture_catch_up(copy);
    archive_fixture_go_on(f, 30);
    await_failure(f, "is of another history");

    archive_fixture_close_archiver(copy);
    archive_fixture_close_archiver(f);
    archive_fixture_check_chain(f, 0);
    assert_int_equal(archive_fixture_teardown((void *[]){copy}), 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, archive_fixture_setup, archive_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_archivers_of_one_chain_leave_no_hole_and_no_overlap),
        TEST(an_archiver_that_slept_goes_on_behind_another),
        TEST(what_a_running_restore_reads_is_not_pruned),
        TEST(a_restore_whose_archive_is_cut_down_is_told),
        TEST(a_restored_cluster_archives_from_its_first_moment_on),
        TEST(a_cluster_that_was_set_back_is_told),
        TEST(a_chain_of_another_history_that_is_removed_begins_anew),
        TEST(a_restored_cluster_leaves_the_archive_of_the_first_alone),
        TEST(a_copy_of_all_disks_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
