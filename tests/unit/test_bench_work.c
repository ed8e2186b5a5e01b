/* What the bench sends, and when: requests are prepared bytes, and the open loop keeps its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/bench_work.h"

struct fixture {
    struct bench_options options;
    struct bench_work work;
    uint8_t out[65536];
};

#define MS 1000000u

static void parse(struct fixture *f, ...)
{
    char *argv[32] = {(char *)"holdfast-bench"};
    enum bench_action action;
    struct error error;
    int argc = 1;
    va_list args;
    char *arg;

    va_start(args, f);
    while ((arg = va_arg(args, char *)) != NULL) {
        argv[argc++] = arg;
    }
    va_end(args);
    assert_int_equal(bench_options_parse(argc, argv, &f->options, &action, &error), STATUS_OK);
    bench_work_init(&f->work, &f->options, 1);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bench_work_close(&f->work);
    bench_options_close(&f->options);
    free(f);
    return 0;
}

/* The request of @slot as text, and its body checked against its Content-Length. */
static const char *write_text(struct fixture *f, const struct bench_slot *slot)
{
    size_t size = bench_work_write(&f->work, slot, f->out);
    const char *length;
    const char *body;

    assert_true(size <= f->work.largest);
    f->out[size] = '\0';
    length = strstr((const char *)f->out, "Content-Length: ");
    body = strstr((const char *)f->out, "\r\n\r\n");
    assert_non_null(body);
    if (length != NULL) {
        assert_int_equal(strtoul(length + strlen("Content-Length: "), NULL, 10), strlen(body + 4));
    }
    return (const char *)f->out;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    while ((text = strstr(text, part)) != NULL) {
        n++;
        text++;
    }
    return n;
}

static void requests_are_well_formed_and_values_have_their_size(void **state)
{
    static const struct {
        enum bench_op op;
        const char *start;
    } cases[] = {
        {BENCH_APPEND, "POST /v1/namespaces/default/sessions/bench-0"},
        {BENCH_PUT, "PUT /v1/namespaces/default/items/k0"},
        {BENCH_GET, "GET /v1/namespaces/default/items/k0"},
        {BENCH_STALE_GET, "GET /v1/namespaces/default/items/k0"},
    };
    struct fixture *f = *state;

    parse(f, "--workload", "mixed", "--value-size", "100", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench_slot slot = {.op = cases[i].op};
        const char *text = write_text(f, &slot);

        assert_memory_equal(text, cases[i].start, strlen(cases[i].start));
        assert_non_null(strstr(text, " HTTP/1.1\r\nHost: 127.0.0.1:7080\r\n"));
        if (cases[i].op <= BENCH_PUT) {
            const char *stamp = strstr(text, "xxxxxxxx") - 16;

            assert_int_equal(stamp[-1], '"');
            assert_int_equal(strchr(stamp, '"') - stamp, 100);
        }
    }
}

static void no_two_values_are_equal(void **state)
{
    struct fixture *f = *state;
    struct bench_slot slot = {.op = BENCH_PUT};
    char first[1024];

    parse(f, "--keys", "1", NULL);
    strcpy(first, write_text(f, &slot));

    assert_string_not_equal(write_text(f, &slot), first);
}

static void keys_stay_in_their_range(void **state)
{
    struct fixture *f = *state;
    bool seen[7] = {false};

    parse(f, "--keys", "7", "--workload", "get", NULL);
    for (int i = 0; i < 1000; i++) {
        struct bench_slot slot = {.op = BENCH_GET};
        unsigned long key = strtoul(strstr(write_text(f, &slot), "items/k") + 7, NULL, 10);

        assert_true(key < 7);
        seen[key] = true;
    }
    for (int i = 0; i < 7; i++) {
        assert_true(seen[i]);
    }
}

static void filling_writes_each_key_and_repeats_what_failed(void **state)
{
    struct fixture *f = *state;
    struct bench_slot slot;
    bool failed_once = false;
    bool is_done = false;
    unsigned seen[150] = {0};
    size_t sessions = 0;

    parse(f, "--workload", "mixed", "--fill", "--keys", "150", "--sessions", "64", "--connections",
          "1", NULL);
    bench_work_start_fill(&f->work, 0);
    while (bench_work_take(&f->work, 0, &slot)) {
        const char *text = write_text(f, &slot);

        assert_memory_equal(text, "POST /v1/namespaces/default/transactions ", 41);
        if (slot.number == 1 && !failed_once) {
            failed_once = true;
            bench_work_again(&f->work, &slot);
            continue;
        }
        for (const char *key = strstr(text, "items/k"); key != NULL;
             key = strstr(key + 1, "items/k")) {
            seen[strtoul(key + 7, NULL, 10)]++;
        }
        sessions += count(text, "sessions/bench-");
        assert_false(is_done);
        is_done = bench_work_done(&f->work);
    }

    assert_true(is_done);
    for (int i = 0; i < 150; i++) {
        assert_true(seen[i] >= 1); /* The last transaction begins anew when keys run out. */
    }
    assert_int_equal(sessions, 64);
    assert_int_equal(bench_work_fill_records(&f->work), 214);
}

