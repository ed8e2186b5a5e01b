/* 1. reserve() makes a row in "uploads", which gives an object_id that nobody else has. Nobody sees
 *    the row, and it does not claim the name.
 * 2. send() writes the chunks under that object_id, in one transaction that renews the row.
 * 3. finish() counts the chunks and moves the row to "objects", in one transaction. The name is the
 *    primary key there, so of two creators one finds it taken.
 *
 * What can go wrong:
 * - The connection breaks in 1: the row stays behind, and another one is made.
 * - It breaks in 2: the same chunks are sent again; those that are there already are kept.
 * - It breaks in 3, before COMMIT: nothing has happened, and 3 is done again.
 * - It breaks in 3, at COMMIT: the next 3 waits for that transaction, if the server still has it,
 *   as it locks the row. Then the row is there, and nothing has happened; or it is not, and the
 *   object tells by its object_id whether it is ours. Without a next 3: STATUS_UNCERTAIN.
 * - The node dies: the row and its chunks are removed a day later by others. A node that only slept
 *   finds the row gone, and gives up: its object would not be whole. */
#include "storage/archive/postgres_upload.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/archive/postgres_statement.h"

#define WINDOW 8u /* Chunks on their way that were not answered. */

/* What is sent is sent in one transaction, and must not be too much for one. */
_Static_assert(REPOSITORY_OBJECT_BYTES <= 64u << 20, "an object is one batch");

struct upload {
    const char *name;
    const struct repository_content *content;
    int64_t object_id; /* 0: none yet. */
    bool is_sent;
    bool is_uncertain; /* A COMMIT of finish() was sent, and not answered. */
};

static enum status is_taken(struct error *error)
{
    return error_set(error, STATUS_EXISTS, "it is there already");
}

static struct postgres_params params_of_id(int64_t object_id)
{
    struct postgres_params params = {.n = 0};

    postgres_params_number(&params, object_id);
    return params;
}

/* --- 1 --- */

static enum status reserve(struct postgres_connection *connection, struct upload *upload,
                           struct error *error)
{
    static const char sql[] = "INSERT INTO uploads (name) SELECT $1 "
                              "WHERE NOT EXISTS (SELECT FROM objects WHERE name = $1) "
                              "RETURNING object_id";
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    postgres_params_text(&params, upload->name);
    status = postgres_run(connection, sql, &params, &result, error);
    if (status == STATUS_OK && PQntuples(result) == 0) {
        status = is_taken(error);
    } else if (status == STATUS_OK) {
        upload->object_id = postgres_number(result, 0, 0);
    }
    PQclear(result);
    return status;
}

/* --- 2 --- */

struct sending {
    struct postgres_connection *connection;
    const struct upload *upload;
    EVP_MD_CTX *hash;
    uint8_t *chunk;
    unsigned n_unanswered;
};

/* Fill the chunk from @offset of the content on, and see what it is. */
static enum status read_chunk(struct sending *sending, uint64_t offset, size_t size,
                              struct error *error)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(sending->upload->content->fd, sending->chunk + done, size - done,
                          (off_t)(offset + done));

        if (n == 0) {
            return error_set(error, STATUS_CORRUPT, "what it is to be made of was cut off");
        }
        if (n < 0 && errno != EINTR) {
            return error_set(error, status_from_errno(errno),
                             "what it is to be made of could not be read: %s", strerror(errno));
        }
        done += n > 0 ? (size_t)n : 0;
    }
    CHECK(EVP_DigestUpdate(sending->hash, sending->chunk, size) == 1);
    return STATUS_OK;
}

static enum status send_one(struct sending *sending, const char *sql,
                            const struct postgres_params *params, struct error *error)
{
    enum status status = STATUS_OK;

    if (sending->n_unanswered == WINDOW) {
        status = postgres_pipeline_receive(sending->connection, NULL, error);
        sending->n_unanswered--;
    }
    if (status == STATUS_OK) {
        status = postgres_pipeline_send(sending->connection, sql, params, error);
        sending->n_unanswered++;
    }
    return status;
}

static enum status send_chunk(struct sending *sending, int64_t number, size_t size,
                              struct error *error)
{
    static const char sql[] = "INSERT INTO chunks (object_id, number, bytes) VALUES ($1, $2, $3) "
                              "ON CONFLICT DO NOTHING";
    struct postgres_params params = params_of_id(sending->upload->object_id);

    postgres_params_number(&params, number);
    postgres_params_bytes(&params, slice_of(sending->chunk, size));
    return send_one(sending, sql, &params, error);
}

static enum status send_chunks(struct sending *sending, struct error *error)
{
    uint64_t size_bytes = sending->upload->content->size_bytes;
    enum status status = STATUS_OK;

