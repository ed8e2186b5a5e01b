/* The apply thread takes work from a queue, in order.
 *
 * 1. applier_push() links the work and wakes the thread.
 * 2. The thread takes all that is queued. It executes each entry, commits, publishes what is
 *    visible, posts the waits that are satisfied, and gives the work back.
 * 3. When enough is unflushed, or it is old enough, or durability is asked for, it freezes that and
 *    wakes the flush thread.
 * 4. The flush thread flushes, and wakes the apply thread, which gives back the work that asked for
 *    durability before the flush began.
 *
 * When nothing is to be flushed, the flush thread scrubs now and then (scrub.h).
 *
 * If execution is faster than flushing, it waits when as much as in a flush is unflushed beside the
 * one that runs.
 *
 * What can go wrong: any failure of the machine or a flush is told by on_failure() once, and
 * nothing is executed, flushed or given back from then on; the process is about to end. */
#include "storage/applier.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/scrub.h"

struct applier {
    struct applier_options options;
    struct machine *machine;
    pthread_t thread;

    pthread_t flusher;

    /* Guarded by the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* The apply thread: for work, or after a flush. */
    pthread_cond_t wake_flusher;
    struct queue work;
    struct queue waits; /* struct visibility_wait, in no order. */
    bool closing;
    bool is_flushing; /* From the freeze to the end of the flush. */
    bool has_flushed; /* A flush ended, and the apply thread has not seen it. */
    bool flusher_closing;

    /* Written by the apply thread (and queued_* by pushers, flush* by the flusher), read by anyone.
     */
    atomic_size_t queued_bytes;
    atomic_uint_least64_t queued_entries;
    atomic_uint_least64_t visible_index;
    atomic_uint_least64_t visible_revision;
    atomic_uint_least64_t visible_time_ms;
    atomic_uint_least64_t next_due_ms;
    atomic_uint_least64_t entries;
    atomic_uint_least64_t commands;
    atomic_uint_least64_t flushes;
    atomic_uint_least64_t flush_nanoseconds;
    atomic_uint_least64_t scrubs;
    atomic_uint_least64_t scrub_records;
    atomic_uint_least64_t scrub_nanoseconds;
    atomic_uint_least64_t scrub_ended_ns;
    atomic_bool failed;

    struct scrub_schedule scrub; /* The flush thread's own. */

    /* The apply thread's own. */
    struct applied *current;
    struct queue asked;    /* Work that wants durability: for the next flush. */
    struct queue promised; /* For the flush that runs. */
    uint64_t flush_due_ns; /* UINT64_MAX: nothing is unflushed. */
    unsigned random;
};

/* All nodes execute the same entries at the same time. If they flushed at the same time too, they
 * would do it against each other, where they share a disk. */
static uint64_t draw_flush_due_ns(struct applier *applier)
{
    unsigned percent = 50 + (unsigned)rand_r(&applier->random) % 51;

    return clock_ns() + APPLIER_FLUSH_DELAY_MS * 10000ull * percent;
}

static void lock(struct applier *applier)
{
    CHECK(pthread_mutex_lock(&applier->mutex) == 0);
}

static void unlock(struct applier *applier)
{
    CHECK(pthread_mutex_unlock(&applier->mutex) == 0);
}

static void fail(struct applier *applier, const struct error *error)
{
    if (!atomic_exchange(&applier->failed, true)) {
        applier->options.on_failure(applier->options.data, error);
    }
}

/* --- Visibility --- */

static bool is_visible(const struct applier *applier, const struct visibility_wait *wait)
{
    return atomic_load(&applier->visible_index) >= wait->index &&
           atomic_load(&applier->visible_revision) >= wait->revision;
}

/* Post every wait that is satisfied now. Waits mostly belong to few mailboxes, so neighbours of one
 * mailbox are posted together. The mutex is held. */
