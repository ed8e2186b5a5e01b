/* Are the states of the nodes the same at the same index?
 *
 * Each node marks the hash of its state at some indexes, which are the same on all nodes, and at
 * the one that it executed last, tells the others, and compares. A node that differs from what a
 * majority of the voters has cannot go on: what it shows is wrong, whatever its checksums say. Who
 * merely differs from one other does not know which of the two is right.
 *
 * Pure; the consensus thread, or the simulator. */
#ifndef HOLDFAST_RAFT_COMPARISON_H
#define HOLDFAST_RAFT_COMPARISON_H

#include "raft/frame.h"

/* An index is marked if it is a multiple of this. At 3000 entries a second there are three marks a
 * second, and what is kept covers 20 s in which a node may be behind. */
#define COMPARISON_EVERY 1024u
#define COMPARISON_KEPT  64u

/* What is known of the state of one node. */
struct comparison_member {
    uint64_t id;
    struct frame_mark marks[COMPARISON_KEPT]; /* By number, modulo the size; index 0: none. */
    struct frame_mark latest;
    uint64_t equal_index; /* The newest at which it has what this node has, ... */
    uint64_t other_index; /* ... and at which it has not. 0: none. */
};

struct comparison {
    struct comparison_member own;
    unsigned n_members; /* Without this node. */
    struct comparison_member members[LIMIT_MEMBERS];
    uint64_t agreed_index; /* The newest at which this node has what a majority has; 0: none. */
};

void comparison_init(struct comparison *comparison, uint64_t self);

/* Drop what is known of nodes that are not among @ids, the other members; their number is at most
 * LIMIT_MEMBERS. */
void comparison_keep(struct comparison *comparison, const uint64_t *ids, unsigned n_ids);

/* This node has executed @index, and its state has this hash. */
void comparison_executed(struct comparison *comparison, uint64_t index, const uint64_t hash[2]);

/* What this node tells the others. */
void comparison_tell(const struct comparison *comparison, struct frame_marks *state);

/* Another member has told this. */
void comparison_heard(struct comparison *comparison, uint64_t id, const struct frame_marks *state);

/* The member may have begun anew, with another state. */
void comparison_forget(struct comparison *comparison, uint64_t id);

struct comparison_verdict {
    uint64_t wrong_index; /* A majority of the voters has another state at it; 0: at none. */
    unsigned n_others;    /* Voters of that majority. */
    uint64_t hash[2];     /* This node's, at that index, ... */
    uint64_t others[2];   /* ... and the majority's. */
    uint64_t split_index; /* No hash can have a majority at it any more; 0: none such. */
};

/* Compare all that is known. The voters may contain this node. */
void comparison_judge(struct comparison *comparison, const uint64_t *voters, unsigned n_voters,
                      struct comparison_verdict *verdict);

/* Has this member another state than this node, as far as is known? */
bool comparison_differs(const struct comparison *comparison, uint64_t id);

#endif
