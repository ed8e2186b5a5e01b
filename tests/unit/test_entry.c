/* Log entries and bundles: what was written is read back, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "daemon/base/wire.h"
#include "storage/entry.h"
#include "storage/feature.h"

static void add_bundle(struct buffer *entry, uint64_t sequence, const char *const *commands,
                       uint32_t n)
{
    struct buffer bundle = BUFFER_EMPTY;
    size_t offset = bundle_begin(&bundle, 7, 8, sequence);

    for (uint32_t i = 0; i < n; i++) {
        bundle_add_command(&bundle, slice_of_string(commands[i]));
    }
    bundle_finish(&bundle, offset, n);
    entry_add_bundle(entry, buffer_slice(&bundle));
    buffer_close(&bundle);
}

/* Two bundles: "a" and "bcd"; "ef". */
static struct buffer make_entry(void)
{
    static const char *const first[] = {"a", "bcd"};
    static const char *const second[] = {"ef"};
    struct buffer entry = BUFFER_EMPTY;

    entry_begin(&entry, FEATURE_LEVEL, ENTRY_FLAG_NEW_LEADER, 3, 1700000000000);
    add_bundle(&entry, 1, first, 2);
    add_bundle(&entry, 2, second, 1);
    entry_finish(&entry);
    return entry;
}

static void entry_gives_back_its_bundles_and_commands_in_order(void **state)
{
    struct buffer bytes = make_entry();
    struct bundle bundle;
    struct entry entry;
    struct slice command;

    (void)state;
    assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_OK);

    assert_int_equal(bytes.size % 8, 0);
    assert_int_equal(entry.term, 3);
    assert_int_equal(entry.time_ms, 1700000000000);
    assert_int_equal(entry.flags, ENTRY_FLAG_NEW_LEADER);
    assert_int_equal(entry.n_bundles, 2);
    assert_true(entry_next_bundle(&entry.bundles, &bundle));
    assert_int_equal(bundle.origin, 7);
    assert_int_equal(bundle.boot, 8);
    assert_int_equal(bundle.sequence, 1);
    assert_true(bundle_next_command(&bundle.commands, &command));
    assert_true(slice_equals_string(command, "a"));
    assert_true(bundle_next_command(&bundle.commands, &command));
    assert_true(slice_equals_string(command, "bcd"));
    assert_false(bundle_next_command(&bundle.commands, &command));
    assert_true(entry_next_bundle(&entry.bundles, &bundle));
    assert_int_equal(bundle.sequence, 2);
    assert_false(entry_next_bundle(&entry.bundles, &bundle));
    buffer_close(&bytes);
}

static void entry_may_hold_no_bundle(void **state)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct bundle bundle;
    struct entry entry;

    (void)state;
    entry_begin(&bytes, FEATURE_LEVEL, 0, 1, 1);
    entry_finish(&bytes);

    assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_OK);
    assert_false(entry_next_bundle(&entry.bundles, &bundle));
    buffer_close(&bytes);
}

static void entry_refuses_every_flipped_bit(void **state)
{
    struct buffer bytes = make_entry();
    struct entry entry;

    (void)state;
    for (size_t i = 0; i < bytes.size * 8; i++) {
        bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_OK);
        bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    buffer_close(&bytes);
}

static void entry_refuses_every_other_length(void **state)
{
    struct buffer bytes = make_entry();
    struct entry entry;

    (void)state;
    for (size_t size = 0; size < bytes.size; size++) {
        struct slice cut = slice_of(bytes.data, size);
        struct error error;

        assert_int_equal(entry_decode(cut, &entry, &error), STATUS_CORRUPT);
    }
    for (size_t n = 1; n <= 8; n++) {
        memset(buffer_extend(&bytes, 1), 0, 1);
        assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_CORRUPT);
    }
    buffer_close(&bytes);
}

/* Seal the entry anew after its envelope was changed at @offset. */
static struct buffer make_changed_entry(size_t offset, uint8_t value)
{
    struct buffer bytes = BUFFER_EMPTY;

    entry_begin(&bytes, FEATURE_LEVEL, 0, 1, 1);
    bytes.data[offset] = value;
    entry_finish(&bytes);
    return bytes;
}

static void entry_of_a_later_program_is_unsupported_not_corrupt(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {{0, ENTRY_VERSION + 1}, {2, 4}, {3, 1}, {4, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct buffer bytes = make_changed_entry(changes[i].offset, changes[i].value);
        struct entry entry;

        assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_UNSUPPORTED);
        buffer_close(&bytes);
    }
}

static void entry_counts_what_it_holds(void **state)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer bundle = BUFFER_EMPTY;
    struct entry entry;
    size_t offset;

    (void)state;
    offset = bundle_begin(&bundle, 1, 1, 1);
    bundle_add_command(&bundle, slice_of_string("x"));
    bundle_finish(&bundle, offset, 2); /* A lie. */
    entry_begin(&bytes, FEATURE_LEVEL, 0, 1, 1);
    entry_add_bundle(&bytes, buffer_slice(&bundle));
    entry_finish(&bytes);

    assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_CORRUPT);
    buffer_close(&bundle);
    buffer_close(&bytes);
}

static void bundle_refuses_bytes_that_do_not_fit(void **state)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct bundle bundle;
    size_t offset = bundle_begin(&bytes, 1, 2, 3);

    (void)state;
    bundle_add_command(&bytes, slice_of_string("abc"));
    bundle_finish(&bytes, offset, 1);
    assert_int_equal(bundle_decode(buffer_slice(&bytes), &bundle), STATUS_OK);

    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(bundle_decode(slice_of(bytes.data, size), &bundle), STATUS_CORRUPT);
    }
    buffer_append_byte(&bytes, 0);
    assert_int_equal(bundle_decode(buffer_slice(&bytes), &bundle), STATUS_CORRUPT);
    buffer_close(&bytes);
}

static void bundle_refuses_commands_that_are_empty_or_too_large(void **state)
{
    static const size_t sizes[] = {0, LIMIT_COMMAND_BYTES + 1};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buffer bytes = BUFFER_EMPTY;
        struct bundle bundle;
        size_t offset = bundle_begin(&bytes, 1, 2, 3);

        wire_put_u32(&bytes, (uint32_t)sizes[i]);
        memset(buffer_extend(&bytes, sizes[i]), 'x', sizes[i]);
        bundle_finish(&bytes, offset, 1);
        assert_int_equal(bundle_decode(buffer_slice(&bytes), &bundle), STATUS_CORRUPT);
        buffer_close(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_gives_back_its_bundles_and_commands_in_order),
        cmocka_unit_test(entry_may_hold_no_bundle),
        cmocka_unit_test(entry_refuses_every_flipped_bit),
        cmocka_unit_test(entry_refuses_every_other_length),
        cmocka_unit_test(entry_of_a_later_program_is_unsupported_not_corrupt),
        cmocka_unit_test(entry_counts_what_it_holds),
        cmocka_unit_test(bundle_refuses_bytes_that_do_not_fit),
        cmocka_unit_test(bundle_refuses_commands_that_are_empty_or_too_large),
    };

    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
