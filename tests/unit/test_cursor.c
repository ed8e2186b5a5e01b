#include "api/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/base64.h"

#define HASH 42u

static void a_cursor_gives_back_its_position(void **state)
{
    uint8_t bytes[300];
    (void)state;

    for (size_t size = 1; size <= sizeof(bytes); size++) {
        struct buffer text = BUFFER_EMPTY;
        struct buffer position = BUFFER_EMPTY;

        memset(bytes, (int)size, size);
        cursor_encode(slice_of(bytes, size), HASH, &text);
        assert_int_equal(cursor_decode(buffer_slice(&text), HASH, &position), STATUS_OK);
        assert_true(slice_equals(buffer_slice(&position), slice_of(bytes, size)));
        buffer_close(&text);
        buffer_close(&position);
    }
}

static void every_damaged_cursor_is_refused(void **state)
{
    struct buffer text = BUFFER_EMPTY;
    struct buffer position = BUFFER_EMPTY;
    (void)state;

    cursor_encode(slice_of_string("key"), HASH, &text);
    for (size_t i = 0; i < text.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(cursor_decode(buffer_slice(&text), HASH, &position), STATUS_INVALID);
            text.data[i] ^= (uint8_t)(1u << bit);
        }
        assert_int_equal(cursor_decode(slice_of(text.data, i), HASH, &position), STATUS_INVALID);
    }
    assert_int_equal(cursor_decode(buffer_slice(&text), HASH + 1, &position), STATUS_INVALID);
    assert_int_equal(position.size, 0);
    buffer_close(&text);
}

static void filters_differ_by_their_pieces_and_not_by_their_sum(void **state)
{
    struct cursor_filters one = {0};
    struct cursor_filters other = {0};
    (void)state;

    cursor_filters_add(&one, slice_of_string("ab"));
    cursor_filters_add(&one, slice_of_string("c"));
    cursor_filters_add(&other, slice_of_string("a"));
    cursor_filters_add(&other, slice_of_string("bc"));
    assert_true(cursor_filters_hash(&one) != cursor_filters_hash(&other));
}

static void base64_is_as_in_its_rfc(void **state)
{
    static const char *const texts[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"}; /* RFC 4648, section 10. */
    struct buffer text = BUFFER_EMPTY;
    struct buffer bytes = BUFFER_EMPTY;
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        buffer_clear(&text);
        buffer_clear(&bytes);
        base64_encode(BASE64_STANDARD, slice_of("foobar", i), &text);
        assert_true(slice_equals_string(buffer_slice(&text), texts[i]));
        assert_true(base64_decode(BASE64_STANDARD, buffer_slice(&text), &bytes));
        assert_true(slice_equals(buffer_slice(&bytes), slice_of("foobar", i)));
    }
    buffer_close(&text);
    buffer_close(&bytes);
}

static void base64_that_is_not_canonical_is_refused(void **state)
{
    static const char *const bad[] = {
        "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-v", "====", "="};
    struct buffer bytes = BUFFER_EMPTY;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(base64_decode(BASE64_STANDARD, slice_of_string(bad[i]), &bytes));
        assert_int_equal(bytes.size, 0);
    }
    assert_false(base64_decode(BASE64_URL, slice_of_string("Zg=="), &bytes));
    assert_true(base64_decode(BASE64_URL, slice_of_string("_-8"), &bytes));
    assert_int_equal(bytes.size, 2);
    buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_gives_back_its_position),
        cmocka_unit_test(every_damaged_cursor_is_refused),
        cmocka_unit_test(filters_differ_by_their_pieces_and_not_by_their_sum),
        cmocka_unit_test(base64_is_as_in_its_rfc),
        cmocka_unit_test(base64_that_is_not_canonical_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
