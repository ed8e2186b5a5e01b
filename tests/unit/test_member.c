/* The replicated table of members: what may change it, and what stays of those that were removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/keys.h"
#include "tests/lib/state.h"

static struct operation member(enum operation_kind kind, uint64_t id, const char *name)
{
    static char texts[2][32];
    struct operation operation = {.kind = kind};

    (void)snprintf(texts[0], sizeof texts[0], "%s:7081", name);
    (void)snprintf(texts[1], sizeof texts[1], "%s:7080", name);
    operation.member = (struct member_operation){
        .id = id,
        .name = slice_of_string(name),
        .peer_address = slice_of_string(texts[0]),
        .api_address = slice_of_string(texts[1]),
        .version = slice_of_string("1"),
        .wanted = MEMBER_AUTO,
    };
    return operation;
}

static enum outcome operate(struct state_fixture *f, struct operation operation)
{
    enum outcome outcome = state_operate(f, &operation).first.outcome;

    state_commit(f);
    return outcome;
}

/* What the table says of one member; texts are compared, not kept. */
struct found {
    uint64_t id;
    bool is_there;
    struct member_row row;
    unsigned n;
    char zone[16];
};

static bool on_row(void *data, const struct member_row *row)
{
    struct found *found = data;

    found->n++;
    if (row->id == found->id) {
        found->is_there = true;
        found->row = *row;
        (void)snprintf(found->zone, sizeof found->zone, "%.*s", (int)row->zone.size,
                       row->zone.size == 0 ? "" : (const char *)row->zone.data);
    }
    return true;
}

static struct found find(struct state_fixture *f, uint64_t id)
{
    struct found found = {.id = id};

    assert_int_equal(view_begin(f->store, &f->view, &f->error), STATUS_OK);
    assert_int_equal(view_members(&f->view, on_row, &found), STATUS_OK);
    view_end(&f->view);
    return found;
}

static bool on_removed(void *data, const struct removed_member_row *row)
{
    struct found *found = data;

    found->n++;
    if (row->id == found->id) {
        found->is_there = true;
        found->row.is_forced = row->is_forced;
        assert_true(slice_equals_string(row->name, "n1"));
        assert_true(slice_equals_string(row->peer_address, "n1:7081"));
        assert_true(slice_equals_string(row->api_address, "n1:7080"));
    }
    return true;
}

static struct found find_removed(struct state_fixture *f, uint64_t id)
{
    struct found found = {.id = id};

    assert_int_equal(view_begin(f->store, &f->view, &f->error), STATUS_OK);
    assert_int_equal(view_removed_members(&f->view, on_removed, &found), STATUS_OK);
    view_end(&f->view);
    return found;
}

static void one_that_is_added_has_what_was_said(void **state)
{
    struct state_fixture *f = *state;
    struct operation add = member(OPERATION_MEMBER_ADD, 1, "n1");

    add.member.zone = slice_of_string("z");
    add.member.is_drained = true; /* Not when it is added. */
    assert_int_equal(operate(f, add), OUTCOME_OK);
    assert_true(find(f, 1).is_there);
    assert_int_equal(find(f, 1).row.wanted, MEMBER_AUTO);
    assert_false(find(f, 1).row.is_drained);
    assert_string_equal(find(f, 1).zone, "z");

    add.member.wanted = MEMBER_SPARE; /* Added again, it is as it was. */
    assert_int_equal(operate(f, add), OUTCOME_OK);
    assert_int_equal(find(f, 1).row.wanted, MEMBER_AUTO);
}

static void a_name_or_address_of_another_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct operation add;

    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 1, "n1")), OUTCOME_OK);
    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 2, "n1")),
                     OUTCOME_PRECONDITION_FAILED);
    add = member(OPERATION_MEMBER_ADD, 2, "n2");
    add.member.peer_address = slice_of_string("n1:7081");
    assert_int_equal(operate(f, add), OUTCOME_PRECONDITION_FAILED);
    add = member(OPERATION_MEMBER_ADD, 2, "n2");
    add.member.api_address = slice_of_string("n1:7080");
    assert_int_equal(operate(f, add), OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(find(f, 1).n, 1);
}

