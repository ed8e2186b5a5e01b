/* A borrowed run of bytes: who holds a slice does not own what it points to. */
#ifndef HOLDFAST_BASE_SLICE_H
#define HOLDFAST_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data; /* May be NULL if size is 0. */
    size_t size;
};

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){.data = data, .size = size};
}

static inline struct slice slice_of_string(const char *string)
{
    return slice_of(string, strlen(string));
}

static inline bool slice_equals(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_equals_string(struct slice a, const char *string)
{
    return slice_equals(a, slice_of_string(string));
}

/* Byte order; a prefix comes before what it begins. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);

    if (order != 0) {
        return order;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool slice_starts_with(struct slice whole, struct slice start)
{
    return whole.size >= start.size &&
           (start.size == 0 || memcmp(whole.data, start.data, start.size) == 0);
}

/* The bytes of @whole from @offset on; @offset is at most its size. */
static inline struct slice slice_from(struct slice whole, size_t offset)
{
    return slice_of(whole.data + offset, whole.size - offset);
}

#endif
