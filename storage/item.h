/* Items: a key and a JSON or binary value, with a revision and perhaps a time to live.
 *
 * item_execute() and item_expire() are declared in execution.h. An item that has expired is absent
 * for everything, although its record and its place in the counters remain until it is purged or
 * written over. */
#ifndef HOLDFAST_STORAGE_ITEM_H
#define HOLDFAST_STORAGE_ITEM_H

#include "storage/execution.h"

/* The record of the item, expired or not; borrows from @txn. STATUS_NOT_FOUND. */
MUST_USE enum status item_read(struct txn *txn, uint64_t namespace_id, struct slice key,
                               struct item_row *row);

/* Take the record out of the state and out of the queue of what is due; notes and counts nothing.
 */
MUST_USE enum status item_remove(struct txn *txn, uint64_t namespace_id,
                                 const struct item_row *row);

#endif
