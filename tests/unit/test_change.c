/* The change log: one record per revision, kept for an hour or a million revisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/change.h"
#include "storage/keys.h"
#include "tests/lib/state.h"

static struct state_answer transact(struct state_fixture *f, struct operation *operations,
                                    uint32_t n)
{
    struct command command = {.ns = slice_of_string("default"),
                              .is_transaction = true,
                              .n_operations = n,
                              .operations = operations};

    return state_execute(f, &command);
}

static void a_revision_lists_what_it_changed_in_order(void **state)
{
    struct state_fixture *f = *state;
    struct operation operations[] = {item_put("a", "1"), item_delete("a")};
    struct change_set set;
    struct change change;
    uint64_t id;

    operations[0].item.user_id =
        (struct text_field){.kind = FIELD_SET, .value = slice_of_string("u")};
    f->now_ms += 7;
    transact(f, operations, 2);
    id = state_default_id(f);

    assert_int_equal(change_read(state_view(f)->txn, 2, &set), STATUS_OK);
    assert_int_equal(set.revision, 2);
    assert_int_equal(set.time_ms, STATE_START_MS + 7);
    assert_int_equal(set.n_changes, 2);
    assert_true(change_next(&set.changes, &change));
    assert_int_equal(change.resource, RESOURCE_ITEM);
    assert_int_equal(change.action, CHANGE_PUT);
    assert_int_equal(change.namespace_id, id);
    assert_true(slice_equals_string(change.name, "a"));
    assert_true(slice_equals_string(change.user_id, "u"));
    assert_true(change_next(&set.changes, &change));
    assert_int_equal(change.action, CHANGE_DELETE);
    assert_true(slice_equals_string(change.user_id, "u"));
    assert_false(change_next(&set.changes, &change));
    state_view_end(f);
}

static void every_revision_has_a_record_and_nothing_else_has(void **state)
{
    struct state_fixture *f = *state;
    struct operation put = item_put("a", "1");
    struct operation missing = item_delete("b");

    for (unsigned i = 0; i < 10; i++) {
        state_operate(f, &put);
        state_operate(f, &missing);
    }

    assert_int_equal(machine_revision(f->machine), 11);
    assert_int_equal(state_count(f, KEY_CHANGE), 11);
}

static void old_changes_leave_in_bounded_steps(void **state)
{
    struct state_fixture *f = *state;
    struct operation put = item_put("a", "1");
    struct change_set oldest;
    uint64_t due_ms;

    for (unsigned i = 0; i < 30; i++) {
        state_operate(f, &put);
    }
    assert_int_equal(machine_next_due(f->machine, &due_ms, &f->error), STATUS_OK);
    assert_int_equal(due_ms, change_due_ms(STATE_START_MS));
    f->now_ms += LIMIT_CHANGES_MS / 2;
    state_operate(f, &put);
    f->now_ms = due_ms;

    assert_in_range(state_maintain(f, 10), 3, 5);
    assert_int_equal(state_count(f, KEY_CHANGE), 1);
    assert_int_equal(change_oldest(state_view(f)->txn, &oldest), STATUS_OK);
    assert_int_equal(oldest.revision, 32);
    state_view_end(f);
}

static void more_revisions_than_the_limit_push_out_the_oldest(void **state)
{
    struct state_fixture *f = *state;
    struct execution execution = {.now_ms = 1};
    struct change_set set;

    assert_int_equal(txn_begin_write(f->store, &execution.txn, &f->error), STATUS_OK);
    for (uint64_t revision = 1; revision <= LIMIT_CHANGES + 2; revision++) {
        if (revision == 4) {
            revision = LIMIT_CHANGES; /* Those between do not matter here. */
        }
        execution.revision = revision;
        assert_int_equal(change_append(&execution), STATUS_OK);
    }

    assert_int_equal(change_read(execution.txn, 2, &set), STATUS_NOT_FOUND);
    assert_int_equal(change_read(execution.txn, 3, &set), STATUS_OK);
    txn_abort(execution.txn);
    execution_close(&execution);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_revision_lists_what_it_changed_in_order),
        TEST(every_revision_has_a_record_and_nothing_else_has),
        TEST(old_changes_leave_in_bounded_steps),
        TEST(more_revisions_than_the_limit_push_out_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
