/* The queue of what is due: key_due() with an empty payload. The queue of what to purge:
 * key_purge() with a payload of u8 version, u64 below_seq. */
#include "storage/expiry.h"

#include "daemon/base/wire.h"
#include "storage/keys.h"

#define PURGE_VERSION 1

enum status expiry_set(struct txn *txn, enum due_kind kind, uint64_t namespace_id,
                       struct slice name, uint64_t old_due_ms, uint64_t new_due_ms)
{
    enum status status;
    struct key key;

    if (old_due_ms == new_due_ms) {
        return STATUS_OK;
    }
    if (old_due_ms != 0) {
        key = key_due(old_due_ms, (uint8_t)kind, namespace_id, name);
        status = txn_delete(txn, key_slice(&key));
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
        }
    }
    if (new_due_ms == 0) {
        return STATUS_OK;
    }
    key = key_due(new_due_ms, (uint8_t)kind, namespace_id, name);
    return txn_put(txn, key_slice(&key), slice_of(NULL, 0));
}

/* The first record whose key begins with @kind; STATUS_END if there is none. */
static enum status first_of_kind(struct txn *txn, enum key_kind kind, struct slice *found,
                                 struct slice *payload)
{
    struct key prefix = key_prefix(kind);

    return txn_first(txn, key_slice(&prefix), found, payload);
}

enum status expiry_next(struct txn *txn, struct due *due)
{
    struct slice found;
    struct slice payload;
    struct due next;
    uint8_t kind;
    enum status status = first_of_kind(txn, KEY_DUE, &found, &payload);

    if (status != STATUS_OK) {
        return status;
    }
    if (!key_parse_due(found, &next.due_ms, &kind, &next.namespace_id, &next.name) ||
        kind < DUE_ITEM || kind > DUE_IDEMPOTENCY) {
        return STATUS_CORRUPT;
    }
    next.kind = (enum due_kind)kind;
    *due = next;
    return STATUS_OK;
}

static enum status put_purge(struct txn *txn, const struct purge *purge)
{
    struct key key = key_purge((uint8_t)purge->kind, purge->id, purge->from_seq);
    struct buffer payload = BUFFER_EMPTY;
    enum status status;

    wire_put_u8(&payload, PURGE_VERSION);
    wire_put_u64(&payload, purge->below_seq);
    status = txn_put(txn, key_slice(&key), buffer_slice(&payload));
    buffer_close(&payload);
    return status;
}

static enum status read_purge(struct slice key, struct slice payload, struct purge *purge)
{
    struct wire_reader reader = wire_reader_of(payload);
    struct purge found;
    uint8_t version = wire_get_u8(&reader);
    uint8_t kind;

    found.below_seq = wire_get_u64(&reader);
    if (version > PURGE_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    if (version != PURGE_VERSION || wire_done(&reader) != STATUS_OK ||
        !key_parse_purge(key, &kind, &found.id, &found.from_seq) || kind < PURGE_EVENTS ||
        kind > PURGE_NAMESPACE) {
        return STATUS_CORRUPT;
    }
    found.kind = (enum purge_kind)kind;
    *purge = found;
    return STATUS_OK;
}

enum status purge_add_events(struct txn *txn, uint64_t object_id, uint64_t from_seq,
                             uint64_t below_seq)
{
    struct purge purge = {
        .kind = PURGE_EVENTS, .id = object_id, .from_seq = from_seq, .below_seq = below_seq};
    struct key key = key_purge(PURGE_EVENTS, object_id, from_seq);
    struct purge old;
    struct slice payload;
    enum status status = txn_get(txn, key_slice(&key), &payload);

    if (status == STATUS_OK) {
        status = read_purge(key_slice(&key), payload, &old);
        if (status != STATUS_OK || old.below_seq >= below_seq) {
            return status;
        }
    } else if (status != STATUS_NOT_FOUND) {
        return status;
    }
    return put_purge(txn, &purge);
}

enum status purge_add_namespace(struct txn *txn, uint64_t namespace_id)
{
    struct purge purge = {.kind = PURGE_NAMESPACE, .id = namespace_id};

    return put_purge(txn, &purge);
}

enum status purge_next(struct txn *txn, struct purge *purge)
{
    struct slice found;
    struct slice payload;
    enum status status = first_of_kind(txn, KEY_PURGE, &found, &payload);

    return status == STATUS_OK ? read_purge(found, payload, purge) : status;
}

enum status purge_find_events(struct txn *txn, uint64_t object_id, uint64_t from_seq,
                              struct purge *purge)
{
    struct key key = key_purge(PURGE_EVENTS, object_id, from_seq);
    struct slice prefix = slice_of(key.data, key.size - sizeof from_seq);
    struct slice found;
    struct slice payload;
    enum status status = txn_seek(txn, key_slice(&key), prefix, &found, &payload);

    return status == STATUS_OK ? read_purge(found, payload, purge) : status;
}

enum status purge_remove(struct txn *txn, const struct purge *purge)
{
    struct key key = key_purge((uint8_t)purge->kind, purge->id, purge->from_seq);

    return txn_delete(txn, key_slice(&key));
}
