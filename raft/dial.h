/* Making one connection to another node: look its address up, connect, say HELLO, and be welcomed.
 *
 * Tries each IP address of a host name in turn. The loop's thread alone. */
#ifndef HOLDFAST_RAFT_DIAL_H
#define HOLDFAST_RAFT_DIAL_H

#include "raft/channel.h"

#define DIAL_CONNECT_MS   1000
#define DIAL_HANDSHAKE_MS 5000

struct dial;

/* Exactly once, from the loop. On success @channel is the callee's, who sets its owner at once, and
 * @welcome borrows from it during the call; else both are NULL and @error says why:
 * STATUS_NOT_FOUND, STATUS_IO, STATUS_TIMEOUT; STATUS_PERMISSION: not this machine, and insecure
 * peers are not allowed; or the status with which the other side refused. */
typedef void (*dial_cb)(void *data, struct channel *channel, const struct frame_hello *welcome,
                        const struct error *error);

struct dial_options {
    const char *address;             /* HOST:PORT; copied. */
    const struct frame_hello *hello; /* Copied. */
    bool allow_insecure;             /* May leave this machine. */
    void *data;
    dial_cb cb;
};

/* STATUS_INVALID: no address. STATUS_IO. */
MUST_USE enum status dial_start(uv_loop_t *loop, const struct dial_options *options,
                                struct dial **dial, struct error *error);

/* The callback does not run any more. Not after it ran. */
void dial_cancel(struct dial *dial);

#endif
