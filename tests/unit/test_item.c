/* Items: the rules of the API for writing, renewing, expiring and listing them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/keys.h"
#include "tests/lib/state.h"

#define TTL 1000u

static struct operation patch(const char *key, const char *value)
{
    struct operation operation = item_put(key, value);

    operation.kind = OPERATION_ITEM_PATCH;
    return operation;
}

static struct operation touch(const char *key)
{
    return (struct operation){.kind = OPERATION_ITEM_TOUCH, .item = {.key = slice_of_string(key)}};
}

static struct operation with_ttl(struct operation operation, uint64_t ms)
{
    operation.item.ttl = (struct ttl){.kind = TTL_SET, .ms = ms};
    return operation;
}

static struct operation with_tag(struct operation operation, uint64_t revision)
{
    operation.if_match = (struct condition){.kind = CONDITION_TAGS, .n_tags = 1};
    operation.if_match.tags[0] = revision;
    return operation;
}

static struct operation if_absent(struct operation operation)
{
    operation.if_none_match.kind = CONDITION_ANY;
    return operation;
}

static struct operation_result operate(struct state_fixture *f, struct operation operation)
{
    return state_operate(f, &operation).first;
}

static void assert_outcome(struct state_fixture *f, struct operation operation,
                           enum outcome outcome)
{
    assert_int_equal(operate(f, operation).outcome, outcome);
}

/* The row as readers see it, with the text of its value in @value, if it is not NULL. */
static enum status look(struct state_fixture *f, const char *key, struct item_row *row,
                        char value[64])
{
    uint64_t id = state_default_id(f);
    enum status status = view_item(state_view(f), id, slice_of_string(key), row);

    if (status == STATUS_OK && value != NULL) {
        assert_true(row->value.size < 64);
        memcpy(value, row->value.data, row->value.size);
        value[row->value.size] = '\0';
    }
    state_view_end(f);
    return status;
}

static uint64_t expiry_of(struct state_fixture *f, const char *key)
{
    struct item_row row;

    assert_int_equal(look(f, key, &row, NULL), STATUS_OK);
    return row.expires_at_ms;
}

static void assert_value(struct state_fixture *f, const char *key, const char *expected)
{
    struct item_row row;
    char value[64];

    assert_int_equal(look(f, key, &row, value), STATUS_OK);
    assert_string_equal(value, expected);
}

/* --- PUT --- */

static void put_makes_and_then_replaces(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result = operate(f, item_put("a", "{\"x\": 1}"));
    struct item_row row;

    assert_int_equal(result.outcome, OUTCOME_CREATED);
    assert_int_equal(result.etag, 2);
    assert_int_equal(result.row_kind, ROW_ITEM);
    f->now_ms += 5;
    result = operate(f, item_put("a", "[ 2 ]"));
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.etag, 3);
    assert_int_equal(item_row_decode(result.row, &row), STATUS_OK);
    assert_int_equal(row.revision, 3);
    assert_int_equal(row.size_bytes, 5);
    assert_int_equal(row.value.size, 0);
    assert_int_equal(row.created_at_ms, STATE_START_MS);
    assert_int_equal(row.updated_at_ms, STATE_START_MS + 5);
    assert_true(slice_equals_string(row.content_type, "application/json"));
    assert_value(f, "a", "[ 2 ]");
}

static void put_without_a_ttl_or_a_user_clears_them(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = with_ttl(item_put("a", "1"), TTL);
    struct item_row row;

    operation.item.user_id = (struct text_field){.kind = FIELD_SET, .value = slice_of_string("u")};
    operate(f, operation);
    operate(f, item_put("a", "2"));

    assert_int_equal(look(f, "a", &row, NULL), STATUS_OK);
    assert_int_equal(row.ttl_ms, 0);
    assert_int_equal(row.expires_at_ms, 0);
    assert_int_equal(row.user_id.size, 0);
    assert_int_equal(state_count(f, KEY_DUE), 0);
}

