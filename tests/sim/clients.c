/* Clients of a simulated cluster: each sends to one node, and tries again, with the same key and at
 * any node, what was not answered in time. They check what they are told. */
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/sim/cluster_private.h"

#define CLIENT_LIMIT 400u /* Requests of one node that are under way. */
#define MAX_TRIES    4u
#define GROWTH       1024u

struct read_op {
    struct read_ticket ticket;
    struct link link; /* While it waits for its index. */
    struct cluster *cluster;
    struct node *node;
    uint64_t after_index; /* What was acknowledged or read before it began. */
    uint64_t call;        /* A moment (history.h). */
    bool is_of_session;
    unsigned target; /* Which item or session it reads, ... */
    unsigned n_back; /* ... and so many numbers of a session back, at most. */
    bool is_register;
};

/* --- Commands --- */

static void note_acknowledged(struct op *op)
{
    struct cluster *cluster = op->cluster;

    op->fate = OP_ACKNOWLEDGED;
    cluster->counts.acknowledged++;
    SIM_EXPECT(cluster->sim, op->position != 0, "%s", "acknowledged, but not executed");
    SIM_EXPECT(cluster->sim,
               op->result_hash == model_result_hash(buffer_slice(&op->submission.result)),
               "the answer to command %" PRIu64 " is not what its execution gave", op->number);
    if (op->submission.result.size > 0) {
        histories_answered(cluster, op);
    }
    if (op->position > cluster->acknowledged_position) {
        cluster->acknowledged_position = op->position;
    }
    if (op->index > cluster->acknowledged_index) {
        cluster->acknowledged_index = op->index;
    }
}

static void on_answered(struct message *message)
{
    struct op *op = CONTAINER_OF(message, struct op, submission.message);
    struct cluster *cluster = op->cluster;

    op->is_out = false;
    cluster->nodes[op->node].n_out--;
    buffer_close(&op->submission.command);
    sim_note(cluster->sim, "answer", op->number, (uint64_t)op->submission.status);
    switch (op->submission.status) {
    case STATUS_OK:
        note_acknowledged(op);
        break;
    case STATUS_UNCERTAIN:
        op->fate = OP_UNCERTAIN;
        cluster->counts.uncertain++;
        break;
    default:
        op->fate = OP_REFUSED;
        cluster->counts.refused++;
        SIM_EXPECT(cluster->sim, op->position == 0, "executed, but its client was told \"%s\"",
                   status_text(op->submission.status));
    }
    buffer_close(&op->submission.result);
}

void clients_answer(void *data, struct submission *submission)
{
    (void)data;
    submission->message.deliver(&submission->message);
}

static void send_try(struct node *node, struct request *request)
{
    struct cluster *cluster = node->cluster;
    struct op *op = memory_new_zeroed(1, sizeof *op);

    if (cluster->n_ops % GROWTH == 0) {
        cluster->ops = memory_resize(cluster->ops, (cluster->n_ops + GROWTH) * sizeof(struct op *));
    }
    request->tries++;
    op->cluster = cluster;
    op->request = request;
    op->number = cluster->n_ops;
    op->node = node->number;
    op->is_out = true;
    op->sent_ms = sim_now_ms(cluster->sim);
    op->after_position = cluster->acknowledged_position;
    op->call = histories_now(&cluster->histories);
    request->call = request->call == 0 ? op->call : request->call;
    op->submission.message.deliver = on_answered;
    model_encode(request, op->number, &op->submission.command);
    cluster->ops[cluster->n_ops++] = op;
    node->n_out++;
    if (sim_once_in(cluster->sim, 20)) {
        atomic_store(&op->submission.abandoned, true);
    }
    sim_note(cluster->sim, "send", op->number, request->number);
    agreement_submit(node->agreement, &op->submission, sim_now_ms(cluster->sim));
}

/* What no client has wanted yet. */
static struct request *new_request(struct cluster *cluster)
{
    struct request *request = memory_new_zeroed(1, sizeof *request);

    if (cluster->n_requests % GROWTH == 0) {
        cluster->requests = memory_resize(cluster->requests, (cluster->n_requests + GROWTH) *
                                                                 sizeof(struct request *));
    }
    request->number = cluster->n_requests;
    model_draw(&cluster->model, cluster->sim, request);
    cluster->requests[cluster->n_requests++] = request;
    return request;
}

void clients_flood(struct node *node, unsigned n, size_t size)
{
    for (; n > 0; n--) {
        struct request *request = new_request(node->cluster);

        request->size = size / (request->n_events + 1);
        send_try(node, request);
    }
    node_turn(node);
}

static void send_command(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct request *request;

    if (cluster->n_requests > 0 && sim_once_in(cluster->sim, 4)) {
        /* One of late, perhaps answered already: a client may not have heard the answer. */
        size_t back = sim_between(cluster->sim, 1, 64);

        request = cluster->requests[cluster->n_requests -
                                    (back < cluster->n_requests ? back : cluster->n_requests)];
        if (request->tries < MAX_TRIES && (request->has_key || request->has_ids)) {
            send_try(node, request);
            return;
        }
    }
    request = new_request(cluster);
    if (cluster->options.value_bytes > 0 && sim_once_in(cluster->sim, 2)) {
        request->size = cluster->options.value_bytes;
    }
    send_try(node, request);
}

