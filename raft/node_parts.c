/* What the consensus thread drives, and how the parts reach each other: the peers, forming, and,
 * for a member, libraft's disk and streams, the seam, agreement and the watcher. */
#include "raft/node_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "raft/segments.h"

/* --- What agreement needs --- */

static void on_disk_failure(void *data, const struct error *error)
{
    node_exit_with(data, NODE_EXIT_RESTART, error);
}

static bool on_send(void *data, uint64_t peer, const struct frame *frame)
{
    struct node *node = data;

    return peers_send(node->peers, peer, frame);
}

static void on_execute(void *data, struct applied *work)
{
    struct node *node = data;

    applier_push(node->applier, work);
}

static void on_answer(void *data, struct submission *submission)
{
    struct node *node = data;

    inbox_answer(&node->inbox, submission);
}

static void on_answer_read(void *data, struct read_ticket *ticket)
{
    struct node *node = data;

    inbox_answer_read(&node->inbox, ticket);
}

static size_t on_queued_bytes(void *data)
{
    const struct node *node = data;

    return applier_queued_bytes(node->applier);
}

static uint64_t on_next_due(void *data)
{
    const struct node *node = data;

    return applier_next_due_ms(node->applier);
}

static void on_answer_change(void *data, struct member_change *change)
{
    struct node *node = data;

    inbox_answer_change(&node->inbox, change);
}

static bool on_met(void *data, const struct frame_hello *hello, struct frame *offer)
{
    struct node *node = data;

    return node->agreement != NULL &&
           agreement_met(node->agreement, hello, identity_draw_id(), offer, node_now_ms(node));
}

static void on_joined(void *data, enum member_reason why, const char *text)
{
    struct node *node = data;

    node->invitation = NULL;
    if (node->agreement != NULL) {
        agreement_joined(node->agreement, why, text, node_now_ms(node));
    }
}

static void on_invitation_ended(void *data)
{
    struct node *node = data;

    node->invitation = NULL;
}

static void on_dial(void *data, const char *peer_address)
{
    struct node *node = data;
    const struct invitation_options options = {
        .loop = &node->loop,
        .peers = node->peers,
        .peer_address = peer_address,
        .data = node,
        .on_met = on_met,
        .on_joined = on_joined,
        .on_ended = on_invitation_ended,
    };

    invitation_close(node->invitation); /* One of an earlier term. */
    node->invitation = invitation_open(&options);
}

static void on_agreement_exit(void *data, enum node_exit why, const struct error *error)
{
    node_exit_with(data, why, error);
}

/* --- What the peers need --- */

static const struct identity *identity_of(const struct node *node)
{
    return node->forming != NULL ? forming_identity(node->forming) : &node->identity;
}

void node_describe(const struct node *node, struct frame_hello *hello)
{
    const struct identity *identity = identity_of(node);

    hello->identity = identity->stage;
    hello->cluster_id = slice_of_string(identity->cluster_id);
    hello->id = identity->id;
    hello->name = slice_of_string(node->name);
    hello->peer_address = slice_of_string(node->peer_address);
    hello->api_address = slice_of_string(node->api_address);
    hello->version = slice_of_string(node->version);
    hello->feature_level = (uint8_t)node->options.shown_level;
}

static void on_describe(void *data, struct frame_hello *hello)
{
    node_describe(data, hello);
}

static bool on_lookup(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1])
{
    const struct node *node = data;

    return members_address(node->members, id, address);
}

static void on_peer_frame(void *data, uint64_t peer, const struct frame *frame)
{
    struct node *node = data;

    if (node->agreement != NULL) {
        agreement_frame(node->agreement, peer, frame, node_now_ms(node));
    }
}

static void on_peer_up(void *data, uint64_t peer)
{
    struct node *node = data;

    if (node->agreement != NULL) {
        agreement_peer_up(node->agreement, peer, node_now_ms(node));
    }
}

static void on_peer_down(void *data, uint64_t peer)
{
    struct node *node = data;

    if (node->agreement != NULL) {
        agreement_peer_down(node->agreement, peer, node_now_ms(node));
    }
}

static void on_raft_connection(void *data, uint64_t peer, int fd)
{
    struct node *node = data;

    if (node->transport == NULL) {
        (void)close(fd); /* The peer tries again. */
        return;
    }
    transport_accept(node->transport, peer, fd);
}

static void on_bulk_connection(void *data, uint64_t peer, int fd)
{
    struct node *node = data;

    if (node->transfer == NULL) {
        (void)close(fd); /* The peer tries again. */
        return;
    }
    state_transfer_accept(node->transfer, peer, fd);
}

