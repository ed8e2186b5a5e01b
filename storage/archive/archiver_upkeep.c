/* What keeps a chain well: room on the disk, removing what is not needed any more, and trying
 * restores. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "storage/archive/archiver_private.h"
#include "storage/archive/restore.h"

#define SQUEEZE_MS      10000u
#define VERIFY_RANGE_MS (24ull * 3600 * 1000)

/* --- Room --- */

/* Free bytes above the reserve. */
uint64_t archiver_spare_bytes(const struct archiver *archiver)
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

enum status archiver_want_room(const struct archiver *archiver, uint64_t bytes, struct error *error)
{
    uint64_t spare = archiver_spare_bytes(archiver);

    return spare >= bytes ? STATUS_OK
                          : error_set(error, STATUS_DISK_FULL,
                                      "too little disk is free: it needs %" PRIu64
                                      " MiB, and %" PRIu64 " MiB have to stay free",
                                      (bytes >> 20) + 1, archiver->options.reserve_bytes >> 20);
}

/* The image, hardly ever larger than the state, and a segment; the full itself, if it is here. */
enum status archiver_want_room_for_full(const struct archiver *archiver, struct error *error)
{
    struct store_statistics store;

    if (store_statistics(archiver->options.store, &store, error) != STATUS_OK) {
        return error->status;
    }
    return archiver_want_room(
        archiver, (archiver->is_local ? 2 : 1) * store.used_bytes + REPOSITORY_OBJECT_BYTES, error);
}

/* --- Pruning --- */

static enum status remove_one(struct archiver *archiver, const char *name, struct error *error)
{
    if (archiver_is_canceled(archiver)) {
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

/* What is held for longer, by an object lock say, or may not be removed, is left for later. */
static bool is_held(struct archiver *archiver, enum status *status, const struct error *error)
{
    if (*status != STATUS_PERMISSION) {
        return false;
    }
    *status = STATUS_OK;
    archiver_lock(archiver);
    if (archiver->status.held++ == 0) {
        log_info("archive", "removed later repository=%s: %s", archiver->status.url, error->text);
    }
    archiver_unlock(archiver);
    return true;
}

/* The oldest first, and no further than the first one that is held: what is left has no hole. */
static enum status remove_deltas(struct archiver *archiver, size_t end, struct error *error)
{
    char name[NAMES_BYTES];
    enum status status = STATUS_OK;

    for (size_t i = 0; i < end && status == STATUS_OK; i++) {
        names_delta(archiver->base, archiver->catalog.deltas[i].first_index, name);
        status = remove_one(archiver, name, error);
        if (is_held(archiver, &status, error)) {
            return STATUS_OK;
        }
    }
    return status;
}

/* A full before the deltas that follow it: deltas without one lead nowhere, and a full without
 * deltas is still a point. */
static enum status remove_planned(struct archiver *archiver, const struct retention_plan *plan,
                                  struct error *error)
{
    const struct catalog *catalog = &archiver->catalog;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < catalog->n_fulls && status == STATUS_OK; i++) {
        if (plan->drops_full[i]) {
            status = remove_full(archiver, &catalog->fulls[i], error);
            (void)is_held(archiver, &status, error); /* Then its manifest is, too. */
        }
    }
    if (status == STATUS_OK) {
        status = remove_deltas(archiver, plan->first_delta, error);
    }
    for (size_t i = 0; i < plan->n_orphans && status == STATUS_OK; i++) {
        status = remove_one(archiver, catalog->orphans[i].name, error);
        (void)is_held(archiver, &status, error); /* The next one may not be. */
    }
    return status;
}

static void note_pruned(struct archiver *archiver, uint64_t before)
{
    uint64_t now = archiver->catalog.bytes;

    if (now < before) {
        log_info("archive", "pruned repository=%s bytes=%" PRIu64, archiver->status.url,
                 before - now);
        archiver_lock(archiver);
        archiver->status.pruned_bytes += before - now;
        archiver_unlock(archiver);
    }
}

static enum status prune(struct archiver *archiver, const struct retention_policy *policy,
                         struct error *error)
{
    struct retention_plan plan;
    uint64_t before;
    enum status status;

    archiver_set_activity(archiver, ARCHIVER_PRUNING);
    status = archiver_load_catalog(archiver, error);
    if (status != STATUS_OK) {
        return status;
    }
    before = archiver->catalog.bytes;
    archiver_lock(archiver);
    archiver->status.held = 0;
    archiver_unlock(archiver);
    retention_plan(&archiver->catalog, policy, archiver_clock_ms(CLOCK_REALTIME), &plan);
    status = remove_planned(archiver, &plan, error);
    if (status == STATUS_OK && (plan.bytes > 0 || plan.n_orphans > 0)) {
        status = archiver_load_catalog(archiver, error);
        note_pruned(archiver, before);
    }
    retention_plan_close(&plan);
    return status;
}

enum status archiver_prune_when_due(struct archiver *archiver, struct error *error)
{
    struct retention_policy policy = archiver->options.retention;

    if (archiver->is_local && archiver_spare_bytes(archiver) == 0 &&
        archiver_now_ms() >= archiver->squeeze_due_ms) {
        archiver->squeeze_due_ms = archiver_now_ms() + SQUEEZE_MS;
        policy.max_bytes = 1; /* The newest chain stays all the same. */
        return prune(archiver, &policy, error);
    }
    if (archiver_now_ms() < archiver->prune_due_ms) {
        return STATUS_OK;
    }
    archiver->prune_due_ms = archiver_now_ms() + archiver->options.schedule.prune_ms;
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
        .is_canceled = archiver_gives_up,
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
enum status archiver_verify(struct archiver *archiver, struct error *error)
{
    char *directory = files_join(archiver->work_directory, "/verified");
    uint64_t begun_ms = archiver_now_ms();
    struct restore_facts facts;
    enum status status;

    status = archiver_want_room_for_full(archiver, error);
    archiver_set_activity(archiver, ARCHIVER_VERIFYING);
    if (status == STATUS_OK) {
        status = files_remove_directory(directory, error);
    }
    if (status == STATUS_OK) {
        status = restore_to(archiver, directory, &facts, error);
    }
    if (status == STATUS_OK) {
        archiver_lock(archiver);
        archiver->status.verified_ms = archiver_clock_ms(CLOCK_REALTIME);
        archiver->status.verified_revision = facts.revision;
        archiver->status.verify_took_ms = archiver_now_ms() - begun_ms;
        archiver_unlock(archiver);
        log_info("archive", "verified repository=%s revision=%" PRIu64 " took_ms=%" PRIu64,
                 archiver->status.url, facts.revision, archiver_now_ms() - begun_ms);
    } else if (status != STATUS_CANCELED) {
        status = error_prefix(error, "a restore that was tried failed");
    }
    if (files_remove_directory(directory, NULL) != STATUS_OK) {
        log_warn("archive", "could not remove \"%s\"", directory);
    }
    free(directory);
    return status;
}
