/* A cluster in one process: the real seam and agreement on every node, over a simulated disk and
 * network, with the real state machine or an executor that records what is executed, and clients
 * that check what they get.
 *
 * Checked throughout: all nodes execute the same entries at the same indexes, answer the same and
 * have the same state; no command is executed twice, or lost after it was acknowledged, or executed
 * after its client was told that it was not; what was acknowledged before another command was sent
 * comes before it; a repeated request is answered as the first time; event numbers rise without
 * gaps; items expire when they must and not before; an index given to a read covers all that was
 * acknowledged, and all that was read, before it began; revisions, the time in entries and what is
 * called committed never go back; a state that was received is the one of its index; one node leads
 * a term; a log that lost entries is noticed; queues and the log stay bounded. */
#ifndef HOLDFAST_TESTS_SIM_CLUSTER_H
#define HOLDFAST_TESTS_SIM_CLUSTER_H

#include "tests/sim/sim.h"

struct cluster;

struct cluster_options {
    unsigned n_nodes;          /* At first: all of them are voters, but for the next. */
    unsigned n_founders;       /* So many are members at first; 0: all. The others may join. */
    bool has_churn;            /* Members come, change and go. */
    bool has_upgrades;         /* Programs of two feature levels come and go. */
    unsigned loss_percent;     /* Of raft's messages. */
    unsigned client_period_ms; /* The longest pause between two requests of a client. */
    uint64_t snapshot_threshold_bytes;
    uint64_t replay_entries; /* A new node gets the state instead of more. 0: the default. */
    bool clock_jumps;        /* One node's wall clock is off by hours. */
    bool is_disorderly;      /* Messages overtake each other, and some come twice. */
    bool breaks;             /* Control connections break where something is to be sent. */
    bool has_state;          /* The nodes run the real state machine. */
    bool has_no_transfer;    /* Nobody is given a state that it lacks. */
    unsigned value_bytes;    /* Half of the commands are so large; 0: few are large. */
};

struct cluster *cluster_open(struct sim *sim, const struct cluster_options *options);
void cluster_close(struct cluster *cluster);
/* Nodes have numbers below this, from 0 on; not each number has one. */
unsigned cluster_size(const struct cluster *cluster);
bool cluster_has(const struct cluster *cluster, unsigned node);
/* Does the leader (without one: the first node that lives) count it as a voter? */
bool cluster_is_voter(const struct cluster *cluster, unsigned node);

/* Another node starts, with a new id and an empty disk, and the others connect to it. It is no
 * member until they make it one. Gives its number; -1: there is no more place. */
int cluster_add(struct cluster *cluster);
/* It ends for good, and its disk with it. Another one may take its place. */
void cluster_remove(struct cluster *cluster, unsigned node);
bool cluster_has_churn(const struct cluster *cluster);
/* Ask node @via for a change (raft/node.h), of the slot "s0", "s1", ... that it names. Without one
 * that is under way, cluster_change() tells what became of the last. With has_churn only. */
struct member_change;
void cluster_ask_change(struct cluster *cluster, unsigned via, const struct member_change *change);
const struct member_change *cluster_change(const struct cluster *cluster);
/* Nobody asks for changes of members any more; what is agreed upon goes on. */
void cluster_end_churn(struct cluster *cluster);

/* Let time pass. */
void cluster_run(struct cluster *cluster, uint64_t ms);

