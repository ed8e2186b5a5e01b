/* What is wrong on one node's disk and nobody asks for is found, and stops that node alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/store.h"
#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define TEST_LIMIT_S   120
#define NOTICE_MS      20000
#define TERM_MS        20000
#define INTERVAL_S     "1"
#define FLUSHED_MS     3000 /* More than a flush may wait. */
#define STATUS_DAMAGED 3
#define STATUS_OUTSIDE 1
#define META_BYTES     8192 /* LMDB's own two pages. */
#define ITEMS          "/v1/namespaces/default/items/"
#define COLD           "\"nobody ever reads this value\""
#define MAX_PATH       400

struct fixture {
    struct cluster cluster;
    struct http_client clients[CLUSTER_NODES];
    struct answer answer;
    unsigned leader;
    unsigned victim; /* A follower. */
    bool passed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    unsigned i;

    assert_non_null(f);
    *state = f;
    assert_int_equal(setenv("HOLDFAST_SCRUB_INTERVAL", INTERVAL_S, 1), 0);
    /* A full reads all of the state, too. */
    assert_int_equal(setenv("HOLDFAST_ARCHIVE", "none", 1), 0);
    assert_true(cluster_open(&f->cluster));
    assert_true(cluster_start(&f->cluster));
    for (i = 0; i < CLUSTER_NODES; i++) {
        f->clients[i] = cluster_client(&f->cluster.nodes[i]);
    }
    f->leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    assert_int_not_equal(f->leader, CLUSTER_NOBODY);
    f->victim = (f->leader + 1) % CLUSTER_NODES;
    expect(&f->answer, &f->clients[f->leader], 201, "PUT", ITEMS "cold", NULL, COLD);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        http_client_close(&f->clients[i]);
    }
    answer_close(&f->answer);
    cluster_close(&f->cluster, f->passed);
    free(f);
    return 0;
}

/* At its end a node flushes what it has executed. */
static void stop(struct fixture *f, unsigned node)
{
    struct process *process = &f->cluster.nodes[node].process;

    http_client_close(&f->clients[node]);
    assert_true(process_signal(process, SIGTERM));
    assert_true(process_wait(process, TERM_MS));
    assert_true(process_exited_with(process, 0));
}

static void stop_victim(struct fixture *f)
{
    expect(&f->answer, &f->clients[f->victim], 200, "GET", ITEMS "cold", NULL, NULL);
    stop(f, f->victim);
}

/* One bit of each copy of @text in the file of the victim's state. Gives how many there are. */
static unsigned flip(const struct fixture *f, const char *text)
{
    char path[MAX_PATH];
    struct stat status;
    unsigned n = 0;
    char *bytes;
    char *at;
    int fd;

    (void)snprintf(path, sizeof path, "%s/state/data.mdb",
                   f->cluster.nodes[f->victim].data_directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    bytes = malloc((size_t)status.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)status.st_size, 0), status.st_size);
    at = bytes;
    while ((at = memmem(at, (size_t)(bytes + status.st_size - at), text, strlen(text))) != NULL) {
        char byte = (char)(*at ^ 1);

        assert_int_equal(pwrite(fd, &byte, 1, at - bytes), 1);
        at++;
        n++;
    }
    free(bytes);
    assert_int_equal(close(fd), 0);
    return n;
}

static void assert_victim_ends_damaged(struct fixture *f, const char *why)
{
    const struct cluster_node *node = &f->cluster.nodes[f->victim];

    assert_true(process_wait(&f->cluster.nodes[f->victim].process, NOTICE_MS));
    assert_true(process_exited_with(&node->process, STATUS_DAMAGED));
    assert_true(cluster_log_has(node, why));
    assert_true(cluster_log_has(node, "remove the directory"));
}

struct figure {
    const struct cluster_node *node;
    const char *name;
    uint64_t least;
};

static bool is_at_least(void *data)
{
    const struct figure *figure = data;
    uint64_t value = 0;

    return cluster_metric(figure->node, figure->name, &value) && value >= figure->least;
}

static void assert_others_go_on(struct fixture *f)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        struct figure scrubs = {
            .node = &f->cluster.nodes[i], .name = "holdfast_scrubs_total", .least = 2};

        if (i == f->victim) {
            continue;
        }
        expect(&f->answer, &f->clients[i], 204, "DELETE", ITEMS "cold", NULL, NULL);
        expect(&f->answer, &f->clients[i], 201, "PUT", ITEMS "cold", NULL, COLD);
        expect(&f->answer, &f->clients[i], 200, "GET", ITEMS "cold", NULL, NULL);
        assert_string_equal((const char *)f->answer.response.body.data, COLD);
        assert_true(wait_until(is_at_least, &scrubs, NOTICE_MS));
    }
}

static void a_flipped_bit_where_nobody_reads_stops_its_node(void **state)
{
    struct fixture *f = *state;

    stop_victim(f);
    assert_true(flip(f, COLD) > 0);
    /* Nothing but a scrub looks at it. */
    assert_int_equal(setenv("HOLDFAST_SCRUB_INTERVAL", "0", 1), 0);
    assert_true(cluster_start_node(&f->cluster, f->victim));
    assert_true(cluster_wait_node_ready(&f->cluster, f->victim, CLUSTER_READY_MS));
    stop(f, f->victim);

    assert_int_equal(setenv("HOLDFAST_SCRUB_INTERVAL", INTERVAL_S, 1), 0);
    assert_true(cluster_start_node(&f->cluster, f->victim));

    assert_victim_ends_damaged(f, "has a wrong checksum");
    assert_others_go_on(f);
    assert_true(cluster_start_node(&f->cluster, f->victim));
    assert_victim_ends_damaged(f, "was found damaged earlier");
    f->passed = true;
}

