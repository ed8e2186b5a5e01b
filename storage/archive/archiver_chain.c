/* The chain: what is in it, and how it goes on with deltas and fulls. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "storage/archive/archiver_private.h"
#include "storage/archive/full.h"

#define LEAST_REPLAY_MS 10000u
/* For the estimate of what a restore takes: a full is imported, deltas are executed. */
#define IMPORT_BYTES_PER_MS 50000u
#define REPLAY_BYTES_PER_MS 6000u

/* --- The catalog --- */

/* Up to where the chain goes: the next delta comes behind that. A full may be further, while what
 * led to it is still to come: it takes part in that only where there is a gap. */
uint64_t archiver_end_of_chain(const struct archiver *archiver)
{
    uint64_t index = archiver->catalog.last_index;

    return index > archiver->full_index ? index : archiver->full_index;
}

/* What a restore can begin with; NULL: nothing. */
static const struct catalog_full *newest_whole(const struct catalog *catalog)
{
    for (size_t i = catalog->n_fulls; i > 0; i--) {
        if (catalog->fulls[i - 1].is_whole) {
            return &catalog->fulls[i - 1];
        }
    }
    return NULL;
}

static uint64_t estimate_restore_ms(const struct archiver *archiver)
{
    return archiver->status.last_full.content_bytes / IMPORT_BYTES_PER_MS +
           archiver->replay_bytes / REPLAY_BYTES_PER_MS;
}

/* With the lock held. */
void archiver_count_catalog(struct archiver *archiver)
{
    struct archiver_status *status = &archiver->status;
    const struct catalog *catalog = &archiver->catalog;
    const struct catalog_full *newest = newest_whole(catalog);
    size_t i = catalog_last_verified(catalog);

    status->index = archiver_end_of_chain(archiver);
    status->revision = catalog->last_revision;
    status->time_ms = catalog->last_time_ms;
    status->fulls = catalog->n_fulls;
    status->deltas = catalog->n_deltas;
    status->merged = catalog->n_merged;
    status->bytes = catalog->bytes;
    status->last_full = newest == NULL ? (struct catalog_full){.index = 0} : *newest;
    status->restore_ms = estimate_restore_ms(archiver);
    if (i < catalog->n_fulls) {
        status->verified_ms = catalog->fulls[i].verified.when_ms;
        status->verified_revision = catalog->fulls[i].verified.revision;
        status->verify_took_ms = catalog->fulls[i].verified.took_ms;
    }
}

/* Packed bytes of deltas stand for three times as many. */
static uint64_t replay_bytes_of(const struct catalog *catalog)
{
    const struct catalog_full *newest = newest_whole(catalog);
    uint64_t from = newest == NULL ? 0 : newest->index;
    uint64_t bytes = 0;

    for (size_t i = 0; i < catalog->n_deltas; i++) {
        bool is_counted =
            catalog->deltas[i].first_index > from && catalog->deltas[i].merged_ms == 0;

        bytes += is_counted ? 3 * catalog->deltas[i].bytes : 0;
    }
    for (size_t i = 0; i < catalog->n_merged; i++) {
        bool is_counted =
            catalog->merged[i].first_index > from && catalog->merged[i].merged_ms == 0;

        bytes += is_counted ? 3 * catalog->merged[i].bytes : 0;
    }
    return bytes;
}

/* The lag behind deltas that end at @last_index. */
static void find_lag_from(const struct archiver *archiver, uint64_t last_index,
                          struct archiver_lag *lag)
{
    uint64_t index = last_index > archiver->full_index ? last_index : archiver->full_index;

    archiver_find_lag(archiver, index,
                      index == archiver_end_of_chain(archiver) ? archiver->lag.since_ms : 0, lag);
}

