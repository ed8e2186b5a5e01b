#include "raft/seam.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "raft/node.h"
#include "raft/seam_private.h"

#define DEFAULT_THRESHOLD_BYTES (64u << 20)
#define HELD_THRESHOLDS         4u  /* Of log, at most, while somebody gets a state. */
#define MIN_TRAILING            16u /* Entries that stay, however large they are. */
#define INSTALL_TIMEOUT_MS      2000u
#define MAX_INFLIGHT_ENTRIES    8u
#define POINTER_FORMAT          1u
#define MEMBER_ADDRESS_BYTES    17 /* 16 hex digits and NUL. */
#define CHECKSUM_BYTES          8u
#define LIBRAFT_ALIGNMENT       8u
#define SNAPSHOT_NEVER          UINT32_MAX
#define SNAPSHOT_AT_ONCE        1u

static enum status status_from_raft(int rv)
{
    switch (rv) {
    case 0:
        return STATUS_OK;
    case RAFT_NOTLEADER:
    case RAFT_LEADERSHIPLOST:
        return STATUS_NO_LEADER;
    case RAFT_NOSPACE:
        return STATUS_DISK_FULL;
    case RAFT_CANTBOOTSTRAP:
        return STATUS_EXISTS;
    case RAFT_CORRUPT:
    case RAFT_MALFORMED:
        return STATUS_CORRUPT;
    case RAFT_BUSY:
    case RAFT_TOOMANY:
        return STATUS_BUSY;
    case RAFT_NOTFOUND:
    case RAFT_BADID:
        return STATUS_NOT_FOUND;
    default:
        return STATUS_IO;
    }
}

void seam_fail(struct seam *seam, enum status status, const char *format, ...)
{
    struct error error;
    va_list arguments;
    char text[ERROR_MAX_TEXT];

    if (seam->failed) {
        return;
    }
    seam->failed = true;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments); /* Longer text is cut. */
    va_end(arguments);
    error_set(&error, status, "%s", text);
    if (seam->options.on_fatal != NULL) {
        seam->options.on_fatal(seam->options.data, &error);
    }
}

uint64_t seam_term_of(const struct seam *seam, uint64_t index)
{
    const struct raft_trail *trail = &seam->raft.trail;

    if (index == trail->snapshot.index) {
        return trail->snapshot.term;
    }
    if (index <= trail->offset) {
        return 0;
    }
    for (unsigned i = trail->front; i != trail->back; i = (i + 1) % trail->size) {
        if (index <= trail->records[i].index) {
            return trail->records[i].term;
        }
    }
    return 0;
}

/* --- Snapshots: pointers to the state --- */

void seam_set_threshold(struct seam *seam)
{
    bool is_due = seam->unsnapshotted_bytes >= seam->options.snapshot_threshold_bytes &&
                  !MUTATION(rule7_log_never_cut);

    raft_set_snapshot_threshold(&seam->raft, is_due ? SNAPSHOT_AT_ONCE : SNAPSHOT_NEVER);
}

/* How many entries stay in the log behind a snapshot at @index: as many as the threshold's bytes
 * hold, for followers that are a little behind. */
static unsigned trailing_at(const struct seam *seam, uint64_t index)
{
    uint64_t bytes = 0;
    unsigned n = 0;

    while (n < SEAM_SIZES && n < index) {
        bytes += seam->sizes[(index - n) % SEAM_SIZES];
        if (bytes > seam->options.snapshot_threshold_bytes && n >= MIN_TRAILING) {
            break;
        }
        n++;
    }
    return n < MIN_TRAILING ? MIN_TRAILING : n;
}

void seam_encode_pointer(const char *cluster_id, uint64_t index, struct buffer *buffer)
{
    wire_put_u8(buffer, POINTER_FORMAT);
    wire_put_bytes(buffer, slice_of_string(cluster_id));
    wire_put_u64(buffer, index);
    wire_put_u64(buffer, XXH3_64bits(buffer->data, buffer->size));
    while (buffer->size % LIBRAFT_ALIGNMENT != 0) {
        wire_put_u8(buffer, 0);
    }
}

