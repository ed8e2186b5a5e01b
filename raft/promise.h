/* What this node has promised: the term that it knows, and whom it gave its vote in that term.
 *
 * libraft keeps both without a checksum. If a bit of them flips, or its newer file is taken for the
 * older one, a node votes twice in a term, and two leaders are elected in it. So they are kept here
 * once more, after libraft has stored them: what it loads must not be less than that. It may be
 * more, by what a crash cut off in between.
 *
 *   DIR/promise   two places of 4096 bytes, written in turn: u64 sequence, u64 term, u64 vote, u64
 *                 checksum (XXH3-64 of the three). A place of zeros is empty.
 *
 * Waits for the disk, as libraft does for the same. The consensus thread. */
#ifndef HOLDFAST_RAFT_PROMISE_H
#define HOLDFAST_RAFT_PROMISE_H

#include <stdint.h>

#include "daemon/base/error.h"

struct promise {
    uint64_t term;
    uint64_t vote; /* 0: none given. */
};

struct promises;

/* Open, or make, the file in @directory. STATUS_CORRUPT, with what to do: neither place can be
 * read. STATUS_IO, STATUS_PERMISSION, STATUS_DISK_FULL. */
MUST_USE enum status promises_open(const char *directory, struct promises **promises,
                                   struct error *error);

/* Is @loaded at least what was promised? STATUS_CORRUPT. */
MUST_USE enum status promises_check(const struct promises *promises, const struct promise *loaded,
                                    struct error *error);

/* Keep it, durably. STATUS_IO, STATUS_DISK_FULL: what was kept before still is. */
MUST_USE enum status promises_keep(struct promises *promises, const struct promise *promise,
                                   struct error *error);

/* Accepts NULL. */
void promises_close(struct promises *promises);

#endif
