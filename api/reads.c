/* A linearizable read:
 *
 * 1. reads_start() puts it into the round that this loop turn collects.
 * 2. reads_flush() asks the node for a ticket: the index that must be visible (LIBRAFT.md rule 16).
 * 3. on_ticket() has the index; applier_wait_visible() waits until this node has executed it.
 * 4. on_visible() serves all reads of the round from one view.
 *
 * What can go wrong:
 * - No leader within LIMIT_NO_LEADER_WAIT_MS: 503 no-leader. The ticket comes back later.
 * - The index is not visible within LIMIT_REPLICA_WAIT_MS: 503 replica-behind.
 * - The node's queue is full: 503 overloaded.
 *
 * A read with min_revision is a round of its own that begins at step 3; a stale one begins at 4. */
#include "api/reads.h"

#include <stdlib.h>

#include "api/context.h"
#include "api/deadlines.h"
#include "api/params.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define MAX_SPARE 1024 /* Rounds and reads kept for the next ones. */

struct read {
    struct link link;
    struct request *request;
    reads_serve_cb serve;
};

enum round_state {
    ROUND_COLLECTING,
    ROUND_TICKET,  /* The node has the ticket. */
    ROUND_VISIBLE, /* The applier has the wait. */
    ROUND_OVER,    /* Answered; a message of it is still on its way. */
};

struct round {
    enum round_state state;
    struct reads *reads;
    struct queue queue;
    struct deadline deadline;
    struct read_ticket ticket;
    struct visibility_wait wait;
};

struct reads {
    struct api_thread *thread;
    struct deadlines deadlines;
    struct round *collecting; /* Of this loop turn, or NULL. */
    struct queue ready;       /* May look at the state now. */
    bool is_serving;
    unsigned n_views; /* Users of the open view. */
    struct queue spare;
    unsigned n_spare;
};

static void on_due(struct deadline *deadline);
static void on_ticket(struct message *message);
static void on_visible(struct message *message);

struct reads *reads_new(struct api_thread *thread)
{
    struct reads *reads = memory_new_zeroed(1, sizeof(*reads));

    CHECK(LIMIT_NO_LEADER_WAIT_MS == LIMIT_REPLICA_WAIT_MS); /* One queue of deadlines for both. */
    reads->thread = thread;
    deadlines_init(&reads->deadlines, &thread->loop,
                   thread->read_wait_ms == 0 ? LIMIT_REPLICA_WAIT_MS : thread->read_wait_ms);
    queue_init(&reads->ready);
    queue_init(&reads->spare);
    return reads;
}

static void on_deadlines_closed(struct deadlines *deadlines)
{
    free(CONTAINER_OF(deadlines, struct reads, deadlines));
}

void reads_free(struct reads *reads)
{
    struct link *link;

    CHECK(reads->collecting == NULL);
    CHECK(queue_is_empty(&reads->ready));
    while ((link = queue_pop(&reads->spare)) != NULL) {
        free(CONTAINER_OF(link, struct read, link));
    }
    deadlines_close(&reads->deadlines, on_deadlines_closed);
}

static struct read *new_read(struct reads *reads, struct request *request, reads_serve_cb serve)
{
    struct link *link = queue_pop(&reads->spare);
    struct read *read;

    if (link != NULL) {
        reads->n_spare--;
        read = CONTAINER_OF(link, struct read, link);
    } else {
        read = memory_new(sizeof(*read));
    }
    read->request = request;
    read->serve = serve;
    return read;
}

static void free_read(struct reads *reads, struct read *read)
{
    if (reads->n_spare < MAX_SPARE) {
        reads->n_spare++;
        queue_push_front(&reads->spare, &read->link);
    } else {
        free(read);
    }
}

static struct round *new_round(struct reads *reads)
{
    struct round *round = memory_new_zeroed(1, sizeof(*round));

    round->reads = reads;
    round->deadline.on_due = on_due;
    round->ticket.message.deliver = on_ticket;
    round->ticket.home = &reads->thread->mailbox;
    round->wait.message.deliver = on_visible;
    round->wait.home = &reads->thread->mailbox;
    queue_init(&round->queue);
    return round;
}

struct view *reads_view_begin(struct reads *reads)
{
    struct api_thread *thread = reads->thread;

    if (reads->n_views == 0 && view_begin(thread->store, &thread->view, NULL) != STATUS_OK) {
        return NULL;
    }
    reads->n_views++;
    return &thread->view;
}

void reads_view_end(struct reads *reads)
{
    CHECK(reads->n_views > 0);
    if (--reads->n_views == 0) {
        view_end(&reads->thread->view);
    }
}

/* Answer all reads in @queue with @problem. */
static void fail_all(struct reads *reads, struct queue *queue, enum problem problem,
                     const char *detail)
{
    struct link *link;

    while ((link = queue_pop(queue)) != NULL) {
        struct read *read = CONTAINER_OF(link, struct read, link);
        struct request *request = read->request;

        free_read(reads, read);
        request_fail(request, problem, "%s", detail);
    }
}

/* Serve those in @queue from one view. An answer may make the connection start its next request, so
 * new reads may become ready meanwhile. They must not see this view, which can be older than they
 * may look at. */
static void serve_queue(struct reads *reads, struct queue *queue)
{
    struct view *view = reads_view_begin(reads);
    struct link *link;

    if (view == NULL) {
        fail_all(reads, queue, PROBLEM_INTERNAL, "the state could not be opened for reading");
        return;
    }
    while ((link = queue_pop(queue)) != NULL) {
        struct read *read = CONTAINER_OF(link, struct read, link);
        struct request *request = read->request;
        reads_serve_cb serve = read->serve;

        free_read(reads, read);
        serve(request, view);
    }
    reads_view_end(reads);
}

