/* What store.c and txn.c share, and no one else may see. */
#ifndef HOLDFAST_STORAGE_STORE_PRIVATE_H
#define HOLDFAST_STORAGE_STORE_PRIVATE_H

#include <stdatomic.h>

#include <lmdb.h>

#include "storage/store.h"

struct txn {
    struct store *store;
    MDB_txn *mdb;   /* NULL while there is none of LMDB's. */
    MDB_txn *child; /* Between mark and keep or undo. */
    struct state state;
    struct state marked; /* As it was at txn_mark(). */
    bool is_write;
    bool is_active;
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

/* Tell on_damage(), if nothing was told before. */
void store_note_damage(struct store *store, const char *what);

/* The status of LMDB's @rv; damage is told before it returns. */
enum status store_status(struct store *store, int rv);

/* The same, with the sentence "could not @what "directory": ...". */
enum status store_fail(struct store *store, int rv, const char *what, struct error *error);

#endif
