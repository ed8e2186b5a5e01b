#include "tests/sim/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "raft/agreement.h"
#include "raft/seam.h"
#include "storage/command.h"
#include "storage/entry.h"
#include "tests/sim/sim_io.h"

#define MAX_NODES       7u
#define HEARTBEAT_MS    30u
#define ELECTION_MS     150u
#define TICK_MS         10u
#define RECONNECT_MS    50u
#define WALL_EPOCH_MS   1700000000000ull
#define CLIENT_LIMIT    400u /* Requests of one node that are under way. */
#define FREE_DISK_BYTES (1ull << 40)
#define FREE_FLOOR      (1ull << 28)

enum op_fate { OP_OPEN, OP_ACKNOWLEDGED, OP_REFUSED, OP_UNCERTAIN };

/* A command of a client; the value that it puts begins with its id. */
struct op {
    struct submission submission; /* Valid while @is_out. */
    struct cluster *cluster;
    unsigned node;
    bool is_out;
    enum op_fate fate;
    uint64_t position; /* Where it was executed first; 0: it was not. */
    uint64_t index;
    uint64_t after_position; /* What was acknowledged before it was sent. */
};

struct read_op {
    struct read_ticket ticket;
    struct cluster *cluster;
    unsigned node;
    uint64_t after_index; /* What was acknowledged or read before it began. */
};

/* What is known to be at an index: the same on all nodes. */
struct slot {
    uint64_t hash; /* Of the entry; 1: none of the state's business; 0: not seen. */
};

struct connection {
    bool is_up;
    uint64_t epoch;
    uint64_t arrival_ms; /* Of the last frame: they do not overtake. */
};

struct node {
    struct cluster *cluster;
    unsigned number;
    uint64_t id;
    bool is_alive;
    struct sim_owner owner;
    struct sim_disk disk;
    struct sim_io *io;
    struct seam *seam;
    struct agreement *agreement;
    bool in_turn;
    uint64_t free_disk_bytes;
    int64_t wall_offset_ms;
    unsigned n_out;
    uint64_t resubmitted;
    uint64_t snapshots;

    /* The executor: what is executed, and what of it is on the disk. */
    uint64_t applied;
    uint64_t durable_applied;
    uint64_t stored;
    uint64_t durable_stored;
    uint64_t time_ms;
    uint64_t durable_time_ms;
    uint64_t busy_until_ms;
    size_t queued_bytes;
    struct queue works;
};

struct cluster {
    struct sim *sim;
    struct cluster_options options;
    struct node nodes[MAX_NODES];
    bool cut[MAX_NODES][MAX_NODES];
    uint64_t link_ms[MAX_NODES][MAX_NODES];
    struct connection connections[MAX_NODES][MAX_NODES]; /* [lower][higher] */
    bool is_quiet;
    bool is_due;
    unsigned last_flags;
    uint64_t last_time_ms;
    uint64_t highest_index; /* Executed by anyone. */
    uint64_t next_position;
    uint64_t acknowledged_position; /* The highest of what was acknowledged ... */
    uint64_t acknowledged_index;    /* ... and its index, or what was read. */
    struct op **ops;
    size_t n_ops;
    struct slot *slots; /* By index. */
    size_t n_slots;
    uint64_t last_leader_term;
    struct cluster_counts counts;
};

static void turn(struct node *node);

static struct node *node_of(struct cluster *cluster, uint64_t id)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        if (cluster->nodes[i].id == id) {
            return &cluster->nodes[i];
        }
    }
    return NULL;
}

/* --- What is executed, compared --- */

static struct slot *slot_at(struct cluster *cluster, uint64_t index)
{
    if (index >= cluster->n_slots) {
        size_t n = (size_t)index * 2 + 64;

        cluster->slots = memory_resize(cluster->slots, n * sizeof *cluster->slots);
        memset(cluster->slots + cluster->n_slots, 0,
               (n - cluster->n_slots) * sizeof *cluster->slots);
        cluster->n_slots = n;
    }
    return &cluster->slots[index];
}

/* True the first time. */
static bool note(struct node *node, uint64_t index, uint64_t hash)
{
    struct slot *slot = slot_at(node->cluster, index);

    SIM_EXPECT(node->cluster->sim, slot->hash == 0 || slot->hash == hash,
               "node %u executes something else than others at index %" PRIu64, node->number,
               index);
    if (slot->hash != 0) {
        return false;
    }
    slot->hash = hash;
    return true;
}