static enum status decode_pointer(const struct seam *seam, struct slice bytes, uint64_t *index,
                                  struct error *error)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint8_t format = wire_get_u8(&reader);
    struct slice cluster = wire_get_bytes(&reader);
    uint64_t found = wire_get_u64(&reader);
    size_t size = bytes.size - reader.rest.size;
    uint64_t checksum = wire_get_u64(&reader);

    /* Later formats begin with the same fields, so that they are told from damage. */
    if (reader.failed || checksum != XXH3_64bits(bytes.data, size)) {
        return error_set(error, STATUS_CORRUPT,
                         "the log's snapshot pointer is damaged: remove the data directory and "
                         "join again as a new member");
    }
    if (format != POINTER_FORMAT) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the log's snapshot pointer has format %u, which this program does not "
                         "know",
                         format);
    }
    if (!slice_equals_string(cluster, seam->cluster_id)) {
        return error_set(error, STATUS_MISMATCH, "the log belongs to another cluster, \"%.*s\"",
                         (int)cluster.size, (const char *)cluster.data);
    }
    *index = found;
    return STATUS_OK;
}

/* --- What libraft calls --- */

static int on_fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct seam *seam = fsm->data;
    uint64_t index = seam->raft.last_applied + (MUTATION(rule3_index_of_commit) ? 2 : 1);

    *result = NULL;
    if (seam->failed) {
        return 0;
    }
    if (seam->delivered + 1 < index) {
        seam->options.on_skip(seam->options.data, index - 1, seam_term_of(seam, index - 1));
    }
    seam->options.on_commit(seam->options.data, index, seam_term_of(seam, index),
                            slice_of(buffer->base, buffer->len));
    seam->delivered = index;
    return 0;
}

static int on_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *n)
{
    struct seam *seam = fsm->data;
    struct raft *raft = &seam->raft;
    struct buffer pointer = BUFFER_EMPTY;

    if (raft->last_applied != raft->commit_index || raft->configuration_uncommitted_index != 0 ||
        seam->put != NULL || seam->needs_state || seam->failed) {
        return RAFT_BUSY;
    }
    if (seam->holds_log &&
        seam->unsnapshotted_bytes < HELD_THRESHOLDS * seam->options.snapshot_threshold_bytes) {
        return RAFT_BUSY;
    }
    seam_encode_pointer(seam->cluster_id, raft->last_applied, &pointer);
    *buffers = seam_new(sizeof **buffers);
    (*buffers)[0].base = seam_new(pointer.size);
    (*buffers)[0].len = pointer.size;
    memcpy((*buffers)[0].base, pointer.data, pointer.size);
    *n = 1;
    buffer_close(&pointer);
    raft_set_snapshot_trailing(raft, trailing_at(seam, raft->last_applied));
    return 0;
}

/* At start, with the pointer that was stored last; later, with one that was installed. */
static int on_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    struct seam *seam = fsm->data;
    enum status status;
    uint64_t index = 0;

    status = decode_pointer(seam, slice_of(buffer->base, buffer->len), &index, seam->start_error);
    if (status != STATUS_OK) {
        return RAFT_MALFORMED;
    }
    if (index > seam->options.state_applied_index) {
        error_set(seam->start_error, STATUS_MISMATCH,
                  "the state ends at index %" PRIu64 ", but the log was cut behind %" PRIu64
                  ": the state is older than the log; remove the data directory and join again as "
                  "a new member",
                  seam->options.state_applied_index, index);
        return RAFT_MALFORMED;
    }
    seam->delivered = index;
    raft_free(buffer->base);
    return 0;
}

/* --- Life --- */

static void write_address(uint64_t id, char address[MEMBER_ADDRESS_BYTES])
{
    (void)snprintf(address, MEMBER_ADDRESS_BYTES, "%016" PRIx64, id); /* Fits. */
}

static void prepare(struct seam *seam)
{
    struct raft *raft = &seam->raft;

    raft->tracer = NULL; /* The default one formats each line, and then drops it. */
    raft_set_election_timeout(raft, seam->options.election_timeout_ms);
    raft_set_heartbeat_timeout(raft, seam->options.heartbeat_ms);
    raft_set_pre_vote(raft, true);
    raft_set_install_snapshot_timeout(raft, INSTALL_TIMEOUT_MS);
    raft_set_max_inflight_entries(raft, MAX_INFLIGHT_ENTRIES);
    raft_set_capacity_threshold(raft, 0); /* Free space is watched by us. */
    raft_set_snapshot_trailing(raft, MIN_TRAILING);
    seam_set_threshold(seam);
}

/* What libraft found wrong with its files; some of it is for good. */
static enum status tell_unusable(struct seam *seam, int rv, const char *what, struct error *error)
{
    enum status status = status_from_raft(rv);

