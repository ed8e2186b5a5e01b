/* Sessions: documents, preconditions, expiry, marks of the deleted, counters and lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "tests/lib/execution_fixture.h"

static struct text_field set(const char *text)
{
    return (struct text_field){.kind = FIELD_SET, .value = slice_of_string(text)};
}

static struct operation make(enum operation_kind kind, const char *id)
{
    return (struct operation){.kind = kind, .session = {.id = slice_of_string(id)}};
}

static enum outcome put(struct execution_fixture *f, const char *id,
                        const struct session_fields *fields)
{
    struct operation operation = make(OPERATION_SESSION_PUT, id);

    operation.session.fields = *fields;
    return execution_run(f, &operation);
}

static enum outcome patch(struct execution_fixture *f, const char *id,
                          const struct session_fields *fields)
{
    struct operation operation = make(OPERATION_SESSION_PATCH, id);

    operation.session.fields = *fields;
    return execution_run(f, &operation);
}

static enum outcome run(struct execution_fixture *f, enum operation_kind kind, const char *id)
{
    struct operation operation = make(kind, id);

    return execution_run(f, &operation);
}

static void put_plain(struct execution_fixture *f, const char *id)
{
    assert_int_equal(put(f, id, &(struct session_fields){0}), OUTCOME_CREATED);
}

static enum outcome touch(struct execution_fixture *f, const char *id, struct ttl ttl)
{
    struct operation operation = make(OPERATION_SESSION_TOUCH, id);

    operation.session.fields.ttl = ttl;
    return execution_run(f, &operation);
}

static enum outcome append(struct execution_fixture *f, const char *id)
{
    struct new_event event = {.type = slice_of_string("t"), .data = slice_of_string("1")};
    struct operation operation = {
        .kind = OPERATION_EVENTS_APPEND,
        .append = {.session_id = slice_of_string(id), .n_events = 1, .events = &event}};

    return execution_run(f, &operation);
}

static enum status view(struct execution_fixture *f, const char *id, struct session_row *row)
{
    return view_session(&f->view, FIXTURE_NAMESPACE_ID, slice_of_string(id), row);
}

static struct session_row get(struct execution_fixture *f, const char *id)
{
    struct session_row row;

    assert_int_equal(view(f, id, &row), STATUS_OK);
    return row;
}

/* --- Documents --- */

static void put_makes_a_session_with_defaults(void **state)
{
    struct execution_fixture *f = *state;
    struct session_row row;

    put_plain(f, "s");

    row = get(f, "s");
    assert_int_equal(f->result.etag, row.revision);
    assert_int_equal(row.revision, execution_revision(f));
    assert_int_equal(row.status, SESSION_ACTIVE);
    assert_int_equal(row.agent_id.size, 0);
    assert_true(slice_equals_string(row.metadata, "{}"));
    assert_true(slice_equals_string(row.state, "{}"));
    assert_true(row.sliding);
    assert_int_equal(row.ttl_ms, 0);
    assert_int_equal(row.expires_at_ms, 0);
    assert_int_equal(row.next_seq, 1);
    assert_int_equal(row.created_at_ms, FIXTURE_START_MS);
}

static void put_answers_the_row_without_its_state(void **state)
{
    struct execution_fixture *f = *state;
    struct session_row row;

    assert_int_equal(put(f, "s", &(struct session_fields){.state = set("{\"a\":1}")}),
                     OUTCOME_CREATED);
    assert_int_equal(f->result.row_kind, ROW_SESSION);
    assert_int_equal(session_row_decode(f->result.row, &row), STATUS_OK);
    assert_true(slice_equals_string(row.id, "s"));
    assert_int_equal(row.state.size, 0);
    assert_int_equal(row.state_bytes, 7);
}

