/* The tables of a repository in PostgreSQL: made on first use, and brought up to date by later
 * programs. Several nodes may do so at once.
 *
 *   objects         one row for each object that is there whole
 *   uploads         one row for each that is being created, or was by a node that died
 *   chunks          the bytes, by object_id, which is never used twice; each chunk is of an
 *                   object or of an upload, never of both or of none
 *   schema_version  one row */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_SCHEMA_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_SCHEMA_H

#include "storage/archive/postgres_connection.h"

/* See to it that the tables are there, on a new connection. STATUS_PERMISSION: they are not, and
 * may not be made; the error says what an administrator has to run. STATUS_UNSUPPORTED: they are of
 * a later program. Else as postgres_connection_run(). */
MUST_USE enum status postgres_schema_prepare(struct postgres_connection *connection,
                                             struct error *error);

#endif
