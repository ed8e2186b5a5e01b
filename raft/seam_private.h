/* What seam.c (the life of libraft), seam_io.c (its wrapped disk and network) and seam_receive.c
 * (what the network brings) share. */
#ifndef HOLDFAST_RAFT_SEAM_PRIVATE_H
#define HOLDFAST_RAFT_SEAM_PRIVATE_H

#include <raft.h>

#include "daemon/base/pace.h"
#include "daemon/base/queue.h"
#include "raft/seam.h"

/* The seam reads public fields of struct raft whose meaning is that of these versions. */
_Static_assert(RAFT_VERSION_NUMBER >= 2200 && RAFT_VERSION_NUMBER < 2300,
               "the seam was written for libraft 0.22");

/* The sizes of so many entries at the end of the log are known: no more stay behind a snapshot. */
#define SEAM_SIZES 16384u

/* The heartbeat timeout that libraft works with, whatever its tick is. */
#define SEAM_HEARTBEAT_MS 1u

/* Peers that are remembered: members, and those that were some before. */
#define SEAM_PEERS (4u * LIMIT_MEMBERS)

/* What is known of the messages to one other member. */
struct seam_peer {
    uint64_t id;         /* 0: unused. */
    uint64_t announced;  /* The last commit index that it was sent in this term ... */
    uint64_t sent_index; /* ... and the last entry. */
    uint64_t awaited;    /* It has clients that wait for this index; ... */
    uint64_t owed;       /* ... this one it shall know ... */
    uint64_t owed_ms;    /* ... since this time. */
    size_t queued_bytes;
};

/* A snapshot that waits for the state to be durable through its index. */
struct seam_put {
    struct raft_io_snapshot_put real;
    struct seam *seam;
    struct raft_io_snapshot_put *request;
    const struct raft_snapshot *snapshot;
    raft_io_snapshot_put_cb cb;
    unsigned trailing;
    uint64_t bytes; /* Appended since the snapshot before, when this one was taken. */
    bool started;
};

struct seam {
    struct raft raft; /* raft_io->data points here: seam_of(). */
    struct raft_fsm fsm;
    struct raft_io *io;
    struct raft_io original; /* The functions that ours wrap. */
    struct seam_options options;
    char *cluster_id;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    bool started;
    bool failed; /* on_fatal() was called: libraft's state is not to be trusted any more. */
    struct error *start_error; /* Where load and restore tell seam_start() what is wrong. */

    /* The log. libraft says where entries go by a truncate just before each append. */
    uint64_t next_index;
    uint64_t unsnapshotted_bytes;
    uint32_t sizes[SEAM_SIZES]; /* Of the entry at an index, by index modulo. */
    struct queue appends;       /* In flight, oldest first. */
    bool is_proposing;          /* An append is held until messages are sent: ... */
    struct append *held_append; /* ... this one. */
    uint64_t n_appends;
    uint64_t append_nanoseconds;

    struct queue unsent; /* Messages not sent, whose callbacks are due. */
    struct seam_peer peers[SEAM_PEERS];

    struct seam_put *put;
    uint64_t snapshots;
    uint64_t loaded_index; /* Of the snapshot that was last read for sending ... */
    uint64_t loaded_term;  /* ... and its term. */

    uint64_t delivered; /* Given to on_commit() or on_skip(). */
    uint64_t commit_index;
    uint64_t leader_term; /* The term that this node was last seen to lead. */
    uint64_t barrier_index;
    unsigned char append_version; /* Of libraft's AppendEntries. */
    uint64_t heard_ms;
    uint64_t heard_commit_index;
    size_t backlog;
    bool needs_state;
    uint64_t needed_index;
    struct pace replay; /* Of entries that the state has executed before this node began. */
    bool holds_log;
};

struct seam *seam_of(struct raft_io *io);

/* Put our functions into the table. */
void seam_wrap(struct seam *seam);

/* May libraft have @message? It may be trimmed; if not, it is released. */
bool seam_may_receive(struct seam *seam, struct raft_message *message);

/* Memory that dies with libraft's own (a simulator gives it a heap per cluster). */
void *seam_new(size_t size);

/* The term of the entry at @index; 0 if libraft does not know it any more. */
uint64_t seam_term_of(const struct seam *seam, uint64_t index);

/* Snapshots are wanted by bytes, but libraft counts entries: tell it "at once" or "never". */
void seam_set_threshold(struct seam *seam);

/* The node must stop; said once. */
void seam_fail(struct seam *seam, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What is known of the messages to @id; NULL: there is no place for one more. */
struct seam_peer *seam_peer(struct seam *seam, uint64_t id);

/* Tell @server, which is @peer, what is committed, if it was sent that. */
void seam_announce_to(struct seam *seam, const struct seam_peer *peer,
                      const struct raft_server *server);

/* Write the append that was held while seam->is_proposing. */
void seam_submit_held(struct seam *seam);

/* Call back what was not sent. */
void seam_fire_unsent(struct seam *seam);

/* Start the snapshot that waited. */
void seam_start_put(struct seam *seam);

/* This node waits for a state that has executed @index. */
void seam_want_state(struct seam *seam, uint64_t index);

/* Tell of entries that are applied and none of the state's business. */
void seam_tell_skipped(struct seam *seam);

/* The age of the oldest append in flight, 0 if there is none. */
uint64_t seam_oldest_append_ms(struct seam *seam);

/* What a snapshot holds: a pointer to the state, which is durable through @index. */
void seam_encode_pointer(const char *cluster_id, uint64_t index, struct buffer *buffer);

#endif
