/* The wrapped raft_io: what libraft asks of disk and network goes through here.
 *
 * An append:
 * 1. libraft truncates at the index where entries will go (mostly a no-op), then appends them.
 * 2. The real append writes them; on_appended() notes how long it took and tells libraft.
 *
 * A snapshot is a pointer to a state that is durable already:
 * 1. libraft calls snapshot_put; it is held, and on_need_durable() asks for the state.
 * 2. seam_durable() comes, and only then the pointer is stored, and the log cut behind it.
 *
 * What can go wrong: a failed write of term, vote or entries stops the process, as libraft goes on
 * as if it had succeeded, or tries again on top of what was half written. A message that cannot be
 * sent is never an error, as libraft would skip what stands behind it: its callback comes later. */
#include "raft/seam_private.h"

#include <string.h>
#include <uv.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"

/* What an entry costs beside its payload, in memory and on disk. */
#define ENTRY_OVERHEAD_BYTES 64u
/* What a message costs beside its entries. */
#define MESSAGE_OVERHEAD_BYTES 128u
/* Of libraft's encoding of a configuration. */
#define CONFIGURATION_FORMAT 1u

struct append {
    struct raft_io_append real;
    struct link link;
    struct seam *seam;
    struct raft_io_append *request;
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

static void release_loaded(struct raft_snapshot *snapshot, struct raft_entry *entries, size_t n)
{
    void *batch = NULL;

    for (size_t i = 0; i < n; i++) {
        if (entries[i].batch == NULL) {
            raft_free(entries[i].buf.base);
        } else if (entries[i].batch != batch) {
            batch = entries[i].batch;
            raft_free(batch);
        }
    }
    raft_free(entries);
    if (snapshot != NULL) {
        raft_configuration_close(&snapshot->configuration);
        raft_free(snapshot->bufs[0].base);
        raft_free(snapshot->bufs);
        raft_free(snapshot);
    }
}

/* Give each entry memory of its own. libraft loads those that were written together into one piece,
 * and releases that when none of them is in the log any more, though messages under way may still
 * hold others of them: it is sent when it is free, and freed twice. They are of no batch then: with
 * one each, libraft would look through its whole log for others of it, for each one that it drops,
 * and stand still for seconds when the log is cut. */
static void separate(struct raft_entry *entries, size_t n)
{
    void *batch = NULL;

    for (size_t i = 0; i < n; i++) {
        struct raft_entry *entry = &entries[i];
        void *own = seam_new(entry->buf.len + 1);

        memcpy(own, entry->buf.base, entry->buf.len);
        if (batch != NULL && entry->batch != batch) {
            raft_free(batch);
        }
        batch = entry->batch;
        entry->batch = NULL;
        entry->buf.base = own;
    }
    raft_free(batch);
}

/* Of a configuration: who votes, if it is one alone; else 0. */
static raft_id sole_voter_of(const struct raft_configuration *configuration)
{
    raft_id sole = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role == RAFT_VOTER) {
            sole = configuration->servers[i].id;
            n++;
        }
    }
    return n == 1 ? sole : 0;
}

/* The same for one in an entry, as libraft encodes it: u8 format, u64 number, and of each member
 * u64 id, the address and a NUL, u8 role. */
static raft_id sole_voter_in(const struct raft_buffer *buffer)
{
    struct wire_reader reader = wire_reader_of(slice_of(buffer->base, buffer->len));
    uint8_t format = wire_get_u8(&reader);
    uint64_t n_members = wire_get_u64(&reader);
    raft_id sole = 0;
    unsigned n = 0;

    for (uint64_t i = 0; i < n_members && !reader.failed; i++) {
        raft_id id = wire_get_u64(&reader);

        while (!reader.failed && wire_get_u8(&reader) != 0) {
        }
        if (wire_get_u8(&reader) == RAFT_VOTER) {
            sole = id;
            n++;
        }
    }
    return format == CONFIGURATION_FORMAT && !reader.failed && n == 1 ? sole : 0;
}

static raft_id sole_voter(const struct raft_snapshot *snapshot, const struct raft_entry *entries,
                          size_t n_entries)
{
    for (size_t i = n_entries; i > 0; i--) {
        if (entries[i - 1].type == RAFT_CHANGE) {
            return sole_voter_in(&entries[i - 1].buf);
        }
    }
    return snapshot == NULL ? 0 : sole_voter_of(&snapshot->configuration);
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
    if (!MUTATION(rule8_entries_share_memory)) {
        separate(*entries, *n_entries);
    }
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
        release_loaded(*snapshot, *entries, *n_entries);
        return RAFT_CORRUPT;
    }
    if (sole_voter(*snapshot, *entries, *n_entries) == seam->options.self) {
        rv = begin_term(seam, term, voted_for);
        if (rv != 0) {
            release_loaded(*snapshot, *entries, *n_entries);
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
    append->started_ms = io->time(io);
    append->started_ns = uv_hrtime();
    queue_push(&seam->appends, &append->link);
    count_entries(seam, seam->next_index, entries, n, 0);
    seam->next_index += n;

    rv = seam->original.append(io, &append->real, entries, n, on_appended);
    if (rv != 0) {
        queue_remove(&append->link);
        raft_free(append);
        seam_fail(seam, STATUS_IO, "could not write to the log: %s", io->errmsg);
    } else if (MUTATION(told_before_stored)) {
        append->cb = NULL;
        cb(request, 0);
    }
    return rv;
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
        seam->needs_state = true;
        seam->needed_index = snapshot->index;
        seam->options.on_needs_state(seam->options.data, snapshot->index);
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

static bool is_member(const struct seam *seam, uint64_t id)
{
    const struct raft_configuration *configuration = &seam->raft.configuration;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return true;
        }
    }
    return false;
}

struct seam_peer *seam_peer(struct seam *seam, uint64_t id)
{
    struct seam_peer *unused = NULL;

    for (unsigned i = 0; i < SEAM_PEERS; i++) {
        struct seam_peer *peer = &seam->peers[i];

        if (peer->id == id) {
            return peer;
        }
        if (unused == NULL && peer->queued_bytes == 0 && !is_member(seam, peer->id)) {
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
        vote->term < seam->raft.current_term && !MUTATION(rule8_term_hidden_from_candidate)) {
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

/* A node that waits for state says nothing that could count towards a majority. */
static bool may_send(const struct seam *seam, const struct raft_message *message)
{
    if (!seam->needs_state) {
        return true;
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
        (peer != NULL && message->type == RAFT_APPEND_ENTRIES && peer->queued_bytes > 0 &&
         peer->queued_bytes + bytes > seam->options.peer_queue_bytes &&
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

/* Make an AppendEntries harmless where libraft would be confused by it. */
static void trim(const struct seam *seam, struct raft_append_entries *append)
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
    if (seam->needs_state || is_full(seam)) {
        release_entries(append);
    }
    /* Beyond the last entry, libraft would take the last entry's index as committed, even if that
     * is less than what it knew before. */
    last = append->prev_log_index + append->n_entries;
    if (append->leader_commit > last && !MUTATION(rule9_commit_goes_back)) {
        append->leader_commit = last;
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
           seam_term_of(seam, first) == 0 && !MUTATION(rule8_forgotten_entries_taken);
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

static void on_recv(struct raft_io *io, struct raft_message *message)
{
    struct seam *seam = seam_of(io);

    if (seam->failed || !may_receive(seam, message) || is_stale(seam, message)) {
        release_message(message);
        return;
    }
    hear(seam, message);
    if (message->type == RAFT_APPEND_ENTRIES) {
        trim(seam, &message->append_entries);
    }
    seam->recv(io, message);
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
