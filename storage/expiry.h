/* What happens later: the queue of things that become due, and the queue of things to purge.
 *
 * Both are records of the replicated state, worked off by OPERATION_MAINTAIN in bounded steps. A
 * thing that is due is absent for readers at once; the queue is how it leaves the disk. Only the
 * apply thread writes. Statuses are those of store.h. */
#ifndef HOLDFAST_STORAGE_EXPIRY_H
#define HOLDFAST_STORAGE_EXPIRY_H

#include "daemon/base/mutation.h"
#include "storage/store.h"

/* These numbers are on disk. */
enum due_kind { DUE_ITEM = 1, DUE_SESSION = 2, DUE_TOMBSTONE = 3, DUE_IDEMPOTENCY = 4 };

/* Move the entry of one thing: @old_due_ms as it was set before, @new_due_ms as it shall be; 0 for
 * none. Nothing is written when they are equal. STATUS_CORRUPT if the old entry is missing. */
MUST_USE enum status expiry_set(struct txn *txn, enum due_kind kind, uint64_t namespace_id,
                                struct slice name, uint64_t old_due_ms, uint64_t new_due_ms);

/* Is a thing with this time of expiry (0: none) gone at @now_ms? */
static inline bool expiry_has_passed(uint64_t expires_at_ms, uint64_t now_ms)
{
    now_ms += MUTATION(expires_early) ? 50 : 0;
    now_ms -= MUTATION(expires_late) ? 50 : 0;
    return expires_at_ms != 0 && expires_at_ms <= now_ms;
}

struct due {
    uint64_t due_ms;
    enum due_kind kind;
    uint64_t namespace_id;
    struct slice name; /* Borrowed from the transaction, as a payload. */
};

/* The first entry of the queue. STATUS_END if there is none. */
MUST_USE enum status expiry_next(struct txn *txn, struct due *due);

/* Purge the events of @object_id with from_seq <= seq < below_seq; with from_seq 0 and below_seq
 * UINT64_MAX the session is gone and its event ids go too. event_purge() does the work. Adding the
 * same beginning again extends the range. */
MUST_USE enum status purge_add_events(struct txn *txn, uint64_t object_id, uint64_t from_seq,
                                      uint64_t below_seq);

/* Purge all that a deleted namespace held. */
MUST_USE enum status purge_add_namespace(struct txn *txn, uint64_t namespace_id);

/* These numbers are on disk. */
enum purge_kind { PURGE_EVENTS = 1, PURGE_NAMESPACE = 2 };

struct purge {
    enum purge_kind kind;
    uint64_t id; /* Object or namespace. */
    uint64_t from_seq;
    uint64_t below_seq;
};

/* The first entry of the queue. STATUS_END if there is none. */
MUST_USE enum status purge_next(struct txn *txn, struct purge *purge);
/* The first range of events of @object_id that begins at @from_seq or later. STATUS_END. */
MUST_USE enum status purge_find_events(struct txn *txn, uint64_t object_id, uint64_t from_seq,
                                       struct purge *purge);
/* It is done. */
MUST_USE enum status purge_remove(struct txn *txn, const struct purge *purge);

#endif
