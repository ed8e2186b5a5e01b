/* What a mirror is told of a state that changes while it is read: rounds of the change log, and the
 * walk over all of it. A model of the tables takes what comes as PostgreSQL would, and is compared
 * with the state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "storage/archive/mirror_walk.h"
#include "storage/change.h"
#include "tests/lib/deadline.h"
#include "tests/lib/mirror_model.h"
#include "tests/lib/state.h"
#include "tests/lib/state_work.h"

#define SEEDS       25
#define STEPS       120
#define MANY_EVENTS 600

struct fixture {
    struct state_fixture *state;
    struct mirror_model model;
    struct mirror_end position; /* Of the model. */
    struct mirror_limits limits;
    uint64_t random;
    /* Of 10 views, so many are followed by work before the next. */
    unsigned disturbance;
    unsigned n_views;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    f->state = state_new();
    mirror_model_open(&f->model);
    f->limits = (struct mirror_limits){.objects = MIRROR_ROUND_OBJECTS,
                                       .revisions = MIRROR_ROUND_REVISIONS,
                                       .bytes = MIRROR_VIEW_BYTES};
    f->random = test_seed();
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    mirror_model_close(&f->model);
    state_free(f->state);
    free(f);
    return 0;
}

static void disturb(struct fixture *f)
{
    if (random_next(&f->random) % 10 < f->disturbance) {
        state_work(f->state, &f->random, 1 + (unsigned)(random_next(&f->random) % 4));
    }
}

/* One round, in as many views as it takes. */
static enum status try_round(struct fixture *f)
{
    struct mirror_round *round =
        mirror_round_open(f->position.revision, f->position.time_ms, &f->limits);
    enum status status = STATUS_OK;
    bool is_done = false;

    while (status == STATUS_OK && !is_done) {
        f->n_views++;
        status = mirror_round_read(round, state_view(f->state), &f->model.sink, &is_done);
        state_view_end(f->state);
        disturb(f);
    }
    if (status == STATUS_OK) {
        mirror_round_end(round, &f->position);
    }
    mirror_round_close(round);
    return status;
}

static void run_round(struct fixture *f)
{
    assert_int_equal(try_round(f), STATUS_OK);
}

static void walk_all(struct fixture *f)
{
    struct mirror_walk *walk = mirror_walk_open(f->limits.bytes);
    bool is_done = false;

    while (!is_done) {
        f->n_views++;
        assert_int_equal(mirror_walk_read(walk, state_view(f->state), &f->model.sink, &is_done),
                         STATUS_OK);
        state_view_end(f->state);
        disturb(f);
    }
    mirror_walk_end(walk, &f->position);
    mirror_walk_close(walk);
}

/* The model is what the state is, but for what has expired and was not removed yet. */
static void check_model(struct fixture *f)
{
    struct view *view = state_view(f->state);
    json_t *expected = mirror_rows_of_state(view);
    json_t *found = json_deep_copy(f->model.rows);
    uint64_t revision = view->state->revision;
    char why[2048];
    bool do_match;

    mirror_rows_drop_expired(found, view->state->time_ms);
    do_match = mirror_rows_match(expected, found, why, sizeof why);
    json_decref(found);
    json_decref(expected);
    state_view_end(f->state);
    assert_int_equal(f->position.revision, revision);
    if (!do_match) {
        fail_msg("revision %llu: %s", (unsigned long long)revision, why);
    }
}

/* Until the model is exact. */
static void catch_up(struct fixture *f)
{
    unsigned disturbance = f->disturbance;

    f->disturbance = 0;
    do {
        run_round(f);
    } while (f->position.revision != f->position.newest_revision);
    f->disturbance = disturbance;
}

static void draw_limits(struct fixture *f)
{
    f->limits.objects = 1 + random_next(&f->random) % 6;
    f->limits.revisions = 1 + random_next(&f->random) % 12;
    f->limits.bytes = 1 + random_next(&f->random) % 3000;
    f->disturbance = (unsigned)(random_next(&f->random) % 10);
}

/* --- Rounds --- */

static void rounds_that_begin_with_nothing_give_the_state(void **state)
{
    struct fixture *f = *state;

    state_work(f->state, &f->random, 200);
    catch_up(f);

    check_model(f);
    assert_true(mirror_rows_count(f->model.rows, "namespaces") > 0);
}