static uint64_t op_of(struct slice bytes)
{
    struct command command;
    uint64_t id = UINT64_MAX;

    CHECK(command_decode(bytes, &command, NULL) == STATUS_OK);
    if (command.operations[0].kind == OPERATION_ITEM_PUT) {
        memcpy(&id, command.operations[0].item.value.data, sizeof id);
    }
    command_close(&command);
    return id;
}

static void execute_first(struct cluster *cluster, uint64_t index, struct slice bytes)
{
    uint64_t id = op_of(bytes);
    uint64_t position = ++cluster->next_position;
    struct op *op;

    if (id == UINT64_MAX) { /* Maintenance. */
        cluster->is_due = false;
        cluster->counts.maintained++;
        return;
    }
    CHECK(id < cluster->n_ops);
    op = cluster->ops[id];
    SIM_EXPECT(cluster->sim, op->position == 0,
               "command %" PRIu64 " is executed twice, at indexes %" PRIu64 " and %" PRIu64, id,
               op->index, index);
    SIM_EXPECT(cluster->sim, op->fate != OP_REFUSED,
               "command %" PRIu64 " is executed, but its client was told that it never will be",
               id);
    SIM_EXPECT(cluster->sim, position > op->after_position,
               "command %" PRIu64 " comes before one that was acknowledged earlier", id);
    op->position = position;
    op->index = index;
}

static void execute_entry(struct node *node, struct applied *work)
{
    struct cluster *cluster = node->cluster;
    struct committed_bundles *own = work->data;
    struct slice bytes = buffer_slice(&work->entry);
    struct entry entry;
    struct bundle bundle;
    struct slice command;
    uint32_t i = 0;
    bool is_first;

    CHECK(entry_decode(bytes, &entry, NULL) == STATUS_OK);
    is_first = note(node, work->index, XXH3_64bits(bytes.data, bytes.size) | 2);
    SIM_EXPECT(cluster->sim, entry.term == work->term, "term %" PRIu64 " in an entry of %" PRIu64,
               entry.term, work->term);
    if (is_first) {
        SIM_EXPECT(cluster->sim, entry.time_ms >= cluster->last_time_ms,
                   "time goes back at index %" PRIu64, work->index);
        cluster->last_time_ms = entry.time_ms;
        cluster->last_flags = entry.flags;
    }
    node->time_ms = entry.time_ms;
    CHECK(own->n_bundles == entry.n_bundles);
    for (; entry_next_bundle(&entry.bundles, &bundle); i++) {
        uint32_t j = 0;

        for (; bundle_next_command(&bundle.commands, &command); j++) {
            if (is_first) {
                execute_first(cluster, work->index, command);
            }
            if (own->own[i] != NULL && own->own[i]->n_submissions > 0) {
                struct submission *submission = own->own[i]->submissions[j];

                own->own[i]->submissions[j] = NULL;
                submission->status = STATUS_OK;
                submission->message.deliver(&submission->message);
            }
        }
    }
}

static void execute_work(struct node *node, struct applied *work)
{
    struct cluster *cluster = node->cluster;

    if (work->kind == APPLIED_DURABLE) {
        node->durable_applied = node->applied;
        node->durable_stored = node->stored;
        node->durable_time_ms = node->time_ms;
        return;
    }
    if (work->stored > node->stored) {
        node->stored = work->stored;
    }
    if (work->index <= node->applied) {
        if (work->kind == APPLIED_ENTRY) {
            struct slice bytes = buffer_slice(&work->entry);

            (void)note(node, work->index, XXH3_64bits(bytes.data, bytes.size) | 2);
        }
        return;
    }
    if (work->kind == APPLIED_SKIP) {
        for (uint64_t index = node->applied + 1; index <= work->index; index++) {
            (void)note(node, index, 1);
        }
    } else {
        SIM_EXPECT(cluster->sim, work->index == node->applied + 1,
                   "node %u executes %" PRIu64 " after %" PRIu64, node->number, work->index,
                   node->applied);
        execute_entry(node, work);
    }
    node->applied = work->index;
    if (node->applied > cluster->highest_index) {
        cluster->highest_index = node->applied;
    }
    if (sim_once_in(cluster->sim, 4)) { /* A commit. */
        node->durable_applied = node->applied;
        node->durable_stored = node->stored;
        node->durable_time_ms = node->time_ms;
    }
}

static void on_execute(void *data)
{
    struct node *node = *(struct node **)data;
    struct applied *work = CONTAINER_OF(queue_pop(&node->works), struct applied, link);

    node->queued_bytes -= work->entry.size;
    execute_work(node, work);
    agreement_executed(node->agreement, work, sim_now_ms(node->cluster->sim));
    turn(node);
}

