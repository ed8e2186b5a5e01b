#include "storage/archive/postgres_schema.h"

#include "daemon/base/buffer.h"
#include "storage/archive/postgres_statement.h"

/* The first key of the lock under which tables are made; the second one is of the schema's name. */
#define LOCK "1212892268"

/* What is there, before and after others did something about it. */
enum found { FOUND_NOTHING, FOUND_NO_RIGHT, FOUND_EMPTY, FOUND_TABLES, FOUND_OTHER };

static const char *const version_table[] = {
    "CREATE TABLE schema_version ("
    "is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), "
    "version integer NOT NULL)",
    "INSERT INTO schema_version (version) VALUES (0)",
    NULL,
};

static int64_t newest(const struct postgres_connection *connection)
{
    return (int64_t)connection->schema->n_steps;
}

static enum status look(struct postgres_connection *connection, enum found *found,
                        struct error *error)
{
    static const char sql[] =
        "SELECT CASE WHEN n.oid IS NULL THEN 0 WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN "
        "1 "
        "WHEN c.oid IS NULL THEN 2 WHEN m.oid IS NOT NULL THEN 3 ELSE 4 END "
        "FROM (VALUES ($1::text, $2::text)) AS wanted (name, marker) "
        "LEFT JOIN pg_namespace n ON n.nspname = wanted.name "
        "LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_version' "
        "LEFT JOIN pg_class m ON m.relnamespace = n.oid AND m.relname = wanted.marker";
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    postgres_params_text(&params, connection->url->schema);
    postgres_params_text(&params, connection->schema->marker);
    status = postgres_run(connection, sql, &params, &result, error);
    if (status != STATUS_OK) {
        return status;
    }
    *found = (enum found)postgres_number(result, 0, 0);
    PQclear(result);
    return *found == FOUND_OTHER
               ? error_set(error, STATUS_MISMATCH,
                           "the schema \"%s\" holds something else of Holdfast (an archive and a "
                           "mirror need one each): name another with ?schema=NAME",
                           connection->url->schema)
               : STATUS_OK;
}

static enum status read_version(struct postgres_connection *connection, int64_t *version,
                                struct error *error)
{
    PGresult *result = NULL;
    enum status status =
        postgres_run(connection, "SELECT version FROM schema_version", NULL, &result, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (PQntuples(result) != 1) {
        status = error_set(error, STATUS_CORRUPT, "the table schema_version must have one row");
    } else {
        *version = postgres_number(result, 0, 0);
    }
    PQclear(result);
    if (status == STATUS_OK && *version > newest(connection)) {
        status = error_set(error, STATUS_UNSUPPORTED,
                           "its tables are of version %lld, made by a later program; this one "
                           "knows version %lld",
                           (long long)*version, (long long)newest(connection));
    }
    return status;
}

static enum status create_schema(struct postgres_connection *connection, struct error *error)
{
    struct buffer sql = BUFFER_EMPTY;
    enum status status;

    buffer_append_format(&sql, "CREATE SCHEMA \"%s\"", connection->url->schema);
    buffer_append_byte(&sql, 0);
    status = postgres_run(connection, (const char *)sql.data, NULL, NULL, error);
    buffer_close(&sql);
    return status;
}

static enum status run_all(struct postgres_connection *connection, const char *const *statements,
                           struct error *error)
{
    enum status status = STATUS_OK;

    for (; status == STATUS_OK && *statements != NULL; statements++) {
        status = postgres_run(connection, *statements, NULL, NULL, error);
    }
    return status;
}

static enum status apply(struct postgres_connection *connection, int64_t version,
                         struct error *error)
{
    enum status status = STATUS_OK;
    struct postgres_params params = {.n = 0};

    for (; status == STATUS_OK && version < newest(connection); version++) {
        status = run_all(connection, connection->schema->steps[version], error);
    }
    postgres_params_number(&params, newest(connection));
    return status == STATUS_OK ? postgres_run(connection, "UPDATE schema_version SET version = $1",
                                              &params, NULL, error)
                               : status;
}

/* Under the lock: what others made meanwhile is there, and nobody else makes more. */
static enum status make_locked(struct postgres_connection *connection, struct error *error)
{
    enum found found = FOUND_NOTHING;
    int64_t version = 0;
    enum status status = look(connection, &found, error);

    if (status == STATUS_OK && found == FOUND_NOTHING) {
        status = create_schema(connection, error);
    }
    if (status == STATUS_OK) {
        status = found == FOUND_TABLES ? read_version(connection, &version, error)
                                       : run_all(connection, version_table, error);
    }
    return status == STATUS_OK ? apply(connection, version, error) : status;
}

static enum status make(struct postgres_connection *connection, struct error *error)
{
    static const char lock[] = "SELECT pg_advisory_xact_lock(" LOCK ", hashtext($1))";
    struct postgres_params params = {.n = 0};
    enum status status = postgres_run(connection, "BEGIN", NULL, NULL, error);

    postgres_params_text(&params, connection->url->schema);
    if (status == STATUS_OK) {
        status = postgres_run(connection, lock, &params, NULL, error);
    }
    if (status == STATUS_OK) {
        status = make_locked(connection, error);
    }
    return status == STATUS_OK ? postgres_commit(connection, error) : status;
}

/* Put into words what an administrator has to do about STATUS_PERMISSION. @role is quoted. */
static void advise(const struct postgres_connection *connection, const char *role, enum found found,
                   struct error *error)
{
    const char *schema = connection->url->schema;

    if (found == FOUND_NOTHING) {
        (void)error_prefix(error,
                           "there is no schema, and an administrator has to run: CREATE SCHEMA "
                           "\"%s\" AUTHORIZATION %s",
                           schema, role);
    } else if (found == FOUND_EMPTY) {
        (void)error_prefix(error,
                           "there are no tables, and an administrator has to run: GRANT USAGE, "
                           "CREATE ON SCHEMA \"%s\" TO %s",
                           schema, role);
    } else {
        (void)error_prefix(error,
                           "an administrator has to run: GRANT USAGE ON SCHEMA \"%s\" TO %s; GRANT "
                           "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"%s\" TO %s",
                           schema, role, schema, role);
    }
}

static enum status prepare(struct postgres_connection *connection, enum found *found,
                           struct error *error)
{
    int64_t version = 0;
    enum status status = look(connection, found, error);

    if (status == STATUS_OK && *found == FOUND_NO_RIGHT) {
        return error_set(error, STATUS_PERMISSION, "permission denied");
    }
    if (status == STATUS_OK && *found == FOUND_TABLES) {
        status = read_version(connection, &version, error);
        if (status == STATUS_PERMISSION) {
            *found = FOUND_NO_RIGHT;
        }
    }
    return status == STATUS_OK && version < newest(connection) ? make(connection, error) : status;
}

enum status postgres_schema_prepare(struct postgres_connection *connection, struct error *error)
{
    const char *user = PQuser(connection->pg);
    char *role = PQescapeIdentifier(connection->pg, user, strlen(user));
    enum found found = FOUND_NOTHING;
    enum status status = prepare(connection, &found, error);

    /* A server that is read-only is not helped by rights. */
    if (status == STATUS_PERMISSION && connection->remedy == POSTGRES_NONE) {
        advise(connection, role == NULL ? "holdfast" : role, found, error);
    }
    PQfreemem(role); /* Accepts NULL. */
    return status == STATUS_OK && connection->schema->on_ready != NULL
               ? connection->schema->on_ready(connection, error)
               : status;
}
