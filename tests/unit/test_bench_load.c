/* The bench against servers that answer, refuse, fall silent and break off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/stub_server.h"
#include "tools/bench_failover.h"
#include "tools/bench_load.h"

struct fixture {
    struct bench_options options;
    struct bench_result result;
    struct error error;
    struct stub_server *server;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stub_server_close(f->server);
    bench_options_close(&f->options);
    free(f);
    return 0;
}

/* Serve @script and read the arguments up to the NULL. */
static void prepare(struct fixture *f, const struct stub_step *script, ...)
{
    char *argv[32] = {(char *)"holdfast-bench", (char *)"--endpoint"};
    enum bench_action action;
    int argc = 3;
    va_list args;
    char *arg;

    f->server = stub_server_open(script);
    argv[2] = (char *)(uintptr_t)stub_server_url(f->server);
    va_start(args, script);
    while ((arg = va_arg(args, char *)) != NULL) {
        argv[argc++] = arg;
    }
    va_end(args);
    assert_int_equal(bench_options_parse(argc, argv, &f->options, &action, &f->error), STATUS_OK);
}

static void run(struct fixture *f)
{
    assert_int_equal(bench_load_run(&f->options, &f->result, &f->error), STATUS_OK);
}

static void each_request_is_answered_and_counted_once(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, NULL, "{}"}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "3", "--pipeline", "4", "--warmup", "0", "--duration",
            "0.05", "--workload", "append", NULL);
    run(f);

    assert_true(f->result.completed > 0);
    assert_int_equal(bench_result_errors(&f->result), 0);
    assert_int_equal(histogram_count(&f->result.latency_ns[BENCH_APPEND]),
                     stub_server_count(f->server));
}

static void errors_are_counted_apart_by_status(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 503, NULL, "{}"},
                                              {STUB_ANSWER, 507, NULL, "{}"},
                                              {STUB_ANSWER, 503, NULL, "{}"},
                                              {STUB_ANSWER, 201, NULL, "{}"},
                                              STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "1", "--warmup", "0", "--duration", "0.2", NULL);
    run(f);

    assert_int_equal(f->result.errors[503], 2);
    assert_int_equal(f->result.errors[507], 1);
    assert_int_equal(bench_result_errors(&f->result), 3);
    assert_int_equal(histogram_count(&f->result.latency_ns[BENCH_PUT]),
                     stub_server_count(f->server) - 3);
}

static void what_a_read_does_not_find_is_a_miss_and_no_error(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 404, NULL, "{}"}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "1", "--warmup", "0", "--duration", "0.05", "--workload",
            "get", NULL);
    run(f);

    assert_int_equal(bench_result_errors(&f->result), 0);
    assert_true(f->result.misses > 0);
    assert_int_equal(f->result.misses, stub_server_count(f->server));
}

static void a_broken_connection_is_made_anew_and_counted(void **state)
{
    static const struct stub_step script[] = {
        {STUB_CLOSE, 0, NULL, NULL}, {STUB_ANSWER, 200, NULL, "{}"}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "1", "--warmup", "0", "--duration", "0.3", NULL);
    run(f);

    assert_int_equal(f->result.lost, 1);
    assert_int_equal(f->result.reconnects, 1);
    assert_int_equal(bench_result_errors(&f->result), 1);
    assert_true(f->result.completed > 0);
}

static void an_open_loop_sends_at_its_rate(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, NULL, "{}"}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "4", "--warmup", "0", "--duration", "0.1", "--rate", "500",
            NULL);
    run(f);

    assert_int_equal(stub_server_count(f->server), 50); /* Neither more nor less, ever. */
    assert_int_equal(histogram_count(&f->result.latency_ns[BENCH_PUT]), 50);
}

static void filling_goes_on_until_all_is_there(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 503, NULL, "{}"},
                                              {STUB_CLOSE, 0, NULL, NULL},
                                              {STUB_ANSWER, 200, NULL, "{}"},
                                              STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "2", "--fill", "--keys", "640", "--duration", "0", NULL);
    run(f);

    assert_int_equal(f->result.filled, 640);
    assert_int_equal(stub_server_count(f->server), 12); /* 10 transactions, 2 of them twice. */
    assert_int_equal(f->result.errors[503], 1);
}

static void an_answer_that_is_not_http_is_told(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, "no colon\r\n", NULL}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--connections", "1", "--warmup", "0", "--duration", "0.02", NULL);
    run(f);

    assert_true(f->result.bad_responses > 0);
}

static void the_failover_writer_sends_one_write_until_it_is_acknowledged(void **state)
{
    static const struct stub_step script[] = {{STUB_CLOSE, 0, NULL, NULL},
                                              {STUB_ANSWER, 503, NULL, "{}"},
                                              {STUB_ANSWER, 504, NULL, "{}"},
                                              {STUB_ANSWER, 201, NULL, "{}"},
                                              STUB_LAST};
    struct fixture *f = *state;
    const char *key;

    prepare(f, script, "--failover", "--duration", "0.3", NULL);
    assert_int_equal(bench_failover_run(&f->options, &f->error), STATUS_OK);

    assert_true(stub_server_count(f->server) > 4);
    key = strstr(stub_server_request(f->server, 0), "Idempotency-Key: ");
    assert_non_null(key);
    for (size_t i = 1; i < 5; i++) { /* The fifth is the next write. */
        const char *next = strstr(stub_server_request(f->server, i), "Idempotency-Key: ");

        assert_non_null(next);
        assert_int_equal(strncmp(next, key, strcspn(key, "\r")) == 0, i < 4);
    }
}

static void the_failover_writer_ends_when_it_is_refused(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 400, NULL, "{}"}, STUB_LAST};
    struct fixture *f = *state;

    prepare(f, script, "--failover", "--duration", "10", NULL);
    assert_int_equal(bench_failover_run(&f->options, &f->error), STATUS_INVALID);
    assert_int_equal(stub_server_count(f->server), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_is_answered_and_counted_once),
        TEST(errors_are_counted_apart_by_status),
        TEST(what_a_read_does_not_find_is_a_miss_and_no_error),
        TEST(a_broken_connection_is_made_anew_and_counted),
        TEST(an_open_loop_sends_at_its_rate),
        TEST(filling_goes_on_until_all_is_there),
        TEST(an_answer_that_is_not_http_is_told),
        TEST(the_failover_writer_sends_one_write_until_it_is_acknowledged),
        TEST(the_failover_writer_ends_when_it_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
