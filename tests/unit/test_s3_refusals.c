/* What S3 does not do for us, as it says, and URLs that say where it is, or are refused. */
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
#include "tests/lib/s3_fixture.h"

/* --- What does not pass --- */

static void a_redirect_tells_the_right_place_and_is_not_followed(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f,
            {S3_SAY, 301, "x-amz-bucket-region: eu-central-1\r\n", S3_ERROR("PermanentRedirect")});
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_INVALID);
    s3_fixture_assert_told(
        f, "region \"eu-central-1\" and not in \"us-east-1\": set region=eu-central-1");
    S3_PLAN(f,
            {S3_SAY, 400, NULL,
             "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_INVALID);
    s3_fixture_assert_told(f, "set region=eu-west-1");
    S3_PLAN(f, {S3_SAY, 307, "Location: http://other.example/archive\r\n", NULL});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_INVALID);
    s3_fixture_assert_told(f, "points to \"http://other.example/archive\"");
    assert_int_equal(s3_stub_count(f->stub), 3);
}

static void a_clock_that_is_wrong_is_set_by_the_server(void **state)
{
    static const struct s3_step skewed = {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n",
                                          S3_ERROR("RequestTimeTooSkewed")};
    struct s3_fixture *f = *state;

    S3_PLAN(f, skewed);
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    s3_fixture_assert_sent(f, 1, "\r\nx-amz-date: 20200101T12", true);
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_OK);
    s3_fixture_assert_sent(f, 2, "\r\nx-amz-date: 20200101T12", true);

    S3_PLAN(f, skewed, skewed);
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_PERMISSION); /* Once is enough. */
    S3_PLAN(f, {S3_SAY, 403, "Date: noon\r\n", S3_ERROR("RequestTimeTooSkewed")});
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_PERMISSION);
    s3_fixture_assert_told(f, "RequestTimeTooSkewed");
    S3_PLAN(f, {S3_SAY, 403, "Date: Sat, 01 Jan 20000 12:00:00 GMT\r\n",
                S3_ERROR("RequestTimeTooSkewed")});
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_PERMISSION); /* No time that can be signed. */
    assert_int_equal(s3_stub_count(f->stub), 7);
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_OK); /* Nor is it kept. */
}

/* What a HEAD is refused for does not say why. */
static void a_clock_that_is_wrong_is_noticed_without_words(void **state)
{
    struct s3_fixture *f = *state;

    s3_fixture_open_place(f, "archive", "&object-lock=governance&retain-days=1");
    S3_PLAN(f, {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n", NULL},
            {S3_SAY, 403, "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n", NULL});
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_PERMISSION);
    assert_int_equal(s3_stub_count(f->stub), 2);
    s3_fixture_assert_sent(f, 1, "HEAD /archive/x", true);
    s3_fixture_assert_sent(f, 1, "\r\nx-amz-date: 20200101T12", true);
}

static void wrong_keys_are_told_and_not_tried_again(void **state)
{
    static const char *const bodies[] = {S3_ERROR("InvalidAccessKeyId"),
                                         S3_ERROR("SignatureDoesNotMatch"),
                                         S3_ERROR("AccessDenied")};
    struct s3_fixture *f = *state;
    unsigned n;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const struct s3_step step = {S3_SAY, 403, NULL, bodies[i]};
        const struct s3_step steps[] = {step, step, step, step};

        s3_stub_plan(f->stub, steps, 4);
        assert_int_equal(s3_fixture_put(f, "x"), STATUS_PERMISSION);
        s3_fixture_assert_told(f, "the server answers with status 403, ");
        assert_int_equal(s3_fixture_get(f, "x"), STATUS_PERMISSION);
        assert_int_equal(s3_fixture_count(f, &n), STATUS_PERMISSION);
        assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_PERMISSION);
        assert_int_equal(s3_stub_used(f->stub), 4);
    }
}

static void an_expired_token_is_tried_once_more(void **state)
{
    static const struct s3_step expired = {S3_SAY, 400, NULL, S3_ERROR("ExpiredToken")};
    struct s3_fixture *f = *state;

    S3_PLAN(f, expired);
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_OK);
    S3_PLAN(f, expired, expired);
    assert_int_equal(s3_fixture_put(f, "y"), STATUS_PERMISSION);
    assert_int_equal(s3_stub_used(f->stub), 2);
}

