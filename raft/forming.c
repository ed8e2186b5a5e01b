/* 1. on_tick() dials each named node that is not connected.
 * 2. on_dialled() tells bootstrap who answered. The coordinator keeps the connection, to ask on it;
 *    the others only wanted to know, and ask again after a while.
 * 3. on_frame() brings answers; forming_asked() takes requests that came on others' connections.
 * 4. on_tick() sees that this node is a member, and ends. The coordinator waits a moment for all to
 *    have heard; who has not will ask a member.
 *
 * What can go wrong: see bootstrap.h. What an operator may mend is tried again, with a warning. */
#include "raft/forming.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "raft/address.h"

#define TICK_MS         20
#define RETRY_MS        100
#define RETRY_MENDED_MS 1000 /* After something that an operator has to mend. */
#define ASK_AGAIN_MS    250  /* Of nodes that do not coordinate: what has become of the others? */
#define SETTLE_MS       2000
#define TELL_MS         5000 /* Between two lines of whom it waits for. */

struct other {
    struct forming *forming;
    unsigned number;
    struct dial *dial;
    struct channel *channel;
    uint64_t retry_at_ms;
};

struct forming {
    struct forming_options options;
    struct bootstrap *bootstrap;
    uv_timer_t timer;
    struct other others[LIMIT_MEMBERS];
    uint64_t formed_at_ms; /* 0: not yet. */
    uint64_t tell_at_ms;
    struct log_limit limit;
    bool failed;
    struct error error; /* Why it failed; told from on_tick(). */
};

const struct identity *forming_identity(const struct forming *forming)
{
    return bootstrap_identity(forming->bootstrap);
}

static uint64_t now_ms(const struct forming *forming)
{
    return uv_now(forming->options.loop);
}

static void hang_up(struct other *other, unsigned retry_ms)
{
    struct forming *forming = other->forming;

    channel_close(other->channel);
    other->channel = NULL;
    other->retry_at_ms = now_ms(forming) + retry_ms;
    bootstrap_lost(forming->bootstrap, other->number);
}

/* True if it was STATUS_OK. What is final is told by on_tick(), outside of any callback. */
static bool look(struct forming *forming, enum status status, const struct error *error)
{
    if (status == STATUS_OK) {
        return true;
    }
    if (status == STATUS_INVALID) {
        if (log_limit_allows(&forming->limit, now_ms(forming))) {
            log_warn("cluster", "cannot form yet: %s", error->text);
        }
    } else if (!forming->failed) {
        forming->failed = true;
        forming->error = *error;
    }
    return false;
}

/* --- Asking --- */

static void on_send(void *data, unsigned peer, const struct frame *frame)
{
    struct forming *forming = data;
    struct other *other = &forming->others[peer];

    CHECK(other->channel != NULL);
    (void)channel_send(other->channel, frame); /* on_broken() tells of a failure. */
    channel_flush(other->channel);
}

static void on_frame(void *data, struct channel *channel, const struct frame *frame)
{
    struct other *other = data;
    struct forming *forming = other->forming;
    struct error error;

    (void)channel;
    if (frame->type != FRAME_BOOTSTRAP_PREPARED && frame->type != FRAME_BOOTSTRAP_COMMITTED &&
        frame->type != FRAME_REFUSED) {
        hang_up(other, RETRY_MENDED_MS);
        return;
    }
    if (!look(forming, bootstrap_answered(forming->bootstrap, other->number, frame, &error),
              &error)) {
        hang_up(other, RETRY_MENDED_MS);
    }
}

static void on_broken(void *data, struct channel *channel, const struct error *error)
{
    struct other *other = data;

    (void)channel;
    (void)error; /* It was restarted, or ends: it is asked again. */
    hang_up(other, RETRY_MS);
}

static const struct channel_events events = {.on_frame = on_frame, .on_broken = on_broken};

static bool coordinates(const struct forming *forming)
{
    return bootstrap_coordinates(forming->bootstrap);
}

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    struct other *other = data;
    struct forming *forming = other->forming;
    struct error why;

    other->dial = NULL;
    if (channel == NULL) {
        other->retry_at_ms = now_ms(forming) + RETRY_MS;
        if (error->status != STATUS_IO && log_limit_allows(&forming->limit, now_ms(forming))) {
            log_warn("cluster", "could not connect: %s", error->text);
        }
        return;
    }
    channel_set_owner(channel, &events, other);
    other->channel = channel;
    if (!look(forming, bootstrap_met(forming->bootstrap, other->number, welcome, &why), &why)) {
        hang_up(other, RETRY_MENDED_MS);
    } else if (!coordinates(forming)) {
        hang_up(other, ASK_AGAIN_MS);
    }
}

static void dial_other(struct other *other)
{
    struct forming *forming = other->forming;
    struct error error;

    other->retry_at_ms = now_ms(forming) + RETRY_MENDED_MS;
    if (peers_dial(forming->options.peers,
                   bootstrap_peer_address(forming->bootstrap, other->number), PURPOSE_BOOTSTRAP, 0,
                   other, on_dialled, &other->dial, &error) != STATUS_OK &&
        log_limit_allows(&forming->limit, now_ms(forming))) {
        log_warn("cluster", "could not connect: %s", error.text);
    }
}

/* --- Being asked --- */

bool forming_heard(struct forming *forming, const struct frame_hello *hello)
{
    struct error error;

    return look(forming, bootstrap_heard(forming->bootstrap, hello, &error), &error);
}