static void post_satisfied(struct applier *applier)
{
    struct mailbox *home = NULL;
    struct queue ready;
    struct link *link;
    struct link *next;

    queue_init(&ready);
    for (link = queue_first(&applier->waits); link != NULL; link = next) {
        struct visibility_wait *wait = CONTAINER_OF(link, struct visibility_wait, link);

        next = queue_next(&applier->waits, link);
        if (!is_visible(applier, wait)) {
            continue;
        }
        queue_remove(link);
        if (home != wait->home) {
            if (home != NULL) {
                mailbox_post_all(home, &ready);
            }
            home = wait->home;
        }
        queue_push(&ready, &wait->message.link);
    }
    if (home != NULL) {
        mailbox_post_all(home, &ready);
    }
}

static void publish(struct applier *applier)
{
    lock(applier);
    atomic_store(&applier->visible_time_ms, machine_time_ms(applier->machine));
    atomic_store(&applier->visible_revision, machine_revision(applier->machine));
    atomic_store(&applier->visible_index, machine_applied_index(applier->machine));
    post_satisfied(applier);
    unlock(applier);
}

/* --- Flushing --- */

/* Give back all of @queue. */
static void give_back(struct applier *applier, struct queue *queue)
{
    struct link *link;

    while ((link = queue_pop(queue)) != NULL) {
        atomic_fetch_sub(&applier->queued_entries, 1);
        if (!applier->failed) {
            applier->options.on_done(applier->options.data,
                                     CONTAINER_OF(link, struct applied, link));
        }
    }
}

static bool is_full(struct applier *applier)
{
    struct store_unflushed unflushed;

    store_unflushed(applier->options.store, &unflushed);
    return unflushed.bytes >= LIMIT_FLUSH_BYTES || unflushed.records >= LIMIT_FLUSH_RECORDS;
}

static bool flush_is_due(struct applier *applier)
{
    return !queue_is_empty(&applier->asked) || clock_ns() >= applier->flush_due_ns ||
           is_full(applier);
}

/* Freeze what is unflushed and have it flushed. Nothing is being flushed. */
static void start_flush(struct applier *applier)
{
    struct error error;
    bool frozen;

    if (machine_freeze(applier->machine, &frozen, &error) != STATUS_OK) {
        fail(applier, &error);
        return;
    }
    applier->flush_due_ns = UINT64_MAX;
    if (!frozen) {
        give_back(applier, &applier->asked);
        return;
    }
    queue_append(&applier->promised, &applier->asked);
    lock(applier);
    applier->is_flushing = true;
    CHECK(pthread_cond_signal(&applier->wake_flusher) == 0);
    unlock(applier);
}

/* Give back what the flush that ended has made durable. */
static void finish_flush(struct applier *applier)
{
    bool has_flushed;

    lock(applier);
    has_flushed = applier->has_flushed;
    applier->has_flushed = false;
    unlock(applier);
    if (has_flushed) {
        give_back(applier, &applier->promised);
    }
}

static void wait_for_flush(struct applier *applier)
{
    lock(applier);
    while (applier->is_flushing && !applier->failed) {
        CHECK(pthread_cond_wait(&applier->wake, &applier->mutex) == 0);
    }
    unlock(applier);
    finish_flush(applier);
}

/* Start a flush if one is due; wait for the one that runs if it is due even so. */
static void keep_flushing(struct applier *applier)
{
    bool is_flushing;

    finish_flush(applier);
    lock(applier);
    is_flushing = applier->is_flushing;
    unlock(applier);
    if (applier->failed || !flush_is_due(applier)) {
        return;
    }
    if (is_flushing) {
        if (!is_full(applier)) {
            return;
        }
        wait_for_flush(applier);
    }
    if (!applier->failed) {
        start_flush(applier);
    }
}

static void flush(struct applier *applier)
{
    struct error error;
    uint64_t start = clock_ns();

    if (applier->options.journal != NULL) {
        /* Before the state: what a crash takes from the journal is then executed again. */
        journal_sync(applier->options.journal);
    }
    if (store_flush(applier->options.store, &error) != STATUS_OK) {
        fail(applier, &error);
        return;
    }
    atomic_fetch_add(&applier->flushes, 1);
    atomic_fetch_add(&applier->flush_nanoseconds, clock_ns() - start);
}

