/* Removing what is not needed any more (retention.h), some seconds at a time, as the next delta
 * waits. What is in a merged one, too, is removed only after that was read, and is sound: so it
 * does not matter who merged, and what happened to it since. */
#include <inttypes.h>

#include "daemon/base/log.h"
#include "storage/archive/archiver_private.h"
#include "storage/archive/marks.h"

#define SQUEEZE_MS 10000u
/* A turn's share; but if checking what has it all took longer, so many are removed at least. */
#define PRUNE_TURN_MS 2000u
#define LEAST_REMOVED 20u

/* --- Objects --- */

/* STATUS_END: enough for this turn. */
static enum status remove_one(struct archiver *archiver, const char *name, struct error *error)
{
    if (archiver_is_canceled(archiver)) {
        return error_set(error, STATUS_CANCELED, "the node is shutting down");
    }
    if (archiver->n_removed >= LEAST_REMOVED && archiver_now_ms() >= archiver->prune_end_ms) {
        return STATUS_END;
    }
    archiver->n_removed++;
    return repository_remove(archiver->repository, name, error);
}

/* The manifest first: what is left of a full without it is invisible. */
static enum status remove_full(struct archiver *archiver, const struct catalog_full *full,
                               struct error *error)
{
    char name[NAMES_BYTES];
    enum status status;

    status = marks_forget(archiver->repository, full->directory, error);
    if (status == STATUS_OK) {
        names_manifest(full->directory, name);
        status = remove_one(archiver, name, error);
    }
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

/* --- Deltas --- */

static void name_of_delta(const struct archiver *archiver, size_t i, char name[NAMES_BYTES])
{
    names_delta(archiver->base, archiver->catalog.deltas[i].first_index, name);
}

static void name_of_merged(const struct archiver *archiver, size_t i, char name[NAMES_BYTES])
{
    catalog_merged_name(archiver->base, &archiver->catalog.merged[i], name);
}

/* The oldest first, and no further than the first one that is held: what is left has no hole. */
static enum status remove_old(struct archiver *archiver, const enum retention_fate *fates, size_t n,
                              void (*name_of)(const struct archiver *archiver, size_t i,
                                              char name[NAMES_BYTES]),
                              struct error *error)
{
    char name[NAMES_BYTES];
    enum status status = STATUS_OK;

    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        if (fates[i] == RETENTION_OLD) {
            name_of(archiver, i, name);
            status = remove_one(archiver, name, error);
            if (is_held(archiver, &status, error)) {
                return STATUS_OK;
            }
        }
    }
    return status;
}

static enum status on_checked_step(void *data, const struct step *step, struct error *error)
{
    return archiver_spend(data, step->entry.size + STEP_OVERHEAD_BYTES, error);
}

/* All of it is read: its blocks and steps have checksums, steps follow each other from the first to
 * the last index in its name, and end in the state that it says. */
static enum status check_merged(struct archiver *archiver, size_t i, bool *is_sound,
                                struct error *error)
{
    struct delta_facts facts;
    char name[NAMES_BYTES];
    enum status status;

    name_of_merged(archiver, i, name);
    archiver->pace = pace_of(archiver->options.bytes_per_second, archiver_now_ms());
    status = delta_read(archiver->repository, name, archiver->options.keys, &facts, on_checked_step,
                        archiver, error);
    *is_sound = status == STATUS_OK;
    if (status != STATUS_CORRUPT && status != STATUS_NOT_FOUND && status != STATUS_UNSUPPORTED) {
        return status;
    }
    log_warn("archive", "the deltas in a merged object stay repository=%s: %s",
             archiver->status.url, error->text);
    archiver->n_damaged++;
    return STATUS_OK;
}

/* A merged one that has what others have, too. */
struct keeper {
    size_t i; /* n_merged: none was looked at. */
    bool is_sound;
};

/* Remove an object whose steps are in a merged one, if that is sound. */
static enum status remove_twice(struct archiver *archiver, struct keeper *keeper,
                                uint64_t first_index, uint64_t last_index, const char *name,
                                struct error *error)
{
    size_t i = catalog_find_whole(&archiver->catalog, first_index, last_index);
    enum status status = STATUS_OK;

    if (i == archiver->catalog.n_merged) {
        return STATUS_OK;
    }
    if (i != keeper->i) {
        keeper->i = i;
        status = check_merged(archiver, i, &keeper->is_sound, error);
    }
    return status == STATUS_OK && keeper->is_sound ? remove_one(archiver, name, error) : status;
}

/* The first one that is held ends it: the others are younger, so they are held too. */
static enum status remove_all_twice(struct archiver *archiver, const struct retention_plan *plan,
                                    struct error *error)
{
    const struct catalog *catalog = &archiver->catalog;
    struct keeper keeper = {.i = catalog->n_merged};
    char name[NAMES_BYTES];
    bool held = false;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < catalog->n_deltas && status == STATUS_OK && !held; i++) {
        if (plan->deltas[i] == RETENTION_TWICE) {
            name_of_delta(archiver, i, name);
            status = remove_twice(archiver, &keeper, catalog->deltas[i].first_index,
                                  catalog->deltas[i].last_index, name, error);
            held = is_held(archiver, &status, error);
        }
    }
    for (size_t i = 0; i < catalog->n_merged && status == STATUS_OK && !held; i++) {
        if (plan->merged[i] == RETENTION_TWICE) {
            name_of_merged(archiver, i, name);
            status = remove_twice(archiver, &keeper, catalog->merged[i].first_index,
                                  catalog->merged[i].last_index, name, error);
            held = is_held(archiver, &status, error);
        }
    }
    return status;
}

/* --- All --- */

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
        status = remove_old(archiver, plan->deltas, catalog->n_deltas, name_of_delta, error);
    }
    if (status == STATUS_OK) {
        status = remove_old(archiver, plan->merged, catalog->n_merged, name_of_merged, error);
    }
    if (status == STATUS_OK) {
        status = remove_all_twice(archiver, plan, error);
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
    bool has_more;
    enum status status;

    archiver_set_activity(archiver, ARCHIVER_PRUNING);
    status = archiver->prunes_on ? STATUS_OK : archiver_load_catalog(archiver, error);
    archiver->prunes_on = false;
    if (status != STATUS_OK) {
        return status;
    }
    before = archiver->catalog.bytes;
    archiver_lock(archiver);
    archiver->status.held = 0;
    archiver_unlock(archiver);
    archiver->n_removed = 0;
    archiver->n_damaged = 0;
    archiver->prune_end_ms = archiver_now_ms() + PRUNE_TURN_MS;
    retention_plan(&archiver->catalog, policy, archiver_clock_ms(CLOCK_REALTIME), &plan);
    status = remove_planned(archiver, &plan, error);
    archiver_lock(archiver);
    archiver->status.damaged = archiver->n_damaged;
    archiver_unlock(archiver);
    has_more = status == STATUS_END;
    status = has_more ? STATUS_OK : status;
    if (status == STATUS_OK && (plan.bytes > 0 || plan.n_orphans > 0)) {
        status = archiver_load_catalog(archiver, error);
        note_pruned(archiver, before);
    }
    if (status == STATUS_OK && has_more) { /* The next turn goes on. */
        archiver->prune_due_ms = archiver_now_ms();
        archiver->prunes_on = true;
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
