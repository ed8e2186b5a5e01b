/* S3 as a repository, against a server in memory: the contract of all repositories, and all that
 * goes wrong on the way. tests/cluster/test_s3.c has a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/s3.h"
#include "storage/archive/s3_settings.h"
#include "tests/lib/repository_contract.h"
#include "tests/lib/s3_stub.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define TOKEN  "token-that-nobody-may-see"
#define ERROR(code)                                                                                \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>no</Message></Error>"
#define PLAN(f, ...)                                                                               \
    s3_stub_plan((f)->stub, (const struct s3_step[]){__VA_ARGS__},                                 \
                 sizeof((const struct s3_step[]){__VA_ARGS__}) / sizeof(struct s3_step))
#define ATTEMPTS 4

struct fixture {
    struct s3_stub *stub;
    struct repository *repository;
    struct error error;
    struct buffer bytes;
    bool is_canceled;
    size_t cancel_at;    /* So many requests; 0: never. */
    unsigned calls_left; /* So often not even then. */
};

static bool is_canceled(void *data)
{
    struct fixture *f = data;

    if (f->cancel_at > 0 && s3_stub_count(f->stub) >= f->cancel_at) {
        return f->calls_left == 0 || f->calls_left-- == 0;
    }
    return f->is_canceled;
}

/* With pauses of nothing. */
static void open_url(struct fixture *f, const char *url)
{
    const struct s3_limits limits = {.connect_ms = 10000,
                                     .stall_s = 30,
                                     .total_ms = 600000,
                                     .max_attempts = ATTEMPTS,
                                     .trusts_server = true};

    repository_close(f->repository);
    f->repository = NULL;
    if (repository_open(
            &(struct repository_options){.url = url, .data = f, .is_canceled = is_canceled},
            &f->repository, &f->error) != STATUS_OK) {
        fail_msg("%s", f->error.text);
    }
    s3_set_limits(f->repository, &limits);
}

static void open_place(struct fixture *f, const char *place, const char *settings)
{
    char url[256];

    (void)snprintf(url, sizeof url, "s3://%s?endpoint=%s%s", place, s3_stub_url(f->stub), settings);
    open_url(f, url);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
    (void)setenv("AWS_SESSION_TOKEN", TOKEN, 1);
    (void)unsetenv("AWS_REGION");
    (void)unsetenv("AWS_DEFAULT_REGION");
    (void)setenv("no_proxy", "*", 1);
    f->stub = s3_stub_open();
    open_place(f, "archive/some/where", "");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    repository_close(f->repository);
    s3_stub_close(f->stub);
    buffer_close(&f->bytes);
    free(f);
    return 0;
}

static enum status put(struct fixture *f, const char *name)
{
    return repository_put(f->repository, name, slice_of_string("content"), &f->error);
}

static enum status get(struct fixture *f, const char *name)
{
    buffer_clear(&f->bytes);
    return repository_read(f->repository, name, 0, 100, &f->bytes, &f->error);
}

static bool count_one(void *data, const struct repository_object *object)
{
    (void)object;
    ++*(unsigned *)data;
    return true;
}

static enum status count(struct fixture *f, unsigned *n)
{
    *n = 0;
    return repository_list(f->repository, "", NULL, count_one, n, &f->error);
}

static void assert_told(struct fixture *f, const char *words)
{
    if (strstr(f->error.text, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, f->error.text);
    }
    assert_null(strstr(f->error.text, SECRET));
    assert_null(strstr(f->error.text, TOKEN));
}

/* The nth request has (or has not) these words. */
static void assert_sent(struct fixture *f, size_t nth, const char *words, bool is_there)
{
    const char *request = s3_stub_request(f->stub, nth);

    if ((strstr(request, words) != NULL) != is_there) {
        fail_msg("request %zu is %s", nth, request);
    }
}

static void s3_keeps_the_contract(void **state)
{
    struct fixture *f = *state;

    repository_contract(f->repository);
    assert_false(repository_is_local(f->repository));
}

static void a_bucket_without_prefix_keeps_the_contract(void **state)
{
    struct fixture *f = *state;

    open_place(f, "archive/", "");
    repository_contract(f->repository);
}

/* --- What is sent --- */

