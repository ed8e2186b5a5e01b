/* Clients that read, write, compare and set, and delete a few items on all nodes, each request sent
 * once, and record when it was sent, what came back and when: the history for a check of
 * linearizability. Reads that ask for less, stale ones and those with min_revision, are held
 * against what these promise.
 *
 * Started, stopped and checked by the main thread; a client's thread asserts nothing and writes
 * down the first thing that is wrong. */
#ifndef HOLDFAST_TESTS_REGISTERS_H
#define HOLDFAST_TESTS_REGISTERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/cluster.h"
#include "tests/lib/linearizability.h"

#define REGISTERS        6
#define REGISTER_CLIENTS 4

struct registers;

/* What a client saw of an item last. */
struct register_sight {
    uint64_t value; /* 0: absent. */
    char etag[32];
};

struct register_client {
    struct registers *all;
    pthread_t thread;
    uint64_t random;
    struct http_client clients[CLUSTER_MAX_NODES];
    struct register_sight sights[REGISTERS];
    uint64_t revision;                /* The highest that it was told. */
    struct buffer history[REGISTERS]; /* Of struct register_record. */
    uint64_t unknown;
    uint64_t weak_reads;
    atomic_bool failed; /* @failure is written before. */
    char failure[256];
};

struct registers {
    struct cluster *cluster;
    atomic_bool stopping;
    atomic_uint_fast64_t next_value;
    struct register_client clients[REGISTER_CLIENTS];
};

struct registers_summary {
    size_t operations;
    uint64_t unknown; /* Those of them whose outcome no client knows. */
    uint64_t weak_reads;
};

void registers_start(struct registers *registers, struct cluster *cluster, uint64_t seed);
void registers_stop(struct registers *registers);

/* After registers_stop(). NULL, or what is wrong, static until the next call. */
const char *registers_check(struct registers *registers, struct registers_summary *summary);

void registers_close(struct registers *registers);

#endif
