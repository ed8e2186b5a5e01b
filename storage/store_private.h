/* What store.c, txn.c, cursor.c, front.c, flush.c, scrub.c and bulk.c share, and no one else may
 * see. */
#ifndef HOLDFAST_STORAGE_STORE_PRIVATE_H
#define HOLDFAST_STORAGE_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <lmdb.h>

#include "daemon/base/limits.h"
#include "storage/memtable.h"
#include "storage/scrub.h"
#include "storage/store.h"

/* What one commit looks like. The memtables are looked into before LMDB, the younger one first. */
struct layers {
    struct memtable *active;
    struct memtable *frozen; /* NULL: nothing is being flushed. */
    uint64_t sequence;       /* Of the commit. */
    struct state state;
    size_t flushed_txnid; /* LMDB's transaction that holds all that is in neither memtable. */
};

/* What the writer looked up last: who writes a record has mostly read it just before. */
struct found {
    uint8_t key[LIMIT_STATE_KEY_BYTES];
    size_t key_size; /* 0: nothing. */
    size_t n_steps;  /* Nothing was written since there were so many. */
    enum status status;
    struct slice payload;
};

/* Where queues begin (front.c). */
#define FRONTS 8u
struct front {
    uint8_t prefix[LIMIT_STATE_KEY_BYTES];
    size_t prefix_size;
    uint8_t low[LIMIT_STATE_KEY_BYTES]; /* No record with the prefix lies below. */
    size_t low_size;                    /* 0: there is none at all. */
};
struct fronts {
    unsigned n;
    unsigned next;
    struct front list[FRONTS];
};

struct txn {
    struct store *store;
    MDB_txn *mdb; /* Read-only, reset between uses; NULL before the first. */
    struct layers layers;
    bool is_write;
    bool is_active;

    /* The writer's. */
    struct state marked; /* As it was at txn_mark(). */
    bool is_marked;
    struct memtable_step *steps; /* What was written, to take it back. */
    size_t n_steps;
    size_t steps_capacity;
    size_t n_marked; /* Steps before txn_mark(). */
    struct found last;
    struct fronts fronts; /* Kept from one transaction to the next. */
};

/* How far a scrub is (scrub.c). The flushing thread's. */
struct scrub {
    MDB_txn *mdb; /* Read-only, reset between steps. */
    bool is_running;
    uint8_t position[LIMIT_STATE_KEY_BYTES]; /* The key that was read last. */
    size_t position_size;
    uint64_t sum[2]; /* Over the file's records up to there. */
    struct scrub_progress progress;
};

struct store {
    struct store_options options;
    char *directory;
    int lock;
    MDB_env *env;
    MDB_dbi records;
    MDB_dbi local;
    struct txn writer;
    struct scrub scrub;
    atomic_bool damaged;

    pthread_mutex_t mutex; /* Guards what follows; held for a few instructions. */
    struct layers layers;  /* Of the last commit. */
    struct state frozen_state;
    bool has_unflushed;  /* Something was committed since the last freeze. */
    size_t active_bytes; /* Of the memtables, as of the last commit. */
    size_t frozen_bytes;
};

/* In a memtable, the keys of "local" have this byte in front; those of "state" never begin so. */
#define LOCAL_MARK  0u
#define LOCAL_STATE "state" /* The key of the saved struct state. */

/* The environment and its lock, without trees: for who makes them otherwise (bulk.c). */
enum status store_open_bare(const struct store_options *options, struct store **store,
                            struct error *error);
void store_close_bare(struct store *store);

/* Make the names of the environment's files durable. */
enum status store_sync_directory(struct store *store, struct error *error);

/* Tell on_damage(), if nothing was told before. */
void store_note_damage(struct store *store, const char *what);

/* The status of LMDB's @rv; damage is told before it returns. */
enum status store_status(struct store *store, int rv);

/* The same, with the sentence "could not @what "directory": ...". */
enum status store_fail(struct store *store, int rv, const char *what, struct error *error);

/* Check what was found under @key. */
enum status store_open_record(struct store *store, struct slice key, struct slice bytes,
                              struct slice *payload);

/* Write @state as the saved one, in LMDB's write transaction @mdb. Gives LMDB's result. */
int store_save_state(struct store *store, MDB_txn *mdb, const struct state *state);
/* Read it, in the read transaction @mdb. */
enum status store_load_state(struct store *store, MDB_txn *mdb, struct state *state,
                             struct error *error);

/* A record was put under @key. */
void front_note_put(struct fronts *fronts, struct slice key);
/* Records that were taken may be there again. */
void front_forget(struct fronts *fronts);

/* Take a place among LMDB's readers, so that a scrub always has one; and leave it. */
MUST_USE enum status scrub_open(struct store *store, struct error *error);
void scrub_close(struct store *store);

/* A flush is about to put @bytes (without data: nothing) under @key, to which it moves @cursor.
 * Gives LMDB's result; MDB_CORRUPTED after damage was told. */
int scrub_replaced(struct store *store, MDB_cursor *cursor, struct slice key, struct slice bytes);

static inline MDB_val val_of(struct slice bytes)
{
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static inline struct slice slice_of_val(MDB_val val)
{
    return slice_of(val.mv_data, val.mv_size);
}

#endif
