/* S3 as a repository, against a real server (Ceph RGW), which checks signatures, hashes and
 * conditions. What no server does on demand is in tests/unit/test_s3.c. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/s3_call.h"
#include "tests/lib/process.h"
#include "tests/lib/repository_contract.h"
#include "tests/lib/rgw_server.h"

#define TEST_LIMIT_S 300
#define NOT_RUN      77 /* Automake calls it SKIP. */
#define RACES        40

static struct rgw_server server; /* Of all tests. */

static int start_server(void **state)
{
    (void)state;
    rgw_server_start(&server);
    return 0;
}

/* --- What all tests do --- */

static struct repository *open_url(const char *url)
{
    struct repository *repository = NULL;
    struct error error = {.text = ""};

    if (repository_open(&(struct repository_options){.url = url}, &repository, &error) !=
        STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return repository;
}

static struct repository *open_place(const char *place, const char *settings)
{
    char url[RGW_SERVER_URL_BYTES];

    rgw_server_url(&server, place, settings, url);
    return open_url(url);
}

static void open_service(struct s3_service *service, const char *place)
{
    struct s3_settings settings;
    char url[RGW_SERVER_URL_BYTES];

    rgw_server_url(&server, place, "", url);
    assert_int_equal(s3_settings_parse(url, &settings, NULL), STATUS_OK);
    s3_service_open(service, &settings, NULL, NULL);
}

static int setup(void **state)
{
    (void)state;
    rgw_server_set_key(server.access_key, server.secret_key);
    rgw_server_make_bucket(&server, "archive", false);
    return 0;
}

static enum status put(struct repository *repository, const char *name, const char *text,
                       struct error *error)
{
    return repository_put(repository, name, slice_of_string(text), error);
}

static bool count_one(void *data, const struct repository_object *object)
{
    (void)object;
    ++*(unsigned *)data;
    return true;
}

/* --- Tests --- */

static const struct s3_limits trusting = {.connect_ms = 10000,
                                          .stall_s = 30,
                                          .first_pause_ms = 200,
                                          .last_pause_ms = 10000,
                                          .total_ms = 120000,
                                          .max_attempts = 1000,
                                          .trusts_server = true};

static void the_contract_is_kept_below_a_prefix(void **state)
{
    struct repository *repository = open_place("archive/cluster=a_b.c/1", "");

    (void)state;
    repository_contract(repository);
    repository_close(repository);
}

static void the_contract_is_kept_with_the_bucket_in_the_host(void **state)
{
    char url[RGW_SERVER_URL_BYTES];
    struct repository *repository;

    (void)state;
    rgw_server_make_bucket(&server, "whole", false);
    /* libcurl takes every name below localhost for this machine. */
    (void)snprintf(url, sizeof url, "s3://whole?endpoint=http://localhost:%u&path-style=false",
                   server.port);
    repository = open_url(url);
    repository_contract(repository);
    repository_close(repository);
}

static void assert_refused(const char *code)
{
    struct repository *repository = open_place("archive", "");
    struct error error = {.text = ""};
    struct buffer bytes = BUFFER_EMPTY;
    unsigned n = 0;

    assert_int_equal(put(repository, "x", "1", &error), STATUS_PERMISSION);
    assert_non_null(strstr(error.text, code));
    assert_null(strstr(error.text, server.secret_key));
    assert_int_equal(repository_read(repository, "x", 0, 1, &bytes, &error), STATUS_PERMISSION);
    assert_int_equal(repository_list(repository, "", NULL, count_one, &n, &error),
                     STATUS_PERMISSION);
    assert_int_equal(repository_remove(repository, "x", &error), STATUS_PERMISSION);
    buffer_close(&bytes);
    repository_close(repository);
}

static void wrong_keys_are_refused(void **state)
{
    (void)state;
    rgw_server_set_key(server.access_key, "not-the-secret");
    assert_refused("SignatureDoesNotMatch");
    rgw_server_set_key("AKNOBODY", server.secret_key);
    assert_refused("InvalidAccessKeyId");
}

static void a_missing_bucket_is_told(void **state)
{
    struct repository *repository = open_place("nowhere", "");
    struct error error = {.text = ""};
    struct buffer bytes = BUFFER_EMPTY;
    unsigned n = 0;

    (void)state;
    assert_int_equal(put(repository, "x", "1", &error), STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "bucket \"nowhere\" does not exist"));
    assert_int_equal(repository_read(repository, "x", 0, 1, &bytes, &error), STATUS_NOT_FOUND);
    assert_int_equal(repository_list(repository, "", NULL, count_one, &n, &error),
                     STATUS_NOT_FOUND);
    assert_int_equal(repository_remove(repository, "x", &error), STATUS_NOT_FOUND);
    buffer_close(&bytes);
    repository_close(repository);
}

