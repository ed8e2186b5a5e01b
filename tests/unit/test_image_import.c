/* Imports: the store that comes out is the one that the image was made of, whatever cuts them off;
 * and nothing incomplete is ever taken for a store.
 *
 * Linked with --wrap for the functions of LMDB below, which fail one after the other. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "daemon/base/files.h"
#include "storage/image_export.h"
#include "storage/image_file.h"
#include "storage/image_import.h"
#include "tests/lib/state.h"

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"

/* --- Calls of LMDB that fail --- */

static unsigned countdown; /* 0: nothing is armed, or it struck. */

static bool strikes(void)
{
    return countdown > 0 && --countdown == 0;
}

/* What the linker calls them: __real_ is LMDB's, __wrap_ is ours. */
int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __real_mdb_txn_commit(MDB_txn *txn);
int __real_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
int __real_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags);
int __real_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __real_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags);

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags);
int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __wrap_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags);

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    return strikes() ? EIO : __real_mdb_env_open(env, path, flags, mode);
}

int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    return strikes() ? EIO : __real_mdb_txn_begin(env, parent, flags, txn);
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (strikes()) {
        mdb_txn_abort(txn); /* A commit that fails has ended its transaction. */
        return ENOSPC;
    }
    return __real_mdb_txn_commit(txn);
}

int __wrap_mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi)
{
    return strikes() ? EIO : __real_mdb_dbi_open(txn, name, flags, dbi);
}

int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
    return strikes() ? MDB_MAP_FULL : __real_mdb_put(txn, dbi, key, data, flags);
}

int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor)
{
    return strikes() ? ENOMEM : __real_mdb_cursor_open(txn, dbi, cursor);
}

int __wrap_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags)
{
    return strikes() ? MDB_MAP_FULL : __real_mdb_cursor_put(cursor, key, data, flags);
}

/* --- The fixture: a state, its image in a file, and a place to import it to --- */

struct fixture {
    struct state_fixture *state;
    struct image_file *image;
    struct image_import *import;
    char target[128];
    struct error error;
};

static void put_item(struct state_fixture *state, unsigned i, size_t size)
{
    char key[32];
    char *value = malloc(size + 3);
    uint64_t noise = i;
    struct operation operation;

    assert_non_null(value);
    value[0] = '"';
    for (size_t at = 1; at <= size; at++) { /* Does not compress to much less. */
        noise = noise * 6364136223846793005u + 1442695040888963407u;
        value[at] = (char)('a' + (noise >> 40) % 26);
    }
    value[size + 1] = '"';
    value[size + 2] = '\0';
    (void)snprintf(key, sizeof key, "item/%06u", i);
    operation = item_put(key, value);
    assert_true(outcome_is_success(state_operate(state, &operation).first.outcome));
    free(value);
}

static struct image_file *make_image(struct state_fixture *state)
{
    char path[] = "/tmp/holdfast-image-XXXXXX";
    struct image_export options = {
        .store = state->store, .cluster_id = CLUSTER, .fd = mkstemp(path)};
    struct image_facts facts;
    struct image_totals totals;
    struct image_file *file;

    assert_true(options.fd >= 0);
    assert_int_equal(unlink(path), 0);
    state_commit(state);
    assert_int_equal(image_export(&options, &facts, &totals, &state->error), STATUS_OK);
    assert_int_equal(image_file_of(options.fd, "test.image", &file, &state->error), STATUS_OK);
    return file;
}

static struct fixture *make(unsigned n_items, size_t item_bytes)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->state = state_new();
    for (unsigned i = 0; i < n_items; i++) {
        put_item(f->state, i, item_bytes);
    }
    f->image = make_image(f->state);
    (void)snprintf(f->target, sizeof f->target, "%s/new", f->state->directory);
    return f;
}

static int setup_small(void **state)
{
    *state = make(20, 100);
    return 0;
}

/* Several steps of an import. */
static int setup_large(void **state)
{
    *state = make(48, 1000000);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    image_import_close(f->import);
    image_file_close(f->image);
    state_free(f->state);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    assert_int_equal(image_import_open(f->target, &f->import, &f->error), STATUS_OK);
}

static void end(struct fixture *f)
{
    image_import_close(f->import);
    f->import = NULL;
}

static enum status feed_next(struct fixture *f, const struct image_file *image)
{
    struct buffer piece = BUFFER_EMPTY;
    enum status status;

    assert_int_equal(image_file_piece(image, image_import_next(f->import), &piece, &f->error),
                     STATUS_OK);
    status = image_import_feed(f->import, buffer_slice(&piece), &f->error);
    buffer_close(&piece);
    return status;
}