static void serve_ready(struct reads *reads)
{
    if (reads->is_serving) {
        return; /* The loop below comes to them. */
    }
    reads->is_serving = true;
    while (!queue_is_empty(&reads->ready)) {
        struct queue batch;

        queue_init(&batch);
        queue_append(&batch, &reads->ready);
        serve_queue(reads, &batch);
    }
    reads->is_serving = false;
}

/* The round may look: its reads are served now, or by who is serving. */
static void make_ready(struct round *round)
{
    struct reads *reads = round->reads;

    deadline_disarm(&round->deadline);
    queue_append(&reads->ready, &round->queue);
    free(round);
    serve_ready(reads);
}

static void end_round(struct round *round, enum problem problem, const char *detail)
{
    struct reads *reads = round->reads;
    struct queue queue;

    deadline_disarm(&round->deadline);
    queue_init(&queue);
    queue_append(&queue, &round->queue);
    free(round);
    fail_all(reads, &queue, problem, detail);
}

static void wait_visible(struct round *round)
{
    struct api_thread *thread = round->reads->thread;

    round->state = ROUND_VISIBLE;
    if (applier_wait_visible(node_applier(thread->node), &round->wait)) {
        make_ready(round);
        return;
    }
    thread->outstanding++;
    deadlines_arm(&round->reads->deadlines, &round->deadline);
}

void reads_flush(struct reads *reads)
{
    struct round *round = reads->collecting;
    enum status status;

    if (round == NULL) {
        return;
    }
    reads->collecting = NULL;
    round->state = ROUND_TICKET;
    status = node_read(reads->thread->node, &round->ticket);
    if (status != STATUS_OK) {
        end_round(round, status == STATUS_BUSY ? PROBLEM_OVERLOADED : PROBLEM_NOT_READY,
                  status == STATUS_BUSY ? "too many reads wait on this node"
                                        : "the node is shutting down");
        return;
    }
    reads->thread->outstanding++;
    deadlines_arm(&reads->deadlines, &round->deadline);
}

static void on_ticket(struct message *message)
{
    struct read_ticket *ticket = CONTAINER_OF(message, struct read_ticket, message);
    struct round *round = CONTAINER_OF(ticket, struct round, ticket);

    round->reads->thread->outstanding--;
    if (round->state == ROUND_OVER) {
        free(round);
        return;
    }
    CHECK(round->state == ROUND_TICKET);
    deadline_disarm(&round->deadline);
    if (ticket->status == STATUS_NO_LEADER) {
        end_round(round, PROBLEM_NO_LEADER, "there is no leader at the moment");
    } else if (ticket->status != STATUS_OK) {
        end_round(round, PROBLEM_NOT_READY, "the node is shutting down");
    } else {
        round->wait.index = ticket->index;
        wait_visible(round);
    }
}

static void on_visible(struct message *message)
{
    struct visibility_wait *wait = CONTAINER_OF(message, struct visibility_wait, message);
    struct round *round = CONTAINER_OF(wait, struct round, wait);

    round->reads->thread->outstanding--;
    if (round->state == ROUND_OVER) {
        free(round);
        return;
    }
    CHECK(round->state == ROUND_VISIBLE);
    make_ready(round);
}

static void on_due(struct deadline *deadline)
{
    struct round *round = CONTAINER_OF(deadline, struct round, deadline);
    struct api_thread *thread = round->reads->thread;
    struct reads *reads = round->reads;
    bool had_ticket = round->state == ROUND_VISIBLE;
    struct queue queue;

    queue_init(&queue);
    queue_append(&queue, &round->queue);
    round->state = ROUND_OVER;
    if (had_ticket && applier_wait_cancel(node_applier(thread->node), &round->wait)) {
        thread->outstanding--;
        free(round);
    }
    if (had_ticket) {
        fail_all(reads, &queue, PROBLEM_REPLICA_BEHIND,
                 "this node has not executed that far; another one may have");
    } else {
        fail_all(reads, &queue, PROBLEM_NO_LEADER, "no leader has confirmed the read in time");
    }
}

static void start_linearizable(struct reads *reads, struct read *read)
{
    if (reads->collecting == NULL) {
        reads->collecting = new_round(reads);
    }
    queue_push(&reads->collecting->queue, &read->link);
}

static void start_local(struct reads *reads, struct read *read, uint64_t min_revision)
{
    struct round *round;

    if (min_revision == 0) {
        queue_push(&reads->ready, &read->link);
        serve_ready(reads);
        return;
    }
    round = new_round(reads);
    round->wait.revision = min_revision;
    queue_push(&round->queue, &read->link);
    wait_visible(round);
}

void reads_start(struct request *request, reads_serve_cb serve)
{
    struct reads *reads = request->thread->reads;
    enum consistency consistency = CONSISTENCY_LINEARIZABLE;
    uint64_t min_revision = 0;

    if (request->n_parameters > 0) {
        struct input input;
        enum status status;

        input_init(&input, request);
        status = param_consistency(&input, &consistency, &min_revision);
        if (status != STATUS_OK) {
            input_answer_refusal(&input);
        }
        input_close(&input);
        if (status != STATUS_OK) {
            return;
        }
    }
    if (consistency == CONSISTENCY_STALE) {
        start_local(reads, new_read(reads, request, serve), min_revision);
    } else {
        start_linearizable(reads, new_read(reads, request, serve));
    }
}
