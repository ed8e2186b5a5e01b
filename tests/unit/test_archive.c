/* The archive of a state that goes on: whatever is archived can be restored, at any step of it, and
 * is then what it was; whoever archives, restarts or finds a gap leaves no hole. What went wrong
 * elsewhere is in test_archive_lessons.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/copy.h"
#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"

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

static bool has_failed(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.failures > 0;
}

/* --- Tests --- */

static void every_step_can_be_restored(void **state)
{
    struct archive_fixture *f = *state;
    uint64_t random = 5;

    archive_fixture_go_on(f, 20);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 8; i++) {
        archive_fixture_go_on(f, ARCHIVE_FIXTURE_ENTRIES / 8);
        if (i == 4) {
            (void)archive_fixture_ask(f);
        }
        archive_fixture_catch_up(f);
    }
    archive_fixture_close_archiver(f);

    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
    for (unsigned i = 0; i < 20; i++) {
        const struct archive_fixture_point *point =
            &f->points[20 + random_next(&random) % (f->n_points - 20)];

        archive_fixture_check_restore(f, point->revision, UINT64_MAX, point);
        archive_fixture_check_restore(f, UINT64_MAX, point->time_ms, point);
    }
}

static void a_time_between_two_steps_gives_the_earlier_one(void **state)
{
    struct archive_fixture *f = *state;
    const struct archive_fixture_point *point;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);

    point = &f->points[3];
    archive_fixture_check_restore(f, UINT64_MAX, point->time_ms + 12, point);
    point = &f->points[f->n_points - 1];
    archive_fixture_check_restore(f, UINT64_MAX, point->time_ms + 1000000, point); /* Idle since. */
}

static void points_that_are_not_there_are_told(void **state)
{
    struct archive_fixture *f = *state;
    struct restore_facts facts;

    assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "there is no archive in file://"));
    archive_fixture_go_on(f, 10);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_close_archiver(f);

    assert_int_equal(archive_fixture_restore(f, 3, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "no whole full at or before"));
    assert_int_equal(archive_fixture_restore(f, 1000000, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "revision 1000000 is not in the archive"));
}

static void an_archive_goes_on_after_a_restart(void **state)
{
    struct archive_fixture *f = *state;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 5; i++) {
        archive_fixture_go_on(f, 10);
        if (i % 2 == 0) {
            archive_fixture_catch_up(f); /* Else it is ended with something not archived. */
        }
        archive_fixture_close_archiver(f);
        journal_close(f->journal);
        archive_fixture_open_journal(f);
        f->options.journal = f->journal;
        archive_fixture_go_on(f, 3);
        archive_fixture_open_archiver(f);
    }
    archive_fixture_catch_up(f);

    archive_fixture_close_archiver(f);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
}

static bool has_caught_up(void *data)
{
    struct archive_fixture *f = data;
    struct archiver_status status;

    archiver_status(f->archiver, &status);
    return status.index == f->state->index;
}

/* The one that should archive cannot, say. */
static void a_node_that_is_not_chosen_stands_in(void **state)
{
    struct archive_fixture *f = *state;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_close_archiver(f);

    f->is_chosen = false;
    f->options.schedule.stand_in_ms = 20;
    archive_fixture_open_archiver(f);
    archive_fixture_go_on(f, 10);
    assert_true(wait_until(has_caught_up, f, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
}

static void a_node_that_is_not_chosen_watches_and_takes_over(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 5);
    archive_fixture_catch_up(f);
    f->is_chosen = false;
    status = archive_fixture_ask(f);
    assert_int_equal(status.activity, ARCHIVER_STANDBY);
    archive_fixture_go_on(f, 5);
    status = archive_fixture_ask(f);
    assert_int_equal(status.activity, ARCHIVER_STANDBY);
    assert_true(status.index < f->state->index);
    f->is_chosen = true;
    status = archive_fixture_ask(f);

    assert_int_equal(status.index, f->state->index);
    archive_fixture_close_archiver(f);
    archive_fixture_check_chain(f, 0);
    archive_fixture_check_latest(f);
}

static void a_gap_in_the_journal_begins_a_new_full(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    struct restore_facts facts;
    const struct archive_fixture_point *before;
    char command[160];

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 30);
    archive_fixture_catch_up(f);
    before = &f->points[f->n_points - 1];
    archive_fixture_close_archiver(f);
    journal_close(f->journal); /* What is executed now is kept nowhere. */
    (void)snprintf(command, sizeof command, "rm -r %s", f->journal_path);
    assert_int_equal(system(command), 0);
    archive_fixture_open_journal(f);
    archive_fixture_go_on(f, 10);
    journal_close(f->journal);
    assert_int_equal(system(command), 0);
    archive_fixture_open_journal(f);
    f->options.journal = f->journal;
    archive_fixture_go_on(f, 10);
    archive_fixture_open_archiver(f);
    status = archive_fixture_ask(f);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);

    assert_int_equal(status.gaps, 1);
    archive_fixture_check_latest(f);
    archive_fixture_check_restore(f, before->revision, UINT64_MAX, before);
    /* A revision in the gap is not given for another. */
    assert_int_equal(archive_fixture_restore(f, before->revision + 2, UINT64_MAX, &facts),
                     STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "is missing"));
}

