/* One thread takes work from a queue, in order.
 *
 * 1. applier_push() links the work and wakes the thread.
 * 2. The thread takes all that is queued, executes it, and gives each piece back.
 * 3. It commits when a reader waits for what was executed, when the oldest uncommitted execution is
 *    APPLIER_COMMIT_DELAY_MS old, or when durability is asked for; then it publishes what is
 * visible and posts the waits that are satisfied.
 *
 * What can go wrong: any failure of the machine is told by on_failure() once, and nothing is
 * executed, committed or given back from then on; the process is about to end. */
#include "storage/applier.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

struct applier {
    struct applier_options options;
    struct machine *machine;
    pthread_t thread;

    /* The queue, guarded by the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct queue work;
    struct queue waits; /* struct visibility_wait, in no order. */
    bool closing;

    /* Written by the apply thread (and queued_* by pushers), read by anyone. */
    atomic_size_t queued_bytes;
    atomic_uint_least64_t queued_entries;
    atomic_uint_least64_t visible_index;
    atomic_uint_least64_t visible_revision;
    atomic_uint_least64_t visible_time_ms;
    atomic_uint_least64_t executed_index;
    atomic_uint_least64_t executed_revision;
    atomic_uint_least64_t next_due_ms;
    atomic_uint_least64_t entries;
    atomic_uint_least64_t commands;
    atomic_uint_least64_t commits;
    atomic_uint_least64_t commit_nanoseconds;

    /* The apply thread's own. */
    struct applied *current;
    uint64_t uncommitted_since_ns; /* 0: all is committed. */
    uint64_t commit_delay_ns;      /* Until the next commit; drawn anew for each. */
    unsigned random;
    bool failed;
};

