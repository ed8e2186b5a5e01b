/* The check of a snapshot's metadata takes any bytes, and takes none as good that libraft would not
 * read as it reads its own. */
#include <endian.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"
#include "raft/pointers.h"
#include "raft/segments.h"

#define HEADER_BYTES 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t number_at(const uint8_t *data)
{
    uint64_t number;

    memcpy(&number, data, sizeof number);
    return le64toh(number);
}

static void check_one(struct slice bytes)
{
    struct error error;

    if (pointers_check_meta(bytes, &error) != STATUS_OK) {
        CHECK(error.text[0] != '\0');
        return;
    }
    CHECK(bytes.size > HEADER_BYTES);
    CHECK(number_at(bytes.data) == 1);
    CHECK((uint32_t)number_at(bytes.data + 8) ==
          segments_checksum(bytes.data + 16, bytes.size - 16, 0));
    CHECK(number_at(bytes.data + 24) == bytes.size - HEADER_BYTES);
}

/* With the checksum that it should have, so that what is behind that is met, too. */
static void check_sealed(struct slice bytes)
{
    struct buffer sealed = BUFFER_EMPTY;

    if (bytes.size >= HEADER_BYTES) {
        buffer_append_slice(&sealed, bytes);
        wire_set_u64(&sealed, 8, segments_checksum(bytes.data + 16, bytes.size - 16, 0));
        check_one(buffer_slice(&sealed));
    }
    buffer_close(&sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_one(slice_of(data, size));
    check_sealed(slice_of(data, size));
    return 0;
}
