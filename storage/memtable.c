/* Nodes are published from the lowest level up with release stores, so a reader that meets a node
 * sees it whole. A version is pushed in front of the older ones of its node; readers skip those
 * that are newer than the sequence they look with, so a version that is still being filled in, or
 * was taken back, is never looked at. */
#include "storage/memtable.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define MAX_HEIGHT  12 /* Four to the power of it is far more than a table holds. */
#define BLOCK_BYTES (256u << 10)
#define ALIGNMENT   8u
#define FIRST_SLOTS 64u /* A power of two. */

struct version {
    struct version *older; /* Never changes. */
    uint64_t sequence;
    size_t size;
    bool is_deletion;
    uint8_t bytes[];
};

struct memtable_node {
    _Atomic(struct version *) newest; /* NULL after all was taken back. */
    uint16_t key_size;
    uint8_t height;
    /* The key is behind the last link. */
    _Atomic(struct memtable_node *) next[];
};

struct block {
    struct block *older;
    uint8_t bytes[] __attribute__((aligned(ALIGNMENT)));
};

/* Of the hash table: linear probing, at most half full. */
struct slot {
    uint64_t hash;
    struct memtable_node *node; /* NULL: free. */
};

struct memtable {
    atomic_uint references;
    struct block *blocks;
    uint8_t *free;
    size_t n_free;
    size_t bytes;
    size_t keys;
    uint64_t random;
    struct memtable_node *head; /* Without a key, MAX_HEIGHT high. */
    struct slot *slots;         /* The writer's. */
    size_t n_slots;             /* A power of two, or 0. */
};

/* --- Memory --- */

static void *take(struct memtable *table, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t room = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
    struct block *block;
    void *taken;

    if (rounded > table->n_free) {
        block = memory_new(sizeof *block + room);
        block->older = table->blocks;
        table->blocks = block;
        table->free = block->bytes;
        table->n_free = room;
        table->bytes += sizeof *block + room;
    }
    taken = table->free;
    table->free += rounded;
    table->n_free -= rounded;
    return taken;
}

static struct memtable_node *make_node(struct memtable *table, struct slice key, unsigned height)
{
    struct memtable_node *node;

    node = take(table, sizeof *node + height * sizeof node->next[0] + key.size);
    atomic_init(&node->newest, NULL);
    node->key_size = (uint16_t)key.size;
    node->height = (uint8_t)height;
    for (unsigned i = 0; i < height; i++) {
        atomic_init(&node->next[i], NULL);
    }
    if (key.size > 0) {
        memcpy(&node->next[height], key.data, key.size);
    }
    return node;
}

struct memtable *memtable_new(void)
{
    struct memtable *table = memory_new_zeroed(1, sizeof *table);

    atomic_init(&table->references, 1);
    table->random = 0x9e3779b97f4a7c15u; /* Any but 0. */
    table->head = make_node(table, slice_of(NULL, 0), MAX_HEIGHT);
    return table;
}

