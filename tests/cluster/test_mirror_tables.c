/* The mirror in a real PostgreSQL server, of a state that the test changes itself: what is in the
 * tables, whatever is lost on the way, and who may do what. Real nodes: test_mirror.c. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "storage/archive/mirror.h"
#include "storage/archive/postgres_connection.h"
#include "storage/archive/postgres_statement.h"
#include "tests/lib/deadline.h"
#include "tests/lib/mirror_rows.h"
#include "tests/lib/postgres_fixture.h"
#include "tests/lib/process.h"
#include "tests/lib/state_work.h"

#define TEST_LIMIT_S 900
#define WAIT_MS      60000
#define CLUSTER      "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER        "11234567-89ab-cdef-0123-456789abcdef"
#define ROUNDS       12

struct fixture {
    struct postgres_fixture *pg;
    struct state_fixture *state;
    struct mirror *mirrors[2];
    const char *cluster_id;
    atomic_bool is_chosen;
    uint64_t random;
};

/* --- The fixture --- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    void *pg;

    assert_non_null(f);
    *state = f;
    assert_int_equal(postgres_fixture_open(&pg), 0);
    f->pg = pg;
    f->state = state_new();
    f->cluster_id = CLUSTER;
    atomic_store(&f->is_chosen, true);
    f->random = test_seed();
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *pg = f->pg;

    mirror_close(f->mirrors[0]);
    mirror_close(f->mirrors[1]);
    state_free(f->state);
    (void)postgres_fixture_close(&pg);
    free(f);
    return 0;
}

static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    const struct fixture *f = data;

    strcpy(cluster_id, f->cluster_id);
    *node_id = 7;
    return true;
}

static bool is_chosen(void *data)
{
    return atomic_load(&((struct fixture *)data)->is_chosen);
}

static void open_mirror(struct fixture *f, unsigned number, const char *url)
{
    const struct mirror_options options = {.url = url,
                                           .store = f->state->store,
                                           .node = number == 0 ? "n1" : "n2",
                                           .data = f,
                                           .identify = identify,
                                           .is_chosen = is_chosen};

    postgres_fixture_check_ok(mirror_open(&options, &f->mirrors[number], &f->pg->error),
                              &f->pg->error);
}

/* As the owner of the schema. */
static void begin(struct fixture *f)
{
    postgres_fixture_need(f->pg);
    open_mirror(f, 0, postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
}

static void end(struct fixture *f)
{
    mirror_close(f->mirrors[0]);
    f->mirrors[0] = NULL;
}

static struct mirror_status status_of(struct fixture *f)
{
    struct mirror_status status;

    mirror_status(f->mirrors[0], &status);
    return status;
}

static uint64_t state_revision(struct fixture *f)
{
    uint64_t revision = state_view(f->state)->state->revision;

    state_view_end(f->state);
    return revision;
}

static void ask(struct fixture *f, const char *format)
{
    free(postgres_server_ask(f->pg->server, format, f->pg->schema, f->pg->schema));
}

/* --- What is in the tables --- */

static bool is_up_to_date(void *data)
{
    struct fixture *f = data;
    struct mirror_status status = status_of(f);

    return status.revision == state_revision(f) && status.is_exact && status.lag_revisions == 0 &&
           status.activity == MIRROR_IDLE;
}

static void await_mirror(struct fixture *f)
{
    if (!wait_until(is_up_to_date, f, WAIT_MS)) {
        struct mirror_status status = status_of(f);

        fail_msg("%s at %llu, not at %llu: %s", mirror_activity_text(status.activity),
                 (unsigned long long)status.revision, (unsigned long long)state_revision(f),
                 status.error);
    }
}

/* The tables are what the state is, when the mirror says so. */
static void check_tables(struct fixture *f)
{
    PGconn *pg = postgres_server_connect(f->pg->server);
    struct mirror_rows_position position;
    struct view *view;
    json_t *expected;
    json_t *found;
    uint64_t time_ms;
    char why[2048];

    await_mirror(f);
    found = mirror_rows_of_tables(pg, f->pg->schema, &position);
    PQfinish(pg);
    view = state_view(f->state);
    expected = mirror_rows_of_state(view);
    time_ms = view->state->time_ms;
    state_view_end(f->state);
    mirror_rows_drop_expired(found, time_ms);
    if (!mirror_rows_match(expected, found, why, sizeof why)) {
        fail_msg("revision %lld: %s", position.revision, why);
    }
    assert_true(position.is_exact);
    assert_int_equal(position.revision, state_revision(f));
    assert_true(position.time_ms <= (long long)time_ms);
    json_decref(found);
    json_decref(expected);
}

static void work(struct fixture *f, unsigned n)
{
    state_work(f->state, &f->random, n);
    state_commit(f->state);
}

static void the_tables_are_what_the_state_is(void **state)
{
    struct fixture *f = *state;

    begin(f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        work(f, 60);
        check_tables(f);
    }
    assert_int_equal(status_of(f).copies, 1);
    assert_int_equal(status_of(f).failures, 0);
    assert_true(status_of(f).sessions > 0 && status_of(f).events > 0 && status_of(f).items > 0);
}

static void a_state_that_is_there_is_copied(void **state)
{
    struct fixture *f = *state;

    postgres_fixture_need(f->pg);
    work(f, 500);
    begin(f);
    check_tables(f);
    assert_int_equal(status_of(f).copies, 1);

    end(f);
    work(f, 100);
    begin(f); /* Goes on from where it was. */
    check_tables(f);
    assert_int_equal(status_of(f).copies, 0);
}

/* JSON that the API takes and jsonb does not; and much of it, and bytes. */
static void what_jsonb_cannot_hold_is_there_as_text(void **state)
{
    struct fixture *f = *state;
    const struct operation extreme_is_gone = item_delete("extreme");
    char *large = calloc(1, LIMIT_ITEM_BYTES + 1);

    assert_non_null(large);
    begin(f);
    state_work_put_item(f->state, "tiny", "[1e-99999]");
    state_work_put_item(f->state, "nul", "{\"a\":\"\\u0000\"}");
    state_work_put_item(f->state, "extreme", "[1e300, -1e-300, 123456789012345678]");
    await_mirror(f);
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
    check_tables(f);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE raw IS NOT NULL"), 3);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE doc IS NULL"), 3);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM items WHERE key = 'nul' AND "
                                                   "replace(raw, '\\u0000', '')::jsonb = "
                                                   "'{\"a\":\"\"}'"),
                     1);
}

