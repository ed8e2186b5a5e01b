/* The apply thread: order, visibility, durability, failure and the end. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/applier.h"
#include "tests/lib/state.h"

#define MAX_WORK         64
#define PATIENCE_SECONDS 20 /* Only a hanging test waits so long. */

struct fixture {
    struct state_fixture *state; /* Its store, and its way to make entries. */
    struct applier *applier;
    struct applied work[MAX_WORK];

    uv_loop_t loop;
    struct mailbox mailbox;
    uv_timer_t patience;
    unsigned delivered;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct applied *done[MAX_WORK];
    unsigned n_done;
    unsigned n_results;
    unsigned n_failures;
    enum status failure;
};

static void on_result(void *data, struct applied *work, uint32_t bundle, uint32_t command,
                      struct slice result)
{
    struct fixture *f = data;

    (void)work;
    (void)bundle;
    (void)command;
    (void)result;
    (void)pthread_mutex_lock(&f->mutex);
    f->n_results++;
    (void)pthread_mutex_unlock(&f->mutex);
}

static void on_done(void *data, struct applied *work)
{
    struct fixture *f = data;

    (void)pthread_mutex_lock(&f->mutex);
    f->done[f->n_done++] = work;
    (void)pthread_cond_signal(&f->changed);
    (void)pthread_mutex_unlock(&f->mutex);
}

static void on_failure(void *data, const struct error *error)
{
    struct fixture *f = data;

    (void)pthread_mutex_lock(&f->mutex);
    f->n_failures++;
    f->failure = error->status;
    (void)pthread_cond_signal(&f->changed);
    (void)pthread_mutex_unlock(&f->mutex);
}

/* Until the apply thread gave back @n pieces of work, or failed. */
static void wait_done(struct fixture *f, unsigned n)
{
    struct timespec until;
    int rv = 0;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
    until.tv_sec += PATIENCE_SECONDS;
    (void)pthread_mutex_lock(&f->mutex);
    while (f->n_done < n && f->n_failures == 0 && rv == 0) {
        rv = pthread_cond_timedwait(&f->changed, &f->mutex, &until);
    }
    (void)pthread_mutex_unlock(&f->mutex);
    assert_int_equal(rv, 0);
}

static void on_impatient(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing was delivered");
}