enum status archiver_load_catalog(struct archiver *archiver, struct error *error)
{
    struct archiver_lag lag;
    struct catalog catalog;
    enum status status =
        catalog_load(archiver->repository, archiver->base, archiver->options.keys, &catalog, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (catalog.end_damage[0] != '\0') { /* What comes behind it? */
        status = error_set(error, STATUS_CORRUPT, "%s", catalog.end_damage);
        catalog_close(&catalog);
        return status;
    }
    if (catalog.n_damaged > 0) {
        log_warn("archive", "fulls are damaged repository=%s number=%zu: %s", archiver->status.url,
                 catalog.n_damaged, catalog.damage);
    }
    archiver->replay_bytes = replay_bytes_of(&catalog);
    find_lag_from(archiver, catalog.last_index, &lag);
    archiver_lock(archiver);
    catalog_close(&archiver->catalog);
    archiver->catalog = catalog;
    archiver->lag = lag;
    archiver_count_catalog(archiver);
    archiver_unlock(archiver);
    archiver->has_catalog = true;
    return STATUS_OK;
}

/* A delta is in the chain, behind its end. */
static void add_delta(struct archiver *archiver, const struct delta_facts *facts, uint64_t bytes)
{
    struct catalog *catalog = &archiver->catalog;
    struct archiver_lag lag;

    find_lag_from(archiver, facts->last_index, &lag);
    archiver_lock(archiver);
    archiver->lag = lag;
    catalog->deltas =
        memory_resize(catalog->deltas, (catalog->n_deltas + 1) * sizeof *catalog->deltas);
    if (catalog->n_deltas > 0) {
        catalog->deltas[catalog->n_deltas - 1].last_index = facts->first_index - 1;
    }
    catalog->deltas[catalog->n_deltas++] = (struct catalog_delta){
        .first_index = facts->first_index, .last_index = UINT64_MAX, .bytes = bytes};
    catalog->bytes += bytes;
    catalog->last_index = facts->last_index;
    catalog->last_revision = facts->last_revision;
    catalog->last_time_ms = facts->last_time_ms;
    archiver->replay_bytes += facts->content_bytes;
    archiver_count_catalog(archiver);
    archiver_unlock(archiver);
}

/* --- Deltas --- */

/* The name was taken: by an archiver before this one, or by this one, when no answer came. */
static enum status go_behind(struct archiver *archiver, uint64_t first_index, struct error *error)
{
    struct delta_facts facts;
    char name[NAMES_BYTES];
    enum status status;

    names_delta(archiver->base, first_index, name);
    status = delta_look(archiver->repository, name, archiver->options.keys, &facts, error);
    if (status == STATUS_OK) {
        status = archiver_check_history(archiver, &facts, error);
    }
    if (status == STATUS_OK) {
        archiver_lock(archiver);
        archiver->status.fenced++;
        archiver_unlock(archiver);
        add_delta(archiver, &facts, 0);
    }
    return status;
}

static enum status put_delta(struct archiver *archiver, struct slice steps, struct error *error)
{
    struct delta_facts facts;
    char name[NAMES_BYTES];
    uint64_t bytes = 0;
    enum status status;
    int fd;

