/* Statements over a connection to PostgreSQL, for attempts (postgres_connection.h): one after the
 * other, or in a pipeline. Names in them are looked up in the schema of the URL; results are in
 * binary form. Their failures are those of postgres_connection_attempt(). */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_STATEMENT_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_STATEMENT_H

#include "daemon/base/slice.h"
#include "storage/archive/postgres_connection.h"

#define POSTGRES_PARAMS 8

/* What stands for $1, $2, ... in a statement; filled in that order. May be copied. */
struct postgres_params {
    int n;
    const char *values[POSTGRES_PARAMS];
    int sizes[POSTGRES_PARAMS];
    Oid types[POSTGRES_PARAMS];
    uint8_t numbers[POSTGRES_PARAMS][8];
};

/* The bytes are borrowed until the statement was sent. */
void postgres_params_text(struct postgres_params *params, const char *text);
void postgres_params_bytes(struct postgres_params *params, struct slice bytes);
void postgres_params_number(struct postgres_params *params, int64_t number);

/* A field of type bigint or integer of a result; 0 if it is none, or not there. */
int64_t postgres_number(const PGresult *result, int row, int column);

/* One statement, with @params (NULL: none). If @result is not NULL it is given the result, for
 * PQclear(). When the connection was lost in it, it may have been executed or not. */
MUST_USE enum status postgres_run(struct postgres_connection *connection, const char *sql,
                                  const struct postgres_params *params, PGresult **result,
                                  struct error *error);

/* As postgres_run(), but @on_row is given each row on its own, as a result of one row, which it
 * borrows. It gives STATUS_OK, or what is then the outcome; no more rows come after that. */
typedef enum status (*postgres_row_cb)(void *data, const PGresult *row, struct error *error);
MUST_USE enum status postgres_run_rows(struct postgres_connection *connection, const char *sql,
                                       const struct postgres_params *params, postgres_row_cb on_row,
                                       void *data, struct error *error);

/* COPY ... FROM STDIN, the statement @sql, of @data. In its failures as postgres_run(). */
MUST_USE enum status postgres_copy(struct postgres_connection *connection, const char *sql,
                                   struct slice data, struct error *error);

/* End a transaction. Only if it fails and the connection is still open is it sure that nothing was
 * changed. */
MUST_USE enum status postgres_commit(struct postgres_connection *connection, struct error *error);

/* Statements that are sent before those before them are answered. After a failure of one of these
 * functions the connection is not good for more in this attempt. */
MUST_USE enum status postgres_pipeline_send(struct postgres_connection *connection, const char *sql,
                                            const struct postgres_params *params,
                                            struct error *error);
/* Wait for the oldest answer; @n_rows (NULL: not wanted) is the number of rows it changed. */
MUST_USE enum status postgres_pipeline_receive(struct postgres_connection *connection,
                                               uint64_t *n_rows, struct error *error);
/* All were answered: single statements again. */
MUST_USE enum status postgres_pipeline_end(struct postgres_connection *connection,
                                           struct error *error);

#endif