static void put_replaces_the_document_and_keeps_log_and_birth(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.agent_id = set("a"),
                                    .user_id = set("u"),
                                    .metadata = set("{\"k\":\"v\"}"),
                                    .state = set("{\"a\":1}"),
                                    .sliding_kind = FIELD_SET,
                                    .sliding = false,
                                    .ttl = {TTL_SET, 1000}};
    struct session_row row;

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    f->now_ms += 10;
    assert_int_equal(put(f, "s", &(struct session_fields){.user_id = set("u")}), OUTCOME_OK);

    row = get(f, "s");
    assert_int_equal(row.agent_id.size, 0);
    assert_true(slice_equals_string(row.user_id, "u"));
    assert_true(slice_equals_string(row.metadata, "{}"));
    assert_true(slice_equals_string(row.state, "{}"));
    assert_true(row.sliding);
    assert_int_equal(row.expires_at_ms, 0);
    assert_int_equal(row.last_seq, 1);
    assert_int_equal(row.created_at_ms, FIXTURE_START_MS);
    assert_int_equal(row.updated_at_ms, FIXTURE_START_MS + 10);
    assert_int_equal(execution_count(f, KEY_SESSION_STATE), 0);
    assert_int_equal(execution_count(f, KEY_DUE), 0);
    assert_int_equal(execution_count(f, KEY_SESSION_INDEX), 5); /* All x 2, user x 2, status. */
}

static void patch_merges_and_null_resets(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.agent_id = set("a"),
                                    .user_id = set("u"),
                                    .status_kind = FIELD_SET,
                                    .status = SESSION_PAUSED,
                                    .metadata = set("{\"k\":\"v\",\"l\":\"w\"}"),
                                    .state = set("{\"a\":{\"b\":1,\"c\":2}}")};
    struct session_row row;

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    fields = (struct session_fields){.agent_id = {.kind = FIELD_NULL},
                                     .metadata = set("{\"k\":null,\"m\":\"x\"}"),
                                     .state = set("{\"a\":{\"b\":null},\"d\":[]}")};
    assert_int_equal(patch(f, "s", &fields), OUTCOME_OK);

    row = get(f, "s");
    assert_int_equal(f->result.etag, row.revision);
    assert_int_equal(row.agent_id.size, 0);
    assert_true(slice_equals_string(row.user_id, "u"));
    assert_int_equal(row.status, SESSION_PAUSED);
    assert_true(slice_equals_string(row.metadata, "{\"l\":\"w\",\"m\":\"x\"}"));
    assert_true(slice_equals_string(row.state, "{\"a\":{\"c\":2},\"d\":[]}"));

    fields = (struct session_fields){.user_id = {.kind = FIELD_NULL},
                                     .status_kind = FIELD_NULL,
                                     .metadata = {.kind = FIELD_NULL},
                                     .state = {.kind = FIELD_NULL}};
    assert_int_equal(patch(f, "s", &fields), OUTCOME_OK);
    row = get(f, "s");
    assert_int_equal(row.user_id.size, 0);
    assert_int_equal(row.status, SESSION_ACTIVE);
    assert_true(slice_equals_string(row.metadata, "{}"));
    assert_true(slice_equals_string(row.state, "{}"));
}

static void patch_checks_what_it_makes(void **state)
{
    struct execution_fixture *f = *state;
    struct buffer large = BUFFER_EMPTY;
    struct session_fields fields = {.metadata = set("{\"k\":\"v\",\"a/b\":5}")};

    put_plain(f, "s");
    assert_int_equal(patch(f, "s", &fields), OUTCOME_INVALID_FIELD);
    assert_true(slice_equals_string(f->result.text, "/metadata/a~1b"));

    buffer_append_string(&large, "{\"a\":\"");
    memset(buffer_extend(&large, LIMIT_STATE_BYTES), 'x', LIMIT_STATE_BYTES);
    buffer_append_string(&large, "\"}");
    fields = (struct session_fields){.state = {FIELD_SET, buffer_slice(&large)}};
    assert_int_equal(patch(f, "s", &fields), OUTCOME_TOO_LARGE);
    assert_true(slice_equals_string(f->result.text, "/state"));

    fields.state = set("[1]"); /* From a broken peer. */
    assert_int_equal(patch(f, "s", &fields), OUTCOME_INVALID_FIELD);
    fields.state = set("{");
    assert_int_equal(patch(f, "s", &fields), OUTCOME_INVALID_FIELD);
    buffer_close(&large);
}

