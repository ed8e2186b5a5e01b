/* The tables of a repository in PostgreSQL:
 *
 *   objects         one row for each object that is there whole
 *   uploads         one row for each that is being created, or was by a node that died
 *   chunks          the bytes, by object_id, which is never used twice; each chunk is of an
 *                   object or of an upload, never of both or of none */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_TABLES_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_TABLES_H

#include "storage/archive/postgres_schema.h"

extern const struct postgres_schema postgres_tables;

#endif
