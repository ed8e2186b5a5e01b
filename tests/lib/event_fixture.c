#include "tests/lib/event_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct events_making events_making;

struct append_operation *events_prepare(uint32_t n, const char *ids)
{
    events_making.operation = (struct operation){.kind = OPERATION_EVENTS_APPEND};
    for (uint32_t i = 0; i < n; i++) {
        events_making.events[i] = (struct new_event){.type = slice_of_string("message"),
                                                     .data = slice_of_string("{\"n\":1}")};
        if (ids != NULL) {
            (void)snprintf(events_making.ids[i], sizeof events_making.ids[i], "%s-%u", ids, i);
            events_making.events[i].id = slice_of_string(events_making.ids[i]);
        }
    }
    events_making.operation.append = (struct append_operation){
        .session_id = slice_of_string("s"),
        .n_events = n,
        .events = events_making.events,
        .has_create = true,
    };
    return &events_making.operation.append;
}

enum outcome events_run(struct execution_fixture *f)
{
    return execution_run(f, &events_making.operation);
}

void events_append(struct execution_fixture *f, uint32_t n)
{
    (void)events_prepare(n, NULL);
    assert_int_equal(events_run(f), OUTCOME_CREATED);
}

struct append_row events_appended(const struct execution_fixture *f)
{
    struct append_row row;

    assert_int_equal(f->result.row_kind, ROW_APPEND);
    assert_int_equal(append_row_decode(f->result.row, &row), STATUS_OK);
    return row;
}

enum outcome events_try_cut(struct execution_fixture *f, bool is_rewind, uint64_t seq)
{
    struct operation operation = {
        .kind = OPERATION_EVENTS_DELETE,
        .trim = {.session_id = slice_of_string("s"), .is_rewind = is_rewind, .seq = seq}};

    return execution_run(f, &operation);
}

struct trim_row events_cut(struct execution_fixture *f, bool is_rewind, uint64_t seq)
{
    struct trim_row row;

    assert_int_equal(events_try_cut(f, is_rewind, seq), OUTCOME_OK);
    assert_int_equal(f->result.row_kind, ROW_TRIM);
    assert_int_equal(trim_row_decode(f->result.row, &row), STATUS_OK);
    return row;
}

struct trim_row events_rewind_after(struct execution_fixture *f, uint64_t seq)
{
    return events_cut(f, true, seq);
}

struct trim_row events_trim_before(struct execution_fixture *f, uint64_t seq)
{
    return events_cut(f, false, seq);
}

struct session_row events_session(struct execution_fixture *f)
{
    struct session_row row;

    assert_int_equal(view_session(&f->view, FIXTURE_NAMESPACE_ID, slice_of_string("s"), &row),
                     STATUS_OK);
    return row;
}

enum outcome events_run_session(struct execution_fixture *f, enum operation_kind kind,
                                const struct session_fields *fields)
{
    struct operation operation = {.kind = kind, .session = {.id = slice_of_string("s")}};

    if (fields != NULL) {
        operation.session.fields = *fields;
    }
    return execution_run(f, &operation);
}

bool events_on_event(void *data, const struct event_row *row)
{
    struct events_page *page = data;

    if (page->limit == 0) {
        return false;
    }
    page->limit--;
    assert_true(page->n < 2048);
    page->seqs[page->n++] = row->seq;
    return true;
}

struct events_page events_list_all(struct execution_fixture *f, uint64_t after, uint64_t before,
                                   enum list_order order, size_t limit)
{
    struct session_row row = events_session(f);
    struct buffer position = BUFFER_EMPTY;
    struct events_page page = {.n = 0};

    do {
        page.limit = limit;
        assert_int_equal(
            view_events(&f->view, &row, after, before, order, &position, events_on_event, &page),
            STATUS_OK);
    } while (position.size > 0);
    buffer_close(&position);
    return page;
}

void events_assert_listed(struct execution_fixture *f, const char *expected)
{
    struct events_page up = events_list_all(f, 0, UINT64_MAX, ORDER_ASC, 2);
    struct events_page down = events_list_all(f, 0, UINT64_MAX, ORDER_DESC, 3);
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
