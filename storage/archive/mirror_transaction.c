/* 1. The position is locked, and says where to begin: behind a revision, or anew.
 * 2. Rounds (mirror_round.h) are read and merged, until one ends where the state is.
 * 3. The position is set, and all is committed.
 *
 * Anew, before that: all rows are deleted, and all of the state is read (mirror_walk.h) and merged.
 * It is what happens with empty tables, and when the change log does not reach back to the
 * position. */
#include "storage/archive/mirror_transaction.h"

#include <inttypes.h>

#include "daemon/base/clock.h"
#include "storage/archive/mirror_walk.h"

void mirror_transaction_open(struct mirror_transaction *transaction)
{
    mirror_batch_open(&transaction->batch);
}

void mirror_transaction_close(struct mirror_transaction *transaction)
{
    mirror_batch_close(&transaction->batch);
    view_close(&transaction->view);
}

/* --- Reading --- */

static enum status explain(enum status status, struct error *error)
{
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "could not read the state: %s", status_text(status));
}

typedef enum status (*read_cb)(void *reader, struct view *view, const struct mirror_sink *sink,
                               bool *is_done);

static enum status read_round(void *round, struct view *view, const struct mirror_sink *sink,
                              bool *is_done)
{
    return mirror_round_read(round, view, sink, is_done);
}

static enum status read_walk(void *walk, struct view *view, const struct mirror_sink *sink,
                             bool *is_done)
{
    return mirror_walk_read(walk, view, sink, is_done);
}

/* Read until it is done, each part in a view of its own, and merge each. */
static enum status take_all(struct mirror_transaction *transaction,
                            struct postgres_connection *connection, read_cb read, void *reader,
                            struct error *error)
{
    enum status status = STATUS_OK;
    bool is_done = false;

    while (status == STATUS_OK && !is_done) {
        status = view_begin(transaction->store, &transaction->view, error);
        if (status != STATUS_OK) {
            return status;
        }
        status =
            explain(read(reader, &transaction->view, &transaction->batch.sink, &is_done), error);
        view_end(&transaction->view);
        transaction->is_gap = status == STATUS_NOT_FOUND;
        if (status == STATUS_OK) {
            status =
                mirror_tables_merge(connection, &transaction->batch, &transaction->written, error);
        }
    }
    return status;
}

static void take_end(struct mirror_transaction *transaction, const struct mirror_end *end)
{
    transaction->position.revision = end->revision;
    transaction->position.time_ms = end->time_ms;
    transaction->position.newest_revision = end->newest_revision;
    transaction->state_revision = end->newest_revision;
}

static enum status run_round(struct mirror_transaction *transaction,
                             struct postgres_connection *connection, struct error *error)
{
    struct mirror_round *round = mirror_round_open(
        transaction->position.revision, transaction->position.time_ms, &transaction->limits);
    enum status status = take_all(transaction, connection, read_round, round, error);
    struct mirror_end end;

    mirror_round_end(round, &end);
    mirror_round_close(round);
    if (status == STATUS_OK) {
        take_end(transaction, &end);
    }
    return status;
}

/* Until the tables are what the state is, or for so long. */
static enum status run_rounds(struct mirror_transaction *transaction,
                              struct postgres_connection *connection, struct error *error)
{
    uint64_t end_ms = clock_ms() + transaction->commit_ms;
    enum status status;

    do {
        status = run_round(transaction, connection, error);
    } while (status == STATUS_OK &&
             transaction->position.revision != transaction->position.newest_revision &&
             clock_ms() < end_ms);
    return status;
}

/* --- Anew --- */

static enum status walk_all(struct mirror_transaction *transaction,
                            struct postgres_connection *connection, struct error *error)
{
    struct mirror_walk *walk = mirror_walk_open(transaction->limits.bytes);
    enum status status = take_all(transaction, connection, read_walk, walk, error);
    struct mirror_end end;

    mirror_walk_end(walk, &end);
    mirror_walk_close(walk);
    if (status == STATUS_OK) {
        take_end(transaction, &end);
    }
    return status;
}

static enum status copy(struct mirror_transaction *transaction,
                        struct postgres_connection *connection, struct error *error)
{
    enum status status;

    transaction->is_copy = true;
    transaction->is_gap = false;
    if (transaction->on_copy != NULL) {
        transaction->on_copy(transaction->data);
    }
    memcpy(transaction->position.cluster_id, transaction->cluster_id, MIRROR_CLUSTER_BYTES + 1);
    status = mirror_tables_empty(connection, error);
    if (status == STATUS_OK) {
        status = walk_all(transaction, connection, error);
    }
    if (status == STATUS_OK) {
        status = run_rounds(transaction, connection, error);
    }
    return transaction->is_gap
               ? error_set(error, STATUS_BUSY,
                           "the state changes faster than it is copied: the change log does not "
                           "reach back to where the copy began")
               : status;
}

/* --- The transaction --- */

static enum status check_cluster(const struct mirror_transaction *transaction,
                                 const struct postgres_connection *connection, struct error *error)
{
    const char *found = transaction->position.cluster_id;

    return found[0] == '\0' || strcmp(found, transaction->cluster_id) == 0
               ? STATUS_OK
               : error_set(
                     error, STATUS_MISMATCH,
                     "the schema \"%s\" mirrors the cluster %s, and this is %s (as it is after "
                     "a restore): name another with ?schema=NAME, or run DROP SCHEMA \"%s\" "
                     "CASCADE",
                     connection->url->schema, found, transaction->cluster_id,
                     connection->url->schema);
}

enum status mirror_transaction_look(struct mirror_transaction *transaction, struct error *error)
{
    enum status status = view_begin(transaction->store, &transaction->view, error);

    if (status == STATUS_OK) {
        transaction->state_revision = transaction->view.state->revision;
        view_end(&transaction->view);
    }
    return status;
}

/* STATUS_END: nothing is to be written. */
static enum status write_all(struct mirror_transaction *transaction,
                             struct postgres_connection *connection, struct error *error)
{
    const struct mirror_position *position = &transaction->position;
    enum status status = check_cluster(transaction, connection, error);

    if (status == STATUS_OK) {
        status = mirror_transaction_look(transaction, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (position->cluster_id[0] == '\0') {
        return copy(transaction, connection, error);
    }
    if (position->newest_revision > transaction->state_revision) {
        transaction->outcome = MIRROR_AHEAD;
        return STATUS_END;
    }
    if (position->revision == transaction->state_revision) {
        transaction->outcome = MIRROR_UP_TO_DATE;
        return STATUS_END;
    }
    status = run_rounds(transaction, connection, error);
    return transaction->is_gap ? copy(transaction, connection, error) : status;
}

enum status mirror_transaction_run(struct postgres_connection *connection, void *data,
                                   struct error *error)
{
    struct mirror_transaction *transaction = data;
    enum status status;

    transaction->outcome = MIRROR_WROTE;
    transaction->is_copy = false;
    transaction->is_gap = false;
    transaction->written = (struct mirror_written){.sessions = 0};
    mirror_batch_clear(&transaction->batch);
    status = mirror_tables_begin(connection, &transaction->position, error);
    if (status == STATUS_OK) {
        status = write_all(transaction, connection, error);
    }
    if (status == STATUS_END) {
        return mirror_tables_rollback(connection, error);
    }
    if (status == STATUS_OK) {
        return mirror_tables_commit(connection, &transaction->position, transaction->node,
                                    &transaction->written, error);
    }
    postgres_connection_close(connection); /* Others need not wait for the lock. */
    return status;
}
