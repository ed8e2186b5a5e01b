/* What frame_decode() takes has one encoding: the bytes that it came from. */
#include <stdlib.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"
#include "raft/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer cannot guess a checksum: give it one, so that it reaches the fields. */
static void wrap(struct slice body, struct buffer *frame)
{
    wire_put_u32(frame, (uint32_t)body.size);
    wire_put_u64(frame, XXH3_64bits(body.data, body.size));
    buffer_append_slice(frame, body);
}

static void check_one(struct slice bytes)
{
    struct buffer again = BUFFER_EMPTY;
    struct frame frame;
    struct error error;
    size_t size;

    if (frame_size(bytes, &size) != STATUS_OK || frame_decode(bytes, &frame, &error) != STATUS_OK) {
        return;
    }
    CHECK(size == bytes.size);
    frame_encode(&frame, &again);
    CHECK(slice_equals(buffer_slice(&again), bytes));
    buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer frame = BUFFER_EMPTY;

    check_one(slice_of(data, size));
    wrap(slice_of(data, size), &frame);
    check_one(buffer_slice(&frame));
    buffer_close(&frame);
    return 0;
}
