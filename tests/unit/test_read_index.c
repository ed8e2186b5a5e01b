/* ReadIndex rounds of leaders and followers, by frames put in by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/read_index.h"

#define SELF        1u
#define OTHER       2u
#define THIRD       3u
#define TERM        7u
#define FIRST_ROUND 100u
#define TIMEOUT_MS  150u
#define MAX_SENT    16u

struct fixture {
    struct read_index reads;
    struct read_index_view view;
    bool is_cut; /* Nothing can be sent. */
    unsigned n_sent;
    struct frame sent[MAX_SENT];
    uint64_t sent_to[MAX_SENT];
    unsigned n_answered;
    unsigned n_tickets;
    struct read_ticket tickets[4];
};

static bool send_frame(void *data, uint64_t peer, const struct frame *frame)
{
    struct fixture *f = data;

    if (f->is_cut) {
        return false;
    }
    assert_true(f->n_sent < MAX_SENT);
    f->sent_to[f->n_sent] = peer;
    f->sent[f->n_sent++] = *frame;
    return true;
}

static void answer(void *data, struct read_ticket *ticket)
{
    struct fixture *f = data;

    (void)ticket;
    f->n_answered++;
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct read_index_options options = {.self = SELF,
                                         .first_round = FIRST_ROUND,
                                         .timeout_ms = TIMEOUT_MS,
                                         .data = f,
                                         .send = send_frame,
                                         .answer = answer};

    assert_non_null(f);
    read_index_init(&f->reads, &options);
    f->view = (struct read_index_view){.is_leader = true,
                                       .is_ready = true,
                                       .term = TERM,
                                       .commit_index = 50,
                                       .leader_id = SELF,
                                       .n_voters = 3,
                                       .voters = {SELF, OTHER, THIRD}};
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    read_index_close(&f->reads);
    free(f);
    return 0;
}

static struct read_ticket *add(struct fixture *f)
{
    struct read_ticket *ticket = &f->tickets[f->n_tickets++];

    ticket->status = STATUS_END;
    read_index_add(&f->reads, ticket);
    return ticket;
}

static void receive(struct fixture *f, uint64_t peer, enum frame_type type, uint64_t round,
                    uint64_t term)
{
    struct frame frame = {.type = type};

    frame.read.round = round;
    frame.read.term = term;
    frame.read.index = 60;
    frame.read.accepted = true;
    read_index_frame(&f->reads, peer, &frame, 0);
}

static void follow(struct fixture *f, uint64_t leader)
{
    f->view.is_leader = false;
    f->view.is_ready = false;
    f->view.leader_id = leader;
}

static void all_reads_of_a_turn_share_a_round(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *a;
    struct read_ticket *b;

    a = add(f);
    b = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM);

    assert_int_equal(f->n_sent, 2); /* One probe for each other voter. */
    assert_int_equal(f->n_answered, 2);
    assert_int_equal(a->status, STATUS_OK);
    assert_int_equal(b->index, 50);
}

static void a_read_is_not_served_by_a_round_that_began_before_it(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *early;
    struct read_ticket *late;

    early = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    late = add(f);
    f->view.commit_index = 55;
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM);
    assert_int_equal(early->index, 50);
    assert_int_equal(late->status, STATUS_END);

    read_index_flush(&f->reads, &f->view, 0);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND + 1, TERM);
    assert_int_equal(late->index, 55);
}

static void a_leader_waits_for_its_barrier(void **state)
{
    struct fixture *f = *state;

    f->view.is_ready = false;
    (void)add(f);
    read_index_flush(&f->reads, &f->view, 0);
    assert_int_equal(f->n_sent, 0);

    f->view.is_ready = true;
    read_index_flush(&f->reads, &f->view, 0);
    assert_int_equal(f->n_sent, 2);
}

static void the_same_voter_counts_once(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    f->view.n_voters = 5;
    f->view.voters[3] = 4;
    f->view.voters[4] = 5;
    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM);
    receive(f, 99, FRAME_READ_TERM, FIRST_ROUND, TERM); /* No voter. */
    assert_int_equal(ticket->status, STATUS_END);

    receive(f, THIRD, FRAME_READ_TERM, FIRST_ROUND, TERM);
    assert_int_equal(ticket->status, STATUS_OK);
}

static void a_voter_in_a_later_term_ends_the_round(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM + 1);
    receive(f, THIRD, FRAME_READ_TERM, FIRST_ROUND, TERM);
    assert_int_equal(ticket->status, STATUS_END); /* It waits for another round. */
    assert_int_equal(f->reads.n_waiting, 1);
}

static void a_voter_in_an_earlier_term_counts_for_nothing(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM - 1);
    assert_int_equal(ticket->status, STATUS_END);
    receive(f, THIRD, FRAME_READ_TERM, FIRST_ROUND, TERM);
    assert_int_equal(ticket->status, STATUS_OK);
}

