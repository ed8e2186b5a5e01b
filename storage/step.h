/* A step of execution: one log entry, or a run of log indexes that are not the state's business,
 * together with what the state was afterwards. What journal.[ch] and the archive's deltas are made
 * of: whoever has a state and the steps behind it can execute them, and see after each whether he
 * has what this node had.
 *
 *   u64 first and last log index, term, revision, cluster's time in ms, u64[2] state hash,
 *   u32 size of the entry (0: none), u32 0, the entry, u64 XXH3-64 of all that (little-endian)
 *
 * Pure. */
#ifndef HOLDFAST_STORAGE_STEP_H
#define HOLDFAST_STORAGE_STEP_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

#define STEP_OVERHEAD_BYTES 72u

struct step {
    uint64_t first_index; /* Below @index only where there is no entry. */
    uint64_t index;
    uint64_t term;
    /* Afterwards. */
    uint64_t revision;
    uint64_t time_ms;
    uint64_t hash[2];   /* txn_state_hash() */
    struct slice entry; /* Encoded (entry.h); empty: none. */
};

void step_append(struct buffer *bytes, const struct step *step);

/* Take a step off @walk; its entry is borrowed from there. STATUS_END: @walk is empty.
 * STATUS_CORRUPT: what is there is no whole step, or damaged; @walk stays. */
MUST_USE enum status step_take(struct slice *walk, struct step *step);

#endif
