#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/lib/mirror_rows.h"

#define MAX_KEY 1024

static json_t *text_of(struct slice text)
{
    return json_stringn((const char *)text.data, text.size);
}

static json_t *text_or_null(struct slice text)
{
    return text.size == 0 ? json_null() : text_of(text);
}

static json_t *number_or_null(uint64_t number)
{
    return number == 0 ? json_null() : json_integer((json_int_t)number);
}

static void write_time(uint64_t time_ms, char text[32])
{
    time_t seconds = (time_t)(time_ms / 1000);
    char day[24];
    struct tm tm;

    assert_non_null(gmtime_r(&seconds, &tm));
    assert_true(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) > 0);
    (void)snprintf(text, 32, "%s.%03uZ", day, (unsigned)(time_ms % 1000));
}

static json_t *time_or_null(uint64_t time_ms)
{
    char text[32];

    if (time_ms == 0) {
        return json_null();
    }
    write_time(time_ms, text);
    return json_string(text);
}

static json_t *json_of(struct slice json)
{
    json_t *value = json.size == 0 ? json_object()
                                   : json_loadb((const char *)json.data, json.size,
                                                JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    assert_non_null(value);
    return value;
}

static json_t *base64_of(struct slice bytes)
{
    char *text = malloc(bytes.size / 3 * 4 + 8);
    json_t *json;

    assert_non_null(text);
    text[EVP_EncodeBlock((unsigned char *)text, bytes.data, (int)bytes.size)] = '\0';
    json = json_string(text);
    free(text);
    return json;
}

json_t *mirror_row_of_namespace(const struct namespace_row *row)
{
    return json_pack("{s:o, s:I, s:o, s:o}", "name", text_of(row->name), "revision",
                     (json_int_t)row->revision, "metadata", json_of(row->metadata), "created_at",
                     time_or_null(row->created_at_ms));
}

json_t *mirror_row_of_session(const struct session_row *row)
{
    static const char *const statuses[SESSION_STATUSES] = {"active", "paused", "closed"};

    return json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:b, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o, "
        "s:o}",
        "id", text_of(row->id), "agent_id", text_or_null(row->agent_id), "user_id",
        text_or_null(row->user_id), "status", statuses[row->status], "metadata",
        json_of(row->metadata), "state", json_of(row->state), "ttl_ms", number_or_null(row->ttl_ms),
        "sliding", (int)row->sliding, "write_policy",
        row->write_policy == WRITE_POLICY_OWNER ? "owner" : "any", "revision",
        (json_int_t)row->revision, "first_seq", number_or_null(row->first_seq), "last_seq",
        (json_int_t)row->last_seq, "event_count", (json_int_t)row->event_count, "event_bytes",
        (json_int_t)row->event_bytes, "epoch", (json_int_t)row->epoch, "created_at",
        time_or_null(row->created_at_ms), "updated_at", time_or_null(row->updated_at_ms),
        "expires_at", time_or_null(row->expires_at_ms));
}

json_t *mirror_row_of_event(const struct event_row *row)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "seq", (json_int_t)row->seq, "id",
                     text_or_null(row->id), "type", text_of(row->type), "data", json_of(row->data),
                     "created_at", time_or_null(row->created_at_ms));
}

json_t *mirror_row_of_item(const struct item_row *row)
{
    bool is_json = row->content == CONTENT_JSON;

    return json_pack(
        "{s:o, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "key", text_of(row->key), "revision",
        (json_int_t)row->revision, "content_type",
        is_json ? json_string("application/json") : text_of(row->content_type), "size_bytes",
        (json_int_t)row->size_bytes, "user_id", text_or_null(row->user_id), "ttl_ms",
        number_or_null(row->ttl_ms), "created_at", time_or_null(row->created_at_ms), "updated_at",
        time_or_null(row->updated_at_ms), "expires_at", time_or_null(row->expires_at_ms),
        is_json ? "value" : "value_base64", is_json ? json_of(row->value) : base64_of(row->value));
}

/* --- All of a state --- */

