/* Each step is one LMDB transaction: the records, and the note under LOCAL_NOTE in "local". As the
 * saved facts (LOCAL_STATE) are missing until the end, no one takes it for a store before. */
#include "storage/bulk.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/record.h"
#include "storage/store_private.h"

#define LOCAL_NOTE "bulk"

struct bulk {
    struct store *store;
    MDB_txn *mdb; /* NULL between two steps. */
    MDB_cursor *cursor;
    size_t unkept_bytes;
};

static enum status fail(struct bulk *bulk, int rv, struct error *error)
{
    return store_fail(bulk->store, rv, "fill store", error);
}

static void give_up(struct bulk *bulk)
{
    if (bulk->cursor != NULL) {
        mdb_cursor_close(bulk->cursor);
        bulk->cursor = NULL;
    }
    mdb_txn_abort(bulk->mdb); /* Accepts NULL. */
    bulk->mdb = NULL;
}

static enum status begin(struct bulk *bulk, struct error *error)
{
    int rv;

    if (bulk->mdb != NULL) {
        return STATUS_OK;
    }
    rv = mdb_txn_begin(bulk->store->env, NULL, 0, &bulk->mdb);
    if (rv != 0) {
        bulk->mdb = NULL;
        return fail(bulk, rv, error);
    }
    rv = mdb_cursor_open(bulk->mdb, bulk->store->records, &bulk->cursor);
    if (rv != 0) {
        bulk->cursor = NULL;
        give_up(bulk);
        return fail(bulk, rv, error);
    }
    return STATUS_OK;
}

static enum status commit(struct bulk *bulk, struct error *error)
{
    int rv;

    mdb_cursor_close(bulk->cursor);
    bulk->cursor = NULL;
    rv = mdb_txn_commit(bulk->mdb); /* Ends it, also by a failure. */
    bulk->mdb = NULL;
    bulk->unkept_bytes = 0;
    return rv == 0 ? STATUS_OK : fail(bulk, rv, error);
}

/* --- Opening --- */

/* Append the note of an earlier filling; an environment that was just made has none. */
static enum status read_note(struct bulk *bulk, MDB_txn *mdb, struct buffer *note,
                             struct error *error)
{
    struct store *store = bulk->store;
    struct slice key = slice_of_string(LOCAL_NOTE);
    MDB_val state_key = val_of(slice_of_string(LOCAL_STATE));
    MDB_val note_key = val_of(key);
    struct slice payload;
    MDB_val value;
    int rv = mdb_get(mdb, store->local, &state_key, &value);

    if (rv == 0) {
        return error_set(error, STATUS_EXISTS, "\"%s\" holds a whole store already",
                         store->directory);
    }
    rv = rv != MDB_NOTFOUND ? rv : mdb_get(mdb, store->local, &note_key, &value);
    if (rv == MDB_NOTFOUND) {
        return STATUS_OK;
    }
    if (rv != 0) {
        return fail(bulk, rv, error);
    }
    if (record_open(key, slice_of_val(value), &payload) != STATUS_OK) {
        return error_set(error, STATUS_CORRUPT, "what was left in \"%s\" is damaged: remove it",
                         store->directory);
    }
    buffer_append_slice(note, payload);
    return STATUS_OK;
}

static enum status open_trees(struct bulk *bulk, struct buffer *note, struct error *error)
{
    struct store *store = bulk->store;
    enum status status;
    MDB_txn *mdb;
    int rv = mdb_txn_begin(store->env, NULL, 0, &mdb);

    if (rv != 0) {
        return fail(bulk, rv, error);
    }
    rv = mdb_dbi_open(mdb, "state", MDB_CREATE, &store->records);
    rv = rv != 0 ? rv : mdb_dbi_open(mdb, "local", MDB_CREATE, &store->local);
    if (rv != 0) {
        mdb_txn_abort(mdb);
        return fail(bulk, rv, error);
    }
    status = read_note(bulk, mdb, note, error);
    if (status != STATUS_OK) {
        mdb_txn_abort(mdb);
        return status;
    }
    rv = mdb_txn_commit(mdb);
    return rv == 0 ? store_sync_directory(store, error) : fail(bulk, rv, error);
}

enum status bulk_open(const char *directory, uint64_t map_size_bytes, struct bulk **bulk,
                      struct buffer *note, struct error *error)
{
    const struct store_options options = {.directory = directory, .map_size_bytes = map_size_bytes};
    struct bulk *opened;
    enum status status;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return error_set(error, status_from_errno(errno), "could not make directory \"%s\": %s",
                         directory, strerror(errno));
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    status = store_open_bare(&options, &opened->store, error);
    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    status = open_trees(opened, note, error);
    if (status != STATUS_OK) {
        bulk_close(opened);
        return status;
    }
    *bulk = opened;
    return STATUS_OK;
}

/* --- Filling --- */

enum status bulk_put(struct bulk *bulk, struct slice key, struct slice payload, struct error *error)
{
    MDB_val mdb_key = val_of(key);
    MDB_val value = {.mv_size = RECORD_HEADER_BYTES + payload.size};
    enum status status = begin(bulk, error);
    int rv;

    CHECK(key.size > 0 && key.size <= LIMIT_STATE_KEY_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    rv = mdb_cursor_put(bulk->cursor, &mdb_key, &value, MDB_APPEND | MDB_RESERVE);
    if (rv == MDB_KEYEXIST) { /* What LMDB says of any key that is not the highest. */
        return error_set(error, STATUS_INVALID,
                         "could not fill store \"%s\": a key is out of order",
                         bulk->store->directory);
    }
    if (rv != 0) {
        return fail(bulk, rv, error);
    }
    record_seal(key, payload, value.mv_data);
    bulk->unkept_bytes += key.size + value.mv_size;
    return STATUS_OK;
}

size_t bulk_unkept_bytes(const struct bulk *bulk)
{
    return bulk->unkept_bytes;
}

enum status bulk_keep(struct bulk *bulk, struct slice note, struct error *error)
{
    struct slice key = slice_of_string(LOCAL_NOTE);
    MDB_val mdb_key = val_of(key);
    MDB_val value = {.mv_size = RECORD_HEADER_BYTES + note.size};
    enum status status = begin(bulk, error);
    int rv;

    if (status != STATUS_OK) {
        return status;
    }
    rv = mdb_put(bulk->mdb, bulk->store->local, &mdb_key, &value, MDB_RESERVE);
    if (rv != 0) {
        give_up(bulk);
        return fail(bulk, rv, error);
    }
    record_seal(key, note, value.mv_data);
    return commit(bulk, error);
}

enum status bulk_finish(struct bulk *bulk, const struct state *state, struct error *error)
{
    MDB_val note_key = val_of(slice_of_string(LOCAL_NOTE));
    enum status status = begin(bulk, error);
    int rv;

    if (status != STATUS_OK) {
        return status;
    }
    rv = mdb_del(bulk->mdb, bulk->store->local, &note_key, NULL);
    rv = rv == MDB_NOTFOUND ? 0 : rv;
    rv = rv != 0 ? rv : store_save_state(bulk->store, bulk->mdb, state);
    if (rv != 0) {
        give_up(bulk);
        return fail(bulk, rv, error);
    }
    return commit(bulk, error);
}

void bulk_close(struct bulk *bulk)
{
    if (bulk == NULL) {
        return;
    }
    give_up(bulk);
    store_close_bare(bulk->store);
    free(bulk);
}
