/* The mirror in a real PostgreSQL server, of a state that the test changes itself: what is in the
 * tables, whatever is lost on the way. Real nodes: test_mirror.c; roles: test_mirror_roles.c. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "daemon/base/limits.h"
#include "tests/lib/deadline.h"
#include "tests/lib/mirror_fixture.h"
#include "tests/lib/process.h"
#include "tests/lib/state_work.h"

#define TEST_LIMIT_S 900
#define ROUNDS       12

static void the_tables_are_what_the_state_is(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        mirror_fixture_work(f, 60);
        mirror_fixture_check(f);
    }
    assert_int_equal(mirror_fixture_status(f).copies, 1);
    assert_int_equal(mirror_fixture_status(f).failures, 0);
    assert_true(mirror_fixture_status(f).sessions > 0 && mirror_fixture_status(f).events > 0 &&
                mirror_fixture_status(f).items > 0);
}

static void a_state_that_is_there_is_copied(void **state)
{
    struct mirror_fixture *f = *state;

    postgres_fixture_need(f->pg);
    mirror_fixture_work(f, 500);
    mirror_fixture_begin(f);
    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 1);

    mirror_fixture_end(f);
    mirror_fixture_work(f, 100);
    mirror_fixture_begin(f); /* Goes on from where it was. */
    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 0);
}

/* JSON that the API takes and jsonb does not; and much of it, and bytes. */
static void what_jsonb_cannot_hold_is_there_as_text(void **state)
{
    struct mirror_fixture *f = *state;
    const struct operation extreme_is_gone = item_delete("extreme");
    char *large = calloc(1, LIMIT_ITEM_BYTES + 1);

    assert_non_null(large);
    mirror_fixture_begin(f);
    state_work_put_item(f->state, "tiny", "[1e-99999]");
    state_work_put_item(f->state, "nul", "{\"a\":\"\\u0000\"}");
    state_work_put_item(f->state, "extreme", "[1e300, -1e-300, 123456789012345678]");
    mirror_fixture_await(f);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE key = 'extreme' AND doc = "
                                                   "'[1e300, -1e-300, 123456789012345678]'"),
                     1);
    state_operate(f->state, &extreme_is_gone); /* jansson does not read 300 digits. */
    memset(large, '7', LIMIT_ITEM_BYTES);
    large[1] = '.';
    state_work_put_item(f->state, "digits", large);
    memset(large, 'x', LIMIT_ITEM_BYTES);
    large[0] = large[LIMIT_ITEM_BYTES - 1] = '"';
    for (unsigned i = 0; i < 8; i++) { /* More than one view takes. */
        char key[16];

        (void)snprintf(key, sizeof key, "large%u", i);
        state_work_put_item(f->state, key, large);
    }
    free(large);
    mirror_fixture_check(f);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE raw IS NOT NULL"), 3);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE doc IS NULL"), 3);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE key = 'nul' AND "
                                                   "replace(raw, '\\u0000', '')::jsonb = "
                                                   "'{\"a\":\"\"}'"),
                     1);
}

static void two_that_mirror_at_once_do_no_harm(void **state)
{
    struct mirror_fixture *f = *state;
    struct mirror_status other;

    mirror_fixture_begin(f);
    mirror_fixture_start(f, 1, postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    for (unsigned round = 0; round < 4 * ROUNDS; round++) {
        mirror_fixture_work(f, 20);
        pause_ms((unsigned)(random_next(&f->random) % 100));
        if (round % 8 == 0) {
            mirror_fixture_check(f);
        }
    }
    mirror_fixture_check(f);
    mirror_status(f->mirrors[1], &other);
    assert_int_equal(other.failures + mirror_fixture_status(f).failures, 0);
    assert_int_equal(other.copies + mirror_fixture_status(f).copies, 1);
}

static void who_is_not_chosen_stands_by(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    atomic_store(&f->is_chosen, false);
    while (mirror_fixture_status(f).activity != MIRROR_STANDBY) {
        pause_ms(10); /* The limit of the test ends it. */
    }
    mirror_fixture_work(f, 50);
    assert_int_equal(mirror_fixture_status(f).lag_ms, 0);
    atomic_store(&f->is_chosen, true);
    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 1);
}

