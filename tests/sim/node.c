/* The life of a simulated node: the real seam and agreement, driven by events. */
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/sim/cluster_private.h"

#define TICK_MS    10u
#define FREE_FLOOR (1ull << 28)

struct node *node_of(struct cluster *cluster, uint64_t id)
{
    CHECK(id != 0);
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].id == id) {
            return &cluster->nodes[i];
        }
    }
    return NULL;
}

/* The end of a turn of the node's loop. */
void node_turn(struct node *node)
{
    struct seam_view view;

    if (!node->is_alive || node->in_turn ||
        node->owner.paused_ms > sim_now_ms(node->cluster->sim)) {
        return;
    }
    node->in_turn = true;
    agreement_flush(node->agreement, sim_now_ms(node->cluster->sim));
    seam_view(node->seam, &view);
    checks_view(node, &view);
    bounds_check(node);
    node->in_turn = false;
}

static void on_turn(void *data)
{
    node_turn(data);
}

static void start_timer(struct node *node, unsigned least_ms, unsigned most_ms, sim_event_cb cb)
{
    struct node **event = memory_new(sizeof(struct node *));

    *event = node;
    sim_at(node->cluster->sim,
           sim_now_ms(node->cluster->sim) + sim_between(node->cluster->sim, least_ms, most_ms),
           &node->owner, cb, event);
}

/* --- State transfer --- */

/* The process starts itself again, with what it received. */
static void on_received(void *data)
{
    struct node *node = *(struct node **)data;

    cluster_crash(node->cluster, node->number);
    cluster_restart(node->cluster, node->number);
}

/* As much as the donor had when it was asked has come by now, if it lives and is reached. */
static void on_sent(void *data)
{
    struct node *node = *(struct node **)data;
    struct cluster *cluster = node->cluster;
    uint64_t ids[LIMIT_MEMBERS];
    unsigned n_ids = agreement_donors(node->agreement, ids);
    uint64_t index = agreement_needed_index(node->agreement);

    node->is_receiving = false;
    if (index != 0 && n_ids > 0 &&
        executor_receive(node, node_of(cluster, ids[sim_between(cluster->sim, 0, n_ids - 1)]),
                         index)) {
        cluster->counts.transfers++;
        start_timer(node, 0, 50, on_received);
        node->is_receiving = true;
    }
}

static void want_state(struct node *node)
{
    if (agreement_needed_index(node->agreement) != 0 && !node->is_receiving &&
        !node->cluster->options.has_no_transfer) {
        node->is_receiving = true;
        start_timer(node, 20, 2000, on_sent);
    }
}

/* --- The loop --- */

static void on_tick(void *data)
{
    struct node *node = *(struct node **)data;
    struct sim *sim = node->cluster->sim;
    struct node **next = memory_new(sizeof(struct node *));
    uint64_t now_ms = sim_now_ms(sim);

    *next = node;
    sim_at(sim, now_ms + TICK_MS, &node->owner, on_tick, next);
    churn_tick(node);
    agreement_tick(node->agreement, now_ms, WALL_EPOCH_MS + now_ms + (uint64_t)node->wall_offset_ms,
                   node->free_disk_bytes);
    want_state(node);
    node_turn(node);
}

/* What a supervisor does with a process that ended by itself. */
static void on_supervised(void *data)
{
    struct node *node = *(struct node **)data;

    cluster_crash(node->cluster, node->number);
    cluster_restart(node->cluster, node->number);
}

static void on_retired(void *data)
{
    churn_retire(*(struct node **)data);
}

static void on_exit_wanted(void *data, enum node_exit why, const struct error *error)
{
    struct node *node = data;

    struct node **event = memory_new(sizeof(struct node *));

    sim_trace(node->cluster->sim, "node %u wants to end: %s", node->number, error->text);
    *event = node;
    sim_at(node->cluster->sim, sim_now_ms(node->cluster->sim), &node->owner,
           why == NODE_EXIT_REMOVED ? on_retired : on_supervised, event);
    SIM_EXPECT(node->cluster->sim,
               why == NODE_EXIT_RESTART ||
                   (why == NODE_EXIT_REMOVED && node->cluster->churn != NULL),
               "node %u ends: %s", node->number, error->text);
}

