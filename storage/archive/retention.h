/* Which fulls and deltas of a chain are not needed any more. Pure.
 *
 * - Every point of the last @deltas_ms can be restored: the newest full from before is kept, and
 *   all deltas behind it.
 * - Fulls are kept for @fulls_ms.
 * - With @max_bytes, the oldest goes until the rest fits.
 * - A full that is pinned is kept, and the newest whole one with all deltas behind it, whatever
 *   else.
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

/* 7 days, 30 days, a day. */
#define RETENTION_DELTAS_MS (7ull * 24 * 3600 * 1000)
#define RETENTION_FULLS_MS  (30ull * 24 * 3600 * 1000)
#define RETENTION_GRACE_MS  (24ull * 3600 * 1000)

struct retention_plan {
    /* Of the catalog's: the deltas before this one go, ... */
    size_t first_delta;
    bool *drops_full; /* ... these fulls, and ... */
    size_t n_orphans; /* ... so many of the orphans, from the first. */
    uint64_t bytes;   /* Of all that goes, but for orphans. */
};

/* @now_ms: the wall clock. The caller ends with retention_plan_close(). */
void retention_plan(const struct catalog *catalog, const struct retention_policy *policy,
                    uint64_t now_ms, struct retention_plan *plan);
void retention_plan_close(struct retention_plan *plan);

#endif
