/* The histogram: how far what it gives back may be from what was recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/histogram.h"

static struct histogram *make(void)
{
    struct histogram *histogram = calloc(1, sizeof *histogram);

    assert_non_null(histogram);
    return histogram;
}

/* Every percentile of one recorded value is that value, give or take the promised error. */
static void a_value_comes_back_with_less_than_one_percent_error(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (uint64_t low = 0; low < 5; low++) {
            uint64_t value = ((uint64_t)1 << shift) + low * ((((uint64_t)1 << shift) - 1) / 5);
            struct histogram *histogram = make();
            uint64_t found;
            uint64_t distance;

            histogram_record(histogram, value);
            histogram_record(histogram, UINT64_MAX); /* So that the maximum does not decide. */
            found = histogram_percentile(histogram, 50);
            distance = found > value ? found - value : value - found;
            assert_true(distance <= value / 128);
            free(histogram);
        }
    }
}

static void small_values_are_exact(void **state)
{
    struct histogram *histogram = make();

    (void)state;
    for (uint64_t value = 0; value < 200; value++) {
        histogram_record(histogram, value);
    }
    assert_int_equal(histogram_percentile(histogram, 50), 99);
    assert_int_equal(histogram_percentile(histogram, 99), 197);
    assert_int_equal(histogram_percentile(histogram, 0), 0);
    assert_int_equal(histogram_percentile(histogram, 100), 199);
    free(histogram);
}

static void a_percentile_counts_values_and_not_buckets(void **state)
{
    struct histogram *histogram = make();

    (void)state;
    for (int i = 0; i < 999; i++) {
        histogram_record(histogram, 10);
    }
    histogram_record(histogram, 1000000);

    assert_int_equal(histogram_percentile(histogram, 99.9), 10);
    assert_int_equal(histogram_percentile(histogram, 99.95), 1000000);
    free(histogram);
}

static void the_order_of_values_never_turns(void **state)
{
    struct histogram *histogram = make();
    uint64_t random = 88172645463325252u;
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        histogram_record(histogram, random >> (i % 64));
    }
    for (double percent = 0; percent <= 100; percent += 0.1) {
        uint64_t value = histogram_percentile(histogram, percent);

        assert_true(value >= last);
        last = value;
    }
    assert_true(last <= histogram_max(histogram));
    free(histogram);
}

static void an_empty_histogram_says_zero(void **state)
{
    struct histogram *histogram = make();

    (void)state;
    assert_int_equal(histogram_percentile(histogram, 99), 0);
    assert_int_equal(histogram_max(histogram), 0);
    assert_true(histogram_mean(histogram) < 1e-9);
    free(histogram);
}

static void adding_is_as_recording_into_one(void **state)
{
    struct histogram *one = make();
    struct histogram *two = make();
    struct histogram *both = make();

    (void)state;
    for (uint64_t value = 1; value < 100000; value += 7) {
        histogram_record(value % 2 == 0 ? one : two, value);
        histogram_record(both, value);
    }
    histogram_add(one, two);

    assert_memory_equal(one, both, sizeof *one);
    free(one);
    free(two);
    free(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_comes_back_with_less_than_one_percent_error),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_percentile_counts_values_and_not_buckets),
        cmocka_unit_test(the_order_of_values_never_turns),
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(adding_is_as_recording_into_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
