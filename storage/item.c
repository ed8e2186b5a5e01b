/* Every operation goes the same way: find what is stored, refuse (missing, precondition, kind,
 * size), work out the new row, then write. After the first write nothing may be read from the old
 * row any more, as it borrows from the map; so what is noted and encoded comes before. */
#include "storage/item.h"

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/mutation.h"
#include "storage/document.h"
#include "storage/expiry.h"
#include "storage/keys.h"

#define JSON_TYPE "application/json"

struct found {
    bool is_stored;
    bool is_live; /* Stored, and not expired. */
    struct item_row row;
};

enum status item_read(struct txn *txn, uint64_t namespace_id, struct slice key,
                      struct item_row *row)
{
    struct key place = key_item(namespace_id, key);
    struct slice payload;
    struct item_row decoded;
    enum status status = txn_get(txn, key_slice(&place), &payload);

    if (status == STATUS_OK) {
        status = item_row_decode(payload, &decoded);
    }
    if (status == STATUS_OK) {
        *row = decoded;
    }
    return status;
}

static enum status find(struct execution *execution, struct slice key, struct found *found)
{
    enum status status = item_read(execution->txn, execution->ns.id, key, &found->row);

    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    found->is_stored = status == STATUS_OK;
    found->is_live =
        found->is_stored && !expiry_has_passed(found->row.expires_at_ms, execution->now_ms);
    return STATUS_OK;
}

/* What clients are told that an item takes. */
static uint64_t bytes_of(const struct item_row *row)
{
    return row->key.size + row->size_bytes;
}

static void uncount(struct execution *execution, const struct item_row *row)
{
    execution->counters.items--;
    execution->counters.bytes -= bytes_of(row);
}

static void refuse_condition(const struct found *found, struct operation_result *result)
{
    result->outcome = OUTCOME_PRECONDITION_FAILED;
    result->number = found->is_live ? found->row.revision : 0;
}

static uint64_t revision_of(const struct found *found)
{
    return found->is_live ? found->row.revision : 0;
}

/* --- Times to live --- */

static uint64_t expiry_of(const struct execution *execution, uint64_t ttl_ms)
{
    return ttl_ms == 0 ? 0 : execution->now_ms + ttl_ms;
}

/* The time to live that a PATCH or a touch asks for. */
static uint64_t renewed_ttl(const struct ttl *ttl, const struct item_row *row)
{
    switch (ttl->kind) {
    case TTL_SET:
        return ttl->ms;
    case TTL_CLEAR:
        return 0;
    case TTL_ABSENT:
        break;
    }
    return row->ttl_ms;
}

/* Does the last renewal, which gave a tenth more than asked for, still cover this one? */
static bool is_covered(const struct execution *execution, const struct item_row *row,
                       uint64_t ttl_ms)
{
    if (ttl_ms != row->ttl_ms) {
        return false;
    }
    return ttl_ms == 0 || row->expires_at_ms - execution->now_ms >= ttl_ms;
}

/* --- Writing --- */

/* Write @row over what was @found and count it. */
static enum status write(struct execution *execution, const struct found *found,
                         const struct item_row *row)
{
    uint64_t old_expires_at_ms = found->is_stored ? found->row.expires_at_ms : 0;
    struct key place = key_item(execution->ns.id, row->key);
    enum status status;

    if (found->is_stored) {
        uncount(execution, &found->row);
    }
    execution->counters.items++;
    execution->counters.bytes += bytes_of(row);
    buffer_clear(&execution->scratch);
    item_row_encode(row, &execution->scratch);
    status = txn_put(execution->txn, key_slice(&place), buffer_slice(&execution->scratch));
    if (status != STATUS_OK) {
        return status;
    }
    /* row->key belongs to the command; nothing else of @row is used from here on. */
    return expiry_set(execution->txn, DUE_ITEM, execution->ns.id, row->key, old_expires_at_ms,
                      row->expires_at_ms);
}

/* The document changed: note it, give its row as the result, write it. */
static enum status write_document(struct execution *execution, const struct found *found,
                                  struct item_row *row, struct operation_result *result)
{
    struct item_row listed;

    row->revision = execution->revision;
    row->updated_at_ms =
        execution->now_ms + (MUTATION(state_depends_on_node) ? (uintptr_t)execution >> 12 & 7 : 0);
    row->size_bytes = row->value.size;
    execution_note_change(execution, RESOURCE_ITEM, CHANGE_PUT, row->key, slice_of(NULL, 0),
                          row->user_id);
    listed = *row;
    listed.value = slice_of(NULL, 0);
    item_row_encode(&listed, &execution->row);
    result->outcome = found->is_live ? OUTCOME_OK : OUTCOME_CREATED;
    result->etag = row->revision;
    result->row_kind = ROW_ITEM;
    result->row = buffer_slice(&execution->row);
    return write(execution, found, row);
}

