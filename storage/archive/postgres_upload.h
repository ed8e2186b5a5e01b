/* The creation of one object in PostgreSQL. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_UPLOAD_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_UPLOAD_H

#include "storage/archive/postgres_connection.h"
#include "storage/archive/repository.h"

#define POSTGRES_CHUNK_BYTES (1u << 20)

/* As repository_create(). STATUS_CORRUPT: the content is not what its hash says. */
MUST_USE enum status postgres_upload(struct postgres_connection *connection, const char *name,
                                     const struct repository_content *content, struct error *error);

/* Remove what was left by nodes that died while creating, a day ago or longer, a part of it. */
MUST_USE enum status postgres_remove_left_overs(struct postgres_connection *connection,
                                                struct error *error);

#endif