static void a_put_is_signed_conditional_and_does_not_wait_for_leave(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "a/b"), STATUS_OK);

    assert_sent(f, 0, "PUT /archive/some/where/a/b HTTP/1.1\r\n", true);
    assert_sent(f, 0, "\r\nif-none-match: *\r\n", true);
    assert_sent(f, 0,
                "\r\nx-amz-content-sha256: ed7002b439e9ac845f22357d822bac14"
                "44730fbdb6016d3ec9432297b9ec9f73\r\n",
                true);
    assert_sent(f, 0, "\r\nx-amz-security-token: " TOKEN "\r\n", true);
    assert_sent(f, 0,
                "SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date;"
                "x-amz-meta-creation;x-amz-meta-sha256;x-amz-security-token, Signature=",
                true);
    assert_sent(f, 0, "/us-east-1/s3/aws4_request", true);
    assert_sent(f, 0, "Expect", false);
    assert_sent(f, 0, SECRET, false);
}

static void a_lock_is_sent_with_each_object(void **state)
{
    struct fixture *f = *state;

    open_place(f, "archive", "&object-lock=compliance&retain-days=30&region=eu-west-3");
    assert_int_equal(put(f, "x"), STATUS_OK);

    assert_sent(f, 0, "\r\nx-amz-object-lock-mode: COMPLIANCE\r\n", true);
    assert_sent(f, 0, "\r\nx-amz-object-lock-retain-until-date: 20", true);
    assert_sent(f, 0, "\r\ncontent-md5: mgNkuembtIDdJeHwKEyFVQ==\r\n", true); /* "content" */
    assert_sent(f, 0, "/eu-west-3/s3/aws4_request", true);
    assert_sent(f, 0, "SignedHeaders=content-md5;host;", true);
}

static void a_server_is_tried_out_before_the_first_object(void **state)
{
    const struct s3_limits limits = {
        .connect_ms = 10000, .stall_s = 30, .total_ms = 600000, .max_attempts = ATTEMPTS};
    struct fixture *f = *state;
    unsigned n;

    s3_set_limits(f->repository, &limits);
    PLAN(f, {.fault = S3_CARELESS}, {.fault = S3_CARELESS});
    assert_int_equal(put(f, "x"), STATUS_UNSUPPORTED);
    assert_told(f, "could not create \"x\" in s3://archive");
    PLAN(f, {S3_SAY, 403, NULL, ERROR("AccessDenied")});
    assert_int_equal(put(f, "x"), STATUS_PERMISSION);
    assert_int_equal(put(f, "x"), STATUS_OK); /* Once it heeds conditions ... */
    assert_sent(f, 3, "PUT /archive/some/where/.create-only HTTP/1.1", true);
    assert_sent(f, 4, "PUT /archive/some/where/x HTTP/1.1", true);
    assert_int_equal(put(f, "y"), STATUS_OK); /* ... it is asked no more. */
    assert_int_equal(s3_stub_count(f->stub), 6);
    assert_int_equal(count(f, &n), STATUS_OK);
    assert_int_equal(n, 2);
}

/* --- What passes --- */

static void who_is_asked_to_slow_down_comes_again(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    PLAN(f, {S3_SAY, 503, NULL, ERROR("SlowDown")}, {S3_SAY, 429, NULL, NULL},
         {S3_SAY, 500, NULL, ERROR("InternalError")});
    assert_int_equal(put(f, "x"), STATUS_OK);
    PLAN(f, {S3_SAY, 503, NULL, ERROR("SlowDown")}, {S3_SAY, 502, NULL, "<html>"});
    assert_int_equal(get(f, "x"), STATUS_OK);
    PLAN(f, {S3_SAY, 400, NULL, ERROR("RequestTimeout")}, {.fault = S3_CLOSE});
    assert_int_equal(count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
    PLAN(f, {S3_SAY, 503, NULL, NULL}, {.fault = S3_CLOSE});
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_OK);
    assert_int_equal(s3_stub_used(f->stub), 2);
    assert_int_equal(s3_stub_objects(f->stub), 0);
}

static void who_is_asked_to_slow_down_for_too_long_gives_up(void **state)
{
    static const struct s3_step slow = {S3_SAY, 503, NULL, ERROR("SlowDown")};
    struct fixture *f = *state;

    PLAN(f, slow, slow, slow, slow, slow);
    assert_int_equal(put(f, "x"), STATUS_BUSY);
    assert_int_equal(s3_stub_used(f->stub), ATTEMPTS);
    assert_told(f, "could not create \"x\" in s3://archive/some/where?endpoint=http://127.0.0.1:");
    assert_told(f, "503, SlowDown: no");
}

