/* The network of a simulated cluster: raft's messages, which may be lost, late, doubled or out of
 * order, and the control connections, whose frames come in order until the connection breaks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/sim/cluster_private.h"

#define RECONNECT_MS   50u
#define GIVEN_UP_MS    2000u
#define BREAKS_ONCE_IN 1000u  /* Frames. */
#define MAX_FLYING     50000u /* Messages of raft that are under way; a storm has no end. */

struct raft_delivery {
    struct node *from;
    struct node *to;
    uint64_t from_id; /* Others may have their places by then. */
    uint64_t to_id;
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

static bool is_same(const struct raft_delivery *delivery)
{
    return delivery->from->id == delivery->from_id && delivery->to->id == delivery->to_id;
}

static void on_raft_delivery(void *data)
{
    struct raft_delivery *delivery = data;
    struct cluster *cluster = delivery->to->cluster;

    if (put_off(delivery->to, on_raft_delivery, delivery, sizeof *delivery)) {
        return;
    }
    cluster->n_flying--;
    if (!sim_is_closing(cluster->sim) && is_same(delivery) && delivery->to->is_alive &&
        !delivery->from->is_mute && !delivery->to->is_mute &&
        !cluster->cut[delivery->from->number][delivery->to->number]) {
        sim_message_note(delivery->message, cluster->sim, delivery->from->number,
                         delivery->to->number);
        sim_message_deliver(delivery->message, delivery->to->io, delivery->from->id);
        node_turn(delivery->to);
    }
    sim_message_release(delivery->message);
}

/* The end of its log is what a node says when it refuses entries: the leader goes on from there. */
static void check_hint(const struct node *from, const struct raft_message *message)
{
    const struct raft_append_entries_result *result = &message->append_entries_result;
    struct seam_view view;

    if (message->type != RAFT_APPEND_ENTRIES_RESULT || result->rejected == 0) {
        return;
    }
    seam_view(from->seam, &view);
    SIM_EXPECT(from->cluster->sim, result->last_log_index == view.last_index,
               "node %u says that its log ends at %" PRIu64 ", but it ends at %" PRIu64,
               from->number, (uint64_t)result->last_log_index, view.last_index);
}

static void deliver_at(struct node *from, struct node *to, uint64_t at_ms,
                       const struct raft_message *message)
{
    struct raft_delivery *delivery = memory_new(sizeof *delivery);

    *delivery = (struct raft_delivery){from, to, from->id, to->id, sim_message_copy(message)};
    from->cluster->n_flying++;
    SIM_EXPECT(from->cluster->sim, from->cluster->n_flying < MAX_FLYING,
               "%u messages are under way", from->cluster->n_flying);
    sim_at(from->cluster->sim, at_ms, NULL, on_raft_delivery, delivery);
}

/* What a cut holds back, or a process that stands still, stays in the sender's memory until the
 * connection is given up. */
static unsigned held_ms(const struct node *from, const struct node *to)
{
    const struct cluster *cluster = from->cluster;
    bool is_cut = cluster->cut[from->number][to->number] || cluster->cut[to->number][from->number];

    return is_cut || !to->is_alive || to->owner.paused_ms > sim_now_ms(cluster->sim)
               ? sim_between(cluster->sim, 200, GIVEN_UP_MS)
               : 0;
}

unsigned network_raft_send(void *data, const struct raft_message *message)
{
    struct node *from = data;
    struct cluster *cluster = from->cluster;
    struct sim *sim = cluster->sim;
    struct node *to = node_of(cluster, message->server_id);
    uint64_t at_ms = sim_now_ms(sim) + sim_between(sim, 0, 4);
    uint64_t *last;

    check_hint(from, message);
    if (to == NULL) { /* It is gone. */
        return 0;
    }
    last = &cluster->link_ms[from->number][to->number];
    if (sim_between(sim, 1, 100) <= cluster->loss_percent) {
        return 0;
    }
    if (sim_once_in(sim, 300)) {
        at_ms += sim_between(sim, 20, 200);
    }
    if (!cluster->options.is_disorderly) { /* As on a connection. */
        *last = at_ms > *last ? at_ms : *last;
        deliver_at(from, to, *last, message);
        return held_ms(from, to);
    }
    deliver_at(from, to, at_ms, message);
    if (sim_once_in(sim, 50)) {
        deliver_at(from, to, at_ms + sim_between(sim, 0, 500), message);
    }
    return held_ms(from, to);
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
        sim_note(cluster->sim, "frame", delivery->from->number, delivery->to->number);
        CHECK(frame_decode(buffer_slice(&delivery->bytes), &frame, NULL) == STATUS_OK);
        agreement_frame(delivery->to->agreement, delivery->from->id, &frame,
                        sim_now_ms(cluster->sim));
        node_turn(delivery->to);
    }
    buffer_close(&delivery->bytes);
}

