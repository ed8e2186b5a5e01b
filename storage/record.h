/* The envelope of a record on disk: what is read back is what was written under this key, or it is
 * known to be damaged. Pure, any thread.
 *
 *   u8 version, u64 checksum (little-endian), payload
 *
 * The checksum is the XXH3-64 of version and payload; its seed is the XXH3-64 of the key, so that a
 * record that turns up under another key fails too. */
#ifndef HOLDFAST_STORAGE_RECORD_H
#define HOLDFAST_STORAGE_RECORD_H

#include "daemon/base/error.h"
#include "daemon/base/slice.h"

#define RECORD_VERSION      1
#define RECORD_HEADER_BYTES 9

/* Write the envelope and a copy of @payload to @place: RECORD_HEADER_BYTES + payload.size bytes. */
void record_seal(struct slice key, struct slice payload, uint8_t *place);

/* Check @bytes, found under @key, and borrow the payload from them. STATUS_CORRUPT: damaged.
 * STATUS_UNSUPPORTED: intact, and of a later format. */
MUST_USE enum status record_open(struct slice key, struct slice bytes, struct slice *payload);

/* Add the record to, or take it from, a sum over all records: 128 bits in two halves, each with
 * the carry of the lower one. The order of records does not matter. */
void record_hash_add(uint64_t sum[2], struct slice key, struct slice payload);
void record_hash_subtract(uint64_t sum[2], struct slice key, struct slice payload);

#endif
