/* Merging (merge.h), a little in each turn:
 *
 * 1. It begins with the oldest delta that is in no merged one.
 * 2. Once the chain is so far on that what belongs together is old, it adds the deltas behind.
 * 3. At the first one that does not belong to it any more, the object is created.
 *
 * What can go wrong:
 * - A delta cannot be read: what came before it is merged, and it is left as it is, which is told.
 * - The repository fails: what was read is given up; the next turn that works begins again.
 * - The node ends, or another archives: the same. */
#include <inttypes.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "storage/archive/archiver_private.h"

#define TURN_MS  1000u
#define LATER_MS 60000u /* The disk is short: it waits so long. */

/* The delta that begins there; n_deltas: none does. */
static size_t find_delta_at(const struct catalog *catalog, uint64_t first_index)
{
    size_t i = catalog_find_delta(catalog, first_index - 1);

    return i < catalog->n_deltas && catalog->deltas[i].first_index == first_index
               ? i
               : catalog->n_deltas;
}

/* The oldest one that is in no merged one, and was not left as it is. */
static size_t find_first(const struct archiver *archiver)
{
    const struct catalog *catalog = &archiver->catalog;
    size_t i = 0;

    while (i < catalog->n_deltas && (catalog->deltas[i].merged_ms != 0 ||
                                     catalog->deltas[i].first_index <= archiver->merged_index)) {
        i++;
    }
    return i;
}

void archiver_give_up_merge(struct archiver *archiver)
{
    merge_close(archiver->merge);
    archiver->merge = NULL;
}

/* It will not be different the next time. */
static bool is_lasting(enum status status)
{
    return status == STATUS_CORRUPT || status == STATUS_NOT_FOUND || status == STATUS_UNSUPPORTED;
}

/* STATUS_END: it does not belong to what is there. */
static enum status add(struct archiver *archiver, size_t i, struct error *error)
{
    uint64_t first_index = archiver->catalog.deltas[i].first_index;
    uint64_t before = merge_facts(archiver->merge)->content_bytes;
    enum status status = merge_add(archiver->merge, first_index, error);

    if (status == STATUS_OK) {
        return archiver_spend(archiver, merge_facts(archiver->merge)->content_bytes - before,
                              error);
    }
    if (!is_lasting(status)) {
        return status;
    }
    if (merge_count(archiver->merge) == 0) {
        log_warn("archive", "a delta is not merged repository=%s: %s", archiver->status.url,
                 error->text);
        archiver->merged_index = first_index;
        archiver->has_catalog = status != STATUS_NOT_FOUND; /* Another archiver was first. */
    }
    return STATUS_END;
}

/* STATUS_END: there is nothing to begin with. */
static enum status begin(struct archiver *archiver, struct error *error)
{
    const struct merge_options options = {
        .repository = archiver->repository,
        .base = archiver->base,
        .keys = archiver->options.keys,
        .work_directory = archiver->work_directory,
        .range_ms = archiver->options.schedule.merge_ms,
    };
    size_t i = find_first(archiver);
    enum status status;

    if (i == archiver->catalog.n_deltas) {
        return STATUS_END;
    }
    if (archiver_spare_bytes(archiver) < 2 * REPOSITORY_OBJECT_BYTES) {
        archiver->merge_due_ms = clock_ms() + LATER_MS;
        log_info("archive", "merging waits repository=%s: too little disk is free",
                 archiver->status.url);
        return STATUS_END;
    }
    status = merge_open(&options, &archiver->merge, error);
    if (status == STATUS_OK) {
        archiver->pace = pace_of(archiver->options.bytes_per_second, clock_ms());
        status = add(archiver, i, error);
    }
    return status;
}

static void add_merged(struct archiver *archiver, const struct delta_facts *facts, uint64_t now_ms,
                       uint64_t bytes)
{
    struct catalog *catalog = &archiver->catalog;

    archiver_lock(archiver);
    catalog->merged =
        memory_resize(catalog->merged, (catalog->n_merged + 1) * sizeof *catalog->merged);
    catalog->merged[catalog->n_merged++] =
        (struct catalog_merged){.first_index = facts->first_index,
                                .last_index = facts->last_index,
                                .created_ms = now_ms,
                                .bytes = bytes};
    catalog->bytes += bytes;
    catalog_settle(catalog);
    archiver->status.made_merged++;
    archiver->status.made_bytes += bytes;
    archiver_count_catalog(archiver);
    archiver_unlock(archiver);
}

/* One delta alone stays as it is. */
static enum status finish(struct archiver *archiver, struct error *error)
{
    struct delta_facts facts = *merge_facts(archiver->merge);
    uint64_t now_ms = clock_wall_ms();
    size_t n = merge_count(archiver->merge);
    uint64_t bytes = 0;
    enum status status = STATUS_OK;

    if (n > 1) {
        status = merge_create(archiver->merge, now_ms, &bytes, error);
        if (status == STATUS_OK || status == STATUS_EXISTS) {
            status = STATUS_OK;
            add_merged(archiver, &facts, now_ms, bytes);
            log_debug("archive",
                      "merged repository=%s deltas=%zu first=%" PRIu64 " last=%" PRIu64
                      " bytes=%" PRIu64,
                      archiver->status.url, n, facts.first_index, facts.last_index, bytes);
        }
    }
    if (status == STATUS_OK && n > 0) {
        archiver->merged_index = facts.last_index;
    }
    archiver_give_up_merge(archiver);
    return status;
}

/* By the cluster's time. */
static bool is_old(const struct archiver *archiver)
{
    const struct delta_facts *facts = merge_facts(archiver->merge);
    uint64_t merge_ms = archiver->options.schedule.merge_ms;

    return archiver->catalog.last_time_ms >= archiver_later(facts->first_time_ms, 2 * merge_ms);
}

/* STATUS_END: there is nothing to do for now. */
static enum status merge_some(struct archiver *archiver, struct error *error)
{
    size_t i;
    enum status status;

    if (archiver->merge == NULL) {
        status = begin(archiver, error);
        return status == STATUS_END && archiver->merge != NULL ? finish(archiver, error) : status;
    }
    if (!is_old(archiver)) {
        return STATUS_END;
    }
    archiver_set_activity(archiver, ARCHIVER_MERGING);
    i = find_delta_at(&archiver->catalog, merge_facts(archiver->merge)->last_index + 1);
    status = i == archiver->catalog.n_deltas ? STATUS_END : add(archiver, i, error);
    return status == STATUS_END ? finish(archiver, error) : status;
}

enum status archiver_merge_when_due(struct archiver *archiver, struct error *error)
{
    uint64_t begun_ms = clock_ms();
    enum status status = STATUS_OK;

    if (archiver->options.schedule.merge_ms == UINT64_MAX || begun_ms < archiver->merge_due_ms) {
        return STATUS_OK;
    }
    while (status == STATUS_OK && archiver->has_catalog && !archiver_is_canceled(archiver) &&
           clock_ms() - begun_ms < TURN_MS) {
        status = merge_some(archiver, error);
    }
    if (status != STATUS_OK && status != STATUS_END) {
        archiver_give_up_merge(archiver);
    }
    return status == STATUS_END ? STATUS_OK : status;
}
