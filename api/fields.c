#include "api/fields.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/params.h"
#include "daemon/base/limits.h"
#include "storage/document.h"

/* Long names of a client are cut in what we answer. */
#define MAX_POINTER 256

/* The member @name of @object and its JSON pointer; NULL if absent. */
static const json_t *member(const json_t *object, const char *pointer, const char *name,
                            char place[MAX_POINTER])
{
    (void)snprintf(place, MAX_POINTER, "%s/%s", pointer, name); /* Ours are short. */
    return json_object_get(object, name);
}

static struct slice string_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

/* @name as a part of a JSON pointer (RFC 6901, section 3), cut to what fits. */
static void append_pointer(char place[MAX_POINTER], const char *pointer, struct slice name)
{
    size_t size = (size_t)snprintf(place, MAX_POINTER, "%s/", pointer);

    for (size_t i = 0; i < name.size && size + 3 < MAX_POINTER; i++) {
        uint8_t c = name.data[i];

        if (c == '~' || c == '/') {
            place[size++] = '~';
            c = c == '~' ? '0' : '1';
        }
        place[size++] = c == 0 ? ' ' : (char)c;
    }
    place[size] = '\0';
}

enum status fields_allow(struct input *input, const json_t *object, const char *pointer,
                         const char *const *names)
{
    json_t *walked = (json_t *)object; /* Walking does not change it. */

    for (void *iter = json_object_iter(walked); iter != NULL;
         iter = json_object_iter_next(walked, iter)) {
        struct slice name = slice_of(json_object_iter_key(iter), json_object_iter_key_len(iter));
        char place[MAX_POINTER];
        const char *const *known = names;

        while (*known != NULL && !slice_equals_string(name, *known)) {
            known++;
        }
        if (*known == NULL) {
            append_pointer(place, pointer, name);
            return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                     "there is no such field here");
        }
    }
    return STATUS_OK;
}

/* A string that @is_valid, or null. */
static enum status take_text(struct input *input, const json_t *object, const char *pointer,
                             const char *name, bool (*is_valid)(struct slice),
                             struct text_field *field)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, name, place);

    if (value == NULL) {
        return STATUS_OK;
    }
    if (json_is_null(value)) {
        field->kind = FIELD_NULL;
        return STATUS_OK;
    }
    if (!json_is_string(value) || !is_valid(string_of(value))) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "%s must be a string of 1 to %u bytes without control characters",
                                 name, LIMIT_ID_BYTES);
    }
    field->kind = FIELD_SET;
    field->value = string_of(value);
    return STATUS_OK;
}

static enum status take_ttl(struct input *input, const json_t *object, const char *pointer,
                            struct ttl *ttl)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "ttl_ms", place);

    if (value == NULL) {
        ttl->kind = TTL_ABSENT;
        return STATUS_OK;
    }
    if (json_is_null(value)) {
        ttl->kind = TTL_CLEAR;
        return STATUS_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > (json_int_t)LIMIT_TTL_MS) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "ttl_ms must be a whole number from 1 to %" PRIu64 ", or null",
                                 (uint64_t)LIMIT_TTL_MS);
    }
    ttl->kind = TTL_SET;
    ttl->ms = (uint64_t)json_integer_value(value);
    return STATUS_OK;
}

/* A merge patch of metadata: what it adds has to follow the rules, what it removes is null. */
static enum status check_metadata_patch(const json_t *patch, struct buffer *pointer,
                                        struct error *error)
{
    json_t *walked = (json_t *)patch;
    json_t *added;
    enum status status;

    if (!json_is_object(patch)) {
        return document_check_metadata(patch, pointer, error);
    }
    added = json_object();
    for (void *iter = json_object_iter(walked); iter != NULL;
         iter = json_object_iter_next(walked, iter)) {
        if (!json_is_null(json_object_iter_value(iter))) {
            (void)json_object_setn_nocheck(added, json_object_iter_key(iter),
                                           json_object_iter_key_len(iter),
                                           json_object_iter_value(iter)); /* Fails never: a copy. */
        }
    }
    status = document_check_metadata(added, pointer, error);
    json_decref(added);
    return status;
}

static enum status take_metadata(struct input *input, const json_t *object, const char *pointer,
                                 enum fields_use use, struct text_field *field)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "metadata", place);
    struct buffer inside = BUFFER_EMPTY;
    struct error error;
    enum status status;

    if (value == NULL) {
        return STATUS_OK;
    }
    if (json_is_null(value)) {
        field->kind = FIELD_NULL;
        return STATUS_OK;
    }
    status = use == FIELDS_PATCH ? check_metadata_patch(value, &inside, &error)
                                 : document_check_metadata(value, &inside, &error);
    if (status != STATUS_OK) {
        buffer_append_byte(&inside, 0);
        (void)snprintf(place, sizeof(place), "%s/metadata%.128s", pointer,
                       (const char *)inside.data);
        status = input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "%s", error.text);
    } else {
        field->kind = FIELD_SET;
        field->value = input_compact(input, value);
    }
    buffer_close(&inside);
    return status;
}

