/* txn_first() against a cursor that walks from the beginning, over random writes that are kept,
 * taken back, and flushed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/lib/deadline.h"
#include "tests/lib/state.h"

#define STEPS    60000u
#define PREFIXES 12u /* More than are remembered. */
#define NAMES    24u
#define KIND     200u /* Of no record of ours. */

struct random_keys {
    struct state_fixture *state;
    struct txn *txn;
    bool is_marked;
    uint64_t random;
};

static unsigned draw(struct random_keys *r, unsigned below)
{
    return (unsigned)(random_next(&r->random) % below);
}

static void begin(struct random_keys *r)
{
    assert_int_equal(txn_begin_write(r->state->store, &r->txn, &r->state->error), STATUS_OK);
}

static void end(struct random_keys *r)
{
    if (r->is_marked) {
        txn_keep(r->txn);
        r->is_marked = false;
    }
    if (draw(r, 4) == 0) {
        txn_abort(r->txn);
    } else {
        txn_commit(r->txn);
    }
}

static void flush(struct random_keys *r)
{
    struct store_unflushed unflushed;

    end(r);
    store_unflushed(r->state->store, &unflushed);
    if (unflushed.is_flushing) {
        assert_int_equal(store_flush(r->state->store, &r->state->error), STATUS_OK);
    } else if (!unflushed.is_empty) {
        store_freeze(r->state->store); /* Flushed the next time. */
    }
    begin(r);
}

static enum status first_by_cursor(struct txn *txn, struct slice prefix, struct slice *key,
                                   struct slice *payload)
{
    struct cursor *cursor;
    enum status status = cursor_open(txn, &cursor);

    assert_int_equal(status, STATUS_OK);
    status = cursor_seek(cursor, prefix, key, payload);
    cursor_close(cursor);
    return status == STATUS_OK && !slice_starts_with(*key, prefix) ? STATUS_END : status;
}

static void compare(struct random_keys *r, struct slice prefix)
{
    struct slice found = slice_of(NULL, 0);
    struct slice wanted = slice_of(NULL, 0);
    struct slice found_payload = slice_of(NULL, 0);
    struct slice wanted_payload = slice_of(NULL, 0);
    enum status status = first_by_cursor(r->txn, prefix, &wanted, &wanted_payload);

    assert_int_equal(txn_first(r->txn, prefix, &found, &found_payload), status);
    if (status == STATUS_OK) {
        assert_true(slice_equals(found, wanted));
        assert_true(slice_equals(found_payload, wanted_payload));
    }
}

/* Take the first record with the prefix away, as a queue's. */
static void take(struct random_keys *r, struct slice prefix)
{
    uint8_t copy[3];
    struct slice payload;
    struct slice found;

    if (txn_first(r->txn, prefix, &found, &payload) == STATUS_OK) {
        assert_int_equal(found.size, sizeof copy);
        memcpy(copy, found.data, sizeof copy);
        assert_int_equal(txn_delete(r->txn, slice_of(copy, sizeof copy)), STATUS_OK);
    }
}

static void mark_or_undo(struct random_keys *r)
{
    if (!r->is_marked) {
        txn_mark(r->txn);
    } else if (draw(r, 2) == 0) {
        txn_keep(r->txn);
    } else {
        txn_undo(r->txn);
    }
    r->is_marked = !r->is_marked;
}

static void step(struct random_keys *r)
{
    uint8_t key[] = {KIND, (uint8_t)draw(r, PREFIXES), (uint8_t)draw(r, NAMES)};
    struct slice prefix = slice_of(key, sizeof key - 1);

    switch (draw(r, 8)) {
    case 0:
    case 1:
        assert_int_equal(txn_put(r->txn, slice_of(key, sizeof key), slice_of(key, key[2] % 3)),
                         STATUS_OK);
        break;
    case 2:
    case 3:
    case 4:
        take(r, prefix);
        break;
    case 5:
        mark_or_undo(r);
        break;
    case 6:
        if (draw(r, 4) == 0) {
            flush(r);
        }
        break;
    default:
        end(r);
        begin(r);
        break;
    }
    compare(r, prefix);
    compare(r, slice_of(key, 1)); /* Of all. */
}

static void the_first_record_is_the_one_that_a_cursor_finds(void **state)
{
    struct random_keys r = {.state = *state, .random = test_seed()};

    begin(&r);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&r);
    }
    end(&r);
}

/* Readers remember nothing. */
static void a_reader_sees_the_first_record_of_its_moment(void **state)
{
    struct random_keys r = {.state = *state};
    const uint8_t keys[][2] = {{KIND, 1}, {KIND, 2}};
    struct slice prefix = slice_of(keys[0], 1);
    struct txn *reader = NULL;
    struct slice payload;
    struct slice found;

    begin(&r);
    assert_int_equal(txn_put(r.txn, slice_of(keys[0], 2), prefix), STATUS_OK);
    assert_int_equal(txn_put(r.txn, slice_of(keys[1], 2), prefix), STATUS_OK);
    txn_commit(r.txn);
    assert_int_equal(txn_begin_read(r.state->store, &reader, &r.state->error), STATUS_OK);
    begin(&r);
    assert_int_equal(txn_delete(r.txn, slice_of(keys[0], 2)), STATUS_OK);
    assert_int_equal(txn_first(r.txn, prefix, &found, &payload), STATUS_OK);
    assert_true(slice_equals(found, slice_of(keys[1], 2)));
    txn_commit(r.txn);
    assert_int_equal(txn_first(reader, prefix, &found, &payload), STATUS_OK);
    assert_true(slice_equals(found, slice_of(keys[0], 2)));
    txn_end_read(reader);
    txn_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_record_is_the_one_that_a_cursor_finds,
                                        state_setup, state_teardown),
        cmocka_unit_test_setup_teardown(a_reader_sees_the_first_record_of_its_moment, state_setup,
                                        state_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
