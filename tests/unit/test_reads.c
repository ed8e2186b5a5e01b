#include "api/reads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/api_fixture.h"

static struct reply *get(struct api_fixture *f, const char *query)
{
    char target[256];

    (void)snprintf(target, sizeof(target), NS "/items/a%s", query);
    return api_start(f, "GET", target, "", slice_of(NULL, 0));
}

/* The answer's status; the reply is released. */
static unsigned status_of(struct api_fixture *f, struct reply *reply, const char *text)
{
    unsigned status;

    api_finish(f, reply);
    status = reply->status;
    if (text != NULL) {
        assert_non_null(strstr(reply_body(reply), text));
    }
    api_free(reply);
    return status;
}

static int setup(void **state)
{
    int rv = api_setup(state);

    (void)api_expect(*state, "PUT", NS "/items/a", "", "1", 201, NULL);
    return rv;
}

static void reads_of_one_turn_share_a_ticket(void **state)
{
    struct api_fixture *f = *state;
    struct reply *first = get(f, "");
    struct reply *second = get(f, "");

    assert_int_equal(f->node->n_tickets, 0); /* Not before the turn ends. */
    assert_int_equal(status_of(f, first, "1"), 200);
    assert_int_equal(status_of(f, second, "1"), 200);
    assert_int_equal(f->node->n_tickets, 1);
    assert_int_equal(f->node->n_waits, 1);
    assert_int_equal(status_of(f, get(f, ""), "1"), 200);
    assert_int_equal(f->node->n_tickets, 2);
}

static void a_read_waits_until_its_index_is_visible(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply;

    f->node->holds_waits = true;
    reply = get(f, "");
    reads_flush(f->thread.reads);
    mailbox_drain(&f->thread.mailbox);
    assert_false(reply->is_done);
    assert_int_equal(f->thread.outstanding, 1);
    fake_node_release(f->node);
    mailbox_drain(&f->thread.mailbox);
    assert_true(reply->is_done);
    assert_int_equal(f->thread.outstanding, 0);
    assert_int_equal(status_of(f, reply, "1"), 200);
}

static void a_stale_read_asks_nobody(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply;

    f->node->read_status = STATUS_BUSY;
    reply = get(f, "?consistency=stale");
    assert_true(reply->is_done);
    assert_int_equal(f->node->n_tickets, 0);
    assert_int_equal(f->node->n_waits, 0);
    assert_int_equal(status_of(f, reply, "1"), 200);
}

static void min_revision_waits_here_and_not_for_the_leader(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "?min_revision=2");

    assert_true(reply->is_done); /* It is there already. */
    assert_int_equal(f->node->n_tickets, 0);
    assert_int_equal(status_of(f, reply, "1"), 200);
    assert_int_equal(status_of(f, get(f, "?min_revision=3"), "replica-behind"), 503);
    assert_int_equal(f->thread.outstanding, 0);
}

static void a_read_without_a_leader_says_so(void **state)
{
    struct api_fixture *f = *state;

    f->node->ticket_status = STATUS_NO_LEADER;
    assert_int_equal(status_of(f, get(f, ""), "no-leader"), 503);
    f->node->ticket_status = STATUS_CLOSED;
    assert_int_equal(status_of(f, get(f, ""), "not-ready"), 503);
    f->node->read_status = STATUS_BUSY;
    assert_int_equal(status_of(f, get(f, ""), "overloaded"), 503);
}

static void a_ticket_that_is_late_is_dropped_when_it_comes(void **state)
{
    struct api_fixture *f = *state;

    f->node->holds_tickets = true;
    assert_int_equal(status_of(f, get(f, ""), "no-leader"), 503);
    assert_int_equal(f->thread.outstanding, 1);
    fake_node_release(f->node);
    mailbox_drain(&f->thread.mailbox);
    assert_int_equal(f->thread.outstanding, 0);
}

static void a_wait_that_is_late_is_taken_back(void **state)
{
    struct api_fixture *f = *state;

    f->node->holds_waits = true;
    assert_int_equal(status_of(f, get(f, ""), "replica-behind"), 503);
    assert_int_equal(f->thread.outstanding, 0);
}

static struct reply *nested[2];

/* What a connection does with a pipelined request: it starts as soon as the one before is done. */
static void start_nested(struct reply *reply)
{
    struct api_fixture *f = reply->data;

    nested[0] = get(f, "?consistency=stale");
    nested[1] = get(f, "?consistency=sure"); /* Looks at the namespace before it is refused. */
}

static void a_read_may_start_while_another_is_served(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply = get(f, "");

    reply->on_done = start_nested;
    reply->data = f;
    assert_int_equal(status_of(f, reply, "1"), 200);
    assert_int_equal(status_of(f, nested[0], "1"), 200);
    assert_int_equal(status_of(f, nested[1], "consistency"), 400);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_of_one_turn_share_a_ticket),
        TEST(a_read_waits_until_its_index_is_visible),
        TEST(a_stale_read_asks_nobody),
        TEST(min_revision_waits_here_and_not_for_the_leader),
        TEST(a_read_without_a_leader_says_so),
        TEST(a_ticket_that_is_late_is_dropped_when_it_comes),
        TEST(a_wait_that_is_late_is_taken_back),
        TEST(a_read_may_start_while_another_is_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
