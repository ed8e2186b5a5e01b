/* The arguments of holdfast, and what error answers and failed attempts come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli_options.h"
#include "tools/cli_problem.h"
#include "tools/cli_retry.h"

struct fixture {
    struct cli_options options;
    enum cli_action action;
    struct error error;
    char *argv[32];
};

static enum status parse(struct fixture *f, ...)
{
    int argc = 1;
    va_list args;
    char *arg;

    cli_options_close(&f->options);
    f->argv[0] = (char *)(uintptr_t) "holdfast";
    va_start(args, f);
    while ((arg = va_arg(args, char *)) != NULL) {
        assert_true(argc < 31);
        f->argv[argc++] = arg;
    }
    va_end(args);
    f->argv[argc] = NULL;
    return cli_options_parse(argc, f->argv, &f->options, &f->action, &f->error);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unsetenv("HOLDFAST_ENDPOINTS");
    cli_options_close(&f->options);
    free(f);
    return 0;
}

static void flags_may_stand_anywhere(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "-o", "json", "put", "--ttl", "90s", "k", "-e", "n1,n2", "1",
                           "--if-none-match", "--endpoint=n3", NULL),
                     STATUS_OK);

    assert_int_equal(f->action, CLI_RUN);
    assert_int_equal(f->options.command, COMMAND_PUT);
    assert_true(f->options.as_json);
    assert_int_equal(f->options.ttl_ms, 90000);
    assert_int_equal(f->options.endpoints.count, 3);
    assert_int_equal(f->options.n_operands, 2);
    assert_string_equal(f->options.operands[0], "k");
    assert_string_equal(f->options.operands[1], "1");
    assert_true(cli_given(&f->options, CLI_IF_NONE_MATCH));
    assert_false(cli_given(&f->options, CLI_IF_MATCH));
}

static void two_words_name_a_session_command(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "session", "--type", "t", "append", "s1", "--", "-1", "2", NULL),
                     STATUS_OK);

    assert_int_equal(f->options.command, COMMAND_SESSION_APPEND);
    assert_int_equal(f->options.n_operands, 3);
    assert_string_equal(f->options.operands[1], "-1");
}

static void endpoints_come_from_the_flag_then_the_variable_then_the_default(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "status", NULL), STATUS_OK);
    assert_string_equal(f->options.endpoints.list[0].url, ENDPOINT_DEFAULT);
    assert_int_equal(setenv("HOLDFAST_ENDPOINTS", "n1,n2", 1), 0);
    assert_int_equal(parse(f, "status", NULL), STATUS_OK);
    assert_int_equal(f->options.endpoints.count, 2);
    assert_int_equal(parse(f, "status", "-e", "n3", NULL), STATUS_OK);
    assert_int_equal(f->options.endpoints.count, 1);
    assert_string_equal(f->options.endpoints.list[0].url, "http://n3:7080");
}

static void mistakes_are_told(void **state)
{
    static const struct {
        const char *args[6];
        const char *text;
    } cases[] = {
        {{NULL}, "a command is missing (try --help)"},
        {{"frob"}, "unknown command \"frob\" (try --help)"},
        {{"session"}, "\"session\" needs a second word (try --help)"},
        {{"session", "frob"}, "unknown command \"session frob\" (try --help)"},
        {{"get"}, "\"get\" needs KEY (try --help)"},
        {{"get", "a", "b"}, "unexpected argument \"b\" (try --help)"},
        {{"get", "a", "--ttl", "1s"}, "--ttl does not go with \"get\" (try --help)"},
        {{"get", "a", "--stale", "--min-revision", "1"},
         "--stale and --min-revision exclude each other"},
        {{"put", "a", "1", "--ttl", "1w"},
         "--ttl: \"1w\" is not a time like 500ms, 30s, 5m, 2h or 7d"},
        {{"put", "a", "1", "--if-match", "x"}, "--if-match: \"x\" is neither a revision nor *"},
        {{"list", "--limit", "501"}, "--limit: 501 is out of range"},
        {{"list", "--limit", "1e2"}, "--limit: \"1e2\" is not a number"},
        {{"list", "--order", "up"}, "--order: \"up\" is not one of its values (try --help)"},
        {{"list", "--limit"}, "--limit: a value is missing"},
        {{"list", "--frob"}, "unknown flag \"--frob\" (try --help; -- ends the flags)"},
        {{"status", "-t", "0"}, "--timeout: \"0\" is not a time like 500ms, 30s, 5m, 2h or 7d"},
        {{"status", "-e", "a b"}, "endpoint \"a b\" is not of the form http://HOST:PORT"},
        {{"session", "append", "s", "1", "2", "--id=x"}, "give --id for each event or for none"},
        {{"snapshot"}, "\"snapshot\" needs a second word (try --help)"},
        {{"snapshot", "save"}, "\"save\" needs FILE (try --help)"},
        {{"snapshot", "verify", "f", "--stale"},
         "--stale does not go with \"verify\" (try --help)"},
        {{"restore", "f"}, "--data-dir is missing (try --help)"},
        {{"restore", "f", "--data-dir", "d", "--yes"},
         "--yes does not go with \"restore\" (try --help)"},
        {{"recover"}, "--data-dir is missing (try --help)"},
        {{"recover", "d1", "--data-dir", "d2"},
         "directories to compare need --inspect; the one to recover is --data-dir"},
        {{"recover", "--inspect", "--yes", "d"}, "--inspect and --yes exclude each other"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *args = cases[i].args;

        assert_int_equal(parse(f, args[0], args[1], args[2], args[3], args[4], args[5], NULL),
                         STATUS_INVALID);
        assert_string_equal(f->error.text, cases[i].text);
    }
}

static void help_is_found_from_everywhere(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--help", NULL), STATUS_OK);
    assert_int_equal(f->action, CLI_SHOW_HELP);
    assert_int_equal(parse(f, "help", "session", "append", NULL), STATUS_OK);
    assert_int_equal(f->action, CLI_SHOW_COMMAND_HELP);
    assert_int_equal(f->options.command, COMMAND_SESSION_APPEND);
    assert_int_equal(parse(f, "put", "-h", NULL), STATUS_OK);
    assert_int_equal(f->action, CLI_SHOW_COMMAND_HELP);
    assert_int_equal(parse(f, "session", "--help", NULL), STATUS_OK);
    assert_int_equal(f->action, CLI_SHOW_HELP);
    assert_int_equal(parse(f, "--version", NULL), STATUS_OK);
    assert_int_equal(f->action, CLI_SHOW_VERSION);
}

static void help_tells_each_flag_of_a_command(void **state)
{
    (void)state;
    for (int command = 0; command < N_COMMANDS; command++) {
        struct buffer help = BUFFER_EMPTY;

        cli_append_command_help(&help, (enum cli_command)command);
        buffer_append_byte(&help, '\0');
        assert_non_null(strstr((char *)help.data, "Examples:\n"));
        for (int flag = 0; flag < N_CLI_FLAGS; flag++) {
            char name[40];
            bool fits = cli_flag_fits((enum cli_flag)flag, (enum cli_command)command);

            (void)snprintf(name, sizeof name, "  --%s ", cli_flags[flag].name);
            if (cli_flags[flag].letter != 0) {
                (void)snprintf(name, sizeof name, "-%c, --%s ", cli_flags[flag].letter,
                               cli_flags[flag].name);
            }
            assert_int_equal(strstr((char *)help.data, name) != NULL, fits);
        }
        buffer_close(&help);
    }
}

static void times_take_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused. */
    } cases[] = {
        {"500ms", 500},   {"30s", 30000},    {"1.5s", 1500}, {"2", 2000},  {"5m", 300000},
        {"2h", 7200000},  {"7d", 604800000}, {"0s", 0},      {"-1s", 0},   {"", 0},
        {"s", 0},         {"1 s", 0},        {"1e3s", 0},    {"0x10s", 0}, {"1.2.3s", 0},
        {"99999999d", 0}, {"0.1ms", 0},      {"inf", 0},     {"1S", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ms = 0;
        enum status status = cli_parse_time(cases[i].text, &ms);

        assert_int_equal(status, cases[i].ms == 0 ? STATUS_INVALID : STATUS_OK);
        assert_int_equal(ms, cases[i].ms);
    }
}

