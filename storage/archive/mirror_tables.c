#include "storage/archive/mirror_tables.h"

#include <inttypes.h>
#include <stdio.h>

#include "storage/archive/postgres_statement.h"

#define EPOCH_MS 946684800000ll /* 2000-01-01: where PostgreSQL's times begin. */

/* --- Tables --- */

#define NAME "text COLLATE \"C\" NOT NULL"

/* The columns and their order are those of mirror_batch.c. Names sort by their bytes, as in the
 * API, whatever the language of the database. */
static const char *const version_1[] = {
    "CREATE TABLE position ("
    "is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), "
    "cluster_id uuid, "
    "revision bigint NOT NULL, "
    "newest_revision bigint NOT NULL, "
    "exact boolean GENERATED ALWAYS AS (cluster_id IS NOT NULL AND revision = newest_revision) "
    "STORED, "
    "time timestamptz, "
    "node text, "
    "updated_at timestamptz)",
    "INSERT INTO position (revision, newest_revision) VALUES (0, 0)",
    "CREATE TABLE namespaces ("
    "name " NAME " PRIMARY KEY, "
    "namespace_id bigint NOT NULL, "
    "revision bigint NOT NULL, "
    "metadata jsonb, "
    "created_at timestamptz NOT NULL, "
    "raw text)",
    "CREATE TABLE sessions ("
    "namespace " NAME ", "
    "id " NAME ", "
    "namespace_id bigint NOT NULL, "
    "object_id bigint NOT NULL, "
    "agent_id text, "
    "user_id text, "
    "status text NOT NULL, "
    "metadata jsonb, "
    "state jsonb, "
    "ttl_ms bigint, "
    "sliding boolean NOT NULL, "
    "write_policy text NOT NULL, "
    "revision bigint NOT NULL, "
    "updated_revision bigint NOT NULL, "
    "first_seq bigint, "
    "last_seq bigint NOT NULL, "
    "event_count bigint NOT NULL, "
    "event_bytes bigint NOT NULL, "
    "epoch bigint NOT NULL, "
    "created_at timestamptz NOT NULL, "
    "updated_at timestamptz NOT NULL, "
    "expires_at timestamptz, "
    "raw text, "
    "PRIMARY KEY (namespace, id))",
    "CREATE TABLE events ("
    "namespace " NAME ", "
    "session_id " NAME ", "
    "seq bigint NOT NULL, "
    "object_id bigint NOT NULL, "
    "id text, "
    "type text NOT NULL, "
    "data jsonb, "
    "created_at timestamptz NOT NULL, "
    "raw text, "
    "PRIMARY KEY (namespace, session_id, seq))",
    "CREATE TABLE items ("
    "namespace " NAME ", "
    "key " NAME ", "
    "namespace_id bigint NOT NULL, "
    "revision bigint NOT NULL, "
    "content_type text NOT NULL, "
    "size_bytes bigint NOT NULL, "
    "user_id text, "
    "ttl_ms bigint, "
    "doc jsonb, "
    "value bytea, "
    "created_at timestamptz NOT NULL, "
    "updated_at timestamptz NOT NULL, "
    "expires_at timestamptz, "
    "raw text, "
    "PRIMARY KEY (namespace, key))",
    NULL,
};

static const char *const *const steps[] = {version_1};

/* --- Sessions of PostgreSQL --- */

/* Where a batch is copied to, before it is merged: temporary tables, which are found before others
 * of their names. */
