/* Events: appends and repeated appends, and what they leave behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "storage/event_log.h"
#include "tests/lib/event_fixture.h"

/* --- Appending --- */

static void append_numbers_events_from_one(void **state)
{
    struct execution_fixture *f = *state;
    struct append_row row;

    events_append(f, 2);
    row = events_appended(f);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 2);
    assert_true(row.session_created);
    assert_false(row.duplicate);

    events_append(f, 1);
    row = events_appended(f);
    assert_int_equal(row.first_seq, 3);
    assert_false(row.session_created);
    assert_int_equal(events_session(f).event_count, 3);
    assert_int_equal(events_session(f).event_bytes, 3 * (strlen("message") + strlen("{\"n\":1}")));
    events_assert_listed(f, "1 2 3");
}

static void append_needs_a_session_or_create(void **state)
{
    struct execution_fixture *f = *state;

    events_prepare(1, NULL)->has_create = false;
    assert_int_equal(events_run(f), OUTCOME_NOT_FOUND);
    events_making.operation.if_match.kind = CONDITION_ANY; /* 404 also with If-Match, */
    assert_int_equal(events_run(f), OUTCOME_NOT_FOUND);
    events_making.operation.append.has_create = true; /* but what would be made is 412. */
    assert_int_equal(events_run(f), OUTCOME_PRECONDITION_FAILED);
    events_making.operation.if_match.kind = CONDITION_NONE;
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    events_making.operation.append.has_create = false;
    assert_int_equal(events_run(f), OUTCOME_CREATED);
}

static void append_leaves_the_etag_and_moves_the_update(void **state)
{
    struct execution_fixture *f = *state;
    uint64_t revision;

    events_append(f, 1);
    revision = execution_revision(f);
    f->now_ms += 7;
    events_append(f, 1);

    assert_int_equal(f->result.etag, revision);
    assert_int_equal(events_session(f).revision, revision);
    assert_int_equal(events_session(f).updated_revision, revision + 1);
    assert_int_equal(events_session(f).updated_at_ms, FIXTURE_START_MS + 7);
    assert_int_equal(events_session(f).created_at_ms, FIXTURE_START_MS);
}

static void append_compares_the_expected_seq_before_it_truncates(void **state)
{
    struct execution_fixture *f = *state;
    struct append_operation *wanted = events_prepare(1, NULL);

    wanted->has_expected_seq = true;
    wanted->expected_seq = 1;
    assert_int_equal(events_run(f), OUTCOME_SEQUENCE_CONFLICT); /* Absent counts as 0. */
    assert_int_equal(f->result.number, 0);
    wanted->expected_seq = 0;
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    events_append(f, 3);

    wanted = events_prepare(1, NULL);
    wanted->has_expected_seq = true;
    wanted->expected_seq = 2;
    wanted->has_truncate_after = true;
    wanted->truncate_after = 2;
    assert_int_equal(events_run(f), OUTCOME_SEQUENCE_CONFLICT);
    assert_int_equal(f->result.number, 4);
    wanted->expected_seq = 4;
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    assert_int_equal(events_appended(f).first_seq, 5);
    events_assert_listed(f, "1 2 5");
    assert_int_equal(f->n_changes, 2); /* Trimmed and appended. */
}

static void append_to_a_closed_session_is_refused_but_deleting_is_not(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};

    events_append(f, 2);
    assert_int_equal(events_run_session(f, OPERATION_SESSION_PATCH, &fields), OUTCOME_OK);
    events_prepare(1, NULL)->has_expected_seq = true; /* Closed comes before expected_seq. */
    assert_int_equal(events_run(f), OUTCOME_SESSION_CLOSED);
    events_making.operation.if_match = (struct condition){CONDITION_TAGS, 1, {1}};
    assert_int_equal(events_run(f), OUTCOME_PRECONDITION_FAILED); /* If-* comes before closed. */
    assert_int_equal(events_trim_before(f, 2).deleted, 1);
    fields.status = SESSION_PAUSED;
    assert_int_equal(events_run_session(f, OPERATION_SESSION_PATCH, &fields), OUTCOME_OK);
    events_append(f, 1);
}

static void append_merges_the_state_in_the_same_revision(void **state)
{
    struct execution_fixture *f = *state;
    struct append_operation *wanted = events_prepare(1, NULL);

    wanted->create.state = (struct text_field){FIELD_SET, slice_of_string("{\"a\":1,\"b\":2}")};
    wanted->state_patch = slice_of_string("{\"a\":null,\"c\":[3]}");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    assert_true(slice_equals_string(events_session(f).state, "{\"b\":2,\"c\":[3]}"));

    events_prepare(1, NULL)->state_patch = slice_of_string("{\"b\":null,\"c\":null}");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    assert_true(slice_equals_string(events_session(f).state, "{}"));
    assert_int_equal(f->result.etag, execution_revision(f));
    assert_int_equal(execution_count(f, KEY_SESSION_STATE), 0);
}

