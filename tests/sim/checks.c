/* What must hold of everything that the nodes of one cluster execute. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/command.h"
#include "storage/entry.h"
#include "tests/sim/cluster_private.h"

/* The cluster's time follows the median of the voters' clocks slowly. */
#define TIME_AHEAD_MS 1000u
/* What is committed is executed by then, when all is well. */
#define EXECUTED_MS 200u

struct slot *checks_slot(struct cluster *cluster, uint64_t index)
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

bool checks_entry(struct node *node, uint64_t index, uint64_t hash)
{
    struct slot *slot = checks_slot(node->cluster, index);

    SIM_EXPECT(node->cluster->sim, slot->entry_hash == 0 || slot->entry_hash == hash,
               "node %u executes something else than others at index %" PRIu64, node->number,
               index);
    if (slot->entry_hash != 0) {
        return false;
    }
    slot->entry_hash = hash;
    return true;
}

void checks_time(struct node *node, uint64_t index, uint64_t time_ms)
{
    struct cluster *cluster = node->cluster;
    uint64_t true_ms = WALL_EPOCH_MS + sim_now_ms(cluster->sim);

    SIM_EXPECT(cluster->sim, time_ms >= cluster->last_time_ms, "time goes back at index %" PRIu64,
               index);
    SIM_EXPECT(cluster->sim, time_ms <= true_ms + TIME_AHEAD_MS,
               "the cluster's time is %" PRIu64 " ms ahead at index %" PRIu64, time_ms - true_ms,
               index);
    cluster->last_time_ms = time_ms;
    cluster->model.time_ms = time_ms;
}

/* One try of a request goes through the log once, and in the order that its client saw. */
static void check_op(struct cluster *cluster, struct op *op, uint64_t index)
{
    uint64_t position = ++cluster->next_position;

    SIM_EXPECT(cluster->sim, op->position == 0,
               "command %" PRIu64 " is executed twice, at indexes %" PRIu64 " and %" PRIu64,
               op->number, op->index, index);
    SIM_EXPECT(cluster->sim, op->fate != OP_REFUSED,
               "command %" PRIu64 " is executed, but its client was told that it never will be",
               op->number);
    SIM_EXPECT(cluster->sim, position > op->after_position,
               "command %" PRIu64 " comes before one that was acknowledged earlier", op->number);
    op->position = position;
    op->index = index;
}

void checks_command(struct cluster *cluster, uint64_t index, struct slice bytes,
                    struct slice result)
{
    struct command command;
    struct op *op;
    uint64_t number;

    CHECK(command_decode(bytes, &command, NULL) == STATUS_OK);
    number = model_op_number(&command);
    if (command.operations[0].kind >= OPERATION_MEMBER_ADD) {
        churn_command(cluster, index, &command.operations[0]);
    } else if (number == UINT64_MAX) { /* Maintenance. */
        cluster->is_due = false;
        cluster->counts.maintained++;
    } else {
        CHECK(number < cluster->n_ops);
        op = cluster->ops[number];
        check_op(cluster, op, index);
        op->result_hash = model_result_hash(result);
        if (result.size > 0) {
            histories_executed(cluster, op, result);
            model_execute(&cluster->model, cluster->sim, op->request, &command,
                          (cluster->last_flags & ENTRY_FLAG_STORAGE_FULL) != 0, result);
        }
    }
    command_close(&command);
}

void checks_results(struct node *node, uint64_t index, uint64_t hash)
{
    struct slot *slot = checks_slot(node->cluster, index);

    SIM_EXPECT(node->cluster->sim, slot->results_hash == 0 || slot->results_hash == hash,
               "node %u answers otherwise than others at index %" PRIu64, node->number, index);
    slot->results_hash = hash;
}

void checks_state(struct node *node, uint64_t index, const uint64_t hash[2])
{
    struct slot *slot = checks_slot(node->cluster, index);
    bool is_known = slot->state_hash[0] != 0 || slot->state_hash[1] != 0;

    node->cluster->counts.compared += is_known ? 1 : 0;
    SIM_EXPECT(node->cluster->sim,
               !is_known || (slot->state_hash[0] == hash[0] && slot->state_hash[1] == hash[1]),
               "node %u has another state than others at index %" PRIu64, node->number, index);
    memcpy(slot->state_hash, hash, sizeof slot->state_hash);
}

/* Whoever led a term: nobody else ever does. */
static void check_single_leader(struct node *node, uint64_t term)
{
    struct cluster *cluster = node->cluster;

    if (term >= cluster->n_terms) {
        size_t n = (size_t)term * 2 + 64;

        cluster->leaders = memory_resize(cluster->leaders, n * sizeof *cluster->leaders);
        memset(cluster->leaders + cluster->n_terms, 0,
               (n - cluster->n_terms) * sizeof *cluster->leaders);
        cluster->n_terms = n;
    }
    if (cluster->leaders[term] == 0) {
        cluster->leaders[term] = node->id;
        cluster->counts.elections++;
        sim_trace(cluster->sim, "node %u leads term %" PRIu64, node->number, term);
    }
    SIM_EXPECT(cluster->sim, cluster->leaders[term] == node->id, "two nodes lead term %" PRIu64,
               term);
}

