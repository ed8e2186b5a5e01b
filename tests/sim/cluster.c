#include "tests/sim/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/sim/cluster_private.h"

#define FREE_DISK_BYTES (1ull << 40)
/* A configuration is on the disk, and with the others, after a few milliseconds. */
#define SOON_MS 6u

void cluster_crash(struct cluster *cluster, unsigned number)
{
    struct node *node = &cluster->nodes[number];

    if (node->is_alive) {
        sim_trace(cluster->sim, "node %u crashes at index %" PRIu64 " (durable %" PRIu64 ")",
                  number, node->executor.now.applied, node->executor.durable.applied);
        cluster->counts.crashes++;
        node_die(node);
    }
}

void cluster_restart(struct cluster *cluster, unsigned number)
{
    if (cluster->nodes[number].id != 0 && !cluster->nodes[number].is_alive &&
        !cluster->nodes[number].is_lost && !cluster->nodes[number].is_absent) {
        if (cluster->options.has_upgrades && sim_once_in(cluster->sim, 2)) {
            cluster->nodes[number].feature_level = NEXT_LEVEL; /* A later program. */
        }
        node_boot(&cluster->nodes[number], false);
    }
}

bool cluster_is_alive(const struct cluster *cluster, unsigned number)
{
    return cluster->nodes[number].is_alive;
}

static void init_node(struct cluster *cluster, unsigned number)
{
    struct node *node = &cluster->nodes[number];
    struct sim_owner owner = node->owner; /* Its epochs go on: events of a node before are over. */

    *node = (struct node){.cluster = cluster,
                          .number = number,
                          .id = sim_random(cluster->sim) | 1,
                          .owner = owner,
                          .feature_level = FEATURE_LEVEL,
                          .free_disk_bytes = FREE_DISK_BYTES};
    if (cluster->options.has_upgrades) {
        node->feature_level = sim_between(cluster->sim, FEATURE_LEVEL, NEXT_LEVEL);
    }
    queue_init(&node->reads);
    executor_init(node);
    sim_disk_init(&node->disk);
    if (number >= cluster->n_places) {
        cluster->n_places = number + 1;
    }
}

struct cluster *cluster_open(struct sim *sim, const struct cluster_options *options)
{
    struct cluster *cluster = memory_new_zeroed(1, sizeof *cluster);

    CHECK(options->n_nodes > 0 && options->n_nodes <= MAX_NODES);
    cluster->sim = sim;
    cluster->options = *options;
    if (options->n_founders == 0) {
        cluster->options.n_founders = options->n_nodes;
    }
    cluster->loss_percent = options->loss_percent;
    model_open(&cluster->model);
    for (unsigned i = 0; i < options->n_nodes; i++) {
        init_node(cluster, i);
        cluster->founder_ids[i] = cluster->nodes[i].id;
        cluster->nodes[i].is_absent = i >= cluster->options.n_founders;
        cluster->nodes[i].is_accepted = !cluster->nodes[i].is_absent;
    }
    if (options->clock_jumps) {
        cluster->nodes[sim_between(sim, 0, options->n_nodes - 1)].wall_offset_ms =
            sim_once_in(sim, 2) ? 3600000 : -3600000;
    }
    if (options->has_churn) {
        churn_open(cluster);
    }
    for (unsigned i = 0; i < cluster->options.n_founders; i++) {
        node_boot(&cluster->nodes[i], true);
    }
    network_start(cluster);
    return cluster;
}

void cluster_close(struct cluster *cluster)
{
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].is_alive) {
            node_die(&cluster->nodes[i]);
        }
    }
    sim_drain(cluster->sim);
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].id != 0) {
            sim_disk_close(&cluster->nodes[i].disk);
            executor_remove(&cluster->nodes[i]);
        }
    }
    clients_close(cluster);
    checks_close(cluster);
    histories_close(&cluster->histories);
    model_close(&cluster->model);
    churn_close(cluster);
    free(cluster);
}

int cluster_add(struct cluster *cluster)
{
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].id == 0) {
            init_node(cluster, i);
            node_boot(&cluster->nodes[i], false);
            return (int)i;
        }
    }
    return -1;
}