    if (status != STATUS_CORRUPT) {
        return error_set(error, status, "could not %s the log: %s", what, raft_errmsg(&seam->raft));
    }
    return error_set(error, status,
                     "could not %s the log: it is damaged: %s: remove the data directory and join "
                     "again as a new member",
                     what, raft_errmsg(&seam->raft));
}

enum status seam_open(const struct seam_options *options, struct seam **result, struct error *error)
{
    struct seam *seam;
    char address[MEMBER_ADDRESS_BYTES];
    int rv;

    CHECK(options->self != 0);
    CHECK(options->heartbeat_ms > 0 && options->heartbeat_ms < options->election_timeout_ms);
    seam = memory_new_zeroed(1, sizeof *seam);
    seam->options = *options;
    if (seam->options.snapshot_threshold_bytes == 0) {
        seam->options.snapshot_threshold_bytes = DEFAULT_THRESHOLD_BYTES;
    }
    if (seam->options.peer_queue_bytes == 0) {
        seam->options.peer_queue_bytes = LIMIT_PEER_QUEUE_BYTES;
    }
    if (seam->options.replay_entries == 0) {
        seam->options.replay_entries = LIMIT_REPLAY_ENTRIES;
    }
    if (seam->options.apply_bytes == 0) {
        seam->options.apply_bytes = LIMIT_APPLY_BYTES;
    }
    seam->replay = pace_of(LIMIT_REPLAY_RATE, 0);
    seam->cluster_id = memory_copy_string(options->cluster_id);
    seam->io = options->io;
    queue_init(&seam->appends);
    queue_init(&seam->unsent);
    seam->fsm.version = 1;
    seam->fsm.data = seam;
    seam->fsm.apply = on_fsm_apply;
    seam->fsm.snapshot = on_fsm_snapshot;
    seam->fsm.restore = on_fsm_restore;
    seam_wrap(seam);
    write_address(options->self, address);
    rv = raft_init(&seam->raft, seam->io, &seam->fsm, options->self, address);
    if (rv != 0) {
        enum status status = tell_unusable(seam, rv, "open", error);

        *seam->io = seam->original;
        seam_abandon(seam);
        return status;
    }
    prepare(seam);
    *result = seam;
    return STATUS_OK;
}

void seam_listen(struct seam *seam, const struct seam_options *options)
{
    CHECK(!seam->started);
    seam->options.data = options->data;
    seam->options.on_commit = options->on_commit;
    seam->options.on_skip = options->on_skip;
    seam->options.on_need_durable = options->on_need_durable;
    seam->options.on_needs_state = options->on_needs_state;
    seam->options.on_fatal = options->on_fatal;
}

static int role_to_raft(int role)
{
    return role == NODE_ROLE_VOTER     ? RAFT_VOTER
           : role == NODE_ROLE_STANDBY ? RAFT_STANDBY
                                       : RAFT_SPARE;
}

static int role_from_raft(int role)
{
    return role == RAFT_VOTER     ? NODE_ROLE_VOTER
           : role == RAFT_STANDBY ? NODE_ROLE_STANDBY
                                  : NODE_ROLE_SPARE;
}

enum status seam_bootstrap(struct seam *seam, const struct seam_configuration *configuration,
                           struct error *error)
{
    struct raft_configuration first;
    char address[MEMBER_ADDRESS_BYTES];
    int rv = 0;

    CHECK(!seam->started);
    raft_configuration_init(&first);
    for (unsigned i = 0; i < configuration->n_members && rv == 0; i++) {
        write_address(configuration->members[i].id, address);
        rv = raft_configuration_add(&first, configuration->members[i].id, address,
                                    role_to_raft(configuration->members[i].role));
    }
    if (rv == 0) {
        rv = raft_bootstrap(&seam->raft, &first);
    }
    raft_configuration_close(&first);
    if (rv != 0) {
        return error_set(error, status_from_raft(rv), "could not write the first configuration: %s",
                         seam->io->errmsg[0] != '\0' ? seam->io->errmsg : raft_strerror(rv));
    }
    return STATUS_OK;
}

enum status seam_start(struct seam *seam, struct error *error)
{
    struct error story = {.status = STATUS_OK};
    int rv;

