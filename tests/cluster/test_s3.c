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
#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/ports.h"
#include "tests/lib/process.h"
#include "tests/lib/repository_contract.h"

#define TEST_LIMIT_S 300
#define READY_MS     120000
#define NOT_RUN      77 /* Automake calls it SKIP. */
#define RACES        40
#define MAX_PATH     512

/* Of all tests: the server, and a key for it. */
static struct {
    char directory[MAX_PATH / 2];
    char ready[MAX_PATH];
    char log[MAX_PATH];
    unsigned port;
    struct process process;
    char access_key[64];
    char secret_key[64];
} server;

/* --- The server --- */

static bool has_program(const char *name)
{
    char command[128];

    (void)snprintf(command, sizeof command, "command -v %s >/dev/null", name);
    return system(command) == 0;
}

static bool is_ready_or_ended(void *data)
{
    (void)data;
    return access(server.ready, F_OK) == 0 || !process_is_alive(&server.process);
}

static void read_key(void)
{
    FILE *file = fopen(server.ready, "r");

    if (file == NULL) {
        fail_msg("the server did not get ready; see %s", server.log);
        return;
    }
    assert_int_equal(fscanf(file, "%63s %63s", server.access_key, server.secret_key), 2);
    assert_int_equal(fclose(file), 0);
}

static void set_key(const char *access_key, const char *secret_key)
{
    (void)setenv("AWS_ACCESS_KEY_ID", access_key, 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", secret_key, 1);
    (void)unsetenv("AWS_SESSION_TOKEN");
}

static int start_server(void **state)
{
    const char *script = getenv("HOLDFAST_CEPH_RGW");
    const char *parent = getenv("TMPDIR");
    char monitor_port[16];
    char port[16];
    const char *arguments[] = {"/bin/bash",
                               script == NULL ? "tests/services/ceph-rgw" : script,
                               server.directory,
                               monitor_port,
                               port,
                               NULL};

    (void)state;
    (void)snprintf(server.directory, sizeof server.directory, "%s/holdfast-s3-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(server.directory));
    (void)snprintf(server.ready, sizeof server.ready, "%s/ready", server.directory);
    (void)snprintf(server.log, sizeof server.log, "%s/start.log", server.directory);
    server.port = port_take();
    (void)snprintf(monitor_port, sizeof monitor_port, "%u", port_take());
    (void)snprintf(port, sizeof port, "%u", server.port);
    assert_true(process_start(&server.process, arguments, NULL, server.log));
    (void)wait_until(is_ready_or_ended, NULL, READY_MS);
    read_key();
    return 0;
}

/* And all that it started. What it wrote stays if a test failed. */
static void stop_server(bool has_failed)
{
    process_kill(&server.process);
    if (has_failed) {
        print_message("the server's logs are in %s\n", server.directory);
    } else {
        (void)remove_tree(server.directory);
    }
}

/* --- What all tests do --- */

static void write_url(char url[MAX_PATH], const char *place, const char *settings)
{
    (void)snprintf(url, MAX_PATH, "s3://%s?endpoint=http://127.0.0.1:%u%s", place, server.port,
                   settings);
}

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
    char url[MAX_PATH];

    write_url(url, place, settings);
    return open_url(url);
}

static void open_service(struct s3_service *service, const char *place)
{
    struct s3_settings settings;
    char url[MAX_PATH];

    write_url(url, place, "");
    assert_int_equal(s3_settings_parse(url, &settings, NULL), STATUS_OK);
    s3_service_open(service, &settings, NULL, NULL);
}

static void make_bucket(const char *bucket, bool has_locks)
{
    struct s3_call call = {.method = "PUT", .max_body = 65536};
    struct error error = {.text = ""};
    struct s3_service service;

    if (has_locks) {
        call.fields[0] = (struct sigv4_pair){"x-amz-bucket-object-lock-enabled", "true"};
    }
    open_service(&service, bucket);
    if (s3_call_run(&service, &call, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    s3_call_close(&call);
    s3_service_close(&service);
}

static int setup(void **state)
{
    (void)state;
    set_key(server.access_key, server.secret_key);
    make_bucket("archive", false); /* It is fine if it is there. */
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
    char url[MAX_PATH];
    struct repository *repository;

    (void)state;
    make_bucket("whole", false);
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
    set_key(server.access_key, "not-the-secret");
    assert_refused("SignatureDoesNotMatch");
    set_key("AKNOBODY", server.secret_key);
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
    make_bucket("held", true);
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
    make_bucket("versions", true);
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
    make_bucket("careless", true);
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
    if (!has_program("radosgw") || !has_program("ceph-mon") || !has_program("ceph-osd") ||
        !has_program("ceph")) {
        print_message("*** NOT RUN: S3 against a real server needs radosgw, ceph-mon, ceph-osd and "
                      "ceph-common ***\n");
        return NOT_RUN;
    }
    failed = cmocka_run_group_tests(tests, start_server, NULL);
    stop_server(failed != 0);
    return failed;
}
