/* Reading the committed state: one view is one moment, the same for all that is read through it.
 *
 * Any thread, each with its own view. What is expired by the cluster's time is absent here. Rows
 * borrow from the view until view_end(). STATUS_CORRUPT: a record is damaged; the store's
 * on_damage() was called if its checksum told so. */
#ifndef HOLDFAST_STORAGE_VIEW_H
#define HOLDFAST_STORAGE_VIEW_H

#include "storage/rows.h"
#include "storage/store.h"

struct view {
    struct txn *txn; /* NULL before the first view_begin() of the thread. */
    const struct state *state;
};

MUST_USE enum status view_begin(struct store *store, struct view *view, struct error *error);
void view_end(struct view *view);
/* Release what the thread's views reused. */
void view_close(struct view *view);

/* STATUS_NOT_FOUND. */
MUST_USE enum status view_namespace(struct view *view, struct slice name,
                                    struct namespace_row *row);
/* The name of the namespace with this id. STATUS_NOT_FOUND. */
MUST_USE enum status view_namespace_name(struct view *view, uint64_t namespace_id,
                                         struct slice *name);
MUST_USE enum status view_counters(struct view *view, uint64_t namespace_id,
                                   struct namespace_counters *counters);
MUST_USE enum status view_item(struct view *view, uint64_t namespace_id, struct slice key,
                               struct item_row *row);

/* STATUS_NOT_FOUND; STATUS_CLOSED: deleted less than a day ago (410). */
MUST_USE enum status view_session(struct view *view, uint64_t namespace_id, struct slice id,
                                  struct session_row *row);

/* The stored result of an earlier request with this key. STATUS_NOT_FOUND. */
MUST_USE enum status view_idempotency(struct view *view, uint64_t namespace_id, struct slice key,
                                      uint64_t request_hash[2], struct slice *result);

enum list_order { ORDER_ASC, ORDER_DESC };

/* Lists: the callback gets one row after the other, borrowed, until it gives false (which ends the
 * page: that row is not part of it) or the scan's limit is reached. @position says where the list
 * goes on: empty at the start, filled with an opaque string to continue from (behind the last row
 * taken or looked at), empty again when nothing is left. */
typedef bool (*item_row_cb)(void *data, const struct item_row *row);
MUST_USE enum status view_items(struct view *view, uint64_t namespace_id, struct slice prefix,
                                enum list_order order, struct buffer *position, item_row_cb cb,
                                void *data);

typedef bool (*event_row_cb)(void *data, const struct event_row *row);
/* Events of @session with after_seq < seq < before_seq (0 and UINT64_MAX: no bound). */
MUST_USE enum status view_events(struct view *view, const struct session_row *session,
                                 uint64_t after_seq, uint64_t before_seq, enum list_order order,
                                 struct buffer *position, event_row_cb cb, void *data);

enum session_sort { SESSION_SORT_CREATED, SESSION_SORT_UPDATED };

struct session_filter {
    struct slice agent_id; /* Empty: any. */
    struct slice user_id;  /* Empty: any. */
    bool has_status;
    enum session_status status;
    enum session_sort sort;
    enum list_order order;
};

typedef bool (*session_row_cb)(void *data, const struct session_row *row);
MUST_USE enum status view_sessions(struct view *view, uint64_t namespace_id,
                                   const struct session_filter *filter, struct buffer *position,
                                   session_row_cb cb, void *data);

typedef bool (*namespace_row_cb)(void *data, const struct namespace_row *row);
MUST_USE enum status view_namespaces(struct view *view, enum list_order order,
                                     struct buffer *position, namespace_row_cb cb, void *data);

/* The cluster's feature level (feature.h); the first one while nothing was executed yet. */
MUST_USE enum status view_feature_level(struct view *view, unsigned *level);

typedef bool (*member_row_cb)(void *data, const struct member_row *row);
MUST_USE enum status view_members(struct view *view, member_row_cb cb, void *data);

typedef bool (*removed_member_row_cb)(void *data, const struct removed_member_row *row);
MUST_USE enum status view_removed_members(struct view *view, removed_member_row_cb cb, void *data);

#endif
