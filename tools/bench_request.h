/* Requests made once and then only copied: what differs between two of a kind is digits of a fixed
 * width at known places.
 *
 * Read-only after being made; any thread. */
#ifndef HOLDFAST_TOOLS_BENCH_REQUEST_H
#define HOLDFAST_TOOLS_BENCH_REQUEST_H

#include "daemon/base/buffer.h"
#include "tools/bench_options.h"

#define BENCH_BATCH_MAX 64 /* Operations of one transaction, while filling. */

struct bench_request {
    struct buffer bytes;
    size_t n_places; /* Where keys or sessions stand. */
    size_t places[BENCH_BATCH_MAX];
    size_t width;  /* Digits of each. */
    uint64_t most; /* They run from 0 to below this, and then from 0 again. */
    size_t stamp;  /* Where 16 hex digits of the value stand that always differ; 0: nowhere. */
};

/* The request of @op. */
struct bench_request bench_request_of(const struct bench_options *options, enum bench_op op);

/* A transaction that writes as many items (BENCH_PUT) or sessions (BENCH_APPEND) at once as fit. */
struct bench_request bench_request_fill(const struct bench_options *options, enum bench_op op);

/* A put with an idempotency key of 16 hex digits, which is the stamp. */
struct bench_request bench_request_keyed_put(const struct bench_options *options);

/* Copy @request to @out, which has room for its bytes, with @number in the first place, @number + 1
 * in the second and so on. */
void bench_request_write(const struct bench_request *request, uint64_t number, uint64_t stamp,
                         uint8_t *out);

void bench_request_close(struct bench_request *request);

#endif
