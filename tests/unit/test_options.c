/* The daemon's settings: where each value comes from, which wins, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/options.h"

#define MAX_ARGS 16

struct fixture {
    struct options options;
    enum options_action action;
    struct error error;
    char path[64];
};

/* Parse the arguments up to the NULL. */
static enum status parse(struct fixture *f, ...)
{
    char *argv[MAX_ARGS] = {(char *)"holdfastd"};
    int argc = 1;
    va_list args;
    char *arg;

    va_start(args, f);
    while ((arg = va_arg(args, char *)) != NULL) {
        assert_true(argc < MAX_ARGS);
        argv[argc++] = arg;
    }
    va_end(args);
    return options_parse(argc, argv, &f->options, &f->action, &f->error);
}

static void write_file(struct fixture *f, const char *text)
{
    FILE *file = fopen(f->path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int fd;

    assert_non_null(f);
    strcpy(f->path, "/tmp/holdfast-options-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    unsetenv("HOLDFAST_NAME");
    unsetenv("HOLDFAST_HEARTBEAT");
    assert_int_equal(unlink(f->path), 0);
    options_close(&f->options);
    free(f);
    return 0;
}

static void defaults_suffice_beside_a_name(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name", "n1", NULL), STATUS_OK);

    assert_int_equal(f->action, OPTIONS_RUN);
    assert_string_equal(f->options.name, "n1");
    assert_string_equal(f->options.api_address, "127.0.0.1:7080");
    assert_string_equal(f->options.peer_address, "127.0.0.1:7081");
    assert_int_equal(f->options.heartbeat_ms, 30);
    assert_int_equal(f->options.free_disk_floor_bytes, 256 << 20);
    assert_int_equal(f->options.scrub_interval_s, 3600);
    assert_null(f->options.initial_cluster);
}

static void a_node_joins_a_cluster_or_forms_one(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name", "n4", "--join", "http://h:7080", "--role", "standby",
                           "--zone", "z1", NULL),
                     STATUS_OK);
    assert_string_equal(f->options.join, "http://h:7080");
    assert_string_equal(f->options.role, "standby");
    assert_string_equal(f->options.zone, "z1");
    assert_int_equal(f->options.target_voters, 3);
    options_close(&f->options);

    assert_int_equal(parse(f, "--name", "n4", "--join", "h", "--initial-cluster", "n4=h:1", NULL),
                     STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "exclude each other"));
    assert_int_equal(parse(f, "--name", "n4", "--join", "h", "--role", "voter", NULL),
                     STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "holdfast member promote"));
    assert_int_equal(parse(f, "--name", "n4", "--target-voters", "8", NULL), STATUS_INVALID);
}

static void a_flag_wins_over_a_variable_and_that_over_the_file(void **state)
{
    struct fixture *f = *state;

    write_file(f, "name = \"file\"\nheartbeat = 10\nelection-timeout = 1000\n");
    assert_int_equal(setenv("HOLDFAST_NAME", "variable", 1), 0);
    assert_int_equal(setenv("HOLDFAST_HEARTBEAT", "20", 1), 0);

    assert_int_equal(parse(f, "--config", f->path, "--name=flag", NULL), STATUS_OK);

    assert_string_equal(f->options.name, "flag");
    assert_int_equal(f->options.heartbeat_ms, 20);
    assert_int_equal(f->options.election_timeout_ms, 1000);
}

static void a_mistake_in_the_file_is_told_with_its_line(void **state)
{
    struct fixture *f = *state;
    char expected[128];

    write_file(f, "name = \"n1\" # a comment\n# more\nheartbeat = fast\n");
    assert_int_equal(parse(f, "--config", f->path, NULL), STATUS_INVALID);
    (void)snprintf(expected, sizeof expected, "%s:3: heartbeat: \"fast\" is not a number", f->path);
    assert_string_equal(f->error.text, expected);

    write_file(f, "\nnmae = \"n1\"\n");
    assert_int_equal(parse(f, "--config", f->path, NULL), STATUS_INVALID);
    (void)snprintf(expected, sizeof expected, "%s:2: no such option 'nmae'", f->path);
    assert_string_equal(f->error.text, expected);
}

static void a_missing_file_is_told_by_its_name(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--config", "/nowhere/x.conf", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text,
                        "could not read \"/nowhere/x.conf\": No such file or directory");
}