static void a_missing_session_is_404_and_412_only_on_put(void **state)
{
    static const enum operation_kind kinds[] = {OPERATION_SESSION_PATCH, OPERATION_SESSION_DELETE,
                                                OPERATION_SESSION_TOUCH};
    struct execution_fixture *f = *state;
    struct operation operation;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        operation = make(kinds[i], "s");
        operation.if_match.kind = CONDITION_ANY;
        assert_int_equal(execution_run(f, &operation), OUTCOME_NOT_FOUND);
    }
    operation = make(OPERATION_SESSION_PUT, "s");
    operation.if_match.kind = CONDITION_ANY;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(f->result.number, 0);
}

static void preconditions_compare_the_document_alone(void **state)
{
    struct execution_fixture *f = *state;
    struct operation operation = make(OPERATION_SESSION_PUT, "s");
    uint64_t etag;

    put_plain(f, "s");
    etag = f->result.etag;
    operation.if_none_match.kind = CONDITION_ANY;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(f->result.number, etag);

    assert_int_equal(append(f, "s"), OUTCOME_CREATED); /* The log has a version of its own, */
    assert_int_equal(touch(f, "s", (struct ttl){TTL_SET, 5000}), OUTCOME_NO_CONTENT); /* too. */
    operation = make(OPERATION_SESSION_CHECK, "s");
    operation.if_match = (struct condition){CONDITION_TAGS, 2, {1, etag}};
    assert_int_equal(execution_run(f, &operation), OUTCOME_NO_CONTENT);
    assert_false(f->took_revision);
    operation.kind = OPERATION_SESSION_PATCH;
    assert_int_equal(execution_run(f, &operation), OUTCOME_OK);
    operation.kind = OPERATION_SESSION_CHECK;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
    operation.kind = OPERATION_SESSION_DELETE;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
}

static void check_of_an_absent_session_follows_its_conditions(void **state)
{
    struct execution_fixture *f = *state;
    struct operation operation = make(OPERATION_SESSION_CHECK, "s");

    operation.if_none_match.kind = CONDITION_ANY;
    assert_int_equal(execution_run(f, &operation), OUTCOME_NO_CONTENT);
    operation.if_none_match.kind = CONDITION_NONE;
    operation.if_match.kind = CONDITION_ANY;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
}

/* --- Deletion --- */

static void a_deleted_id_answers_410_for_a_day_to_every_method(void **state)
{
    struct execution_fixture *f = *state;
    struct session_row row;

    put_plain(f, "s");
    assert_int_equal(run(f, OPERATION_SESSION_DELETE, "s"), OUTCOME_NO_CONTENT);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(view(f, "s", &row), STATUS_CLOSED);
        assert_int_equal(run(f, OPERATION_SESSION_PUT, "s"), OUTCOME_DELETED);
        assert_int_equal(run(f, OPERATION_SESSION_PATCH, "s"), OUTCOME_DELETED);
        assert_int_equal(run(f, OPERATION_SESSION_DELETE, "s"), OUTCOME_DELETED);
        assert_int_equal(run(f, OPERATION_SESSION_TOUCH, "s"), OUTCOME_DELETED);
        assert_int_equal(run(f, OPERATION_SESSION_CHECK, "s"), OUTCOME_DELETED);
        assert_int_equal(append(f, "s"), OUTCOME_DELETED);
        f->now_ms = FIXTURE_START_MS + LIMIT_TOMBSTONE_MS - 1;
        execution_maintain_all(f);
    }
    f->now_ms++; /* The mark counts no longer, though it was not removed yet. */
    assert_int_equal(run(f, OPERATION_SESSION_TOUCH, "s"), OUTCOME_NOT_FOUND);
    assert_int_equal(execution_count(f, KEY_TOMBSTONE), 1);
    put_plain(f, "s");
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_TOMBSTONE), 0);
    (void)get(f, "s");
}