static void push_work(void *data, struct applied *work)
{
    struct node *node = data;
    struct sim *sim = node->cluster->sim;
    struct node **event = memory_new(sizeof(struct node *));
    uint64_t at_ms = sim_now_ms(sim) + sim_between(sim, 0, 2);

    if (at_ms < node->busy_until_ms) {
        at_ms = node->busy_until_ms;
    }
    node->busy_until_ms = at_ms;
    node->queued_bytes += work->entry.size;
    queue_push(&node->works, &work->link);
    *event = node;
    sim_at(sim, at_ms, &node->owner, on_execute, event);
}

static size_t queued_bytes(void *data)
{
    return ((struct node *)data)->queued_bytes;
}

static uint64_t next_due_ms(void *data)
{
    return ((struct node *)data)->cluster->is_due ? 0 : UINT64_MAX;
}

/* --- The network --- */

struct raft_delivery {
    struct node *from;
    struct node *to;
    struct sim_message *message;
};

/* A node that stands still gets what arrives when it goes on. True if the delivery was put off. */
static bool put_off(struct node *to, sim_event_cb cb, const void *delivery, size_t size)
{
    void *later;

    if (sim_is_closing(to->cluster->sim) || to->owner.paused_ms <= sim_now_ms(to->cluster->sim)) {
        return false;
    }
    later = memory_new(size);
    memcpy(later, delivery, size);
    sim_at(to->cluster->sim, to->owner.paused_ms, NULL, cb, later);
    return true;
}

static void on_raft_delivery(void *data)
{
    struct raft_delivery *delivery = data;
    struct cluster *cluster = delivery->to->cluster;

    if (put_off(delivery->to, on_raft_delivery, delivery, sizeof *delivery)) {
        return;
    }

    if (!sim_is_closing(cluster->sim) && delivery->to->is_alive &&
        !cluster->cut[delivery->from->number][delivery->to->number]) {
        sim_message_deliver(delivery->message, delivery->to->io, delivery->from->id);
        turn(delivery->to);
    }
    sim_message_release(delivery->message);
}

static void on_raft_send(void *data, const struct raft_message *message)
{
    struct node *from = data;
    struct cluster *cluster = from->cluster;
    struct sim *sim = cluster->sim;
    struct node *to = node_of(cluster, message->server_id);
    struct raft_delivery *delivery;
    const struct raft_append_entries_result *result = &message->append_entries_result;
    uint64_t at_ms = sim_now_ms(sim) + sim_between(sim, 0, 4);
    uint64_t *last = &cluster->link_ms[from->number][to->number];

    if (message->type == RAFT_APPEND_ENTRIES_RESULT && result->rejected != 0) {
        struct seam_view view;

        seam_view(from->seam, &view);
        SIM_EXPECT(sim, result->last_log_index == view.last_index,
                   "node %u says that its log ends at %" PRIu64 ", but it ends at %" PRIu64,
                   from->number, (uint64_t)result->last_log_index, view.last_index);
    }
    if (sim_between(sim, 1, 100) <= cluster->options.loss_percent) {
        return;
    }
    if (sim_once_in(sim, 300)) {
        at_ms += sim_between(sim, 20, 200);
    }
    *last = at_ms > *last ? at_ms : *last;
    delivery = memory_new(sizeof *delivery);
    *delivery = (struct raft_delivery){from, to, sim_message_copy(message)};
    sim_at(sim, *last, NULL, on_raft_delivery, delivery);
}

struct frame_delivery {
    struct node *from;
    struct node *to;
    uint64_t epoch;
    struct buffer bytes;
};

static struct connection *connection_of(struct cluster *cluster, unsigned a, unsigned b)
{
    return a < b ? &cluster->connections[a][b] : &cluster->connections[b][a];
}

static void on_frame_delivery(void *data)
{
    struct frame_delivery *delivery = data;
    struct cluster *cluster = delivery->to->cluster;
    struct connection *connection =
        connection_of(cluster, delivery->from->number, delivery->to->number);
    struct frame frame;

    if (put_off(delivery->to, on_frame_delivery, delivery, sizeof *delivery)) {
        return;
    }
    if (!sim_is_closing(cluster->sim) && connection->is_up &&
        connection->epoch == delivery->epoch) {
        CHECK(frame_decode(buffer_slice(&delivery->bytes), &frame, NULL) == STATUS_OK);
        agreement_frame(delivery->to->agreement, delivery->from->id, &frame,
                        sim_now_ms(cluster->sim));
        turn(delivery->to);
    }
    buffer_close(&delivery->bytes);
}