struct racer {
    const char *text;
    pthread_barrier_t *barrier;
    enum status statuses[RACES];
};

static void *race(void *data)
{
    struct racer *racer = data;
    struct repository *repository = open_place("archive/race", "");

    for (unsigned i = 0; i < RACES; i++) {
        char name[32];
        struct error error;

        (void)snprintf(name, sizeof name, "%020u", i);
        (void)pthread_barrier_wait(racer->barrier);
        racer->statuses[i] = put(repository, name, racer->text, &error);
    }
    repository_close(repository);
    return NULL;
}

/* The object is the winner's. */
static void check_race(struct repository *repository, unsigned nth, const struct racer racers[2])
{
    unsigned winner = racers[0].statuses[nth] == STATUS_OK ? 0 : 1;
    struct buffer bytes = BUFFER_EMPTY;
    struct error error = {.text = ""};
    char name[32];

    assert_int_equal(racers[winner].statuses[nth], STATUS_OK);
    assert_int_equal(racers[1 - winner].statuses[nth], STATUS_EXISTS);
    (void)snprintf(name, sizeof name, "%020u", nth);
    assert_int_equal(repository_read(repository, name, 0, 100, &bytes, &error), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&bytes), racers[winner].text));
    assert_int_equal(repository_remove(repository, name, &error), STATUS_OK);
    buffer_close(&bytes);
}

static void of_two_who_create_at_once_one_has_created(void **state)
{
    pthread_barrier_t barrier;
    struct racer racers[2] = {{.text = "one", .barrier = &barrier},
                              {.text = "another", .barrier = &barrier}};
    struct repository *repository = open_place("archive/race", "");
    pthread_t threads[2];

    (void)state;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (unsigned i = 0; i < RACES; i++) {
        check_race(repository, i, racers);
    }
    (void)pthread_barrier_destroy(&barrier);
    repository_close(repository);
}

static enum status give_content(void *data, uint64_t offset, uint8_t *bytes, size_t size, size_t *n,
                                struct error *error)
{
    const char *text = data;

    (void)error;
    *n = strlen(text) - offset < size ? strlen(text) - (size_t)offset : size;
    memcpy(bytes, text + offset, *n);
    return STATUS_OK;
}

/* The server looks, too: not only we hold bytes against their hash. */
static void bytes_that_change_on_the_way_become_no_object(void **state)
{
    char text[] = "content";
    struct s3_call call = {.method = "PUT",
                           .name = "changed",
                           .body_sha256 =
                               "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
                           .read = give_content,
                           .size_bytes = strlen(text),
                           .max_body = 65536,
                           .user = text};
    struct s3_call look = {.method = "HEAD", .name = "changed", .max_body = 65536};
    struct error error = {.text = ""};
    struct s3_service service;

    (void)state;
    open_service(&service, "archive");
    text[3] = 'T';
    assert_int_equal(s3_call_run(&service, &call, &error), STATUS_CORRUPT);
    assert_int_equal(s3_call_run(&service, &look, &error), STATUS_NOT_FOUND);
    s3_call_close(&call);
    s3_call_close(&look);
    s3_service_close(&service);
}

