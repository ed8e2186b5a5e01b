/* A session's log as a whole: rewinds, trims, limits, lists and the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "storage/event_log.h"
#include "tests/lib/event_fixture.h"

/* --- Rewinding and trimming --- */

static void rewind_leaves_a_gap_and_gives_no_number_twice(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    events_append(f, 5);
    row = events_rewind_after(f, 3);
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 3);
    events_append(f, 2);
    assert_int_equal(events_appended(f).first_seq, 6);
    events_assert_listed(f, "1 2 3 6 7");

    row = events_rewind_after(f, 5); /* Into the gap: 3 is the newest that was not rewound. */
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.last_seq, 3);
    row = events_rewind_after(f, 9);
    assert_int_equal(row.deleted, 0);
    assert_true(f->took_revision);
    events_assert_listed(f, "1 2 3");
}

static void trim_leaves_the_last_seq(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    events_append(f, 5);
    row = events_trim_before(f, 4);
    assert_int_equal(row.deleted, 3);
    assert_int_equal(row.first_seq, 4);
    assert_int_equal(row.last_seq, 5);
    row = events_trim_before(f, 100);
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.first_seq, 0);
    assert_int_equal(row.last_seq, 5);
    assert_int_equal(events_session(f).event_bytes, 0);
    events_assert_listed(f, "");

    events_append(f, 1);
    events_assert_listed(f, "6");
    assert_int_equal(events_session(f).event_count, 1);
}

static void rewind_below_what_was_trimmed_empties_the_log(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    events_append(f, 10);
    events_trim_before(f, 8);
    row = events_rewind_after(f, 5);
    assert_int_equal(row.deleted, 3);
    assert_int_equal(row.first_seq, 0);
    assert_int_equal(row.last_seq, 5);
    row = events_rewind_after(f, 2); /* An empty log: only the number goes back. */
    assert_int_equal(row.deleted, 0);
    assert_int_equal(row.last_seq, 2);
    events_append(f, 1);
    events_assert_listed(f, "11");
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
}

static void rewind_below_a_trimmed_gap_ends_before_it(void **state)
{
    struct execution_fixture *f = *state;

    events_append(f, 5);
    events_rewind_after(f, 2);
    events_append(f, 1); /* 6, which knows that 2 came before it, */
    events_trim_before(f, 6);
    assert_int_equal(events_rewind_after(f, 5).last_seq, 2); /* when 3 to 5 are long gone. */
}

static void trim_of_a_gap_ends_at_the_next_live_event(void **state)
{
    struct execution_fixture *f = *state;

    events_append(f, 4);
    events_rewind_after(f, 1);
    events_append(f, 2);
    assert_int_equal(events_trim_before(f, 3).first_seq, 5);
    events_assert_listed(f, "5 6");
}

static void deleting_events_has_its_preconditions(void **state)
{
    struct execution_fixture *f = *state;
    struct operation operation = {.kind = OPERATION_EVENTS_DELETE,
                                  .trim = {.session_id = slice_of_string("s"),
                                           .is_rewind = true,
                                           .has_expected_seq = true,
                                           .expected_seq = 2}};

    operation.if_match.kind = CONDITION_ANY;
    assert_int_equal(execution_run(f, &operation), OUTCOME_NOT_FOUND);
    events_append(f, 3);
    assert_int_equal(execution_run(f, &operation), OUTCOME_SEQUENCE_CONFLICT);
    assert_int_equal(f->result.number, 3);
    operation.if_match = (struct condition){CONDITION_TAGS, 1, {77}};
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(f->result.number, events_session(f).revision);
    operation.if_match.tags[0] = events_session(f).revision;
    operation.trim.expected_seq = 3;
    assert_int_equal(execution_run(f, &operation), OUTCOME_OK);
}

static void append_many(struct execution_fixture *f, unsigned batches)
{
    for (unsigned i = 0; i < batches; i++) {
        events_append(f, LIMIT_APPEND_EVENTS);
    }
}

