/* Somebody who looks at an archive all the time, beside the load: what nodes say of it becomes a
 * promise that can be checked later, and of some states the hash is written down.
 *
 * A thread of its own. It asserts nothing. */
#ifndef HOLDFAST_TESTS_ARCHIVE_WATCH_H
#define HOLDFAST_TESTS_ARCHIVE_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/archived_cluster.h"

/* The state of a node at some moment. */
struct archive_watch_sample {
    uint64_t index;
    uint64_t revision;
    char hash[40];
};

struct archive_watch {
    /* Private. */
    struct archived_cluster *f;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t mutex;      /* Guards what follows. */
    struct buffer acknowledged; /* Of struct archive_watch_ack, by time. */
    struct buffer samples;      /* Of struct archive_watch_sample. */
    uint64_t promised;
    char how[160]; /* It was promised. */
    uint64_t largest_lag_ms;
    uint64_t looks;
};

void archive_watch_start(struct archive_watch *watch, struct archived_cluster *f);

/* What has to be in the archive from now on, whatever is lost: the highest revision that a node
 * said was archived, or that was acknowledged to a writer longer ago than the node that archives
 * said it is behind. */
uint64_t archive_watch_promised(struct archive_watch *watch);
/* By whom, for a message. While nobody promises anything new, as when no node runs. */
const char *archive_watch_how(const struct archive_watch *watch);

void archive_watch_stop(struct archive_watch *watch);

/* After that: the nth of the samples, by time; how many there are, what the largest lag was, and
 * how often somebody told his. */
const struct archive_watch_sample *archive_watch_sample(const struct archive_watch *watch,
                                                        size_t nth);
size_t archive_watch_samples(const struct archive_watch *watch);
uint64_t archive_watch_largest_lag_ms(const struct archive_watch *watch);
uint64_t archive_watch_looks(const struct archive_watch *watch);

void archive_watch_close(struct archive_watch *watch);

#endif
