/* The thread, in turns, of a second or when it is asked:
 *
 * 1. Until the node is in a cluster, and the one to archive, it waits; but if that one does not
 *    archive, it stands in for it.
 * 2. It loads the catalog of the chain: where that ends is where it goes on.
 * 3. What the journal has behind that becomes deltas: when there is enough for one, or what waits
 *    is old enough.
 * 4. If the journal does not have it any more, or there is no chain yet, or a restore would take
 *    too long, it makes a full.
 * 5. When nothing else is to be done, old deltas are merged.
 * 6. Now and then, what is not needed any more is removed.
 *
 * What can go wrong:
 * - The repository fails: it is told once, and tried again after a while that gets longer. Then the
 *   catalog is loaded anew.
 * - Another archiver has written what this one was about to: its delta is read, and the chain goes
 *   on behind it.
 * - What is there is of another history: that is told, and nothing is written (archiver_history.c).
 * - What is executed comes faster than it is archived: the journal keeps it, and the lag shows. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/backoff.h"
#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/archive/archiver_private.h"

#define TURN_MS         1000u
#define RETRY_MS        1000u
#define RETRY_MOST_MS   60000u
#define DELTA_MS        10000u
#define FULL_MS         (24ull * 3600 * 1000)
#define RESTORE_MS      120000u
#define PRUNE_MS        (3600ull * 1000)
#define VERIFY_MS       (24ull * 3600 * 1000)
#define FIRST_VERIFY_MS (3600ull * 1000) /* A node that is started every day verifies too. */
#define STAND_IN_MS     180000u
#define STAND_IN_FOR_MS 600000u /* Then it is looked whether the other one does it. */

/* @ms later than @then_ms; UINT64_MAX: never. */
uint64_t archiver_later(uint64_t then_ms, uint64_t ms)
{
    return ms > UINT64_MAX - then_ms ? UINT64_MAX : then_ms + ms;
}

void archiver_lock(struct archiver *archiver)
{
    CHECK(pthread_mutex_lock(&archiver->mutex) == 0);
}

void archiver_unlock(struct archiver *archiver)
{
    CHECK(pthread_mutex_unlock(&archiver->mutex) == 0);
}

bool archiver_is_canceled(void *data)
{
    struct archiver *archiver = data;

    return atomic_load(&archiver->is_closing);
}

/* Wait until woken, for @ms at most. With the lock held. */
void archiver_wait_for(struct archiver *archiver, uint64_t ms)
{
    (void)clock_condition_wait_ms(&archiver->wake, &archiver->mutex, ms);
}

const char *archiver_activity_text(enum archiver_activity activity)
{
    static const char *const texts[] = {
        [ARCHIVER_WAITING] = "waiting", [ARCHIVER_STANDBY] = "standby",
        [ARCHIVER_IDLE] = "idle",       [ARCHIVER_DELTA] = "delta",
        [ARCHIVER_FULL] = "full",       [ARCHIVER_MERGING] = "merging",
        [ARCHIVER_PRUNING] = "pruning", [ARCHIVER_VERIFYING] = "verifying",
        [ARCHIVER_FAILING] = "failing",
    };

    return texts[activity];
}

void archiver_set_activity(struct archiver *archiver, enum archiver_activity activity)
{
    archiver_lock(archiver);
    archiver->status.activity = activity;
    archiver_unlock(archiver);
}

/* --- Turns --- */

static bool delta_is_due(const struct archiver *archiver, bool is_asked)
{
    return archiver->lag.since_ms != 0 &&
           (is_asked ||
            clock_ms() - archiver->lag.since_ms >= archiver->options.schedule.delta_ms ||
            archiver->lag.bytes >= DELTA_BYTES);
}

/* All deltas that are due, up to what is executed by now: what comes meanwhile is for another turn,
 * as there is more to do than deltas. */
static enum status make_deltas(struct archiver *archiver, bool is_asked, struct error *error)
{
    struct journal_statistics journal;
    enum status status = STATUS_OK;