static bool send_frame(void *data, uint64_t peer, const struct frame *frame)
{
    struct node *from = data;
    struct cluster *cluster = from->cluster;
    struct sim *sim = cluster->sim;
    struct node *to = node_of(cluster, peer);
    struct connection *connection = connection_of(cluster, from->number, to->number);
    struct frame_delivery *delivery;
    uint64_t at_ms = sim_now_ms(sim) + sim_between(sim, 0, 4);

    if (!connection->is_up) {
        return false;
    }
    if (at_ms < connection->arrival_ms) {
        at_ms = connection->arrival_ms;
    }
    connection->arrival_ms = at_ms;
    delivery = memory_new_zeroed(1, sizeof *delivery);
    delivery->from = from;
    delivery->to = to;
    delivery->epoch = connection->epoch;
    frame_encode(frame, &delivery->bytes);
    sim_at(sim, at_ms, NULL, on_frame_delivery, delivery);
    return true;
}

void cluster_break_connection(struct cluster *cluster, unsigned a, unsigned b)
{
    struct connection *connection = connection_of(cluster, a, b);
    uint64_t now_ms = sim_now_ms(cluster->sim);

    if (!connection->is_up) {
        return;
    }
    connection->is_up = false;
    connection->epoch++;
    if (cluster->nodes[a].is_alive) {
        agreement_peer_down(cluster->nodes[a].agreement, cluster->nodes[b].id, now_ms);
    }
    if (cluster->nodes[b].is_alive) {
        agreement_peer_down(cluster->nodes[b].agreement, cluster->nodes[a].id, now_ms);
    }
}

static void reconnect(struct cluster *cluster, unsigned a, unsigned b)
{
    struct connection *connection = connection_of(cluster, a, b);
    uint64_t now_ms = sim_now_ms(cluster->sim);

    if (connection->is_up || !cluster->nodes[a].is_alive || !cluster->nodes[b].is_alive ||
        cluster->cut[a][b] || cluster->cut[b][a]) {
        return;
    }
    connection->is_up = true;
    connection->epoch++;
    agreement_peer_up(cluster->nodes[a].agreement, cluster->nodes[b].id, now_ms);
    agreement_peer_up(cluster->nodes[b].agreement, cluster->nodes[a].id, now_ms);
    turn(&cluster->nodes[a]);
    turn(&cluster->nodes[b]);
}

static void on_reconnect(void *data)
{
    struct cluster *cluster = *(struct cluster **)data;
    struct cluster **next;

    if (sim_is_closing(cluster->sim)) {
        return;
    }
    for (unsigned a = 0; a < cluster->options.n_nodes; a++) {
        for (unsigned b = a + 1; b < cluster->options.n_nodes; b++) {
            reconnect(cluster, a, b);
        }
    }
    next = memory_new(sizeof(struct cluster *));
    *next = cluster;
    sim_at(cluster->sim, sim_now_ms(cluster->sim) + RECONNECT_MS, NULL, on_reconnect, next);
}

/* --- Clients --- */

static void on_answered(struct message *message)
{
    struct op *op = CONTAINER_OF(message, struct op, submission.message);
    struct cluster *cluster = op->cluster;

    op->is_out = false;
    cluster->nodes[op->node].n_out--;
    buffer_close(&op->submission.command);
    switch (op->submission.status) {
    case STATUS_OK:
        op->fate = OP_ACKNOWLEDGED;
        cluster->counts.acknowledged++;
        SIM_EXPECT(cluster->sim, op->position != 0, "%s", "acknowledged, but not executed");
        if (op->position > cluster->acknowledged_position) {
            cluster->acknowledged_position = op->position;
        }
        if (op->index > cluster->acknowledged_index) {
            cluster->acknowledged_index = op->index;
        }
        return;
    case STATUS_UNCERTAIN:
        op->fate = OP_UNCERTAIN;
        cluster->counts.uncertain++;
        return;
    default:
        op->fate = OP_REFUSED;
        cluster->counts.refused++;
        SIM_EXPECT(cluster->sim, op->position == 0, "executed, but its client was told \"%s\"",
                   status_text(op->submission.status));
    }
}

static void answer(void *data, struct submission *submission)
{
    (void)data;
    submission->message.deliver(&submission->message);
}