static void tell_of_scrubs(struct applier *applier)
{
    const struct scrub_schedule *scrub = &applier->scrub;

    atomic_store(&applier->scrub_records, scrub->records);
    atomic_store(&applier->scrub_nanoseconds, scrub->took_ns);
    atomic_store(&applier->scrub_ended_ns, scrub->ended_ns);
    atomic_store(&applier->scrubs, scrub->completed);
}

static void scrub(struct applier *applier)
{
    struct error error;

    if (scrub_turn(&applier->scrub, applier->options.store, clock_ns, &error) != STATUS_OK) {
        applier->scrub.due_ns = UINT64_MAX;
        fail(applier, &error);
    }
    tell_of_scrubs(applier);
}

/* Wait until something is to be flushed, a scrub is due, or the end. The mutex is held. */
static void wait_for_flushing(struct applier *applier)
{
    (void)clock_condition_wait(&applier->wake_flusher, &applier->mutex, applier->scrub.due_ns);
}

static void *run_flusher(void *data)
{
    struct applier *applier = data;

    thread_set_name("flush");
    lock(applier);
    while (!applier->flusher_closing) {
        if (!applier->is_flushing && clock_ns() < applier->scrub.due_ns) {
            wait_for_flushing(applier);
            continue;
        }
        if (!applier->is_flushing) {
            unlock(applier);
            scrub(applier);
            lock(applier);
            continue;
        }
        unlock(applier);
        flush(applier);
        lock(applier);
        applier->is_flushing = false;
        applier->has_flushed = !applier->failed;
        CHECK(pthread_cond_signal(&applier->wake) == 0);
    }
    unlock(applier);
    return NULL;
}

/* --- Execution --- */

static void on_result(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    struct applier *applier = data;

    atomic_fetch_add_explicit(&applier->commands, 1, memory_order_relaxed);
    applier->options.on_result(applier->options.data, applier->current, bundle, command, result);
}

static enum status execute(struct applier *applier, struct applied *work, struct error *error)
{
    struct machine *machine = applier->machine;

    machine_set_stored(machine, work->stored);
    if (work->kind == APPLIED_SKIP) {
        return machine_skip_to(machine, work->index, work->term, error);
    }
    CHECK(work->kind == APPLIED_ENTRY);
    applier->current = work;
    atomic_fetch_add(&applier->entries, 1);
    return machine_execute(machine, work->index, work->term, buffer_slice(&work->entry), on_result,
                           applier, error);
}

/* Before the commit, as the transaction that is open can look. */
static enum status note_due(struct applier *applier, struct error *error)
{
    uint64_t due_ms;
    enum status status = machine_next_due(applier->machine, &due_ms, error);

    if (status == STATUS_OK) {
        atomic_store(&applier->next_due_ms, due_ms);
    }
    return status;
}

/* What was executed, now that it is committed, behind index @before. */
static void note_step(struct applier *applier, const struct applied *work, uint64_t before)
{
    const struct machine *machine = applier->machine;
    struct step step = {
        .first_index = work->kind == APPLIED_ENTRY ? work->index : before + 1,
        .index = work->index,
        .term = work->term,
        .revision = machine_revision(machine),
        .time_ms = machine_time_ms(machine),
        .hash = {work->state_hash[0], work->state_hash[1]},
        .entry = buffer_slice(&work->entry),
    };

    if (applier->options.journal != NULL && work->index > before) {
        journal_append(applier->options.journal, &step);
    }
}

