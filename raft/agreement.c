#include "raft/agreement.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"
#include "raft/agreement_private.h"
#include "storage/command.h"
#include "storage/entry.h"

/* Bundles that a follower has at the leader before it lets more commands gather. */
#define BUNDLES_IN_FLIGHT 3u
/* Pause after the leader refused a bundle. */
#define HOLD_MS 5u

/* --- What is executed --- */

static struct applied *new_work(enum applied_kind kind, uint64_t index, uint64_t term)
{
    struct applied *work = memory_new_zeroed(1, sizeof *work);

    work->kind = kind;
    work->index = index;
    work->term = term;
    return work;
}

static void execute(struct agreement *agreement, struct applied *work)
{
    struct seam_view view;

    seam_view(agreement->seam, &view);
    /* What is stored beyond the committed index may still be cut off. */
    work->stored = view.stored_index < work->index || MUTATION(rule4_stored_beyond_commit)
                       ? view.stored_index
                       : work->index;
    agreement->options.execute(agreement->options.data, work);
}

/* Find this node's bundles in an entry, whose clients wait for what its execution gives. */
static struct committed_bundles *find_own(struct agreement *agreement, const struct entry *entry,
                                          uint64_t index)
{
    struct committed_bundles *found = memory_new_zeroed(1, sizeof *found);
    struct slice walk = entry->bundles;
    struct bundle bundle;
    uint32_t i = 0;

    found->n_bundles = entry->n_bundles;
    found->own = memory_new_zeroed(entry->n_bundles, sizeof *found->own);
    while (entry_next_bundle(&walk, &bundle)) {
        if (bundle.origin == agreement->options.self) {
            found->own[i] = batch_take(&agreement->batch, bundle.boot, bundle.sequence);
            if (found->own[i] != NULL && bundle.sequence == agreement->maintain_sequence) {
                agreement->maintain_index = index;
            }
            if (found->own[i] != NULL && bundle.sequence == agreement->changes.sequence) {
                agreement->changes.index = index;
            }
        } else if (agreement->view.state == SEAM_LEADER) {
            seam_await_commit(agreement->seam, bundle.origin, index);
        }
        i++;
    }
    return found;
}

static void on_commit(void *data, uint64_t index, uint64_t term, struct slice bytes)
{
    struct agreement *agreement = data;
    struct applied *work = new_work(APPLIED_ENTRY, index, term);
    struct entry entry = {.n_bundles = 0};

    /* An entry that cannot be read is passed on as it is: whoever executes it says so and stops. */
    if (entry_decode(bytes, &entry, NULL) != STATUS_OK) {
        entry = (struct entry){.n_bundles = 0};
    } else {
        cluster_time_executed(&agreement->time, entry.time_ms, term == seam_term(agreement->seam),
                              agreement->now_ms);
    }
    work->data = find_own(agreement, &entry, index);
    buffer_append_slice(&work->entry, bytes);
    batch_settle(&agreement->batch, term);
    proposer_committed(&agreement->proposer, index);
    execute(agreement, work);
}

static void on_skip(void *data, uint64_t index, uint64_t term)
{
    struct agreement *agreement = data;

    batch_settle(&agreement->batch, term);
    proposer_committed(&agreement->proposer, index);
    execute(agreement, new_work(APPLIED_SKIP, index, term));
}

static void on_need_durable(void *data, uint64_t index)
{
    execute(data, new_work(APPLIED_DURABLE, index, 0));
}

static void on_needs_state(void *data, uint64_t index)
{
    (void)data; /* The view says so from now on. */
    log_info("raft",
             "this node is far behind, and gets the state from another member instead of the "
             "leader's log index=%" PRIu64,
             index);
}

static void on_fatal(void *data, const struct error *error)
{
    agreement_exit(data, error->status == STATUS_IO ? NODE_EXIT_RESTART : NODE_EXIT_DAMAGED, error);
}

