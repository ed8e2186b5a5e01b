/* Walking over all layers at once.
 *
 * Each layer (active memtable, frozen memtable, LMDB) stands at its nearest record in the direction
 * of the walk, and the cursor takes the nearest of those; of equal keys the younger layer's, and a
 * deletion hides what is below it. Layers that stood at the key that was taken move on at the next
 * step. After a change of direction all layers look for their place again, and the active memtable
 * of a writer does so at each step, as it may have changed. */
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/store_private.h"

enum layer_kind { LAYER_ACTIVE, LAYER_FROZEN, LAYER_LMDB, LAYERS };
enum direction { NOWHERE, FORWARD, BACKWARD };

struct layer {
    struct memtable *table;     /* NULL: LMDB's. */
    struct memtable_node *node; /* Where the layer stands, if it stands somewhere. */
    bool stands;
    enum memtable_found found;
    struct slice key;
    struct slice bytes;
};

struct cursor {
    struct txn *txn;
    MDB_cursor *mdb;
    struct layer layers[LAYERS];
    enum direction direction;
    struct slice current; /* The key that was found last; borrows from a layer. */
};

enum status cursor_open(struct txn *txn, struct cursor **cursor)
{
    struct cursor *c = memory_new_zeroed(1, sizeof *c);
    int rv = mdb_cursor_open(txn->mdb, txn->store->records, &c->mdb);

    CHECK(txn->is_active);
    if (rv != 0) {
        free(c);
        return store_status(txn->store, rv);
    }
    c->txn = txn;
    c->layers[LAYER_ACTIVE].table = txn->layers.active;
    c->layers[LAYER_FROZEN].table = txn->layers.frozen;
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

/* --- One memtable --- */

/* Stand at the first node from @node on, in the direction of the walk, that holds something of this
 * transaction's moment. Local records come before all others and are none of the walk's. */
static void settle(struct cursor *cursor, struct layer *layer, struct memtable_node *node)
{
    layer->found = MEMTABLE_NOTHING;
    while (node != NULL && memtable_key(node).data[0] != LOCAL_MARK) {
        layer->found = memtable_look(node, cursor->txn->layers.sequence, &layer->bytes);
        if (layer->found != MEMTABLE_NOTHING) {
            break;
        }
        node = cursor->direction == FORWARD
                   ? memtable_next(node)
                   : memtable_seek_before(layer->table, memtable_key(node));
    }
    layer->node = node;
    layer->stands = layer->found != MEMTABLE_NOTHING;
    if (layer->stands) {
        layer->key = memtable_key(node);
    }
}

/* The nearest node that is behind @key, or at it if @may_equal. */
static void place_table(struct cursor *cursor, struct layer *layer, struct slice key,
                        bool may_equal)
{
    struct memtable_node *node;

    if (cursor->direction == BACKWARD) {
        node = memtable_seek_before(layer->table, key);
    } else {
        node = memtable_seek(layer->table, key);
        if (node != NULL && !may_equal && slice_equals(memtable_key(node), key)) {
            node = memtable_next(node);
        }
    }
    settle(cursor, layer, node);
}

static void advance_table(struct cursor *cursor, struct layer *layer)
{
    settle(cursor, layer,
           cursor->direction == FORWARD ? memtable_next(layer->node)
                                        : memtable_seek_before(layer->table, layer->key));
}

/* --- LMDB --- */

static enum status stand_in_lmdb(struct cursor *cursor, int rv, MDB_val key, MDB_val value)
{
    struct layer *layer = &cursor->layers[LAYER_LMDB];

    layer->stands = rv == 0;
    if (rv != 0) {
        return rv == MDB_NOTFOUND ? STATUS_OK : store_status(cursor->txn->store, rv);
    }
    layer->found = MEMTABLE_RECORD;
    layer->key = slice_of_val(key);
    layer->bytes = slice_of_val(value);
    return STATUS_OK;
}

static enum status move_lmdb(struct cursor *cursor, MDB_cursor_op op)
{
    MDB_val key = {0};
    MDB_val value = {0};
    int rv = mdb_cursor_get(cursor->mdb, &key, &value, op);

    return stand_in_lmdb(cursor, rv, key, value);
}

static enum status place_lmdb(struct cursor *cursor, struct slice key, bool may_equal)
{
    MDB_val at = val_of(key);
    MDB_val value = {0};
    int rv = mdb_cursor_get(cursor->mdb, &at, &value, MDB_SET_RANGE);

