/* A raft_io in memory: a disk that outlives crashes of its node, and a way to send.
 *
 * What was appended is on the disk only when its callback fires; a crash loses what was not, or
 * keeps a part of it. Messages are copied; where they go is the cluster's business. */
#ifndef HOLDFAST_TESTS_SIM_SIM_IO_H
#define HOLDFAST_TESTS_SIM_SIM_IO_H

#include <raft.h>

#include "daemon/base/buffer.h"
#include "daemon/base/queue.h"
#include "tests/sim/sim.h"

struct sim_entry {
    raft_term term;
    enum raft_entry_type type;
    bool begins_batch; /* Written apart from the one before: they are loaded apart, too. */
    struct buffer bytes;
};

/* What survives. */
struct sim_disk {
    raft_term term;
    raft_id vote;
    uint64_t start; /* Index of the first entry. */
    size_t n_entries;
    size_t capacity;
    struct sim_entry *entries;
    bool has_snapshot;
    uint64_t snapshot_index;
    raft_term snapshot_term;
    uint64_t snapshot_configuration_index;
    struct buffer snapshot_configuration;
    struct buffer snapshot_data;
};

void sim_disk_init(struct sim_disk *disk);
void sim_disk_close(struct sim_disk *disk);
/* Of the entries' payloads. */
uint64_t sim_disk_bytes(const struct sim_disk *disk);
/* Entries from @index on are gone. */
void sim_disk_cut(struct sim_disk *disk, uint64_t index);

/* One life of a node. */
struct sim_io {
    struct raft_io io;
    struct sim *sim;
    struct sim_disk *disk;
    const struct sim_owner *owner; /* The node. */
    unsigned number;               /* Of the node, for the trace. */
    unsigned slow_ms;              /* Added to each write. */
    uint64_t state_index;          /* Of the state that this life began with. */
    bool fail_next;                /* The next write of entries fails, and all behind it. */
    unsigned tick_ms;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    void *data;
    /* A message leaves; it is borrowed. Gives for how many ms it is not off this node yet. */
    unsigned (*on_send)(void *data, const struct raft_message *message);
    /* Entries from @index on are cut off, which had been given to the disk. May be NULL. */
    void (*on_cut)(void *data, uint64_t index);
    /* This configuration is given to the disk. May be NULL. */
    void (*on_configuration)(void *data, const struct raft_configuration *configuration);
    /* Something was called back: the node's turn ends. */
    void (*on_turn)(void *data);
    /* Private. */
    bool has_failed;     /* Nothing is written any more. */
    uint64_t next_index; /* Behind the last entry given to the disk. */
    uint64_t busy_until_ms;
    struct queue writes; /* Not finished, in order. */
};

void sim_io_init(struct sim_io *io, struct sim *sim, struct sim_disk *disk,
                 const struct sim_owner *owner);

/* The node dies: what was being written is lost from some point on, at random. */
void sim_io_crash(struct sim_io *io);

/* A copy of a message that can be delivered later, and be released. */
struct sim_message;
struct sim_message *sim_message_copy(const struct raft_message *message);
void sim_message_deliver(struct sim_message *message, struct sim_io *to, uint64_t from);
/* What it says, into the trace. */
void sim_message_note(const struct sim_message *message, struct sim *sim, unsigned from,
                      unsigned to);
void sim_message_release(struct sim_message *message);

#endif
