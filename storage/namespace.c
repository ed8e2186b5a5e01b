/* Namespaces: documents that others hang off. Three records each: the row by name, the name by id,
 * and the counters by id. A deleted one loses these three at once, and so is gone for everyone;
 * what it held lies under an id that is never used again, until namespace_purge() has removed it.
 */
#include "storage/namespace.h"

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "storage/document.h"
#include "storage/expiry.h"
#include "storage/item.h"
#include "storage/keys.h"

#define EMPTY_METADATA   "{}"
#define METADATA_POINTER "/metadata"

static enum status read_row(struct txn *txn, struct slice name, struct namespace_row *row)
{
    struct key key = key_namespace(name);
    struct namespace_row decoded;
    struct slice payload;
    enum status status = txn_get(txn, key_slice(&key), &payload);

    if (status == STATUS_OK) {
        status = namespace_row_decode(payload, &decoded);
    }
    if (status == STATUS_OK) {
        *row = decoded;
    }
    return status;
}

/* --- Writing --- */

static void note(struct execution *execution, enum change_action action, struct slice name)
{
    execution_note_change(execution, RESOURCE_NAMESPACE, action, name, slice_of(NULL, 0),
                          slice_of(NULL, 0));
}

/* Leaves the encoded row in execution->row, where the result finds it too. */
static enum status write_row(struct execution *execution, const struct namespace_row *row)
{
    struct key key = key_namespace(row->name);

    buffer_clear(&execution->row);
    namespace_row_encode(row, &execution->row);
    return txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->row));
}

static enum status write_new(struct execution *execution, struct namespace_row *row)
{
    struct namespace_counters none = {0};
    struct key key;
    enum status status;

    row->id = txn_state(execution->txn)->next_object_id++;
    row->created_at_ms = execution->now_ms;
    key = key_namespace_id(row->id);
    status = txn_put(execution->txn, key_slice(&key), row->name);
    if (status != STATUS_OK) {
        return status;
    }
    buffer_clear(&execution->scratch);
    namespace_counters_encode(&none, &execution->scratch);
    key = key_counters(row->id);
    status = txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->scratch));
    return status == STATUS_OK ? write_row(execution, row) : status;
}

enum status namespace_make(struct execution *execution, struct slice name)
{
    struct namespace_row row = {
        .name = name,
        .revision = execution->revision,
        .metadata = slice_of_string(EMPTY_METADATA),
    };

    note(execution, CHANGE_PUT, name);
    return write_new(execution, &row);
}

/* --- Metadata --- */

/* What the metadata shall be, as text. Sets the refusal in @result if it cannot be. The pointer to
 * the field at fault stays in execution->row. */
static void check_metadata(struct execution *execution, const json_t *metadata,
                           struct operation_result *result)
{
    struct buffer *pointer = &execution->row;

    buffer_clear(pointer);
    if (document_check_metadata(metadata, pointer, NULL) == STATUS_OK) {
        buffer_clear(pointer);
        return;
    }
    buffer_clear(&execution->scratch);
    buffer_append_string(&execution->scratch, METADATA_POINTER);
    buffer_append_slice(&execution->scratch, buffer_slice(pointer));
    result->outcome = OUTCOME_INVALID_FIELD;
    result->text = buffer_slice(&execution->scratch);
}

static void refuse_metadata(struct operation_result *result)
{
    result->outcome = OUTCOME_INVALID_FIELD;
    result->text = slice_of_string(METADATA_POINTER);
}

/* @stored with @patch merged in, or @patch itself if there is nothing stored; checked. */
static enum status merge_metadata(struct execution *execution, struct slice stored,
                                  struct slice patch_text, struct buffer *text,
                                  struct operation_result *result)
{
    json_t *target;
    json_t *patch;
    json_t *merged;

    if (document_parse(stored, &target, NULL) != STATUS_OK) {
        return STATUS_CORRUPT;
    }
    if (document_parse(patch_text, &patch, NULL) != STATUS_OK) {
        refuse_metadata(result);
    } else {
        merged = document_merge(target, patch);
        check_metadata(execution, merged, result);
        document_write(merged, text);
        json_decref(merged);
        json_decref(patch);
    }
    json_decref(target);
    return STATUS_OK;
}

/* --- The operations --- */

static enum status execute_put(struct execution *execution, const struct operation *operation,
                               bool exists, const struct namespace_row *old,
                               struct operation_result *result)
{
    const struct text_field *metadata = &operation->ns.metadata;
    bool is_given = metadata->kind == FIELD_SET;
    struct slice given = is_given ? metadata->value : slice_of_string(EMPTY_METADATA);
    struct namespace_row row = {
        .name = operation->ns.name,
        .id = exists ? old->id : 0,
        .revision = execution->revision,
        .created_at_ms = exists ? old->created_at_ms : 0,
    };
    struct buffer text = BUFFER_EMPTY;
    enum status status =
        merge_metadata(execution, slice_of_string(EMPTY_METADATA), given, &text, result);

    if (status == STATUS_OK && result->outcome != OUTCOME_INVALID_FIELD) {
        result->outcome = exists ? OUTCOME_OK : OUTCOME_CREATED;
        result->etag = row.revision;
        row.metadata = buffer_slice(&text);
        note(execution, CHANGE_PUT, row.name);
        status = exists ? write_row(execution, &row) : write_new(execution, &row);
    }
    buffer_close(&text);
    return status;
}

