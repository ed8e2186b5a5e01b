/* Connecting:
 * 1. on_connect() looks the member's address up and dials.
 * 2. on_dialled() wraps the descriptor in a stream of libraft's, and gives it away.
 * 3. on_stirred() sees it end: libraft does not read it, and would notice a dead peer by losing
 *    messages.
 *
 * What can go wrong: the member is unknown, not there, or another: RAFT_NOCONNECTION, and libraft
 * tries again later. libraft closes the transport meanwhile: RAFT_CANCELED. */
#include "raft/transport.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"

struct attempt {
    struct link link;
    struct transport *transport;
    struct raft_uv_connect *request;
    uint64_t id;
    struct dial *dial;
};

/* A stream that this node made, as long as it lives. */
struct watch {
    struct link link;
    uv_poll_t poll;
    int fd; /* Our own copy. */
};

struct transport {
    struct raft_uv_transport raft;
    uv_loop_t *loop;
    struct peers *peers;
    void *data;
    bool (*lookup)(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1]);
    bool is_abandoned;
    raft_uv_accept_cb accept; /* NULL: libraft does not listen. */
    struct queue attempts;
    struct queue watches;
    uv_timer_t closer; /* Ends raft_uv_transport.close() from the loop. */
    bool closer_is_open;
    raft_uv_transport_close_cb closed;
    struct log_limit limit;
};

/* --- Streams --- */

/* libraft closes it with uv_close() and raft_free(). Takes @fd. NULL: it is of no use. */
static uv_stream_t *stream_of(struct transport *transport, int fd)
{
    uv_tcp_t *tcp = raft_malloc(sizeof *tcp);
    int rv;

    CHECK(tcp != NULL); /* raft_malloc() is malloc(); see memory.h. */
    CHECK(uv_tcp_init(transport->loop, tcp) == 0);
    rv = uv_tcp_open(tcp, fd);
    if (rv == 0) {
        return (uv_stream_t *)tcp;
    }
    log_warn("transport", "could not use a connection: %s", uv_strerror(rv));
    (void)close(fd); /* Nothing was written. */
    uv_close((uv_handle_t *)tcp, (uv_close_cb)raft_free);
    return NULL;
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_watch(struct watch *watch)
{
    queue_remove(&watch->link);
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
    (void)close(watch->fd); /* libraft has its own. */
}

/* The peer ended the stream, or sent what nobody asked for. The next write of libraft's fails,
 * later and from the loop, which makes it connect anew. */
static void on_stirred(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;

    (void)status;
    (void)events;
    (void)shutdown(watch->fd, SHUT_RDWR); /* It may be gone already. */
    end_watch(watch);
}

/* Watch a copy of @fd. Reading libuv's stream would do, were it not that after a failed read libuv
 * refuses writes at once, a refusal after which libraft keeps the dead stream for ever. */
static bool watch_end(struct transport *transport, int fd)
{
    struct watch *watch;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0) {
        return false;
    }
    watch = memory_new_zeroed(1, sizeof *watch);
    if (uv_poll_init(transport->loop, &watch->poll, copy) != 0) {
        (void)close(copy); /* Nothing was written. */
        free(watch);
        return false;
    }
    watch->fd = copy;
    watch->poll.data = watch;
    queue_push(&transport->watches, &watch->link);
    CHECK(uv_poll_start(&watch->poll, UV_READABLE | UV_DISCONNECT, on_stirred) == 0);
    return true;
}

/* --- Connecting --- */

static void finish(struct attempt *attempt, uv_stream_t *stream, int status)
{
    struct raft_uv_connect *request = attempt->request;

    queue_remove(&attempt->link);
    free(attempt);
    request->cb(request, stream, status);
}

static uv_stream_t *take_stream(struct transport *transport, struct channel *channel)
{
    int fd;

    if (channel_detach(channel, &fd) != STATUS_OK) {
        return NULL;
    }
    if (!watch_end(transport, fd)) {
        (void)close(fd); /* Nothing was written. */
        return NULL;
    }
    return stream_of(transport, fd);
}

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    struct attempt *attempt = data;
    struct transport *transport = attempt->transport;
    uv_stream_t *stream = NULL;

    attempt->dial = NULL;
    if (channel == NULL) {
        if (error->status == STATUS_MISMATCH &&
            log_limit_allows(&transport->limit, uv_now(transport->loop))) {
            log_warn("transport", "could not connect peer=%016" PRIx64 ": %s", attempt->id,
                     error->text);
        }
    } else if (welcome->id == attempt->id) {
        stream = take_stream(transport, channel);
    }
    channel_close(channel);
    finish(attempt, stream, stream == NULL ? RAFT_NOCONNECTION : 0);
}

