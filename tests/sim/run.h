/* One random run of a seed: 60 simulated seconds, of which the last 16 are without faults, but for
 * a node that may stay dead; then a leader must come, work go on, and all agree. */
#ifndef HOLDFAST_TESTS_SIM_RUN_H
#define HOLDFAST_TESTS_SIM_RUN_H

#include <stdio.h>

#include "tests/sim/cluster.h"
#include "tests/sim/faults.h"

struct run {
    uint64_t seed;
    uint64_t until_ms; /* End here, without the checks of the end; 0: go through. */
    bool without[FAULTS_MAX];
    FILE *trace; /* NULL: none. */
    bool with_notes;
    /* Filled in. */
    struct cluster_counts counts;
    uint64_t digest;
    unsigned n_faults;
    uint64_t failed_ms; /* 0: it did not. */
    char failure[600];
};

/* False if a fact did not hold. */
bool run_seed(struct run *run);

void run_add_counts(struct cluster_counts *sum, const struct cluster_counts *counts);
void run_print_counts(const struct cluster_counts *counts);

#endif