static enum status too_large(struct input *input, const char *place, size_t limit)
{
    return input_refuse_body(input, PROBLEM_TOO_LARGE, place,
                             "it has more than %zu bytes as compact JSON", limit);
}

static enum status take_state(struct input *input, const json_t *object, const char *pointer,
                              enum fields_use use, struct text_field *field)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "state", place);

    if (value == NULL) {
        return STATUS_OK;
    }
    if (json_is_null(value)) {
        field->kind = FIELD_NULL;
        return STATUS_OK;
    }
    if (!json_is_object(value)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "state must be an object");
    }
    field->kind = FIELD_SET;
    field->value = input_compact(input, value);
    if (use == FIELDS_PUT && field->value.size > LIMIT_STATE_BYTES) {
        return too_large(input, place, LIMIT_STATE_BYTES);
    }
    return STATUS_OK;
}

static enum status take_status(struct input *input, const json_t *object, const char *pointer,
                               struct session_fields *fields)
{
    static const char *const names[SESSION_STATUSES] = {"active", "paused", "closed"};
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "status", place);

    if (value == NULL) {
        return STATUS_OK;
    }
    if (json_is_null(value)) {
        fields->status_kind = FIELD_NULL;
        return STATUS_OK;
    }
    for (unsigned i = 0; i < SESSION_STATUSES && json_is_string(value); i++) {
        if (slice_equals_string(string_of(value), names[i])) {
            fields->status_kind = FIELD_SET;
            fields->status = (enum session_status)i;
            return STATUS_OK;
        }
    }
    return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                             "status must be \"active\", \"paused\" or \"closed\"");
}

static enum status take_sliding(struct input *input, const json_t *object, const char *pointer,
                                struct session_fields *fields)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "sliding", place);

    if (value == NULL) {
        return STATUS_OK;
    }
    if (!json_is_null(value) && !json_is_boolean(value)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "sliding must be true or false");
    }
    fields->sliding_kind = json_is_null(value) ? FIELD_NULL : FIELD_SET;
    fields->sliding = json_is_true(value);
    return STATUS_OK;
}

static enum status take_write_policy(struct input *input, const json_t *object, const char *pointer,
                                     struct session_fields *fields)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, pointer, "write_policy", place);

    if (value == NULL) {
        return STATUS_OK;
    }
    if (!json_is_null(value) &&
        !(json_is_string(value) && slice_equals_string(string_of(value), "any"))) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "write_policy must be \"any\": sessions cannot be owned yet");
    }
    fields->write_policy_kind = json_is_null(value) ? FIELD_NULL : FIELD_SET;
    fields->write_policy = WRITE_POLICY_ANY;
    return STATUS_OK;
}

enum status fields_session(struct input *input, const json_t *object, const char *pointer,
                           enum fields_use use, struct session_fields *fields)
{
    static const char *const names[] = {"agent_id", "user_id", "status",       "metadata", "state",
                                        "ttl_ms",   "sliding", "write_policy", NULL};
    enum status status = fields_allow(input, object, pointer, names);

    if (status == STATUS_OK) {
        status = take_text(input, object, pointer, "agent_id", param_is_name, &fields->agent_id);
    }
    if (status == STATUS_OK) {
        status = take_text(input, object, pointer, "user_id", param_is_name, &fields->user_id);
    }
    if (status == STATUS_OK) {
        status = take_status(input, object, pointer, fields);
    }
    if (status == STATUS_OK) {
        status = take_metadata(input, object, pointer, use, &fields->metadata);
    }
    if (status == STATUS_OK) {
        status = take_state(input, object, pointer, use, &fields->state);
    }
    if (status == STATUS_OK) {
        status = take_ttl(input, object, pointer, &fields->ttl);
    }
    if (status == STATUS_OK) {
        status = take_sliding(input, object, pointer, fields);
    }
    if (status == STATUS_OK) {
        status = take_write_policy(input, object, pointer, fields);
    }
    return status;
}

enum status fields_touch(struct input *input, const json_t *object, struct ttl *ttl)
{
    static const char *const names[] = {"ttl_ms", NULL};
    enum status status = fields_allow(input, object, "", names);

    if (status == STATUS_OK) {
        status = take_ttl(input, object, "", ttl);
    }
    if (status == STATUS_OK && ttl->kind == TTL_CLEAR) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/ttl_ms",
                                 "a touch renews a time-to-live; PATCH with null removes it");
    }
    return status;
}

static bool is_event_type(struct slice text)
{
    return text.size <= LIMIT_TYPE_BYTES && param_is_name(text);
}

static enum status take_event(struct input *input, const json_t *event, size_t index,
                              struct new_event *new_event)
{
    static const char *const names[] = {"id", "type", "data", NULL};
    struct text_field type = {0};
    struct text_field id = {0};
    char pointer[64];
    char place[MAX_POINTER];
    const json_t *data;
    enum status status;