static void two_that_mirror_at_once_do_no_harm(void **state)
{
    struct fixture *f = *state;
    struct mirror_status other;

    begin(f);
    open_mirror(f, 1, postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    for (unsigned round = 0; round < 4 * ROUNDS; round++) {
        work(f, 20);
        pause_ms((unsigned)(random_next(&f->random) % 100));
        if (round % 8 == 0) {
            check_tables(f);
        }
    }
    check_tables(f);
    mirror_status(f->mirrors[1], &other);
    assert_int_equal(other.failures + status_of(f).failures, 0);
    assert_int_equal(other.copies + status_of(f).copies, 1);
}

static void who_is_not_chosen_stands_by(void **state)
{
    struct fixture *f = *state;

    begin(f);
    work(f, 50);
    check_tables(f);
    atomic_store(&f->is_chosen, false);
    while (status_of(f).activity != MIRROR_STANDBY) {
        pause_ms(10); /* The limit of the test ends it. */
    }
    work(f, 50);
    assert_int_equal(status_of(f).lag_ms, 0);
    atomic_store(&f->is_chosen, true);
    check_tables(f);
    assert_int_equal(status_of(f).copies, 1);
}

/* --- What is lost --- */

static void connections_that_are_lost_lose_nothing(void **state)
{
    struct fixture *f = *state;

    begin(f);
    await_mirror(f);
    for (unsigned round = 0; round < 3 * ROUNDS; round++) {
        work(f, 40);
        pause_ms((unsigned)(random_next(&f->random) % 300));
        postgres_fixture_terminate(f->pg);
    }
    check_tables(f);
    assert_int_equal(status_of(f).copies, 1);
}

static bool has_failed(void *data)
{
    return status_of(data).activity == MIRROR_FAILING && status_of(data).error[0] != '\0';
}

static void a_server_that_crashes_loses_nothing(void **state)
{
    struct fixture *f = *state;

    begin(f);
    await_mirror(f);
    for (unsigned round = 0; round < 3; round++) {
        work(f, 100);
        pause_ms((unsigned)(random_next(&f->random) % 400));
        assert_true(postgres_server_stop(f->pg->server, SIGQUIT));
        work(f, 100);
        if (round == 0) { /* It is not that patient. */
            assert_true(wait_until(has_failed, f, WAIT_MS));
        }
        assert_true(postgres_server_start(f->pg->server));
        check_tables(f);
    }
    assert_int_equal(status_of(f).copies, 1);
    assert_true(status_of(f).failures > 0);
    assert_string_equal(status_of(f).error, "");
}

/* The server commits and nobody hears of it, or it never hears that it should. */
static void commits_whose_answers_are_lost_count_once(void **state)
{
    struct fixture *f = *state;

    postgres_fixture_need(f->pg);
    f->pg->relay.targets[0].address = "127.0.0.1";
    f->pg->relay.targets[0].port = f->pg->server->port;
    assert_true(relay_start(&f->pg->relay, test_seed()));
    open_mirror(f, 0, postgres_fixture_url(f->pg, "keeper", f->pg->relay.targets[0].relay_port));
    check_tables(f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        relay_lose(&f->pg->relay, round % 2 == 0 ? RELAY_LOSE_ANSWER : RELAY_LOSE_REQUEST, "COMMIT",
                   1, false);
        work(f, 40);
        check_tables(f);
        assert_true(relay_is_lost(&f->pg->relay));
    }
    assert_int_equal(status_of(f).copies, 1);
}

static void changes_that_are_not_there_any_more_are_copied(void **state)
{
    struct fixture *f = *state;

    begin(f);
    work(f, 100);
    check_tables(f);
    end(f);
    work(f, 100);
    f->state->now_ms += 2 * LIMIT_CHANGES_MS;
    work(f, 1);
    (void)state_maintain(f->state, 500);
    work(f, 50);
    begin(f);

    check_tables(f);
    assert_int_equal(status_of(f).copies, 1);
}

/* Another node, that has executed more, wrote last. */
static void a_node_that_is_behind_waits(void **state)
{
    struct fixture *f = *state;

    begin(f);
    work(f, 50);
    check_tables(f);
    end(f);
    ask(f, "UPDATE %s.position SET newest_revision = newest_revision + 5");
    begin(f);
    while (status_of(f).activity != MIRROR_WAITING || status_of(f).revision == 0) {
        pause_ms(10);
    }
    assert_false(status_of(f).is_exact);
    assert_int_equal(status_of(f).transactions, 0);
    work(f, 100);
    check_tables(f);
}

/* --- Who listens --- */

static void who_listens_hears_of_each_transaction(void **state)
{
    struct fixture *f = *state;
    PGconn *pg;
    char sql[100];
    json_int_t heard = 0;
    json_int_t items = 0;

    begin(f);
    check_tables(f);
    pg = postgres_server_connect(f->pg->server);
    (void)snprintf(sql, sizeof sql, "LISTEN %s", f->pg->schema);
    PQclear(PQexec(pg, sql));
    state_work_put_item(f->state, "k", "1");
    state_work_put_item(f->state, "l", "1");
    state_commit(f->state);
    while (heard < (json_int_t)state_revision(f)) {
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

/* --- Who may do what --- */

/* It fails, saying so, and nothing secret. */
static void await_failure(struct fixture *f, const char *words)
{
    struct mirror_status status;

    assert_true(wait_until(has_failed, f, WAIT_MS));
    status = status_of(f);
    if (strstr(status.error, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, status.error);
    }
    assert_null(strstr(status.error, POSTGRES_FIXTURE_PASSWORD));
    assert_null(strstr(status.error, "cr%40t"));
    assert_int_equal(status.transactions, 0);
}

static void the_tables_of_another_cluster_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct mirror_rows_position before;
    struct mirror_rows_position after;
    PGconn *pg;
    json_t *rows;

    begin(f);
    work(f, 50);
    check_tables(f);
    end(f);
    pg = postgres_server_connect(f->pg->server);
    json_decref(mirror_rows_of_tables(pg, f->pg->schema, &before));
    work(f, 50);
    f->cluster_id = OTHER;
    begin(f);
    await_failure(f, "DROP SCHEMA");
    assert_non_null(strstr(status_of(f).error, CLUSTER));
    assert_non_null(strstr(status_of(f).error, OTHER));
    rows = mirror_rows_of_tables(pg, f->pg->schema, &after);
    json_decref(rows);
    PQfinish(pg);
    assert_int_equal(after.revision, before.revision);

    ask(f, "DROP SCHEMA %s CASCADE; CREATE SCHEMA %s AUTHORIZATION keeper");
    check_tables(f);
}

static void a_wrong_password_is_told_and_mended(void **state)
{
    struct fixture *f = *state;

    postgres_fixture_need(f->pg);
    free(postgres_server_ask(f->pg->server, "ALTER ROLE keeper PASSWORD 'other'"));
    begin(f);
    await_failure(f, "28P01");
    free(postgres_server_ask(f->pg->server, "ALTER ROLE keeper PASSWORD '%s'",
                             POSTGRES_FIXTURE_PASSWORD));
    work(f, 20);
    check_tables(f);
    assert_string_equal(status_of(f).error, "");
}

/* What a role gets for a statement: NULL if it succeeds, else its SQLSTATE, static. */
static const char *try_as(struct fixture *f, const char *role, const char *sql)
{
    static char sqlstate[8];
    char url[300];
    PGconn *pg;
    PGresult *result;
    bool is_good;

    (void)snprintf(url, sizeof url,
                   "postgres://%s:se%%2Fcr%%40t@127.0.0.1:%u/postgres?options=-csearch_path%%3D%s",
                   role, f->pg->server->port, f->pg->schema);
    pg = PQconnectdb(url);
    assert_int_equal(PQstatus(pg), CONNECTION_OK);
    result = PQexec(pg, sql);
    is_good =
        PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK;
    (void)snprintf(sqlstate, sizeof sqlstate, "%s",
                   is_good ? "" : PQresultErrorField(result, PG_DIAG_SQLSTATE));
    PQclear(result);
    PQfinish(pg);
    return is_good ? NULL : sqlstate;
}

static void the_reader_can_read_and_nothing_else(void **state)
{
    static const char *const forbidden[] = {"INSERT INTO items SELECT * FROM items",
                                            "UPDATE sessions SET status = 'closed'",
                                            "DELETE FROM events",
                                            "TRUNCATE namespaces",
                                            "UPDATE position SET revision = 1",
                                            "CREATE TABLE x (y integer)",
                                            "DROP TABLE items",
                                            "UPDATE schema_version SET version = 9"};
    struct fixture *f = *state;
    char url[300];

    begin(f); /* Without one: he is let in later. */
    work(f, 50);
    check_tables(f);
    end(f);
    assert_string_equal(try_as(f, "looker", "SELECT * FROM sessions"), "42P01");
    (void)snprintf(url, sizeof url, "%s&reader=looker",
                   postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    open_mirror(f, 0, url);
    work(f, 50);
    check_tables(f);

    assert_null(
        try_as(f, "looker", "SELECT count(*) FROM position, namespaces, sessions, events, items"));
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        const char *sqlstate = try_as(f, "looker", forbidden[i]);

        assert_non_null(sqlstate);
        assert_string_equal(sqlstate, "42501");
    }
    assert_string_equal(try_as(f, "daily", "SELECT * FROM sessions"), "42P01"); /* No other. */
}

static void a_reader_that_is_not_there_is_told(void **state)
{
    struct fixture *f = *state;
    char url[300];

    postgres_fixture_need(f->pg);
    (void)snprintf(url, sizeof url, "%s&reader=nobody_1",
                   postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    open_mirror(f, 0, url);
    await_failure(f, "role \"nobody_1\" does not exist");
}

/* As docs/archive.md says. */
static void a_role_of_least_rights_is_enough_from_day_to_day(void **state)
{
    struct fixture *f = *state;
    char url[300];

    begin(f);
    check_tables(f);
    end(f);
    (void)snprintf(url, sizeof url, "%s",
                   postgres_fixture_url(f->pg, "daily", f->pg->server->port));
    open_mirror(f, 0, url);
    await_failure(f, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES");
    ask(f, "GRANT USAGE ON SCHEMA %s TO daily; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES "
           "IN SCHEMA %s TO daily; REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC");
    end(f);
    open_mirror(f, 0, url);
    await_failure(f, "GRANT TEMPORARY ON DATABASE");
    ask(f, "GRANT TEMPORARY ON DATABASE postgres TO daily, keeper");
    work(f, 50);
    check_tables(f);
    ask(f, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC");
}

static void an_archive_and_a_mirror_do_not_share_a_schema(void **state)
{
    struct fixture *f = *state;

    postgres_fixture_need(f->pg);
    postgres_fixture_put(f->pg, "a/b", slice_of_string("1"));
    begin(f);
    await_failure(f, "holds something else");
}

/* --- Later programs --- */

static const char *const first_step[] = {"CREATE TABLE marked (a integer)", NULL};
static const char *const second_step[] = {"ALTER TABLE marked ADD COLUMN b integer DEFAULT 7",
                                          NULL};
static const char *const *const both_steps[] = {first_step, second_step};
static const struct postgres_schema earlier = {
    .marker = "marked", .steps = both_steps, .n_steps = 1};
static const struct postgres_schema later = {.marker = "marked", .steps = both_steps, .n_steps = 2};

static enum status run_sql(struct postgres_connection *connection, void *data, struct error *error)
{
    return postgres_run(connection, data, NULL, NULL, error);
}

static enum status run_with(struct fixture *f, const struct postgres_schema *schema,
                            const char *sql)
{
    const struct repository_options options = {.is_canceled = NULL};
    struct postgres_connection connection;
    struct postgres_url url;
    enum status status;

    assert_int_equal(postgres_url_parse(&url,
                                        postgres_fixture_url(f->pg, "keeper", f->pg->server->port),
                                        POSTGRES_SCHEMA, &f->pg->error),
                     STATUS_OK);
    postgres_connection_init(&connection, &url, &options, schema);
    status = postgres_connection_attempt(&connection, run_sql, (void *)sql, &f->pg->error);
    postgres_connection_close(&connection);
    postgres_url_close(&url);
    return status;
}

static void a_later_step_keeps_the_data(void **state)
{
    struct fixture *f = *state;

    postgres_fixture_need(f->pg);
    postgres_fixture_check_ok(run_with(f, &earlier, "INSERT INTO marked VALUES (1), (2)"),
                              &f->pg->error);
    postgres_fixture_check_ok(run_with(f, &later, "INSERT INTO marked VALUES (3, 3)"),
                              &f->pg->error);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM marked WHERE a < 3 AND b = 7"), 2);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM marked WHERE b = 3"), 1);
    assert_int_equal(postgres_fixture_count(f->pg, "FROM schema_version WHERE version = 2"), 1);
    assert_int_equal(run_with(f, &earlier, "SELECT 1"), STATUS_UNSUPPORTED);
}

static void tables_of_a_later_program_are_left_alone(void **state)
{
    struct fixture *f = *state;

    begin(f);
    check_tables(f);
    end(f);
    ask(f, "UPDATE %s.schema_version SET version = 999");
    work(f, 10);
    begin(f);
    await_failure(f, "999");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_tables_are_what_the_state_is),
        TEST(a_state_that_is_there_is_copied),
        TEST(what_jsonb_cannot_hold_is_there_as_text),
        TEST(two_that_mirror_at_once_do_no_harm),
        TEST(who_is_not_chosen_stands_by),
        TEST(connections_that_are_lost_lose_nothing),
        TEST(a_server_that_crashes_loses_nothing),
        TEST(commits_whose_answers_are_lost_count_once),
        TEST(changes_that_are_not_there_any_more_are_copied),
        TEST(a_node_that_is_behind_waits),
        TEST(who_listens_hears_of_each_transaction),
        TEST(the_tables_of_another_cluster_are_left_alone),
        TEST(a_wrong_password_is_told_and_mended),
        TEST(the_reader_can_read_and_nothing_else),
        TEST(a_reader_that_is_not_there_is_told),
        TEST(a_role_of_least_rights_is_enough_from_day_to_day),
        TEST(an_archive_and_a_mirror_do_not_share_a_schema),
        TEST(a_later_step_keeps_the_data),
        TEST(tables_of_a_later_program_are_left_alone),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, postgres_fixture_open_group, postgres_fixture_close_group);
}
