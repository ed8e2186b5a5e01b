/* What tests expect of every chain in a repository, whoever wrote it and whatever happened
 * meanwhile. Ends the test where it is not so. */
#ifndef HOLDFAST_TESTS_ARCHIVE_CHAIN_H
#define HOLDFAST_TESTS_ARCHIVE_CHAIN_H

#include "storage/archive/catalog.h"

struct archive_chain {
    uint64_t fulls;
    uint64_t deltas;
    uint64_t gaps;    /* Between two deltas, or what they were merged into, ... */
    uint64_t orphans; /* ... and segments without a manifest. */
    uint64_t last_index;
    uint64_t delta_index;    /* Where the last delta ends. */
    uint64_t first_revision; /* Of the oldest full: nothing before can be restored. */
};

/* Every full is whole, every delta can be read, and begins behind the one before it: none overlaps.
 * What remains to be judged is counted. */
void archive_chain_check(struct repository *repository, const char *base,
                         const struct master_keys *keys, struct archive_chain *chain);

/* Segments without a manifest do no harm and do not stay: two days after the last full, retention
 * removes all that are before it. Gives how many are not. */
uint64_t archive_chain_stale_orphans(struct repository *repository, const char *base,
                                     const struct master_keys *keys);

#endif