static void open_agreement(struct node *node)
{
    struct agreement_options options = {
        .self = node->id,
        .boot = sim_random(node->cluster->sim) | 1,
        .cluster_id = CLUSTER_ID,
        .feature_level = node->feature_level,
        .free_disk_floor_bytes = FREE_FLOOR,
        .election_timeout_ms = SIM_ELECTION_MS,
        .pending_commands = SIM_PENDING_COMMANDS,
        .pending_bytes = SIM_PENDING_BYTES,
        .unexecuted_bytes = SIM_APPLY_BYTES,
        .state_applied_index = node->executor.now.applied,
        .state_time_ms = node->executor.now.time_ms,
        .state_hash = node->executor.machine == NULL ? NULL : node->executor.now.hash,
        .data = node,
        .send = network_frame_send,
        .execute = executor_push,
        .answer = clients_answer,
        .answer_read = clients_answer_read,
        .executor_queued_bytes = executor_queued_bytes,
        .executor_next_due_ms = executor_next_due_ms,
        .exit = on_exit_wanted,
        .answer_change = churn_answer,
        .dial = churn_dial,
    };

    CHECK(agreement_open(&options, node->seam, sim_now_ms(node->cluster->sim), &node->agreement,
                         NULL) == STATUS_OK);
}

static void bootstrap(struct node *node)
{
    struct seam_configuration configuration = {.n_members = 0};

    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (node->cluster->nodes[i].id != 0 && !node->cluster->nodes[i].is_absent) {
            configuration.members[configuration.n_members++] =
                (struct seam_member){.id = node->cluster->nodes[i].id, .role = NODE_ROLE_VOTER};
        }
    }
    CHECK(seam_bootstrap(node->seam, &configuration, NULL) == STATUS_OK);
}

/* A disk that lost what was synced: the node must notice. */
static void check_refusal(struct node *node, enum status status)
{
    SIM_EXPECT(node->cluster->sim, status == STATUS_MISMATCH,
               "node %u starts with a log that lost entries", node->number);
}

static void on_configuration(void *data, const struct raft_configuration *configuration)
{
    struct node *node = data;
    struct seam_view view;

    if (node->led_term == 0) {
        return;
    }
    seam_view(node->seam, &view);
    if (view.state == SEAM_LEADER && view.term == node->led_term) {
        checks_configuration(node, configuration);
        cluster_changed(node);
    }
}

static void init_io(struct node *node)
{
    node->io = memory_new(sizeof *node->io);
    sim_io_init(node->io, node->cluster->sim, &node->disk, &node->owner);
    node->io->number = node->number;
    node->io->data = node;
    node->io->on_send = network_raft_send;
    node->io->on_turn = on_turn;
    node->io->on_cut = checks_cut;
    node->io->on_configuration = on_configuration;
    node->io->state_index = node->executor.now.applied;
}

static void open_seam(struct node *node)
{
    struct seam_options options = {
        .io = &node->io->io,
        .self = node->id,
        .cluster_id = CLUSTER_ID,
        .election_timeout_ms = SIM_ELECTION_MS,
        .heartbeat_ms = SIM_HEARTBEAT_MS,
        .snapshot_threshold_bytes = node->cluster->options.snapshot_threshold_bytes,
        .peer_queue_bytes = SIM_PEER_QUEUE_BYTES,
        .apply_bytes = SIM_APPLY_BYTES,
        .replay_entries = node->cluster->options.replay_entries,
        .state_applied_index = node->executor.now.applied,
        .state_stored = node->executor.now.stored,
    };

    CHECK(seam_open(&options, &node->seam, NULL) == STATUS_OK);
}

void node_boot(struct node *node, bool is_first)
{
    struct cluster *cluster = node->cluster;
    struct error error = {.text = ""};
    enum status status;

    executor_open(node);
    node->owner.paused_ms = 0;
    node->is_receiving = false;
    node->n_out = 0;
    node->commit_index = 0;
    node->led_term = 0;
    node->full_term = 0;
    node->start_bytes = sim_disk_bytes(&node->disk);
    init_io(node);
    open_seam(node);
    open_agreement(node);
    if (is_first) {
        bootstrap(node);
    }
    status = seam_start(node->seam, &error);
    node->is_alive = true;
    if (node->is_lost) {
        check_refusal(node, status);
    } else {
        SIM_EXPECT(cluster->sim, status == STATUS_OK, "node %u does not start: %s", node->number,
                   error.text);
    }
    if (status != STATUS_OK) {
        node_die(node);
        return;
    }
    start_timer(node, 1, 10, on_tick);
    clients_start(node);
    sim_trace(cluster->sim, "node %u starts at index %" PRIu64, node->number,
              node->executor.now.applied);
}

void node_die(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct node_status status;

    agreement_status(node->agreement, sim_now_ms(cluster->sim), &status);
    node->resubmitted += status.resubmitted_bundles;
    node->snapshots += status.snapshots;
    node->is_alive = false;
    node->owner.epoch++;
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (i != node->number) {
            cluster_break_connection(cluster, node->number, i);
        }
    }
    sim_io_crash(node->io);
    executor_close(node);
    clients_look(node, true);
    agreement_close(node->agreement);
    seam_abandon(node->seam);
    free(node->io);
    node->agreement = NULL;
    node->seam = NULL;
    node->io = NULL;
}