enum status item_remove(struct txn *txn, uint64_t namespace_id, const struct item_row *row)
{
    struct key place = key_item(namespace_id, row->key);
    struct key due = key_due(row->expires_at_ms, DUE_ITEM, namespace_id, row->key);
    bool is_due = row->expires_at_ms != 0;
    enum status status = txn_delete(txn, key_slice(&place));

    if (status == STATUS_OK && is_due) {
        status = txn_delete(txn, key_slice(&due));
    }
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

/* Note, count and remove. */
static enum status delete_row(struct execution *execution, const struct item_row *row)
{
    uncount(execution, row);
    execution_note_change(execution, RESOURCE_ITEM, CHANGE_DELETE, row->key, slice_of(NULL, 0),
                          row->user_id);
    return item_remove(execution->txn, execution->ns.id, row);
}

/* --- The operations --- */

static enum status execute_put(struct execution *execution, const struct operation *operation,
                               const struct found *found, struct operation_result *result)
{
    const struct item_operation *item = &operation->item;
    bool is_json = item->content == CONTENT_JSON;
    uint64_t ttl_ms = item->ttl.kind == TTL_SET ? item->ttl.ms : 0;
    struct item_row row = {
        .key = item->key,
        .content = item->content,
        .content_type = is_json ? slice_of_string(JSON_TYPE) : item->content_type,
        .ttl_ms = ttl_ms,
        .created_at_ms = found->is_live ? found->row.created_at_ms : execution->now_ms,
        .expires_at_ms = expiry_of(execution, ttl_ms),
        .value = item->value,
    };

    if (item->value.size > LIMIT_ITEM_BYTES) {
        result->outcome = OUTCOME_TOO_LARGE;
        return STATUS_OK;
    }
    if (item->user_id.kind == FIELD_SET) {
        row.user_id = item->user_id.value;
    }
    return write_document(execution, found, &row, result);
}

/* The merge of a stored document and a patch, as text. STATUS_INVALID if the patch is none. */
static enum status merge(struct slice stored, struct slice patch_text, struct buffer *text)
{
    json_t *target;
    json_t *patch;
    json_t *merged;
    enum status status = document_parse(stored, &target, NULL);

    if (status != STATUS_OK) {
        return STATUS_CORRUPT; /* It was JSON when it was stored. */
    }
    status = document_parse(patch_text, &patch, NULL);
    if (status == STATUS_OK) {
        merged = document_merge(target, patch);
        document_write(merged, text);
        json_decref(merged);
        json_decref(patch);
    }
    json_decref(target);
    return status;
}

static enum status execute_patch(struct execution *execution, const struct operation *operation,
                                 const struct found *found, struct operation_result *result)
{
    const struct item_operation *item = &operation->item;
    struct buffer text = BUFFER_EMPTY;
    struct item_row row = found->row;
    enum status status;

    if (found->row.content != CONTENT_JSON) {
        result->outcome = OUTCOME_NOT_JSON;
        return STATUS_OK;
    }
    status = merge(found->row.value, item->value, &text);
    if (status == STATUS_INVALID) {
        result->outcome = OUTCOME_INVALID_FIELD;
        status = STATUS_OK;
    } else if (status == STATUS_OK && text.size > LIMIT_ITEM_BYTES) {
        result->outcome = OUTCOME_TOO_LARGE;
    } else if (status == STATUS_OK) {
        row.key = item->key;
        row.value = buffer_slice(&text);
        row.ttl_ms = renewed_ttl(&item->ttl, &found->row);
        row.expires_at_ms = expiry_of(execution, row.ttl_ms);
        if (item->user_id.kind != FIELD_ABSENT) {
            row.user_id = item->user_id.kind == FIELD_SET ? item->user_id.value : slice_of(NULL, 0);
        }
        status = write_document(execution, found, &row, result);
    }
    buffer_close(&text);
    return status;
}

static enum status execute_touch(struct execution *execution, const struct operation *operation,
                                 const struct found *found, struct operation_result *result)
{
    const struct item_operation *item = &operation->item;
    bool is_exact = operation->if_match.kind != CONDITION_NONE;
    uint64_t ttl_ms = renewed_ttl(&item->ttl, &found->row);
    struct item_row row = found->row;

    result->outcome = OUTCOME_NO_CONTENT;
    result->etag = found->row.revision;
    if (!is_exact && is_covered(execution, &found->row, ttl_ms)) {
        return STATUS_OK;
    }
    row.key = item->key;
    row.ttl_ms = ttl_ms;
    row.expires_at_ms = expiry_of(execution, is_exact ? ttl_ms : ttl_ms + ttl_ms / 10);
    execution_note_change(execution, RESOURCE_ITEM, CHANGE_TOUCH, row.key, slice_of(NULL, 0),
                          row.user_id);
    return write(execution, found, &row);
}

static enum status execute_delete(struct execution *execution, const struct found *found,
                                  struct operation_result *result)
{
    result->outcome = OUTCOME_NO_CONTENT;
    return delete_row(execution, &found->row);
}

/* --- A whole prefix --- */

/* The first stored item at or behind the prefix. STATUS_END. */
static enum status first_below(struct execution *execution, const struct key *prefix,
                               struct item_row *row)
{
    struct slice payload;
    struct slice found;
    enum status status = txn_first(execution->txn, key_slice(prefix), &found, &payload);

