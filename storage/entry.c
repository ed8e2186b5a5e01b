#include "storage/entry.h"

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/wire.h"

#define ENTRY_ALIGNMENT 8

/* Offsets of what entry_finish() fills in. */
#define OFFSET_BUNDLES  24
#define OFFSET_SIZE     28
#define OFFSET_CHECKSUM 32

/* Offsets of what bundle_finish() fills in. */
#define BUNDLE_OFFSET_COMMANDS 24
#define BUNDLE_OFFSET_SIZE     28

void entry_begin(struct buffer *buffer, unsigned feature_level, uint16_t flags, uint64_t term,
                 uint64_t time_ms)
{
    CHECK(buffer->size == 0);
    CHECK(feature_level > 0 && feature_level <= UINT8_MAX);
    CHECK((flags & ~ENTRY_FLAGS_KNOWN) == 0);

    wire_put_u8(buffer, ENTRY_VERSION);
    wire_put_u8(buffer, (uint8_t)feature_level);
    wire_put_u16(buffer, flags);
    wire_put_u32(buffer, 0); /* The group: there is one. */
    wire_put_u64(buffer, term);
    wire_put_u64(buffer, time_ms);
    wire_put_u32(buffer, 0); /* Bundles: counted below, as they are added. */
    wire_put_u32(buffer, 0);
    wire_put_u64(buffer, 0);
    CHECK(buffer->size == ENTRY_HEADER_BYTES);
}

void entry_add_bundle(struct buffer *buffer, struct slice bundle)
{
    struct wire_reader reader;
    uint32_t n_bundles;

    CHECK(buffer->size >= ENTRY_HEADER_BYTES);
    CHECK(bundle.size >= BUNDLE_HEADER_BYTES);

    reader = wire_reader_of(slice_of(buffer->data + OFFSET_BUNDLES, sizeof n_bundles));
    n_bundles = wire_get_u32(&reader);
    wire_set_u32(buffer, OFFSET_BUNDLES, n_bundles + 1);
    buffer_append_slice(buffer, bundle);
}

/* @bytes begin with the envelope, whose checksum counts as 0, and @size bytes of bundles. */
static uint64_t checksum_of(struct slice bytes, size_t size)
{
    uint8_t header[ENTRY_HEADER_BYTES];

    memcpy(header, bytes.data, sizeof header);
    memset(header + OFFSET_CHECKSUM, 0, sizeof(uint64_t));
    return XXH3_64bits_withSeed(bytes.data + sizeof header, size,
                                XXH3_64bits(header, sizeof header));
}

/* How many zeros follow an entry of @size bytes. */
static size_t padding_behind(size_t size)
{
    return (ENTRY_ALIGNMENT - size % ENTRY_ALIGNMENT) % ENTRY_ALIGNMENT;
}

void entry_finish(struct buffer *buffer)
{
    size_t size = buffer->size - ENTRY_HEADER_BYTES;
    size_t padding = padding_behind(buffer->size);

    CHECK(buffer->size >= ENTRY_HEADER_BYTES);
    CHECK(size <= UINT32_MAX);

    wire_set_u32(buffer, OFFSET_SIZE, (uint32_t)size);
    wire_set_u64(buffer, OFFSET_CHECKSUM, checksum_of(buffer_slice(buffer), size));
    if (padding > 0) {
        memset(buffer_extend(buffer, padding), 0, padding);
    }
}

/* @rest must be nothing but the padding of an entry of @size bytes: an entry has one encoding. */
static bool is_padding(struct slice rest, size_t size)
{
    for (size_t i = 0; i < rest.size; i++) {
        if (rest.data[i] != 0) {
            return false;
        }
    }
    return rest.size == padding_behind(size);
}

/* Take one bundle off @walk without looking at its commands. */
static bool take_bundle(struct slice *walk, struct bundle *bundle)
{
    struct wire_reader reader = wire_reader_of(*walk);
    struct bundle next;
    uint32_t size;

    next.origin = wire_get_u64(&reader);
    next.boot = wire_get_u64(&reader);
    next.sequence = wire_get_u64(&reader);
    next.n_commands = wire_get_u32(&reader);
    size = wire_get_u32(&reader);
    next.commands = wire_get_raw(&reader, size);
    if (reader.failed) {
        return false;
    }
    *bundle = next;
    *walk = reader.rest;
    return true;
}

