/* Namespaces: made, changed, gone at once, and purged in bounded steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/keys.h"
#include "tests/lib/state.h"

static struct operation on_namespace(enum operation_kind kind, const char *name,
                                     const char *metadata)
{
    struct operation operation = {.kind = kind, .ns = {.name = slice_of_string(name)}};

    if (metadata != NULL) {
        operation.ns.metadata =
            (struct text_field){.kind = FIELD_SET, .value = slice_of_string(metadata)};
    }
    return operation;
}

static struct operation_result operate(struct state_fixture *f, struct operation operation)
{
    return state_operate(f, &operation).first;
}

static struct operation_result put(struct state_fixture *f, const char *name, const char *metadata)
{
    return operate(f, on_namespace(OPERATION_NAMESPACE_PUT, name, metadata));
}

static enum outcome delete (struct state_fixture *f, const char *name) {
    return operate(f, on_namespace(OPERATION_NAMESPACE_DELETE, name, NULL)).outcome;
}

/* Execute @operation in the namespace @name. */
static struct state_answer inside(struct state_fixture *f, const char *name,
                                  struct operation operation)
{
    struct command command = {
        .ns = slice_of_string(name), .n_operations = 1, .operations = &operation};

    return state_execute(f, &command);
}

static void assert_metadata(struct operation_result result, const char *metadata)
{
    struct namespace_row row;

    assert_int_equal(result.row_kind, ROW_NAMESPACE);
    assert_int_equal(namespace_row_decode(result.row, &row), STATUS_OK);
    assert_int_equal(row.revision, result.etag);
    assert_true(slice_equals_string(row.metadata, metadata));
}

static void put_makes_and_then_replaces(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result = put(f, "team", "{\"a\":\"1\"}");
    struct namespace_row row;

    assert_int_equal(result.outcome, OUTCOME_CREATED);
    assert_metadata(result, "{\"a\":\"1\"}");
    f->now_ms += 5;
    result = put(f, "team", NULL);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.etag, 3);
    assert_metadata(result, "{}");
    assert_int_equal(namespace_row_decode(result.row, &row), STATUS_OK);
    assert_int_equal(row.created_at_ms, STATE_START_MS);
}

static void patch_merges_and_null_resets(void **state)
{
    struct state_fixture *f = *state;
    struct operation reset = on_namespace(OPERATION_NAMESPACE_PATCH, "team", NULL);

    put(f, "team", "{\"a\":\"1\",\"b\":\"2\"}");
    assert_metadata(
        operate(f, on_namespace(OPERATION_NAMESPACE_PATCH, "team", "{\"a\":null,\"c\":\"3\"}")),
        "{\"b\":\"2\",\"c\":\"3\"}");
    assert_metadata(operate(f, reset), "{\"b\":\"2\",\"c\":\"3\"}");
    reset.ns.metadata.kind = FIELD_NULL;

    assert_metadata(operate(f, reset), "{}");
    assert_int_equal(operate(f, on_namespace(OPERATION_NAMESPACE_PATCH, "nowhere", "{}")).outcome,
                     OUTCOME_NAMESPACE_NOT_FOUND);
}

static void metadata_beyond_the_rules_is_refused_with_its_place(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result = put(f, "team", "{\"a\":1}");

    assert_int_equal(result.outcome, OUTCOME_INVALID_FIELD);
    assert_true(slice_equals_string(result.text, "/metadata/a"));
    assert_int_equal(delete (f, "team"), OUTCOME_NAMESPACE_NOT_FOUND);
}

static void conditions_are_checked_against_the_revision(void **state)
{
    struct state_fixture *f = *state;
    struct operation once = on_namespace(OPERATION_NAMESPACE_PUT, "team", NULL);
    struct operation guarded = on_namespace(OPERATION_NAMESPACE_DELETE, "team", NULL);
    struct operation_result result;

    once.if_none_match.kind = CONDITION_ANY;
    guarded.if_match = (struct condition){.kind = CONDITION_TAGS, .n_tags = 1, .tags = {9}};
    assert_int_equal(operate(f, once).outcome, OUTCOME_CREATED);

    assert_int_equal(operate(f, once).outcome, OUTCOME_PRECONDITION_FAILED);
    result = operate(f, guarded);
    assert_int_equal(result.outcome, OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(result.number, 2);
    guarded.if_match.tags[0] = 2;
    assert_int_equal(operate(f, guarded).outcome, OUTCOME_NO_CONTENT);
}

static void the_default_namespace_is_protected(void **state)
{
    struct state_fixture *f = *state;

    assert_int_equal(delete (f, "default"), OUTCOME_PROTECTED);
    assert_int_equal(put(f, "default", "{\"a\":\"1\"}").outcome, OUTCOME_OK);
}

static void namespaces_do_not_see_each_other(void **state)
{
    struct state_fixture *f = *state;

    put(f, "one", NULL);
    put(f, "two", NULL);
    inside(f, "one", item_put("a", "1"));

    assert_int_equal(inside(f, "two", item_delete("a")).first.outcome, OUTCOME_NOT_FOUND);
    assert_int_equal(inside(f, "one", item_delete("a")).first.outcome, OUTCOME_NO_CONTENT);
}

static void counters_follow_their_namespace_through_interleaved_commands(void **state)
{
    struct state_fixture *f = *state;
    struct namespace_counters counters;
    struct namespace_row row;
    struct view *view;

    put(f, "one", NULL);
    for (unsigned i = 0; i < 3; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "k%u", i);
        inside(f, "one", item_put(key, "1"));
        inside(f, "default", item_put(key, "1"));
        inside(f, "default", item_put("other", "1"));
    }
    assert_int_equal(state_counters(f).items, 4);

    view = state_view(f);
    assert_int_equal(view_namespace(view, slice_of_string("one"), &row), STATUS_OK);
    assert_int_equal(view_counters(view, row.id, &counters), STATUS_OK);
    assert_int_equal(counters.items, 3);
    state_view_end(f);
}