void agreement_executed(struct agreement *agreement, struct applied *work, uint64_t now_ms)
{
    struct committed_bundles *bundles = work->data;

    agreement->now_ms = now_ms;
    if (work->kind == APPLIED_DURABLE) {
        seam_durable(agreement->seam, work->index);
    } else if (work->index > agreement->executed_index) {
        agreement->executed_index = work->index;
    }
    agreement->has_foundation = agreement->has_foundation || work->kind == APPLIED_ENTRY;
    if (work->state_index != 0) {
        comparison_executed(&agreement->comparison, work->state_index, work->state_hash);
    }
    for (uint32_t i = 0; bundles != NULL && i < bundles->n_bundles; i++) {
        struct pending_bundle *own = bundles->own[i];

        for (uint32_t j = 0; own != NULL && j < own->n_submissions; j++) {
            if (own->submissions[j] != NULL) { /* The executor gave no result for it. */
                own->submissions[j]->status = MUTATION(unexecuted_called_refused) ? STATUS_CLOSED
                                              : MUTATION(unexecuted_called_executed)
                                                  ? STATUS_OK
                                                  : STATUS_UNCERTAIN;
                agreement->options.answer(agreement->options.data, own->submissions[j]);
            }
        }
        batch_release(own);
    }
    if (bundles != NULL) {
        free(bundles->own);
        free(bundles);
    }
    buffer_close(&work->entry);
    free(work);
}

/* --- Sending commands to the leader --- */

static void dissolve_refused(struct agreement *agreement, struct pending_bundle *bundle,
                             enum refusal refusal)
{
    if (refusal == REFUSAL_INVALID) {
        log_error("raft", "the leader calls commands of this node invalid bundle=%" PRIu64,
                  bundle->sequence);
        bundle = batch_take(&agreement->batch, agreement->options.boot, bundle->sequence);
        for (uint32_t i = 0; i < bundle->n_submissions; i++) {
            bundle->submissions[i]->status = STATUS_BUSY;
            agreement->options.answer(agreement->options.data, bundle->submissions[i]);
        }
        batch_release(bundle);
        return;
    }
    batch_dissolve(&agreement->batch, bundle);
    agreement->hold_ms = agreement->now_ms + HOLD_MS;
}

/* Which connection to the leader there is; 0 if this node leads itself. */
static uint64_t leader_connection(struct agreement *agreement)
{
    return agreement->view.state == SEAM_LEADER
               ? 0
               : agreement_link(agreement, agreement->view.leader_id)->connection;
}

/* Give a bundle to the leader of the current term. False if it did not leave this node. */
static bool send_bundle(struct agreement *agreement, struct pending_bundle *bundle)
{
    struct frame frame = {.type = FRAME_FORWARD};
    enum refusal refusal;

    if (agreement->view.state == SEAM_LEADER) {
        bundle->term = agreement->view.term;
        if (!proposer_accept(&agreement->proposer, agreement->options.self,
                             buffer_slice(&bundle->encoded), &refusal)) {
            dissolve_refused(agreement, bundle, refusal);
            return false;
        }
        return true;
    }
    frame.forward.term = agreement->view.term;
    frame.forward.bundle = buffer_slice(&bundle->encoded);
    if (!agreement->options.send(agreement->options.data, agreement->view.leader_id, &frame)) {
        return false;
    }
    bundle->was_repeated = bundle->term != 0;
    bundle->term = agreement->view.term;
    bundle->connection = leader_connection(agreement);
    agreement->n_forwarded++;
    return true;
}

static bool may_send_more(const struct agreement *agreement)
{
    if (agreement->view.state == SEAM_LEADER) {
        /* What cannot be proposed now gathers into fewer, larger bundles. */
        return proposer_has_room(&agreement->proposer) &&
               agreement->proposer.bytes < LIMIT_ENTRY_BYTES;
    }
    return agreement->batch.n_bundles < BUNDLES_IN_FLIGHT;
}

/* The leader takes bundles in their order only, so what an earlier connection may have lost goes
 * first; it drops what it has. */
static bool must_send(struct agreement *agreement, const struct pending_bundle *bundle)
{
    return bundle->term == 0 ||
           (bundle->term == agreement->view.term && !MUTATION(not_sent_again) &&
            bundle->connection != leader_connection(agreement));
}