static void the_only_voter_asks_nobody(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    f->view.n_voters = 1;
    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    assert_int_equal(f->n_sent, 0);
    assert_int_equal(ticket->status, STATUS_OK);
}

static void a_follower_asks_the_leader(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    follow(f, OTHER);
    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    assert_int_equal(f->n_sent, 1);
    assert_int_equal(f->sent_to[0], OTHER);
    assert_int_equal(f->sent[0].type, FRAME_READ_ASK);

    receive(f, THIRD, FRAME_READ_ANSWER, FIRST_ROUND, TERM); /* Not who was asked. */
    assert_int_equal(ticket->status, STATUS_END);
    receive(f, OTHER, FRAME_READ_ANSWER, FIRST_ROUND, TERM);
    assert_int_equal(ticket->status, STATUS_OK);
    assert_int_equal(ticket->index, 60);
}

static void an_answer_of_an_earlier_leader_is_not_taken(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    follow(f, OTHER);
    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    f->view.term = TERM + 1;
    f->view.leader_id = THIRD;
    read_index_flush(&f->reads, &f->view, 0); /* Asks again, another. */
    receive(f, OTHER, FRAME_READ_ANSWER, FIRST_ROUND, TERM);
    assert_int_equal(ticket->status, STATUS_END);
    assert_int_equal(f->sent_to[1], THIRD);
    receive(f, THIRD, FRAME_READ_ANSWER, FIRST_ROUND + 1, TERM + 1);
    assert_int_equal(ticket->status, STATUS_OK);
}

static void a_question_joins_the_next_round_of_the_leader(void **state)
{
    struct fixture *f = *state;

    receive(f, OTHER, FRAME_READ_ASK, 9, TERM);
    read_index_flush(&f->reads, &f->view, 0);
    receive(f, THIRD, FRAME_READ_TERM, FIRST_ROUND, TERM);
    assert_int_equal(f->n_sent, 3);
    assert_int_equal(f->sent_to[2], OTHER);
    assert_int_equal(f->sent[2].type, FRAME_READ_ANSWER);
    assert_int_equal(f->sent[2].read.round, 9);
    assert_int_equal(f->sent[2].read.index, 50);
    assert_true(f->sent[2].read.accepted);
}

static void who_does_not_lead_the_term_refuses_questions(void **state)
{
    struct fixture *f = *state;

    receive(f, OTHER, FRAME_READ_ASK, 9, TERM - 1);
    read_index_flush(&f->reads, &f->view, 0);
    assert_int_equal(f->n_sent, 1);
    assert_false(f->sent[0].read.accepted);
}

static void a_lost_round_is_asked_again(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    read_index_tick(&f->reads, TIMEOUT_MS - 1);
    assert_int_equal(f->n_sent, 2);
    read_index_tick(&f->reads, TIMEOUT_MS);
    read_index_flush(&f->reads, &f->view, TIMEOUT_MS);
    assert_int_equal(f->n_sent, 4);
    receive(f, OTHER, FRAME_READ_TERM, FIRST_ROUND, TERM); /* Of the round given up. */
    assert_int_equal(ticket->status, STATUS_END);
}

static void a_read_does_not_wait_forever_for_a_leader(void **state)
{
    struct fixture *f = *state;
    struct read_ticket *ticket;

    follow(f, 0);
    ticket = add(f);
    read_index_flush(&f->reads, &f->view, 0);
    read_index_tick(&f->reads, LIMIT_NO_LEADER_WAIT_MS - 1);
    assert_int_equal(ticket->status, STATUS_END);
    read_index_tick(&f->reads, LIMIT_NO_LEADER_WAIT_MS);
    assert_int_equal(ticket->status, STATUS_NO_LEADER);
}

static void what_cannot_be_sent_is_tried_again_after_a_pause(void **state)
{
    struct fixture *f = *state;

    follow(f, OTHER);
    f->is_cut = true;
    (void)add(f);
    read_index_flush(&f->reads, &f->view, 0);
    f->is_cut = false;
    read_index_flush(&f->reads, &f->view, 1);
    assert_int_equal(f->n_sent, 0);
    read_index_flush(&f->reads, &f->view, 10);
    assert_int_equal(f->n_sent, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_reads_of_a_turn_share_a_round),
        TEST(a_read_is_not_served_by_a_round_that_began_before_it),
        TEST(a_leader_waits_for_its_barrier),
        TEST(the_same_voter_counts_once),
        TEST(a_voter_in_a_later_term_ends_the_round),
        TEST(a_voter_in_an_earlier_term_counts_for_nothing),
        TEST(the_only_voter_asks_nobody),
        TEST(a_follower_asks_the_leader),
        TEST(an_answer_of_an_earlier_leader_is_not_taken),
        TEST(a_question_joins_the_next_round_of_the_leader),
        TEST(who_does_not_lead_the_term_refuses_questions),
        TEST(a_lost_round_is_asked_again),
        TEST(a_read_does_not_wait_forever_for_a_leader),
        TEST(what_cannot_be_sent_is_tried_again_after_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