    for (uint64_t offset = 0; status == STATUS_OK && offset < size_bytes;) {
        uint64_t left = size_bytes - offset;
        size_t size = left < POSTGRES_CHUNK_BYTES ? (size_t)left : POSTGRES_CHUNK_BYTES;

        status = read_chunk(sending, offset, size, error);
        if (status == STATUS_OK) {
            status = send_chunk(sending, (int64_t)(offset / POSTGRES_CHUNK_BYTES), size, error);
        }
        offset += size;
    }
    while (status == STATUS_OK && sending->n_unanswered > 0) {
        status = postgres_pipeline_receive(sending->connection, NULL, error);
        sending->n_unanswered--;
    }
    return status;
}

static enum status check_hash(const struct sending *sending, struct error *error)
{
    uint8_t sha256[EVP_MAX_MD_SIZE];

    CHECK(EVP_DigestFinal_ex(sending->hash, sha256, NULL) == 1);
    if (memcmp(sha256, sending->upload->content->sha256, REPOSITORY_SHA256_BYTES) != 0) {
        return error_set(error, STATUS_CORRUPT,
                         "what it is to be made of is not what its hash "
                         "says");
    }
    return STATUS_OK;
}

/* Also locks the row, so that nobody takes the upload for left over meanwhile. */
static enum status renew(struct sending *sending, struct error *error)
{
    struct postgres_params params = params_of_id(sending->upload->object_id);
    uint64_t n_rows = 0;
    enum status status = postgres_pipeline_send(sending->connection, "BEGIN", NULL, error);

    if (status == STATUS_OK) {
        status = postgres_pipeline_send(sending->connection,
                                        "UPDATE uploads SET renewed_at = now() "
                                        "WHERE object_id = $1",
                                        &params, error);
    }
    if (status == STATUS_OK) {
        status = postgres_pipeline_receive(sending->connection, NULL, error);
    }
    if (status == STATUS_OK) {
        status = postgres_pipeline_receive(sending->connection, &n_rows, error);
    }
    if (status == STATUS_OK && n_rows != 1) {
        status = error_set(error, STATUS_TIMEOUT,
                           "it took so long that what was sent was removed as left over");
    }
    return status;
}

static enum status send(struct postgres_connection *connection, struct upload *upload,
                        struct error *error)
{
    struct sending sending = {.connection = connection, .upload = upload};
    enum status status;

    sending.hash = EVP_MD_CTX_new();
    CHECK(sending.hash != NULL && EVP_DigestInit_ex(sending.hash, EVP_sha256(), NULL) == 1);
    sending.chunk = memory_new(POSTGRES_CHUNK_BYTES);
    status = renew(&sending, error);
    if (status == STATUS_OK) {
        status = send_chunks(&sending, error);
    }
    if (status == STATUS_OK) {
        status = check_hash(&sending, error);
    }
    free(sending.chunk);
    EVP_MD_CTX_free(sending.hash);
    if (status == STATUS_OK) {
        status = postgres_pipeline_end(connection, error);
    }
    if (status == STATUS_OK) {
        status = postgres_commit(connection, error);
    }
    upload->is_sent = status == STATUS_OK;
    return status;
}

/* --- 3 --- */

struct outcome {
    bool was_pending; /* The row in "uploads" was there. */
    bool is_whole;
    bool is_made;
};

static enum status move_row(struct postgres_connection *connection, const struct upload *upload,
                            struct outcome *outcome, struct error *error)
{
    static const char sql[] =
        "WITH pending AS (DELETE FROM uploads WHERE object_id = $1 RETURNING object_id), "
        "counted AS (SELECT count(*) AS n, coalesce(max(number), -1) AS last, "
        "coalesce(sum(octet_length(bytes)), 0) AS size FROM chunks WHERE object_id = $1), "
        "whole AS (SELECT FROM counted WHERE n = $2 AND last = n - 1 AND size = $3), "
        "made AS (INSERT INTO objects (name, object_id, size_bytes, chunk_bytes, sha256) "
        "SELECT $4, $1, $3, $5, $6 FROM pending, whole ON CONFLICT DO NOTHING RETURNING 1) "
        "SELECT (SELECT count(*) FROM pending), (SELECT count(*) FROM whole), "
        "(SELECT count(*) FROM made)";
    const struct repository_content *content = upload->content;
    uint64_t n = (content->size_bytes + POSTGRES_CHUNK_BYTES - 1) / POSTGRES_CHUNK_BYTES;
    struct postgres_params params = params_of_id(upload->object_id);
    PGresult *result = NULL;
    enum status status;

    postgres_params_number(&params, (int64_t)n);
    postgres_params_number(&params, (int64_t)content->size_bytes);
    postgres_params_text(&params, upload->name);
    postgres_params_number(&params, POSTGRES_CHUNK_BYTES);
    postgres_params_bytes(&params, slice_of(content->sha256, sizeof content->sha256));
    status = postgres_run(connection, sql, &params, &result, error);
    if (status == STATUS_OK) {
        outcome->was_pending = postgres_number(result, 0, 0) != 0;
        outcome->is_whole = postgres_number(result, 0, 1) != 0;
        outcome->is_made = postgres_number(result, 0, 2) != 0;
        PQclear(result);
    }
    return status;
}