static void send_bundles(struct agreement *agreement)
{
    struct batch *batch = &agreement->batch;
    struct pending_bundle *bundle;

    if (!agreement_can_reach_leader(agreement) || agreement->now_ms < agreement->hold_ms ||
        batch_is_unsettled(batch, agreement->view.term)) {
        return;
    }
    for (bundle = batch_find(batch, 0); bundle != NULL; bundle = batch_after(batch, bundle)) {
        if (must_send(agreement, bundle) && !send_bundle(agreement, bundle)) {
            return;
        }
    }
    while (may_send_more(agreement) && (bundle = batch_next(batch)) != NULL) {
        if (!send_bundle(agreement, bundle)) {
            return;
        }
    }
}

static void on_refused(struct agreement *agreement, const struct frame_forward_refused *refused)
{
    struct pending_bundle *bundle;
    bool is_certain;

    if (refused->boot != agreement->options.boot) {
        return;
    }
    bundle = batch_find(&agreement->batch, refused->sequence);
    if (bundle == NULL || bundle->sequence != refused->sequence || bundle->term != refused->term) {
        return;
    }
    /* One that leads the term knows what it took in it. One that does not (any more) only speaks
     * of this copy; another may be in its log. */
    is_certain = refused->refusal == REFUSAL_BUSY || refused->refusal == REFUSAL_INVALID;
    if (is_certain || !bundle->was_repeated || MUTATION(one_copy_refused_is_all)) {
        dissolve_refused(agreement, bundle, refused->refusal);
    }
}

/* --- Leading --- */

static void on_forward(struct agreement *agreement, uint64_t peer,
                       const struct frame_forward *forward)
{
    struct frame frame = {.type = FRAME_FORWARD_REFUSED};
    struct frame_forward_refused *refused = &frame.forward_refused;
    struct bundle bundle;

    agreement_observe(agreement);
    refused->term = forward->term;
    if (agreement->view.state != SEAM_LEADER) {
        refused->refusal = REFUSAL_NOT_LEADER;
    } else if (forward->term != agreement->view.term && !MUTATION(bundle_of_other_term_taken)) {
        refused->refusal = REFUSAL_TERM;
    } else if (proposer_accept(&agreement->proposer, peer, forward->bundle, &refused->refusal)) {
        return;
    }
    if (bundle_decode(forward->bundle, &bundle) != STATUS_OK) {
        if (log_limit_allows(&agreement->refused_log, agreement->now_ms)) {
            log_warn("raft", "a peer sent something that is no bundle peer=%016" PRIx64, peer);
        }
        return;
    }
    refused->boot = bundle.boot;
    refused->sequence = bundle.sequence;
    /* If it is lost, the bundle is sent again and refused again. */
    (void)agreement->options.send(agreement->options.data, peer, &frame);
}

uint64_t agreement_propose_own(struct agreement *agreement, const struct command *command)
{
    struct buffer encoded = BUFFER_EMPTY;
    struct pending_bundle *bundle;
    uint64_t sequence;

    command_encode(command, &encoded);
    bundle = batch_own(&agreement->batch, buffer_slice(&encoded));
    buffer_close(&encoded);
    sequence = bundle->sequence;
    (void)send_bundle(agreement, bundle); /* If it is refused, it is made anew later. */
    return sequence;
}

/* Things are due: have them expired or purged, one bounded step at a time. */
static void maintain(struct agreement *agreement)
{
    struct operation operation = {.kind = OPERATION_MAINTAIN};
    struct command command = {.n_operations = 1, .operations = &operation};
    struct pending_bundle *bundle;

    if (!agreement->proposer.has_begun || agreement->is_closing ||
        agreement->executed_index < agreement->maintain_index ||
        agreement->executed_index < agreement->view.barrier_index ||
        agreement->options.executor_next_due_ms(agreement->options.data) >
            cluster_time_now(&agreement->time, agreement->now_ms)) {
        return;
    }
    bundle = batch_find(&agreement->batch, agreement->maintain_sequence);
    if (agreement->maintain_sequence != 0 && bundle != NULL &&
        bundle->sequence == agreement->maintain_sequence) {
        return; /* Under way. */
    }
    operation.maintain.max_records = LIMIT_MAINTENANCE_RECORDS;
    agreement->maintain_index = 0;
    agreement->maintain_sequence = agreement_propose_own(agreement, &command);
}