static void there_are_so_many_at_most(void **state)
{
    struct state_fixture *f = *state;
    char name[16];

    for (uint64_t id = 1; id <= LIMIT_MEMBERS; id++) {
        (void)snprintf(name, sizeof name, "n%u", (unsigned)id);
        assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, id, name)), OUTCOME_OK);
    }
    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 99, "n99")),
                     OUTCOME_PRECONDITION_FAILED);
    assert_int_equal(find(f, 99).n, LIMIT_MEMBERS);
}

static void what_a_node_says_leaves_what_is_wanted_of_it(void **state)
{
    struct state_fixture *f = *state;
    struct operation change = member(OPERATION_MEMBER_CHANGE, 1, "n1");
    struct operation put = member(OPERATION_MEMBER_PUT, 1, "n1");
    struct operation add = member(OPERATION_MEMBER_ADD, 1, "n1");

    add.member.zone = slice_of_string("z");
    assert_int_equal(operate(f, add), OUTCOME_OK);
    change.member.wanted = MEMBER_STANDBY;
    change.member.is_drained = true;
    change.member.is_forced = true;
    assert_int_equal(operate(f, change), OUTCOME_OK);

    put.member.wanted = MEMBER_VOTER;
    put.member.version = slice_of_string("2");
    assert_int_equal(operate(f, put), OUTCOME_OK);
    assert_int_equal(find(f, 1).row.wanted, MEMBER_STANDBY);
    assert_true(find(f, 1).row.is_drained);
    assert_true(find(f, 1).row.is_forced);
    assert_string_equal(find(f, 1).zone, "z"); /* It said none. */

    put.member.has_restarted = true;
    put.member.zone = slice_of_string("y");
    assert_int_equal(operate(f, put), OUTCOME_OK);
    assert_false(find(f, 1).row.is_drained);
    assert_string_equal(find(f, 1).zone, "y");
}

static void an_id_that_was_removed_is_never_used_again(void **state)
{
    struct state_fixture *f = *state;
    struct operation remove = {.kind = OPERATION_MEMBER_REMOVE, .member = {.id = 1}};

    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 1, "n1")), OUTCOME_OK);
    assert_false(find_removed(f, 1).is_there);
    assert_int_equal(operate(f, remove), OUTCOME_OK);
    assert_false(find(f, 1).is_there);
    assert_true(find_removed(f, 1).is_there);

    assert_int_equal(operate(f, member(OPERATION_MEMBER_PUT, 1, "n1")), OUTCOME_NOT_FOUND);
    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 1, "n1")), OUTCOME_NOT_FOUND);
    assert_int_equal(operate(f, member(OPERATION_MEMBER_CHANGE, 1, "n1")), OUTCOME_NOT_FOUND);
    assert_false(find(f, 1).is_there);

    assert_int_equal(operate(f, member(OPERATION_MEMBER_ADD, 2, "n1")), OUTCOME_OK);
    assert_true(find(f, 2).is_there); /* Name and address are free again. */
}

static void a_removal_may_be_repeated_and_forced(void **state)
{
    struct state_fixture *f = *state;
    struct operation remove = member(OPERATION_MEMBER_REMOVE, 1, "n1");

    assert_int_equal(operate(f, remove), OUTCOME_OK); /* It never said its name. */
    assert_false(find_removed(f, 1).row.is_forced);
    remove.member.is_forced = true;
    assert_int_equal(operate(f, remove), OUTCOME_OK);
    assert_true(find_removed(f, 1).row.is_forced);
    assert_int_equal(find_removed(f, 1).n, 1);
}

static void a_founder_that_was_never_heard_can_be_changed(void **state)
{
    struct state_fixture *f = *state;
    struct operation change = member(OPERATION_MEMBER_CHANGE, 1, "n1");
    struct operation unknown = {.kind = OPERATION_MEMBER_CHANGE, .member = {.id = 2}};

    change.member.wanted = MEMBER_STANDBY;
    assert_int_equal(operate(f, change), OUTCOME_OK);
    assert_int_equal(find(f, 1).row.wanted, MEMBER_STANDBY);
    assert_int_equal(operate(f, unknown), OUTCOME_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_added_has_what_was_said),
        TEST(a_name_or_address_of_another_is_refused),
        TEST(there_are_so_many_at_most),
        TEST(what_a_node_says_leaves_what_is_wanted_of_it),
        TEST(an_id_that_was_removed_is_never_used_again),
        TEST(a_removal_may_be_repeated_and_forced),
        TEST(a_founder_that_was_never_heard_can_be_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