static void fill(struct state_fixture *f, const char *name)
{
    struct operation session = {.kind = OPERATION_SESSION_PUT};
    struct new_event event = {.type = slice_of_string("t"), .data = slice_of_string("1")};
    struct operation append = {.kind = OPERATION_EVENTS_APPEND,
                               .append = {.n_events = 1, .events = &event}};
    struct operation put_item;
    struct command keyed = {.ns = slice_of_string(name),
                            .idempotency_key = slice_of_string("key"),
                            .n_operations = 1,
                            .operations = &put_item};
    char id[16];

    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof id, "x%u", i);
        put_item = item_put(id, "1");
        if (i % 2 == 0) {
            put_item.item.ttl = (struct ttl){.kind = TTL_SET, .ms = 1000000};
        }
        inside(f, name, put_item);
        session.session.id = slice_of_string(id);
        session.kind = OPERATION_SESSION_PUT;
        inside(f, name, session);
        append.append.session_id = slice_of_string(id);
        inside(f, name, append);
    }
    session.kind = OPERATION_SESSION_DELETE;
    inside(f, name, session);
    state_execute(f, &keyed);
}

static void a_deleted_namespace_is_gone_at_once_and_purged_in_bounded_steps(void **state)
{
    struct state_fixture *f = *state;
    uint64_t records;

    put(f, "other", NULL);
    inside(f, "other", item_put("stays", "1"));
    state_maintain(f, 100);
    records = state_count(f, 0) - state_count(f, KEY_CHANGE);
    put(f, "team", NULL);
    fill(f, "team");

    assert_int_equal(delete (f, "team"), OUTCOME_NO_CONTENT);
    assert_int_equal(inside(f, "team", item_delete("x1")).first.outcome,
                     OUTCOME_NAMESPACE_NOT_FOUND);
    assert_in_range(state_maintain(f, 10), 5, 40);
    f->now_ms += LIMIT_IDEMPOTENCY_MS;
    state_maintain(f, 10);
    assert_int_equal(state_count(f, 0) - state_count(f, KEY_CHANGE), records);
    assert_int_equal(inside(f, "other", item_delete("stays")).first.outcome, OUTCOME_NO_CONTENT);
}

static void a_deleted_namespace_can_be_made_anew_before_it_is_purged(void **state)
{
    struct state_fixture *f = *state;

    put(f, "team", NULL);
    fill(f, "team");
    delete (f, "team");
    assert_int_equal(put(f, "team", NULL).outcome, OUTCOME_CREATED);

    assert_int_equal(inside(f, "team", item_delete("x1")).first.outcome, OUTCOME_NOT_FOUND);
    inside(f, "team", item_put("x1", "1"));
    state_maintain(f, 50);
    assert_int_equal(inside(f, "team", item_delete("x1")).first.outcome, OUTCOME_NO_CONTENT);
}

static void what_expires_in_a_deleted_namespace_is_removed_whole(void **state)
{
    struct state_fixture *f = *state;

    put(f, "team", NULL);
    fill(f, "team");
    delete (f, "team");
    f->now_ms += 1000000;
    state_maintain(f, 4);

    assert_int_equal(state_count(f, KEY_ITEM), 0);
    assert_int_equal(state_count(f, KEY_SESSION), 0);
    assert_int_equal(state_count(f, KEY_EVENT), 0);
    assert_int_equal(state_count(f, KEY_PURGE), 0);
}

static bool collect(void *data, const struct namespace_row *row)
{
    char *names = data;

    strncat(names, (const char *)row->name.data, row->name.size);
    strcat(names, " ");
    return true;
}

static void namespaces_are_listed_by_name(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    char names[64] = "";

    put(f, "zoo", NULL);
    put(f, "a", NULL);

    assert_int_equal(view_namespaces(state_view(f), ORDER_ASC, &position, collect, names),
                     STATUS_OK);
    state_view_end(f);
    assert_string_equal(names, "a default zoo ");
    assert_int_equal(position.size, 0);
    buffer_close(&position);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(put_makes_and_then_replaces),
        TEST(patch_merges_and_null_resets),
        TEST(metadata_beyond_the_rules_is_refused_with_its_place),
        TEST(conditions_are_checked_against_the_revision),
        TEST(the_default_namespace_is_protected),
        TEST(namespaces_do_not_see_each_other),
        TEST(counters_follow_their_namespace_through_interleaved_commands),
        TEST(a_deleted_namespace_is_gone_at_once_and_purged_in_bounded_steps),
        TEST(a_deleted_namespace_can_be_made_anew_before_it_is_purged),
        TEST(what_expires_in_a_deleted_namespace_is_removed_whole),
        TEST(namespaces_are_listed_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