static void open_applier(struct fixture *f, uint64_t scrub_interval_s)
{
    struct applier_options options = {.store = f->state->store,
                                      .feature_level = FEATURE_LEVEL,
                                      .scrub_interval_s = scrub_interval_s,
                                      .data = f,
                                      .on_result = on_result,
                                      .on_done = on_done,
                                      .on_failure = on_failure};

    assert_int_equal(applier_open(&options, &f->applier, &f->state->error), STATUS_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->state = state_new();
    assert_int_equal(pthread_mutex_init(&f->mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->changed, NULL), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(mailbox_init(&f->mailbox, &f->loop, &f->state->error), STATUS_OK);
    assert_int_equal(uv_timer_init(&f->loop, &f->patience), 0);
    uv_unref((uv_handle_t *)&f->patience);
    assert_int_equal(uv_timer_start(&f->patience, on_impatient, PATIENCE_SECONDS * 1000, 0), 0);
    open_applier(f, 0);
    *state = f;
    return 0;
}

static void on_closed(struct mailbox *mailbox)
{
    (void)mailbox;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->applier != NULL) {
        applier_close(f->applier);
    }
    mailbox_close(&f->mailbox, on_closed);
    uv_close((uv_handle_t *)&f->patience, NULL);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    for (unsigned i = 0; i < MAX_WORK; i++) {
        buffer_close(&f->work[i].entry);
    }
    (void)pthread_cond_destroy(&f->changed);
    (void)pthread_mutex_destroy(&f->mutex);
    state_free(f->state);
    free(f);
    return 0;
}

/* The entry of the next index puts @key. */
static void push_put(struct fixture *f, const char *key)
{
    struct operation operation = item_put(key, "1");
    struct command command = {
        .ns = slice_of_string("default"), .n_operations = 1, .operations = &operation};
    struct applied *work = &f->work[f->state->index];

    state_make_entry(f->state, &command, 1);
    work->kind = APPLIED_ENTRY;
    work->index = ++f->state->index;
    work->term = 1;
    buffer_append_slice(&work->entry, buffer_slice(&f->state->entry));
    applier_push(f->applier, work);
}

static void push(struct fixture *f, enum applied_kind kind, uint64_t stored)
{
    struct applied *work = &f->work[f->state->index];

    work->kind = kind;
    work->index = kind == APPLIED_SKIP ? ++f->state->index : f->state->index;
    work->term = 1;
    work->stored = stored;
    applier_push(f->applier, work);
}

static void on_delivered(struct message *message)
{
    struct visibility_wait *wait = CONTAINER_OF(message, struct visibility_wait, message);
    struct fixture *f = CONTAINER_OF(wait->home, struct fixture, mailbox);

    f->delivered++;
}

static struct visibility_wait wait_for(struct fixture *f, uint64_t index, uint64_t revision)
{
    return (struct visibility_wait){.message = {.deliver = on_delivered},
                                    .home = &f->mailbox,
                                    .index = index,
                                    .revision = revision};
}

static void run_until_delivered(struct fixture *f, unsigned n)
{
    while (f->delivered < n) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void work_is_executed_and_given_back_in_order(void **state)
{
    struct fixture *f = *state;

    push_put(f, "a");
    push(f, APPLIED_SKIP, 0);
    push_put(f, "b");
    wait_done(f, 3);

    assert_int_equal(f->n_done, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(f->done[i], &f->work[i]);
    }
    assert_int_equal(f->n_results, 2);
    assert_int_equal(f->n_failures, 0);
}

static void a_reader_is_told_when_what_it_waits_for_is_visible(void **state)
{
    struct fixture *f = *state;
    struct visibility_wait by_index = wait_for(f, 2, 0);
    struct visibility_wait by_revision = wait_for(f, 0, 3);
    struct applier_visible visible;
    struct item_row row;
    uint64_t id;

    assert_false(applier_wait_visible(f->applier, &by_index));
    assert_false(applier_wait_visible(f->applier, &by_revision));
    push_put(f, "a");
    push_put(f, "b");
    run_until_delivered(f, 2);

    applier_visible(f->applier, &visible);
    assert_int_equal(visible.index, 2);
    assert_int_equal(visible.revision, 3);
    assert_int_equal(visible.time_ms, STATE_START_MS);
    assert_true(applier_wait_visible(f->applier, &by_index));
    id = state_default_id(f->state);
    assert_int_equal(view_item(state_view(f->state), id, slice_of_string("b"), &row), STATUS_OK);
    state_view_end(f->state);
}

static void a_wait_that_gave_up_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct visibility_wait given_up = wait_for(f, 1, 0);
    struct visibility_wait other = wait_for(f, 1, 0);

    assert_false(applier_wait_visible(f->applier, &given_up));
    assert_false(applier_wait_visible(f->applier, &other));
    assert_true(applier_wait_cancel(f->applier, &given_up));
    push_put(f, "a");
    run_until_delivered(f, 1);

    assert_int_equal(f->delivered, 1);
    assert_false(applier_wait_cancel(f->applier, &other));
}

static void what_is_durable_is_flushed_with_what_the_log_has_stored(void **state)
{
    struct fixture *f = *state;
    struct store_statistics statistics;
    struct machine_position position;

    push_put(f, "a");
    push(f, APPLIED_DURABLE, 1);
    wait_done(f, 2);

    assert_int_equal(store_statistics(f->state->store, &statistics, &f->state->error), STATUS_OK);
    assert_int_equal(statistics.unflushed_bytes, 0);
    assert_true(statistics.records > 0);
    assert_int_equal(machine_position(f->state->store, &position, &f->state->error), STATUS_OK);
    assert_int_equal(position.applied_index, 1);
    assert_int_equal(position.stored, 1);
}

static void a_failure_is_told_once_and_nothing_is_given_back_after_it(void **state)
{
    struct fixture *f = *state;
    struct machine_position position;

    push_put(f, "a");
    wait_done(f, 1);
    f->state->index++; /* A gap. */
    push_put(f, "b");
    push_put(f, "c");
    wait_done(f, 3);
    applier_close(f->applier);
    f->applier = NULL;

    assert_int_equal(f->n_failures, 1);
    assert_int_equal(f->failure, STATUS_CORRUPT);
    assert_int_equal(f->n_done, 1);
    assert_int_equal(machine_position(f->state->store, &position, &f->state->error), STATUS_OK);
    assert_true(position.applied_index <= 1);
}

static void closing_finishes_and_commits_what_is_queued(void **state)
{
    struct fixture *f = *state;
    struct machine_position position;
    char key[16];

    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        push_put(f, key);
    }
    applier_close(f->applier);
    f->applier = NULL;

    assert_int_equal(f->n_done, 50);
    assert_int_equal(machine_position(f->state->store, &position, &f->state->error), STATUS_OK);
    assert_int_equal(position.applied_index, 50);
    assert_int_equal(position.revision, 51);
}

