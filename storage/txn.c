/* Transactions, records and cursors on the two trees.
 *
 * A write transaction may have one child, between txn_mark() and txn_keep() or txn_undo(); the
 * struct state is copied aside meanwhile. Every record passes through record.h on its way in and
 * out. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/record.h"
#include "storage/store_private.h"

#define STATE_VERSION 1
#define LOCAL_STATE   "state"

struct cursor {
    struct txn *txn;
    MDB_cursor *mdb;
};

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

static enum status save_state(struct txn *txn)
{
    struct buffer buffer = BUFFER_EMPTY;
    enum status status;

    encode_state(&txn->state, &buffer);
    status = txn_put_local(txn, slice_of_string(LOCAL_STATE), buffer_slice(&buffer));
    buffer_close(&buffer);
    return status;
}

static enum status load_state(struct txn *txn, struct error *error)
{
    struct slice payload;
    enum status status = txn_get_local(txn, slice_of_string(LOCAL_STATE), &payload);

    if (status == STATUS_OK) {
        status = decode_state(payload, &txn->state);
    }
    if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT) {
        store_note_damage(txn->store, "the record of the state is missing or damaged");
        status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "could not read the state in \"%s\": %s",
                         txn->store->directory, status_text(status));
    }
    return STATUS_OK;
}

/* --- Transactions --- */

enum status txn_begin_read(struct store *store, struct txn **txn, struct error *error)
{
    struct txn *t = *txn;
    enum status status;
    int rv;

    if (t == NULL) {
        t = memory_new_zeroed(1, sizeof *t);
        t->store = store;
        rv = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &t->mdb);
    } else {
        CHECK(t->store == store);
        CHECK(!t->is_active);
        rv = mdb_txn_renew(t->mdb);
    }
    if (rv != 0) {
        status = store_fail(store, rv, "read from store", error);
        goto err_after_alloc;
    }
    t->is_active = true;
    status = load_state(t, error);
    if (status != STATUS_OK) {
        goto err_after_begin;
    }
    *txn = t;
    return STATUS_OK;

err_after_begin:
    mdb_txn_reset(t->mdb);
    t->is_active = false;
    if (*txn == NULL) {
        mdb_txn_abort(t->mdb);
    }
err_after_alloc:
    if (*txn == NULL) {
        free(t);
    }
    return status;
}

void txn_end_read(struct txn *txn)
{
    CHECK(!txn->is_write);
    CHECK(txn->is_active);
    mdb_txn_reset(txn->mdb);
    txn->is_active = false;
}

void txn_reader_close(struct txn *txn)
{
    if (txn == NULL) {
        return;
    }
    CHECK(!txn->is_write);
    CHECK(!txn->is_active);
    mdb_txn_abort(txn->mdb);
    free(txn);
}

enum status txn_begin_write(struct store *store, struct txn **txn, struct error *error)
{
    struct txn *t = &store->writer;
    enum status status;
    int rv;

    CHECK(!t->is_active);
    rv = mdb_txn_begin(store->env, NULL, 0, &t->mdb);
    if (rv != 0) {
        return store_fail(store, rv, "write to store", error);
    }
    t->is_write = true;
    t->is_active = true;
    status = load_state(t, error);
    if (status != STATUS_OK) {
        txn_abort(t);
        return status;
    }
    *txn = t;
    return STATUS_OK;
}

enum status txn_commit(struct txn *txn, struct error *error)
{
    struct store *store = txn->store;
    enum status status;
    int rv;

    CHECK(txn->is_write && txn->is_active);
    CHECK(txn->child == NULL);
    status = save_state(txn);
    if (status != STATUS_OK) {
        txn_abort(txn);
        return error_set(error, status, "could not save the state in \"%s\": %s", store->directory,
                         status_text(status));
    }
    rv = mdb_txn_commit(txn->mdb);
    txn->mdb = NULL;
    txn->is_active = false;
    return rv == 0 ? STATUS_OK : store_fail(store, rv, "commit to store", error);
}

