#include "storage/session.h"

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/wire.h"
#include "storage/document.h"
#include "storage/event.h"
#include "storage/expiry.h"
#include "storage/keys.h"
#include "storage/session_index.h"
#include "storage/view.h"

#define TOMBSTONE_VERSION 1

/* A state of this size is "{}" and has no record. */
#define EMPTY_STATE_BYTES 2

static struct slice empty_object(void)
{
    return slice_of_string("{}");
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* Was the session @id deleted less than a day ago? STATUS_NOT_FOUND if not. */
static enum status find_tombstone(struct txn *txn, uint64_t namespace_id, struct slice id,
                                  uint64_t now_ms)
{
    struct wire_reader reader;
    struct slice payload;
    struct key key;
    uint64_t deleted_at_ms;
    uint8_t version;
    enum status status;

    key = key_tombstone(namespace_id, id);
    status = txn_get(txn, key_slice(&key), &payload);
    if (status != STATUS_OK) {
        return status;
    }
    reader = wire_reader_of(payload);
    version = wire_get_u8(&reader);
    deleted_at_ms = wire_get_u64(&reader);
    if (version != TOMBSTONE_VERSION || wire_done(&reader) != STATUS_OK) {
        return STATUS_CORRUPT;
    }
    return deleted_at_ms + LIMIT_TOMBSTONE_MS <= now_ms ? STATUS_NOT_FOUND : STATUS_OK;
}

static enum status load_absent(struct execution *execution, struct slice id,
                               struct session_object *object)
{
    enum status status = find_tombstone(execution->txn, execution->ns.id, id, execution->now_ms);

    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    *object =
        (struct session_object){.presence = status == STATUS_OK ? SESSION_DELETED : SESSION_ABSENT};
    return STATUS_OK;
}

/* Read a row into execution->scratch, where it survives the writes to come. */
static enum status load_row(struct execution *execution, uint64_t namespace_id, struct slice id,
                            struct session_row *row)
{
    struct key key = key_session(namespace_id, id);
    struct slice payload;
    enum status status = txn_get(execution->txn, key_slice(&key), &payload);

    if (status != STATUS_OK) {
        return status;
    }
    buffer_clear(&execution->scratch);
    buffer_append_slice(&execution->scratch, payload);
    return session_row_decode(buffer_slice(&execution->scratch), row);
}

enum status session_load(struct execution *execution, struct slice id,
                         struct session_object *object)
{
    enum status status = load_row(execution, execution->ns.id, id, &object->was);

    if (status == STATUS_NOT_FOUND) {
        return load_absent(execution, id, object);
    }
    if (status != STATUS_OK) {
        return status;
    }
    object->row = object->was;
    object->presence = expiry_has_passed(object->was.expires_at_ms, execution->now_ms)
                           ? SESSION_EXPIRED
                           : SESSION_PRESENT;
    return STATUS_OK;
}

/* The stored state of the session with @row, borrowed from the map. */
static enum status get_state(struct txn *txn, const struct session_row *row, struct slice *state)
{
    struct key key;

    if (row->state_bytes <= EMPTY_STATE_BYTES) {
        *state = empty_object();
        return STATUS_OK;
    }
    key = key_session_state(row->object_id);
    return txn_get(txn, key_slice(&key), state);
}

enum status view_session(struct view *view, uint64_t namespace_id, struct slice id,
                         struct session_row *row)
{
    struct session_row found;
    struct slice payload;
    struct key key;
    enum status status;