static void run_one(struct applier *applier, struct applied *work)
{
    uint64_t before = machine_applied_index(applier->machine);
    size_t bytes = work->entry.size;
    enum status status = STATUS_OK;
    struct error error;

    if (!applier->failed) {
        status = execute(applier, work, &error);
        status = status == STATUS_OK ? note_due(applier, &error) : status;
        status = status == STATUS_OK ? machine_commit(applier->machine, &error) : status;
        if (status != STATUS_OK) {
            fail(applier, &error);
        }
    }
    if (!applier->failed) {
        if (applier->flush_due_ns == UINT64_MAX) {
            applier->flush_due_ns = draw_flush_due_ns(applier);
        }
        work->state_index = machine_applied_index(applier->machine);
        machine_state_hash(applier->machine, work->state_hash);
        note_step(applier, work, before);
        publish(applier);
    }
    atomic_fetch_sub(&applier->queued_bytes, bytes);
    atomic_fetch_sub(&applier->queued_entries, 1);
    if (!applier->failed) {
        applier->options.on_done(applier->options.data, work);
    }
}

static void ask_for_durability(struct applier *applier, struct applied *work)
{
    CHECK(applier->failed || machine_applied_index(applier->machine) >= work->index);
    machine_set_stored(applier->machine, work->stored);
    queue_push(&applier->asked, &work->link);
}

/* Wait until there is work, a flush should begin or has ended, or the end. The mutex is held. */
static void wait_for_work(struct applier *applier)
{
    while (queue_is_empty(&applier->work) && !applier->closing && !applier->has_flushed) {
        uint64_t until_ns =
            applier->is_flushing || applier->failed ? UINT64_MAX : applier->flush_due_ns;

        if (!clock_condition_wait(&applier->wake, &applier->mutex, until_ns)) {
            return;
        }
    }
}

static void run_taken(struct applier *applier, struct queue *taken)
{
    struct link *link;

    while ((link = queue_pop(taken)) != NULL) {
        struct applied *work = CONTAINER_OF(link, struct applied, link);

        if (work->kind == APPLIED_DURABLE) {
            ask_for_durability(applier, work);
        } else {
            run_one(applier, work);
        }
        keep_flushing(applier);
    }
}

static void *run(void *data)
{
    struct applier *applier = data;
    struct queue taken;
    bool closing;

    thread_set_name("apply");
    queue_init(&taken);
    do {
        lock(applier);
        wait_for_work(applier);
        queue_append(&taken, &applier->work);
        closing = applier->closing;
        unlock(applier);

        run_taken(applier, &taken);
        keep_flushing(applier);
    } while (!closing);

    wait_for_flush(applier);
    if (!applier->failed) {
        start_flush(applier);
        wait_for_flush(applier);
    }
    return NULL;
}

/* --- The life --- */

/* The apply thread has ended, or was not started. */
static void end_flusher(struct applier *applier)
{
    lock(applier);
    applier->flusher_closing = true;
    CHECK(pthread_cond_signal(&applier->wake_flusher) == 0);
    unlock(applier);
    CHECK(pthread_join(applier->flusher, NULL) == 0);
}

static void release(struct applier *applier)
{
    machine_close(applier->machine);
    CHECK(pthread_cond_destroy(&applier->wake_flusher) == 0);
    CHECK(pthread_cond_destroy(&applier->wake) == 0);
    CHECK(pthread_mutex_destroy(&applier->mutex) == 0);
    free(applier);
}

enum status applier_open(const struct applier_options *options, struct applier **applier,
                         struct error *error)
{
    struct applier *a = memory_new_zeroed(1, sizeof *a);
    struct machine_position position;
    enum status status;
    int rv;