static void update_peers(struct node *node)
{
    uint64_t ids[LIMIT_MEMBERS];
    unsigned n_ids = members_others(node->members, node->identity.id, ids);

    peers_set(node->peers, ids, n_ids);
}

/* It may lead, and have what this node needs to know of it. */
static bool on_stranger(void *data, const struct frame_hello *hello)
{
    struct node *node = data;

    if (node->agreement == NULL || !members_meet(node->members, hello)) {
        return false;
    }
    log_info("peer",
             "met a member that is not in this node's table yet peer=%016" PRIx64 " name=%.*s",
             hello->id, (int)hello->name.size, (const char *)hello->name.data);
    update_peers(node);
    return true;
}

static bool on_was_removed(void *data, uint64_t id)
{
    struct node *node = data;

    return members_was_removed(node->members, id);
}

static void on_removed(void *data, const struct error *why)
{
    struct node *node = data;
    struct error error;

    (void)error_set(&error, STATUS_CLOSED,
                    "this node was removed from the cluster (%s); to use this machine again, "
                    "remove the data directory \"%s\" and let it join as a new member",
                    why->text, node->data_directory); /* Told below. */
    node_exit_with(node, NODE_EXIT_REMOVED, &error);
}

static bool on_bootstrap_hello(void *data, const struct frame_hello *hello)
{
    struct node *node = data;

    if (hello->purpose == PURPOSE_JOIN) {
        return true; /* Who this is may be known; what is offered is looked at. */
    }

    /* A member answers who it is; that is all that the other needs. */
    return node->forming == NULL || forming_heard(node->forming, hello);
}

/* A leader offers this node a place in its cluster. */
static bool on_offer(struct node *node, const struct frame_join_offer *offer,
                     struct channel *channel)
{
    const struct identity *own = identity_of(node);
    struct frame answer = {.type = FRAME_JOIN_ANSWER};
    struct identity next;
    struct error error = {.text = ""};

    answer.join_answer.reason = joining_judge(own, node->options.joins && node->forming == NULL,
                                              offer, node_wall_ms(), &next, &error);
    if (answer.join_answer.reason == MEMBER_REASON_NONE && own->stage == IDENTITY_EMPTY) {
        if (identity_store(node->directory, &next, &error) != STATUS_OK) {
            node_exit_with(node, NODE_EXIT_RESTART, &error);
            return false;
        }
        log_info("cluster", "this node joins cluster=%s id=%016" PRIx64, next.cluster_id, next.id);
        node->identity = next;
        node->has_accepted = true;
    }
    answer.join_answer.text = slice_of_string(error.text);
    return channel_send(channel, &answer) == STATUS_OK;
}

static bool on_bootstrap_request(void *data, const struct frame_hello *hello,
                                 const struct frame *request, struct channel *channel)
{
    struct node *node = data;

    if (hello->purpose == PURPOSE_JOIN) {
        return request->type == FRAME_JOIN_OFFER && on_offer(node, &request->join_offer, channel);
    }
    return node->forming != NULL && forming_asked(node->forming, hello, request, channel);
}

/* --- Taking part --- */

/* One that was removed is told so when it is out of the configuration for good, not before: until
 * then, it may be needed. */
static void update_configuration(struct node *node)
{
    struct seam_configuration *configuration;
    struct seam_view view;
    uint64_t ids[LIMIT_MEMBERS];

    seam_view(node->seam, &view);
    if (view.configuration_index > view.commit_index) {
        return;
    }
    configuration = memory_new(sizeof *configuration);
    seam_configuration(node->seam, configuration);
    for (unsigned i = 0; i < configuration->n_members; i++) {
        ids[i] = configuration->members[i].id;
    }
    members_set_configuration(node->members, ids, configuration->n_members, view.commit_index);
    free(configuration);
}

void node_update_members(struct node *node)
{
    if (!members_table(node->members, &node->table_version, &node->table)) {
        return;
    }
    update_configuration(node);
    agreement_set_table(node->agreement, &node->table, node_now_ms(node));
    update_peers(node);
}

/* A member that had a log and finds an empty one must not begin a new one: what it voted for and
 * acknowledged is gone. (A log that is shorter than what the state remembers is refused by the
 * disk.) */
static enum status refuse_lost_log(const struct node *node, struct error *error)
{
    struct segments_summary summary;
    enum status status;

