/* Nodes that are killed and stopped while clients write on all of them: what was acknowledged is
 * there, once and in order, and no read ever misses it.
 *
 * HOLDFAST_TEST_ROUNDS says how often the leader is killed (20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/writers.h"

#define TEST_LIMIT_S   280
#define DEFAULT_ROUNDS 20
#define MAX_ROUNDS     1000
#define FAILOVER_MS    10000 /* Far beyond what docs/performance.md promises: machines are busy. */
#define STOPPED_MS     5000
#define QUEUED_READS   8
#define WARM_UP_WRITES 40

struct fixture {
    struct cluster cluster;
    struct writers writers;
    bool writing;
    bool passed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct answer answer = {0};
    struct http_client client;

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    assert_true(cluster_start(&f->cluster));
    client = cluster_client(&f->cluster.nodes[0]);
    expect(&answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    answer_close(&answer);
    http_client_close(&client);
    writers_start(&f->writers, &f->cluster, test_seed());
    f->writing = true;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->writing) {
        writers_stop(&f->writers);
    }
    writers_close(&f->writers);
    cluster_close(&f->cluster, f->passed);
    free(f);
    return 0;
}

static void assert_writers_are_well(struct fixture *f)
{
    const char *failure = writers_failure(&f->writers);

    if (failure != NULL) {
        fail_msg("%s", failure);
    }
}

/* Wait until a write was acknowledged that began after now, or nearly; gives the time it took. */
static uint64_t wait_writes_go_on(struct fixture *f)
{
    uint64_t start = now_ms();
    bool progress = writers_wait_progress(&f->writers, FAILOVER_MS);

    assert_writers_are_well(f);
    assert_true(progress);
    return now_ms() - start;
}

/* Let the writers get into their stride. */
static void wait_for_many_writes(struct fixture *f)
{
    int i;

    for (i = 0; i < WARM_UP_WRITES; i++) {
        (void)wait_writes_go_on(f);
    }
}

static void assert_repeats_are_answered_alike(struct fixture *f, unsigned node, bool first)
{
    const char *wrong = writers_repeat(&f->writers, node, first);

    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

/* All operations are over: compare everything on all nodes. */
static void assert_everything_is_there_once(struct fixture *f)
{
    char text[512];
    unsigned node;

    f->writing = false;
    writers_stop(&f->writers);
    assert_writers_are_well(f);
    for (node = 0; node < CLUSTER_NODES; node++) {
        const char *wrong = writers_verify(&f->writers, node);

        if (wrong != NULL) {
            fail_msg("n%u: %s", node + 1, wrong);
        }
    }
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("the states differ: %s", text);
    }
    print_message("%llu writes, each there exactly once\n",
                  (unsigned long long)atomic_load(&f->writers.acknowledged));
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static unsigned rounds_asked_for(void)
{
    const char *text = getenv("HOLDFAST_TEST_ROUNDS");
    unsigned long rounds = text == NULL ? DEFAULT_ROUNDS : strtoul(text, NULL, 10);

    return rounds < 1 || rounds > MAX_ROUNDS ? DEFAULT_ROUNDS : (unsigned)rounds;
}

/* Kill the leader, wait for the next acknowledgement, repeat old writes elsewhere, bring it back.
 */
static uint64_t kill_leader_once(struct fixture *f)
{
    unsigned leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    uint64_t pause;

    assert_int_not_equal(leader, CLUSTER_NOBODY);
    cluster_kill(&f->cluster, leader);
    pause = wait_writes_go_on(f);
    assert_repeats_are_answered_alike(f, (leader + 1) % CLUSTER_NODES, false);
    assert_true(cluster_start_node(&f->cluster, leader));
    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    assert_repeats_are_answered_alike(f, leader, false);
    assert_writers_are_well(f);
    return pause;
}

static void writes_survive_the_death_of_each_leader(void **state)
{
    struct fixture *f = *state;
    unsigned rounds = rounds_asked_for();
    uint64_t pauses[MAX_ROUNDS];
    unsigned i;

    wait_for_many_writes(f);

    for (i = 0; i < rounds; i++) {
        pauses[i] = kill_leader_once(f);
    }

    assert_everything_is_there_once(f);
    qsort(pauses, rounds, sizeof pauses[0], compare_numbers);
    print_message("%u leaders killed; the next write was acknowledged after %llu ms (median), "
                  "%llu ms (worst)\n",
                  rounds, (unsigned long long)pauses[rounds / 2],
                  (unsigned long long)pauses[rounds - 1]);
    f->passed = true;
}

static void writes_survive_the_death_of_all_nodes_at_once(void **state)
{
    struct fixture *f = *state;
    unsigned node;
    int round;

    for (round = 0; round < 3; round++) {
        wait_for_many_writes(f);
        cluster_kill_all(&f->cluster);
        assert_true(cluster_start(&f->cluster));
        (void)wait_writes_go_on(f);
        for (node = 0; node < CLUSTER_NODES; node++) {
            assert_repeats_are_answered_alike(f, node, true);
            assert_repeats_are_answered_alike(f, node, false);
        }
    }

    assert_everything_is_there_once(f);
    f->passed = true;
}

/* Write a value on @node, and again until it is acknowledged. */
static void put_until_acknowledged(struct fixture *f, unsigned node, const char *value)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);
    struct http_response response = {0};
    uint64_t end = now_ms() + FAILOVER_MS;
    enum http_outcome outcome;

    do {
        outcome =
            http_call(&client, &response, "PUT", "/v1/namespaces/default/items/probe", NULL, value);
    } while ((outcome != HTTP_ANSWERED || response.status >= 500) && now_ms() < end);
    assert_int_equal(outcome, HTTP_ANSWERED);
    assert_true(response.status == 200 || response.status == 201);
    http_response_close(&response);
    http_client_close(&client);
}

