/*   command     u8 version, u8 flags, bytes namespace,
 *               [bytes idempotency key, u64 and u64 request hash], u32 operations
 *   operation   u8 kind, condition If-Match, condition If-None-Match, what the kind has
 *   condition   u8 kind, [u8 tags, u64 each]
 *   ttl         u8 kind, [u64 ms]
 *   text field  u8 kind, [bytes]
 *
 * What is in brackets is there only if a flag or kind before it says so. One command has one
 * encoding: flags and kinds that are not known, and bytes behind the end, are refused. */
#include "storage/command.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/document.h"

#define MEMBER_FLAG_DRAINED   1u
#define MEMBER_FLAG_FORCED    2u
#define MEMBER_FLAG_RESTARTED 4u
#define MEMBER_FLAGS          8u /* More than all of them. */

#define FLAG_TRANSACTION 1u
#define FLAG_KEY         2u
#define FLAGS_KNOWN      3u

/* Flags of an append and of a deletion of events. */
#define FLAG_EXPECTED 1u
#define FLAG_TRUNCATE 2u
#define FLAG_PATCH    4u
#define FLAG_CREATE   8u
#define FLAG_REWIND   2u

/* --- Names ------------------------------------------------------------------------------------ */

static bool is_lower_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool command_is_namespace_name(struct slice name)
{
    if (name.size == 0 || name.size > LIMIT_NAMESPACE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (!is_lower_or_digit(name.data[i]) && name.data[i] != '-') {
            return false;
        }
    }
    return name.data[0] != '-' && name.data[name.size - 1] != '-';
}

bool command_is_id(struct slice id)
{
    if (id.size == 0 || id.size > LIMIT_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < id.size; i++) {
        uint8_t c = id.data[i];

        if (!is_lower_or_digit(c) && !(c >= 'A' && c <= 'Z') &&
            (c == 0 || strchr("._:@-", c) == NULL)) {
            return false;
        }
    }
    return true;
}

bool command_is_label(struct slice label)
{
    if (label.size == 0 || label.size > LIMIT_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < label.size; i++) {
        uint8_t c = label.data[i];
        bool is_c1 = c == 0xc2 && i + 1 < label.size && label.data[i + 1] < 0xa0; /* U+0080-9F */

        if (c < 0x20 || c == 0x7f || is_c1) {
            return false;
        }
    }
    return document_is_utf8(label);
}

bool command_is_item_key(struct slice key)
{
    return key.size > 0 && key.size <= LIMIT_ITEM_KEY_BYTES &&
           memchr(key.data, 0, key.size) == NULL && document_is_utf8(key);
}

/* It may end inside a character. */
static bool is_prefix(struct slice prefix)
{
    return prefix.size > 0 && prefix.size <= LIMIT_ITEM_KEY_BYTES &&
           memchr(prefix.data, 0, prefix.size) == NULL;
}

/* --- Encoding --------------------------------------------------------------------------------- */

static void put_condition(struct buffer *buffer, const struct condition *condition)
{
    wire_put_u8(buffer, (uint8_t)condition->kind);
    if (condition->kind != CONDITION_TAGS) {
        return;
    }
    CHECK(condition->n_tags > 0 && condition->n_tags <= LIMIT_TAGS);
    wire_put_u8(buffer, (uint8_t)condition->n_tags);
    for (uint32_t i = 0; i < condition->n_tags; i++) {
        wire_put_u64(buffer, condition->tags[i]);
    }
}

static void put_ttl(struct buffer *buffer, const struct ttl *ttl)
{
    wire_put_u8(buffer, (uint8_t)ttl->kind);
    if (ttl->kind == TTL_SET) {
        wire_put_u64(buffer, ttl->ms);
    }
}

static void put_text(struct buffer *buffer, const struct text_field *field)
{
    wire_put_u8(buffer, (uint8_t)field->kind);
    if (field->kind == FIELD_SET) {
        wire_put_bytes(buffer, field->value);
    }
}

