/* Feature levels: what all programs of a cluster can execute, so that nodes can be upgraded one by
 * one while the cluster goes on.
 *
 * Each program knows the features up to some level, and says so to the others. The cluster's level,
 * a record of the state, is the lowest of these: it rises by a command (OPERATION_FEATURE_RAISE)
 * when all members are there and know more, and never falls. Each log entry carries the level that
 * it needs, and a node whose program does not know it stops before executing anything of it.
 *
 * A change to what a command does, or a new command, needs a new level here, and is executed only
 * if the state's level allows it: the old nodes and the new ones must execute an entry to the same
 * state.
 *
 * level 1   all that there was at first */
#ifndef HOLDFAST_STORAGE_FEATURE_H
#define HOLDFAST_STORAGE_FEATURE_H

#include "storage/store.h"

/* What this program knows. */
#ifndef FEATURE_LEVEL
#define FEATURE_LEVEL 1
#endif

/* Of a new cluster, until all have said what they know. */
#define FEATURE_LEVEL_FIRST 1

/* The cluster's level, in the record that also holds the state's format (key_header()).
 * STATUS_NOT_FOUND: nothing was executed yet, and it is the first. STATUS_UNSUPPORTED: the state
 * has a later format. */
MUST_USE enum status feature_level_decode(struct slice record, unsigned *level);
MUST_USE enum status feature_level_read(struct txn *txn, unsigned *level);
MUST_USE enum status feature_level_write(struct txn *txn, unsigned level);

#endif