void txn_abort(struct txn *txn)
{
    CHECK(txn->is_write && txn->is_active);
    mdb_txn_abort(txn->mdb); /* With its child, if it has one. */
    txn->mdb = NULL;
    txn->child = NULL;
    txn->is_active = false;
}

enum status txn_mark(struct txn *txn, struct error *error)
{
    int rv;

    CHECK(txn->is_write && txn->is_active);
    CHECK(txn->child == NULL);
    rv = mdb_txn_begin(txn->store->env, txn->mdb, 0, &txn->child);
    if (rv != 0) {
        txn->child = NULL;
        return store_fail(txn->store, rv, "begin a nested transaction in", error);
    }
    txn->marked = txn->state;
    return STATUS_OK;
}

enum status txn_keep(struct txn *txn, struct error *error)
{
    int rv;

    CHECK(txn->child != NULL);
    rv = mdb_txn_commit(txn->child);
    txn->child = NULL;
    return rv == 0 ? STATUS_OK : store_fail(txn->store, rv, "keep a nested transaction in", error);
}

void txn_undo(struct txn *txn)
{
    CHECK(txn->child != NULL);
    mdb_txn_abort(txn->child);
    txn->child = NULL;
    txn->state = txn->marked;
}

static MDB_txn *current(const struct txn *txn)
{
    CHECK(txn->is_active);
    return txn->child != NULL ? txn->child : txn->mdb;
}

struct state *txn_state(struct txn *txn)
{
    return &txn->state;
}

void txn_state_hash(struct txn *txn, uint64_t hash[2])
{
    const struct state *state = &txn->state;
    struct buffer facts = BUFFER_EMPTY;

    wire_put_u64(&facts, state->revision);
    wire_put_u64(&facts, state->next_object_id);
    wire_put_u64(&facts, state->time_ms);
    hash[0] = state->hash[0];
    hash[1] = state->hash[1];
    record_hash_add(hash, slice_of(NULL, 0), buffer_slice(&facts)); /* No record has this key. */
    buffer_close(&facts);
}

/* --- Records --- */

