/* What lies where:
 *
 * - Tree "state": the replicated records. Tree "local": this node's own, among them "state", the
 *   saved struct state, which is there from the moment that the trees were made.
 * - Beside LMDB's two files lies "store.lock". LMDB itself would let a second process in.
 *
 * A write transaction may have one child, between txn_mark() and txn_keep() or txn_undo(); the
 * struct state is copied aside meanwhile. */
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <lmdb.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/record.h"

#define MAX_READERS_DEFAULT 126
#define MAP_SIZE_SMALLEST   (16ull << 20)
#define MAP_SIZE_LARGEST    (1ull << 44) /* Leaves most of the address space to others. */
#define FILE_MODE           0600
#define STATE_VERSION       1
#define LOCAL_STATE         "state"

struct txn {
    struct store *store;
    MDB_txn *mdb;   /* NULL while there is none of LMDB's. */
    MDB_txn *child; /* Between mark and keep or undo. */
    struct state state;
    struct state marked; /* As it was at txn_mark(). */
    bool is_write;
    bool is_active;
};

struct cursor {
    struct txn *txn;
    MDB_cursor *mdb;
};

struct store {
    struct store_options options;
    char *directory;
    int lock;
    MDB_env *env;
    MDB_dbi records;
    MDB_dbi local;
    struct txn writer;
    atomic_bool damaged;
};

/* --- Statuses --- */

static bool is_damage(int rv)
{
    return rv == MDB_CORRUPTED || rv == MDB_PAGE_NOTFOUND || rv == MDB_PANIC ||
           rv == MDB_CURSOR_FULL || rv == MDB_INCOMPATIBLE;
}

static enum status status_from_lmdb(int rv)
{
    switch (rv) {
    case MDB_SUCCESS:
        return STATUS_OK;
    case MDB_NOTFOUND:
        return STATUS_NOT_FOUND;
    case MDB_MAP_FULL:
        return STATUS_DISK_FULL;
    case MDB_READERS_FULL:
        return STATUS_BUSY;
    case MDB_VERSION_MISMATCH:
        return STATUS_UNSUPPORTED;
    case MDB_INVALID:
        return STATUS_CORRUPT;
    case MDB_BAD_TXN: /* An earlier call in the same transaction failed. */
    case MDB_TXN_FULL:
        return STATUS_IO;
    default:
        break;
    }
    if (is_damage(rv)) {
        return STATUS_CORRUPT;
    }
    return rv > 0 ? status_from_errno(rv) : STATUS_IO;
}

static void note_damage(struct store *store, const char *what)
{
    char text[PATH_MAX + 64];

    if (!atomic_exchange(&store->damaged, true) && store->options.on_damage != NULL) {
        (void)snprintf(text, sizeof text, "%s in %s", what, store->directory);
        store->options.on_damage(store->options.data, text);
    }
}

/* The status of an access to the trees; damage is told before it returns. */
static enum status told(struct store *store, int rv)
{
    if (is_damage(rv)) {
        note_damage(store, mdb_strerror(rv));
    }
    return status_from_lmdb(rv);
}

static enum status fail_lmdb(struct store *store, int rv, const char *what, struct error *error)
{
    return error_set(error, told(store, rv), "could not %s \"%s\": %s", what, store->directory,
                     mdb_strerror(rv));
}

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
        note_damage(txn->store, "the record of the state is missing or damaged");
        status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "could not read the state in \"%s\": %s",
                         txn->store->directory, status_text(status));
    }
    return STATUS_OK;
}

/* --- Opening --- */

/* flock() works between processes and between two opens of one process, which fcntl() locks do
 * not. */
static enum status take_lock(struct store *store, struct error *error)
{
    char path[PATH_MAX];
    enum status status;
    int size = snprintf(path, sizeof path, "%s/store.lock", store->directory);