    if (!node->identity.has_log || node->position.stored > 0) {
        return STATUS_OK;
    }
    status = segments_check(identity_raft_directory(node->directory), 0, &summary, error);
    if (status == STATUS_OK && summary.last_index == 0) {
        status = error_set(error, STATUS_MISMATCH,
                           "the log of this node in \"%s\" is gone, and with it what the node has "
                           "promised to the others: remove the data directory, and let it join "
                           "the cluster again as a new member",
                           identity_raft_directory(node->directory));
    }
    return status;
}

/* Until has_log is stored, this node has promised nothing: what is there is of a beginning that was
 * cut off. libraft takes a log without its first entry for a begun one, so it must not see it. */
static enum status drop_half_begun_log(const struct node *node, struct error *error)
{
    if (node->identity.has_log || node->position.stored > 0 || node->identity.is_joining) {
        return STATUS_OK; /* What a node that joins has, came from the others. */
    }
    return files_empty_directory(identity_raft_directory(node->directory), error);
}

static enum status begin_log(struct node *node, struct error *error)
{
    struct seam_configuration *first;
    enum status status;

    if (node->identity.has_log || node->identity.is_joining) {
        return STATUS_OK; /* A node that joins gets even the first entry from the leader. */
    }
    first = memory_new_zeroed(1, sizeof *first);
    first->n_members = node->identity.n_members;
    for (unsigned i = 0; i < first->n_members; i++) {
        first->members[i].id = node->identity.members[i].id;
        first->members[i].role = NODE_ROLE_VOTER;
    }
    status = seam_bootstrap(node->seam, first, error);
    free(first);
    if (status != STATUS_OK) {
        return status;
    }
    node->identity.has_log = true;
    return identity_store(node->directory, &node->identity, error);
}

static enum status open_log(struct node *node, struct error *error)
{
    const struct disk_options disk_options = {
        .directory = identity_raft_directory(node->directory),
        .loop = &node->loop,
        .transport = transport_raft(node->transport),
        .state_stored = node->position.stored,
        .data = node,
        .on_failure = on_disk_failure,
    };
    struct seam_options seam_options = {
        .self = node->identity.id,
        .cluster_id = node->identity.cluster_id,
        .election_timeout_ms = node->options.election_timeout_ms,
        .heartbeat_ms = node->options.heartbeat_ms,
        .state_applied_index = node->position.applied_index,
        .state_stored = node->position.stored,
    };
    enum status status = disk_open(&disk_options, &node->disk, error);

    if (status != STATUS_OK) {
        return status;
    }
    seam_options.io = disk_io(node->disk);
    status = seam_open(&seam_options, &node->seam, error);
    if (status != STATUS_OK) {
        return status;
    }
    return begin_log(node, error);
}

static enum status open_agreement(struct node *node, struct error *error)
{
    const struct agreement_options options = {
        .self = node->identity.id,
        .boot = identity_draw_id(),
        .cluster_id = node->identity.cluster_id,
        .feature_level = node->options.shown_level,
        .free_disk_floor_bytes = node->options.free_disk_floor_bytes,
        .election_timeout_ms = node->options.election_timeout_ms,
        .state_applied_index = node->position.applied_index,
        .state_time_ms = node->position.time_ms,
        .state_hash = node->position.hash,
        .target_voters = node->options.target_voters,
        .replace_dead_ms = node->options.replace_dead_ms,
        .data = node,
        .send = on_send,
        .execute = on_execute,
        .answer = on_answer,
        .answer_read = on_answer_read,
        .executor_queued_bytes = on_queued_bytes,
        .executor_next_due_ms = on_next_due,
        .exit = on_agreement_exit,
        .answer_change = on_answer_change,
        .dial = on_dial,
    };
    enum status status =
        agreement_open(&options, node->seam, node_now_ms(node), &node->agreement, error);

    if (status != STATUS_OK) {
        return status;
    }
    return seam_start(node->seam, error);
}

static enum status open_watcher(struct node *node, struct error *error)
{
    const struct watcher_options options = {
        .node = node,
        .store = node->store,
        .members = node->members,
        .home = &node->home,
        .directory = node->data_directory,
        .self =
            {
                .id = node->identity.id,
                .name = slice_of_string(node->name),
                .peer_address = slice_of_string(node->peer_address),
                .api_address = slice_of_string(node->api_address),
                .zone = slice_of_string(node->zone == NULL ? "" : node->zone),
                .version = slice_of_string(node->version),
            },
    };

    return watcher_open(&options, &node->watcher, error);
}

/* This node is a member: open its log and take part. */
static enum status take_part(struct node *node, struct error *error)
{
    enum status status;

