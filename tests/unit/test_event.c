/* The log of a session: appends, repeated appends, rewinds, trims and what they leave behind. */
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
#include "tests/lib/execution_fixture.h"

/* Of an append that a test is about to make; ids are "PREFIX-NUMBER". */
struct making {
    struct operation operation;
    struct new_event events[LIMIT_APPEND_EVENTS];
    char ids[LIMIT_APPEND_EVENTS][16];
};

static struct making making;

/* Prepare an append of @n events {"n":1} to the session "s", which it may create. */
static struct append_operation *prepare(uint32_t n, const char *ids)
{
    making.operation = (struct operation){.kind = OPERATION_EVENTS_APPEND};
    for (uint32_t i = 0; i < n; i++) {
        making.events[i] = (struct new_event){.type = slice_of_string("message"),
                                              .data = slice_of_string("{\"n\":1}")};
        if (ids != NULL) {
            (void)snprintf(making.ids[i], sizeof making.ids[i], "%s-%u", ids, i);
            making.events[i].id = slice_of_string(making.ids[i]);
        }
    }
    making.operation.append = (struct append_operation){
        .session_id = slice_of_string("s"),
        .n_events = n,
        .events = making.events,
        .has_create = true,
    };
    return &making.operation.append;
}

static enum outcome run(struct execution_fixture *f)
{
    return execution_run(f, &making.operation);
}

static void append(struct execution_fixture *f, uint32_t n)
{
    (void)prepare(n, NULL);
    assert_int_equal(run(f), OUTCOME_CREATED);
}

static struct append_row appended(const struct execution_fixture *f)
{
    struct append_row row;

    assert_int_equal(f->result.row_kind, ROW_APPEND);
    assert_int_equal(append_row_decode(f->result.row, &row), STATUS_OK);
    return row;
}

static enum outcome try_cut(struct execution_fixture *f, bool is_rewind, uint64_t seq)
{
    struct operation operation = {
        .kind = OPERATION_EVENTS_DELETE,
        .trim = {.session_id = slice_of_string("s"), .is_rewind = is_rewind, .seq = seq}};

    return execution_run(f, &operation);
}

static struct trim_row cut(struct execution_fixture *f, bool is_rewind, uint64_t seq)
{
    struct trim_row row;

    assert_int_equal(try_cut(f, is_rewind, seq), OUTCOME_OK);
    assert_int_equal(f->result.row_kind, ROW_TRIM);
    assert_int_equal(trim_row_decode(f->result.row, &row), STATUS_OK);
    return row;
}

static struct trim_row rewind_after(struct execution_fixture *f, uint64_t seq)
{
    return cut(f, true, seq);
}

static struct trim_row trim_before(struct execution_fixture *f, uint64_t seq)
{
    return cut(f, false, seq);
}

static struct session_row session(struct execution_fixture *f)
{
    struct session_row row;

    assert_int_equal(view_session(&f->view, FIXTURE_NAMESPACE_ID, slice_of_string("s"), &row),
                     STATUS_OK);
    return row;
}

static enum outcome run_session(struct execution_fixture *f, enum operation_kind kind,
                                const struct session_fields *fields)
{
    struct operation operation = {.kind = kind, .session = {.id = slice_of_string("s")}};

    if (fields != NULL) {
        operation.session.fields = *fields;
    }
    return execution_run(f, &operation);
}

/* --- Listing --- */

struct page {
    uint64_t seqs[2048];
    size_t n;
    size_t limit;
};

static bool on_event(void *data, const struct event_row *row)
{
    struct page *page = data;

    if (page->limit == 0) {
        return false;
    }
    page->limit--;
    assert_true(page->n < 2048);
    page->seqs[page->n++] = row->seq;
    return true;
}

/* All pages of a list, @limit rows each. */
static struct page list(struct execution_fixture *f, uint64_t after, uint64_t before,
                        enum list_order order, size_t limit)
{
    struct session_row row = session(f);
    struct buffer position = BUFFER_EMPTY;
    struct page page = {.n = 0};

    do {
        page.limit = limit;
        assert_int_equal(
            view_events(&f->view, &row, after, before, order, &position, on_event, &page),
            STATUS_OK);
    } while (position.size > 0);
    buffer_close(&position);
    return page;
}

