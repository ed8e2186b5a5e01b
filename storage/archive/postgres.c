#include "storage/archive/postgres.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "storage/archive/postgres_statement.h"
#include "storage/archive/postgres_tables.h"
#include "storage/archive/postgres_upload.h"
#include "storage/archive/repository_private.h"

#define PAGE_ROWS       1000
#define LEFT_OVER_MS    3600000u    /* Between two looks for what was left over. */
#define MAX_OFFSET      (1ll << 40) /* Behind all objects, and far from an overflow. */
#define BEHIND_ALL_NAME "~"         /* Comes behind all characters of names. */

struct postgres {
    struct repository repository;
    struct postgres_url url;
    struct postgres_connection connection;
    uint64_t looked_ms; /* For what was left over, by clock_ms(); 0: never. */
};

static struct postgres *postgres_of(struct repository *repository)
{
    return CONTAINER_OF(repository, struct postgres, repository);
}

static enum status open_postgres(const struct repository_options *options,
                                 struct repository **repository, struct error *error)
{
    struct postgres_url url;
    enum status status = postgres_url_parse(&url, options->url, POSTGRES_SCHEMA, error);
    struct postgres *postgres;

    if (status != STATUS_OK) {
        return status;
    }
    if (url.reader != NULL) {
        postgres_url_close(&url);
        return error_set(error, STATUS_INVALID,
                         "\"reader\" in the URL of a PostgreSQL server is a setting of the mirror, "
                         "not of an archive");
    }
    postgres = memory_new_zeroed(1, sizeof *postgres);
    postgres->url = url;
    postgres->repository.url = url.shown;
    postgres_connection_init(&postgres->connection, &postgres->url, &postgres->repository.options,
                             &postgres_tables);
    *repository = &postgres->repository;
    return STATUS_OK;
}

static void close_postgres(struct repository *repository)
{
    struct postgres *postgres = postgres_of(repository);

    postgres_connection_close(&postgres->connection);
    postgres_url_close(&postgres->url);
    free(postgres);
}

void postgres_set_patience(struct repository *repository, unsigned retry_ms, unsigned answer_ms)
{
    CHECK(repository->kind == &repository_postgres);
    postgres_of(repository)->connection.retry_ms = retry_ms;
    postgres_of(repository)->connection.answer_ms = answer_ms;
}

/* Gives @status, which is not STATUS_OK, with what could not be done in front of @error. */
static enum status explain(const struct postgres *postgres, enum status status, const char *action,
                           const char *name, struct error *error)
{
    (void)error_prefix(error, "could not %s \"%s\" in %s", action, name, postgres->url.shown);
    return status;
}

/* --- Creating and removing --- */

/* After a creation, which it must not delay or harm: whatever fails here shows there next time. */
static void remove_left_overs(struct postgres *postgres)
{
    uint64_t now_ms = clock_ms();
    enum status status;

    if (postgres->looked_ms != 0 && now_ms - postgres->looked_ms < LEFT_OVER_MS) {
        return;
    }
    postgres->looked_ms = now_ms;
    status = postgres_remove_left_overs(&postgres->connection, NULL);
    (void)status;
}

static enum status create(struct repository *repository, const char *name,
                          const struct repository_content *content, struct error *error)
{
    struct postgres *postgres = postgres_of(repository);
    enum status status = postgres_upload(&postgres->connection, name, content, error);

    if (status != STATUS_OK) {
        return explain(postgres, status, "create", name, error);
    }
    remove_left_overs(postgres);
    return STATUS_OK;
}

struct removal {
    const char *name;
    int64_t object_id; /* 0: not known yet. */
};

static enum status find_object(struct postgres_connection *connection, struct removal *removal,
                               struct error *error)
{
    struct postgres_params params = {.n = 0};
    PGresult *result = NULL;
    enum status status;

