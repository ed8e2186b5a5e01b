/* One step of maintenance, bounded by the number of records that it may touch:
 *
 * 1. What is due by the entry's time leaves: expired items and sessions (watchers are told of
 *    these), marks of deleted sessions, remembered answers.
 * 2. What is queued for purging is removed: events of sessions that are gone, the contents of
 *    deleted namespaces.
 * 3. Old changes leave the change log.
 *
 * A quarter of the step is kept for 2 and 3, so that a flood of expiries cannot starve them; what
 * they leave goes to 1 again. */
#include "storage/maintenance.h"

#include "daemon/base/check.h"
#include "storage/change.h"
#include "storage/expiry.h"
#include "storage/idempotency.h"
#include "storage/item.h"
#include "storage/keys.h"

static enum status missing_is_fine(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static void spend_one(uint32_t *budget)
{
    *budget -= *budget > 0 ? 1 : 0;
}

/* --- What is due --- */

/* Its namespace is deleted: namespace_purge() would come to it, and must not find half of it. */
static enum status remove_orphan(struct execution *execution, const struct due *due,
                                 uint32_t *budget)
{
    struct item_row row;
    enum status status;

    if (due->kind == DUE_SESSION) {
        return missing_is_fine(session_abandon(execution, due->namespace_id, due->name, budget));
    }
    status = item_read(execution->txn, due->namespace_id, due->name, &row);
    if (status != STATUS_OK) {
        return missing_is_fine(status);
    }
    if (row.expires_at_ms != due->due_ms) {
        return STATUS_OK;
    }
    return item_remove(execution->txn, due->namespace_id, &row);
}

static enum status expire_document(struct execution *execution, const struct due *due,
                                   uint32_t *budget)
{
    enum status status = execution_enter_id(execution, due->namespace_id);

    if (status == STATUS_NOT_FOUND) {
        return remove_orphan(execution, due, budget);
    }
    if (status != STATUS_OK) {
        return status;
    }
    return due->kind == DUE_ITEM ? item_expire(execution, due->namespace_id, due->name, budget)
                                 : session_expire(execution, due->namespace_id, due->name, budget);
}

static enum status expire_one(struct execution *execution, const struct due *due, uint32_t *budget)
{
    struct key key = key_due(due->due_ms, (uint8_t)due->kind, due->namespace_id, due->name);
    uint32_t before = *budget;
    enum status status = STATUS_CORRUPT;

    switch (due->kind) {
    case DUE_ITEM:
    case DUE_SESSION:
        status = expire_document(execution, due, budget);
        break;
    case DUE_TOMBSTONE:
        status = session_forget(execution, due->namespace_id, due->name, budget);
        break;
    case DUE_IDEMPOTENCY:
        status = idempotency_expire(execution, due->namespace_id, due->name);
        break;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (*budget == before) {
        spend_one(budget);
    }
    /* Whatever became of the thing: its time has come and is not to come again. */
    return missing_is_fine(txn_delete(execution->txn, key_slice(&key)));
}

static enum status expire(struct execution *execution, uint32_t *budget)
{
    enum status status = STATUS_OK;
    struct key name;
    struct due due;

    while (*budget > 0 && status == STATUS_OK) {
        status = expiry_next(execution->txn, &due);
        if (status != STATUS_OK || due.due_ms > execution->now_ms) {
            break;
        }
        /* The name borrows from what is about to change. */
        CHECK(due.name.size <= sizeof name.data);
        name.size = due.name.size;
        if (name.size > 0) {
            memcpy(name.data, due.name.data, name.size);
        }
        due.name = key_slice(&name);
        status = expire_one(execution, &due, budget);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* --- What is to be purged --- */

static enum status purge_one(struct execution *execution, const struct purge *purge,
                             uint32_t *budget)
{
    uint32_t before = *budget;
    bool done = false;
    enum status status;

    status = purge->kind == PURGE_EVENTS ? event_purge(execution, purge->id, purge->from_seq,
                                                       purge->below_seq, budget, &done)
                                         : namespace_purge(execution, purge->id, budget, &done);
    if (status != STATUS_OK) {
        return status;
    }
    if (done) {
        spend_one(budget);
        return purge_remove(execution->txn, purge);
    }
    return *budget < before ? STATUS_OK : STATUS_CORRUPT; /* It would never end. */
}

static enum status purge_queue(struct execution *execution, uint32_t *budget)
{
    enum status status = STATUS_OK;
    struct purge purge;

    while (*budget > 0 && status == STATUS_OK) {
        status = purge_next(execution->txn, &purge);
        if (status == STATUS_OK) {
            status = purge_one(execution, &purge, budget);
        }
    }
    return status == STATUS_END ? STATUS_OK : status;
}

/* --- The step --- */

static enum status run_step(struct execution *execution, uint32_t *budget)
{
    uint32_t kept = *budget / 4;
    enum status status;

    *budget -= kept;
    status = expire(execution, budget);
    *budget += kept;
    if (status == STATUS_OK) {
        status = execution_leave(execution); /* Purging counts for nobody. */
    }
    if (status == STATUS_OK) {
        status = purge_queue(execution, budget);
    }
    execution_forget(execution);
    if (status == STATUS_OK) {
        status = change_trim(execution->txn, execution->now_ms, budget);
    }
    if (status == STATUS_OK) {
        status = expire(execution, budget);
    }
    return status == STATUS_OK ? execution_leave(execution) : status;
}

enum status maintain_execute(struct execution *execution, const struct operation *operation,
                             struct operation_result *result)
{
    uint32_t budget = operation->maintain.max_records;
    struct maintained_row row;
    uint64_t due_ms;
    enum status status;

    CHECK(operation->kind == OPERATION_MAINTAIN);
    CHECK(execution->ns.id == 0);

    status = run_step(execution, &budget);
    if (status == STATUS_OK) {
        status = maintenance_next_due(execution->txn, &due_ms);
    }
    if (status != STATUS_OK) {
        return status;
    }
    row.records = operation->maintain.max_records - budget;
    row.more = due_ms <= execution->now_ms;
    buffer_clear(&execution->row);
    maintained_row_encode(&row, &execution->row);
    result->outcome = OUTCOME_OK;
    result->row_kind = ROW_MAINTAINED;
    result->row = buffer_slice(&execution->row);
    return STATUS_OK;
}

enum status maintenance_next_due(struct txn *txn, uint64_t *due_ms)
{
    struct change_set oldest;
    struct purge purge;
    struct due due;
    uint64_t next = UINT64_MAX;
    enum status status = purge_next(txn, &purge);

    if (status == STATUS_OK) {
        *due_ms = 0;
        return STATUS_OK;
    }
    if (status == STATUS_END) {
        status = expiry_next(txn, &due);
        next = status == STATUS_OK ? due.due_ms : next;
    }
    if (status == STATUS_OK || status == STATUS_END) {
        status = change_oldest(txn, &oldest);
        if (status == STATUS_OK && change_due_ms(oldest.time_ms) < next) {
            next = change_due_ms(oldest.time_ms);
        }
    }
    if (status != STATUS_OK && status != STATUS_END) {
        return status;
    }
    *due_ms = next;
    return STATUS_OK;
}
