/* The replicated state of this node: LMDB, and in front of it what was committed last, in memory.
 *
 * Two trees: "state" holds the replicated records, equal on every replica at an equal index, each
 * with a format version and a checksum over key and value that every read verifies; "local" holds
 * what belongs to this node alone (applied index, stored index, records of the last entries, the
 * state hash). The state hash is the 128-bit sum of the XXH3-128 hashes of all records of "state",
 * kept up to date in the same transaction, so that it does not depend on when things were
 * committed.
 *
 * A commit is visible at once, and costs no I/O: it goes into a memtable (memtable.h). Now and then
 * what was committed is frozen and flushed to LMDB as one durable LMDB transaction, with the
 * applied index of its last commit, while commits and reads go on. So the file always holds the
 * state of one applied index, and after a crash the log brings what came later. It is what makes a
 * commit independent of the disk, and lets many changes of one page be written once.
 *
 * One thread (apply) writes; one thread flushes; any thread reads, with a transaction of its own
 * that sees one commit. Readers never block writers, nor are they blocked. A read transaction ends
 * before its thread returns to its loop. */
#ifndef HOLDFAST_STORAGE_STORE_H
#define HOLDFAST_STORAGE_STORE_H

#include "daemon/base/error.h"
#include "daemon/base/slice.h"

struct store;

struct store_options {
    const char *directory;   /* Exists; the environment's files are made inside. */
    uint64_t map_size_bytes; /* 0: as large as the file system holding the directory. */
    unsigned max_readers;    /* Threads that read at the same time; 0: 126. */
    /* A record that fails its checksum, or an environment that LMDB calls damaged, was met by any
     * thread: the process must stop serving. Called once, with what and where; may be NULL. */
    void (*on_damage)(void *data, const char *what);
    void *data;
};

/* Open, or make, the environment. Takes the same time whatever it holds. STATUS_BUSY: another
 * process holds it. STATUS_CORRUPT, STATUS_UNSUPPORTED, STATUS_IO, STATUS_DISK_FULL. */
MUST_USE enum status store_open(const struct store_options *options, struct store **store,
                                struct error *error);

/* No transaction may be open. What is not flushed is gone, as after a crash. Accepts NULL. */
void store_close(struct store *store);

/* The facts of the state as a whole. */
struct state {
    /* Replicated: part of the state hash. */
    uint64_t revision;       /* Of the last committed change. */
    uint64_t next_object_id; /* Namespaces and sessions; from 1. */
    uint64_t time_ms;        /* The cluster's time at the last entry. */
    /* This node's. */
    uint64_t applied_index; /* Entries up to here are executed, or are not the state's business. */
    uint64_t applied_term;
    uint64_t hash[2]; /* Sum over all records; see txn_state_hash() for the one to compare. */
};

/* A transaction: of a reader, or the one of the writer. Not shared between threads. */
struct txn;

/* A read transaction on what is committed. The struct is kept per thread and renewed cheaply:
 * @txn is NULL at first, and is reused by later calls of the same thread until txn_reader_close().
 */
MUST_USE enum status txn_begin_read(struct store *store, struct txn **txn, struct error *error);
void txn_end_read(struct txn *txn);
void txn_reader_close(struct txn *txn);

/* The write transaction. Only the apply thread. */
MUST_USE enum status txn_begin_write(struct store *store, struct txn **txn, struct error *error);
/* Make it visible; store_flush() makes it durable. */
void txn_commit(struct txn *txn);
void txn_abort(struct txn *txn);

/* Nested: what happens until txn_keep() or txn_undo() is kept or undone as one, including the
 * struct state. One level. */
void txn_mark(struct txn *txn);
void txn_keep(struct txn *txn);
void txn_undo(struct txn *txn);

/* The facts; with a write transaction the caller may change them, and they are saved on commit. */
struct state *txn_state(struct txn *txn);

/* What two replicas compare at the same applied_index: the records and the replicated facts. */
void txn_state_hash(struct txn *txn, uint64_t hash[2]);
/* The same of facts that were read elsewhere. Pure. */
void store_state_hash(const struct state *state, uint64_t hash[2]);

/* What is committed and not flushed. The apply thread, without a write transaction. */
struct store_unflushed {
    size_t bytes;     /* Of memory, without what is being flushed. */
    size_t records;   /* Different ones. */
    bool is_empty;    /* Nothing was committed since the last store_freeze(). */
    bool is_flushing; /* Something is frozen, and store_flush() has not ended. */
};
void store_unflushed(struct store *store, struct store_unflushed *unflushed);

/* Set aside what was committed, for store_flush(). The apply thread, without a write transaction,
 * when something is unflushed and nothing is being flushed. */
void store_freeze(struct store *store);

/* Write what is frozen to LMDB, durably. The flushing thread, when something is frozen. A failure
 * must stop the process; what was frozen stays readable. STATUS_DISK_FULL, STATUS_IO,
 * STATUS_CORRUPT. */
MUST_USE enum status store_flush(struct store *store, struct error *error);

/* Records. The payload borrows until the end of the transaction. STATUS_NOT_FOUND; STATUS_CORRUPT
 * after on_damage() was called. A key is not empty and does not begin with a zero byte. */
MUST_USE enum status txn_get(struct txn *txn, struct slice key, struct slice *payload);
MUST_USE enum status txn_put(struct txn *txn, struct slice key, struct slice payload);
/* STATUS_NOT_FOUND if there is none. */
MUST_USE enum status txn_delete(struct txn *txn, struct slice key);

/* The first record at or after @from whose key begins with @prefix; STATUS_END: there is none. */
MUST_USE enum status txn_seek(struct txn *txn, struct slice from, struct slice prefix,
                              struct slice *key, struct slice *payload);
/* The first record whose key begins with @prefix; STATUS_END: there is none. For queues, from
 * whose front records are taken: a writer does not look again at what it has taken. */
MUST_USE enum status txn_first(struct txn *txn, struct slice prefix, struct slice *key,
                               struct slice *payload);

/* Walking in byte order. A cursor lives inside its transaction and is closed before it ends; one
 * may write through the transaction while a cursor of it is open, and it sees that. Moving on from
 * where nothing was found goes nowhere (STATUS_END). */
struct cursor;
MUST_USE enum status cursor_open(struct txn *txn, struct cursor **cursor);
void cursor_close(struct cursor *cursor);
/* The first record at or after @key. STATUS_END behind the last. */
MUST_USE enum status cursor_seek(struct cursor *cursor, struct slice key, struct slice *found,
                                 struct slice *payload);
/* The last record before @key. STATUS_END before the first. */
MUST_USE enum status cursor_seek_before(struct cursor *cursor, struct slice key,
                                        struct slice *found, struct slice *payload);
MUST_USE enum status cursor_next(struct cursor *cursor, struct slice *found, struct slice *payload);
MUST_USE enum status cursor_prev(struct cursor *cursor, struct slice *found, struct slice *payload);

/* Node-local records: checksummed as well, outside the state hash. */
MUST_USE enum status txn_get_local(struct txn *txn, struct slice key, struct slice *payload);
void txn_put_local(struct txn *txn, struct slice key, struct slice payload);

struct store_statistics {
    uint64_t map_size_bytes;
    uint64_t used_bytes;      /* Of the file. */
    uint64_t unflushed_bytes; /* Of memory: what is not in the file yet. */
    uint64_t free_disk_bytes; /* Of the file system. */
    uint64_t records;         /* In the file. */
    unsigned readers;
};

MUST_USE enum status store_statistics(struct store *store, struct store_statistics *statistics,
                                      struct error *error);

#endif
