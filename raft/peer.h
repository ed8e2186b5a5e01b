/* The other nodes, as this one hears and reaches them.
 *
 * One listener takes all connections between nodes; the first frame of each says who is there and
 * what for. Towards each member this node keeps one control connection, on which it sends; what the
 * member sends comes on the one that the member made. A lost connection is made again after 50 to
 * 100 ms. Frames may get lost with it: whoever needs an answer asks again after on_up().
 *
 * The loop's thread alone. Callbacks run on the loop, never inside a call, and may not close the
 * peers. */
#ifndef HOLDFAST_RAFT_PEER_H
#define HOLDFAST_RAFT_PEER_H

#include "raft/dial.h"

struct peers;

struct peers_options {
    const char *listen_address;    /* HOST:PORT; port 0: the system chooses. */
    bool allow_insecure;           /* Take and make connections that leave this machine. */
    unsigned handshake_timeout_ms; /* 0: 5 s. */
    void *data;
    /* Fill in who this node is now: all but purpose and expected_id; borrowed until the next turn.
     */
    void (*describe)(void *data, struct frame_hello *hello);
    /* The address of member @id; false if it is unknown. */
    bool (*lookup)(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1]);
    /* A frame came from member @peer. */
    void (*on_frame)(void *data, uint64_t peer, const struct frame *frame);
    /* Frames can be sent to @peer, or those that it sent since the last time may be lost. */
    void (*on_up)(void *data, uint64_t peer);
    void (*on_down)(void *data, uint64_t peer);
    /* Member @peer made a connection for libraft; the callee owns @fd. */
    void (*on_raft)(void *data, uint64_t peer, int fd);
    /* A node of this cluster that is not among those that were set says that it is a member. True
     * if it was set by this call. May be NULL. */
    bool (*on_stranger)(void *data, const struct frame_hello *hello);
    /* Member @peer made a connection for state transfer; the callee owns @fd (channel_adopt()). */
    void (*on_bulk)(void *data, uint64_t peer, int fd);
    /* Was @id a member that is out of the cluster now? NULL: never. */
    bool (*was_removed)(void *data, uint64_t id);
    /* A member says that this node is none any more. NULL: not of interest. */
    void (*on_removed)(void *data, const struct error *why);
    /* Forming a cluster, or joining one (PURPOSE_JOIN): someone connected for that (before this
     * node describes itself), and asked something. False: end the connection. */
    bool (*on_bootstrap_hello)(void *data, const struct frame_hello *hello);
    bool (*on_bootstrap_request)(void *data, const struct frame_hello *hello,
                                 const struct frame *request, struct channel *channel);
};

/* Listens when this returns. STATUS_INVALID, STATUS_NOT_FOUND: the address; STATUS_PERMISSION: it
 * is not of this machine alone and that is not allowed; STATUS_BUSY: the port is taken; STATUS_IO.
 */
MUST_USE enum status peers_open(uv_loop_t *loop, const struct peers_options *options,
                                struct peers **peers, struct error *error);

/* The port that it listens on. */
unsigned peers_port(const struct peers *peers);

/* Who the others are, without this node; connections to and from those who are not are ended. */
void peers_set(struct peers *peers, const uint64_t *ids, unsigned n_ids);

/* A connection to @address, for @purpose; see dial.h. */
MUST_USE enum status peers_dial(struct peers *peers, const char *address,
                                enum frame_purpose purpose, uint64_t expected_id, void *data,
                                dial_cb cb, struct dial **dial, struct error *error);

/* Queue a frame, copied. False: there is no connection, it is lost. */
bool peers_send(struct peers *peers, uint64_t id, const struct frame *frame);
/* At the end of a loop turn: what was queued leaves. */
void peers_flush(struct peers *peers);

/* Connections that were reset because the other side did not read. */
uint64_t peers_resets(const struct peers *peers);

/* @closed (which may be NULL) runs from the loop, and then nothing is left. No other callback runs
 * from now on. */
void peers_close(struct peers *peers, void (*closed)(void *data));

#endif