static int on_connect(struct raft_uv_transport *raft, struct raft_uv_connect *request, raft_id id,
                      const char *address, raft_uv_connect_cb cb)
{
    struct transport *transport = raft->impl;
    char reachable[LIMIT_ADDRESS_BYTES + 1];
    struct attempt *attempt;
    struct error error;

    (void)address; /* The id once more. */
    if (transport->is_abandoned || !transport->lookup(transport->data, id, reachable)) {
        return RAFT_NOCONNECTION;
    }
    attempt = memory_new_zeroed(1, sizeof *attempt);
    if (peers_dial(transport->peers, reachable, PURPOSE_RAFT, id, attempt, on_dialled,
                   &attempt->dial, &error) != STATUS_OK) {
        (void)snprintf(raft->errmsg, sizeof raft->errmsg, "%.200s", error.text); /* Fits. */
        free(attempt);
        return RAFT_NOCONNECTION;
    }
    attempt->transport = transport;
    attempt->request = request;
    attempt->id = id;
    request->cb = cb;
    queue_push(&transport->attempts, &attempt->link);
    return 0;
}

/* --- Listening --- */

static int on_init(struct raft_uv_transport *raft, raft_id id, const char *address)
{
    (void)raft; /* The peers know who this node is. */
    (void)id;
    (void)address;
    return 0;
}

static int on_listen(struct raft_uv_transport *raft, raft_uv_accept_cb cb)
{
    struct transport *transport = raft->impl;

    transport->accept = cb;
    return 0;
}

void transport_accept(struct transport *transport, uint64_t id, int fd)
{
    char address[17];
    uv_stream_t *stream;

    if (transport->accept == NULL) {
        (void)close(fd); /* The member tries again. */
        return;
    }
    stream = stream_of(transport, fd);
    if (stream != NULL) {
        (void)snprintf(address, sizeof address, "%016" PRIx64, id); /* Fits. */
        transport->accept(&transport->raft, id, address, stream);
    }
}

/* --- Life --- */

static void stop_all(struct transport *transport, bool tell)
{
    struct link *link;

    transport->accept = NULL;
    while ((link = queue_first(&transport->attempts)) != NULL) {
        struct attempt *attempt = CONTAINER_OF(link, struct attempt, link);

        dial_cancel(attempt->dial);
        if (tell) {
            finish(attempt, NULL, RAFT_CANCELED);
        } else {
            queue_remove(link);
            free(attempt);
        }
    }
    while ((link = queue_first(&transport->watches)) != NULL) {
        end_watch(CONTAINER_OF(link, struct watch, link));
    }
}

static void on_closer_closed(uv_handle_t *handle)
{
    struct transport *transport = handle->data;

    transport->closer_is_open = false;
    transport->closed(&transport->raft);
}

static void on_close(uv_timer_t *closer)
{
    struct transport *transport = closer->data;

    stop_all(transport, true);
    uv_close((uv_handle_t *)closer, on_closer_closed);
}

static void on_raft_close(struct raft_uv_transport *raft, raft_uv_transport_close_cb cb)
{
    struct transport *transport = raft->impl;

    transport->accept = NULL;
    transport->closed = cb;
    CHECK(uv_timer_init(transport->loop, &transport->closer) == 0);
    transport->closer.data = transport;
    transport->closer_is_open = true;
    CHECK(uv_timer_start(&transport->closer, on_close, 0, 0) == 0);
}

struct transport *transport_open(uv_loop_t *loop, struct peers *peers, void *data,
                                 bool (*lookup)(void *data, uint64_t id,
                                                char address[LIMIT_ADDRESS_BYTES + 1]))
{
    struct transport *transport = memory_new_zeroed(1, sizeof *transport);

    transport->raft.version = 1;
    transport->raft.impl = transport; /* libraft overwrites "data", never this. */
    transport->raft.init = on_init;
    transport->raft.listen = on_listen;
    transport->raft.connect = on_connect;
    transport->raft.close = on_raft_close;
    transport->loop = loop;
    transport->peers = peers;
    transport->data = data;
    transport->lookup = lookup;
    queue_init(&transport->attempts);
    queue_init(&transport->watches);
    return transport;
}

struct raft_uv_transport *transport_raft(struct transport *transport)
{
    return &transport->raft;
}

void transport_abandon(struct transport *transport)
{
    transport->is_abandoned = true;
    stop_all(transport, false);
}

void transport_close(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    CHECK(queue_is_empty(&transport->attempts) && queue_is_empty(&transport->watches) &&
          !transport->closer_is_open);
    free(transport);
}