static void a_conflict_of_two_who_create_is_tried_again(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {S3_SAY, 409, NULL, ERROR("ConditionalRequestConflict")});
    assert_int_equal(put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_count(f->stub), 2);
}

static void a_yes_with_an_error_in_it_is_a_no(void **state)
{
    static const struct s3_step lie = {S3_SAY, 200, NULL, ERROR("InternalError")};
    struct fixture *f = *state;
    unsigned n;

    PLAN(f, lie);
    assert_int_equal(put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 1);
    PLAN(f, lie);
    assert_int_equal(count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
    PLAN(f, lie);
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 0);

    PLAN(f, lie, lie, lie, lie);
    assert_int_equal(put(f, "y"), STATUS_UNCERTAIN); /* It failed, but who knows where. */
    PLAN(f, lie, lie, lie, lie);
    assert_int_equal(count(f, &n), STATUS_IO);
}

static void an_object_may_look_like_an_error(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        repository_put(f->repository, "x", slice_of_string(ERROR("SlowDown")), &f->error),
        STATUS_OK);
    assert_int_equal(get(f, "x"), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&f->bytes), ERROR("SlowDown")));
}

/* --- Answers that are lost --- */

static void an_answer_lost_behind_a_put_that_was_done_is_found_out(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 1);
    assert_int_equal(s3_stub_count(f->stub), 3);
    assert_sent(f, 2, "HEAD /archive/some/where/x HTTP/1.1", true);
    assert_int_equal(put(f, "x"), STATUS_EXISTS); /* It was another call, with equal bytes. */
    assert_int_equal(s3_stub_count(f->stub), 4);
}

/* libcurl sends again by itself what it sent on a connection that it kept and that was closed. */
static void an_answer_lost_on_a_connection_that_was_kept_is_found_out(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "w"), STATUS_OK);
    PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(put(f, "x"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 2);
    PLAN(f, {.fault = S3_DO_AND_CLOSE});
    assert_int_equal(repository_put(f->repository, "none", slice_of("", 0), &f->error), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 3);
}

static void an_error_behind_a_put_that_was_done_is_found_out(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {S3_DO_AND_SAY, 500, NULL, ERROR("InternalError")});
    assert_int_equal(put(f, "x"), STATUS_OK);
    PLAN(f, {S3_DO_AND_SAY, 504, NULL, "<html>"});
    assert_int_equal(put(f, "y"), STATUS_OK);
    assert_int_equal(s3_stub_objects(f->stub), 2);
}

static void the_object_of_another_is_not_taken_for_ours(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {.fault = S3_OTHER_FIRST}); /* With our bytes, and our connection is lost. */
    assert_int_equal(put(f, "x"), STATUS_EXISTS);
    assert_int_equal(s3_stub_objects(f->stub), 1);
}

static void what_cannot_be_found_out_is_uncertain(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {.fault = S3_DO_AND_CLOSE}, {.fault = S3_HONEST}, {S3_SAY, 403, NULL, NULL});
    assert_int_equal(put(f, "x"), STATUS_UNCERTAIN);
    PLAN(f, {.fault = S3_DO_AND_CLOSE}, {.fault = S3_HONEST}, {.fault = S3_STRIP});
    assert_int_equal(put(f, "y"), STATUS_UNCERTAIN);
    /* One more than attempts: libcurl sends again by itself on a connection that was kept. */
    PLAN(f, {.fault = S3_CLOSE}, {.fault = S3_CLOSE}, {.fault = S3_CLOSE}, {.fault = S3_CLOSE},
         {.fault = S3_CLOSE});
    assert_int_equal(put(f, "z"), STATUS_UNCERTAIN);
    PLAN(f, {.fault = S3_DO_AND_CLOSE}, {S3_SAY, 403, NULL, ERROR("AccessDenied")});
    assert_int_equal(put(f, "w"), STATUS_UNCERTAIN);
    assert_told(f, "AccessDenied");
    assert_int_equal(s3_stub_objects(f->stub), 3);
}

static void who_does_not_reach_the_server_knows_that_nothing_happened(void **state)
{
    struct fixture *f = *state;
    char url[128];

    (void)snprintf(url, sizeof url, "s3://archive?endpoint=%s", s3_stub_url(f->stub));
    s3_stub_close(f->stub); /* Nobody listens there now. */
    f->stub = s3_stub_open();
    if (strstr(url, s3_stub_url(f->stub)) == NULL) {
        open_url(f, url);
        assert_int_equal(put(f, "x"), STATUS_IO);
    }
}