struct taking {
    json_t *rows;
    struct view *view;
    char namespace_name[LIMIT_NAMESPACE_BYTES + 1];
    uint64_t namespace_id;
    char session_key[MAX_KEY];
};

static bool take_event(void *data, const struct event_row *row)
{
    struct taking *taking = data;
    char key[MAX_KEY + 32];

    (void)snprintf(key, sizeof key, "%s %llu", taking->session_key, (unsigned long long)row->seq);
    mirror_rows_put(taking->rows, "events", key, mirror_row_of_event(row));
    return true;
}

static bool take_session(void *data, const struct session_row *listed)
{
    struct taking *taking = data;
    struct buffer position = BUFFER_EMPTY;
    struct session_row row;

    assert_int_equal(view_session(taking->view, taking->namespace_id, listed->id, &row), STATUS_OK);
    (void)snprintf(taking->session_key, sizeof taking->session_key, "%s %.*s",
                   taking->namespace_name, (int)row.id.size, (const char *)row.id.data);
    mirror_rows_put(taking->rows, "sessions", taking->session_key, mirror_row_of_session(&row));
    assert_int_equal(
        view_events(taking->view, &row, 0, UINT64_MAX, ORDER_ASC, &position, take_event, taking),
        STATUS_OK);
    buffer_close(&position);
    return true;
}

static bool take_item(void *data, const struct item_row *row)
{
    struct taking *taking = data;
    char key[MAX_KEY];

    (void)snprintf(key, sizeof key, "%s %.*s", taking->namespace_name, (int)row->key.size,
                   (const char *)row->key.data);
    mirror_rows_put(taking->rows, "items", key, mirror_row_of_item(row));
    return true;
}

static bool take_namespace(void *data, const struct namespace_row *row)
{
    const struct session_filter filter = {.sort = SESSION_SORT_CREATED, .order = ORDER_ASC};
    struct taking *taking = data;
    struct buffer position = BUFFER_EMPTY;

    (void)snprintf(taking->namespace_name, sizeof taking->namespace_name, "%.*s",
                   (int)row->name.size, (const char *)row->name.data);
    taking->namespace_id = row->id;
    mirror_rows_put(taking->rows, "namespaces", taking->namespace_name,
                    mirror_row_of_namespace(row));
    do {
        assert_int_equal(
            view_sessions(taking->view, row->id, &filter, &position, take_session, taking),
            STATUS_OK);
    } while (position.size > 0);
    do {
        assert_int_equal(view_items(taking->view, row->id, slice_of(NULL, 0), ORDER_ASC, &position,
                                    take_item, taking),
                         STATUS_OK);
    } while (position.size > 0);
    buffer_close(&position);
    return true;
}

json_t *mirror_rows_of_state(struct view *view)
{
    struct taking taking = {.rows = mirror_rows_new(), .view = view};
    struct buffer position = BUFFER_EMPTY;

    do {
        assert_int_equal(view_namespaces(view, ORDER_ASC, &position, take_namespace, &taking),
                         STATUS_OK);
    } while (position.size > 0);
    buffer_close(&position);
    return taking.rows;
}

static bool has_expired(const json_t *row, const char *now)
{
    const char *expires_at = json_string_value(json_object_get(row, "expires_at"));

    return expires_at != NULL && strcmp(expires_at, now) <= 0;
}

void mirror_rows_drop_expired(json_t *rows, uint64_t time_ms)
{
    json_t *items = json_object_get(rows, "items");
    json_t *sessions = json_object_get(rows, "sessions");
    char now[32];
    const char *key;
    json_t *row;
    void *next;

    write_time(time_ms, now);
    json_object_foreach_safe(items, next, key, row)
    {
        if (has_expired(row, now)) {
            assert_int_equal(json_object_del(items, key), 0);
        }
    }
    json_object_foreach_safe(sessions, next, key, row)
    {
        if (has_expired(row, now)) {
            char prefix[MAX_KEY];

            (void)snprintf(prefix, sizeof prefix, "%s ", key);
            mirror_rows_remove_all(rows, "events", prefix);
            assert_int_equal(json_object_del(sessions, key), 0);
        }
    }
}
