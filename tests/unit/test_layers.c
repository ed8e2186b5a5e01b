/* The memtables over LMDB look like one tree: random work beside a plain model, with commits,
 * freezes and flushes in between, and old moments that stay as they were. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/store.h"

#define KEYS  40u
#define STEPS 3000u
#define SEEDS 30u

/* Key i is "kNN"; 0: absent. */
struct model {
    unsigned values[KEYS];
};

struct fixture {
    char directory[64];
    struct store *store;
    struct txn *writer; /* NULL: no write transaction. */
    struct model model; /* As the writer sees it. */
    struct model committed;
    struct model marked;
    bool is_marked;
    struct txn *old; /* A reader that began some time ago ... */
    bool is_reading;
    struct model seen; /* ... and saw this. */
    unsigned random;
    unsigned next_value;
};

static unsigned draw(struct fixture *f, unsigned below)
{
    return (unsigned)rand_r(&f->random) % below;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct store_options options = {.map_size_bytes = 64u << 20};

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-layers-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    options.directory = f->directory;
    assert_int_equal(store_open(&options, &f->store, NULL), STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    txn_reader_close(f->old);
    store_close(f->store);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static const char *name_of(unsigned key, char place[8])
{
    (void)snprintf(place, 8, "k%02u", key);
    return place;
}

static unsigned value_of(struct slice payload)
{
    unsigned value;

    assert_int_equal(payload.size, sizeof value);
    memcpy(&value, payload.data, sizeof value);
    return value;
}

static unsigned key_of(struct slice found)
{
    assert_int_equal(found.size, 3);
    return (unsigned)(found.data[1] - '0') * 10 + (unsigned)(found.data[2] - '0');
}

/* --- Comparing --- */

static void compare_key(struct txn *txn, const struct model *model, unsigned key)
{
    char name[8];
    struct slice payload;
    enum status status = txn_get(txn, slice_of_string(name_of(key, name)), &payload);

    assert_int_equal(status, model->values[key] != 0 ? STATUS_OK : STATUS_NOT_FOUND);
    if (status == STATUS_OK) {
        assert_int_equal(value_of(payload), model->values[key]);
    }
}

/* The nearest key of the model from @key on, that one included, or KEYS. */
static unsigned nearest(const struct model *model, unsigned key, int step)
{
    while (key < KEYS && model->values[key] == 0) {
        key += (unsigned)step;
    }
    return key < KEYS ? key : KEYS; /* Below 0 is far above. */
}

static void compare_found(const struct model *model, unsigned expected, enum status status,
                          struct slice found, struct slice payload)
{
    assert_int_equal(status, expected < KEYS ? STATUS_OK : STATUS_END);
    if (status == STATUS_OK) {
        assert_int_equal(key_of(found), expected);
        assert_int_equal(value_of(payload), model->values[expected]);
    }
}

/* A walk that turns round at random. */
static void compare_walk(struct fixture *f, struct txn *txn, const struct model *model)
{
    unsigned at = draw(f, KEYS);
    struct cursor *cursor;
    struct slice payload = slice_of(NULL, 0);
    struct slice found = slice_of(NULL, 0);
    enum status status;
    char name[8];

    assert_int_equal(cursor_open(txn, &cursor), STATUS_OK);
    if (draw(f, 2) == 0) {
        status = cursor_seek(cursor, slice_of_string(name_of(at, name)), &found, &payload);
        at = nearest(model, at, 1);
    } else {
        status = cursor_seek_before(cursor, slice_of_string(name_of(at, name)), &found, &payload);
        at = nearest(model, at - 1, -1);
    }
    compare_found(model, at, status, found, payload);
    while (at < KEYS && draw(f, 12) != 0) {
        if (draw(f, 4) != 0) {
            status = cursor_next(cursor, &found, &payload);
            at = nearest(model, at + 1, 1);
        } else {
            status = cursor_prev(cursor, &found, &payload);
            at = nearest(model, at - 1, -1);
        }
        compare_found(model, at, status, found, payload);
    }
    cursor_close(cursor);
}

static void compare_moment(struct fixture *f, struct txn *txn, const struct model *model)
{
    for (unsigned key = 0; key < KEYS; key++) {
        compare_key(txn, model, key);
    }
    compare_walk(f, txn, model);
}

/* --- Working --- */

static void write_one(struct fixture *f, unsigned key)
{
    char name[8];
    struct slice slice = slice_of_string(name_of(key, name));
    enum status status;

    if (draw(f, 3) == 0) {
        status = txn_delete(f->writer, slice);
        assert_int_equal(status, f->model.values[key] != 0 ? STATUS_OK : STATUS_NOT_FOUND);
        f->model.values[key] = 0;
        return;
    }
    f->model.values[key] = ++f->next_value;
    assert_int_equal(txn_put(f->writer, slice, slice_of(&f->next_value, sizeof f->next_value)),
                     STATUS_OK);
}

/* Write and delete before, at and behind a cursor that walks. */
static void write_under_a_cursor(struct fixture *f)
{
    struct cursor *cursor;
    struct slice payload;
    struct slice found;
    enum status status;
    unsigned at;
    char name[8];

    assert_int_equal(cursor_open(f->writer, &cursor), STATUS_OK);
    at = draw(f, KEYS);
    status = cursor_seek(cursor, slice_of_string(name_of(at, name)), &found, &payload);
    at = nearest(&f->model, at, 1);
    compare_found(&f->model, at, status, found, payload);
    while (at < KEYS) {
        write_one(f, draw(f, 2) == 0 ? at : draw(f, KEYS));
        if (draw(f, 4) != 0) {
            status = cursor_next(cursor, &found, &payload);
            at = nearest(&f->model, at + 1, 1);
        } else {
            status = cursor_prev(cursor, &found, &payload);
            at = nearest(&f->model, at - 1, -1);
        }
        compare_found(&f->model, at, status, found, payload);
    }
    cursor_close(cursor);
}

static void mark_or_settle(struct fixture *f)
{
    if (!f->is_marked) {
        txn_mark(f->writer);
        f->marked = f->model;
        f->is_marked = true;
        return;
    }
    if (draw(f, 2) == 0) {
        txn_keep(f->writer);
    } else {
        txn_undo(f->writer);
        f->model = f->marked;
    }
    f->is_marked = false;
}

static void end_write(struct fixture *f)
{
    if (f->is_marked) {
        mark_or_settle(f);
    }
    if (draw(f, 5) == 0) {
        txn_abort(f->writer);
        f->model = f->committed;
    } else {
        txn_commit(f->writer);
        f->committed = f->model;
    }
    f->writer = NULL;
}

static void freeze_or_flush(struct fixture *f)
{
    struct store_unflushed unflushed;

    store_unflushed(f->store, &unflushed);
    if (unflushed.is_flushing) {
        assert_int_equal(store_flush(f->store, NULL), STATUS_OK);
    } else if (!unflushed.is_empty) {
        store_freeze(f->store);
    }
}

static void look_at_an_old_moment(struct fixture *f)
{
    if (!f->is_reading) {
        assert_int_equal(txn_begin_read(f->store, &f->old, NULL), STATUS_OK);
        f->seen = f->committed;
    }
    f->is_reading = true;
    compare_moment(f, f->old, &f->seen);
    if (draw(f, 3) == 0) {
        txn_end_read(f->old);
        f->is_reading = false;
    }
}

static void work(struct fixture *f)
{
    if (f->writer == NULL) {
        switch (draw(f, 4)) {
        case 0:
            freeze_or_flush(f);
            break;
        case 1:
            look_at_an_old_moment(f);
            break;
        default:
            assert_int_equal(txn_begin_write(f->store, &f->writer, NULL), STATUS_OK);
        }
        return;
    }
    switch (draw(f, 12)) {
    case 0:
    case 1:
        end_write(f);
        break;
    case 2:
        mark_or_settle(f);
        break;
    case 3:
        write_under_a_cursor(f);
        break;
    case 4:
        compare_moment(f, f->writer, &f->model);
        break;
    case 5:
        look_at_an_old_moment(f);
        break;
    default:
        write_one(f, draw(f, KEYS));
    }
}

static void all_layers_look_like_one_tree(void **state)
{
    struct fixture *f = *state;

    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        f->random = seed;
        for (unsigned i = 0; i < STEPS; i++) {
            work(f);
        }
    }
    if (f->writer != NULL) {
        end_write(f);
    }
    if (f->is_reading) {
        txn_end_read(f->old);
        f->is_reading = false;
    }
    freeze_or_flush(f);
    freeze_or_flush(f);
    look_at_an_old_moment(f);
    if (f->is_reading) {
        txn_end_read(f->old);
    }
}

/* --- Threads --- */

struct race {
    struct store *store;
    atomic_bool ended;
    unsigned moments;
    const char *wrong;
};

/* Each commit puts its number under all keys and into the facts. */
static void *read_moments(void *data)
{
    struct race *race = data;
    struct txn *txn = NULL;

    while (race->wrong == NULL && (!atomic_load(&race->ended) || race->moments == 0)) {
        uint64_t expected;
        struct slice payload;
        char name[8];

        if (txn_begin_read(race->store, &txn, NULL) != STATUS_OK) {
            race->wrong = "a read did not begin";
            break;
        }
        expected = txn_state(txn)->revision;
        for (unsigned key = 0; key < KEYS && expected > 0; key++) {
            if (txn_get(txn, slice_of_string(name_of(key, name)), &payload) != STATUS_OK ||
                payload.size != sizeof expected ||
                memcmp(payload.data, &expected, sizeof expected) != 0) {
                race->wrong = "a record is of another moment";
            }
        }
        race->moments++;
        txn_end_read(txn);
    }
    txn_reader_close(txn);
    return NULL;
}

static void *flush_on(void *data)
{
    struct race *race = data;

    if (store_flush(race->store, NULL) != STATUS_OK) {
        race->wrong = "a flush failed";
    }
    return NULL;
}

static void readers_see_one_moment_while_commits_and_flushes_go_on(void **state)
{
    struct fixture *f = *state;
    struct race races[2] = {{.store = f->store}, {.store = f->store}};
    struct race flushing = {.store = f->store};
    pthread_t readers[2];
    pthread_t flusher;
    bool has_flusher = false;
    char name[8];

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_moments, &races[i]), 0);
    }
    for (uint64_t n = 1; n <= 400; n++) {
        assert_int_equal(txn_begin_write(f->store, &f->writer, NULL), STATUS_OK);
        for (unsigned key = 0; key < KEYS; key++) {
            assert_int_equal(
                txn_put(f->writer, slice_of_string(name_of(key, name)), slice_of(&n, sizeof n)),
                STATUS_OK);
        }
        txn_state(f->writer)->revision = n;
        txn_commit(f->writer);
        if (n % 4 == 0) {
            if (has_flusher) {
                assert_int_equal(pthread_join(flusher, NULL), 0);
            }
            store_freeze(f->store);
            assert_int_equal(pthread_create(&flusher, NULL, flush_on, &flushing), 0);
            has_flusher = true;
        }
    }
    assert_int_equal(pthread_join(flusher, NULL), 0);
    assert_null(flushing.wrong);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&races[i].ended, true);
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_null(races[i].wrong);
    }
    f->writer = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(all_layers_look_like_one_tree),
        TEST(readers_see_one_moment_while_commits_and_flushes_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
