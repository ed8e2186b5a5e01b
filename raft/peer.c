/* Being connected to:
 * 1. on_connection() takes the connection; a greeting waits for HELLO, for a while.
 * 2. on_hello() checks it and answers WELCOME or REFUSED.
 * 3. The connection becomes a member's (control), libraft's (raft), or a visitor's (bootstrap).
 *
 * Connecting:
 * 1. on_tick() dials each member that has no connection and whose time has come.
 * 2. on_dialled() has the connection, after the handshake, or tries again later.
 * 3. on_broken_out() notices the end.
 *
 * What can go wrong: anyone may connect and send anything, so that greetings are bounded in number,
 * size and time, and lines in the log are limited. */
#include "raft/peer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "raft/address.h"
#include "raft/identity.h"

#define TICK_MS  25
#define RETRY_MS 50 /* And up to as much again, by chance. */
/* After a refusal, which does not go away by itself soon. */
#define RETRY_REFUSED_MS 1000
#define HANDSHAKE_MS     5000
#define BACKLOG          128
#define MAX_GUESTS       64u /* Greetings and visitors at the same time. */

/* A connection that is not a member's: it has not said HELLO, or it is there to form a cluster. */
struct guest {
    struct link link;
    struct peers *peers;
    struct channel *channel;
    uint64_t deadline_ms; /* For HELLO; 0 after it. */
    struct buffer hello;  /* Encoded; of a visitor. */
};

struct member {
    struct peers *peers;
    uint64_t id;
    struct dial *dial;   /* Being made. */
    struct channel *out; /* Made by this node, welcomed; NULL: down. */
    struct channel *in;  /* Made by the member. */
    uint64_t retry_at_ms;
};

struct peers {
    struct peers_options options;
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t timer;
    unsigned handles; /* Not yet closed. */
    struct queue guests;
    unsigned n_guests;
    unsigned n_members;
    struct member *members[LIMIT_MEMBERS];
    uint64_t random;
    uint64_t resets;
    struct log_limit refused_limit;
    struct log_limit failed_limit;
    void (*closed)(void *data);
};

static struct member *find_member(const struct peers *peers, uint64_t id)
{
    for (unsigned i = 0; i < peers->n_members; i++) {
        if (peers->members[i]->id == id) {
            return peers->members[i];
        }
    }
    return NULL;
}

static void describe_self(const struct peers *peers, enum frame_purpose purpose,
                          uint64_t expected_id, struct frame_hello *hello)
{
    *hello = (struct frame_hello){0};
    peers->options.describe(peers->options.data, hello);
    hello->protocol = FRAME_PROTOCOL;
    hello->purpose = purpose;
    hello->expected_id = expected_id;
}

/* --- Connections from members --- */

static bool is_control(enum frame_type type)
{
    return type >= FRAME_FORWARD && type <= FRAME_CHANGE_ANSWER;
}

static void drop_in(struct member *member)
{
    channel_close(member->in);
    member->in = NULL;
}

static void on_frame_in(void *data, struct channel *channel, const struct frame *frame)
{
    struct member *member = data;
    struct peers *peers = member->peers;

    (void)channel;
    if (!is_control(frame->type)) {
        log_warn("peer",
                 "ended a connection that brought a wrong frame peer=%016" PRIx64 " type=%d",
                 member->id, (int)frame->type);
        drop_in(member);
        return;
    }
    peers->options.on_frame(peers->options.data, member->id, frame);
}

static void on_broken_in(void *data, struct channel *channel, const struct error *error)
{
    struct member *member = data;

    (void)channel;
    log_debug("peer", "lost connection peer=%016" PRIx64 " direction=in: %s", member->id,
              error->text);
    drop_in(member);
}

static const struct channel_events in_events = {
    .on_frame = on_frame_in,
    .on_broken = on_broken_in,
};

/* --- Connections to members --- */

static void retry_later(struct member *member, unsigned base_ms)
{
    struct peers *peers = member->peers;

    /* Knuth's generator is good enough to keep two nodes from dialling in step. */
    peers->random = peers->random * 6364136223846793005u + 1442695040888963407u;
    member->retry_at_ms = uv_now(peers->loop) + base_ms + (peers->random >> 33) % base_ms;
}

