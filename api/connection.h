/* The connections of one api thread: bytes in, requests to the router, answers out, in order.
 *
 * A connection works on one request at a time. What a client sends ahead is kept, up to a limit,
 * and what it does not read is kept, up to a limit; beyond either, nothing more is read from it.
 * Answers of one loop turn leave together: the thread calls connections_flush() at the end of each
 * turn. */
#ifndef HOLDFAST_API_CONNECTION_H
#define HOLDFAST_API_CONNECTION_H

#include <stdatomic.h>

#include "api/context.h"
#include "api/response.h"
#include "api/router.h"
#include "daemon/base/log.h"
#include "daemon/base/queue.h"

/* How long a client may take, in milliseconds. */
struct connection_times {
    unsigned idle_ms;       /* Between two requests; then the connection is closed. */
    unsigned head_ms;       /* From a request's first byte to the end of its head; then 408. */
    unsigned body_grace_ms; /* After which a body must have come with body_rate; else 408. */
    unsigned body_rate;     /* Bytes per second. */
    unsigned write_ms;      /* In which it reads nothing of an answer; then it is cut off. */
    unsigned linger_ms;     /* After the last answer, for it to be read. */
};

#define CONNECTION_TIMES_DEFAULT                                                                   \
    ((struct connection_times){.idle_ms = 75000,                                                   \
                               .head_ms = 10000,                                                   \
                               .body_grace_ms = 10000,                                             \
                               .body_rate = 4096,                                                  \
                               .write_ms = 30000,                                                  \
                               .linger_ms = 2000})

/* What the connections of all threads share. */
struct connections_shared {
    unsigned max_open;
    atomic_uint open;
    atomic_size_t large_bytes; /* Memory of buffers above LIMIT_AHEAD_BYTES. */
};

struct connections {
    struct api_thread *thread;
    struct connections_shared *shared;
    const struct route *routes;
    bool local_only; /* Serve local routes only. */
    struct connection_times times;
    uint64_t requests; /* Begun so far. */
    /* Private. */
    struct queue all;
    struct queue dirty; /* Those with answers to send. */
    unsigned count;
    bool draining;
    uv_timer_t sweep;
    struct log_limit log_limit;
    struct response_date date;
    uint8_t discarded[16384]; /* What is read and thrown away goes here. */
};

/* On the loop's thread. The first four fields and the times were set by the caller. */
void connections_start(struct connections *connections);

/* A client is at @listener's door. */
void connections_accept(struct connections *connections, uv_stream_t *listener);

/* Send what was answered since the last call. */
void connections_flush(struct connections *connections);

/* Close those that wait for a request; the others when their current one is answered. */
void connections_drain(struct connections *connections);

/* Close all. Requests that are being worked on are gone, and still have to be answered. */
void connections_cut(struct connections *connections);

/* Those that are open, or whose request is still being worked on. */
static inline unsigned connections_count(const struct connections *connections)
{
    return connections->count;
}

/* Stop the timer; no connection may be left. Its handle closes with the loop's next turn. */
void connections_stop(struct connections *connections);

#endif
