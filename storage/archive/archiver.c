/* The thread, in turns, of a second or when it is asked:
 *
 * 1. Until the node is in a cluster, and the one to archive, it waits.
 * 2. It loads the catalog of the chain: where that ends is where it goes on.
 * 3. What the journal has behind that becomes deltas: when there is enough for one, or what waits
 *    is old enough.
 * 4. If the journal does not have it any more, or there is no chain yet, or a restore would take
 *    too long, it makes a full.
 * 5. Now and then, what is not needed any more is removed.
 *
 * What can go wrong:
 * - The repository fails: it is told once, and tried again after a while that gets longer. Then the
 *   catalog is loaded anew.
 * - Another archiver has written what this one was about to: its delta is read, and the chain goes
 *   on behind it.
 * - What is executed comes faster than it is archived: the journal keeps it, and the lag shows. */
#include "storage/archive/archiver.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/pace.h"
#include "storage/archive/full.h"
#include "storage/archive/restore.h"

#define TURN_MS         1000u
#define RETRY_MS        1000u
#define RETRY_MOST_MS   60000u
#define DELTA_MS        10000u
#define FULL_MS         (24ull * 3600 * 1000)
#define RESTORE_MS      120000u
#define LEAST_REPLAY_MS 10000u
#define PRUNE_MS        (3600ull * 1000)
#define SQUEEZE_MS      10000u
#define VERIFY_MS       (24ull * 3600 * 1000)
#define FIRST_VERIFY_MS (3600ull * 1000) /* A node that is started every day verifies too. */
#define VERIFY_RANGE_MS (24ull * 3600 * 1000)
#define WATCH_MS        30000u
/* For the estimate of what a restore takes: a full is imported, deltas are executed. */
#define IMPORT_BYTES_PER_MS 50000u
#define REPLAY_BYTES_PER_MS 10000u

struct archiver {
    struct archiver_options options;
    char *url;
    char *node;
    char *program;
    char *work_directory;
    pthread_t thread;
    bool is_stopped; /* The thread has ended. */
    struct repository *repository;
    bool is_local;

    /* The thread's own. */
    char cluster_id[NAMES_CLUSTER_BYTES + 1];
    char base[NAMES_BASE_BYTES];
    bool has_catalog;
    uint64_t waiting_since_ms; /* Since when something is not archived; 0: nothing. */
    uint64_t full_done_ms;     /* Monotonic; 0: none was made by this process. */
    uint64_t prune_due_ms;
    uint64_t watch_due_ms;
    uint64_t verify_due_ms;
    uint64_t squeeze_due_ms;
    uint64_t full_early_ms; /* So that not all nodes make one at the same time. */
    uint64_t replay_bytes;  /* Of steps behind the last full. */
    uint64_t full_index;    /* Behind a gap: of the full with which the chain begins anew. */
    uint64_t asked;         /* What is being done now was asked for by then. */
    unsigned n_retries;
    unsigned random;
    struct pace pace;

    atomic_bool is_closing;