static bool propose_one(struct agreement *agreement)
{
    struct proposer *proposer = &agreement->proposer;
    struct buffer entry = BUFFER_EMPTY;
    enum status status;
    uint64_t index;
    unsigned flags = 0;
    unsigned level;

    if (agreement->storage_full) {
        flags |= ENTRY_FLAG_STORAGE_FULL;
    }
    if (!proposer->has_begun) {
        flags |= ENTRY_FLAG_NEW_LEADER;
    }
    level = agreement_feature_level(agreement);
    if (agreement->changes.raised_level > level) {
        level =
            agreement->changes.raised_level; /* With the command that raises it, at the latest. */
    }
    proposer_make(proposer, level, (uint16_t)flags,
                  cluster_time_now(&agreement->time, agreement->now_ms), &entry);
    status = seam_propose(agreement->seam, buffer_slice(&entry), &index);
    buffer_close(&entry);
    if (status != STATUS_OK) {
        return false; /* It stays, for the next turn or, with another leader, for nothing. */
    }
    proposer_proposed(proposer, index, agreement->now_ms);
    return true;
}

/* A new leader proposes something at once, be it nothing: libraft commits a barrier only if there
 * is something to commit, but the fate of what earlier leaders got is open until an entry of this
 * term is committed. */
static void propose(struct agreement *agreement)
{
    struct proposer *proposer = &agreement->proposer;

    agreement->is_gathering = false;
    if (agreement->view.state != SEAM_LEADER || agreement->changes.is_quiet ||
        agreement->view.commit_index < agreement->view.barrier_index ||
        !agreement_knows_time(agreement)) {
        return;
    }
    /* An entry leaves the flight when it is committed, so that the leader's own flushes do not hold
     * up the clients of other nodes. What is committed and not executed yet is bounded here. */
    if (agreement->options.executor_queued_bytes(agreement->options.data) >
            agreement->options.unexecuted_bytes &&
        !MUTATION(leader_never_waits)) {
        return;
    }
    while (proposer_has_room(proposer) && (proposer->bytes > 0 || !proposer->has_begun)) {
        if (proposer_gathers(proposer, agreement->now_ms)) {
            agreement->is_gathering = proposer->n_in_flight == 0; /* A commit comes by itself. */
            return;
        }
        if (!propose_one(agreement)) {
            return;
        }
    }
}

/* --- Reads --- */

/* Who is told that it may read as of an index waits until it has executed that. */
static bool send_read(void *data, uint64_t peer, const struct frame *frame)
{
    struct agreement *agreement = data;

    if (frame->type == FRAME_READ_ANSWER && frame->read.accepted) {
        seam_await_commit(agreement->seam, peer, frame->read.index);
    }
    return agreement->options.send(agreement->options.data, peer, frame);
}

static void answer_read(void *data, struct read_ticket *ticket)
{
    const struct agreement *agreement = data;

    agreement->options.answer_read(agreement->options.data, ticket);
}

static void flush_reads(struct agreement *agreement)
{
    const struct seam_view *seam = &agreement->view;
    struct read_index_view view = {
        .is_leader = seam->state == SEAM_LEADER,
        /* The leader executed the first entry: so the index that it names is behind that. */
        .is_ready = seam->state == SEAM_LEADER && seam->commit_index >= seam->barrier_index &&
                    agreement->has_foundation,
        .term = seam->term,
        .commit_index = seam->commit_index,
        .leader_id = seam->leader_id,
    };

    if (agreement->own_role == NODE_ROLE_VOTER) {
        view.voters[view.n_voters++] = agreement->options.self;
    }
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        if (agreement->peers[i].role == NODE_ROLE_VOTER) {
            view.voters[view.n_voters++] = agreement->peers[i].id;
        }
    }
    read_index_flush(&agreement->reads, &view, agreement->now_ms);
}

static void on_probe(struct agreement *agreement, uint64_t peer, const struct frame_read *read)
{
    struct frame frame = {.type = FRAME_READ_TERM};

    if (agreement->view.needs_state) {
        return; /* It counts for nothing. */
    }
    frame.read.round = read->round;
    frame.read.term = seam_term(agreement->seam);
    /* If it is lost, the leader gives the round up. */
    (void)agreement->options.send(agreement->options.data, peer, &frame);
}

/* --- Events --- */

static bool is_full(const struct agreement *agreement, const struct submission *submission)
{
    const struct batch *batch = &agreement->batch;

    return batch->n_waiting + batch->n_sent >= agreement->options.pending_commands ||
           batch->bytes + submission->command.size > agreement->options.pending_bytes;
}

