#include "storage/record.h"

#include <endian.h>

#include <xxhash.h>

static uint64_t checksum(struct slice key, uint8_t version, struct slice payload)
{
    /* A seed for the key instead of a stream over both parts: streams of XXH3 start slowly, and
     * most records are small. */
    return XXH3_64bits_withSeed(payload.data, payload.size,
                                XXH3_64bits(key.data, key.size) + version);
}

void record_seal(struct slice key, struct slice payload, uint8_t *place)
{
    uint64_t sum = htole64(checksum(key, RECORD_VERSION, payload));

    place[0] = RECORD_VERSION;
    memcpy(place + 1, &sum, sizeof sum);
    if (payload.size > 0) {
        memcpy(place + RECORD_HEADER_BYTES, payload.data, payload.size);
    }
}

enum status record_open(struct slice key, struct slice bytes, struct slice *payload)
{
    struct slice found;
    uint64_t sum;

    if (bytes.size < RECORD_HEADER_BYTES) {
        return STATUS_CORRUPT;
    }
    memcpy(&sum, bytes.data + 1, sizeof sum);
    found = slice_from(bytes, RECORD_HEADER_BYTES);
    if (le64toh(sum) != checksum(key, bytes.data[0], found)) {
        return STATUS_CORRUPT;
    }
    if (bytes.data[0] != RECORD_VERSION) {
        return bytes.data[0] > RECORD_VERSION ? STATUS_UNSUPPORTED : STATUS_CORRUPT;
    }
    *payload = found;
    return STATUS_OK;
}

static XXH128_hash_t hash(struct slice key, struct slice payload)
{
    return XXH3_128bits_withSeed(payload.data, payload.size, XXH3_64bits(key.data, key.size));
}

void record_hash_add(uint64_t sum[2], struct slice key, struct slice payload)
{
    XXH128_hash_t one = hash(key, payload);

    sum[0] += one.low64;
    sum[1] += one.high64 + (sum[0] < one.low64 ? 1 : 0);
}

void record_hash_subtract(uint64_t sum[2], struct slice key, struct slice payload)
{
    XXH128_hash_t one = hash(key, payload);

    sum[1] -= one.high64 + (sum[0] < one.low64 ? 1 : 0);
    sum[0] -= one.low64;
}