/* --- Problems
 * --------------------------------------------------------------------------------------- */

static void assert_problem(unsigned status, const char *body, const char *expected)
{
    struct buffer out = BUFFER_EMPTY;

    problem_append(&out, status, slice_of_string(body));
    buffer_append_byte(&out, '\0');
    assert_string_equal((char *)out.data, expected);
    buffer_close(&out);
}

static void a_problem_becomes_one_sentence(void **state)
{
    (void)state;
    assert_problem(412,
                   "{\"type\":\"/problems/precondition-failed\",\"title\":\"A precondition does "
                   "not hold\",\"status\":412,\"detail\":\"the item was written\",\"revision\":8}",
                   "A precondition does not hold: the item was written (revision 8)");
    assert_problem(400, "{\"title\":\"T\",\"detail\":\"T\",\"field\":\"/a\",\"last_seq\":3}",
                   "T (field /a; last_seq 3)");
    assert_problem(503, "{\"title\":\"T\",\"causes\":[\"no leader\",\"behind\",3]}",
                   "T; no leader; behind");
    assert_problem(400, "{\"detail\":\"\\u001b[2J\\nx\"}", "\\u001b[2J\\nx");
}

static void what_is_no_problem_document_is_told_by_its_status(void **state)
{
    (void)state;
    assert_problem(502, "<html>bad gateway</html>", "the server answered with status 502");
    assert_problem(500, "", "the server answered with status 500");
    assert_problem(500, "[1]", "the server answered with status 500");
    assert_problem(500, "{\"title\":3}", "the server answered with status 500");
}

