#include "api/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "api/uuid.h"

static void times_are_those_of_the_calendar(void **state)
{
    struct buffer text = BUFFER_EMPTY;
    (void)state;

    /* Steps of a prime number of seconds meet all months, leap days and turns of centuries. */
    for (uint64_t seconds = 0; seconds < 253402300800u; seconds += 7919987) {
        char expected[80];
        time_t time = (time_t)seconds;
        struct tm tm;

        assert_non_null(gmtime_r(&time, &tm));
        (void)strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z", &tm);
        buffer_clear(&text);
        render_time(&text, seconds * 1000 + 7);
        assert_true(slice_equals_string(buffer_slice(&text), expected));
    }
    buffer_close(&text);
}

static void a_leap_day_and_the_last_moment_are_right(void **state)
{
    struct buffer text = BUFFER_EMPTY;
    (void)state;

    render_time(&text, 951782400000);
    render_time(&text, UINT64_MAX);
    assert_true(slice_equals_string(buffer_slice(&text), "2000-02-29T00:00:00.000Z"
                                                         "9999-12-31T23:59:59.999Z"));
    buffer_close(&text);
}

static void numbers_have_all_their_digits(void **state)
{
    static const uint64_t numbers[] = {0, 9, 10, 1844674407370955161u, UINT64_MAX};
    (void)state;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct buffer text = BUFFER_EMPTY;
        char expected[32];

        (void)snprintf(expected, sizeof(expected), "%llu", (unsigned long long)numbers[i]);
        render_number(&text, numbers[i]);
        assert_true(slice_equals_string(buffer_slice(&text), expected));
        buffer_close(&text);
    }
}

static void a_row_that_is_damaged_is_not_rendered(void **state)
{
    struct buffer text = BUFFER_EMPTY;
    struct operation_result result = {.row = slice_of("\x01\x02", 2)};
    (void)state;

    for (enum row_kind kind = ROW_SESSION; kind < ROW_KINDS; kind++) {
        result.row_kind = kind;
        assert_false(render_row(&text, &result));
    }
    buffer_close(&text);
}

static void texts_of_clients_are_escaped(void **state)
{
    const struct event_row row = {.seq = 1,
                                  .id = slice_of_string("i"),
                                  .type = slice_of_string("a\"b\\c\x01"),
                                  .data = slice_of_string("[]")};
    struct buffer text = BUFFER_EMPTY;
    (void)state;

    render_event(&text, &row);
    assert_true(slice_equals_string(
        buffer_slice(&text), "{\"seq\":1,\"id\":\"i\",\"type\":\"a\\\"b\\\\c\\u0001\",\"data\":[],"
                             "\"created_at\":\"1970-01-01T00:00:00.000Z\"}"));
    buffer_close(&text);
}

static void ids_are_version_7_and_sorted_by_time(void **state)
{
    char earlier[UUID_TEXT_BYTES + 1];
    char later[UUID_TEXT_BYTES + 1];
    char again[UUID_TEXT_BYTES + 1];
    (void)state;

    uuid_make(1700000000000, earlier);
    uuid_make(1700000000001, later);
    uuid_make(1700000000001, again);
    assert_int_equal(strncmp(earlier, "018bcfe5-6800-7", 15), 0);
    assert_non_null(strchr("89ab", earlier[19]));
    assert_true(strcmp(earlier, later) < 0);
    assert_string_not_equal(later, again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_those_of_the_calendar),
        cmocka_unit_test(a_leap_day_and_the_last_moment_are_right),
        cmocka_unit_test(numbers_have_all_their_digits),
        cmocka_unit_test(a_row_that_is_damaged_is_not_rendered),
        cmocka_unit_test(texts_of_clients_are_escaped),
        cmocka_unit_test(ids_are_version_7_and_sorted_by_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