    if (rv != 0 && rv != MDB_NOTFOUND) {
        return store_status(cursor->txn->store, rv);
    }
    if (cursor->direction == BACKWARD) {
        return move_lmdb(cursor, rv == 0 ? MDB_PREV : MDB_LAST);
    }
    if (rv == 0 && !may_equal && slice_equals(slice_of_val(at), key)) {
        return move_lmdb(cursor, MDB_NEXT);
    }
    return stand_in_lmdb(cursor, rv, at, value);
}

/* --- All layers --- */

static enum status place(struct cursor *cursor, struct slice key, bool may_equal)
{
    for (unsigned i = 0; i < LAYER_LMDB; i++) {
        if (cursor->layers[i].table != NULL) {
            place_table(cursor, &cursor->layers[i], key, may_equal);
        }
    }
    return place_lmdb(cursor, key, may_equal);
}

static enum status advance_one(struct cursor *cursor, struct layer *layer)
{
    if (layer->table != NULL) {
        advance_table(cursor, layer);
        return STATUS_OK;
    }
    return move_lmdb(cursor, cursor->direction == FORWARD ? MDB_NEXT : MDB_PREV);
}

/* Let every layer that stands at @key move on. */
static enum status advance(struct cursor *cursor, struct slice key)
{
    enum status status = STATUS_OK;

    for (unsigned i = 0; i < LAYERS && status == STATUS_OK; i++) {
        struct layer *layer = &cursor->layers[i];

        if (layer->stands && slice_equals(layer->key, key)) {
            status = advance_one(cursor, layer);
        }
    }
    return status;
}

/* The layer that stands nearest, the youngest of several; NULL at the end. */
static struct layer *nearest(struct cursor *cursor)
{
    struct layer *best = NULL;
    int order;

    for (unsigned i = 0; i < LAYERS; i++) {
        struct layer *layer = &cursor->layers[i];

        if (!layer->stands) {
            continue;
        }
        order = best == NULL ? -1 : slice_compare(layer->key, best->key);
        if (best == NULL || (cursor->direction == FORWARD ? order < 0 : order > 0)) {
            best = layer;
        }
    }
    return best;
}

static enum status take(struct cursor *cursor, struct slice *found, struct slice *payload)
{
    struct layer *layer;
    struct slice opened;
    enum status status;

    while ((layer = nearest(cursor)) != NULL && layer->found == MEMTABLE_DELETED) {
        status = advance(cursor, layer->key);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (layer == NULL) {
        cursor->direction = NOWHERE;
        return STATUS_END;
    }
    status = store_open_record(cursor->txn->store, layer->key, layer->bytes, &opened);
    if (status == STATUS_OK) {
        cursor->current = layer->key;
        *found = layer->key;
        *payload = opened;
    }
    return status;
}

enum status cursor_seek(struct cursor *cursor, struct slice key, struct slice *found,
                        struct slice *payload)
{
    enum status status;

    cursor->direction = FORWARD;
    status = place(cursor, key, true);
    return status == STATUS_OK ? take(cursor, found, payload) : status;
}

enum status cursor_seek_before(struct cursor *cursor, struct slice key, struct slice *found,
                               struct slice *payload)
{
    enum status status;

    cursor->direction = BACKWARD;
    status = place(cursor, key, false);
    return status == STATUS_OK ? take(cursor, found, payload) : status;
}

static enum status step(struct cursor *cursor, enum direction direction, struct slice *found,
                        struct slice *payload)
{
    enum status status;

    if (cursor->direction == NOWHERE) {
        return STATUS_END;
    }
    if (cursor->direction == direction) {
        status = advance(cursor, cursor->current);
        if (cursor->txn->is_write) {
            place_table(cursor, &cursor->layers[LAYER_ACTIVE], cursor->current, false);
        }
    } else {
        cursor->direction = direction;
        status = place(cursor, cursor->current, false);
    }
    return status == STATUS_OK ? take(cursor, found, payload) : status;
}

enum status cursor_next(struct cursor *cursor, struct slice *found, struct slice *payload)
{
    return step(cursor, FORWARD, found, payload);
}

enum status cursor_prev(struct cursor *cursor, struct slice *found, struct slice *payload)
{
    return step(cursor, BACKWARD, found, payload);
}
