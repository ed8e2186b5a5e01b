/* Each call of LMDB in turn fails: opening leaves nothing behind, a failed flush leaves the file as
 * the flush before it did and loses nothing in memory, reads and cursors say so and go on.
 *
 * Linked with --wrap for the functions of LMDB below. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lmdb.h>

#include "storage/scrub.h"
#include "storage/store.h"

static unsigned countdown; /* 0: nothing is armed, or it struck. */
static bool has_struck;

static void arm(unsigned nth)
{
    countdown = nth;
    has_struck = false;
}

static bool disarm(void)
{
    countdown = 0;
    return has_struck;
}

static bool strikes(void)
{
    if (countdown == 0 || --countdown > 0) {
        return false;
    }
    has_struck = true;
    return true;
}

/* What the linker calls them: __real_ is LMDB's, __wrap_ is ours. A commit that fails has ended its
 * transaction. */
int __real_mdb_env_create(MDB_env **env);
int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __real_mdb_txn_renew(MDB_txn *txn);
int __real_mdb_txn_commit(MDB_txn *txn);
int __real_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
int __real_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);
int __real_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags);
int __real_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __real_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op);
int __real_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags);
int __real_mdb_cursor_del(MDB_cursor *cursor, unsigned flags);

int __wrap_mdb_env_create(MDB_env **env);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_renew(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags);
int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op);
int __wrap_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags);
int __wrap_mdb_cursor_del(MDB_cursor *cursor, unsigned flags);

int __wrap_mdb_env_create(MDB_env **env)
{
    return strikes() ? EIO : __real_mdb_env_create(env);
}

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    return strikes() ? EIO : __real_mdb_env_open(env, path, flags, mode);
}

int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    return strikes() ? EIO : __real_mdb_txn_begin(env, parent, flags, txn);
}

int __wrap_mdb_txn_renew(MDB_txn *txn)
{
    return strikes() ? EIO : __real_mdb_txn_renew(txn);
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (strikes()) {
        mdb_txn_abort(txn);
        return EIO;
    }
    return __real_mdb_txn_commit(txn);
}

int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi)
{
    return strikes() ? EIO : __real_mdb_dbi_open(txn, name, flags, dbi);
}

int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
    return strikes() ? EIO : __real_mdb_get(txn, dbi, key, data);
}

int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
    return strikes() ? EIO : __real_mdb_put(txn, dbi, key, data, flags);
}

int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor)
{
    return strikes() ? EIO : __real_mdb_cursor_open(txn, dbi, cursor);
}

int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op)
{
    return strikes() ? EIO : __real_mdb_cursor_get(cursor, key, data, op);
}

int __wrap_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags)
{
    return strikes() ? EIO : __real_mdb_cursor_put(cursor, key, data, flags);
}

int __wrap_mdb_cursor_del(MDB_cursor *cursor, unsigned flags)
{
    return strikes() ? EIO : __real_mdb_cursor_del(cursor, flags);
}

/* --- The store --- */

struct fixture {
    char directory[64];
    struct store_options options;
    struct store *store;
    struct txn *reader;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-faults-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->options = (struct store_options){.directory = f->directory, .map_size_bytes = 16u << 20};
    *state = f;
    return 0;
}