    key = key_session(namespace_id, id);
    status = txn_get(view->txn, key_slice(&key), &payload);
    if (status == STATUS_NOT_FOUND) {
        status = find_tombstone(view->txn, namespace_id, id, view->state->time_ms);
        return status == STATUS_OK ? STATUS_CLOSED : status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = session_row_decode(payload, &found);
    if (status != STATUS_OK) {
        return status;
    }
    if (expiry_has_passed(found.expires_at_ms, view->state->time_ms)) {
        return STATUS_NOT_FOUND;
    }
    status = get_state(view->txn, &found, &found.state);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
    }
    *row = found;
    return STATUS_OK;
}

/* --- Changing a row --------------------------------------------------------------------------- */

void session_changed_log(struct execution *execution, struct session_row *row)
{
    row->updated_revision = execution->revision;
    row->updated_at_ms = execution->now_ms;
}

void session_changed_document(struct execution *execution, struct session_row *row)
{
    row->revision = execution->revision;
    session_changed_log(execution, row);
}

/* As a client that asks for exactly @ttl_ms gets it. */
static void set_ttl(struct execution *execution, struct session_row *row, uint64_t ttl_ms)
{
    row->ttl_ms = ttl_ms;
    row->expires_at_ms = ttl_ms == 0 ? 0 : execution->now_ms + ttl_ms;
}

/* A tenth more than asked for, so that the next renewals need not be written. */
static void set_generous_ttl(struct execution *execution, struct session_row *row, uint64_t ttl_ms)
{
    set_ttl(execution, row, ttl_ms);
    if (ttl_ms != 0) {
        row->expires_at_ms += ttl_ms / 10;
    }
}

static bool is_covered(const struct execution *execution, const struct session_row *row)
{
    return row->ttl_ms == 0 || row->expires_at_ms - execution->now_ms >= row->ttl_ms;
}

void session_slide(struct execution *execution, struct session_row *row)
{
    if (row->sliding && !is_covered(execution, row)) {
        set_generous_ttl(execution, row, row->ttl_ms);
    }
}

static struct slice text_or(const struct text_field *field, struct slice value)
{
    return field->kind == FIELD_SET ? field->value : value;
}

/* All fields, with their defaults for what is absent or null. */
static void replace_fields(struct execution *execution, const struct session_fields *fields,
                           struct session_row *row)
{
    row->agent_id = text_or(&fields->agent_id, slice_of(NULL, 0));
    row->user_id = text_or(&fields->user_id, slice_of(NULL, 0));
    row->status = fields->status_kind == FIELD_SET ? fields->status : SESSION_ACTIVE;
    row->metadata = text_or(&fields->metadata, empty_object());
    row->state = text_or(&fields->state, empty_object());
    row->state_bytes = row->state.size;
    row->sliding = fields->sliding_kind == FIELD_SET ? fields->sliding : true;
    row->write_policy =
        fields->write_policy_kind == FIELD_SET ? fields->write_policy : WRITE_POLICY_ANY;
    set_ttl(execution, row, fields->ttl.kind == TTL_SET ? fields->ttl.ms : 0);
}

void session_make(struct execution *execution, struct slice id, const struct session_fields *fields,
                  struct session_object *object)
{
    object->row = (struct session_row){
        .id = id,
        .next_seq = 1,
        .created_at_ms = execution->now_ms,
    };
    replace_fields(execution, fields, &object->row);
    session_changed_document(execution, &object->row);
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* Of the session's own documents and its log, as clients count them. */
static uint64_t bytes_of(const struct session_row *row)
{
    return row->id.size + row->metadata.size + row->state_bytes + row->event_bytes;
}

/* Count @row in or out of the namespace. */
static void count(struct namespace_counters *counters, const struct session_row *row, bool in)
{
    uint64_t sign = in ? 1 : UINT64_MAX; /* Sums wrap around: adding the largest subtracts 1. */

    counters->sessions += sign;
    counters->sessions_by_status[row->status] += sign;
    counters->events += sign * row->event_count;
    counters->bytes += sign * bytes_of(row);
}

static enum status delete_if_there(struct txn *txn, const struct key *key)
{
    enum status status = txn_delete(txn, key_slice(key));

    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Take the session out of everything that names it; its events are purged later. */
static enum status remove_records(struct execution *execution, uint64_t namespace_id,
                                  const struct session_row *row)
{
    struct key key;
    enum status status;

    key = key_session(namespace_id, row->id);
    status = txn_delete(execution->txn, key_slice(&key));
    if (status != STATUS_OK) {
        return status;
    }
    key = key_session_state(row->object_id);
    status = delete_if_there(execution->txn, &key);
    if (status != STATUS_OK) {
        return status;
    }
    status = session_index_move(execution->txn, namespace_id, row, NULL);
    if (status != STATUS_OK) {
        return status;
    }
    status = expiry_set(execution->txn, DUE_SESSION, namespace_id, row->id, row->expires_at_ms, 0);
    if (status != STATUS_OK) {
        return status;
    }
    return event_abandon(execution->txn, row);
}

/* The namespace goes on without the session. */
static enum status retire(struct execution *execution, const struct session_row *row)
{
    count(&execution->counters, row, false);
    return remove_records(execution, execution->ns.id, row);
}

static enum status write_state(struct execution *execution, const struct session_row *row)
{
    struct key key;

