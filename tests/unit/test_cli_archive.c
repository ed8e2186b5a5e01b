/* holdfast archive list, show, verify, pin, unpin, prune and copy, on a repository, without nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/lib/archive_fixture.h"
#include "tools/cli_run.h"

/* Days that no full of these tests is old. */
#define LONG "36500"

struct fixture {
    struct archive_fixture *archive;
    struct cli_options options;
    struct cli cli;
};

/* An archive with two fulls and some deltas. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    (void)archive_fixture_setup(state);
    f->archive = *state;
    archive_fixture_open_archiver(f->archive);
    archive_fixture_await_first_full(f->archive);
    archive_fixture_go_on(f->archive, 20);
    (void)archive_fixture_ask(f->archive);
    archive_fixture_go_on(f->archive, 20);
    archive_fixture_catch_up(f->archive);
    archive_fixture_close_archiver(f->archive);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *archive = f->archive;

    cli_options_close(&f->options);
    buffer_close(&f->cli.out);
    free(f);
    return archive_fixture_teardown(&archive);
}

/* Run "holdfast archive ..." with the arguments up to the NULL; the output is text in cli.out. */
static enum cli_exit run(struct fixture *f, enum cli_exit (*command)(struct cli *cli), ...)
{
    char *argv[16] = {(char *)"holdfast", (char *)"archive"};
    enum cli_action action;
    enum cli_exit code;
    int argc = 2;
    va_list args;
    char *arg;

    va_start(args, command);
    while ((arg = va_arg(args, char *)) != NULL) {
        argv[argc++] = arg;
    }
    va_end(args);
    cli_options_close(&f->options);
    assert_int_equal(cli_options_parse(argc, argv, &f->options, &action, &f->cli.error), STATUS_OK);
    assert_int_equal(action, CLI_RUN);
    f->cli.options = &f->options;
    buffer_clear(&f->cli.out);
    code = command(&f->cli);
    buffer_append_byte(&f->cli.out, '\0');
    return code;
}

static const char *output(const struct fixture *f)
{
    return (const char *)f->cli.out.data;
}

static json_t *output_as_json(const struct fixture *f)
{
    json_t *json = json_loads(output(f), JSON_REJECT_DUPLICATES, NULL);

    assert_non_null(json);
    return json;
}

/* The newest full of the only chain, as the list has it. */
static json_t *get_newest(struct fixture *f, const char *url)
{
    json_t *chains;
    json_t *full;

    assert_int_equal(run(f, run_archive_list, "list", url, "-o", "json", NULL), CLI_OK);
    chains = output_as_json(f);
    assert_int_equal(json_array_size(chains), 1);
    full = json_incref(json_array_get(json_object_get(json_array_get(chains, 0), "items"), 0));
    assert_non_null(full);
    json_decref(chains);
    return full;
}

static void copy_id(struct fixture *f, char id[128])
{
    json_t *full = get_newest(f, f->archive->url);

    (void)snprintf(id, 128, "%s", json_string_value(json_object_get(full, "id")));
    json_decref(full);
}

static bool newest_is_pinned(struct fixture *f)
{
    json_t *full = get_newest(f, f->archive->url);
    bool is_pinned = json_is_true(json_object_get(full, "pinned"));

    json_decref(full);
    return is_pinned;
}

static void chains_and_fulls_are_listed(void **state)
{
    struct fixture *f = *state;
    const struct archive_fixture_point *last = &f->archive->points[f->archive->n_points - 1];
    char text[128];
    char id[128];

    copy_id(f, id);
    assert_int_equal(run(f, run_archive_list, "list", f->archive->url, NULL), CLI_OK);
    (void)snprintf(text, sizeof text, "up to revision %llu, ", (unsigned long long)last->revision);
    assert_non_null(strstr(output(f), text));
    assert_non_null(strstr(output(f), id));

    assert_int_equal(run(f, run_archive_list, "list", "file:///nowhere/at/all", NULL),
                     CLI_NOT_FOUND);
    assert_int_equal(run(f, run_archive_list, "list", "ftp://x", NULL), CLI_USAGE);
}