static void put_if_absent_makes_a_lock_once(void **state)
{
    struct state_fixture *f = *state;
    struct operation lock = if_absent(with_ttl(item_put("lock", "1"), TTL));
    struct operation_result result;

    assert_outcome(f, lock, OUTCOME_CREATED);
    result = operate(f, lock);
    assert_int_equal(result.outcome, OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(result.number, 2);
    f->now_ms += TTL;

    assert_outcome(f, lock, OUTCOME_CREATED);
}

static void put_with_a_tag_fails_on_another_revision_and_on_absence(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result;

    operate(f, item_put("a", "1"));

    assert_outcome(f, with_tag(item_put("a", "2"), 2), OUTCOME_OK);
    result = operate(f, with_tag(item_put("a", "3"), 2));
    assert_int_equal(result.outcome, OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(result.number, 3);
    result = operate(f, with_tag(item_put("missing", "1"), 2));
    assert_int_equal(result.outcome, OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(result.number, 0);
    assert_int_equal(machine_revision(f->machine), 3);
}

/* --- PATCH --- */

static void patch_merges_and_renews_the_stored_ttl(void **state)
{
    struct state_fixture *f = *state;

    operate(f, with_ttl(item_put("a", "{\"x\":1,\"y\":2}"), TTL));
    f->now_ms += 400;

    assert_outcome(f, patch("a", "{\"x\":null,\"z\":3}"), OUTCOME_OK);
    assert_value(f, "a", "{\"y\":2,\"z\":3}");
    assert_int_equal(expiry_of(f, "a"), STATE_START_MS + 400 + TTL);
}

static void patch_never_creates(void **state)
{
    struct state_fixture *f = *state;

    operate(f, with_ttl(item_put("a", "{}"), TTL));
    f->now_ms += TTL;

    assert_outcome(f, patch("a", "{}"), OUTCOME_NOT_FOUND);
    assert_outcome(f, with_tag(patch("b", "{}"), 2), OUTCOME_NOT_FOUND);
}

static void patch_of_bytes_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "\x01\x02");

    operation.item.content = CONTENT_BYTES;
    operation.item.content_type = slice_of_string("image/png");
    operate(f, operation);

    assert_outcome(f, patch("a", "{}"), OUTCOME_NOT_JSON);
}

static void patch_that_makes_an_item_too_large_is_refused_and_changes_nothing(void **state)
{
    struct state_fixture *f = *state;
    size_t size = LIMIT_ITEM_BYTES - 100;
    char *text = malloc(size + 1);
    uint64_t revision;

    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + size - 2, "\"}", 3);
    assert_outcome(f, item_put("a", text), OUTCOME_CREATED);
    text[2] = 'b';
    revision = machine_revision(f->machine);

    assert_outcome(f, patch("a", text), OUTCOME_TOO_LARGE);
    assert_int_equal(machine_revision(f->machine), revision);
    free(text);
}

/* --- Touch --- */

static void a_touch_gives_a_tenth_more_and_is_not_written_while_that_covers_it(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result;

    operate(f, with_ttl(item_put("a", "1"), TTL));
    f->now_ms += 1;
    result = operate(f, touch("a"));
    assert_int_equal(result.outcome, OUTCOME_NO_CONTENT);
    assert_int_equal(result.etag, 2);
    assert_int_equal(machine_revision(f->machine), 3);
    assert_int_equal(expiry_of(f, "a"), STATE_START_MS + 1 + TTL + TTL / 10);
    f->now_ms += TTL / 10;
    operate(f, touch("a"));
    assert_int_equal(machine_revision(f->machine), 3);
    f->now_ms += 1;
    operate(f, touch("a"));

    assert_int_equal(machine_revision(f->machine), 4);
    assert_int_equal(state_count(f, KEY_DUE), 1);
}

static void a_touch_with_a_tag_is_exact_and_always_written(void **state)
{
    struct state_fixture *f = *state;

    operate(f, with_ttl(item_put("lock", "1"), TTL));
    f->now_ms += 1;

    assert_int_equal(operate(f, with_tag(touch("lock"), 2)).etag, 2);
    assert_int_equal(expiry_of(f, "lock"), STATE_START_MS + 1 + TTL);
    operate(f, with_tag(touch("lock"), 2));
    assert_int_equal(machine_revision(f->machine), 4);
    assert_outcome(f, with_tag(touch("lock"), 4), OUTCOME_PRECONDITION_FAILED);
}