/* --- Reading --- */

static void a_body_that_is_cut_off_is_read_again(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "x"), STATUS_OK);
    PLAN(f, {.fault = S3_CUT});
    assert_int_equal(get(f, "x"), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&f->bytes), "content"));
    PLAN(f, {.fault = S3_CUT}, {.fault = S3_CUT}, {.fault = S3_CUT}, {.fault = S3_CUT});
    assert_int_equal(get(f, "x"), STATUS_IO);
    assert_int_equal(f->bytes.size, 0);
}

static void another_part_than_was_asked_for_is_not_taken(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f, "x"), STATUS_OK);
    PLAN(f, {.fault = S3_OTHER_PART});
    assert_int_equal(get(f, "x"), STATUS_OK);
    PLAN(f, {.fault = S3_OTHER_PART}, {.fault = S3_OTHER_PART}, {.fault = S3_OTHER_PART});
    assert_int_equal(get(f, "x"), STATUS_CORRUPT);
    assert_int_equal(f->bytes.size, 0);
    assert_told(f, "could not read \"x\"");
}

static void ranges_that_make_no_sense_are_not_taken(void **state)
{
    static const char *const fields[] = {"",
                                         "Content-Range: bytes */7\r\n",
                                         "Content-Range: bytes 0-6/\r\n",
                                         "Content-Range: bytes 0-6/6\r\n",
                                         "Content-Range: bytes 0-6/7x\r\n",
                                         "Content-Range: bytes 0-5/7\r\n",
                                         "Content-Range: bytes 0-6/8\r\n",
                                         "Content-Range: bytes 6-0/7\r\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct s3_step step = {S3_SAY, 206, fields[i], "content"};
        const struct s3_step steps[] = {step, step, step};

        s3_stub_plan(f->stub, steps, 3);
        assert_int_equal(get(f, "x"), STATUS_CORRUPT);
    }
}

static void a_whole_object_is_held_against_its_hash(void **state)
{
    static const struct s3_step damaged = {
        S3_SAY, 206,
        "Content-Range: bytes 0-6/7\r\nX-Amz-Meta-Sha256: "
        "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\r\n",
        "cOntent"};
    struct fixture *f = *state;

    PLAN(f, damaged, damaged, damaged);
    assert_int_equal(get(f, "x"), STATUS_CORRUPT);
    assert_told(f, "not what its hash says");
}

static void who_gets_all_instead_of_a_part_takes_no_more_than_he_asked_for(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {S3_SAY, 200, NULL, "content"});
    assert_int_equal(get(f, "x"), STATUS_OK);
    PLAN(f, {S3_SAY, 200, NULL, "content"});
    assert_int_equal(repository_read(f->repository, "x", 0, 3, &f->bytes, &f->error),
                     STATUS_TOO_LARGE);
}

/* --- Lists --- */

#define LIST(content) "<ListBucketResult>" content "</ListBucketResult>"
#define NAME(name)    "<Contents><Key>some/where/" name "</Key><Size>1</Size></Contents>"
#define LAST          "<IsTruncated>false</IsTruncated>"

static void a_list_that_is_cut_off_is_a_failure(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html>",
        LIST(""),
        LIST(NAME("a")),
        LIST(LAST LAST),
        LIST(LAST "<KeyCount>2</KeyCount>" NAME("a")),
        LIST(LAST "<KeyCount>x</KeyCount>"),
        LIST("<IsTruncated>true</IsTruncated>" NAME("a")),
        LIST("<IsTruncated>maybe</IsTruncated>"),
        LIST(LAST "<Contents><Key>some/where/a</Key></Contents>"),
        LIST(LAST "<Contents><Size>1</Size></Contents>"),
        LIST(LAST "<Contents><Key>some/where/a</Key><Size>-1</Size></Contents>"),
        LIST(LAST "<Contents><Key>some/where/a</Key><Size>1</Size><Size>1</Size></Contents>"),
        LIST(LAST "<EncodingType>url</EncodingType>" NAME("%2")),
        LIST(LAST "<EncodingType>url</EncodingType>" NAME("%00")),
        LIST(LAST "<EncodingType>other</EncodingType>"),
        LIST(LAST "<Contents><Key>some/where/&other;</Key><Size>1</Size></Contents>"),
        LIST(LAST "<!-- -->"),
        LIST(LAST) "x",
        LIST(LAST) LIST(LAST),
        "<ListBucketResult>" LAST,
        "<ListBucketResult>" LAST "</ListBucketResul",
        "<ListBucketResult>" LAST "</Other>",
        "<!DOCTYPE x>" LIST(LAST),
        "<Other>" LAST "</Other>",
    };
    struct fixture *f = *state;
    unsigned n;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const struct s3_step step = {S3_SAY, 200, NULL, bodies[i]};
        const struct s3_step steps[] = {step, step, step};

        s3_stub_plan(f->stub, steps, 3);
        if (count(f, &n) != STATUS_CORRUPT || n != 0) {
            fail_msg("taken: %s", bodies[i]);
        }
        assert_told(f, "could not list \"\"");
    }
}

