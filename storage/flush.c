/* From memory to LMDB: freezing, flushing, and the saved facts.
 *
 * 1. store_freeze(): the memtable that commits went into is set aside, with the facts of the last
 *    commit, and a new one takes its place. Reads look into both.
 * 2. store_flush() writes the frozen records in the order of their keys, with the facts, in one
 *    LMDB transaction, and LMDB syncs it.
 * 3. The frozen memtable leaves the layers; the last reader that still looks into it releases it.
 *
 * What can go wrong: LMDB cannot write (full, I/O). Then LMDB's transaction is gone as a whole, the
 * file holds the state of the flush before, and the process must stop. */
#include <stdlib.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/record.h"
#include "storage/store_private.h"

#define STATE_VERSION 1

/* --- The saved facts --- */

static void encode_state(const struct state *state, struct buffer *buffer)
{
    wire_put_u8(buffer, STATE_VERSION);
    wire_put_u64(buffer, state->revision);
    wire_put_u64(buffer, state->next_object_id);
    wire_put_u64(buffer, state->time_ms);
    wire_put_u64(buffer, state->applied_index);
    wire_put_u64(buffer, state->applied_term);
    wire_put_u64(buffer, state->hash[0]);
    wire_put_u64(buffer, state->hash[1]);
}

static enum status decode_state(struct slice bytes, struct state *state)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint8_t version = wire_get_u8(&reader);

    if (version > STATE_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    state->revision = wire_get_u64(&reader);
    state->next_object_id = wire_get_u64(&reader);
    state->time_ms = wire_get_u64(&reader);
    state->applied_index = wire_get_u64(&reader);
    state->applied_term = wire_get_u64(&reader);
    state->hash[0] = wire_get_u64(&reader);
    state->hash[1] = wire_get_u64(&reader);
    return version == STATE_VERSION ? wire_done(&reader) : STATUS_CORRUPT;
}

int store_save_state(struct store *store, MDB_txn *mdb, const struct state *state)
{
    struct slice key = slice_of_string(LOCAL_STATE);
    struct buffer payload = BUFFER_EMPTY;
    MDB_val mdb_key = val_of(key);
    MDB_val value;
    int rv;

    encode_state(state, &payload);
    value.mv_size = RECORD_HEADER_BYTES + payload.size;
    rv = mdb_put(mdb, store->local, &mdb_key, &value, MDB_RESERVE);
    if (rv == 0) {
        record_seal(key, buffer_slice(&payload), value.mv_data);
    }
    buffer_close(&payload);
    return rv;
}

enum status store_load_state(struct store *store, MDB_txn *mdb, struct state *state,
                             struct error *error)
{
    struct slice key = slice_of_string(LOCAL_STATE);
    MDB_val mdb_key = val_of(key);
    struct slice payload;
    MDB_val value;
    enum status status = store_status(store, mdb_get(mdb, store->local, &mdb_key, &value));

    if (status == STATUS_OK) {
        status = store_open_record(store, key, slice_of_val(value), &payload);
    }
    if (status == STATUS_OK) {
        status = decode_state(payload, state);
    }
    if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT) {
        store_note_damage(store, "the record of the state is missing or damaged");
        status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "could not read the state in \"%s\": %s", store->directory,
                         status_text(status));
    }
    return STATUS_OK;
}

/* --- Freezing --- */

void store_unflushed(struct store *store, struct store_unflushed *unflushed)
{
    CHECK(!store->writer.is_active);
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    unflushed->bytes = memtable_bytes(store->layers.active);
    unflushed->records = memtable_keys(store->layers.active);
    unflushed->is_empty = !store->has_unflushed;
    unflushed->is_flushing = store->layers.frozen != NULL;
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
}

void store_freeze(struct store *store)
{
    struct memtable *next = memtable_new();

    CHECK(!store->writer.is_active);
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    CHECK(store->has_unflushed);
    CHECK(store->layers.frozen == NULL);
    store->layers.frozen = store->layers.active;
    store->layers.active = next;
    store->frozen_state = store->layers.state;
    store->frozen_bytes = store->active_bytes;
    store->active_bytes = 0;
    store->has_unflushed = false;
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
}

/* --- Flushing --- */

/* A record that is to be deleted may have come and gone in memory alone. */
static int write_deletion(MDB_cursor *cursor, MDB_val *key)
{
    MDB_val value;
    int rv = mdb_cursor_get(cursor, key, &value, MDB_SET);

    if (rv == 0) {
        rv = mdb_cursor_del(cursor, 0);
    }
    return rv == MDB_NOTFOUND ? 0 : rv;
}

static int write_one(MDB_cursor *cursor, enum memtable_found found, struct slice key,
                     struct slice bytes)
{
    MDB_val mdb_key = val_of(key);
    MDB_val value = val_of(bytes);

    if (found == MEMTABLE_NOTHING) {
        return 0; /* It was taken back. */
    }
    return found == MEMTABLE_DELETED ? write_deletion(cursor, &mdb_key)
                                     : mdb_cursor_put(cursor, &mdb_key, &value, 0);
}

/* Nothing is newer than the last commit when a memtable is frozen. */
static int write_records(struct store *store, struct memtable *table, MDB_cursor *local,
                         MDB_cursor *records)
{
    static const uint8_t first[] = {LOCAL_MARK};
    struct memtable_node *node = memtable_seek(table, slice_of(first, sizeof first));
    int rv = 0;

    for (; node != NULL && rv == 0; node = memtable_next(node)) {
        struct slice key = memtable_key(node);
        struct slice bytes = slice_of(NULL, 0);
        enum memtable_found found = memtable_look(node, UINT64_MAX, &bytes);

        if (key.data[0] == LOCAL_MARK) {
            rv = write_one(local, found, slice_from(key, 1), bytes);
            continue;
        }
        rv = found == MEMTABLE_NOTHING ? 0 : scrub_replaced(store, records, key, bytes);
        rv = rv != 0 ? rv : write_one(records, found, key, bytes);
    }
    return rv;
}

static int write_layer(struct store *store, MDB_txn *mdb, struct memtable *table)
{
    MDB_cursor *local = NULL;
    MDB_cursor *records = NULL;
    int rv = mdb_cursor_open(mdb, store->local, &local);

    rv = rv != 0 ? rv : mdb_cursor_open(mdb, store->records, &records);
    rv = rv != 0 ? rv : write_records(store, table, local, records);
    if (records != NULL) {
        mdb_cursor_close(records);
    }
    if (local != NULL) {
        mdb_cursor_close(local);
    }
    return rv != 0 ? rv : store_save_state(store, mdb, &store->frozen_state);
}

enum status store_flush(struct store *store, struct error *error)
{
    struct memtable *table = store->layers.frozen; /* Only this thread makes it NULL. */
    MDB_txn *mdb;
    size_t txnid;
    int rv;

    CHECK(table != NULL);
    rv = mdb_txn_begin(store->env, NULL, 0, &mdb);
    if (rv != 0) {
        return store_fail(store, rv, "write to store", error);
    }
    txnid = mdb_txn_id(mdb);
    rv = write_layer(store, mdb, table);
    if (rv != 0) {
        mdb_txn_abort(mdb);
        return store_fail(store, rv, "write to store", error);
    }
    rv = mdb_txn_commit(mdb);
    if (rv != 0) {
        return store_fail(store, rv, "commit to store", error);
    }
    if (MUTATION(memtable_kept)) {
        return STATUS_OK;
    }
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    store->layers.frozen = NULL;
    store->frozen_bytes = 0;
    store->layers.flushed_txnid = txnid;
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    memtable_unref(table);
    return STATUS_OK;
}
