/* What waits on a node stays bounded: looked at after each of its turns.
 *
 * The nodes get small maxima, so that a burst of commands, a follower that cannot be reached and an
 * apply thread that stands still reach them. */
#include <inttypes.h>

#include "daemon/base/check.h"
#include "raft/agreement_private.h"
#include "raft/seam_private.h"
#include "storage/store.h"
#include "tests/sim/cluster_private.h"

/* What libraft sends at once (at most 8 entries are in flight), over what its receiver may have. */
#define MESSAGE_BYTES (9 * (uint64_t)LIMIT_ENTRY_BYTES)
/* Messages of one turn that are not sent. */
#define MAX_UNSENT 256u
/* What one node has at the leader, or wants itself as one. */
#define MAX_BUNDLES (SIM_PENDING_COMMANDS + 2)

static uint64_t length_of(const struct queue *queue)
{
    uint64_t n = 0;

    for (struct link *link = queue_first(queue); link != NULL; link = queue_next(queue, link)) {
        n++;
    }
    return n;
}

/* Commands of this node, and as the leader those of others. */
static void check_commands(const struct node *node)
{
    const struct agreement *agreement = node->agreement;
    const struct batch *batch = &agreement->batch;
    const struct proposer *proposer = &agreement->proposer;
    struct sim *sim = node->cluster->sim;

    SIM_EXPECT(sim, batch->n_waiting + batch->n_sent <= SIM_PENDING_COMMANDS,
               "%" PRIu64 " commands wait on node %u", batch->n_waiting + batch->n_sent,
               node->number);
    SIM_EXPECT(sim, batch->bytes <= SIM_PENDING_BYTES,
               "commands of %" PRIu64 " bytes wait on node %u", batch->bytes, node->number);
    SIM_EXPECT(sim, batch->n_bundles <= MAX_BUNDLES, "%u bundles of node %u are open",
               batch->n_bundles, node->number);
    SIM_EXPECT(sim, proposer->bytes <= SIM_PENDING_BYTES,
               "bundles of %zu bytes wait to be proposed by node %u", proposer->bytes,
               node->number);
    SIM_EXPECT(sim, proposer->n_in_flight <= LIMIT_ENTRIES_IN_FLIGHT, "%u entries are in flight",
               proposer->n_in_flight);
    SIM_EXPECT(sim, agreement->reads.n_waiting <= LIMIT_PENDING_READS, "%u reads wait on node %u",
               (unsigned)agreement->reads.n_waiting, node->number);
}

static void check_messages(const struct node *node)
{
    const struct seam *seam = node->seam;
    struct sim *sim = node->cluster->sim;
    uint64_t n_unsent = length_of(&seam->unsent);

    SIM_EXPECT(sim, n_unsent <= MAX_UNSENT, "node %u keeps %" PRIu64 " messages that are not sent",
               node->number, n_unsent);
    for (unsigned i = 0; i < LIMIT_MEMBERS; i++) {
        SIM_EXPECT(sim, seam->peers[i].queued_bytes <= SIM_PEER_QUEUE_BYTES + MESSAGE_BYTES,
                   "%zu bytes are queued from node %u to %016" PRIx64, seam->peers[i].queued_bytes,
                   node->number, seam->peers[i].id);
    }
}

/* Those are few and small, and wait for nothing. */
static bool is_configuration(const struct seam *seam, uint64_t index)
{
    return index == seam->raft.configuration_uncommitted_index ||
           index == seam->raft.configuration_committed_index;
}

/* The leader's pointer to a state that the node has received and starts with: what waits is from
 * before it. */
static bool is_pointer(const struct seam *seam, uint64_t index)
{
    return seam->put != NULL && seam->put->trailing == 0 && seam->put->snapshot->index == index;
}

/* A node that is behind with executing takes no more entries, be it as the leader. What a start
 * finds in the log, and what came since, waits all at once when it is known to be committed. */
static void check_executor(struct node *node)
{
    const struct executor *executor = &node->executor;
    uint64_t limit = node->start_bytes + 4 * node->cluster->options.snapshot_threshold_bytes +
                     SIM_APPLY_BYTES + MESSAGE_BYTES;
    struct seam_view view;

    SIM_EXPECT(node->cluster->sim, executor->queued_bytes <= limit,
               "%zu bytes wait for the executor of node %u", executor->queued_bytes, node->number);
    seam_view(node->seam, &view);
    if (executor->queued_bytes <= SIM_APPLY_BYTES || view.needs_state) {
        node->full_term = 0;
        return;
    }
    SIM_EXPECT(node->cluster->sim,
               view.last_index <= node->full_index || view.term != node->full_term ||
                   view.last_index == view.barrier_index || /* A new leader's own. */
                   is_configuration(node->seam, view.last_index) ||
                   is_pointer(node->seam, view.last_index),
               "node %u takes more, though %zu bytes wait for its executor", node->number,
               executor->queued_bytes);
    node->full_term = view.term;
    node->full_index = view.last_index;
}

static void check_memory(const struct node *node)
{
    struct store_unflushed unflushed;

    if (node->executor.store == NULL) {
        return;
    }
    store_unflushed(node->executor.store, &unflushed);
    SIM_EXPECT(node->cluster->sim, !unflushed.is_flushing,
               "node %u keeps in memory what it has flushed", node->number);
    SIM_EXPECT(node->cluster->sim, unflushed.bytes <= EXECUTOR_FLUSH_BYTES + MESSAGE_BYTES,
               "%zu bytes of node %u are not flushed", unflushed.bytes, node->number);
}

void bounds_check(struct node *node)
{
    check_commands(node);
    check_messages(node);
    check_executor(node);
    check_memory(node);
}
