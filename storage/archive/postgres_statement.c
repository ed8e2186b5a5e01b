#include "storage/archive/postgres_statement.h"

#include <endian.h>
#include <poll.h>
#include <stdlib.h>

#include "daemon/base/check.h"

#define TYPE_BYTEA    17
#define TYPE_BIGINT   20
#define TYPE_TEXT     25
#define BINARY_FORMAT 1
#define COPY_BYTES    (256u << 10) /* Given to libpq at once. */

static const int binary_formats[POSTGRES_PARAMS] = {1, 1, 1, 1, 1, 1, 1, 1};

/* --- Parameters and fields --- */

static void add_param(struct postgres_params *params, const void *bytes, size_t size, Oid type)
{
    CHECK(params->n < POSTGRES_PARAMS && size <= INT32_MAX);
    params->values[params->n] = size == 0 ? "" : bytes; /* NULL would be SQL's NULL. */
    params->sizes[params->n] = (int)size;
    params->types[params->n++] = type;
}

void postgres_params_text(struct postgres_params *params, const char *text)
{
    add_param(params, text, strlen(text), TYPE_TEXT);
}

void postgres_params_bytes(struct postgres_params *params, struct slice bytes)
{
    add_param(params, bytes.data, bytes.size, TYPE_BYTEA);
}

void postgres_params_number(struct postgres_params *params, int64_t number)
{
    uint64_t big_endian = htobe64((uint64_t)number);

    CHECK(params->n < POSTGRES_PARAMS);
    memcpy(params->numbers[params->n], &big_endian, sizeof big_endian);
    add_param(params, NULL, sizeof big_endian, TYPE_BIGINT);
}

/* Numbers are inside of @params, which may have been copied since they were added. */
static void list_values(const struct postgres_params *params, const char *values[POSTGRES_PARAMS])
{
    for (int i = 0; i < params->n; i++) {
        bool is_number = params->types[i] == TYPE_BIGINT;

        values[i] = is_number ? (const char *)params->numbers[i] : params->values[i];
    }
}

int64_t postgres_number(const PGresult *result, int row, int column)
{
    const char *value = PQgetvalue(result, row, column);
    int size = PQgetlength(result, row, column);
    uint64_t large;
    uint32_t small;

    if (size == sizeof small) {
        memcpy(&small, value, sizeof small);
        return (int32_t)be32toh(small);
    }
    if (size != sizeof large) {
        return 0;
    }
    memcpy(&large, value, sizeof large);
    return (int64_t)be64toh(large);
}

/* --- Results --- */

/* Send what libpq holds, and take what has come, so that neither side waits for the other: until
 * something more is to do, one way or the other. */
static enum status exchange(struct postgres_connection *connection, bool unsent,
                            struct error *error)
{
    short happened = 0;
    enum status status = postgres_connection_wait(
        connection, (short)(unsent ? POLLIN | POLLOUT : POLLIN), &happened, error);

    if (status == STATUS_OK && (happened & ~POLLOUT) != 0 && PQconsumeInput(connection->pg) == 0) {
        status = postgres_connection_lose(connection, error);
    }
    return status;
}

