/* Numbers and byte strings in a fixed, portable form: little-endian, lengths in front.
 *
 * Writing appends to a buffer. Reading walks a slice that may hold anything: a reader that ran
 * over the end is marked as failed, gives zeros and empty slices from then on, and is asked once,
 * at the end, with wire_done(). One thread at a time. */
#ifndef HOLDFAST_BASE_WIRE_H
#define HOLDFAST_BASE_WIRE_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

void wire_put_u8(struct buffer *buffer, uint8_t value);
void wire_put_u16(struct buffer *buffer, uint16_t value);
void wire_put_u32(struct buffer *buffer, uint32_t value);
void wire_put_u64(struct buffer *buffer, uint64_t value);

/* A u32 length and the bytes, which are copied; at most UINT32_MAX of them. */
void wire_put_bytes(struct buffer *buffer, struct slice bytes);

/* Overwrite four or eight bytes that were appended before, at @offset. */
void wire_set_u32(struct buffer *buffer, size_t offset, uint32_t value);
void wire_set_u64(struct buffer *buffer, size_t offset, uint64_t value);

struct wire_reader {
    struct slice rest; /* What was not read yet. */
    bool failed;
};

static inline struct wire_reader wire_reader_of(struct slice bytes)
{
    return (struct wire_reader){.rest = bytes};
}

uint8_t wire_get_u8(struct wire_reader *reader);
uint16_t wire_get_u16(struct wire_reader *reader);
uint32_t wire_get_u32(struct wire_reader *reader);
uint64_t wire_get_u64(struct wire_reader *reader);

/* Borrowed from what the reader walks. */
struct slice wire_get_bytes(struct wire_reader *reader);

/* Exactly @size bytes without a length in front. */
struct slice wire_get_raw(struct wire_reader *reader, size_t size);

/* STATUS_OK if all reads were inside and nothing is left, else STATUS_CORRUPT. */
MUST_USE enum status wire_done(const struct wire_reader *reader);

#endif