static void on_frame_out(void *data, struct channel *channel, const struct frame *frame)
{
    (void)data; /* Members send on the connection that they made; nothing is meant to come here. */
    (void)channel;
    (void)frame;
}

static void on_broken_out(void *data, struct channel *channel, const struct error *error)
{
    struct member *member = data;
    struct peers *peers = member->peers;

    log_info("peer", "lost connection peer=%016" PRIx64 ": %s", member->id, error->text);
    peers->resets += error->status == STATUS_BUSY;
    channel_close(channel);
    member->out = NULL;
    retry_later(member, RETRY_MS);
    peers->options.on_down(peers->options.data, member->id);
}

static const struct channel_events out_events = {
    .on_frame = on_frame_out,
    .on_broken = on_broken_out,
};

/* Is the one who welcomed us the member that was meant? */
static bool is_expected(const struct member *member, const struct frame_hello *welcome)
{
    struct frame_hello own;

    describe_self(member->peers, PURPOSE_CONTROL, member->id, &own);
    return welcome->id == member->id && slice_equals(welcome->cluster_id, own.cluster_id);
}

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    struct member *member = data;
    struct peers *peers = member->peers;
    bool is_refused;

    member->dial = NULL;
    if (channel != NULL && is_expected(member, welcome)) {
        log_info("peer", "connected peer=%016" PRIx64 " name=%.*s version=%.*s", member->id,
                 (int)welcome->name.size, (const char *)welcome->name.data,
                 (int)welcome->version.size, (const char *)welcome->version.data);
        channel_set_owner(channel, &out_events, member);
        member->out = channel;
        peers->options.on_up(peers->options.data, member->id);
        return;
    }
    channel_close(channel);
    if (channel == NULL && error->status == STATUS_CLOSED && peers->options.on_removed != NULL) {
        peers->options.on_removed(peers->options.data, error);
    }
    is_refused = channel != NULL || error->status == STATUS_CLOSED ||
                 error->status == STATUS_MISMATCH || error->status == STATUS_PERMISSION ||
                 error->status == STATUS_NOT_FOUND || error->status == STATUS_UNSUPPORTED;
    retry_later(member, is_refused ? RETRY_REFUSED_MS : RETRY_MS);
    if (is_refused && log_limit_allows(&peers->failed_limit, uv_now(peers->loop))) {
        log_warn("peer", "could not connect peer=%016" PRIx64 ": %s", member->id,
                 channel != NULL ? "another node answers there" : error->text);
    }
}

static void connect_member(struct member *member)
{
    struct peers *peers = member->peers;
    char address[LIMIT_ADDRESS_BYTES + 1];
    struct error error;

    retry_later(member, RETRY_REFUSED_MS);
    if (!peers->options.lookup(peers->options.data, member->id, address)) {
        return;
    }
    if (peers_dial(peers, address, PURPOSE_CONTROL, member->id, member, on_dialled, &member->dial,
                   &error) != STATUS_OK &&
        log_limit_allows(&peers->failed_limit, uv_now(peers->loop))) {
        log_warn("peer", "could not connect peer=%016" PRIx64 ": %s", member->id, error.text);
    }
}

/* --- Greetings and visitors --- */

static void drop_guest(struct guest *guest, bool keep_channel)
{
    queue_remove(&guest->link);
    guest->peers->n_guests--;
    if (!keep_channel) {
        channel_close(guest->channel);
    }
    buffer_close(&guest->hello);
    free(guest);
}

static void refuse(struct guest *guest, const struct error *why)
{
    struct peers *peers = guest->peers;
    struct frame frame = {.type = FRAME_REFUSED};
    char address[LIMIT_ADDRESS_BYTES + 1];

    if (why->status != STATUS_BUSY &&
        log_limit_allows(&peers->refused_limit, uv_now(peers->loop))) {
        channel_describe(guest->channel, address);
        log_warn("peer", "refused a connection from=%s: %s", address, why->text);
    }
    frame.refused.status = why->status;
    frame.refused.reason = slice_of_string(why->text);
    (void)channel_send(guest->channel, &frame); /* It is closed in any case. */
    channel_flush(guest->channel);
    drop_guest(guest, false);
}

