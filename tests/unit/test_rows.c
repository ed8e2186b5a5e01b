/* Rows: each kind reads back as it was written, and refuses other bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/rows.h"

#define TEXT(literal) slice_of(literal, sizeof(literal) - 1)

/* Every field has a value of its own, so that two that changed places are noticed: the second
 * encoding of what was decoded must be the first, and the spot checks tie it to the fields. */
#define DEFINE_CHECK(row_type)                                                                     \
    static void check_##row_type(const struct row_type *row)                                       \
    {                                                                                              \
        struct buffer bytes = BUFFER_EMPTY;                                                        \
        struct buffer again = BUFFER_EMPTY;                                                        \
        struct row_type decoded;                                                                   \
                                                                                                   \
        row_type##_encode(row, &bytes);                                                            \
        assert_int_equal(row_type##_decode(buffer_slice(&bytes), &decoded), STATUS_OK);            \
        row_type##_encode(&decoded, &again);                                                       \
        assert_int_equal(bytes.size, again.size);                                                  \
        assert_memory_equal(bytes.data, again.data, bytes.size);                                   \
        for (size_t size = 0; size < bytes.size; size++) {                                         \
            assert_int_equal(row_type##_decode(slice_of(bytes.data, size), &decoded),              \
                             STATUS_CORRUPT);                                                      \
        }                                                                                          \
        buffer_append_byte(&bytes, 0);                                                             \
        assert_int_equal(row_type##_decode(buffer_slice(&bytes), &decoded), STATUS_CORRUPT);       \
        bytes.data[0]++;                                                                           \
        assert_int_equal(row_type##_decode(buffer_slice(&bytes), &decoded), STATUS_UNSUPPORTED);   \
        buffer_close(&bytes);                                                                      \
        buffer_close(&again);                                                                      \
    }

DEFINE_CHECK(namespace_row)
DEFINE_CHECK(namespace_counters)
DEFINE_CHECK(item_row)
DEFINE_CHECK(session_row)
DEFINE_CHECK(event_row)
DEFINE_CHECK(append_row)
DEFINE_CHECK(trim_row)
DEFINE_CHECK(prefix_deleted_row)
DEFINE_CHECK(maintained_row)
DEFINE_CHECK(member_row)
DEFINE_CHECK(removed_member_row)

static void every_row_reads_back_and_refuses_other_bytes(void **state)
{
    (void)state;
    check_namespace_row(&(struct namespace_row){TEXT("ns"), 1, 2, 3, TEXT("{}")});
    check_namespace_counters(&(struct namespace_counters){1, {2, 3, 4}, 5, 6, 7});
    check_item_row(&(struct item_row){TEXT("k"), 1, CONTENT_BYTES, TEXT("a/b"), 2, TEXT("u"), 3, 4,
                                      5, 6, TEXT("value")});
    check_event_row(&(struct event_row){1, TEXT("id"), TEXT("type"), TEXT("{}"), 2, 3, 4, 5});
    check_append_row(&(struct append_row){1, 2, true, false});
    check_append_row(&(struct append_row){1, 2, false, true});
    check_trim_row(&(struct trim_row){1, 2, 3});
    check_prefix_deleted_row(&(struct prefix_deleted_row){1, true});
    check_maintained_row(&(struct maintained_row){1, false});
    check_member_row(&(struct member_row){1, TEXT("n1"), TEXT("h:1"), TEXT("h:2"), TEXT("z"),
                                          TEXT("1.0"), MEMBER_STANDBY, true, false});
    check_removed_member_row(
        &(struct removed_member_row){1, TEXT("n1"), TEXT("h:1"), TEXT("h:2"), true});
}

static struct session_row make_session(void)
{
    return (struct session_row){
        .id = TEXT("s1"),
        .object_id = 1,
        .agent_id = TEXT("a"),
        .user_id = TEXT("u"),
        .status = SESSION_CLOSED,
        .metadata = TEXT("{\"m\":\"1\"}"),
        .state = TEXT("{\"s\":1}"),
        .state_bytes = 2,
        .ttl_ms = 3,
        .sliding = true,
        .write_policy = WRITE_POLICY_OWNER,
        .revision = 4,
        .updated_revision = 5,
        .first_seq = 6,
        .last_seq = 7,
        .next_seq = 8,
        .event_count = 9,
        .event_bytes = 10,
        .log_count = 11,
        .log_bytes = 12,
        .epoch = 13,
        .created_at_ms = 14,
        .updated_at_ms = 15,
        .expires_at_ms = 16,
    };
}

static void session_row_keeps_every_field(void **state)
{
    struct session_row row = make_session();
    struct buffer bytes = BUFFER_EMPTY;
    struct session_row decoded;

    (void)state;
    check_session_row(&row);
    session_row_encode(&row, &bytes);
    assert_int_equal(session_row_decode(buffer_slice(&bytes), &decoded), STATUS_OK);

    assert_true(slice_equals(decoded.id, row.id));
    assert_true(slice_equals(decoded.agent_id, row.agent_id));
    assert_true(slice_equals(decoded.user_id, row.user_id));
    assert_true(slice_equals(decoded.metadata, row.metadata));
    assert_true(slice_equals(decoded.state, row.state));
    assert_int_equal(decoded.status, SESSION_CLOSED);
    assert_int_equal(decoded.write_policy, WRITE_POLICY_OWNER);
    assert_true(decoded.sliding);
    assert_int_equal(decoded.ttl_ms, 3);
    assert_int_equal(decoded.revision, 4);
    assert_int_equal(decoded.last_seq, 7);
    assert_int_equal(decoded.log_bytes, 12);
    assert_int_equal(decoded.expires_at_ms, 16);
    buffer_close(&bytes);
}

static void row_refuses_enums_and_booleans_it_does_not_know(void **state)
{
    struct append_row append = {1, 2, false, false};
    struct buffer bytes = BUFFER_EMPTY;
    struct item_row decoded_item;
    struct item_row item = {.key = TEXT("k")};

    (void)state;
    append_row_encode(&append, &bytes);
    bytes.data[bytes.size - 1] = 2;
    assert_int_equal(append_row_decode(buffer_slice(&bytes), &append), STATUS_CORRUPT);

    buffer_clear(&bytes);
    item_row_encode(&item, &bytes);
    bytes.data[1 + 4 + 1 + 8] = CONTENT_BYTES + 1; /* Behind version, key and revision. */
    assert_int_equal(item_row_decode(buffer_slice(&bytes), &decoded_item), STATUS_CORRUPT);
    buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_reads_back_and_refuses_other_bytes),
        cmocka_unit_test(session_row_keeps_every_field),
        cmocka_unit_test(row_refuses_enums_and_booleans_it_does_not_know),
    };

    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