struct memtable *memtable_ref(struct memtable *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void memtable_unref(struct memtable *table)
{
    struct block *block;

    if (atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    while ((block = table->blocks) != NULL) {
        table->blocks = block->older;
        free(block);
    }
    free(table->slots);
    free(table);
}

size_t memtable_bytes(const struct memtable *table)
{
    return table->bytes - table->n_free + table->n_slots * sizeof *table->slots;
}

size_t memtable_keys(const struct memtable *table)
{
    return table->keys;
}

/* --- Finding --- */

struct slice memtable_key(const struct memtable_node *node)
{
    return slice_of(&node->next[node->height], node->key_size);
}

static struct memtable_node *next_at(struct memtable_node *node, unsigned level)
{
    return atomic_load_explicit(&node->next[level], memory_order_acquire);
}

/* The last node before @key, maybe the head; @path gets the last one of each level, unless it is
 * NULL. */
static struct memtable_node *find_before(struct memtable *table, struct slice key,
                                         struct memtable_node **path)
{
    struct memtable_node *node = table->head;
    struct memtable_node *known = NULL; /* Is not before @key, as was seen one level up. */
    struct memtable_node *next;

    for (unsigned level = MAX_HEIGHT; level-- > 0;) {
        while ((next = next_at(node, level)) != NULL && next != known &&
               slice_compare(memtable_key(next), key) < 0) {
            node = next;
        }
        known = next;
        if (path != NULL) {
            path[level] = node;
        }
    }
    return node;
}

struct memtable_node *memtable_seek(struct memtable *table, struct slice key)
{
    return next_at(find_before(table, key, NULL), 0);
}

struct memtable_node *memtable_seek_before(struct memtable *table, struct slice key)
{
    struct memtable_node *node = find_before(table, key, NULL);

    return node == table->head ? NULL : node;
}

struct memtable_node *memtable_next(struct memtable_node *node)
{
    return next_at(node, 0);
}

enum memtable_found memtable_look(const struct memtable_node *node, uint64_t sequence,
                                  struct slice *bytes)
{
    const struct version *version = atomic_load_explicit(&node->newest, memory_order_acquire);

    while (version != NULL && version->sequence > sequence) {
        version = version->older;
    }
    if (version == NULL) {
        return MEMTABLE_NOTHING;
    }
    if (version->is_deletion) {
        return MEMTABLE_DELETED;
    }
    *bytes = slice_of(version->bytes, version->size);
    return MEMTABLE_RECORD;
}

enum memtable_found memtable_get(struct memtable *table, struct slice key, uint64_t sequence,
                                 struct slice *bytes)
{
    const struct memtable_node *node = memtable_seek(table, key);

    if (node == NULL || !slice_equals(memtable_key(node), key)) {
        return MEMTABLE_NOTHING;
    }
    return memtable_look(node, sequence, bytes);
}

/* --- The hash table --- */

static uint64_t hash_of(struct slice key)
{
    return XXH3_64bits(key.data, key.size);
}

/* Where @key is, or would be. There is a free slot. */
static struct slot *find_slot(const struct memtable *table, struct slice key, uint64_t hash)
{
    size_t mask = table->n_slots - 1;
    size_t i = hash & mask;

    while (
        table->slots[i].node != NULL &&
        (table->slots[i].hash != hash || !slice_equals(memtable_key(table->slots[i].node), key))) {
        i = (i + 1) & mask;
    }
    return &table->slots[i];
}

/* Have room for one more key. */
static void make_room(struct memtable *table)
{
    struct memtable old = *table;

    if (2 * (table->keys + 1) <= table->n_slots) {
        return;
    }
    table->n_slots = old.n_slots == 0 ? FIRST_SLOTS : 2 * old.n_slots;
    table->slots = memory_new_zeroed(table->n_slots, sizeof *table->slots);
    for (size_t i = 0; i < old.n_slots; i++) {
        size_t j = old.slots[i].hash & (table->n_slots - 1);

        if (old.slots[i].node != NULL) {
            while (table->slots[j].node != NULL) {
                j = (j + 1) & (table->n_slots - 1);
            }
            table->slots[j] = old.slots[i];
        }
    }
    free(old.slots);
}

enum memtable_found memtable_find(const struct memtable *table, struct slice key, uint64_t sequence,
                                  struct slice *bytes)
{
    const struct slot *slot;

    if (table->n_slots == 0) {
        return MEMTABLE_NOTHING;
    }
    slot = find_slot(table, key, hash_of(key));
    return slot->node == NULL ? MEMTABLE_NOTHING : memtable_look(slot->node, sequence, bytes);
}

/* --- Writing --- */

/* Each level holds a quarter of the one below (xorshift64: G. Marsaglia, "Xorshift RNGs", 2003). */
static unsigned draw_height(struct memtable *table)
{
    unsigned height = 1;

    table->random ^= table->random << 13;
    table->random ^= table->random >> 7;
    table->random ^= table->random << 17;
    for (uint64_t bits = table->random >> 8; height < MAX_HEIGHT && (bits & 3) == 0; bits >>= 2) {
        height++;
    }
    return height;
}

static struct memtable_node *link_node(struct memtable *table, struct slice key)
{
    struct memtable_node *path[MAX_HEIGHT];
    struct memtable_node *node;
    unsigned height = draw_height(table);

    (void)find_before(table, key, path);
    node = make_node(table, key, height);
    for (unsigned level = 0; level < height; level++) {
        atomic_store_explicit(&node->next[level], next_at(path[level], level),
                              memory_order_relaxed);
        atomic_store_explicit(&path[level]->next[level], node, memory_order_release);
    }
    return node;
}

static struct memtable_node *find_or_link(struct memtable *table, struct slice key)
{
    uint64_t hash = hash_of(key);
    struct slot *slot;

    make_room(table);
    slot = find_slot(table, key, hash);
    if (slot->node == NULL) {
        *slot = (struct slot){.hash = hash, .node = link_node(table, key)};
        table->keys++;
    }
    return slot->node;
}

static struct version *push(struct memtable *table, struct slice key, uint64_t sequence,
                            size_t size, struct memtable_step *step)
{
    struct memtable_node *node;
    struct version *version;

    CHECK(key.size > 0 && key.size <= UINT16_MAX);
    node = find_or_link(table, key);
    version = take(table, sizeof *version + size);
    version->older = atomic_load_explicit(&node->newest, memory_order_relaxed);
    version->sequence = sequence;
    version->size = size;
    version->is_deletion = false;
    CHECK(version->older == NULL || version->older->sequence <= sequence);
    *step = (struct memtable_step){.table = table, .node = node, .before = version->older};
    return version;
}

uint8_t *memtable_put(struct memtable *table, struct slice key, uint64_t sequence, size_t size,
                      struct memtable_step *step)
{
    struct version *version = push(table, key, sequence, size, step);

    atomic_store_explicit(&step->node->newest, version, memory_order_release);
    return version->bytes;
}

void memtable_delete(struct memtable *table, struct slice key, uint64_t sequence,
                     struct memtable_step *step)
{
    struct version *version = push(table, key, sequence, 0, step);

    version->is_deletion = true;
    atomic_store_explicit(&step->node->newest, version, memory_order_release);
}

void memtable_revert(const struct memtable_step *step)
{
    atomic_store_explicit(&step->node->newest, (struct version *)step->before,
                          memory_order_release);
}