static MDB_val val_of(struct slice bytes)
{
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct slice slice_of_val(MDB_val val)
{
    return slice_of(val.mv_data, val.mv_size);
}

/* Check what was found under @key. */
static enum status open_record(struct store *store, struct slice key, struct slice bytes,
                               struct slice *payload)
{
    enum status status = record_open(key, bytes, payload);
    char what[64];

    if (status == STATUS_CORRUPT) {
        (void)snprintf(what, sizeof what, "a record of kind %u has a wrong checksum",
                       key.size > 0 ? key.data[0] : 0);
        store_note_damage(store, what);
    }
    return status;
}

static enum status get(struct txn *txn, MDB_dbi tree, struct slice key, struct slice *payload)
{
    MDB_val mdb_key = val_of(key);
    MDB_val found;
    int rv;

    CHECK(key.size > 0 && key.size <= LIMIT_STATE_KEY_BYTES);
    rv = mdb_get(current(txn), tree, &mdb_key, &found);
    if (rv != 0) {
        return store_status(txn->store, rv);
    }
    return open_record(txn->store, key, slice_of_val(found), payload);
}

static enum status put(struct txn *txn, MDB_dbi tree, struct slice key, struct slice payload)
{
    MDB_val mdb_key = val_of(key);
    MDB_val place = {.mv_size = RECORD_HEADER_BYTES + payload.size};
    int rv;

    CHECK(txn->is_write);
    rv = mdb_put(current(txn), tree, &mdb_key, &place, MDB_RESERVE);
    if (rv != 0) {
        return store_status(txn->store, rv);
    }
    record_seal(key, payload, place.mv_data);
    return STATUS_OK;
}

enum status txn_get(struct txn *txn, struct slice key, struct slice *payload)
{
    return get(txn, txn->store->records, key, payload);
}

enum status txn_put(struct txn *txn, struct slice key, struct slice payload)
{
    uint64_t hash[2] = {txn->state.hash[0], txn->state.hash[1]};
    struct slice old;
    enum status status = get(txn, txn->store->records, key, &old);

    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    if (status == STATUS_OK) {
        record_hash_subtract(hash, key, old);
    }
    status = put(txn, txn->store->records, key, payload);
    if (status != STATUS_OK) {
        return status;
    }
    record_hash_add(hash, key, payload);
    memcpy(txn->state.hash, hash, sizeof hash);
    return STATUS_OK;
}

enum status txn_delete(struct txn *txn, struct slice key)
{
    uint64_t hash[2] = {txn->state.hash[0], txn->state.hash[1]};
    MDB_val mdb_key = val_of(key);
    struct slice old;
    enum status status;
    int rv;

    CHECK(txn->is_write);
    status = get(txn, txn->store->records, key, &old);
    if (status != STATUS_OK) {
        return status;
    }
    record_hash_subtract(hash, key, old);
    rv = mdb_del(current(txn), txn->store->records, &mdb_key, NULL);
    if (rv != 0) {
        return store_status(txn->store, rv);
    }
    memcpy(txn->state.hash, hash, sizeof hash);
    return STATUS_OK;
}

enum status txn_get_local(struct txn *txn, struct slice key, struct slice *payload)
{
    return get(txn, txn->store->local, key, payload);
}

enum status txn_put_local(struct txn *txn, struct slice key, struct slice payload)
{
    return put(txn, txn->store->local, key, payload);
}

/* --- Cursors --- */

enum status cursor_open(struct txn *txn, struct cursor **cursor)
{
    struct cursor *c = memory_new(sizeof *c);
    int rv = mdb_cursor_open(current(txn), txn->store->records, &c->mdb);

    if (rv != 0) {
        free(c);
        return store_status(txn->store, rv);
    }
    c->txn = txn;
    *cursor = c;
    return STATUS_OK;
}

void cursor_close(struct cursor *cursor)
{
    if (cursor != NULL) {
        mdb_cursor_close(cursor->mdb);
        free(cursor);
    }
}

/* Give what LMDB's cursor stands on after a move that returned @rv. */
static enum status landed(struct cursor *cursor, int rv, MDB_val key, MDB_val value,
                          struct slice *found, struct slice *payload)
{
    struct slice opened;
    enum status status;

    if (rv == MDB_NOTFOUND) {
        return STATUS_END;
    }
    if (rv != 0) {
        return store_status(cursor->txn->store, rv);
    }
    status = open_record(cursor->txn->store, slice_of_val(key), slice_of_val(value), &opened);
    if (status == STATUS_OK) {
        *found = slice_of_val(key);
        *payload = opened;
    }
    return status;
}

static enum status move(struct cursor *cursor, MDB_cursor_op op, struct slice *found,
                        struct slice *payload)
{
    MDB_val key = {0};
    MDB_val value = {0};
    int rv = mdb_cursor_get(cursor->mdb, &key, &value, op);

    return landed(cursor, rv, key, value, found, payload);
}

enum status cursor_seek(struct cursor *cursor, struct slice key, struct slice *found,
                        struct slice *payload)
{
    MDB_val at = val_of(key);
    MDB_val value = {0};
    int rv = mdb_cursor_get(cursor->mdb, &at, &value, MDB_SET_RANGE);

    return landed(cursor, rv, at, value, found, payload);
}

enum status cursor_seek_before(struct cursor *cursor, struct slice key, struct slice *found,
                               struct slice *payload)
{
    MDB_val at = val_of(key);
    MDB_val value = {0};
    int rv = mdb_cursor_get(cursor->mdb, &at, &value, MDB_SET_RANGE);

    if (rv != 0 && rv != MDB_NOTFOUND) {
        return store_status(cursor->txn->store, rv);
    }
    return move(cursor, rv == 0 ? MDB_PREV : MDB_LAST, found, payload);
}

enum status cursor_next(struct cursor *cursor, struct slice *found, struct slice *payload)
{
    return move(cursor, MDB_NEXT, found, payload);
}

enum status cursor_prev(struct cursor *cursor, struct slice *found, struct slice *payload)
{
    return move(cursor, MDB_PREV, found, payload);
}
