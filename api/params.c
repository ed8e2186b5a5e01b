#include "api/params.h"

#include <inttypes.h>

#include "daemon/base/check.h"
#include "storage/document.h"

bool param_is_id(struct slice text)
{
    if (text.size == 0 || text.size > LIMIT_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!is_letter && !(c >= '0' && c <= '9') && (c == 0 || strchr("._:@-", c) == NULL)) {
            return false;
        }
    }
    return true;
}

/* C0, DEL, and C1, which UTF-8 writes as 0xc2 and 0x80 to 0x9f. */
static bool has_control_characters(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (c < 0x20 || c == 0x7f) {
            return true;
        }
        if (c == 0xc2 && i + 1 < text.size && text.data[i + 1] < 0xa0) {
            return true;
        }
    }
    return false;
}

bool param_is_name(struct slice text)
{
    return text.size > 0 && text.size <= LIMIT_ID_BYTES && document_is_utf8(text) &&
           !has_control_characters(text);
}

bool param_parse_number(struct slice text, uint64_t *number)
{
    uint64_t value = 0;

    if (text.size == 0 || (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';

        if (text.data[i] < '0' || text.data[i] > '9' || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

enum status param_session_id(struct input *input, struct slice *id)
{
    CHECK(input->request->n_captures > 0);
    if (!param_is_id(input->request->captures[0])) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "session",
                            "an id is 1 to %u of A-Z, a-z, 0-9, and . _ : @ -", LIMIT_ID_BYTES);
    }
    *id = input->request->captures[0];
    return STATUS_OK;
}

enum status param_item_key(struct input *input, struct slice *key)
{
    struct slice text = input->request->captures[0];

    CHECK(input->request->n_captures > 0);
    if (text.size == 0 || text.size > LIMIT_ITEM_KEY_BYTES || !document_is_utf8(text) ||
        memchr(text.data, 0, text.size) != NULL) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "key",
                            "a key is 1 to %u bytes of UTF-8 without NUL", LIMIT_ITEM_KEY_BYTES);
    }
    *key = text;
    return STATUS_OK;
}

enum status param_number(struct input *input, const char *name, uint64_t min, uint64_t max,
                         uint64_t *number, bool *is_given)
{
    struct slice text;
    uint64_t value;

    *is_given = input_parameter(input, name, &text);
    if (!*is_given) {
        return STATUS_OK;
    }
    if (!param_parse_number(text, &value) || value < min || value > max) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, name,
                            "%s must be a whole number from %" PRIu64 " to %" PRIu64, name, min,
                            max);
    }
    *number = value;
    return STATUS_OK;
}

enum status param_name(struct input *input, const char *name, struct slice *text)
{
    struct slice value;

    *text = slice_of(NULL, 0);
    if (!input_parameter(input, name, &value)) {
        return STATUS_OK;
    }
    if (!param_is_name(value)) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, name,
                            "%s must be 1 to %u bytes of UTF-8 without control characters", name,
                            LIMIT_ID_BYTES);
    }
    *text = value;
    return STATUS_OK;
}

enum status param_ttl(struct input *input, struct ttl *ttl)
{
    bool is_given;
    enum status status = param_number(input, "ttl_ms", 1, LIMIT_TTL_MS, &ttl->ms, &is_given);

    ttl->kind = is_given ? TTL_SET : TTL_ABSENT;
    return status;
}

enum status param_limit(struct input *input, unsigned *limit)
{
    uint64_t value = LIMIT_PAGE_ROWS_DEFAULT;
    bool is_given;
    enum status status = param_number(input, "limit", 1, LIMIT_PAGE_ROWS, &value, &is_given);

    *limit = (unsigned)value;
    return status;
}

enum status param_order(struct input *input, enum list_order *order)
{
    struct slice text;

    if (!input_parameter(input, "order", &text)) {
        return STATUS_OK; /* The default that the caller set. */
    }
    if (slice_equals_string(text, "asc")) {
        *order = ORDER_ASC;
    } else if (slice_equals_string(text, "desc")) {
        *order = ORDER_DESC;
    } else {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "order", "order must be asc or desc");
    }
    return STATUS_OK;
}

enum status param_flag(struct input *input, const char *name, bool *flag)
{
    struct slice text;

    *flag = false;
    if (!input_parameter(input, name, &text) || slice_equals_string(text, "false")) {
        return STATUS_OK;
    }
    if (text.size > 0 && !slice_equals_string(text, "true")) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, name, "%s must be true or false", name);
    }
    *flag = true;
    return STATUS_OK;
}

