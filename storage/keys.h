/* Every key of the tree "state", built and parsed in this one place.
 *
 * A key is one byte for its kind and then fields that sort as they mean: numbers are big-endian, a
 * byte string is last, or ends with a zero byte that it cannot contain. Building fails only by our
 * own mistake (a string beyond limits.h); parsing takes any bytes. Pure, any thread. */
#ifndef HOLDFAST_STORAGE_KEYS_H
#define HOLDFAST_STORAGE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/limits.h"
#include "daemon/base/slice.h"

/* The first byte. These numbers are on disk: never change or reuse one. */
enum key_kind {
    KEY_HEADER = 1,          /* The format of the state, and the cluster's feature level. */
    KEY_NAMESPACE = 2,       /* name -> namespace_row */
    KEY_NAMESPACE_ID = 3,    /* namespace id -> name */
    KEY_COUNTERS = 4,        /* namespace id -> namespace_counters */
    KEY_SESSION = 5,         /* namespace id, session id -> session_row */
    KEY_SESSION_INDEX = 6,   /* see key_session_index() */
    KEY_TOMBSTONE = 7,       /* namespace id, session id: deleted less than a day ago */
    KEY_EVENT = 8,           /* object id of the session, seq -> event_row */
    KEY_EVENT_ID = 9,        /* object id of the session, event id */
    KEY_ITEM = 10,           /* namespace id, key -> item_row */
    KEY_IDEMPOTENCY = 11,    /* namespace id, key -> see idempotency.h */
    KEY_CHANGE = 12,         /* revision -> see change.h */
    KEY_DUE = 13,            /* see expiry.h */
    KEY_PURGE = 14,          /* see expiry.h */
    KEY_MEMBER = 15,         /* member id -> member_row */
    KEY_SESSION_STATE = 16,  /* object id of the session -> its state, if it is more than "{}" */
    KEY_REMOVED_MEMBER = 17, /* member id -> removed_member_row */
};

struct key {
    uint8_t data[LIMIT_STATE_KEY_BYTES];
    size_t size;
};

static inline struct slice key_slice(const struct key *key)
{
    return slice_of(key->data, key->size);
}

/* What a session is found by, and in which order. */
enum index_attribute { INDEX_NONE, INDEX_AGENT, INDEX_USER, INDEX_STATUS, INDEX_ATTRIBUTES };
enum index_sort { INDEX_CREATED, INDEX_UPDATED, INDEX_SORTS };

struct session_index {
    uint64_t namespace_id;
    enum index_attribute attribute;
    enum index_sort sort;
    struct slice value; /* Without NUL; empty with INDEX_NONE. */
    uint64_t revision;  /* Sorts first. */
    uint64_t object_id;
};

struct key key_header(void);
struct key key_namespace(struct slice name);
struct key key_namespace_id(uint64_t namespace_id);
struct key key_counters(uint64_t namespace_id);
struct key key_session(uint64_t namespace_id, struct slice session_id);
struct key key_session_index(const struct session_index *index);
struct key key_tombstone(uint64_t namespace_id, struct slice session_id);
struct key key_session_state(uint64_t object_id);
struct key key_event(uint64_t object_id, uint64_t seq);
struct key key_event_id(uint64_t object_id, struct slice event_id);
struct key key_item(uint64_t namespace_id, struct slice item_key);
struct key key_idempotency(uint64_t namespace_id, struct slice idempotency_key);
struct key key_change(uint64_t revision);
struct key key_due(uint64_t due_ms, uint8_t due_kind, uint64_t namespace_id, struct slice name);
struct key key_purge(uint8_t purge_kind, uint64_t id, uint64_t from_seq);
struct key key_member(uint64_t member_id);
struct key key_removed_member(uint64_t member_id);

/* What all keys of a kind begin with; of one id (namespace or object) under it; and of one value of
 * an index. An item prefix is key_item() itself. */
struct key key_prefix(enum key_kind kind);
struct key key_prefix_of_id(enum key_kind kind, uint64_t id);
struct key key_session_index_prefix(uint64_t namespace_id, enum index_attribute attribute,
                                    enum index_sort sort, struct slice value);

/* The first key behind all that begin with @prefix, for cursor_seek_before(). */
struct key key_behind_prefix(const struct key *prefix);

/* Read a key that was found; false if it is not one of this kind. Slices borrow from @bytes. */
bool key_parse_name(struct slice bytes, enum key_kind kind, struct slice *name);
bool key_parse_id(struct slice bytes, enum key_kind kind, uint64_t *id);
bool key_parse_id_name(struct slice bytes, enum key_kind kind, uint64_t *id, struct slice *name);
bool key_parse_event(struct slice bytes, uint64_t *object_id, uint64_t *seq);
bool key_parse_session_index(struct slice bytes, struct session_index *index);
bool key_parse_due(struct slice bytes, uint64_t *due_ms, uint8_t *due_kind, uint64_t *namespace_id,
                   struct slice *name);
bool key_parse_purge(struct slice bytes, uint8_t *purge_kind, uint64_t *id, uint64_t *from_seq);

#endif