    return status == STATUS_OK ? item_row_decode(payload, row) : status;
}

/* Expired items are removed on the way, and count towards what one entry may touch. */
static enum status execute_delete_prefix(struct execution *execution,
                                         const struct operation *operation,
                                         struct operation_result *result)
{
    struct key prefix = key_item(execution->ns.id, operation->item.key);
    struct prefix_deleted_row deleted = {0};
    struct item_row row;
    uint64_t bytes = 0;
    uint32_t touched = 0;
    enum status status;

    while ((status = first_below(execution, &prefix, &row)) == STATUS_OK) {
        bytes += bytes_of(&row);
        deleted.more = touched == LIMIT_PREFIX_DELETE_ITEMS ||
                       (touched > 0 && bytes > LIMIT_PREFIX_DELETE_BYTES);
        if (deleted.more) {
            break;
        }
        touched++;
        deleted.deleted += expiry_has_passed(row.expires_at_ms, execution->now_ms) ? 0 : 1;
        status = delete_row(execution, &row);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (status != STATUS_OK && status != STATUS_END) {
        return status;
    }
    execution->took_revision = true; /* Also when there was nothing to delete. */
    prefix_deleted_row_encode(&deleted, &execution->row);
    result->outcome = OUTCOME_OK;
    result->row_kind = ROW_PREFIX_DELETED;
    result->row = buffer_slice(&execution->row);
    return STATUS_OK;
}

/* --- The way in --- */

/* What is refused before the operation itself is looked at. */
static bool is_refused(const struct operation *operation, const struct found *found,
                       struct operation_result *result)
{
    bool may_be_missing =
        operation->kind == OPERATION_ITEM_PUT || operation->kind == OPERATION_ITEM_CHECK;

    if (!found->is_live && !may_be_missing) {
        result->outcome = OUTCOME_NOT_FOUND;
        return true;
    }
    if (!condition_holds(operation, revision_of(found))) {
        refuse_condition(found, result);
        return true;
    }
    return false;
}

enum status item_execute(struct execution *execution, const struct operation *operation,
                         struct operation_result *result)
{
    struct found found;
    enum status status;

    if (operation->kind == OPERATION_ITEM_DELETE_PREFIX) {
        return execute_delete_prefix(execution, operation, result);
    }
    status = find(execution, operation->item.key, &found);
    if (status != STATUS_OK || is_refused(operation, &found, result)) {
        return status;
    }
    switch (operation->kind) {
    case OPERATION_ITEM_PUT:
        return execute_put(execution, operation, &found, result);
    case OPERATION_ITEM_PATCH:
        return execute_patch(execution, operation, &found, result);
    case OPERATION_ITEM_DELETE:
        return execute_delete(execution, &found, result);
    case OPERATION_ITEM_TOUCH:
        return execute_touch(execution, operation, &found, result);
    default:
        break;
    }
    CHECK(operation->kind == OPERATION_ITEM_CHECK);
    result->outcome = OUTCOME_NO_CONTENT;
    result->etag = revision_of(&found);
    return STATUS_OK;
}

enum status item_expire(struct execution *execution, uint64_t namespace_id, struct slice key,
                        uint32_t *budget)
{
    struct found found;
    enum status status;

    CHECK(namespace_id == execution->ns.id);
    *budget -= *budget > 0 ? 1 : 0;
    status = find(execution, key, &found);
    if (status != STATUS_OK || !found.is_stored || found.is_live) {
        return status;
    }
    return delete_row(execution, &found.row);
}
