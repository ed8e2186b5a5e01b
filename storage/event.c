#include "storage/event.h"

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/event_log.h"
#include "storage/expiry.h"
#include "storage/keys.h"
#include "storage/session.h"

/* --- Ids -------------------------------------------------------------------------------------- */

/* What is remembered of an event id: u8 version, u64 seq, u64 first and u64 last seq of its append,
 * u8 whether that made the session, u64 and u64 hash of type and data. */
struct event_id {
    uint64_t seq;
    uint64_t first_seq;
    uint64_t last_seq;
    bool session_created;
    uint64_t hash[2];
};

#define EVENT_ID_VERSION 1

static void hash_event(const struct new_event *event, uint64_t hash[2])
{
    XXH64_hash_t type = XXH3_64bits(event->type.data, event->type.size);
    XXH128_hash_t both = XXH3_128bits_withSeed(event->data.data, event->data.size, type);

    hash[0] = both.low64;
    hash[1] = both.high64;
}

static enum status get_event_id(struct txn *txn, uint64_t object_id, struct slice id,
                                struct event_id *known)
{
    struct key key = key_event_id(object_id, id);
    struct wire_reader reader;
    struct slice payload;
    uint8_t version;
    enum status status = txn_get(txn, key_slice(&key), &payload);

    if (status != STATUS_OK) {
        return status;
    }
    reader = wire_reader_of(payload);
    version = wire_get_u8(&reader);
    known->seq = wire_get_u64(&reader);
    known->first_seq = wire_get_u64(&reader);
    known->last_seq = wire_get_u64(&reader);
    known->session_created = wire_get_u8(&reader) == 1;
    known->hash[0] = wire_get_u64(&reader);
    known->hash[1] = wire_get_u64(&reader);
    if (version != EVENT_ID_VERSION) {
        return STATUS_CORRUPT;
    }
    return wire_done(&reader);
}

static enum status put_event_id(struct execution *execution, uint64_t object_id, struct slice id,
                                const struct event_id *known)
{
    struct key key = key_event_id(object_id, id);
    struct buffer *payload = &execution->row;

    buffer_clear(payload);
    wire_put_u8(payload, EVENT_ID_VERSION);
    wire_put_u64(payload, known->seq);
    wire_put_u64(payload, known->first_seq);
    wire_put_u64(payload, known->last_seq);
    wire_put_u8(payload, known->session_created ? 1 : 0);
    wire_put_u64(payload, known->hash[0]);
    wire_put_u64(payload, known->hash[1]);
    return txn_put(execution->txn, key_slice(&key), buffer_slice(payload));
}

/* Does one append give an id twice? */
static bool has_twins(const struct append_operation *append)
{
    uint16_t table[LIMIT_APPEND_EVENTS * 2] = {0}; /* Open hashing: number of the event plus 1. */
    const size_t slots = sizeof table / sizeof *table;

    for (uint32_t i = 0; i < append->n_events; i++) {
        struct slice id = append->events[i].id;
        size_t slot = XXH3_64bits(id.data, id.size) % slots;

        while (table[slot] != 0) {
            if (slice_equals(append->events[table[slot] - 1].id, id)) {
                return true;
            }
            slot = (slot + 1) % slots;
        }
        table[slot] = (uint16_t)(i + 1);
    }
    return false;
}

enum replay {
    REPLAY_NONE,    /* No id is known. */
    REPLAY_EXACT,   /* All of an earlier append, in order and unchanged. */
    REPLAY_DIFFERS, /* Some of one, or changed. */
};

/* Is @event the one at @place of the append that @first opened? */
static bool is_same(const struct new_event *event, const struct event_id *known,
                    const struct event_id *first, uint32_t place)
{
    uint64_t hash[2];

    hash_event(event, hash);
    return known->first_seq == first->seq && known->last_seq == first->last_seq &&
           known->seq == first->seq + place && known->hash[0] == hash[0] &&
           known->hash[1] == hash[1];
}

static enum status find_replay(struct execution *execution, uint64_t object_id,
                               const struct append_operation *append, enum replay *replay,
                               struct event_id *first)
{
    uint32_t n_known = 0;
    uint32_t n_same = 0;

