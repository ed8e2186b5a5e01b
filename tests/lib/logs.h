/* Clients that append to a few session logs and read them as a whole, on all nodes, each request
 * sent once, and record when it was sent, what came back and when: the history for a check of
 * linearizability.
 *
 * A log that has got enough is left for a new one, so that one page, which is one moment, shows all
 * of it, and the search of the check stays small. At the end all of them are read once more: an
 * append whose outcome no client knows took effect before the first read that shows it, or, as
 * nothing is removed, not before that last one. So nothing is left open.
 *
 * Started, stopped and checked by the main thread; a client's thread asserts nothing and writes
 * down the first thing that is wrong. */
#ifndef HOLDFAST_TESTS_LOGS_H
#define HOLDFAST_TESTS_LOGS_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/cluster.h"

#define LOGS        2
#define LOG_CLIENTS 4
#define LOG_EVENTS  200u /* Tries to append, until a log is left. */

struct logs;

struct log_client {
    struct logs *all;
    pthread_t thread;
    uint64_t random;
    struct http_client clients[CLUSTER_NODES];
    struct buffer history; /* Of struct log_record. */
    struct buffer sights;  /* Of struct log_sight, by event. */
    struct buffer seen;    /* Of struct log_event: what reads showed. */
    uint64_t unknown;
    atomic_bool failed; /* @failure is written before. */
    char failure[256];
};

struct logs {
    atomic_bool stopping;
    atomic_uint_fast64_t next_event;
    atomic_uint_fast64_t tries[LOGS]; /* To append, to each of them. */
    struct log_client clients[LOG_CLIENTS];
};

struct logs_summary {
    size_t logs;
    size_t appends;
    size_t reads;
    uint64_t unknown; /* Appends whose outcome no client was told. */
};

void logs_start(struct logs *logs, struct cluster *cluster, uint64_t seed);
void logs_stop(struct logs *logs);

/* After logs_stop(), while the cluster runs, as it is asked. NULL, or what is wrong, static until
 * the next call. */
const char *logs_check(struct logs *logs, struct logs_summary *summary);

void logs_close(struct logs *logs);

#endif