static void large_values_fill_in_smaller_transactions(void **state)
{
    struct fixture *f = *state;

    parse(f, "--fill", "--value-size", "200000", NULL);

    assert_true(f->work.largest < 4u << 20);
    assert_true(f->work.largest > 1u << 20);
}

static void the_open_loop_times_requests_from_when_they_were_due(void **state)
{
    struct fixture *f = *state;
    struct bench_slot slot;

    parse(f, "--rate", "1000", "--warmup", "0", "--duration", "0.01", NULL);
    bench_work_start_timed(&f->work, 5 * MS);

    assert_true(bench_work_take(&f->work, 5 * MS, &slot));
    assert_int_equal(slot.since_ns, 5 * MS);
    assert_false(bench_work_take(&f->work, 5 * MS, &slot));
    /* A stall of the server: all that was due meanwhile is charged for it, also after the end. */
    for (unsigned i = 1; i < 10; i++) {
        assert_true(bench_work_take(&f->work, 100 * MS, &slot));
        assert_int_equal(slot.since_ns, (5 + i) * MS);
    }
    assert_false(bench_work_take(&f->work, 100 * MS, &slot));
    assert_true(bench_work_due_ns(&f->work) == UINT64_MAX);
}

static void the_closed_loop_ends_with_the_measured_time(void **state)
{
    struct fixture *f = *state;
    struct bench_slot slot;

    parse(f, "--warmup", "1", "--duration", "2", NULL);
    assert_false(bench_work_take(&f->work, 0, &slot));
    bench_work_start_timed(&f->work, 0);

    assert_int_equal(f->work.measure_ns, 1000 * MS);
    assert_true(bench_work_take(&f->work, 2999ull * MS, &slot));
    assert_int_equal(slot.since_ns, 2999ull * MS);
    assert_false(bench_work_take(&f->work, 3000ull * MS, &slot));
}

static void a_mixed_workload_keeps_its_proportions(void **state)
{
    struct fixture *f = *state;
    unsigned seen[BENCH_N_OPS] = {0};

    parse(f, "--workload", "mixed", NULL);
    bench_work_start_timed(&f->work, 0);
    for (int i = 0; i < 100000; i++) {
        struct bench_slot slot;

        assert_true(bench_work_take(&f->work, 0, &slot));
        seen[slot.op]++;
    }
    for (int op = 0; op < BENCH_N_OPS; op++) {
        assert_in_range(seen[op], (f->options.percent[op] - 1) * 1000,
                        (f->options.percent[op] + 1) * 1000);
    }
}

static void wrong_flags_are_told(void **state)
{
    static const struct {
        const char *flag;
        const char *value;
        const char *text;
    } cases[] = {
        {"--connections", "0", "--connections: 0 is out of range (1 to 100000)"},
        {"--connections", "1.5", "--connections: 1.5 is not a whole number"},
        {"--duration", "nan", "--duration: \"nan\" is not a number"},
        {"--duration", "5s", "--duration: \"5s\" is not a number"},
        {"--keys", "-1", "--keys: \"-1\" is not a number"},
        {"--workload", "x", "--workload: \"x\" is none of append, put, get, stale-get and mixed"},
        {"--output", "xml", "--output: \"xml\" is neither text nor json"},
        {"--namespace", "A b", "--namespace: \"A b\" is not a namespace"},
        {"--nonsense", "x", "unknown flag \"--nonsense\" (try --help)"},
        {"x", "y", "unexpected argument \"x\" (try --help)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *argv[] = {(char *)"b", (char *)(uintptr_t)cases[i].flag,
                        (char *)(uintptr_t)cases[i].value, NULL};
        struct bench_options options;
        enum bench_action action;
        struct error error;

        assert_int_equal(bench_options_parse(3, argv, &options, &action, &error), STATUS_INVALID);
        assert_string_equal(error.text, cases[i].text);
        bench_options_close(&options);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_well_formed_and_values_have_their_size),
        TEST(no_two_values_are_equal),
        TEST(keys_stay_in_their_range),
        TEST(filling_writes_each_key_and_repeats_what_failed),
        TEST(large_values_fill_in_smaller_transactions),
        TEST(the_open_loop_times_requests_from_when_they_were_due),
        TEST(the_closed_loop_ends_with_the_measured_time),
        TEST(a_mixed_workload_keeps_its_proportions),
        cmocka_unit_test(wrong_flags_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
