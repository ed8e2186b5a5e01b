/* Which fulls and deltas of a chain are not needed any more. Pure.
 *
 * - Every point of the last @deltas_ms can be restored: the newest full from before is kept, and
 *   all deltas behind it.
 * - Fulls are kept for @fulls_ms.
 * - What is in a merged one need not be there twice.
 * - With @max_bytes, what is there twice goes first, and then the oldest, until the rest fits.
 * - A full that is pinned is kept, and, whatever else, the newest whole one with all deltas behind
 *   it; and the newest one that was verified, in the same way.
 *
 * Nothing is unneeded at once when a policy says so: it is a @grace_ms later, so that who began to
 * read before goes on; only @max_bytes does not wait. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_RETENTION_H
#define HOLDFAST_STORAGE_ARCHIVE_RETENTION_H

#include "storage/archive/catalog.h"

struct retention_policy {
    uint64_t deltas_ms;
    uint64_t fulls_ms;
    uint64_t grace_ms;
    uint64_t max_bytes; /* 0: as much as there is. */
};

#define RETENTION_DAY_MS (24ull * 3600 * 1000)
/* Every point of so many days. */
#define RETENTION_DAYS     30u
#define RETENTION_GRACE_MS RETENTION_DAY_MS

/* What becomes of a delta, or of a merged one. */
enum retention_fate {
    RETENTION_STAYS,
    RETENTION_OLD,   /* Goes. */
    RETENTION_TWICE, /* Goes if the merged one that has it (catalog_find_whole()) is sound. */
};

struct retention_plan {
    /* Of the catalog's, one by one: */
    enum retention_fate *deltas;
    enum retention_fate *merged;
    bool *drops_full;
    size_t n_orphans; /* So many of the orphans, from the first. */
    uint64_t bytes;   /* Of all that goes, but for orphans. */
};

/* Every point of @days days. */
struct retention_policy retention_of_days(unsigned days);

/* @now_ms: the wall clock. The caller ends with retention_plan_close(). */
void retention_plan(const struct catalog *catalog, const struct retention_policy *policy,
                    uint64_t now_ms, struct retention_plan *plan);
void retention_plan_close(struct retention_plan *plan);

#endif
