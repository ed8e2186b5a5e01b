/* How far an archive is behind is shown while it is, and as long ago as it began: also when the
 * archiver's thread waits for a repository, or another node was the one to archive until now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"

#define LONG_MS 60000u /* By the cluster's time. */

/* What the linker calls it: __real_ is the repository's, __wrap_ is ours. */
enum status __real_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);
enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);

static atomic_bool is_slow;   /* The repository takes deltas, but not before this is false, ... */
static atomic_uint n_allowed; /* ... or for so many more. */
static atomic_uint n_slow;    /* That wait, or did. */

static bool is_let_through(void)
{
    unsigned n = atomic_load(&n_allowed);

    return !atomic_load(&is_slow) ||
           (n > 0 && atomic_compare_exchange_strong(&n_allowed, &n, n - 1));
}

enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error)
{
    if (atomic_load(&is_slow) && strstr(name, "/log/") != NULL) {
        (void)atomic_fetch_add(&n_slow, 1);
        while (!is_let_through()) {
            pause_ms(1);
        }
    }
    return __real_repository_create(repository, name, content, error);
}

static int setup(void **state)
{
    atomic_store(&is_slow, false);
    atomic_store(&n_slow, 0);
    atomic_store(&n_allowed, 0);
    return archive_fixture_setup(state);
}

/* The archiver ends even if the test did not get that far. */
static int teardown(void **state)
{
    atomic_store(&is_slow, false);
    return archive_fixture_teardown(state);
}

static bool so_many_waited(void *data)
{
    const unsigned *n = data;

    return atomic_load(&n_slow) >= *n;
}

/* The nth delta is under way. */
static void await_upload(unsigned nth)
{
    assert_true(wait_until(so_many_waited, &nth, ARCHIVE_FIXTURE_LIMIT_MS));
}

struct expected {
    struct archiver *archiver;
    uint64_t lag_ms;
};

static bool is_so_late(void *data)
{
    const struct expected *expected = data;
    struct archiver_status status;

    archiver_status(expected->archiver, &status);
    return status.lag_ms >= expected->lag_ms;
}

static void await_lag(struct archive_fixture *f, uint64_t lag_ms)
{
    struct expected expected = {.archiver = f->archiver, .lag_ms = lag_ms};

    assert_true(wait_until(is_so_late, &expected, ARCHIVE_FIXTURE_LIMIT_MS));
}

static void await_no_lag(struct archive_fixture *f)
{
    struct archiver_status status;

    atomic_store(&is_slow, false);
    archive_fixture_catch_up(f);
    archiver_status(f->archiver, &status);
    assert_int_equal(status.lag_ms, 0);
    assert_int_equal(status.lag_entries, 0);
}

static void write_two(struct archive_fixture *f, uint64_t apart_ms)
{
    archive_fixture_write(f, f->n_points);
    f->state->now_ms += apart_ms;
    archive_fixture_write(f, f->n_points);
}

static void it_grows_while_a_repository_takes_its_time(void **state)
{
    struct archive_fixture *f = *state;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    atomic_store(&is_slow, true);
    archive_fixture_write(f, 1);
    await_upload(1);

    await_lag(f, 50);
    await_lag(f, 300);
    await_no_lag(f);
}

/* What came meanwhile did not come when the repository was done. */
static void what_came_during_an_upload_is_as_old_as_it_is(void **state)
{
    struct archive_fixture *f = *state;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    atomic_store(&is_slow, true);
    archive_fixture_write(f, 1);
    await_upload(1);
    write_two(f, LONG_MS);
    atomic_store(&n_allowed, 1);
    await_upload(2);

    await_lag(f, LONG_MS);
    await_no_lag(f);
}

/* Also if nothing came after it. */
static void the_last_step_is_as_old_as_it_is(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    atomic_store(&is_slow, true);
    archive_fixture_write(f, 1);
    await_upload(1);
    archive_fixture_write(f, f->n_points);
    pause_ms(300);
    atomic_store(&n_allowed, 1);
    await_upload(2);

    archiver_status(f->archiver, &status);
    assert_true(status.lag_ms >= 300);
    await_no_lag(f);
}

/* Whoever takes over has not been waiting himself. */
static void who_takes_over_tells_since_when_something_waits(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;

    archive_fixture_use_shared(f);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 5);
    archive_fixture_catch_up(f);
    f->is_chosen = false;
    status = archive_fixture_ask(f);
    assert_int_equal(status.activity, ARCHIVER_STANDBY);
    write_two(f, LONG_MS);
    atomic_store(&is_slow, true);
    f->is_chosen = true;

    await_lag(f, LONG_MS);
    await_no_lag(f);
}

/* Nor has one that was off, with all others. The times of this test's steps are years ago. */
static void who_was_off_does_not_take_that_for_no_time(void **state)
{
    struct archive_fixture *f = *state;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    archive_fixture_go_on(f, 5);
    archive_fixture_catch_up(f);
    archive_fixture_close_archiver(f);
    write_two(f, 0);
    journal_close(f->journal);
    archive_fixture_open_journal(f);
    f->options.journal = f->journal;
    atomic_store(&is_slow, true);
    archive_fixture_open_archiver(f);

    await_lag(f, LONG_MS);
    await_no_lag(f);
}

/* What comes after it was asked for is not waited for: something comes all the time. */
static void what_is_asked_for_ends_while_more_comes(void **state)
{
    struct archive_fixture *f = *state;
    uint64_t number;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    atomic_store(&is_slow, true);
    f->is_chosen = false;
    (void)archive_fixture_ask(f);
    archive_fixture_write(f, f->n_points);
    f->is_chosen = true;
    number = archiver_ask(f->archiver);
    await_upload(1);
    archive_fixture_write(f, f->n_points);
    atomic_store(&n_allowed, 1);

    archive_fixture_await_asked(f->archiver, number);
    await_no_lag(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_grows_while_a_repository_takes_its_time),
        TEST(what_came_during_an_upload_is_as_old_as_it_is),
        TEST(the_last_step_is_as_old_as_it_is),
        TEST(who_takes_over_tells_since_when_something_waits),
        TEST(what_is_asked_for_ends_while_more_comes),
        TEST(who_was_off_does_not_take_that_for_no_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
