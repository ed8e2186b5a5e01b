/* The environment: opening, damage, statistics. Transactions are in txn.c, flushing in flush.c,
 * scrubbing in scrub.c.
 *
 * Tree "state" holds the replicated records. Tree "local" holds this node's own, among them the
 * saved struct state, which is there from the moment that the trees were made. Beside LMDB's two
 * files lies "store.lock", as LMDB itself would let a second process in. */
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "storage/store_private.h"

#define MAX_READERS_DEFAULT 126
#define MAP_SIZE_SMALLEST   (16ull << 20)
#define MAP_SIZE_LARGEST    (1ull << 44) /* Leaves most of the address space to others. */
#define FILE_MODE           0600

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

void store_note_damage(struct store *store, const char *what)
{
    char text[PATH_MAX + 64];

    if (!atomic_exchange(&store->damaged, true) && store->options.on_damage != NULL) {
        (void)snprintf(text, sizeof text, "%s in %s", what, store->directory);
        store->options.on_damage(store->options.data, text);
    }
}

enum status store_status(struct store *store, int rv)
{
    if (is_damage(rv)) {
        store_note_damage(store, mdb_strerror(rv));
    }
    return status_from_lmdb(rv);
}

enum status store_fail(struct store *store, int rv, const char *what, struct error *error)
{
    return error_set(error, store_status(store, rv), "could not %s \"%s\": %s", what,
                     store->directory, mdb_strerror(rv));
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
    unsigned readers =
        store->options.max_readers != 0 ? store->options.max_readers : MAX_READERS_DEFAULT;
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
        return store_fail(store, rv, "make an environment for", error);
    }
    CHECK((unsigned)mdb_env_get_maxkeysize(store->env) >= LIMIT_STATE_KEY_BYTES);
    rv = mdb_env_set_mapsize(store->env, map_size);
    rv = rv != 0 ? rv : mdb_env_set_maxdbs(store->env, 2);
    rv = rv != 0 ? rv : mdb_env_set_maxreaders(store->env, readers + 2); /* Writer and scrub. */
    rv = rv != 0 ? rv : mdb_env_open(store->env, store->directory, MDB_NOTLS, FILE_MODE);
    /* What a killed process left in the table of readers would keep old pages from being used. */
    rv = rv != 0 ? rv : mdb_reader_check(store->env, &dead);
    if (rv != 0) {
        status = store_fail(store, rv, "open store", error);
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
enum status store_sync_directory(struct store *store, struct error *error)
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
    const struct state first = {.next_object_id = 1};
    MDB_txn *mdb;
    int rv = mdb_txn_begin(store->env, NULL, 0, &mdb);

    if (rv != 0) {
        return store_fail(store, rv, "write to store", error);
    }
    rv = mdb_dbi_open(mdb, "state", MDB_CREATE, &store->records);
    rv = rv != 0 ? rv : mdb_dbi_open(mdb, "local", MDB_CREATE, &store->local);
    rv = rv != 0 ? rv : store_save_state(store, mdb, &first);
    if (rv != 0) {
        mdb_txn_abort(mdb);
        return store_fail(store, rv, "make the trees of store", error);
    }
    rv = mdb_txn_commit(mdb);
    return rv == 0 ? store_sync_directory(store, error)
                   : store_fail(store, rv, "make the trees of store", error);
}

/* The layers at the start: nothing in memory, all in LMDB's last transaction. The writer takes its
 * place among the readers of LMDB here, so that it always has one. */
static enum status load_layers(struct store *store, struct error *error)
{
    enum status status;
    MDB_txn *mdb;
    int rv = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &mdb);

    if (rv != 0) {
        return store_fail(store, rv, "read from store", error);
    }
    status = store_load_state(store, mdb, &store->layers.state, error);
    if (status != STATUS_OK) {
        mdb_txn_abort(mdb);
        return status;
    }
    store->layers.flushed_txnid = mdb_txn_id(mdb);
    store->layers.active = memtable_new();
    mdb_txn_reset(mdb);
    store->writer.mdb = mdb;
    return STATUS_OK;
}

static enum status open_trees(struct store *store, struct error *error)
{
    enum status status;
    int rv = find_trees(store);

    if (rv == MDB_NOTFOUND) {
        status = make_trees(store, error);
        if (status != STATUS_OK) {
            return status;
        }
    } else if (rv != 0) {
        return store_fail(store, rv, "open the trees of store", error);
    }
    status = scrub_open(store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = load_layers(store, error);
    if (status != STATUS_OK) {
        scrub_close(store);
    }
    return status;
}

enum status store_open_bare(const struct store_options *options, struct store **store,
                            struct error *error)
{
    struct store *s = memory_new_zeroed(1, sizeof *s);
    enum status status;

    s->options = *options;
    s->directory = memory_copy_string(options->directory);
    s->options.directory = s->directory;
    s->writer.store = s;
    CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
    status = take_lock(s, error);
    if (status != STATUS_OK) {
        goto err_after_alloc;
    }
    status = open_env(s, error);
    if (status != STATUS_OK) {
        goto err_after_lock;
    }
    *store = s;
    return STATUS_OK;

err_after_lock:
    (void)close(s->lock); /* Gives up the lock; nothing was written through it. */
err_after_alloc:
    CHECK(pthread_mutex_destroy(&s->mutex) == 0);
    free(s->directory);
    free(s);
    return status;
}

void store_close_bare(struct store *store)
{
    mdb_env_close(store->env);
    (void)close(store->lock); /* As above. */
    CHECK(pthread_mutex_destroy(&store->mutex) == 0);
    free(store->directory);
    free(store);
}

enum status store_open(const struct store_options *options, struct store **store,
                       struct error *error)
{
    struct store *opened;
    enum status status = store_open_bare(options, &opened, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = open_trees(opened, error);
    if (status != STATUS_OK) {
        store_close_bare(opened);
        return status;
    }
    *store = opened;
    return STATUS_OK;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    CHECK(!store->writer.is_active);
    mdb_txn_abort(store->writer.mdb);
    scrub_close(store);
    free(store->writer.steps);
    memtable_unref(store->layers.active);
    if (store->layers.frozen != NULL) {
        memtable_unref(store->layers.frozen);
    }
    store_close_bare(store);
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
        return store_fail(store, rv, "read from store", error);
    }
    rv = mdb_stat(mdb, store->records, &records);
    rv = rv != 0 ? rv : mdb_stat(mdb, store->local, &local);
    rv = rv != 0 ? rv : mdb_env_info(store->env, &info);
    mdb_txn_abort(mdb);
    if (rv != 0) {
        return store_fail(store, rv, "count the pages of store", error);
    }
    statistics->map_size_bytes = info.me_mapsize;
    statistics->used_bytes = (pages_of(&records) + pages_of(&local)) * records.ms_psize;
    statistics->free_disk_bytes = (uint64_t)file_system.f_bavail * file_system.f_frsize;
    statistics->records = records.ms_entries;
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    statistics->unflushed_bytes = store->active_bytes + store->frozen_bytes;
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    statistics->readers = info.me_numreaders;
    return STATUS_OK;
}