static void put_choice(struct buffer *buffer, enum field_kind kind, unsigned value)
{
    wire_put_u8(buffer, (uint8_t)kind);
    if (kind == FIELD_SET) {
        wire_put_u8(buffer, (uint8_t)value);
    }
}

static void put_session_fields(struct buffer *buffer, const struct session_fields *fields)
{
    put_text(buffer, &fields->agent_id);
    put_text(buffer, &fields->user_id);
    put_choice(buffer, fields->status_kind, fields->status);
    put_text(buffer, &fields->metadata);
    put_text(buffer, &fields->state);
    put_ttl(buffer, &fields->ttl);
    put_choice(buffer, fields->sliding_kind, fields->sliding);
    put_choice(buffer, fields->write_policy_kind, fields->write_policy);
}

static void put_item(struct buffer *buffer, const struct item_operation *item)
{
    wire_put_bytes(buffer, item->key);
    wire_put_u8(buffer, (uint8_t)item->content);
    wire_put_bytes(buffer, item->content_type);
    put_ttl(buffer, &item->ttl);
    put_text(buffer, &item->user_id);
    wire_put_bytes(buffer, item->value);
}

static void put_session(struct buffer *buffer, const struct session_operation *session)
{
    wire_put_bytes(buffer, session->id);
    wire_put_u8(buffer, session->server_made_id ? 1 : 0);
    put_session_fields(buffer, &session->fields);
}

static void put_append(struct buffer *buffer, const struct append_operation *append)
{
    unsigned flags = (append->has_expected_seq ? FLAG_EXPECTED : 0) |
                     (append->has_truncate_after ? FLAG_TRUNCATE : 0) |
                     (append->state_patch.size > 0 ? FLAG_PATCH : 0) |
                     (append->has_create ? FLAG_CREATE : 0);

    wire_put_bytes(buffer, append->session_id);
    wire_put_u8(buffer, (uint8_t)flags);
    if (append->has_expected_seq) {
        wire_put_u64(buffer, append->expected_seq);
    }
    if (append->has_truncate_after) {
        wire_put_u64(buffer, append->truncate_after);
    }
    if (append->state_patch.size > 0) {
        wire_put_bytes(buffer, append->state_patch);
    }
    if (append->has_create) {
        put_session_fields(buffer, &append->create);
    }
    wire_put_u32(buffer, append->n_events);
    for (uint32_t i = 0; i < append->n_events; i++) {
        wire_put_bytes(buffer, append->events[i].id);
        wire_put_bytes(buffer, append->events[i].type);
        wire_put_bytes(buffer, append->events[i].data);
    }
}

static void put_trim(struct buffer *buffer, const struct trim_operation *trim)
{
    unsigned flags =
        (trim->has_expected_seq ? FLAG_EXPECTED : 0) | (trim->is_rewind ? FLAG_REWIND : 0);

    wire_put_bytes(buffer, trim->session_id);
    wire_put_u8(buffer, (uint8_t)flags);
    wire_put_u64(buffer, trim->seq);
    if (trim->has_expected_seq) {
        wire_put_u64(buffer, trim->expected_seq);
    }
}

static void put_member(struct buffer *buffer, const struct member_operation *member)
{
    wire_put_u64(buffer, member->id);
    wire_put_bytes(buffer, member->name);
    wire_put_bytes(buffer, member->peer_address);
    wire_put_bytes(buffer, member->api_address);
    wire_put_bytes(buffer, member->zone);
    wire_put_bytes(buffer, member->version);
    wire_put_u8(buffer, (uint8_t)member->wanted);
    wire_put_u8(buffer, (uint8_t)((member->is_drained ? MEMBER_FLAG_DRAINED : 0) |
                                  (member->is_forced ? MEMBER_FLAG_FORCED : 0) |
                                  (member->has_restarted ? MEMBER_FLAG_RESTARTED : 0)));
}