    if (size < 0 || (size_t)size >= sizeof path) {
        return error_set(error, STATUS_TOO_LARGE, "could not open store \"%s\": path too long",
                         store->directory);
    }
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (store->lock < 0) {
        return error_set(error, status_from_errno(errno), "could not open \"%s\": %s", path,
                         strerror(errno));
    }
    if (flock(store->lock, LOCK_EX | LOCK_NB) == 0) {
        return STATUS_OK;
    }
    status = errno == EWOULDBLOCK ? STATUS_BUSY : status_from_errno(errno);
    status =
        error_set(error, status, "could not lock \"%s\": %s", path,
                  status == STATUS_BUSY ? "another process has the store open" : strerror(errno));
    (void)close(store->lock); /* Nothing was written through it. */
    return status;
}

static enum status choose_map_size(const struct store *store, uint64_t *size, struct error *error)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct statvfs file_system;

    *size = store->options.map_size_bytes;
    if (*size == 0) {
        if (statvfs(store->directory, &file_system) != 0) {
            return error_set(error, status_from_errno(errno), "could not look at \"%s\": %s",
                             store->directory, strerror(errno));
        }
        *size = (uint64_t)file_system.f_blocks * file_system.f_frsize;
        *size = *size < MAP_SIZE_SMALLEST ? MAP_SIZE_SMALLEST : *size;
        *size = *size > MAP_SIZE_LARGEST ? MAP_SIZE_LARGEST : *size;
    }
    *size = (*size + page - 1) / page * page;
    return STATUS_OK;
}

static enum status open_env(struct store *store, struct error *error)
{
    unsigned readers = store->options.max_readers;
    uint64_t map_size;
    enum status status;
    int dead;
    int rv;

    status = choose_map_size(store, &map_size, error);
    if (status != STATUS_OK) {
        return status;
    }
    rv = mdb_env_create(&store->env);
    if (rv != 0) {
        return fail_lmdb(store, rv, "make an environment for", error);
    }
    CHECK((unsigned)mdb_env_get_maxkeysize(store->env) >= LIMIT_STATE_KEY_BYTES);
    rv = mdb_env_set_mapsize(store->env, map_size);
    rv = rv != 0 ? rv : mdb_env_set_maxdbs(store->env, 2);
    rv = rv != 0 ? rv
                 : mdb_env_set_maxreaders(store->env, readers != 0 ? readers : MAX_READERS_DEFAULT);
    rv = rv != 0
             ? rv
             : mdb_env_open(store->env, store->directory, MDB_NOTLS | MDB_NOMETASYNC, FILE_MODE);
    /* What a killed process left in the table of readers would keep old pages from being used. */
    rv = rv != 0 ? rv : mdb_reader_check(store->env, &dead);
    if (rv != 0) {
        status = fail_lmdb(store, rv, "open store", error);
        mdb_env_close(store->env);
    }
    return status;
}

/* Find the two trees of an environment that has them. */
static int find_trees(struct store *store)
{
    MDB_txn *mdb;
    int rv = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &mdb);

    if (rv != 0) {
        return rv;
    }
    rv = mdb_dbi_open(mdb, "state", 0, &store->records);
    rv = rv != 0 ? rv : mdb_dbi_open(mdb, "local", 0, &store->local);
    if (rv != 0) {
        mdb_txn_abort(mdb);
        return rv;
    }
    return mdb_txn_commit(mdb); /* Keeps the handles. */
}

/* LMDB syncs its file, but not the name of the file. */
static enum status sync_directory(struct store *store, struct error *error)
{
    enum status status = STATUS_OK;
    int directory = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0 || fsync(directory) != 0) {
        status = error_set(error, status_from_errno(errno), "could not sync \"%s\": %s",
                           store->directory, strerror(errno));
    }
    if (directory >= 0) {
        (void)close(directory); /* Nothing was written through it. */
    }
    return status;
}

/* Make them, together with the first saved state: all or nothing. */
static enum status make_trees(struct store *store, struct error *error)
{
    struct txn *txn = &store->writer;
    enum status status;
    int rv = mdb_txn_begin(store->env, NULL, 0, &txn->mdb);

    if (rv != 0) {
        return fail_lmdb(store, rv, "write to store", error);
    }
    txn->is_write = true;
    txn->is_active = true;
    txn->state = (struct state){.next_object_id = 1};
    rv = mdb_dbi_open(txn->mdb, "state", MDB_CREATE, &store->records);
    rv = rv != 0 ? rv : mdb_dbi_open(txn->mdb, "local", MDB_CREATE, &store->local);
    if (rv != 0) {
        txn_abort(txn);
        return fail_lmdb(store, rv, "make the trees of store", error);
    }
    status = txn_commit(txn, error);
    return status == STATUS_OK ? sync_directory(store, error) : status;
}