static void assert_listed(struct execution_fixture *f, const char *expected)
{
    struct page up = list(f, 0, UINT64_MAX, ORDER_ASC, 2);
    struct page down = list(f, 0, UINT64_MAX, ORDER_DESC, 3);
    struct buffer text = BUFFER_EMPTY;

    for (size_t i = 0; i < up.n; i++) {
        buffer_append_format(&text, "%s%u", i > 0 ? " " : "", (unsigned)up.seqs[i]);
    }
    buffer_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, expected);
    assert_int_equal(down.n, up.n);
    for (size_t i = 0; i < up.n; i++) {
        assert_int_equal(down.seqs[i], up.seqs[up.n - 1 - i]);
    }
    buffer_close(&text);
}

/* --- Appending --- */

static void append_numbers_events_from_one(void **state)
{
    struct execution_fixture *f = *state;
    struct append_row row;

    append(f, 2);
    row = appended(f);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 2);
    assert_true(row.session_created);
    assert_false(row.duplicate);

    append(f, 1);
    row = appended(f);
    assert_int_equal(row.first_seq, 3);
    assert_false(row.session_created);
    assert_int_equal(session(f).event_count, 3);
    assert_int_equal(session(f).event_bytes, 3 * (strlen("message") + strlen("{\"n\":1}")));
    assert_listed(f, "1 2 3");
}

static void append_needs_a_session_or_create(void **state)
{
    struct execution_fixture *f = *state;

    prepare(1, NULL)->has_create = false;
    assert_int_equal(run(f), OUTCOME_NOT_FOUND);
    making.operation.if_match.kind = CONDITION_ANY; /* 404 also with If-Match, */
    assert_int_equal(run(f), OUTCOME_NOT_FOUND);
    making.operation.append.has_create = true; /* but what would be made is 412. */
    assert_int_equal(run(f), OUTCOME_PRECONDITION_FAILED);
    making.operation.if_match.kind = CONDITION_NONE;
    assert_int_equal(run(f), OUTCOME_CREATED);
    making.operation.append.has_create = false;
    assert_int_equal(run(f), OUTCOME_CREATED);
}

static void append_leaves_the_etag_and_moves_the_update(void **state)
{
    struct execution_fixture *f = *state;
    uint64_t revision;

    append(f, 1);
    revision = execution_revision(f);
    f->now_ms += 7;
    append(f, 1);

    assert_int_equal(f->result.etag, revision);
    assert_int_equal(session(f).revision, revision);
    assert_int_equal(session(f).updated_revision, revision + 1);
    assert_int_equal(session(f).updated_at_ms, FIXTURE_START_MS + 7);
    assert_int_equal(session(f).created_at_ms, FIXTURE_START_MS);
}

static void append_compares_the_expected_seq_before_it_truncates(void **state)
{
    struct execution_fixture *f = *state;
    struct append_operation *wanted = prepare(1, NULL);

    wanted->has_expected_seq = true;
    wanted->expected_seq = 1;
    assert_int_equal(run(f), OUTCOME_SEQUENCE_CONFLICT); /* Absent counts as 0. */
    assert_int_equal(f->result.number, 0);
    wanted->expected_seq = 0;
    assert_int_equal(run(f), OUTCOME_CREATED);
    append(f, 3);

    wanted = prepare(1, NULL);
    wanted->has_expected_seq = true;
    wanted->expected_seq = 2;
    wanted->has_truncate_after = true;
    wanted->truncate_after = 2;
    assert_int_equal(run(f), OUTCOME_SEQUENCE_CONFLICT);
    assert_int_equal(f->result.number, 4);
    wanted->expected_seq = 4;
    assert_int_equal(run(f), OUTCOME_CREATED);
    assert_int_equal(appended(f).first_seq, 5);
    assert_listed(f, "1 2 5");
    assert_int_equal(f->n_changes, 2); /* Trimmed and appended. */
}

static void append_to_a_closed_session_is_refused_but_deleting_is_not(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};

    append(f, 2);
    assert_int_equal(run_session(f, OPERATION_SESSION_PATCH, &fields), OUTCOME_OK);
    prepare(1, NULL)->has_expected_seq = true; /* Closed comes before expected_seq. */
    assert_int_equal(run(f), OUTCOME_SESSION_CLOSED);
    making.operation.if_match = (struct condition){CONDITION_TAGS, 1, {1}};
    assert_int_equal(run(f), OUTCOME_PRECONDITION_FAILED); /* If-* comes before closed. */
    assert_int_equal(trim_before(f, 2).deleted, 1);
    fields.status = SESSION_PAUSED;
    assert_int_equal(run_session(f, OPERATION_SESSION_PATCH, &fields), OUTCOME_OK);
    append(f, 1);
}