    a->options = *options;
    status = machine_position(options->store, &position, error);
    if (status != STATUS_OK) {
        goto err_after_alloc;
    }
    status = machine_open(options->store, options->feature_level, &a->machine, error);
    if (status != STATUS_OK) {
        goto err_after_alloc;
    }
    a->random = (unsigned)clock_ns();
    a->flush_due_ns = UINT64_MAX;
    scrub_schedule_init(&a->scrub, options->scrub_interval_s, clock_ns(),
                        (unsigned)rand_r(&a->random));
    tell_of_scrubs(a);
    queue_init(&a->work);
    queue_init(&a->waits);
    queue_init(&a->asked);
    queue_init(&a->promised);
    atomic_store(&a->visible_index, position.applied_index);
    atomic_store(&a->visible_revision, position.revision);
    atomic_store(&a->visible_time_ms, position.time_ms);
    CHECK(pthread_mutex_init(&a->mutex, NULL) == 0);
    clock_condition_init(&a->wake);
    clock_condition_init(&a->wake_flusher);
    status = note_due(a, error);
    if (status != STATUS_OK) {
        goto err_after_machine;
    }
    rv = pthread_create(&a->flusher, NULL, run_flusher, a);
    if (rv != 0) {
        status = error_set(error, status_from_errno(rv), "could not start the flush thread");
        goto err_after_machine;
    }
    rv = pthread_create(&a->thread, NULL, run, a);
    if (rv != 0) {
        status = error_set(error, status_from_errno(rv), "could not start the apply thread");
        goto err_after_flusher;
    }
    *applier = a;
    return STATUS_OK;

err_after_flusher:
    end_flusher(a);
err_after_machine:
    release(a);
    return status;
err_after_alloc:
    free(a);
    return status;
}

void applier_push(struct applier *applier, struct applied *work)
{
    atomic_fetch_add(&applier->queued_bytes, work->entry.size);
    atomic_fetch_add(&applier->queued_entries, 1);
    lock(applier);
    CHECK(!applier->closing);
    queue_push(&applier->work, &work->link);
    CHECK(pthread_cond_signal(&applier->wake) == 0);
    unlock(applier);
}

size_t applier_queued_bytes(const struct applier *applier)
{
    return atomic_load(&applier->queued_bytes);
}

void applier_visible(const struct applier *applier, struct applier_visible *visible)
{
    visible->index = atomic_load(&applier->visible_index);
    visible->revision = atomic_load(&applier->visible_revision);
    visible->time_ms = atomic_load(&applier->visible_time_ms);
}

uint64_t applier_next_due_ms(const struct applier *applier)
{
    return atomic_load(&applier->next_due_ms);
}

bool applier_wait_visible(struct applier *applier, struct visibility_wait *wait)
{
    bool visible;

    if (is_visible(applier, wait)) {
        return true;
    }
    lock(applier);
    visible = is_visible(applier, wait);
    if (!visible) {
        queue_push(&applier->waits, &wait->link);
        CHECK(pthread_cond_signal(&applier->wake) == 0);
    }
    unlock(applier);
    return visible;
}

bool applier_wait_cancel(struct applier *applier, struct visibility_wait *wait)
{
    bool waiting = false;

    lock(applier);
    for (struct link *link = queue_first(&applier->waits); link != NULL && !waiting;
         link = queue_next(&applier->waits, link)) {
        waiting = link == &wait->link;
    }
    if (waiting) {
        queue_remove(&wait->link);
    }
    unlock(applier);
    return waiting;
}

void applier_statistics(const struct applier *applier, struct applier_statistics *statistics)
{
    statistics->entries = atomic_load(&applier->entries);
    statistics->commands = atomic_load(&applier->commands);
    statistics->flushes = atomic_load(&applier->flushes);
    statistics->flush_nanoseconds = atomic_load(&applier->flush_nanoseconds);
    statistics->queued_entries = atomic_load(&applier->queued_entries);
    statistics->queued_bytes = atomic_load(&applier->queued_bytes);
    statistics->scrubs = atomic_load(&applier->scrubs);
    statistics->scrub_records = atomic_load(&applier->scrub_records);
    statistics->scrub_nanoseconds = atomic_load(&applier->scrub_nanoseconds);
    statistics->scrub_age_nanoseconds = clock_ns() - atomic_load(&applier->scrub_ended_ns);
    statistics->executed_index = atomic_load(&applier->visible_index);
}

void applier_close(struct applier *applier)
{
    lock(applier);
    applier->closing = true;
    CHECK(pthread_cond_signal(&applier->wake) == 0);
    unlock(applier);
    CHECK(pthread_join(applier->thread, NULL) == 0);
    end_flusher(applier);
    release(applier);
}
