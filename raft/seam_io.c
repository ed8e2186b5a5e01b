/* The wrapped raft_io: what libraft asks of disk and network goes through here.
 *
 * An append:
 * 1. libraft truncates at the index where entries will go (mostly a no-op), then appends them.
 * 2. The real append writes them; on_appended() notes how long it took and tells libraft.
 *
 * What a leader proposes goes to the others first, and to its own disk then (10.2.1 in the Raft
 * dissertation): theirs are the longer way, and it counts itself only when that is done.
 *
 * A snapshot is a pointer to a state that is durable already:
 * 1. libraft calls snapshot_put; it is held, and on_need_durable() asks for the state.
 * 2. seam_durable() comes, and only then the pointer is stored, and the log cut behind it.
 *
 * What can go wrong: a failed write of term, vote or entries stops the process, as libraft goes on
 * as if it had succeeded, or tries again on top of what was half written. A message that cannot be
 * sent is never an error, as libraft would skip what stands behind it: its callback comes later. */
#include "raft/seam_private.h"

#include <uv.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/mutation.h"
#include "raft/loaded.h"

/* What an entry costs beside its payload, in memory and on disk. */
#define ENTRY_OVERHEAD_BYTES 64u
/* What a message costs beside its entries. */
#define MESSAGE_OVERHEAD_BYTES 128u

struct append {
    struct raft_io_append real;
    struct link link;
    struct seam *seam;
    struct raft_io_append *request;
    const struct raft_entry *entries; /* libraft's, until it is called back. */
    unsigned n;
    raft_io_append_cb cb;
    uint64_t started_ms;
    uint64_t started_ns;
};

struct send {
    struct raft_io_send real;
    struct link link; /* In seam->unsent. */
    struct seam *seam;
    struct raft_io_send *request;
    raft_io_send_cb cb;
    struct seam_peer *peer;
    size_t bytes;
};

struct get {
    struct raft_io_snapshot_get real;
    struct seam *seam;
    struct raft_io_snapshot_get *request;
    raft_io_snapshot_get_cb cb;
};

struct seam *seam_of(struct raft_io *io)
{
    return CONTAINER_OF(io->data, struct seam, raft);
}

void *seam_new(size_t size)
{
    void *memory = raft_calloc(1, size);

    CHECK(memory != NULL);
    return memory;
}

/* --- Loading --- */

/* Note the sizes of entries from @index on. */
static void count_entries(struct seam *seam, uint64_t index, const struct raft_entry entries[],
                          size_t n, uint64_t snapshot_index)
{
    for (size_t i = 0; i < n; i++, index++) {
        size_t size = entries[i].buf.len + ENTRY_OVERHEAD_BYTES;

        seam->sizes[index % SEAM_SIZES] = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
        if (index > snapshot_index) {
            seam->unsnapshotted_bytes += size;
        }
    }
    seam_set_threshold(seam);
}

/* The only voter leads at once when it starts, and libraft lets it do so in the term that it led
 * before: bundles of that term that it took would be taken again. So it begins a new one. Nobody
 * else can lead that: every configuration in which it is not needed comes after one that it has. */
static int begin_term(struct seam *seam, raft_term *term, raft_id *voted_for)
{
    int rv;

    if (MUTATION(rule10_sole_voter_keeps_term)) {
        return 0;
    }
    rv = seam->original.set_term(seam->io, *term + 1);
    if (rv != 0) {
        error_set(seam->start_error, STATUS_IO, "could not store the term: %s", seam->io->errmsg);
        return rv;
    }
    *term += 1;
    *voted_for = 0;
    return 0;
}

static int on_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct seam *seam = seam_of(io);
    uint64_t snapshot_index;
    uint64_t end;
    int rv = seam->original.load(io, term, voted_for, snapshot, start_index, entries, n_entries);

    if (rv != 0) {
        return rv;
    }
    loaded_separate(*entries, *n_entries);
    snapshot_index = *snapshot == NULL ? 0 : (*snapshot)->index;
    end = *start_index + *n_entries - 1;
    if (end < snapshot_index) {
        end = snapshot_index;
    }
    if (end < seam->options.state_stored && !MUTATION(rule4_lost_log_accepted)) {
        error_set(seam->start_error, STATUS_MISMATCH,
                  "the log ends at index %llu, but this node had stored entries up to %llu, which "
                  "may be lost for good: remove the data directory and join again as a new member",
                  (unsigned long long)end, (unsigned long long)seam->options.state_stored);
        loaded_release(*snapshot, *entries, *n_entries);
        return RAFT_CORRUPT;
    }
    if (loaded_sole_voter(*snapshot, *entries, *n_entries) == seam->options.self) {
        rv = begin_term(seam, term, voted_for);
        if (rv != 0) {
            loaded_release(*snapshot, *entries, *n_entries);
            return rv;
        }
    }
    seam->next_index = end + 1;
    count_entries(seam, *start_index, *entries, *n_entries, snapshot_index);
    return 0;
}

