/* Executing what came behind a state: it becomes what it was, and what was flushed stays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lmdb.h>

#include "daemon/base/limits.h"
#include "storage/replay.h"
#include "tests/lib/state.h"

#define TERM       3u
#define LARGE      (LIMIT_ITEM_BYTES - 1000)
#define N_LARGE    (LIMIT_FLUSH_BYTES / LIMIT_ITEM_BYTES) /* More than one flush. */
#define KEYS_BYTES 16u

/* --- A disk that is full: linked with --wrap for LMDB's commit --- */

static atomic_bool commits_fail;

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (!atomic_load(&commits_fail)) {
        return __real_mdb_txn_commit(txn);
    }
    mdb_txn_abort(txn);
    return ENOSPC;
}

/* --- The fixture --- */

struct fixture {
    struct state_fixture *from; /* Where everything is executed first. */
    struct state_fixture *to;
    struct replay *replay;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->from = state_new();
    f->to = state_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    atomic_store(&commits_fail, false);
    state_free(f->from);
    state_free(f->to);
    free(f);
    return 0;
}

static void begin(struct fixture *f, enum replay_source source)
{
    machine_close(f->to->machine);
    f->to->machine = NULL;
    assert_int_equal(replay_open(f->to->store, source, &f->replay, &f->error), STATUS_OK);
}

/* What is on disk afterwards. */
static struct machine_position end(struct fixture *f)
{
    struct machine_position position;

    replay_close(f->replay);
    atomic_store(&commits_fail, false);
    view_close(&f->to->view);
    store_close(f->to->store);
    state_open(f->to);
    assert_int_equal(machine_position(f->to->store, &position, &f->error), STATUS_OK);
    return position;
}

/* The next entry, of an item of @size bytes. */
static enum status go_on(struct fixture *f, size_t size)
{
    char key[KEYS_BYTES];
    char *value = malloc(size + 1);
    struct operation operation;
    struct slice entry;

    assert_non_null(value);
    (void)snprintf(key, sizeof key, "key-%llu", (unsigned long long)f->from->index);
    memset(value, 'x', size);
    value[size] = '\0';
    operation = item_put(key, value);
    (void)state_operate(f->from, &operation);
    free(value);
    entry = buffer_slice(&f->from->entry);
    return replay_execute(f->replay, f->from->index, TERM, &entry, &f->error);
}

static void assert_equal(struct fixture *f)
{
    uint64_t revision = 0;
    uint64_t expected[2];
    uint64_t hash[2];

    state_hash(f->from, expected);
    assert_int_equal(replay_look(f->replay, hash, &revision, &f->error), STATUS_OK);
    assert_memory_equal(hash, expected, sizeof hash);
    assert_int_equal(revision, machine_revision(f->from->machine));
}

static void the_state_becomes_what_it_was(void **state)
{
    struct fixture *f = *state;
    struct machine_position position;

    begin(f, REPLAY_ARCHIVE);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(go_on(f, 10 + i), STATUS_OK);
        assert_equal(f);
    }
    f->from->index += 5; /* A run of indexes without entries. */
    assert_int_equal(machine_skip_to(f->from->machine, f->from->index, TERM, &f->error), STATUS_OK);
    assert_int_equal(replay_execute(f->replay, f->from->index, TERM, NULL, &f->error), STATUS_OK);
    assert_int_equal(go_on(f, 3), STATUS_OK);
    assert_equal(f);
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_OK);
    position = end(f);

    assert_int_equal(position.applied_index, f->from->index);
    assert_int_equal(position.applied_term, TERM);
    assert_int_equal(position.revision, machine_revision(f->from->machine));
    assert_int_equal(position.stored, 0); /* No log of this node has it. */
}

static void what_is_in_the_nodes_own_log_is_stored(void **state)
{
    struct fixture *f = *state;
    struct machine_position position;

    begin(f, REPLAY_OWN_LOG);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_OK);
    position = end(f);

    assert_int_equal(position.applied_index, f->from->index);
    assert_int_equal(position.stored, f->from->index);
}

static void what_was_not_flushed_is_lost(void **state)
{
    struct fixture *f = *state;

    begin(f, REPLAY_ARCHIVE);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_OK);
    assert_int_equal(go_on(f, 10), STATUS_OK);

    assert_int_equal(end(f).applied_index, f->from->index - 1);
}

/* So that memory does not grow with what is executed. */
static void much_is_flushed_in_between(void **state)
{
    struct fixture *f = *state;
    struct machine_position position;

    begin(f, REPLAY_ARCHIVE);
    for (unsigned i = 0; i < N_LARGE; i++) {
        assert_int_equal(go_on(f, LARGE), STATUS_OK);
    }
    position = end(f);

    assert_true(position.applied_index > N_LARGE / 4);
    assert_true(position.applied_index < f->from->index);
}

static void an_entry_that_is_damaged_is_told(void **state)
{
    struct fixture *f = *state;
    struct slice damaged;

    begin(f, REPLAY_ARCHIVE);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    damaged = slice_of(f->from->entry.data, f->from->entry.size - 1);
    assert_int_equal(replay_execute(f->replay, f->from->index + 1, TERM, &damaged, &f->error),
                     STATUS_CORRUPT);
    (void)end(f);
}

/* The state can be looked at, and executed on, while a flush runs; nothing of that is flushed by it
 * when the next one fails. */
static void a_flush_that_fails_is_told(void **state)
{
    struct fixture *f = *state;
    enum status status = STATUS_OK;
    uint64_t flushed;

    begin(f, REPLAY_ARCHIVE);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_OK);
    flushed = f->from->index;
    atomic_store(&commits_fail, true);
    for (unsigned i = 0; i < 2 * N_LARGE && status == STATUS_OK; i++) {
        status = go_on(f, LARGE);
    }

    assert_int_equal(status, STATUS_DISK_FULL);
    assert_non_null(strstr(f->error.text, "could not commit to store"));
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_DISK_FULL);
    assert_int_equal(end(f).applied_index, flushed);
}

static void a_flush_at_the_end_that_fails_is_told(void **state)
{
    struct fixture *f = *state;

    begin(f, REPLAY_ARCHIVE);
    assert_int_equal(go_on(f, 10), STATUS_OK);
    atomic_store(&commits_fail, true);
    assert_int_equal(replay_flush(f->replay, &f->error), STATUS_DISK_FULL);
    assert_int_equal(end(f).applied_index, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_state_becomes_what_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_the_nodes_own_log_is_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_flushed_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(much_is_flushed_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(an_entry_that_is_damaged_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flush_that_fails_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flush_at_the_end_that_fails_is_told, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
