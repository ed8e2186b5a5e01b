/* Scrubbing: what is well is found well whatever is flushed in between, and what is damaged, lost
 * or came back is found though nobody asks for it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "storage/record.h"
#include "storage/scrub.h"
#include "storage/store_private.h"

#define MAP_BYTES  (64u << 20)
#define RECORDS    2000u
#define MOST_STEPS 1000u
#define SECOND_NS  1000000000ull

struct fixture {
    char directory[64];
    struct store_options options;
    struct store *store;
    struct txn *txn;
    unsigned damages;
    char damage[256];
    unsigned random;
    struct error error;
};

static void on_damage(void *data, const char *what)
{
    struct fixture *f = data;

    f->damages++;
    (void)snprintf(f->damage, sizeof f->damage, "%s", what);
}

static void open_store(struct fixture *f)
{
    assert_int_equal(store_open(&f->options, &f->store, &f->error), STATUS_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-scrub-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    f->options = (struct store_options){
        .directory = f->directory, .map_size_bytes = MAP_BYTES, .on_damage = on_damage, .data = f};
    f->random = 7;
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    store_close(f->store);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static unsigned draw(struct fixture *f, unsigned n)
{
    return (unsigned)rand_r(&f->random) % n;
}

static struct slice name(char text[32], unsigned number)
{
    (void)snprintf(text, 32, "record-%05u", number);
    return slice_of_string(text);
}

static void put(struct fixture *f, unsigned number, const char *value)
{
    char text[32];

    assert_int_equal(txn_put(f->txn, name(text, number), slice_of_string(value)), STATUS_OK);
}

static void begin(struct fixture *f)
{
    assert_int_equal(txn_begin_write(f->store, &f->txn, &f->error), STATUS_OK);
}

static void flush(struct fixture *f)
{
    txn_commit(f->txn);
    store_freeze(f->store);
    assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
}

/* More than one step reads, each of its own value. */
static void fill(struct fixture *f)
{
    char value[32];

    begin(f);
    for (unsigned i = 0; i < RECORDS; i++) {
        (void)snprintf(value, sizeof value, "value-%05u", i);
        put(f, i, value);
    }
    flush(f);
}

/* One scrub, or what is left of it. */
static enum status scrub(struct fixture *f, struct scrub_progress *progress)
{
    enum status status = STATUS_OK;

    *progress = (struct scrub_progress){.records = 0};
    for (unsigned i = 0; status == STATUS_OK && !progress->is_complete; i++) {
        assert_true(i < MOST_STEPS);
        status = scrub_step(f->store, progress, &f->error);
    }
    return status;
}

static void assert_well(struct fixture *f, uint64_t records)
{
    struct scrub_progress progress;

    assert_int_equal(scrub(f, &progress), STATUS_OK);
    assert_int_equal(progress.records, records);
    assert_int_equal(f->damages, 0);
}

static void assert_found(struct fixture *f, const char *what)
{
    struct scrub_progress progress;

    assert_int_equal(scrub(f, &progress), STATUS_CORRUPT);
    assert_int_equal(f->damages, 1);
    assert_non_null(strstr(f->damage, what));
    assert_non_null(strstr(f->damage, f->directory));
}

/* --- Well --- */

static void an_empty_store_is_well(void **state)
{
    assert_well(*state, 1); /* The saved facts, which belong to this node. */
}

static void all_that_is_there_is_read_again_and_again(void **state)
{
    struct fixture *f = *state;

    fill(f);

    assert_well(f, RECORDS + 1);
    assert_well(f, RECORDS + 1);
}

static void a_step_is_bounded_by_records(void **state)
{
    struct fixture *f = *state;
    struct scrub_progress progress;

    fill(f);

    assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);
    assert_int_equal(progress.records, SCRUB_STEP_RECORDS);
    assert_false(progress.is_complete);
    assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);
    assert_int_equal(progress.records, 2 * SCRUB_STEP_RECORDS);
}

static void a_step_is_bounded_by_bytes(void **state)
{
    struct fixture *f = *state;
    struct scrub_progress progress;
    char *large = malloc(SCRUB_STEP_BYTES);

    assert_non_null(large);
    memset(large, 'x', SCRUB_STEP_BYTES - 1);
    large[SCRUB_STEP_BYTES - 1] = '\0';
    begin(f);
    for (unsigned i = 0; i < 4; i++) {
        put(f, i, large);
    }
    flush(f);
    free(large);

    assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);

    assert_int_equal(progress.records, 2); /* One is a byte less than the bound. */
    assert_well(f, 5);
}