static void append_with_a_state_that_grows_too_large_writes_nothing(void **state)
{
    struct execution_fixture *f = *state;
    struct buffer patch = BUFFER_EMPTY;

    events_append(f, 1);
    buffer_append_string(&patch, "{\"a\":\"");
    memset(buffer_extend(&patch, LIMIT_STATE_BYTES), 'x', LIMIT_STATE_BYTES);
    buffer_append_string(&patch, "\"}");
    events_prepare(1, "e")->state_patch = buffer_slice(&patch);
    assert_int_equal(events_run(f), OUTCOME_TOO_LARGE);
    assert_true(slice_equals_string(f->result.text, "/state_patch"));

    events_making.operation.append.state_patch = slice_of_string("[]"); /* From a broken peer. */
    assert_int_equal(events_run(f), OUTCOME_INVALID_FIELD);
    events_assert_listed(f, "1");
    assert_int_equal(execution_count(f, KEY_EVENT_ID), 0);
    buffer_close(&patch);
}

/* --- Repeating --- */

static void a_repeated_append_gives_the_first_answer_and_no_revision(void **state)
{
    struct execution_fixture *f = *state;
    struct append_row row;

    (void)events_prepare(3, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    events_append(f, 2);
    (void)events_prepare(3, "a");
    events_making.operation.append.has_expected_seq = true; /* Duplicates are looked for before. */
    events_making.operation.append.expected_seq = 77;
    assert_int_equal(events_run(f), OUTCOME_OK);

    row = events_appended(f);
    assert_true(row.duplicate);
    assert_true(row.session_created);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 3);
    assert_false(f->took_revision);
    assert_int_equal(events_session(f).last_seq, 5);
}

static void ids_outlive_rewind_trim_and_closing(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields closed = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};

    events_append(f, 1);
    (void)events_prepare(2, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    assert_int_equal(events_rewind_after(f, 0).deleted, 3);
    assert_int_equal(events_run_session(f, OPERATION_SESSION_PATCH, &closed), OUTCOME_OK);

    (void)events_prepare(2, "a");
    assert_int_equal(events_run(f), OUTCOME_OK);
    assert_int_equal(events_appended(f).first_seq, 2);
    assert_false(events_appended(f).session_created);
    events_assert_listed(f, "");
}

static void an_append_that_only_resembles_an_earlier_one_is_refused(void **state)
{
    struct execution_fixture *f = *state;
    struct new_event swapped;

    (void)events_prepare(3, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);

    (void)events_prepare(2, "a"); /* A part of it, */
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    (void)events_prepare(4, "a"); /* more than it, */
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    (void)events_prepare(3, "a"); /* its tail behind something new, */
    events_making.events[0].id = slice_of_string("new");
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    (void)events_prepare(3, "a"); /* other data, */
    events_making.events[1].data = slice_of_string("{\"n\":2}");
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    (void)events_prepare(3, "a"); /* another type, */
    events_making.events[2].type = slice_of_string("massage");
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    for (unsigned i = 0; i < 2; i++) { /* another order. */
        (void)events_prepare(3, "a");
        swapped = events_making.events[i];
        events_making.events[i] = events_making.events[i + 1];
        events_making.events[i + 1] = swapped;
        assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    }
    (void)events_prepare(3, "a");
    assert_int_equal(events_run(f), OUTCOME_OK);
}

static void two_appends_sent_as_one_are_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)events_prepare(1, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    (void)events_prepare(1, "b");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    (void)events_prepare(2, "a");
    events_making.events[1].id = slice_of_string("b-0");
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
}

static void an_id_given_twice_in_one_append_is_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)events_prepare(LIMIT_APPEND_EVENTS, "a");
    events_making.events[255].id = events_making.events[3].id;
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
    (void)events_prepare(LIMIT_APPEND_EVENTS, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
}

static void a_known_append_in_a_transaction_is_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)events_prepare(1, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    f->execution.in_transaction = true;
    assert_int_equal(events_run(f), OUTCOME_EVENT_ID_REUSED);
}

static void ids_end_with_their_session(void **state)
{
    struct execution_fixture *f = *state;

    (void)events_prepare(1, "a");
    events_making.operation.append.create.ttl = (struct ttl){TTL_SET, 1000};
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    f->now_ms += 2000; /* Expired, and its name used anew before anything was purged. */
    (void)events_prepare(1, "a");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    assert_true(events_appended(f).session_created);
    assert_int_equal(events_appended(f).first_seq, 1);
    execution_maintain_all(f);
    events_assert_listed(f, "1");
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
    assert_int_equal(execution_count(f, KEY_EVENT_ID), 1);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, execution_fixture_setup, execution_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(append_numbers_events_from_one),
        TEST(append_needs_a_session_or_create),
        TEST(append_leaves_the_etag_and_moves_the_update),
        TEST(append_compares_the_expected_seq_before_it_truncates),
        TEST(append_to_a_closed_session_is_refused_but_deleting_is_not),
        TEST(append_merges_the_state_in_the_same_revision),
        TEST(append_with_a_state_that_grows_too_large_writes_nothing),
        TEST(a_repeated_append_gives_the_first_answer_and_no_revision),
        TEST(ids_outlive_rewind_trim_and_closing),
        TEST(an_append_that_only_resembles_an_earlier_one_is_refused),
        TEST(two_appends_sent_as_one_are_refused),
        TEST(an_id_given_twice_in_one_append_is_refused),
        TEST(a_known_append_in_a_transaction_is_refused),
        TEST(ids_end_with_their_session),
    };

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