/* The one that should mirror cannot, say: the tables are behind and stay where they are. */
static void who_is_not_chosen_stands_in(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    mirror_fixture_work(f, 50);

    atomic_store(&f->is_chosen, false);
    f->stand_in_ms = 100;
    mirror_fixture_begin(f);
    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 0);
}

/* --- What is lost --- */

static void connections_that_are_lost_lose_nothing(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_await(f);
    for (unsigned round = 0; round < 3 * ROUNDS; round++) {
        mirror_fixture_work(f, 40);
        pause_ms((unsigned)(random_next(&f->random) % 300));
        postgres_fixture_terminate(f->pg);
    }
    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 1);
}

static void a_server_that_crashes_loses_nothing(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_await(f);
    for (unsigned round = 0; round < 3; round++) {
        mirror_fixture_work(f, 100);
        pause_ms((unsigned)(random_next(&f->random) % 400));
        assert_true(postgres_server_stop(f->pg->server, SIGQUIT));
        mirror_fixture_work(f, 100);
        if (round == 0) { /* It is not that patient. */
            assert_true(wait_until(mirror_fixture_has_failed, f, MIRROR_FIXTURE_MS));
        }
        assert_true(postgres_server_start(f->pg->server));
        mirror_fixture_check(f);
    }
    assert_int_equal(mirror_fixture_status(f).copies, 1);
    assert_true(mirror_fixture_status(f).failures > 0);
    assert_string_equal(mirror_fixture_status(f).error, "");
}

/* The server commits and nobody hears of it, or it never hears that it should. */
static void commits_whose_answers_are_lost_count_once(void **state)
{
    struct mirror_fixture *f = *state;

    postgres_fixture_need(f->pg);
    f->pg->relay.targets[0].address = "127.0.0.1";
    f->pg->relay.targets[0].port = f->pg->server->port;
    assert_true(relay_start(&f->pg->relay, test_seed()));
    mirror_fixture_start(f, 0,
                         postgres_fixture_url(f->pg, "keeper", f->pg->relay.targets[0].relay_port));
    mirror_fixture_check(f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        relay_lose(&f->pg->relay, round % 2 == 0 ? RELAY_LOSE_ANSWER : RELAY_LOSE_REQUEST, "COMMIT",
                   1, false);
        mirror_fixture_work(f, 40);
        mirror_fixture_check(f);
        assert_true(relay_is_lost(&f->pg->relay));
    }
    assert_int_equal(mirror_fixture_status(f).copies, 1);
}

/* The tables are where the change log does not reach back to. No mirror runs. */
static void make_gap(struct mirror_fixture *f)
{
    mirror_fixture_begin(f);
    state_work_put_item(f->state, "k", "1"); /* So that something is there. */
    mirror_fixture_work(f, 100);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    mirror_fixture_work(f, 100);
    f->state->now_ms += 2 * LIMIT_CHANGES_MS;
    mirror_fixture_work(f, 1);
    (void)state_maintain(f->state, 500);
    mirror_fixture_work(f, 50);
}

static void changes_that_are_not_there_any_more_are_copied(void **state)
{
    struct mirror_fixture *f = *state;

    make_gap(f);
    mirror_fixture_begin(f);

    mirror_fixture_check(f);
    assert_int_equal(mirror_fixture_status(f).copies, 1);
}