    CHECK(!seam->started);
    CHECK(seam->options.on_commit != NULL);
    seam->started = true;
    seam->start_error = &story;
    rv = raft_start(&seam->raft);
    seam->start_error = NULL;
    if (story.status != STATUS_OK) {
        return error_set(error, story.status, "%s", story.text);
    }
    if (rv != 0) {
        return tell_unusable(seam, rv, "load", error);
    }
    /* The tick's period is what the heartbeat was; from now on a write that follows a pause goes
     * out at once instead of with the next tick. */
    raft_set_heartbeat_timeout(&seam->raft, SEAM_HEARTBEAT_MS);
    return STATUS_OK;
}

void seam_abandon(struct seam *seam)
{
    if (seam == NULL) {
        return;
    }
    free(seam->cluster_id);
    free(seam);
}

/* --- What is known --- */

/* A term that this node leads has begun: note where its own entries start. */
static void observe(struct seam *seam)
{
    struct raft *raft = &seam->raft;

    if (raft->commit_index > seam->commit_index || MUTATION(rule9_commit_goes_back)) {
        seam->commit_index = raft->commit_index;
    }
    if (raft->state == RAFT_LEADER && raft->current_term != seam->leader_term) {
        seam->leader_term = raft->current_term;
        seam->barrier_index = raft_last_index(raft);
        for (unsigned i = 0; i < SEAM_PEERS; i++) {
            seam->peers[i] = (struct seam_peer){.id = seam->peers[i].id,
                                                .queued_bytes = seam->peers[i].queued_bytes};
        }
    }
}

/* libraft appends a barrier at its election, but not always. */
static uint64_t own_index(const struct seam *seam)
{
    return seam_term_of(seam, seam->barrier_index) == seam->raft.current_term
               ? seam->barrier_index
               : seam->barrier_index + 1;
}

void seam_view(struct seam *seam, struct seam_view *view)
{
    struct raft *raft = &seam->raft;
    const char *address;
    raft_id leader = 0;

    observe(seam);
    *view = (struct seam_view){
        .term = raft->current_term,
        .last_index = raft_last_index(raft),
        .stored_index = raft->last_stored,
        .commit_index = seam->commit_index,
        .applied_index = seam->delivered,
        .needs_state = seam->needs_state,
        .needed_index = seam->needed_index,
        .heard_ms = seam->heard_ms,
        .heard_commit_index = seam->heard_commit_index,
        .oldest_append_ms = seam_oldest_append_ms(seam),
        .is_log_long =
            seam->holds_log && seam->unsnapshotted_bytes >
                                   HELD_THRESHOLDS / 2 * seam->options.snapshot_threshold_bytes,
        .configuration_index = raft->configuration_uncommitted_index != 0
                                   ? raft->configuration_uncommitted_index
                                   : raft->configuration_committed_index,
        .snapshots = seam->snapshots,
        .appends = seam->n_appends,
        .append_nanoseconds = seam->append_nanoseconds,
    };
    if (!seam->started || seam->failed) {
        view->state = SEAM_UNAVAILABLE;
        return;
    }
    view->state = raft->state == RAFT_LEADER      ? SEAM_LEADER
                  : raft->state == RAFT_CANDIDATE ? SEAM_CANDIDATE
                  : raft->state == RAFT_FOLLOWER  ? SEAM_FOLLOWER
                                                  : SEAM_UNAVAILABLE;
    raft_leader(raft, &leader, &address);
    view->leader_id = leader;
    if (view->state == SEAM_LEADER) {
        view->barrier_index = seam->barrier_index;
        view->own_index = own_index(seam);
    }
}

void seam_configuration(struct seam *seam, struct seam_configuration *configuration)
{
    const struct raft_configuration *known = &seam->raft.configuration;

    configuration->n_members = 0;
    for (unsigned i = 0; i < known->n && i < LIMIT_MEMBERS; i++) {
        configuration->members[i].id = known->servers[i].id;
        configuration->members[i].role = role_from_raft(known->servers[i].role);
        configuration->n_members++;
    }
}

uint64_t seam_match_index(struct seam *seam, uint64_t id)
{
    raft_index index = 0;

    if (seam->raft.state != RAFT_LEADER || raft_match_index(&seam->raft, id, &index) != 0) {
        return 0;
    }
    return index;
}

uint64_t seam_term(const struct seam *seam)
{
    return seam->raft.current_term;
}

/* --- Acting --- */

/* The outcome is known from what is executed, by order. */
static void on_proposed(struct raft_apply *request, int rv, void *result)
{
    (void)rv;
    (void)result;
    raft_free(request);
}

enum status seam_propose(struct seam *seam, struct slice entry, uint64_t *index)
{
    struct raft_apply *request;
    struct raft_buffer buffer;
    uint64_t next;
    int rv;

