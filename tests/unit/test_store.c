/* The store: what is committed survives, what is not does not, and damage is told. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/store.h"

#define MAP_BYTES (64u << 20)

enum place { IN_MEMORY, FROZEN, IN_FILE };

struct fixture {
    enum place place; /* Where each commit goes to. */
    char directory[64];
    struct store_options options;
    struct store *store;
    struct txn *txn;    /* The write transaction. */
    struct txn *reader; /* May be NULL. */
    unsigned damages;
    struct error error;
};

static void on_damage(void *data, const char *what)
{
    struct fixture *f = data;

    assert_non_null(what);
    f->damages++;
}

static void open_store(struct fixture *f)
{
    assert_int_equal(store_open(&f->options, &f->store, &f->error), STATUS_OK);
}

static void close_store(struct fixture *f)
{
    txn_reader_close(f->reader);
    f->reader = NULL;
    store_close(f->store);
    f->store = NULL;
}

static void flush(struct fixture *f);

static void reopen(struct fixture *f)
{
    flush(f);
    close_store(f);
    open_store(f);
}

/* LMDB keeps the size of its table of readers with the lock file. Leaves the store closed. */
static void allow_one_reader(struct fixture *f)
{
    char path[128];

    close_store(f);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", f->directory);
    assert_int_equal(unlink(path), 0);
    f->options.max_readers = 1;
}

static enum place tested_place;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->place = tested_place;
    strcpy(f->directory, "/tmp/holdfast-store-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->options = (struct store_options){
        .directory = f->directory, .map_size_bytes = MAP_BYTES, .on_damage = on_damage, .data = f};
    open_store(f);
    *state = f;
    return 0;
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

static void begin(struct fixture *f)
{
    assert_int_equal(txn_begin_write(f->store, &f->txn, &f->error), STATUS_OK);
}

/* All that is committed. */
static void flush(struct fixture *f)
{
    struct store_unflushed unflushed;

    store_unflushed(f->store, &unflushed);
    if (unflushed.is_flushing) {
        assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    }
    if (!unflushed.is_empty) {
        store_freeze(f->store);
        assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    }
}

/* What was committed is in memory, or being flushed, or in the file. */
static void commit(struct fixture *f)
{
    struct store_unflushed unflushed;

    txn_commit(f->txn);
    store_unflushed(f->store, &unflushed);
    if (f->place == IN_FILE) {
        flush(f);
    } else if (f->place == FROZEN && !unflushed.is_flushing) {
        store_freeze(f->store);
    }
}

static void put(struct fixture *f, const char *key, const char *value)
{
    assert_int_equal(txn_put(f->txn, slice_of_string(key), slice_of_string(value)), STATUS_OK);
}

static void put_committed(struct fixture *f, const char *key, const char *value)
{
    begin(f);
    put(f, key, value);
    commit(f);
}

/* In the write transaction. */
static void assert_holds(struct txn *txn, const char *key, const char *value)
{
    struct slice payload;
    enum status status = txn_get(txn, slice_of_string(key), &payload);

    assert_int_equal(status, value != NULL ? STATUS_OK : STATUS_NOT_FOUND);
    if (value != NULL) {
        assert_true(slice_equals_string(payload, value));
    }
}

static void begin_read(struct fixture *f)
{
    assert_int_equal(txn_begin_read(f->store, &f->reader, &f->error), STATUS_OK);
}

static void assert_committed(struct fixture *f, const char *key, const char *value)
{
    begin_read(f);
    assert_holds(f->reader, key, value);
    txn_end_read(f->reader);
}

/* --- Opening --- */

static void a_new_store_is_empty_and_its_first_object_gets_id_1(void **state)
{
    struct fixture *f = *state;

    begin_read(f);
    assert_int_equal(txn_state(f->reader)->next_object_id, 1);
    assert_int_equal(txn_state(f->reader)->applied_index, 0);
    assert_int_equal(txn_state(f->reader)->hash[0], 0);
    txn_end_read(f->reader);
}

