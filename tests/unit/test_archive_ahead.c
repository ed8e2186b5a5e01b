/* Reading ahead: what comes is what the repository has, in any order that it is asked for, with its
 * errors, and no more of it is held than was said. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "storage/archive/ahead.h"
#include "storage/archive/full.h"
#include "storage/archive/object.h"
#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"

#define N_OBJECTS 24u
#define PIECE     OBJECT_READ_BYTES

/* What the linker calls it: __real_ is the repository's, __wrap_ is ours. */
enum status __real_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error);
enum status __wrap_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error);

static atomic_uint n_reads;
static atomic_uint failing_read; /* The nth fails; 0: none does. */
static atomic_bool is_stuck;     /* None of other threads comes back. */
static atomic_bool is_given_up;
static pthread_t main_thread;

enum status __wrap_repository_read(struct repository *repository, const char *name, uint64_t offset,
                                   size_t size, struct buffer *bytes, struct error *error)
{
    unsigned n = ++n_reads;

    while (is_stuck && !pthread_equal(pthread_self(), main_thread)) {
        pause_ms(1);
    }
    return n == failing_read ? error_set(error, STATUS_IO, "\"%s\" could not be read", name)
                             : __real_repository_read(repository, name, offset, size, bytes, error);
}

static bool is_canceled(void *data)
{
    (void)data;
    return is_given_up;
}

/* --- Objects --- */

struct fixture {
    char directory[64];
    char url[96];
    struct repository *repository;
    struct ahead_object objects[N_OBJECTS];
    struct error error;
};

static uint64_t size_of(unsigned i)
{
    switch (i) {
    case 3:
        return 0;
    case 7:
        return PIECE;
    case 11:
        return 2 * PIECE + 17;
    default:
        return 100 + 1000 * i;
    }
}

static void create_object(struct fixture *f, unsigned i)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct repository_content content = {.size_bytes = size_of(i)};

    f->objects[i].size_bytes = size_of(i);
    (void)snprintf(f->objects[i].name, NAMES_BYTES, "object-%02u", i);
    for (uint64_t k = 0; k < size_of(i); k++) {
        buffer_append_byte(&bytes, (uint8_t)(k * 7 + k / 1000 + i));
    }
    assert_int_equal(EVP_Digest(bytes.data, bytes.size, content.sha256, NULL, EVP_sha256(), NULL),
                     1);
    assert_int_equal(full_work_file(f->directory, &content.fd, &f->error), STATUS_OK);
    assert_int_equal(pwrite(content.fd, bytes.data, bytes.size, 0), bytes.size);
    assert_int_equal(repository_create(f->repository, f->objects[i].name, &content, &f->error),
                     STATUS_OK);
    (void)close(content.fd);
    buffer_close(&bytes);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-ahead-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->url, sizeof f->url, "file://%s/objects", f->directory);
    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->url}, &f->repository, &f->error),
        STATUS_OK);
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        create_object(f, i);
    }
    *state = f;
    return 0;
}

static void forget_faults(void)
{
    is_stuck = false;
    is_given_up = false;
    failing_read = 0;
    n_reads = 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    forget_faults();
    repository_close(f->repository);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static struct repository *open_ahead(struct fixture *f, unsigned n_threads)
{
    const struct ahead_options options = {.url = f->url,
                                          .objects = f->objects,
                                          .n_objects = N_OBJECTS,
                                          .n_threads = n_threads,
                                          .is_canceled = is_canceled};
    struct repository *ahead;

    n_reads = 0;
    assert_int_equal(ahead_open(&options, &ahead, &f->error), STATUS_OK);
    return ahead;
}

/* An object is the same, read from @ahead. */
static void check_object(struct fixture *f, struct repository *ahead, const char *name)
{
    struct buffer one = BUFFER_EMPTY;
    struct buffer other = BUFFER_EMPTY;
    uint64_t offset = 0;

    do {
        buffer_clear(&one);
        buffer_clear(&other);
        assert_int_equal(repository_read(f->repository, name, offset, PIECE, &one, &f->error),
                         STATUS_OK);
        assert_int_equal(repository_read(ahead, name, offset, PIECE, &other, &f->error), STATUS_OK);
        assert_int_equal(one.size, other.size);
        assert_true(one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
        offset += one.size;
    } while (one.size == PIECE); /* As who reads an object does. */
    buffer_close(&one);
    buffer_close(&other);
}

/* --- Tests --- */

static void what_is_read_in_order_is_what_is_there(void **state)
{
    struct fixture *f = *state;

    for (unsigned n_threads = 1; n_threads <= AHEAD_MAX_THREADS; n_threads *= 4) {
        struct repository *ahead = open_ahead(f, n_threads);

        assert_string_equal(repository_url(ahead), repository_url(f->repository));
        for (unsigned i = 0; i < N_OBJECTS; i++) {
            check_object(f, ahead, f->objects[i].name);
        }
        repository_close(ahead);
    }
}

static void what_is_read_in_another_order_too(void **state)
{
    struct fixture *f = *state;
    struct repository *ahead = open_ahead(f, 3);
    struct buffer bytes = BUFFER_EMPTY;

    check_object(f, ahead, f->objects[2].name);
    check_object(f, ahead, f->objects[20].name); /* Much is skipped. */
    check_object(f, ahead, f->objects[11].name); /* It was skipped. */
    check_object(f, ahead, f->objects[21].name);
    assert_int_equal(repository_read(ahead, f->objects[22].name, 10, 20, &bytes, &f->error),
                     STATUS_OK);
    assert_int_equal(bytes.size, 20);
    check_object(f, ahead, f->objects[22].name);
    assert_int_equal(repository_read(ahead, "nobody", 0, PIECE, &bytes, &f->error),
                     STATUS_NOT_FOUND);
    buffer_close(&bytes);
    repository_close(ahead);
}

static void it_is_only_read_from(void **state)
{
    struct fixture *f = *state;
    struct repository *ahead = open_ahead(f, 1);
    struct repository_content content = {.size_bytes = 0};

    assert_int_equal(repository_remove(ahead, f->objects[0].name, &f->error), STATUS_UNSUPPORTED);
    assert_int_equal(repository_create(ahead, "new", &content, &f->error), STATUS_UNSUPPORTED);
    assert_non_null(strstr(f->error.text, "only read from"));
    repository_close(ahead);
}

static bool has_read_a_window(void *data)
{
    return n_reads >= *(unsigned *)data;
}

static void no_more_is_held_than_a_window(void **state)
{
    struct fixture *f = *state;
    unsigned window = 2 * AHEAD_PIECES;
    struct repository *ahead = open_ahead(f, 2);

    assert_true(wait_until(has_read_a_window, &window, ARCHIVE_FIXTURE_LIMIT_MS));
    pause_ms(20); /* A thread that goes too far would show now, or in another run. */
    assert_int_equal(n_reads, window);
    check_object(f, ahead, f->objects[0].name); /* One read more, and one of ours. */
    window += 2;
    assert_true(wait_until(has_read_a_window, &window, ARCHIVE_FIXTURE_LIMIT_MS));
    repository_close(ahead);
}

static void an_error_comes_where_it_belongs(void **state)
{
    struct fixture *f = *state;
    struct repository *ahead;
    struct buffer bytes = BUFFER_EMPTY;
    struct error direct;

    assert_int_equal(repository_remove(f->repository, f->objects[9].name, &f->error), STATUS_OK);
    assert_int_equal(repository_read(f->repository, f->objects[9].name, 0, PIECE, &bytes, &direct),
                     STATUS_NOT_FOUND);
    ahead = open_ahead(f, 4);
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        if (i == 9) {
            assert_int_equal(
                repository_read(ahead, f->objects[i].name, 0, PIECE, &bytes, &f->error),
                STATUS_NOT_FOUND);
            assert_string_equal(f->error.text, direct.text);
        } else {
            check_object(f, ahead, f->objects[i].name);
        }
    }
    buffer_close(&bytes);
    repository_close(ahead);
}

static void who_waits_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    struct repository *ahead;

    is_stuck = true;
    ahead = open_ahead(f, 4);
    is_given_up = true;
    assert_int_equal(repository_read(ahead, f->objects[0].name, 0, PIECE, &bytes, &f->error),
                     STATUS_CANCELED);
    is_stuck = false;
    repository_close(ahead);
    buffer_close(&bytes);
}

