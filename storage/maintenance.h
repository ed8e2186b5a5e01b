/* When there is something to expire or to purge; maintain_execute() in execution.h does it. */
#ifndef HOLDFAST_STORAGE_MAINTENANCE_H
#define HOLDFAST_STORAGE_MAINTENANCE_H

#include "storage/store.h"

/* In milliseconds of the cluster's time: 0 at once, UINT64_MAX never. */
MUST_USE enum status maintenance_next_due(struct txn *txn, uint64_t *due_ms);

#endif
