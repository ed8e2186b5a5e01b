#include "storage/change.h"

#include "daemon/base/limits.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/keys.h"

#define CHANGE_VERSION 1
#define TRIM_DELAY_MS  10000u

void execution_note_change(struct execution *execution, enum change_resource resource,
                           enum change_action action, struct slice name, struct slice agent_id,
                           struct slice user_id)
{
    struct buffer *changes = &execution->changes;

    wire_put_u8(changes, (uint8_t)resource);
    wire_put_u8(changes, (uint8_t)action);
    wire_put_u64(changes, execution->ns.id);
    wire_put_bytes(changes, name);
    wire_put_bytes(changes, agent_id);
    wire_put_bytes(changes, user_id);
    execution->n_changes++;
    execution->took_revision = !MUTATION(revision_not_taken);
}

static enum status decode_set(struct slice key, struct slice payload, struct change_set *set)
{
    struct wire_reader reader = wire_reader_of(payload);
    struct change_set decoded;
    struct change change;
    struct slice walk;
    uint8_t version = wire_get_u8(&reader);
    uint32_t n = 0;

    if (version > CHANGE_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    decoded.time_ms = wire_get_u64(&reader);
    decoded.n_changes = wire_get_u32(&reader);
    decoded.changes = reader.rest;
    if (version != CHANGE_VERSION || reader.failed ||
        !key_parse_id(key, KEY_CHANGE, &decoded.revision)) {
        return STATUS_CORRUPT;
    }
    walk = decoded.changes;
    while (change_next(&walk, &change)) {
        n++;
    }
    if (walk.size > 0 || n != decoded.n_changes) {
        return STATUS_CORRUPT;
    }
    *set = decoded;
    return STATUS_OK;
}

bool change_next(struct slice *walk, struct change *change)
{
    struct wire_reader reader = wire_reader_of(*walk);
    uint8_t resource = wire_get_u8(&reader);
    uint8_t action = wire_get_u8(&reader);
    struct change next = {.namespace_id = wire_get_u64(&reader)};

    next.name = wire_get_bytes(&reader);
    next.agent_id = wire_get_bytes(&reader);
    next.user_id = wire_get_bytes(&reader);
    if (reader.failed || resource > RESOURCE_NAMESPACE || action > CHANGE_TRIM) {
        return false;
    }
    next.resource = (enum change_resource)resource;
    next.action = (enum change_action)action;
    *change = next;
    *walk = reader.rest;
    return true;
}

enum status change_append(struct execution *execution)
{
    struct buffer *record = &execution->scratch;
    struct key key = key_change(execution->revision);
    enum status status;

    buffer_clear(record);
    wire_put_u8(record, CHANGE_VERSION);
    wire_put_u64(record, execution->now_ms);
    wire_put_u32(record, execution->n_changes);
    buffer_append_slice(record, buffer_slice(&execution->changes));
    status = txn_put(execution->txn, key_slice(&key), buffer_slice(record));
    if (status != STATUS_OK || execution->revision <= LIMIT_CHANGES) {
        return status;
    }
    key = key_change(execution->revision - LIMIT_CHANGES);
    status = txn_delete(execution->txn, key_slice(&key));
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status change_read(struct txn *txn, uint64_t revision, struct change_set *set)
{
    struct key key = key_change(revision);
    struct slice payload;
    enum status status = txn_get(txn, key_slice(&key), &payload);

    return status == STATUS_OK ? decode_set(key_slice(&key), payload, set) : status;
}

enum status change_oldest(struct txn *txn, struct change_set *set)
{
    struct key prefix = key_prefix(KEY_CHANGE);
    struct slice payload;
    struct slice found;
    enum status status = txn_first(txn, key_slice(&prefix), &found, &payload);

    return status == STATUS_OK ? decode_set(found, payload, set) : status;
}

uint64_t change_due_ms(uint64_t time_ms)
{
    return time_ms + LIMIT_CHANGES_MS + TRIM_DELAY_MS;
}

enum status change_trim(struct txn *txn, uint64_t now_ms, uint32_t *budget)
{
    struct change_set oldest;
    struct key key;
    enum status status;

    while (*budget > 0) {
        status = change_oldest(txn, &oldest);
        if (status != STATUS_OK || oldest.time_ms + LIMIT_CHANGES_MS > now_ms) {
            return status == STATUS_END ? STATUS_OK : status;
        }
        key = key_change(oldest.revision);
        status = txn_delete(txn, key_slice(&key));
        if (status != STATUS_OK) {
            return status;
        }
        *budget -= 1;
    }
    return STATUS_OK;
}
