/* Who is told that it was removed: nobody who may still be needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/members.h"
#include "tests/lib/state.h"

struct fixture {
    struct state_fixture *state;
    struct members *members;
};

static int setup(void **state)
{
    static struct fixture f;

    f.state = state_new();
    f.members = members_open();
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    members_close(f->members);
    state_free(f->state);
    return 0;
}

static void operate(struct fixture *f, enum operation_kind kind, uint64_t id, const char *address)
{
    const struct operation operation = {
        .kind = kind,
        .member = {.id = id,
                   .name = slice_of_string(address),
                   .peer_address = slice_of_string(address),
                   .api_address = slice_of_string(address),
                   .version = slice_of_string("1"),
                   .wanted = MEMBER_AUTO},
    };

    assert_int_equal(state_operate(f->state, &operation).first.outcome, OUTCOME_OK);
    state_commit(f->state);
}

/* Members 1 and 2, of which 2 is to be removed; the table is read. */
static void remove_second(struct fixture *f)
{
    operate(f, OPERATION_MEMBER_ADD, 1, "n1:7081");
    operate(f, OPERATION_MEMBER_ADD, 2, "n2:7081");
    operate(f, OPERATION_MEMBER_REMOVE, 2, "n2:7081");
    assert_int_equal(members_read(f->members, &f->state->view, f->state->store, &f->state->error),
                     STATUS_OK);
}

static void who_is_out_of_table_and_configuration_is_removed(void **state)
{
    struct fixture *f = *state;
    const uint64_t both[] = {1, 2};

    remove_second(f);
    assert_false(members_was_removed(f->members, 2)); /* No configuration is known. */
    members_set_configuration(f->members, both, 2, f->state->index);
    assert_false(members_was_removed(f->members, 2));
    members_set_configuration(f->members, both, 1, f->state->index);
    assert_true(members_was_removed(f->members, 2));
    assert_false(members_was_removed(f->members, 1));
    assert_false(members_was_removed(f->members, 3)); /* Was never there. */
}

/* A node began with a state that says that 2 is to be removed. Its log is not where 2 joined yet,
 * while 2 leads the cluster, and is one of two voters (seed 703214). */
static void a_configuration_from_before_the_table_removes_nobody(void **state)
{
    struct fixture *f = *state;
    const uint64_t first[] = {1};

    remove_second(f);
    members_set_configuration(f->members, first, 1, f->state->index - 1);
    assert_false(members_was_removed(f->members, 2));
    members_set_configuration(f->members, first, 1, f->state->index);
    assert_true(members_was_removed(f->members, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_out_of_table_and_configuration_is_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_configuration_from_before_the_table_removes_nobody, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