static void close_store(struct fixture *f)
{
    txn_reader_close(f->reader);
    f->reader = NULL;
    store_close(f->store);
    f->store = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    close_store(f);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void open_store(struct fixture *f)
{
    assert_int_equal(store_open(&f->options, &f->store, &f->error), STATUS_OK);
}

/* Commit @value under "a" and "b", delete "c", with the applied index @index. */
static void commit(struct fixture *f, const char *value, uint64_t index)
{
    struct txn *txn;

    assert_int_equal(txn_begin_write(f->store, &txn, &f->error), STATUS_OK);
    assert_int_equal(txn_put(txn, slice_of_string("a"), slice_of_string(value)), STATUS_OK);
    assert_int_equal(txn_put(txn, slice_of_string("b"), slice_of_string(value)), STATUS_OK);
    if (index == 1) {
        assert_int_equal(txn_put(txn, slice_of_string("c"), slice_of_string(value)), STATUS_OK);
    } else {
        assert_int_equal(txn_delete(txn, slice_of_string("c")), STATUS_OK);
    }
    txn_state(txn)->applied_index = index;
    txn_commit(txn);
    store_freeze(f->store);
}

static void assert_holds(struct fixture *f, const char *value, uint64_t index)
{
    struct slice payload;

    assert_int_equal(txn_begin_read(f->store, &f->reader, &f->error), STATUS_OK);
    assert_int_equal(txn_state(f->reader)->applied_index, index);
    assert_int_equal(txn_get(f->reader, slice_of_string("a"), &payload), STATUS_OK);
    assert_true(slice_equals_string(payload, value));
    assert_int_equal(txn_get(f->reader, slice_of_string("b"), &payload), STATUS_OK);
    assert_true(slice_equals_string(payload, value));
    assert_int_equal(txn_get(f->reader, slice_of_string("c"), &payload),
                     index == 1 ? STATUS_OK : STATUS_NOT_FOUND);
    txn_end_read(f->reader);
}

static void opening_fails_without_a_trace(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    enum status status;

    do {
        arm(++nth);
        status = store_open(&f->options, &f->store, &f->error);
        assert_true(status == STATUS_OK || f->store == NULL);
    } while (disarm());

    assert_int_equal(status, STATUS_OK);
    assert_true(nth > 5);
}

static void a_failed_flush_changes_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    enum status status;

    open_store(f);
    commit(f, "old", 1);
    assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    do {
        commit(f, "new", 2);
        arm(++nth);
        status = store_flush(f->store, &f->error);
        if (disarm()) {
            assert_int_equal(status, STATUS_IO);
            assert_holds(f, "new", 2); /* In memory. */
            close_store(f);
            open_store(f);
            assert_holds(f, "old", 1); /* On disk. */
        }
    } while (has_struck);

    assert_int_equal(status, STATUS_OK);
    assert_true(nth > 7);
    assert_holds(f, "new", 2);
    close_store(f);
    open_store(f);
    assert_holds(f, "new", 2);
}

/* All that a reader does with what is on disk. */
static enum status read_all(struct fixture *f)
{
    struct cursor *cursor;
    struct slice payload;
    struct slice found;
    enum status status = txn_begin_read(f->store, &f->reader, &f->error);

    if (status != STATUS_OK) {
        return status;
    }
    status = txn_get(f->reader, slice_of_string("a"), &payload);
    if (status == STATUS_OK) {
        status = cursor_open(f->reader, &cursor);
    }
    if (status == STATUS_OK) {
        status = cursor_seek(cursor, slice_of_string("a"), &found, &payload);
        status = status == STATUS_OK ? cursor_next(cursor, &found, &payload) : status;
        status = status == STATUS_OK ? cursor_prev(cursor, &found, &payload) : status;
        status = status == STATUS_OK
                     ? cursor_seek_before(cursor, slice_of_string("z"), &found, &payload)
                     : status;
        cursor_close(cursor);
    }
    txn_end_read(f->reader);
    return status;
}

static void a_failed_read_is_told_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    enum status status;

    open_store(f);
    commit(f, "old", 1);
    assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    do {
        arm(++nth);
        status = read_all(f);
        if (disarm()) {
            assert_int_equal(status, STATUS_IO);
            assert_holds(f, "old", 1);
        }
    } while (has_struck);

    assert_int_equal(status, STATUS_OK);
    assert_true(nth > 7);
}

static void a_write_that_cannot_look_is_told_and_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    struct txn *txn;

    open_store(f);
    commit(f, "old", 1);
    assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    assert_int_equal(txn_begin_write(f->store, &txn, &f->error), STATUS_OK);
    assert_int_equal(txn_put(txn, slice_of_string("b"), slice_of_string("new")), STATUS_OK);
    arm(1);
    assert_int_equal(txn_put(txn, slice_of_string("a"), slice_of_string("new")), STATUS_IO);
    assert_true(disarm());
    txn_abort(txn);

    assert_holds(f, "old", 1);
}

static enum status scrub(struct fixture *f)
{
    struct scrub_progress progress = {.records = 0};
    enum status status = STATUS_OK;

    while (status == STATUS_OK && !progress.is_complete) {
        status = scrub_step(f->store, &progress, &f->error);
    }
    return status;
}

static void a_failed_scrub_is_told_and_begins_anew(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    enum status status;

    open_store(f);
    commit(f, "old", 1);
    assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    do {
        arm(++nth);
        status = scrub(f);
        if (disarm()) {
            assert_int_equal(status, STATUS_IO);
            assert_int_equal(scrub(f), STATUS_OK);
        }
    } while (has_struck);

    assert_int_equal(status, STATUS_OK);
    assert_true(nth > 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(opening_fails_without_a_trace),
        TEST(a_failed_flush_changes_nothing),
        TEST(a_failed_read_is_told_and_may_be_tried_again),
        TEST(a_write_that_cannot_look_is_told_and_can_be_taken_back),
        TEST(a_failed_scrub_is_told_and_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