    journal_statistics(archiver->options.journal, &journal);
    archiver_note_lag(archiver);
    while (status == STATUS_OK && !archiver_is_canceled(archiver) &&
           archiver_end_of_chain(archiver) < journal.last_index &&
           delta_is_due(archiver, is_asked)) {
        status = archiver_make_delta(archiver, error);
        archiver_note_lag(archiver);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* The newest full, if the journal has what comes behind it. */
static bool find_way_on(struct archiver *archiver, struct error *error)
{
    const struct catalog_full *newest = &archiver->status.last_full;
    struct buffer steps = BUFFER_EMPTY;
    enum status status;

    if (newest->directory[0] == '\0' || newest->index <= archiver_end_of_chain(archiver)) {
        return false;
    }
    status = journal_read(archiver->options.journal, newest->index, 1, &steps, error);
    buffer_close(&steps);
    return status == STATUS_OK || status == STATUS_END;
}

/* The chain cannot go on where it ends: there is a gap, up to a full. */
static enum status begin_anew(struct archiver *archiver, struct error *error)
{
    enum status status = STATUS_OK;
    struct archiver_lag lag;

    log_warn("archive",
             "the chain ends repository=%s index=%" PRIu64
             ": what came behind it is not on this node any more, so it begins anew with a full",
             archiver->status.url, archiver_end_of_chain(archiver));
    if (!find_way_on(archiver, error)) {
        status = archiver_make_full(archiver, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    archiver_find_lag(archiver, archiver->status.last_full.index, 0, &lag);
    archiver_lock(archiver);
    archiver->status.gaps++;
    archiver->full_index = archiver->status.last_full.index;
    archiver->lag = lag;
    archiver_count_catalog(archiver);
    archiver_unlock(archiver);
    return STATUS_OK;
}

static enum status archive(struct archiver *archiver, struct error *error)
{
    bool is_asked = archiver->asked > archiver->status.completed;
    enum status status = STATUS_OK;
    bool has_full;

    if (!archiver->has_catalog) {
        archiver->knows_history = false;
        status = archiver_load_catalog(archiver, error);
    }
    if (status == STATUS_OK) {
        status = archiver_check_end(archiver, error);
    }
    if (status == STATUS_OK && archiver->ahead_since_ms != 0) {
        return STATUS_OK; /* Whether this is the cluster of the chain is to be seen. */
    }
    if (status == STATUS_OK) { /* First: it may make room for the rest. */
        status = archiver_prune_when_due(archiver, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    has_full = archiver->status.last_full.directory[0] != '\0';
    status =
        has_full ? make_deltas(archiver, is_asked, error) : archiver_make_full(archiver, error);
    if (status == STATUS_NOT_FOUND) {
        status = begin_anew(archiver, error);
    } else if (status == STATUS_OK && has_full && (is_asked || archiver_full_is_due(archiver))) {
        status = archiver_make_full(archiver, error);
    }
    if (status == STATUS_OK && has_full && archiver_verify_is_due(archiver)) {
        status = archiver_verify(archiver, error);
    }
    if (status == STATUS_OK && has_full && !is_asked) {
        status = archiver_merge_when_due(archiver, error);
    }
    return status;
}

/* The other one may not get to the repository, or not know that it should. That two archive at
 * once, later, does no harm. The lag was just found out. */
static void stand_in_if_needed(struct archiver *archiver)
{
    uint64_t most_ms = archiver->options.schedule.stand_in_ms;
    uint64_t lag_ms = archiver->lag.since_ms == 0 ? 0 : clock_ms() - archiver->lag.since_ms;

    most_ms += (uint64_t)rand_r(&archiver->random) % (most_ms / 4 + 1); /* Not all at once. */
    if (lag_ms >= most_ms) {
        archiver->stand_in_until_ms = clock_ms() + STAND_IN_FOR_MS;
        log_warn("archive",
                 "stands in for the node that should archive repository=%s behind_ms=%" PRIu64,
                 archiver->status.url, lag_ms);
    }
}

/* Another node archives. Now and then it is looked how far it is, so that the journal need not keep
 * more than this node would need to go on from there. */
static enum status watch_other(struct archiver *archiver, struct error *error)
{
    enum status status = STATUS_OK;

    archiver->has_catalog = false;
    archiver->verify_failure[0] = '\0'; /* The other one tries. */
    archiver_give_up_merge(archiver);
    if (clock_ms() >= archiver->watch_due_ms) {
        archiver->watch_due_ms = clock_ms() + archiver->options.schedule.stand_in_ms / 4;
        status = archiver_load_catalog(archiver, error);
        archiver->has_catalog = false; /* It changes. */
        if (status == STATUS_OK) {
            stand_in_if_needed(archiver);
        }
    }
    return status;
}

static void succeed(struct archiver *archiver, enum archiver_activity rests)
{
    if (archiver->n_retries > 0) {
        log_info("archive", "it works again repository=%s", archiver->status.url);
    }
    archiver->n_retries = 0;
    archiver_note_lag(archiver);
    archiver_lock(archiver);
    archiver->status.activity = archiver->verify_failure[0] == '\0' ? rests : ARCHIVER_FAILING;
    memcpy(archiver->status.error, archiver->verify_failure, sizeof archiver->status.error);
    if (rests != ARCHIVER_IDLE || archiver->ahead_since_ms == 0) { /* Else nothing was done. */
        archiver->status.completed = archiver->asked;
    }
    archiver_unlock(archiver);
}

static void fail(struct archiver *archiver, const struct error *error)
{
    if (archiver->n_retries++ == 0 || strcmp(archiver->status.error, error->text) != 0) {
        log_warn("archive", "archiving waits repository=%s: %s", archiver->status.url, error->text);
    }
    archiver->has_catalog = false;
    archiver_lock(archiver);
    archiver->status.activity = ARCHIVER_FAILING;
    archiver->status.failures++;
    memcpy(archiver->status.error, error->text, sizeof archiver->status.error);
    archiver_unlock(archiver);
}

/* Milliseconds until the next turn: longer after each failure, and never the same for all nodes. */
static uint64_t rest_ms(struct archiver *archiver)
{
    if (archiver->n_retries == 0) {
        return archiver->options.schedule.delta_ms < TURN_MS ? archiver->options.schedule.delta_ms
                                                             : TURN_MS;
    }
    return backoff_ms(RETRY_MS, RETRY_MOST_MS, archiver->n_retries,
                      (uint64_t)rand_r(&archiver->random));
}

static void turn(struct archiver *archiver)
{
    const struct archiver_options *options = &archiver->options;
    uint64_t node_id = 0;
    struct error error;
    enum status status;
    bool is_chosen;

    archiver_lock(archiver);
    archiver->asked = archiver->n_asked;
    archiver_unlock(archiver);
    if (!options->identify(options->data, archiver->cluster_id, &node_id)) {
        archiver_set_activity(archiver, ARCHIVER_WAITING);
        return;
    }
    names_base(archiver->cluster_id, archiver->is_local ? node_id : 0, archiver->base);
    is_chosen = archiver->is_local || options->is_chosen(options->data) ||
                clock_ms() < archiver->stand_in_until_ms;
    status = is_chosen ? archive(archiver, &error) : watch_other(archiver, &error);
    if (status == STATUS_OK) {
        succeed(archiver, is_chosen ? ARCHIVER_IDLE : ARCHIVER_STANDBY);
    } else if (!archiver_is_canceled(archiver)) {
        fail(archiver, &error);
        archiver_note_lag(archiver);
    }
}

static void *run(void *data)
{
    struct archiver *archiver = data;

    thread_set_name("archive");
    thread_give_way();
    while (!archiver_is_canceled(archiver)) {
        uint64_t ms;

        turn(archiver);
        if (archiver->options.on_turn != NULL) {
            archiver->options.on_turn(archiver->options.turn_data);
        }
        ms = rest_ms(archiver);
        archiver_lock(archiver);
        if (!archiver_is_canceled(archiver) && archiver->n_asked == archiver->asked) {
            archiver_wait_for(archiver, ms);
        }
        archiver_unlock(archiver);
    }
    return NULL;
}

/* --- Life, and what others ask --- */

static void fill_in_defaults(struct archiver_options *options)
{
    struct archiver_schedule *schedule = &options->schedule;
    struct retention_policy *retention = &options->retention;

    schedule->delta_ms = schedule->delta_ms == 0 ? DELTA_MS : schedule->delta_ms;
    schedule->full_ms = schedule->full_ms == 0 ? FULL_MS : schedule->full_ms;
    schedule->restore_ms = schedule->restore_ms == 0 ? RESTORE_MS : schedule->restore_ms;
    schedule->prune_ms = schedule->prune_ms == 0 ? PRUNE_MS : schedule->prune_ms;
    schedule->stand_in_ms = schedule->stand_in_ms == 0 ? STAND_IN_MS : schedule->stand_in_ms;
    schedule->verify_ms = schedule->verify_ms == 0 ? VERIFY_MS : schedule->verify_ms;
    schedule->merge_ms = schedule->merge_ms == 0 ? MERGE_RANGE_MS : schedule->merge_ms;
    if (retention->deltas_ms == 0 && retention->fulls_ms == 0) {
        uint64_t max_bytes = retention->max_bytes;

        *retention = retention_of_days(RETENTION_DAYS);
        retention->max_bytes = max_bytes;
    }
    options->bytes_per_second =
        options->bytes_per_second == 0 ? LIMIT_TRANSFER_RATE : options->bytes_per_second;
}

static void release(struct archiver *archiver)
{
    archiver_give_up_merge(archiver);
    repository_close(archiver->repository);
    catalog_close(&archiver->catalog);
    CHECK(pthread_cond_destroy(&archiver->wake) == 0);
    CHECK(pthread_mutex_destroy(&archiver->mutex) == 0);
    free(archiver->url);
    free(archiver->node);
    free(archiver->program);
    free(archiver->work_directory);
    free(archiver);
}

static enum status start(struct archiver *archiver, struct error *error)
{
    const struct repository_options options = {
        .url = archiver->url, .data = archiver, .is_canceled = archiver_gives_up};
    enum status status = repository_open(&options, &archiver->repository, error);
    int rv;

    if (status != STATUS_OK) {
        return status;
    }
    archiver->is_local = repository_is_local(archiver->repository);
    archiver->status.is_local = archiver->is_local;
    archiver->status.is_encrypted = archiver->options.keys != NULL;
    (void)snprintf(archiver->status.url, sizeof archiver->status.url, "%s",
                   repository_url(archiver->repository)); /* Cut, it still says which. */
    rv = pthread_create(&archiver->thread, NULL, run, archiver);
    return rv == 0 ? STATUS_OK
                   : error_set(error, status_from_errno(rv), "could not start a thread");
}

enum status archiver_open(const struct archiver_options *options, struct archiver **archiver,
                          struct error *error)
{
    struct archiver *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status;

    opened->options = *options;
    fill_in_defaults(&opened->options);
    opened->url = memory_copy_string(options->url);
    opened->node = memory_copy_string(options->node);
    opened->program = memory_copy_string(options->program);
    opened->work_directory = memory_copy_string(options->work_directory);
    opened->random = (unsigned)clock_ms() ^ (unsigned)getpid();
    opened->full_early_ms =
        (uint64_t)rand_r(&opened->random) % (opened->options.schedule.full_ms / 10 + 1);
    opened->verify_due_ms =
        archiver_later(clock_ms(), opened->options.schedule.verify_ms < FIRST_VERIFY_MS ||
                                           opened->options.schedule.verify_ms == UINT64_MAX
                                       ? opened->options.schedule.verify_ms
                                       : FIRST_VERIFY_MS);
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    clock_condition_init(&opened->wake);
    status = start(opened, error);
    if (status != STATUS_OK) {
        release(opened);
        return status;
    }
    *archiver = opened;
    return STATUS_OK;
}

void archiver_stop(struct archiver *archiver)
{
    archiver_lock(archiver);
    atomic_store(&archiver->is_closing, true);
    CHECK(pthread_cond_signal(&archiver->wake) == 0);
    archiver_unlock(archiver);
    CHECK(pthread_join(archiver->thread, NULL) == 0);
    archiver->is_stopped = true;
}

void archiver_close(struct archiver *archiver)
{
    if (archiver == NULL) {
        return;
    }
    if (!archiver->is_stopped) {
        archiver_stop(archiver);
    }
    release(archiver);
}

const char *archiver_url(const struct archiver *archiver)
{
    return archiver->url;
}

uint64_t archiver_ask(struct archiver *archiver)
{
    uint64_t number;

    archiver_lock(archiver);
    number = ++archiver->n_asked;
    CHECK(pthread_cond_signal(&archiver->wake) == 0);
    archiver_unlock(archiver);
    return number;
}

void archiver_status(struct archiver *archiver, struct archiver_status *status)
{
    struct journal_statistics journal;

    journal_statistics(archiver->options.journal, &journal);
    archiver_lock(archiver);
    *status = archiver->status;
    archiver_tell_lag(archiver, &journal, status);
    archiver_unlock(archiver);
}

struct catalog_full *archiver_fulls(struct archiver *archiver, size_t *n)
{
    struct catalog_full *copy = NULL;

    archiver_lock(archiver);
    *n = archiver->catalog.n_fulls;
    if (*n > 0) {
        copy = memory_new(*n * sizeof *copy);
        memcpy(copy, archiver->catalog.fulls, *n * sizeof *copy);
    }
    archiver_unlock(archiver);
    return copy;
}

uint64_t archiver_needs_after(struct archiver *archiver)
{
    uint64_t index;

    archiver_lock(archiver);
    index = archiver_end_of_chain(archiver);
    archiver_unlock(archiver);
    return index;
}