static void a_list_that_breaks_off_is_read_again(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    assert_int_equal(put(f, "a"), STATUS_OK);
    PLAN(f, {.fault = S3_CUT}, {S3_SAY, 200, NULL, "<ListBucketResult>"});
    assert_int_equal(count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
}

static void names_that_are_not_in_order_or_not_asked_for_are_a_failure(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    assert_int_equal(put(f, "a"), STATUS_OK);
    assert_int_equal(put(f, "b"), STATUS_OK);
    PLAN(f, {.fault = S3_DISORDER});
    assert_int_equal(count(f, &n), STATUS_CORRUPT);
    assert_told(f, "not in order");
    PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a") NAME("a"))});
    assert_int_equal(count(f, &n), STATUS_CORRUPT);
    PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a"))});
    assert_int_equal(repository_list(f->repository, "", "a", count_one, &n, &f->error),
                     STATUS_CORRUPT);
    PLAN(f, {S3_SAY, 200, NULL, LIST(LAST NAME("a"))});
    assert_int_equal(repository_list(f->repository, "b", NULL, count_one, &n, &f->error),
                     STATUS_CORRUPT);
    assert_told(f, "not asked for");
}

static void pages_without_end_are_a_failure(void **state)
{
    static const struct s3_step empty = {
        S3_SAY, 200, NULL,
        LIST("<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")};
    struct fixture *f = *state;
    struct s3_step steps[200];
    unsigned n;

    for (size_t i = 0; i < 200; i++) {
        steps[i] = empty;
    }
    s3_stub_plan(f->stub, steps, 200);
    assert_int_equal(count(f, &n), STATUS_CORRUPT);
    assert_told(f, "without end");
    s3_stub_plan(f->stub, steps, 3); /* Some may be empty. */
    assert_int_equal(count(f, &n), STATUS_OK);
}

static void what_others_put_there_is_not_listed(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    s3_stub_put(f->stub, "some/where/", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/.hidden", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/a//b", slice_of("", 0));
    s3_stub_put(f->stub, "some/where/a+b", slice_of("", 0)); /* A blank, as lists are encoded. */
    s3_stub_put(f->stub, "some/where/good", slice_of("", 0));
    s3_stub_put(f->stub, "some/wherever", slice_of("", 0));
    assert_int_equal(count(f, &n), STATUS_OK);
    assert_int_equal(n, 1);
}

/* --- What does not pass --- */

static void a_redirect_tells_the_right_place_and_is_not_followed(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {S3_SAY, 301, "x-amz-bucket-region: eu-central-1\r\n", ERROR("PermanentRedirect")});
    assert_int_equal(get(f, "x"), STATUS_INVALID);
    assert_told(f, "region \"eu-central-1\" and not in \"us-east-1\": set region=eu-central-1");
    PLAN(f, {S3_SAY, 400, NULL,
             "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"});
    assert_int_equal(put(f, "x"), STATUS_INVALID);
    assert_told(f, "set region=eu-west-1");
    PLAN(f, {S3_SAY, 307, "Location: http://other.example/archive\r\n", NULL});
    assert_int_equal(put(f, "x"), STATUS_INVALID);
    assert_told(f, "points to \"http://other.example/archive\"");
    assert_int_equal(s3_stub_count(f->stub), 3);
}

