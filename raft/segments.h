/* Are the files of this node's Raft log what libraft wrote? Asked before libraft opens them.
 *
 * libraft cuts a segment that is still open at its first bad batch, whatever follows, and goes on
 * with the next one, so that damage in the middle would silently become a shorter log: entries that
 * this node acknowledged would be gone. Here, only what a crash explains is let through: a batch
 * torn at the very end of what was written, with nothing valid behind it.
 *
 * The layout is that of libraft 0.22 (raft/uv.h): closed segments FIRST-LAST, open ones open-N,
 * each a u64 format (1) and batches: u32 checksum of the header, u32 of the data, the header (u64
 * number of entries; per entry u64 term, u8 type, u32 size in the last 4 of 8 bytes), the data.
 * Any thread. */
#ifndef HOLDFAST_RAFT_SEGMENTS_H
#define HOLDFAST_RAFT_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/slice.h"

struct segments_summary {
    uint64_t first_index; /* Of the entries on disk; 0: there are none. */
    uint64_t last_index;  /* Of entries or snapshot, whichever is higher; 0: an empty log. */
    uint64_t last_term;   /* Of the last entry on disk; 0: there are none. */
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    bool torn; /* A batch at the end was not written completely. */
};

/* Check all segments in @directory. @stored is the highest index that the state knows to have been
 * in this log. STATUS_CORRUPT with file, offset and what to do; STATUS_MISMATCH: the log ends
 * before
 * @stored; STATUS_UNSUPPORTED: a format of a later libraft; STATUS_IO, STATUS_PERMISSION. */
MUST_USE enum status segments_check(const char *directory, uint64_t stored,
                                    struct segments_summary *summary, struct error *error);

/* Remove segments that were prepared (preallocation.h) and never written, after segments_check() and while libraft
 * does not use the directory: it would read them to the end, 64 MiB each, only to do the same.
 * What cannot be removed is left to it. */
void segments_drop_unused(const char *directory);

/* An entry of the log, borrowed during the call; of @type 1 (commands), 2 (a barrier) or 3 (a
 * configuration). Anything but STATUS_OK ends the reading with that. */
typedef enum status (*segments_entry_cb)(void *data, uint64_t index, uint64_t term, uint8_t type,
                                         struct slice bytes, struct error *error);

/* Check as above, and give all entries behind index @after, in order: each batch when it was found
 * undamaged, so what comes later may still be damaged. Entries that are missing between @after and
 * the first one are for the caller to see. */
MUST_USE enum status segments_read(const char *directory, uint64_t after, segments_entry_cb cb,
                                   void *data, struct segments_summary *summary,
                                   struct error *error);

/* The term that the node was in, by libraft's metadata; 0: none is stored. STATUS_CORRUPT: neither
 * of the two files can be read. */
MUST_USE enum status segments_term(const char *directory, uint64_t *term, struct error *error);

/* CRC-32 with polynomial 04C11DB7, most significant bit first, as libraft computes it. */
uint32_t segments_checksum(const void *data, size_t size, uint32_t start);

#endif
