#include "tests/sim/sim.h"

#include <inttypes.h>
#include <raft.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"

struct sim_event {
    uint64_t at_ms;
    uint64_t order; /* Events of the same time happen as they were made. */
    const struct sim_owner *owner;
    uint64_t epoch;
    sim_event_cb cb;
    void *data;
};

struct sim {
    uint64_t now_ms;
    uint64_t random;
    uint64_t next_order;
    struct sim_event *heap;
    size_t n_events;
    size_t capacity;
    FILE *trace;
    bool with_notes;
    uint64_t digest;
    bool is_closing;
    bool has_failed;
    char failure[512];
};

/* --- Memory of libraft, and of what works on it --- */

struct block {
    struct link link;
    size_t size;
    uint64_t mark; /* MARK_LIVE until it is released. */
    max_align_t content[];
};

#define MARK_LIVE     0x6c6976652d6c6976ull
#define MARK_RELEASED 0x676f6e652d676f6eull
#define MAX_RELEASED                                                                               \
    512u /* Blocks that are kept for a while, so that a late use is noticed, ...                   \
          */
#define POISONED_BYTES 256u /* ... with so much of it overwritten. */

static struct queue blocks;
static struct queue released; /* The oldest first. */
static unsigned n_released;

static void *sim_malloc(void *data, size_t size)
{
    struct block *block = memory_new_zeroed(1, sizeof *block + size);

    (void)data;
    block->size = size;
    block->mark = MARK_LIVE;
    queue_push(&blocks, &block->link);
    return block->content;
}

static void sim_free(void *data, void *content)
{
    struct block *block;

    (void)data;
    if (content == NULL) {
        return;
    }
    block = CONTAINER_OF(content, struct block, content);
    CHECK(block->mark == MARK_LIVE); /* Else it is released twice. */
    block->mark = MARK_RELEASED;
    memset(content, 0xdb, block->size < POISONED_BYTES ? block->size : POISONED_BYTES);
    queue_remove(&block->link);
    queue_push(&released, &block->link);
    if (n_released == MAX_RELEASED) {
        free(CONTAINER_OF(queue_pop(&released), struct block, link));
    } else {
        n_released++;
    }
}

static void *sim_calloc(void *data, size_t n, size_t size)
{
    void *content = sim_malloc(data, n * size);

    return memset(content, 0, n * size);
}

static void *sim_realloc(void *data, void *content, size_t size)
{
    void *grown = sim_malloc(data, size);

    if (content != NULL) {
        size_t old = CONTAINER_OF(content, struct block, content)->size;

        memcpy(grown, content, old < size ? old : size);
        sim_free(data, content);
    }
    return grown;
}

static void *sim_aligned_alloc(void *data, size_t alignment, size_t size)
{
    CHECK(alignment <= _Alignof(max_align_t)); /* Only libraft's own disk asks for more. */
    return sim_malloc(data, size);
}

static void sim_aligned_free(void *data, size_t alignment, void *content)
{
    (void)alignment;
    sim_free(data, content);
}

static struct raft_heap heap = {
    .malloc = sim_malloc,
    .free = sim_free,
    .calloc = sim_calloc,
    .realloc = sim_realloc,
    .aligned_alloc = sim_aligned_alloc,
    .aligned_free = sim_aligned_free,
};

/* --- Life --- */

struct sim *sim_open(uint64_t seed)
{
    struct sim *sim = memory_new_zeroed(1, sizeof *sim);

    queue_init(&blocks);
    queue_init(&released);
    n_released = 0;
    raft_heap_set(&heap);
    sim->now_ms = 1000;
    sim->random = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
    for (int i = 0; i < 16; i++) {
        (void)sim_random(sim); /* Mix: near seeds start alike. */
    }
    return sim;
}

bool sim_is_closing(const struct sim *sim)
{
    return sim->is_closing;
}

uint64_t sim_now_ms(const struct sim *sim)
{
    return sim->now_ms;
}

/* xorshift64 */
uint64_t sim_random(struct sim *sim)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return sim->random;
}

unsigned sim_between(struct sim *sim, unsigned low, unsigned high)
{
    return low + (unsigned)(sim_random(sim) >> 16) % (high - low + 1);
}

bool sim_once_in(struct sim *sim, unsigned n)
{
    return sim_between(sim, 1, n) == 1;
}

