/* The seam: libraft behind one small interface of our own.
 *
 * It wraps the public struct raft_io (put in place after raft_uv_init, or a simulator's own, and
 * before raft_init) and enforces every rule that building on libraft 0.22 needs; nothing above it
 * includes raft.h. The consensus thread alone uses it. Callbacks run inside libraft: they record
 * what happened and do not call back into the seam, except where noted. */
#ifndef HOLDFAST_RAFT_SEAM_H
#define HOLDFAST_RAFT_SEAM_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"

struct seam;
struct raft_io;

struct seam_member {
    uint64_t id;
    int role; /* enum node_role */
};

struct seam_configuration {
    unsigned n_members;
    struct seam_member members[LIMIT_MEMBERS];
};

struct seam_options {
    struct raft_io *io; /* Initialised; outlives the seam. */
    uint64_t self;
    const char *cluster_id;
    unsigned election_timeout_ms;
    unsigned heartbeat_ms;
    uint64_t snapshot_threshold_bytes; /* 0: 64 MiB of appended entries. */
    uint64_t peer_queue_bytes;         /* 0: LIMIT_PEER_QUEUE_BYTES. */
    uint64_t apply_bytes;              /* 0: LIMIT_APPLY_BYTES. */
    uint64_t replay_entries;           /* 0: LIMIT_REPLAY_ENTRIES. */
    /* What LMDB holds at start (storage/machine.h): a log that ends below @stored was lost. */
    uint64_t state_applied_index;
    uint64_t state_stored;
    /* The listener. Left NULL for agreement_open(), which listens with seam_listen(). */
    void *data;
    /* A committed entry of commands, in order, starting anew at each process start from the last
     * snapshot; @bytes is borrowed during the call. */
    void (*on_commit)(void *data, uint64_t index, uint64_t term, struct slice bytes);
    /* Entries up to @index are committed and none of the state's business: posted after each event.
     */
    void (*on_skip)(void *data, uint64_t index, uint64_t term);
    /* A snapshot pointer is about to be stored: call seam_durable(@index) once the state is durable
     * through @index. */
    void (*on_need_durable)(void *data, uint64_t index);
    /* The leader sent a pointer to a state that this node does not have; or this node is new and
     * would have to execute more than @replay_entries. It waits, neither votes, acknowledges nor
     * leads. */
    void (*on_needs_state)(void *data, uint64_t index);
    /* The node must stop: a log write failed, or the log and the state do not fit. */
    void (*on_fatal)(void *data, const struct error *error);
};

MUST_USE enum status seam_open(const struct seam_options *options, struct seam **seam,
                               struct error *error);
/* Take the callbacks and their data from @options; before seam_start(). */
void seam_listen(struct seam *seam, const struct seam_options *options);
/* First start of a member: write the first configuration. STATUS_EXISTS if there is a log. */
MUST_USE enum status seam_bootstrap(struct seam *seam,
                                    const struct seam_configuration *configuration,
                                    struct error *error);
/* Load the log and take part. STATUS_CORRUPT, STATUS_MISMATCH, STATUS_IO. */
MUST_USE enum status seam_start(struct seam *seam, struct error *error);

enum seam_state { SEAM_UNAVAILABLE, SEAM_FOLLOWER, SEAM_CANDIDATE, SEAM_LEADER };

/* What libraft knows now. */
struct seam_view {
    enum seam_state state;
    uint64_t term;
    uint64_t leader_id; /* 0: none known. */
    uint64_t last_index;
    uint64_t stored_index;        /* Of this node's log on disk. */
    uint64_t commit_index;        /* Our own monotone maximum. */
    uint64_t applied_index;       /* Given to on_commit or on_skip. */
    uint64_t barrier_index;       /* The last index when this node was elected; leader only. */
    uint64_t own_index;           /* The first index of this term; leader only. */
    uint64_t configuration_index; /* Of the last configuration in the log. */
    bool needs_state;
    uint64_t needed_index;       /* If so, a state that has executed this one. */
    uint64_t heard_ms;           /* When a leader was last heard; 0: never. Not of this node. */
    uint64_t heard_commit_index; /* What the first leader that was heard called committed. */
    uint64_t oldest_append_ms;   /* Age of the oldest log write in flight; 0: none. */
    bool is_log_long; /* Half of what is kept for somebody (seam_hold_log()) is written. */
    uint64_t snapshots;
    uint64_t appends;
    uint64_t append_nanoseconds;
};
void seam_view(struct seam *seam, struct seam_view *view);
void seam_configuration(struct seam *seam, struct seam_configuration *configuration);
/* Leader only: the match index of a member; 0 if unknown. */
uint64_t seam_match_index(struct seam *seam, uint64_t id);
/* The term as it is now, durable: for answering a leader's question (ReadIndex). */
uint64_t seam_term(const struct seam *seam);

/* Propose one entry. Its length must be a multiple of 8; copied. STATUS_NO_LEADER: not leading;
 * STATUS_BUSY, STATUS_DISK_FULL. On success *@index is where it will be if this term commits it. */
MUST_USE enum status seam_propose(struct seam *seam, struct slice entry, uint64_t *index);

/* Leader: a client of member @id waits for the entry at @index, or for a read as of it. */
void seam_await_commit(struct seam *seam, uint64_t id, uint64_t index);
/* Leader: tell the others what is committed: those that wait for it now, the rest after
 * SEAM_ANNOUNCE_MS, if no entry has told them by then; so an entry costs no more messages than
 * somebody needs. True if there are some left to tell: call again within a millisecond or two. */
#define SEAM_ANNOUNCE_MS 2u
bool seam_announce_commit(struct seam *seam, uint64_t now_ms);

/* Cut nothing off the log, unless it is four times the threshold for snapshots: somebody gets a
 * state, to go on from it by this log. */
void seam_hold_log(struct seam *seam, bool hold);

/* The executor's progress: bounds what a follower takes from the leader. */
void seam_set_backlog(struct seam *seam, size_t bytes);
void seam_durable(struct seam *seam, uint64_t index);

/* Hand leadership to @id, or to the most caught-up voter if 0. STATUS_NO_LEADER: not leading;
 * STATUS_BUSY: a transfer is under way; STATUS_NOT_FOUND: there is no other voter. */
MUST_USE enum status seam_transfer(struct seam *seam, uint64_t id);

/* Leader: may the configuration be changed now? Not before an entry of this term is committed, and
 * not while a change or a transfer of leadership is under way. (Whether the voters allow it is for
 * the caller to see.) */
bool seam_may_change(const struct seam *seam);

/* Leader: one change of the configuration. A new member begins as spare, which gets no entries. A
 * member that becomes voter must have matched the last index, or libraft would make it one later,
 * at a moment of its own. STATUS_NO_LEADER, STATUS_BUSY (see seam_may_change(), or it has not
 * matched), STATUS_NOT_FOUND, STATUS_EXISTS: it is so already; STATUS_IO. On success the change is
 * in the log, and acts at once; whether it stays there is decided as for any entry. */
MUST_USE enum status seam_add(struct seam *seam, uint64_t id);
MUST_USE enum status seam_assign(struct seam *seam, uint64_t id, int role);
MUST_USE enum status seam_remove(struct seam *seam, uint64_t id);

/* Do pending work of the wrapped vtable (completions that must not run inside libraft's calls). */
void seam_turn(struct seam *seam, uint64_t now_ms);

/* Release everything without closing libraft, which the process's end (or the simulator) does. */
void seam_abandon(struct seam *seam);

#endif