static void a_session_deleted_again_is_marked_for_a_whole_day_again(void **state)
{
    struct execution_fixture *f = *state;

    put_plain(f, "s");
    assert_int_equal(run(f, OPERATION_SESSION_DELETE, "s"), OUTCOME_NO_CONTENT);
    f->now_ms += LIMIT_TOMBSTONE_MS; /* And no maintenance between. */
    put_plain(f, "s");
    assert_int_equal(run(f, OPERATION_SESSION_DELETE, "s"), OUTCOME_NO_CONTENT);
    execution_maintain_all(f);
    assert_int_equal(run(f, OPERATION_SESSION_PUT, "s"), OUTCOME_DELETED);
    f->now_ms += LIMIT_TOMBSTONE_MS;
    execution_maintain_all(f);
    put_plain(f, "s");
    assert_int_equal(execution_count(f, KEY_TOMBSTONE), 0);
}

/* --- Expiry --- */

static void an_expired_session_is_absent_before_it_is_purged(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.ttl = {TTL_SET, 1000}, .user_id = set("u")};
    uint64_t old_object;
    struct session_row row;

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    old_object = get(f, "s").object_id;
    f->now_ms += 999;
    (void)get(f, "s"); /* Never early: */
    f->now_ms += 1;
    assert_int_equal(run(f, OPERATION_SESSION_TOUCH, "s"), OUTCOME_NOT_FOUND);
    assert_int_equal(view(f, "s", &row), STATUS_NOT_FOUND);
    assert_int_equal(append(f, "s"), OUTCOME_NOT_FOUND);

    put_plain(f, "s"); /* The id is free. */
    row = get(f, "s");
    assert_true(row.object_id > old_object);
    assert_int_equal(row.created_at_ms, FIXTURE_START_MS + 1000);
    assert_int_equal(f->execution.counters.sessions, 1);
    assert_int_equal(execution_count(f, KEY_SESSION_INDEX), 3);
    assert_int_equal(execution_count(f, KEY_DUE), 0);
}

static void maintenance_removes_what_expired_and_tells_watchers(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.ttl = {TTL_SET, 1000}, .state = set("{\"a\":1}")};
    uint64_t revision;

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    revision = execution_revision(f);
    f->now_ms += 2000;
    (void)execution_maintain(f, LIMIT_MAINTENANCE_RECORDS);
    assert_int_equal(f->n_changes, 1);
    assert_int_equal(execution_revision(f), revision + 1);
    execution_maintain_all(f);
    assert_int_equal(execution_count(f, KEY_SESSION), 0);
    assert_int_equal(execution_count(f, KEY_SESSION_STATE), 0);
    assert_int_equal(execution_count(f, KEY_SESSION_INDEX), 0);
    assert_int_equal(execution_count(f, KEY_EVENT), 0);
    assert_int_equal(execution_count(f, KEY_DUE), 0);
    assert_int_equal(run(f, OPERATION_SESSION_PUT, "s"), OUTCOME_CREATED);
    assert_int_equal(f->execution.counters.sessions, 1);
    assert_int_equal(f->execution.counters.events, 0);
}

static void a_sliding_session_is_renewed_by_writes_that_are_not_covered(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {.ttl = {TTL_SET, 1000}};

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1000); /* PUT is exact. */
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1000); /* Covered. */
    f->now_ms += 1;
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1100);
    f->now_ms += 100;
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1000); /* Covered. */
    f->now_ms += 1;
    assert_int_equal(patch(f, "s", &(struct session_fields){0}), OUTCOME_OK);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1100);
    assert_int_equal(execution_count(f, KEY_DUE), 1);
}

static void a_session_that_does_not_slide_is_renewed_by_patch_and_touch_alone(void **state)
{
    struct execution_fixture *f = *state;
    struct session_fields fields = {
        .ttl = {TTL_SET, 1000}, .sliding_kind = FIELD_SET, .sliding = false};

    assert_int_equal(put(f, "s", &fields), OUTCOME_CREATED);
    f->now_ms += 500;
    assert_int_equal(append(f, "s"), OUTCOME_CREATED);
    assert_int_equal(get(f, "s").expires_at_ms, FIXTURE_START_MS + 1000);
    assert_int_equal(patch(f, "s", &(struct session_fields){0}), OUTCOME_OK);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1000);
    f->now_ms += 1;
    assert_int_equal(touch(f, "s", (struct ttl){0}), OUTCOME_NO_CONTENT);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1100);
    fields = (struct session_fields){.ttl = {.kind = TTL_CLEAR}};
    assert_int_equal(patch(f, "s", &fields), OUTCOME_OK);
    assert_int_equal(get(f, "s").expires_at_ms, 0);
    assert_int_equal(get(f, "s").ttl_ms, 0);
}

