/* What comes from the others' libraft, before this one's sees it: what would confuse it is dropped
 * or trimmed. It comes again, as the network may lose messages anyway. */
#include "raft/seam_private.h"

#include "daemon/base/mutation.h"

static void release_entries(struct raft_append_entries *append)
{
    if (append->n_entries > 0) {
        raft_free(append->entries[0].batch);
        raft_free(append->entries);
    }
    append->entries = NULL;
    append->n_entries = 0;
}

static void release_message(struct raft_message *message)
{
    if (message->type == RAFT_APPEND_ENTRIES) {
        release_entries(&message->append_entries);
    } else if (message->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&message->install_snapshot.conf);
        raft_free(message->install_snapshot.data.base);
    }
}

/* Is there more here than this node will hold before it has executed or dropped some? What is not
 * taken now the leader sends again. */
static bool is_full(const struct seam *seam)
{
    return !MUTATION(follower_never_full) &&
           (seam->backlog > seam->options.apply_bytes ||
            seam->unsnapshotted_bytes >
                4 * seam->options.snapshot_threshold_bytes + seam->options.apply_bytes);
}

/* A node that began with a state from elsewhere is sent the log that led to it as well. It needs
 * that only to give it to others one day: it is not to keep the disks busy with it. */
static bool is_hasty(struct seam *seam, const struct raft_append_entries *append)
{
    size_t bytes = 0;

    if (append->n_entries == 0 ||
        append->prev_log_index + append->n_entries > seam->options.state_applied_index) {
        return false;
    }
    if (!pace_allows(&seam->replay, seam->io->time(seam->io))) {
        return true;
    }
    for (unsigned i = 0; i < append->n_entries; i++) {
        bytes += append->entries[i].buf.len;
    }
    pace_spend(&seam->replay, bytes);
    return false;
}

/* Make an AppendEntries harmless where libraft would be confused by it. */
static void trim(struct seam *seam, struct raft_append_entries *append)
{
    uint64_t last;

    /* Several entries with a change of the configuration among them make libraft note the change
     * at a wrong index: let it come first in a message of its own. */
    for (unsigned i = 1; i < append->n_entries; i++) {
        if (append->entries[i].type == RAFT_CHANGE) {
            append->n_entries = i;
            break;
        }
    }
    if (seam->needs_state || is_full(seam) || is_hasty(seam, append)) {
        release_entries(append);
    }
    /* Beyond the last entry, libraft would take the last entry's index as committed, even if that
     * is less than what it knew before. */
    last = append->prev_log_index + append->n_entries;
    if (append->leader_commit > last && !MUTATION(rule9_commit_goes_back)) {
        append->leader_commit = last;
    }
}

/* A new node need not execute all that the leader still has in its log: the state itself comes from
 * a member that has less to do, at a rate that is limited. */
static void prefer_state(struct seam *seam)
{
    if (!seam->needs_state && seam->next_index == 1 && seam->options.state_applied_index == 0 &&
        seam->heard_commit_index > seam->options.replay_entries) {
        seam_want_state(seam, seam->heard_commit_index);
    }
}

/* Remember that there is a leader, and what it says is committed. */
static void hear(struct seam *seam, const struct raft_message *message)
{
    raft_term term;

    if (message->type == RAFT_APPEND_ENTRIES) {
        term = message->append_entries.term;
    } else if (message->type == RAFT_INSTALL_SNAPSHOT) {
        term = message->install_snapshot.term;
    } else {
        return;
    }
    if (term < seam->raft.current_term) {
        return;
    }
    seam->heard_ms = seam->io->time(seam->io);
    if (seam->heard_commit_index == 0 && message->type == RAFT_APPEND_ENTRIES) {
        seam->heard_commit_index = message->append_entries.leader_commit;
        prefer_state(seam);
    }
}

/* A refusal of what this follower is known to have stored was overtaken by better news, as can be
 * when a connection is replaced. libraft would go back behind what it knows, and stay there: the
 * follower's answers bring nothing new, so it is never sent another entry. */
static bool is_stale(struct seam *seam, const struct raft_message *message)
{
    uint64_t rejected = message->append_entries_result.rejected;

    return message->type == RAFT_APPEND_ENTRIES_RESULT && rejected != 0 &&
           seam_match_index(seam, message->server_id) >= rejected;
}

/* A leader of an earlier term is told by libraft that its state, or entries from the first on, were
 * stored, as far as what lies on the stack says. If it leads again by then, in the term of the
 * answer, it counts that. */
static bool is_accepted_by_mistake(const struct seam *seam, const struct raft_message *message)
{
    if (message->type == RAFT_INSTALL_SNAPSHOT) {
        return message->install_snapshot.term < seam->raft.current_term;
    }
    return message->type == RAFT_APPEND_ENTRIES && message->append_entries.prev_log_index == 0 &&
           message->append_entries.term < seam->raft.current_term;
}

/* Entries from before those that libraft still knows: behind the pointer to a state, or cut off.
 * They come from a leader whose log reaches further back, or late. libraft takes them for new, puts
 * them at the end of its log, and reads as many behind the message as it already had. All of them
 * are committed and here. */
static bool is_forgotten(const struct seam *seam, const struct raft_append_entries *append)
{
    uint64_t first = append->prev_log_index + 1;

    return append->n_entries > 0 && first <= raft_last_index((struct raft *)&seam->raft) &&
           seam_term_of(seam, first) == 0;
}

static bool may_receive(const struct seam *seam, const struct raft_message *message)
{
    if (is_accepted_by_mistake(seam, message)) {
        return false;
    }
    switch (message->type) {
    case RAFT_INSTALL_SNAPSHOT:
        /* libraft crashes on one that comes while it takes a snapshot, and leaks a second. */
        return MUTATION(rule8_install_while_taking) ||
               (!seam->needs_state && !seam->raft.legacy.snapshot_taking &&
                !seam->raft.snapshot.installing);
    case RAFT_APPEND_ENTRIES:
        return !is_forgotten(seam, &message->append_entries);
    case RAFT_REQUEST_VOTE:
        return true;
    case RAFT_REQUEST_VOTE_RESULT:
        /* On a node that is no candidate (any more) libraft looks up whether it asks for pre-votes
         * where it keeps the leader's address by then. By chance it takes over the term that a
         * late answer to a pre-vote only supposes, and a leader that was well falls. */
        return !seam->needs_state && seam->raft.state == RAFT_CANDIDATE;
    default:
        return !seam->needs_state;
    }
}

bool seam_may_receive(struct seam *seam, struct raft_message *message)
{
    if (seam->failed || !may_receive(seam, message) || is_stale(seam, message)) {
        release_message(message);
        return false;
    }
    hear(seam, message);
    if (message->type == RAFT_APPEND_ENTRIES) {
        trim(seam, &message->append_entries);
    }
    return true;
}