static void on_read_answered(struct message *message)
{
    struct read_op *read = CONTAINER_OF(message, struct read_op, ticket.message);
    struct cluster *cluster = read->cluster;

    cluster->nodes[read->node].n_out--;
    if (read->ticket.status == STATUS_OK) {
        cluster->counts.reads++;
        SIM_EXPECT(cluster->sim, read->ticket.index >= read->after_index,
                   "a read on node %u waits for %" PRIu64 " only, but %" PRIu64
                   " was acknowledged before it began",
                   read->node, read->ticket.index, read->after_index);
        if (read->ticket.index > cluster->acknowledged_index) {
            cluster->acknowledged_index = read->ticket.index;
        }
    } else {
        cluster->counts.failed_reads++;
    }
    free(read);
}

static void answer_read(void *data, struct read_ticket *ticket)
{
    (void)data;
    ticket->message.deliver(&ticket->message);
}

static void encode_put(uint64_t id, size_t size, struct buffer *buffer)
{
    struct operation operation = {.kind = OPERATION_ITEM_PUT};
    struct command command = {.n_operations = 1, .operations = &operation};
    uint8_t *value = memory_new_zeroed(size, 1);

    memcpy(value, &id, sizeof id);
    command.ns = slice_of_string("default");
    operation.item.key = slice_of_string("key");
    operation.item.value = slice_of(value, size);
    operation.item.content = CONTENT_BYTES;
    operation.item.content_type = slice_of_string("application/octet-stream");
    command_encode(&command, buffer);
    free(value);
}

static void send_command(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct op *op = memory_new_zeroed(1, sizeof *op);
    size_t size = sim_once_in(cluster->sim, 50) ? 20000 : 16;

    if (cluster->n_ops % 1024 == 0) {
        cluster->ops = memory_resize(cluster->ops, (cluster->n_ops + 1024) * sizeof(struct op *));
    }
    op->cluster = cluster;
    op->node = node->number;
    op->is_out = true;
    op->after_position = cluster->acknowledged_position;
    op->submission.message.deliver = on_answered;
    encode_put(cluster->n_ops, size, &op->submission.command);
    cluster->ops[cluster->n_ops++] = op;
    node->n_out++;
    if (sim_once_in(cluster->sim, 20)) {
        atomic_store(&op->submission.abandoned, true);
    }
    agreement_submit(node->agreement, &op->submission, sim_now_ms(cluster->sim));
}

static void send_read(struct node *node)
{
    struct read_op *read = memory_new_zeroed(1, sizeof *read);

    read->cluster = node->cluster;
    read->node = node->number;
    read->after_index = node->cluster->acknowledged_index;
    read->ticket.message.deliver = on_read_answered;
    node->n_out++;
    agreement_read(node->agreement, &read->ticket, sim_now_ms(node->cluster->sim));
}

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
    turn(node);
    *next = node;
    sim_at(cluster->sim,
           sim_now_ms(cluster->sim) +
               sim_between(cluster->sim, 1, cluster->options.client_period_ms),
           &node->owner, on_client, next);
}

/* --- The life of a node --- */

static void look_at_leaders(struct cluster *cluster, struct node *node,
                            const struct seam_view *view)
{
    if (view->state != SEAM_LEADER) {
        return;
    }
    if (view->term > cluster->last_leader_term) {
        cluster->last_leader_term = view->term;
        cluster->counts.elections++;
        sim_trace(cluster->sim, "node %u leads term %" PRIu64, node->number, view->term);
    }
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        struct seam_view other;

        if (i == node->number || !cluster->nodes[i].is_alive) {
            continue;
        }
        seam_view(cluster->nodes[i].seam, &other);
        SIM_EXPECT(cluster->sim, other.state != SEAM_LEADER || other.term != view->term,
                   "two nodes lead term %" PRIu64, view->term);
    }
}

/* The end of a turn of the node's loop. */
static void turn(struct node *node)
{
    struct seam_view view;

    if (!node->is_alive || node->in_turn ||
        node->owner.paused_ms > sim_now_ms(node->cluster->sim)) {
        return;
    }
    node->in_turn = true;
    agreement_flush(node->agreement, sim_now_ms(node->cluster->sim));
    seam_view(node->seam, &view);
    look_at_leaders(node->cluster, node, &view);
    node->in_turn = false;
}

static void on_turn(void *data)
{
    turn(data);
}

static void on_tick(void *data)
{
    struct node *node = *(struct node **)data;
    struct sim *sim = node->cluster->sim;
    struct node **next = memory_new(sizeof(struct node *));
    uint64_t now_ms = sim_now_ms(sim);

    *next = node;
    sim_at(sim, now_ms + TICK_MS, &node->owner, on_tick, next);
    agreement_tick(node->agreement, now_ms, WALL_EPOCH_MS + now_ms + (uint64_t)node->wall_offset_ms,
                   node->free_disk_bytes);
    turn(node);
}

