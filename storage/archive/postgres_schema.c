#include "storage/archive/postgres_schema.h"

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "storage/archive/postgres_statement.h"

/* The first key of the lock under which tables are made; the second one is of the schema's name. */
#define LOCK "1212892268"

/* What is there, before and after others did something about it. */
enum found { FOUND_NOTHING, FOUND_NO_RIGHT, FOUND_EMPTY, FOUND_TABLES };

/* Each step makes the tables of one version into those of the next. A step must keep the data, and
 * what it makes must still serve the program before it, of which nodes may run. Never change one
 * that was released. */
struct step {
    const char *const *statements;
};

/* Chunks are not compressed, as they are encrypted, or compressed already; and so a part of one is
 * read without the rest. Objects end one by one, by retention and holds, so the chunks are not
 * partitioned by time. */
static const char *const version_1[] = {
    "CREATE TABLE objects ("
    "name text COLLATE \"C\" PRIMARY KEY, "
    "object_id bigint NOT NULL UNIQUE, "
    "size_bytes bigint NOT NULL CHECK (size_bytes >= 0), "
    "chunk_bytes bigint NOT NULL CHECK (chunk_bytes > 0), "
    "sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32), "
    "created_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE uploads ("
    "object_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "name text COLLATE \"C\" NOT NULL, "
    "renewed_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE chunks ("
    "object_id bigint NOT NULL, "
    "number integer NOT NULL CHECK (number >= 0), "
    "bytes bytea NOT NULL, "
    "PRIMARY KEY (object_id, number))",
    "ALTER TABLE chunks ALTER COLUMN bytes SET STORAGE EXTERNAL",
    "CREATE TABLE schema_version ("
    "is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), "
    "version integer NOT NULL)",
    "INSERT INTO schema_version (version) VALUES (0)",
    NULL,
};

static const struct step steps[] = {{version_1}};

#define NEWEST ((int64_t)(sizeof steps / sizeof steps[0]))

static enum status look(struct postgres_connection *connection, enum found *found,
                        struct error *error)
{
    static const char sql[] =
        "SELECT CASE WHEN n.oid IS NULL THEN 0 WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN "
        "1 "
        "WHEN c.oid IS NULL THEN 2 ELSE 3 END "
        "FROM (VALUES ($1::text)) AS wanted (name) "
        "LEFT JOIN pg_namespace n ON n.nspname = wanted.name "
        "LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_version'";
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    postgres_params_text(&params, connection->url->schema);
    status = postgres_run(connection, sql, &params, &result, error);
    if (status == STATUS_OK) {
        *found = (enum found)postgres_number(result, 0, 0);
        PQclear(result);
    }
    return status;
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
    if (status == STATUS_OK && *version > NEWEST) {
        status = error_set(error, STATUS_UNSUPPORTED,
                           "its tables are of version %lld, made by a later program; this one "
                           "knows version %lld",
                           (long long)*version, (long long)NEWEST);
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

static enum status apply(struct postgres_connection *connection, int64_t version,
                         struct error *error)
{
    enum status status = STATUS_OK;
    struct postgres_params params = {.n = 0};

    for (; status == STATUS_OK && version < NEWEST; version++) {
        const char *const *statement = steps[version].statements;

        for (; status == STATUS_OK && *statement != NULL; statement++) {
            status = postgres_run(connection, *statement, NULL, NULL, error);
        }
    }
    postgres_params_number(&params, NEWEST);
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
    if (status == STATUS_OK && found == FOUND_TABLES) {
        status = read_version(connection, &version, error);
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
    return status == STATUS_OK && version < NEWEST ? make(connection, error) : status;
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
    return status;
}
