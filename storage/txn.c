/* Transactions and records.
 *
 * A transaction takes the layers of the last commit: the memtables, which it keeps alive, and
 * LMDB's newest snapshot. The snapshot must hold what is in neither memtable, and nothing that came
 * after the commit:
 *
 * - A flush that ends in between puts records into LMDB that are in the frozen memtable too, where
 *   they are found first: the two agree.
 * - If the active memtable was frozen *and* flushed in between, LMDB has later records. It takes
 *   one LMDB transaction more than the layers can explain, which begin() sees, and begins again.
 *
 * The writer's versions carry the next sequence number and are seen by itself only, until
 * txn_commit() publishes it. What it wrote is remembered step by step, and taken back backwards by
 * txn_undo() and txn_abort(). Every record passes through record.h on its way in and out. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/record.h"
#include "storage/store_private.h"

#define STEPS_AT_FIRST 64u

/* --- Layers --- */

static void take_layers(struct txn *txn)
{
    struct store *store = txn->store;

    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    txn->layers = store->layers;
    (void)memtable_ref(txn->layers.active);
    if (txn->layers.frozen != NULL) {
        (void)memtable_ref(txn->layers.frozen);
    }
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
}

static void leave_layers(struct txn *txn)
{
    memtable_unref(txn->layers.active);
    if (txn->layers.frozen != NULL) {
        memtable_unref(txn->layers.frozen);
    }
}

/* Each flush is one LMDB transaction, and nothing else is. */
static bool is_later_than_layers(const struct txn *txn)
{
    size_t latest = txn->layers.flushed_txnid + (txn->layers.frozen != NULL ? 1 : 0);

    return mdb_txn_id(txn->mdb) > latest;
}

static enum status begin(struct txn *txn, struct error *error)
{
    struct store *store = txn->store;
    int rv;

    CHECK(!txn->is_active);
    for (;;) {
        take_layers(txn);
        rv = txn->mdb == NULL ? mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn->mdb)
                              : mdb_txn_renew(txn->mdb);
        if (rv != 0) {
            leave_layers(txn);
            return store_fail(store, rv, "read from store", error);
        }
        if (!is_later_than_layers(txn)) {
            txn->is_active = true;
            return STATUS_OK;
        }
        mdb_txn_reset(txn->mdb);
        leave_layers(txn);
    }
}

static void end(struct txn *txn)
{
    CHECK(txn->is_active);
    mdb_txn_reset(txn->mdb);
    leave_layers(txn);
    txn->is_active = false;
}

/* --- Readers --- */

enum status txn_begin_read(struct store *store, struct txn **txn, struct error *error)
{
    struct txn *t = *txn;
    enum status status;

    if (t == NULL) {
        t = memory_new_zeroed(1, sizeof *t);
        t->store = store;
    }
    CHECK(t->store == store);
    status = begin(t, error);
    if (status == STATUS_OK) {
        *txn = t;
    } else if (*txn == NULL) {
        free(t);
    }
    return status;
}

