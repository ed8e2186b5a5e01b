#include "api/ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct range parse(const char *value, uint64_t size)
{
    return range_parse(slice_of_string(value), size);
}

static void assert_part(const char *value, uint64_t size, uint64_t first, uint64_t last)
{
    struct range range = parse(value, size);

    assert_int_equal(range.kind, RANGE_PART);
    assert_int_equal(range.first, first);
    assert_int_equal(range.last, last);
}

static void one_range_of_bytes_is_taken(void **state)
{
    (void)state;
    assert_part("bytes=0-0", 100, 0, 0);
    assert_part("bytes=10-19", 100, 10, 19);
    assert_part("bytes=99-99", 100, 99, 99);
    assert_part("bytes=10-", 100, 10, 99);
    assert_part("bytes=-10", 100, 90, 99);
    assert_part("BYTES= 10 - 19 ", 100, 10, 19);
    assert_part("bytes=007-8", 100, 7, 8);
}

static void a_range_ends_with_the_body(void **state)
{
    (void)state;
    assert_part("bytes=10-1000", 100, 10, 99);
    assert_part("bytes=0-99999999999999999999999999", 100, 0, 99);
    assert_part("bytes=-1000", 100, 0, 99);
    assert_part("bytes=-99999999999999999999999999", 100, 0, 99);
}

static void a_range_behind_the_end_cannot_be_had(void **state)
{
    (void)state;
    assert_int_equal(parse("bytes=100-", 100).kind, RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=100-200", 100).kind, RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=99999999999999999999999999-", 100).kind, RANGE_UNSATISFIABLE);
    assert_int_equal(parse("bytes=-0", 100).kind, RANGE_UNSATISFIABLE);
}

static void other_forms_stand_for_the_whole(void **state)
{
    static const char *const values[] = {
        "",          "bytes",      "bytes=",     "bytes=-",      "bytes=a-b",     "bytes=1-b",
        "bytes=5-4", "items=0-10", "bytes=0-1,", "bytes=0-1,5-", "bytes=0-1, -5", "bytes=--1",
        "bytes=1",   "bytes=+1-2", "bytes=0x1-", "0-10",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (parse(values[i], 100).kind != RANGE_WHOLE) {
            fail_msg("\"%s\" is taken for a range", values[i]);
        }
    }
}

static bool is_listed(const char *list, const char *tag, bool weak_counts)
{
    return tag_is_listed(slice_of_string(list), slice_of_string(tag), weak_counts);
}

static void tags_are_found_in_lists(void **state)
{
    (void)state;
    assert_true(is_listed("\"a\"", "a", false));
    assert_true(is_listed("\"b\", \"a\"", "a", false));
    assert_true(is_listed("\"b\",W/\"a\"", "a", true));
    assert_true(is_listed(" * ", "a", false));
    assert_true(is_listed("\"\"", "", false));
    assert_false(is_listed("W/\"a\"", "a", false));
    assert_false(is_listed("\"ab\"", "a", false));
    assert_false(is_listed("a", "a", false));
    assert_false(is_listed("\"a", "a", false));
    assert_false(is_listed("", "a", false));
    assert_false(is_listed("W/", "a", true));
    assert_false(is_listed("\"x\" nonsense \"a\"", "a", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range_of_bytes_is_taken),
        cmocka_unit_test(a_range_ends_with_the_body),
        cmocka_unit_test(a_range_behind_the_end_cannot_be_had),
        cmocka_unit_test(other_forms_stand_for_the_whole),
        cmocka_unit_test(tags_are_found_in_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
