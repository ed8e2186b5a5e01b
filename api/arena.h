/* Memory of one request: taken in small pieces, given back all at once.
 *
 * What was taken does not move. One thread; a zeroed struct is an empty arena. */
#ifndef HOLDFAST_API_ARENA_H
#define HOLDFAST_API_ARENA_H

#include "daemon/base/slice.h"

struct arena_chunk;

struct arena {
    /* Private. */
    struct arena_chunk *chunks; /* The newest first; pieces are cut from it. */
};

/* @size zeroed bytes, aligned for anything. */
void *arena_take(struct arena *arena, size_t size);

struct slice arena_copy(struct arena *arena, struct slice bytes);

void arena_close(struct arena *arena);

#endif
