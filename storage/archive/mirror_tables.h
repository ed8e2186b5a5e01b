/* The tables of a mirror in PostgreSQL, and how they are written:
 *
 *   position     one row: how far the mirror goes, and of which cluster
 *   namespaces, sessions, events, items
 *
 * A transaction locks the position first, so of several writers one is at work, and each finds what
 * the one before it committed. It changes the rows and the position together: so each change is
 * there once, whatever is lost or repeated on the way.
 *
 * The functions are for attempts (postgres_connection.h), and fail as those of
 * postgres_statement.h. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_TABLES_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_TABLES_H

#include "storage/archive/mirror_batch.h"
#include "storage/archive/mirror_round.h"
#include "storage/archive/postgres_connection.h"

#define MIRROR_SCHEMA        "holdfast_mirror" /* Without ?schema=. */
#define MIRROR_CLUSTER_BYTES 36u               /* A UUID as text. */

/* A statement may take so long, as one may delete all that a large namespace held. */
#define MIRROR_ANSWER_MS 930000u

/* The tables, the settings of a session, and the rights of the URL's reader. */
extern const struct postgres_schema mirror_tables;

struct mirror_position {
    char cluster_id[MIRROR_CLUSTER_BYTES + 1]; /* "": nothing was mirrored yet. */
    uint64_t revision;                         /* All changes up to this one are in the tables. */
    uint64_t newest_revision;                  /* No row is newer; the same: they are exact. */
    uint64_t time_ms;                          /* Of the revision; the cluster's. */
};

/* What a transaction has written. Zeroed at its beginning. */
struct mirror_written {
    uint64_t sessions;
    uint64_t events; /* Also ranges of them that were deleted. */
    uint64_t items;
    /* Private. */
    bool is_staged[MIRROR_TABLES];
};

/* Where the tables are, without a transaction. @is_in_use: somebody writes to them just now, and
 * @position stays. */
MUST_USE enum status mirror_tables_look(struct postgres_connection *connection,
                                        struct mirror_position *position, bool *is_in_use,
                                        struct error *error);

/* Begin a transaction, and lock the position. STATUS_CORRUPT: it is not there, or makes no sense.
 */
MUST_USE enum status mirror_tables_begin(struct postgres_connection *connection,
                                         struct mirror_position *position, struct error *error);

/* Delete all rows. Whoever reads sees them until the commit. */
MUST_USE enum status mirror_tables_empty(struct postgres_connection *connection,
                                         struct error *error);

/* Write what is in @batch, clear it, and add it to @written. */
MUST_USE enum status mirror_tables_merge(struct postgres_connection *connection,
                                         struct mirror_batch *batch, struct mirror_written *written,
                                         struct error *error);

/* Set the position, tell those who listen, and commit. @node: who wrote. */
MUST_USE enum status mirror_tables_commit(struct postgres_connection *connection,
                                          const struct mirror_position *position, const char *node,
                                          const struct mirror_written *written,
                                          struct error *error);

/* Nothing was to be done. */
MUST_USE enum status mirror_tables_rollback(struct postgres_connection *connection,
                                            struct error *error);

#endif