static void a_touch_may_change_the_ttl_and_leaves_the_document(void **state)
{
    struct state_fixture *f = *state;
    struct item_row row;

    operate(f, item_put("a", "1"));
    f->now_ms += 7;
    operate(f, touch("a"));
    assert_int_equal(machine_revision(f->machine), 2);
    operate(f, with_ttl(touch("a"), TTL));

    assert_int_equal(look(f, "a", &row, NULL), STATUS_OK);
    assert_int_equal(row.ttl_ms, TTL);
    assert_int_equal(row.revision, 2);
    assert_int_equal(row.updated_at_ms, STATE_START_MS);
    assert_outcome(f, touch("missing"), OUTCOME_NOT_FOUND);
}

/* --- DELETE, CHECK --- */

static void delete_removes_everything_of_an_item(void **state)
{
    struct state_fixture *f = *state;

    operate(f, with_ttl(item_put("a", "1"), TTL));
    assert_outcome(f, with_tag(item_delete("a"), 9), OUTCOME_PRECONDITION_FAILED);

    assert_outcome(f, item_delete("a"), OUTCOME_NO_CONTENT);
    assert_outcome(f, item_delete("a"), OUTCOME_NOT_FOUND);
    assert_int_equal(state_count(f, KEY_ITEM), 0);
    assert_int_equal(state_count(f, KEY_DUE), 0);
    assert_int_equal(state_counters(f).items, 0);
    assert_int_equal(state_counters(f).bytes, 0);
}

static void check_answers_whether_its_conditions_hold(void **state)
{
    struct state_fixture *f = *state;
    struct operation check = touch("a");

    check.kind = OPERATION_ITEM_CHECK;
    assert_outcome(f, if_absent(check), OUTCOME_NO_CONTENT);
    assert_outcome(f, with_tag(check, 2), OUTCOME_PRECONDITION_FAILED);
    operate(f, item_put("a", "1"));

    assert_outcome(f, with_tag(check, 2), OUTCOME_NO_CONTENT);
    assert_outcome(f, if_absent(check), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(machine_revision(f->machine), 2);
}

static struct prefix_deleted_row delete_prefix(struct state_fixture *f, const char *prefix)
{
    struct operation operation = touch(prefix);
    struct prefix_deleted_row row;
    struct operation_result result;

    operation.kind = OPERATION_ITEM_DELETE_PREFIX;
    result = operate(f, operation);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.row_kind, ROW_PREFIX_DELETED);
    assert_int_equal(prefix_deleted_row_decode(result.row, &row), STATUS_OK);
    return row;
}

static void put_many(struct state_fixture *f, unsigned n)
{
    char key[32];

    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(key, sizeof key, "many/%05u", i);
        operate(f, item_put(key, "1"));
    }
}

static void a_prefix_is_deleted_in_bounded_entries(void **state)
{
    struct state_fixture *f = *state;
    struct prefix_deleted_row row;

    put_many(f, LIMIT_PREFIX_DELETE_ITEMS + 1);
    operate(f, item_put("manz", "1"));

    row = delete_prefix(f, "many/");
    assert_int_equal(row.deleted, LIMIT_PREFIX_DELETE_ITEMS);
    assert_true(row.more);
    row = delete_prefix(f, "many/");
    assert_int_equal(row.deleted, 1);
    assert_false(row.more);
    assert_int_equal(state_count(f, KEY_ITEM), 1);
    assert_int_equal(state_counters(f).items, 1);
}

static void a_prefix_of_nothing_is_deleted_and_makes_a_revision(void **state)
{
    struct state_fixture *f = *state;

    operate(f, with_ttl(item_put("x/1", "1"), TTL));
    f->now_ms += TTL;

    assert_int_equal(delete_prefix(f, "x/").deleted, 0);
    assert_int_equal(machine_revision(f->machine), 3);
    assert_int_equal(state_count(f, KEY_ITEM), 0);
    assert_false(delete_prefix(f, "x/").more);
    assert_int_equal(machine_revision(f->machine), 4);
}