static void statuses_have_their_exit_status(void **state)
{
    (void)state;
    assert_int_equal(problem_exit(201), CLI_OK);
    assert_int_equal(problem_exit(400), CLI_FAILURE);
    assert_int_equal(problem_exit(404), CLI_NOT_FOUND);
    assert_int_equal(problem_exit(410), CLI_NOT_FOUND);
    assert_int_equal(problem_exit(409), CLI_CONFLICT);
    assert_int_equal(problem_exit(412), CLI_CONFLICT);
    assert_int_equal(problem_exit(503), CLI_UNAVAILABLE);
    assert_int_equal(problem_exit(504), CLI_UNAVAILABLE);
    assert_int_equal(problem_exit(507), CLI_FAILURE);
}

/* --- Retries
 * ---------------------------------------------------------------------------------------- */

static void a_dead_node_is_passed_over_at_once_in_the_first_round(void **state)
{
    struct retry retry;
    uint64_t wait = 99;

    (void)state;
    retry_init(&retry, 3, 10000);
    assert_true(retry_next(&retry, ATTEMPT_NOT_CONNECTED, 0, 0, 0, 7, &wait));
    assert_int_equal(wait, 0);
    assert_true(retry_next(&retry, ATTEMPT_LOST, 0, 0, 0, 7, &wait));
    assert_int_equal(wait, 0);
    assert_true(retry_next(&retry, ATTEMPT_NOT_CONNECTED, 0, 0, 0, 7, &wait));
    assert_in_range(wait, 25, 50);
}

static void pauses_grow_up_to_a_bound(void **state)
{
    struct retry retry;
    uint64_t wait = 0;
    uint64_t longest = 0;

    (void)state;
    retry_init(&retry, 1, UINT64_MAX);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(retry_next(&retry, ATTEMPT_NOT_CONNECTED, 0, 0, 0, UINT64_MAX - i, &wait));
        longest = wait > longest ? wait : longest;
        assert_true(i < 10 || wait >= 1000);
    }
    assert_in_range(longest, 1000, 2000);
}

