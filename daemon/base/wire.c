#include "daemon/base/wire.h"

#include <endian.h>

#include "daemon/base/check.h"

void wire_put_u8(struct buffer *buffer, uint8_t value)
{
    buffer_append_byte(buffer, value);
}

void wire_put_u16(struct buffer *buffer, uint16_t value)
{
    value = htole16(value);
    buffer_append(buffer, &value, sizeof value);
}

void wire_put_u32(struct buffer *buffer, uint32_t value)
{
    value = htole32(value);
    buffer_append(buffer, &value, sizeof value);
}

void wire_put_u64(struct buffer *buffer, uint64_t value)
{
    value = htole64(value);
    buffer_append(buffer, &value, sizeof value);
}

void wire_put_bytes(struct buffer *buffer, struct slice bytes)
{
    CHECK(bytes.size <= UINT32_MAX);
    wire_put_u32(buffer, (uint32_t)bytes.size);
    buffer_append_slice(buffer, bytes);
}

void wire_set_u32(struct buffer *buffer, size_t offset, uint32_t value)
{
    CHECK(offset <= buffer->size && buffer->size - offset >= sizeof value);
    value = htole32(value);
    memcpy(buffer->data + offset, &value, sizeof value);
}

void wire_set_u64(struct buffer *buffer, size_t offset, uint64_t value)
{
    CHECK(offset <= buffer->size && buffer->size - offset >= sizeof value);
    value = htole64(value);
    memcpy(buffer->data + offset, &value, sizeof value);
}

/* Move @size bytes into @value, or mark the reader as failed and leave @value as it is. */
static void get(struct wire_reader *reader, void *value, size_t size)
{
    if (reader->failed || reader->rest.size < size) {
        reader->failed = true;
        return;
    }
    memcpy(value, reader->rest.data, size);
    reader->rest = slice_from(reader->rest, size);
}

uint8_t wire_get_u8(struct wire_reader *reader)
{
    uint8_t value = 0;

    get(reader, &value, sizeof value);
    return value;
}

uint16_t wire_get_u16(struct wire_reader *reader)
{
    uint16_t value = 0;

    get(reader, &value, sizeof value);
    return le16toh(value);
}

uint32_t wire_get_u32(struct wire_reader *reader)
{
    uint32_t value = 0;

    get(reader, &value, sizeof value);
    return le32toh(value);
}

uint64_t wire_get_u64(struct wire_reader *reader)
{
    uint64_t value = 0;

    get(reader, &value, sizeof value);
    return le64toh(value);
}

struct slice wire_get_bytes(struct wire_reader *reader)
{
    return wire_get_raw(reader, wire_get_u32(reader));
}

struct slice wire_get_raw(struct wire_reader *reader, size_t size)
{
    struct slice bytes;

    if (reader->failed || reader->rest.size < size) {
        reader->failed = true;
        return slice_of(NULL, 0);
    }
    bytes = slice_of(reader->rest.data, size);
    reader->rest = slice_from(reader->rest, size);
    return bytes;
}

enum status wire_done(const struct wire_reader *reader)
{
    return reader->failed || reader->rest.size > 0 ? STATUS_CORRUPT : STATUS_OK;
}