static void a_mistake_in_a_flag_or_variable_is_told_by_its_name(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name", "n1", "--api-threads", "many", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text, "--api-threads: \"many\" is not a number");
    assert_int_equal(parse(f, "--name", "n1", "--api-threads", "257", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text, "--api-threads: 257 is out of range (0 to 256)");
    assert_int_equal(parse(f, "--nome", "n1", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text, "unknown flag \"--nome\" (try --help)");
    assert_int_equal(parse(f, "--name", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text, "--name: a value is missing");
    assert_int_equal(parse(f, "--name", "n1", "again", NULL), STATUS_INVALID);
    assert_string_equal(f->error.text, "unexpected argument \"again\" (try --help)");
    assert_int_equal(setenv("HOLDFAST_NAME", "a b", 1), 0);
    assert_int_equal(parse(f, NULL), STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "HOLDFAST_NAME: \"a b\" is not a name"));
}

static void addresses_get_their_default_port(void **state)
{
    static const struct {
        const char *given;
        const char *expected; /* NULL: refused. */
    } cases[] = {
        {"10.0.0.1", "10.0.0.1:7080"},
        {"10.0.0.1:80", "10.0.0.1:80"},
        {"host.example", "host.example:7080"},
        {"[::1]", "[::1]:7080"},
        {"[::1]:0", "[::1]:0"},
        {"::1", NULL},
        {":80", NULL},
        {"host:", NULL},
        {"host:99999", NULL},
        {"host:http", NULL},
        {"[::1", NULL},
        {"a b", NULL},
        {"host:80x", NULL},
        {"", NULL},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum status status = parse(f, "--name", "n1", "--api-address", cases[i].given, NULL);

        assert_int_equal(status, cases[i].expected == NULL ? STATUS_INVALID : STATUS_OK);
        if (cases[i].expected != NULL) {
            assert_string_equal(f->options.api_address, cases[i].expected);
            options_close(&f->options);
        }
    }
}

static void bytes_take_a_unit(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name", "n1", "--free-disk-floor", "2G", NULL), STATUS_OK);
    assert_true(f->options.free_disk_floor_bytes == 2ull << 30);
    options_close(&f->options);
    assert_int_equal(parse(f, "--name", "n1", "--free-disk-floor", "99999999T", NULL),
                     STATUS_INVALID);
    assert_int_equal(parse(f, "--name", "n1", "--free-disk-floor", "1M", NULL), STATUS_INVALID);
    assert_int_equal(parse(f, "--name", "n1", "--free-disk-floor", "-1", NULL), STATUS_INVALID);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, NULL), STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "--name is missing"));
    assert_int_equal(parse(f, "--name", "n1", "--heartbeat", "100", NULL), STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "at least three times"));
}

static void a_flag_without_value_is_true(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--name", "n1", "--allow-insecure-peers", NULL), STATUS_OK);
    assert_true(f->options.allow_insecure_peers);
    options_close(&f->options);
    assert_int_equal(parse(f, "--name", "n1", "--allow-insecure-peers=false", NULL), STATUS_OK);
    assert_false(f->options.allow_insecure_peers);
    options_close(&f->options);
    assert_int_equal(parse(f, "--name", "n1", "--allow-insecure-peers=yes", NULL), STATUS_INVALID);
}

static void help_and_version_need_nothing_else(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "--version", NULL), STATUS_OK);
    assert_int_equal(f->action, OPTIONS_VERSION);
    options_close(&f->options);
    assert_int_equal(parse(f, "-h", NULL), STATUS_OK);
    assert_int_equal(f->action, OPTIONS_HELP);
    options_close(&f->options);
    assert_int_equal(parse(f, "--check-config", "--name", "n1", NULL), STATUS_OK);
    assert_int_equal(f->action, OPTIONS_CHECK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_suffice_beside_a_name),
        TEST(a_node_joins_a_cluster_or_forms_one),
        TEST(a_flag_wins_over_a_variable_and_that_over_the_file),
        TEST(a_mistake_in_the_file_is_told_with_its_line),
        TEST(a_missing_file_is_told_by_its_name),
        TEST(a_mistake_in_a_flag_or_variable_is_told_by_its_name),
        TEST(addresses_get_their_default_port),
        TEST(bytes_take_a_unit),
        TEST(what_does_not_fit_together_is_refused),
        TEST(a_flag_without_value_is_true),
        TEST(help_and_version_need_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