/* --- Term, vote and entries --- */

static int on_set_term(struct raft_io *io, raft_term term)
{
    struct seam *seam = seam_of(io);
    int rv = seam->original.set_term(io, term);

    if (rv != 0) {
        seam_fail(seam, STATUS_IO, "could not store the term: %s", io->errmsg);
    }
    return rv;
}

static int on_set_vote(struct raft_io *io, raft_id id)
{
    struct seam *seam = seam_of(io);
    int rv = MUTATION(vote_not_stored) ? 0 : seam->original.set_vote(io, id);

    if (rv != 0) {
        seam_fail(seam, STATUS_IO, "could not store the vote: %s", io->errmsg);
    }
    return rv;
}

static int on_truncate(struct raft_io *io, raft_index index)
{
    struct seam *seam = seam_of(io);
    int rv = seam->original.truncate(io, index);

    seam->next_index = index;
    if (rv != 0) {
        seam_fail(seam, STATUS_IO, "could not truncate the log: %s", io->errmsg);
    }
    return rv;
}

static void on_appended(struct raft_io_append *real, int rv)
{
    struct append *append = real->data;
    struct seam *seam = append->seam;
    struct raft_io_append *request = append->request;
    raft_io_append_cb cb = append->cb;

    queue_remove(&append->link);
    seam->n_appends++;
    seam->append_nanoseconds += uv_hrtime() - append->started_ns;
    raft_free(append);
    if (rv != 0 && !MUTATION(rule5_failed_write_goes_on)) {
        seam_fail(seam, STATUS_IO, "could not write to the log: %s", seam->io->errmsg);
    }
    if (cb != NULL) {
        cb(request, rv);
    }
}

static void tell_too_early(struct append *append)
{
    raft_io_append_cb cb = append->cb;

    if (MUTATION(told_before_stored)) {
        append->cb = NULL;
        cb(append->request, 0);
    }
}

/* Give an append to the disk. */
static int submit(struct seam *seam, struct append *append)
{
    return seam->original.append(seam->io, &append->real, append->entries, append->n, on_appended);
}

static int on_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct seam *seam = seam_of(io);
    struct append *append = seam_new(sizeof *append);
    int rv;

    append->real.data = append;
    append->seam = seam;
    append->request = request;
    append->cb = cb;
    append->entries = entries;
    append->n = n;
    append->started_ms = io->time(io);
    append->started_ns = uv_hrtime();
    queue_push(&seam->appends, &append->link);
    count_entries(seam, seam->next_index, entries, n, 0);
    seam->next_index += n;
    if (seam->is_proposing) {
        seam_submit_held(seam); /* In order, should there be one. */
        seam->held_append = append;
        return 0;
    }
    rv = submit(seam, append);
    if (rv != 0) {
        queue_remove(&append->link);
        raft_free(append);
        seam_fail(seam, STATUS_IO, "could not write to the log: %s", io->errmsg);
    } else {
        tell_too_early(append);
    }
    return rv;
}

void seam_submit_held(struct seam *seam)
{
    struct append *append = seam->held_append;
    int rv;

    if (append == NULL) {
        return;
    }
    seam->held_append = NULL;
    rv = submit(seam, append);
    if (rv != 0) {
        on_appended(&append->real, rv); /* libraft believes that it is under way. */
    } else {
        tell_too_early(append);
    }
}

uint64_t seam_oldest_append_ms(struct seam *seam)
{
    struct link *first = queue_first(&seam->appends);
    uint64_t now_ms;

    if (first == NULL) {
        return 0;
    }
    now_ms = seam->io->time(seam->io);
    return now_ms - CONTAINER_OF(first, struct append, link)->started_ms;
}

/* --- Snapshots --- */

static void on_put(struct raft_io_snapshot_put *real, int rv)
{
    struct seam_put *put = real->data;
    struct seam *seam = put->seam;
    struct raft_io_snapshot_put *request = put->request;
    raft_io_snapshot_put_cb cb = put->cb;

    if (rv == 0) {
        seam->snapshots++;
        seam->unsnapshotted_bytes -= put->bytes;
        seam_set_threshold(seam);
    } else {
        seam_fail(seam, STATUS_IO, "could not store a snapshot pointer: %s", seam->io->errmsg);
    }
    seam->put = NULL;
    raft_free(put);
    cb(request, rv);
}