    members_set_formed(node->members, &node->identity);
    status = refuse_lost_log(node, error);
    if (status == STATUS_OK) {
        status = drop_half_begun_log(node, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    node->transport = transport_open(&node->loop, node->peers, node, on_lookup);
    status = open_log(node, error);
    if (status == STATUS_OK) {
        status = open_agreement(node, error);
    }
    if (status == STATUS_OK) {
        status = node_open_transfer(node, error);
    }
    if (status == STATUS_OK) {
        status = open_watcher(node, error);
    }
    if (status == STATUS_OK) {
        update_peers(node);
    }
    return status;
}

/* The first entries are on this node's disk: from now on, a log that is missing is a lost one. */
static enum status become_member(struct node *node, struct error *error)
{
    struct identity next = node->identity;
    enum status status;

    next.stage = IDENTITY_MEMBER;
    next.is_joining = false;
    next.has_log = true;
    status = identity_store(node->directory, &next, error);
    if (status == STATUS_OK) {
        node->identity = next;
        log_info("cluster", "this node has joined cluster=%s id=%016" PRIx64, next.cluster_id,
                 next.id);
    }
    return status;
}

void node_watch_joining(struct node *node)
{
    enum status status = STATUS_OK;
    struct seam_view view;
    struct error error;

    if (node->has_accepted) {
        node->has_accepted = false;
        status = take_part(node, &error);
    } else if (node->identity.is_joining && node->watcher != NULL) {
        seam_view(node->seam, &view);
        status = view.stored_index > 0 ? become_member(node, &error) : STATUS_OK;
    }
    if (status != STATUS_OK) {
        node_exit_with(node, node_exit_of(status), &error);
    }
}

static void on_formed(void *data)
{
    struct node *node = data;
    struct error error;

    node->identity = *forming_identity(node->forming);
    forming_close(node->forming);
    node->forming = NULL;
    if (take_part(node, &error) != STATUS_OK) {
        node_exit_with(node, node_exit_of(error.status), &error);
    }
}

static void on_forming_failed(void *data, const struct error *error)
{
    struct node *node = data;
    bool is_lost = error->status == STATUS_EXISTS || error->status == STATUS_MISMATCH;
    struct error copy = *error;

    node->identity = *forming_identity(node->forming);
    forming_close(node->forming);
    node->forming = NULL;
    node_exit_with(node, is_lost ? NODE_EXIT_REMOVED : NODE_EXIT_RESTART, &copy);
}

/* --- Beginning --- */

enum status node_open_peers(struct node *node, struct error *error)
{
    const struct peers_options options = {
        .listen_address = node->options.peer_address,
        .allow_insecure = node->options.allow_insecure_peers,
        .data = node,
        .describe = on_describe,
        .lookup = on_lookup,
        .on_frame = on_peer_frame,
        .on_up = on_peer_up,
        .on_down = on_peer_down,
        .on_raft = on_raft_connection,
        .on_bulk = on_bulk_connection,
        .on_stranger = on_stranger,
        .was_removed = on_was_removed,
        .on_removed = on_removed,
        .on_bootstrap_hello = on_bootstrap_hello,
        .on_bootstrap_request = on_bootstrap_request,
    };

    return peers_open(&node->loop, &options, &node->peers, error);
}

enum status node_begin(struct node *node, struct error *error)
{
    const struct forming_options options = {
        .loop = &node->loop,
        .peers = node->peers,
        .directory = node->directory,
        .name = node->name,
        .peer_address = node->peer_address,
        .api_address = node->api_address,
        .initial_cluster = node->options.initial_cluster,
        .allow_insecure = node->options.allow_insecure_peers,
        .data = node,
        .on_formed = on_formed,
        .on_failed = on_forming_failed,
    };

    if (node->identity.stage == IDENTITY_MEMBER) {
        log_info("cluster", "this node is a member cluster=%s id=%016" PRIx64,
                 node->identity.cluster_id, node->identity.id);
        return take_part(node, error);
    }
    if (node->identity.stage == IDENTITY_PENDING && node->identity.is_joining) {
        log_info("cluster", "this node goes on joining cluster=%s id=%016" PRIx64,
                 node->identity.cluster_id, node->identity.id);
        return take_part(node, error);
    }
    if (node->options.joins && node->options.initial_cluster == NULL) {
        log_info("cluster", "waiting to be taken into a cluster");
        return STATUS_OK;
    }
    return forming_open(&options, &node->identity, &node->forming, error);
}
