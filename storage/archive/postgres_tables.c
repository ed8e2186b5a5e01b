#include "storage/archive/postgres_tables.h"

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
    NULL,
};

static const char *const *const steps[] = {version_1};

const struct postgres_schema postgres_tables = {
    .marker = "objects",
    .steps = steps,
    .n_steps = sizeof steps / sizeof steps[0],
};
