/* A connection to PostgreSQL that comes back: opened when it is needed, kept, and opened anew after
 * it was lost. What is done over it is done in attempts, which are repeated while what fails may
 * pass: a connection lost, a server that restarts, a transaction that collided.
 *
 * The thread that uses it waits, asks every 100 ms whether that is canceled, and then asks the
 * server to stop too. One thread at a time. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_CONNECTION_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_CONNECTION_H

#include <libpq-fe.h>

#include "daemon/base/error.h"
#include "daemon/base/slice.h"
#include "storage/archive/postgres_errors.h"
#include "storage/archive/postgres_schema.h"
#include "storage/archive/postgres_url.h"
#include "storage/archive/repository.h"

/* How long attempts are repeated, and how long one answer may take, in milliseconds. */
#define POSTGRES_RETRY_MS  120000u
#define POSTGRES_ANSWER_MS 90000u /* Longer than the server lets a statement run. */

struct postgres_connection {
    const struct postgres_url *url;
    const struct repository_options *options; /* For is_canceled. */
    const struct postgres_schema *schema;     /* That there is to be, and is when it is open. */
    unsigned retry_ms;
    unsigned answer_ms;
    /* Private. */
    PGconn *pg;                  /* NULL: none. */
    unsigned n_hosts;            /* In the URL. */
    unsigned host;               /* The one that is tried next; counts on behind the last. */
    enum postgres_remedy remedy; /* For what failed last. */
};

/* All are borrowed. No I/O yet. */
void postgres_connection_init(struct postgres_connection *connection,
                              const struct postgres_url *url,
                              const struct repository_options *options,
                              const struct postgres_schema *schema);

/* The @attempt is made on an open connection, outside of a transaction. It may be made again, with
 * the same @data, after it gave a failure of this file's functions. */
typedef enum status (*postgres_attempt_cb)(struct postgres_connection *connection, void *data,
                                           struct error *error);

/* Attempt until it succeeds, fails for good, or retry_ms are over; then the last status. STATUS_IO,
 * STATUS_BUSY, STATUS_TIMEOUT, STATUS_PERMISSION (also: the server is read-only), STATUS_NOT_FOUND
 * (the database), STATUS_DISK_FULL, STATUS_CORRUPT (the server says so), STATUS_UNSUPPORTED (the
 * tables are a later program's), STATUS_MISMATCH (the schema is for something else),
 * STATUS_CANCELED; and what @attempt gives. */
MUST_USE enum status postgres_connection_attempt(struct postgres_connection *connection,
                                                 postgres_attempt_cb attempt, void *data,
                                                 struct error *error);

/* False after it was lost: what failed then may have been executed or not. */
bool postgres_connection_is_open(const struct postgres_connection *connection);

/* It is opened again when it is needed. */
void postgres_connection_close(struct postgres_connection *connection);

/* For postgres_statement.c. --- */

/* Wait for one of @events (as poll()) of the connection; which came is given. STATUS_CANCELED;
 * STATUS_TIMEOUT: none came for answer_ms. The connection is closed then. */
MUST_USE enum status postgres_connection_wait(struct postgres_connection *connection, short events,
                                              short *happened, struct error *error);

/* STATUS_CANCELED if that is wanted; the connection is closed then. */
MUST_USE enum status postgres_connection_go_on(struct postgres_connection *connection,
                                               struct error *error);

/* It broke: close it, and say why. Never STATUS_OK. */
enum status postgres_connection_lose(struct postgres_connection *connection, struct error *error);

#endif