/* Feed up to @n pieces. */
static void feed(struct fixture *f, uint64_t n)
{
    while (n-- > 0 && image_import_next(f->import) < image_file_pieces(f->image)) {
        assert_int_equal(feed_next(f, f->image), STATUS_OK);
    }
}

/* The store at @directory has the hash and the facts of the fixture's state. */
static void assert_same_store(struct fixture *f, const char *directory)
{
    const struct store_options options = {.directory = directory};
    struct machine_position position;
    struct store *store;
    uint64_t expected[2];
    uint64_t hash[2];
    struct txn *txn = NULL;

    state_hash(f->state, expected);
    assert_int_equal(store_open(&options, &store, &f->error), STATUS_OK);
    assert_int_equal(txn_begin_read(store, &txn, &f->error), STATUS_OK);
    txn_state_hash(txn, hash);
    assert_memory_equal(hash, expected, sizeof hash);
    txn_end_read(txn);
    txn_reader_close(txn);
    assert_int_equal(machine_position(store, &position, &f->error), STATUS_OK);
    assert_int_equal(position.applied_index, machine_applied_index(f->state->machine));
    assert_int_equal(position.revision, machine_revision(f->state->machine));
    assert_int_equal(position.time_ms, machine_time_ms(f->state->machine));
    assert_int_equal(position.stored, 0); /* Nothing is known of the log that it goes with. */
    store_close(store);
}

/* --- Tests --- */

static void an_import_gives_the_same_store(void **state)
{
    struct fixture *f = *state;

    begin(f);
    assert_int_equal(image_import_next(f->import), 0);
    assert_null(image_import_facts(f->import));
    feed(f, UINT64_MAX);
    assert_true(image_import_is_done(f->import));
    assert_int_equal(image_import_totals(f->import)->records, state_count(f->state, 0));
    end(f);
    assert_same_store(f, f->target);
}

/* What was imported executes as what was not: a third state that goes on from the image answers and
 * exports the same bytes. */
static void an_imported_store_goes_on(void **state)
{
    struct fixture *f = *state;
    struct state_fixture *other = state_new();
    struct image_file *a;
    struct image_file *b;
    struct buffer left = BUFFER_EMPTY;
    struct buffer right = BUFFER_EMPTY;

    begin(f);
    feed(f, UINT64_MAX);
    end(f);
    state_close(other);
    assert_int_equal(files_replace(f->target, other->directory, &f->error), STATUS_OK);
    state_open(other);
    other->now_ms = f->state->now_ms;
    for (unsigned i = 0; i < 30; i++) {
        put_item(f->state, 3 * i, 50);
        put_item(other, 3 * i, 50);
    }
    a = make_image(f->state);
    b = make_image(other);
    assert_int_equal(image_file_read(a, 0, image_file_bytes(a), &left, NULL), STATUS_OK);
    assert_int_equal(image_file_read(b, 0, image_file_bytes(b), &right, NULL), STATUS_OK);
    assert_true(slice_equals(buffer_slice(&left), buffer_slice(&right)));
    image_file_close(a);
    image_file_close(b);
    buffer_close(&left);
    buffer_close(&right);
    state_free(other);
}

static void an_import_goes_on_after_a_restart(void **state)
{
    struct fixture *f = *state;
    uint64_t before = 0;
    unsigned restarts = 0;

    begin(f);
    while (!image_import_is_done(f->import)) {
        uint64_t wanted;

        feed(f, 12);
        wanted = image_import_next(f->import);
        if (image_import_is_done(f->import)) {
            break;
        }
        end(f);
        begin(f);
        restarts++;
        assert_true(image_import_next(f->import) <= wanted);
        assert_true(image_import_next(f->import) >= before);
        before = image_import_next(f->import);
        if (before > 0) {
            assert_string_equal(image_import_facts(f->import)->cluster_id, CLUSTER);
        }
        feed(f, wanted - before); /* What was in memory only comes again. */
    }
    assert_true(restarts >= 2);
    assert_true(before > 0);
    end(f);
    assert_same_store(f, f->target);
}

static void an_incomplete_import_is_no_store(void **state)
{
    struct fixture *f = *state;
    const struct store_options options = {.directory = f->target};
    struct store *store;

    begin(f);
    feed(f, image_file_pieces(f->image) - 1);
    end(f);
    assert_int_equal(store_open(&options, &store, &f->error), STATUS_CORRUPT);
}

static void a_whole_store_is_not_imported_over(void **state)
{
    struct fixture *f = *state;

    begin(f);
    feed(f, UINT64_MAX);
    end(f);
    assert_int_equal(image_import_open(f->target, &f->import, &f->error), STATUS_EXISTS);
    assert_int_equal(image_import_open("/nonexistent/a", &f->import, &f->error), STATUS_NOT_FOUND);
}

