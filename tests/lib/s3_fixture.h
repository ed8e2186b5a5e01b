/* For tests of S3 against a server in memory: a repository in it, and what it was asked. */
#ifndef HOLDFAST_TESTS_LIB_S3_FIXTURE_H
#define HOLDFAST_TESTS_LIB_S3_FIXTURE_H

#include "storage/archive/repository.h"
#include "tests/lib/s3_stub.h"

/* What no message may have in it. */
#define S3_FIXTURE_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define S3_FIXTURE_TOKEN  "token-that-nobody-may-see"
/* So often a request is tried. */
#define S3_FIXTURE_ATTEMPTS 4

/* An answer's body. */
#define S3_ERROR(code)                                                                             \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>no</Message></Error>"
/* What the server does with the next requests: struct s3_step each. */
#define S3_PLAN(f, ...)                                                                            \
    s3_stub_plan((f)->stub, (const struct s3_step[]){__VA_ARGS__},                                 \
                 sizeof((const struct s3_step[]){__VA_ARGS__}) / sizeof(struct s3_step))

struct s3_fixture {
    struct s3_stub *stub;
    struct repository *repository;
    struct error error;
    struct buffer bytes; /* That were read last. */
    bool is_canceled;
    size_t cancel_at;    /* So many requests; 0: never. */
    unsigned calls_left; /* So often not even then. */
};

/* cmocka's setup and teardown, and a test with both. The repository is at "archive/some/where". */
int s3_fixture_setup(void **state);
int s3_fixture_teardown(void **state);
#define S3_TEST(name) cmocka_unit_test_setup_teardown(name, s3_fixture_setup, s3_fixture_teardown)

/* In the place of the repository, another one, with pauses of nothing: at @url, or at
 * "BUCKET/PREFIX" of the server, with @settings as "&a=b". */
void s3_fixture_open_url(struct s3_fixture *f, const char *url);
void s3_fixture_open_place(struct s3_fixture *f, const char *place, const char *settings);

/* "content", and 100 bytes from the beginning. */
enum status s3_fixture_put(struct s3_fixture *f, const char *name);
enum status s3_fixture_get(struct s3_fixture *f, const char *name);
/* How many names are listed: with @prefix and behind @after, or all. */
enum status s3_fixture_list(struct s3_fixture *f, const char *prefix, const char *after,
                            unsigned *n);
enum status s3_fixture_count(struct s3_fixture *f, unsigned *n);

/* The error has these words, and no secret. */
void s3_fixture_assert_told(struct s3_fixture *f, const char *words);
/* The nth request has (or has not) these words. */
void s3_fixture_assert_sent(struct s3_fixture *f, size_t nth, const char *words, bool is_there);

#endif
