/* Load on a cluster: many connections on one thread, each request prepared in advance.
 *
 * In the closed loop each answer brings the next request of its connection. In the open loop
 * requests are due at a fixed rate, go out on whatever connection is free, and are timed from when
 * they were due: a server that stalls is charged for all that had to wait. */
#ifndef HOLDFAST_TOOLS_BENCH_LOAD_H
#define HOLDFAST_TOOLS_BENCH_LOAD_H

#include "tools/bench_options.h"
#include "tools/histogram.h"

#define BENCH_MAX_STATUS 600

/* Of the requests that began (or were due) in the measured time, unless said otherwise. */
struct bench_result {
    struct histogram latency_ns[BENCH_N_OPS]; /* Of 2xx, and of 404 to a read. */
    uint64_t completed;                       /* Answered well within the measured time. */
    uint64_t misses;                          /* 404 to a read. */
    /* In all phases: */
    uint64_t errors[BENCH_MAX_STATUS]; /* By HTTP status. */
    uint64_t lost;                     /* In flight on a connection that broke. */
    uint64_t unanswered;               /* Still without an answer long after the end. */
    uint64_t bad_responses;            /* Not HTTP. */
    uint64_t reconnects;
    uint64_t filled; /* Items and sessions that --fill wrote. */
    uint64_t fill_ms;
};

/* Run it. STATUS_INVALID: an endpoint has no address. STATUS_TIMEOUT: not all connections could be
 * made, or filling did not get on. Errors of requests are counted and give STATUS_OK. */
MUST_USE enum status bench_load_run(const struct bench_options *options,
                                    struct bench_result *result, struct error *error);

/* All that was counted as an error. */
uint64_t bench_result_errors(const struct bench_result *result);

#endif