void agreement_submit(struct agreement *agreement, struct submission *submission, uint64_t now_ms)
{
    submission->submitted_ms = now_ms;
    if (agreement->is_closing) {
        submission->status = STATUS_CLOSED;
    } else if (is_full(agreement, submission) && !MUTATION(batch_never_full)) {
        submission->status = STATUS_BUSY;
    } else {
        batch_add(&agreement->batch, submission);
        return;
    }
    agreement->options.answer(agreement->options.data, submission);
}

void agreement_read(struct agreement *agreement, struct read_ticket *ticket, uint64_t now_ms)
{
    ticket->submitted_ms = now_ms;
    if (agreement->is_closing) {
        ticket->status = STATUS_CLOSED;
    } else if (agreement->reads.n_waiting >= LIMIT_PENDING_READS) {
        ticket->status = STATUS_BUSY;
    } else {
        read_index_add(&agreement->reads, ticket);
        return;
    }
    agreement->options.answer_read(agreement->options.data, ticket);
}

void agreement_frame(struct agreement *agreement, uint64_t peer_id, const struct frame *frame,
                     uint64_t now_ms)
{
    struct agreement_peer *peer = agreement_peer(agreement, peer_id);

    agreement->now_ms = now_ms;
    if (frame->type == FRAME_STATUS) {
        agreement_on_any_status(agreement, peer_id, &frame->status);
    }
    if (peer == NULL) {
        return; /* No member, or not one any more. */
    }
    switch (frame->type) {
    case FRAME_FORWARD:
        on_forward(agreement, peer_id, &frame->forward);
        return;
    case FRAME_FORWARD_REFUSED:
        on_refused(agreement, &frame->forward_refused);
        return;
    case FRAME_READ_PROBE:
        on_probe(agreement, peer_id, &frame->read);
        return;
    case FRAME_READ_ASK:
    case FRAME_READ_ANSWER:
    case FRAME_READ_TERM:
        read_index_frame(&agreement->reads, peer_id, frame, now_ms);
        return;
    case FRAME_STATUS:
        agreement_on_status(agreement, peer, &frame->status);
        return;
    case FRAME_MARKS:
        agreement_on_state(agreement, peer_id, &frame->marks);
        return;
    case FRAME_CHANGE_ASK:
        agreement_on_change_ask(agreement, peer_id, &frame->change_ask);
        return;
    case FRAME_CHANGE_ANSWER:
        agreement_on_change_answer(agreement, peer_id, &frame->change_answer);
        return;
    default:
        return; /* Not for us: the connection's own. */
    }
}

void agreement_peer_up(struct agreement *agreement, uint64_t peer_id, uint64_t now_ms)
{
    struct agreement_link *link = agreement_link(agreement, peer_id);

    agreement->now_ms = now_ms;
    link->is_up = true;
    link->connection = ++agreement->n_connections;
    agreement_observe(agreement);
    comparison_forget(&agreement->comparison, peer_id);
}

void agreement_peer_down(struct agreement *agreement, uint64_t peer_id, uint64_t now_ms)
{
    agreement->now_ms = now_ms;
    agreement_link(agreement, peer_id)->is_up = false;
}

/* Commands do not wait forever for a leader, nor for one that takes nothing. */
static void expire(struct agreement *agreement)
{
    uint64_t now_ms = agreement->now_ms;

    if (agreement_can_reach_leader(agreement)) {
        agreement->has_no_leader = false;
        if (now_ms > LIMIT_OUTCOME_WAIT_MS) {
            batch_expire(&agreement->batch, now_ms - LIMIT_OUTCOME_WAIT_MS, STATUS_BUSY);
        }
        return;
    }
    if (!agreement->has_no_leader) {
        agreement->has_no_leader = true;
        agreement->leaderless_ms = now_ms;
    }
    if (now_ms - agreement->leaderless_ms >= LIMIT_NO_LEADER_WAIT_MS) {
        batch_expire(&agreement->batch, now_ms - LIMIT_NO_LEADER_WAIT_MS + 1, STATUS_NO_LEADER);
    }
}