    postgres_params_text(&params, removal->name);
    status = postgres_run(connection, "SELECT object_id FROM objects WHERE name = $1", &params,
                          &result, error);
    if (status == STATUS_OK && PQntuples(result) > 0) {
        removal->object_id = postgres_number(result, 0, 0);
    }
    PQclear(result);
    return status;
}

/* By its object_id: if the answer is lost and it is done again, another object that got the name
 * meanwhile stays. */
static enum status remove_found(struct postgres_connection *connection, void *data,
                                struct error *error)
{
    static const char sql[] = "WITH gone AS (DELETE FROM objects WHERE object_id = $1 "
                              "RETURNING object_id) "
                              "DELETE FROM chunks USING gone "
                              "WHERE chunks.object_id = gone.object_id";
    struct removal *removal = data;
    struct postgres_params params = {.n = 0};
    enum status status = STATUS_OK;

    if (removal->object_id == 0) {
        status = find_object(connection, removal, error);
    }
    if (status != STATUS_OK || removal->object_id == 0) {
        return status;
    }
    postgres_params_number(&params, removal->object_id);
    return postgres_run(connection, sql, &params, NULL, error);
}

static enum status remove_object(struct repository *repository, const char *name,
                                 struct error *error)
{
    struct postgres *postgres = postgres_of(repository);
    struct removal removal = {.name = name};
    enum status status =
        postgres_connection_attempt(&postgres->connection, remove_found, &removal, error);

    return status == STATUS_OK ? STATUS_OK : explain(postgres, status, "remove", name, error);
}

/* --- Reading --- */

struct reading {
    const char *name;
    int64_t from;
    int64_t to;
    struct buffer *bytes;
    size_t size_before;
    bool is_there;
    int64_t size_bytes; /* Of the object. */
    int64_t next;       /* The number of the next chunk; -1: it is the first one. */
};

/* One chunk, or the part of it that is wanted; NULL in an object without any. */
static enum status on_chunk(void *data, const PGresult *row, struct error *error)
{
    struct reading *reading = data;
    int64_t number;

    reading->is_there = true;
    reading->size_bytes = postgres_number(row, 0, 0);
    if (PQgetisnull(row, 0, 1)) {
        return STATUS_OK;
    }
    number = postgres_number(row, 0, 1);
    if (reading->next >= 0 && number != reading->next) {
        return error_set(error, STATUS_CORRUPT, "the server lost chunk %lld of it",
                         (long long)reading->next);
    }
    reading->next = number + 1;
    buffer_append(reading->bytes, PQgetvalue(row, 0, 2), (size_t)PQgetlength(row, 0, 2));
    return STATUS_OK;
}

static enum status check_reading(const struct reading *reading, struct error *error)
{
    int64_t to = reading->to < reading->size_bytes ? reading->to : reading->size_bytes;
    int64_t expected = to > reading->from ? to - reading->from : 0;

    if (!reading->is_there) {
        return error_set(error, STATUS_NOT_FOUND, "it is not there");
    }
    if ((int64_t)(reading->bytes->size - reading->size_before) != expected) {
        return error_set(error, STATUS_CORRUPT, "the server lost a part of it");
    }
    return STATUS_OK;
}

/* All in one statement, so that the object is there whole even if it is being removed. The chunks
 * are put in order first and then read, one by one: in one step, the server would sort their bytes.
 */
static enum status read_chunks(struct postgres_connection *connection, void *data,
                               struct error *error)
{
    static const char sql[] =
        "SELECT size_bytes, number, substring(bytes "
        "FROM (greatest($2 - number * chunk_bytes, 0) + 1)::integer "
        "FOR (least($3 - number * chunk_bytes, chunk_bytes) - "
        "greatest($2 - number * chunk_bytes, 0))::integer) "
        "FROM (SELECT o.size_bytes, o.chunk_bytes, c.number, c.bytes "
        "FROM objects o LEFT JOIN chunks c ON c.object_id = o.object_id AND $3 > $2 AND "
        "c.number >= $2 / o.chunk_bytes AND c.number <= ($3 - 1) / o.chunk_bytes "
        "WHERE o.name = $1 ORDER BY c.number) AS wanted";
    struct reading *reading = data;
    struct postgres_params params = {.n = 0};
    enum status status;