static void start_timer(struct node *node, sim_event_cb cb)
{
    struct node **event = memory_new(sizeof(struct node *));

    *event = node;
    sim_at(node->cluster->sim,
           sim_now_ms(node->cluster->sim) + sim_between(node->cluster->sim, 1, 10), &node->owner,
           cb, event);
}

/* What a supervisor does with a process that ended by itself. */
static void on_supervised(void *data)
{
    struct node *node = *(struct node **)data;

    cluster_crash(node->cluster, node->number);
    cluster_restart(node->cluster, node->number);
}

static void on_exit_wanted(void *data, enum node_exit why, const struct error *error)
{
    struct node *node = data;

    struct node **event = memory_new(sizeof(struct node *));

    sim_trace(node->cluster->sim, "node %u wants to end: %s", node->number, error->text);
    *event = node;
    sim_at(node->cluster->sim, sim_now_ms(node->cluster->sim), &node->owner, on_supervised, event);
    SIM_EXPECT(node->cluster->sim, why == NODE_EXIT_RESTART, "node %u ends: %s", node->number,
               error->text);
}

static void open_agreement(struct node *node)
{
    struct agreement_options options = {
        .self = node->id,
        .boot = sim_random(node->cluster->sim) | 1,
        .cluster_id = "00000000-0000-4000-8000-000000000001",
        .version = "0",
        .free_disk_floor_bytes = FREE_FLOOR,
        .election_timeout_ms = ELECTION_MS,
        .state_applied_index = node->applied,
        .state_time_ms = node->time_ms,
        .data = node,
        .send = send_frame,
        .execute = push_work,
        .answer = answer,
        .answer_read = answer_read,
        .executor_queued_bytes = queued_bytes,
        .executor_next_due_ms = next_due_ms,
        .exit = on_exit_wanted,
    };

    CHECK(agreement_open(&options, node->seam, sim_now_ms(node->cluster->sim), &node->agreement,
                         NULL) == STATUS_OK);
}

static void bootstrap(struct node *node)
{
    struct seam_configuration configuration = {.n_members = node->cluster->options.n_nodes};

    for (unsigned i = 0; i < configuration.n_members; i++) {
        configuration.members[i].id = node->cluster->nodes[i].id;
        configuration.members[i].role = NODE_ROLE_VOTER;
    }
    CHECK(seam_bootstrap(node->seam, &configuration, NULL) == STATUS_OK);
}

static void boot(struct node *node, bool is_first)
{
    struct cluster *cluster = node->cluster;
    struct seam_options options = {
        .self = node->id,
        .cluster_id = "00000000-0000-4000-8000-000000000001",
        .election_timeout_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .snapshot_threshold_bytes = cluster->options.snapshot_threshold_bytes,
        .state_applied_index = node->durable_applied,
        .state_stored = node->durable_stored,
    };
    struct error error = {.text = ""};
    enum status status;

    node->applied = node->durable_applied;
    node->stored = node->durable_stored;
    node->time_ms = node->durable_time_ms;
    node->busy_until_ms = 0;
    node->owner.paused_ms = 0;
    node->n_out = 0;
    node->io = memory_new(sizeof *node->io);
    sim_io_init(node->io, cluster->sim, &node->disk, &node->owner);
    node->io->data = node;
    node->io->on_send = on_raft_send;
    node->io->on_turn = on_turn;
    options.io = &node->io->io;
    CHECK(seam_open(&options, &node->seam, NULL) == STATUS_OK);
    open_agreement(node);
    if (is_first) {
        bootstrap(node);
    }
    status = seam_start(node->seam, &error);
    SIM_EXPECT(cluster->sim, status == STATUS_OK, "node %u does not start: %s", node->number,
               error.text);
    node->is_alive = true;
    start_timer(node, on_tick);
    start_timer(node, on_client);
    sim_trace(cluster->sim, "node %u starts at index %" PRIu64, node->number, node->applied);
}

/* What the executor did not get to is lost with its node; clients of it do not know. */
static void drop_works(struct node *node)
{
    struct link *link;

    while ((link = queue_pop(&node->works)) != NULL) {
        struct applied *work = CONTAINER_OF(link, struct applied, link);

        work->index = 0; /* Nothing is durable through it. */
        agreement_executed(node->agreement, work, sim_now_ms(node->cluster->sim));
    }
    node->queued_bytes = 0;
}

