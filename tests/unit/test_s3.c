/* S3 as a repository, against a server in memory: the contract of all repositories, what is sent,
 * and all that goes wrong with an object that is put. tests/cluster/test_s3.c has a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/s3.h"
#include "tests/lib/repository_contract.h"
#include "tests/lib/s3_fixture.h"

static void s3_keeps_the_contract(void **state)
{
    struct s3_fixture *f = *state;

    repository_contract(f->repository);
    assert_false(repository_is_local(f->repository));
}

static void a_bucket_without_prefix_keeps_the_contract(void **state)
{
    struct s3_fixture *f = *state;

    s3_fixture_open_place(f, "archive/", "");
    repository_contract(f->repository);
}

/* --- What is sent --- */

static void a_put_is_signed_conditional_and_does_not_wait_for_leave(void **state)
{
    struct s3_fixture *f = *state;

    assert_int_equal(s3_fixture_put(f, "a/b"), STATUS_OK);

    s3_fixture_assert_sent(f, 0, "PUT /archive/some/where/a/b HTTP/1.1\r\n", true);
    s3_fixture_assert_sent(f, 0, "\r\nif-none-match: *\r\n", true);
    s3_fixture_assert_sent(f, 0,
                           "\r\nx-amz-content-sha256: ed7002b439e9ac845f22357d822bac14"
                           "44730fbdb6016d3ec9432297b9ec9f73\r\n",
                           true);
    s3_fixture_assert_sent(f, 0, "\r\nx-amz-security-token: " S3_FIXTURE_TOKEN "\r\n", true);
    s3_fixture_assert_sent(f, 0,
                           "SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date;"
                           "x-amz-meta-creation;x-amz-meta-sha256;x-amz-security-token, Signature=",
                           true);
    s3_fixture_assert_sent(f, 0, "/us-east-1/s3/aws4_request", true);
    s3_fixture_assert_sent(f, 0, "Expect", false);
    s3_fixture_assert_sent(f, 0, S3_FIXTURE_SECRET, false);
}

static void a_lock_is_sent_with_each_object(void **state)
{
    struct s3_fixture *f = *state;

    s3_fixture_open_place(f, "archive", "&object-lock=compliance&retain-days=30&region=eu-west-3");
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);

    s3_fixture_assert_sent(f, 0, "\r\nx-amz-object-lock-mode: COMPLIANCE\r\n", true);
    s3_fixture_assert_sent(f, 0, "\r\nx-amz-object-lock-retain-until-date: 20", true);
    s3_fixture_assert_sent(f, 0, "\r\ncontent-md5: mgNkuembtIDdJeHwKEyFVQ==\r\n",
                           true); /* "content" */
    s3_fixture_assert_sent(f, 0, "/eu-west-3/s3/aws4_request", true);
    s3_fixture_assert_sent(f, 0, "SignedHeaders=content-md5;host;", true);
}

static void a_server_is_tried_out_before_the_first_object(void **state)
{
    const struct s3_limits limits = {.connect_ms = 10000,
                                     .stall_s = 30,
                                     .total_ms = 600000,
                                     .max_attempts = S3_FIXTURE_ATTEMPTS};
    struct s3_fixture *f = *state;
    unsigned n;

    s3_set_limits(f->repository, &limits);
    S3_PLAN(f, {.fault = S3_CARELESS}, {.fault = S3_CARELESS});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_UNSUPPORTED);
    s3_fixture_assert_told(f, "could not create \"x\" in s3://archive");
    S3_PLAN(f, {S3_SAY, 403, NULL, S3_ERROR("AccessDenied")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_PERMISSION);
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK); /* Once it heeds conditions ... */
    s3_fixture_assert_sent(f, 3, "PUT /archive/some/where/.create-only HTTP/1.1", true);
    s3_fixture_assert_sent(f, 4, "PUT /archive/some/where/x HTTP/1.1", true);
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_OK); /* ... it is asked no more. */
    assert_int_equal(s3_stub_count(f->stub), 6);
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
    assert_int_equal(n, 2);
}

/* --- What passes --- */

static void who_is_asked_to_slow_down_comes_again(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    S3_PLAN(f, {S3_SAY, 503, NULL, S3_ERROR("SlowDown")}, {S3_SAY, 429, NULL, NULL},
            {S3_SAY, 500, NULL, S3_ERROR("InternalError")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    S3_PLAN(f, {S3_SAY, 503, NULL, S3_ERROR("SlowDown")}, {S3_SAY, 502, NULL, "<html>"});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    S3_PLAN(f, {S3_SAY, 400, NULL, S3_ERROR("RequestTimeout")}, {.fault = S3_CLOSE});
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
    S3_PLAN(f, {S3_SAY, 503, NULL, NULL}, {.fault = S3_CLOSE});
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_OK);
    assert_int_equal(s3_stub_used(f->stub), 2);
    assert_int_equal(s3_stub_objects(f->stub), 0);
}

static void who_is_asked_to_slow_down_for_too_long_gives_up(void **state)
{
    static const struct s3_step slow = {S3_SAY, 503, NULL, S3_ERROR("SlowDown")};
    struct s3_fixture *f = *state;

    S3_PLAN(f, slow, slow, slow, slow, slow);
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_BUSY);
    assert_int_equal(s3_stub_used(f->stub), S3_FIXTURE_ATTEMPTS);
    s3_fixture_assert_told(
        f, "could not create \"x\" in s3://archive/some/where?endpoint=http://127.0.0.1:");
    s3_fixture_assert_told(f, "503, SlowDown: no");
}