/* The next result, for PQclear(); NULL behind the last one of a statement. */
static enum status next_result(struct postgres_connection *connection, PGresult **result,
                               struct error *error)
{
    for (;;) {
        int unsent = PQflush(connection->pg);
        enum status status;

        if (unsent < 0) {
            return postgres_connection_lose(connection, error);
        }
        if (!PQisBusy(connection->pg)) {
            *result = PQgetResult(connection->pg);
            return STATUS_OK;
        }
        status = exchange(connection, unsent > 0, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

static enum status check_result(struct postgres_connection *connection, const PGresult *result,
                                struct error *error)
{
    bool is_fatal = false;
    enum status status;

    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
        return STATUS_OK;
    default:
        break;
    }
    if (PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL) {
        return postgres_connection_lose(connection, error); /* These are libpq's words. */
    }
    status = postgres_error_of_result(result, &connection->remedy, &is_fatal, error);
    if (is_fatal) {
        postgres_connection_close(connection);
    }
    return status;
}

/* Take all results of a statement. The last good one is kept in @result, if that is not NULL. */
static enum status take_results(struct postgres_connection *connection, PGresult **result,
                                postgres_row_cb on_row, void *data, struct error *error)
{
    enum status outcome = STATUS_OK;

    for (;;) {
        PGresult *next = NULL;
        enum status status = next_result(connection, &next, error);

        if (status != STATUS_OK || next == NULL) {
            return status != STATUS_OK ? status : outcome;
        }
        if (outcome == STATUS_OK) {
            outcome = check_result(connection, next, error);
            if (outcome == STATUS_OK && on_row != NULL && PQntuples(next) > 0) {
                outcome = on_row(data, next, error);
            }
        }
        if (outcome == STATUS_OK && result != NULL) {
            PQclear(*result);
            *result = next;
        } else {
            PQclear(next);
        }
        if (connection->pg == NULL) {
            return outcome;
        }
    }
}

/* --- Statements --- */

static enum status send_statement(struct postgres_connection *connection, const char *sql,
                                  const struct postgres_params *params, struct error *error)
{
    static const struct postgres_params none = {.n = 0};
    const char *values[POSTGRES_PARAMS] = {NULL};
    enum status status;

    CHECK(connection->pg != NULL);
    connection->remedy = POSTGRES_NONE;
    params = params == NULL ? &none : params;
    status = postgres_connection_go_on(connection, error);
    if (status != STATUS_OK) {
        return status;
    }
    list_values(params, values);
    return PQsendQueryParams(connection->pg, sql, params->n, params->types, values, params->sizes,
                             binary_formats, BINARY_FORMAT) == 1
               ? STATUS_OK
               : postgres_connection_lose(connection, error);
}

enum status postgres_run(struct postgres_connection *connection, const char *sql,
                         const struct postgres_params *params, PGresult **result,
                         struct error *error)
{
    PGresult *taken = NULL;
    enum status status = send_statement(connection, sql, params, error);

    if (status == STATUS_OK) {
        status = take_results(connection, &taken, NULL, NULL, error);
    }
    if (status == STATUS_OK && result != NULL) {
        *result = taken;
    } else {
        PQclear(taken); /* Accepts NULL. */
    }
    return status;
}

enum status postgres_run_rows(struct postgres_connection *connection, const char *sql,
                              const struct postgres_params *params, postgres_row_cb on_row,
                              void *data, struct error *error)
{
    enum status status = send_statement(connection, sql, params, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (PQsetSingleRowMode(connection->pg) != 1) {
        return postgres_connection_lose(connection, error);
    }
    return take_results(connection, NULL, on_row, data, error);
}

/* Until all is with the kernel: what is not stays in memory, as much as it is. */
static enum status flush_all(struct postgres_connection *connection, struct error *error)
{
    enum status status = STATUS_OK;
    int unsent;

    while (status == STATUS_OK && (unsent = PQflush(connection->pg)) != 0) {
        status = unsent < 0 ? postgres_connection_lose(connection, error)
                            : exchange(connection, true, error);
    }
    return status;
}

/* If the server refuses something meanwhile, it ignores the rest, and says so at the end. */
static enum status send_copy(struct postgres_connection *connection, struct slice data,
                             struct error *error)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && data.size > 0) {
        size_t size = data.size < COPY_BYTES ? data.size : COPY_BYTES;

        if (PQputCopyData(connection->pg, (const char *)data.data, (int)size) != 1) {
            return postgres_connection_lose(connection, error);
        }
        data = slice_from(data, size);
        status = flush_all(connection, error);
    }
    if (status == STATUS_OK && PQputCopyEnd(connection->pg, NULL) != 1) {
        status = postgres_connection_lose(connection, error);
    }
    return status;
}

enum status postgres_copy(struct postgres_connection *connection, const char *sql,
                          struct slice data, struct error *error)
{
    PGresult *begun = NULL;
    enum status status = send_statement(connection, sql, NULL, error);

    if (status == STATUS_OK) {
        status = next_result(connection, &begun, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (PQresultStatus(begun) != PGRES_COPY_IN) {
        status = check_result(connection, begun, error);
        CHECK(status != STATUS_OK); /* @sql is a COPY. */
        PQclear(begun);
        return status; /* The connection may be gone, and what is left of it is ended with it. */
    }
    PQclear(begun);
    status = send_copy(connection, data, error);
    return status == STATUS_OK ? take_results(connection, NULL, NULL, NULL, error) : status;
}

enum status postgres_commit(struct postgres_connection *connection, struct error *error)
{
    PGresult *result = NULL;
    enum status status = postgres_run(connection, "COMMIT", NULL, &result, error);

    /* A transaction that failed before is rolled back, successfully. */
    if (status == STATUS_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        status = error_set(error, STATUS_IO, "the server rolled the transaction back");
    }
    PQclear(result);
    return status;
}

enum status postgres_pipeline_send(struct postgres_connection *connection, const char *sql,
                                   const struct postgres_params *params, struct error *error)
{
    enum status status;

    if (PQenterPipelineMode(connection->pg) != 1) { /* Does nothing if it is in it. */
        return postgres_connection_lose(connection, error);
    }
    status = send_statement(connection, sql, params, error);
    if (status == STATUS_OK &&
        (PQsendFlushRequest(connection->pg) != 1 || PQflush(connection->pg) < 0)) {
        status = postgres_connection_lose(connection, error);
    }
    return status;
}

enum status postgres_pipeline_receive(struct postgres_connection *connection, uint64_t *n_rows,
                                      struct error *error)
{
    PGresult *result = NULL;
    enum status status = take_results(connection, &result, NULL, NULL, error);

    if (status == STATUS_OK && n_rows != NULL) {
        *n_rows = strtoull(PQcmdTuples(result), NULL, 10);
    }
    PQclear(result);
    return status;
}

enum status postgres_pipeline_end(struct postgres_connection *connection, struct error *error)
{
    PGresult *result = NULL;
    enum status status;

    if (PQpipelineSync(connection->pg) != 1) {
        return postgres_connection_lose(connection, error);
    }
    status = next_result(connection, &result, error);
    if (status == STATUS_OK) {
        status = check_result(connection, result, error);
    }
    PQclear(result);
    if (status == STATUS_OK && PQexitPipelineMode(connection->pg) != 1) {
        status = postgres_connection_lose(connection, error);
    }
    return status;
}