static const struct staging {
    const char *make;
    const char *copy;
    const char *clear;
} stagings[MIRROR_TABLES] = {
#define STAGING(name, columns)                                                                     \
    {                                                                                              \
        "CREATE TEMPORARY TABLE IF NOT EXISTS " name " (" columns ") ON COMMIT DELETE ROWS",       \
            "COPY " name " FROM STDIN (FORMAT binary)", "TRUNCATE " name                           \
    }
    [MIRROR_NEW_NAMESPACES] = STAGING("new_namespaces", "LIKE namespaces"),
    [MIRROR_NEW_SESSIONS] = STAGING("new_sessions", "LIKE sessions"),
    [MIRROR_NEW_EVENTS] = STAGING("new_events", "LIKE events"),
    [MIRROR_NEW_ITEMS] = STAGING("new_items", "LIKE items"),
    [MIRROR_GONE_NAMESPACES] = STAGING("gone_namespaces", "name " NAME),
    [MIRROR_GONE_SESSIONS] = STAGING("gone_sessions", "namespace " NAME ", id " NAME),
    [MIRROR_GONE_ITEMS] = STAGING("gone_items", "namespace " NAME ", key " NAME),
    [MIRROR_GONE_EVENTS] =
        STAGING("gone_events", "namespace " NAME ", session_id " NAME ", after_seq bigint NOT "
                               "NULL, before_seq bigint NOT NULL"),
#undef STAGING
};

/* Whether the reader of the URL may read; true if there is none. */
static enum status reader_can_read(struct postgres_connection *connection, bool *can,
                                   struct error *error)
{
    static const char sql[] =
        "SELECT (has_schema_privilege($1, $2, 'USAGE') AND bool_and(has_table_privilege($1, c.oid, "
        "'SELECT')))::integer FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $2 AND c.relkind = 'r'";
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    *can = connection->url->reader == NULL;
    if (*can) {
        return STATUS_OK;
    }
    postgres_params_text(&params, connection->url->reader);
    postgres_params_text(&params, connection->url->schema);
    status = postgres_run(connection, sql, &params, &result, error);
    if (status == STATUS_OK) {
        *can = postgres_number(result, 0, 0) == 1;
    }
    PQclear(result);
    return status;
}

static enum status run_format(struct postgres_connection *connection, const char *format,
                              struct error *error)
{
    struct buffer sql = BUFFER_EMPTY;
    enum status status;

    /* Both are letters, digits and "_" (postgres_url.h). */
    buffer_append_format(&sql, "%s SCHEMA \"%s\" TO \"%s\"", format, connection->url->schema,
                         connection->url->reader);
    buffer_append_byte(&sql, 0);
    status = postgres_run(connection, (const char *)sql.data, NULL, NULL, error);
    buffer_close(&sql);
    return status;
}

static enum status advise_about_reader(const struct postgres_connection *connection,
                                       struct error *error)
{
    const char *schema = connection->url->schema;
    const char *reader = connection->url->reader;

    return error_set(
        error, STATUS_PERMISSION,
        "\"%s\" may not read the mirror, and the owner of its schema has to run: GRANT "
        "USAGE ON SCHEMA \"%s\" TO \"%s\"; GRANT SELECT ON ALL TABLES IN SCHEMA "
        "\"%s\" TO \"%s\"",
        reader, schema, reader, schema, reader);
}

/* A GRANT of what one may not grant is no error to PostgreSQL, so it is looked again. */
static enum status let_reader_read(struct postgres_connection *connection, struct error *error)
{
    bool can = false;
    enum status status = reader_can_read(connection, &can, error);

    if (status != STATUS_OK || can) {
        return status;
    }
    status = run_format(connection, "GRANT USAGE ON", error);
    if (status == STATUS_OK) {
        status = run_format(connection, "GRANT SELECT ON ALL TABLES IN", error);
    }
    if (status == STATUS_OK) {
        status = reader_can_read(connection, &can, error);
    }
    return (status == STATUS_OK && !can) || status == STATUS_PERMISSION
               ? advise_about_reader(connection, error)
               : status;
}

static enum status make_staging(struct postgres_connection *connection, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < MIRROR_TABLES && status == STATUS_OK; i++) {
        status = postgres_run(connection, stagings[i].make, NULL, NULL, error);
    }
    if (status == STATUS_PERMISSION) {
        (void)error_prefix(error,
                           "an administrator has to run: GRANT TEMPORARY ON DATABASE \"%s\" TO "
                           "\"%s\"",
                           PQdb(connection->pg), PQuser(connection->pg));
    }
    return status;
}