    delta_describe(steps, &facts);
    status = archiver_want_room(archiver, 2 * facts.content_bytes, error);
    if (status == STATUS_OK) {
        status = full_work_file(archiver->work_directory, &fd, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    names_delta(archiver->base, facts.first_index, name);
    status = delta_create(archiver->repository, name, archiver->options.keys, &facts, steps, fd,
                          &bytes, error);
    (void)close(fd); /* It is gone now. */
    if (status == STATUS_EXISTS) {
        return go_behind(archiver, facts.first_index, error);
    }
    if (status == STATUS_OK) {
        archiver_lock(archiver);
        archiver->status.made_deltas++;
        archiver->status.made_bytes += bytes;
        archiver_unlock(archiver);
        add_delta(archiver, &facts, bytes);
    }
    return status;
}

/* One delta of what the journal has. STATUS_END: nothing waits. STATUS_NOT_FOUND: there is a gap.
 */
enum status archiver_make_delta(struct archiver *archiver, struct error *error)
{
    struct buffer steps = BUFFER_EMPTY;
    enum status status = journal_read(archiver->options.journal, archiver_end_of_chain(archiver),
                                      DELTA_BYTES, &steps, error);

    if (status == STATUS_OK) {
        archiver_set_activity(archiver, ARCHIVER_DELTA);
        status = put_delta(archiver, buffer_slice(&steps), error);
        if (status == STATUS_NOT_FOUND) { /* The bucket, not the entries. */
            status = STATUS_IO;
        }
    }
    buffer_close(&steps);
    return status;
}

/* --- Fulls --- */

enum status archiver_spend(struct archiver *archiver, uint64_t bytes, struct error *error)
{
    pace_spend(&archiver->pace, bytes);
    (void)archiver_gives_up(archiver); /* It is asked below, too. */
    archiver_lock(archiver);
    while (!archiver_is_canceled(archiver) && !pace_allows(&archiver->pace, clock_ms())) {
        archiver_wait_for(archiver, pace_wait_ms(&archiver->pace));
    }
    archiver_unlock(archiver);
    return archiver_is_canceled(archiver)
               ? error_set(error, STATUS_CANCELED, "the node is shutting down")
               : STATUS_OK;
}

static enum status on_progress(void *data, uint64_t bytes, struct error *error)
{
    return archiver_spend(data, bytes, error);
}

/* What the repository has of a full that was just made: it may have kept less than it was given. */
static enum status check_full(const struct archiver *archiver, const char *directory,
                              struct error *error)
{
    const struct catalog *catalog = &archiver->catalog;

    for (size_t i = catalog->n_fulls; i > 0; i--) {
        if (strcmp(catalog->fulls[i - 1].directory, directory) == 0 &&
            catalog->fulls[i - 1].is_whole) {
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_CORRUPT,
                     "the full \"%s\" was made, but is not listed whole in %s", directory,
                     repository_url(archiver->repository));
}

enum status archiver_make_full(struct archiver *archiver, struct error *error)
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
        .now_ms = clock_wall_ms(),
        .data = archiver,
        .on_progress = on_progress,
    };
    char directory[NAMES_BYTES];
    struct manifest manifest;
    uint64_t begun_ms = clock_ms();
    uint64_t bytes_before = archiver->catalog.bytes;
    enum status status;

    status = archiver_want_room_for_full(archiver, error);
    if (status != STATUS_OK) {
        return status;
    }
    archiver_set_activity(archiver, ARCHIVER_FULL);
    archiver->pace = pace_of(archiver->options.bytes_per_second, clock_ms());
    status = full_create(&making, &manifest, directory, error);
    if (status != STATUS_OK) {
        return status;
    }
    log_info("archive",
             "made a full repository=%s index=%" PRIu64 " image_bytes=%" PRIu64 " took_ms=%" PRIu64,
             archiver->status.url, manifest.facts.state.applied_index, manifest.image_bytes,
             clock_ms() - begun_ms);
    manifest_close(&manifest);
    status = archiver_load_catalog(archiver, error);
    archiver_lock(archiver);
    archiver->status.made_fulls++;
    archiver->status.made_bytes +=
        archiver->catalog.bytes > bytes_before ? archiver->catalog.bytes - bytes_before : 0;
    archiver_unlock(archiver);
    return status == STATUS_OK ? check_full(archiver, directory, error) : status;
}

static uint64_t wall_age_ms(uint64_t then_ms)
{
    uint64_t wall_ms = clock_wall_ms();

    return wall_ms > then_ms ? wall_ms - then_ms : 0;
}

/* Executing deltas takes longer than importing what they lead to. So that a large state is not
 * written again and again, the deltas may always take a third of what the full takes. */
bool archiver_full_is_due(const struct archiver *archiver)
{
    const struct archiver_schedule *schedule = &archiver->options.schedule;
    const struct catalog_full *last = &archiver->status.last_full;
    uint64_t import_ms = last->content_bytes / IMPORT_BYTES_PER_MS;
    uint64_t replay_ms = archiver->replay_bytes / REPLAY_BYTES_PER_MS;
    uint64_t least_ms = import_ms / 3 > LEAST_REPLAY_MS ? import_ms / 3 : LEAST_REPLAY_MS;

    return wall_age_ms(last->created_ms) + archiver->full_early_ms >= schedule->full_ms ||
           (import_ms + replay_ms > schedule->restore_ms && replay_ms > least_ms);
}