static void a_long_rewind_is_invisible_at_once_and_purged_in_steps(void **state)
{
    struct execution_fixture *f = *state;
    unsigned steps = 0;

    append_many(f, 8); /* 2048 events. */
    assert_int_equal(events_rewind_after(f, 10).deleted, 2038);
    events_append(f, 2);
    assert_int_equal(events_session(f).event_count, 12);
    assert_int_equal(execution_count(f, KEY_EVENT), 2050); /* Not one was touched. */
    events_assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");

    while (execution_maintain(f, 100).more) {
        steps++;
        events_assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");
    }
    assert_in_range(steps, 20, 22);
    assert_int_equal(execution_count(f, KEY_EVENT), 12);
    assert_int_equal(execution_count(f, KEY_PURGE), 0);
    events_assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");
}

static void a_long_trim_is_purged_in_steps(void **state)
{
    struct execution_fixture *f = *state;

    append_many(f, 3);
    assert_int_equal(events_trim_before(f, 767).deleted, 766);
    assert_int_equal(execution_count(f, KEY_EVENT), 768);
    events_assert_listed(f, "767 768");
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_EVENT), 2);
    assert_int_equal(events_session(f).event_count, 2);
}

static void more_rewinds_than_maintenance_follows_lose_nothing(void **state)
{
    struct execution_fixture *f = *state;
    uint64_t keep = 0;

    for (unsigned i = 0; i < 2 * EVENT_LOG_RANGES; i++) { /* Each keeps one event more. */
        append_many(f, 2);
        keep = events_appended(f).last_seq - 2 * LIMIT_APPEND_EVENTS + 1;
        assert_int_equal(events_rewind_after(f, keep).deleted, 2 * LIMIT_APPEND_EVENTS - 1);
        assert_int_equal(events_session(f).event_count, i + 1);
        assert_int_equal(events_list_all(f, 0, UINT64_MAX, ORDER_ASC, 500).n, i + 1);
    }
    assert_int_equal(execution_count(f, KEY_PURGE), EVENT_LOG_RANGES);
    assert_int_equal(events_list_all(f, 0, UINT64_MAX, ORDER_DESC, 7).n, 2 * EVENT_LOG_RANGES);
    events_rewind_after(f, 1); /* Swallows all of them. */
    assert_int_equal(execution_count(f, KEY_PURGE), 1);
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
    events_assert_listed(f, "1");
}

static void a_session_takes_its_limit_of_events_and_no_more(void **state)
{
    struct execution_fixture *f = *state;

    append_many(f, LIMIT_LOG_EVENTS / LIMIT_APPEND_EVENTS);
    events_append(f, LIMIT_LOG_EVENTS % LIMIT_APPEND_EVENTS);
    (void)events_prepare(1, NULL);
    assert_int_equal(events_run(f), OUTCOME_SESSION_FULL);
    events_making.operation.append.has_truncate_after =
        true; /* The limit is that of what is left. */
    events_making.operation.append.truncate_after = LIMIT_LOG_EVENTS - 1;
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    events_trim_before(f, 3);
    events_append(f, 2);
    (void)events_prepare(1, NULL);
    assert_int_equal(events_run(f), OUTCOME_SESSION_FULL);
}

static void a_session_takes_its_limit_of_bytes_and_no_more(void **state)
{
    struct execution_fixture *f = *state;
    char *data = memory_new(LIMIT_EVENT_DATA_BYTES);
    struct append_operation *wanted = events_prepare(16, NULL);

    memset(data, '1', LIMIT_EVENT_DATA_BYTES);
    for (unsigned i = 0; i < 16; i++) {
        events_making.events[i].type = slice_of_string("");
        events_making.events[i].data = slice_of(data, LIMIT_EVENT_DATA_BYTES);
    }
    for (unsigned i = 0; i < LIMIT_LOG_BYTES / LIMIT_EVENT_DATA_BYTES / 16; i++) {
        assert_int_equal(events_run(f), OUTCOME_CREATED);
    }
    assert_int_equal(events_session(f).event_bytes, LIMIT_LOG_BYTES);
    wanted->n_events = 1;
    events_making.events[0].data = slice_of_string("1");
    assert_int_equal(events_run(f), OUTCOME_SESSION_FULL);
    free(data);
}

