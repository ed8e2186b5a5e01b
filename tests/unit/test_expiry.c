/* The queues of what is due and of what is to be purged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/expiry.h"
#include "storage/keys.h"
#include "tests/lib/state.h"

struct fixture {
    struct state_fixture *state;
    struct txn *txn;
};

static int setup(void **state)
{
    static struct fixture f;

    f.state = state_new();
    assert_int_equal(txn_begin_write(f.state->store, &f.txn, &f.state->error), STATUS_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    txn_abort(f->txn);
    state_free(f->state);
    return 0;
}

static enum status set(struct fixture *f, const char *name, uint64_t old_ms, uint64_t new_ms)
{
    return expiry_set(f->txn, DUE_SESSION, 3, slice_of_string(name), old_ms, new_ms);
}

static void assert_next(struct fixture *f, uint64_t due_ms, const char *name)
{
    struct due due;

    assert_int_equal(expiry_next(f->txn, &due), STATUS_OK);
    assert_int_equal(due.due_ms, due_ms);
    assert_int_equal(due.kind, DUE_SESSION);
    assert_int_equal(due.namespace_id, 3);
    assert_true(slice_equals_string(due.name, name));
}

static void the_earliest_thing_comes_first(void **state)
{
    struct fixture *f = *state;
    struct due due;

    assert_int_equal(expiry_next(f->txn, &due), STATUS_END);
    assert_int_equal(set(f, "later", 0, 300), STATUS_OK);
    assert_int_equal(set(f, "sooner", 0, 255), STATUS_OK);

    assert_next(f, 255, "sooner");
}

static void a_thing_that_moves_has_one_entry(void **state)
{
    struct fixture *f = *state;
    struct due due;

    assert_int_equal(set(f, "a", 0, 100), STATUS_OK);
    assert_int_equal(set(f, "a", 100, 200), STATUS_OK);
    assert_next(f, 200, "a");
    assert_int_equal(set(f, "a", 200, 200), STATUS_OK);
    assert_int_equal(set(f, "a", 200, 0), STATUS_OK);

    assert_int_equal(expiry_next(f->txn, &due), STATUS_END);
}

static void a_missing_old_entry_is_damage(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(set(f, "a", 100, 200), STATUS_CORRUPT);
}

static void expiry_passes_at_its_millisecond(void **state)
{
    (void)state;
    assert_false(expiry_has_passed(0, UINT64_MAX));
    assert_false(expiry_has_passed(100, 99));
    assert_true(expiry_has_passed(100, 100));
}

static void ranges_to_purge_with_one_beginning_grow_together(void **state)
{
    struct fixture *f = *state;
    struct purge purge;

    assert_int_equal(purge_next(f->txn, &purge), STATUS_END);
    assert_int_equal(purge_add_events(f->txn, 7, 0, 10), STATUS_OK);
    assert_int_equal(purge_add_events(f->txn, 7, 0, UINT64_MAX), STATUS_OK);
    assert_int_equal(purge_add_events(f->txn, 7, 0, 20), STATUS_OK);

    assert_int_equal(purge_next(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge.kind, PURGE_EVENTS);
    assert_int_equal(purge.id, 7);
    assert_int_equal(purge.from_seq, 0);
    assert_true(purge.below_seq == UINT64_MAX);
    assert_int_equal(purge_remove(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge_next(f->txn, &purge), STATUS_END);
}

static void ranges_with_different_beginnings_stay_apart(void **state)
{
    struct fixture *f = *state;
    struct purge purge;

    assert_int_equal(purge_add_events(f->txn, 7, 5, 10), STATUS_OK);
    assert_int_equal(purge_add_events(f->txn, 7, 20, 30), STATUS_OK);
    assert_int_equal(purge_add_namespace(f->txn, 2), STATUS_OK);

    assert_int_equal(purge_next(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge.from_seq, 5);
    assert_int_equal(purge_remove(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge_next(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge.from_seq, 20);
    assert_int_equal(purge_remove(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge_next(f->txn, &purge), STATUS_OK);
    assert_int_equal(purge.kind, PURGE_NAMESPACE);
    assert_int_equal(purge.id, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_earliest_thing_comes_first),
        TEST(a_thing_that_moves_has_one_entry),
        TEST(a_missing_old_entry_is_damage),
        TEST(expiry_passes_at_its_millisecond),
        TEST(ranges_to_purge_with_one_beginning_grow_together),
        TEST(ranges_with_different_beginnings_stay_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