static void pieces_of_another_image_are_refused(void **state)
{
    struct fixture *f = *state;
    struct image_file *other;
    uint64_t stands;

    begin(f);
    feed(f, image_file_pieces(f->image) - 3);
    end(f);
    put_item(f->state, 0, 999999);
    other = make_image(f->state);
    begin(f);
    stands = image_import_next(f->import);
    assert_true(stands > 0);
    assert_int_equal(feed_next(f, other), STATUS_CORRUPT);
    assert_int_equal(feed_next(f, f->image), STATUS_CANCELED);
    end(f);
    image_file_close(other);

    begin(f); /* What was durable is still good. */
    assert_int_equal(image_import_next(f->import), stands);
    feed(f, UINT64_MAX);
    assert_true(image_import_is_done(f->import));
}

static void an_import_that_failed_anywhere_can_be_done_again(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    bool was_struck;

    do {
        enum status status;

        countdown = ++nth;
        status = image_import_open(f->target, &f->import, &f->error);
        while (status == STATUS_OK && !image_import_is_done(f->import)) {
            status = feed_next(f, f->image);
        }
        was_struck = countdown == 0;
        countdown = 0;
        assert_true(was_struck == (status != STATUS_OK));
        if (was_struck) {
            assert_string_not_equal(f->error.text, "");
            end(f);
            begin(f);
            feed(f, UINT64_MAX);
        }
        end(f);
        assert_same_store(f, f->target);
        assert_int_equal(files_remove_directory(f->target, &f->error), STATUS_OK);
    } while (was_struck);
    assert_true(nth > 30);
}

/* --- Putting it in place --- */

static void make_directory(const char *path, const char *content)
{
    char file[256];
    int fd;

    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(file, sizeof file, "%s/%s", path, content);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static bool holds(const char *path, const char *content)
{
    char file[256];

    (void)snprintf(file, sizeof file, "%s/%s", path, content);
    return access(file, F_OK) == 0;
}

static void installing_replaces_what_was_there(void **state)
{
    struct fixture *f = *state;
    char to[160];
    char old[192];

    (void)snprintf(to, sizeof to, "%s/place", f->state->directory);
    (void)snprintf(old, sizeof old, "%s.replaced", to);
    make_directory(f->target, "first");
    assert_int_equal(files_replace(f->target, to, &f->error), STATUS_OK);
    assert_true(holds(to, "first"));
    make_directory(f->target, "second");
    make_directory(old, "left over");
    assert_int_equal(files_replace(f->target, to, &f->error), STATUS_OK);
    assert_true(holds(to, "second"));
    assert_false(holds(to, "first"));
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(files_replace(f->target, to, &f->error), STATUS_NOT_FOUND);
    assert_true(holds(to, "second")); /* It was put back. */
}

static void an_installation_that_was_cut_off_is_repaired(void **state)
{
    struct fixture *f = *state;
    char to[160];
    char old[192];

    (void)snprintf(to, sizeof to, "%s/place", f->state->directory);
    (void)snprintf(old, sizeof old, "%s.replaced", to);
    make_directory(old, "before"); /* It was moved away, and nothing came. */
    assert_int_equal(files_repair(to, &f->error), STATUS_OK);
    assert_true(holds(to, "before"));
    make_directory(old, "even older"); /* The new one came, and this was not removed. */
    assert_int_equal(files_repair(to, &f->error), STATUS_OK);
    assert_true(holds(to, "before"));
    assert_int_not_equal(access(old, F_OK), 0);
    assert_int_equal(files_repair(to, &f->error), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_import_gives_the_same_store, setup_small, teardown),
        cmocka_unit_test_setup_teardown(an_imported_store_goes_on, setup_small, teardown),
        cmocka_unit_test_setup_teardown(an_import_goes_on_after_a_restart, setup_large, teardown),
        cmocka_unit_test_setup_teardown(an_incomplete_import_is_no_store, setup_small, teardown),
        cmocka_unit_test_setup_teardown(a_whole_store_is_not_imported_over, setup_small, teardown),
        cmocka_unit_test_setup_teardown(pieces_of_another_image_are_refused, setup_large, teardown),
        cmocka_unit_test_setup_teardown(an_import_that_failed_anywhere_can_be_done_again,
                                        setup_small, teardown),
        cmocka_unit_test_setup_teardown(installing_replaces_what_was_there, setup_small, teardown),
        cmocka_unit_test_setup_teardown(an_installation_that_was_cut_off_is_repaired, setup_small,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
