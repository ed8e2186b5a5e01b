#include "storage/archive/mirror_batch.h"

#include <endian.h>
#include <string.h>

/* What a file for COPY begins with (PostgreSQL's manual, "COPY", binary format): the signature,
 * flags, and the size of an extension. */
static const uint8_t header[] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n',
                                 0,   0,   0,   0,   0,   0,   0,    0,    0};
#define TRAILER       (-1)
#define EPOCH_MS      946684800000ll /* 2000-01-01: where PostgreSQL's times begin. */
#define JSONB_VERSION 1
#define MAX_NUMBER    500 /* Characters of one in JSON: numeric takes more than these ... */
#define MAX_EXPONENT  3   /* ... with an exponent of so many digits. */
#define EMPTY_OBJECT  "{}"

/* --- JSON --- */

/* Behind the string that begins at @i; its own end if U+0000 is in it. */
static size_t skip_string(struct slice json, size_t i, bool *fits)
{
    for (i++; i < json.size && json.data[i] != '"'; i++) {
        if (json.data[i] == '\\') {
            i++;
            *fits = *fits && !slice_starts_with(slice_from(json, i < json.size ? i : json.size),
                                                slice_of_string("u0000"));
        }
    }
    return i;
}

static bool is_of_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Behind the number that begins at @i. */
static size_t skip_number(struct slice json, size_t i, bool *fits)
{
    size_t first = i;
    size_t exponent = 0;

    for (; i < json.size && is_of_number(json.data[i]); i++) {
        bool is_digit = json.data[i] >= '0' && json.data[i] <= '9';

        if (json.data[i] == 'e' || json.data[i] == 'E') {
            exponent = 1;
        } else if (exponent > 0 && is_digit) {
            exponent++;
        }
    }
    *fits = *fits && i - first <= MAX_NUMBER && exponent <= MAX_EXPONENT + 1;
    return i;
}

bool mirror_batch_fits_jsonb(struct slice json)
{
    bool fits = true;

    for (size_t i = 0; i < json.size && fits; i++) {
        if (json.data[i] == '"') {
            i = skip_string(json, i, &fits);
        } else if (json.data[i] == '-' || (json.data[i] >= '0' && json.data[i] <= '9')) {
            i = skip_number(json, i, &fits) - 1;
        }
    }
    return fits;
}

/* --- Fields --- */

static void put_i16(struct buffer *rows, int16_t number)
{
    uint16_t big_endian = htobe16((uint16_t)number);

    buffer_append(rows, &big_endian, sizeof big_endian);
}

static void put_i32(struct buffer *rows, int32_t number)
{
    uint32_t big_endian = htobe32((uint32_t)number);

    buffer_append(rows, &big_endian, sizeof big_endian);
}

static void put_null(struct buffer *rows)
{
    put_i32(rows, -1);
}

static void put_bytes(struct buffer *rows, struct slice bytes)
{
    put_i32(rows, (int32_t)bytes.size); /* A row is far below that (limits.h). */
    buffer_append_slice(rows, bytes);
}

static void put_text_or_null(struct buffer *rows, struct slice text)
{
    if (text.size == 0) {
        put_null(rows);
    } else {
        put_bytes(rows, text);
    }
}

static void put_bool(struct buffer *rows, bool value)
{
    put_i32(rows, 1);
    buffer_append_byte(rows, value ? 1 : 0);
}

static void put_i64(struct buffer *rows, int64_t number)
{
    uint64_t big_endian = htobe64((uint64_t)number);

    put_i32(rows, sizeof big_endian);
    buffer_append(rows, &big_endian, sizeof big_endian);
}

static void put_number(struct buffer *rows, uint64_t number)
{
    put_i64(rows, number > INT64_MAX ? INT64_MAX : (int64_t)number);
}

static void put_number_or_null(struct buffer *rows, uint64_t number)
{
    if (number == 0) {
        put_null(rows);
    } else {
        put_number(rows, number);
    }
}

static void put_time(struct buffer *rows, uint64_t time_ms)
{
    put_i64(rows, ((int64_t)time_ms - EPOCH_MS) * 1000);
}

