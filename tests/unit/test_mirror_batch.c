/* What of JSON a column of type jsonb can hold. That PostgreSQL thinks the same is seen in
 * tests/cluster/test_mirror_tables.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/mirror_batch.h"

static bool fits(const char *json)
{
    return mirror_batch_fits_jsonb(slice_of_string(json));
}

static void most_json_fits(void **state)
{
    (void)state;
    assert_true(fits("{}"));
    assert_true(fits("null"));
    assert_true(fits(""));
    assert_true(fits("[1, -2.5, 1e10, -1.5E-300, 1e308, 9223372036854775807]"));
    assert_true(fits("{\"a\":\"u0000\",\"u0000\":{\"e\":\"1e99999\"}}"));
    assert_true(fits("\"\\u0001\\u1000\""));
}

static void a_nul_does_not(void **state)
{
    (void)state;
    assert_false(fits("\"\\u0000\""));
    assert_false(fits("{\"a\":[{\"b\":\"x\\u0000y\"}]}"));
    assert_false(fits("[\"\\\\\\u0000\"]"));
    assert_true(fits("[\"\\\\u0000\"]")); /* A backslash, and letters. */
    assert_true(fits("[\"\\\\\", \"u0000\"]"));
    assert_false(fits("[\"\\\"\\u0000\"]"));
}

static void numbers_out_of_all_bounds_do_not(void **state)
{
    char digits[2000];

    (void)state;
    assert_false(fits("1e-99999"));
    assert_false(fits("[0, 1E+1000]"));
    assert_true(fits("1E+999"));
    memset(digits, '1', sizeof digits);
    digits[1] = '.';
    digits[sizeof digits - 1] = '\0';
    assert_false(fits(digits));
    digits[300] = '\0';
    assert_true(fits(digits));
}

/* Text that was cut off is looked at no further than it goes. */
static void text_that_is_no_json_is_no_trouble(void **state)
{
    static const char text[] = "\"\\u0000";

    (void)state;
    for (size_t size = 0; size < sizeof text; size++) {
        char *copy = malloc(size + 1);

        assert_non_null(copy);
        memcpy(copy, text, size);
        assert_true(mirror_batch_fits_jsonb(slice_of(copy, size)) == (size < strlen(text)));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_json_fits),
        cmocka_unit_test(a_nul_does_not),
        cmocka_unit_test(numbers_out_of_all_bounds_do_not),
        cmocka_unit_test(text_that_is_no_json_is_no_trouble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