    CHECK(entry.size > 0 && entry.size % LIBRAFT_ALIGNMENT == 0);
    if (seam->failed || !seam->started || seam->raft.state != RAFT_LEADER) {
        return STATUS_NO_LEADER;
    }
    observe(seam); /* What comes before this entry belongs to the barrier. */
    next = raft_last_index(&seam->raft) + 1;
    request = seam_new(sizeof *request);
    buffer.base = seam_new(entry.size);
    buffer.len = entry.size;
    memcpy(buffer.base, entry.data, entry.size);
    seam->is_proposing = true;
    rv = raft_apply(&seam->raft, request, &buffer, 1, on_proposed);
    seam->is_proposing = false;
    seam_submit_held(seam);
    if (rv != 0) {
        if (!seam->failed) { /* Else libraft took it before the disk failed. */
            raft_free(buffer.base);
        }
        raft_free(request);
        return status_from_raft(rv);
    }
    *index = next;
    return STATUS_OK;
}

void seam_await_commit(struct seam *seam, uint64_t id, uint64_t index)
{
    struct seam_peer *peer = seam_peer(seam, id);

    if (peer != NULL && index > peer->awaited) {
        peer->awaited = index;
    }
}

/* Has @peer waited long enough for an entry that tells it? */
static bool is_due(const struct seam *seam, struct seam_peer *peer, uint64_t now_ms)
{
    if (peer->owed <= peer->announced) {
        peer->owed = seam->raft.commit_index;
        peer->owed_ms = now_ms;
    }
    return peer->awaited > peer->announced || now_ms - peer->owed_ms >= SEAM_ANNOUNCE_MS;
}

bool seam_announce_commit(struct seam *seam, uint64_t now_ms)
{
    const struct raft_configuration *configuration = &seam->raft.configuration;
    bool are_left = false;

    if (seam->failed || seam->raft.state != RAFT_LEADER || seam->raft.commit_index == 0) {
        return false;
    }
    observe(seam); /* What is known of the others is of this term. */
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        struct seam_peer *peer = server->id == seam->raft.id || server->role == RAFT_SPARE
                                     ? NULL
                                     : seam_peer(seam, server->id);

        if (peer == NULL ||
            (peer->announced >= seam->raft.commit_index && !MUTATION(announced_without_end))) {
            continue;
        }
        if (is_due(seam, peer, now_ms) || MUTATION(announced_without_end)) {
            seam_announce_to(seam, peer, server);
        } else {
            are_left = true;
        }
    }
    return are_left;
}

void seam_set_backlog(struct seam *seam, size_t bytes)
{
    seam->backlog = bytes;
}

void seam_hold_log(struct seam *seam, bool hold)
{
    seam->holds_log = hold;
}

void seam_durable(struct seam *seam, uint64_t index)
{
    if (seam->put != NULL && !seam->put->started && seam->put->snapshot->index <= index &&
        !seam->failed) {
        seam_start_put(seam);
    }
}

static void on_transferred(struct raft_transfer *request)
{
    raft_free(request);
}

/* The voter whose log is longest. */
static uint64_t best_successor(struct seam *seam)
{
    uint64_t best = 0;
    uint64_t best_index = 0;

    for (unsigned i = 0; i < seam->raft.configuration.n; i++) {
        const struct raft_server *server = &seam->raft.configuration.servers[i];
        uint64_t index = seam_match_index(seam, server->id);

        if (server->id != seam->raft.id && server->role == RAFT_VOTER &&
            (best == 0 || index > best_index)) {
            best = server->id;
            best_index = index;
        }
    }
    return best;
}

enum status seam_transfer(struct seam *seam, uint64_t id)
{
    struct raft_transfer *request;
    int rv;

    if (seam->failed || seam->raft.state != RAFT_LEADER) {
        return STATUS_NO_LEADER;
    }
    if (seam->raft.transfer != NULL || raft_transferee(&seam->raft) != 0) {
        return STATUS_BUSY;
    }
    if (id == 0) {
        id = best_successor(seam);
    }
    if (id == 0) {
        return STATUS_NOT_FOUND;
    }
    request = seam_new(sizeof *request);
    rv = raft_transfer(&seam->raft, request, id, on_transferred);
    if (rv != 0) {
        raft_free(request);
    }
    return status_from_raft(rv);
}

/* --- Membership --- */