    key = key_session_state(row->object_id);
    if (row->state_bytes <= EMPTY_STATE_BYTES) {
        return delete_if_there(execution->txn, &key);
    }
    return txn_put(execution->txn, key_slice(&key), row->state);
}

static enum status write_row(struct execution *execution, const struct session_row *row)
{
    struct session_row stored = *row;
    struct key key;

    stored.state = slice_of(NULL, 0);
    buffer_clear(&execution->row);
    session_row_encode(&stored, &execution->row);
    key = key_session(execution->ns.id, row->id);
    return txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->row));
}

/* Before the first write of a session that is made. */
static enum status found(struct execution *execution, struct session_object *object)
{
    if (object->presence == SESSION_EXPIRED) {
        enum status status = retire(execution, &object->was);

        if (status != STATUS_OK) {
            return status;
        }
    }
    object->was = (struct session_row){0};
    object->row.object_id = txn_state(execution->txn)->next_object_id++;
    return STATUS_OK;
}

enum status session_save(struct execution *execution, struct session_object *object,
                         bool writes_state)
{
    struct session_row *was = &object->was;
    struct session_row *row = &object->row;
    enum status status;

    CHECK(object->presence != SESSION_DELETED);

    if (object->presence != SESSION_PRESENT) {
        status = found(execution, object);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        count(&execution->counters, was, false);
    }
    count(&execution->counters, row, true);
    if (writes_state) {
        status = write_state(execution, row);
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = session_index_move(execution->txn, execution->ns.id,
                                object->presence == SESSION_PRESENT ? was : NULL, row);
    if (status != STATUS_OK) {
        return status;
    }
    if (was->expires_at_ms != row->expires_at_ms) {
        status = expiry_set(execution->txn, DUE_SESSION, execution->ns.id, row->id,
                            was->expires_at_ms, row->expires_at_ms);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return write_row(execution, row);
}

/* --- Operations ------------------------------------------------------------------------------- */

void session_refuse_absent(const struct session_object *object, struct operation_result *result)
{
    result->outcome = object->presence == SESSION_DELETED ? OUTCOME_DELETED : OUTCOME_NOT_FOUND;
}

/* The check of If-Match and If-None-Match. */
static bool refuse_condition(const struct operation *operation, const struct session_object *object,
                             struct operation_result *result)
{
    uint64_t revision = object->presence == SESSION_PRESENT ? object->row.revision : 0;

    if (condition_holds(operation, revision)) {
        return false;
    }
    result->outcome = OUTCOME_PRECONDITION_FAILED;
    result->number = revision;
    return true;
}

static void note_session(struct execution *execution, enum change_action action,
                         const struct session_row *row)
{
    execution_note_change(execution, RESOURCE_SESSION, action, row->id, row->agent_id,
                          row->user_id);
}

static void answer_row(struct execution *execution, enum outcome outcome,
                       const struct session_row *row, struct operation_result *result)
{
    result->outcome = outcome;
    result->etag = row->revision;
    result->row_kind = ROW_SESSION;
    result->row = buffer_slice(&execution->row); /* As session_save() left it. */
}

static enum status execute_put(struct execution *execution, const struct operation *operation,
                               struct session_object *object, struct operation_result *result)
{
    const struct session_operation *session = &operation->session;
    bool is_new = object->presence != SESSION_PRESENT;
    enum status status;

    if (object->presence == SESSION_DELETED) {
        result->outcome = OUTCOME_DELETED;
        return STATUS_OK;
    }
    if (refuse_condition(operation, object, result)) {
        return STATUS_OK;
    }
    if (is_new) {
        session_make(execution, session->id, &session->fields, object);
    } else {
        replace_fields(execution, &session->fields, &object->row);
        session_changed_document(execution, &object->row);
    }
    status = session_save(execution, object, true);
    if (status != STATUS_OK) {
        return status;
    }
    note_session(execution, CHANGE_PUT, &object->row);
    answer_row(execution, is_new ? OUTCOME_CREATED : OUTCOME_OK, &object->row, result);
    return STATUS_OK;
}

static void refuse_field(enum outcome outcome, const char *field, struct operation_result *result)
{
    result->outcome = outcome;
    result->text = slice_of_string(field);
}

/* The merge of two documents; NULL if one is not JSON or the patch is not an object, which the API
 * lets through never. */
static json_t *merge_texts(struct slice target_text, struct slice patch_text)
{
    json_t *target = NULL;
    json_t *patch = NULL;
    json_t *merged = NULL;

    if (document_parse(target_text, &target, NULL) == STATUS_OK &&
        document_parse(patch_text, &patch, NULL) == STATUS_OK && json_is_object(patch)) {
        merged = document_merge(target, patch);
    }
    json_decref(target);
    json_decref(patch);
    return merged;
}

enum status session_merge_state(struct execution *execution, const struct session_object *object,
                                struct slice patch, const char *field, struct buffer *merged,
                                struct operation_result *result)
{
    struct slice state = object->row.state;
    json_t *value;
    enum status status;

    if (object->presence == SESSION_PRESENT) {
        status = get_state(execution->txn, &object->was, &state);
        if (status != STATUS_OK) {
            return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
        }
    }
    value = merge_texts(state, patch);
    if (value == NULL) {
        refuse_field(OUTCOME_INVALID_FIELD, field, result);
        return STATUS_OK;
    }
    document_write(value, merged);
    json_decref(value);
    if (merged->size > LIMIT_STATE_BYTES) {
        refuse_field(OUTCOME_TOO_LARGE, field, result);
    }
    return STATUS_OK;
}

/* Merge @patch into the metadata of @row, as text in @merged. The pointer of a refusal goes to
 * execution->row, where results borrow from. */
static void merge_metadata(struct execution *execution, const struct session_row *row,
                           struct slice patch, struct buffer *merged,
                           struct operation_result *result)
{
    json_t *value = merge_texts(row->metadata, patch);

    buffer_clear(&execution->row);
    buffer_append_string(&execution->row, "/metadata");
    if (value == NULL || document_check_metadata(value, &execution->row, NULL) != STATUS_OK) {
        result->outcome = OUTCOME_INVALID_FIELD;
        result->text = buffer_slice(&execution->row);
    } else {
        document_write(value, merged);
    }
    json_decref(value);
}

/* Merge or reset the two documents; the merged texts live in @metadata and @state. */
static enum status patch_documents(struct execution *execution, const struct session_fields *fields,
                                   struct session_object *object, struct buffer *metadata,
                                   struct buffer *state, struct operation_result *result)
{
    struct session_row *row = &object->row;
    enum status status;

    if (fields->metadata.kind == FIELD_NULL) {
        row->metadata = empty_object();
    } else if (fields->metadata.kind == FIELD_SET) {
        merge_metadata(execution, row, fields->metadata.value, metadata, result);
        row->metadata = buffer_slice(metadata);
    }
    if (!outcome_is_success(result->outcome)) {
        return STATUS_OK;
    }
    if (fields->state.kind == FIELD_NULL) {
        row->state = empty_object();
    } else if (fields->state.kind == FIELD_SET) {
        status =
            session_merge_state(execution, object, fields->state.value, "/state", state, result);
        if (status != STATUS_OK) {
            return status;
        }
        row->state = buffer_slice(state);
    }
    if (fields->state.kind != FIELD_ABSENT) {
        row->state_bytes = row->state.size;
    }
    return STATUS_OK;
}

/* The fields that are given replace, null resets, the others stay. */
static void patch_scalars(struct execution *execution, const struct session_fields *fields,
                          struct session_row *row)
{
    if (fields->agent_id.kind != FIELD_ABSENT) {
        row->agent_id = text_or(&fields->agent_id, slice_of(NULL, 0));
    }
    if (fields->user_id.kind != FIELD_ABSENT) {
        row->user_id = text_or(&fields->user_id, slice_of(NULL, 0));
    }
    if (fields->status_kind != FIELD_ABSENT) {
        row->status = fields->status_kind == FIELD_SET ? fields->status : SESSION_ACTIVE;
    }
    if (fields->sliding_kind != FIELD_ABSENT) {
        row->sliding = fields->sliding_kind == FIELD_SET ? fields->sliding : true;
    }
    if (fields->write_policy_kind != FIELD_ABSENT) {
        row->write_policy =
            fields->write_policy_kind == FIELD_SET ? fields->write_policy : WRITE_POLICY_ANY;
    }
    if (fields->ttl.kind != TTL_ABSENT) {
        set_ttl(execution, row, fields->ttl.kind == TTL_SET ? fields->ttl.ms : 0);
    } else if (row->sliding) {
        session_slide(execution, row);
    } else {
        set_ttl(execution, row, row->ttl_ms);
    }
}

static enum status save_patched(struct execution *execution, const struct session_fields *fields,
                                struct session_object *object, struct operation_result *result)
{
    enum status status;

    patch_scalars(execution, fields, &object->row);
    session_changed_document(execution, &object->row);
    status = session_save(execution, object, fields->state.kind != FIELD_ABSENT);
    if (status != STATUS_OK) {
        return status;
    }
    note_session(execution, CHANGE_PUT, &object->row);
    answer_row(execution, OUTCOME_OK, &object->row, result);
    return STATUS_OK;
}

static enum status execute_patch(struct execution *execution, const struct operation *operation,
                                 struct session_object *object, struct operation_result *result)
{
    const struct session_fields *fields = &operation->session.fields;
    struct buffer metadata = BUFFER_EMPTY;
    struct buffer state = BUFFER_EMPTY;
    enum status status;

    if (refuse_condition(operation, object, result)) {
        return STATUS_OK;
    }
    status = patch_documents(execution, fields, object, &metadata, &state, result);
    if (status == STATUS_OK && outcome_is_success(result->outcome)) {
        status = save_patched(execution, fields, object, result);
    }
    buffer_close(&metadata);
    buffer_close(&state);
    return status;
}

static enum status put_tombstone(struct execution *execution, struct slice id)
{
    struct key key;
    enum status status;

    buffer_clear(&execution->row);
    wire_put_u8(&execution->row, TOMBSTONE_VERSION);
    wire_put_u64(&execution->row, execution->now_ms);
    key = key_tombstone(execution->ns.id, id);
    status = txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->row));
    if (status != STATUS_OK) {
        return status;
    }
    return expiry_set(execution->txn, DUE_TOMBSTONE, execution->ns.id, id, 0,
                      execution->now_ms + LIMIT_TOMBSTONE_MS);
}

static enum status execute_delete(struct execution *execution, const struct operation *operation,
                                  struct session_object *object, struct operation_result *result)
{
    enum status status;

