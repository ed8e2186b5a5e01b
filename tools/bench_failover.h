/* One writer that goes on through the loss of nodes, and tells how long it had to wait. */
#ifndef HOLDFAST_TOOLS_BENCH_FAILOVER_H
#define HOLDFAST_TOOLS_BENCH_FAILOVER_H

#include "tools/bench_options.h"

/* Write for options->duration_ms, each write with an idempotency key under which it is sent again,
 * to the next endpoint, until it is acknowledged. Prints JSON lines: a "gap" for each pause of
 * options->gap_ms and more between two acknowledged writes, and a "summary" at the end.
 *
 * STATUS_INVALID: an endpoint has no address, or a write was refused. STATUS_TIMEOUT: nothing was
 * acknowledged. */
MUST_USE enum status bench_failover_run(const struct bench_options *options, struct error *error);

#endif
