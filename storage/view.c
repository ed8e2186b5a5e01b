#include "storage/view.h"

#include "daemon/base/limits.h"
#include "storage/expiry.h"
#include "storage/feature.h"
#include "storage/idempotency.h"
#include "storage/item.h"
#include "storage/keys.h"

enum status view_begin(struct store *store, struct view *view, struct error *error)
{
    enum status status = txn_begin_read(store, &view->txn, error);

    if (status == STATUS_OK) {
        view->state = txn_state(view->txn);
    }
    return status;
}

void view_end(struct view *view)
{
    txn_end_read(view->txn);
    view->state = NULL;
}

void view_close(struct view *view)
{
    txn_reader_close(view->txn);
    view->txn = NULL;
    view->state = NULL;
}

/* --- Single records --- */

enum status view_namespace(struct view *view, struct slice name, struct namespace_row *row)
{
    struct key key = key_namespace(name);
    struct slice payload;
    enum status status = txn_get(view->txn, key_slice(&key), &payload);

    return status == STATUS_OK ? namespace_row_decode(payload, row) : status;
}

enum status view_namespace_name(struct view *view, uint64_t namespace_id, struct slice *name)
{
    struct key key = key_namespace_id(namespace_id);

    return txn_get(view->txn, key_slice(&key), name);
}

enum status view_counters(struct view *view, uint64_t namespace_id,
                          struct namespace_counters *counters)
{
    struct key key = key_counters(namespace_id);
    struct slice payload;
    enum status status = txn_get(view->txn, key_slice(&key), &payload);

    return status == STATUS_OK ? namespace_counters_decode(payload, counters) : status;
}

enum status view_item(struct view *view, uint64_t namespace_id, struct slice key,
                      struct item_row *row)
{
    struct item_row found;
    enum status status = item_read(view->txn, namespace_id, key, &found);

    if (status != STATUS_OK) {
        return status;
    }
    if (expiry_has_passed(found.expires_at_ms, view->state->time_ms)) {
        return STATUS_NOT_FOUND;
    }
    *row = found;
    return STATUS_OK;
}

enum status view_idempotency(struct view *view, uint64_t namespace_id, struct slice key,
                             uint64_t request_hash[2], struct slice *result)
{
    struct idempotency_record record;
    enum status status =
        idempotency_find(view->txn, namespace_id, key, view->state->time_ms, &record);

    if (status == STATUS_OK) {
        memcpy(request_hash, record.request_hash, sizeof record.request_hash);
        *result = record.result;
    }
    return status;
}

/* --- Lists by key ---
 *
 * A position is one byte and the key of the last record that was looked at; without a key it means
 * the start, for a page whose first row was refused. */

#define POSITION_MARK 1

/* What one list walks. take() gives false to end the page before this record. */
struct walk {
    struct key prefix;
    enum list_order order;
    enum status (*take)(void *data, struct slice key, struct slice payload, bool *taken);
    void *data;
};

static void set_position(struct buffer *position, struct slice key)
{
    buffer_clear(position);
    buffer_append_byte(position, POSITION_MARK);
    buffer_append_slice(position, key);
}

/* Move @cursor to the first record of the page: behind @last, if there is one. */
static enum status start(struct cursor *cursor, const struct walk *walk, struct slice last,
                         struct slice *found, struct slice *payload)
{
    struct key from;
    enum status status;

    if (walk->order == ORDER_DESC) {
        from = key_behind_prefix(&walk->prefix);
        return cursor_seek_before(cursor, last.size > 0 ? last : key_slice(&from), found, payload);
    }
    if (last.size == 0) {
        return cursor_seek(cursor, key_slice(&walk->prefix), found, payload);
    }
    status = cursor_seek(cursor, last, found, payload);
    if (status == STATUS_OK && slice_equals(*found, last)) {
        status = cursor_next(cursor, found, payload);
    }
    return status;
}

static enum status walk_page(struct cursor *cursor, const struct walk *walk, struct slice last,
                             struct buffer *position)
{
    struct buffer next = BUFFER_EMPTY;
    struct slice payload;
    struct slice found;
    bool taken = true;
    enum status status = start(cursor, walk, last, &found, &payload);

    set_position(&next, last);
    for (unsigned looked_at = 0; status == STATUS_OK; looked_at++) {
        if (!slice_starts_with(found, key_slice(&walk->prefix))) {
            status = STATUS_END;
            break;
        }
        if (looked_at == LIMIT_PAGE_SCAN) {
            break;
        }
        status = walk->take(walk->data, found, payload, &taken);
        if (status != STATUS_OK || !taken) {
            break;
        }
        set_position(&next, found);
        status = walk->order == ORDER_ASC ? cursor_next(cursor, &found, &payload)
                                          : cursor_prev(cursor, &found, &payload);
    }
    buffer_clear(position);
    if (status == STATUS_OK) {
        buffer_append_slice(position, buffer_slice(&next));
    }
    buffer_close(&next);
    return status == STATUS_END ? STATUS_OK : status;
}