static void copy_twice(struct archive_fixture *f, bool ahead)
{
    struct copy_options options = {
        .from = f->repository, .prefix = "", .work_directory = f->work_path};
    struct copy_totals totals;
    struct copy_totals second;
    char from_url[sizeof f->url];

    memcpy(from_url, f->url, sizeof from_url);
    options.from_url = ahead ? from_url : NULL;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 20);
    (void)archive_fixture_ask(f);
    strcat(f->url, "-copied");
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &options.to, &f->error),
        STATUS_OK);
    assert_int_equal(copy_archive(&options, &totals, &f->error), STATUS_OK);
    assert_int_equal(totals.copied_objects, totals.objects);
    assert_true(totals.objects >= 5);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    assert_int_equal(copy_archive(&options, &second, &f->error), STATUS_OK);
    assert_true(second.copied_objects >= 1);
    assert_int_equal(second.objects, totals.objects + second.copied_objects);
    archive_fixture_check_latest(f);

    assert_int_equal(copy_archive(&options, &second, &f->error), STATUS_OK);
    assert_int_equal(second.copied_objects, 0);
    repository_close(options.to);
}

static void a_copy_is_as_good_as_the_archive(void **state)
{
    copy_twice(*state, false);
}

static void a_copy_that_reads_ahead_is_the_same(void **state)
{
    copy_twice(*state, true);
}

struct taking_away {
    struct archive_fixture *f;
    char name[NAMES_BYTES]; /* Of a delta; "": it is gone. */
};

static void take_away(void *data, const struct copy_totals *totals)
{
    struct taking_away *taking = data;

    (void)totals;
    if (taking->name[0] != '\0') {
        assert_int_equal(repository_remove(taking->f->repository, taking->name, &taking->f->error),
                         STATUS_OK);
        taking->name[0] = '\0';
    }
}

/* An archiver that goes on merges and prunes. */
static void a_copy_leaves_out_what_is_removed_meanwhile(void **state)
{
    struct archive_fixture *f = *state;
    struct taking_away taking = {.f = f};
    struct copy_options options = {.from = f->repository,
                                   .prefix = "",
                                   .work_directory = f->work_path,
                                   .data = &taking,
                                   .on_progress = take_away};
    struct archive_fixture_objects objects = {.n = 0};
    struct copy_totals totals;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 20);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    memcpy(taking.name, objects.names[objects.n - 1], sizeof taking.name);
    strcat(f->url, "-copied");
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &options.to, &f->error),
        STATUS_OK);
    assert_int_equal(copy_archive(&options, &totals, &f->error), STATUS_OK);
    repository_close(options.to);

    assert_int_equal(totals.objects, objects.n - 1);
    assert_int_equal(totals.copied_objects, objects.n - 1);
}