    (void)snprintf(pointer, sizeof(pointer), "/events/%zu", index);
    if (!json_is_object(event)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, pointer,
                                 "an event must be an object");
    }
    status = fields_allow(input, event, pointer, names);
    if (status == STATUS_OK) {
        status = take_text(input, event, pointer, "id", param_is_id, &id);
    }
    if (status == STATUS_OK) {
        status = take_text(input, event, pointer, "type", is_event_type, &type);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (type.kind != FIELD_SET) {
        (void)member(event, pointer, "type", place); /* For its place only. */
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "an event needs a type");
    }
    data = member(event, pointer, "data", place);
    if (data == NULL) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "an event needs data");
    }
    new_event->id = id.value;
    new_event->type = type.value;
    new_event->data = input_compact(input, data);
    if (new_event->data.size > LIMIT_EVENT_DATA_BYTES) {
        return too_large(input, place, LIMIT_EVENT_DATA_BYTES);
    }
    return STATUS_OK;
}

/* All events have an id, or none has, and each its own. */
static enum status check_event_ids(struct input *input, const struct append_operation *append)
{
    char place[64];

    for (uint32_t i = 0; i < append->n_events; i++) {
        struct slice id = append->events[i].id;

        (void)snprintf(place, sizeof(place), "/events/%u/id", i);
        if ((id.size > 0) != (append->events[0].id.size > 0)) {
            return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                     "either all events have an id or none has");
        }
        for (uint32_t k = 0; k < i && id.size > 0; k++) {
            if (slice_equals(id, append->events[k].id)) {
                return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                         "the id stands twice in the request");
            }
        }
    }
    return STATUS_OK;
}

static enum status take_events(struct input *input, const json_t *object,
                               struct append_operation *append)
{
    const json_t *events = json_object_get(object, "events");
    size_t n = json_array_size(events);
    enum status status = STATUS_OK;

    if (!json_is_array(events) || n < 1 || n > LIMIT_APPEND_EVENTS) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/events",
                                 "events must be an array of 1 to %u events", LIMIT_APPEND_EVENTS);
    }
    append->n_events = (uint32_t)n;
    append->events = arena_take(&input->arena, n * sizeof(*append->events));
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        status = take_event(input, json_array_get(events, i), i, &append->events[i]);
    }
    return status == STATUS_OK ? check_event_ids(input, append) : status;
}

static enum status take_number(struct input *input, const json_t *object, const char *name,
                               bool *is_given, uint64_t *number)
{
    char place[MAX_POINTER];
    const json_t *value = member(object, "", name, place);

    *is_given = value != NULL && !json_is_null(value);
    if (!*is_given) {
        return STATUS_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "%s must be a whole number from 0", name);
    }
    *number = (uint64_t)json_integer_value(value);
    return STATUS_OK;
}

static enum status take_state_patch(struct input *input, const json_t *object,
                                    struct append_operation *append)
{
    const json_t *patch = json_object_get(object, "state_patch");

    if (patch == NULL || json_is_null(patch)) {
        return STATUS_OK;
    }
    if (!json_is_object(patch)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/state_patch",
                                 "state_patch must be an object");
    }
    append->state_patch = input_compact(input, patch);
    return STATUS_OK;
}

static enum status take_create(struct input *input, const json_t *object,
                               struct append_operation *append)
{
    const json_t *create = json_object_get(object, "create");

    append->has_create = create != NULL && !json_is_null(create);
    if (!append->has_create) {
        return STATUS_OK;
    }
    if (!json_is_object(create)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/create",
                                 "create must be an object of session fields");
    }
    return fields_session(input, create, "/create", FIELDS_PUT, &append->create);
}

enum status fields_append(struct input *input, const json_t *object,
                          struct append_operation *append)
{
    static const char *const names[] = {"events",      "expected_seq", "truncate_after",
                                        "state_patch", "create",       NULL};
    enum status status = fields_allow(input, object, "", names);

    if (status == STATUS_OK) {
        status = take_events(input, object, append);
    }
    if (status == STATUS_OK) {
        status = take_number(input, object, "expected_seq", &append->has_expected_seq,
                             &append->expected_seq);
    }
    if (status == STATUS_OK) {
        status = take_number(input, object, "truncate_after", &append->has_truncate_after,
                             &append->truncate_after);
    }
    if (status == STATUS_OK) {
        status = take_state_patch(input, object, append);
    }
    return status == STATUS_OK ? take_create(input, object, append) : status;
}

enum status fields_namespace(struct input *input, const json_t *object, enum fields_use use,
                             struct namespace_operation *ns)
{
    static const char *const names[] = {"metadata", NULL};
    enum status status;

    if (json_object_get(object, "quotas") != NULL) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/quotas",
                                 "quotas cannot be set in this version");
    }
    status = fields_allow(input, object, "", names);
    return status == STATUS_OK ? take_metadata(input, object, "", use, &ns->metadata) : status;
}