bool seam_may_change(const struct seam *seam)
{
    const struct raft *raft = &seam->raft;

    return !seam->failed && seam->started && raft->state == RAFT_LEADER &&
           seam_term_of(seam, raft->commit_index) == raft->current_term &&
           raft->configuration_uncommitted_index == 0 && raft->leader_state.promotee_id == 0 &&
           raft->leader_state.transferee == 0 && raft->transfer == NULL &&
           raft->legacy.change == NULL;
}

static void on_changed(struct raft_change *request, int status)
{
    (void)status; /* What the configuration is, everybody sees there. */
    raft_free(request);
}

/* What comes before a call of libraft that changes the configuration. */
static enum status begin_change(struct seam *seam, struct raft_change **request)
{
    if (seam->failed || seam->raft.state != RAFT_LEADER) {
        return STATUS_NO_LEADER;
    }
    if (!seam_may_change(seam)) {
        return STATUS_BUSY;
    }
    observe(seam); /* What comes before this entry belongs to the barrier. */
    *request = seam_new(sizeof **request);
    return STATUS_OK;
}

static enum status end_change(struct seam *seam, struct raft_change *request, int rv)
{
    if (rv == 0 || seam->failed) {
        return rv == 0 ? STATUS_OK : STATUS_IO;
    }
    if (seam->raft.legacy.change == request) {
        seam->raft.legacy.change = NULL; /* libraft leaves it there, and then refuses others. */
    }
    raft_free(request);
    return rv == RAFT_BADROLE || rv == RAFT_DUPLICATEID ? STATUS_EXISTS
           : rv == RAFT_CANTCHANGE                      ? STATUS_BUSY
                                                        : status_from_raft(rv);
}

enum status seam_add(struct seam *seam, uint64_t id)
{
    struct raft_change *request;
    char address[MEMBER_ADDRESS_BYTES];
    enum status status = begin_change(seam, &request);

    if (status != STATUS_OK) {
        return status;
    }
    CHECK(seam->raft.configuration.n < LIMIT_MEMBERS);
    write_address(id, address);
    return end_change(seam, request, raft_add(&seam->raft, request, id, address, on_changed));
}

enum status seam_assign(struct seam *seam, uint64_t id, int role)
{
    struct raft_change *request;
    enum status status;

    if (role == NODE_ROLE_VOTER && seam_match_index(seam, id) != raft_last_index(&seam->raft)) {
        return seam->raft.state == RAFT_LEADER ? STATUS_BUSY : STATUS_NO_LEADER;
    }
    status = begin_change(seam, &request);
    if (status != STATUS_OK) {
        return status;
    }
    return end_change(seam, request,
                      raft_assign(&seam->raft, request, id, role_to_raft(role), on_changed));
}

enum status seam_remove(struct seam *seam, uint64_t id)
{
    struct raft_change *request;
    enum status status = begin_change(seam, &request);

    if (status != STATUS_OK) {
        return status;
    }
    CHECK(id != seam->raft.id); /* It hands leadership over before. */
    return end_change(seam, request, raft_remove(&seam->raft, request, id, on_changed));
}

/* Call back finished requests. libraft's uv loop does so too, a simulator's does not. */
static void finish_requests(struct seam *seam)
{
    void **head = (void **)&seam->raft.legacy.requests;

    while (head[0] != (void *)head) {
        void **first = head[0];
        void **next = first[0];
        void **previous = first[1];
        struct raft_apply *request = CONTAINER_OF(first, struct raft_apply, queue);

        previous[0] = next;
        next[1] = previous;
        if (request->type == RAFT_COMMAND) {
            request->cb(request, request->status, request->result);
        } else if (request->type == RAFT_CHANGE) {
            struct raft_change *change = (struct raft_change *)(void *)request;

            change->cb(change, change->status);
        } else {
            struct raft_transfer *transfer = (struct raft_transfer *)(void *)request;

            transfer->cb(transfer);
        }
    }
}

void seam_tell_skipped(struct seam *seam)
{
    if (seam->raft.last_applied > seam->delivered) {
        seam->delivered = seam->raft.last_applied;
        seam->options.on_skip(seam->options.data, seam->delivered,
                              seam_term_of(seam, seam->delivered));
    }
}

void seam_turn(struct seam *seam, uint64_t now_ms)
{
    (void)now_ms;
    if (!seam->started || seam->failed) {
        return;
    }
    seam_fire_unsent(seam);
    finish_requests(seam);
    observe(seam);
    seam_tell_skipped(seam);
}
