/* Whatever claims to be the pieces of an image is refused or makes sense, and never harms the
 * reader. The first byte chooses whether the pieces get checksums that fit, which the fuzzer cannot
 * guess, and how many bytes of the input each one has. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "storage/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECKED_BYTES (IMAGE_HEAD_BYTES - 16)

struct reading {
    uint8_t last[512];
    size_t last_size;
    uint64_t records;
};

static enum status on_record(void *data, struct slice key, struct slice payload,
                             struct error *error)
{
    struct reading *reading = data;
    volatile uint8_t touched = 0;

    (void)error;
    CHECK(key.size > 0 && key.size < sizeof reading->last);
    CHECK(slice_compare(key, slice_of(reading->last, reading->last_size)) > 0);
    for (size_t i = 0; i < payload.size; i += 64) {
        touched = (uint8_t)(touched + payload.data[i]);
    }
    memcpy(reading->last, key.data, key.size);
    reading->last_size = key.size;
    reading->records++;
    return STATUS_OK;
}

/* Give the piece the magic bytes, the length that it has, and a checksum that fits. */
static void seal(struct buffer *piece, uint64_t number, uint64_t seed)
{
    uint32_t stored = (uint32_t)(piece->size - IMAGE_HEAD_BYTES);
    XXH128_canonical_t checksum;

    memcpy(piece->data, "HOLDFAST", 8);
    memset(piece->data + 10, 0, 2);
    memcpy(piece->data + 12, &stored, sizeof stored); /* Fuzzers run on little-endian machines. */
    if (piece->data[9] == 0) {
        memcpy(piece->data + 16, &stored, sizeof stored);
    }
    memcpy(piece->data + 20, &number, sizeof number);
    XXH128_canonicalFromHash(
        &checksum, XXH3_128bits_withSeed(piece->data + IMAGE_HEAD_BYTES, stored,
                                         XXH3_64bits_withSeed(piece->data, CHECKED_BYTES, seed)));
    memcpy(piece->data + CHECKED_BYTES, &checksum, sizeof checksum);
}

/* Go on from where @reader stands: the position is taken, and says the same again. */
static void try_position(const struct image_reader *reader)
{
    struct image_reader *other = image_reader_open();
    struct buffer position = BUFFER_EMPTY;
    struct buffer again = BUFFER_EMPTY;

    image_reader_save(reader, &position);
    CHECK(image_reader_resume(other, buffer_slice(&position)) == STATUS_OK);
    image_reader_save(other, &again);
    CHECK(slice_equals(buffer_slice(&position), buffer_slice(&again)));
    image_reader_close(other);
    buffer_close(&position);
    buffer_close(&again);
}

static void read_pieces(struct slice bytes, bool is_sealed, size_t piece_bytes)
{
    struct image_reader *reader = image_reader_open();
    struct reading reading = {0};
    struct error error = {.text = ""};
    enum status status = STATUS_OK;
    uint64_t seed = 0;

    while (status == STATUS_OK && bytes.size >= IMAGE_HEAD_BYTES) {
        struct buffer piece = BUFFER_EMPTY;
        struct image_piece look;
        size_t size = bytes.size < piece_bytes ? bytes.size : piece_bytes;

        buffer_append(&piece, bytes.data, size);
        bytes = slice_from(bytes, size);
        if (is_sealed) {
            seal(&piece, image_reader_next(reader), seed);
        }
        if (image_piece_look(buffer_slice(&piece), &look, NULL) == STATUS_OK) {
            CHECK(look.size > IMAGE_HEAD_BYTES && look.size <= IMAGE_MAX_PIECE_BYTES);
        }
        status = image_reader_feed(reader, buffer_slice(&piece), on_record, &reading, &error);
        if (image_reader_next(reader) == 1 && status == STATUS_OK) {
            seed = XXH3_64bits(piece.data + IMAGE_HEAD_BYTES, piece.size - IMAGE_HEAD_BYTES);
        }
        if (status == STATUS_OK && !image_reader_is_done(reader)) {
            try_position(reader);
        }
        buffer_close(&piece);
    }
    CHECK(status == STATUS_OK || error.text[0] != '\0');
    CHECK(!image_reader_is_done(reader) || status != STATUS_OK ||
          image_reader_totals(reader)->records == reading.records);
    image_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_reader *reader;

    if (size < 2) {
        return 0;
    }
    reader = image_reader_open();
    if (image_reader_resume(reader, slice_of(data, size)) == STATUS_OK) {
        CHECK(image_reader_next(reader) > 0);
    }
    image_reader_close(reader);
    read_pieces(slice_of(data + 2, size - 2), (data[0] & 1) != 0,
                IMAGE_HEAD_BYTES + 1 + (size_t)data[1]);
    return 0;
}