static void die(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct node_status status;

    agreement_status(node->agreement, sim_now_ms(cluster->sim), &status);
    node->resubmitted += status.resubmitted_bundles;
    node->snapshots += status.snapshots;
    node->is_alive = false;
    node->owner.epoch++;
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        if (i != node->number) {
            cluster_break_connection(cluster, node->number, i);
        }
    }
    sim_io_crash(node->io);
    drop_works(node);
    agreement_close(node->agreement);
    seam_abandon(node->seam);
    free(node->io);
    node->agreement = NULL;
    node->seam = NULL;
    node->io = NULL;
}

void cluster_crash(struct cluster *cluster, unsigned number)
{
    struct node *node = &cluster->nodes[number];

    if (node->is_alive) {
        sim_trace(cluster->sim, "node %u crashes at index %" PRIu64 " (durable %" PRIu64 ")",
                  number, node->applied, node->durable_applied);
        cluster->counts.crashes++;
        die(node);
    }
}

void cluster_restart(struct cluster *cluster, unsigned number)
{
    if (!cluster->nodes[number].is_alive) {
        boot(&cluster->nodes[number], false);
    }
}

bool cluster_is_alive(const struct cluster *cluster, unsigned number)
{
    return cluster->nodes[number].is_alive;
}

struct cluster *cluster_open(struct sim *sim, const struct cluster_options *options)
{
    struct cluster *cluster = memory_new_zeroed(1, sizeof *cluster);
    struct cluster **event = memory_new(sizeof(struct cluster *));

    CHECK(options->n_nodes > 0 && options->n_nodes <= MAX_NODES);
    cluster->sim = sim;
    cluster->options = *options;
    for (unsigned i = 0; i < options->n_nodes; i++) {
        struct node *node = &cluster->nodes[i];

        node->cluster = cluster;
        node->number = i;
        node->id = sim_random(sim) | 1;
        node->free_disk_bytes = FREE_DISK_BYTES;
        queue_init(&node->works);
        sim_disk_init(&node->disk);
    }
    if (options->clock_jumps) {
        cluster->nodes[sim_between(sim, 0, options->n_nodes - 1)].wall_offset_ms =
            sim_once_in(sim, 2) ? 3600000 : -3600000;
    }
    for (unsigned i = 0; i < options->n_nodes; i++) {
        boot(&cluster->nodes[i], true);
    }
    *event = cluster;
    sim_at(sim, sim_now_ms(sim) + 1, NULL, on_reconnect, event);
    return cluster;
}

void cluster_close(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        if (cluster->nodes[i].is_alive) {
            die(&cluster->nodes[i]);
        }
        sim_disk_close(&cluster->nodes[i].disk);
    }
    sim_drain(cluster->sim);
    for (size_t i = 0; i < cluster->n_ops; i++) {
        free(cluster->ops[i]);
    }
    free(cluster->ops);
    free(cluster->slots);
    free(cluster);
}

void cluster_run(struct cluster *cluster, uint64_t ms)
{
    uint64_t until_ms = sim_now_ms(cluster->sim) + ms;

    while (sim_step(cluster->sim, until_ms)) {
    }
}

/* --- Faults --- */

static void drop_cut_connections(struct cluster *cluster)
{
    for (unsigned a = 0; a < cluster->options.n_nodes; a++) {
        for (unsigned b = a + 1; b < cluster->options.n_nodes; b++) {
            if (cluster->cut[a][b] || cluster->cut[b][a]) {
                cluster_break_connection(cluster, a, b);
            }
        }
    }
}

void cluster_cut(struct cluster *cluster, unsigned from, unsigned to, bool cut)
{
    cluster->cut[from][to] = cut;
    drop_cut_connections(cluster);
}

void cluster_isolate(struct cluster *cluster, unsigned number)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        cluster->cut[i][number] = i != number;
        cluster->cut[number][i] = i != number;
    }
    drop_cut_connections(cluster);
}

void cluster_heal(struct cluster *cluster)
{
    memset(cluster->cut, 0, sizeof cluster->cut);
}

void cluster_slow_disk(struct cluster *cluster, unsigned number, unsigned ms)
{
    if (cluster->nodes[number].is_alive) {
        cluster->nodes[number].io->slow_ms = ms;
    }
}

void cluster_pause(struct cluster *cluster, unsigned number, unsigned ms)
{
    sim_trace(cluster->sim, "node %u stands still for %u ms", number, ms);
    cluster->nodes[number].owner.paused_ms = sim_now_ms(cluster->sim) + ms;
}