static enum status list(struct view *view, const struct walk *walk, struct buffer *position)
{
    struct buffer last = BUFFER_EMPTY;
    struct cursor *cursor;
    enum status status;

    /* It comes back from a client. */
    if (position->size > 0 &&
        (position->data[0] != POSITION_MARK || position->size - 1 > LIMIT_STATE_KEY_BYTES ||
         (position->size > 1 &&
          !slice_starts_with(slice_from(buffer_slice(position), 1), key_slice(&walk->prefix))))) {
        return STATUS_INVALID;
    }
    status = cursor_open(view->txn, &cursor);
    if (status != STATUS_OK) {
        return status;
    }
    if (position->size > 0) {
        buffer_append_slice(&last, slice_from(buffer_slice(position), 1));
    }
    status = walk_page(cursor, walk, buffer_slice(&last), position);
    buffer_close(&last);
    cursor_close(cursor);
    return status;
}

struct item_walk {
    uint64_t now_ms;
    item_row_cb cb;
    void *data;
};

static enum status take_item(void *data, struct slice key, struct slice payload, bool *taken)
{
    struct item_walk *walk = data;
    struct item_row row;
    enum status status = item_row_decode(payload, &row);

    (void)key; /* The row has it. */
    if (status == STATUS_OK && !expiry_has_passed(row.expires_at_ms, walk->now_ms)) {
        *taken = walk->cb(walk->data, &row);
    }
    return status;
}

enum status view_items(struct view *view, uint64_t namespace_id, struct slice prefix,
                       enum list_order order, struct buffer *position, item_row_cb cb, void *data)
{
    struct item_walk items = {.now_ms = view->state->time_ms, .cb = cb, .data = data};
    struct walk walk = {
        .prefix = key_item(namespace_id, prefix),
        .order = order,
        .take = take_item,
        .data = &items,
    };

    return list(view, &walk, position);
}

struct namespace_walk {
    namespace_row_cb cb;
    void *data;
};

static enum status take_namespace(void *data, struct slice key, struct slice payload, bool *taken)
{
    struct namespace_walk *walk = data;
    struct namespace_row row;
    enum status status = namespace_row_decode(payload, &row);

    (void)key; /* The row has it. */
    if (status == STATUS_OK) {
        *taken = walk->cb(walk->data, &row);
    }
    return status;
}

enum status view_namespaces(struct view *view, enum list_order order, struct buffer *position,
                            namespace_row_cb cb, void *data)
{
    struct namespace_walk namespaces = {.cb = cb, .data = data};
    struct walk walk = {
        .prefix = key_prefix(KEY_NAMESPACE),
        .order = order,
        .take = take_namespace,
        .data = &namespaces,
    };

    return list(view, &walk, position);
}

struct member_walk {
    member_row_cb cb;
    void *data;
};

static enum status take_member(void *data, struct slice key, struct slice payload, bool *taken)
{
    struct member_walk *walk = data;
    struct member_row row;
    enum status status = member_row_decode(payload, &row);

    (void)key; /* The row has it. */
    if (status == STATUS_OK) {
        *taken = walk->cb(walk->data, &row);
    }
    return status;
}

enum status view_feature_level(struct view *view, unsigned *level)
{
    enum status status = feature_level_read(view->txn, level);

    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status view_members(struct view *view, member_row_cb cb, void *data)
{
    struct member_walk members = {.cb = cb, .data = data};
    struct walk walk = {
        .prefix = key_prefix(KEY_MEMBER),
        .order = ORDER_ASC,
        .take = take_member,
        .data = &members,
    };
    struct buffer position = BUFFER_EMPTY;
    enum status status = list(view, &walk, &position);

    buffer_close(&position);
    return status;
}

struct removed_member_walk {
    removed_member_row_cb cb;
    void *data;
};

static enum status take_removed_member(void *data, struct slice key, struct slice payload,
                                       bool *taken)
{
    struct removed_member_walk *walk = data;
    struct removed_member_row row;
    enum status status = removed_member_row_decode(payload, &row);

    (void)key; /* The row has it. */
    if (status == STATUS_OK) {
        *taken = walk->cb(walk->data, &row);
    }
    return status;
}

enum status view_removed_members(struct view *view, removed_member_row_cb cb, void *data)
{
    struct removed_member_walk removed = {.cb = cb, .data = data};
    struct walk walk = {
        .prefix = key_prefix(KEY_REMOVED_MEMBER),
        .order = ORDER_ASC,
        .take = take_removed_member,
        .data = &removed,
    };
    struct buffer position = BUFFER_EMPTY;
    enum status status;

    do {
        status = list(view, &walk, &position);
    } while (status == STATUS_OK && position.size > 0); /* One page is a bounded scan. */
    buffer_close(&position);
    return status;
}
