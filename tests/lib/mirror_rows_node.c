#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/mirror_rows.h"

#define MAX_TARGET 1024

/* NULL: the answer was another than 200. */
static json_t *get(struct http_client *client, const char *target)
{
    struct http_response response = {0};
    json_t *json = NULL;

    if (http_call(client, &response, "GET", target, NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        json = json_loadb((const char *)response.body.data, response.body.size,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    }
    http_response_close(&response);
    return json;
}

struct listing {
    struct http_client *client;
    json_t *rows;
    const char *ns;
    const char *session_id;
    const char *session_key;
};

typedef bool (*take_cb)(struct listing *listing, json_t *row);

/* Hand each row of all pages to @take, until that gives false. @target has a "?". */
static bool list(struct listing *listing, const char *target, take_cb take)
{
    char page[MAX_TARGET];
    bool goes_on = true;

    (void)snprintf(page, sizeof page, "%s", target);
    while (goes_on) {
        json_t *answer = get(listing->client, page);
        const char *cursor = json_string_value(json_object_get(answer, "next_cursor"));
        bool is_last = cursor == NULL;
        json_t *row;
        size_t i;

        goes_on = answer != NULL;
        json_array_foreach(json_object_get(answer, "items"), i, row)
        {
            goes_on = goes_on && take(listing, row);
        }
        if (goes_on && !is_last) {
            (void)snprintf(page, sizeof page, "%s&cursor=%s", target, cursor);
        }
        json_decref(answer);
        if (is_last) {
            break;
        }
    }
    return goes_on;
}

static bool take_event(struct listing *listing, json_t *row)
{
    char key[MAX_TARGET];

    (void)snprintf(key, sizeof key, "%s %lld", listing->session_key,
                   (long long)json_integer_value(json_object_get(row, "seq")));
    mirror_rows_put(listing->rows, "events", key, json_incref(row));
    return true;
}

static bool take_session(struct listing *listing, json_t *listed)
{
    const char *id = json_string_value(json_object_get(listed, "id"));
    char target[MAX_TARGET];
    char key[MAX_TARGET];
    struct listing events = *listing;
    json_t *row;

    (void)snprintf(target, sizeof target, "/v1/namespaces/%s/sessions/%s", listing->ns, id);
    (void)snprintf(key, sizeof key, "%s %s", listing->ns, id);
    row = get(listing->client, target);
    if (row == NULL) {
        return false;
    }
    (void)json_object_del(row, "owner"); /* Always null. */
    mirror_rows_put(listing->rows, "sessions", key, row);
    events.session_key = key;
    (void)snprintf(target, sizeof target, "/v1/namespaces/%s/sessions/%s/events?limit=500",
                   listing->ns, id);
    return list(&events, target, take_event);
}

static bool take_item(struct listing *listing, json_t *row)
{
    char key[MAX_TARGET];

    (void)snprintf(key, sizeof key, "%s %s", listing->ns,
                   json_string_value(json_object_get(row, "key")));
    mirror_rows_put(listing->rows, "items", key, json_incref(row));
    return true;
}

static bool take_namespace(struct listing *listing, json_t *row)
{
    struct listing inside = *listing;
    char target[MAX_TARGET];

    inside.ns = json_string_value(json_object_get(row, "name"));
    (void)json_object_del(row, "quotas"); /* There are none yet. */
    mirror_rows_put(listing->rows, "namespaces", inside.ns, json_incref(row));
    (void)snprintf(target, sizeof target, "/v1/namespaces/%s/sessions?limit=500", inside.ns);
    if (!list(&inside, target, take_session)) {
        return false;
    }
    (void)snprintf(target, sizeof target, "/v1/namespaces/%s/items?values=true&limit=500",
                   inside.ns);
    return list(&inside, target, take_item);
}

json_t *mirror_rows_of_node(struct http_client *client)
{
    struct listing listing = {.client = client, .rows = mirror_rows_new()};

    if (!list(&listing, "/v1/namespaces?limit=500", take_namespace)) {
        json_decref(listing.rows);
        return NULL;
    }
    return listing.rows;
}