    if (refuse_condition(operation, object, result)) {
        return STATUS_OK;
    }
    status = retire(execution, &object->was);
    if (status != STATUS_OK) {
        return status;
    }
    status = put_tombstone(execution, object->was.id);
    if (status != STATUS_OK) {
        return status;
    }
    note_session(execution, CHANGE_DELETE, &object->was);
    result->outcome = OUTCOME_NO_CONTENT;
    return STATUS_OK;
}

/* With If-Match exact and always written; else generous, and not written while it is covered. */
static enum status execute_touch(struct execution *execution, const struct operation *operation,
                                 struct session_object *object, struct operation_result *result)
{
    const struct ttl *ttl = &operation->session.fields.ttl;
    struct session_row *row = &object->row;
    uint64_t ttl_ms = ttl->kind == TTL_SET ? ttl->ms : ttl->kind == TTL_CLEAR ? 0 : row->ttl_ms;
    enum status status;

    if (refuse_condition(operation, object, result)) {
        return STATUS_OK;
    }
    result->outcome = OUTCOME_NO_CONTENT;
    result->etag = row->revision;
    if (operation->if_match.kind != CONDITION_NONE) {
        set_ttl(execution, row, ttl_ms);
    } else if (ttl_ms == row->ttl_ms && is_covered(execution, row)) {
        return STATUS_OK;
    } else {
        set_generous_ttl(execution, row, ttl_ms);
    }
    status = session_save(execution, object, false);
    if (status != STATUS_OK) {
        return status;
    }
    note_session(execution, CHANGE_TOUCH, row);
    return STATUS_OK;
}

static void execute_check(const struct operation *operation, const struct session_object *object,
                          struct operation_result *result)
{
    if (object->presence == SESSION_DELETED) {
        result->outcome = OUTCOME_DELETED;
    } else if (!refuse_condition(operation, object, result)) {
        result->outcome = OUTCOME_NO_CONTENT;
    }
}

enum status session_execute(struct execution *execution, const struct operation *operation,
                            struct operation_result *result)
{
    struct session_object object;
    enum status status = session_load(execution, operation->session.id, &object);

