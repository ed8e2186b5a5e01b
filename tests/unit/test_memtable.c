/* The memtable: versions, order, taking back, and readers beside the writer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/memtable.h"

static int setup(void **state)
{
    *state = memtable_new();
    return 0;
}

static int teardown(void **state)
{
    memtable_unref(*state);
    return 0;
}

static struct memtable_step put(struct memtable *table, const char *key, uint64_t sequence,
                                const char *value)
{
    struct memtable_step step;
    uint8_t *place = memtable_put(table, slice_of_string(key), sequence, strlen(value), &step);

    memcpy(place, value, strlen(value));
    return step;
}

static void assert_holds(struct memtable *table, const char *key, uint64_t sequence,
                         const char *value)
{
    struct slice bytes;

    assert_int_equal(memtable_get(table, slice_of_string(key), sequence, &bytes), MEMTABLE_RECORD);
    assert_true(slice_equals_string(bytes, value));
    assert_int_equal(memtable_find(table, slice_of_string(key), sequence, &bytes), MEMTABLE_RECORD);
    assert_true(slice_equals_string(bytes, value));
}

static void assert_lacks(struct memtable *table, const char *key, uint64_t sequence,
                         enum memtable_found found)
{
    struct slice bytes;

    assert_int_equal(memtable_get(table, slice_of_string(key), sequence, &bytes), found);
    assert_int_equal(memtable_find(table, slice_of_string(key), sequence, &bytes), found);
}

static void each_sequence_sees_the_version_of_its_time(void **state)
{
    struct memtable *table = *state;
    struct memtable_step step;

    (void)put(table, "a", 2, "two");
    (void)put(table, "a", 5, "five");
    memtable_delete(table, slice_of_string("a"), 7, &step);
    (void)put(table, "a", 9, "nine");

    assert_lacks(table, "a", 1, MEMTABLE_NOTHING);
    assert_holds(table, "a", 2, "two");
    assert_holds(table, "a", 4, "two");
    assert_holds(table, "a", 6, "five");
    assert_lacks(table, "a", 7, MEMTABLE_DELETED);
    assert_holds(table, "a", UINT64_MAX, "nine");
    assert_lacks(table, "b", UINT64_MAX, MEMTABLE_NOTHING);
    assert_int_equal(memtable_keys(table), 1);
}

static void what_is_taken_back_was_never_there(void **state)
{
    struct memtable *table = *state;
    struct memtable_step first;
    struct memtable_step second;
    struct memtable_step third;

    (void)put(table, "a", 1, "one");
    first = put(table, "a", 2, "two");
    second = put(table, "b", 2, "two");
    memtable_delete(table, slice_of_string("a"), 2, &third);
    memtable_revert(&third);
    assert_holds(table, "a", 2, "two");
    memtable_revert(&second);
    memtable_revert(&first);

    assert_holds(table, "a", 2, "one");
    assert_lacks(table, "b", 2, MEMTABLE_NOTHING);
}

static void keys_are_walked_in_byte_order_from_anywhere(void **state)
{
    struct memtable *table = *state;
    struct memtable_node *node;
    char key[16];
    unsigned n = 0;

    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%03u", i * 389 % 1000);
        (void)put(table, key, 1, key);
    }
    for (node = memtable_seek(table, slice_of_string("000")); node != NULL;
         node = memtable_next(node)) {
        (void)snprintf(key, sizeof key, "%03u", n++);
        assert_true(slice_equals_string(memtable_key(node), key));
    }
    assert_int_equal(n, 1000);
    node = memtable_seek(table, slice_of_string("4995"));
    assert_true(slice_equals_string(memtable_key(node), "500"));
    node = memtable_seek_before(table, slice_of_string("500"));
    assert_true(slice_equals_string(memtable_key(node), "499"));
    assert_null(memtable_seek_before(table, slice_of_string("000")));
    assert_null(memtable_seek(table, slice_of_string("9999")));
}

/* Logs that grow at their end, and names in no order, among each other. */
static void keys_are_in_order_however_they_came(void **state)
{
    enum { N = 3000 };
    struct memtable *table = *state;
    struct memtable_node *node;
    uint32_t random = 1;
    char last[16] = "";
    char key[16];
    unsigned n = 0;

    for (unsigned i = 0; i < N; i++) {
        random = random * 1664525u + 1013904223u; /* Knuth, TAOCP 3.3.4. */
        (void)snprintf(key, sizeof key, "%c%06u", "alog"[i % 4],
                       i % 4 == 1 || i % 4 == 3 ? i : random >> 12);
        (void)put(table, key, 1, key);
    }
    for (node = memtable_seek(table, slice_of_string("")); node != NULL;
         node = memtable_next(node)) {
        struct slice found = memtable_key(node);

        assert_in_range(found.size, 1, sizeof key - 1);
        memcpy(key, found.data, found.size);
        key[found.size] = '\0';
        assert_true(strcmp(last, key) < 0);
        assert_holds(table, key, 1, key);
        memcpy(last, key, sizeof last);
        n++;
    }
    assert_int_equal(n, memtable_keys(table));
    assert_true(n > N / 2);
    assert_lacks(table, "l", 1, MEMTABLE_NOTHING);
}