/* Whenever a round says that it is exact, the model is the state, whatever happened on the way. */
static void rounds_in_a_state_that_changes_give_the_state(void **state)
{
    struct fixture *f = *state;
    unsigned n_exact = 0;

    for (unsigned step = 0; step < STEPS * SEEDS; step++) {
        if (step % STEPS == 0) {
            draw_limits(f);
        }
        state_work(f->state, &f->random, (unsigned)(random_next(&f->random) % 4));
        run_round(f);
        if (f->position.revision == f->position.newest_revision) {
            struct view *view = state_view(f->state);
            bool is_still = view->state->revision == f->position.revision;

            state_view_end(f->state);
            if (is_still) {
                check_model(f);
                n_exact++;
            }
        }
    }
    catch_up(f);
    check_model(f);
    assert_true(n_exact > 10);
}

static void a_round_of_nothing_is_done_at_once(void **state)
{
    struct fixture *f = *state;
    uint64_t revision;

    state_work(f->state, &f->random, 20);
    catch_up(f);
    revision = f->position.revision;
    f->n_views = 0;
    f->model.n_events = 0;
    run_round(f);

    assert_int_equal(f->n_views, 1);
    assert_int_equal(f->position.revision, revision);
    assert_int_equal(f->position.newest_revision, revision);
}

static void a_round_ends_where_it_has_enough(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 10; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "k%u", i);
        state_work_put_item(f->state, key, "1");
    }
    f->limits.objects = 3;
    f->position = (struct mirror_end){.revision = 1};
    run_round(f);
    assert_int_equal(f->position.revision, 4);
    assert_int_equal(f->position.newest_revision, 11);
    assert_int_equal(mirror_rows_count(f->model.rows, "items"), 3);

    f->limits = (struct mirror_limits){.objects = 100, .revisions = 2, .bytes = 1 << 20};
    run_round(f);
    assert_int_equal(f->position.revision, 6);
}

static void what_changed_often_comes_once(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 10; i++) {
        state_work_put_item(f->state, "k", i == 9 ? "9" : "1");
    }
    run_round(f);

    assert_int_equal(f->model.n_items, 1);
    check_model(f);
}

/* --- Logs --- */

static void of_a_long_log_only_what_is_new_is_read(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < MANY_EVENTS; i++) {
        state_work_append(f->state, "s", 1);
    }
    f->state->now_ms += 1000;
    state_work_put_item(f->state, "k", "1"); /* The position has a later time than they. */
    catch_up(f);
    assert_int_equal(f->model.n_events, MANY_EVENTS);
    f->model.n_events = 0;
    f->state->now_ms += 1000;
    state_work_append(f->state, "s", 2);
    run_round(f);

    assert_int_equal(f->model.n_events, 2);
    check_model(f);
}

static void a_log_that_is_too_long_for_one_view_comes_in_parts(void **state)
{
    struct fixture *f = *state;
    unsigned most = 0;
    unsigned before;
    struct mirror_round *round;
    bool is_done = false;

    for (unsigned i = 0; i < MANY_EVENTS; i++) {
        state_work_append(f->state, "s", 1);
    }
    f->limits.bytes = 4096;
    round = mirror_round_open(0, 0, &f->limits);
    while (!is_done) {
        before = f->model.n_events;
        assert_int_equal(mirror_round_read(round, state_view(f->state), &f->model.sink, &is_done),
                         STATUS_OK);
        state_view_end(f->state);
        most = f->model.n_events - before > most ? f->model.n_events - before : most;
    }
    mirror_round_end(round, &f->position);
    mirror_round_close(round);

    assert_in_range(most, 2, 30);
    assert_int_equal(f->model.n_events, MANY_EVENTS);
    check_model(f);
}

static void what_is_rewound_and_trimmed_is_cut(void **state)
{
    struct fixture *f = *state;

    state_work_append(f->state, "s", 10);
    f->state->now_ms += 10;
    state_work_put_item(f->state, "k", "1");
    catch_up(f);
    f->state->now_ms += 10;
    state_work_cut(f->state, "s", true, 7);  /* 8 to 10 are gone, ... */
    state_work_append(f->state, "s", 2);     /* ... 11 and 12 are there, ... */
    state_work_cut(f->state, "s", false, 3); /* ... and 1 and 2 are gone. */
    f->model.n_events = 0;
    run_round(f);

    check_model(f);
    assert_int_equal(f->model.n_events, 2);
    assert_int_equal(mirror_rows_count(f->model.rows, "events"), 7);
}

/* All at the same time of the cluster: those that are there already come again, and no other is
 * lost. */