static void it_can_be_closed_at_any_time(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 0; n < N_OBJECTS; n++) {
        struct repository *ahead = open_ahead(f, 1 + n % 4);

        for (unsigned i = 0; i < n; i++) {
            check_object(f, ahead, f->objects[i].name);
        }
        repository_close(ahead);
    }
}

static void a_url_that_is_wrong_is_told(void **state)
{
    struct fixture *f = *state;
    const struct ahead_options options = {.url = "http://nowhere", .n_threads = 2};
    struct repository *ahead;

    assert_int_equal(ahead_open(&options, &ahead, &f->error), STATUS_INVALID);
}

/* --- Restores --- */

static int restore_setup(void **state)
{
    forget_faults();
    return archive_fixture_setup(state);
}

static int restore_teardown(void **state)
{
    forget_faults();
    return archive_fixture_teardown(state);
}

static bool has_merged(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.merged >= 3;
}

/* A full, and deltas, some of them merged. */
static void make_chain(struct archive_fixture *f)
{
    f->options.schedule.merge_ms = 20 * ARCHIVE_FIXTURE_ENTRY_MS;
    f->options.schedule.verify_ms = UINT64_MAX;
    archive_fixture_go_on(f, 20);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 30; i++) {
        archive_fixture_go_on(f, 5);
        archive_fixture_catch_up(f);
    }
    assert_true(wait_until(has_merged, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS));
    archive_fixture_close_archiver(f);
}

static void every_number_of_threads_restores_the_same(void **state)
{
    struct archive_fixture *f = *state;

    make_chain(f);
    for (f->n_threads = 1; f->n_threads <= AHEAD_MAX_THREADS; f->n_threads++) {
        archive_fixture_check_latest(f);
        archive_fixture_check_restore(f, f->points[77].revision, UINT64_MAX, &f->points[77]);
    }
}

static void a_restore_ends_with_the_first_read_that_fails(void **state)
{
    struct archive_fixture *f = *state;
    struct restore_facts facts;
    unsigned n;

    make_chain(f);
    n_reads = 0;
    archive_fixture_check_latest(f);
    n = n_reads;
    assert_true(n > 10);
    for (unsigned i = 1; i <= n; i++) {
        n_reads = 0;
        failing_read = i;
        assert_int_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_IO);
        assert_non_null(strstr(f->error.text, ARCHIVE_FIXTURE_CLUSTER));
        assert_non_null(strstr(f->error.text, "could not be read"));
    }
    failing_read = 0;
    archive_fixture_check_latest(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_read_in_order_is_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_read_in_another_order_too, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_only_read_from, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_held_than_a_window, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_comes_where_it_belongs, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_can_be_canceled, setup, teardown),
        cmocka_unit_test_setup_teardown(it_can_be_closed_at_any_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_url_that_is_wrong_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(every_number_of_threads_restores_the_same, restore_setup,
                                        restore_teardown),
        cmocka_unit_test_setup_teardown(a_restore_ends_with_the_first_read_that_fails,
                                        restore_setup, restore_teardown),
    };

    main_thread = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