    for (uint32_t i = 0; i < append->n_events; i++) {
        const struct new_event *event = &append->events[i];
        struct event_id known;
        enum status status = get_event_id(execution->txn, object_id, event->id, &known);

        if (status == STATUS_NOT_FOUND || MUTATION(event_ids_forgotten)) {
            continue;
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (i == 0) {
            *first = known;
        }
        n_known++;
        if (n_known == i + 1 && is_same(event, &known, first, i)) {
            n_same++;
        }
    }
    if (n_known == 0) {
        *replay = REPLAY_NONE;
    } else if (n_same == append->n_events &&
               first->last_seq - first->first_seq + 1 == append->n_events) {
        *replay = REPLAY_EXACT;
    } else {
        *replay = REPLAY_DIFFERS;
    }
    return STATUS_OK;
}

/* --- Appending -------------------------------------------------------------------------------- */

/* One append on its way through the checks; nothing is written before all have passed. */
struct append {
    struct execution *execution;
    const struct operation *operation;
    const struct append_operation *wanted;
    struct operation_result *result;
    struct session_object object;
    bool creates;
    struct log_cut cut;
    struct buffer state; /* Merged. */
};

static void answer_append(struct append *append, enum outcome outcome, const struct append_row *row)
{
    struct buffer *bytes = &append->execution->row;

    buffer_clear(bytes);
    append_row_encode(row, bytes);
    append->result->outcome = outcome;
    append->result->etag = append->object.row.revision;
    append->result->row_kind = ROW_APPEND;
    append->result->row = buffer_slice(bytes);
}

/* Answer or refuse an append whose ids are known. */
static enum status check_replay(struct append *append, bool *answered)
{
    struct event_id first = {0};
    enum replay replay = REPLAY_NONE;
    enum status status = STATUS_OK;

    *answered = false;
    if (append->wanted->events[0].id.size == 0) {
        return STATUS_OK;
    }
    if (!append->creates) {
        status = find_replay(append->execution, append->object.row.object_id, append->wanted,
                             &replay, &first);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (replay == REPLAY_EXACT && !append->execution->in_transaction) {
        answer_append(append, OUTCOME_OK,
                      &(struct append_row){.first_seq = first.first_seq,
                                           .last_seq = first.last_seq,
                                           .duplicate = true,
                                           .session_created = first.session_created});
        *answered = true;
    } else if (replay != REPLAY_NONE || has_twins(append->wanted)) {
        append->result->outcome = OUTCOME_EVENT_ID_REUSED;
        *answered = true;
    }
    return STATUS_OK;
}

static bool refuse(struct append *append, enum outcome outcome, uint64_t number)
{
    append->result->outcome = outcome;
    append->result->number = number;
    return true;
}

/* If-*, closed, expected_seq: the first failure answers. */
static bool refuse_by_preconditions(struct append *append)
{
    const struct session_row *row = &append->object.row;
    uint64_t revision = append->creates ? 0 : row->revision;

    if (!condition_holds(append->operation, revision)) {
        return refuse(append, OUTCOME_PRECONDITION_FAILED, revision);
    }
    if (!append->creates && row->status == SESSION_CLOSED) {
        return refuse(append, OUTCOME_SESSION_CLOSED, 0);
    }
    if (append->wanted->has_expected_seq && append->wanted->expected_seq != row->last_seq) {
        return refuse(append, OUTCOME_SEQUENCE_CONFLICT, row->last_seq);
    }
    return false;
}

static struct event_row row_of(const struct append *append, const struct new_event *event)
{
    return (struct event_row){
        .id = event->id,
        .type = event->type,
        .data = event->data,
        .created_at_ms = append->execution->now_ms,
    };
}

/* Change the row as the append will; refuses what does not fit. */
static bool refuse_by_size(struct append *append)
{
    struct session_row *row = &append->object.row;

    for (uint32_t i = 0; i < append->wanted->n_events; i++) {
        struct event_row event = row_of(append, &append->wanted->events[i]);

        log_advance(row, &event);
    }
    if (row->event_count > LIMIT_LOG_EVENTS || row->event_bytes > LIMIT_LOG_BYTES) {
        return refuse(append, OUTCOME_SESSION_FULL, 0);
    }
    return false;
}

/* Merge the state patch into the row. */
static enum status patch_state(struct append *append)
{
    struct session_row *row = &append->object.row;
    enum status status;