/* Nobody counts the rows of temporary tables: by default the planner may take a few for many, and
 * read all of a large table. */
static enum status on_ready(struct postgres_connection *connection, struct error *error)
{
    static const char settings[] = "SELECT set_config('statement_timeout', '15min', false), "
                                   "set_config('enable_hashjoin', 'off', false), "
                                   "set_config('enable_mergejoin', 'off', false)";
    enum status status = let_reader_read(connection, error);

    if (status == STATUS_OK) {
        status = postgres_run(connection, settings, NULL, NULL, error);
    }
    return status == STATUS_OK ? make_staging(connection, error) : status;
}

const struct postgres_schema mirror_tables = {
    .marker = "position",
    .steps = steps,
    .n_steps = sizeof steps / sizeof steps[0],
    .on_ready = on_ready,
};

/* --- The position --- */

static enum status read_position(const PGresult *result, struct mirror_position *position,
                                 struct error *error)
{
    *position = (struct mirror_position){.revision = 0};
    if (PQntuples(result) != 1) {
        return error_set(error, STATUS_CORRUPT, "the table position must have one row");
    }
    if (PQgetisnull(result, 0, 0)) {
        return STATUS_OK;
    }
    if (PQgetlength(result, 0, 0) != (int)MIRROR_CLUSTER_BYTES || PQgetisnull(result, 0, 3)) {
        return error_set(error, STATUS_CORRUPT, "the row of the table position makes no sense");
    }
    memcpy(position->cluster_id, PQgetvalue(result, 0, 0), MIRROR_CLUSTER_BYTES);
    position->revision = (uint64_t)postgres_number(result, 0, 1);
    position->newest_revision = (uint64_t)postgres_number(result, 0, 2);
    position->time_ms = (uint64_t)(postgres_number(result, 0, 3) / 1000 + EPOCH_MS);
    return STATUS_OK;
}

#define SELECT_POSITION                                                                            \
    "SELECT cluster_id::text, revision, newest_revision, time FROM position FOR UPDATE"

/* A row that is locked is skipped. */
enum status mirror_tables_look(struct postgres_connection *connection,
                               struct mirror_position *position, bool *is_in_use,
                               struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        postgres_run(connection, SELECT_POSITION " SKIP LOCKED", NULL, &result, error);

    *is_in_use = status == STATUS_OK && PQntuples(result) == 0;
    if (status == STATUS_OK && !*is_in_use) {
        status = read_position(result, position, error);
    }
    PQclear(result);
    return status;
}

enum status mirror_tables_begin(struct postgres_connection *connection,
                                struct mirror_position *position, struct error *error)
{
    PGresult *result = NULL;
    enum status status = postgres_run(connection, "BEGIN", NULL, NULL, error);

    if (status == STATUS_OK) {
        status = postgres_run(connection, SELECT_POSITION, NULL, &result, error);
        if (status == STATUS_BUSY) {
            (void)error_prefix(error, "another node writes to the mirror for long");
        }
    }
    if (status == STATUS_OK) {
        status = read_position(result, position, error);
    }
    PQclear(result);
    return status;
}

enum status mirror_tables_rollback(struct postgres_connection *connection, struct error *error)
{
    return postgres_run(connection, "ROLLBACK", NULL, NULL, error);
}

static enum status notify(struct postgres_connection *connection,
                          const struct mirror_position *position,
                          const struct mirror_written *written, struct error *error)
{
    struct postgres_params params = {.n = 0};
    char text[200];

    (void)snprintf(text, sizeof text,
                   "{\"revision\":%" PRIu64 ",\"exact\":%s,\"sessions\":%" PRIu64
                   ",\"events\":%" PRIu64 ",\"items\":%" PRIu64 "}",
                   position->revision,
                   position->revision == position->newest_revision ? "true" : "false",
                   written->sessions, written->events, written->items); /* Fits. */
    postgres_params_text(&params, connection->url->schema);
    postgres_params_text(&params, text);
    return postgres_run(connection, "SELECT pg_notify($1, $2)", &params, NULL, error);
}