static void append_merges_the_state_in_the_same_revision(void **state)
{
    struct execution_fixture *f = *state;
    struct append_operation *wanted = prepare(1, NULL);

    wanted->create.state = (struct text_field){FIELD_SET, slice_of_string("{\"a\":1,\"b\":2}")};
    wanted->state_patch = slice_of_string("{\"a\":null,\"c\":[3]}");
    assert_int_equal(run(f), OUTCOME_CREATED);
    assert_true(slice_equals_string(session(f).state, "{\"b\":2,\"c\":[3]}"));

    prepare(1, NULL)->state_patch = slice_of_string("{\"b\":null,\"c\":null}");
    assert_int_equal(run(f), OUTCOME_CREATED);
    assert_true(slice_equals_string(session(f).state, "{}"));
    assert_int_equal(f->result.etag, execution_revision(f));
    assert_int_equal(execution_count(f, KEY_SESSION_STATE), 0);
}

static void append_with_a_state_that_grows_too_large_writes_nothing(void **state)
{
    struct execution_fixture *f = *state;
    struct buffer patch = BUFFER_EMPTY;

    append(f, 1);
    buffer_append_string(&patch, "{\"a\":\"");
    memset(buffer_extend(&patch, LIMIT_STATE_BYTES), 'x', LIMIT_STATE_BYTES);
    buffer_append_string(&patch, "\"}");
    prepare(1, "e")->state_patch = buffer_slice(&patch);
    assert_int_equal(run(f), OUTCOME_TOO_LARGE);
    assert_true(slice_equals_string(f->result.text, "/state_patch"));

    making.operation.append.state_patch = slice_of_string("[]"); /* From a broken peer. */
    assert_int_equal(run(f), OUTCOME_INVALID_FIELD);
    assert_listed(f, "1");
    assert_int_equal(execution_count(f, KEY_EVENT_ID), 0);
    buffer_close(&patch);
}

/* --- Repeating --- */

static void a_repeated_append_gives_the_first_answer_and_no_revision(void **state)
{
    struct execution_fixture *f = *state;
    struct append_row row;

    (void)prepare(3, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
    append(f, 2);
    (void)prepare(3, "a");
    making.operation.append.has_expected_seq = true; /* Duplicates are looked for before. */
    making.operation.append.expected_seq = 77;
    assert_int_equal(run(f), OUTCOME_OK);

    row = appended(f);
    assert_true(row.duplicate);
    assert_true(row.session_created);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 3);
    assert_false(f->took_revision);
    assert_int_equal(session(f).last_seq, 5);
}

static void ids_outlive_rewind_trim_and_closing(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields closed = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};

    append(f, 1);
    (void)prepare(2, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
    assert_int_equal(rewind_after(f, 0).deleted, 3);
    assert_int_equal(run_session(f, OPERATION_SESSION_PATCH, &closed), OUTCOME_OK);

    (void)prepare(2, "a");
    assert_int_equal(run(f), OUTCOME_OK);
    assert_int_equal(appended(f).first_seq, 2);
    assert_false(appended(f).session_created);
    assert_listed(f, "");
}

static void an_append_that_only_resembles_an_earlier_one_is_refused(void **state)
{
    struct execution_fixture *f = *state;
    struct new_event swapped;

    (void)prepare(3, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);

    (void)prepare(2, "a"); /* A part of it, */
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    (void)prepare(4, "a"); /* more than it, */
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    (void)prepare(3, "a"); /* its tail behind something new, */
    making.events[0].id = slice_of_string("new");
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    (void)prepare(3, "a"); /* other data, */
    making.events[1].data = slice_of_string("{\"n\":2}");
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    (void)prepare(3, "a"); /* another type, */
    making.events[2].type = slice_of_string("massage");
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    for (unsigned i = 0; i < 2; i++) { /* another order. */
        (void)prepare(3, "a");
        swapped = making.events[i];
        making.events[i] = making.events[i + 1];
        making.events[i + 1] = swapped;
        assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    }
    (void)prepare(3, "a");
    assert_int_equal(run(f), OUTCOME_OK);
}