void cluster_remove(struct cluster *cluster, unsigned number)
{
    struct node *node = &cluster->nodes[number];

    CHECK(node->id != 0);
    sim_trace(cluster->sim, "node %u is removed", number);
    if (node->is_alive) {
        node_die(node);
    }
    cluster->counts.resubmitted += node->resubmitted;
    cluster->counts.snapshots += node->snapshots;
    sim_disk_close(&node->disk);
    executor_remove(node);
    node->id = 0;
    for (unsigned i = 0; i < MAX_NODES; i++) { /* Another one's cables are new. */
        cluster->cut[i][number] = false;
        cluster->cut[number][i] = false;
    }
}

void cluster_check_histories(struct cluster *cluster)
{
    histories_check(cluster);
}

unsigned cluster_size(const struct cluster *cluster)
{
    return cluster->n_places;
}

bool cluster_has(const struct cluster *cluster, unsigned number)
{
    return cluster->nodes[number].id != 0;
}

bool cluster_has_churn(const struct cluster *cluster)
{
    return cluster->churn != NULL;
}

void cluster_run(struct cluster *cluster, uint64_t ms)
{
    uint64_t until_ms = sim_now_ms(cluster->sim) + ms;

    while (sim_step(cluster->sim, until_ms)) {
    }
}

/* --- Faults --- */

void cluster_cut(struct cluster *cluster, unsigned from, unsigned to, bool cut)
{
    cluster->cut[from][to] = cut;
    network_drop_cut(cluster);
}

void cluster_isolate(struct cluster *cluster, unsigned number)
{
    for (unsigned i = 0; i < MAX_NODES; i++) {
        cluster->cut[i][number] = i != number;
        cluster->cut[number][i] = i != number;
    }
    network_drop_cut(cluster);
}

void cluster_mute(struct cluster *cluster, unsigned number, bool mute)
{
    cluster->nodes[number].is_mute = mute;
}

void cluster_heal(struct cluster *cluster)
{
    for (unsigned i = 0; i < MAX_NODES; i++) {
        cluster->nodes[i].is_mute = false;
    }
    memset(cluster->cut, 0, sizeof cluster->cut);
    cluster->is_unconnected = false;
}

void cluster_slow_disk(struct cluster *cluster, unsigned number, unsigned ms)
{
    if (cluster->nodes[number].is_alive) {
        cluster->nodes[number].io->slow_ms = ms;
    }
}

void cluster_pause(struct cluster *cluster, unsigned number, unsigned ms)
{
    struct sim_owner *owner = &cluster->nodes[number].owner;
    uint64_t now_ms = sim_now_ms(cluster->sim);

    /* A pause is neither made shorter nor longer: what was put off until its end must stay before
     * what comes later, or a disk does things in another order than it was told to. */
    if (owner->paused_ms <= now_ms) {
        sim_trace(cluster->sim, "node %u stands still for %u ms", number, ms);
        owner->paused_ms = now_ms + ms;
    }
}

void cluster_slow_executor(struct cluster *cluster, unsigned number, unsigned ms)
{
    cluster->nodes[number].executor.slow_ms = ms;
}

void cluster_fail_disk(struct cluster *cluster, unsigned number)
{
    if (cluster->nodes[number].is_alive) {
        cluster->nodes[number].io->fail_next = true;
    }
}

bool cluster_lose_log(struct cluster *cluster, unsigned number)
{
    struct node *node = &cluster->nodes[number];
    uint64_t stored = node->executor.durable.stored;

    cluster_crash(cluster, number);
    if (node->id == 0 || stored <= node->disk.start + 1 ||
        stored <= node->disk.snapshot_index + 1) {
        return false;
    }
    /* One that is about to begin with another's state has all of that, and may start (seed 917346).
     */
    if (node->executor.has_received) {
        return false;
    }
    sim_disk_cut(&node->disk, stored - 1);
    sim_trace(cluster->sim, "node %u loses its log from %" PRIu64 " on", number, stored - 1);
    node->is_lost = true;
    node_boot(node, false);
    return true;
}

bool cluster_is_lost(const struct cluster *cluster, unsigned number)
{
    return cluster->nodes[number].is_lost;
}

void cluster_set_loss(struct cluster *cluster, unsigned percent)
{
    cluster->loss_percent = percent;
}

