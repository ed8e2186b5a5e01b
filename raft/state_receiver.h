/* State transfer, the receiving side: a member that is behind the leader's log gets the whole state
 * from another member (state_sender.h), and puts it together in a directory of its own.
 *
 * It asks one member after the other, takes pieces as fast as they come, and has each checked and
 * written before it asks for more. What was durable is not asked for again: not after a lost
 * connection, not after a restart, and from another member too if it has the same image.
 *
 * One loop's thread, which may wait for the disk. */
#ifndef HOLDFAST_RAFT_STATE_RECEIVER_H
#define HOLDFAST_RAFT_STATE_RECEIVER_H

#include <uv.h>

#include "daemon/base/limits.h"
#include "raft/frame.h"
#include "storage/image.h"

struct state_receiver;

struct state_receiver_options {
    uv_loop_t *loop;
    const char *directory;           /* Where it is put together; made if it is missing. */
    const struct frame_hello *hello; /* Who this node is; borrowed for the receiver's life. */
    bool allow_insecure;             /* Connections may leave this machine. */
    void *data;
    /* Once: the directory is a store with @facts, durably. Nothing is received any more. */
    void (*on_done)(void *data, const struct image_facts *facts);
};

struct state_receiver *state_receiver_open(const struct state_receiver_options *options);

struct state_donor {
    uint64_t id;
    char address[LIMIT_ADDRESS_BYTES + 1];
};

/* A state that has executed @min_index is wanted, from one of these members, the best first. Called
 * again when that changes; a transfer that runs goes on if it is new enough. */
void state_receiver_want(struct state_receiver *receiver, uint64_t min_index,
                         const struct state_donor *donors, unsigned n_donors);

/* All but the rate. */
void state_receiver_progress(const struct state_receiver *receiver,
                             struct state_progress *progress);

/* What was received stays. @closed runs from the loop when nothing is left. */
void state_receiver_close(struct state_receiver *receiver, void (*closed)(void *data), void *data);

#endif