static void a_clock_that_is_wrong_is_set_by_the_server(void **state)
{
    static const struct s3_step skewed = {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n",
                                          ERROR("RequestTimeTooSkewed")};
    struct fixture *f = *state;

    PLAN(f, skewed);
    assert_int_equal(put(f, "x"), STATUS_OK);
    assert_sent(f, 1, "\r\nx-amz-date: 20200101T12", true);
    assert_int_equal(get(f, "x"), STATUS_OK);
    assert_sent(f, 2, "\r\nx-amz-date: 20200101T12", true);

    PLAN(f, skewed, skewed);
    assert_int_equal(put(f, "y"), STATUS_PERMISSION); /* Once is enough. */
    PLAN(f, {S3_SAY, 403, "Date: noon\r\n", ERROR("RequestTimeTooSkewed")});
    assert_int_equal(put(f, "y"), STATUS_PERMISSION);
    assert_told(f, "RequestTimeTooSkewed");
    assert_int_equal(s3_stub_count(f->stub), 6);
}

/* What a HEAD is refused for does not say why. */
static void a_clock_that_is_wrong_is_noticed_without_words(void **state)
{
    struct fixture *f = *state;

    open_place(f, "archive", "&object-lock=governance&retain-days=1");
    PLAN(f, {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n", NULL},
         {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n", NULL});
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_PERMISSION);
    assert_int_equal(s3_stub_count(f->stub), 2);
    assert_sent(f, 1, "HEAD /archive/x", true);
    assert_sent(f, 1, "\r\nx-amz-date: 20200101T12", true);
}

static void wrong_keys_are_told_and_not_tried_again(void **state)
{
    static const char *const bodies[] = {ERROR("InvalidAccessKeyId"),
                                         ERROR("SignatureDoesNotMatch"), ERROR("AccessDenied")};
    struct fixture *f = *state;
    unsigned n;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const struct s3_step step = {S3_SAY, 403, NULL, bodies[i]};
        const struct s3_step steps[] = {step, step, step, step};

        s3_stub_plan(f->stub, steps, 4);
        assert_int_equal(put(f, "x"), STATUS_PERMISSION);
        assert_told(f, "the server answers with status 403, ");
        assert_int_equal(get(f, "x"), STATUS_PERMISSION);
        assert_int_equal(count(f, &n), STATUS_PERMISSION);
        assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_PERMISSION);
        assert_int_equal(s3_stub_used(f->stub), 4);
    }
}

static void an_expired_token_is_tried_once_more(void **state)
{
    static const struct s3_step expired = {S3_SAY, 400, NULL, ERROR("ExpiredToken")};
    struct fixture *f = *state;

    PLAN(f, expired);
    assert_int_equal(put(f, "x"), STATUS_OK);
    PLAN(f, expired, expired);
    assert_int_equal(put(f, "y"), STATUS_PERMISSION);
    assert_int_equal(s3_stub_used(f->stub), 2);
}

static void a_missing_bucket_is_told(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    open_place(f, "other", "");
    assert_int_equal(put(f, "x"), STATUS_NOT_FOUND);
    assert_told(f, "bucket \"other\" does not exist");
    assert_int_equal(get(f, "x"), STATUS_NOT_FOUND);
    assert_told(f, "bucket \"other\" does not exist");
    assert_int_equal(count(f, &n), STATUS_NOT_FOUND);
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_NOT_FOUND);
    assert_int_equal(s3_stub_count(f->stub), 4);
}

static void what_a_server_cannot_do_or_has_no_room_for_is_told(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {S3_SAY, 501, NULL, ERROR("NotImplemented")});
    assert_int_equal(put(f, "x"), STATUS_UNSUPPORTED);
    PLAN(f, {S3_SAY, 403, NULL, ERROR("QuotaExceeded")});
    assert_int_equal(put(f, "x"), STATUS_DISK_FULL);
    PLAN(f, {S3_SAY, 400, NULL, ERROR("XAmzContentSHA256Mismatch")});
    assert_int_equal(put(f, "x"), STATUS_CORRUPT);
    PLAN(f, {S3_SAY, 418, NULL, "<Error><Code>A\033[31mB</Code></Error>"});
    assert_int_equal(put(f, "x"), STATUS_IO);
    assert_told(f, "418, A?[31mB");
}