void seam_want_state(struct seam *seam, uint64_t index)
{
    seam->needs_state = true;
    seam->needed_index = index;
    seam->options.on_needs_state(seam->options.data, index);
}

void seam_start_put(struct seam *seam)
{
    struct seam_put *put = seam->put;
    int rv;

    put->started = true;
    rv = seam->original.snapshot_put(seam->io, put->trailing, &put->real, put->snapshot, on_put);
    if (rv != 0) {
        seam_fail(seam, STATUS_IO, "could not store a snapshot pointer: %s", seam->io->errmsg);
    }
}

static int on_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct seam *seam = seam_of(io);
    struct seam_put *put;

    if (trailing == 0 && seam->options.state_applied_index < snapshot->index &&
        !MUTATION(rule17_pointer_without_state)) {
        /* The leader's pointer to a state that is not here. Storing it would tell the leader that
         * it is, so the request is held: this node gets the state and starts with it. */
        seam_want_state(seam, snapshot->index);
        return 0;
    }
    CHECK(seam->put == NULL);
    put = seam_new(sizeof *put);
    put->real.data = put;
    put->seam = seam;
    put->request = request;
    put->snapshot = snapshot;
    put->cb = cb;
    put->trailing = trailing;
    put->bytes = seam->unsnapshotted_bytes;
    seam->put = put;
    if (trailing == 0) {
        /* The state at the start of this node was that far already, durably: it was received. Its
         * log ended before, or libraft would have had no use for the pointer. */
        seam_start_put(seam);
        return 0;
    }
    if (MUTATION(rule6_pointer_before_state)) {
        seam_start_put(seam);
    }
    /* The last entry before it may be a configuration; the state must have passed that, too, or it
     * would be older than the pointer when the node starts again. */
    seam_tell_skipped(seam);
    seam->options.on_need_durable(seam->options.data, snapshot->index);
    return 0;
}

static void on_got(struct raft_io_snapshot_get *real, struct raft_snapshot *snapshot, int rv)
{
    struct get *get = real->data;
    struct seam *seam = get->seam;
    struct raft_io_snapshot_get *request = get->request;
    raft_io_snapshot_get_cb cb = get->cb;

    raft_free(get);
    if (rv != 0) {
        /* libraft would release fields that it never filled in. It asks again after the install
         * timeout; only the request's few bytes are lost. */
        log_warn("raft", "could not read the snapshot pointer to send it: %s", seam->io->errmsg);
        return;
    }
    seam->loaded_index = snapshot->index;
    seam->loaded_term = snapshot->term;
    cb(request, snapshot, rv);
}

static int on_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    struct seam *seam = seam_of(io);
    struct get *get = seam_new(sizeof *get);
    int rv;

    get->real.data = get;
    get->seam = seam;
    get->request = request;
    get->cb = cb;
    rv = seam->original.snapshot_get(io, &get->real, on_got);
    if (rv != 0) {
        raft_free(get);
        /* Never an error (see the head of the file); the leader asks again later. */
        log_warn("raft", "could not read the snapshot pointer to send it: %s", io->errmsg);
    }
    return 0;
}

/* --- Sending --- */

static struct raft_server *find_server(struct seam *seam, uint64_t id)
{
    struct raft_configuration *configuration = &seam->raft.configuration;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return &configuration->servers[i];
        }
    }
    return NULL;
}

struct seam_peer *seam_peer(struct seam *seam, uint64_t id)
{
    struct seam_peer *unused = NULL;

    for (unsigned i = 0; i < SEAM_PEERS; i++) {
        struct seam_peer *peer = &seam->peers[i];

        if (peer->id == id) {
            return peer;
        }
        if (unused == NULL && peer->queued_bytes == 0 && find_server(seam, peer->id) == NULL) {
            unused = peer; /* Free, or of one that was removed. */
        }
    }
    if (unused != NULL) {
        *unused = (struct seam_peer){.id = id};
    }
    return unused;
}

static size_t size_of(const struct raft_message *message)
{
    size_t size = MESSAGE_OVERHEAD_BYTES;

    if (message->type == RAFT_APPEND_ENTRIES) {
        for (unsigned i = 0; i < message->append_entries.n_entries; i++) {
            size += message->append_entries.entries[i].buf.len + ENTRY_OVERHEAD_BYTES;
        }
    }
    return size;
}