static void put_operation(struct buffer *buffer, const struct operation *operation)
{
    wire_put_u8(buffer, (uint8_t)operation->kind);
    put_condition(buffer, &operation->if_match);
    put_condition(buffer, &operation->if_none_match);
    switch (operation->kind) {
    case OPERATION_ITEM_PUT:
    case OPERATION_ITEM_PATCH:
    case OPERATION_ITEM_DELETE:
    case OPERATION_ITEM_TOUCH:
    case OPERATION_ITEM_CHECK:
    case OPERATION_ITEM_DELETE_PREFIX:
        put_item(buffer, &operation->item);
        break;
    case OPERATION_SESSION_PUT:
    case OPERATION_SESSION_PATCH:
    case OPERATION_SESSION_DELETE:
    case OPERATION_SESSION_TOUCH:
    case OPERATION_SESSION_CHECK:
        put_session(buffer, &operation->session);
        break;
    case OPERATION_EVENTS_APPEND:
        put_append(buffer, &operation->append);
        break;
    case OPERATION_EVENTS_DELETE:
        put_trim(buffer, &operation->trim);
        break;
    case OPERATION_NAMESPACE_PUT:
    case OPERATION_NAMESPACE_PATCH:
    case OPERATION_NAMESPACE_DELETE:
        wire_put_bytes(buffer, operation->ns.name);
        put_text(buffer, &operation->ns.metadata);
        break;
    case OPERATION_MEMBER_PUT:
    case OPERATION_MEMBER_ADD:
    case OPERATION_MEMBER_CHANGE:
    case OPERATION_MEMBER_REMOVE:
        put_member(buffer, &operation->member);
        break;
    case OPERATION_MAINTAIN:
        wire_put_u32(buffer, operation->maintain.max_records);
        break;
    case OPERATION_FEATURE_RAISE:
        wire_put_u8(buffer, operation->feature_level);
        break;
    case OPERATION_NONE:
    case OPERATION_KINDS:
        CHECK(operation->kind != OPERATION_NONE && operation->kind != OPERATION_KINDS);
    }
}