void checks_view(struct node *node, const struct seam_view *view)
{
    struct cluster *cluster = node->cluster;

    SIM_EXPECT(cluster->sim, view->commit_index >= node->commit_index,
               "node %u: committed goes back from %" PRIu64 " to %" PRIu64, node->number,
               node->commit_index, view->commit_index);
    node->commit_index = view->commit_index;
    node->led_term = view->state == SEAM_LEADER ? view->term : 0;
    if (view->state != SEAM_LEADER) {
        return;
    }
    node->led_index =
        view->own_index > view->configuration_index ? view->own_index : view->configuration_index;
    SIM_EXPECT(cluster->sim, !view->needs_state, "node %u leads without its state", node->number);
    check_single_leader(node, view->term);
}

/* What another leader's entries replace was never committed, and a state that was told of it as
 * stored would take the shorter log for a lost one. */
void checks_cut(void *data, uint64_t index)
{
    struct node *node = data;

    node->cluster->counts.cuts++;
    SIM_EXPECT(node->cluster->sim, index > node->commit_index,
               "node %u cuts its log off at %" PRIu64 ", but %" PRIu64 " is committed",
               node->number, index, node->commit_index);
    SIM_EXPECT(node->cluster->sim, index > node->executor.now.stored,
               "node %u cuts its log off at %" PRIu64 ", but its state was told that %" PRIu64
               " is stored for good",
               node->number, index, node->executor.now.stored);
}

/* Whose machine was wiped since may have had it. */
static bool has_stored(struct cluster *cluster, uint64_t id, uint64_t index)
{
    const struct node *node = node_of(cluster, id);

    return node == NULL || node->is_lost || node->disk.start + node->disk.n_entries > index;
}

/* A leader changes the voters only when each of the new ones has the last configuration, and
 * something of the leader's term; if an operator insists, when a majority of them has. Else those
 * who elect the next leader may not be those who decide what it needs (rule 10 of libraft's use).
 */
void checks_configuration(struct node *node, const struct raft_configuration *configuration)
{
    struct cluster *cluster = node->cluster;
    unsigned n_voters = 0;
    unsigned n_stored = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role == RAFT_VOTER) {
            n_voters++;
            n_stored += has_stored(cluster, server->id, node->led_index) ? 1 : 0;
        }
    }
    cluster->counts.configurations++;
    SIM_EXPECT(cluster->sim,
               n_stored > n_voters / 2 && (n_stored == n_voters || churn_is_forced(cluster)),
               "node %u changes the voters, but %u of %u lack index %" PRIu64, node->number,
               n_voters - n_stored, n_voters, node->led_index);
}

/* --- At the end --- */

/* The log is cut behind snapshots: twice the threshold stays, or 16 entries, and what came since:
 * five thresholds at most, if a node got state meanwhile. */
static void check_log_size(const struct node *node)
{
    uint64_t limit =
        7 * node->cluster->options.snapshot_threshold_bytes + 16 * (uint64_t)LIMIT_ENTRY_BYTES;
    uint64_t bytes = sim_disk_bytes(&node->disk);

    SIM_EXPECT(node->cluster->sim, bytes <= limit, "node %u keeps a log of %" PRIu64 " bytes",
               node->number, bytes);
}

void cluster_check_converged(struct cluster *cluster, uint64_t index)
{
    uint64_t committed[MAX_NODES] = {0};
    struct seam_view view;

    churn_check_level(cluster);
    for (unsigned i = 0; i < MAX_NODES; i++) {
        if (cluster->nodes[i].is_alive) {
            seam_view(cluster->nodes[i].seam, &view);
            committed[i] = view.commit_index;
        }
    }
    cluster_run(cluster, EXECUTED_MS); /* Something may have been committed just now. */
    for (unsigned i = 0; i < MAX_NODES; i++) {
        const struct node *node = &cluster->nodes[i];

        if (!node->is_alive || cluster_needs_state(cluster, i) ||
            !churn_gets_entries(cluster, node)) {
            continue;
        }
        SIM_EXPECT(cluster->sim,
                   node->executor.now.applied >= index || !cluster_is_voter(cluster, i),
                   "node %u has executed up to %" PRIu64 " of %" PRIu64, i,
                   node->executor.now.applied, index);
        SIM_EXPECT(cluster->sim, node->executor.now.applied >= committed[i],
                   "the state of node %u was told of %" PRIu64 " of %" PRIu64 " entries", i,
                   node->executor.now.applied, committed[i]);
        SIM_EXPECT(cluster->sim, node->n_out == 0, "node %u owes %u answers", i, node->n_out);
        check_log_size(node);
    }
    for (size_t i = 0; i < cluster->n_ops; i++) {
        const struct op *op = cluster->ops[i];

        SIM_EXPECT(cluster->sim, op->fate != OP_ACKNOWLEDGED || op->position != 0,
                   "command %zu was acknowledged and is lost", i);
    }
}

void checks_close(struct cluster *cluster)
{
    free(cluster->slots);
    free(cluster->leaders);
}