static void put_time_or_null(struct buffer *rows, uint64_t time_ms)
{
    if (time_ms == 0) {
        put_null(rows);
    } else {
        put_time(rows, time_ms);
    }
}

/* @fits: as mirror_batch_fits_jsonb(). */
static void put_json(struct buffer *rows, struct slice json, bool fits)
{
    if (!fits) {
        put_null(rows);
        return;
    }
    put_i32(rows, (int32_t)json.size + 1);
    buffer_append_byte(rows, JSONB_VERSION);
    buffer_append_slice(rows, json);
}

static struct slice or_empty(struct slice json)
{
    return json.size == 0 ? slice_of_string(EMPTY_OBJECT) : json;
}

/* --- Rows --- */

static struct buffer *begin_row(struct mirror_batch *batch, enum mirror_table table, int16_t fields)
{
    struct buffer *rows = &batch->rows[table];

    if (rows->size == 0) {
        buffer_append(rows, header, sizeof header);
    }
    batch->n_rows[table]++;
    put_i16(rows, fields);
    return rows;
}

static void put_namespace(void *data, const struct namespace_row *row)
{
    struct buffer *rows = begin_row(data, MIRROR_NEW_NAMESPACES, 6);
    struct slice metadata = or_empty(row->metadata);
    bool fits = mirror_batch_fits_jsonb(metadata);

    put_bytes(rows, row->name);
    put_number(rows, row->id);
    put_number(rows, row->revision);
    put_json(rows, metadata, fits);
    put_time(rows, row->created_at_ms);
    put_text_or_null(rows, fits ? slice_of(NULL, 0) : metadata);
}

static void drop_namespace(void *data, struct slice name)
{
    put_bytes(begin_row(data, MIRROR_GONE_NAMESPACES, 1), name);
}

/* Both documents as one, if one of them does not fit. */
static void put_raw_session(struct buffer *rows, struct slice metadata, struct slice state)
{
    struct buffer raw = BUFFER_EMPTY;

    buffer_append_string(&raw, "{\"metadata\":");
    buffer_append_slice(&raw, metadata);
    buffer_append_string(&raw, ",\"state\":");
    buffer_append_slice(&raw, state);
    buffer_append_byte(&raw, '}');
    put_bytes(rows, buffer_slice(&raw));
    buffer_close(&raw);
}

static void put_session(void *data, const struct mirror_namespace *ns,
                        const struct session_row *row)
{
    static const char *const statuses[SESSION_STATUSES] = {"active", "paused", "closed"};
    struct buffer *rows = begin_row(data, MIRROR_NEW_SESSIONS, 23);
    struct slice metadata = or_empty(row->metadata);
    struct slice state = or_empty(row->state);
    bool metadata_fits = mirror_batch_fits_jsonb(metadata);
    bool state_fits = mirror_batch_fits_jsonb(state);

    put_bytes(rows, ns->name);
    put_bytes(rows, row->id);
    put_number(rows, ns->id);
    put_number(rows, row->object_id);
    put_text_or_null(rows, row->agent_id);
    put_text_or_null(rows, row->user_id);
    put_bytes(rows, slice_of_string(statuses[row->status]));
    put_json(rows, metadata, metadata_fits);
    put_json(rows, state, state_fits);
    put_number_or_null(rows, row->ttl_ms);
    put_bool(rows, row->sliding);
    put_bytes(rows, slice_of_string(row->write_policy == WRITE_POLICY_OWNER ? "owner" : "any"));
    put_number(rows, row->revision);
    put_number(rows, row->updated_revision);
    put_number_or_null(rows, row->first_seq);
    put_number(rows, row->last_seq);
    put_number(rows, row->event_count);
    put_number(rows, row->event_bytes);
    put_number(rows, row->epoch);
    put_time(rows, row->created_at_ms);
    put_time(rows, row->updated_at_ms);
    put_time_or_null(rows, row->expires_at_ms);
    if (metadata_fits && state_fits) {
        put_null(rows);
    } else {
        put_raw_session(rows, metadata, state);
    }
}

