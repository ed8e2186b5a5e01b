/* Keys: they sort as they mean, and what was built is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/keys.h"

/* @first sorts before @second. */
static void assert_before(struct key first, struct key second)
{
    assert_true(slice_compare(key_slice(&first), key_slice(&second)) < 0);
}

static struct slice text(const char *string)
{
    return slice_of_string(string);
}

static struct session_index index_of(const char *value, uint64_t revision, uint64_t object_id)
{
    return (struct session_index){
        .namespace_id = 3,
        .attribute = INDEX_USER,
        .sort = INDEX_UPDATED,
        .value = text(value),
        .revision = revision,
        .object_id = object_id,
    };
}

static struct key index_key(const char *value, uint64_t revision, uint64_t object_id)
{
    struct session_index index = index_of(value, revision, object_id);

    return key_session_index(&index);
}

static void numbers_sort_as_numbers(void **state)
{
    (void)state;
    assert_before(key_change(255), key_change(256));
    assert_before(key_change(1), key_change(UINT64_MAX));
    assert_before(key_event(1, 9), key_event(1, 10));
    assert_before(key_event(1, UINT64_MAX), key_event(2, 0));
    assert_before(key_due(255, 9, 9, text("z")), key_due(256, 1, 1, text("a")));
    assert_before(key_item(1, text("zzz")), key_item(2, text("a")));
}

static void index_entries_sort_by_value_then_revision_then_object(void **state)
{
    (void)state;
    assert_before(index_key("a", 9, 9), index_key("ab", 1, 1));
    assert_before(index_key("a", 1, 9), index_key("a", 2, 1));
    assert_before(index_key("a", 1, 1), index_key("a", 1, 2));
}

static void a_value_that_begins_another_has_a_prefix_of_its_own(void **state)
{
    struct key prefix = key_session_index_prefix(3, INDEX_USER, INDEX_UPDATED, text("a"));
    struct key inside = index_key("a", 1, 1);
    struct key outside = index_key("ab", 1, 1);

    (void)state;
    assert_true(slice_starts_with(key_slice(&inside), key_slice(&prefix)));
    assert_false(slice_starts_with(key_slice(&outside), key_slice(&prefix)));
}

static void built_keys_are_read_back(void **state)
{
    struct key item = key_item(7, text("a/b"));
    struct key event = key_event(8, 9);
    struct key due = key_due(10, 2, 11, text("s"));
    struct key purge = key_purge(1, 12, 13);
    struct key index = index_key("user", 14, 15);
    struct session_index read;
    struct slice name;
    uint64_t a;
    uint64_t b;
    uint8_t kind;

    (void)state;
    assert_true(key_parse_id_name(key_slice(&item), KEY_ITEM, &a, &name));
    assert_int_equal(a, 7);
    assert_true(slice_equals_string(name, "a/b"));
    assert_true(key_parse_event(key_slice(&event), &a, &b));
    assert_int_equal(a, 8);
    assert_int_equal(b, 9);
    assert_true(key_parse_due(key_slice(&due), &a, &kind, &b, &name));
    assert_int_equal(a, 10);
    assert_int_equal(kind, 2);
    assert_int_equal(b, 11);
    assert_true(slice_equals_string(name, "s"));
    assert_true(key_parse_purge(key_slice(&purge), &kind, &a, &b));
    assert_int_equal(a, 12);
    assert_int_equal(b, 13);
    assert_true(key_parse_session_index(key_slice(&index), &read));
    assert_int_equal(read.namespace_id, 3);
    assert_int_equal(read.attribute, INDEX_USER);
    assert_int_equal(read.sort, INDEX_UPDATED);
    assert_true(slice_equals_string(read.value, "user"));
    assert_int_equal(read.revision, 14);
    assert_int_equal(read.object_id, 15);
}

static void cut_and_foreign_keys_are_refused(void **state)
{
    struct key event = key_event(8, 9);
    struct key index = index_key("user", 14, 15);
    struct session_index read;
    struct slice name;
    uint64_t a;
    uint64_t b;

    (void)state;
    for (size_t size = 0; size < event.size; size++) {
        assert_false(key_parse_event(slice_of(event.data, size), &a, &b));
    }
    for (size_t size = 0; size < index.size; size++) {
        assert_false(key_parse_session_index(slice_of(index.data, size), &read));
    }
    assert_false(key_parse_id_name(key_slice(&event), KEY_ITEM, &a, &name));
}

static void the_longest_keys_fit(void **state)
{
    uint8_t bytes[LIMIT_ITEM_KEY_BYTES];
    struct slice longest = slice_of(bytes, sizeof bytes);
    struct session_index index = index_of("", UINT64_MAX, UINT64_MAX);
    struct key due;
    struct key entry;

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    index.value = slice_of(bytes, LIMIT_ID_BYTES);
    due = key_due(UINT64_MAX, 4, UINT64_MAX, longest);
    entry = key_session_index(&index);

    assert_true(due.size <= LIMIT_STATE_KEY_BYTES);
    assert_true(entry.size <= LIMIT_STATE_KEY_BYTES);
}

static void the_key_behind_a_prefix_is_behind_all_of_it_and_before_the_next(void **state)
{
    struct key prefix = key_prefix_of_id(KEY_ITEM, 255);
    struct key behind = key_behind_prefix(&prefix);
    struct key next = key_prefix_of_id(KEY_ITEM, 256);
    uint8_t high[4] = {0xff, 0xff, 0xff, 0xff};

    (void)state;
    assert_before(key_item(255, slice_of(high, sizeof high)), behind);
    assert_true(slice_compare(key_slice(&behind), key_slice(&next)) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_sort_as_numbers),
        cmocka_unit_test(index_entries_sort_by_value_then_revision_then_object),
        cmocka_unit_test(a_value_that_begins_another_has_a_prefix_of_its_own),
        cmocka_unit_test(built_keys_are_read_back),
        cmocka_unit_test(cut_and_foreign_keys_are_refused),
        cmocka_unit_test(the_longest_keys_fit),
        cmocka_unit_test(the_key_behind_a_prefix_is_behind_all_of_it_and_before_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
