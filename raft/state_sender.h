/* State transfer, the sending side: gives images of this node's state to members that are behind
 * the leader's log (state_receiver.h).
 *
 * The receiver asks for an image that is not older than some index, is offered one, and pulls its
 * pieces one by one, in any order and as often as it likes. So nothing is sent faster than it is
 * taken, a transfer goes on where it was after a lost connection, and the sender keeps nothing
 * about it. What all receivers together get is limited to a rate, of the state's own bytes: a
 * piece costs what it holds when it is unpacked, as that is what the receiver has to write.
 *
 * One loop's thread, which may wait for the disk. */
#ifndef HOLDFAST_RAFT_STATE_SENDER_H
#define HOLDFAST_RAFT_STATE_SENDER_H

#include <uv.h>

#include "daemon/base/error.h"
#include "daemon/base/mailbox.h"
#include "storage/image_spool.h"

struct state_sender;

struct state_sender_options {
    uv_loop_t *loop;
    struct mailbox *home; /* On that loop. */
    struct image_spools *spools;
    const char *cluster_id;
    uint64_t bytes_per_second; /* Of state, to all receivers; 0: LIMIT_TRANSFER_RATE. */
    /* Has this node executed @index? An image from before is not offered. */
    bool (*has_executed)(void *data, uint64_t index);
    bool (*is_urgent)(void *data); /* The rate is not to be kept for now. May be NULL. */
    void *data;
};

struct state_sender *state_sender_open(const struct state_sender_options *options);

/* Member @peer made a connection for that, which is the sender's now. */
void state_sender_accept(struct state_sender *sender, uint64_t peer, int fd);

/* Bytes of pieces that were sent, and receivers that are connected. */
uint64_t state_sender_bytes(const struct state_sender *sender);
unsigned state_sender_receivers(const struct state_sender *sender);

/* End all transfers. @closed runs from the loop when nothing is left. */
void state_sender_close(struct state_sender *sender, void (*closed)(void *data), void *data);

#endif
