/* What is taken for a cursor has one text: the one it came from; and each position comes back. */
#include <xxhash.h>

#include "api/base64.h"
#include "api/cursor.h"
#include "daemon/base/check.h"
#include "daemon/base/wire.h"

#define HASH 42u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(struct slice text)
{
    struct buffer position = BUFFER_EMPTY;
    struct buffer again = BUFFER_EMPTY;

    if (cursor_decode(text, HASH, &position) == STATUS_OK) {
        cursor_encode(buffer_slice(&position), HASH, &again);
        CHECK(slice_equals(buffer_slice(&again), text));
    } else {
        CHECK(position.size == 0);
    }
    buffer_close(&position);
    buffer_close(&again);
}

/* The fuzzer cannot guess a checksum: give it one, so that it reaches the fields. */
static void try_sealed(struct slice fields)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer text = BUFFER_EMPTY;

    buffer_append_slice(&bytes, fields);
    wire_put_u64(&bytes, XXH3_64bits(bytes.data, bytes.size));
    base64_encode(BASE64_URL, buffer_slice(&bytes), &text);
    try_text(buffer_slice(&text));
    buffer_close(&bytes);
    buffer_close(&text);
}

static void try_position(struct slice position)
{
    struct buffer text = BUFFER_EMPTY;
    struct buffer found = BUFFER_EMPTY;

    cursor_encode(position, HASH, &text);
    if (cursor_decode(buffer_slice(&text), HASH, &found) == STATUS_OK) {
        CHECK(slice_equals(buffer_slice(&found), position));
        CHECK(cursor_decode(buffer_slice(&text), HASH + 1, &found) == STATUS_INVALID);
    } else {
        CHECK(position.size == 0 || position.size > 1024); /* Beyond what any list gives out. */
    }
    buffer_close(&text);
    buffer_close(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);

    try_text(bytes);
    try_sealed(bytes);
    try_position(bytes);
    return 0;
}
