/* The mirror in a real PostgreSQL server: who may do what, and is told what; whose tables they are;
 * and what later programs make of them. What is in them: test_mirror_tables.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/postgres_connection.h"
#include "storage/archive/postgres_statement.h"
#include "tests/lib/deadline.h"
#include "tests/lib/mirror_fixture.h"
#include "tests/lib/mirror_rows.h"
#include "tests/lib/process.h"

#define TEST_LIMIT_S 600
#define OTHER        "11234567-89ab-cdef-0123-456789abcdef"

/* --- Who may do what --- */

/* It fails, saying so, and nothing secret. */
static void await_failure(struct mirror_fixture *f, const char *words)
{
    struct mirror_status status;

    assert_true(wait_until(mirror_fixture_has_failed, f, MIRROR_FIXTURE_MS));
    status = mirror_fixture_status(f);
    if (strstr(status.error, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, status.error);
    }
    assert_null(strstr(status.error, POSTGRES_FIXTURE_PASSWORD));
    assert_null(strstr(status.error, "cr%40t"));
    assert_int_equal(status.transactions, 0);
}

static void the_tables_of_another_cluster_are_left_alone(void **state)
{
    struct mirror_fixture *f = *state;
    struct mirror_rows_position before;
    struct mirror_rows_position after;
    PGconn *pg;
    json_t *rows;

    mirror_fixture_begin(f);
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    pg = postgres_server_connect(f->pg->server);
    json_decref(mirror_rows_of_tables(pg, f->pg->schema, &before));
    mirror_fixture_work(f, 50);
    f->cluster_id = OTHER;
    mirror_fixture_begin(f);
    await_failure(f, "DROP SCHEMA");
    assert_non_null(strstr(mirror_fixture_status(f).error, MIRROR_FIXTURE_CLUSTER));
    assert_non_null(strstr(mirror_fixture_status(f).error, OTHER));
    rows = mirror_rows_of_tables(pg, f->pg->schema, &after);
    json_decref(rows);
    PQfinish(pg);
    assert_int_equal(after.revision, before.revision);

    mirror_fixture_ask(f, "DROP SCHEMA %s CASCADE; CREATE SCHEMA %s AUTHORIZATION keeper");
    mirror_fixture_check(f);
}

static void a_wrong_password_is_told_and_mended(void **state)
{
    struct mirror_fixture *f = *state;

    postgres_fixture_need(f->pg);
    free(postgres_server_ask(f->pg->server, "ALTER ROLE keeper PASSWORD 'other'"));
    mirror_fixture_begin(f);
    await_failure(f, "28P01");
    free(postgres_server_ask(f->pg->server, "ALTER ROLE keeper PASSWORD '%s'",
                             POSTGRES_FIXTURE_PASSWORD));
    mirror_fixture_work(f, 20);
    mirror_fixture_check(f);
    assert_string_equal(mirror_fixture_status(f).error, "");
}

/* What a role gets for a statement: NULL if it succeeds, else its SQLSTATE, static. */
static const char *try_as(struct mirror_fixture *f, const char *role, const char *sql)
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
    struct mirror_fixture *f = *state;
    char url[300];

    mirror_fixture_begin(f); /* Without one: he is let in later. */
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    assert_string_equal(try_as(f, "looker", "SELECT * FROM sessions"), "42P01");
    (void)snprintf(url, sizeof url, "%s&reader=looker",
                   postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    mirror_fixture_start(f, 0, url);
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);

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
    struct mirror_fixture *f = *state;
    char url[300];

    postgres_fixture_need(f->pg);
    (void)snprintf(url, sizeof url, "%s&reader=nobody_1",
                   postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
    mirror_fixture_start(f, 0, url);
    await_failure(f, "role \"nobody_1\" does not exist");
}

/* As docs/archive.md says. */
static void a_role_of_least_rights_is_enough_from_day_to_day(void **state)
{
    struct mirror_fixture *f = *state;
    char url[300];

    mirror_fixture_begin(f);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    (void)snprintf(url, sizeof url, "%s",
                   postgres_fixture_url(f->pg, "daily", f->pg->server->port));
    mirror_fixture_start(f, 0, url);
    await_failure(f, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES");
    mirror_fixture_ask(
        f, "GRANT USAGE ON SCHEMA %s TO daily; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES "
           "IN SCHEMA %s TO daily; REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC");
    mirror_fixture_end(f);
    mirror_fixture_start(f, 0, url);
    await_failure(f, "GRANT TEMPORARY ON DATABASE");
    mirror_fixture_ask(f, "GRANT TEMPORARY ON DATABASE postgres TO daily, keeper");
    mirror_fixture_work(f, 50);
    mirror_fixture_check(f);
    mirror_fixture_ask(f, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC");
}

static void an_archive_and_a_mirror_do_not_share_a_schema(void **state)
{
    struct mirror_fixture *f = *state;

    postgres_fixture_need(f->pg);
    postgres_fixture_put(f->pg, "a/b", slice_of_string("1"));
    mirror_fixture_begin(f);
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

static enum status run_with(struct mirror_fixture *f, const struct postgres_schema *schema,
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
    struct mirror_fixture *f = *state;

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
    struct mirror_fixture *f = *state;

    mirror_fixture_begin(f);
    mirror_fixture_check(f);
    mirror_fixture_end(f);
    mirror_fixture_ask(f, "UPDATE %s.schema_version SET version = 999");
    mirror_fixture_work(f, 10);
    mirror_fixture_begin(f);
    await_failure(f, "999");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, mirror_fixture_open, mirror_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
