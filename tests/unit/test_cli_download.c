/* Downloads that break off: the file ends up as one whole answer, however many parts it took. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/stub_server.h"
#include "tools/cli_download.h"

#define TAG_A "ETag: \"a\"\r\n"
#define TAG_B "ETag: \"b\"\r\n"

struct fixture {
    struct stub_server *servers[2];
    unsigned n_servers;
    struct endpoints endpoints;
    struct download download;
    struct error error;
    unsigned progress;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char path[] = "/tmp/holdfast-download-XXXXXX";

    assert_non_null(f);
    f->download = (struct download){.endpoints = &f->endpoints,
                                    .path = "/v1/snapshot?consistency=stale",
                                    .fd = mkstemp(path),
                                    .first_byte_ms = 10000,
                                    .standstill_ms = 10000};
    assert_true(f->download.fd >= 0);
    assert_int_equal(unlink(path), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < f->n_servers; i++) {
        stub_server_close(f->servers[i]);
    }
    endpoints_close(&f->endpoints);
    assert_int_equal(close(f->download.fd), 0);
    free(f);
    return 0;
}

static void serve(struct fixture *f, const struct stub_step *script)
{
    struct stub_server *server = stub_server_open(script);

    f->servers[f->n_servers++] = server;
    assert_int_equal(endpoints_add(&f->endpoints, stub_server_url(server), &f->error), STATUS_OK);
}

static enum cli_exit run(struct fixture *f)
{
    return download_run(&f->download, &f->error);
}

static void assert_file(struct fixture *f, const char *expected)
{
    char content[256] = "";

    assert_int_equal(pread(f->download.fd, content, sizeof content, 0), strlen(expected));
    assert_string_equal(content, expected);
    assert_int_equal(f->download.bytes, strlen(expected));
}

static void assert_asked(struct fixture *f, unsigned server, unsigned nth, const char *text,
                         bool is_there)
{
    const char *request = stub_server_request(f->servers[server], nth);

    if ((strstr(request, text) != NULL) != is_there) {
        fail_msg("request %u is %s", nth, request);
    }
}

static void on_progress(void *data, uint64_t done, uint64_t of)
{
    struct fixture *f = data;

    assert_true(of == 0 || done <= of);
    f->progress++;
}

static void one_answer_is_enough(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, TAG_A, "all of it"}, STUB_LAST};
    struct fixture *f = *state;

    f->download.on_progress = on_progress;
    f->download.data = f;
    serve(f, script);
    assert_int_equal(run(f), CLI_OK);
    assert_file(f, "all of it");
    assert_int_equal(f->download.attempts, 1);
    assert_asked(f, 0, 0, "GET /v1/snapshot?consistency=stale HTTP/1.1", true);
    assert_asked(f, 0, 0, "Range:", false);
    assert_true(f->progress > 0);
}

static void what_broke_off_is_continued(void **state)
{
    static const struct stub_step script[] = {
        {STUB_CUT, 200, TAG_A, "012345678"}, /* Announces ten bytes. */
        {STUB_CLOSE, 0, NULL, NULL},
        {STUB_ANSWER, 206, TAG_A "Content-Range: bytes 9-9/10\r\n", "9"},
        STUB_LAST};
    struct fixture *f = *state;

    serve(f, script);
    assert_int_equal(run(f), CLI_OK);
    assert_file(f, "0123456789");
    assert_asked(f, 0, 1, "Range: bytes=9-", true);
    assert_asked(f, 0, 2, "Range: bytes=9-", true);
    assert_asked(f, 0, 2, "If-Range: \"a\"", true);
    assert_int_equal(f->download.kept_bytes, 9);
}

static void another_answer_begins_the_file_anew(void **state)
{
    static const struct stub_step script[] = {
        {STUB_CUT, 200, TAG_A, "a long first answer"},
        {STUB_CUT, 200, TAG_B, "second"}, /* It is not there any more. */
        {STUB_ANSWER, 206, TAG_B "Content-Range: bytes 6-6/7\r\n", "!"},
        STUB_LAST};
    struct fixture *f = *state;

    serve(f, script);
    assert_int_equal(run(f), CLI_OK);
    assert_file(f, "second!");
    assert_asked(f, 0, 2, "If-Range: \"b\"", true);
}

static void a_part_of_something_else_is_never_taken(void **state)
{
    static const struct stub_step script[] = {
        {STUB_CUT, 200, TAG_A, "012345678"},
        {STUB_ANSWER, 206, TAG_B "Content-Range: bytes 9-9/10\r\n", "9"},
        STUB_LAST};
    struct fixture *f = *state;

    serve(f, script);
    assert_int_equal(run(f), CLI_FAILURE);
    assert_string_equal(f->error.text, "the node answered with a part that was not asked for");
}

static void a_node_that_went_away_is_passed_over(void **state)
{
    static const struct stub_step broken[] = {
        {STUB_CUT, 200, TAG_A, "01234"}, {STUB_CLOSE, 0, NULL, NULL}, STUB_LAST};
    static const struct stub_step whole[] = {{STUB_ANSWER, 200, TAG_B, "another"}, STUB_LAST};
    struct fixture *f = *state;

    serve(f, broken);
    serve(f, whole);
    assert_int_equal(run(f), CLI_OK);
    assert_file(f, "another");
    assert_asked(f, 1, 0, "If-Range: \"a\"", true);
}

static void who_is_busy_is_asked_again(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 503, NULL, "{}"}, {STUB_ANSWER, 200, TAG_A, "done"}, STUB_LAST};
    struct fixture *f = *state;

    serve(f, script);
    assert_int_equal(run(f), CLI_OK);
    assert_file(f, "done");
}

static void a_no_is_the_end(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 507, NULL,
         "{\"type\":\"/problems/storage-full\",\"title\":\"The disk is full\",\"status\":507,"
         "\"detail\":\"there is no room\"}"},
        STUB_LAST};
    struct fixture *f = *state;

    serve(f, script);
    assert_int_equal(run(f), CLI_FAILURE);
    assert_non_null(strstr(f->error.text, "there is no room"));
    assert_int_equal(f->download.attempts, 1);
}

static void a_standstill_is_the_end(void **state)
{
    static const struct stub_step script[] = {{STUB_SILENT, 0, NULL, NULL}, STUB_LAST};
    struct fixture *f = *state;

    f->download.first_byte_ms = 50;
    f->download.standstill_ms = 50;
    serve(f, script);
    assert_int_equal(run(f), CLI_UNAVAILABLE);
    assert_string_not_equal(f->error.text, "");
}

static void a_full_disk_is_told(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, TAG_A, "all of it"}, STUB_LAST};
    struct fixture *f = *state;
    int full = open("/dev/full", O_RDWR);

    assert_true(full >= 0);
    assert_int_equal(dup2(full, f->download.fd), f->download.fd);
    assert_int_equal(close(full), 0);
    serve(f, script);
    assert_int_equal(run(f), CLI_FAILURE);
    assert_non_null(strstr(f->error.text, "could not"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_answer_is_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(what_broke_off_is_continued, setup, teardown),
        cmocka_unit_test_setup_teardown(another_answer_begins_the_file_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_of_something_else_is_never_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_that_went_away_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_busy_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_no_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_standstill_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_told, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
