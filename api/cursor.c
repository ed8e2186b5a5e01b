/*   cursor   u8 version, u64 hash of the filters, bytes position, u64 checksum of all before;
 *            then base64url */
#include "api/cursor.h"

#include <xxhash.h>

#include "api/base64.h"
#include "daemon/base/wire.h"

#define CURSOR_VERSION   1
#define CURSOR_MAX_BYTES 4096

void cursor_filters_add(struct cursor_filters *filters, struct slice piece)
{
    wire_put_bytes(&filters->pieces, piece);
}

void cursor_filters_add_number(struct cursor_filters *filters, uint64_t number)
{
    wire_put_u64(&filters->pieces, number);
}

uint64_t cursor_filters_hash(struct cursor_filters *filters)
{
    uint64_t hash = XXH3_64bits(filters->pieces.data, filters->pieces.size);

    buffer_close(&filters->pieces);
    return hash;
}

void cursor_encode(struct slice position, uint64_t filters_hash, struct buffer *text)
{
    struct buffer bytes = BUFFER_EMPTY;

    wire_put_u8(&bytes, CURSOR_VERSION);
    wire_put_u64(&bytes, filters_hash);
    wire_put_bytes(&bytes, position);
    wire_put_u64(&bytes, XXH3_64bits(bytes.data, bytes.size));
    base64_encode(BASE64_URL, buffer_slice(&bytes), text);
    buffer_close(&bytes);
}

static enum status read_cursor(struct slice bytes, uint64_t filters_hash, struct slice *position)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint8_t version = wire_get_u8(&reader);
    uint64_t hash = wire_get_u64(&reader);
    struct slice found = wire_get_bytes(&reader);
    uint64_t checksum = wire_get_u64(&reader);

    if (wire_done(&reader) != STATUS_OK || version != CURSOR_VERSION || hash != filters_hash ||
        found.size == 0 || checksum != XXH3_64bits(bytes.data, bytes.size - sizeof(uint64_t))) {
        return STATUS_INVALID;
    }
    *position = found;
    return STATUS_OK;
}

enum status cursor_decode(struct slice text, uint64_t filters_hash, struct buffer *position)
{
    struct buffer bytes = BUFFER_EMPTY;
    enum status status = STATUS_INVALID;
    struct slice found;

    if (text.size <= CURSOR_MAX_BYTES && base64_decode(BASE64_URL, text, &bytes)) {
        status = read_cursor(buffer_slice(&bytes), filters_hash, &found);
    }
    if (status == STATUS_OK) {
        buffer_append_slice(position, found);
    }
    buffer_close(&bytes);
    return status;
}