static void drop_session(void *data, const struct mirror_namespace *ns, struct slice id)
{
    struct buffer *rows = begin_row(data, MIRROR_GONE_SESSIONS, 2);

    put_bytes(rows, ns->name);
    put_bytes(rows, id);
}

static void put_event(void *data, const struct mirror_namespace *ns,
                      const struct session_row *session, const struct event_row *row)
{
    struct buffer *rows = begin_row(data, MIRROR_NEW_EVENTS, 9);
    struct slice json = or_empty(row->data);
    bool fits = mirror_batch_fits_jsonb(json);

    put_bytes(rows, ns->name);
    put_bytes(rows, session->id);
    put_number(rows, row->seq);
    put_number(rows, session->object_id);
    put_text_or_null(rows, row->id);
    put_bytes(rows, row->type);
    put_json(rows, json, fits);
    put_time(rows, row->created_at_ms);
    put_text_or_null(rows, fits ? slice_of(NULL, 0) : json);
}

static void cut_events(void *data, const struct mirror_namespace *ns, struct slice session_id,
                       uint64_t after_seq, uint64_t before_seq)
{
    struct buffer *rows = begin_row(data, MIRROR_GONE_EVENTS, 4);

    put_bytes(rows, ns->name);
    put_bytes(rows, session_id);
    put_number(rows, after_seq);
    put_number(rows, before_seq);
}

static void put_item(void *data, const struct mirror_namespace *ns, const struct item_row *row)
{
    struct buffer *rows = begin_row(data, MIRROR_NEW_ITEMS, 14);
    bool is_json = row->content == CONTENT_JSON;
    bool fits = is_json && mirror_batch_fits_jsonb(row->value);

    put_bytes(rows, ns->name);
    put_bytes(rows, row->key);
    put_number(rows, ns->id);
    put_number(rows, row->revision);
    put_bytes(rows, is_json ? slice_of_string("application/json") : row->content_type);
    put_number(rows, row->size_bytes);
    put_text_or_null(rows, row->user_id);
    put_number_or_null(rows, row->ttl_ms);
    put_json(rows, row->value, fits);
    if (is_json) {
        put_null(rows);
    } else {
        put_bytes(rows, row->value); /* Empty is not NULL. */
    }
    put_time(rows, row->created_at_ms);
    put_time(rows, row->updated_at_ms);
    put_time_or_null(rows, row->expires_at_ms);
    put_text_or_null(rows, is_json && !fits ? row->value : slice_of(NULL, 0));
}

static void drop_item(void *data, const struct mirror_namespace *ns, struct slice key)
{
    struct buffer *rows = begin_row(data, MIRROR_GONE_ITEMS, 2);

    put_bytes(rows, ns->name);
    put_bytes(rows, key);
}

/* --- Life --- */

void mirror_batch_open(struct mirror_batch *batch)
{
    *batch = (struct mirror_batch){
        .sink = {.data = batch,
                 .put_namespace = put_namespace,
                 .drop_namespace = drop_namespace,
                 .put_session = put_session,
                 .drop_session = drop_session,
                 .put_event = put_event,
                 .cut_events = cut_events,
                 .put_item = put_item,
                 .drop_item = drop_item},
    };
}

void mirror_batch_clear(struct mirror_batch *batch)
{
    for (size_t i = 0; i < MIRROR_TABLES; i++) {
        buffer_clear(&batch->rows[i]);
        batch->n_rows[i] = 0;
    }
}

void mirror_batch_close(struct mirror_batch *batch)
{
    for (size_t i = 0; i < MIRROR_TABLES; i++) {
        buffer_close(&batch->rows[i]);
    }
}

uint64_t mirror_batch_count(const struct mirror_batch *batch, enum mirror_table table)
{
    return batch->n_rows[table];
}

struct slice mirror_batch_data(struct mirror_batch *batch, enum mirror_table table)
{
    put_i16(&batch->rows[table], TRAILER);
    return buffer_slice(&batch->rows[table]);
}