void command_encode(const struct command *command, struct buffer *buffer)
{
    bool has_key = command->idempotency_key.size > 0;
    unsigned flags = (command->is_transaction ? FLAG_TRANSACTION : 0) | (has_key ? FLAG_KEY : 0);

    CHECK(command->n_operations > 0 && command->n_operations <= LIMIT_TRANSACTION_OPS);

    wire_put_u8(buffer, COMMAND_VERSION);
    wire_put_u8(buffer, (uint8_t)flags);
    wire_put_bytes(buffer, command->ns);
    if (has_key) {
        wire_put_bytes(buffer, command->idempotency_key);
        wire_put_u64(buffer, command->request_hash[0]);
        wire_put_u64(buffer, command->request_hash[1]);
    }
    wire_put_u32(buffer, command->n_operations);
    for (uint32_t i = 0; i < command->n_operations; i++) {
        put_operation(buffer, &command->operations[i]);
    }
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* The first reason to refuse what is read; the reading then runs on, over what gives zeros. */
struct decoding {
    struct wire_reader reader;
    const char *refusal;
};

static void require(struct decoding *d, bool fact, const char *refusal)
{
    if (!fact && d->refusal == NULL && !d->reader.failed) {
        d->refusal = refusal;
        d->reader.failed = true;
    }
}

static unsigned get_below(struct decoding *d, unsigned limit, const char *refusal)
{
    unsigned value = wire_get_u8(&d->reader);

    require(d, value < limit, refusal);
    return d->reader.failed ? 0 : value;
}

static struct slice get_limited(struct decoding *d, size_t limit, const char *refusal)
{
    struct slice bytes = wire_get_bytes(&d->reader);

    require(d, bytes.size <= limit, refusal);
    return bytes;
}

static struct slice get_text_limited(struct decoding *d, size_t limit, const char *refusal)
{
    struct slice bytes = get_limited(d, limit, refusal);

    require(d, document_is_utf8(bytes), refusal);
    return bytes;
}

static struct slice get_id(struct decoding *d, const char *refusal)
{
    struct slice id = wire_get_bytes(&d->reader);

    require(d, command_is_id(id), refusal);
    return id;
}

static void get_condition(struct decoding *d, struct condition *condition)
{
    condition->kind =
        (enum condition_kind)get_below(d, CONDITION_TAGS + 1, "unknown kind of condition");
    if (condition->kind != CONDITION_TAGS) {
        return;
    }
    condition->n_tags = get_below(d, LIMIT_TAGS + 1, "too many entity tags");
    require(d, condition->n_tags > 0, "a condition without entity tags");
    for (uint32_t i = 0; i < condition->n_tags; i++) {
        condition->tags[i] = wire_get_u64(&d->reader);
    }
}

static void get_ttl(struct decoding *d, struct ttl *ttl)
{
    ttl->kind = (enum ttl_kind)get_below(d, TTL_SET + 1, "unknown kind of time-to-live");
    if (ttl->kind == TTL_SET) {
        ttl->ms = wire_get_u64(&d->reader);
        require(d, ttl->ms >= 1 && ttl->ms <= LIMIT_TTL_MS, "time-to-live out of range");
    }
}

static enum field_kind get_field_kind(struct decoding *d)
{
    return (enum field_kind)get_below(d, FIELD_SET + 1, "unknown kind of field");
}

static void get_text(struct decoding *d, struct text_field *field)
{
    field->kind = get_field_kind(d);
    if (field->kind == FIELD_SET) {
        field->value = wire_get_bytes(&d->reader);
    }
}

static void get_label(struct decoding *d, struct text_field *field)
{
    get_text(d, field);
    require(d, field->kind != FIELD_SET || command_is_label(field->value),
            "an agent_id or user_id that is none");
}

static void get_document(struct decoding *d, struct text_field *field)
{
    get_text(d, field);
    require(d, field->kind != FIELD_SET || field->value.size > 0, "an empty document");
}

/* What replaces the state is limited here; what patches it, by the result. */
static void get_session_fields(struct decoding *d, bool is_patch, struct session_fields *fields)
{
    get_label(d, &fields->agent_id);
    get_label(d, &fields->user_id);
    fields->status_kind = get_field_kind(d);
    if (fields->status_kind == FIELD_SET) {
        fields->status =
            (enum session_status)get_below(d, SESSION_STATUSES, "unknown status of a session");
    }
    get_document(d, &fields->metadata);
    get_document(d, &fields->state);
    require(d, is_patch || fields->state.value.size <= LIMIT_STATE_BYTES, "a state too large");
    get_ttl(d, &fields->ttl);
    fields->sliding_kind = get_field_kind(d);
    if (fields->sliding_kind == FIELD_SET) {
        fields->sliding = get_below(d, 2, "sliding is neither true nor false") == 1;
    }
    fields->write_policy_kind = get_field_kind(d);
    if (fields->write_policy_kind == FIELD_SET) {
        fields->write_policy =
            (enum write_policy)get_below(d, WRITE_POLICY_OWNER + 1, "unknown write policy");
    }
}

static void get_item(struct decoding *d, enum operation_kind kind, struct item_operation *item)
{
    size_t limit = kind == OPERATION_ITEM_PATCH ? LIMIT_COMMAND_BYTES : LIMIT_ITEM_BYTES;

    item->key = wire_get_bytes(&d->reader);
    require(d,
            kind == OPERATION_ITEM_DELETE_PREFIX ? is_prefix(item->key)
                                                 : command_is_item_key(item->key),
            "an item's key that is none");
    item->content = (enum content_kind)get_below(d, CONTENT_BYTES + 1, "unknown kind of content");
    item->content_type = get_limited(d, LIMIT_CONTENT_TYPE_BYTES, "a content type too long");
    get_ttl(d, &item->ttl);
    get_label(d, &item->user_id);
    item->value = get_limited(d, limit, "an item too large");
}

static void get_session(struct decoding *d, enum operation_kind kind,
                        struct session_operation *session)
{
    session->id = get_id(d, "a session id that is none");
    session->server_made_id = get_below(d, 2, "a flag that is neither true nor false") == 1;
    get_session_fields(d, kind == OPERATION_SESSION_PATCH, &session->fields);
}

static void get_event(struct decoding *d, struct new_event *event)
{
    event->id = wire_get_bytes(&d->reader);
    require(d, event->id.size == 0 || command_is_id(event->id), "an event id that is none");
    event->type = get_text_limited(d, LIMIT_TYPE_BYTES, "an event type too long");
    event->data = get_limited(d, LIMIT_EVENT_DATA_BYTES, "an event too large");
    require(d, event->data.size > 0, "an event without data");
}

static void get_events(struct decoding *d, struct append_operation *append)
{
    uint32_t n_events = wire_get_u32(&d->reader);

    require(d, n_events > 0 && n_events <= LIMIT_APPEND_EVENTS, "number of events out of range");
    if (d->reader.failed) {
        return;
    }
    append->events = memory_new_zeroed(n_events, sizeof *append->events);
    append->n_events = n_events;
    for (uint32_t i = 0; i < n_events; i++) {
        get_event(d, &append->events[i]);
        require(d, (append->events[i].id.size > 0) == (append->events[0].id.size > 0),
                "events of which some have an id");
    }
}

static void get_append(struct decoding *d, struct append_operation *append)
{
    unsigned flags;

    append->session_id = get_id(d, "a session id that is none");
    flags = get_below(d, FLAG_CREATE * 2, "unknown flags of an append");
    append->has_expected_seq = (flags & FLAG_EXPECTED) != 0;
    append->has_truncate_after = (flags & FLAG_TRUNCATE) != 0;
    append->has_create = (flags & FLAG_CREATE) != 0;
    if (append->has_expected_seq) {
        append->expected_seq = wire_get_u64(&d->reader);
    }
    if (append->has_truncate_after) {
        append->truncate_after = wire_get_u64(&d->reader);
    }
    if ((flags & FLAG_PATCH) != 0) {
        append->state_patch = wire_get_bytes(&d->reader);
        require(d, append->state_patch.size > 0, "an empty document");
    }
    if (append->has_create) {
        get_session_fields(d, false, &append->create);
    }
    get_events(d, append);
}

static void get_trim(struct decoding *d, struct trim_operation *trim)
{
    unsigned flags;

    trim->session_id = get_id(d, "a session id that is none");
    flags = get_below(d, FLAG_REWIND * 2, "unknown flags of a deletion of events");
    trim->is_rewind = (flags & FLAG_REWIND) != 0;
    trim->has_expected_seq = (flags & FLAG_EXPECTED) != 0;
    trim->seq = wire_get_u64(&d->reader);
    if (trim->has_expected_seq) {
        trim->expected_seq = wire_get_u64(&d->reader);
    }
}

static void get_namespace(struct decoding *d, struct namespace_operation *ns)
{
    ns->name = wire_get_bytes(&d->reader);
    require(d, command_is_namespace_name(ns->name), "a namespace name that is none");
    get_document(d, &ns->metadata);
}

static void get_member(struct decoding *d, struct member_operation *member)
{
    unsigned flags;

    member->id = wire_get_u64(&d->reader);
    require(d, member->id != 0, "a member without an id");
    member->name = get_text_limited(d, LIMIT_NAME_BYTES, "a member's name too long");
    member->peer_address = get_text_limited(d, LIMIT_ADDRESS_BYTES, "an address too long");
    member->api_address = get_text_limited(d, LIMIT_ADDRESS_BYTES, "an address too long");
    member->zone = get_text_limited(d, LIMIT_NAME_BYTES, "a zone too long");
    member->version = get_text_limited(d, LIMIT_NAME_BYTES, "a version too long");
    member->wanted =
        (enum member_wanted)get_below(d, MEMBER_WANTED_KINDS, "an unknown role of a member");
    flags = get_below(d, MEMBER_FLAGS, "unknown flags of a member");
    member->is_drained = (flags & MEMBER_FLAG_DRAINED) != 0;
    member->is_forced = (flags & MEMBER_FLAG_FORCED) != 0;
    member->has_restarted = (flags & MEMBER_FLAG_RESTARTED) != 0;
}

static void get_maintain(struct decoding *d, struct maintain_operation *maintain)
{
    maintain->max_records = wire_get_u32(&d->reader);
    require(d, maintain->max_records > 0 && maintain->max_records <= LIMIT_MAINTENANCE_RECORDS,
            "a maintenance step too large");
}

static void get_operation(struct decoding *d, struct operation *operation)
{
    operation->kind =
        (enum operation_kind)get_below(d, OPERATION_KINDS, "unknown kind of operation");
    get_condition(d, &operation->if_match);
    get_condition(d, &operation->if_none_match);
    switch (operation->kind) {
    case OPERATION_ITEM_PUT:
    case OPERATION_ITEM_PATCH:
    case OPERATION_ITEM_DELETE:
    case OPERATION_ITEM_TOUCH:
    case OPERATION_ITEM_CHECK:
    case OPERATION_ITEM_DELETE_PREFIX:
        get_item(d, operation->kind, &operation->item);
        break;
    case OPERATION_SESSION_PUT:
    case OPERATION_SESSION_PATCH:
    case OPERATION_SESSION_DELETE:
    case OPERATION_SESSION_TOUCH:
    case OPERATION_SESSION_CHECK:
        get_session(d, operation->kind, &operation->session);
        break;
    case OPERATION_EVENTS_APPEND:
        get_append(d, &operation->append);
        break;
    case OPERATION_EVENTS_DELETE:
        get_trim(d, &operation->trim);
        break;
    case OPERATION_NAMESPACE_PUT:
    case OPERATION_NAMESPACE_PATCH:
    case OPERATION_NAMESPACE_DELETE:
        get_namespace(d, &operation->ns);
        break;
    case OPERATION_MEMBER_PUT:
    case OPERATION_MEMBER_ADD:
    case OPERATION_MEMBER_CHANGE:
    case OPERATION_MEMBER_REMOVE:
        get_member(d, &operation->member);
        break;
    case OPERATION_MAINTAIN:
        get_maintain(d, &operation->maintain);
        break;
    case OPERATION_FEATURE_RAISE:
        operation->feature_level = wire_get_u8(&d->reader);
        require(d, operation->feature_level > 0, "a feature level of 0");
        break;
    case OPERATION_NONE:
    case OPERATION_KINDS:
        require(d, false, "unknown kind of operation");
    }
}

static bool is_in_namespace(enum operation_kind kind)
{
    return kind >= OPERATION_ITEM_PUT && kind <= OPERATION_EVENTS_DELETE;
}

static void get_operations(struct decoding *d, struct command *command)
{
    uint32_t n_operations = wire_get_u32(&d->reader);

    require(d, n_operations > 0 && n_operations <= LIMIT_TRANSACTION_OPS,
            "number of operations out of range");
    if (d->reader.failed) {
        return;
    }
    command->operations = memory_new_zeroed(n_operations, sizeof *command->operations);
    command->n_operations = n_operations;
    for (uint32_t i = 0; i < n_operations && !d->reader.failed; i++) {
        get_operation(d, &command->operations[i]);
        require(d, is_in_namespace(command->operations[i].kind) == (command->ns.size > 0),
                "an operation in the wrong kind of namespace");
    }
}

static void get_command(struct decoding *d, struct command *command)
{
    unsigned flags = get_below(d, FLAGS_KNOWN + 1, "unknown flags");

    command->is_transaction = (flags & FLAG_TRANSACTION) != 0;
    command->ns = wire_get_bytes(&d->reader);
    require(d, command->ns.size == 0 || command_is_namespace_name(command->ns),
            "a namespace name that is none");
    if ((flags & FLAG_KEY) != 0) {
        command->idempotency_key =
            get_limited(d, LIMIT_IDEMPOTENCY_KEY_BYTES, "an idempotency key too long");
        require(d, command->idempotency_key.size > 0, "an empty idempotency key");
        command->request_hash[0] = wire_get_u64(&d->reader);
        command->request_hash[1] = wire_get_u64(&d->reader);
    }
    get_operations(d, command);
}

enum status command_decode(struct slice bytes, struct command *command, struct error *error)
{
    struct decoding d = {.reader = wire_reader_of(bytes)};
    struct command decoded = {0};
    uint8_t version = wire_get_u8(&d.reader);

    if (bytes.size > LIMIT_COMMAND_BYTES) {
        return error_set(error, STATUS_CORRUPT, "a command has %zu bytes, more than %u", bytes.size,
                         LIMIT_COMMAND_BYTES);
    }
    if (version > COMMAND_VERSION) {
        return error_set(error, STATUS_UNSUPPORTED, "a command has version %u, not %d", version,
                         COMMAND_VERSION);
    }
    require(&d, version == COMMAND_VERSION, "no version");
    get_command(&d, &decoded);
    if (wire_done(&d.reader) != STATUS_OK) {
        command_close(&decoded);
        return error_set(error, STATUS_CORRUPT, "a command is not valid: %s",
                         d.refusal != NULL ? d.refusal : "it has not the size it says");
    }
    *command = decoded;
    return STATUS_OK;
}

void command_close(struct command *command)
{
    for (uint32_t i = 0; i < command->n_operations; i++) {
        if (command->operations[i].kind == OPERATION_EVENTS_APPEND) {
            free(command->operations[i].append.events);
        }
    }
    free(command->operations);
    command->operations = NULL;
    command->n_operations = 0;
}

static bool operation_adds(enum operation_kind kind)
{
    switch (kind) {
    case OPERATION_ITEM_PUT:
    case OPERATION_ITEM_PATCH:
    case OPERATION_SESSION_PUT:
    case OPERATION_SESSION_PATCH:
    case OPERATION_EVENTS_APPEND:
    case OPERATION_NAMESPACE_PUT:
    case OPERATION_NAMESPACE_PATCH:
        return true;
    case OPERATION_NONE:
    case OPERATION_ITEM_DELETE:
    case OPERATION_ITEM_TOUCH:
    case OPERATION_ITEM_CHECK:
    case OPERATION_ITEM_DELETE_PREFIX:
    case OPERATION_SESSION_DELETE:
    case OPERATION_SESSION_TOUCH:
    case OPERATION_SESSION_CHECK:
    case OPERATION_EVENTS_DELETE:
    case OPERATION_NAMESPACE_DELETE:
    case OPERATION_MEMBER_PUT:
    case OPERATION_MAINTAIN:
    case OPERATION_MEMBER_ADD: /* A full cluster has to be repaired all the same. */
    case OPERATION_MEMBER_CHANGE:
    case OPERATION_MEMBER_REMOVE:
    case OPERATION_FEATURE_RAISE:
    case OPERATION_KINDS:
        break;
    }
    return false;
}

bool command_adds(const struct command *command)
{
    for (uint32_t i = 0; i < command->n_operations; i++) {
        if (operation_adds(command->operations[i].kind)) {
            return true;
        }
    }
    return false;
}