bool forming_asked(struct forming *forming, const struct frame_hello *hello,
                   const struct frame *request, struct channel *channel)
{
    struct frame reply;
    struct error text;
    struct error error;

    if (!look(forming, bootstrap_asked(forming->bootstrap, hello, request, &reply, &text, &error),
              &error)) {
        return false;
    }
    if (reply.type == FRAME_REFUSED && log_limit_allows(&forming->limit, now_ms(forming))) {
        log_warn("cluster", "refused to form a cluster with node=%.*s: %s", (int)hello->name.size,
                 (const char *)hello->name.data, text.text);
    }
    return channel_send(channel, &reply) == STATUS_OK;
}

/* --- Time --- */

static void tell_who_is_missing(struct forming *forming)
{
    struct buffer missing = BUFFER_EMPTY;

    if (now_ms(forming) < forming->tell_at_ms) {
        return;
    }
    forming->tell_at_ms = now_ms(forming) + TELL_MS;
    bootstrap_describe(forming->bootstrap, &missing);
    if (missing.size > 0 && coordinates(forming)) {
        log_info("cluster", "waiting to form the cluster until these nodes run: %.*s",
                 (int)missing.size, (const char *)missing.data);
    } else {
        log_info("cluster", "waiting for the node that is named first to form the cluster");
    }
    buffer_close(&missing);
}

/* True if the callback ran: @forming is gone. */
static bool end_if_formed(struct forming *forming)
{
    if (forming_identity(forming)->stage != IDENTITY_MEMBER) {
        return false;
    }
    if (forming->formed_at_ms == 0) {
        forming->formed_at_ms = now_ms(forming);
        log_info("cluster", "formed cluster=%s id=%016llx members=%u",
                 forming_identity(forming)->cluster_id,
                 (unsigned long long)forming_identity(forming)->id,
                 forming_identity(forming)->n_members);
    }
    if (coordinates(forming) && !bootstrap_is_settled(forming->bootstrap) &&
        now_ms(forming) < forming->formed_at_ms + SETTLE_MS) {
        return false;
    }
    forming->options.on_formed(forming->options.data);
    return true;
}

static void on_tick(uv_timer_t *timer)
{
    struct forming *forming = timer->data;

    if (end_if_formed(forming)) {
        return; /* A member that met a stranger is a member still. */
    }
    if (forming->failed && forming_identity(forming)->stage != IDENTITY_MEMBER) {
        forming->options.on_failed(forming->options.data, &forming->error);
        return;
    }
    for (unsigned i = 0; i < bootstrap_peers(forming->bootstrap); i++) {
        struct other *other = &forming->others[i];

        if (other->channel == NULL && other->dial == NULL &&
            now_ms(forming) >= other->retry_at_ms) {
            dial_other(other);
        }
    }
    if (forming_identity(forming)->stage != IDENTITY_MEMBER) {
        tell_who_is_missing(forming);
    }
}

/* --- Life --- */

static enum status on_store(void *data, const struct identity *identity, struct error *error)
{
    struct forming *forming = data;

    return identity_store(forming->options.directory, identity, error);
}

/* What can be seen in the list itself; host names are looked at when they are dialled. */
static enum status check_addresses(const struct forming *forming, struct error *error)
{
    for (unsigned i = 0; i < bootstrap_peers(forming->bootstrap); i++) {
        const char *text = bootstrap_peer_address(forming->bootstrap, i);
        struct sockaddr_storage socket;
        struct address address;

        CHECK(address_parse(slice_of_string(text), &address, NULL) == STATUS_OK);
        if (!forming->options.allow_insecure && address_is_literal(&address, &socket) &&
            !address_is_loopback((const struct sockaddr *)&socket)) {
            return error_set(error, STATUS_PERMISSION,
                             "initial cluster: %s is not on this machine, and the connections "
                             "between nodes are not encrypted: set --allow-insecure-peers in a "
                             "network that you trust",
                             text);
        }
    }
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

enum status forming_open(const struct forming_options *options, const struct identity *identity,
                         struct forming **forming, struct error *error)
{
    struct forming *opened = memory_new_zeroed(1, sizeof *opened);
    const struct bootstrap_options bootstrap_options = {
        .name = options->name,
        .peer_address = options->peer_address,
        .api_address = options->api_address,
        .initial_cluster = options->initial_cluster,
        .data = opened,
        .store = on_store,
        .send = on_send,
    };
    enum status status;

    opened->options = *options;
    status = bootstrap_open(&bootstrap_options, identity, &opened->bootstrap, error);
    if (status == STATUS_OK) {
        status = check_addresses(opened, error);
    }
    if (status != STATUS_OK) {
        bootstrap_close(opened->bootstrap);
        free(opened);
        return status;
    }
    for (unsigned i = 0; i < bootstrap_peers(opened->bootstrap); i++) {
        opened->others[i].forming = opened;
        opened->others[i].number = i;
    }
    CHECK(uv_timer_init(options->loop, &opened->timer) == 0);
    opened->timer.data = opened;
    CHECK(uv_timer_start(&opened->timer, on_tick, 0, TICK_MS) == 0);
    opened->tell_at_ms = uv_now(options->loop) + TELL_MS / 2;
    *forming = opened;
    return STATUS_OK;
}

void forming_close(struct forming *forming)
{
    if (forming == NULL) {
        return;
    }
    for (unsigned i = 0; i < bootstrap_peers(forming->bootstrap); i++) {
        if (forming->others[i].dial != NULL) {
            dial_cancel(forming->others[i].dial);
        }
        channel_close(forming->others[i].channel);
    }
    bootstrap_close(forming->bootstrap);
    uv_close((uv_handle_t *)&forming->timer, on_timer_closed);
}
