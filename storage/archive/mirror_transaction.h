/* One transaction of a mirror: from where the tables are to where the state is, or some way there.
 *
 * One thread. It reads the state in short views, and never while it waits for PostgreSQL. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_TRANSACTION_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_TRANSACTION_H

#include "storage/archive/mirror_tables.h"

enum mirror_outcome {
    MIRROR_UP_TO_DATE, /* There was nothing to do. */
    MIRROR_WROTE,
    MIRROR_AHEAD, /* The tables have more than this node has executed. */
};

struct mirror_transaction {
    struct store *store;
    const char *cluster_id;
    const char *node;
    struct mirror_limits limits;
    unsigned commit_ms; /* Commit after so long, if the end is not reached before. */
    void *data;
    void (*on_copy)(void *data); /* All is copied anew. May be NULL. */
    /* Private. */
    struct view view;
    struct mirror_batch batch;
    /* What came of it. */
    enum mirror_outcome outcome;
    bool is_copy;
    bool is_gap;                     /* The change log did not reach back to the position. */
    struct mirror_position position; /* As it is in the tables. */
    uint64_t state_revision;         /* Of this node. */
    struct mirror_written written;
};

/* The caller fills in the fields above "Private" of the zeroed struct before. */
void mirror_transaction_open(struct mirror_transaction *transaction);

/* Find out state_revision. As view_begin(). */
MUST_USE enum status mirror_transaction_look(struct mirror_transaction *transaction,
                                             struct error *error);

/* An attempt (postgres_connection.h), with a struct mirror_transaction. STATUS_MISMATCH: the tables
 * are of another cluster, and stay as they are. STATUS_BUSY, if the connection is not to blame: a
 * copy took longer than the change log reaches back. Those of reading: STATUS_CORRUPT,
 * STATUS_UNSUPPORTED. */
MUST_USE enum status mirror_transaction_run(struct postgres_connection *connection, void *data,
                                            struct error *error);

void mirror_transaction_close(struct mirror_transaction *transaction);

#endif