static void two_appends_sent_as_one_are_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)prepare(1, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
    (void)prepare(1, "b");
    assert_int_equal(run(f), OUTCOME_CREATED);
    (void)prepare(2, "a");
    making.events[1].id = slice_of_string("b-0");
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
}

static void an_id_given_twice_in_one_append_is_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)prepare(LIMIT_APPEND_EVENTS, "a");
    making.events[255].id = making.events[3].id;
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
    (void)prepare(LIMIT_APPEND_EVENTS, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
}

static void a_known_append_in_a_transaction_is_refused(void **state)
{
    struct execution_fixture *f = *state;

    (void)prepare(1, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
    f->execution.in_transaction = true;
    assert_int_equal(run(f), OUTCOME_EVENT_ID_REUSED);
}

static void ids_end_with_their_session(void **state)
{
    struct execution_fixture *f = *state;

    (void)prepare(1, "a");
    making.operation.append.create.ttl = (struct ttl){TTL_SET, 1000};
    assert_int_equal(run(f), OUTCOME_CREATED);
    f->now_ms += 2000; /* Expired, and its name used anew before anything was purged. */
    (void)prepare(1, "a");
    assert_int_equal(run(f), OUTCOME_CREATED);
    assert_true(appended(f).session_created);
    assert_int_equal(appended(f).first_seq, 1);
    execution_maintain_all(f);
    assert_listed(f, "1");
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
    assert_int_equal(execution_count(f, KEY_EVENT_ID), 1);
}

/* --- Rewinding and trimming --- */

static void rewind_leaves_a_gap_and_gives_no_number_twice(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    append(f, 5);
    row = rewind_after(f, 3);
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.first_seq, 1);
    assert_int_equal(row.last_seq, 3);
    append(f, 2);
    assert_int_equal(appended(f).first_seq, 6);
    assert_listed(f, "1 2 3 6 7");

    row = rewind_after(f, 5); /* Into the gap: 3 is the newest that was not rewound. */
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.last_seq, 3);
    row = rewind_after(f, 9);
    assert_int_equal(row.deleted, 0);
    assert_true(f->took_revision);
    assert_listed(f, "1 2 3");
}

static void trim_leaves_the_last_seq(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    append(f, 5);
    row = trim_before(f, 4);
    assert_int_equal(row.deleted, 3);
    assert_int_equal(row.first_seq, 4);
    assert_int_equal(row.last_seq, 5);
    row = trim_before(f, 100);
    assert_int_equal(row.deleted, 2);
    assert_int_equal(row.first_seq, 0);
    assert_int_equal(row.last_seq, 5);
    assert_int_equal(session(f).event_bytes, 0);
    assert_listed(f, "");

    append(f, 1);
    assert_listed(f, "6");
    assert_int_equal(session(f).event_count, 1);
}

static void rewind_below_what_was_trimmed_empties_the_log(void **state)
{
    struct execution_fixture *f = *state;
    struct trim_row row;

    append(f, 10);
    trim_before(f, 8);
    row = rewind_after(f, 5);
    assert_int_equal(row.deleted, 3);
    assert_int_equal(row.first_seq, 0);
    assert_int_equal(row.last_seq, 5);
    row = rewind_after(f, 2); /* An empty log: only the number goes back. */
    assert_int_equal(row.deleted, 0);
    assert_int_equal(row.last_seq, 2);
    append(f, 1);
    assert_listed(f, "11");
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
}

static void rewind_below_a_trimmed_gap_ends_before_it(void **state)
{
    struct execution_fixture *f = *state;

    append(f, 5);
    rewind_after(f, 2);
    append(f, 1); /* 6, which knows that 2 came before it, */
    trim_before(f, 6);
    assert_int_equal(rewind_after(f, 5).last_seq, 2); /* when 3 to 5 are long gone. */
}

static void trim_of_a_gap_ends_at_the_next_live_event(void **state)
{
    struct execution_fixture *f = *state;

    append(f, 4);
    rewind_after(f, 1);
    append(f, 2);
    assert_int_equal(trim_before(f, 3).first_seq, 5);
    assert_listed(f, "5 6");
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
    append(f, 3);
    assert_int_equal(execution_run(f, &operation), OUTCOME_SEQUENCE_CONFLICT);
    assert_int_equal(f->result.number, 3);
    operation.if_match = (struct condition){CONDITION_TAGS, 1, {77}};
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(f->result.number, session(f).revision);
    operation.if_match.tags[0] = session(f).revision;
    operation.trim.expected_seq = 3;
    assert_int_equal(execution_run(f, &operation), OUTCOME_OK);
}