static void a_second_open_is_refused_in_this_process_and_in_another(void **state)
{
    struct fixture *f = *state;
    struct store *second;
    int status;
    pid_t child;

    assert_int_equal(store_open(&f->options, &second, &f->error), STATUS_BUSY);
    child = fork();
    if (child == 0) {
        _exit(store_open(&f->options, &second, NULL) == STATUS_BUSY ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_missing_directory_fails_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_options options = {.directory = "/tmp/holdfast-store-that-is-not-there/x"};
    struct store *store = NULL;

    assert_int_not_equal(store_open(&options, &store, &f->error), STATUS_OK);
    assert_null(store);
    assert_non_null(strstr(f->error.text, "holdfast-store-that-is-not-there"));
}

static void the_map_is_as_large_as_the_file_system_unless_told(void **state)
{
    struct fixture *f = *state;
    struct store_statistics statistics;

    assert_int_equal(store_statistics(f->store, &statistics, &f->error), STATUS_OK);
    assert_int_equal(statistics.map_size_bytes, MAP_BYTES);
    f->options.map_size_bytes = 0;
    reopen(f);

    assert_int_equal(store_statistics(f->store, &statistics, &f->error), STATUS_OK);
    assert_true(statistics.map_size_bytes > statistics.free_disk_bytes);
    assert_int_equal(statistics.map_size_bytes % (uint64_t)sysconf(_SC_PAGESIZE), 0);
}

/* --- Surviving --- */

/* Run @body in a child process that dies without closing anything. */
static void in_a_process_that_dies(struct fixture *f, void (*body)(struct fixture *f))
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        body(f);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define REQUIRE_IN_CHILD(fact)                                                                     \
    if (!(fact)) {                                                                                 \
        _exit(1);                                                                                  \
    }

static void commit_then_write_more(struct fixture *f)
{
    struct txn *txn;

    REQUIRE_IN_CHILD(store_open(&f->options, &f->store, NULL) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_begin_write(f->store, &txn, NULL) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_put(txn, slice_of_string("a"), slice_of_string("1")) == STATUS_OK);
    txn_state(txn)->applied_index = 5;
    txn_commit(txn);
    store_freeze(f->store);
    REQUIRE_IN_CHILD(store_flush(f->store, NULL) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_begin_write(f->store, &txn, NULL) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_put(txn, slice_of_string("a"), slice_of_string("2")) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_put(txn, slice_of_string("b"), slice_of_string("2")) == STATUS_OK);
    txn_state(txn)->applied_index = 6;
    txn_commit(txn);
    store_freeze(f->store);
}

static void a_crash_loses_what_was_not_flushed_and_nothing_else(void **state)
{
    struct fixture *f = *state;

    close_store(f);
    in_a_process_that_dies(f, commit_then_write_more);
    open_store(f);

    assert_committed(f, "a", "1");
    assert_committed(f, "b", NULL);
    begin_read(f);
    assert_int_equal(txn_state(f->reader)->applied_index, 5);
    txn_end_read(f->reader);
}

static void read_and_die(struct fixture *f)
{
    struct txn *txn = NULL;

    REQUIRE_IN_CHILD(store_open(&f->options, &f->store, NULL) == STATUS_OK);
    REQUIRE_IN_CHILD(txn_begin_read(f->store, &txn, NULL) == STATUS_OK);
}

static void readers_of_a_process_that_died_are_forgotten(void **state)
{
    struct fixture *f = *state;

    allow_one_reader(f);
    in_a_process_that_dies(f, read_and_die);
    open_store(f);

    assert_committed(f, "a", NULL);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    put_committed(f, "a", "1");
    begin(f);
    put(f, "a", "2");
    txn_state(f->txn)->revision = 9;
    txn_abort(f->txn);

    assert_committed(f, "a", "1");
    begin_read(f);
    assert_int_equal(txn_state(f->reader)->revision, 0);
    txn_end_read(f->reader);
}

static void the_facts_are_saved_with_the_data(void **state)
{
    struct fixture *f = *state;
    struct state *facts;

    begin(f);
    facts = txn_state(f->txn);
    facts->revision = 3;
    facts->next_object_id = 4;
    facts->time_ms = 5;
    facts->applied_index = 6;
    facts->applied_term = 7;
    put(f, "a", "1");
    commit(f);
    reopen(f);

    begin_read(f);
    facts = txn_state(f->reader);
    assert_int_equal(facts->revision, 3);
    assert_int_equal(facts->next_object_id, 4);
    assert_int_equal(facts->time_ms, 5);
    assert_int_equal(facts->applied_index, 6);
    assert_int_equal(facts->applied_term, 7);
    txn_end_read(f->reader);
}

/* --- Transactions --- */

static void a_reader_sees_one_moment_until_it_begins_anew(void **state)
{
    struct fixture *f = *state;

    put_committed(f, "a", "1");
    begin_read(f);
    put_committed(f, "a", "2");

    assert_holds(f->reader, "a", "1");
    txn_end_read(f->reader);
    assert_committed(f, "a", "2");
}

static void more_readers_than_agreed_are_refused_and_may_come_later(void **state)
{
    struct fixture *f = *state;
    struct txn *second = NULL;

    allow_one_reader(f);
    open_store(f);
    begin_read(f);

    assert_int_equal(txn_begin_read(f->store, &second, &f->error), STATUS_BUSY);
    assert_null(second);
    txn_end_read(f->reader);
    txn_reader_close(f->reader);
    f->reader = NULL;
    assert_committed(f, "a", NULL);
}

static void what_is_undone_is_gone_with_its_facts_and_its_hash(void **state)
{
    struct fixture *f = *state;
    uint64_t before[2];
    uint64_t after[2];

    begin(f);
    put(f, "a", "1");
    put(f, "b", "1");
    txn_state(f->txn)->revision = 1;
    txn_state_hash(f->txn, before);
    txn_mark(f->txn);
    put(f, "a", "2");
    put(f, "c", "2");
    assert_int_equal(txn_delete(f->txn, slice_of_string("b")), STATUS_OK);
    assert_holds(f->txn, "a", "2");
    txn_put_local(f->txn, slice_of_string("local"), slice_of_string("2"));
    txn_state(f->txn)->revision = 2;
    txn_undo(f->txn);

    txn_state_hash(f->txn, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(txn_state(f->txn)->revision, 1);
    commit(f);
    assert_committed(f, "a", "1");
    assert_committed(f, "b", "1");
    assert_committed(f, "c", NULL);
}

static void what_is_kept_is_committed_with_the_rest(void **state)
{
    struct fixture *f = *state;

    begin(f);
    put(f, "a", "1");
    for (unsigned i = 0; i < 3; i++) {
        txn_mark(f->txn);
        put(f, "b", "2");
        txn_state(f->txn)->revision++;
        txn_keep(f->txn);
    }
    put(f, "c", "3");
    commit(f);
    reopen(f);

    assert_committed(f, "a", "1");
    assert_committed(f, "b", "2");
    assert_committed(f, "c", "3");
    begin_read(f);
    assert_int_equal(txn_state(f->reader)->revision, 3);
    txn_end_read(f->reader);
}

static void a_full_map_fails_the_flush_and_reads_go_on(void **state)
{
    struct fixture *f = *state;
    char *large = calloc(1, 1u << 20);
    char key[16];

    assert_non_null(large);
    put_committed(f, "a", "1");
    flush(f);
    begin(f);
    put(f, "b", "2");
    for (unsigned i = 0; i < 2 * (MAP_BYTES >> 20); i++) {
        (void)snprintf(key, sizeof key, "large%u", i);
        assert_int_equal(txn_put(f->txn, slice_of_string(key), slice_of(large, 1u << 20)),
                         STATUS_OK);
    }
    txn_commit(f->txn);
    store_freeze(f->store);

    assert_int_equal(store_flush(f->store, &f->error), STATUS_DISK_FULL);
    assert_committed(f, "a", "1");
    assert_committed(f, "b", "2");
    close_store(f);
    open_store(f);
    assert_committed(f, "a", "1");
    assert_committed(f, "b", NULL);
    assert_int_equal(f->damages, 0);
    free(large);
}

/* --- The hash --- */

static void the_hash_depends_on_the_records_and_not_on_how_they_came_about(void **state)
{
    struct fixture *f = *state;
    uint64_t many[2];
    uint64_t one[2];

    put_committed(f, "a", "0");
    put_committed(f, "b", "2");
    put_committed(f, "c", "3");
    put_committed(f, "a", "1");
    begin(f);
    assert_int_equal(txn_delete(f->txn, slice_of_string("c")), STATUS_OK);
    txn_state_hash(f->txn, many);
    assert_int_equal(txn_delete(f->txn, slice_of_string("a")), STATUS_OK);
    assert_int_equal(txn_delete(f->txn, slice_of_string("b")), STATUS_OK);
    assert_int_equal(txn_state(f->txn)->hash[0], 0);
    assert_int_equal(txn_state(f->txn)->hash[1], 0);
    put(f, "b", "2");
    put(f, "a", "1");
    txn_state_hash(f->txn, one);
    txn_abort(f->txn);

    assert_memory_equal(many, one, sizeof many);
}

static void the_hash_covers_the_replicated_facts_and_not_those_of_the_node(void **state)
{
    struct fixture *f = *state;
    uint64_t before[2];
    uint64_t node[2];
    uint64_t facts[2];

    begin(f);
    txn_state_hash(f->txn, before);
    txn_state(f->txn)->applied_index = 7;
    txn_put_local(f->txn, slice_of_string("x"), slice_of_string("y"));
    txn_state_hash(f->txn, node);
    txn_state(f->txn)->revision = 7;
    txn_state_hash(f->txn, facts);
    txn_abort(f->txn);

    assert_memory_equal(before, node, sizeof before);
    assert_memory_not_equal(before, facts, sizeof before);
}

/* --- Cursors --- */

static void assert_at(enum status status, struct slice found, const char *key)
{
    assert_int_equal(status, STATUS_OK);
    assert_true(slice_equals_string(found, key));
}

static void a_cursor_walks_both_ways_from_where_it_is_put(void **state)
{
    struct fixture *f = *state;
    struct cursor *cursor;
    struct slice payload;
    struct slice found;

    begin(f);
    put(f, "b", "1");
    put(f, "d", "2");
    put(f, "f", "3");
    assert_int_equal(cursor_open(f->txn, &cursor), STATUS_OK);

    assert_at(cursor_seek(cursor, slice_of_string("c"), &found, &payload), found, "d");
    assert_true(slice_equals_string(payload, "2"));
    assert_at(cursor_next(cursor, &found, &payload), found, "f");
    assert_int_equal(cursor_next(cursor, &found, &payload), STATUS_END);
    assert_at(cursor_seek_before(cursor, slice_of_string("d"), &found, &payload), found, "b");
    assert_int_equal(cursor_prev(cursor, &found, &payload), STATUS_END);
    assert_at(cursor_seek_before(cursor, slice_of_string("z"), &found, &payload), found, "f");
    assert_at(cursor_prev(cursor, &found, &payload), found, "d");
    assert_int_equal(cursor_seek(cursor, slice_of_string("g"), &found, &payload), STATUS_END);
    assert_int_equal(cursor_seek_before(cursor, slice_of_string("b"), &found, &payload),
                     STATUS_END);
    cursor_close(cursor);
    txn_abort(f->txn);
}

static void records_may_be_deleted_under_a_walking_cursor(void **state)
{
    struct fixture *f = *state;
    struct cursor *cursor;
    struct slice payload;
    struct slice found;
    char key[16];
    char copy[16];
    unsigned seen = 0;
    enum status status;

    begin(f);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "key%04u", i);
        put(f, key, "some value");
    }
    assert_int_equal(cursor_open(f->txn, &cursor), STATUS_OK);
    status = cursor_seek(cursor, slice_of_string("k"), &found, &payload);
    while (status == STATUS_OK) {
        memcpy(copy, found.data, found.size);
        assert_int_equal(txn_delete(f->txn, slice_of(copy, found.size)), STATUS_OK);
        seen++;
        status = cursor_next(cursor, &found, &payload);
    }
    cursor_close(cursor);

    assert_int_equal(status, STATUS_END);
    assert_int_equal(seen, 1000);
    assert_int_equal(txn_state(f->txn)->hash[0], 0);
    txn_abort(f->txn);
}

/* --- Damage --- */

/* Flip a bit of every place in the data file that holds @text; gives their number. */
static unsigned damage(struct fixture *f, const char *text)
{
    char path[128];
    struct stat info;
    unsigned places = 0;
    char *bytes;
    int file;

    (void)snprintf(path, sizeof path, "%s/data.mdb", f->directory);
    file = open(path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(fstat(file, &info), 0);
    bytes = malloc((size_t)info.st_size);
    assert_non_null(bytes);
    assert_int_equal(pread(file, bytes, (size_t)info.st_size, 0), info.st_size);
    for (off_t i = 0; i + (off_t)strlen(text) <= info.st_size; i++) {
        if (memcmp(bytes + i, text, strlen(text)) == 0) {
            bytes[i] ^= 1;
            places++;
        }
    }
    assert_int_equal(pwrite(file, bytes, (size_t)info.st_size, 0), info.st_size);
    assert_int_equal(close(file), 0);
    free(bytes);
    return places;
}

static void a_damaged_record_is_told_once_and_never_given_out(void **state)
{
    struct fixture *f = *state;
    struct cursor *cursor;
    struct slice payload;
    struct slice found;

    put_committed(f, "a", "a payload that is easy to find");
    put_committed(f, "b", "intact");
    flush(f);
    close_store(f);
    assert_true(damage(f, "a payload that is easy to find") > 0);
    open_store(f);
    begin_read(f);

    assert_int_equal(txn_get(f->reader, slice_of_string("a"), &payload), STATUS_CORRUPT);
    assert_int_equal(f->damages, 1);
    assert_int_equal(cursor_open(f->reader, &cursor), STATUS_OK);
    assert_int_equal(cursor_seek(cursor, slice_of_string("a"), &found, &payload), STATUS_CORRUPT);
    assert_int_equal(f->damages, 1);
    cursor_close(cursor);
    assert_holds(f->reader, "b", "intact");
    txn_end_read(f->reader);
}

static void a_damaged_record_is_neither_replaced_nor_deleted(void **state)
{
    struct fixture *f = *state;

    put_committed(f, "a", "a payload that is easy to find");
    flush(f);
    close_store(f);
    assert_true(damage(f, "a payload that is easy to find") > 0);
    open_store(f);
    begin(f);

    assert_int_equal(txn_put(f->txn, slice_of_string("a"), slice_of_string("new")), STATUS_CORRUPT);
    assert_int_equal(txn_delete(f->txn, slice_of_string("a")), STATUS_CORRUPT);
    txn_abort(f->txn);
}

static void a_store_whose_facts_are_damaged_does_not_open(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;

    begin(f);
    txn_state(f->txn)->revision = 0x4141414141414141u;
    commit(f);
    flush(f);
    close_store(f);
    assert_true(damage(f, "AAAAAAAA") > 0);

    assert_int_equal(store_open(&f->options, &store, &f->error), STATUS_CORRUPT);
    assert_null(store);
    assert_int_equal(f->damages, 1);
}

static void a_file_that_is_no_environment_does_not_open(void **state)
{
    struct fixture *f = *state;
    struct store *store = NULL;
    char path[128];
    char zeros[8192] = {0};
    FILE *file;

    close_store(f);
    (void)snprintf(path, sizeof path, "%s/data.mdb", f->directory);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(zeros, sizeof zeros, 1, file), 1);
    assert_int_equal(fclose(file), 0);

    assert_int_equal(store_open(&f->options, &store, &f->error), STATUS_CORRUPT);
    assert_null(store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_store_is_empty_and_its_first_object_gets_id_1),
        TEST(a_second_open_is_refused_in_this_process_and_in_another),
        TEST(a_missing_directory_fails_and_leaves_nothing),
        TEST(the_map_is_as_large_as_the_file_system_unless_told),
        TEST(a_crash_loses_what_was_not_flushed_and_nothing_else),
        TEST(readers_of_a_process_that_died_are_forgotten),
        TEST(an_aborted_transaction_leaves_nothing),
        TEST(the_facts_are_saved_with_the_data),
        TEST(a_reader_sees_one_moment_until_it_begins_anew),
        TEST(more_readers_than_agreed_are_refused_and_may_come_later),
        TEST(what_is_undone_is_gone_with_its_facts_and_its_hash),
        TEST(what_is_kept_is_committed_with_the_rest),
        TEST(a_full_map_fails_the_flush_and_reads_go_on),
        TEST(the_hash_depends_on_the_records_and_not_on_how_they_came_about),
        TEST(the_hash_covers_the_replicated_facts_and_not_those_of_the_node),
        TEST(a_cursor_walks_both_ways_from_where_it_is_put),
        TEST(records_may_be_deleted_under_a_walking_cursor),
        TEST(a_damaged_record_is_told_once_and_never_given_out),
        TEST(a_damaged_record_is_neither_replaced_nor_deleted),
        TEST(a_store_whose_facts_are_damaged_does_not_open),
        TEST(a_file_that_is_no_environment_does_not_open),
    };

    int failed = 0;

    for (tested_place = IN_MEMORY; tested_place <= IN_FILE; tested_place++) {
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
