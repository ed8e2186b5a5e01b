/* What other threads leave for the consensus thread: it wakes, and gets all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/inbox.h"

struct fixture {
    uv_loop_t loop;
    struct inbox inbox;
    unsigned wakes;
    struct submission submission;
    struct read_ticket ticket;
    struct member_change change;
};

static void on_mail(uv_async_t *async)
{
    struct fixture *f = async->data;

    f->wakes++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(inbox_init(&f->inbox, &f->loop, on_mail, f, NULL), STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    uv_close((uv_handle_t *)&f->inbox.async, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT); /* Until it is closed. */
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static unsigned length(struct queue *queue)
{
    unsigned n = 0;

    while (queue_pop(queue) != NULL) {
        n++;
    }
    return n;
}

static void take(struct fixture *f, unsigned n_submissions, unsigned n_reads, unsigned n_changes)
{
    struct queue queues[4];

    for (unsigned i = 0; i < 4; i++) {
        queue_init(&queues[i]);
    }
    inbox_take(&f->inbox, &queues[0], &queues[1], &queues[2], &queues[3]);
    assert_int_equal(length(&queues[0]), n_submissions);
    assert_int_equal(length(&queues[1]), n_reads);
    assert_int_equal(length(&queues[2]), 0);
    assert_int_equal(length(&queues[3]), n_changes);
}

static unsigned wakes(struct fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    return f->wakes;
}

/* Whatever comes first, and whatever was there before: what comes into an empty inbox wakes the
 * thread, so nothing may be left behind when it has taken what there was. */
static void nothing_stays_behind_and_the_next_one_wakes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(inbox_change(&f->inbox, &f->change), STATUS_OK);
    assert_int_equal(inbox_submit(&f->inbox, &f->submission), STATUS_OK);
    assert_int_equal(inbox_read(&f->inbox, &f->ticket), STATUS_OK);
    assert_int_equal(wakes(f), 1);
    take(f, 1, 1, 1);

    assert_int_equal(inbox_submit(&f->inbox, &f->submission), STATUS_OK);
    assert_int_equal(wakes(f), 2);
    assert_int_equal(inbox_change(&f->inbox, &f->change), STATUS_OK);
    assert_int_equal(wakes(f), 2); /* It comes along. */
    take(f, 1, 0, 1);

    assert_int_equal(inbox_change(&f->inbox, &f->change), STATUS_OK);
    assert_int_equal(wakes(f), 3);
    take(f, 0, 0, 1);
}

static void changes_are_bounded_and_end_with_the_node(void **state)
{
    static struct member_change changes[LIMIT_PENDING_CHANGES];
    struct fixture *f = *state;

    for (unsigned i = 0; i < LIMIT_PENDING_CHANGES; i++) {
        assert_int_equal(inbox_change(&f->inbox, &changes[i]), STATUS_OK);
    }
    assert_int_equal(inbox_change(&f->inbox, &f->change), STATUS_BUSY);
    take(f, 0, 0, LIMIT_PENDING_CHANGES);
    assert_int_equal(inbox_change(&f->inbox, &f->change), STATUS_BUSY); /* None was answered. */
    inbox_close(&f->inbox);
    assert_int_equal(inbox_submit(&f->inbox, &f->submission), STATUS_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_stays_behind_and_the_next_one_wakes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(changes_are_bounded_and_end_with_the_node, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