static void a_missing_bucket_is_told(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    s3_fixture_open_place(f, "other", "");
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_NOT_FOUND);
    s3_fixture_assert_told(f, "bucket \"other\" does not exist");
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_NOT_FOUND);
    s3_fixture_assert_told(f, "bucket \"other\" does not exist");
    assert_int_equal(s3_fixture_count(f, &n), STATUS_NOT_FOUND);
    assert_int_equal(repository_remove(f->repository, "x", &f->error), STATUS_NOT_FOUND);
    assert_int_equal(s3_stub_count(f->stub), 4);
}

static void what_a_server_cannot_do_or_has_no_room_for_is_told(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {S3_SAY, 501, NULL, S3_ERROR("NotImplemented")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_UNSUPPORTED);
    S3_PLAN(f, {S3_SAY, 403, NULL, S3_ERROR("QuotaExceeded")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_DISK_FULL);
    S3_PLAN(f, {S3_SAY, 400, NULL, S3_ERROR("XAmzContentSHA256Mismatch")});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_CORRUPT);
    S3_PLAN(f, {S3_SAY, 418, NULL, "<Error><Code>A\033[31mB</Code></Error>"});
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_IO);
    s3_fixture_assert_told(f, "418, A?[31mB");
}

static void bytes_that_are_not_what_their_hash_says_are_not_sent(void **state)
{
    struct s3_fixture *f = *state;
    struct repository_content content = {.size_bytes = 7};
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_true(fputs("content", file) >= 0 && fflush(file) == 0);
    content.fd = fileno(file);

    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "not what its hash says");
    content.size_bytes = 8;
    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    s3_fixture_assert_told(f, "cut off");
    assert_int_equal(s3_stub_objects(f->stub), 0);
    assert_int_equal(fclose(file), 0);
}

static void what_waits_can_be_canceled(void **state)
{
    struct s3_fixture *f = *state;
    unsigned n;

    f->is_canceled = true;
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_CANCELED); /* Nothing was sent. */
    assert_int_equal(s3_fixture_count(f, &n), STATUS_CANCELED);
    f->is_canceled = false;
    S3_PLAN(f, {.fault = S3_SILENT});
    f->cancel_at = 1;
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_CANCELED);
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
    struct s3_fixture *f = *state;

    s3_set_limits(f->repository, &limits);
    S3_PLAN(f, {S3_SAY, 503, NULL, S3_ERROR("SlowDown")});
    f->cancel_at = 1;
    f->calls_left = 10; /* More than while the answer comes. */
    assert_int_equal(s3_fixture_get(f, "x"), STATUS_CANCELED);
    assert_int_equal(s3_stub_count(f->stub), 1);
}

/* Silence behind all that was sent: it may be there later. */
static void a_put_that_was_sent_and_is_canceled_is_uncertain(void **state)
{
    struct s3_fixture *f = *state;

    S3_PLAN(f, {.fault = S3_SILENT});
    f->cancel_at = 1;
    assert_int_equal(s3_fixture_put(f, "x"), STATUS_UNCERTAIN);
    s3_fixture_assert_told(f, "shutting down");
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
    struct s3_fixture *f = *state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        S3_TEST(a_redirect_tells_the_right_place_and_is_not_followed),
        S3_TEST(a_clock_that_is_wrong_is_set_by_the_server),
        S3_TEST(a_clock_that_is_wrong_is_noticed_without_words),
        S3_TEST(wrong_keys_are_told_and_not_tried_again),
        S3_TEST(an_expired_token_is_tried_once_more),
        S3_TEST(a_missing_bucket_is_told),
        S3_TEST(what_a_server_cannot_do_or_has_no_room_for_is_told),
        S3_TEST(bytes_that_are_not_what_their_hash_says_are_not_sent),
        S3_TEST(what_waits_can_be_canceled),
        S3_TEST(a_pause_can_be_canceled),
        S3_TEST(a_put_that_was_sent_and_is_canceled_is_uncertain),
        S3_TEST(a_url_says_where_the_bucket_is),
        S3_TEST(the_region_is_from_the_url_or_the_environment),
        S3_TEST(urls_that_name_no_bucket_or_have_secrets_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