static void touch_leaves_the_document_and_costs_nothing_while_covered(void **state)
{
    struct execution_fixture *f = *state;
    struct session_row before;

    put_plain(f, "s");
    assert_int_equal(touch(f, "s", (struct ttl){0}), OUTCOME_NO_CONTENT); /* Without a TTL. */
    assert_false(f->took_revision);
    before = get(f, "s");

    f->now_ms += 5;
    assert_int_equal(touch(f, "s", (struct ttl){TTL_SET, 1000}), OUTCOME_NO_CONTENT);
    assert_true(f->took_revision);
    assert_int_equal(f->result.etag, before.revision);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1100);
    assert_int_equal(get(f, "s").updated_at_ms, before.updated_at_ms);
    assert_int_equal(get(f, "s").updated_revision, before.updated_revision);
    f->now_ms += 100;
    assert_int_equal(touch(f, "s", (struct ttl){0}), OUTCOME_NO_CONTENT);
    assert_false(f->took_revision);
    f->now_ms += 1;
    assert_int_equal(touch(f, "s", (struct ttl){0}), OUTCOME_NO_CONTENT);
    assert_true(f->took_revision);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1100);
}

static void touch_with_if_match_is_exact_and_always_written(void **state)
{
    struct execution_fixture *f = *state;
    struct operation operation = make(OPERATION_SESSION_TOUCH, "s");

    assert_int_equal(put(f, "s", &(struct session_fields){.ttl = {TTL_SET, 1000}}),
                     OUTCOME_CREATED);
    operation.if_match = (struct condition){CONDITION_TAGS, 1, {f->result.etag}};
    assert_int_equal(execution_run(f, &operation), OUTCOME_NO_CONTENT);
    assert_true(f->took_revision);
    f->now_ms += 10;
    assert_int_equal(execution_run(f, &operation), OUTCOME_NO_CONTENT);
    assert_int_equal(get(f, "s").expires_at_ms, f->now_ms + 1000);
    operation.if_match.tags[0]++;
    assert_int_equal(execution_run(f, &operation), OUTCOME_PRECONDITION_FAILED);
}

/* --- Counters --- */

static void counters_follow_every_change(void **state)
{
    struct execution_fixture *f = *state;
    const struct namespace_counters *counters = &f->execution.counters;
    struct session_fields fields = {
        .metadata = set("{\"k\":\"v\"}"), .state = set("{\"a\":1}"), .ttl = {TTL_SET, 1000}};
    struct session_fields closed = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};

    put_plain(f, "one");
    assert_int_equal(put(f, "two", &fields), OUTCOME_CREATED);
    assert_int_equal(append(f, "two"), OUTCOME_CREATED);
    assert_int_equal(counters->sessions, 2);
    assert_int_equal(counters->sessions_by_status[SESSION_ACTIVE], 2);
    assert_int_equal(counters->events, 1);
    assert_int_equal(counters->bytes, (3 + 2 + 2) + (3 + 9 + 7) + 2);

    assert_int_equal(patch(f, "one", &closed), OUTCOME_OK);
    assert_int_equal(counters->sessions_by_status[SESSION_ACTIVE], 1);
    assert_int_equal(counters->sessions_by_status[SESSION_CLOSED], 1);
    assert_int_equal(run(f, OPERATION_SESSION_DELETE, "one"), OUTCOME_NO_CONTENT);
    f->now_ms += 5000;
    execution_maintain_all(f);
    assert_int_equal(execution_enter(&f->execution, slice_of_string("default")), STATUS_OK);
    assert_int_equal(counters->sessions, 0);
    assert_int_equal(counters->sessions_by_status[SESSION_ACTIVE], 0);
    assert_int_equal(counters->sessions_by_status[SESSION_CLOSED], 0);
    assert_int_equal(counters->events, 0);
    assert_int_equal(counters->bytes, 0);
}

