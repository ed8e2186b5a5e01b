#include "daemon/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"

__attribute__((noreturn, cold)) static void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "could not allocate %zu bytes: out of memory\n", size);
    abort();
}

void *memory_new(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);

    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *memory_new_zeroed(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);

    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

void *memory_resize(void *old, size_t size)
{
    void *p;

    CHECK(size > 0);
    p = realloc(old, size);
    if (p == NULL) {
        out_of_memory(size);
    }
    return p;
}

char *memory_copy_string(const char *string)
{
    size_t size = strlen(string) + 1;

    return memcpy(memory_new(size), string, size);
}
