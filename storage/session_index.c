#include "storage/session_index.h"

#include <endian.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "storage/expiry.h"
#include "storage/keys.h"
#include "storage/view.h"

/* --- Keeping ---------------------------------------------------------------------------------- */

static const struct slot {
    enum index_attribute attribute;
    enum index_sort sort;
} slots[] = {
    {INDEX_NONE, INDEX_CREATED},   {INDEX_AGENT, INDEX_CREATED}, {INDEX_USER, INDEX_CREATED},
    {INDEX_STATUS, INDEX_CREATED}, {INDEX_NONE, INDEX_UPDATED},  {INDEX_AGENT, INDEX_UPDATED},
    {INDEX_USER, INDEX_UPDATED},
};

#define SLOTS (sizeof slots / sizeof *slots)

static struct slice status_value(enum session_status status)
{
    static const char letters[SESSION_STATUSES] = {
        [SESSION_ACTIVE] = 'a', [SESSION_PAUSED] = 'p', [SESSION_CLOSED] = 'c'};

    return slice_of(&letters[status], 1);
}

/* Where @row stands in the index of @slot; false if it does not. */
static bool make_index(const struct slot *slot, uint64_t namespace_id,
                       const struct session_row *row, struct session_index *index)
{
    struct slice value = slice_of(NULL, 0);

    if (row == NULL) {
        return false;
    }
    switch (slot->attribute) {
    case INDEX_AGENT:
        value = row->agent_id;
        break;
    case INDEX_USER:
        value = row->user_id;
        break;
    case INDEX_STATUS:
        value = status_value(row->status);
        break;
    case INDEX_NONE:
    case INDEX_ATTRIBUTES:
        break;
    }
    *index = (struct session_index){
        .namespace_id = namespace_id,
        .attribute = slot->attribute,
        .sort = slot->sort,
        .value = value,
        /* Object ids rise with creation: they are an order by themselves. */
        .revision = slot->sort == INDEX_UPDATED ? row->updated_revision : 0,
        .object_id = row->object_id,
    };
    return slot->attribute == INDEX_NONE || value.size > 0;
}

static bool same_index(const struct session_index *a, const struct session_index *b)
{
    return a->revision == b->revision && a->object_id == b->object_id &&
           slice_equals(a->value, b->value);
}

enum status session_index_move(struct txn *txn, uint64_t namespace_id,
                               const struct session_row *was, const struct session_row *now)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct session_index from;
        struct session_index to;
        bool stood = make_index(&slots[i], namespace_id, was, &from);
        bool stands = make_index(&slots[i], namespace_id, now, &to);
        enum status status = STATUS_OK;

        if (stood && stands && same_index(&from, &to)) {
            continue;
        }
        if (stood) {
            struct key key = key_session_index(&from);

            status = txn_delete(txn, key_slice(&key));
        }
        if (status == STATUS_OK && stands) {
            struct key key = key_session_index(&to);

            status = txn_put(txn, key_slice(&key), now->id);
        }
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
        }
    }
    return STATUS_OK;
}

/* --- Listing ---------------------------------------------------------------------------------- */

/* A page is one walk along one index: the narrowest that the filter names; the rest of the filter
 * is applied to the rows. A position is the place of the next entry to look at. */
struct listing {
    struct view *view;
    uint64_t namespace_id;
    const struct session_filter *filter;
    struct cursor *cursor;
    struct key prefix;
    struct slice key; /* Of the entry at which the walk stands. */
    struct slice session_id;
};

#define POSITION_BYTES 16

static void set_position(struct buffer *position, const struct session_index *index)
{
    uint64_t numbers[2] = {htobe64(index->revision), htobe64(index->object_id)};

    buffer_clear(position);
    buffer_append(position, numbers, sizeof numbers);
}

static struct session_index choose_index(uint64_t namespace_id, const struct session_filter *filter)
{
    struct session_index index = {
        .namespace_id = namespace_id,
        .attribute = INDEX_NONE,
        .sort = filter->sort == SESSION_SORT_UPDATED ? INDEX_UPDATED : INDEX_CREATED,
    };

    if (filter->user_id.size > 0) {
        index.attribute = INDEX_USER;
        index.value = filter->user_id;
    } else if (filter->agent_id.size > 0) {
        index.attribute = INDEX_AGENT;
        index.value = filter->agent_id;
    } else if (filter->has_status && index.sort == INDEX_CREATED) {
        index.attribute = INDEX_STATUS;
        index.value = status_value(filter->status);
    }
    return index;
}