static enum status execute_patch(struct execution *execution, const struct operation *operation,
                                 const struct namespace_row *old, struct operation_result *result)
{
    const struct text_field *metadata = &operation->ns.metadata;
    struct namespace_row row = *old;
    struct buffer text = BUFFER_EMPTY;
    enum status status = STATUS_OK;

    if (metadata->kind == FIELD_SET) {
        status = merge_metadata(execution, old->metadata, metadata->value, &text, result);
    } else {
        buffer_append_slice(&text, metadata->kind == FIELD_NULL ? slice_of_string(EMPTY_METADATA)
                                                                : old->metadata);
    }
    if (status == STATUS_OK && result->outcome != OUTCOME_INVALID_FIELD) {
        result->outcome = OUTCOME_OK;
        result->etag = execution->revision;
        row.name = operation->ns.name;
        row.revision = execution->revision;
        row.metadata = buffer_slice(&text);
        note(execution, CHANGE_PUT, row.name);
        status = write_row(execution, &row);
    }
    buffer_close(&text);
    return status;
}

static enum status execute_delete(struct execution *execution, const struct operation *operation,
                                  uint64_t id, struct operation_result *result)
{
    struct key keys[] = {key_namespace(operation->ns.name), key_namespace_id(id), key_counters(id)};
    enum status status;

    if (slice_equals_string(operation->ns.name, NAMESPACE_DEFAULT)) {
        result->outcome = OUTCOME_PROTECTED;
        return STATUS_OK;
    }
    result->outcome = OUTCOME_NO_CONTENT;
    note(execution, CHANGE_DELETE, operation->ns.name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        status = txn_delete(execution->txn, key_slice(&keys[i]));
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
        }
    }
    return purge_add_namespace(execution->txn, id);
}

enum status namespace_execute(struct execution *execution, const struct operation *operation,
                              struct operation_result *result)
{
    struct namespace_row row = {0};
    bool exists;
    enum status status;

    CHECK(execution->ns.id == 0);

    status = read_row(execution->txn, operation->ns.name, &row);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    exists = status == STATUS_OK;
    if (!exists && operation->kind != OPERATION_NAMESPACE_PUT) {
        result->outcome = OUTCOME_NAMESPACE_NOT_FOUND;
        return STATUS_OK;
    }
    if (!condition_holds(operation, row.revision)) {
        result->outcome = OUTCOME_PRECONDITION_FAILED;
        result->number = row.revision;
        return STATUS_OK;
    }
    if (operation->kind == OPERATION_NAMESPACE_DELETE) {
        return execute_delete(execution, operation, row.id, result);
    }
    status = operation->kind == OPERATION_NAMESPACE_PUT
                 ? execute_put(execution, operation, exists, &row, result)
                 : execute_patch(execution, operation, &row, result);
    if (status == STATUS_OK && outcome_is_success(result->outcome)) {
        result->row_kind = ROW_NAMESPACE;
        result->row = buffer_slice(&execution->row);
    }
    return status;
}

/* --- Purging --- */

/* Remove the record @key with @payload, and what hangs on it. */
static enum status purge_record(struct execution *execution, uint64_t namespace_id,
                                enum key_kind kind, struct slice key, struct slice payload,
                                uint32_t *budget)
{
    struct item_row item;
    struct slice id;
    struct key copy;
    enum status status;

    if (kind == KEY_ITEM) {
        *budget -= 1;
        status = item_row_decode(payload, &item);
        return status == STATUS_OK ? item_remove(execution->txn, namespace_id, &item) : status;
    }
    if (!key_parse_id_name(key, kind, &namespace_id, &id)) {
        return STATUS_CORRUPT;
    }
    if (kind == KEY_SESSION) {
        return session_abandon(execution, namespace_id, id, budget);
    }
    /* The entries of these in the queue of what is due find nothing within a day. */
    *budget -= 1;
    copy.size = key.size;
    memcpy(copy.data, key.data, key.size);
    return txn_delete(execution->txn, key_slice(&copy));
}

/* STATUS_END when nothing of @kind is left. */
static enum status purge_kind(struct execution *execution, uint64_t namespace_id,
                              enum key_kind kind, uint32_t *budget)
{
    struct key prefix = key_prefix_of_id(kind, namespace_id);
    struct slice payload;
    struct slice found;
    enum status status = STATUS_OK;

    while (*budget > 0 && status == STATUS_OK) {
        status = txn_first(execution->txn, key_slice(&prefix), &found, &payload);
        if (status == STATUS_OK) {
            status = purge_record(execution, namespace_id, kind, found, payload, budget);
        }
    }
    return status;
}

enum status namespace_purge(struct execution *execution, uint64_t namespace_id, uint32_t *budget,
                            bool *done)
{
    static const enum key_kind kinds[] = {KEY_ITEM, KEY_SESSION, KEY_TOMBSTONE, KEY_IDEMPOTENCY};
    enum status status;

    *done = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        status = purge_kind(execution, namespace_id, kinds[i], budget);
        if (status != STATUS_END) {
            return status; /* Also STATUS_OK: the budget is spent. */
        }
    }
    *done = true;
    return STATUS_OK;
}