static void what_is_held_is_removed_later(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    (void)archive_fixture_ask(f);
    archive_fixture_go_on(f, 10);
    status = archive_fixture_ask(f);
    assert_int_equal(status.fulls, 3);
    archive_fixture_close_archiver(f);
    f->options.retention = (struct retention_policy){.deltas_ms = 1, .fulls_ms = 1};
    is_held = true;
    archive_fixture_open_archiver(f);
    status = archive_fixture_ask(f);
    assert_int_equal(status.activity, ARCHIVER_IDLE); /* It is no failure. */
    assert_int_equal(status.held, 3);                 /* Two fulls, and the first delta. */
    assert_int_equal(status.fulls, 4);
    archive_fixture_close_archiver(f);
    is_held = false;
    archive_fixture_open_archiver(f);
    status = archive_fixture_ask(f);

    assert_int_equal(status.held, 0);
    assert_true(status.fulls <= 3);
    assert_true(status.pruned_bytes > 0);
    archive_fixture_close_archiver(f);
    archive_fixture_check_latest(f);
}

/* An archive on the node's own disk never takes what others need. */
static void a_short_disk_cuts_the_archive_down_and_then_stops_it(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    status = archive_fixture_ask(f);
    archive_fixture_go_on(f, 10);
    status = archive_fixture_ask(f);
    assert_int_equal(status.fulls, 3);
    archive_fixture_close_archiver(f);
    f->options.reserve_bytes = UINT64_MAX;
    archive_fixture_open_archiver(f);
    archive_fixture_go_on(f, 10);
    assert_true(wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);

    assert_int_equal(status.fulls, 1);
    assert_true(status.pruned_bytes > 0);
    assert_non_null(strstr(status.error, "too little disk is free"));
    assert_true(status.index < f->state->index);
    archive_fixture_close_archiver(f);
    f->options.reserve_bytes = 0;
    archive_fixture_open_archiver(f);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    archive_fixture_check_latest(f);
}

static bool is_verified(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.verified_ms > 0 && status.activity == ARCHIVER_IDLE;
}

static void an_archiver_tries_restores_by_itself(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    char path[128];

    f->options.schedule.verify_ms = 1;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 30);
    assert_true(wait_until(is_verified, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    status = archive_fixture_ask(f);

    assert_string_equal(status.error, "");
    assert_true(status.verified_revision <= f->points[f->n_points - 1].revision);
    (void)snprintf(path, sizeof path, "%s/verified", f->work_path);
    archive_fixture_close_archiver(f);
    assert_int_not_equal(access(path, F_OK), 0);
}

static size_t count_verifications(struct archive_fixture *f)
{
    struct archive_fixture_objects objects;
    struct names_parsed parsed;
    size_t n = 0;

    archive_fixture_list(f, &objects);
    for (size_t i = 0; i < objects.n; i++) {
        n += names_parse(objects.names[i], &parsed) && parsed.kind == NAMES_VERIFIED ? 1 : 0;
    }
    return n;
}

/* A node that is started again does not try it again before it is due. */
static void what_was_verified_is_remembered(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status before;
    struct archiver_status status;

    f->options.schedule.verify_ms = 1;
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    assert_true(wait_until(is_verified, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);
    assert_int_equal(count_verifications(f), 1); /* Of many, of one full. */

    f->options.schedule.verify_ms = 1000 * ARCHIVE_FIXTURE_LIMIT_MS;
    archive_fixture_open_archiver(f);
    before = archive_fixture_ask(f);
    assert_int_not_equal(before.verified_ms, 0);
    archive_fixture_go_on(f, 10);
    status = archive_fixture_ask(f);
    assert_int_equal(status.verified_ms, before.verified_ms);
    assert_int_equal(status.verified_revision, before.verified_revision);
    assert_int_equal(status.verify_took_ms, before.verify_took_ms);
}

static void an_archive_that_cannot_be_restored_is_told(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_objects objects = {.n = 0};
    struct archiver_status status;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    archive_fixture_flip(f, objects.names[1],
                         objects.sizes[1] / 2); /* The segment: nobody else reads it. */
    f->options.schedule.verify_ms = 2000;
    archive_fixture_open_archiver(f);
    assert_true(wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    assert_non_null(strstr(status.error, "a restore that was tried failed"));

    status = archive_fixture_ask(f); /* Archiving goes on, and it is told all the same. */
    assert_int_equal(status.activity, ARCHIVER_FAILING);
    assert_non_null(strstr(status.error, "a restore that was tried failed"));
    assert_int_equal(status.verified_ms, 0);
}

static bool has_verified_or_failed(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.verified_ms != 0 || status.failures > 0;
}

/* At the same time, in one work directory. */
static void two_archivers_try_restores_apart(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver *archivers[2];
    struct archiver_status status;
    char url[128];

    archive_fixture_go_on(f, 100);
    f->options.schedule.verify_ms = 1;
    archive_fixture_open_archiver(f);
    (void)snprintf(url, sizeof url, "%s-2", f->url);
    f->options.url = url;
    f->options.number = 1;
    assert_int_equal(archiver_open(&f->options, &f->other, &f->error), STATUS_OK);
    archivers[0] = f->archiver;
    archivers[1] = f->other;
    for (unsigned i = 0; i < 20; i++) {
        archiver_status(archivers[i % 2], &status);
        assert_int_equal(status.failures, 0);
        archive_fixture_go_on(f, 1);
        (void)archive_fixture_ask_archiver(archivers[i % 2]);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_true(wait_until(has_verified_or_failed, archivers[i], ARCHIVE_FIXTURE_LIMIT_MS));
        archiver_status(archivers[i], &status);
        assert_int_equal(status.failures, 0);
    }
}

static void an_encrypted_archive_needs_its_key(void **state)
{
    struct archive_fixture *f = *state;
    struct master_keys *keys = archive_fixture_use_key(f);
    struct restore_facts facts;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 20);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);

    archive_fixture_check_latest(f);
    f->options.keys = NULL;
    assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "\"k1\""));
    master_keys_close(keys);
}

