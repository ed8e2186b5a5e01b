/* Results: what a command gave, encoded and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/result.h"

static struct buffer make_result(void)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct operation_result made = {
        .outcome = OUTCOME_CREATED, .etag = 9, .row_kind = ROW_ITEM, .row = slice_of("row", 3)};
    struct operation_result refused = {
        .outcome = OUTCOME_TOO_LARGE, .number = 5, .text = slice_of("/state", 6)};

    result_begin(&bytes, 9, 1);
    result_add(&bytes, &made);
    result_add(&bytes, &refused);
    result_finish(&bytes, 2);
    return bytes;
}

static void result_reads_back_what_was_added(void **state)
{
    struct buffer bytes = make_result();
    struct operation_result operation;
    struct result result;

    (void)state;
    assert_int_equal(result_decode(buffer_slice(&bytes), &result), STATUS_OK);

    assert_int_equal(result.revision, 9);
    assert_int_equal(result.failed_operation, 1);
    assert_int_equal(result.n_operations, 2);
    assert_false(result.replayed);
    assert_true(result_next(&result.operations, &operation));
    assert_int_equal(operation.outcome, OUTCOME_CREATED);
    assert_int_equal(operation.etag, 9);
    assert_int_equal(operation.row_kind, ROW_ITEM);
    assert_true(slice_equals_string(operation.row, "row"));
    assert_true(result_next(&result.operations, &operation));
    assert_int_equal(operation.outcome, OUTCOME_TOO_LARGE);
    assert_int_equal(operation.number, 5);
    assert_true(slice_equals_string(operation.text, "/state"));
    assert_false(result_next(&result.operations, &operation));
    buffer_close(&bytes);
}

static void replayed_is_marked_without_touching_the_rest(void **state)
{
    struct buffer bytes = make_result();
    struct result result;

    (void)state;
    result_set_replayed(&bytes);

    assert_int_equal(result_decode(buffer_slice(&bytes), &result), STATUS_OK);
    assert_true(result.replayed);
    assert_int_equal(result.revision, 9);
    assert_int_equal(result.n_operations, 2);
    buffer_close(&bytes);
}

static void result_refuses_other_bytes(void **state)
{
    struct buffer bytes = make_result();
    struct result result;

    (void)state;
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(result_decode(slice_of(bytes.data, size), &result), STATUS_CORRUPT);
    }
    buffer_append_byte(&bytes, 0);
    assert_int_equal(result_decode(buffer_slice(&bytes), &result), STATUS_CORRUPT);
    bytes.size--;
    result_finish(&bytes, 3);
    assert_int_equal(result_decode(buffer_slice(&bytes), &result), STATUS_CORRUPT);
    bytes.data[0]++;
    assert_int_equal(result_decode(buffer_slice(&bytes), &result), STATUS_UNSUPPORTED);
    buffer_close(&bytes);
}

static void only_failures_have_a_problem(void **state)
{
    (void)state;
    for (int i = 0; i < OUTCOMES; i++) {
        enum outcome outcome = (enum outcome)i;

        assert_int_equal(outcome_is_success(outcome), outcome_problem(outcome) == NULL);
        assert_int_equal(outcome_is_success(outcome), outcome_http_status(outcome) < 300);
    }
    assert_string_equal(outcome_problem(OUTCOME_DELETED), "deleted");
    assert_int_equal(outcome_http_status(OUTCOME_DELETED), 410);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(result_reads_back_what_was_added),
        cmocka_unit_test(replayed_is_marked_without_touching_the_rest),
        cmocka_unit_test(result_refuses_other_bytes),
        cmocka_unit_test(only_failures_have_a_problem),
    };

    return cmocka_run_group_tests_name("result", tests, NULL, NULL);
}