static struct slice skip(struct slice text, const char *characters)
{
    while (text.size > 0 && text.data[0] != 0 && strchr(characters, text.data[0]) != NULL) {
        text = slice_from(text, 1);
    }
    return text;
}

/* One entity tag (RFC 9110, section 8.8.3) off the front of @text; a weak one counts as strong. */
static bool take_tag(struct slice *text, struct slice *tag)
{
    const uint8_t *end;

    if (slice_starts_with(*text, slice_of_string("W/"))) {
        *text = slice_from(*text, 2);
    }
    if (text->size < 2 || text->data[0] != '"') {
        return false;
    }
    *text = slice_from(*text, 1);
    end = memchr(text->data, '"', text->size);
    if (end == NULL) {
        return false;
    }
    *tag = slice_of(text->data, (size_t)(end - text->data));
    *text = skip(slice_from(*text, tag->size + 1), " \t");
    return text->size == 0 || text->data[0] == ',';
}

#define NO_REVISION UINT64_MAX /* Counters stay far below it. */

/* A tag that is no revision is a tag all the same: one that nothing here ever had. */
static uint64_t revision_of(struct slice tag)
{
    uint64_t revision;

    return param_parse_number(tag, &revision) && revision > 0 ? revision : NO_REVISION;
}

static bool take_tags(struct slice text, struct condition *condition)
{
    for (text = skip(text, " \t,"); text.size > 0; text = skip(text, " \t,")) {
        struct slice tag;

        if (condition->n_tags == LIMIT_TAGS || !take_tag(&text, &tag)) {
            return false;
        }
        condition->tags[condition->n_tags++] = revision_of(tag);
    }
    return condition->n_tags > 0;
}

static enum status take_condition(struct input *input, const char *name,
                                  struct condition *condition)
{
    struct slice text;

    condition->kind = CONDITION_NONE;
    condition->n_tags = 0;
    if (!input_header(input, name, &text)) {
        return STATUS_OK;
    }
    if (slice_equals_string(text, "*")) {
        condition->kind = CONDITION_ANY;
        return STATUS_OK;
    }
    condition->kind = CONDITION_TAGS;
    if (!take_tags(text, condition)) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, name,
                            "%s must be * or up to %u entity tags as \"8\"", name, LIMIT_TAGS);
    }
    return STATUS_OK;
}

enum status param_conditions(struct input *input, struct condition *if_match,
                             struct condition *if_none_match)
{
    enum status status = take_condition(input, "If-Match", if_match);

    return status == STATUS_OK ? take_condition(input, "If-None-Match", if_none_match) : status;
}

enum status param_no_epoch(struct input *input)
{
    struct slice text;

    if (input_header(input, "Session-Epoch", &text)) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "Session-Epoch",
                            "sessions cannot be owned yet, so that no epoch holds");
    }
    return STATUS_OK;
}

enum status param_idempotency_key(struct input *input, struct slice *key)
{
    struct slice text;

    *key = slice_of(NULL, 0);
    if (!input_header(input, "Idempotency-Key", &text)) {
        return STATUS_OK;
    }
    if (text.size == 0 || text.size > LIMIT_IDEMPOTENCY_KEY_BYTES) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "Idempotency-Key",
                            "an idempotency key has 1 to %u characters",
                            LIMIT_IDEMPOTENCY_KEY_BYTES);
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e) {
            return input_refuse(input, PROBLEM_INVALID_FIELD, "Idempotency-Key",
                                "an idempotency key is made of visible ASCII");
        }
    }
    *key = text;
    return STATUS_OK;
}

enum status param_consistency(struct input *input, enum consistency *consistency,
                              uint64_t *min_revision)
{
    bool is_given;
    struct slice text;
    enum status status =
        param_number(input, "min_revision", 0, UINT64_MAX, min_revision, &is_given);

    if (status != STATUS_OK) {
        return status;
    }
    *consistency = is_given ? CONSISTENCY_STALE : CONSISTENCY_LINEARIZABLE;
    if (!input_parameter(input, "consistency", &text)) {
        return STATUS_OK;
    }
    if (slice_equals_string(text, "stale")) {
        *consistency = CONSISTENCY_STALE;
        return STATUS_OK;
    }
    if (!slice_equals_string(text, "linearizable")) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "consistency",
                            "consistency must be linearizable or stale");
    }
    if (is_given) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "min_revision",
                            "min_revision is a local read and cannot be linearizable");
    }
    return STATUS_OK;
}