enum status mirror_tables_commit(struct postgres_connection *connection,
                                 const struct mirror_position *position, const char *node,
                                 const struct mirror_written *written, struct error *error)
{
    static const char sql[] =
        "UPDATE position SET cluster_id = $1::text::uuid, revision = $2, newest_revision = $3, "
        "time = to_timestamp(0) + $4 * interval '1 millisecond', node = $5, "
        "updated_at = clock_timestamp()";
    struct postgres_params params = {.n = 0};
    enum status status;

    postgres_params_text(&params, position->cluster_id);
    postgres_params_number(&params, (int64_t)position->revision);
    postgres_params_number(&params, (int64_t)position->newest_revision);
    postgres_params_number(&params, (int64_t)position->time_ms);
    postgres_params_text(&params, node);
    status = postgres_run(connection, sql, &params, NULL, error);
    if (status == STATUS_OK) {
        status = notify(connection, position, written, error);
    }
    return status == STATUS_OK ? postgres_commit(connection, error) : status;
}

/* --- Rows --- */

enum status mirror_tables_empty(struct postgres_connection *connection, struct error *error)
{
    static const char *const statements[] = {"DELETE FROM events", "DELETE FROM sessions",
                                             "DELETE FROM items", "DELETE FROM namespaces"};
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && status == STATUS_OK; i++) {
        status = postgres_run(connection, statements[i], NULL, NULL, error);
    }
    return status;
}

/* In this order; each is left out if there is nothing in its tables. What belongs to something that
 * is gone is deleted before the new one comes, which may have the same name. */
static const struct merge {
    enum mirror_table tables[2];
    const char *sql;
} merges[] = {
    {{MIRROR_GONE_NAMESPACES, MIRROR_NEW_NAMESPACES},
     "WITH gone AS (DELETE FROM namespaces n USING (SELECT name, NULL AS namespace_id FROM "
     "gone_namespaces UNION ALL SELECT name, namespace_id FROM new_namespaces) x WHERE n.name = "
     "x.name AND n.namespace_id IS DISTINCT FROM x.namespace_id RETURNING n.name), "
     "no_events AS (DELETE FROM events e USING gone WHERE e.namespace = gone.name), "
     "no_sessions AS (DELETE FROM sessions s USING gone WHERE s.namespace = gone.name) "
     "DELETE FROM items i USING gone WHERE i.namespace = gone.name"},
    {{MIRROR_GONE_SESSIONS, MIRROR_GONE_SESSIONS},
     "WITH gone AS (DELETE FROM sessions s USING gone_sessions g WHERE s.namespace = g.namespace "
     "AND s.id = g.id RETURNING s.namespace, s.id) "
     "DELETE FROM events e USING gone WHERE e.namespace = gone.namespace AND e.session_id = "
     "gone.id"},
    {{MIRROR_NEW_SESSIONS, MIRROR_NEW_SESSIONS},
     "DELETE FROM events e USING new_sessions n, sessions s WHERE s.namespace = n.namespace AND "
     "s.id = n.id AND s.object_id <> n.object_id AND e.namespace = s.namespace AND e.session_id = "
     "s.id"},
    {{MIRROR_GONE_EVENTS, MIRROR_GONE_EVENTS},
     "DELETE FROM events e USING gone_events g WHERE e.namespace = g.namespace AND e.session_id = "
     "g.session_id AND e.seq > g.after_seq AND e.seq < g.before_seq"},
    {{MIRROR_GONE_ITEMS, MIRROR_GONE_ITEMS},
     "DELETE FROM items i USING gone_items g WHERE i.namespace = g.namespace AND i.key = g.key"},
    {{MIRROR_NEW_NAMESPACES, MIRROR_NEW_NAMESPACES},
     "INSERT INTO namespaces SELECT * FROM new_namespaces ON CONFLICT (name) DO UPDATE SET "
     "namespace_id = excluded.namespace_id, revision = excluded.revision, metadata = "
     "excluded.metadata, created_at = excluded.created_at, raw = excluded.raw"},
    {{MIRROR_NEW_SESSIONS, MIRROR_NEW_SESSIONS},
     "INSERT INTO sessions SELECT * FROM new_sessions ON CONFLICT (namespace, id) DO UPDATE SET "
     "namespace_id = excluded.namespace_id, object_id = excluded.object_id, agent_id = "
     "excluded.agent_id, user_id = excluded.user_id, status = excluded.status, metadata = "
     "excluded.metadata, state = excluded.state, ttl_ms = excluded.ttl_ms, sliding = "
     "excluded.sliding, write_policy = excluded.write_policy, revision = excluded.revision, "
     "updated_revision = excluded.updated_revision, first_seq = excluded.first_seq, last_seq = "
     "excluded.last_seq, event_count = excluded.event_count, event_bytes = excluded.event_bytes, "
     "epoch = excluded.epoch, created_at = excluded.created_at, updated_at = excluded.updated_at, "
     "expires_at = excluded.expires_at, raw = excluded.raw"},
    {{MIRROR_NEW_EVENTS, MIRROR_NEW_EVENTS},
     "INSERT INTO events SELECT * FROM new_events ON CONFLICT (namespace, session_id, seq) DO "
     "NOTHING"},
    {{MIRROR_NEW_ITEMS, MIRROR_NEW_ITEMS},
     "INSERT INTO items SELECT * FROM new_items ON CONFLICT (namespace, key) DO UPDATE SET "
     "namespace_id = excluded.namespace_id, revision = excluded.revision, content_type = "
     "excluded.content_type, size_bytes = excluded.size_bytes, user_id = excluded.user_id, ttl_ms "
     "= excluded.ttl_ms, doc = excluded.doc, value = excluded.value, created_at = "
     "excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at, raw "
     "= excluded.raw"},
};

