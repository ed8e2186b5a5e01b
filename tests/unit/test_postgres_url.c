/* URLs of PostgreSQL: what libpq gets, what people see, and that no part of a password is seen. And
 * the words of the server, as statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/postgres_errors.h"
#include "storage/archive/postgres_url.h"
#include "storage/archive/repository.h"

static void check_url(const char *text, const char *libpq, const char *shown, const char *schema)
{
    struct postgres_url url;
    struct error error = {.text = ""};

    if (postgres_url_parse(&url, text, POSTGRES_SCHEMA, &error) != STATUS_OK) {
        fail_msg("%s: %s", text, error.text);
    }
    assert_string_equal(url.libpq, libpq);
    assert_string_equal(url.shown, shown);
    assert_string_equal(url.schema, schema);
    postgres_url_close(&url);
}

static void a_url_is_shown_as_it_is_without_secrets(void **state)
{
    (void)state;
    check_url("postgres://u@h:5432/d", "postgres://u@h:5432/d", "postgres://u@h:5432/d",
              "holdfast");
    check_url("postgresql://u@h/d", "postgresql://u@h/d", "postgres://u@h/d", "holdfast");
    check_url("postgres://", "postgres://", "postgres://", "holdfast");
}

static void passwords_are_not_shown_wherever_they_are(void **state)
{
    (void)state;
    check_url("postgres://u:secret@h/d", "postgres://u:secret@h/d", "postgres://u@h/d", "holdfast");
    check_url("postgres://u:se?c=r%2Fe%40t@h/d", "postgres://u:se?c=r%2Fe%40t@h/d",
              "postgres://u@h/d", "holdfast");
    check_url("postgres://u@h/d?password=secret&sslmode=require",
              "postgres://u@h/d?password=secret&sslmode=require",
              "postgres://u@h/d?sslmode=require", "holdfast");
    check_url("postgres://u@h/d?%70assword=secret&sslpassword=secret",
              "postgres://u@h/d?%70assword=secret&sslpassword=secret", "postgres://u@h/d",
              "holdfast");
}

static void the_schema_is_kept_from_libpq(void **state)
{
    (void)state;
    check_url("postgres://h/d?schema=x_1", "postgres://h/d", "postgres://h/d?schema=x_1", "x_1");
    check_url("postgres://h/d?schema=holdfast", "postgres://h/d", "postgres://h/d", "holdfast");
    check_url("postgres://h/d?sslmode=require&schema=x", "postgres://h/d?sslmode=require",
              "postgres://h/d?sslmode=require&schema=x", "x");
    check_url("postgres://h/d?schema=x&sslmode=require", "postgres://h/d?sslmode=require",
              "postgres://h/d?sslmode=require&schema=x", "x");
    check_url("postgres://u:a?schema=y@h/d", "postgres://u:a?schema=y@h/d", "postgres://u@h/d",
              "holdfast");
}

static void a_reader_is_kept_from_libpq_and_is_of_mirrors_alone(void **state)
{
    struct repository *repository;
    struct postgres_url url;
    struct error error;

    (void)state;
    assert_int_equal(postgres_url_parse(&url, "postgres://h/d?reader=r_1&schema=x&sslmode=require",
                                        "other", &error),
                     STATUS_OK);
    assert_string_equal(url.libpq, "postgres://h/d?sslmode=require");
    assert_string_equal(url.shown, "postgres://h/d?sslmode=require&schema=x&reader=r_1");
    assert_string_equal(url.reader, "r_1");
    postgres_url_close(&url);
    assert_int_equal(postgres_url_parse(&url, "postgres://h/d", "other", &error), STATUS_OK);
    assert_string_equal(url.schema, "other");
    assert_string_equal(url.shown, "postgres://h/d");
    assert_null(url.reader);
    postgres_url_close(&url);
    assert_int_equal(postgres_url_parse(&url, "postgres://h/d?reader=r\"", "other", &error),
                     STATUS_INVALID);
    assert_non_null(strstr(error.text, "reader"));
    assert_int_equal(repository_open(&(struct repository_options){.url = "postgres://h/d?reader=r"},
                                     &repository, &error),
                     STATUS_INVALID);
    assert_non_null(strstr(error.text, "mirror"));
}

static void hosts_of_all_kinds_are_shown(void **state)
{
    (void)state;
    check_url("postgres://u@[::1]:5/d", "postgres://u@[::1]:5/d", "postgres://u@[::1]:5/d",
              "holdfast");
    check_url("postgres://a:1,b:2/d", "postgres://a:1,b:2/d", "postgres://a:1,b:2/d", "holdfast");
    check_url("postgres://a,b:2/d", "postgres://a,b:2/d", "postgres://a,b:2/d", "holdfast");
    check_url("postgres://a,b/d?port=7", "postgres://a,b/d?port=7", "postgres://a:7,b:7/d",
              "holdfast");
    check_url("postgres://%2Frun%2Fpg/d", "postgres://%2Frun%2Fpg/d", "postgres://%2Frun%2Fpg/d",
              "holdfast");
    check_url("postgres:///d?host=/run/pg", "postgres:///d?host=/run/pg",
              "postgres://%2Frun%2Fpg/d", "holdfast");
}

static void check_refused(const char *text)
{
    struct repository *repository;
    struct error error = {.text = ""};

    assert_int_equal(
        repository_open(&(struct repository_options){.url = text}, &repository, &error),
        STATUS_INVALID);
    assert_int_not_equal(error.text[0], '\0');
    assert_null(strstr(error.text, "cret"));
}

static void a_password_that_is_not_encoded_is_refused_and_not_shown(void **state)
{
    (void)state;
    check_refused("postgres://u:se@cret@h/d");
    check_refused("postgres://u:se/cret@h/d");
    check_refused("postgres://u:1/cret@h/d");
    check_refused("postgres://u:1/se?cret@h/d");
    check_refused("postgres://u:1@se/cret@h/d");
    check_refused("postgres://u:secret%@h/d");
    check_refused("postgres://u:secret%00@h/d");
    check_refused("postgres://u:cret");
}

static void settings_that_are_not_known_are_refused(void **state)
{
    (void)state;
    check_refused("postgres://u:secret@h/d?x=secret");
    check_refused("postgres://u:secret@h/d?secret");
    check_refused("postgres://u:secret@h:x/d");
    check_refused("postgres://u:secret@h/d?schema=");
    check_refused("postgres://u:secret@h/d?schema=1a");
    check_refused("postgres://u:secret@h/d?schema=pg_x");
    check_refused("postgres://u:secret@h/d?schema=A");
    check_refused("postgres://u:secret@h/d?schema=a%22");
    check_refused("postgres://u:secret@h/d?schema=a\"; DROP TABLE x");
    check_refused("postgres://u:secret@h/d?schema="
                  "a234567890123456789012345678901234567890123456789012345678901234");
}

static void lists_are_taken_apart(void **state)
{
    char *element = postgres_url_nth("a,,b", 2);

    (void)state;
    assert_string_equal(element, "b");
    free(element);
    element = postgres_url_nth("a,,b", 1);
    assert_string_equal(element, "");
    free(element);
    assert_null(postgres_url_nth("a,,b", 3));
}

static void check_status(const char *sqlstate, enum status status, enum postgres_remedy remedy)
{
    enum postgres_remedy found;

    assert_int_equal(postgres_error_status(sqlstate, &found), status);
    assert_int_equal(found, remedy);
}

static void what_the_server_says_becomes_a_status(void **state)
{
    (void)state;
    check_status("28P01", STATUS_PERMISSION, POSTGRES_NONE);
    check_status("42501", STATUS_PERMISSION, POSTGRES_NONE);
    check_status("25006", STATUS_PERMISSION, POSTGRES_OTHER_HOST);
    check_status("3D000", STATUS_NOT_FOUND, POSTGRES_NONE);
    check_status("53100", STATUS_DISK_FULL, POSTGRES_NONE);
    check_status("53300", STATUS_BUSY, POSTGRES_RETRY);
    check_status("57P03", STATUS_BUSY, POSTGRES_RETRY);
    check_status("57P01", STATUS_IO, POSTGRES_RETRY);
    check_status("40P01", STATUS_BUSY, POSTGRES_RETRY);
    check_status("57014", STATUS_TIMEOUT, POSTGRES_NONE);
    check_status("XX000", STATUS_IO, POSTGRES_NONE);
    check_status("XX001", STATUS_CORRUPT, POSTGRES_NONE);
    check_status("42P01", STATUS_IO, POSTGRES_NONE);
}

static void the_code_in_a_message_is_found(void **state)
{
    (void)state;
    assert_int_equal(
        strncmp(postgres_error_sqlstate("to server at \"a:  b\", port 5 failed: FATAL:  "
                                        "28P01: password\nLOCATION:  auth_failed"),
                "28P01", 5),
        0);
    assert_null(postgres_error_sqlstate("connection refused:  no:  28P0: x"));
    assert_null(postgres_error_sqlstate(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_shown_as_it_is_without_secrets),
        cmocka_unit_test(passwords_are_not_shown_wherever_they_are),
        cmocka_unit_test(the_schema_is_kept_from_libpq),
        cmocka_unit_test(a_reader_is_kept_from_libpq_and_is_of_mirrors_alone),
        cmocka_unit_test(hosts_of_all_kinds_are_shown),
        cmocka_unit_test(a_password_that_is_not_encoded_is_refused_and_not_shown),
        cmocka_unit_test(settings_that_are_not_known_are_refused),
        cmocka_unit_test(lists_are_taken_apart),
        cmocka_unit_test(what_the_server_says_becomes_a_status),
        cmocka_unit_test(the_code_in_a_message_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
