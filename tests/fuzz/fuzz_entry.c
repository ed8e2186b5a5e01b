/* Whatever is read as a log entry or a bundle is refused, or walks to its end and encodes to the
 * same bytes again. The first byte chooses; an entry is sealed first, to get past its checksum. */
#include "daemon/base/check.h"
#include "storage/entry.h"
#include "storage/feature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_bundle(const struct bundle *bundle, struct buffer *bytes)
{
    struct slice walk = bundle->commands;
    struct slice command;
    size_t offset = bundle_begin(bytes, bundle->origin, bundle->boot, bundle->sequence);

    while (bundle_next_command(&walk, &command)) {
        bundle_add_command(bytes, command);
    }
    bundle_finish(bytes, offset, bundle->n_commands);
}

static void try_bundle(struct slice bytes)
{
    struct buffer again = BUFFER_EMPTY;
    struct bundle bundle;

    if (bundle_decode(bytes, &bundle) == STATUS_OK) {
        encode_bundle(&bundle, &again);
        CHECK(slice_equals(buffer_slice(&again), bytes));
    }
    buffer_close(&again);
}

static void try_entry(struct slice bytes)
{
    struct buffer again = BUFFER_EMPTY;
    struct buffer one = BUFFER_EMPTY;
    struct bundle bundle;
    struct entry entry;
    struct error error;

    if (entry_decode(bytes, &entry, &error) == STATUS_OK) {
        entry_begin(&again, entry.feature_level, entry.flags, entry.term, entry.time_ms);
        while (entry_next_bundle(&entry.bundles, &bundle)) {
            buffer_clear(&one);
            encode_bundle(&bundle, &one);
            entry_add_bundle(&again, buffer_slice(&one));
        }
        entry_finish(&again);
        CHECK(slice_equals(buffer_slice(&again), bytes));
    }
    buffer_close(&again);
    buffer_close(&one);
}

/* An entry whose counts and checksum are right around bundles that may be anything. */
static void try_sealed_entry(struct slice bundles)
{
    struct buffer bytes = BUFFER_EMPTY;

    if (bundles.size < BUNDLE_HEADER_BYTES) {
        return;
    }
    entry_begin(&bytes, FEATURE_LEVEL, 0, 1, 1);
    entry_add_bundle(&bytes, bundles);
    entry_finish(&bytes);
    try_entry(buffer_slice(&bytes));
    buffer_close(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);

    if (size == 0) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0:
        try_bundle(slice_from(bytes, 1));
        break;
    case 1:
        try_entry(slice_from(bytes, 1));
        break;
    default:
        try_sealed_entry(slice_from(bytes, 1));
    }
    return 0;
}
