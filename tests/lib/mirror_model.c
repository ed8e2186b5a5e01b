#include "tests/lib/mirror_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_KEY 1024

static void make_key(char key[MAX_KEY], struct slice ns, struct slice name, const char *end)
{
    (void)snprintf(key, MAX_KEY, "%.*s %.*s%s", (int)ns.size, (const char *)ns.data, (int)name.size,
                   (const char *)name.data, end);
}

static bool id_differs(const json_t *ids, const char *key, uint64_t id)
{
    const json_t *known = json_object_get(ids, key);

    return known != NULL && json_integer_value(known) != (json_int_t)id;
}

static void remember(json_t *ids, const char *key, uint64_t id)
{
    assert_int_equal(json_object_set_new(ids, key, json_integer((json_int_t)id)), 0);
}

static void forget(json_t *rows, const char *place, const char *key)
{
    (void)json_object_del(json_object_get(rows, place), key); /* It may not be there. */
}

static void remove_contents(struct mirror_model *model, struct slice name)
{
    char prefix[MAX_KEY];

    (void)snprintf(prefix, sizeof prefix, "%.*s ", (int)name.size, (const char *)name.data);
    mirror_rows_remove_all(model->rows, "sessions", prefix);
    mirror_rows_remove_all(model->rows, "events", prefix);
    mirror_rows_remove_all(model->rows, "items", prefix);
}

static void drop_namespace(void *data, struct slice name)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];

    (void)snprintf(key, sizeof key, "%.*s", (int)name.size, (const char *)name.data);
    if (json_object_get(model->namespaces, key) != NULL) {
        remove_contents(model, name);
        forget(model->rows, "namespaces", key);
        assert_int_equal(json_object_del(model->namespaces, key), 0);
    }
}

static void put_namespace(void *data, const struct namespace_row *row)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];

    (void)snprintf(key, sizeof key, "%.*s", (int)row->name.size, (const char *)row->name.data);
    if (id_differs(model->namespaces, key, row->id)) {
        remove_contents(model, row->name);
    }
    remember(model->namespaces, key, row->id);
    mirror_rows_put(model->rows, "namespaces", key, mirror_row_of_namespace(row));
}

static void put_session(void *data, const struct mirror_namespace *ns,
                        const struct session_row *row)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];
    char prefix[MAX_KEY];

    make_key(key, ns->name, row->id, "");
    make_key(prefix, ns->name, row->id, " ");
    if (json_object_get(json_object_get(model->rows, "sessions"), key) != NULL &&
        id_differs(model->objects, key, row->object_id)) {
        mirror_rows_remove_all(model->rows, "events", prefix);
    }
    remember(model->objects, key, row->object_id);
    mirror_rows_put(model->rows, "sessions", key, mirror_row_of_session(row));
}

static void drop_session(void *data, const struct mirror_namespace *ns, struct slice id)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];
    char prefix[MAX_KEY];

    make_key(key, ns->name, id, "");
    make_key(prefix, ns->name, id, " ");
    forget(model->rows, "sessions", key);
    mirror_rows_remove_all(model->rows, "events", prefix);
}

/* One that is there stays, and is the same. */
static void put_event(void *data, const struct mirror_namespace *ns,
                      const struct session_row *session, const struct event_row *row)
{
    struct mirror_model *model = data;
    json_t *event = mirror_row_of_event(row);
    const json_t *known;
    char number[32];
    char key[MAX_KEY];

    (void)snprintf(number, sizeof number, " %llu", (unsigned long long)row->seq);
    make_key(key, ns->name, session->id, number);
    model->n_events++;
    known = json_object_get(json_object_get(model->rows, "events"), key);
    if (known != NULL) {
        assert_int_equal(json_equal(known, event), 1);
    }
    mirror_rows_put(model->rows, "events", key, event);
}

static void cut_events(void *data, const struct mirror_namespace *ns, struct slice session_id,
                       uint64_t after_seq, uint64_t before_seq)
{
    struct mirror_model *model = data;
    json_t *events = json_object_get(model->rows, "events");
    char prefix[MAX_KEY];
    const char *key;
    json_t *event;
    void *next;

    make_key(prefix, ns->name, session_id, " ");
    json_object_foreach_safe(events, next, key, event)
    {
        uint64_t seq = (uint64_t)json_integer_value(json_object_get(event, "seq"));

        if (strncmp(key, prefix, strlen(prefix)) == 0 && seq > after_seq && seq < before_seq) {
            assert_int_equal(json_object_del(events, key), 0);
        }
    }
}

static void put_item(void *data, const struct mirror_namespace *ns, const struct item_row *row)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];

    model->n_items++;
    make_key(key, ns->name, row->key, "");
    mirror_rows_put(model->rows, "items", key, mirror_row_of_item(row));
}

static void drop_item(void *data, const struct mirror_namespace *ns, struct slice name)
{
    struct mirror_model *model = data;
    char key[MAX_KEY];

    make_key(key, ns->name, name, "");
    forget(model->rows, "items", key);
}

void mirror_model_open(struct mirror_model *model)
{
    *model = (struct mirror_model){
        .sink = {.data = model,
                 .put_namespace = put_namespace,
                 .drop_namespace = drop_namespace,
                 .put_session = put_session,
                 .drop_session = drop_session,
                 .put_event = put_event,
                 .cut_events = cut_events,
                 .put_item = put_item,
                 .drop_item = drop_item},
        .rows = mirror_rows_new(),
        .namespaces = json_object(),
        .objects = json_object(),
    };
}

void mirror_model_clear(struct mirror_model *model)
{
    mirror_model_close(model);
    mirror_model_open(model);
}

void mirror_model_close(struct mirror_model *model)
{
    json_decref(model->rows);
    json_decref(model->namespaces);
    json_decref(model->objects);
}
