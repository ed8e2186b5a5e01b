/* Linearizable reads without a log entry (Raft dissertation, 6.4): what index must a read wait for?
 *
 * 1. All reads that wait at the end of a loop turn share a round.
 * 2. A leader that has committed up to its barrier notes its commit index and asks the voters for
 *    their term. Once a majority (itself included) answered its own term, nobody else can have been
 *    elected before the reads arrived, so the index noted covers all that was acknowledged then.
 * 3. A follower asks the leader, who lets the question join its next round, and answers.
 *
 * What can go wrong: a frame is lost (the round is given up after a while and its reads join
 * another), the leader changes (at once so), there is no leader (STATUS_NO_LEADER after
 * LIMIT_NO_LEADER_WAIT_MS). A round that began before a read arrived never serves it.
 *
 * No clock is trusted: time only decides when to try again. The consensus thread. */
#ifndef HOLDFAST_RAFT_READ_INDEX_H
#define HOLDFAST_RAFT_READ_INDEX_H

#include "daemon/base/queue.h"
#include "raft/frame.h"
#include "raft/node.h"

/* Rounds under way at the same time; beyond that, reads wait and share. */
#define READ_INDEX_ROUNDS 8u
/* Questions of followers that wait for a round. */
#define READ_INDEX_ASKS 256u

struct read_index_options {
    uint64_t self;
    uint64_t
        first_round;     /* Random, so that answers to an earlier process are not taken for ours. */
    unsigned timeout_ms; /* Then a round is given up. */
    void *data;
    bool (*send)(void *data, uint64_t peer, const struct frame *frame);
    void (*answer)(void *data, struct read_ticket *ticket);
};

/* What is known of the cluster, as of now. */
struct read_index_view {
    bool is_leader;
    bool is_ready; /* Leader: the commit index has reached the barrier. */
    uint64_t term;
    uint64_t commit_index; /* The highest ever known. */
    uint64_t leader_id;    /* 0: none. */
    unsigned n_voters;
    uint64_t voters[LIMIT_MEMBERS];
};

struct read_index {
    /* For reading. */
    uint64_t n_rounds; /* Begun. */
    uint64_t n_reads;
    uint64_t n_waiting; /* Tickets that are here, in rounds or not. */
    /* Private. */
    struct read_index_options options;
    struct read_index_view view; /* As of the last flush. */
    uint64_t next_round;
    uint64_t retry_ms; /* Not before this time. */
    struct queue tickets;
    struct queue asks;
    unsigned n_asks;
    struct queue rounds;
    unsigned n_open;
};

void read_index_init(struct read_index *reads, const struct read_index_options *options);

/* Takes @ticket until it is answered. */
void read_index_add(struct read_index *reads, struct read_ticket *ticket);

/* FRAME_READ_ASK, FRAME_READ_ANSWER, FRAME_READ_TERM from @peer. (FRAME_READ_PROBE is answered by
 * who knows the term.) */
void read_index_frame(struct read_index *reads, uint64_t peer, const struct frame *frame,
                      uint64_t now_ms);

/* The end of a loop turn: notice what changed, begin a round for what waits. */
void read_index_flush(struct read_index *reads, const struct read_index_view *view,
                      uint64_t now_ms);

/* Give up rounds that take too long, answer what has waited too long. */
void read_index_tick(struct read_index *reads, uint64_t now_ms);

/* Give up all rounds: their reads join the next one. */
void read_index_discard(struct read_index *reads);

/* Answer all with STATUS_CLOSED. */
void read_index_close(struct read_index *reads);

#endif