/* --- Reads --- */

static void look_at_session(const struct read_op *read)
{
    struct log_event seen[HISTORY_PAGE];
    struct log_operation operation = {.action = LOG_READ, .seen = seen};

    executor_read_log(read->node, read->target, read->n_back, &operation, seen);
    histories_log_read(&read->cluster->histories, read->target, read->call,
                       read->node->executor.now.applied, &operation);
}

static void look_at_item(const struct read_op *read)
{
    uint64_t value = executor_read_item(read->node, read->target);

    if (read->is_register) {
        histories_item_read(&read->cluster->histories, read->target, read->call,
                            read->node->executor.now.applied, value);
    }
}

static void finish_read(struct read_op *read, bool is_answered)
{
    struct cluster *cluster = read->cluster;

    read->node->n_out--;
    if (!is_answered) {
        cluster->counts.failed_reads++;
    } else {
        cluster->counts.reads++;
        SIM_EXPECT(cluster->sim, read->node->executor.now.time_ms > 0,
                   "node %u answers a read from a state that has not begun", read->node->number);
        if (!cluster->options.has_state) {
            /* There is nothing to see. */
        } else if (read->is_of_session) {
            look_at_session(read);
        } else {
            look_at_item(read);
        }
    }
    free(read);
}

static void on_read_answered(struct message *message)
{
    struct read_op *read = CONTAINER_OF(message, struct read_op, ticket.message);
    struct cluster *cluster = read->cluster;

    sim_note(cluster->sim, "read", read->node->number, read->ticket.index);
    if (read->ticket.status != STATUS_OK) {
        finish_read(read, false);
        return;
    }
    SIM_EXPECT(cluster->sim, read->ticket.index >= read->after_index,
               "a read on node %u waits for %" PRIu64 " only, but %" PRIu64
               " was acknowledged before it began",
               read->node->number, read->ticket.index, read->after_index);
    if (read->ticket.index > cluster->acknowledged_index) {
        cluster->acknowledged_index = read->ticket.index;
    }
    queue_push(&read->node->reads, &read->link);
}

void clients_answer_read(void *data, struct read_ticket *ticket)
{
    (void)data;
    ticket->message.deliver(&ticket->message);
}

void clients_look(struct node *node, bool is_dying)
{
    struct link *link = queue_first(&node->reads);

    while (link != NULL) {
        struct read_op *read = CONTAINER_OF(link, struct read_op, link);

        link = queue_next(&node->reads, link);
        if (!is_dying && read->ticket.index > node->executor.now.applied) {
            continue;
        }
        queue_remove(&read->link);
        finish_read(read, !is_dying);
    }
}

static void send_read(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct read_op *read = memory_new_zeroed(1, sizeof *read);

    read->cluster = cluster;
    read->node = node;
    read->after_index = cluster->acknowledged_index;
    read->call = histories_now(&cluster->histories);
    read->is_of_session = sim_once_in(cluster->sim, 2);
    if (read->is_of_session) {
        read->target = cluster->model.session_at[sim_between(cluster->sim, 0, MODEL_SESSIONS - 1)];
        read->n_back = sim_between(cluster->sim, 0, 2 * HISTORY_PAGE);
    } else {
        read->target = cluster->model.item_at[sim_between(cluster->sim, 0, MODEL_ITEMS - 1)];
        read->is_register = model_is_register(&cluster->model, read->target);
    }
    read->ticket.message.deliver = on_read_answered;
    node->n_out++;
    agreement_read(node->agreement, &read->ticket, sim_now_ms(cluster->sim));
}

/* --- The loop of a client --- */

static void on_client(void *data)
{
    struct node *node = *(struct node **)data;
    struct cluster *cluster = node->cluster;
    struct node **next = memory_new(sizeof(struct node *));
    unsigned n = sim_once_in(cluster->sim, 10) ? 20 : 1;

    for (; n > 0 && !cluster->is_quiet && node->n_out < CLIENT_LIMIT; n--) {
        if (sim_once_in(cluster->sim, 2)) {
            send_command(node);
        } else {
            send_read(node);
        }
    }
    clients_look(node, false);
    node_turn(node);
    *next = node;
    sim_at(cluster->sim,
           sim_now_ms(cluster->sim) +
               sim_between(cluster->sim, 1, cluster->options.client_period_ms),
           &node->owner, on_client, next);
}

void clients_start(struct node *node)
{
    struct node **event = memory_new(sizeof(struct node *));

    *event = node;
    sim_at(node->cluster->sim,
           sim_now_ms(node->cluster->sim) + sim_between(node->cluster->sim, 1, 10), &node->owner,
           on_client, event);
}

void clients_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->n_ops; i++) {
        free(cluster->ops[i]);
    }
    for (size_t i = 0; i < cluster->n_requests; i++) {
        free(cluster->requests[i]);
    }
    free(cluster->ops);
    free(cluster->requests);
}
