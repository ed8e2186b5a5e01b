/* New segments of the log are filled with zeros before libraft writes to them.
 *
 * libraft allocates a segment with posix_fallocate(). Of what is only allocated, a file system
 * notes with each first write that it holds data now, and a durable write waits for that note as
 * well: on ext4 for a commit of its journal, which all writers to the disk share. Filled
 * beforehand, a write waits for its data alone. PostgreSQL does the same with its log
 * (wal_init_zero). Each byte of log is written twice for it: for nothing on a file system that
 * copies what is overwritten (btrfs, ZFS).
 *
 * libraft has no setting for it. So this module defines posix_fallocate() in the program, which the
 * dynamic linker prefers to the C library's: it calls that one, and fills what it has allocated. */
#ifndef HOLDFAST_RAFT_PREALLOCATION_H
#define HOLDFAST_RAFT_PREALLOCATION_H

#include <stddef.h>

/* From now on, fill the files of @size bytes that posix_fallocate() makes out of empty ones: of the
 * first @n_first, @first_bytes (a multiple of 1 MiB) each, and all of the others. Before libraft
 * opens its directory. */
void preallocation_fill(size_t size, unsigned n_first, size_t first_bytes);

#endif
