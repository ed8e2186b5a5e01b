/* Allocation that cannot fail: what holds unbounded amounts is bounded by limits.h, so running out
 * is the machine's trouble, and the process ends with a clear message. Any thread. */
#ifndef HOLDFAST_BASE_MEMORY_H
#define HOLDFAST_BASE_MEMORY_H

#include <stddef.h>

/* @size bytes (at least 1 is allocated), released by free(). */
void *memory_new(size_t size) __attribute__((malloc, returns_nonnull));

/* @count times @size zeroed bytes. Ends the process if the product overflows. */
void *memory_new_zeroed(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* As realloc(), but never gives NULL; @size may not be 0. */
void *memory_resize(void *old, size_t size) __attribute__((returns_nonnull));

/* A copy of @string that the caller frees. */
char *memory_copy_string(const char *string) __attribute__((malloc, returns_nonnull));

#endif