static void a_large_record_takes_a_block_of_its_own(void **state)
{
    struct memtable *table = *state;
    struct memtable_step step;
    struct slice bytes;

    memset(memtable_put(table, slice_of_string("a"), 1, 5u << 20, &step), 'x', 5u << 20);
    (void)put(table, "b", 1, "small");

    assert_int_equal(memtable_get(table, slice_of_string("a"), 1, &bytes), MEMTABLE_RECORD);
    assert_int_equal(bytes.size, 5u << 20);
    assert_int_equal(bytes.data[(5u << 20) - 1], 'x');
    assert_holds(table, "b", 1, "small");
    assert_in_range(memtable_bytes(table), 5u << 20, 6u << 20);
}

#define KEYS    64u
#define COMMITS 20000u

struct race {
    struct memtable *table;
    atomic_uint published;
    atomic_bool ended;
    unsigned looks;
    const char *wrong;
};

/* Commit n wrote n to all of two keys, one of them by way of deletions: at any moment a reader
 * finds both, as of the commit that it looks with. */
static void *read_on(void *data)
{
    struct race *race = data;

    while (!atomic_load(&race->ended) || race->looks == 0) {
        unsigned sequence = atomic_load_explicit(&race->published, memory_order_acquire);
        unsigned last = 0;

        for (unsigned i = 0; i < KEYS && sequence >= KEYS; i++) {
            unsigned newest = sequence - (sequence - i) % KEYS; /* That wrote key i. */
            char key[16];
            struct slice bytes;

            (void)snprintf(key, sizeof key, "%02u", i);
            if (memtable_get(race->table, slice_of_string(key), sequence, &bytes) !=
                    MEMTABLE_RECORD ||
                bytes.size != sizeof last) {
                race->wrong = "a record is missing";
                return NULL;
            }
            memcpy(&last, bytes.data, sizeof last);
            if (last != newest) {
                race->wrong = "a record is of another time";
                return NULL;
            }
            race->looks++;
        }
    }
    return NULL;
}

static void readers_see_their_moment_while_the_writer_goes_on(void **state)
{
    struct race races[2] = {{.table = *state}, {.table = *state}};
    pthread_t readers[2];

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &races[i]), 0);
    }
    for (unsigned sequence = 1; sequence <= COMMITS; sequence++) {
        struct memtable_step step;
        char key[16];

        (void)snprintf(key, sizeof key, "%02u", sequence % KEYS);
        memtable_delete(*state, slice_of_string(key), sequence, &step);
        memcpy(memtable_put(*state, slice_of_string(key), sequence, sizeof sequence, &step),
               &sequence, sizeof sequence);
        for (unsigned i = 0; i < 2; i++) {
            atomic_store_explicit(&races[i].published, sequence, memory_order_release);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&races[i].ended, true);
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_null(races[i].wrong);
        assert_true(races[i].looks > 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_sequence_sees_the_version_of_its_time),
        TEST(what_is_taken_back_was_never_there),
        TEST(keys_are_walked_in_byte_order_from_anywhere),
        TEST(keys_are_in_order_however_they_came),
        TEST(a_large_record_takes_a_block_of_its_own),
        TEST(readers_see_their_moment_while_the_writer_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
