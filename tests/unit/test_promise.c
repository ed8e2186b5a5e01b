/* Term and vote, kept once more: less than what was promised is refused, a broken write loses
 * nothing that was kept before. */
#include <errno.h>
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

#include "raft/promise.h"
#include "tests/lib/fault.h"

#define PLACE_BYTES  4096
#define RECORD_BYTES 32

struct fixture {
    char directory[64];
    char path[96];
    struct promises *promises;
    struct error error;
};

static enum status try_open(struct fixture *f)
{
    f->promises = NULL;
    return promises_open(f->directory, &f->promises, &f->error);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-promise-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof f->path, "%s/promise", f->directory);
    assert_int_equal(try_open(f), STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    promises_close(f->promises);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    promises_close(f->promises);
    assert_int_equal(try_open(f), STATUS_OK);
}

static void keep(struct fixture *f, uint64_t term, uint64_t vote)
{
    const struct promise promise = {.term = term, .vote = vote};

    assert_int_equal(promises_keep(f->promises, &promise, &f->error), STATUS_OK);
}

static enum status check(struct fixture *f, uint64_t term, uint64_t vote)
{
    const struct promise loaded = {.term = term, .vote = vote};

    return promises_check(f->promises, &loaded, &f->error);
}

static void flip(struct fixture *f, unsigned place, unsigned bit)
{
    off_t at = (off_t)place * PLACE_BYTES + bit / 8;
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

static void with_nothing_promised_all_is_good(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(check(f, 0, 0), STATUS_OK);
    assert_int_equal(check(f, 7, 3), STATUS_OK);
    reopen(f);
    assert_int_equal(check(f, 0, 0), STATUS_OK);
}

static void less_than_was_promised_is_refused(void **state)
{
    struct fixture *f = *state;

    keep(f, 5, 0);
    keep(f, 5, 9);
    reopen(f);

    assert_int_equal(check(f, 5, 9), STATUS_OK);
    assert_int_equal(check(f, 5, 0), STATUS_CORRUPT);
    assert_int_equal(check(f, 5, 8), STATUS_CORRUPT);
    assert_int_equal(check(f, 4, 9), STATUS_CORRUPT);
    assert_int_equal(check(f, 0, 0), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "were promised"));
}

/* A crash between libraft's write and the one here. */
static void more_than_was_promised_is_good(void **state)
{
    struct fixture *f = *state;

    keep(f, 5, 0);
    reopen(f);

    assert_int_equal(check(f, 5, 0), STATUS_OK);
    assert_int_equal(check(f, 5, 9), STATUS_OK);
    assert_int_equal(check(f, 6, 0), STATUS_OK);
}

static void what_was_kept_last_counts(void **state)
{
    struct fixture *f = *state;

    for (uint64_t term = 1; term < 20; term++) {
        keep(f, term, term % 3);
        reopen(f);
        assert_int_equal(check(f, term, term % 3), STATUS_OK);
        assert_int_equal(check(f, term - 1, (term - 1) % 3), STATUS_CORRUPT);
    }
}

/* The other place holds what was kept before: that must still hold. */
static void a_broken_place_leaves_the_other(void **state)
{
    struct fixture *f = *state;

    keep(f, 5, 2); /* The second place. */
    keep(f, 6, 3); /* The first one. */
    for (unsigned bit = 0; bit < RECORD_BYTES * 8; bit++) {
        flip(f, 0, bit);
        reopen(f);
        assert_int_equal(check(f, 5, 2), STATUS_OK);
        assert_int_equal(check(f, 4, 2), STATUS_CORRUPT);
        assert_int_equal(check(f, 6, 3), STATUS_OK);
        flip(f, 0, bit);
    }
    reopen(f);
    assert_int_equal(check(f, 5, 2), STATUS_CORRUPT);
}

static void two_broken_places_are_refused(void **state)
{
    struct fixture *f = *state;

    keep(f, 5, 2);
    keep(f, 6, 3);
    flip(f, 0, 70);
    flip(f, 1, 70);
    promises_close(f->promises);

    assert_int_equal(try_open(f), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "join again as a new member"));
}

static void a_file_that_was_being_made_is_made_anew(void **state)
{
    struct fixture *f = *state;

    promises_close(f->promises);
    assert_int_equal(truncate(f->path, 100), 0);
    assert_int_equal(try_open(f), STATUS_OK);
    keep(f, 5, 2);
    reopen(f);

    assert_int_equal(check(f, 5, 0), STATUS_CORRUPT);
}

static void a_file_that_was_cut_short_is_refused(void **state)
{
    struct fixture *f = *state;

    keep(f, 5, 2);
    keep(f, 6, 2);
    promises_close(f->promises);
    assert_int_equal(truncate(f->path, 100), 0);

    assert_int_equal(try_open(f), STATUS_CORRUPT);
}

static void each_call_that_fails_at_opening_is_told(void **state)
{
    struct fixture *f = *state;
    unsigned before;
    unsigned nth = 0;
    enum status status;
    bool struck;

    promises_close(f->promises);
    before = fault_count_descriptors();
    do {
        (void)unlink(f->path); /* May have been there never. */
        fault_arm(++nth, EIO);
        status = try_open(f);
        struck = fault_disarm();
        if (struck && strcmp(fault_name(), "close") != 0) {
            assert_int_equal(status, STATUS_IO);
            assert_null(f->promises);
            assert_int_equal(fault_count_descriptors(), before);
        } else {
            assert_int_equal(status, STATUS_OK);
            promises_close(f->promises);
        }
    } while (struck);

    assert_true(nth > 6);
    assert_int_equal(try_open(f), STATUS_OK);
}

static void each_call_that_fails_at_keeping_is_told(void **state)
{
    struct fixture *f = *state;
    const struct promise promise = {.term = 6, .vote = 1};
    unsigned nth = 0;
    enum status status;
    bool struck;

    keep(f, 5, 2);
    do {
        fault_arm(++nth, EIO);
        status = promises_keep(f->promises, &promise, &f->error);
        struck = fault_disarm();
        assert_int_equal(status, struck ? STATUS_IO : STATUS_OK);
        if (struck) {
            assert_int_equal(check(f, 5, 2), STATUS_OK);
            assert_int_equal(check(f, 5, 1), STATUS_CORRUPT);
        }
    } while (struck);

    assert_true(nth > 2);
    assert_int_equal(check(f, 5, 2), STATUS_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(with_nothing_promised_all_is_good),
        TEST(less_than_was_promised_is_refused),
        TEST(more_than_was_promised_is_good),
        TEST(what_was_kept_last_counts),
        TEST(a_broken_place_leaves_the_other),
        TEST(two_broken_places_are_refused),
        TEST(a_file_that_was_being_made_is_made_anew),
        TEST(a_file_that_was_cut_short_is_refused),
        TEST(each_call_that_fails_at_opening_is_told),
        TEST(each_call_that_fails_at_keeping_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