/* The row is gone: by a COMMIT of ours whose answer was lost, or as it was left over. */
static enum status find_outcome(struct postgres_connection *connection, struct upload *upload,
                                struct error *error)
{
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    postgres_params_text(&params, upload->name);
    status = postgres_run(connection, "SELECT object_id FROM objects WHERE name = $1", &params,
                          &result, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (PQntuples(result) == 0) {
        /* If it had been made, it was removed since. */
        status = error_set(error, upload->is_uncertain ? STATUS_UNCERTAIN : STATUS_TIMEOUT,
                           "what was sent is not there any more");
    } else if (postgres_number(result, 0, 0) != upload->object_id) {
        status = is_taken(error);
    }
    PQclear(result);
    return status;
}

static enum status commit(struct postgres_connection *connection, struct upload *upload,
                          struct error *error)
{
    enum status status;

    upload->is_uncertain = true;
    status = postgres_commit(connection, error);
    if (status == STATUS_OK || postgres_connection_is_open(connection)) {
        upload->is_uncertain = false;
    }
    return status;
}

static enum status finish(struct postgres_connection *connection, struct upload *upload,
                          struct error *error)
{
    struct outcome outcome = {.was_pending = false};
    enum status status = postgres_run(connection, "BEGIN", NULL, NULL, error);

    if (status == STATUS_OK) {
        status = move_row(connection, upload, &outcome, error);
    }
    if (status == STATUS_OK && outcome.is_made) {
        return commit(connection, upload, error);
    }
    if (status == STATUS_OK) {
        status = postgres_run(connection, "ROLLBACK", NULL, NULL, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!outcome.was_pending) {
        return find_outcome(connection, upload, error);
    }
    upload->is_uncertain = false; /* An earlier COMMIT would have removed the row. */
    return outcome.is_whole ? is_taken(error)
                            : error_set(error, STATUS_CORRUPT, "the server lost a part of it");
}

/* --- All of it --- */

static enum status attempt(struct postgres_connection *connection, void *data, struct error *error)
{
    struct upload *upload = data;
    enum status status = STATUS_OK;

    if (upload->object_id == 0) {
        status = reserve(connection, upload, error);
    }
    if (status == STATUS_OK && !upload->is_sent) {
        status = send(connection, upload, error);
    }
    return status == STATUS_OK ? finish(connection, upload, error) : status;
}

static enum status discard(struct postgres_connection *connection, void *data, struct error *error)
{
    static const char sql[] = "WITH gone AS (DELETE FROM uploads WHERE object_id = $1 "
                              "RETURNING object_id) "
                              "DELETE FROM chunks USING gone "
                              "WHERE chunks.object_id = gone.object_id";
    const struct upload *upload = data;
    struct postgres_params params = params_of_id(upload->object_id);

    return postgres_run(connection, sql, &params, NULL, error);
}

/* @upload failed, for sure. */
static void clean_up(struct postgres_connection *connection, struct upload *upload)
{
    unsigned retry_ms = connection->retry_ms;
    enum status status;

    if (upload->object_id == 0) {
        return;
    }
    connection->retry_ms = 0; /* The server was waited for long enough. */
    status = postgres_connection_attempt(connection, discard, upload, NULL);
    (void)status; /* What stays is removed when it is a day old. */
    connection->retry_ms = retry_ms;
}

enum status postgres_upload(struct postgres_connection *connection, const char *name,
                            const struct repository_content *content, struct error *error)
{
    struct upload upload = {.name = name, .content = content};
    enum status status = postgres_connection_attempt(connection, attempt, &upload, error);

    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    if (status != STATUS_EXISTS && upload.is_uncertain) {
        (void)error_prefix(error, "whether it is there now is not known");
        if (error != NULL) {
            error->status = STATUS_UNCERTAIN;
        }
        return STATUS_UNCERTAIN;
    }
    clean_up(connection, &upload);
    return status;
}

enum status postgres_remove_left_overs(struct postgres_connection *connection, struct error *error)
{
    /* A few at a time; a row that is locked belongs to somebody who lives. */
    static const char sql[] = "WITH old AS (SELECT object_id FROM uploads "
                              "WHERE renewed_at < now() - interval '1 day' "
                              "ORDER BY object_id LIMIT 16 FOR UPDATE SKIP LOCKED), "
                              "gone AS (DELETE FROM uploads USING old "
                              "WHERE uploads.object_id = old.object_id "
                              "RETURNING uploads.object_id) "
                              "DELETE FROM chunks USING gone "
                              "WHERE chunks.object_id = gone.object_id";

    return postgres_run(connection, sql, NULL, NULL, error);
}