static void a_clock_that_is_wrong_is_set_by_the_server(void **state)
{
    struct s3_call call = {.method = "GET", .query = {{"list-type", "2"}}, .max_body = 65536};
    struct error error = {.text = ""};
    struct s3_service service;

    (void)state;
    open_service(&service, "archive");
    service.skew_s = 3600;
    assert_int_equal(s3_call_run(&service, &call, &error), STATUS_OK);
    assert_true(service.skew_s < 60 && service.skew_s > -60);
    s3_call_close(&call);
    s3_service_close(&service);
}

static void what_is_held_cannot_be_removed(void **state)
{
    struct repository *repository;
    struct buffer bytes = BUFFER_EMPTY;
    struct error error = {.text = ""};

    (void)state;
    rgw_server_make_bucket(&server, "held", true);
    repository = open_place("held/x", "&object-lock=compliance&retain-days=1");
    s3_set_limits(repository, &trusting); /* See the next but one. */
    if (put(repository, "a/b", "content", &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(repository_remove(repository, "a/b", &error), STATUS_PERMISSION);
    assert_int_equal(repository_read(repository, "a/b", 0, 100, &bytes, &error), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&bytes), "content"));
    assert_int_equal(repository_remove(repository, "a/c", &error), STATUS_OK); /* Never was. */
    buffer_close(&bytes);
    repository_close(repository);
}

/* A name without its version would only be hidden, and its bytes be kept and paid for. */
static void what_was_held_is_removed_with_its_version(void **state)
{
    struct repository *holder;
    struct repository *repository;
    struct error error = {.text = ""};
    unsigned n = 0;

    (void)state;
    rgw_server_make_bucket(&server, "versions", true);
    holder = open_place("versions", "&object-lock=compliance&retain-days=1");
    repository = open_place("versions", "");
    s3_set_limits(repository, &trusting);
    s3_set_limits(holder, &trusting);
    assert_int_equal(put(repository, "free", "1", &error), STATUS_OK); /* Not held. */
    assert_int_equal(repository_remove(holder, "free", &error), STATUS_OK);
    assert_int_equal(repository_list(holder, "", NULL, count_one, &n, &error), STATUS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(put(holder, "free", "2", &error), STATUS_OK);
    repository_close(repository);
    repository_close(holder);
}

/* RGW 16.2 lets two create the same object if the bucket has versions; later ones may not. */
static void who_lets_two_create_one_object_is_found_out(void **state)
{
    struct repository *repository;
    struct error error = {.text = ""};

    (void)state;
    rgw_server_make_bucket(&server, "careless", true);
    repository = open_place("careless", "");
    if (put(repository, "x", "1", &error) == STATUS_OK) {
        assert_int_equal(put(repository, "x", "2", &error), STATUS_EXISTS);
    } else {
        assert_int_equal(error.status, STATUS_UNSUPPORTED);
    }
    repository_close(repository);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_contract_is_kept_below_a_prefix),
        TEST(the_contract_is_kept_with_the_bucket_in_the_host),
        TEST(wrong_keys_are_refused),
        TEST(a_missing_bucket_is_told),
        TEST(of_two_who_create_at_once_one_has_created),
        TEST(bytes_that_change_on_the_way_become_no_object),
        TEST(a_clock_that_is_wrong_is_set_by_the_server),
        TEST(what_is_held_cannot_be_removed),
        TEST(what_was_held_is_removed_with_its_version),
        TEST(who_lets_two_create_one_object_is_found_out),
    };
    int failed;

    process_limit_test(TEST_LIMIT_S);
    if (rgw_server_missing() != NULL) {
        print_message("*** NOT RUN: %s ***\n", rgw_server_missing());
        return NOT_RUN;
    }
    failed = cmocka_run_group_tests(tests, start_server, NULL);
    rgw_server_stop(&server, failed == 0);
    return failed;
}