static void what_the_server_asks_for_is_waited(void **state)
{
    struct retry retry;
    uint64_t wait = 0;

    (void)state;
    retry_init(&retry, 3, 10000);
    assert_true(retry_next(&retry, ATTEMPT_ANSWERED, 503, 700, 0, 0, &wait));
    assert_int_equal(wait, 700);
    assert_false(retry_next(&retry, ATTEMPT_ANSWERED, 429, 9500, 1000, 0, &wait));
}

static void only_what_may_pass_is_tried_again(void **state)
{
    static const unsigned passing[] = {408, 429, 502, 503, 504};
    static const unsigned final[] = {200, 204, 400, 404, 409, 412, 413, 422, 500, 507};
    struct retry retry;
    uint64_t wait;

    (void)state;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        retry_init(&retry, 1, 10000);
        assert_true(retry_next(&retry, ATTEMPT_ANSWERED, passing[i], 0, 0, 0, &wait));
    }
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
        retry_init(&retry, 1, 10000);
        assert_false(retry_next(&retry, ATTEMPT_ANSWERED, final[i], 0, 0, 0, &wait));
    }
}

static void a_doubt_stays_until_an_answer_settles_it(void **state)
{
    struct retry retry;
    uint64_t wait;

    (void)state;
    retry_init(&retry, 3, 10000);
    (void)retry_next(&retry, ATTEMPT_NOT_CONNECTED, 0, 0, 0, 0, &wait);
    (void)retry_next(&retry, ATTEMPT_ANSWERED, 503, 0, 0, 0, &wait);
    assert_false(retry_may_have_acted(&retry));
    (void)retry_next(&retry, ATTEMPT_ANSWERED, 504, 0, 0, 0, &wait);
    assert_true(retry_may_have_acted(&retry));
    (void)retry_next(&retry, ATTEMPT_ANSWERED, 503, 0, 0, 0, &wait);
    assert_true(retry_may_have_acted(&retry));
    (void)retry_next(&retry, ATTEMPT_ANSWERED, 412, 0, 0, 0, &wait);
    assert_false(retry_may_have_acted(&retry));
}

static void the_deadline_ends_it(void **state)
{
    struct retry retry;
    uint64_t wait = 0;

    (void)state;
    retry_init(&retry, 2, 1000);
    assert_true(retry_next(&retry, ATTEMPT_LOST, 0, 0, 999, 0, &wait)); /* No wait: just in time. */
    assert_false(retry_next(&retry, ATTEMPT_LOST, 0, 0, 990, 0, &wait));
    assert_false(retry_next(&retry, ATTEMPT_LOST, 0, 0, 2000, 0, &wait));
    assert_true(retry_may_have_acted(&retry));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(flags_may_stand_anywhere),
        TEST(two_words_name_a_session_command),
        TEST(endpoints_come_from_the_flag_then_the_variable_then_the_default),
        TEST(mistakes_are_told),
        TEST(help_is_found_from_everywhere),
        TEST(help_tells_each_flag_of_a_command),
        cmocka_unit_test(times_take_units),
        cmocka_unit_test(a_problem_becomes_one_sentence),
        cmocka_unit_test(what_is_no_problem_document_is_told_by_its_status),
        cmocka_unit_test(statuses_have_their_exit_status),
        cmocka_unit_test(a_dead_node_is_passed_over_at_once_in_the_first_round),
        cmocka_unit_test(pauses_grow_up_to_a_bound),
        cmocka_unit_test(what_the_server_asks_for_is_waited),
        cmocka_unit_test(only_what_may_pass_is_tried_again),
        cmocka_unit_test(a_doubt_stays_until_an_answer_settles_it),
        cmocka_unit_test(the_deadline_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