static void a_full_is_shown(void **state)
{
    struct fixture *f = *state;
    char id[128];
    char of_node[160];
    json_t *json;

    copy_id(f, id);
    (void)snprintf(of_node, sizeof of_node, "node-1:0-%s", id); /* As a node calls it. */
    assert_int_equal(run(f, run_archive_show, "show", f->archive->url, of_node, NULL), CLI_OK);
    assert_non_null(strstr(output(f), id));
    assert_non_null(strstr(output(f), "none: not encrypted"));

    assert_int_equal(run(f, run_archive_show, "show", f->archive->url, id, "-o", "json", NULL),
                     CLI_OK);
    json = output_as_json(f);
    assert_string_equal(json_string_value(json_object_get(json, "node")), "n1");
    assert_true(json_is_null(json_object_get(json, "key")));
    assert_int_equal(json_array_size(json_object_get(json, "segments")), 1);
    json_decref(json);

    id[strlen(id) - 1] ^= 1;
    assert_int_equal(run(f, run_archive_show, "show", f->archive->url, id, NULL), CLI_NOT_FOUND);
    assert_non_null(strstr(f->cli.error.text, id));
}

static void a_full_is_pinned_and_unpinned(void **state)
{
    struct fixture *f = *state;
    char id[128];

    copy_id(f, id);
    assert_false(newest_is_pinned(f));
    for (unsigned i = 0; i < 2; i++) { /* The second time, it is so already. */
        assert_int_equal(run(f, run_archive_pin, "pin", f->archive->url, id, "--work-dir",
                             f->archive->directory, NULL),
                         CLI_OK);
        assert_true(newest_is_pinned(f));
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(run(f, run_archive_unpin, "unpin", f->archive->url, id, NULL), CLI_OK);
        assert_false(newest_is_pinned(f));
    }
}

static void an_archive_is_verified(void **state)
{
    struct fixture *f = *state;
    json_t *json;

    assert_int_equal(run(f, run_archive_verify, "verify", f->archive->url, "--work-dir",
                         f->archive->directory, "-o", "json", NULL),
                     CLI_OK);
    json = output_as_json(f);
    assert_int_equal(json_integer_value(json_object_get(json, "revision")),
                     f->archive->points[f->archive->n_points - 1].revision);
    json_decref(json);
}

/* The fulls are some moments old: only the policy of no days at all, which there is none of, would
 * remove them. What is left over and what goes is told as the plan has it (test_archive_chain). */
static void what_is_wanted_is_not_pruned(void **state)
{
    struct fixture *f = *state;
    struct archive_fixture_objects before;
    struct archive_fixture_objects after;
    json_t *json;

    archive_fixture_list(f->archive, &before);
    assert_int_equal(run(f, run_archive_prune, "prune", f->archive->url, NULL), CLI_OK);
    assert_non_null(strstr(output(f), "nothing was removed: say --yes"));
    assert_int_equal(run(f, run_archive_prune, "prune", f->archive->url, "--retention", LONG,
                         "--yes", "-o", "json", NULL),
                     CLI_OK);
    json = output_as_json(f);
    assert_true(json_is_true(json_object_get(json_array_get(json, 0), "done")));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "fulls")), 0);
    json_decref(json);
    archive_fixture_list(f->archive, &after);
    assert_int_equal(after.n, before.n);

    assert_int_equal(run(f, run_archive_prune, "prune", f->archive->url, "--retention", "0", NULL),
                     CLI_USAGE);
    assert_int_equal(run(f, run_archive_prune, "prune", f->archive->url, "--retention", "x", NULL),
                     CLI_USAGE);
}

static void a_copy_has_what_the_archive_has(void **state)
{
    struct fixture *f = *state;
    char copy[128];
    json_t *one;
    json_t *other;
    json_t *json;

    (void)snprintf(copy, sizeof copy, "file://%s/copy", f->archive->directory);
    for (unsigned i = 0; i < 2; i++) { /* The second time, all is there. */
        assert_int_equal(run(f, run_archive_copy, "copy", f->archive->url, copy, "--work-dir",
                             f->archive->directory, "-o", "json", NULL),
                         CLI_OK);
        json = output_as_json(f);
        assert_int_equal(json_integer_value(json_object_get(json, "copied_objects")) > 0, i == 0);
        json_decref(json);
    }
    one = get_newest(f, f->archive->url);
    other = get_newest(f, copy);
    assert_true(json_equal(one, other));
    json_decref(one);
    json_decref(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chains_and_fulls_are_listed),   TEST(a_full_is_shown),
        TEST(a_full_is_pinned_and_unpinned), TEST(an_archive_is_verified),
        TEST(what_is_wanted_is_not_pruned),  TEST(a_copy_has_what_the_archive_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