static void bytes_that_are_not_what_their_hash_says_are_not_sent(void **state)
{
    struct fixture *f = *state;
    struct repository_content content = {.size_bytes = 7};
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_true(fputs("content", file) >= 0 && fflush(file) == 0);
    content.fd = fileno(file);

    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    assert_told(f, "not what its hash says");
    content.size_bytes = 8;
    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    assert_told(f, "cut off");
    assert_int_equal(s3_stub_objects(f->stub), 0);
    assert_int_equal(fclose(file), 0);
}

static void what_waits_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    unsigned n;

    f->is_canceled = true;
    assert_int_equal(put(f, "x"), STATUS_CANCELED); /* Nothing was sent. */
    assert_int_equal(count(f, &n), STATUS_CANCELED);
    f->is_canceled = false;
    PLAN(f, {.fault = S3_SILENT});
    f->cancel_at = 1;
    assert_int_equal(get(f, "x"), STATUS_CANCELED);
    assert_int_equal(s3_stub_count(f->stub), 1);
    assert_int_equal(s3_stub_objects(f->stub), 0);
}

static void a_pause_can_be_canceled(void **state)
{
    /* The pause is drawn below a time that is longer than any test. */
    const struct s3_limits limits = {.connect_ms = 10000,
                                     .stall_s = 30,
                                     .first_pause_ms = UINT32_MAX,
                                     .last_pause_ms = UINT32_MAX,
                                     .total_ms = 600000,
                                     .max_attempts = 9};
    struct fixture *f = *state;

    s3_set_limits(f->repository, &limits);
    PLAN(f, {S3_SAY, 503, NULL, ERROR("SlowDown")});
    f->cancel_at = 1;
    f->calls_left = 10; /* More than while the answer comes. */
    assert_int_equal(get(f, "x"), STATUS_CANCELED);
    assert_int_equal(s3_stub_count(f->stub), 1);
}

/* Silence behind all that was sent: it may be there later. */
static void a_put_that_was_sent_and_is_canceled_is_uncertain(void **state)
{
    struct fixture *f = *state;

    PLAN(f, {.fault = S3_SILENT});
    f->cancel_at = 1;
    assert_int_equal(put(f, "x"), STATUS_UNCERTAIN);
    assert_told(f, "shutting down");
}

/* --- URLs --- */

static void urls_that_name_no_bucket_or_have_secrets_are_refused(void **state)
{
    static const char *const urls[] = {
        "s3://",
        "s3:///prefix",
        "s3://bucket/../x",
        "s3://bucket/./x",
        "s3://bucket/a//b",
        "s3://bucket/a b",
        "s3://bucket/%zz",
        "s3://buc%00ket",
        "s3://AKIAX:secret@bucket/x",
        "s3://bucket?endpoint=http://user:secret@host",
        "s3://bucket?endpoint=host:80",
        "s3://bucket?endpoint=http://",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://host/path",
        "s3://bucket?secret-key=secret",
        "s3://bucket?secret",
        "s3://bucket?region=a/b",
        "s3://bucket?region=",
        "s3://bucket?region=a&region=b",
        "s3://bucket?path-style=perhaps",
        "s3://bucket?object-lock=governance",
        "s3://bucket?retain-days=3",
        "s3://bucket?object-lock=secret&retain-days=3",
        "s3://bucket?object-lock=governance&retain-days=0",
        "s3://bucket?object-lock=governance&retain-days=3x",
        "s3://bucket?object-lock=governance&retain-days=999999",
    };
    struct fixture *f = *state;
    struct repository *repository;

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        if (repository_open(&(struct repository_options){.url = urls[i]}, &repository, &f->error) !=
            STATUS_INVALID) {
            fail_msg("taken: %s", urls[i]);
        }
        assert_null(strstr(f->error.text, "secret"));
    }
}