static void welcome(const struct guest *guest, const struct frame_hello *hello)
{
    struct frame frame = {.type = FRAME_WELCOME};

    describe_self(guest->peers, hello->purpose, hello->id, &frame.hello);
    (void)channel_send(guest->channel, &frame); /* on_broken() tells of a failure. */
    channel_flush(guest->channel);
}

/* What those may do who are no members. */
static bool is_visit(enum frame_purpose purpose)
{
    return purpose == PURPOSE_BOOTSTRAP || purpose == PURPOSE_JOIN;
}

static bool was_removed(const struct peers *peers, uint64_t id)
{
    return find_member(peers, id) == NULL && peers->options.was_removed != NULL &&
           peers->options.was_removed(peers->options.data, id);
}

/* Are both of one cluster? A node that joins one belongs to it for this. */
static enum status check_cluster(const struct frame_hello *hello, const struct frame_hello *own,
                                 struct error *why)
{
    if (hello->identity == IDENTITY_EMPTY || !slice_equals(hello->cluster_id, own->cluster_id)) {
        return error_set(why, STATUS_MISMATCH,
                         "node \"%.*s\" is of cluster \"%.*s\", this one of \"%.*s\"",
                         (int)hello->name.size, (const char *)hello->name.data,
                         (int)hello->cluster_id.size, (const char *)hello->cluster_id.data,
                         (int)own->cluster_id.size, (const char *)own->cluster_id.data);
    }
    if (hello->expected_id != own->id) {
        return error_set(why, STATUS_MISMATCH,
                         "node %016" PRIx64 " was meant, but %016" PRIx64 " is here",
                         hello->expected_id, own->id);
    }
    return STATUS_OK;
}

/* Those who set the members may not know of this one yet. */
static bool is_met(const struct peers *peers, const struct frame_hello *hello,
                   const struct frame_hello *own)
{
    return hello->identity == IDENTITY_MEMBER && hello->id != own->id &&
           peers->options.on_stranger != NULL &&
           peers->options.on_stranger(peers->options.data, hello) &&
           find_member(peers, hello->id) != NULL;
}

/* What members alone may do: STATUS_OK, or why not. A node that knows nobody may have removed all
 * others, or may have begun alone and not have executed yet who came since: they are met then. */
static enum status check_member(const struct peers *peers, const struct frame_hello *hello,
                                const struct frame_hello *own, struct error *why)
{
    bool is_removed = was_removed(peers, hello->id);
    enum status status =
        own->identity == IDENTITY_EMPTY ? STATUS_OK : check_cluster(hello, own, why);

    if (status != STATUS_OK) {
        return status;
    }
    if (own->identity == IDENTITY_EMPTY ||
        (peers->n_members == 0 && !is_removed && !is_met(peers, hello, own))) {
        return error_set(why, STATUS_BUSY, "node \"%.*s\" is not in a cluster yet",
                         (int)own->name.size, (const char *)own->name.data);
    }
    if (is_removed) {
        return error_set(why, STATUS_CLOSED,
                         "node \"%.*s\" %016" PRIx64 " was removed from the cluster",
                         (int)hello->name.size, (const char *)hello->name.data, hello->id);
    }
    if (find_member(peers, hello->id) == NULL && !is_met(peers, hello, own)) {
        return error_set(why, STATUS_NOT_FOUND, "node \"%.*s\" %016" PRIx64 " is no member",
                         (int)hello->name.size, (const char *)hello->name.data, hello->id);
    }
    return STATUS_OK;
}

static enum status check_hello(const struct guest *guest, const struct frame *frame,
                               struct error *why)
{
    const struct peers *peers = guest->peers;
    struct frame_hello own;

