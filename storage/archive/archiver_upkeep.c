/* What keeps a chain well: room on the disk, and trying restores. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "daemon/base/clock.h"
#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "storage/archive/archiver_private.h"
#include "storage/archive/marks.h"
#include "storage/archive/restore.h"

#define VERIFY_RANGE_MS (24ull * 3600 * 1000)
#define VERIFY_AGAIN_MS (3600ull * 1000) /* After one that failed. */

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

static void on_damage(void *data, const char *why)
{
    const struct archiver *archiver = data;

    log_warn("archive", "a merged object is not used repository=%s: %s", archiver->status.url, why);
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
        .n_threads = 1, /* It has time, and takes no memory that others need. */
        .data = archiver,
        .is_canceled = archiver_gives_up,
        .on_damage = on_damage,
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

/* In the repository, so that it is known after a restart, and to who archives next. */
static enum status note_verified(struct archiver *archiver, const struct restore_facts *facts,
                                 uint64_t took_ms, struct error *error)
{
    const struct names_verification verification = {
        .when_ms = clock_wall_ms(),
        .revision = facts->revision,
        .took_ms = took_ms,
    };
    enum status status = marks_verified(archiver->repository, facts->full_directory, &verification,
                                        archiver->work_directory, error);

    if (status != STATUS_OK) {
        return status;
    }
    archiver_lock(archiver);
    for (size_t i = 0; i < archiver->catalog.n_fulls; i++) {
        struct catalog_full *full = &archiver->catalog.fulls[i];

        if (strcmp(full->directory, facts->full_directory) == 0) {
            full->verified = verification;
        }
    }
    archiver_count_catalog(archiver);
    archiver_unlock(archiver);
    return STATUS_OK;
}

bool archiver_verify_is_due(struct archiver *archiver)
{
    uint64_t interval_ms = archiver->options.schedule.verify_ms;
    uint64_t wall_ms = clock_wall_ms();
    uint64_t last_ms = archiver->status.verified_ms;
    uint64_t age_ms = wall_ms > last_ms ? wall_ms - last_ms : 0;

    if (clock_ms() < archiver->verify_due_ms) {
        return false;
    }
    archiver->verify_due_ms = archiver_later(clock_ms(), interval_ms);
    if (last_ms != 0 && age_ms < interval_ms) {
        archiver->verify_due_ms = archiver_later(clock_ms(), interval_ms - age_ms);
        return false;
    }
    return true;
}

/* Restore to a directory that is removed again. */
static enum status try_restore(struct archiver *archiver, struct error *error)
{
    uint64_t begun_ms = clock_ms();
    struct restore_facts facts;
    enum status status;
    char name[32];
    char *directory;

    (void)snprintf(name, sizeof name, "/verified-%u", archiver->options.number);
    directory = files_join(archiver->work_directory, name);

    status = archiver_want_room_for_full(archiver, error);
    archiver_set_activity(archiver, ARCHIVER_VERIFYING);
    if (status == STATUS_OK) {
        status = files_remove_directory(directory, error);
    }
    if (status == STATUS_OK) {
        status = restore_to(archiver, directory, &facts, error);
    }
    if (status == STATUS_OK) {
        status = note_verified(archiver, &facts, clock_ms() - begun_ms, error);
    }
    if (status == STATUS_OK) {
        log_info("archive", "verified repository=%s revision=%" PRIu64 " took_ms=%" PRIu64,
                 archiver->status.url, facts.revision, clock_ms() - begun_ms);
    }
    if (files_remove_directory(directory, NULL) != STATUS_OK) {
        log_warn("archive", "could not remove \"%s\"", directory);
    }
    free(directory);
    return status;
}

enum status archiver_verify(struct archiver *archiver, struct error *error)
{
    uint64_t again_ms = archiver_later(clock_ms(), VERIFY_AGAIN_MS);
    enum status status = try_restore(archiver, error);

    if (status == STATUS_OK) {
        archiver->verify_failure[0] = '\0';
    }
    if (status == STATUS_OK || archiver_is_canceled(archiver)) {
        return status;
    }
    archiver->verify_due_ms =
        again_ms < archiver->verify_due_ms ? again_ms : archiver->verify_due_ms;
    (void)error_prefix(error, "a restore that was tried failed");
    log_warn("archive", "repository=%s: %s", archiver->status.url, error->text);
    memcpy(archiver->verify_failure, error->text, sizeof archiver->verify_failure);
    archiver_lock(archiver);
    archiver->status.failures++;
    memcpy(archiver->status.error, error->text, sizeof archiver->status.error);
    archiver_unlock(archiver);
    return STATUS_OK;
}