static uint64_t clock_ns(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* All nodes execute the same entries at the same time. If they committed at the same time too, they
 * would flush against each other, where they share a disk, and all clients of the cluster would
 * wait at once, where they do not. */
static void draw_commit_delay(struct applier *applier)
{
    unsigned percent = 50 + (unsigned)rand_r(&applier->random) % 51;

    applier->commit_delay_ns = APPLIER_COMMIT_DELAY_MS * 10000ull * percent;
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
    if (!applier->failed) {
        applier->failed = true;
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

static void commit(struct applier *applier)
{
    struct error error;
    uint64_t start;

    if (applier->uncommitted_since_ns == 0 || applier->failed) {
        return;
    }
    start = clock_ns();
    if (machine_commit(applier->machine, &error) != STATUS_OK) {
        fail(applier, &error);
        return;
    }
    atomic_fetch_add(&applier->commits, 1);
    atomic_fetch_add(&applier->commit_nanoseconds, clock_ns() - start);
    applier->uncommitted_since_ns = 0;
    draw_commit_delay(applier);
    publish(applier);
}

/* Does a reader wait for something that was executed and is not committed? The mutex is held. */
static bool is_awaited(const struct applier *applier)
{
    const struct link *link;

    for (link = queue_first(&applier->waits); link != NULL;
         link = queue_next(&applier->waits, link)) {
        const struct visibility_wait *wait =
            CONTAINER_OF((void *)(uintptr_t)link, struct visibility_wait, link);

        if (wait->index <= atomic_load(&applier->executed_index) &&
            wait->revision <= atomic_load(&applier->executed_revision)) {
            return true;
        }
    }
    return false;
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
    enum status status;

    machine_set_stored(machine, work->stored);
    switch (work->kind) {
    case APPLIED_ENTRY:
        applier->current = work;
        atomic_fetch_add(&applier->entries, 1);
        return machine_execute(machine, work->index, work->term, buffer_slice(&work->entry),
                               on_result, applier, error);
    case APPLIED_SKIP:
        return machine_skip_to(machine, work->index, work->term, error);
    case APPLIED_DURABLE:
        CHECK(machine_applied_index(machine) >= work->index);
        applier->uncommitted_since_ns = clock_ns(); /* "stored" may be all that changed. */
        commit(applier);
        status = applier->failed ? STATUS_IO : store_sync(applier->options.store, error);
        return status;
    }
    CHECK(work->kind <= APPLIED_DURABLE);
    return STATUS_INVALID;
}

static void note_executed(struct applier *applier)
{
    struct error error;
    uint64_t due_ms;

    atomic_store(&applier->executed_revision, machine_revision(applier->machine));
    atomic_store(&applier->executed_index, machine_applied_index(applier->machine));
    if (machine_next_due(applier->machine, &due_ms, &error) != STATUS_OK) {
        fail(applier, &error);
        return;
    }
    atomic_store(&applier->next_due_ms, due_ms);
}

static void run_one(struct applier *applier, struct applied *work)
{
    size_t bytes = work->entry.size;
    struct error error;

    if (!applier->failed && execute(applier, work, &error) != STATUS_OK) {
        fail(applier, &error);
    }
    if (applier->uncommitted_since_ns == 0 && work->kind != APPLIED_DURABLE) {
        applier->uncommitted_since_ns = clock_ns();
    }
    if (!applier->failed) {
        note_executed(applier);
    }
    atomic_fetch_sub(&applier->queued_bytes, bytes);
    atomic_fetch_sub(&applier->queued_entries, 1);
    if (!applier->failed) {
        applier->options.on_done(applier->options.data, work);
    }
}

static bool commit_is_due(const struct applier *applier)
{
    return applier->uncommitted_since_ns != 0 &&
           clock_ns() - applier->uncommitted_since_ns >= applier->commit_delay_ns;
}

/* Wait until there is work, a commit should be made, or the end. The mutex is held. */
static void wait_for_work(struct applier *applier)
{
    uint64_t idle_until_ns = clock_ns() + APPLIER_IDLE_MS * 1000000ull;
    struct timespec until = {.tv_sec = (time_t)(idle_until_ns / 1000000000u),
                             .tv_nsec = (long)(idle_until_ns % 1000000000u)};

    while (queue_is_empty(&applier->work) && !applier->closing) {
        if (applier->uncommitted_since_ns == 0 || applier->failed) {
            CHECK(pthread_cond_wait(&applier->wake, &applier->mutex) == 0);
            continue;
        }
        if (is_awaited(applier) ||
            pthread_cond_timedwait(&applier->wake, &applier->mutex, &until) == ETIMEDOUT) {
            return;
        }
    }
}

static void *run(void *data)
{
    struct applier *applier = data;
    struct queue taken;
    struct link *link;
    bool closing;
    bool idle;
    bool awaited;

    queue_init(&taken);
    do {
        lock(applier);
        wait_for_work(applier);
        idle = queue_is_empty(&applier->work);
        queue_append(&taken, &applier->work);
        closing = applier->closing;
        unlock(applier);

        while ((link = queue_pop(&taken)) != NULL) {
            run_one(applier, CONTAINER_OF(link, struct applied, link));
            if (commit_is_due(applier)) {
                commit(applier);
            }
        }

        lock(applier);
        awaited = is_awaited(applier);
        unlock(applier);
        if (idle || awaited || closing || commit_is_due(applier)) {
            commit(applier);
        }
    } while (!closing);
    return NULL;
}

/* --- The life --- */

static void init_wake(struct applier *applier)
{
    pthread_condattr_t attributes;

    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&applier->wake, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
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
    status = machine_open(options->store, &a->machine, error);
    if (status != STATUS_OK) {
        goto err_after_alloc;
    }
    a->random = (unsigned)clock_ns();
    draw_commit_delay(a);
    queue_init(&a->work);
    queue_init(&a->waits);
    atomic_store(&a->visible_index, position.applied_index);
    atomic_store(&a->visible_revision, position.revision);
    atomic_store(&a->visible_time_ms, position.time_ms);
    note_executed(a);
    CHECK(pthread_mutex_init(&a->mutex, NULL) == 0);
    init_wake(a);
    rv = pthread_create(&a->thread, NULL, run, a);
    if (rv != 0) {
        status = error_set(error, status_from_errno(rv), "could not start the apply thread");
        goto err_after_machine;
    }
    *applier = a;
    return STATUS_OK;

err_after_machine:
    CHECK(pthread_cond_destroy(&a->wake) == 0);
    CHECK(pthread_mutex_destroy(&a->mutex) == 0);
    machine_close(a->machine);
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
    statistics->commits = atomic_load(&applier->commits);
    statistics->commit_nanoseconds = atomic_load(&applier->commit_nanoseconds);
    statistics->queued_entries = atomic_load(&applier->queued_entries);
    statistics->queued_bytes = atomic_load(&applier->queued_bytes);
    statistics->executed_index = atomic_load(&applier->executed_index);
}

void applier_close(struct applier *applier)
{
    struct error error;

    lock(applier);
    applier->closing = true;
    CHECK(pthread_cond_signal(&applier->wake) == 0);
    unlock(applier);
    CHECK(pthread_join(applier->thread, NULL) == 0);
    if (!applier->failed && store_sync(applier->options.store, &error) != STATUS_OK) {
        fail(applier, &error);
    }
    machine_close(applier->machine);
    CHECK(pthread_cond_destroy(&applier->wake) == 0);
    CHECK(pthread_mutex_destroy(&applier->mutex) == 0);
    free(applier);
}