/* --- Lists --- */

struct page {
    struct buffer text; /* The ids, each with a space behind. */
    size_t limit;
};

static bool on_session(void *data, const struct session_row *row)
{
    struct page *page = data;

    if (page->limit == 0) {
        return false;
    }
    page->limit--;
    assert_int_equal(row->state.size, 0);
    buffer_append_slice(&page->text, row->id);
    buffer_append_byte(&page->text, ' ');
    return true;
}

static void assert_listed(struct execution_fixture *f, struct session_filter filter, size_t limit,
                          const char *expected)
{
    struct buffer position = BUFFER_EMPTY;
    struct page page = {.text = BUFFER_EMPTY};

    do {
        page.limit = limit;
        assert_int_equal(
            view_sessions(&f->view, FIXTURE_NAMESPACE_ID, &filter, &position, on_session, &page),
            STATUS_OK);
    } while (position.size > 0);
    buffer_append_byte(&page.text, 0);
    assert_string_equal((const char *)page.text.data, expected);
    buffer_close(&page.text);
    buffer_close(&position);
}

/* a: u1 x; b: u1 y; c: u2 x paused; d: nobody's, paused; then a and c are written to. */
static void make_some(struct execution_fixture *f)
{
    struct session_fields fields = {.user_id = set("u1"), .agent_id = set("x")};

    assert_int_equal(put(f, "a", &fields), OUTCOME_CREATED);
    fields.agent_id = set("y");
    assert_int_equal(put(f, "b", &fields), OUTCOME_CREATED);
    fields = (struct session_fields){.user_id = set("u2"),
                                     .agent_id = set("x"),
                                     .status_kind = FIELD_SET,
                                     .status = SESSION_PAUSED};
    assert_int_equal(put(f, "c", &fields), OUTCOME_CREATED);
    fields.user_id.kind = FIELD_NULL;
    fields.agent_id.kind = FIELD_NULL;
    assert_int_equal(put(f, "d", &fields), OUTCOME_CREATED);
    assert_int_equal(append(f, "a"), OUTCOME_CREATED);
    assert_int_equal(append(f, "c"), OUTCOME_CREATED);
}

static void lists_go_in_the_order_of_creation_or_update(void **state)
{
    struct execution_fixture *f = *state;

    make_some(f);
    for (size_t limit = 1; limit < 6; limit++) {
        assert_listed(f, (struct session_filter){0}, limit, "a b c d ");
        assert_listed(f, (struct session_filter){.order = ORDER_DESC}, limit, "d c b a ");
        assert_listed(f, (struct session_filter){.sort = SESSION_SORT_UPDATED}, limit, "b d a c ");
        assert_listed(f, (struct session_filter){.sort = SESSION_SORT_UPDATED, .order = ORDER_DESC},
                      limit, "c a d b ");
    }
}

static void filters_are_combined_by_and(void **state)
{
    struct execution_fixture *f = *state;
    struct session_filter filter = {.user_id = slice_of_string("u1")};

    make_some(f);
    assert_listed(f, filter, 1, "a b ");
    filter.agent_id = slice_of_string("x");
    assert_listed(f, filter, 1, "a ");
    filter.user_id = slice_of_string("");
    assert_listed(f, filter, 1, "a c ");
    filter.has_status = true;
    filter.status = SESSION_PAUSED;
    assert_listed(f, filter, 1, "c ");
    filter.agent_id = slice_of_string("");
    assert_listed(f, filter, 1, "c d ");
    filter.sort = SESSION_SORT_UPDATED;
    assert_listed(f, filter, 1, "d c ");
    filter.sort = SESSION_SORT_CREATED;
    filter.status = SESSION_CLOSED;
    assert_listed(f, filter, 1, "");
    filter = (struct session_filter){.user_id = slice_of_string("u")}; /* A prefix is no match. */
    assert_listed(f, filter, 1, "");
    filter.user_id = slice_of("u1\0", 3);
    assert_listed(f, filter, 1, "");
}

