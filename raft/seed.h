/* A log that begins behind a state which is there already: for a cluster of one node that is made
 * of an image, or of what a lost cluster left. Offline; waits for the disk. */
#ifndef HOLDFAST_RAFT_SEED_H
#define HOLDFAST_RAFT_SEED_H

#include <stdint.h>

#include "daemon/base/error.h"

struct seed {
    const char *directory; /* Made; what is in it is removed. */
    const char *cluster_id;
    uint64_t self;  /* The only member, a voter. */
    uint64_t index; /* The state is durable through it. */
    uint64_t term;
};

/* STATUS_IO, STATUS_DISK_FULL, STATUS_PERMISSION. What is in the directory then is of no use. */
MUST_USE enum status seed_log(const struct seed *seed, struct error *error);

#endif
