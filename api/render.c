#include "api/render.h"

#include "api/base64.h"
#include "storage/document.h"

#define MS_PER_DAY 86400000u

static void render_literal(struct buffer *text, const char *literal)
{
    buffer_append(text, literal, strlen(literal));
}

void render_number(struct buffer *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(text, digits + at, sizeof(digits) - at);
}

static void put_digits(char *at, unsigned digits, unsigned value)
{
    while (digits > 0) {
        at[--digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar. Years are taken
 * to begin in March, so that the leap day is the last day of one; 719468 days lie between
 * 0000-03-01 and 1970-01-01. */
static void civil_date(uint64_t day, unsigned *year, unsigned *month, unsigned *day_of_month)
{
    uint64_t shifted = day + 719468;
    unsigned era = (unsigned)(shifted / 146097);
    unsigned of_era = (unsigned)(shifted % 146097);
    unsigned of_400 = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * of_400 + of_400 / 4 - of_400 / 100);
    unsigned march_month = (5 * of_year + 2) / 153;

    *day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = era * 400 + of_400 + (*month <= 2 ? 1 : 0);
}

/* 9999-12-31T23:59:59.999Z is the last moment that RFC 3339 can say. */
#define LAST_TIME_MS 253402300799999u

void render_time(struct buffer *text, uint64_t time_ms)
{
    char out[] = "0000-00-00T00:00:00.000Z";
    unsigned year;
    unsigned month;
    unsigned day;
    unsigned of_day;

    time_ms = time_ms > LAST_TIME_MS ? LAST_TIME_MS : time_ms;
    of_day = (unsigned)(time_ms % MS_PER_DAY);
    civil_date(time_ms / MS_PER_DAY, &year, &month, &day);
    put_digits(out, 4, year);
    put_digits(out + 5, 2, month);
    put_digits(out + 8, 2, day);
    put_digits(out + 11, 2, of_day / 3600000);
    put_digits(out + 14, 2, of_day / 60000 % 60);
    put_digits(out + 17, 2, of_day / 1000 % 60);
    put_digits(out + 20, 3, of_day % 1000);
    buffer_append(text, out, sizeof(out) - 1);
}

void render_member_number(struct buffer *text, const char *lead, uint64_t number)
{
    render_literal(text, lead);
    render_number(text, number);
}

static void member_number_or_null(struct buffer *text, const char *lead, uint64_t number)
{
    render_literal(text, lead);
    if (number == 0) {
        render_literal(text, "null");
    } else {
        render_number(text, number);
    }
}

static void member_text(struct buffer *text, const char *lead, struct slice value)
{
    render_literal(text, lead);
    document_write_string(value, text);
}

void render_member_text_or_null(struct buffer *text, const char *lead, struct slice value)
{
    render_literal(text, lead);
    if (value.size == 0) {
        render_literal(text, "null");
    } else {
        document_write_string(value, text);
    }
}

static void member_json(struct buffer *text, const char *lead, struct slice json)
{
    render_literal(text, lead);
    if (json.size == 0) {
        render_literal(text, "{}");
    } else {
        buffer_append_slice(text, json);
    }
}

static void member_time(struct buffer *text, const char *lead, uint64_t time_ms)
{
    render_literal(text, lead);
    buffer_append_byte(text, '"');
    render_time(text, time_ms);
    buffer_append_byte(text, '"');
}

void render_member_time_or_null(struct buffer *text, const char *lead, uint64_t time_ms)
{
    if (time_ms == 0) {
        render_literal(text, lead);
        render_literal(text, "null");
    } else {
        member_time(text, lead, time_ms);
    }
}

void render_member_bool(struct buffer *text, const char *lead, bool value)
{
    render_literal(text, lead);
    render_literal(text, value ? "true" : "false");
}

void render_namespace(struct buffer *text, const struct namespace_row *row)
{
    member_text(text, "{\"name\":", row->name);
    render_member_number(text, ",\"revision\":", row->revision);
    member_json(text, ",\"metadata\":", row->metadata);
    render_literal(text, ",\"quotas\":{\"max_bytes\":null}");
    member_time(text, ",\"created_at\":", row->created_at_ms);
    buffer_append_byte(text, '}');
}

void render_session(struct buffer *text, const struct session_row *row, bool with_state)
{
    static const char *const statuses[SESSION_STATUSES] = {"active", "paused", "closed"};

    member_text(text, "{\"id\":", row->id);
    render_member_text_or_null(text, ",\"agent_id\":", row->agent_id);
    render_member_text_or_null(text, ",\"user_id\":", row->user_id);
    member_text(text, ",\"status\":", slice_of_string(statuses[row->status]));
    member_json(text, ",\"metadata\":", row->metadata);
    if (with_state) {
        member_json(text, ",\"state\":", row->state);
    }
    member_number_or_null(text, ",\"ttl_ms\":", row->ttl_ms);
    render_member_bool(text, ",\"sliding\":", row->sliding);
    render_literal(text, row->write_policy == WRITE_POLICY_OWNER ? ",\"write_policy\":\"owner\""
                                                                 : ",\"write_policy\":\"any\"");
    render_member_number(text, ",\"revision\":", row->revision);
    member_number_or_null(text, ",\"first_seq\":", row->first_seq);
    render_member_number(text, ",\"last_seq\":", row->last_seq);
    render_member_number(text, ",\"event_count\":", row->event_count);
    render_member_number(text, ",\"event_bytes\":", row->event_bytes);
    render_member_number(text, ",\"epoch\":", row->epoch);
    render_literal(text, ",\"owner\":null");
    member_time(text, ",\"created_at\":", row->created_at_ms);
    member_time(text, ",\"updated_at\":", row->updated_at_ms);
    render_member_time_or_null(text, ",\"expires_at\":", row->expires_at_ms);
    buffer_append_byte(text, '}');
}

static void render_item_value(struct buffer *text, const struct item_row *row)
{
    if (row->content == CONTENT_JSON) {
        render_literal(text, ",\"value\":");
        buffer_append_slice(text, row->value);
        return;
    }
    render_literal(text, ",\"value_base64\":\"");
    base64_encode(BASE64_STANDARD, row->value, text);
    buffer_append_byte(text, '"');
}

void render_item(struct buffer *text, const struct item_row *row, bool with_value)
{
    member_text(text, "{\"key\":", row->key);
    render_member_number(text, ",\"revision\":", row->revision);
    if (row->content == CONTENT_JSON) {
        render_literal(text, ",\"content_type\":\"application/json\"");
    } else {
        member_text(text, ",\"content_type\":", row->content_type);
    }
    render_member_number(text, ",\"size_bytes\":", row->size_bytes);
    render_member_text_or_null(text, ",\"user_id\":", row->user_id);
    member_number_or_null(text, ",\"ttl_ms\":", row->ttl_ms);
    member_time(text, ",\"created_at\":", row->created_at_ms);
    member_time(text, ",\"updated_at\":", row->updated_at_ms);
    render_member_time_or_null(text, ",\"expires_at\":", row->expires_at_ms);
    if (with_value) {
        render_item_value(text, row);
    }
    buffer_append_byte(text, '}');
}

void render_event(struct buffer *text, const struct event_row *row)
{
    render_member_number(text, "{\"seq\":", row->seq);
    render_member_text_or_null(text, ",\"id\":", row->id);
    member_text(text, ",\"type\":", row->type);
    member_json(text, ",\"data\":", row->data);
    member_time(text, ",\"created_at\":", row->created_at_ms);
    buffer_append_byte(text, '}');
}

static void render_append(struct buffer *text, const struct append_row *row)
{
    render_member_number(text, "{\"first_seq\":", row->first_seq);
    render_member_number(text, ",\"last_seq\":", row->last_seq);
    render_member_bool(text, ",\"duplicate\":", row->duplicate);
    render_member_bool(text, ",\"session_created\":", row->session_created);
    buffer_append_byte(text, '}');
}

static void render_trim(struct buffer *text, const struct trim_row *row)
{
    render_member_number(text, "{\"deleted\":", row->deleted);
    member_number_or_null(text, ",\"first_seq\":", row->first_seq);
    render_member_number(text, ",\"last_seq\":", row->last_seq);
    buffer_append_byte(text, '}');
}

static void render_prefix_deleted(struct buffer *text, const struct prefix_deleted_row *row)
{
    render_member_number(text, "{\"deleted\":", row->deleted);
    render_member_bool(text, ",\"more\":", row->more);
    buffer_append_byte(text, '}');
}

/* Decode the row as @type and append it by @render. */
#define RENDER_DECODED(type, ...)                                                                  \
    do {                                                                                           \
        struct type row;                                                                           \
                                                                                                   \
        if (type##_decode(operation->row, &row) != STATUS_OK) {                                    \
            return false;                                                                          \
        }                                                                                          \
        __VA_ARGS__;                                                                               \
        return true;                                                                               \
    } while (0)

bool render_row(struct buffer *text, const struct operation_result *operation)
{
    switch (operation->row_kind) {
    case ROW_NONE:
        return true;
    case ROW_SESSION:
        RENDER_DECODED(session_row, render_session(text, &row, false));
    case ROW_ITEM:
        RENDER_DECODED(item_row, render_item(text, &row, false));
    case ROW_APPEND:
        RENDER_DECODED(append_row, render_append(text, &row));
    case ROW_TRIM:
        RENDER_DECODED(trim_row, render_trim(text, &row));
    case ROW_PREFIX_DELETED:
        RENDER_DECODED(prefix_deleted_row, render_prefix_deleted(text, &row));
    case ROW_NAMESPACE:
        RENDER_DECODED(namespace_row, render_namespace(text, &row));
    case ROW_MAINTAINED:
    case ROW_KINDS:
        return false;
    }
    return false;
}

void render_revision(struct response *response, uint64_t revision)
{
    render_literal(&response->headers, "Holdfast-Revision: ");
    render_number(&response->headers, revision);
    render_literal(&response->headers, "\r\n");
}

void render_etag(struct response *response, uint64_t revision)
{
    render_literal(&response->headers, "ETag: \"");
    render_number(&response->headers, revision);
    render_literal(&response->headers, "\"\r\n");
}

void render_expires_at(struct response *response, uint64_t expires_at_ms)
{
    if (expires_at_ms == 0) {
        return;
    }
    render_literal(&response->headers, "Holdfast-Expires-At: ");
    render_time(&response->headers, expires_at_ms);
    render_literal(&response->headers, "\r\n");
}