static void lists_follow_a_change_of_fields_and_omit_the_expired(void **state)
{
    struct execution_fixture *f = *state;
    struct session_filter user = {.user_id = slice_of_string("u2")};
    struct session_filter paused = {.has_status = true, .status = SESSION_PAUSED};
    struct session_fields fields = {.user_id = set("u2"), .ttl = {TTL_SET, 1000}};

    make_some(f);
    assert_int_equal(patch(f, "a", &fields), OUTCOME_OK);
    assert_listed(f, user, 9, "a c ");
    assert_int_equal(patch(f, "c", &(struct session_fields){.status_kind = FIELD_NULL}),
                     OUTCOME_OK);
    assert_listed(f, paused, 9, "d ");
    f->now_ms += 2000;
    assert_int_equal(run(f, OPERATION_SESSION_DELETE, "b"), OUTCOME_NO_CONTENT);
    assert_listed(f, user, 9, "c ");
    assert_listed(f, (struct session_filter){0}, 9, "c d ");
}

static bool on_any(void *data, const struct session_row *row)
{
    unsigned *n = data;

    (void)row;
    ++*n;
    return true;
}

static void a_page_looks_at_so_many_rows_and_no_more(void **state)
{
    struct execution_fixture *f = *state;
    struct session_filter filter = {
        .has_status = true, .status = SESSION_CLOSED, .sort = SESSION_SORT_UPDATED};
    struct session_fields closed = {.status_kind = FIELD_SET, .status = SESSION_CLOSED};
    struct buffer position = BUFFER_EMPTY;
    unsigned n = 0;

    for (unsigned i = 0; i < LIMIT_PAGE_SCAN; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "s%u", i);
        put_plain(f, id);
    }
    assert_int_equal(put(f, "last", &closed), OUTCOME_CREATED);
    assert_int_equal(view_sessions(&f->view, FIXTURE_NAMESPACE_ID, &filter, &position, on_any, &n),
                     STATUS_OK);
    assert_int_equal(n, 0);
    assert_true(position.size > 0);
    assert_int_equal(view_sessions(&f->view, FIXTURE_NAMESPACE_ID, &filter, &position, on_any, &n),
                     STATUS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(position.size, 0);

    buffer_append_string(&position, "nonsense");
    assert_int_equal(view_sessions(&f->view, FIXTURE_NAMESPACE_ID, &filter, &position, on_any, &n),
                     STATUS_INVALID);
    buffer_close(&position);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, execution_fixture_setup, execution_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_makes_a_session_with_defaults),
        TEST(put_answers_the_row_without_its_state),
        TEST(put_replaces_the_document_and_keeps_log_and_birth),
        TEST(patch_merges_and_null_resets),
        TEST(patch_checks_what_it_makes),
        TEST(a_missing_session_is_404_and_412_only_on_put),
        TEST(preconditions_compare_the_document_alone),
        TEST(check_of_an_absent_session_follows_its_conditions),
        TEST(a_deleted_id_answers_410_for_a_day_to_every_method),
        TEST(a_session_deleted_again_is_marked_for_a_whole_day_again),
        TEST(an_expired_session_is_absent_before_it_is_purged),
        TEST(maintenance_removes_what_expired_and_tells_watchers),
        TEST(a_sliding_session_is_renewed_by_writes_that_are_not_covered),
        TEST(a_session_that_does_not_slide_is_renewed_by_patch_and_touch_alone),
        TEST(touch_leaves_the_document_and_costs_nothing_while_covered),
        TEST(touch_with_if_match_is_exact_and_always_written),
        TEST(counters_follow_every_change),
        TEST(lists_go_in_the_order_of_creation_or_update),
        TEST(filters_are_combined_by_and),
        TEST(lists_follow_a_change_of_fields_and_omit_the_expired),
        TEST(a_page_looks_at_so_many_rows_and_no_more),
    };

    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