    if (frame->type != FRAME_HELLO) {
        return error_set(why, STATUS_INVALID, "the first frame is no greeting");
    }
    if (frame->hello.protocol != FRAME_PROTOCOL) {
        return error_set(why, STATUS_UNSUPPORTED, "protocol %u is spoken here, not %u",
                         FRAME_PROTOCOL, (unsigned)frame->hello.protocol);
    }
    if (!peers->options.allow_insecure && !channel_is_loopback(guest->channel)) {
        return error_set(why, STATUS_PERMISSION,
                         "peers talk on this machine's loopback only, unless "
                         "--allow-insecure-peers is set");
    }
    if (is_visit(frame->hello.purpose)) {
        return STATUS_OK;
    }
    describe_self(peers, frame->hello.purpose, 0, &own);
    return check_member(peers, &frame->hello, &own, why);
}

static void on_request(void *data, struct channel *channel, const struct frame *request)
{
    struct guest *guest = data;
    struct peers *peers = guest->peers;
    struct frame hello;

    CHECK(frame_decode(buffer_slice(&guest->hello), &hello, NULL) == STATUS_OK);
    if (peers->options.on_bootstrap_request(peers->options.data, &hello.hello, request, channel)) {
        channel_flush(channel);
    } else {
        drop_guest(guest, false);
    }
}

static void on_broken_guest(void *data, struct channel *channel, const struct error *error)
{
    struct guest *guest = data;
    struct peers *peers = guest->peers;
    char address[LIMIT_ADDRESS_BYTES + 1];

    if (guest->deadline_ms != 0 && log_limit_allows(&peers->refused_limit, uv_now(peers->loop))) {
        channel_describe(channel, address);
        log_debug("peer", "a connection ended before its greeting from=%s: %s", address,
                  error->text);
    }
    drop_guest(guest, false);
}

static const struct channel_events visitor_events = {
    .on_frame = on_request,
    .on_broken = on_broken_guest,
};

static void become_visitor(struct guest *guest, const struct frame *hello)
{
    struct peers *peers = guest->peers;

    if (!peers->options.on_bootstrap_hello(peers->options.data, &hello->hello)) {
        drop_guest(guest, false);
        return;
    }
    frame_encode(hello, &guest->hello);
    guest->deadline_ms = 0;
    channel_lift_limit(guest->channel);
    channel_set_owner(guest->channel, &visitor_events, guest);
    welcome(guest, &hello->hello);
}

static void become_control(struct guest *guest, const struct frame_hello *hello)
{
    struct peers *peers = guest->peers;
    struct member *member = find_member(peers, hello->id);

    welcome(guest, hello);
    drop_in(member); /* An older one is dead, or the member would not have made this one. */
    member->in = guest->channel;
    channel_lift_limit(member->in);
    channel_set_owner(member->in, &in_events, member);
    drop_guest(guest, true);
    if (member->out != NULL) {
        peers->options.on_up(peers->options.data, member->id);
    }
}

/* For those who bring no frames of ours, or do so on another loop. */
static void give_away(struct guest *guest, const struct frame_hello *hello,
                      void (*take)(void *data, uint64_t peer, int fd))
{
    struct peers *peers = guest->peers;
    uint64_t id = hello->id;
    int fd;

    welcome(guest, hello);
    /* The member sends nothing before it is welcomed, so that nothing of what follows was read. */
    if (channel_detach(guest->channel, &fd) != STATUS_OK) {
        drop_guest(guest, false);
        return;
    }
    drop_guest(guest, false);
    take(peers->options.data, id, fd);
}

static void on_hello(void *data, struct channel *channel, const struct frame *frame)
{
    struct guest *guest = data;
    struct error why;

    (void)channel;
    if (check_hello(guest, frame, &why) != STATUS_OK) {
        refuse(guest, &why);
    } else if (is_visit(frame->hello.purpose)) {
        become_visitor(guest, frame);
    } else if (frame->hello.purpose == PURPOSE_RAFT) {
        give_away(guest, &frame->hello, guest->peers->options.on_raft);
    } else if (frame->hello.purpose == PURPOSE_BULK) {
        give_away(guest, &frame->hello, guest->peers->options.on_bulk);
    } else {
        become_control(guest, &frame->hello);
    }
}