static void a_prefix_of_large_items_is_bounded_by_bytes(void **state)
{
    struct state_fixture *f = *state;
    char *text = malloc(LIMIT_ITEM_BYTES + 1);
    struct prefix_deleted_row row;
    char key[16];

    assert_non_null(text);
    memset(text, '1', LIMIT_ITEM_BYTES);
    text[LIMIT_ITEM_BYTES] = '\0';
    for (unsigned i = 0; i < 17; i++) {
        (void)snprintf(key, sizeof key, "l/%02u", i);
        assert_outcome(f, item_put(key, text), OUTCOME_CREATED);
    }

    row = delete_prefix(f, "l/");
    assert_int_equal(row.deleted, 15); /* The keys count too. */
    assert_true(row.more);
    free(text);
}

/* --- Expiry --- */

static void an_expired_item_is_absent_at_once_and_for_everything(void **state)
{
    struct state_fixture *f = *state;
    struct operation_result result;
    struct item_row row;

    operate(f, with_ttl(item_put("a", "1"), TTL));
    f->now_ms += TTL - 1;
    operate(f, item_put("other", "1"));
    assert_int_equal(look(f, "a", &row, NULL), STATUS_OK);
    f->now_ms += 1;
    operate(f, item_put("other", "1"));

    assert_int_equal(look(f, "a", &row, NULL), STATUS_NOT_FOUND);
    assert_outcome(f, touch("a"), OUTCOME_NOT_FOUND);
    assert_outcome(f, item_delete("a"), OUTCOME_NOT_FOUND);
    result = operate(f, item_put("a", "22"));
    assert_int_equal(result.outcome, OUTCOME_CREATED);
    assert_int_equal(item_row_decode(result.row, &row), STATUS_OK);
    assert_int_equal(row.created_at_ms, f->now_ms);
    assert_int_equal(state_counters(f).items, 2);
    assert_int_equal(state_counters(f).bytes, 1 + 2 + 5 + 1);
    assert_int_equal(state_count(f, KEY_DUE), 0);
}

static void an_item_that_was_renewed_is_not_expired_at_its_old_time(void **state)
{
    struct state_fixture *f = *state;
    struct item_row row;

    operate(f, with_ttl(item_put("a", "1"), TTL));
    f->now_ms += TTL / 2;
    operate(f, with_ttl(item_put("a", "1"), TTL));
    f->now_ms += TTL / 2;
    state_maintain(f, 100);

    assert_int_equal(look(f, "a", &row, NULL), STATUS_OK);
    assert_int_equal(state_count(f, KEY_DUE), 1);
}

/* --- Lists --- */

struct page {
    unsigned n;
    unsigned limit;
    char last[32];
    char first[32];
};

static bool take(void *data, const struct item_row *row)
{
    struct page *page = data;

    if (page->n == page->limit) {
        return false;
    }
    (void)snprintf(page->last, sizeof page->last, "%.*s", (int)row->key.size,
                   (const char *)row->key.data);
    if (page->n == 0) {
        strcpy(page->first, page->last);
    }
    page->n++;
    return true;
}

static struct page list(struct state_fixture *f, const char *prefix, enum list_order order,
                        unsigned limit, struct buffer *position)
{
    struct page page = {.limit = limit};
    uint64_t id = state_default_id(f);

    assert_int_equal(
        view_items(state_view(f), id, slice_of_string(prefix), order, position, take, &page),
        STATUS_OK);
    state_view_end(f);
    return page;
}