void cluster_jump_clock(struct cluster *cluster, unsigned number, int64_t offset_ms)
{
    cluster->nodes[number].wall_offset_ms = offset_ms;
}

void cluster_leave(struct cluster *cluster, unsigned number)
{
    if (cluster->nodes[number].is_alive) {
        agreement_leave(cluster->nodes[number].agreement, sim_now_ms(cluster->sim));
        node_turn(&cluster->nodes[number]);
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

void cluster_flood(struct cluster *cluster, unsigned n, size_t size)
{
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].is_alive) {
            clients_flood(&cluster->nodes[i], n, size);
        }
    }
}

static void on_crash_at_change(void *data)
{
    struct node *node = *(struct node **)data;
    struct cluster *cluster = node->cluster;

    if (cluster->crashes_at_change && node->is_alive) {
        cluster->crashes_at_change = false;
        cluster->crashed_at_change |= 1u << node->number;
        cluster_crash(cluster, node->number);
    }
}

void cluster_changed(struct node *node)
{
    struct sim *sim = node->cluster->sim;
    struct node **event;

    if (node->cluster->crashes_at_change) {
        node->is_mute = node->is_mute || node->cluster->crashes_mute;
        event = memory_new(sizeof(struct node *));
        *event = node;
        sim_at(sim, sim_now_ms(sim) + sim_between(sim, 0, SOON_MS), NULL, on_crash_at_change,
               event);
    }
}

void cluster_crash_at_change(struct cluster *cluster, bool is_mute)
{
    cluster->crashes_at_change = true;
    cluster->crashes_mute = is_mute;
}

void cluster_end_crash_at_change(struct cluster *cluster)
{
    cluster->crashes_at_change = false;
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if ((cluster->crashed_at_change >> i & 1) != 0) {
            cluster_mute(cluster, i, false);
            cluster_restart(cluster, i);
        }
    }
    cluster->crashed_at_change = 0;
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

    for (unsigned i = 0; i < MAX_NODES; i++) {
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

bool cluster_is_voter(const struct cluster *cluster, unsigned number)
{
    struct seam_configuration configuration = {.n_members = 0};
    int teller = cluster_leader(cluster);

    for (unsigned i = 0; i < MAX_NODES && teller < 0; i++) {
        teller = cluster->nodes[i].is_alive ? (int)i : -1;
    }
    if (teller >= 0) {
        seam_configuration(cluster->nodes[teller].seam, &configuration);
    }
    for (unsigned i = 0; i < configuration.n_members; i++) {
        if (configuration.members[i].id == cluster->nodes[number].id) {
            return configuration.members[i].role == NODE_ROLE_VOTER;
        }
    }
    return false;
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
    return cluster->nodes[number].executor.now.applied;
}

uint64_t cluster_time_ms(const struct cluster *cluster)
{
    return cluster->last_time_ms;
}

uint64_t cluster_highest(const struct cluster *cluster)
{
    return cluster->highest_index;
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
    counts->changes = churn_done(cluster);
    for (unsigned i = 0; i < MAX_NODES; i++) {
        const struct node *node = &cluster->nodes[i];
        struct node_status status = {.snapshots = 0};

        if (node->is_alive) {
            agreement_status(node->agreement, sim_now_ms(cluster->sim), &status);
        }
        counts->resubmitted += node->resubmitted + status.resubmitted_bundles;
        counts->snapshots += node->snapshots + status.snapshots;
    }
}

void cluster_describe(struct cluster *cluster)
{
    churn_describe(cluster);
    for (unsigned i = 0; i < MAX_NODES; i++) {
        struct seam_view view;
        struct node_status status;

        if (!view_of(cluster, i, &view)) {
            if (cluster_has(cluster, i)) {
                sim_trace(cluster->sim, "node %u is dead", i);
            }
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
    for (size_t i = 0; i < cluster->n_ops; i++) {
        const struct op *op = cluster->ops[i];

        if (op->is_out) {
            sim_trace(cluster->sim,
                      "command %zu of request %" PRIu64 ", sent to node %u at %" PRIu64
                      " ms, is not answered; executed at %" PRIu64,
                      i, op->request->number, op->node, op->sent_ms, op->index);
        }
    }
}