/* --- Listing --- */

static void pages_respect_their_bounds(void **state)
{
    struct execution_fixture *f = *state;
    struct events_page page;

    events_append(f, 9);
    events_rewind_after(f, 6);
    events_append(f, 1);
    events_trim_before(f, 2); /* 2 3 4 5 6 10 */

    page = events_list_all(f, 3, 10, ORDER_ASC, 2);
    assert_int_equal(page.n, 3);
    assert_int_equal(page.seqs[0], 4);
    assert_int_equal(page.seqs[2], 6);
    page = events_list_all(f, 6, UINT64_MAX, ORDER_DESC, 2);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.seqs[0], 10);
    page = events_list_all(f, 7, UINT64_MAX, ORDER_ASC, 2);
    assert_int_equal(page.n, 1);
    assert_int_equal(events_list_all(f, 10, UINT64_MAX, ORDER_ASC, 2).n, 0);
    assert_int_equal(events_list_all(f, UINT64_MAX, UINT64_MAX, ORDER_ASC, 2).n, 0);
    assert_int_equal(events_list_all(f, 0, 0, ORDER_DESC, 2).n, 0);
    assert_int_equal(events_list_all(f, 0, 2, ORDER_DESC, 2).n, 0);
    assert_int_equal(events_list_all(f, 5, 6, ORDER_ASC, 2).n, 0);
}

static void a_position_that_is_none_is_refused(void **state)
{
    struct execution_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct events_page page = {.limit = 9};
    struct session_row row;

    events_append(f, 1);
    row = events_session(f);
    buffer_append_string(&position, "nonsense!");
    assert_int_equal(
        view_events(&f->view, &row, 0, UINT64_MAX, ORDER_ASC, &position, events_on_event, &page),
        STATUS_INVALID);
    buffer_close(&position);
}

/* --- The end --- */

static void a_deleted_session_leaves_no_record_but_its_mark(void **state)
{
    struct execution_fixture *f = *state;

    (void)events_prepare(200, "a");
    events_making.operation.append.state_patch = slice_of_string("{\"a\":1}");
    assert_int_equal(events_run(f), OUTCOME_CREATED);
    append_many(f, 3);
    events_rewind_after(f, 10);
    events_append(f, 1);
    assert_int_equal(events_run_session(f, OPERATION_SESSION_DELETE, NULL), OUTCOME_NO_CONTENT);
    assert_int_equal(events_try_cut(f, true, 1), OUTCOME_DELETED);
    assert_int_equal(events_run(f), OUTCOME_DELETED);
    assert_int_equal(f->execution.counters.events, 0);

    while (execution_maintain(f, 50).more) {
    }
    assert_int_equal(execution_count(f, KEY_EVENT), 0);
    assert_int_equal(execution_count(f, KEY_EVENT_ID), 0);
    assert_int_equal(execution_count(f, KEY_SESSION), 0);
    assert_int_equal(execution_count(f, KEY_SESSION_STATE), 0);
    assert_int_equal(execution_count(f, KEY_SESSION_INDEX), 0);
    assert_int_equal(execution_count(f, KEY_PURGE), 0);
    assert_int_equal(execution_count(f, KEY_TOMBSTONE), 1);
    f->now_ms += LIMIT_TOMBSTONE_MS;
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_TOMBSTONE), 0);
    assert_int_equal(execution_count(f, KEY_DUE), 0);
}

/* --- Against a model --- */

/* The log as a plain list of numbers, which cannot be wrong. */
struct model {
    uint64_t live[8192];
    size_t n;
    uint64_t next;
    uint64_t last;
};

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

static void model_append(struct model *model, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        model->last = model->next++;
        model->live[model->n++] = model->last;
    }
}