    if (append->wanted->state_patch.size == 0) {
        return STATUS_OK;
    }
    status = session_merge_state(append->execution, &append->object, append->wanted->state_patch,
                                 "/state_patch", &append->state, append->result);
    if (status == STATUS_OK && outcome_is_success(append->result->outcome)) {
        row->state = buffer_slice(&append->state);
        row->state_bytes = row->state.size;
        session_changed_document(append->execution, row);
    }
    return status;
}

/* Write the events and their ids. @log is the row as it was before them. */
static enum status write_events(struct append *append, struct session_row *log)
{
    struct execution *execution = append->execution;
    uint64_t object_id = append->object.row.object_id;
    struct event_id id = {.first_seq = log->next_seq,
                          .last_seq = append->object.row.last_seq,
                          .session_created = append->creates};

    for (uint32_t i = 0; i < append->wanted->n_events; i++) {
        const struct new_event *wanted = &append->wanted->events[i];
        struct event_row event = row_of(append, wanted);
        struct key key;
        enum status status;

        log_advance(log, &event);
        buffer_clear(&execution->row);
        event_row_encode(&event, &execution->row);
        key = key_event(object_id, event.seq);
        status = txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->row));
        if (status == STATUS_OK && wanted->id.size > 0) {
            id.seq = event.seq;
            hash_event(wanted, id.hash);
            status = put_event_id(execution, object_id, wanted->id, &id);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static void note(struct execution *execution, enum change_resource resource,
                 enum change_action action, const struct session_row *row)
{
    execution_note_change(execution, resource, action, row->id, row->agent_id, row->user_id);
}

static void note_append(const struct append *append)
{
    const struct session_row *row = &append->object.row;

    if (append->creates || append->wanted->state_patch.size > 0) {
        note(append->execution, RESOURCE_SESSION, CHANGE_PUT, row);
    }
    if (append->cut.deleted > 0) {
        note(append->execution, RESOURCE_EVENTS, CHANGE_TRIM, row);
    }
    note(append->execution, RESOURCE_EVENTS, CHANGE_APPEND, row);
}

/* All checks have passed, and object.row is as it shall be. @log is the row before the events. */
static enum status write_append(struct append *append, struct session_row *log)
{
    bool writes_state = append->creates || append->wanted->state_patch.size > 0;
    uint64_t first_seq = log->next_seq;
    enum status status;

    session_changed_log(append->execution, &append->object.row);
    session_slide(append->execution, &append->object.row);
    status = session_save(append->execution, &append->object, writes_state);
    if (status != STATUS_OK) {
        return status;
    }
    status = log_write_cut(append->execution->txn, append->object.row.object_id, &append->cut);
    if (status != STATUS_OK) {
        return status;
    }
    status = write_events(append, log);
    if (status != STATUS_OK) {
        return status;
    }
    note_append(append);
    answer_append(append, OUTCOME_CREATED,
                  &(struct append_row){.first_seq = first_seq,
                                       .last_seq = append->object.row.last_seq,
                                       .session_created = append->creates});
    return STATUS_OK;
}

/* The session is there, or is to be made. */
static enum status run_append(struct append *append)
{
    struct session_row *row = &append->object.row;
    struct session_row log;
    bool answered;
    enum status status = check_replay(append, &answered);

    if (status != STATUS_OK || answered || refuse_by_preconditions(append)) {
        return status;
    }
    if (append->wanted->has_truncate_after) {
        status = log_rewind(append->execution->txn, row,
                            append->wanted->truncate_after + (MUTATION(rewind_leaves_one) ? 1 : 0),
                            &append->cut);
        if (status != STATUS_OK) {
            return status;
        }
    }
    log = *row;
    if (refuse_by_size(append)) {
        return STATUS_OK;
    }
    status = patch_state(append);
    if (status != STATUS_OK || !outcome_is_success(append->result->outcome)) {
        return status;
    }
    return write_append(append, &log);
}

static enum status execute_append(struct execution *execution, const struct operation *operation,
                                  struct operation_result *result)
{
    struct append append = {
        .execution = execution,
        .operation = operation,
        .wanted = &operation->append,
        .result = result,
    };
    enum status status = session_load(execution, operation->append.session_id, &append.object);

    CHECK(operation->append.n_events > 0);
    if (status != STATUS_OK) {
        return status;
    }
    append.creates = append.object.presence != SESSION_PRESENT;
    if (append.creates) {
        if (append.object.presence == SESSION_DELETED || !operation->append.has_create) {
            session_refuse_absent(&append.object, result);
            return STATUS_OK;
        }
        session_make(execution, operation->append.session_id, &operation->append.create,
                     &append.object);
    }
    status = run_append(&append);
    buffer_close(&append.state);
    return status;
}

/* --- Rewinding and trimming ------------------------------------------------------------------- */

static void answer_trim(struct execution *execution, const struct session_row *row,
                        uint64_t deleted, struct operation_result *result)
{
    struct trim_row answer = {
        .deleted = deleted, .first_seq = row->first_seq, .last_seq = row->last_seq};

    buffer_clear(&execution->row);
    trim_row_encode(&answer, &execution->row);
    result->outcome = OUTCOME_OK;
    result->etag = row->revision;
    result->row_kind = ROW_TRIM;
    result->row = buffer_slice(&execution->row);
}

static enum status cut_log(struct execution *execution, const struct trim_operation *trim,
                           struct session_object *object, struct operation_result *result)
{
    struct session_row *row = &object->row;
    struct log_cut cut;
    enum status status = trim->is_rewind ? log_rewind(execution->txn, row, trim->seq, &cut)
                                         : log_trim(execution->txn, row, trim->seq, &cut);

    if (status != STATUS_OK) {
        return status;
    }
    session_changed_log(execution, row);
    session_slide(execution, row);
    status = session_save(execution, object, false);
    if (status != STATUS_OK) {
        return status;
    }
    status = log_write_cut(execution->txn, row->object_id, &cut);
    if (status != STATUS_OK) {
        return status;
    }
    note(execution, RESOURCE_EVENTS, CHANGE_TRIM, row);
    answer_trim(execution, row, cut.deleted, result);
    return STATUS_OK;
}

static enum status execute_delete(struct execution *execution, const struct operation *operation,
                                  struct operation_result *result)
{
    const struct trim_operation *trim = &operation->trim;
    struct session_object object;
    enum status status = session_load(execution, trim->session_id, &object);

    if (status != STATUS_OK) {
        return status;
    }
    if (object.presence != SESSION_PRESENT) {
        session_refuse_absent(&object, result);
        return STATUS_OK;
    }
    if (!condition_holds(operation, object.row.revision)) {
        result->outcome = OUTCOME_PRECONDITION_FAILED;
        result->number = object.row.revision;
        return STATUS_OK;
    }
    if (trim->has_expected_seq && trim->expected_seq != object.row.last_seq) {
        result->outcome = OUTCOME_SEQUENCE_CONFLICT;
        result->number = object.row.last_seq;
        return STATUS_OK;
    }
    return cut_log(execution, trim, &object, result);
}

enum status event_execute(struct execution *execution, const struct operation *operation,
                          struct operation_result *result)
{
    if (operation->kind == OPERATION_EVENTS_APPEND) {
        return execute_append(execution, operation, result);
    }
    CHECK(operation->kind == OPERATION_EVENTS_DELETE);
    return execute_delete(execution, operation, result);
}

/* --- Purging ---------------------------------------------------------------------------------- */

enum status event_abandon(struct txn *txn, const struct session_row *row)
{
    if (row->next_seq == 1) {
        return STATUS_OK; /* It never had an event. */
    }
    return purge_add_events(txn, row->object_id, 0, UINT64_MAX);
}

/* Delete up to *@budget ids of the session. */
static enum status delete_ids(struct txn *txn, uint64_t object_id, uint32_t *budget)
{
    struct key prefix = key_prefix_of_id(KEY_EVENT_ID, object_id);
    enum status status = STATUS_OK;

    while (*budget > 0 && status == STATUS_OK) {
        struct slice found;
        struct slice payload;
        struct key key;

        status = txn_first(txn, key_slice(&prefix), &found, &payload);
        if (status != STATUS_OK) {
            break;
        }
        CHECK(found.size <= sizeof key.data);     /* LMDB holds none that is longer. */
        memcpy(key.data, found.data, found.size); /* It lies in the map, which changes. */
        key.size = found.size;
        status = txn_delete(txn, key_slice(&key));
        if (status == STATUS_OK) {
            --*budget;
        }
    }
    return status == STATUS_END ? STATUS_OK : status;
}

enum status event_purge(struct execution *execution, uint64_t object_id, uint64_t from_seq,
                        uint64_t below_seq, uint32_t *budget, bool *done)
{
    bool session_is_gone = from_seq == 0 && below_seq == UINT64_MAX;
    enum status status = log_delete(execution->txn, object_id, from_seq, below_seq, budget);

    if (status == STATUS_OK && session_is_gone) {
        status = delete_ids(execution->txn, object_id, budget);
    }
    if (status == STATUS_OK) {
        *done = *budget > 0; /* With nothing left of it, the next step will tell. */
    }
    return status;
}
