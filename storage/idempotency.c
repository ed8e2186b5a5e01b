/*   record   u8 version, u64 and u64 request hash, u64 expires_at_ms, bytes result */
#include "storage/idempotency.h"

#include "daemon/base/limits.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/expiry.h"
#include "storage/keys.h"

#define IDEMPOTENCY_VERSION 1

/* As stored, expired or not. */
static enum status read_record(struct txn *txn, const struct key *key,
                               struct idempotency_record *record)
{
    struct idempotency_record found;
    struct wire_reader reader;
    struct slice payload;
    uint8_t version;
    enum status status = txn_get(txn, key_slice(key), &payload);

    if (status != STATUS_OK) {
        return status;
    }
    reader = wire_reader_of(payload);
    version = wire_get_u8(&reader);
    if (version > IDEMPOTENCY_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    found.request_hash[0] = wire_get_u64(&reader);
    found.request_hash[1] = wire_get_u64(&reader);
    found.expires_at_ms = wire_get_u64(&reader);
    found.result = wire_get_bytes(&reader);
    if (version != IDEMPOTENCY_VERSION || wire_done(&reader) != STATUS_OK) {
        return STATUS_CORRUPT;
    }
    *record = found;
    return STATUS_OK;
}

enum status idempotency_find(struct txn *txn, uint64_t namespace_id, struct slice key,
                             uint64_t now_ms, struct idempotency_record *record)
{
    struct key place = key_idempotency(namespace_id, key);
    struct idempotency_record found;
    enum status status = read_record(txn, &place, &found);

    if (status == STATUS_OK &&
        (expiry_has_passed(found.expires_at_ms, now_ms) || MUTATION(keys_forgotten))) {
        return STATUS_NOT_FOUND;
    }
    if (status == STATUS_OK) {
        *record = found;
    }
    return status;
}

enum status idempotency_keep(struct execution *execution, const struct command *command,
                             struct slice result)
{
    struct slice name = command->idempotency_key;
    struct key place = key_idempotency(execution->ns.id, name);
    uint64_t expires_at_ms =
        execution->now_ms + LIMIT_IDEMPOTENCY_MS +
        (MUTATION(record_depends_on_node) ? (uintptr_t)execution >> 12 & 7 : 0);
    struct buffer *payload = &execution->scratch;
    struct idempotency_record old;
    enum status status = read_record(execution->txn, &place, &old);

    if (status == STATUS_NOT_FOUND) {
        old.expires_at_ms = 0;
    } else if (status != STATUS_OK) {
        return status;
    }
    status = expiry_set(execution->txn, DUE_IDEMPOTENCY, execution->ns.id, name, old.expires_at_ms,
                        expires_at_ms);
    if (status != STATUS_OK) {
        return status;
    }
    buffer_clear(payload);
    wire_put_u8(payload, IDEMPOTENCY_VERSION);
    wire_put_u64(payload, command->request_hash[0]);
    wire_put_u64(payload, command->request_hash[1]);
    wire_put_u64(payload, expires_at_ms);
    wire_put_bytes(payload, result);
    return txn_put(execution->txn, key_slice(&place), buffer_slice(payload));
}

enum status idempotency_expire(struct execution *execution, uint64_t namespace_id, struct slice key)
{
    struct key place = key_idempotency(namespace_id, key);
    struct idempotency_record record;
    enum status status = read_record(execution->txn, &place, &record);

    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status != STATUS_OK || !expiry_has_passed(record.expires_at_ms, execution->now_ms)) {
        return status;
    }
    status = txn_delete(execution->txn, key_slice(&place));
    if (status != STATUS_OK) {
        return status;
    }
    return expiry_set(execution->txn, DUE_IDEMPOTENCY, namespace_id, key, record.expires_at_ms, 0);
}
