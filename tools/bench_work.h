/* What the load has to do next: which request, since when it is timed, and whether it is due.
 *
 * Filling comes first, if asked for: numbered transactions, each sent again until it was done. Then
 * requests at random; in the closed loop whenever one is asked for, in the open loop when it is
 * due, however late it is taken. Pure: time is a parameter. One thread. */
#ifndef HOLDFAST_TOOLS_BENCH_WORK_H
#define HOLDFAST_TOOLS_BENCH_WORK_H

#include "tools/bench_request.h"

/* A request that was taken. */
struct bench_slot {
    uint64_t since_ns;
    uint64_t number; /* Filling: which transaction. */
    enum bench_op op;
};

enum bench_work_mode { BENCH_IDLE, BENCH_FILLING, BENCH_TIMED };

struct bench_work {
    const struct bench_options *options;
    enum bench_work_mode mode;
    uint64_t begin_ns;
    uint64_t measure_ns; /* Begin plus warm-up. */
    uint64_t end_ns;     /* No request begins, or is due, from here on. */
    size_t largest;      /* Bytes of the largest request. */
    /* Private. */
    struct bench_request requests[BENCH_N_OPS];
    uint64_t random;
    uint64_t stamp;
    uint64_t next; /* Open loop: how many were taken. */
    /* Transactions 0 to fill_items - 1 write items, those behind sessions. */
    struct bench_request fill[2];
    uint64_t fill_items, fill_total, fill_next, fill_done;
    uint64_t *again; /* Those to send again, as a stack. */
    size_t n_again;
};

/* Nothing is to be done until one of the starts. @seed is not 0. @options is borrowed. */
void bench_work_init(struct bench_work *work, const struct bench_options *options, uint64_t seed);

void bench_work_start_fill(struct bench_work *work, uint64_t now_ns);
void bench_work_start_timed(struct bench_work *work, uint64_t now_ns);

/* Take the next request that may go out now; false if there is none. */
bool bench_work_take(struct bench_work *work, uint64_t now_ns, struct bench_slot *slot);

/* Write the request of @slot to @out, which has room for work->largest. Gives its size. */
size_t bench_work_write(struct bench_work *work, const struct bench_slot *slot, uint8_t *out);

/* Filling: @slot was not done and is to be sent again; or it was done. True: that was the last. */
void bench_work_again(struct bench_work *work, const struct bench_slot *slot);
bool bench_work_done(struct bench_work *work);

/* Open loop: when the next one is due; UINT64_MAX when there is none before the end. */
uint64_t bench_work_due_ns(const struct bench_work *work);

/* The items and sessions that filling writes. */
uint64_t bench_work_fill_records(const struct bench_work *work);

void bench_work_close(struct bench_work *work);

#endif