static void model_rewind(struct model *model, uint64_t after)
{
    while (model->n > 0 && model->live[model->n - 1] > after) {
        model->n--;
    }
    model->last = model->n > 0 ? model->live[model->n - 1] : 0;
}

static void model_trim(struct model *model, uint64_t before)
{
    size_t gone = 0;

    while (gone < model->n && model->live[gone] < before) {
        gone++;
    }
    memmove(model->live, model->live + gone, (model->n - gone) * sizeof *model->live);
    model->n -= gone;
}

static void assert_like_model(struct execution_fixture *f, const struct model *model)
{
    struct session_row row = events_session(f);
    uint64_t from = random_below(model->next + 2);
    struct events_page page;
    size_t n = 0;

    assert_int_equal(row.event_count, model->n);
    assert_int_equal(row.event_bytes, model->n * (strlen("message") + strlen("{\"n\":1}")));
    assert_int_equal(row.first_seq, model->n > 0 ? model->live[0] : 0);
    assert_int_equal(row.next_seq, model->next);
    if (model->n > 0) {
        assert_int_equal(row.last_seq, model->last);
    }
    page = events_list_all(f, from, UINT64_MAX, random_below(2) == 0 ? ORDER_ASC : ORDER_DESC, 100);
    for (size_t i = 0; i < model->n; i++) {
        n += model->live[i] > from;
    }
    assert_int_equal(page.n, n);
    for (size_t i = 0; i < n; i++) {
        bool ascending = n < 2 || page.seqs[0] < page.seqs[1];
        uint64_t expected =
            ascending ? model->live[model->n - n + i] : model->live[model->n - 1 - i];

        assert_int_equal(page.seqs[i], expected);
    }
}

static void the_log_behaves_as_a_plain_list_would(void **state)
{
    struct execution_fixture *f = *state;
    struct model *model = memory_new_zeroed(1, sizeof *model);

    model->next = 1;
    events_append(f, 1);
    model_append(model, 1);
    for (unsigned step = 0; step < 3000; step++) {
        uint64_t what = random_below(10);
        uint64_t base = model->n > 0 ? model->live[random_below(model->n)] : model->next - 1;

        if (what < 5 && model->n < 1500) {
            uint64_t n = 1 + random_below(LIMIT_APPEND_EVENTS);

            events_append(f, (uint32_t)n);
            model_append(model, n);
        } else if (what < 8) {
            uint64_t after = base + random_below(3);

            events_rewind_after(f, after);
            model_rewind(model, after);
        } else if (what == 8) {
            uint64_t before = random_below(2);

            before += model->n > 0 ? model->live[random_below(1 + model->n / 3)] : 0;
            events_trim_before(f, before);
            model_trim(model, before);
        } else {
            (void)execution_maintain(f, (uint32_t)(1 + random_below(300)));
        }
        assert_like_model(f, model);
    }
    execution_maintain_all(f);
    assert_like_model(f, model);
    assert_int_equal(execution_count(f, KEY_EVENT), model->n);
    free(model);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, execution_fixture_setup, execution_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rewind_leaves_a_gap_and_gives_no_number_twice),
        TEST(trim_leaves_the_last_seq),
        TEST(rewind_below_what_was_trimmed_empties_the_log),
        TEST(rewind_below_a_trimmed_gap_ends_before_it),
        TEST(trim_of_a_gap_ends_at_the_next_live_event),
        TEST(deleting_events_has_its_preconditions),
        TEST(a_long_rewind_is_invisible_at_once_and_purged_in_steps),
        TEST(a_long_trim_is_purged_in_steps),
        TEST(more_rewinds_than_maintenance_follows_lose_nothing),
        TEST(a_session_takes_its_limit_of_events_and_no_more),
        TEST(a_session_takes_its_limit_of_bytes_and_no_more),
        TEST(pages_respect_their_bounds),
        TEST(a_position_that_is_none_is_refused),
        TEST(a_deleted_session_leaves_no_record_but_its_mark),
        TEST(the_log_behaves_as_a_plain_list_would),
    };

    return cmocka_run_group_tests_name("event_log", tests, NULL, NULL);
}
