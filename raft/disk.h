/* The log on this node's disk: a raft_io of libraft's own, over libuv, set up as we need it.
 *
 * Checks the files and the machine first, as libraft would go on with a damaged log. The consensus
 * thread alone uses it, on whose loop it writes. */
#ifndef HOLDFAST_RAFT_DISK_H
#define HOLDFAST_RAFT_DISK_H

#include <stdint.h>
#include <uv.h>

#include "daemon/base/error.h"

struct disk;
struct raft_io;
struct raft_uv_transport;

struct disk_options {
    const char *directory; /* Exists. */
    uv_loop_t *loop;
    struct raft_uv_transport *transport; /* Outlives the disk. */
    uint64_t state_stored;               /* storage/machine.h */
    void *data;
    /* A write to the log failed, and libraft would try again on top of it: the process must stop.
     * Called from the loop. */
    void (*on_failure)(void *data, const struct error *error);
};

/* STATUS_CORRUPT, STATUS_MISMATCH: the log is damaged or was lost, with what to do.
 * STATUS_UNSUPPORTED, STATUS_PERMISSION, STATUS_IO: with what is wrong. */
MUST_USE enum status disk_open(const struct disk_options *options, struct disk **disk,
                               struct error *error);

/* For seam_open(), which wraps it. */
struct raft_io *disk_io(struct disk *disk);

/* The loop must be at its end: libraft is not closed but left, with the process. Accepts NULL. */
void disk_abandon(struct disk *disk);

/* Release a disk that was never given to seam_open(). */
void disk_close(struct disk *disk);

#endif