static void a_list_goes_on_where_the_page_before_ended(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct page page;

    put_many(f, 25);
    operate(f, item_put("z", "1"));

    page = list(f, "many/", ORDER_ASC, 10, &position);
    assert_int_equal(page.n, 10);
    assert_string_equal(page.first, "many/00000");
    operate(f, item_delete(page.last)); /* The place stays, though its row is gone. */
    page = list(f, "many/", ORDER_ASC, 10, &position);
    assert_string_equal(page.first, "many/00010");
    page = list(f, "many/", ORDER_ASC, 10, &position);
    assert_int_equal(page.n, 5);
    assert_string_equal(page.last, "many/00024");
    assert_int_equal(position.size, 0);
    buffer_close(&position);
}

static void a_list_runs_backwards_too(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct page page;

    put_many(f, 15);
    operate(f, item_put("z", "1"));

    page = list(f, "many/", ORDER_DESC, 10, &position);
    assert_string_equal(page.first, "many/00014");
    assert_string_equal(page.last, "many/00005");
    page = list(f, "many/", ORDER_DESC, 10, &position);
    assert_string_equal(page.first, "many/00004");
    assert_int_equal(page.n, 5);
    assert_int_equal(position.size, 0);
    buffer_close(&position);
}

static void a_page_whose_first_row_is_refused_starts_there_again(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;

    put_many(f, 3);

    assert_int_equal(list(f, "", ORDER_ASC, 0, &position).n, 0);
    assert_true(position.size > 0);
    assert_string_equal(list(f, "", ORDER_ASC, 1, &position).first, "many/00000");
    buffer_close(&position);
}

static void a_foreign_position_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct page page = {.limit = 10};
    uint64_t id;

    put_many(f, 3);
    list(f, "many/", ORDER_ASC, 1, &position);
    id = state_default_id(f);

    assert_int_equal(
        view_items(state_view(f), id, slice_of_string("other/"), ORDER_ASC, &position, take, &page),
        STATUS_INVALID);
    state_view_end(f);
    buffer_close(&position);
}

static void a_page_looks_at_a_bounded_number_of_rows(void **state)
{
    struct state_fixture *f = *state;
    struct buffer position = BUFFER_EMPTY;
    struct page page;
    char key[32];

    for (unsigned i = 0; i < LIMIT_PAGE_SCAN; i++) {
        (void)snprintf(key, sizeof key, "gone/%05u", i);
        operate(f, with_ttl(item_put(key, "1"), TTL));
    }
    f->now_ms += TTL;
    operate(f, item_put("here", "1"));

    page = list(f, "", ORDER_ASC, 10, &position);
    assert_int_equal(page.n, 0);
    assert_true(position.size > 0);
    page = list(f, "", ORDER_ASC, 10, &position);
    assert_int_equal(page.n, 1);
    assert_int_equal(position.size, 0);
    buffer_close(&position);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(put_makes_and_then_replaces),
        TEST(put_without_a_ttl_or_a_user_clears_them),
        TEST(put_if_absent_makes_a_lock_once),
        TEST(put_with_a_tag_fails_on_another_revision_and_on_absence),
        TEST(patch_merges_and_renews_the_stored_ttl),
        TEST(patch_never_creates),
        TEST(patch_of_bytes_is_refused),
        TEST(patch_that_makes_an_item_too_large_is_refused_and_changes_nothing),
        TEST(a_touch_gives_a_tenth_more_and_is_not_written_while_that_covers_it),
        TEST(a_touch_with_a_tag_is_exact_and_always_written),
        TEST(a_touch_may_change_the_ttl_and_leaves_the_document),
        TEST(delete_removes_everything_of_an_item),
        TEST(check_answers_whether_its_conditions_hold),
        TEST(a_prefix_is_deleted_in_bounded_entries),
        TEST(a_prefix_of_nothing_is_deleted_and_makes_a_revision),
        TEST(a_prefix_of_large_items_is_bounded_by_bytes),
        TEST(an_expired_item_is_absent_at_once_and_for_everything),
        TEST(an_item_that_was_renewed_is_not_expired_at_its_old_time),
        TEST(a_list_goes_on_where_the_page_before_ended),
        TEST(a_list_runs_backwards_too),
        TEST(a_page_whose_first_row_is_refused_starts_there_again),
        TEST(a_foreign_position_is_refused),
        TEST(a_page_looks_at_a_bounded_number_of_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
