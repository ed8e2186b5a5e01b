/* The thread for state transfer: gives this node's state to others, and gets theirs if this one is
 * behind the leader's log. It may wait for the disk, and never makes anything else wait. */
#ifndef HOLDFAST_RAFT_STATE_TRANSFER_H
#define HOLDFAST_RAFT_STATE_TRANSFER_H

#include "raft/state_receiver.h"
#include "storage/image_spool.h"

struct state_transfer;

struct state_transfer_options {
    struct image_spools *spools;     /* Outlive the transfer. */
    const struct frame_hello *hello; /* Who this node is; borrowed for the transfer's life. */
    const char *directory;           /* Where a state is put together. */
    bool allow_insecure;
    uint64_t bytes_per_second; /* Sent to all others; 0: LIMIT_TRANSFER_RATE. */
    void *data;
    /* The transfer's thread: has this node executed @index? */
    bool (*has_executed)(void *data, uint64_t index);
    /* The same: the rate is not to be kept for now. May be NULL. */
    bool (*is_urgent)(void *data);
    /* The transfer's thread, once: the state is in the directory, durably. */
    void (*on_state)(void *data, const struct image_facts *facts);
};

/* STATUS_IO: no thread or loop could be had. */
MUST_USE enum status state_transfer_open(const struct state_transfer_options *options,
                                         struct state_transfer **transfer, struct error *error);

/* Any thread; see state_sender_accept() and state_receiver_want(). */
void state_transfer_accept(struct state_transfer *transfer, uint64_t peer, int fd);
void state_transfer_want(struct state_transfer *transfer, uint64_t min_index,
                         const struct state_donor *donors, unsigned n_donors);

struct state_transfer_statistics {
    struct state_progress receiving;
    uint64_t sent_bytes;
    uint64_t receivers; /* Connected at the moment. */
};
/* Any thread: as of 100 ms ago. */
void state_transfer_statistics(struct state_transfer *transfer,
                               struct state_transfer_statistics *statistics);

/* Stop the thread; waits for it. Nobody may use the transfer any more. Accepts NULL. */
void state_transfer_close(struct state_transfer *transfer);

#endif