static int note_reader(const char *line, void *data)
{
    unsigned *n = data;
    unsigned long pid;
    unsigned long thread;
    unsigned long transaction;

    *n += sscanf(line, "%lu %lx %lu", &pid, &thread, &transaction) == 3;
    return 0;
}

static void no_transaction_outlives_a_step(void **state)
{
    struct fixture *f = *state;
    struct scrub_progress progress;
    unsigned n = 0;

    fill(f);
    assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);
    assert_false(progress.is_complete);

    assert_true(mdb_reader_list(f->store->env, note_reader, &n) >= 0);

    assert_int_equal(n, 0); /* A place is kept, and no moment of the state. */
}

/* Behind, at and in front of the place where the scrub stands, records come, change and go. */
static void what_is_flushed_meanwhile_does_not_matter(void **state)
{
    struct fixture *f = *state;
    struct scrub_progress progress = {.records = 0};
    char value[32];
    char text[32];
    unsigned rounds = 0;

    fill(f);
    for (unsigned completed = 0; completed < 30; rounds++) {
        assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);
        completed += progress.is_complete;
        if (draw(f, 3) == 0) {
            continue;
        }
        begin(f);
        for (unsigned i = draw(f, 200) + 1; i > 0; i--) {
            unsigned number = draw(f, 2 * RECORDS);

            if (draw(f, 3) > 0) {
                (void)snprintf(value, sizeof value, "value-%u-%u", rounds, i);
                put(f, number, value);
            } else {
                enum status status = txn_delete(f->txn, name(text, number));

                assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
            }
        }
        flush(f);
    }

    assert_true(rounds > 100);
    assert_int_equal(f->damages, 0);
}

static void what_is_not_flushed_is_none_of_it(void **state)
{
    struct fixture *f = *state;

    fill(f);
    begin(f);
    put(f, RECORDS, "not flushed");
    put(f, 0, "nor this");
    txn_commit(f->txn);

    assert_well(f, RECORDS + 1);
}

/* --- Damaged --- */

/* Let one bit in each copy of @text in the file become another. */
static void flip(struct fixture *f, const char *text)
{
    char path[128];
    struct stat status;
    char *bytes;
    char *at;
    int fd;

    (void)snprintf(path, sizeof path, "%s/data.mdb", f->directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    bytes = malloc((size_t)status.st_size);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)status.st_size, 0), status.st_size);
    at = memmem(bytes, (size_t)status.st_size, text, strlen(text));
    assert_non_null(at);
    while (at != NULL) {
        char byte = (char)(*at ^ 4);

        assert_int_equal(pwrite(fd, &byte, 1, at - bytes), 1);
        at = memmem(at + 1, (size_t)(bytes + status.st_size - at - 1), text, strlen(text));
    }
    free(bytes);
    assert_int_equal(close(fd), 0);
}

static void a_flipped_bit_is_found_where_nobody_reads(void **state)
{
    struct fixture *f = *state;

    fill(f);
    flip(f, "value-01700");

    assert_found(f, "wrong checksum");
}

static void a_flipped_bit_of_a_key_is_found(void **state)
{
    struct fixture *f = *state;

    fill(f);
    flip(f, "ecord-01700"); /* Its first byte sorts elsewhere, too. */

    assert_found(f, "");
}

static void a_flipped_bit_of_what_belongs_to_the_node_is_found(void **state)
{
    struct fixture *f = *state;

    begin(f);
    txn_put_local(f->txn, slice_of_string("mine"), slice_of_string("own-record"));
    flush(f);
    flip(f, "own-record");

    assert_found(f, "wrong checksum");
}

