#include "tests/lib/s3_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/s3.h"
#include "tests/lib/repository_contract.h"

static bool is_canceled(void *data)
{
    struct s3_fixture *f = data;

    if (f->cancel_at > 0 && s3_stub_count(f->stub) >= f->cancel_at) {
        return f->calls_left == 0 || f->calls_left-- == 0;
    }
    return f->is_canceled;
}

void s3_fixture_open_url(struct s3_fixture *f, const char *url)
{
    const struct s3_limits limits = {.connect_ms = 10000,
                                     .stall_s = 30,
                                     .total_ms = 600000,
                                     .max_attempts = S3_FIXTURE_ATTEMPTS,
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

void s3_fixture_open_place(struct s3_fixture *f, const char *place, const char *settings)
{
    char url[256];

    (void)snprintf(url, sizeof url, "s3://%s?endpoint=%s%s", place, s3_stub_url(f->stub), settings);
    s3_fixture_open_url(f, url);
}

int s3_fixture_setup(void **state)
{
    struct s3_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", S3_FIXTURE_SECRET, 1);
    (void)setenv("AWS_SESSION_TOKEN", S3_FIXTURE_TOKEN, 1);
    (void)unsetenv("AWS_REGION");
    (void)unsetenv("AWS_DEFAULT_REGION");
    (void)setenv("no_proxy", "*", 1);
    f->stub = s3_stub_open();
    s3_fixture_open_place(f, "archive/some/where", "");
    *state = f;
    return 0;
}

int s3_fixture_teardown(void **state)
{
    struct s3_fixture *f = *state;

    repository_close(f->repository);
    s3_stub_close(f->stub);
    buffer_close(&f->bytes);
    free(f);
    return 0;
}

enum status s3_fixture_put(struct s3_fixture *f, const char *name)
{
    return repository_put(f->repository, name, slice_of_string("content"), &f->error);
}

enum status s3_fixture_get(struct s3_fixture *f, const char *name)
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

enum status s3_fixture_list(struct s3_fixture *f, const char *prefix, const char *after,
                            unsigned *n)
{
    *n = 0;
    return repository_list(f->repository, prefix, after, count_one, n, &f->error);
}

enum status s3_fixture_count(struct s3_fixture *f, unsigned *n)
{
    return s3_fixture_list(f, "", NULL, n);
}

void s3_fixture_assert_told(struct s3_fixture *f, const char *words)
{
    if (strstr(f->error.text, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, f->error.text);
    }
    assert_null(strstr(f->error.text, S3_FIXTURE_SECRET));
    assert_null(strstr(f->error.text, S3_FIXTURE_TOKEN));
}

void s3_fixture_assert_sent(struct s3_fixture *f, size_t nth, const char *words, bool is_there)
{
    const char *request = s3_stub_request(f->stub, nth);

    if ((strstr(request, words) != NULL) != is_there) {
        fail_msg("request %zu is %s", nth, request);
    }
}