/* --- Damage --- */

/* Any damage to what a restore needs ends it, and says where. */
static void damage_anywhere_is_told(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_objects objects = {.n = 0};
    struct restore_facts facts;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    assert_true(objects.n >= 4);

    for (size_t i = 0; i < objects.n; i++) {
        for (unsigned part = 0; part < 5; part++) {
            uint64_t offset = (objects.sizes[i] - 1) * part / 4;

            archive_fixture_flip(f, objects.names[i], offset);
            assert_int_not_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts),
                                 STATUS_OK);
            assert_non_null(strstr(f->error.text, ARCHIVE_FIXTURE_CLUSTER));
            archive_fixture_flip(f, objects.names[i], offset);
        }
    }
    archive_fixture_check_latest(f);
}

/* An earlier point needs nothing of it. */
static void a_damaged_end_is_told_and_what_is_before_it_restored(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_objects objects = {.n = 0};
    struct archive_fixture_point before;
    struct archiver_status status;
    struct restore_facts facts;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    before = f->points[f->n_points - 1];
    archive_fixture_go_on(f, 10);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    assert_non_null(strstr(objects.names[objects.n - 1], "/log/"));
    archive_fixture_flip(f, objects.names[objects.n - 1], 20); /* Its head. */

    assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, objects.names[objects.n - 1]));
    assert_non_null(strstr(f->error.text, "say up to which revision"));
    archive_fixture_check_restore(f, before.revision, UINT64_MAX, &before);
    archive_fixture_open_archiver(f); /* It cannot know what comes behind. */
    assert_true(wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    assert_non_null(strstr(status.error, objects.names[objects.n - 1]));
}

/* What is older is as good as it was, and the archiver makes another one. */
static void a_damaged_manifest_is_gone_around(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_objects objects;
    struct archiver_status status;
    struct names_parsed parsed;
    struct catalog catalog;
    unsigned n_manifests = 0;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 10);
    (void)archive_fixture_ask(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    for (size_t i = 0; i < objects.n; i++) {
        if (names_parse(objects.names[i], &parsed) && parsed.kind == NAMES_MANIFEST &&
            n_manifests++ == 1) {
            archive_fixture_flip(f, objects.names[i], objects.sizes[i] / 2);
            break;
        }
    }
    archive_fixture_load(f, &catalog);
    assert_int_equal(catalog.n_fulls, 2);
    assert_int_equal(catalog.n_damaged, 1);
    assert_non_null(strstr(catalog.damage, parsed.full_directory));
    assert_true(catalog.fulls[0].is_whole);
    assert_false(catalog.fulls[1].is_whole);
    catalog_close(&catalog);
    archive_fixture_check_latest(f);
    assert_non_null(strstr(f->damage, parsed.full_directory));

    archive_fixture_open_archiver(f);
    archive_fixture_go_on(f, 10);
    status = archive_fixture_ask(f);
    assert_string_equal(status.error, "");
    assert_int_equal(status.fulls, 3);
    archive_fixture_close_archiver(f);
    archive_fixture_check_latest(f);
}

