/* A cluster that clients write on all the time, for tests of what happens to it meanwhile. Main
 * thread only: what is wrong ends the test that runs. */
#ifndef HOLDFAST_TESTS_UNDER_LOAD_H
#define HOLDFAST_TESTS_UNDER_LOAD_H

#include "tests/lib/cluster.h"
#include "tests/lib/writers.h"

struct under_load {
    struct cluster cluster;
    struct writers writers;
    unsigned leader; /* When it began. */
    bool writing;
    bool passed; /* Set at the end of a test: nothing needs to be looked into. */
};

/* Three nodes that are ready, and writers; @preload as in struct cluster. */
struct under_load *under_load_open(const char *preload);
void under_load_close(struct under_load *load);

/* cmocka's setup and teardown: *state is the load, without a preload. */
int under_load_setup(void **state);
int under_load_teardown(void **state);

/* Writes are acknowledged, as many as it takes to be sure. */
void under_load_goes_on(struct under_load *load);

/* Stop the writers: on every node everything that was acknowledged is there once, and the states
 * are equal. */
void under_load_verify(struct under_load *load);

#endif