static bool matches(const struct session_filter *filter, const struct session_row *row)
{
    return (filter->user_id.size == 0 || slice_equals(filter->user_id, row->user_id)) &&
           (filter->agent_id.size == 0 || slice_equals(filter->agent_id, row->agent_id)) &&
           (!filter->has_status || filter->status == row->status);
}

/* Stand at the first entry of the page. STATUS_END if there is none. */
static enum status seek_first(struct listing *listing, struct session_index *index,
                              const struct buffer *position)
{
    bool ascending = listing->filter->order == ORDER_ASC;
    uint64_t numbers[2];
    struct key key;

    if (position->size == 0) {
        key = ascending ? listing->prefix : key_behind_prefix(&listing->prefix);
    } else {
        memcpy(numbers, position->data, sizeof numbers);
        index->revision = be64toh(numbers[0]);
        index->object_id = be64toh(numbers[1]);
        key = key_session_index(index);
        if (!ascending) { /* The entry itself belongs to the page: seek before what follows it. */
            key = key_behind_prefix(&key);
        }
    }
    if (ascending) {
        return cursor_seek(listing->cursor, key_slice(&key), &listing->key, &listing->session_id);
    }
    return cursor_seek_before(listing->cursor, key_slice(&key), &listing->key,
                              &listing->session_id);
}

static enum status seek_next(struct listing *listing)
{
    if (listing->filter->order == ORDER_ASC) {
        return cursor_next(listing->cursor, &listing->key, &listing->session_id);
    }
    return cursor_prev(listing->cursor, &listing->key, &listing->session_id);
}

/* Read the session at which the walk stands. STATUS_NOT_FOUND if it is not to be listed. */
static enum status read_row(const struct listing *listing, struct session_row *row)
{
    struct key key = key_session(listing->namespace_id, listing->session_id);
    struct slice payload;
    enum status status = txn_get(listing->view->txn, key_slice(&key), &payload);

    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
    }
    status = session_row_decode(payload, row);
    if (status != STATUS_OK) {
        return status;
    }
    if (expiry_has_passed(row->expires_at_ms, listing->view->state->time_ms) ||
        !matches(listing->filter, row)) {
        return STATUS_NOT_FOUND;
    }
    return STATUS_OK;
}

static enum status walk(struct listing *listing, struct buffer *position, session_row_cb cb,
                        void *data)
{
    struct session_index index = choose_index(listing->namespace_id, listing->filter);
    struct session_row row;
    enum status status;

    listing->prefix =
        key_session_index_prefix(index.namespace_id, index.attribute, index.sort, index.value);
    status = seek_first(listing, &index, position);
    for (unsigned scanned = 0; status == STATUS_OK; scanned++) {
        if (!slice_starts_with(listing->key, key_slice(&listing->prefix))) {
            break;
        }
        if (!key_parse_session_index(listing->key, &index)) {
            return STATUS_CORRUPT;
        }
        status = scanned == LIMIT_PAGE_SCAN ? STATUS_END : read_row(listing, &row);
        if (status == STATUS_END || (status == STATUS_OK && !cb(data, &row))) {
            set_position(position, &index);
            return STATUS_OK;
        }
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
        status = seek_next(listing);
    }
    if (status == STATUS_OK || status == STATUS_END) {
        buffer_clear(position);
        return STATUS_OK;
    }
    return status;
}

/* Can any session have this value? Others have no place in a key. */
static bool is_possible(const struct slice *value)
{
    return value->size == 0 || command_is_label(*value);
}

enum status view_sessions(struct view *view, uint64_t namespace_id,
                          const struct session_filter *filter, struct buffer *position,
                          session_row_cb cb, void *data)
{
    struct listing listing = {.view = view, .namespace_id = namespace_id, .filter = filter};
    enum status status;

    if (position->size != 0 && position->size != POSITION_BYTES) {
        return STATUS_INVALID;
    }
    if (!is_possible(&filter->user_id) || !is_possible(&filter->agent_id)) {
        buffer_clear(position);
        return STATUS_OK;
    }
    status = cursor_open(view->txn, &listing.cursor);
    if (status != STATUS_OK) {
        return status;
    }
    status = walk(&listing, position, cb, data);
    cursor_close(listing.cursor);
    return status;
}