static void signal_others(struct fixture *f, int number)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        if (i != f->victim) {
            assert_true(process_signal(&f->cluster.nodes[i].process, number));
        }
    }
}

/* With nobody to agree with, the victim executes nothing more, and what it has executed is flushed
 * within two seconds. */
static void wait_for_last_flush(struct fixture *f)
{
    const struct cluster_node *node = &f->cluster.nodes[f->victim];
    uint64_t before = 0;
    uint64_t after = 0;

    do {
        assert_true(cluster_metric(node, "holdfast_store_flush_seconds_count", &before));
        pause_ms(FLUSHED_MS);
        assert_true(cluster_metric(node, "holdfast_store_flush_seconds_count", &after));
    } while (before != after);
}

/* As a sector does that the disk cannot read: the node does not just vanish. */
static void a_page_that_cannot_be_read_ends_its_node_with_a_reason(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *node = &f->cluster.nodes[f->victim];
    char path[MAX_PATH];

    /* Nothing must be flushed over what is cut off: that would make the file whole again, with
     * zeros. */
    signal_others(f, SIGSTOP);
    wait_for_last_flush(f);

    (void)snprintf(path, sizeof path, "%s/state/data.mdb", node->data_directory);
    assert_int_equal(truncate(path, META_BYTES), 0);

    assert_true(process_wait(&node->process, NOTICE_MS));
    assert_true(process_exited_with(&node->process, STATUS_OUTSIDE));
    assert_true(cluster_log_has(node, "a page of the state's file could not be read"));
    signal_others(f, SIGCONT);
    assert_others_go_on(f);
    f->passed = true;
}

/* --- States that differ --- */

/* Change one item of a node that is down, as if it had been executed so: the record is whole, and
 * the state hash is that of the records. */
static void change_state(struct fixture *f, unsigned node, const char *value)
{
    struct store_options options = {.map_size_bytes = 1u << 30};
    struct slice payload;
    struct slice key;
    struct store *store;
    struct cursor *cursor;
    struct txn *txn;
    struct error error;
    char path[MAX_PATH];
    uint8_t changed[512];
    uint8_t *at;

    (void)snprintf(path, sizeof path, "%s/state", f->cluster.nodes[node].data_directory);
    options.directory = path;
    assert_int_equal(store_open(&options, &store, &error), STATUS_OK);
    assert_int_equal(txn_begin_write(store, &txn, &error), STATUS_OK);
    assert_int_equal(cursor_open(txn, &cursor), STATUS_OK);
    assert_int_equal(cursor_seek(cursor, slice_of_string("\x01"), &key, &payload), STATUS_OK);
    while (memmem(payload.data, payload.size, COLD, strlen(COLD)) == NULL) {
        assert_int_equal(cursor_next(cursor, &key, &payload), STATUS_OK);
    }
    assert_true(payload.size <= sizeof changed);
    memcpy(changed, payload.data, payload.size);
    at = memmem(changed, payload.size, COLD, strlen(COLD));
    memcpy(at, value, strlen(value));
    assert_int_equal(txn_put(txn, key, slice_of(changed, payload.size)), STATUS_OK);
    cursor_close(cursor);
    txn_commit(txn);
    store_freeze(store);
    assert_int_equal(store_flush(store, &error), STATUS_OK);
    store_close(store);
}

static void a_state_that_is_whole_and_wrong_stops_its_node(void **state)
{
    struct fixture *f = *state;

    stop_victim(f);
    change_state(f, f->victim, "\"somebody");

    assert_true(cluster_start_node(&f->cluster, f->victim));

    assert_victim_ends_damaged(f, "is not that of the cluster");
    assert_others_go_on(f);
    f->passed = true;
}

/* Each has another state: none can know better, and all say so. */
static void three_states_stop_nobody_and_are_told_by_all(void **state)
{
    static const char *const values[] = {"\"nobody", "\"somebod", "\"anybody"};
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        expect(&f->answer, &f->clients[i], 200, "GET", ITEMS "cold", NULL, NULL);
    }
    for (i = 0; i < CLUSTER_NODES; i++) {
        stop(f, i);
        change_state(f, i, values[i]);
    }

    assert_true(cluster_start(&f->cluster));

    for (i = 0; i < CLUSTER_NODES; i++) {
        struct figure split = {
            .node = &f->cluster.nodes[i], .name = "holdfast_states_split", .least = 1};

        assert_true(wait_until(is_at_least, &split, NOTICE_MS));
        expect(&f->answer, &f->clients[i], 200, "GET", "/readyz", NULL, NULL);
        assert_string_equal(answer_string(&f->answer, "warnings[0]"), "state-differs");
        assert_string_equal(answer_string(&f->answer, "warnings[1]"), "states-split");
        assert_true(
            cluster_log_has(&f->cluster.nodes[i], "no majority of the voters has the same"));
    }
    f->victim = CLUSTER_NOBODY;
    assert_others_go_on(f);
    f->passed = true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flipped_bit_where_nobody_reads_stops_its_node),
        TEST(a_page_that_cannot_be_read_ends_its_node_with_a_reason),
        TEST(a_state_that_is_whole_and_wrong_stops_its_node),
        TEST(three_states_stop_nobody_and_are_told_by_all),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
