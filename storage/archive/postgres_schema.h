/* Tables that a program keeps in a schema of its own in PostgreSQL: made on first use, and brought
 * up to date by later programs. Several nodes may do so at once.
 *
 * Beside what the steps make, there is the table schema_version, of one row. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_SCHEMA_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_SCHEMA_H

#include <stddef.h>

#include "daemon/base/error.h"

struct postgres_connection;

/* Static: it is borrowed for as long as there is a connection. */
struct postgres_schema {
    const char *marker; /* A table that the first step makes, and no other schema has. */
    /* Each step makes the tables of one version into those of the next: statements, NULL behind the
     * last. A step must keep the data, and what it makes must still serve the program before it, of
     * which nodes may run. Never change one that was released. */
    const char *const *const *steps;
    size_t n_steps;
    /* On each new connection, when the tables are there; may be NULL. */
    enum status (*on_ready)(struct postgres_connection *connection, struct error *error);
};

/* See to it that the tables are there, on a new connection. STATUS_PERMISSION: they are not, and
 * may not be made; the error says what an administrator has to run. STATUS_UNSUPPORTED: they are of
 * a later program. STATUS_MISMATCH: the schema holds something else of ours. Else as
 * postgres_connection_attempt(), and as on_ready(). */
MUST_USE enum status postgres_schema_prepare(struct postgres_connection *connection,
                                             struct error *error);

#endif