static void a_url_says_where_the_bucket_is(void **state)
{
    static const struct {
        const char *url;
        const char *scheme;
        const char *host;
        const char *prefix;
        bool is_path_style;
    } cases[] = {
        {"s3://b", "https", "b.s3.us-east-1.amazonaws.com", "", false},
        {"s3://b/", "https", "b.s3.us-east-1.amazonaws.com", "", false},
        {"s3://b/p/q/?region=eu-west-3", "https", "b.s3.eu-west-3.amazonaws.com", "p/q/", false},
        {"s3://b?region=cn-north-1", "https", "b.s3.cn-north-1.amazonaws.com.cn", "", false},
        {"s3://b.c", "https", "s3.us-east-1.amazonaws.com", "", true},
        {"s3://b?path-style=true", "https", "s3.us-east-1.amazonaws.com", "", true},
        {"s3://b/p?endpoint=http://h:9000", "http", "h:9000", "p/", true},
        {"s3://b?endpoint=http%3A%2F%2Fh%3A80", "http", "h", "", true},
        {"s3://b?endpoint=https://h:443&path-style=false", "https", "b.h", "", false},
        {"s3://b?endpoint=https://[::1]:80", "https", "[::1]:80", "", true},
    };
    struct s3_settings settings;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(s3_settings_parse(cases[i].url, &settings, NULL), STATUS_OK);
        assert_string_equal(settings.scheme, cases[i].scheme);
        assert_string_equal(settings.host, cases[i].host);
        assert_string_equal(settings.prefix, cases[i].prefix);
        assert_int_equal(settings.is_path_style, cases[i].is_path_style);
        s3_settings_close(&settings);
    }
}

static void the_region_is_from_the_url_or_the_environment(void **state)
{
    struct s3_settings settings;

    (void)state;
    (void)setenv("AWS_DEFAULT_REGION", "ap-south-1", 1);
    assert_int_equal(s3_settings_parse("s3://b", &settings, NULL), STATUS_OK);
    assert_string_equal(settings.region, "ap-south-1");
    s3_settings_close(&settings);
    (void)setenv("AWS_REGION", "eu-north-1", 1);
    assert_int_equal(s3_settings_parse("s3://b", &settings, NULL), STATUS_OK);
    assert_string_equal(settings.region, "eu-north-1");
    s3_settings_close(&settings);
    assert_int_equal(s3_settings_parse("s3://b?region=x", &settings, NULL), STATUS_OK);
    assert_string_equal(settings.region, "x");
    s3_settings_close(&settings);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(s3_keeps_the_contract),
        TEST(a_bucket_without_prefix_keeps_the_contract),
        TEST(a_put_is_signed_conditional_and_does_not_wait_for_leave),
        TEST(a_lock_is_sent_with_each_object),
        TEST(a_server_is_tried_out_before_the_first_object),
        TEST(who_is_asked_to_slow_down_comes_again),
        TEST(who_is_asked_to_slow_down_for_too_long_gives_up),
        TEST(a_conflict_of_two_who_create_is_tried_again),
        TEST(a_yes_with_an_error_in_it_is_a_no),
        TEST(an_object_may_look_like_an_error),
        TEST(an_answer_lost_behind_a_put_that_was_done_is_found_out),
        TEST(an_answer_lost_on_a_connection_that_was_kept_is_found_out),
        TEST(an_error_behind_a_put_that_was_done_is_found_out),
        TEST(the_object_of_another_is_not_taken_for_ours),
        TEST(what_cannot_be_found_out_is_uncertain),
        TEST(who_does_not_reach_the_server_knows_that_nothing_happened),
        TEST(a_body_that_is_cut_off_is_read_again),
        TEST(another_part_than_was_asked_for_is_not_taken),
        TEST(ranges_that_make_no_sense_are_not_taken),
        TEST(a_whole_object_is_held_against_its_hash),
        TEST(who_gets_all_instead_of_a_part_takes_no_more_than_he_asked_for),
        TEST(a_list_that_is_cut_off_is_a_failure),
        TEST(a_list_that_breaks_off_is_read_again),
        TEST(names_that_are_not_in_order_or_not_asked_for_are_a_failure),
        TEST(pages_without_end_are_a_failure),
        TEST(what_others_put_there_is_not_listed),
        TEST(a_redirect_tells_the_right_place_and_is_not_followed),
        TEST(a_clock_that_is_wrong_is_set_by_the_server),
        TEST(a_clock_that_is_wrong_is_noticed_without_words),
        TEST(wrong_keys_are_told_and_not_tried_again),
        TEST(an_expired_token_is_tried_once_more),
        TEST(a_missing_bucket_is_told),
        TEST(what_a_server_cannot_do_or_has_no_room_for_is_told),
        TEST(bytes_that_are_not_what_their_hash_says_are_not_sent),
        TEST(what_waits_can_be_canceled),
        TEST(a_pause_can_be_canceled),
        TEST(a_put_that_was_sent_and_is_canceled_is_uncertain),
        TEST(a_url_says_where_the_bucket_is),
        TEST(the_region_is_from_the_url_or_the_environment),
        TEST(urls_that_name_no_bucket_or_have_secrets_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
