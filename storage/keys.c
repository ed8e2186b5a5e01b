#include "storage/keys.h"

#include <endian.h>

#include "daemon/base/check.h"

#define ID_BYTES sizeof(uint64_t)

_Static_assert(1 + ID_BYTES + 1 + ID_BYTES + LIMIT_ITEM_KEY_BYTES <= LIMIT_STATE_KEY_BYTES,
               "the key of a due item is the longest one and must fit into LMDB's");
_Static_assert(LIMIT_ID_BYTES <= LIMIT_ITEM_KEY_BYTES &&
                   LIMIT_IDEMPOTENCY_KEY_BYTES <= LIMIT_ITEM_KEY_BYTES &&
                   LIMIT_NAMESPACE_BYTES <= LIMIT_ITEM_KEY_BYTES,
               "no name is longer than an item's key");
_Static_assert(1 + ID_BYTES + 1 + LIMIT_ID_BYTES + 1 + 2 * ID_BYTES <= LIMIT_STATE_KEY_BYTES,
               "the keys of the session indexes fit");

/* --- Building --- */

static void put_u8(struct key *key, uint8_t value)
{
    CHECK(key->size < sizeof key->data);
    key->data[key->size++] = value;
}

static void put_u64(struct key *key, uint64_t value)
{
    CHECK(sizeof key->data - key->size >= sizeof value);
    value = htobe64(value);
    memcpy(key->data + key->size, &value, sizeof value);
    key->size += sizeof value;
}

static void put_bytes(struct key *key, struct slice bytes)
{
    CHECK(sizeof key->data - key->size >= bytes.size);
    if (bytes.size > 0) {
        memcpy(key->data + key->size, bytes.data, bytes.size);
        key->size += bytes.size;
    }
}

static void begin(struct key *key, enum key_kind kind)
{
    key->size = 0;
    put_u8(key, (uint8_t)kind);
}

struct key key_prefix(enum key_kind kind)
{
    struct key key;

    begin(&key, kind);
    return key;
}

struct key key_prefix_of_id(enum key_kind kind, uint64_t id)
{
    struct key key;

    begin(&key, kind);
    put_u64(&key, id);
    return key;
}

static struct key key_of_id_name(enum key_kind kind, uint64_t id, struct slice name)
{
    struct key key;

    begin(&key, kind);
    put_u64(&key, id);
    put_bytes(&key, name);
    return key;
}

struct key key_header(void)
{
    return key_prefix(KEY_HEADER);
}

struct key key_namespace(struct slice name)
{
    struct key key;

    begin(&key, KEY_NAMESPACE);
    put_bytes(&key, name);
    return key;
}

struct key key_namespace_id(uint64_t namespace_id)
{
    return key_prefix_of_id(KEY_NAMESPACE_ID, namespace_id);
}

struct key key_counters(uint64_t namespace_id)
{
    return key_prefix_of_id(KEY_COUNTERS, namespace_id);
}

struct key key_session(uint64_t namespace_id, struct slice session_id)
{
    return key_of_id_name(KEY_SESSION, namespace_id, session_id);
}

struct key key_session_index_prefix(uint64_t namespace_id, enum index_attribute attribute,
                                    enum index_sort sort, struct slice value)
{
    struct key key;

    CHECK(value.size == 0 || memchr(value.data, 0, value.size) == NULL);
    begin(&key, KEY_SESSION_INDEX);
    put_u64(&key, namespace_id);
    put_u8(&key, (uint8_t)((unsigned)attribute * INDEX_SORTS + (unsigned)sort));
    put_bytes(&key, value);
    put_u8(&key, 0);
    return key;
}

struct key key_session_index(const struct session_index *index)
{
    struct key key =
        key_session_index_prefix(index->namespace_id, index->attribute, index->sort, index->value);

    put_u64(&key, index->revision);
    put_u64(&key, index->object_id);
    return key;
}

struct key key_tombstone(uint64_t namespace_id, struct slice session_id)
{
    return key_of_id_name(KEY_TOMBSTONE, namespace_id, session_id);
}

struct key key_session_state(uint64_t object_id)
{
    return key_prefix_of_id(KEY_SESSION_STATE, object_id);
}

struct key key_event(uint64_t object_id, uint64_t seq)
{
    struct key key = key_prefix_of_id(KEY_EVENT, object_id);

    put_u64(&key, seq);
    return key;
}

struct key key_event_id(uint64_t object_id, struct slice event_id)
{
    return key_of_id_name(KEY_EVENT_ID, object_id, event_id);
}

struct key key_item(uint64_t namespace_id, struct slice item_key)
{
    return key_of_id_name(KEY_ITEM, namespace_id, item_key);
}

struct key key_idempotency(uint64_t namespace_id, struct slice idempotency_key)
{
    return key_of_id_name(KEY_IDEMPOTENCY, namespace_id, idempotency_key);
}

