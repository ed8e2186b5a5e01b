#include "storage/step.h"

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"

#define HEAD_BYTES 64u

static bool is_sound(const struct step *step)
{
    return step->first_index > 0 && step->first_index <= step->index &&
           (step->entry.size == 0 || step->first_index == step->index);
}

void step_append(struct buffer *bytes, const struct step *step)
{
    size_t offset = bytes->size;

    CHECK(is_sound(step));
    CHECK(step->entry.size <= UINT32_MAX);

    wire_put_u64(bytes, step->first_index);
    wire_put_u64(bytes, step->index);
    wire_put_u64(bytes, step->term);
    wire_put_u64(bytes, step->revision);
    wire_put_u64(bytes, step->time_ms);
    wire_put_u64(bytes, step->hash[0]);
    wire_put_u64(bytes, step->hash[1]);
    wire_put_u32(bytes, (uint32_t)step->entry.size);
    wire_put_u32(bytes, 0);
    buffer_append_slice(bytes, step->entry);
    wire_put_u64(bytes, XXH3_64bits(bytes->data + offset, bytes->size - offset));
}

enum status step_take(struct slice *walk, struct step *step)
{
    struct wire_reader reader = wire_reader_of(*walk);
    struct step taken;
    uint32_t size;
    uint32_t zero;
    uint64_t checksum;

    if (walk->size == 0) {
        return STATUS_END;
    }
    taken.first_index = wire_get_u64(&reader);
    taken.index = wire_get_u64(&reader);
    taken.term = wire_get_u64(&reader);
    taken.revision = wire_get_u64(&reader);
    taken.time_ms = wire_get_u64(&reader);
    taken.hash[0] = wire_get_u64(&reader);
    taken.hash[1] = wire_get_u64(&reader);
    size = wire_get_u32(&reader);
    zero = wire_get_u32(&reader);
    taken.entry = wire_get_raw(&reader, size);
    checksum = wire_get_u64(&reader);
    if (reader.failed || zero != 0 || !is_sound(&taken) ||
        checksum != XXH3_64bits(walk->data, HEAD_BYTES + size)) {
        return STATUS_CORRUPT;
    }
    *step = taken;
    *walk = reader.rest;
    return STATUS_OK;
}