static void append_many(struct execution_fixture *f, unsigned batches)
{
    for (unsigned i = 0; i < batches; i++) {
        append(f, LIMIT_APPEND_EVENTS);
    }
}

static void a_long_rewind_is_invisible_at_once_and_purged_in_steps(void **state)
{
    struct execution_fixture *f = *state;
    unsigned steps = 0;

    append_many(f, 8); /* 2048 events. */
    assert_int_equal(rewind_after(f, 10).deleted, 2038);
    append(f, 2);
    assert_int_equal(session(f).event_count, 12);
    assert_int_equal(execution_count(f, KEY_EVENT), 2050); /* Not one was touched. */
    assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");

    while (execution_maintain(f, 100).more) {
        steps++;
        assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");
    }
    assert_in_range(steps, 20, 22);
    assert_int_equal(execution_count(f, KEY_EVENT), 12);
    assert_int_equal(execution_count(f, KEY_PURGE), 0);
    assert_listed(f, "1 2 3 4 5 6 7 8 9 10 2049 2050");
}

static void a_long_trim_is_purged_in_steps(void **state)
{
    struct execution_fixture *f = *state;

    append_many(f, 3);
    assert_int_equal(trim_before(f, 767).deleted, 766);
    assert_int_equal(execution_count(f, KEY_EVENT), 768);
    assert_listed(f, "767 768");
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_EVENT), 2);
    assert_int_equal(session(f).event_count, 2);
}

static void more_rewinds_than_maintenance_follows_lose_nothing(void **state)
{
    struct execution_fixture *f = *state;
    uint64_t keep = 0;

    for (unsigned i = 0; i < 2 * EVENT_LOG_RANGES; i++) { /* Each keeps one event more. */
        append_many(f, 2);
        keep = appended(f).last_seq - 2 * LIMIT_APPEND_EVENTS + 1;
        assert_int_equal(rewind_after(f, keep).deleted, 2 * LIMIT_APPEND_EVENTS - 1);
        assert_int_equal(session(f).event_count, i + 1);
        assert_int_equal(list(f, 0, UINT64_MAX, ORDER_ASC, 500).n, i + 1);
    }
    assert_int_equal(execution_count(f, KEY_PURGE), EVENT_LOG_RANGES);
    assert_int_equal(list(f, 0, UINT64_MAX, ORDER_DESC, 7).n, 2 * EVENT_LOG_RANGES);
    rewind_after(f, 1); /* Swallows all of them. */
    assert_int_equal(execution_count(f, KEY_PURGE), 1);
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_EVENT), 1);
    assert_listed(f, "1");
}

static void a_session_takes_its_limit_of_events_and_no_more(void **state)
{
    struct execution_fixture *f = *state;

    append_many(f, LIMIT_LOG_EVENTS / LIMIT_APPEND_EVENTS);
    append(f, LIMIT_LOG_EVENTS % LIMIT_APPEND_EVENTS);
    (void)prepare(1, NULL);
    assert_int_equal(run(f), OUTCOME_SESSION_FULL);
    making.operation.append.has_truncate_after = true; /* The limit is that of what is left. */
    making.operation.append.truncate_after = LIMIT_LOG_EVENTS - 1;
    assert_int_equal(run(f), OUTCOME_CREATED);
    trim_before(f, 3);
    append(f, 2);
    (void)prepare(1, NULL);
    assert_int_equal(run(f), OUTCOME_SESSION_FULL);
}

static void a_session_takes_its_limit_of_bytes_and_no_more(void **state)
{
    struct execution_fixture *f = *state;
    char *data = memory_new(LIMIT_EVENT_DATA_BYTES);
    struct append_operation *wanted = prepare(16, NULL);

    memset(data, '1', LIMIT_EVENT_DATA_BYTES);
    for (unsigned i = 0; i < 16; i++) {
        making.events[i].type = slice_of_string("");
        making.events[i].data = slice_of(data, LIMIT_EVENT_DATA_BYTES);
    }
    for (unsigned i = 0; i < LIMIT_LOG_BYTES / LIMIT_EVENT_DATA_BYTES / 16; i++) {
        assert_int_equal(run(f), OUTCOME_CREATED);
    }
    assert_int_equal(session(f).event_bytes, LIMIT_LOG_BYTES);
    wanted->n_events = 1;
    making.events[0].data = slice_of_string("1");
    assert_int_equal(run(f), OUTCOME_SESSION_FULL);
    free(data);
}

