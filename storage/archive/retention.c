#include "storage/archive/retention.h"

#include <stdlib.h>

#include "daemon/base/memory.h"

static uint64_t age_ms(const struct catalog_full *full, uint64_t now_ms)
{
    return now_ms > full->created_ms ? now_ms - full->created_ms : 0;
}

/* The newest whole full that is older than @ms; n_fulls: none. */
static size_t newest_older_than(const struct catalog *catalog, uint64_t ms, uint64_t now_ms)
{
    size_t found = catalog->n_fulls;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        if (catalog->fulls[i].is_whole && age_ms(&catalog->fulls[i], now_ms) >= ms) {
            found = i;
        }
    }
    return found;
}

static size_t newest_whole(const struct catalog *catalog)
{
    return newest_older_than(catalog, 0, UINT64_MAX);
}

/* How many deltas end at or before @index: those that another one follows there. */
static size_t deltas_up_to(const struct catalog *catalog, uint64_t index)
{
    size_t n = 0;

    while (n + 1 < catalog->n_deltas && catalog->deltas[n + 1].first_index <= index + 1) {
        n++;
    }
    return n;
}

static uint64_t bytes_of_deltas(const struct catalog *catalog, size_t first, size_t end)
{
    uint64_t bytes = 0;

    for (size_t i = first; i < end; i++) {
        bytes += catalog->deltas[i].bytes;
    }
    return bytes;
}

static void drop_full(const struct catalog *catalog, size_t i, struct retention_plan *plan)
{
    if (!plan->drops_full[i] && !catalog->fulls[i].is_pinned) {
        plan->drops_full[i] = true;
        plan->bytes += catalog->fulls[i].bytes;
    }
}

static void drop_deltas(const struct catalog *catalog, size_t first_delta,
                        struct retention_plan *plan)
{
    if (first_delta > plan->first_delta) {
        plan->bytes += bytes_of_deltas(catalog, plan->first_delta, first_delta);
        plan->first_delta = first_delta;
    }
}

/* Full by full, the oldest first, with the deltas that led from it to the next one. */
static void keep_in_bounds(const struct catalog *catalog, uint64_t max_bytes, size_t newest,
                           struct retention_plan *plan)
{
    for (size_t i = 0; i < newest && catalog->bytes - plan->bytes > max_bytes; i++) {
        drop_full(catalog, i, plan);
        drop_deltas(catalog, deltas_up_to(catalog, catalog->fulls[i + 1].index), plan);
    }
}

/* A segment without a manifest is left over from an archiver that ended, if a full that began later
 * is old. */
static size_t old_orphans(const struct catalog *catalog, uint64_t grace_ms, uint64_t now_ms)
{
    size_t full = newest_older_than(catalog, grace_ms, now_ms);
    size_t n = 0;

    while (full < catalog->n_fulls && n < catalog->n_orphans &&
           catalog->orphans[n].index < catalog->fulls[full].index) {
        n++;
    }
    return n;
}

void retention_plan(const struct catalog *catalog, const struct retention_policy *policy,
                    uint64_t now_ms, struct retention_plan *plan)
{
    size_t newest = newest_whole(catalog);
    size_t anchor = newest_older_than(catalog, policy->deltas_ms + policy->grace_ms, now_ms);

    *plan = (struct retention_plan){
        .drops_full = memory_new_zeroed(catalog->n_fulls + 1, sizeof *plan->drops_full)};
    if (newest == catalog->n_fulls) {
        return; /* Without one, everything may be needed. */
    }
    if (anchor < catalog->n_fulls) {
        drop_deltas(catalog, deltas_up_to(catalog, catalog->fulls[anchor].index), plan);
    }
    for (size_t i = 0; i < newest; i++) {
        bool is_old = age_ms(&catalog->fulls[i], now_ms) >= policy->fulls_ms + policy->grace_ms;

        if (is_old && (anchor == catalog->n_fulls ? false : i != anchor)) {
            drop_full(catalog, i, plan);
        }
    }
    if (policy->max_bytes > 0) {
        keep_in_bounds(catalog, policy->max_bytes, newest, plan);
    }
    plan->n_orphans = old_orphans(catalog, policy->grace_ms, now_ms);
}

void retention_plan_close(struct retention_plan *plan)
{
    free(plan->drops_full);
    plan->drops_full = NULL;
}