/* What the batch before in the same transaction left there is removed. */
static enum status stage(struct postgres_connection *connection, struct mirror_batch *batch,
                         struct mirror_written *written, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < MIRROR_TABLES && status == STATUS_OK; i++) {
        bool has_rows = mirror_batch_count(batch, (enum mirror_table)i) > 0;

        if (written->is_staged[i]) {
            status = postgres_run(connection, stagings[i].clear, NULL, NULL, error);
        }
        if (status == STATUS_OK && has_rows) {
            status = postgres_copy(connection, stagings[i].copy,
                                   mirror_batch_data(batch, (enum mirror_table)i), error);
        }
        written->is_staged[i] = has_rows;
    }
    return status;
}

static enum status merge_all(struct postgres_connection *connection,
                             const struct mirror_batch *batch, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof merges / sizeof merges[0] && status == STATUS_OK; i++) {
        if (mirror_batch_count(batch, merges[i].tables[0]) > 0 ||
            mirror_batch_count(batch, merges[i].tables[1]) > 0) {
            status = postgres_run(connection, merges[i].sql, NULL, NULL, error);
        }
    }
    return status;
}

enum status mirror_tables_merge(struct postgres_connection *connection, struct mirror_batch *batch,
                                struct mirror_written *written, struct error *error)
{
    enum status status = stage(connection, batch, written, error);

    if (status == STATUS_OK) {
        status = merge_all(connection, batch, error);
    }
    written->sessions += mirror_batch_count(batch, MIRROR_NEW_SESSIONS) +
                         mirror_batch_count(batch, MIRROR_GONE_SESSIONS);
    written->events += mirror_batch_count(batch, MIRROR_NEW_EVENTS) +
                       mirror_batch_count(batch, MIRROR_GONE_EVENTS);
    written->items +=
        mirror_batch_count(batch, MIRROR_NEW_ITEMS) + mirror_batch_count(batch, MIRROR_GONE_ITEMS);
    mirror_batch_clear(batch);
    return status;
}