void txn_end_read(struct txn *txn)
{
    CHECK(!txn->is_write);
    end(txn);
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

/* --- The writer --- */

enum status txn_begin_write(struct store *store, struct txn **txn, struct error *error)
{
    struct txn *t = &store->writer;
    enum status status = begin(t, error);

    if (status != STATUS_OK) {
        return status;
    }
    t->is_write = true;
    t->layers.sequence++;
    t->n_steps = 0;
    t->last.key_size = 0;
    *txn = t;
    return STATUS_OK;
}

void txn_commit(struct txn *txn)
{
    struct store *store = txn->store;

    CHECK(txn->is_write && txn->is_active);
    CHECK(!txn->is_marked);
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    store->layers.sequence = txn->layers.sequence;
    store->layers.state = txn->layers.state;
    store->has_unflushed = true;
    store->active_bytes = memtable_bytes(txn->layers.active);
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    end(txn);
}

/* Take back the steps from @n on. */
static void take_back(struct txn *txn, size_t n)
{
    txn->last.key_size = 0;
    front_forget(&txn->fronts);
    while (txn->n_steps > n) {
        memtable_revert(&txn->steps[--txn->n_steps]);
    }
}

void txn_abort(struct txn *txn)
{
    CHECK(txn->is_write && txn->is_active);
    take_back(txn, 0);
    txn->is_marked = false;
    end(txn);
}

void txn_mark(struct txn *txn)
{
    CHECK(txn->is_write && txn->is_active);
    CHECK(!txn->is_marked);
    txn->is_marked = true;
    txn->n_marked = txn->n_steps;
    txn->marked = txn->layers.state;
}

void txn_keep(struct txn *txn)
{
    CHECK(txn->is_marked);
    txn->is_marked = false;
}

void txn_undo(struct txn *txn)
{
    CHECK(txn->is_marked);
    take_back(txn, txn->n_marked);
    txn->layers.state = txn->marked;
    txn->is_marked = false;
}

struct state *txn_state(struct txn *txn)
{
    return &txn->layers.state;
}

void store_state_hash(const struct state *state, uint64_t hash[2])
{
    const uint64_t facts[] = {htole64(state->revision), htole64(state->next_object_id),
                              htole64(state->time_ms)};

    hash[0] = state->hash[0];
    hash[1] = state->hash[1];
    /* No record has an empty key. */
    record_hash_add(hash, slice_of(NULL, 0), slice_of((const uint8_t *)facts, sizeof facts));
}

void txn_state_hash(struct txn *txn, uint64_t hash[2])
{
    store_state_hash(&txn->layers.state, hash);
}

/* --- Records --- */

enum status store_open_record(struct store *store, struct slice key, struct slice bytes,
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

static enum status get_from_lmdb(struct txn *txn, MDB_dbi tree, struct slice key,
                                 struct slice *bytes)
{
    MDB_val mdb_key = val_of(key);
    MDB_val value;
    int rv = mdb_get(txn->mdb, tree, &mdb_key, &value);

    if (rv != 0) {
        return store_status(txn->store, rv);
    }
    *bytes = slice_of_val(value);
    return STATUS_OK;
}

static enum memtable_found get_from_memory(const struct txn *txn, struct memtable *table,
                                           struct slice key, struct slice *bytes)
{
    return txn->is_write ? memtable_find(table, key, txn->layers.sequence, bytes)
                         : memtable_get(table, key, txn->layers.sequence, bytes);
}

/* @key as the memtables know it, and as LMDB does. */
static enum status get(struct txn *txn, struct slice marked_key, MDB_dbi tree, struct slice key,
                       struct slice *payload)
{
    const struct layers *layers = &txn->layers;
    enum memtable_found found;
    enum status status = STATUS_OK;
    struct slice bytes;

    CHECK(txn->is_active);
    found = MUTATION(memory_not_read) && !txn->is_write
                ? MEMTABLE_NOTHING
                : get_from_memory(txn, layers->active, marked_key, &bytes);
    if (found == MEMTABLE_NOTHING && layers->frozen != NULL) {
        found = get_from_memory(txn, layers->frozen, marked_key, &bytes);
    }
    if (found == MEMTABLE_DELETED) {
        return STATUS_NOT_FOUND;
    }
    if (found == MEMTABLE_NOTHING) {
        status = get_from_lmdb(txn, tree, key, &bytes);
    }
    return status == STATUS_OK ? store_open_record(txn->store, key, bytes, payload) : status;
}

static struct memtable_step *next_step(struct txn *txn)
{
    if (txn->n_steps == txn->steps_capacity) {
        txn->steps_capacity = txn->steps_capacity > 0 ? 2 * txn->steps_capacity : STEPS_AT_FIRST;
        txn->steps = memory_resize(txn->steps, txn->steps_capacity * sizeof *txn->steps);
    }
    return &txn->steps[txn->n_steps++];
}

static void put(struct txn *txn, struct slice marked_key, struct slice key, struct slice payload)
{
    uint8_t *place;

    CHECK(txn->is_write && txn->is_active);
    CHECK(key.size > 0 && key.size <= LIMIT_STATE_KEY_BYTES);
    place = memtable_put(txn->layers.active, marked_key, txn->layers.sequence,
                         RECORD_HEADER_BYTES + payload.size, next_step(txn));
    record_seal(key, payload, place);
}

static void remember(struct txn *txn, struct slice key, enum status status, struct slice payload)
{
    struct found *last = &txn->last;

    last->key_size = 0;
    if (key.size <= sizeof last->key && (status == STATUS_OK || status == STATUS_NOT_FOUND)) {
        memcpy(last->key, key.data, key.size);
        last->key_size = key.size;
        last->n_steps = txn->n_steps;
        last->status = status;
        last->payload = payload;
    }
}

static bool is_remembered(const struct txn *txn, struct slice key)
{
    const struct found *last = &txn->last;

    return last->key_size > 0 && last->n_steps == txn->n_steps &&
           slice_equals(slice_of(last->key, last->key_size), key);
}

enum status txn_get(struct txn *txn, struct slice key, struct slice *payload)
{
    struct slice found = slice_of(NULL, 0);
    enum status status;

    if (!txn->is_write) {
        return get(txn, key, txn->store->records, key, payload);
    }
    if (!is_remembered(txn, key)) {
        status = get(txn, key, txn->store->records, key, &found);
        remember(txn, key, status, found);
    } else {
        CHECK(txn->is_active);
        status = txn->last.status;
        found = txn->last.payload;
    }
    if (status == STATUS_OK) {
        *payload = found;
    }
    return status;
}

enum status txn_put(struct txn *txn, struct slice key, struct slice payload)
{
    struct state *state = &txn->layers.state;
    struct slice old;
    enum status status = txn_get(txn, key, &old);

    CHECK(key.size > 0 && key.data[0] != LOCAL_MARK);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    if (status == STATUS_OK) {
        record_hash_subtract(state->hash, key, old);
    }
    record_hash_add(state->hash, key, payload);
    put(txn, key, key, payload);
    front_note_put(&txn->fronts, key);
    return STATUS_OK;
}

enum status txn_delete(struct txn *txn, struct slice key)
{
    struct slice old;
    enum status status = txn_get(txn, key, &old);

    CHECK(txn->is_write);
    if (status != STATUS_OK) {
        return status;
    }
    record_hash_subtract(txn->layers.state.hash, key, old);
    memtable_delete(txn->layers.active, key, txn->layers.sequence, next_step(txn));
    return STATUS_OK;
}

static struct slice mark_local(struct slice key, uint8_t place[1 + LIMIT_STATE_KEY_BYTES])
{
    CHECK(key.size <= LIMIT_STATE_KEY_BYTES);
    place[0] = LOCAL_MARK;
    memcpy(place + 1, key.data, key.size);
    return slice_of(place, 1 + key.size);
}

enum status txn_get_local(struct txn *txn, struct slice key, struct slice *payload)
{
    uint8_t place[1 + LIMIT_STATE_KEY_BYTES];

    return get(txn, mark_local(key, place), txn->store->local, key, payload);
}

void txn_put_local(struct txn *txn, struct slice key, struct slice payload)
{
    uint8_t place[1 + LIMIT_STATE_KEY_BYTES];

    CHECK(!slice_equals_string(key, LOCAL_STATE)); /* Saved by every flush itself. */
    put(txn, mark_local(key, place), key, payload);
}
