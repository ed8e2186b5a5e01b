#include "api/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "daemon/base/memory.h"

/* Most requests need a few hundred bytes. */
#define CHUNK_BYTES 2048

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    alignas(max_align_t) uint8_t bytes[];
};

static void add_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = memory_new(sizeof(*chunk) + size);

    chunk->next = arena->chunks;
    chunk->used = 0;
    chunk->size = size;
    arena->chunks = chunk;
}

void *arena_take(struct arena *arena, size_t size)
{
    const size_t unit = alignof(max_align_t);
    struct arena_chunk *chunk = arena->chunks;
    uint8_t *place;

    size = (size + unit - 1) / unit * unit;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        add_chunk(arena, size > CHUNK_BYTES ? size : CHUNK_BYTES);
        chunk = arena->chunks;
    }
    place = chunk->bytes + chunk->used;
    chunk->used += size;
    memset(place, 0, size);
    return place;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    uint8_t *copy = arena_take(arena, bytes.size + 1);

    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return slice_of(copy, bytes.size);
}

void arena_close(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
}