/* Correct what libraft says wrongly. */
static void amend(struct seam *seam, struct raft_message *message)
{
    struct raft_request_vote_result *vote = &message->request_vote_result;
    struct raft_install_snapshot *install = &message->install_snapshot;
    struct raft_append_entries_result *result = &message->append_entries_result;

    /* A refused candidate must learn a higher term, also from the answer to a pre-vote, or a node
     * with a long log and a low term and one with a short log and a high term refuse each other
     * forever. */
    if (message->type == RAFT_REQUEST_VOTE_RESULT && vote->pre_vote && !vote->vote_granted &&
        vote->term < seam->raft.current_term) {
        vote->term = seam->raft.current_term;
    }
    if (message->type == RAFT_REQUEST_VOTE_RESULT && !vote->pre_vote && MUTATION(votes_for_all)) {
        vote->vote_granted = true;
    }
    /* The snapshot that was read may be newer than the one that the term was taken from. */
    if (message->type == RAFT_INSTALL_SNAPSHOT && install->last_index == seam->loaded_index) {
        install->last_term = seam->loaded_term;
    }
    /* Where it refuses entries that its log does not reach yet, libraft leaves the end of its log,
     * from which the leader is to go on, as it was on the stack. By chance the leader would begin
     * so far back that it offers its state instead. */
    if (message->type == RAFT_APPEND_ENTRIES_RESULT && result->rejected != 0) {
        result->last_log_index = MUTATION(rule8_wrong_hint) ? 0 : raft_last_index(&seam->raft);
    }
}

/* Does it hold a configuration with this leader as the only voter, that is not in its own log on
 * disk yet?
 *
 * Before that it must not be told: if the leader lost it, and the other voter of before had it, the
 * leader would need that one's vote, which is refused to the shorter log, and the other never asks
 * for any. It is sent again when it was stored. With more voters the others are enough. */
static bool tells_unstored_change(const struct seam *seam, const struct raft_message *message)
{
    const struct raft_append_entries *append = &message->append_entries;

    if (message->type != RAFT_APPEND_ENTRIES ||
        configuration_sole_voter(&seam->raft.configuration) == 0) {
        return false;
    }
    for (unsigned i = 0; i < append->n_entries; i++) {
        if (append->entries[i].type == RAFT_CHANGE &&
            append->prev_log_index + 1 + i > seam->raft.last_stored) {
            return true;
        }
    }
    return false;
}

/* A node that waits for state says nothing that could count towards a majority. */
static bool may_send(const struct seam *seam, const struct raft_message *message)
{
    if (!seam->needs_state) {
        return !tells_unstored_change(seam, message);
    }
    return message->type == RAFT_REQUEST_VOTE_RESULT && !message->request_vote_result.vote_granted;
}

static void on_sent(struct raft_io_send *real, int rv)
{
    struct send *send = real->data;
    struct raft_io_send *request = send->request;
    raft_io_send_cb cb = send->cb;

    if (send->peer != NULL) {
        send->peer->queued_bytes -= send->bytes;
    }
    raft_free(send);
    cb(request, rv);
}

static void note_append(struct seam *seam, struct seam_peer *peer,
                        const struct raft_append_entries *append)
{
    seam->append_version = append->version;
    peer->announced = append->leader_commit;
    if (append->prev_log_index + append->n_entries > peer->sent_index) {
        peer->sent_index = append->prev_log_index + append->n_entries;
    }
}

static int on_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct seam *seam = seam_of(io);
    struct raft_message amended = *message;
    struct send *send = seam_new(sizeof *send);
    struct seam_peer *peer = seam_peer(seam, message->server_id);
    size_t bytes = size_of(message);

    send->real.data = send;
    send->seam = seam;
    send->request = request;
    send->cb = cb;
    amend(seam, &amended);
    if (!may_send(seam, &amended) ||
        (peer != NULL && message->type == RAFT_APPEND_ENTRIES &&
         peer->queued_bytes >= seam->options.peer_queue_bytes &&
         !MUTATION(peer_queue_never_full))) {
        goto unsent;
    }
    if (peer != NULL) {
        peer->queued_bytes += bytes;
        send->peer = peer;
        send->bytes = bytes;
        if (message->type == RAFT_APPEND_ENTRIES) {
            note_append(seam, peer, &message->append_entries);
        }
    }
    if (seam->original.send(io, &send->real, &amended, on_sent) == 0) {
        return 0;
    }
unsent:
    queue_push(&seam->unsent, &send->link);
    return 0;
}

static void on_announced(struct raft_io_send *request, int status)
{
    (void)status; /* If it is lost, the next message or heartbeat says the same. */
    raft_free(request);
}

