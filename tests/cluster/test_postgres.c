/* A repository in a real PostgreSQL server: the contract of all repositories, and who may do what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/ports.h"
#include "tests/lib/postgres_fixture.h"
#include "tests/lib/process.h"
#include "tests/lib/repository_contract.h"

#define TEST_LIMIT_S 600
#define NAME         "a/b"

/* --- The contract --- */

static void a_database_keeps_the_contract(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    repository_contract(f->repository);
    assert_int_equal(postgres_fixture_count(f, "FROM chunks"), 0);
    assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
}

static void a_database_is_not_local_and_is_shown_without_its_password(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    assert_false(repository_is_local(f->repository));
    assert_null(strstr(repository_url(f->repository), "cr%40t"));
    assert_non_null(strstr(repository_url(f->repository), "postgres://keeper@127.0.0.1:"));
}

static void the_largest_object_is_kept(void **state)
{
    struct postgres_fixture *f = *state;
    uint8_t *bytes;

    postgres_fixture_need(f);
    bytes = calloc(1, REPOSITORY_OBJECT_BYTES);
    assert_non_null(bytes);
    bytes[REPOSITORY_OBJECT_BYTES - 1] = 7;
    postgres_fixture_put(f, NAME, slice_of(bytes, REPOSITORY_OBJECT_BYTES));
    postgres_fixture_check_object(f, NAME, slice_of(bytes, REPOSITORY_OBJECT_BYTES));
    free(bytes);
}

static void content_that_is_not_what_its_hash_says_leaves_nothing(void **state)
{
    struct postgres_fixture *f = *state;
    struct repository_content content = {.size_bytes = 3};
    FILE *file = tmpfile();

    postgres_fixture_need(f);
    assert_non_null(file);
    assert_true(fputs("abc", file) >= 0 && fflush(file) == 0);
    content.fd = fileno(file);
    assert_int_equal(repository_create(f->repository, NAME, &content, &f->error), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, NAME));
    content.size_bytes = 4;
    assert_int_equal(repository_create(f->repository, NAME, &content, &f->error), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "cut off"));
    assert_int_equal(fclose(file), 0);

    assert_int_equal(postgres_fixture_count(f, "FROM objects"), 0);
    assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
    assert_int_equal(postgres_fixture_count(f, "FROM chunks"), 0);
}

static void an_object_that_lost_a_chunk_is_damaged(void **state)
{
    struct postgres_fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, postgres_fixture_large(1));
    for (int number = 2; number >= 0; number--) {
        free(postgres_server_ask(f->server, "DELETE FROM %s.chunks WHERE number = %d", f->schema,
                                 number));
        assert_int_equal(postgres_fixture_get(f->repository, NAME, &bytes, &f->error),
                         STATUS_CORRUPT);
        assert_int_equal(bytes.size, 0);
    }
    buffer_close(&bytes);
}

/* --- Who may do what --- */

static enum status try_as(struct postgres_fixture *f, const char *url)
{
    struct repository *repository = postgres_fixture_repository(f, url);
    enum status status;
    unsigned n;

    status = postgres_fixture_list(repository, &n, &f->error);
    repository_close(repository);
    assert_null(strstr(f->error.text, "cr%40t"));
    assert_null(strstr(f->error.text, POSTGRES_FIXTURE_PASSWORD));
    return status;
}

static void a_wrong_password_is_told_at_once_and_not_repeated(void **state)
{
    struct postgres_fixture *f = *state;
    char url[256];

    postgres_fixture_need(f);
    (void)snprintf(url, sizeof url, "postgres://keeper:wrongish@127.0.0.1:%u/postgres",
                   f->server->port);
    assert_int_equal(try_as(f, url), STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, "28P01"));
    assert_null(strstr(f->error.text, "wrongish"));
    (void)snprintf(url, sizeof url, "postgres://keeper@127.0.0.1:%u/postgres", f->server->port);
    assert_int_equal(try_as(f, url), STATUS_PERMISSION); /* None at all. */
}

static void a_database_that_is_not_there_is_told(void **state)
{
    struct postgres_fixture *f = *state;
    char url[256];

    postgres_fixture_need(f);
    (void)snprintf(url, sizeof url, "postgres://admin@127.0.0.1:%u/nowhere", f->server->port);
    assert_int_equal(try_as(f, url), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "\"nowhere\" does not exist"));
}

static void who_may_not_make_the_schema_is_told_what_to_run(void **state)
{
    struct postgres_fixture *f = *state;
    static const char advice[] = "CREATE SCHEMA \"wanted\" AUTHORIZATION \"daily\"";
    char url[256];

    postgres_fixture_need(f);
    strcpy(f->schema, "wanted");
    (void)snprintf(url, sizeof url, "%s", postgres_fixture_url(f, "daily", f->server->port));
    assert_int_equal(try_as(f, url), STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, advice));
    assert_non_null(strstr(f->error.text, "permission denied for database"));

    free(postgres_server_ask(f->server, "%s", advice));
    postgres_fixture_check_ok(try_as(f, url), &f->error);
}

