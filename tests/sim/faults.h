/* The faults of one random run: a plan drawn from the seed before the run begins, so that one of
 * them can be left out and the others stay. Each begins, and ends by itself. */
#ifndef HOLDFAST_TESTS_SIM_FAULTS_H
#define HOLDFAST_TESTS_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct cluster;
struct sim;

#define FAULTS_MAX 96u

enum fault_kind {
    FAULT_CRASH,
    FAULT_CRASH_ALL,
    FAULT_CUT_ONE_WAY,
    FAULT_ISOLATE,
    FAULT_SPLIT,
    FAULT_BREAK,
    FAULT_SLOW_DISK,
    FAULT_FULL_DISK,
    FAULT_FAILED_WRITE,
    FAULT_PAUSE,
    FAULT_SLOW_EXECUTOR,
    FAULT_CLOCK,
    FAULT_LOSS,
    FAULT_DUE,
    FAULT_FLOOD,
    FAULT_CRASH_AT_CHANGE,
    FAULT_LOST_LOG,
    FAULT_KINDS
};

struct fault {
    enum fault_kind kind;
    uint64_t at_ms; /* Since the run began. */
    uint64_t until_ms;
    unsigned node;
    unsigned other;    /* The second node; SPLIT: which nodes are apart, as bits. */
    unsigned strength; /* Milliseconds, or percent. */
    bool is_off;
};

struct faults {
    unsigned n;
    struct fault fault[FAULTS_MAX];
};

void faults_draw(struct faults *faults, uint64_t seed, unsigned n_nodes, uint64_t run_ms);
/* Have all of them happen that are not off. @faults outlives the run. */
void faults_schedule(struct faults *faults, struct sim *sim, struct cluster *cluster);
void faults_describe(const struct fault *fault, char *text, unsigned size);

#endif
