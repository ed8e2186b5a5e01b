#include "storage/rebase.h"

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "storage/feature.h"
#include "storage/keys.h"
#include "storage/machine.h"

#define LOCAL_CLUSTER "cluster"

/* Delete all records of one kind. */
static enum status drop_kind(struct txn *txn, enum key_kind kind)
{
    struct key prefix = key_prefix(kind);
    struct cursor *cursor;
    struct slice payload;
    struct slice key;
    enum status status = cursor_open(txn, &cursor);

    if (status != STATUS_OK) {
        return status;
    }
    status = cursor_seek(cursor, key_slice(&prefix), &key, &payload);
    while (status == STATUS_OK && slice_starts_with(key, key_slice(&prefix))) {
        status = txn_delete(txn, key);
        if (status == STATUS_OK) {
            status = cursor_next(cursor, &key, &payload);
        }
    }
    cursor_close(cursor);
    return status == STATUS_END ? STATUS_OK : status;
}

static enum status change_state(struct store *store, const char *cluster_id, uint64_t index,
                                uint64_t term, struct error *error)
{
    struct state *state;
    struct txn *txn;
    enum status status = txn_begin_write(store, &txn, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = drop_kind(txn, KEY_MEMBER);
    status = status == STATUS_OK ? drop_kind(txn, KEY_REMOVED_MEMBER) : status;
    status = status == STATUS_OK ? drop_kind(txn, KEY_CHANGE) : status;
    if (status != STATUS_OK) {
        txn_abort(txn);
        return error_set(error, status, "could not change the state: %s", status_text(status));
    }
    state = txn_state(txn);
    CHECK(index > state->applied_index);
    state->revision += REBASE_REVISIONS;
    state->applied_index = index;
    state->applied_term = term;
    txn_put_local(txn, slice_of_string(LOCAL_CLUSTER), slice_of_string(cluster_id));
    txn_commit(txn);
    return STATUS_OK;
}

enum status rebase(struct store *store, const char *cluster_id, uint64_t index, uint64_t term,
                   struct error *error)
{
    struct machine *machine;
    bool frozen = false;
    enum status status;

    CHECK(strlen(cluster_id) == REBASE_CLUSTER_BYTES);
    status = change_state(store, cluster_id, index, term, error);
    if (status == STATUS_OK) {
        status = machine_open(store, FEATURE_LEVEL, &machine, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    machine_set_stored(machine, index); /* The log that goes with it begins there. */
    status = machine_freeze(machine, &frozen, error);
    if (status == STATUS_OK) {
        CHECK(frozen);
        status = store_flush(store, error);
    }
    machine_close(machine);
    return status;
}

enum status rebase_cluster_id(struct store *store, char cluster_id[REBASE_CLUSTER_BYTES + 1],
                              struct error *error)
{
    struct txn *txn = NULL;
    struct slice payload = slice_of(NULL, 0);
    enum status status = txn_begin_read(store, &txn, error);

    if (status != STATUS_OK) {
        return status;
    }
    cluster_id[0] = '\0';
    status = txn_get_local(txn, slice_of_string(LOCAL_CLUSTER), &payload);
    if (status == STATUS_OK && payload.size == REBASE_CLUSTER_BYTES) {
        memcpy(cluster_id, payload.data, payload.size);
        cluster_id[payload.size] = '\0';
    }
    txn_end_read(txn);
    txn_reader_close(txn);
    return status == STATUS_OK || status == STATUS_NOT_FOUND
               ? STATUS_OK
               : error_set(error, status, "could not read the state: %s", status_text(status));
}
