/* 1. replay_execute() executes into memory. When enough is unflushed, it freezes that, wakes the
 *    thread that flushes, and goes on: both work at the same time.
 * 2. When as much is unflushed again, it waits for the flush that runs; so does replay_flush().
 *
 * What can go wrong: a flush fails. Whoever waits for it next is told, and nothing goes on. */
#include "storage/replay.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"

/* Of entries: with less the disk has more to do than the processor, with more the table in memory
 * is larger than a processor's cache (docs/performance.md). */
#define FLUSH_BYTES (LIMIT_FLUSH_BYTES / 2)
/* A small entry may remove a thousand records, and each removal takes its place in memory. What
 * clients write is not so much before it is FLUSH_BYTES. */
#define FLUSH_RECORDS (8 * LIMIT_FLUSH_RECORDS)
#define LOOK_ENTRIES  64u /* After so many, as it takes a commit. */

struct replay {
    struct store *store;
    struct machine *machine;
    enum replay_source source;
    size_t unflushed_bytes; /* Of entries. */
    unsigned n_not_looked;  /* Entries since it was looked at how much is in memory. */
    uint64_t last_index;

    pthread_t flusher;
    bool has_flusher;
    pthread_mutex_t mutex; /* Guards what follows. */
    pthread_cond_t changed;
    bool is_flushing;
    bool is_closing;
    struct error failure; /* Of a flush, or STATUS_OK. */
};

/* --- The thread that flushes --- */

static void *run_flusher(void *data)
{
    struct replay *replay = data;
    struct error error;
    enum status status;

    thread_set_name("replay-flush");
    CHECK(pthread_mutex_lock(&replay->mutex) == 0);
    while (!replay->is_closing || replay->is_flushing) {
        if (!replay->is_flushing) {
            CHECK(pthread_cond_wait(&replay->changed, &replay->mutex) == 0);
            continue;
        }
        CHECK(pthread_mutex_unlock(&replay->mutex) == 0);
        status = store_flush(replay->store, &error);
        CHECK(pthread_mutex_lock(&replay->mutex) == 0);
        if (status != STATUS_OK) {
            replay->failure = error;
        }
        replay->is_flushing = false;
        CHECK(pthread_cond_broadcast(&replay->changed) == 0);
    }
    CHECK(pthread_mutex_unlock(&replay->mutex) == 0);
    return NULL;
}

static void tell_flusher(struct replay *replay, bool *what)
{
    CHECK(pthread_mutex_lock(&replay->mutex) == 0);
    *what = true;
    CHECK(pthread_cond_broadcast(&replay->changed) == 0);
    CHECK(pthread_mutex_unlock(&replay->mutex) == 0);
}

/* After it, nothing is frozen. */
static enum status wait_for_flush(struct replay *replay, struct error *error)
{
    struct error failure;

    CHECK(pthread_mutex_lock(&replay->mutex) == 0);
    while (replay->is_flushing) {
        CHECK(pthread_cond_wait(&replay->changed, &replay->mutex) == 0);
    }
    failure = replay->failure;
    CHECK(pthread_mutex_unlock(&replay->mutex) == 0);
    if (failure.status != STATUS_OK) {
        *error = failure;
    }
    return failure.status;
}

/* Have all that was executed flushed, after what is being flushed. */
static enum status start_flush(struct replay *replay, struct error *error)
{
    bool frozen = false;
    enum status status = wait_for_flush(replay, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (replay->source == REPLAY_OWN_LOG) {
        machine_set_stored(replay->machine, replay->last_index);
    }
    status = machine_freeze(replay->machine, &frozen, error);
    if (status == STATUS_OK && frozen) {
        tell_flusher(replay, &replay->is_flushing);
    }
    replay->unflushed_bytes = 0;
    return status;
}

/* --- All --- */

enum status replay_open(struct store *store, enum replay_source source, struct replay **replay,
                        struct error *error)
{
    struct replay *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status = machine_open(store, FEATURE_LEVEL, &opened->machine, error);

    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    opened->store = store;
    opened->source = source;
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&opened->changed, NULL) == 0);
    opened->has_flusher = pthread_create(&opened->flusher, NULL, run_flusher, opened) == 0;
    if (!opened->has_flusher) {
        replay_close(opened);
        return error_set(error, STATUS_IO, "could not start the thread that flushes");
    }
    *replay = opened;
    return STATUS_OK;
}

static void on_result(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    (void)data; /* Nobody waits for an answer. */
    (void)bundle;
    (void)command;
    (void)result;
}

static enum status see_whether_full(struct replay *replay, bool *is_full, struct error *error)
{
    struct store_unflushed unflushed;
    enum status status;

    *is_full = replay->unflushed_bytes >= FLUSH_BYTES;
    if (*is_full || ++replay->n_not_looked < LOOK_ENTRIES) {
        return STATUS_OK;
    }
    replay->n_not_looked = 0;
    status = machine_commit(replay->machine, error);
    if (status == STATUS_OK) {
        store_unflushed(replay->store, &unflushed);
        *is_full = unflushed.records >= FLUSH_RECORDS;
    }
    return status;
}

/* What was executed last is flushed only with what comes next, so that the caller can look at it
 * before. */
enum status replay_execute(struct replay *replay, uint64_t index, uint64_t term,
                           const struct slice *entry, struct error *error)
{
    bool is_full;
    enum status status = see_whether_full(replay, &is_full, error);

    if (status == STATUS_OK && is_full) {
        status = start_flush(replay, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = entry != NULL
                 ? machine_execute(replay->machine, index, term, *entry, on_result, NULL, error)
                 : machine_skip_to(replay->machine, index, term, error);
    replay->unflushed_bytes += entry != NULL ? entry->size : 0;
    replay->last_index = index;
    return status;
}

enum status replay_look(struct replay *replay, uint64_t hash[2], uint64_t *revision,
                        struct error *error)
{
    enum status status = machine_commit(replay->machine, error);

    if (status != STATUS_OK) {
        return status;
    }
    machine_state_hash(replay->machine, hash);
    *revision = machine_revision(replay->machine);
    return STATUS_OK;
}

enum status replay_flush(struct replay *replay, struct error *error)
{
    enum status status = start_flush(replay, error);

    return status == STATUS_OK ? wait_for_flush(replay, error) : status;
}

void replay_close(struct replay *replay)
{
    if (replay == NULL) {
        return;
    }
    if (replay->has_flusher) {
        tell_flusher(replay, &replay->is_closing);
        CHECK(pthread_join(replay->flusher, NULL) == 0);
    }
    CHECK(pthread_cond_destroy(&replay->changed) == 0);
    CHECK(pthread_mutex_destroy(&replay->mutex) == 0);
    machine_close(replay->machine);
    free(replay);
}
