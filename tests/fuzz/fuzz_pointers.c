/* The check of a snapshot's metadata takes any bytes, and takes none as good that libraft would not
 * read as it reads its own. */
#include <endian.h>
#include <string.h>

#include "daemon/base/check.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error;

    if (pointers_check_meta(slice_of(data, size), &error) != STATUS_OK) {
        CHECK(error.text[0] != '\0');
        return 0;
    }
    CHECK(size > HEADER_BYTES);
    CHECK(number_at(data) == 1);
    CHECK((uint32_t)number_at(data + 8) == segments_checksum(data + 16, size - 16, 0));
    CHECK(number_at(data + 24) == size - HEADER_BYTES);
    return 0;
}