void cluster_leave(struct cluster *cluster, unsigned number)
{
    if (cluster->nodes[number].is_alive) {
        agreement_leave(cluster->nodes[number].agreement, sim_now_ms(cluster->sim));
        turn(&cluster->nodes[number]);
    }
}

void cluster_quiet(struct cluster *cluster, bool quiet)
{
    cluster->is_quiet = quiet;
}

void cluster_set_free_disk(struct cluster *cluster, unsigned number, uint64_t bytes)
{
    cluster->nodes[number].free_disk_bytes = bytes;
}

void cluster_set_due(struct cluster *cluster)
{
    cluster->is_due = true;
}

/* --- Looking --- */

int cluster_leader(const struct cluster *cluster)
{
    uint64_t best_term = 0;
    int best = -1;

    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        struct seam_view view;

        if (!cluster->nodes[i].is_alive) {
            continue;
        }
        seam_view(cluster->nodes[i].seam, &view);
        if (view.state == SEAM_LEADER && view.term > best_term) {
            best = (int)i;
            best_term = view.term;
        }
    }
    return best;
}

static bool view_of(const struct cluster *cluster, unsigned number, struct seam_view *view)
{
    if (!cluster->nodes[number].is_alive) {
        return false;
    }
    seam_view(cluster->nodes[number].seam, view);
    return true;
}

uint64_t cluster_term(const struct cluster *cluster, unsigned number)
{
    struct seam_view view;

    return view_of(cluster, number, &view) ? view.term : 0;
}

uint64_t cluster_applied(const struct cluster *cluster, unsigned number)
{
    return cluster->nodes[number].applied;
}

bool cluster_needs_state(const struct cluster *cluster, unsigned number)
{
    struct seam_view view;

    return view_of(cluster, number, &view) && view.needs_state;
}

bool cluster_storage_full(const struct cluster *cluster, unsigned number)
{
    struct node_status status = {.storage_full = false};

    if (cluster->nodes[number].is_alive) {
        agreement_status(cluster->nodes[number].agreement, sim_now_ms(cluster->sim), &status);
    }
    return status.storage_full;
}

unsigned cluster_last_flags(const struct cluster *cluster)
{
    return cluster->last_flags;
}

void cluster_counts(const struct cluster *cluster, struct cluster_counts *counts)
{
    *counts = cluster->counts;
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        const struct node *node = &cluster->nodes[i];
        struct node_status status = {.snapshots = 0};

        if (node->is_alive) {
            agreement_status(node->agreement, sim_now_ms(cluster->sim), &status);
        }
        counts->resubmitted += node->resubmitted + status.resubmitted_bundles;
        counts->snapshots += node->snapshots + status.snapshots;
    }
}

void cluster_check_converged(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        const struct node *node = &cluster->nodes[i];

        if (!node->is_alive || cluster_needs_state(cluster, i)) {
            continue;
        }
        SIM_EXPECT(cluster->sim, node->applied == cluster->highest_index,
                   "node %u has executed up to %" PRIu64 " of %" PRIu64, i, node->applied,
                   cluster->highest_index);
        SIM_EXPECT(cluster->sim, node->n_out == 0, "node %u owes %u answers", i, node->n_out);
    }
    for (size_t i = 0; i < cluster->n_ops; i++) {
        const struct op *op = cluster->ops[i];

        SIM_EXPECT(cluster->sim, op->fate != OP_ACKNOWLEDGED || op->position != 0,
                   "command %zu was acknowledged and is lost", i);
    }
}

void cluster_describe(const struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        struct seam_view view;
        struct node_status status;

        if (!view_of(cluster, i, &view)) {
            sim_trace(cluster->sim, "node %u is dead", i);
            continue;
        }
        agreement_status(cluster->nodes[i].agreement, sim_now_ms(cluster->sim), &status);
        sim_trace(cluster->sim,
                  "node %u: owes %u, %" PRIu64 " commands; state %d, term %" PRIu64
                  ", leader %016" PRIx64 ", last %" PRIu64 ", stored %" PRIu64
                  ", committed %" PRIu64 ", oldest write %" PRIu64
                  " ms, needs state %d, disk term %llu, %zu entries from %" PRIu64,
                  i, cluster->nodes[i].n_out, status.pending_commands, (int)view.state, view.term,
                  view.leader_id, view.last_index, view.stored_index, view.commit_index,
                  view.oldest_append_ms, view.needs_state, cluster->nodes[i].disk.term,
                  cluster->nodes[i].disk.n_entries, cluster->nodes[i].disk.start);
    }
}
