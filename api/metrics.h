/* What this node counts, as Prometheus reads it.
 *
 * Each api thread has counters of its own, which only it changes and any thread may read; they are
 * summed when asked for. What agreement and storage count is asked of them at the same moment. */
#ifndef HOLDFAST_API_METRICS_H
#define HOLDFAST_API_METRICS_H

#include "api/router.h"

struct metrics;
struct node;
struct store;

/* For the routes of @table, which outlives it. */
struct metrics *metrics_new(const struct route *table);
void metrics_free(struct metrics *metrics);

/* The thread that owns it. */
void metrics_request(struct metrics *metrics, unsigned route_number, enum method method,
                     unsigned status, uint64_t nanoseconds);
void metrics_connection(struct metrics *metrics, int change);
void metrics_bytes_received(struct metrics *metrics, uint64_t bytes);
void metrics_bytes_sent(struct metrics *metrics, uint64_t bytes);

struct metrics_sources {
    struct metrics *const *threads; /* Made for the same table. */
    unsigned n_threads;
    const char *version;
    struct node *node;   /* NULL: nothing of agreement and execution. */
    struct store *store; /* NULL: nothing of storage. */
};

/* Any thread. Appends the text format, version 0.0.4. */
void metrics_write(const struct metrics_sources *sources, struct buffer *text);

#endif
