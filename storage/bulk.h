/* Filling a new environment with records that come in the order of their keys, in steps that are
 * durable, so that it can go on after a crash. Until bulk_finish(), store_open() calls what is in
 * the directory damaged; afterwards it is a store like any other.
 *
 * One thread. */
#ifndef HOLDFAST_STORAGE_BULK_H
#define HOLDFAST_STORAGE_BULK_H

#include "daemon/base/buffer.h"
#include "storage/store.h"

struct bulk;

/* Make @directory if it is missing, or go on with what an earlier one left there: @note is then
 * what it gave to the last bulk_keep(), and empty at the start. STATUS_EXISTS: it holds a whole
 * store. STATUS_BUSY, STATUS_IO, STATUS_DISK_FULL, STATUS_CORRUPT. */
MUST_USE enum status bulk_open(const char *directory, uint64_t map_size_bytes, struct bulk **bulk,
                               struct buffer *note, struct error *error);

/* Records with keys above all that are there. STATUS_INVALID: the key is not. */
MUST_USE enum status bulk_put(struct bulk *bulk, struct slice key, struct slice payload,
                              struct error *error);

/* Bytes that were put since the last bulk_keep(): they are in memory. */
size_t bulk_unkept_bytes(const struct bulk *bulk);

/* Make all that was put durable, together with @note, which bulk_open() gives back. */
MUST_USE enum status bulk_keep(struct bulk *bulk, struct slice note, struct error *error);

/* The same, and end it: a store whose facts are @state. */
MUST_USE enum status bulk_finish(struct bulk *bulk, const struct state *state, struct error *error);

/* What was not kept is gone. Accepts NULL. */
void bulk_close(struct bulk *bulk);

#endif