/* Faults. Nodes count from 0. */
void cluster_crash(struct cluster *cluster, unsigned node);
void cluster_restart(struct cluster *cluster, unsigned node);
bool cluster_is_alive(const struct cluster *cluster, unsigned node);
/* One direction; control connections need both. */
void cluster_cut(struct cluster *cluster, unsigned from, unsigned to, bool cut);
void cluster_isolate(struct cluster *cluster, unsigned node);
/* Raft's messages from and to it are lost; its control connections stay. */
void cluster_mute(struct cluster *cluster, unsigned node, bool mute);
/* The other way round: there are no control connections. */
void cluster_break_all_connections(struct cluster *cluster);
void cluster_heal(struct cluster *cluster); /* Of cuts, muteness, broken connections. */
void cluster_break_connection(struct cluster *cluster, unsigned a, unsigned b);
void cluster_slow_disk(struct cluster *cluster, unsigned node, unsigned ms);
/* The process is stopped and goes on later (SIGSTOP, SIGCONT). */
void cluster_pause(struct cluster *cluster, unsigned node, unsigned ms);
/* Each entry takes so long to execute. */
void cluster_slow_executor(struct cluster *cluster, unsigned node, unsigned ms);
/* The next leader that writes a configuration crashes while it does or soon after, and none of
 * raft's messages leaves it meanwhile if it @is_mute. At the end, those that did are started again.
 */
void cluster_crash_at_change(struct cluster *cluster, bool is_mute);
void cluster_end_crash_at_change(struct cluster *cluster);
/* The next write to the log fails; the process ends, and is started again. */
void cluster_fail_disk(struct cluster *cluster, unsigned node);
/* The node crashes, and entries are gone that were stored: it must not start any more. False if
 * there was nothing to lose. */
bool cluster_lose_log(struct cluster *cluster, unsigned node);
bool cluster_is_lost(const struct cluster *cluster, unsigned node);
void cluster_set_loss(struct cluster *cluster, unsigned percent);
void cluster_jump_clock(struct cluster *cluster, unsigned node, int64_t offset_ms);
void cluster_leave(struct cluster *cluster, unsigned node);
/* Clients stop sending; what is under way goes on. */
void cluster_quiet(struct cluster *cluster, bool quiet);

/* Free space as node @node reports it. */
void cluster_set_free_disk(struct cluster *cluster, unsigned node, uint64_t bytes);
/* @n requests of @size bytes at once, at every node. */
void cluster_flood(struct cluster *cluster, unsigned n, size_t size);
/* Something is due at once, until a maintenance command is executed. */
void cluster_set_due(struct cluster *cluster);

/* Looking. */
int cluster_leader(const struct cluster *cluster); /* -1: none. */
uint64_t cluster_term(const struct cluster *cluster, unsigned node);
uint64_t cluster_applied(const struct cluster *cluster, unsigned node);
uint64_t cluster_time_ms(const struct cluster *cluster); /* The last stamp that was executed. */
uint64_t cluster_highest(const struct cluster *cluster); /* Executed by any node. */
bool cluster_needs_state(const struct cluster *cluster, unsigned node);
bool cluster_storage_full(const struct cluster *cluster, unsigned node);
/* The flags of the last entry executed (storage/entry.h). */
unsigned cluster_last_flags(const struct cluster *cluster);

/* The state of each node, into the trace. */
void cluster_describe(struct cluster *cluster);

struct cluster_counts {
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t uncertain;
    uint64_t reads;
    uint64_t failed_reads;
    uint64_t elections; /* Leaders seen, by term. */
    uint64_t resubmitted;
    uint64_t snapshots;
    uint64_t maintained;
    uint64_t crashes;
    uint64_t cuts;           /* Of entries that another leader's replaced. */
    uint64_t compared;       /* States of different nodes at an equal index. */
    uint64_t transfers;      /* Of the state to a node that lacked it. */
    uint64_t histories;      /* Of items and sessions that were checked. */
    uint64_t changes;        /* Of members, that were done. */
    uint64_t raised;         /* Feature levels. */
    uint64_t configurations; /* That leaders wrote. */
};
void cluster_counts(const struct cluster *cluster, struct cluster_counts *counts);

/* What clients saw of each item and session is linearizable; at the end of a run. */
void cluster_check_histories(struct cluster *cluster);

/* Everything acknowledged was executed on every living node that does not wait for state, and they
 * have all executed entry @index. To be asked when the cluster is quiet and healed. */
void cluster_check_converged(struct cluster *cluster, uint64_t index);

#endif