    reading->is_there = false;
    reading->next = -1;
    reading->bytes->size = reading->size_before; /* What an attempt left that failed. */
    postgres_params_text(&params, reading->name);
    postgres_params_number(&params, reading->from);
    postgres_params_number(&params, reading->to);
    status = postgres_run_rows(connection, sql, &params, on_chunk, reading, error);
    return status == STATUS_OK ? check_reading(reading, error) : status;
}

static enum status read_object(struct repository *repository, const char *name, uint64_t offset,
                               size_t size, struct buffer *bytes, struct error *error)
{
    struct postgres *postgres = postgres_of(repository);
    int64_t from = offset < MAX_OFFSET ? (int64_t)offset : MAX_OFFSET;
    struct reading reading = {.name = name,
                              .from = from,
                              .to = from + (size < MAX_OFFSET ? (int64_t)size : MAX_OFFSET),
                              .bytes = bytes,
                              .size_before = bytes->size};
    enum status status =
        postgres_connection_attempt(&postgres->connection, read_chunks, &reading, error);

    if (status != STATUS_OK) {
        bytes->size = reading.size_before;
        return explain(postgres, status, "read", name, error);
    }
    return STATUS_OK;
}

/* --- Listing --- */

struct page {
    const char *prefix;
    const char *after;
    PGresult *result;
};

static enum status read_page(struct postgres_connection *connection, void *data,
                             struct error *error)
{
    static const char sql[] = "SELECT name, size_bytes FROM objects "
                              "WHERE name > $2 AND name >= $1 AND name < $3 "
                              "AND starts_with(name, $1) ORDER BY name LIMIT $4";
    struct page *page = data;
    struct postgres_params params = {.n = 0};
    struct buffer end = BUFFER_EMPTY;
    enum status status;

    buffer_append_format(&end, "%s" BEHIND_ALL_NAME, page->prefix);
    buffer_append_byte(&end, 0);
    postgres_params_text(&params, page->prefix);
    postgres_params_text(&params, page->after);
    postgres_params_text(&params, (const char *)end.data); /* Where the index is left. */
    postgres_params_number(&params, PAGE_ROWS);
    status = postgres_run(connection, sql, &params, &page->result, error);
    buffer_close(&end);
    return status;
}

static enum status list(struct repository *repository, const char *prefix, const char *after,
                        repository_list_cb cb, void *data, struct error *error)
{
    struct postgres *postgres = postgres_of(repository);
    PGresult *last = NULL; /* Holds the name that the next page comes behind. */
    enum status status = STATUS_OK;
    bool goes_on = true;

    after = after == NULL ? "" : after;
    while (status == STATUS_OK && goes_on) {
        struct page page = {.prefix = prefix, .after = after};
        int n;

        status = postgres_connection_attempt(&postgres->connection, read_page, &page, error);
        if (status != STATUS_OK) {
            break;
        }
        n = PQntuples(page.result);
        for (int i = 0; goes_on && i < n; i++) {
            struct repository_object object = {.name = PQgetvalue(page.result, i, 0),
                                               .size_bytes =
                                                   (uint64_t)postgres_number(page.result, i, 1)};

            goes_on = cb(data, &object);
            after = object.name;
        }
        goes_on = goes_on && n == PAGE_ROWS;
        PQclear(last);
        last = page.result;
    }
    PQclear(last); /* Accepts NULL. */
    return status == STATUS_OK ? STATUS_OK : explain(postgres, status, "list", prefix, error);
}

const struct repository_kind repository_postgres = {
    .schemes = {"postgres", "postgresql"},
    .open = open_postgres,
    .create = create,
    .read = read_object,
    .list = list,
    .remove = remove_object,
    .close = close_postgres,
};
