/* The state of one cluster as the beginning of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/change.h"
#include "storage/keys.h"
#include "storage/rebase.h"
#include "tests/lib/state.h"

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"

static void put(struct state_fixture *f, const char *key)
{
    struct operation operation = item_put(key, "1");

    (void)state_operate(f, &operation);
}

static void put_member(struct state_fixture *f, uint64_t id)
{
    struct operation operation = {.kind = OPERATION_MEMBER_PUT};

    operation.member.id = id;
    operation.member.name = slice_of_string("n1");
    operation.member.peer_address = slice_of_string("127.0.0.1:1");
    operation.member.api_address = slice_of_string("127.0.0.1:2");
    operation.member.version = slice_of_string("1");
    (void)state_operate(f, &operation);
}

static void remove_member(struct state_fixture *f, uint64_t id)
{
    struct operation operation = {.kind = OPERATION_MEMBER_REMOVE};

    operation.member.id = id;
    (void)state_operate(f, &operation);
}

static enum status try_rebase(struct state_fixture *f, uint64_t index, uint64_t term)
{
    enum status status;

    state_commit(f);
    machine_close(f->machine);
    status = rebase(f->store, CLUSTER, index, term, &f->error);
    assert_int_equal(machine_open(f->store, FEATURE_LEVEL, &f->machine, &f->error), STATUS_OK);
    f->index = machine_applied_index(f->machine);
    return status;
}

static void assert_item(struct state_fixture *f, const char *key)
{
    uint64_t id = state_default_id(f);
    struct view *view = state_view(f);
    struct item_row row;

    assert_int_equal(view_item(view, id, slice_of_string(key), &row), STATUS_OK);
    state_view_end(f);
}

static void what_clients_stored_stays_and_the_rest_begins_anew(void **state)
{
    struct state_fixture *f = *state;
    struct machine_position position;
    uint64_t revision;
    uint64_t time_ms;

    put(f, "a");
    put_member(f, 1);
    state_flush(f);
    put(f, "b");
    put_member(f, 2);
    put_member(f, 3);
    remove_member(f, 3);
    assert_int_equal(state_count(f, KEY_REMOVED_MEMBER), 1);
    revision = machine_revision(f->machine);
    time_ms = machine_time_ms(f->machine);
    assert_int_equal(try_rebase(f, 1000, 7), STATUS_OK);

    state_reopen(f); /* It is durable. */
    assert_item(f, "a");
    assert_item(f, "b");
    assert_int_equal(state_count(f, KEY_MEMBER), 0);
    assert_int_equal(state_count(f, KEY_REMOVED_MEMBER), 0);
    assert_int_equal(state_count(f, KEY_CHANGE), 0);
    assert_int_equal(machine_position(f->store, &position, &f->error), STATUS_OK);
    assert_int_equal(position.applied_index, 1000);
    assert_int_equal(position.applied_term, 7);
    assert_int_equal(position.stored, 1000);
    assert_int_equal(position.revision, revision + REBASE_REVISIONS);
    assert_int_equal(position.time_ms, time_ms);
}

static void execution_goes_on_behind_it(void **state)
{
    struct state_fixture *f = *state;
    struct change_set oldest;

    put(f, "a");
    assert_int_equal(try_rebase(f, 1000, 7), STATUS_OK);
    put(f, "a");
    assert_int_equal(f->index, 1001);
    assert_int_equal(state_answer(f, 0).result.revision, machine_revision(f->machine));
    assert_int_equal(change_oldest(state_view(f)->txn, &oldest), STATUS_OK);
    assert_int_equal(oldest.revision, machine_revision(f->machine));
    state_view_end(f);
    (void)state_maintain(f, 100);
}

static void two_states_that_were_equal_stay_so(void **state)
{
    struct state_fixture *f = *state;
    struct state_fixture *other = state_new();
    uint64_t left[2];
    uint64_t right[2];

    put(f, "a");
    put_member(f, 1);
    state_flush(f);
    put(f, "b");
    put(other, "a");
    put_member(other, 1);
    put(other, "b");
    assert_int_equal(try_rebase(f, 50, 7), STATUS_OK);
    assert_int_equal(try_rebase(other, 50, 7), STATUS_OK);
    state_hash(f, left);
    state_hash(other, right);
    assert_memory_equal(left, right, sizeof left);
    state_free(other);
}

static void the_cluster_is_remembered(void **state)
{
    struct state_fixture *f = *state;
    char cluster_id[REBASE_CLUSTER_BYTES + 1];

    put(f, "a");
    state_flush(f);
    assert_int_equal(rebase_cluster_id(f->store, cluster_id, &f->error), STATUS_OK);
    assert_string_equal(cluster_id, "");
    assert_int_equal(try_rebase(f, 50, 7), STATUS_OK);
    state_reopen(f);
    assert_int_equal(rebase_cluster_id(f->store, cluster_id, &f->error), STATUS_OK);
    assert_string_equal(cluster_id, CLUSTER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_clients_stored_stays_and_the_rest_begins_anew,
                                        state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(execution_goes_on_behind_it, state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(two_states_that_were_equal_stay_so, state_setup,
                                        state_teardown),
        cmocka_unit_test_setup_teardown(the_cluster_is_remembered, state_setup, state_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
