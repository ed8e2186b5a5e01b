/* One connection between two nodes that carries frames: the one place that owns its byte stream, so
 * that TLS can slip in here.
 *
 * What is sent in one loop turn leaves together, with channel_flush(). What waits is bounded by
 * LIMIT_PEER_QUEUE_BYTES; beyond, the channel is broken. The loop's thread alone uses a channel. */
#ifndef HOLDFAST_RAFT_CHANNEL_H
#define HOLDFAST_RAFT_CHANNEL_H

#include <uv.h>

#include "daemon/base/error.h"
#include "raft/frame.h"

/* Until both sides know each other, only short frames are taken. */
#define CHANNEL_HANDSHAKE_BYTES 4096u

struct channel;

/* The callbacks run on the loop, never inside a call of this module, and may close the channel. */
struct channel_events {
    void (*on_connected)(void *data, struct channel *channel); /* After channel_connect(). */
    /* @frame borrows from the channel during the call. */
    void (*on_frame)(void *data, struct channel *channel, const struct frame *frame);
    /* Nothing comes or goes any more; once. The callee closes the channel. */
    void (*on_broken)(void *data, struct channel *channel, const struct error *error);
};

/* A channel without a connection. @events is borrowed for its life. STATUS_IO. */
MUST_USE enum status channel_open(uv_loop_t *loop, const struct channel_events *events, void *data,
                                  struct channel **channel, struct error *error);
/* Change who gets the callbacks. */
void channel_set_owner(struct channel *channel, const struct channel_events *events, void *data);

/* Connect, or take the next connection of @listener; then read. on_connected() runs only after
 * connecting. STATUS_IO with why not. */
MUST_USE enum status channel_connect(struct channel *channel, const struct sockaddr *address,
                                     struct error *error);
MUST_USE enum status channel_accept(struct channel *channel, uv_stream_t *listener,
                                    struct error *error);

/* Take over a connection that was detached from another one, maybe on another loop; the descriptor
 * is the channel's on success. Frames up to LIMIT_FRAME_BYTES are taken. STATUS_IO. */
MUST_USE enum status channel_adopt(struct channel *channel, int fd, struct error *error);

/* The other end, "?" if unknown; is it this machine? */
void channel_describe(const struct channel *channel, char text[LIMIT_ADDRESS_BYTES + 1]);
bool channel_is_loopback(const struct channel *channel);

/* The handshake is over: take frames up to LIMIT_FRAME_BYTES. */
void channel_lift_limit(struct channel *channel);

/* Queue a frame, copied. STATUS_BUSY: too much waits. STATUS_CLOSED: broken. on_broken() tells of
 * both, so that the status may be ignored. */
enum status channel_send(struct channel *channel, const struct frame *frame);
/* Give what is queued to the system, as far as it takes it; the rest follows by itself. */
void channel_flush(struct channel *channel);
size_t channel_queued_bytes(const struct channel *channel);

/* Take the connection away, as a descriptor that the caller owns; then close the channel.
 * STATUS_BUSY if bytes of it were read too many or not all are written: it is of no use to another.
 * STATUS_IO if there are no more descriptors. */
MUST_USE enum status channel_detach(struct channel *channel, int *fd);

/* No callback runs any more; the memory is released later, from the loop. Accepts NULL. */
void channel_close(struct channel *channel);

/* What every connection between nodes gets: no delay, and a limit on silence. */
void channel_tune(int fd);

#endif