    pthread_mutex_t mutex; /* Guards what follows. */
    pthread_cond_t wake;
    uint64_t n_asked;
    struct archiver_status status;
    struct catalog catalog; /* Changed by the thread alone. */
};

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    CHECK(clock_gettime(clock, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

/* @ms later than @then_ms; UINT64_MAX: never. */
static uint64_t later(uint64_t then_ms, uint64_t ms)
{
    return ms > UINT64_MAX - then_ms ? UINT64_MAX : then_ms + ms;
}

static void lock(struct archiver *archiver)
{
    CHECK(pthread_mutex_lock(&archiver->mutex) == 0);
}

static void unlock(struct archiver *archiver)
{
    CHECK(pthread_mutex_unlock(&archiver->mutex) == 0);
}

const char *archiver_activity_text(enum archiver_activity activity)
{
    static const char *const texts[] = {
        [ARCHIVER_WAITING] = "waiting",     [ARCHIVER_STANDBY] = "standby",
        [ARCHIVER_IDLE] = "idle",           [ARCHIVER_DELTA] = "delta",
        [ARCHIVER_FULL] = "full",           [ARCHIVER_PRUNING] = "pruning",
        [ARCHIVER_VERIFYING] = "verifying", [ARCHIVER_FAILING] = "failing",
    };

    return texts[activity];
}

static void set_activity(struct archiver *archiver, enum archiver_activity activity)
{
    lock(archiver);
    archiver->status.activity = activity;
    unlock(archiver);
}

/* --- The catalog --- */

/* Up to where the chain goes: the next delta comes behind that. A full may be further, while what
 * led to it is still to come: it takes part in that only where there is a gap. */
static uint64_t end_of_chain(const struct archiver *archiver)
{
    uint64_t index = archiver->catalog.last_index;

    return index > archiver->full_index ? index : archiver->full_index;
}

static uint64_t estimate_restore_ms(const struct archiver *archiver)
{
    return archiver->status.last_full.content_bytes / IMPORT_BYTES_PER_MS +
           archiver->replay_bytes / REPLAY_BYTES_PER_MS;
}

/* With the lock held. */
static void count_catalog(struct archiver *archiver)
{
    struct archiver_status *status = &archiver->status;
    const struct catalog *catalog = &archiver->catalog;

    status->index = end_of_chain(archiver);
    status->revision = catalog->last_revision;
    status->time_ms = catalog->last_time_ms;
    status->fulls = catalog->n_fulls;
    status->deltas = catalog->n_deltas;
    status->bytes = catalog->bytes;
    status->last_full = catalog->n_fulls == 0 ? (struct catalog_full){.index = 0}
                                              : catalog->fulls[catalog->n_fulls - 1];
    status->restore_ms = estimate_restore_ms(archiver);
}

/* Packed bytes of deltas stand for three times as many. */
static uint64_t replay_bytes_of(const struct catalog *catalog)
{
    uint64_t from = catalog->n_fulls == 0 ? 0 : catalog->fulls[catalog->n_fulls - 1].index;
    uint64_t bytes = 0;

    for (size_t i = 0; i < catalog->n_deltas; i++) {
        bytes += catalog->deltas[i].first_index > from ? 3 * catalog->deltas[i].bytes : 0;
    }
    return bytes;
}

static enum status load_catalog(struct archiver *archiver, struct error *error)
{
    struct catalog catalog;
    enum status status =
        catalog_load(archiver->repository, archiver->base, archiver->options.keys, &catalog, error);

    if (status != STATUS_OK) {
        return status;
    }
    archiver->replay_bytes = replay_bytes_of(&catalog);
    lock(archiver);
    catalog_close(&archiver->catalog);
    archiver->catalog = catalog;
    count_catalog(archiver);
    unlock(archiver);
    archiver->has_catalog = true;
    return STATUS_OK;
}

/* A delta is in the chain, behind its end. */
static void add_delta(struct archiver *archiver, const struct delta_facts *facts, uint64_t bytes)
{
    struct catalog *catalog = &archiver->catalog;

    lock(archiver);
    catalog->deltas =
        memory_resize(catalog->deltas, (catalog->n_deltas + 1) * sizeof *catalog->deltas);
    catalog->deltas[catalog->n_deltas++] =
        (struct catalog_delta){.first_index = facts->first_index, .bytes = bytes};
    catalog->bytes += bytes;
    catalog->last_index = facts->last_index;
    catalog->last_revision = facts->last_revision;
    catalog->last_time_ms = facts->last_time_ms;
    archiver->replay_bytes += facts->content_bytes;
    count_catalog(archiver);
    unlock(archiver);
}

/* --- Room --- */

/* Free bytes above the reserve. */
static uint64_t spare_bytes(const struct archiver *archiver)
{
    struct statvfs facts;
    uint64_t free_bytes;

    if (statvfs(archiver->work_directory, &facts) != 0) {
        return UINT64_MAX; /* What is wrong with it shows where it is used. */
    }
    free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize;
    return free_bytes > archiver->options.reserve_bytes
               ? free_bytes - archiver->options.reserve_bytes
               : 0;
}

static enum status want_room(const struct archiver *archiver, uint64_t bytes, struct error *error)
{
    uint64_t spare = spare_bytes(archiver);

    return spare >= bytes ? STATUS_OK
                          : error_set(error, STATUS_DISK_FULL,
                                      "too little disk is free: it needs %" PRIu64
                                      " MiB, and %" PRIu64 " MiB have to stay free",
                                      (bytes >> 20) + 1, archiver->options.reserve_bytes >> 20);
}

/* The image, hardly ever larger than the state, and a segment; the full itself, if it is here. */
static enum status want_room_for_full(const struct archiver *archiver, struct error *error)
{
    struct store_statistics store;

    if (store_statistics(archiver->options.store, &store, error) != STATUS_OK) {
        return error->status;
    }
    return want_room(
        archiver, (archiver->is_local ? 2 : 1) * store.used_bytes + REPOSITORY_OBJECT_BYTES, error);
}

/* --- Deltas --- */

/* The name was taken: by an archiver before this one, or by this one, when no answer came. */
static enum status go_behind(struct archiver *archiver, uint64_t first_index, struct error *error)
{
    struct delta_facts facts;
    enum status status = delta_look(archiver->repository, archiver->base, first_index,
                                    archiver->options.keys, &facts, error);

    if (status == STATUS_OK) {
        lock(archiver);
        archiver->status.fenced++;
        unlock(archiver);
        add_delta(archiver, &facts, 0);
    }
    return status;
}

static enum status put_delta(struct archiver *archiver, struct slice steps, struct error *error)
{
    struct delta_facts facts;
    uint64_t bytes = 0;
    enum status status;
    int fd;

    delta_describe(steps, &facts);
    status = want_room(archiver, 2 * facts.content_bytes, error);
    if (status == STATUS_OK) {
        status = full_work_file(archiver->work_directory, &fd, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = delta_create(archiver->repository, archiver->base, archiver->options.keys, steps, fd,
                          &bytes, error);
    (void)close(fd); /* It is gone now. */
    if (status == STATUS_EXISTS) {
        return go_behind(archiver, facts.first_index, error);
    }
    if (status == STATUS_OK) {
        lock(archiver);
        archiver->status.made_deltas++;
        archiver->status.made_bytes += bytes;
        unlock(archiver);
        add_delta(archiver, &facts, bytes);
    }
    return status;
}

/* One delta of what the journal has. STATUS_END: nothing waits. STATUS_NOT_FOUND: there is a gap.
 */
static enum status make_delta(struct archiver *archiver, struct error *error)
{
    struct buffer steps = BUFFER_EMPTY;
    enum status status =
        journal_read(archiver->options.journal, end_of_chain(archiver), DELTA_BYTES, &steps, error);

    if (status == STATUS_OK) {
        set_activity(archiver, ARCHIVER_DELTA);
        status = put_delta(archiver, buffer_slice(&steps), error);
        if (status == STATUS_NOT_FOUND) { /* The bucket, not the entries. */
            status = STATUS_IO;
        }
    }
    buffer_close(&steps);
    return status;
}

/* --- Fulls --- */

static bool is_canceled(void *data)
{
    struct archiver *archiver = data;

    return atomic_load(&archiver->is_closing);
}

/* Wait until woken, for @ms at most. With the lock held. */
static void wait_for(struct archiver *archiver, uint64_t ms)
{
    uint64_t end_ms = now_ms() + ms;
    struct timespec end = {.tv_sec = (time_t)(end_ms / 1000),
                           .tv_nsec = (long)(end_ms % 1000) * 1000000};
    int rv = pthread_cond_timedwait(&archiver->wake, &archiver->mutex, &end);

    CHECK(rv == 0 || rv == ETIMEDOUT);
}

static enum status on_progress(void *data, uint64_t bytes, struct error *error)
{
    struct archiver *archiver = data;

    pace_spend(&archiver->pace, bytes);
    lock(archiver);
    while (!is_canceled(archiver) && !pace_allows(&archiver->pace, now_ms())) {
        wait_for(archiver, pace_wait_ms(&archiver->pace));
    }
    unlock(archiver);
    return is_canceled(archiver) ? error_set(error, STATUS_CANCELED, "the node is shutting down")
                                 : STATUS_OK;
}

static enum status make_full(struct archiver *archiver, struct error *error)
{
    const struct full_making making = {
        .repository = archiver->repository,
        .base = archiver->base,
        .keys = archiver->options.keys,
        .store = archiver->options.store,
        .cluster_id = archiver->cluster_id,
        .node = archiver->node,
        .program = archiver->program,
        .work_directory = archiver->work_directory,
        .now_ms = clock_ms(CLOCK_REALTIME),
        .data = archiver,
        .on_progress = on_progress,
    };
    char directory[NAMES_BYTES];
    struct manifest manifest;
    uint64_t begun_ms = now_ms();
    uint64_t bytes_before = archiver->catalog.bytes;
    enum status status;

    status = want_room_for_full(archiver, error);
    if (status != STATUS_OK) {
        return status;
    }
    set_activity(archiver, ARCHIVER_FULL);
    archiver->pace = pace_of(archiver->options.bytes_per_second, now_ms());
    status = full_create(&making, &manifest, directory, error);
    if (status != STATUS_OK) {
        return status;
    }
    log_info("archive",
             "made a full repository=%s index=%" PRIu64 " image_bytes=%" PRIu64 " took_ms=%" PRIu64,
             archiver->status.url, manifest.facts.state.applied_index, manifest.image_bytes,
             now_ms() - begun_ms);
    manifest_close(&manifest);
    archiver->full_done_ms = now_ms();
    status = load_catalog(archiver, error);
    lock(archiver);
    archiver->status.made_fulls++;
    archiver->status.made_bytes +=
        archiver->catalog.bytes > bytes_before ? archiver->catalog.bytes - bytes_before : 0;
    unlock(archiver);
    return status;
}

static uint64_t wall_age_ms(uint64_t then_ms)
{
    uint64_t wall_ms = clock_ms(CLOCK_REALTIME);

    return wall_ms > then_ms ? wall_ms - then_ms : 0;
}

/* Executing deltas takes longer than importing what they lead to. So that a large state is not
 * written again and again, the deltas may always take a third of what the full takes. */
static bool full_is_due(const struct archiver *archiver)
{
    const struct archiver_schedule *schedule = &archiver->options.schedule;
    const struct catalog_full *last = &archiver->status.last_full;
    uint64_t import_ms = last->content_bytes / IMPORT_BYTES_PER_MS;
    uint64_t replay_ms = archiver->replay_bytes / REPLAY_BYTES_PER_MS;
    uint64_t least_ms = import_ms / 3 > LEAST_REPLAY_MS ? import_ms / 3 : LEAST_REPLAY_MS;

    return last->directory[0] == '\0' ||
           wall_age_ms(last->created_ms) + archiver->full_early_ms >= schedule->full_ms ||
           (import_ms + replay_ms > schedule->restore_ms && replay_ms > least_ms);
}

/* --- Pruning --- */

static enum status remove_one(struct archiver *archiver, const char *name, struct error *error)
{
    if (is_canceled(archiver)) {
        return error_set(error, STATUS_CANCELED, "the node is shutting down");
    }
    return repository_remove(archiver->repository, name, error);
}

/* The manifest first: what is left of a full without it is invisible. */
static enum status remove_full(struct archiver *archiver, const struct catalog_full *full,
                               struct error *error)
{
    char name[NAMES_BYTES];
    enum status status;

    names_manifest(full->directory, name);
    status = remove_one(archiver, name, error);
    for (unsigned i = 0; i < full->n_segments && status == STATUS_OK; i++) {
        names_segment(full->directory, i, name);
        status = remove_one(archiver, name, error);
    }
    return status;
}

static enum status remove_planned(struct archiver *archiver, const struct retention_plan *plan,
                                  struct error *error)
{
    const struct catalog *catalog = &archiver->catalog;
    char name[NAMES_BYTES];
    enum status status = STATUS_OK;

    /* A full before the deltas that follow it: deltas without one lead nowhere, and a full without
     * deltas is still a point. The oldest deltas first: what is left has no hole. */
    for (size_t i = 0; i < catalog->n_fulls && status == STATUS_OK; i++) {
        if (plan->drops_full[i]) {
            status = remove_full(archiver, &catalog->fulls[i], error);
        }
    }
    for (size_t i = 0; i < plan->first_delta && status == STATUS_OK; i++) {
        names_delta(archiver->base, catalog->deltas[i].first_index, name);
        status = remove_one(archiver, name, error);
    }
    for (size_t i = 0; i < plan->n_orphans && status == STATUS_OK; i++) {
        status = remove_one(archiver, catalog->orphans[i].name, error);
    }
    return status;
}

static enum status prune(struct archiver *archiver, const struct retention_policy *policy,
                         struct error *error)
{
    struct retention_plan plan;
    enum status status;

    set_activity(archiver, ARCHIVER_PRUNING);
    status = load_catalog(archiver, error);
    if (status != STATUS_OK) {
        return status;
    }
    retention_plan(&archiver->catalog, policy, clock_ms(CLOCK_REALTIME), &plan);
    status = remove_planned(archiver, &plan, error);
    if (status == STATUS_OK && plan.bytes > 0) {
        log_info("archive", "pruned repository=%s bytes=%" PRIu64, archiver->status.url,
                 plan.bytes);
        lock(archiver);
        archiver->status.pruned_bytes += plan.bytes;
        unlock(archiver);
        status = load_catalog(archiver, error);
    }
    retention_plan_close(&plan);
    return status;
}

static enum status prune_when_due(struct archiver *archiver, struct error *error)
{
    struct retention_policy policy = archiver->options.retention;

    if (archiver->is_local && spare_bytes(archiver) == 0 && now_ms() >= archiver->squeeze_due_ms) {
        archiver->squeeze_due_ms = now_ms() + SQUEEZE_MS;
        policy.max_bytes = 1; /* The newest chain stays all the same. */
        return prune(archiver, &policy, error);
    }
    if (now_ms() < archiver->prune_due_ms) {
        return STATUS_OK;
    }
    archiver->prune_due_ms = now_ms() + archiver->options.schedule.prune_ms;
    return prune(archiver, &policy, error);
}

/* --- Verifying --- */

/* A point of the last day, so that every kind of way there is tried at some time. */
static uint64_t draw_point_ms(struct archiver *archiver)
{
    const struct catalog *catalog = &archiver->catalog;
    uint64_t end_ms = archiver->status.time_ms;
    uint64_t begin_ms = end_ms > VERIFY_RANGE_MS ? end_ms - VERIFY_RANGE_MS : 0;

    for (size_t i = catalog->n_fulls; i > 0; i--) {
        if (catalog->fulls[i - 1].is_whole && catalog->fulls[i - 1].time_ms <= begin_ms) {
            break;
        }
        if (i == 1) { /* None is so old. */
            begin_ms = catalog->fulls[0].time_ms;
        }
    }
    return begin_ms >= end_ms
               ? end_ms
               : begin_ms + (uint64_t)rand_r(&archiver->random) % (end_ms - begin_ms + 1);
}

static enum status restore_to(struct archiver *archiver, const char *directory,
                              struct restore_facts *facts, struct error *error)
{
    const struct restore_options options = {
        .url = archiver->url,
        .keys = archiver->options.keys,
        .base = archiver->base,
        .to_revision = UINT64_MAX,
        .to_time_ms = draw_point_ms(archiver),
        .data = archiver,
        .is_canceled = is_canceled,
    };
    struct restore *restore;
    enum status status = restore_open(&options, &restore, error);

    if (status == STATUS_OK) {
        status = restore_run(restore, directory, error);
        *facts = *restore_facts(restore);
        restore_close(restore);
    }
    return status;
}

/* Restore to a directory that is removed again. */
static enum status verify(struct archiver *archiver, struct error *error)
{
    char *directory = files_join(archiver->work_directory, "/verified");
    uint64_t begun_ms = now_ms();
    struct restore_facts facts;
    enum status status;

    status = want_room_for_full(archiver, error);
    set_activity(archiver, ARCHIVER_VERIFYING);
    if (status == STATUS_OK) {
        status = files_remove_directory(directory, error);
    }
    if (status == STATUS_OK) {
        status = restore_to(archiver, directory, &facts, error);
    }
    if (status == STATUS_OK) {
        lock(archiver);
        archiver->status.verified_ms = clock_ms(CLOCK_REALTIME);
        archiver->status.verified_revision = facts.revision;
        archiver->status.verify_took_ms = now_ms() - begun_ms;
        unlock(archiver);
        log_info("archive", "verified repository=%s revision=%" PRIu64 " took_ms=%" PRIu64,
                 archiver->status.url, facts.revision, now_ms() - begun_ms);
    } else if (status != STATUS_CANCELED) {
        status = error_prefix(error, "a restore that was tried failed");
    }
    if (files_remove_directory(directory, NULL) != STATUS_OK) {
        log_warn("archive", "could not remove \"%s\"", directory);
    }
    free(directory);
    return status;
}

/* --- Turns --- */

static void note_lag(struct archiver *archiver)
{
    struct journal_statistics journal;
    uint64_t index = end_of_chain(archiver);
    uint64_t bytes;

    journal_statistics(archiver->options.journal, &journal);
    if (journal.last_index <= index) {
        archiver->waiting_since_ms = 0;
    } else if (archiver->waiting_since_ms == 0) {
        archiver->waiting_since_ms = now_ms();
    }
    bytes =
        archiver->waiting_since_ms == 0 ? 0 : journal_bytes_after(archiver->options.journal, index);
    lock(archiver);
    archiver->status.lag_entries = journal.last_index > index ? journal.last_index - index : 0;
    archiver->status.lag_bytes = bytes;
    archiver->status.lag_ms =
        archiver->waiting_since_ms == 0 ? 0 : now_ms() - archiver->waiting_since_ms;
    unlock(archiver);
}

static bool delta_is_due(const struct archiver *archiver, bool is_asked)
{
    return archiver->waiting_since_ms != 0 &&
           (is_asked ||
            now_ms() - archiver->waiting_since_ms >= archiver->options.schedule.delta_ms ||
            archiver->status.lag_bytes >= DELTA_BYTES);
}

/* All deltas that are due, up to now. */
static enum status make_deltas(struct archiver *archiver, bool is_asked, struct error *error)
{
    enum status status = STATUS_OK;

    note_lag(archiver);
    while (status == STATUS_OK && !is_canceled(archiver) && delta_is_due(archiver, is_asked)) {
        status = make_delta(archiver, error);
        if (status == STATUS_OK) {
            archiver->waiting_since_ms = 0; /* What is left came while it was made. */
        }
        note_lag(archiver);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* The newest full, if the journal has what comes behind it. */
static bool find_way_on(struct archiver *archiver, struct error *error)
{
    const struct catalog_full *newest = &archiver->status.last_full;
    struct buffer steps = BUFFER_EMPTY;
    enum status status;

    if (newest->directory[0] == '\0' || newest->index <= end_of_chain(archiver)) {
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

    log_warn("archive",
             "the chain ends repository=%s index=%" PRIu64
             ": what came behind it is not on this node any more, so it begins anew with a full",
             archiver->status.url, end_of_chain(archiver));
    if (!find_way_on(archiver, error)) {
        status = make_full(archiver, error);
    }
    lock(archiver);
    if (status == STATUS_OK) {
        archiver->status.gaps++;
        archiver->full_index = archiver->status.last_full.index;
        count_catalog(archiver);
    }
    unlock(archiver);
    return status;
}

static enum status archive(struct archiver *archiver, struct error *error)
{
    bool is_asked = archiver->asked > archiver->status.completed;
    enum status status = archiver->has_catalog ? STATUS_OK : load_catalog(archiver, error);
    bool has_full;

    if (status == STATUS_OK) { /* First: it may make room for the rest. */
        status = prune_when_due(archiver, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    has_full = archiver->status.last_full.directory[0] != '\0';
    status = has_full ? make_deltas(archiver, is_asked, error) : make_full(archiver, error);
    if (status == STATUS_NOT_FOUND) {
        status = begin_anew(archiver, error);
    } else if (status == STATUS_OK && has_full && (is_asked || full_is_due(archiver))) {
        status = make_full(archiver, error);
    }
    if (status == STATUS_OK && has_full && now_ms() >= archiver->verify_due_ms) {
        archiver->verify_due_ms = later(now_ms(), archiver->options.schedule.verify_ms);
        status = verify(archiver, error);
    }
    return status;
}

/* Another node archives. Now and then it is looked how far it is, so that the journal need not keep
 * more than this node would need to go on from there. */
static enum status watch_other(struct archiver *archiver, struct error *error)
{
    enum status status = STATUS_OK;

    archiver->has_catalog = false;
    if (now_ms() >= archiver->watch_due_ms) {
        archiver->watch_due_ms = now_ms() + WATCH_MS;
        status = load_catalog(archiver, error);
        archiver->has_catalog = false; /* It changes. */
    }
    return status;
}

static void succeed(struct archiver *archiver, enum archiver_activity rests)
{
    if (archiver->n_retries > 0) {
        log_info("archive", "it works again repository=%s", archiver->status.url);
    }
    archiver->n_retries = 0;
    note_lag(archiver);
    lock(archiver);
    archiver->status.activity = rests;
    archiver->status.error[0] = '\0';
    archiver->status.completed = archiver->asked;
    unlock(archiver);
}

static void fail(struct archiver *archiver, const struct error *error)
{
    if (archiver->n_retries++ == 0 || strcmp(archiver->status.error, error->text) != 0) {
        log_warn("archive", "archiving waits repository=%s: %s", archiver->status.url, error->text);
    }
    archiver->has_catalog = false;
    lock(archiver);
    archiver->status.activity = ARCHIVER_FAILING;
    archiver->status.failures++;
    memcpy(archiver->status.error, error->text, sizeof archiver->status.error);
    unlock(archiver);
}

/* Milliseconds until the next turn: longer after each failure, and never the same for all nodes. */
static uint64_t rest_ms(struct archiver *archiver)
{
    uint64_t ms = RETRY_MS;

    if (archiver->n_retries == 0) {
        return archiver->options.schedule.delta_ms < TURN_MS ? archiver->options.schedule.delta_ms
                                                             : TURN_MS;
    }
    for (unsigned i = 1; i < archiver->n_retries && ms < RETRY_MOST_MS; i++) {
        ms *= 2;
    }
    ms = ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS;
    return ms / 2 + (uint64_t)rand_r(&archiver->random) % (ms / 2 + 1);
}

static void turn(struct archiver *archiver)
{
    const struct archiver_options *options = &archiver->options;
    uint64_t node_id = 0;
    struct error error;
    enum status status;
    bool is_chosen;

    lock(archiver);
    archiver->asked = archiver->n_asked;
    unlock(archiver);
    if (!options->identify(options->data, archiver->cluster_id, &node_id)) {
        set_activity(archiver, ARCHIVER_WAITING);
        return;
    }
    names_base(archiver->cluster_id, archiver->is_local ? node_id : 0, archiver->base);
    is_chosen = archiver->is_local || options->is_chosen(options->data);
    status = is_chosen ? archive(archiver, &error) : watch_other(archiver, &error);
    if (status == STATUS_OK) {
        succeed(archiver, is_chosen ? ARCHIVER_IDLE : ARCHIVER_STANDBY);
    } else if (!is_canceled(archiver)) {
        fail(archiver, &error);
        note_lag(archiver);
    }
}

static void *run(void *data)
{
    struct archiver *archiver = data;

    (void)pthread_setname_np(pthread_self(), "archive"); /* For those who look at threads. */
    while (!is_canceled(archiver)) {
        uint64_t ms;

        turn(archiver);
        if (archiver->options.on_turn != NULL) {
            archiver->options.on_turn(archiver->options.turn_data);
        }
        ms = rest_ms(archiver);
        lock(archiver);
        if (!is_canceled(archiver) && archiver->n_asked == archiver->asked) {
            wait_for(archiver, ms);
        }
        unlock(archiver);
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
    schedule->verify_ms = schedule->verify_ms == 0 ? VERIFY_MS : schedule->verify_ms;
    if (retention->deltas_ms == 0 && retention->fulls_ms == 0) {
        retention->deltas_ms = RETENTION_DELTAS_MS;
        retention->fulls_ms = RETENTION_FULLS_MS;
        retention->grace_ms = RETENTION_GRACE_MS;
    }
    options->bytes_per_second =
        options->bytes_per_second == 0 ? LIMIT_TRANSFER_RATE : options->bytes_per_second;
}

static void release(struct archiver *archiver)
{
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

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(condition, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
}

static enum status start(struct archiver *archiver, struct error *error)
{
    const struct repository_options options = {
        .url = archiver->url, .data = archiver, .is_canceled = is_canceled};
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
    opened->random = (unsigned)now_ms() ^ (unsigned)getpid();
    opened->full_early_ms =
        (uint64_t)rand_r(&opened->random) % (opened->options.schedule.full_ms / 10 + 1);
    opened->verify_due_ms = later(now_ms(), opened->options.schedule.verify_ms < FIRST_VERIFY_MS ||
                                                    opened->options.schedule.verify_ms == UINT64_MAX
                                                ? opened->options.schedule.verify_ms
                                                : FIRST_VERIFY_MS);
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    init_condition(&opened->wake);
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
    lock(archiver);
    atomic_store(&archiver->is_closing, true);
    CHECK(pthread_cond_signal(&archiver->wake) == 0);
    unlock(archiver);
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

uint64_t archiver_ask(struct archiver *archiver)
{
    uint64_t number;

    lock(archiver);
    number = ++archiver->n_asked;
    CHECK(pthread_cond_signal(&archiver->wake) == 0);
    unlock(archiver);
    return number;
}

void archiver_status(struct archiver *archiver, struct archiver_status *status)
{
    lock(archiver);
    *status = archiver->status;
    unlock(archiver);
}

struct catalog_full *archiver_fulls(struct archiver *archiver, size_t *n)
{
    struct catalog_full *copy = NULL;

    lock(archiver);
    *n = archiver->catalog.n_fulls;
    if (*n > 0) {
        copy = memory_new(*n * sizeof *copy);
        memcpy(copy, archiver->catalog.fulls, *n * sizeof *copy);
    }
    unlock(archiver);
    return copy;
}

uint64_t archiver_needs_after(struct archiver *archiver)
{
    uint64_t index;

    lock(archiver);
    index = end_of_chain(archiver);
    unlock(archiver);
    return index;
}
