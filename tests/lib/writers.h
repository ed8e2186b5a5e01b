/* Clients that write on all nodes without a pause of more than a few milliseconds, whatever happens
 * to the nodes, and remember what was acknowledged.
 *
 * Each writer does one operation at a time and sends it again, with the same idempotency key or the
 * same event ids, to the next node until it is acknowledged; so at the end every operation has to
 * be there exactly once, in order. After an acknowledgement it often reads on some node: what any
 * writer was told before the read began must be in it.
 *
 * Started, stopped and verified by the main thread. A writer's thread asserts nothing: it writes
 * down the first thing that is wrong and ends. */
#ifndef HOLDFAST_TESTS_WRITERS_H
#define HOLDFAST_TESTS_WRITERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/cluster.h"

#define WRITERS 6

/* What one writer does, in turn. */
enum write_kind {
    WRITE_APPEND_IDS,  /* An event with an id, to its own session. */
    WRITE_APPEND_KEY,  /* An event, to the session that all share. */
    WRITE_PUT,         /* Its own item. */
    WRITE_TRANSACTION, /* Another item, and an event to the shared session. */
    WRITE_KINDS,
};

struct write_record {
    uint64_t n; /* Of the writer, from 1. */
    uint64_t seq;
    uint64_t revision;
};

/* A keyed write and the answer it got, to be sent once more. */
struct write_sample {
    char method[8];
    char target[96];
    char headers[96];
    char body[512];
    unsigned status;
    char etag[32];
    char revision[32];
    char answer[512];
};

struct writer {
    struct writers *all;
    unsigned number;
    pthread_t thread;
    uint64_t random;
    struct http_client clients[CLUSTER_MAX_NODES];
    uint64_t last_revision;
    struct buffer records[WRITE_KINDS]; /* Of struct write_record. */
    uint64_t retries;
    uint64_t reads;
    atomic_bool failed; /* @failure is written before. */
    char failure[512];
    pthread_mutex_t mutex; /* For the samples. */
    struct write_sample first;
    struct write_sample last;
};

struct writers {
    struct cluster *cluster;
    atomic_bool stopping;
    atomic_bool disks_may_be_full; /* Set by the test: 507 is a reason to try again. */
    atomic_uint rest_ms;           /* The same: between two operations; 0: a few. A session takes
                                      50 000 events, which half of all operations add to one. */
    atomic_uint_fast64_t acknowledged; /* Operations of all writers. */
    atomic_uint_fast64_t revision;     /* The highest that any of them was told. */
    struct writer writers[WRITERS];
};

/* The cluster is ready and holds the session "shared". */
void writers_start(struct writers *writers, struct cluster *cluster, uint64_t seed);

/* What went wrong so far, or NULL. */
const char *writers_failure(struct writers *writers);

/* Wait until one more write than now was acknowledged. */
bool writers_wait_progress(struct writers *writers, unsigned limit_ms);

/* Send the samples of all writers again, to @node; each has to be answered as it was. NULL, or what
 * was wrong, static until the next call. */
const char *writers_repeat(struct writers *writers, unsigned node, bool first);

/* Let each finish the operation that it is at, and end. */
void writers_stop(struct writers *writers);

/* Read everything on @node and compare it with what was acknowledged. After writers_stop(). NULL,
 * or what was wrong, static until the next call. */
const char *writers_verify(struct writers *writers, unsigned node);

void writers_close(struct writers *writers);

#endif
