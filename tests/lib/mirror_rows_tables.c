#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/mirror_rows.h"

#define TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/* Key, row, raw. */
static const char namespaces_sql[] =
    "SELECT name, json_build_object('name', name, 'revision', revision, 'metadata', metadata, "
    "'created_at', " TIME("created_at") "), raw FROM namespaces";
static const char sessions_sql[] =
    "SELECT namespace || ' ' || id, json_build_object('id', id, 'agent_id', agent_id, 'user_id', "
    "user_id, 'status', status, 'metadata', metadata, 'state', state, 'ttl_ms', ttl_ms, 'sliding', "
    "sliding, 'write_policy', write_policy, 'revision', revision, 'first_seq', first_seq, "
    "'last_seq', last_seq, 'event_count', event_count, 'event_bytes', event_bytes, 'epoch', epoch, "
    "'created_at', " TIME("created_at") ", 'updated_at', " TIME(
        "updated_at") ", 'expires_at', " TIME("expires_at") "), raw FROM sessions";
static const char events_sql[] =
    "SELECT namespace || ' ' || session_id || ' ' || seq, json_build_object('seq', seq, 'id', id, "
    "'type', type, 'data', data, 'created_at', " TIME("created_at") "), raw FROM events";
static const char items_sql[] =
    "SELECT namespace || ' ' || key, CASE WHEN value IS NULL THEN "
    "jsonb_build_object('value', doc) "
    "ELSE jsonb_build_object('value_base64', translate(encode(value, 'base64'), "
    "E'\\n', '')) END "
    "|| jsonb_build_object('key', key, 'revision', revision, 'content_type', "
    "content_type, "
    "'size_bytes', size_bytes, 'user_id', user_id, 'ttl_ms', ttl_ms, "
    "'created_at', " TIME("created_at") ", 'updated_at', " TIME(
        "updated_at") ", 'expires_at', " TIME("expires_at") "), raw "
                                                            "FROM items";

static PGresult *ask(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    }
    return result;
}

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    if (json == NULL) {
        fail_msg("no JSON: %.200s", text);
    }
    return json;
}

/* What jsonb could not hold is in "raw", and is NULL in the place of its own. */
static void take_raw(json_t *row, const char *place, const char *raw)
{
    json_t *json = parse(raw);

    if (strcmp(place, "sessions") == 0) {
        assert_true(json_is_null(json_object_get(row, "state")) ||
                    json_is_null(json_object_get(row, "metadata")));
        assert_int_equal(json_object_update(row, json), 0);
        json_decref(json);
        return;
    }
    place = strcmp(place, "events") == 0       ? "data"
            : strcmp(place, "namespaces") == 0 ? "metadata"
                                               : "value";
    assert_true(json_is_null(json_object_get(row, place)));
    assert_int_equal(json_object_set_new(row, place, json), 0);
}

static void take_table(PGconn *pg, json_t *rows, const char *place, const char *sql)
{
    PGresult *result = ask(pg, sql);

    for (int i = 0; i < PQntuples(result); i++) {
        json_t *row = parse(PQgetvalue(result, i, 1));

        if (!PQgetisnull(result, i, 2)) {
            take_raw(row, place, PQgetvalue(result, i, 2));
        }
        mirror_rows_put(rows, place, PQgetvalue(result, i, 0), row);
    }
    assert_int_equal(mirror_rows_count(rows, place), PQntuples(result));
    PQclear(result);
}

/* What hangs together: ids, and events of sessions. */
static void check_ids(PGconn *pg)
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM sessions s LEFT JOIN namespaces n ON n.name = s.namespace "
        "WHERE s.namespace_id IS DISTINCT FROM n.namespace_id) + "
        "(SELECT count(*) FROM items i LEFT JOIN namespaces n ON n.name = i.namespace "
        "WHERE i.namespace_id IS DISTINCT FROM n.namespace_id) + "
        "(SELECT count(*) FROM events e LEFT JOIN sessions s ON s.namespace = e.namespace AND s.id "
        "= e.session_id WHERE e.object_id IS DISTINCT FROM s.object_id)";
    PGresult *result = ask(pg, sql);

    assert_string_equal(PQgetvalue(result, 0, 0), "0");
    PQclear(result);
}

static void take_position(PGconn *pg, struct mirror_rows_position *position)
{
    PGresult *result = ask(pg, "SELECT revision, exact, (extract(epoch FROM time) * 1000)::bigint "
                               "FROM position");

    assert_int_equal(PQntuples(result), 1);
    position->revision = atoll(PQgetvalue(result, 0, 0));
    position->is_exact = strcmp(PQgetvalue(result, 0, 1), "t") == 0;
    position->time_ms = atoll(PQgetvalue(result, 0, 2));
    PQclear(result);
}

json_t *mirror_rows_of_tables(PGconn *pg, const char *schema, struct mirror_rows_position *position)
{
    json_t *rows = mirror_rows_new();
    char path[128];

    PQclear(ask(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    (void)snprintf(path, sizeof path, "SET LOCAL search_path = %s", schema);
    PQclear(ask(pg, path));
    if (position != NULL) {
        take_position(pg, position);
    }
    take_table(pg, rows, "namespaces", namespaces_sql);
    take_table(pg, rows, "sessions", sessions_sql);
    take_table(pg, rows, "events", events_sql);
    take_table(pg, rows, "items", items_sql);
    if (position != NULL && position->is_exact) {
        check_ids(pg);
    }
    PQclear(ask(pg, "COMMIT"));
    return rows;
}
