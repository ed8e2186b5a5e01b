/* An owned run of bytes that grows: what was appended stays in order and in one piece.
 *
 * One thread at a time uses a buffer. A zeroed struct is an empty buffer. */
#ifndef HOLDFAST_BASE_BUFFER_H
#define HOLDFAST_BASE_BUFFER_H

#include <stdint.h>

#include "daemon/base/slice.h"

struct buffer {
    uint8_t *data; /* May be NULL if size is 0. */
    size_t size;
    /* Private. */
    size_t capacity;
};

#define BUFFER_EMPTY ((struct buffer){0})

/* Room for @more bytes behind what is there; pointers into the old data become stale.
 * Gives the place to write them to; the size does not change. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t more);

/* Append @size bytes that the caller fills in; gives the place. */
uint8_t *buffer_extend(struct buffer *buffer, size_t size);

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_slice(struct buffer *buffer, struct slice bytes);
void buffer_append_string(struct buffer *buffer, const char *string);
void buffer_append_byte(struct buffer *buffer, uint8_t byte);
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drop the first @size bytes; the rest moves to the front. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Forget the content, keep the memory. */
void buffer_clear(struct buffer *buffer);

/* Release the memory; the buffer is empty and can be used again. */
void buffer_close(struct buffer *buffer);

/* Borrow the content, until the buffer changes. */
static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return slice_of(buffer->data, buffer->size);
}

/* Move the content out: @buffer is empty afterwards, and the caller of this owns the result. */
static inline struct buffer buffer_take(struct buffer *buffer)
{
    struct buffer taken = *buffer;

    *buffer = BUFFER_EMPTY;
    return taken;
}

#endif
