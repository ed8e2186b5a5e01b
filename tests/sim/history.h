/* What clients of a simulated cluster saw of its items and sessions, for the checker of histories
 * (tests/lib/linearizability.h): every answered write and read, and the writes that were executed
 * though nobody was told: what one node has executed all must see from then on. Only of nodes that
 * run the real state machine, and of items that do not expire. One object at a time is small: the
 * clients turn to new ones now and then (model.h). */
#ifndef HOLDFAST_TESTS_SIM_HISTORY_H
#define HOLDFAST_TESTS_SIM_HISTORY_H

#include "daemon/base/buffer.h"
#include "daemon/base/slice.h"
#include "tests/lib/log_model.h"

/* Events that a read shows. */
#define HISTORY_PAGE 16u

struct cluster;
struct op;

/* The history of one item, or of one session. */
struct history {
    struct buffer records;
    struct log_versions *versions; /* Of a session. */
};

struct histories {
    uint64_t clock; /* Moments are counted: several happen in one millisecond. */
    struct history *items;
    unsigned n_items;
    struct history *sessions;
    unsigned n_sessions;
};

/* A moment behind all before. */
uint64_t histories_now(struct histories *histories);

/* A try was executed for the first time in the cluster, and gave @result. */
void histories_executed(struct cluster *cluster, struct op *op, struct slice result);
/* Its client is answered. */
void histories_answered(struct cluster *cluster, const struct op *op);

/* A read that began at @call and ends now, on a node that has executed up to @index, showed @value
 * of an item (0: absent), ... */
void histories_item_read(struct histories *histories, unsigned item, uint64_t call, uint64_t index,
                         uint64_t value);
/* ... or of a session's log what @seen says; its events are copied. */
void histories_log_read(struct histories *histories, unsigned session, uint64_t call,
                        uint64_t index, const struct log_operation *seen);

/* At the end of a run: each must be linearizable. Adds to the cluster's counts. */
void histories_check(struct cluster *cluster);

void histories_close(struct histories *histories);

#endif
