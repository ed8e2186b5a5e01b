#include "tools/bench_work.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

static bool uses_items(const struct bench_options *options)
{
    return options->percent[BENCH_APPEND] < 100;
}

static bool uses_sessions(const struct bench_options *options)
{
    return options->percent[BENCH_APPEND] > 0;
}

static uint64_t batches(uint64_t n, const struct bench_request *request)
{
    return (n + request->n_places - 1) / request->n_places;
}

static void note_largest(struct bench_work *work, const struct bench_request *request)
{
    work->largest = request->bytes.size > work->largest ? request->bytes.size : work->largest;
}

void bench_work_init(struct bench_work *work, const struct bench_options *options, uint64_t seed)
{
    CHECK(seed != 0);
    *work = (struct bench_work){.options = options, .random = seed, .stamp = seed};
    for (int op = 0; op < BENCH_N_OPS; op++) {
        work->requests[op] = bench_request_of(options, (enum bench_op)op);
        if (options->percent[op] > 0) {
            note_largest(work, &work->requests[op]);
        }
    }
    work->fill[0] = bench_request_fill(options, BENCH_PUT);
    work->fill[1] = bench_request_fill(options, BENCH_APPEND);
    if (options->fill) {
        note_largest(work, &work->fill[0]);
        note_largest(work, &work->fill[1]);
    }
    work->fill_items = uses_items(options) ? batches(options->keys, &work->fill[0]) : 0;
    work->fill_total = work->fill_items +
                       (uses_sessions(options) ? batches(options->sessions, &work->fill[1]) : 0);
    /* Not more than are in flight can fail. */
    work->again = memory_new_zeroed(options->connections * options->pipeline, sizeof(uint64_t));
}

void bench_work_start_fill(struct bench_work *work, uint64_t now_ns)
{
    work->mode = BENCH_FILLING;
    work->begin_ns = now_ns;
}

void bench_work_start_timed(struct bench_work *work, uint64_t now_ns)
{
    work->mode = BENCH_TIMED;
    work->begin_ns = now_ns;
    work->measure_ns = now_ns + work->options->warmup_ms * 1000000;
    work->end_ns = work->measure_ns + work->options->duration_ms * 1000000;
}

static uint64_t next_random(struct bench_work *work)
{
    /* xorshift64*, good enough to spread keys. */
    work->random ^= work->random >> 12;
    work->random ^= work->random << 25;
    work->random ^= work->random >> 27;
    return work->random * 0x2545f4914f6cdd1dull;
}

static enum bench_op choose_op(struct bench_work *work)
{
    unsigned sum = 0;
    unsigned dice = (unsigned)((next_random(work) >> 33) % 100);

    for (int op = 0; op < BENCH_N_OPS; op++) {
        sum += work->options->percent[op];
        if (dice < sum) {
            return (enum bench_op)op;
        }
    }
    return BENCH_PUT;
}

uint64_t bench_work_due_ns(const struct bench_work *work)
{
    double interval_ns = 1e9 / (double)work->options->rate;
    uint64_t due_ns = work->begin_ns + (uint64_t)((double)work->next * interval_ns);

    return work->mode == BENCH_TIMED && due_ns < work->end_ns ? due_ns : UINT64_MAX;
}

static bool take_fill(struct bench_work *work, struct bench_slot *slot)
{
    if (work->n_again > 0) {
        slot->number = work->again[--work->n_again];
        return true;
    }
    if (work->fill_next < work->fill_total) {
        slot->number = work->fill_next++;
        return true;
    }
    return false;
}

bool bench_work_take(struct bench_work *work, uint64_t now_ns, struct bench_slot *slot)
{
    *slot = (struct bench_slot){.since_ns = now_ns};
    switch (work->mode) {
    case BENCH_IDLE:
        return false;
    case BENCH_FILLING:
        return take_fill(work, slot);
    case BENCH_TIMED:
        break;
    }
    if (work->options->rate > 0) {
        slot->since_ns = bench_work_due_ns(work);
        if (slot->since_ns > now_ns) {
            return false;
        }
        work->next++;
    } else if (now_ns >= work->end_ns) {
        return false;
    }
    slot->op = choose_op(work);
    return true;
}

size_t bench_work_write(struct bench_work *work, const struct bench_slot *slot, uint8_t *out)
{
    const struct bench_request *request = &work->requests[slot->op];
    uint64_t number;

    if (work->mode == BENCH_FILLING) {
        bool is_item = slot->number < work->fill_items;

        request = &work->fill[is_item ? 0 : 1];
        number = (is_item ? slot->number : slot->number - work->fill_items) * request->n_places;
    } else {
        number = next_random(work) % request->most;
    }
    bench_request_write(request, number, work->stamp++, out);
    return request->bytes.size;
}

void bench_work_again(struct bench_work *work, const struct bench_slot *slot)
{
    CHECK(work->mode == BENCH_FILLING);
    CHECK(work->n_again < work->options->connections * work->options->pipeline);
    work->again[work->n_again++] = slot->number;
}

bool bench_work_done(struct bench_work *work)
{
    CHECK(work->mode == BENCH_FILLING);
    return ++work->fill_done == work->fill_total;
}

uint64_t bench_work_fill_records(const struct bench_work *work)
{
    return (uses_items(work->options) ? work->options->keys : 0) +
           (uses_sessions(work->options) ? work->options->sessions : 0);
}

void bench_work_close(struct bench_work *work)
{
    for (int op = 0; op < BENCH_N_OPS; op++) {
        bench_request_close(&work->requests[op]);
    }
    bench_request_close(&work->fill[0]);
    bench_request_close(&work->fill[1]);
    free(work->again);
}