static bool waits_for_lock(void *data)
{
    const struct mirror_fixture *f = data;
    char *n = postgres_server_ask(f->pg->server,
                                  "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                  "'holdfast' AND wait_event_type = 'Lock'");
    bool waits = strcmp(n, "1") == 0;

    free(n);
    return waits;
}

/* A copy is held up behind its first deletes. */
static void who_reads_sees_the_old_rows_until_a_copy_is_done(void **state)
{
    struct mirror_fixture *f = *state;
    unsigned n_namespaces;
    unsigned n_sessions;
    char sql[100];
    PGconn *pg;

    make_gap(f);
    n_namespaces = postgres_fixture_count(f->pg, "FROM namespaces");
    n_sessions = postgres_fixture_count(f->pg, "FROM sessions");
    pg = postgres_server_connect(f->pg->server);
    (void)snprintf(sql, sizeof sql, "BEGIN; LOCK TABLE %s.items IN SHARE ROW EXCLUSIVE MODE",
                   f->pg->schema);
    PQclear(PQexec(pg, sql));
    mirror_fixture_begin(f);
    assert_true(wait_until(waits_for_lock, f, MIRROR_FIXTURE_MS));
    assert_int_equal(mirror_fixture_status(f).activity, MIRROR_COPYING);
    assert_true(n_namespaces > 0);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM namespaces"), n_namespaces);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM sessions"), n_sessions);

    PQfinish(pg);
    mirror_fixture_check(f);
}

/* Another node, that has executed more, wrote last. */
static void a_node_that_is_behind_waits(void **state)
{
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    mirror_fixture_ask(f, "UPDATE %s.position SET newest_revision = newest_revision + 5");
    mirror_fixture_begin(f);
    while (mirror_fixture_status(f).activity != MIRROR_WAITING ||
           mirror_fixture_status(f).revision == 0) {
        pause_ms(10);
    }
    assert_false(mirror_fixture_status(f).is_exact);
    assert_int_equal(mirror_fixture_status(f).transactions, 0);
    mirror_fixture_work(f, 100);
    mirror_fixture_check(f);
}

/* --- Who listens --- */

static void who_listens_hears_of_each_transaction(void **state)
{
    struct mirror_fixture *f = *state;
    PGconn *pg;
    char sql[100];
    json_int_t heard = 0;
    json_int_t items = 0;

    mirror_fixture_begin(f);
    mirror_fixture_check(f);
    pg = postgres_server_connect(f->pg->server);
    (void)snprintf(sql, sizeof sql, "LISTEN %s", f->pg->schema);
    PQclear(PQexec(pg, sql));
    state_work_put_item(f->state, "k", "1");
    state_work_put_item(f->state, "l", "1");
    state_commit(f->state);
    while (heard < (json_int_t)mirror_fixture_revision(f)) {
        PGnotify *notification;
        json_t *json;

        PQclear(PQexec(pg, "SELECT 1"));
        notification = PQnotifies(pg);
        if (notification == NULL) {
            pause_ms(10);
            continue;
        }
        assert_string_equal(notification->relname, f->pg->schema);
        json = json_loads(notification->extra, 0, NULL);
        assert_true(json_is_true(json_object_get(json, "exact")));
        heard = json_integer_value(json_object_get(json, "revision"));
        items += json_integer_value(json_object_get(json, "items"));
        json_decref(json);
        PQfreemem(notification);
    }
    PQfinish(pg);
    assert_int_equal(items, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, mirror_fixture_open, mirror_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_tables_are_what_the_state_is),
        TEST(a_state_that_is_there_is_copied),
        TEST(what_jsonb_cannot_hold_is_there_as_text),
        TEST(two_that_mirror_at_once_do_no_harm),
        TEST(who_is_not_chosen_stands_by),
        TEST(who_is_not_chosen_stands_in),
        TEST(connections_that_are_lost_lose_nothing),
        TEST(a_server_that_crashes_loses_nothing),
        TEST(commits_whose_answers_are_lost_count_once),
        TEST(changes_that_are_not_there_any_more_are_copied),
        TEST(who_reads_sees_the_old_rows_until_a_copy_is_done),
        TEST(a_node_that_is_behind_waits),
        TEST(who_listens_hears_of_each_transaction),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, postgres_fixture_open_group, postgres_fixture_close_group);
}