/* An empty AppendEntries behind what is committed: on the same stream, so the entries come before
 * it. libraft's own way would be a tick with a heartbeat of 0, which also takes every follower for
 * lost that has not answered since the tick before, and sends it all again. */
void seam_announce_to(struct seam *seam, const struct seam_peer *peer,
                      const struct raft_server *server)
{
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES,
        .server_id = server->id,
        .server_address = server->address,
        .append_entries = {.version = seam->append_version,
                           .term = seam->raft.current_term,
                           .prev_log_index = seam->raft.commit_index,
                           .prev_log_term = seam_term_of(seam, seam->raft.commit_index),
                           .leader_commit = seam->raft.commit_index},
    };

    if (peer->sent_index < seam->raft.commit_index || message.append_entries.prev_log_term == 0) {
        return;
    }
    /* on_send() never fails. */
    (void)on_send(seam->io, seam_new(sizeof(struct raft_io_send)), &message, on_announced);
}

void seam_fire_unsent(struct seam *seam)
{
    struct link *link;

    while (!MUTATION(unsent_kept) && (link = queue_pop(&seam->unsent)) != NULL) {
        on_sent(&CONTAINER_OF(link, struct send, link)->real, RAFT_NOCONNECTION);
    }
}

/* --- Receiving --- */

/* A node without a vote never stands itself, and so libraft lets it believe in its last leader for
 * ever, and refuse its vote to all others. */
static bool is_forsaken(struct seam *seam)
{
    return seam->raft.state == RAFT_FOLLOWER && seam->raft.follower_state.current_leader.id != 0 &&
           seam->io->time(seam->io) - seam->heard_ms >= seam->options.election_timeout_ms;
}

/* A node votes for whoever asks, as the candidate alone can know whether that counts: the one of
 * two voters that made this node the other may have crashed before it could tell, and needs its
 * vote. libraft votes only if this node has a vote by its own configuration, and no leader; so for
 * a moment it has the one, and not the other. */
static void receive_request_vote(struct seam *seam, struct raft_message *message)
{
    struct raft_server *self = find_server(seam, seam->raft.id);
    raft_id *leader = &seam->raft.follower_state.current_leader.id;
    raft_id believed = 0;
    int role;

    if (self == NULL || self->role == RAFT_VOTER || MUTATION(rule10_standby_never_votes)) {
        seam->recv(seam->io, message);
        return;
    }
    role = self->role;
    self->role = RAFT_VOTER;
    if (is_forsaken(seam)) {
        believed = *leader;
        *leader = 0;
    }
    seam->recv(seam->io, message); /* Does not change the configuration. */
    self->role = role;
    if (believed != 0 && seam->raft.state == RAFT_FOLLOWER &&
        seam->raft.follower_state.current_leader.address != NULL) { /* In a new term it is not. */
        *leader = believed;
    }
}

/* With the timeout that lets writes go out at once, libraft would answer each result that took
 * longer than that with an empty message, which the other answers in turn. */
static void receive_result(struct seam *seam, struct raft_message *message)
{
    raft_set_heartbeat_timeout(&seam->raft, seam->options.heartbeat_ms);
    seam->recv(seam->io, message);
    raft_set_heartbeat_timeout(&seam->raft, SEAM_HEARTBEAT_MS);
}

static void on_recv(struct raft_io *io, struct raft_message *message)
{
    struct seam *seam = seam_of(io);

    if (!seam_may_receive(seam, message)) {
        return;
    }
    if (message->type == RAFT_REQUEST_VOTE) {
        receive_request_vote(seam, message);
    } else if (message->type == RAFT_APPEND_ENTRIES_RESULT) {
        receive_result(seam, message);
    } else {
        seam->recv(io, message);
    }
}

static void on_tick(struct raft_io *io)
{
    struct seam *seam = seam_of(io);

    if (!seam->failed) {
        seam->tick(io);
    }
}

static int on_start(struct raft_io *io, unsigned period_ms, raft_io_tick_cb tick,
                    raft_io_recv_cb recv)
{
    struct seam *seam = seam_of(io);

    seam->tick = tick;
    seam->recv = recv;
    return seam->original.start(io, period_ms, on_tick, on_recv);
}

void seam_wrap(struct seam *seam)
{
    struct raft_io *io = seam->io;

    seam->original = *io;
    io->load = on_load;
    io->start = on_start;
    io->set_term = on_set_term;
    io->set_vote = on_set_vote;
    io->truncate = on_truncate;
    io->append = on_append;
    io->snapshot_put = on_snapshot_put;
    io->snapshot_get = on_snapshot_get;
    io->send = on_send;
}