static void a_missing_object_is_told(void **state)
{
    struct archive_fixture *f = *state;
    struct archive_fixture_objects objects = {.n = 0};
    struct restore_facts facts;
    char path[400];
    char away[400];

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 3; i++) {
        archive_fixture_go_on(f, 10);
        archive_fixture_catch_up(f);
    }
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);

    for (size_t i = 0; i < objects.n; i++) {
        bool is_last_delta = i + 1 == objects.n;

        (void)snprintf(path, sizeof path, "%s/archive/%s", f->directory, objects.names[i]);
        (void)snprintf(away, sizeof away, "%s/away", f->directory);
        assert_int_equal(rename(path, away), 0);
        /* That the last one is missing cannot be known, unless its revision is asked for. */
        assert_int_not_equal(archive_fixture_restore(
                                 f,
                                 is_last_delta ? f->points[f->n_points - 1].revision : UINT64_MAX,
                                 UINT64_MAX, &facts),
                             STATUS_OK);
        assert_int_equal(rename(away, path), 0);
    }
}

static void a_restore_goes_on_where_it_was_cut_off(void **state)
{
    struct archive_fixture *f = *state;
    const struct restore_options options = {
        .url = f->url, .to_revision = UINT64_MAX, .to_time_ms = UINT64_MAX};
    struct archive_fixture_objects objects = {.n = 0};
    struct restore *restoring;
    char directory[128];

    archive_fixture_go_on(f, 50);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_close_archiver(f);
    archive_fixture_list(f, &objects);
    (void)snprintf(directory, sizeof directory, "%s/restored", f->directory);
    archive_fixture_flip(f, objects.names[1],
                         objects.sizes[1] - 20); /* Near the end of the only segment. */
    assert_int_equal(restore_open(&options, &restoring, &f->error), STATUS_OK);
    assert_int_equal(restore_run(restoring, directory, &f->error), STATUS_CORRUPT);
    restore_close(restoring);
    archive_fixture_flip(f, objects.names[1], objects.sizes[1] - 20);

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
    struct archive_fixture *f = *state;
    struct archiver_status status;
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/archive", f->directory);
    file = fopen(path, "w"); /* A file in the place of the directory. */
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    archive_fixture_open_archiver(f);
    archive_fixture_go_on(f, 10);
    assert_true(wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archiver_status(f->archiver, &status);
    assert_int_equal(status.activity, ARCHIVER_FAILING);
    assert_non_null(strstr(status.error, "archive"));
    assert_int_equal(unlink(path), 0);
    status = archive_fixture_ask(f);

    assert_int_equal(status.activity, ARCHIVER_IDLE);
    assert_string_equal(status.error, "");
    archive_fixture_close_archiver(f);
    archive_fixture_check_latest(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_step_can_be_restored, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_time_between_two_steps_gives_the_earlier_one,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(points_that_are_not_there_are_told, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(an_archive_goes_on_after_a_restart, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_node_that_is_not_chosen_stands_in, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_node_that_is_not_chosen_watches_and_takes_over,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_gap_in_the_journal_begins_a_new_full,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_held_is_removed_later, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_copy_is_as_good_as_the_archive, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_copy_that_reads_ahead_is_the_same, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_copy_leaves_out_what_is_removed_meanwhile,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_short_disk_cuts_the_archive_down_and_then_stops_it,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(an_archiver_tries_restores_by_itself, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_verified_is_remembered, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(an_archive_that_cannot_be_restored_is_told,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(two_archivers_try_restores_apart, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(an_encrypted_archive_needs_its_key, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(damage_anywhere_is_told, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_end_is_told_and_what_is_before_it_restored,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_manifest_is_gone_around, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_missing_object_is_told, archive_fixture_setup,
                                        archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_restore_goes_on_where_it_was_cut_off,
                                        archive_fixture_setup, archive_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_repository_that_fails_is_told_and_tried_again,
                                        archive_fixture_setup, archive_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