struct breaking {
    struct cluster *cluster;
    unsigned a;
    unsigned b;
    uint64_t epoch;
};

static void on_breaking(void *data)
{
    const struct breaking *breaking = data;

    if (!sim_is_closing(breaking->cluster->sim) &&
        connection_of(breaking->cluster, breaking->a, breaking->b)->epoch == breaking->epoch) {
        cluster_break_connection(breaking->cluster, breaking->a, breaking->b);
    }
}

/* A connection breaks where something is to be sent; that it did is told in a later turn. */
static void break_soon(struct node *from, const struct node *to)
{
    struct breaking *breaking = memory_new(sizeof *breaking);

    *breaking = (struct breaking){from->cluster, from->number, to->number,
                                  connection_of(from->cluster, from->number, to->number)->epoch};
    sim_at(from->cluster->sim, sim_now_ms(from->cluster->sim) + 1, NULL, on_breaking, breaking);
}

bool network_frame_send(void *data, uint64_t peer, const struct frame *frame)
{
    struct node *from = data;
    struct cluster *cluster = from->cluster;
    struct sim *sim = cluster->sim;
    struct node *to = node_of(cluster, peer);
    struct connection *connection;
    struct frame_delivery *delivery;
    uint64_t at_ms = sim_now_ms(sim) + sim_between(sim, 0, 4);

    if (to == NULL) {
        return false;
    }
    connection = connection_of(cluster, from->number, to->number);
    if (!connection->is_up) {
        return false;
    }
    if (cluster->options.breaks && sim_once_in(sim, BREAKS_ONCE_IN)) {
        break_soon(from, to);
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

void cluster_break_all_connections(struct cluster *cluster)
{
    cluster->is_unconnected = true;
    for (unsigned a = 0; a < MAX_NODES; a++) {
        for (unsigned b = a + 1; b < MAX_NODES; b++) {
            cluster_break_connection(cluster, a, b);
        }
    }
}

static void reconnect(struct cluster *cluster, unsigned a, unsigned b)
{
    struct connection *connection = connection_of(cluster, a, b);
    uint64_t now_ms = sim_now_ms(cluster->sim);

    if (cluster->is_unconnected || connection->is_up || !cluster->nodes[a].is_alive ||
        !cluster->nodes[b].is_alive || cluster->cut[a][b] || cluster->cut[b][a]) {
        return;
    }
    connection->is_up = true;
    connection->epoch++;
    agreement_peer_up(cluster->nodes[a].agreement, cluster->nodes[b].id, now_ms);
    agreement_peer_up(cluster->nodes[b].agreement, cluster->nodes[a].id, now_ms);
    node_turn(&cluster->nodes[a]);
    node_turn(&cluster->nodes[b]);
}

static void on_reconnect(void *data)
{
    struct cluster *cluster = *(struct cluster **)data;
    struct cluster **next;

    if (sim_is_closing(cluster->sim)) {
        return;
    }
    for (unsigned a = 0; a < MAX_NODES; a++) {
        for (unsigned b = a + 1; b < MAX_NODES; b++) {
            reconnect(cluster, a, b);
        }
    }
    next = memory_new(sizeof(struct cluster *));
    *next = cluster;
    sim_at(cluster->sim, sim_now_ms(cluster->sim) + RECONNECT_MS, NULL, on_reconnect, next);
}

void network_start(struct cluster *cluster)
{
    struct cluster **event = memory_new(sizeof(struct cluster *));

    *event = cluster;
    sim_at(cluster->sim, sim_now_ms(cluster->sim) + 1, NULL, on_reconnect, event);
}

void network_drop_cut(struct cluster *cluster)
{
    for (unsigned a = 0; a < MAX_NODES; a++) {
        for (unsigned b = a + 1; b < MAX_NODES; b++) {
            if (cluster->cut[a][b] || cluster->cut[b][a]) {
                cluster_break_connection(cluster, a, b);
            }
        }
    }
}