/* --- Listing --- */

static void pages_respect_their_bounds(void **state)
{
    struct execution_fixture *f = *state;
    struct page page;

    append(f, 9);
    rewind_after(f, 6);
    append(f, 1);
    trim_before(f, 2); /* 2 3 4 5 6 10 */

    page = list(f, 3, 10, ORDER_ASC, 2);
    assert_int_equal(page.n, 3);
    assert_int_equal(page.seqs[0], 4);
    assert_int_equal(page.seqs[2], 6);
    page = list(f, 6, UINT64_MAX, ORDER_DESC, 2);
    assert_int_equal(page.n, 1);
    assert_int_equal(page.seqs[0], 10);
    page = list(f, 7, UINT64_MAX, ORDER_ASC, 2);
    assert_int_equal(page.n, 1);
    assert_int_equal(list(f, 10, UINT64_MAX, ORDER_ASC, 2).n, 0);
    assert_int_equal(list(f, UINT64_MAX, UINT64_MAX, ORDER_ASC, 2).n, 0);
    assert_int_equal(list(f, 0, 0, ORDER_DESC, 2).n, 0);
    assert_int_equal(list(f, 0, 2, ORDER_DESC, 2).n, 0);
    assert_int_equal(list(f, 5, 6, ORDER_ASC, 2).n, 0);
}

static void a_position_that_is_none_is_refused(void **state)
{
    struct execution_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct page page = {.limit = 9};
    struct session_row row;

    append(f, 1);
    row = session(f);
    buffer_append_string(&position, "nonsense!");
    assert_int_equal(
        view_events(&f->view, &row, 0, UINT64_MAX, ORDER_ASC, &position, on_event, &page),
        STATUS_INVALID);
    buffer_close(&position);
}

/* --- The end --- */

static void a_deleted_session_leaves_no_record_but_its_mark(void **state)
{
    struct execution_fixture *f = *state;

    (void)prepare(200, "a");
    making.operation.append.state_patch = slice_of_string("{\"a\":1}");
    assert_int_equal(run(f), OUTCOME_CREATED);
    append_many(f, 3);
    rewind_after(f, 10);
    append(f, 1);
    assert_int_equal(run_session(f, OPERATION_SESSION_DELETE, NULL), OUTCOME_NO_CONTENT);
    assert_int_equal(try_cut(f, true, 1), OUTCOME_DELETED);
    assert_int_equal(run(f), OUTCOME_DELETED);
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
    struct session_row row = session(f);
    uint64_t from = random_below(model->next + 2);
    struct page page;
    size_t n = 0;

    assert_int_equal(row.event_count, model->n);
    assert_int_equal(row.event_bytes, model->n * (strlen("message") + strlen("{\"n\":1}")));
    assert_int_equal(row.first_seq, model->n > 0 ? model->live[0] : 0);
    assert_int_equal(row.next_seq, model->next);
    if (model->n > 0) {
        assert_int_equal(row.last_seq, model->last);
    }
    page = list(f, from, UINT64_MAX, random_below(2) == 0 ? ORDER_ASC : ORDER_DESC, 100);
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
    append(f, 1);
    model_append(model, 1);
    for (unsigned step = 0; step < 3000; step++) {
        uint64_t what = random_below(10);
        uint64_t base = model->n > 0 ? model->live[random_below(model->n)] : model->next - 1;

        if (what < 5 && model->n < 1500) {
            uint64_t n = 1 + random_below(LIMIT_APPEND_EVENTS);

            append(f, (uint32_t)n);
            model_append(model, n);
        } else if (what < 8) {
            uint64_t after = base + random_below(3);

            rewind_after(f, after);
            model_rewind(model, after);
        } else if (what == 8) {
            uint64_t before = random_below(2);

            before += model->n > 0 ? model->live[random_below(1 + model->n / 3)] : 0;
            trim_before(f, before);
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

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
