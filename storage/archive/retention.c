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

static void drop_full(const struct catalog *catalog, size_t i, struct retention_plan *plan)
{
    if (!plan->drops_full[i] && !catalog->fulls[i].is_pinned) {
        plan->drops_full[i] = true;
        plan->bytes += catalog->fulls[i].bytes;
    }
}

static void drop(enum retention_fate *fate, enum retention_fate becomes, uint64_t bytes,
                 struct retention_plan *plan)
{
    plan->bytes += *fate == RETENTION_STAYS ? bytes : 0;
    *fate = becomes;
}

/* What ends at or before @index. */
static void drop_up_to(const struct catalog *catalog, uint64_t index, struct retention_plan *plan)
{
    for (size_t i = 0; i < catalog->n_deltas && catalog->deltas[i].last_index <= index; i++) {
        drop(&plan->deltas[i], RETENTION_OLD, catalog->deltas[i].bytes, plan);
    }
    for (size_t i = 0; i < catalog->n_merged; i++) {
        if (catalog->merged[i].last_index <= index) {
            drop(&plan->merged[i], RETENTION_OLD, catalog->merged[i].bytes, plan);
        }
    }
}

static bool was_merged_by(uint64_t merged_ms, uint64_t then_ms)
{
    return merged_ms != 0 && merged_ms <= then_ms;
}

/* What is in a merged one that was made by then, the oldest first, while there are more than
 * @max_bytes. */
static void drop_twice(const struct catalog *catalog, uint64_t then_ms, uint64_t max_bytes,
                       struct retention_plan *plan)
{
    for (size_t i = 0; i < catalog->n_merged && catalog->bytes - plan->bytes > max_bytes; i++) {
        if (plan->merged[i] == RETENTION_STAYS &&
            was_merged_by(catalog->merged[i].merged_ms, then_ms)) {
            drop(&plan->merged[i], RETENTION_TWICE, catalog->merged[i].bytes, plan);
        }
    }
    for (size_t i = 0; i < catalog->n_deltas && catalog->bytes - plan->bytes > max_bytes; i++) {
        if (plan->deltas[i] == RETENTION_STAYS &&
            was_merged_by(catalog->deltas[i].merged_ms, then_ms)) {
            drop(&plan->deltas[i], RETENTION_TWICE, catalog->deltas[i].bytes, plan);
        }
    }
}

/* Full by full, the oldest first, with the deltas that led from it to the next one. */
static void keep_in_bounds(const struct catalog *catalog, uint64_t max_bytes, size_t kept,
                           struct retention_plan *plan)
{
    drop_twice(catalog, UINT64_MAX, max_bytes, plan);
    for (size_t i = 0; i < kept && catalog->bytes - plan->bytes > max_bytes; i++) {
        drop_full(catalog, i, plan);
        drop_up_to(catalog, catalog->fulls[i + 1].index, plan);
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

struct retention_policy retention_of_days(unsigned days)
{
    return (struct retention_policy){.deltas_ms = days * RETENTION_DAY_MS,
                                     .fulls_ms = days * RETENTION_DAY_MS,
                                     .grace_ms = RETENTION_GRACE_MS};
}

void retention_plan(const struct catalog *catalog, const struct retention_policy *policy,
                    uint64_t now_ms, struct retention_plan *plan)
{
    size_t newest = newest_whole(catalog);
    size_t anchor = newest_older_than(catalog, policy->deltas_ms + policy->grace_ms, now_ms);
    size_t verified = catalog_newest_verified(catalog);
    size_t kept = verified < newest ? verified : newest; /* With all that follows. */

    *plan = (struct retention_plan){
        .deltas = memory_new_zeroed(catalog->n_deltas + 1, sizeof *plan->deltas),
        .merged = memory_new_zeroed(catalog->n_merged + 1, sizeof *plan->merged),
        .drops_full = memory_new_zeroed(catalog->n_fulls + 1, sizeof *plan->drops_full)};
    if (newest == catalog->n_fulls) {
        return; /* Without one, everything may be needed. */
    }
    if (anchor < catalog->n_fulls && anchor > kept) {
        anchor = kept;
    }
    if (anchor < catalog->n_fulls) {
        drop_up_to(catalog, catalog->fulls[anchor].index, plan);
    }
    if (now_ms >= policy->grace_ms) {
        drop_twice(catalog, now_ms - policy->grace_ms, 0, plan);
    }
    for (size_t i = 0; i < kept; i++) {
        bool is_old = age_ms(&catalog->fulls[i], now_ms) >= policy->fulls_ms + policy->grace_ms;

        if (is_old && (anchor == catalog->n_fulls ? false : i != anchor)) {
            drop_full(catalog, i, plan);
        }
    }
    if (policy->max_bytes > 0) {
        keep_in_bounds(catalog, policy->max_bytes, kept, plan);
    }
    plan->n_orphans = old_orphans(catalog, policy->grace_ms, now_ms);
}

void retention_plan_close(struct retention_plan *plan)
{
    free(plan->deltas);
    free(plan->merged);
    free(plan->drops_full);
    *plan = (struct retention_plan){.n_orphans = 0};
}