static void events_of_the_same_time_are_all_there(void **state)
{
    struct fixture *f = *state;

    state_work_append(f->state, "s", 3);
    catch_up(f);
    state_work_append(f->state, "s", 2);
    state_work_cut(f->state, "s", true, 4);
    run_round(f);

    check_model(f);
    assert_int_equal(mirror_rows_count(f->model.rows, "events"), 4);
}

static void a_session_that_is_made_anew_loses_its_events(void **state)
{
    struct fixture *f = *state;

    state_work_append_expiring(f->state, "s", 3, 100);
    catch_up(f);
    f->state->now_ms += 200; /* It has expired; nobody has removed it. */
    state_work_append(f->state, "s", 1);
    run_round(f);

    check_model(f);
    assert_int_equal(mirror_rows_count(f->model.rows, "events"), 1);
}

/* --- Namespaces --- */

static void a_namespace_that_is_made_anew_is_empty(void **state)
{
    struct fixture *f = *state;

    state_work_namespace(f->state, "x", true);
    state_work_put_item_in(f->state, "x", "k", "1");
    catch_up(f);
    assert_int_equal(mirror_rows_count(f->model.rows, "items"), 1);
    state_work_put_item_in(f->state, "x", "l", "1");
    state_work_namespace(f->state, "x", false);
    state_work_namespace(f->state, "x", true);
    state_work_put_item_in(f->state, "x", "m", "1");
    run_round(f);

    check_model(f);
    assert_int_equal(mirror_rows_count(f->model.rows, "items"), 1);
}

/* --- The end of the change log, and the walk --- */

static void changes_that_are_not_there_any_more_are_told(void **state)
{
    struct fixture *f = *state;

    state_work(f->state, &f->random, 50);
    f->state->now_ms += 2 * LIMIT_CHANGES_MS;
    state_work_put_item(f->state, "k", "1");
    state_maintain(f->state, 500);
    state_work_put_item(f->state, "k", "2");
    f->position.revision = 1;

    assert_int_equal(try_round(f), STATUS_NOT_FOUND);
}

static void a_position_behind_the_state_is_told(void **state)
{
    struct fixture *f = *state;

    state_work_put_item(f->state, "k", "1");
    f->position.revision = 1000;
    assert_int_equal(try_round(f), STATUS_MISMATCH);
}

static void a_walk_gives_the_state(void **state)
{
    struct fixture *f = *state;

    state_work(f->state, &f->random, 300);
    walk_all(f);

    assert_int_equal(f->position.revision, f->position.newest_revision);
    check_model(f);
}

static void a_walk_over_nothing_ends(void **state)
{
    struct fixture *f = *state;

    walk_all(f);
    check_model(f);
}

static void a_walk_and_the_changes_since_give_a_state_that_changed(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 4 * SEEDS; i++) {
        state_work(f->state, &f->random, 40);
        draw_limits(f);
        mirror_model_clear(&f->model);
        walk_all(f);
        run_round(f);
        catch_up(f);
        check_model(f);
    }
}

/* The last session of a list, whose log is cut off when the list is at its end. */
static void a_walk_takes_long_logs_in_parts(void **state)
{
    struct fixture *f = *state;

    state_work_append(f->state, "r", 100);
    state_work_append(f->state, "s", 200);
    state_work_put_item(f->state, "k", "1");
    f->limits.bytes = 3000;
    walk_all(f);

    assert_true(f->n_views > 15);
    assert_int_equal(f->model.n_events, 300);
    check_model(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rounds_that_begin_with_nothing_give_the_state),
        TEST(rounds_in_a_state_that_changes_give_the_state),
        TEST(a_round_of_nothing_is_done_at_once),
        TEST(a_round_ends_where_it_has_enough),
        TEST(what_changed_often_comes_once),
        TEST(of_a_long_log_only_what_is_new_is_read),
        TEST(a_log_that_is_too_long_for_one_view_comes_in_parts),
        TEST(what_is_rewound_and_trimmed_is_cut),
        TEST(events_of_the_same_time_are_all_there),
        TEST(a_session_that_is_made_anew_loses_its_events),
        TEST(a_namespace_that_is_made_anew_is_empty),
        TEST(changes_that_are_not_there_any_more_are_told),
        TEST(a_position_behind_the_state_is_told),
        TEST(a_walk_gives_the_state),
        TEST(a_walk_over_nothing_ends),
        TEST(a_walk_and_the_changes_since_give_a_state_that_changed),
        TEST(a_walk_takes_long_logs_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
