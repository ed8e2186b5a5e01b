/* Making the state of one cluster the beginning of another: after a restore, or when a majority is
 * lost for good. One thread, while nobody else has the store. */
#ifndef HOLDFAST_STORAGE_REBASE_H
#define HOLDFAST_STORAGE_REBASE_H

#include "storage/store.h"

#define REBASE_CLUSTER_BYTES 36 /* A UUID as text. */

/* Revisions go on so far above the last one: the old cluster may have given out some that this
 * state does not know, and no tag that a client holds of those may ever fit something else. */
#define REBASE_REVISIONS (1ull << 32)

/* Make it the state of the new cluster @cluster_id at @index of @term, with an empty tables of
 * members and no changes to watch from (watchers list again). All at once and durably; what was
 * committed before and not flushed becomes durable with it. @index is above what was executed.
 * STATUS_IO, STATUS_DISK_FULL, STATUS_CORRUPT. */
MUST_USE enum status rebase(struct store *store, const char *cluster_id, uint64_t index,
                            uint64_t term, struct error *error);

/* The cluster that it was made the state of; "" if it never was. */
MUST_USE enum status rebase_cluster_id(struct store *store,
                                       char cluster_id[REBASE_CLUSTER_BYTES + 1],
                                       struct error *error);

#endif