void agreement_flush(struct agreement *agreement, uint64_t now_ms)
{
    agreement->now_ms = now_ms;
    seam_turn(agreement->seam, now_ms);
    seam_set_backlog(agreement->seam,
                     agreement->options.executor_queued_bytes(agreement->options.data));
    agreement_observe(agreement);
    expire(agreement);
    if (agreement->view.state == SEAM_LEADER) {
        maintain(agreement);
    }
    agreement_members_flush(agreement);
    send_bundles(agreement);
    propose(agreement);
    flush_reads(agreement);
    agreement->is_announcing = seam_announce_commit(agreement->seam, now_ms);
}

unsigned agreement_next_turn_ms(const struct agreement *agreement)
{
    if (agreement->is_gathering) {
        return 1; /* When the clock shows the next millisecond. */
    }
    return agreement->is_announcing ? SEAM_ANNOUNCE_MS : 0;
}

/* --- Life --- */

static void listen_to_seam(struct agreement *agreement)
{
    const struct seam_options listener = {
        .data = agreement,
        .on_commit = on_commit,
        .on_skip = on_skip,
        .on_need_durable = on_need_durable,
        .on_needs_state = on_needs_state,
        .on_fatal = on_fatal,
    };

    seam_listen(agreement->seam, &listener);
}

static void set_maxima(struct agreement_options *options)
{
    if (options->pending_commands == 0) {
        options->pending_commands = LIMIT_PENDING_COMMANDS;
    }
    if (options->pending_bytes == 0) {
        options->pending_bytes = LIMIT_PENDING_BYTES;
    }
    if (options->unexecuted_bytes == 0) {
        options->unexecuted_bytes = LIMIT_UNEXECUTED_BYTES;
    }
}

enum status agreement_open(const struct agreement_options *options, struct seam *seam,
                           uint64_t now_ms, struct agreement **result, struct error *error)
{
    struct agreement *agreement;
    struct read_index_options reads = {
        .self = options->self,
        .first_round = options->boot,
        .timeout_ms = options->election_timeout_ms,
        .send = send_read,
        .answer = answer_read,
    };

    if (options->self == 0 || options->boot == 0 || options->election_timeout_ms == 0) {
        return error_set(error, STATUS_INVALID,
                         "agreement needs an id, a boot and an election timeout");
    }
    agreement = memory_new_zeroed(1, sizeof *agreement);
    agreement->options = *options;
    set_maxima(&agreement->options);
    agreement->cluster_id = memory_copy_string(options->cluster_id);
    agreement->seam = seam;
    agreement->now_ms = now_ms;
    agreement->ticked_ms = now_ms;
    agreement->leaderless_ms = now_ms;
    agreement->has_no_leader = true;
    agreement->executed_index = options->state_applied_index;
    agreement->has_foundation = options->state_time_ms > 0;
    agreement->free_disk_bytes = UINT64_MAX;
    batch_init(&agreement->batch, options->self, options->boot, options->answer, options->data);
    proposer_init(&agreement->proposer);
    reads.data = agreement;
    agreement->proposer.max_bytes = agreement->options.pending_bytes;
    read_index_init(&agreement->reads, &reads);
    comparison_init(&agreement->comparison, options->self);
    if (options->state_hash != NULL) {
        comparison_executed(&agreement->comparison, options->state_applied_index,
                            options->state_hash);
    }
    cluster_time_init(&agreement->time, options->state_time_ms, now_ms);
    agreement_members_init(agreement);
    listen_to_seam(agreement);
    *result = agreement;
    return STATUS_OK;
}

void agreement_leave(struct agreement *agreement, uint64_t now_ms)
{
    agreement->now_ms = now_ms;
    agreement->is_closing = true;
    agreement_observe(agreement);
    agreement_hand_over(agreement);
}

bool agreement_has_left(const struct agreement *agreement)
{
    const struct batch *batch = &agreement->batch;

    return agreement->is_closing && batch->n_waiting == 0 && batch->n_sent == 0 &&
           (agreement->view.state != SEAM_LEADER || agreement->cannot_transfer);
}

void agreement_close(struct agreement *agreement)
{
    if (agreement == NULL) {
        return;
    }
    agreement_members_close(agreement);
    batch_close(&agreement->batch);
    read_index_close(&agreement->reads);
    proposer_close(&agreement->proposer);
    free(agreement->cluster_id);
    free(agreement);
}
