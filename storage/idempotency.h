/* What a request with an Idempotency-Key was answered, for LIMIT_IDEMPOTENCY_MS.
 *
 * Written in the same entry as the effect, so a repetition finds both or neither. The scope of a
 * key is its namespace (id 0 for requests to namespaces themselves). Statuses are those of store.h.
 */
#ifndef HOLDFAST_STORAGE_IDEMPOTENCY_H
#define HOLDFAST_STORAGE_IDEMPOTENCY_H

#include "storage/execution.h"

struct idempotency_record {
    uint64_t request_hash[2];
    uint64_t expires_at_ms;
    struct slice result; /* Encoded, as it was given; borrowed from the transaction. */
};

/* STATUS_NOT_FOUND: none, or it has expired at @now_ms. */
MUST_USE enum status idempotency_find(struct txn *txn, uint64_t namespace_id, struct slice key,
                                      uint64_t now_ms, struct idempotency_record *record);

/* Keep @result, encoded, under the key of @command. */
MUST_USE enum status idempotency_keep(struct execution *execution, const struct command *command,
                                      struct slice result);

/* The record has served its day. */
MUST_USE enum status idempotency_expire(struct execution *execution, uint64_t namespace_id,
                                        struct slice key);

#endif
