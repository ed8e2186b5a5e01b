/* The newest records, in memory: what is committed and not yet flushed to LMDB.
 *
 * An ordered table with versions: each version of a record carries the sequence number of the
 * commit that made it, and who looks with a sequence number sees what was committed up to there,
 * whatever is written meanwhile. One thread writes; any thread reads at the same time, without a
 * lock. Nothing is ever removed: a deletion is a version too, and the table is released as a whole.
 *
 * A skip list (W. Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees", 1990) whose
 * nodes are linked once and never move, in memory that is taken in large blocks; and, for the
 * writer alone, who asks for single records all the time, a hash table of the nodes. */
#ifndef HOLDFAST_STORAGE_MEMTABLE_H
#define HOLDFAST_STORAGE_MEMTABLE_H

#include "daemon/base/slice.h"

struct memtable;
struct memtable_node;

/* Empty, with one reference. */
struct memtable *memtable_new(void);

/* Any thread. The memory goes with the last reference, and with it all that was borrowed. */
struct memtable *memtable_ref(struct memtable *table);
void memtable_unref(struct memtable *table);

/* What one write replaced, to take it back. */
struct memtable_step {
    struct memtable *table;
    struct memtable_node *node;
    void *before;
};

/* The writer only. A version of @size bytes under @key (copied) from commit @sequence on; gives the
 * place for the caller to fill in before it publishes @sequence. A key is at least one byte and at
 * most UINT16_MAX. */
uint8_t *memtable_put(struct memtable *table, struct slice key, uint64_t sequence, size_t size,
                      struct memtable_step *step);
/* The record is absent from commit @sequence on. */
void memtable_delete(struct memtable *table, struct slice key, uint64_t sequence,
                     struct memtable_step *step);
/* Take back the last write that was not taken back; its sequence was not published. */
void memtable_revert(const struct memtable_step *step);

/* The memory in use, and the number of keys: of the writer, or when nobody writes any more. */
size_t memtable_bytes(const struct memtable *table);
size_t memtable_keys(const struct memtable *table);

enum memtable_found {
    MEMTABLE_NOTHING, /* The table does not know the record: look below. */
    MEMTABLE_RECORD,
    MEMTABLE_DELETED,
};

/* Any thread: the record as of commit @sequence; borrows until the table is released. */
enum memtable_found memtable_get(struct memtable *table, struct slice key, uint64_t sequence,
                                 struct slice *bytes);

/* The same, for the writer only, also after it wrote its last to this table: by the hash table. */
enum memtable_found memtable_find(const struct memtable *table, struct slice key, uint64_t sequence,
                                  struct slice *bytes);

/* Any thread, walking: nodes in byte order of their keys. A node may hold nothing as of some
 * sequence. NULL: there is none. */
struct memtable_node *memtable_seek(struct memtable *table, struct slice key); /* At or after. */
struct memtable_node *memtable_seek_before(struct memtable *table, struct slice key);
struct memtable_node *memtable_next(struct memtable_node *node);
struct slice memtable_key(const struct memtable_node *node);
enum memtable_found memtable_look(const struct memtable_node *node, uint64_t sequence,
                                  struct slice *bytes);

#endif