static enum status open_trees(struct store *store, struct error *error)
{
    struct txn *txn = NULL;
    enum status status;
    int rv = find_trees(store);

    if (rv == MDB_NOTFOUND) {
        return make_trees(store, error);
    }
    if (rv != 0) {
        return fail_lmdb(store, rv, "open the trees of store", error);
    }
    status = txn_begin_read(store, &txn, error);
    if (status == STATUS_OK) {
        txn_end_read(txn);
    }
    txn_reader_close(txn);
    return status;
}

enum status store_open(const struct store_options *options, struct store **store,
                       struct error *error)
{
    struct store *s = memory_new_zeroed(1, sizeof *s);
    enum status status;

    s->options = *options;
    s->directory = memory_copy_string(options->directory);
    s->options.directory = s->directory;
    s->writer.store = s;
    status = take_lock(s, error);
    if (status != STATUS_OK) {
        goto err_after_alloc;
    }
    status = open_env(s, error);
    if (status != STATUS_OK) {
        goto err_after_lock;
    }
    status = open_trees(s, error);
    if (status != STATUS_OK) {
        goto err_after_env;
    }
    *store = s;
    return STATUS_OK;

err_after_env:
    mdb_env_close(s->env);
err_after_lock:
    (void)close(s->lock); /* Gives up the lock; nothing was written through it. */
err_after_alloc:
    free(s->directory);
    free(s);
    return status;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    CHECK(!store->writer.is_active);
    mdb_env_close(store->env);
    (void)close(store->lock); /* As above. */
    free(store->directory);
    free(store);
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
        status = fail_lmdb(store, rv, "read from store", error);
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
        return fail_lmdb(store, rv, "write to store", error);
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
    return rv == 0 ? STATUS_OK : fail_lmdb(store, rv, "commit to store", error);
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
        return fail_lmdb(txn->store, rv, "begin a nested transaction in", error);
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
    return rv == 0 ? STATUS_OK : fail_lmdb(txn->store, rv, "keep a nested transaction in", error);
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

enum status store_sync(struct store *store, struct error *error)
{
    int rv = mdb_env_sync(store->env, 1);

    return rv == 0 ? STATUS_OK : fail_lmdb(store, rv, "sync store", error);
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
        note_damage(store, what);
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
        return told(txn->store, rv);
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
        return told(txn->store, rv);
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
        return told(txn->store, rv);
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
        return told(txn->store, rv);
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
        return told(cursor->txn->store, rv);
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
        return told(cursor->txn->store, rv);
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

/* --- Statistics --- */

static uint64_t pages_of(const MDB_stat *stat)
{
    return stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages;
}

enum status store_statistics(struct store *store, struct store_statistics *statistics,
                             struct error *error)
{
    struct statvfs file_system;
    MDB_envinfo info;
    MDB_stat local;
    MDB_stat records;
    MDB_txn *mdb;
    int rv;

    if (statvfs(store->directory, &file_system) != 0) {
        return error_set(error, status_from_errno(errno), "could not look at \"%s\": %s",
                         store->directory, strerror(errno));
    }
    rv = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &mdb);
    if (rv != 0) {
        return fail_lmdb(store, rv, "read from store", error);
    }
    rv = mdb_stat(mdb, store->records, &records);
    rv = rv != 0 ? rv : mdb_stat(mdb, store->local, &local);
    rv = rv != 0 ? rv : mdb_env_info(store->env, &info);
    mdb_txn_abort(mdb);
    if (rv != 0) {
        return fail_lmdb(store, rv, "count the pages of store", error);
    }
    statistics->map_size_bytes = info.me_mapsize;
    statistics->used_bytes = (pages_of(&records) + pages_of(&local)) * records.ms_psize;
    statistics->free_disk_bytes = (uint64_t)file_system.f_bavail * file_system.f_frsize;
    statistics->records = records.ms_entries;
    statistics->readers = info.me_numreaders;
    return STATUS_OK;
}