/* Reads that the stopped leader finds when it wakes up, sent after @value was acknowledged by its
 * successor: whatever it answers but that value is stale. */
static void assert_reads_on_the_woken_leader_are_fresh(struct fixture *f, unsigned leader,
                                                       const char *value)
{
    struct http_client clients[QUEUED_READS];
    struct http_response response = {0};
    char request[160];
    unsigned answered = 0;
    unsigned i;

    (void)snprintf(request, sizeof request,
                   "GET /v1/namespaces/default/items/probe HTTP/1.1\r\nHost: n\r\n\r\n");
    for (i = 0; i < QUEUED_READS; i++) {
        clients[i] = cluster_client(&f->cluster.nodes[leader]);
        assert_true(http_connect(&clients[i]));
        assert_true(http_send(&clients[i], slice_of_string(request)));
    }
    assert_true(process_signal(&f->cluster.nodes[leader].process, SIGCONT));
    for (i = 0; i < QUEUED_READS; i++) {
        if (http_receive(&clients[i], false, &response) == HTTP_ANSWERED &&
            response.status != 503) {
            assert_int_equal(response.status, 200);
            assert_string_equal((const char *)response.body.data, value);
            answered++;
        }
        http_client_close(&clients[i]);
    }
    http_response_close(&response);
    print_message("%u of %u reads that waited were answered, and fresh\n", answered, QUEUED_READS);
}

static void a_leader_that_was_stopped_serves_nothing_stale(void **state)
{
    struct fixture *f = *state;
    unsigned leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    uint64_t start;

    assert_int_not_equal(leader, CLUSTER_NOBODY);
    wait_for_many_writes(f);
    put_until_acknowledged(f, leader, "\"before\"");

    assert_true(process_signal(&f->cluster.nodes[leader].process, SIGSTOP));
    start = now_ms();
    put_until_acknowledged(f, (leader + 1) % CLUSTER_NODES, "\"while it was stopped\"");
    (void)wait_writes_go_on(f);
    assert_repeats_are_answered_alike(f, (leader + 1) % CLUSTER_NODES, true);
    while (now_ms() < start + STOPPED_MS) {
        (void)wait_writes_go_on(f);
    }
    assert_reads_on_the_woken_leader_are_fresh(f, leader, "\"while it was stopped\"");

    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    wait_for_many_writes(f);
    assert_repeats_are_answered_alike(f, leader, false);
    assert_everything_is_there_once(f);
    f->passed = true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_survive_the_death_of_each_leader),
        TEST(writes_survive_the_death_of_all_nodes_at_once),
        TEST(a_leader_that_was_stopped_serves_nothing_stale),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