static bool commands_are_sound(const struct bundle *bundle)
{
    struct slice walk = bundle->commands;
    struct slice command;
    uint32_t n = 0;

    while (bundle_next_command(&walk, &command)) {
        if (command.size == 0 || command.size > LIMIT_COMMAND_BYTES) {
            return false;
        }
        n++;
    }
    return walk.size == 0 && n == bundle->n_commands;
}

static enum status check_bundles(const struct entry *entry, struct error *error)
{
    struct slice walk = entry->bundles;
    struct bundle bundle;
    uint32_t n = 0;

    while (take_bundle(&walk, &bundle)) {
        n++;
        if (!commands_are_sound(&bundle)) {
            return error_set(error, STATUS_CORRUPT,
                             "bundle %u of the log entry does not hold the commands it says", n);
        }
    }
    if (walk.size > 0 || n != entry->n_bundles) {
        return error_set(error, STATUS_CORRUPT,
                         "the log entry does not hold the %u bundles it says", entry->n_bundles);
    }
    return STATUS_OK;
}

enum status entry_decode(struct slice bytes, struct entry *entry, struct error *error)
{
    struct wire_reader reader = wire_reader_of(bytes);
    struct entry decoded;
    enum status status;
    uint8_t version = wire_get_u8(&reader);
    uint32_t group;
    uint32_t size;
    uint64_t checksum;

    if (bytes.size > 0 && version != ENTRY_VERSION) {
        return error_set(error, STATUS_UNSUPPORTED, "the log entry has version %u, not %d", version,
                         ENTRY_VERSION);
    }
    decoded.feature_level = wire_get_u8(&reader);
    decoded.flags = wire_get_u16(&reader);
    group = wire_get_u32(&reader);
    decoded.term = wire_get_u64(&reader);
    decoded.time_ms = wire_get_u64(&reader);
    decoded.n_bundles = wire_get_u32(&reader);
    size = wire_get_u32(&reader);
    checksum = wire_get_u64(&reader);
    decoded.bundles = wire_get_raw(&reader, size);
    if (reader.failed || !is_padding(reader.rest, bytes.size - reader.rest.size)) {
        return error_set(error, STATUS_CORRUPT, "the log entry has not the size it says");
    }
    if (checksum_of(bytes, size) != checksum) {
        return error_set(error, STATUS_CORRUPT, "the checksum of the log entry is wrong");
    }
    if (decoded.feature_level == 0) {
        return error_set(error, STATUS_CORRUPT, "the log entry has no feature level");
    }
    if ((decoded.flags & ~ENTRY_FLAGS_KNOWN) != 0 || group != 0) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the log entry needs a later program: flags %u, group %u", decoded.flags,
                         group);
    }
    status = check_bundles(&decoded, error);
    if (status != STATUS_OK) {
        return status;
    }
    *entry = decoded;
    return STATUS_OK;
}

bool entry_next_bundle(struct slice *walk, struct bundle *bundle)
{
    return take_bundle(walk, bundle);
}

size_t bundle_begin(struct buffer *buffer, uint64_t origin, uint64_t boot, uint64_t sequence)
{
    size_t offset = buffer->size;

    wire_put_u64(buffer, origin);
    wire_put_u64(buffer, boot);
    wire_put_u64(buffer, sequence);
    wire_put_u32(buffer, 0);
    wire_put_u32(buffer, 0);
    return offset;
}

void bundle_add_command(struct buffer *buffer, struct slice command)
{
    wire_put_bytes(buffer, command);
}

void bundle_finish(struct buffer *buffer, size_t offset, uint32_t n_commands)
{
    size_t size = buffer->size - offset - BUNDLE_HEADER_BYTES;

    CHECK(buffer->size >= offset + BUNDLE_HEADER_BYTES);
    CHECK(size <= UINT32_MAX);

    wire_set_u32(buffer, offset + BUNDLE_OFFSET_COMMANDS, n_commands);
    wire_set_u32(buffer, offset + BUNDLE_OFFSET_SIZE, (uint32_t)size);
}

enum status bundle_decode(struct slice bytes, struct bundle *bundle)
{
    struct bundle decoded;

    if (!take_bundle(&bytes, &decoded) || bytes.size > 0 || !commands_are_sound(&decoded)) {
        return STATUS_CORRUPT;
    }
    *bundle = decoded;
    return STATUS_OK;
}

bool bundle_next_command(struct slice *walk, struct slice *command)
{
    struct wire_reader reader = wire_reader_of(*walk);
    struct slice next = wire_get_bytes(&reader);

    if (reader.failed) {
        return false;
    }
    *command = next;
    *walk = reader.rest;
    return true;
}
