#include "raft/read_index.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"

/* Pause after a question that could not be sent or was refused. */
#define RETRY_MS 5u

/* A question of a follower. */
struct ask {
    struct link link;
    uint64_t peer;
    uint64_t round; /* Its number. */
    uint64_t term;
};

struct round {
    struct link link;
    uint64_t number;
    uint64_t term;
    uint64_t index;  /* Leader. */
    uint64_t leader; /* Whom a follower asked; 0: a round of the leader itself. */
    uint64_t started_ms;
    unsigned n_voters;
    uint64_t missing[LIMIT_MEMBERS]; /* Voters that did not answer yet; 0: one that did. */
    unsigned n_agreed;
    struct queue tickets;
    struct queue asks;
};

void read_index_init(struct read_index *reads, const struct read_index_options *options)
{
    *reads = (struct read_index){.options = *options, .next_round = options->first_round};
    queue_init(&reads->tickets);
    queue_init(&reads->asks);
    queue_init(&reads->rounds);
}

static struct read_ticket *ticket_of(struct link *link)
{
    return link == NULL ? NULL : CONTAINER_OF(link, struct read_ticket, message.link);
}

static struct round *round_of(struct link *link)
{
    return link == NULL ? NULL : CONTAINER_OF(link, struct round, link);
}

void read_index_add(struct read_index *reads, struct read_ticket *ticket)
{
    queue_push(&reads->tickets, &ticket->message.link);
    reads->n_waiting++;
    reads->n_reads++;
}

static void answer_tickets(struct read_index *reads, struct queue *tickets, enum status status,
                           uint64_t index)
{
    struct read_ticket *ticket;

    while ((ticket = ticket_of(queue_pop(tickets))) != NULL) {
        ticket->status = status;
        ticket->index = index;
        reads->n_waiting--;
        reads->options.answer(reads->options.data, ticket);
    }
}

/* Take the first of @asks and tell its asker. */
static void answer_ask(struct read_index *reads, struct queue *asks, bool accepted, uint64_t index)
{
    struct ask *ask = CONTAINER_OF(queue_pop(asks), struct ask, link);
    struct frame frame = {.type = FRAME_READ_ANSWER};

    frame.read.round = ask->round;
    frame.read.term = ask->term;
    frame.read.index = index;
    frame.read.accepted = accepted;
    /* A lost answer is asked for again. */
    (void)reads->options.send(reads->options.data, ask->peer, &frame);
    reads->n_asks--;
    free(ask);
}

static void end_round(struct read_index *reads, struct round *round)
{
    CHECK(queue_is_empty(&round->tickets) && queue_is_empty(&round->asks));
    queue_remove(&round->link);
    reads->n_open--;
    free(round);
}

/* The reads wait again, in front of those that came later. */
static void discard_round(struct read_index *reads, struct round *round)
{
    queue_append(&round->tickets, &reads->tickets);
    queue_append(&reads->tickets, &round->tickets);
    while (!queue_is_empty(&round->asks)) {
        answer_ask(reads, &round->asks, false, 0);
    }
    end_round(reads, round);
}

void read_index_discard(struct read_index *reads)
{
    while (!queue_is_empty(&reads->rounds)) {
        /* The last first, so that the reads keep their order. */
        discard_round(reads, round_of(reads->rounds.head.prev));
    }
}

static void complete_round(struct read_index *reads, struct round *round, uint64_t index)
{
    answer_tickets(reads, &round->tickets, STATUS_OK, index);
    while (!queue_is_empty(&round->asks)) {
        answer_ask(reads, &round->asks, true, index);
    }
    end_round(reads, round);
}

static struct round *find_round(const struct read_index *reads, uint64_t number)
{
    struct round *round = round_of(queue_first(&reads->rounds));

    while (round != NULL && round->number != number) {
        round = round_of(queue_next(&reads->rounds, &round->link));
    }
    return round;
}

static struct round *new_round(struct read_index *reads, uint64_t now_ms)
{
    struct round *round = memory_new_zeroed(1, sizeof *round);

    round->number = reads->next_round++;
    round->term = reads->view.term;
    round->started_ms = now_ms;
    queue_init(&round->tickets);
    queue_init(&round->asks);
    queue_append(&round->tickets, &reads->tickets);
    queue_push(&reads->rounds, &round->link);
    reads->n_open++;
    reads->n_rounds++;
    return round;
}

/* --- Frames --- */

static void on_ask(struct read_index *reads, uint64_t peer, const struct frame_read *read)
{
    struct ask *ask = memory_new_zeroed(1, sizeof *ask);

    ask->peer = peer;
    ask->round = read->round;
    ask->term = read->term;
    queue_push(&reads->asks, &ask->link);
    reads->n_asks++;
    if (reads->n_asks > READ_INDEX_ASKS) {
        answer_ask(reads, &reads->asks, false, 0);
    }
}

static void on_term(struct read_index *reads, uint64_t peer, const struct frame_read *read)
{
    struct round *round = find_round(reads, read->round);

    if (round == NULL || round->leader != 0) {
        return; /* Given up, or complete. */
    }
    if (read->term > round->term && !MUTATION(rule16_other_terms_counted)) {
        discard_round(reads, round); /* Somebody else may lead. */
        return;
    }
    if (read->term < round->term && !MUTATION(rule16_other_terms_counted)) {
        return; /* It has not heard of this term yet, and counts for nothing. */
    }
    for (unsigned i = 0; i < round->n_voters; i++) {
        if (round->missing[i] == peer) {
            round->missing[i] = 0;
            round->n_agreed++;
        }
    }
    if (round->n_agreed > round->n_voters / 2) {
        complete_round(reads, round, round->index);
    }
}

