/* What holdfast-bench was asked to do. Strings are owned by the struct. One thread. */
#ifndef HOLDFAST_TOOLS_BENCH_OPTIONS_H
#define HOLDFAST_TOOLS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/endpoint.h"

/* One kind of request each. */
enum bench_op { BENCH_APPEND, BENCH_PUT, BENCH_GET, BENCH_STALE_GET, BENCH_N_OPS };

enum bench_action { BENCH_RUN, BENCH_FAILOVER, BENCH_HELP, BENCH_VERSION };

struct bench_options {
    struct endpoints endpoints;
    const char *workload;          /* Its name, static. */
    unsigned percent[BENCH_N_OPS]; /* What the workload is made of; together 100. */
    uint64_t connections;
    uint64_t pipeline;    /* Requests in flight per connection, at most. */
    uint64_t duration_ms; /* 0: only fill. */
    uint64_t warmup_ms;
    uint64_t value_size;
    uint64_t keys;
    uint64_t sessions;
    uint64_t rate;       /* Requests per second, of all connections; 0: closed loop. */
    uint64_t gap_ms;     /* Failover: report pauses from here on. */
    uint64_t attempt_ms; /* Failover: how long one node may take before another is asked. */
    bool fill;
    bool as_json;
    char *ns;
};

/* The name of @op, as in --workload. */
const char *bench_op_name(enum bench_op op);

/* Read the arguments of main(). The caller ends with bench_options_close(), whatever comes back.
 * STATUS_INVALID with what is wrong. With BENCH_HELP and BENCH_VERSION nothing else is set. */
MUST_USE enum status bench_options_parse(int argc, char **argv, struct bench_options *options,
                                         enum bench_action *action, struct error *error);

void bench_options_print_help(void);

void bench_options_close(struct bench_options *options);

#endif