/* --- Events: a binary heap --- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static void push(struct sim *sim, struct sim_event event)
{
    size_t i = sim->n_events++;

    if (sim->n_events > sim->capacity) {
        sim->capacity = sim->capacity == 0 ? 256 : sim->capacity * 2;
        sim->heap = memory_resize(sim->heap, sim->capacity * sizeof *sim->heap);
    }
    while (i > 0 && is_before(&event, &sim->heap[(i - 1) / 2])) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = event;
}

void sim_at(struct sim *sim, uint64_t at_ms, const struct sim_owner *owner, sim_event_cb cb,
            void *data)
{
    struct sim_event event = {
        .at_ms = at_ms, .order = sim->next_order++, .owner = owner, .cb = cb, .data = data};

    event.epoch = owner == NULL ? 0 : owner->epoch;
    push(sim, event);
}

static struct sim_event take_first(struct sim *sim)
{
    struct sim_event first = sim->heap[0];
    struct sim_event last = sim->heap[--sim->n_events];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= sim->n_events) {
            break;
        }
        if (child + 1 < sim->n_events && is_before(&sim->heap[child + 1], &sim->heap[child])) {
            child++;
        }
        if (!is_before(&sim->heap[child], &last)) {
            break;
        }
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    if (sim->n_events > 0) {
        sim->heap[i] = last;
    }
    return first;
}

void sim_drain(struct sim *sim)
{
    sim->is_closing = true;
    while (sim->n_events > 0) {
        struct sim_event event = take_first(sim);

        if (event.owner == NULL) {
            event.cb(event.data);
        }
        free(event.data);
    }
}

void sim_close(struct sim *sim)
{
    struct link *link;

    sim_drain(sim);
    while ((link = queue_pop(&blocks)) != NULL) {
        free(CONTAINER_OF(link, struct block, link));
    }
    while ((link = queue_pop(&released)) != NULL) {
        free(CONTAINER_OF(link, struct block, link));
    }
    raft_heap_set_default();
    free(sim->heap);
    free(sim);
}

bool sim_step(struct sim *sim, uint64_t until_ms)
{
    struct sim_event event;

    if (sim->has_failed || sim->n_events == 0) {
        return false;
    }
    if (sim->heap[0].at_ms > until_ms) {
        sim->now_ms = until_ms;
        return false;
    }
    event = take_first(sim);
    if (event.at_ms > sim->now_ms) {
        sim->now_ms = event.at_ms;
    }
    if (event.owner == NULL) {
        event.cb(event.data);
    } else if (event.owner->epoch == event.epoch) {
        if (event.owner->paused_ms > sim->now_ms) {
            /* It keeps its order: what it had to come before may be due just then. */
            event.at_ms = event.owner->paused_ms;
            push(sim, event);
            return true;
        }
        event.cb(event.data);
    }
    free(event.data);
    return true;
}

/* --- Failures and traces --- */

void sim_fail(struct sim *sim, const char *fact, const char *format, ...)
{
    va_list arguments;
    int used;

    if (sim->has_failed) {
        return;
    }
    sim->has_failed = true;
    used = snprintf(sim->failure, sizeof sim->failure,
                    "at %" PRIu64 " ms: not true: %s: ", sim->now_ms, fact);
    if (used > 0 && (size_t)used < sizeof sim->failure) {
        va_start(arguments, format);
        (void)vsnprintf(sim->failure + used, sizeof sim->failure - (size_t)used, format,
                        arguments); /* Longer text is cut. */
        va_end(arguments);
    }
}

bool sim_has_failed(const struct sim *sim)
{
    return sim->has_failed;
}

const char *sim_failure(const struct sim *sim)
{
    return sim->has_failed ? sim->failure : NULL;
}

void sim_set_trace(struct sim *sim, FILE *file, bool with_notes)
{
    sim->trace = file;
    sim->with_notes = with_notes;
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    va_list arguments;

    if (sim->trace == NULL) {
        return;
    }
    (void)fprintf(sim->trace, "%8" PRIu64 "  ", sim->now_ms);
    va_start(arguments, format);
    (void)vfprintf(sim->trace, format, arguments);
    va_end(arguments);
    (void)fputc('\n', sim->trace);
}

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
    uint64_t parts[] = {sim->digest, sim->now_ms, (uint64_t)what[0], a, b};

    sim->digest = XXH3_64bits(parts, sizeof parts);
    if (sim->with_notes) {
        sim_trace(sim, "%s %" PRIu64 " %" PRIu64, what, a, b);
    }
}

uint64_t sim_digest(const struct sim *sim)
{
    return sim->digest;
}