/* What a disk does that loses a write, or brings an old page: each record by itself is whole. */
static void change_file(struct fixture *f, unsigned number, const char *value)
{
    uint8_t sealed[64];
    char text[32];
    struct slice key = name(text, number);
    MDB_val mdb_key = val_of(key);
    MDB_val mdb_value = {.mv_data = sealed};
    MDB_txn *mdb;

    assert_int_equal(mdb_txn_begin(f->store->env, NULL, 0, &mdb), 0);
    if (value == NULL) {
        assert_int_equal(mdb_del(mdb, f->store->records, &mdb_key, NULL), 0);
    } else {
        record_seal(key, slice_of_string(value), sealed);
        mdb_value.mv_size = RECORD_HEADER_BYTES + strlen(value);
        assert_int_equal(mdb_put(mdb, f->store->records, &mdb_key, &mdb_value, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(mdb), 0);
    store_close(f->store);
    open_store(f);
}

static void a_record_that_was_lost_is_found(void **state)
{
    struct fixture *f = *state;

    fill(f);
    change_file(f, 1234, NULL);

    assert_found(f, "one was lost or came back");
}

static void a_record_that_came_back_is_found(void **state)
{
    struct fixture *f = *state;
    char text[32];

    fill(f);
    begin(f);
    assert_int_equal(txn_delete(f->txn, name(text, 1234)), STATUS_OK);
    flush(f);
    change_file(f, 1234, "value-01234");

    assert_found(f, "one was lost or came back");
}

static void an_old_record_in_the_place_of_a_new_one_is_found(void **state)
{
    struct fixture *f = *state;

    fill(f);
    begin(f);
    put(f, 1234, "newer");
    flush(f);
    change_file(f, 1234, "value-01234");

    assert_found(f, "one was lost or came back");
}

/* It must not go unnoticed into the sum. */
static void a_flush_over_a_damaged_record_tells_it(void **state)
{
    struct fixture *f = *state;
    struct scrub_progress progress;

    fill(f);
    begin(f);
    put(f, 3, "another");
    txn_commit(f->txn);
    store_freeze(f->store);
    assert_int_equal(scrub_step(f->store, &progress, &f->error), STATUS_OK);
    flip(f, "value-00003");

    assert_int_equal(store_flush(f->store, &f->error), STATUS_CORRUPT);

    assert_int_equal(f->damages, 1);
}

/* --- When --- */

static uint64_t fake_ns;

static uint64_t fake_clock(void)
{
    fake_ns += 1000000; /* A step takes half of it. */
    return fake_ns;
}

static void the_first_scrub_is_within_the_interval(void **state)
{
    struct scrub_schedule schedule;

    (void)state;
    for (unsigned random = 0; random < 200; random++) {
        scrub_schedule_init(&schedule, 3600, 5 * SECOND_NS, random);

        assert_true(schedule.due_ns >= (5 + 1800) * SECOND_NS);
        assert_true(schedule.due_ns <= (5 + 3600) * SECOND_NS);
    }
}

static void without_an_interval_there_is_none(void **state)
{
    struct fixture *f = *state;
    struct scrub_schedule schedule;

    scrub_schedule_init(&schedule, 0, SECOND_NS, 1);
    fake_ns = SECOND_NS;

    assert_true(schedule.due_ns == UINT64_MAX);
    assert_int_equal(scrub_turn(&schedule, f->store, fake_clock, &f->error), STATUS_OK);
    assert_int_equal(schedule.completed, 0);
}

static void a_scrub_rests_most_of_the_time_and_comes_again(void **state)
{
    struct fixture *f = *state;
    struct scrub_schedule schedule;
    uint64_t worked_ns = 0;
    uint64_t first_ns;

    fill(f);
    scrub_schedule_init(&schedule, 100, 0, 0);
    first_ns = schedule.due_ns;
    while (schedule.completed == 0) {
        uint64_t before_ns = fake_ns = schedule.due_ns;

        assert_int_equal(scrub_turn(&schedule, f->store, fake_clock, &f->error), STATUS_OK);
        worked_ns += fake_ns - before_ns;
    }

    assert_int_equal(schedule.records, RECORDS + 1);
    assert_int_equal(schedule.ended_ns, fake_ns);
    assert_true(schedule.took_ns > 2 * worked_ns); /* In short: it rested. */
    assert_true(schedule.took_ns < SECOND_NS);
    assert_true(schedule.due_ns >= first_ns + 100 * SECOND_NS);
    assert_true(schedule.due_ns < first_ns + 101 * SECOND_NS);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_store_is_well),
        TEST(all_that_is_there_is_read_again_and_again),
        TEST(a_step_is_bounded_by_records),
        TEST(a_step_is_bounded_by_bytes),
        TEST(no_transaction_outlives_a_step),
        TEST(what_is_flushed_meanwhile_does_not_matter),
        TEST(what_is_not_flushed_is_none_of_it),
        TEST(a_flipped_bit_is_found_where_nobody_reads),
        TEST(a_flipped_bit_of_a_key_is_found),
        TEST(a_flipped_bit_of_what_belongs_to_the_node_is_found),
        TEST(a_record_that_was_lost_is_found),
        TEST(a_record_that_came_back_is_found),
        TEST(an_old_record_in_the_place_of_a_new_one_is_found),
        TEST(a_flush_over_a_damaged_record_tells_it),
        TEST(the_first_scrub_is_within_the_interval),
        TEST(without_an_interval_there_is_none),
        TEST(a_scrub_rests_most_of_the_time_and_comes_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