struct key key_change(uint64_t revision)
{
    return key_prefix_of_id(KEY_CHANGE, revision);
}

struct key key_due(uint64_t due_ms, uint8_t due_kind, uint64_t namespace_id, struct slice name)
{
    struct key key = key_prefix_of_id(KEY_DUE, due_ms);

    put_u8(&key, due_kind);
    put_u64(&key, namespace_id);
    put_bytes(&key, name);
    return key;
}

struct key key_purge(uint8_t purge_kind, uint64_t id, uint64_t from_seq)
{
    struct key key;

    begin(&key, KEY_PURGE);
    put_u8(&key, purge_kind);
    put_u64(&key, id);
    put_u64(&key, from_seq);
    return key;
}

struct key key_member(uint64_t member_id)
{
    return key_prefix_of_id(KEY_MEMBER, member_id);
}

struct key key_removed_member(uint64_t member_id)
{
    return key_prefix_of_id(KEY_REMOVED_MEMBER, member_id);
}

struct key key_behind_prefix(const struct key *prefix)
{
    struct key key;

    key.size = 0;
    put_bytes(&key, key_slice(prefix));
    while (key.size > 0 && key.data[key.size - 1] == UINT8_MAX) {
        key.size--;
    }
    CHECK(key.size > 0); /* No kind is 255. */
    key.data[key.size - 1]++;
    return key;
}

/* --- Parsing --- */

static bool get_u8(struct slice *rest, uint8_t *value)
{
    if (rest->size < 1) {
        return false;
    }
    *value = rest->data[0];
    *rest = slice_from(*rest, 1);
    return true;
}

static bool get_u64(struct slice *rest, uint64_t *value)
{
    uint64_t big_endian;

    if (rest->size < sizeof big_endian) {
        return false;
    }
    memcpy(&big_endian, rest->data, sizeof big_endian);
    *value = be64toh(big_endian);
    *rest = slice_from(*rest, sizeof big_endian);
    return true;
}

static bool get_kind(struct slice *rest, enum key_kind kind)
{
    uint8_t found;

    return get_u8(rest, &found) && found == (uint8_t)kind;
}

bool key_parse_name(struct slice bytes, enum key_kind kind, struct slice *name)
{
    if (!get_kind(&bytes, kind)) {
        return false;
    }
    *name = bytes;
    return true;
}

bool key_parse_id(struct slice bytes, enum key_kind kind, uint64_t *id)
{
    return get_kind(&bytes, kind) && get_u64(&bytes, id) && bytes.size == 0;
}

bool key_parse_id_name(struct slice bytes, enum key_kind kind, uint64_t *id, struct slice *name)
{
    if (!get_kind(&bytes, kind) || !get_u64(&bytes, id)) {
        return false;
    }
    *name = bytes;
    return true;
}

bool key_parse_event(struct slice bytes, uint64_t *object_id, uint64_t *seq)
{
    return get_kind(&bytes, KEY_EVENT) && get_u64(&bytes, object_id) && get_u64(&bytes, seq) &&
           bytes.size == 0;
}

bool key_parse_session_index(struct slice bytes, struct session_index *index)
{
    const size_t tail = 1 + 2 * ID_BYTES;
    uint8_t which;

    if (!get_kind(&bytes, KEY_SESSION_INDEX) || !get_u64(&bytes, &index->namespace_id) ||
        !get_u8(&bytes, &which) || which >= (unsigned)INDEX_ATTRIBUTES * INDEX_SORTS ||
        bytes.size < tail) {
        return false;
    }
    index->attribute = (enum index_attribute)(which / INDEX_SORTS);
    index->sort = (enum index_sort)(which % INDEX_SORTS);
    index->value = slice_of(bytes.data, bytes.size - tail);
    if (memchr(bytes.data, 0, index->value.size + 1) != bytes.data + index->value.size) {
        return false;
    }
    bytes = slice_from(bytes, index->value.size + 1);
    return get_u64(&bytes, &index->revision) && get_u64(&bytes, &index->object_id);
}

bool key_parse_due(struct slice bytes, uint64_t *due_ms, uint8_t *due_kind, uint64_t *namespace_id,
                   struct slice *name)
{
    if (!get_kind(&bytes, KEY_DUE) || !get_u64(&bytes, due_ms) || !get_u8(&bytes, due_kind) ||
        !get_u64(&bytes, namespace_id)) {
        return false;
    }
    *name = bytes;
    return true;
}

bool key_parse_purge(struct slice bytes, uint8_t *purge_kind, uint64_t *id, uint64_t *from_seq)
{
    return get_kind(&bytes, KEY_PURGE) && get_u8(&bytes, purge_kind) && get_u64(&bytes, id) &&
           get_u64(&bytes, from_seq) && bytes.size == 0;
}