static void a_new_applier_starts_where_the_last_one_ended(void **state)
{
    struct fixture *f = *state;
    struct applier_visible visible;

    push_put(f, "a");
    applier_close(f->applier);
    open_applier(f, 0);

    applier_visible(f->applier, &visible);
    assert_int_equal(visible.index, 1);
    assert_int_equal(visible.revision, 2);
    assert_int_equal(applier_next_due_ms(f->applier), STATE_START_MS + 3610000);
}

static void its_numbers_say_what_it_did(void **state)
{
    struct fixture *f = *state;
    struct visibility_wait wait = wait_for(f, 2, 0);
    struct applier_statistics statistics;

    assert_false(applier_wait_visible(f->applier, &wait));
    push_put(f, "a");
    push_put(f, "b");
    run_until_delivered(f, 1);
    push(f, APPLIED_DURABLE, 1);
    wait_done(f, 3);

    applier_statistics(f->applier, &statistics);
    assert_int_equal(statistics.entries, 2);
    assert_int_equal(statistics.commands, 2);
    assert_int_equal(statistics.flushes, 1);
    assert_true(statistics.flush_nanoseconds > 0);
    assert_int_equal(statistics.queued_entries, 0);
    assert_int_equal(statistics.queued_bytes, 0);
    assert_int_equal(statistics.executed_index, 2);
}

/* Until so many scrubs were completed. */
static struct applier_statistics wait_scrubbed(struct fixture *f, uint64_t n)
{
    const struct timespec rest = {.tv_nsec = 5000000};
    struct applier_statistics statistics;

    for (unsigned i = 0; i < PATIENCE_SECONDS * 200; i++) {
        applier_statistics(f->applier, &statistics);
        if (statistics.scrubs >= n) {
            return statistics;
        }
        assert_int_equal(nanosleep(&rest, NULL), 0);
    }
    fail_msg("no scrub was completed");
    return statistics;
}

static void the_state_is_scrubbed_while_entries_are_executed(void **state)
{
    struct fixture *f = *state;
    struct applier_statistics statistics;
    char key[16];

    applier_close(f->applier);
    open_applier(f, 1);
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        push_put(f, key);
    }
    push(f, APPLIED_DURABLE, 1);
    wait_done(f, 41);
    statistics = wait_scrubbed(f, 2);

    assert_true(statistics.scrub_records > 40);
    assert_true(statistics.scrub_nanoseconds > 0);
    assert_true(statistics.scrub_age_nanoseconds < PATIENCE_SECONDS * 1000000000ull);
    assert_int_equal(f->n_failures, 0);
}

/* One bit of each copy of @text in the state's file. */
static void flip(struct fixture *f, const char *text)
{
    static char bytes[1 << 20];
    char path[128];
    unsigned n = 0;
    ssize_t size;
    char *at;
    int fd;

    (void)snprintf(path, sizeof path, "%s/data.mdb", f->state->directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    size = pread(fd, bytes, sizeof bytes, 0);
    for (at = bytes; (at = memmem(at, (size_t)(bytes + size - at), text, strlen(text))) != NULL;
         at++) {
        char byte = (char)(*at ^ 1);

        assert_int_equal(pwrite(fd, &byte, 1, at - bytes), 1);
        n++;
    }
    assert_true(n > 0);
    assert_int_equal(close(fd), 0);
}

static void damage_that_a_scrub_finds_is_a_failure(void **state)
{
    struct fixture *f = *state;

    push_put(f, "nobody-reads-this");
    push(f, APPLIED_DURABLE, 1);
    wait_done(f, 2);
    flip(f, "nobody-reads-this");
    applier_close(f->applier);
    open_applier(f, 1);
    wait_done(f, 3);

    assert_int_equal(f->n_failures, 1);
    assert_int_equal(f->failure, STATUS_CORRUPT);
    assert_int_equal(f->state->damages, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(work_is_executed_and_given_back_in_order),
        TEST(a_reader_is_told_when_what_it_waits_for_is_visible),
        TEST(a_wait_that_gave_up_is_not_told),
        TEST(what_is_durable_is_flushed_with_what_the_log_has_stored),
        TEST(a_failure_is_told_once_and_nothing_is_given_back_after_it),
        TEST(closing_finishes_and_commits_what_is_queued),
        TEST(a_new_applier_starts_where_the_last_one_ended),
        TEST(its_numbers_say_what_it_did),
        TEST(the_state_is_scrubbed_while_entries_are_executed),
        TEST(damage_that_a_scrub_finds_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