static void a_conflict_of_two_who_create_is_tried_again(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {S3_SAY, 409, NULL, S3_ERROR("ConditionalRequestConflict")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_count(f->stub), 2);
}

static void a_yes_with_an_error_in_it_is_a_no(void **state)
{
    static const struct s3_step lie = {S3_SAY, 200, NULL, S3_ERROR("InternalError")};
    struct s3_fixture *f = *state;
    unsigned n;

    S3_PLAN(f, lie);
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 1);
    S3_PLAN(f, lie);
    assert_int_equal(s3_fixture_count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
    S3_PLAN(f, lie);
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 0);

    S3_PLAN(f, lie, lie, lie, lie);
    assert_int_equal(s3_fixture_put(f, "y"),
                     STATUS_UNCERTAIN); /* It failed, but who knows where. */
    S3_PLAN(f, lie, lie, lie, lie);
    assert_int_equal(s3_fixture_count(f, &n), STATUS_IO);
}

static void an_object_may_look_like_an_error(void **state)
{
    struct s3_fixture *f = *state;

    assert_int_equal(
        repository_put(f->repository, "x", slice_of_string(S3_ERROR("SlowDown")), &f->error),
        STATUS_OK);
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&f->bytes), S3_ERROR("SlowDown")));
}

/* --- Answers that are lost --- */

static void an_answer_lost_behind_a_put_that_was_done_is_found_out(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 1);
    assert_int_equal(s3_stub_count(f->stub), 3);
    s3_fixture_assert_sent(f, 2, "HEAD /archive/some/where/x HTTP/1.1", true);
    assert_int_equal(s3_fixture_put(f, "x"),
                     STATUS_EXISTS); /* It was another call, with equal bytes. */
    assert_int_equal(s3_stub_count(f->stub), 4);
}

/* libcurl sends again by itself what it sent on a connection that it kept and that was closed. */
static void an_answer_lost_on_a_connection_that_was_kept_is_found_out(void **state)
{
    struct s3_fixture *f = *state;

    assert_int_equal(s3_fixture_put(f, "w"), STATUS_OK);
    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 2);
    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(repository_put(f->repository, "none", slice_of("", 0), &f->error), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 3);
}

static void an_error_behind_a_put_that_was_done_is_found_out(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {S3_DO_AND_SAY, 500, NULL, S3_ERROR("InternalError")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    S3_PLAN(f, {S3_DO_AND_SAY, 504, NULL, "<html>"});
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 2);
}

static void the_object_of_another_is_not_taken_for_ours(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {.fault = S3_OTHER_FIRST}); /* With our bytes, and our connection is lost. */
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_EXISTS);
    assert_int_equal(s3_stub_objects(f->stub), 1);
}

static void what_cannot_be_found_out_is_uncertain(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE}, {.fault = S3_HONEST}, {S3_SAY, 403, NULL, NULL});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_UNCERTAIN);
    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE}, {.fault = S3_HONEST}, {.fault = S3_STRIP});
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_UNCERTAIN);
    /* One more than attempts: libcurl sends again by itself on a connection that was kept. */
    S3_PLAN(f, {.fault = S3_CLOSE}, {.fault = S3_CLOSE}, {.fault = S3_CLOSE}, {.fault = S3_CLOSE},
            {.fault = S3_CLOSE});
    assert_int_equal(s3_fixture_put(f, "z"), STATUS_UNCERTAIN);
    S3_PLAN(f, {.fault = S3_DO_AND_CLOSE}, {S3_SAY, 403, NULL, S3_ERROR("AccessDenied")});
    assert_int_equal(s3_fixture_put(f, "w"), STATUS_UNCERTAIN);
    s3_fixture_assert_told(f, "AccessDenied");
    assert_int_equal(s3_stub_objects(f->stub), 3);
}

static void who_does_not_reach_the_server_knows_that_nothing_happened(void **state)
{
    struct s3_fixture *f = *state;
    char url[128];

    (void)snprintf(url, sizeof url, "s3://archive?endpoint=%s", s3_stub_url(f->stub));
    s3_stub_close(f->stub); /* Nobody listens there now. */
    f->stub = s3_stub_open();
    if (strstr(url, s3_stub_url(f->stub)) == NULL) {
        s3_fixture_open_url(f, url);
        assert_int_equal(s3_fixture_put(f, "x"), STATUS_IO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        S3_TEST(s3_keeps_the_contract),
        S3_TEST(a_bucket_without_prefix_keeps_the_contract),
        S3_TEST(a_put_is_signed_conditional_and_does_not_wait_for_leave),
        S3_TEST(a_lock_is_sent_with_each_object),
        S3_TEST(a_server_is_tried_out_before_the_first_object),
        S3_TEST(who_is_asked_to_slow_down_comes_again),
        S3_TEST(who_is_asked_to_slow_down_for_too_long_gives_up),
        S3_TEST(a_conflict_of_two_who_create_is_tried_again),
        S3_TEST(a_yes_with_an_error_in_it_is_a_no),
        S3_TEST(an_object_may_look_like_an_error),
        S3_TEST(an_answer_lost_behind_a_put_that_was_done_is_found_out),
        S3_TEST(an_answer_lost_on_a_connection_that_was_kept_is_found_out),
        S3_TEST(an_error_behind_a_put_that_was_done_is_found_out),
        S3_TEST(the_object_of_another_is_not_taken_for_ours),
        S3_TEST(what_cannot_be_found_out_is_uncertain),
        S3_TEST(who_does_not_reach_the_server_knows_that_nothing_happened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