    if (status != STATUS_OK) {
        return status;
    }
    if (operation->kind == OPERATION_SESSION_PUT) {
        return execute_put(execution, operation, &object, result);
    }
    if (operation->kind == OPERATION_SESSION_CHECK) {
        execute_check(operation, &object, result);
        return STATUS_OK;
    }
    if (object.presence != SESSION_PRESENT) {
        session_refuse_absent(&object, result);
        return STATUS_OK;
    }
    if (operation->kind == OPERATION_SESSION_PATCH) {
        return execute_patch(execution, operation, &object, result);
    }
    if (operation->kind == OPERATION_SESSION_DELETE) {
        return execute_delete(execution, operation, &object, result);
    }
    CHECK(operation->kind == OPERATION_SESSION_TOUCH);
    return execute_touch(execution, operation, &object, result);
}

/* --- Maintenance ------------------------------------------------------------------------------ */

static void spend(uint32_t *budget, uint32_t records)
{
    *budget -= records < *budget ? records : *budget;
}

enum status session_expire(struct execution *execution, uint64_t namespace_id, struct slice id,
                           uint32_t *budget)
{
    struct session_object object;
    enum status status;

    CHECK(namespace_id == execution->ns.id);

    status = session_load(execution, id, &object);
    if (status != STATUS_OK) {
        return status;
    }
    spend(budget, 1);
    if (object.presence != SESSION_EXPIRED) {
        return STATUS_OK; /* It was renewed, or is gone: the queue entry has outlived its reason. */
    }
    status = retire(execution, &object.was);
    if (status != STATUS_OK) {
        return status;
    }
    note_session(execution, CHANGE_DELETE, &object.was);
    return STATUS_OK;
}

enum status session_forget(struct execution *execution, uint64_t namespace_id, struct slice id,
                           uint32_t *budget)
{
    struct key key = key_tombstone(namespace_id, id);
    enum status status = find_tombstone(execution->txn, namespace_id, id, execution->now_ms);

    spend(budget, 1);
    if (status != STATUS_NOT_FOUND) {
        return status; /* OK: it was deleted again since, and that one is not over. */
    }
    return delete_if_there(execution->txn, &key);
}

enum status session_abandon(struct execution *execution, uint64_t namespace_id, struct slice id,
                            uint32_t *budget)
{
    struct session_row row;
    enum status status = load_row(execution, namespace_id, id, &row);

    if (status != STATUS_OK) {
        return status;
    }
    spend(budget, 1);
    return remove_records(execution, namespace_id, &row); /* Its counters are gone already. */
}