static const struct channel_events greeting_events = {
    .on_frame = on_hello,
    .on_broken = on_broken_guest,
};

static void on_connection(uv_stream_t *listener, int rv)
{
    struct peers *peers = listener->data;
    struct guest *guest = memory_new_zeroed(1, sizeof *guest);
    struct channel *channel = NULL;
    struct error error;
    enum status status = STATUS_IO;

    if (rv != 0) {
        (void)error_set(&error, STATUS_IO, "%s", uv_strerror(rv)); /* For the log below. */
    } else {
        status = channel_open(peers->loop, &greeting_events, guest, &channel, &error);
    }
    if (status == STATUS_OK) {
        status = channel_accept(channel, listener, &error);
    }
    if (status == STATUS_OK && peers->n_guests >= MAX_GUESTS) {
        status = error_set(&error, STATUS_BUSY, "too many connections without a greeting");
    }
    if (status != STATUS_OK) {
        if (log_limit_allows(&peers->refused_limit, uv_now(peers->loop))) {
            log_warn("peer", "could not take a connection: %s", error.text);
        }
        channel_close(channel);
        free(guest);
        return;
    }
    guest->peers = peers;
    guest->channel = channel;
    guest->deadline_ms = uv_now(peers->loop) + peers->options.handshake_timeout_ms;
    queue_push(&peers->guests, &guest->link);
    peers->n_guests++;
}

/* --- Time --- */

