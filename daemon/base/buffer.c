#include "daemon/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define SMALLEST 64

uint8_t *buffer_reserve(struct buffer *buffer, size_t more)
{
    CHECK(more <= SIZE_MAX / 2 - buffer->size);
    if (buffer->capacity - buffer->size < more || buffer->data == NULL) {
        size_t capacity = buffer->capacity < SMALLEST ? SMALLEST : buffer->capacity;

        while (capacity < buffer->size + more) {
            capacity *= 2;
        }
        buffer->data = memory_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
    uint8_t *place = buffer_reserve(buffer, size);

    buffer->size += size;
    return place;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(buffer_extend(buffer, size), data, size);
    }
}

void buffer_append_slice(struct buffer *buffer, struct slice bytes)
{
    buffer_append(buffer, bytes.data, bytes.size);
}

void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_append_byte(struct buffer *buffer, uint8_t byte)
{
    *buffer_extend(buffer, 1) = byte;
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_list again;
    int size;

    va_start(args, format);
    va_copy(again, args);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(size >= 0);
    /* The NUL is written behind the content and not counted. */
    (void)vsnprintf((char *)buffer_reserve(buffer, (size_t)size + 1), (size_t)size + 1, format,
                    again);
    va_end(again);
    buffer->size += (size_t)size;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    CHECK(size <= buffer->size);
    buffer->size -= size;
    if (buffer->size > 0 && size > 0) {
        memmove(buffer->data, buffer->data + size, buffer->size);
    }
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
}

void buffer_close(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = BUFFER_EMPTY;
}