static void who_may_not_make_tables_is_told_what_to_run(void **state)
{
    struct postgres_fixture *f = *state;
    char advice[128];

    postgres_fixture_need(f);
    (void)snprintf(advice, sizeof advice, "GRANT USAGE, CREATE ON SCHEMA \"%s\" TO \"daily\"",
                   f->schema);
    free(postgres_server_ask(f->server, "GRANT USAGE ON SCHEMA %s TO daily", f->schema));
    assert_int_equal(try_as(f, postgres_fixture_url(f, "daily", f->server->port)),
                     STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, advice));

    free(postgres_server_ask(f->server, "%s", advice));
    postgres_fixture_check_ok(try_as(f, postgres_fixture_url(f, "daily", f->server->port)),
                              &f->error);
}

/* As in postgres.h. */
static void a_role_of_least_rights_is_enough_from_day_to_day(void **state)
{
    struct postgres_fixture *f = *state;
    struct repository *daily;
    char advice[256];

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    assert_int_equal(try_as(f, postgres_fixture_url(f, "daily", f->server->port)),
                     STATUS_PERMISSION);
    (void)snprintf(advice, sizeof advice,
                   "GRANT USAGE ON SCHEMA \"%s\" TO \"daily\"; GRANT SELECT, INSERT, UPDATE, "
                   "DELETE ON ALL TABLES IN SCHEMA \"%s\" TO \"daily\"",
                   f->schema, f->schema);
    assert_non_null(strstr(f->error.text, advice));

    free(postgres_server_ask(f->server, "%s", advice));
    postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    daily = postgres_fixture_repository(f, postgres_fixture_url(f, "daily", f->server->port));
    repository_contract(daily);
    repository_close(daily);
}

static void who_may_only_read_can_do_that(void **state)
{
    struct postgres_fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    struct repository *looker;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    free(postgres_server_ask(f->server,
                             "GRANT USAGE ON SCHEMA %s TO looker; "
                             "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO looker",
                             f->schema, f->schema));
    looker = postgres_fixture_repository(f, postgres_fixture_url(f, "looker", f->server->port));
    postgres_fixture_check_ok(postgres_fixture_get(looker, NAME, &bytes, &f->error), &f->error);
    assert_int_equal(bytes.size, 1);
    assert_int_equal(repository_put(looker, "x", slice_of_string("1"), &f->error),
                     STATUS_PERMISSION);
    assert_int_equal(repository_remove(looker, NAME, &f->error), STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, "permission denied for table"));
    repository_close(looker);
    buffer_close(&bytes);
}

/* As a standby is. */
static void a_server_that_is_read_only_is_told(void **state)
{
    struct postgres_fixture *f = *state;
    struct repository *repository;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    free(
        postgres_server_ask(f->server, "ALTER ROLE keeper SET default_transaction_read_only = on"));
    repository = postgres_fixture_repository(f, postgres_fixture_url(f, "keeper", f->server->port));
    assert_int_equal(repository_put(repository, "x", slice_of_string("1"), &f->error),
                     STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, "standby"));
    assert_int_equal(repository_remove(repository, NAME, &f->error), STATUS_PERMISSION);
    repository_close(repository);

    strcpy(f->schema, "not_there");
    assert_int_equal(try_as(f, postgres_fixture_url(f, "keeper", f->server->port)),
                     STATUS_PERMISSION);
    assert_non_null(strstr(f->error.text, "standby"));
    free(postgres_server_ask(f->server, "ALTER ROLE keeper RESET default_transaction_read_only"));
}

static void tables_of_a_later_program_are_left_alone(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    free(postgres_server_ask(f->server, "UPDATE %s.schema_version SET version = 999", f->schema));
    assert_int_equal(try_as(f, postgres_fixture_url(f, "keeper", f->server->port)),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(f->error.text, "999"));
}

static void of_several_hosts_the_one_that_works_is_found(void **state)
{
    struct postgres_fixture *f = *state;
    struct repository *repository;
    char url[256];
    unsigned n;

    postgres_fixture_need(f);
    (void)snprintf(url, sizeof url, "postgres://admin@127.0.0.1:%u,127.0.0.1:%u/postgres?schema=%s",
                   port_take(), f->server->port, f->schema);
    repository = postgres_fixture_repository(f, url);
    postgres_fixture_check_ok(postgres_fixture_list(repository, &n, &f->error), &f->error);
    repository_close(repository);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, postgres_fixture_open, postgres_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_database_keeps_the_contract),
        TEST(a_database_is_not_local_and_is_shown_without_its_password),
        TEST(the_largest_object_is_kept),
        TEST(content_that_is_not_what_its_hash_says_leaves_nothing),
        TEST(an_object_that_lost_a_chunk_is_damaged),
        TEST(a_wrong_password_is_told_at_once_and_not_repeated),
        TEST(a_database_that_is_not_there_is_told),
        TEST(who_may_not_make_the_schema_is_told_what_to_run),
        TEST(who_may_not_make_tables_is_told_what_to_run),
        TEST(a_role_of_least_rights_is_enough_from_day_to_day),
        TEST(who_may_only_read_can_do_that),
        TEST(a_server_that_is_read_only_is_told),
        TEST(tables_of_a_later_program_are_left_alone),
        TEST(of_several_hosts_the_one_that_works_is_found),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, postgres_fixture_open_group, postgres_fixture_close_group);
}
