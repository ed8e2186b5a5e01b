/* The check of libraft's snapshot files before it opens them: it says of a damaged one at best that
 * reading failed, as if another try could help.
 *
 * A snapshot is two files, snapshot-TERM-INDEX-TIME.meta and the same without ".meta". The first
 * holds, in numbers of 8 bytes, little-endian: the format (1), the CRC-32 of what follows, the
 * index of the configuration and its size; then the configuration. The second is what the seam
 * made, and checks. (libraft 0.22, src/uv_snapshot.c.)
 *
 * Waits for the disk. One thread at a time. */
#ifndef HOLDFAST_RAFT_POINTERS_H
#define HOLDFAST_RAFT_POINTERS_H

#include "daemon/base/error.h"
#include "daemon/base/slice.h"

/* Check the snapshot in @directory that libraft would load, if there is one. STATUS_CORRUPT, with
 * the file and what to do; STATUS_UNSUPPORTED: of a later libraft; STATUS_IO, STATUS_PERMISSION. */
MUST_USE enum status pointers_check(const char *directory, struct error *error);

/* Is this what a .meta file may hold? Pure. STATUS_CORRUPT, STATUS_UNSUPPORTED, with why. */
MUST_USE enum status pointers_check_meta(struct slice bytes, struct error *error);

#endif