static void expire_greetings(struct peers *peers, uint64_t now_ms)
{
    struct link *next;

    for (struct link *link = queue_first(&peers->guests); link != NULL; link = next) {
        struct guest *guest = CONTAINER_OF(link, struct guest, link);

        next = queue_next(&peers->guests, link);
        if (guest->deadline_ms != 0 && now_ms >= guest->deadline_ms) {
            drop_guest(guest, false);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now_ms = uv_now(peers->loop);

    expire_greetings(peers, now_ms);
    for (unsigned i = 0; i < peers->n_members; i++) {
        struct member *member = peers->members[i];

        if (member->out == NULL && member->dial == NULL && now_ms >= member->retry_at_ms) {
            connect_member(member);
        }
    }
}

/* --- Life --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct peers *peers = handle->data;
    void (*closed)(void *data) = peers->closed;
    void *data = peers->options.data;

    if (--peers->handles > 0) {
        return;
    }
    free(peers);
    if (closed != NULL) {
        closed(data);
    }
}

static enum status listen_address(const struct peers_options *options,
                                  struct sockaddr_storage *socket, struct error *error)
{
    struct address address;
    enum status status = address_parse(slice_of_string(options->listen_address), &address, error);

    if (status == STATUS_OK) {
        status = address_resolve_blocking(&address, socket, error);
    }
    if (status == STATUS_OK && !options->allow_insecure &&
        !address_is_loopback((const struct sockaddr *)socket)) {
        status = error_set(error, STATUS_PERMISSION,
                           "others could reach it, and the connections between nodes are not "
                           "encrypted: use an address of the loopback, or set "
                           "--allow-insecure-peers in a network that you trust");
    }
    return status;
}

static enum status start_listening(struct peers *peers, const struct sockaddr_storage *socket,
                                   struct error *error)
{
    int rv = uv_tcp_bind(&peers->listener, (const struct sockaddr *)socket, 0);

    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&peers->listener, BACKLOG, on_connection);
    }
    if (rv != 0) {
        return error_set(error, rv == UV_EADDRINUSE ? STATUS_BUSY : STATUS_IO, "%s",
                         uv_strerror(rv));
    }
    return STATUS_OK;
}

enum status peers_open(uv_loop_t *loop, const struct peers_options *options, struct peers **peers,
                       struct error *error)
{
    struct peers *opened = memory_new_zeroed(1, sizeof *opened);
    struct sockaddr_storage socket;
    enum status status = listen_address(options, &socket, error);

    if (status != STATUS_OK) {
        free(opened);
        goto err;
    }
    opened->options = *options;
    if (opened->options.handshake_timeout_ms == 0) {
        opened->options.handshake_timeout_ms = HANDSHAKE_MS;
    }
    opened->loop = loop;
    opened->random = identity_draw_id();
    queue_init(&opened->guests);
    CHECK(uv_tcp_init(loop, &opened->listener) == 0); /* Makes no socket yet. */
    CHECK(uv_timer_init(loop, &opened->timer) == 0);
    opened->listener.data = opened;
    opened->timer.data = opened;
    opened->handles = 2;
    status = start_listening(opened, &socket, error);
    if (status != STATUS_OK) {
        peers_close(opened, NULL);
        goto err;
    }
    CHECK(uv_timer_start(&opened->timer, on_tick, 0, TICK_MS) == 0);
    *peers = opened;
    return STATUS_OK;

err:
    return error_prefix(error, "could not listen on peer address %s", options->listen_address);
}

unsigned peers_port(const struct peers *peers)
{
    struct sockaddr_storage socket;
    char text[LIMIT_ADDRESS_BYTES + 1];
    struct address address;
    int size = sizeof socket;

    CHECK(uv_tcp_getsockname(&peers->listener, (struct sockaddr *)&socket, &size) == 0);
    address_format_socket((const struct sockaddr *)&socket, text);
    CHECK(address_parse(slice_of_string(text), &address, NULL) == STATUS_OK);
    return address.port;
}

static void drop_member(struct member *member)
{
    if (member->dial != NULL) {
        dial_cancel(member->dial);
    }
    channel_close(member->out);
    channel_close(member->in);
    free(member);
}

static bool contains(const uint64_t *ids, unsigned n_ids, uint64_t id)
{
    for (unsigned i = 0; i < n_ids; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

void peers_set(struct peers *peers, const uint64_t *ids, unsigned n_ids)
{
    CHECK(n_ids <= LIMIT_MEMBERS);
    for (unsigned i = peers->n_members; i > 0; i--) {
        struct member *member = peers->members[i - 1];

        if (!contains(ids, n_ids, member->id)) {
            peers->members[i - 1] = peers->members[--peers->n_members];
            drop_member(member);
        }
    }
    for (unsigned i = 0; i < n_ids; i++) {
        if (find_member(peers, ids[i]) == NULL) {
            struct member *member = memory_new_zeroed(1, sizeof *member);

            member->peers = peers;
            member->id = ids[i];
            peers->members[peers->n_members++] = member;
        }
    }
}

enum status peers_dial(struct peers *peers, const char *address, enum frame_purpose purpose,
                       uint64_t expected_id, void *data, dial_cb cb, struct dial **dial,
                       struct error *error)
{
    struct frame_hello hello;
    const struct dial_options options = {
        .address = address,
        .hello = &hello,
        .allow_insecure = peers->options.allow_insecure,
        .data = data,
        .cb = cb,
    };

    describe_self(peers, purpose, expected_id, &hello);
    return dial_start(peers->loop, &options, dial, error);
}

bool peers_send(struct peers *peers, uint64_t id, const struct frame *frame)
{
    struct member *member = find_member(peers, id);

    return member != NULL && member->out != NULL && channel_send(member->out, frame) == STATUS_OK;
}

void peers_flush(struct peers *peers)
{
    for (unsigned i = 0; i < peers->n_members; i++) {
        if (peers->members[i]->out != NULL) {
            channel_flush(peers->members[i]->out);
        }
    }
}

uint64_t peers_resets(const struct peers *peers)
{
    return peers->resets;
}

void peers_close(struct peers *peers, void (*closed)(void *data))
{
    struct link *link;

    peers->closed = closed;
    while ((link = queue_first(&peers->guests)) != NULL) {
        drop_guest(CONTAINER_OF(link, struct guest, link), false);
    }
    peers_set(peers, NULL, 0);
    uv_close((uv_handle_t *)&peers->listener, on_handle_closed);
    uv_close((uv_handle_t *)&peers->timer, on_handle_closed);
}
