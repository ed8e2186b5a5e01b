/* The envelope of a record: every damage is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/record.h"

#define PAYLOAD "payload of a record"

struct sealed {
    uint8_t bytes[RECORD_HEADER_BYTES + sizeof PAYLOAD - 1];
};

static struct slice key(void)
{
    return slice_of_string("key");
}

static struct slice seal(struct sealed *sealed)
{
    record_seal(key(), slice_of_string(PAYLOAD), sealed->bytes);
    return slice_of(sealed->bytes, sizeof sealed->bytes);
}

static void a_sealed_record_opens_to_its_payload(void **state)
{
    struct sealed sealed;
    struct slice payload;
    uint8_t empty[RECORD_HEADER_BYTES];

    (void)state;
    record_seal(key(), slice_of(NULL, 0), empty);

    assert_int_equal(record_open(key(), seal(&sealed), &payload), STATUS_OK);
    assert_true(slice_equals_string(payload, PAYLOAD));
    assert_int_equal(record_open(key(), slice_of(empty, sizeof empty), &payload), STATUS_OK);
    assert_int_equal(payload.size, 0);
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct sealed sealed;
    struct slice bytes = seal(&sealed);
    struct slice payload;

    (void)state;
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        sealed.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(record_open(key(), bytes, &payload), STATUS_CORRUPT);
        sealed.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void every_cut_is_noticed(void **state)
{
    struct sealed sealed;
    struct slice bytes = seal(&sealed);
    struct slice payload;

    (void)state;
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(record_open(key(), slice_of(bytes.data, size), &payload), STATUS_CORRUPT);
    }
}

static void a_record_under_another_key_is_damage(void **state)
{
    struct sealed sealed;
    struct slice payload;

    (void)state;
    assert_int_equal(record_open(slice_of_string("kez"), seal(&sealed), &payload), STATUS_CORRUPT);
}

static void the_sum_of_hashes_does_not_depend_on_the_order_and_can_be_taken_back(void **state)
{
    uint64_t sum[2] = {0, 0};
    uint64_t other[2] = {0, 0};
    uint8_t bytes[2] = {0, 0};

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        bytes[0] = (uint8_t)i;
        record_hash_add(sum, slice_of(bytes, 1), slice_of(bytes, 2));
        bytes[0] = (uint8_t)(199 - i);
        record_hash_add(other, slice_of(bytes, 1), slice_of(bytes, 2));
    }
    assert_memory_equal(sum, other, sizeof sum);
    for (unsigned i = 0; i < 200; i++) {
        bytes[0] = (uint8_t)i;
        record_hash_subtract(sum, slice_of(bytes, 1), slice_of(bytes, 2));
    }

    assert_int_equal(sum[0], 0);
    assert_int_equal(sum[1], 0);
}

static void the_hash_of_a_record_depends_on_its_key(void **state)
{
    uint64_t sum[2] = {0, 0};

    (void)state;
    record_hash_add(sum, slice_of_string("a"), slice_of_string("1"));
    record_hash_subtract(sum, slice_of_string("b"), slice_of_string("1"));

    assert_true(sum[0] != 0 || sum[1] != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_record_opens_to_its_payload),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(a_record_under_another_key_is_damage),
        cmocka_unit_test(the_sum_of_hashes_does_not_depend_on_the_order_and_can_be_taken_back),
        cmocka_unit_test(the_hash_of_a_record_depends_on_its_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