static void on_answer(struct read_index *reads, uint64_t peer, const struct frame_read *read,
                      uint64_t now_ms)
{
    struct round *round = find_round(reads, read->round);

    if (round == NULL || round->leader != peer || round->term != read->term) {
        return;
    }
    if (read->accepted) {
        complete_round(reads, round, read->index);
    } else {
        discard_round(reads, round);
        reads->retry_ms = now_ms + RETRY_MS;
    }
}

void read_index_frame(struct read_index *reads, uint64_t peer, const struct frame *frame,
                      uint64_t now_ms)
{
    switch (frame->type) {
    case FRAME_READ_ASK:
        on_ask(reads, peer, &frame->read);
        return;
    case FRAME_READ_TERM:
        on_term(reads, peer, &frame->read);
        return;
    case FRAME_READ_ANSWER:
        on_answer(reads, peer, &frame->read, now_ms);
        return;
    default:
        CHECK(frame->type == FRAME_READ_ASK);
    }
}

/* --- Rounds --- */

static void probe(struct read_index *reads, struct round *round)
{
    const struct read_index_view *view = &reads->view;
    struct frame frame = {.type = FRAME_READ_PROBE};

    frame.read.round = round->number;
    frame.read.term = round->term;
    for (unsigned i = 0; i < view->n_voters; i++) {
        if (view->voters[i] == reads->options.self) {
            round->n_agreed++;
            continue;
        }
        round->missing[i] = view->voters[i];
        /* Not everyone is needed; without a majority the round is given up later. */
        (void)reads->options.send(reads->options.data, view->voters[i], &frame);
    }
}

static void begin_leader_round(struct read_index *reads, uint64_t now_ms)
{
    struct round *round = new_round(reads, now_ms);

    round->index = reads->view.commit_index;
    round->n_voters = reads->view.n_voters;
    queue_append(&round->asks, &reads->asks);
    probe(reads, round);
    if (round->n_agreed > round->n_voters / 2 || MUTATION(rule16_majority_not_asked)) {
        complete_round(reads, round, round->index); /* The only voter. */
    }
}

static void begin_follower_round(struct read_index *reads, uint64_t now_ms)
{
    struct round *round = new_round(reads, now_ms);
    struct frame frame = {.type = FRAME_READ_ASK};

    round->leader = reads->view.leader_id;
    frame.read.round = round->number;
    frame.read.term = round->term;
    if (!reads->options.send(reads->options.data, round->leader, &frame)) {
        discard_round(reads, round);
        reads->retry_ms = now_ms + RETRY_MS;
    }
}

/* Refuse questions that were meant for the leader of another term. */
static void refuse_asks(struct read_index *reads)
{
    struct queue kept;

    queue_init(&kept);
    while (!queue_is_empty(&reads->asks)) {
        struct ask *ask = CONTAINER_OF(queue_first(&reads->asks), struct ask, link);

        if (reads->view.is_leader && ask->term == reads->view.term) {
            queue_remove(&ask->link);
            queue_push(&kept, &ask->link);
        } else {
            answer_ask(reads, &reads->asks, false, 0);
        }
    }
    queue_append(&reads->asks, &kept);
}

void read_index_flush(struct read_index *reads, const struct read_index_view *view, uint64_t now_ms)
{
    if (view->term != reads->view.term || view->leader_id != reads->view.leader_id ||
        view->is_leader != reads->view.is_leader) {
        read_index_discard(reads);
        reads->retry_ms = 0;
    }
    reads->view = *view;
    refuse_asks(reads);
    if (reads->n_open >= READ_INDEX_ROUNDS) {
        return;
    }
    if (view->is_leader) {
        if ((view->is_ready || MUTATION(rule16_barrier_not_awaited)) &&
            (!queue_is_empty(&reads->tickets) || !queue_is_empty(&reads->asks))) {
            begin_leader_round(reads, now_ms);
        }
        return;
    }
    if (view->leader_id != 0 && !queue_is_empty(&reads->tickets) && now_ms >= reads->retry_ms) {
        begin_follower_round(reads, now_ms);
    }
}

void read_index_tick(struct read_index *reads, uint64_t now_ms)
{
    struct round *round = round_of(queue_first(&reads->rounds));
    struct queue late;
    struct read_ticket *ticket;

    while (round != NULL) {
        struct round *next = round_of(queue_next(&reads->rounds, &round->link));

        if (now_ms - round->started_ms >= reads->options.timeout_ms &&
            !MUTATION(read_round_never_given_up)) {
            discard_round(reads, round);
        }
        round = next;
    }
    queue_init(&late);
    while ((ticket = ticket_of(queue_first(&reads->tickets))) != NULL &&
           now_ms - ticket->submitted_ms >= LIMIT_NO_LEADER_WAIT_MS) {
        queue_remove(&ticket->message.link);
        queue_push(&late, &ticket->message.link);
    }
    answer_tickets(reads, &late, STATUS_NO_LEADER, 0);
}

void read_index_close(struct read_index *reads)
{
    read_index_discard(reads);
    while (!queue_is_empty(&reads->asks)) {
        answer_ask(reads, &reads->asks, false, 0);
    }
    answer_tickets(reads, &reads->tickets, STATUS_CLOSED, 0);
}
