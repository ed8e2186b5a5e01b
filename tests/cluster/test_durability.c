/* An acknowledgement means that a majority has the write on its disk: with the log writes of two
 * nodes held back by the library of tests/lib/interpose.c, there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define TEST_LIMIT_S 90
#define HELD_MS      3000 /* Many times what a write takes. */
#define RELEASED_MS  15000
#define ITEM         "/v1/namespaces/default/items/held"
#define SESSION      "/v1/namespaces/default/sessions/held"
#define APPEND       "{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{}}"
#define KEY          "Idempotency-Key: held\r\n"

struct fixture {
    struct cluster cluster;
    struct http_client clients[CLUSTER_NODES];
    struct answer answer;
    unsigned leader;
    bool passed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *interpose = getenv("HOLDFAST_INTERPOSE");
    unsigned i;

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    f->cluster.preload = interpose == NULL ? "./tests/lib/interpose.so" : interpose;
    assert_true(cluster_start(&f->cluster));
    for (i = 0; i < CLUSTER_NODES; i++) {
        f->clients[i] = cluster_client(&f->cluster.nodes[i]);
    }
    f->leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    assert_int_not_equal(f->leader, CLUSTER_NOBODY);
    expect(&f->answer, &f->clients[f->leader], 201, "PUT", ITEM, NULL, "0");
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

/* Send a write, and give the node HELD_MS to acknowledge it. */
static bool is_acknowledged(struct fixture *f, unsigned node, const char *body)
{
    struct http_response response = {0};
    enum http_outcome outcome;
    bool acknowledged;

    f->clients[node].timeout_ms = HELD_MS;
    outcome = http_call(&f->clients[node], &response, "PUT", ITEM, NULL, body);
    acknowledged = outcome == HTTP_ANSWERED && response.status < 300;
    http_response_close(&response);
    f->clients[node].timeout_ms = 0;
    return acknowledged;
}

struct attempt {
    struct fixture *f;
    unsigned node;
    const char *body;
};

static bool attempt_succeeds(void *data)
{
    struct attempt *attempt = data;

    return is_acknowledged(attempt->f, attempt->node, attempt->body);
}

static bool is_acknowledged_in_time(struct fixture *f, unsigned node, const char *body)
{
    struct attempt attempt = {.f = f, .node = node, .body = body};

    return wait_until(attempt_succeeds, &attempt, RELEASED_MS);
}

static void one_held_disk_stops_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned follower = (f->leader + 1) % CLUSTER_NODES;

    assert_true(cluster_hold_writes(&f->cluster.nodes[follower]));

    assert_true(is_acknowledged_in_time(f, f->leader, "1"));
    assert_true(cluster_held_writes(&f->cluster.nodes[follower]) > 0);

    assert_true(cluster_release_writes(&f->cluster.nodes[follower]));
    expect(&f->answer, &f->clients[follower], 200, "GET", ITEM, NULL, NULL);
    assert_string_equal((const char *)f->answer.response.body.data, "1");
    f->passed = true;
}

static void hold_two_and_release(struct fixture *f, unsigned first, unsigned second)
{
    char text[512];
    unsigned node;

    assert_true(cluster_hold_writes(&f->cluster.nodes[first]));
    assert_true(cluster_hold_writes(&f->cluster.nodes[second]));

    for (node = 0; node < CLUSTER_NODES; node++) {
        assert_false(is_acknowledged(f, node, "1"));
    }
    assert_true(cluster_held_writes(&f->cluster.nodes[first]) > 0);
    assert_true(cluster_held_writes(&f->cluster.nodes[second]) > 0);

    assert_true(cluster_release_writes(&f->cluster.nodes[first]));
    assert_true(cluster_release_writes(&f->cluster.nodes[second]));
    assert_true(is_acknowledged_in_time(f, f->leader, "2"));
    for (node = 0; node < CLUSTER_NODES; node++) {
        assert_true(is_acknowledged_in_time(f, node, "3"));
        expect(&f->answer, &f->clients[node], 200, "GET", ITEM, NULL, NULL);
        assert_string_equal((const char *)f->answer.response.body.data, "3");
    }
    assert_true(cluster_states_are_equal(&f->cluster, text, sizeof text));
    f->passed = true;
}

static void nothing_is_acknowledged_while_both_followers_disks_are_held(void **state)
{
    struct fixture *f = *state;

    hold_two_and_release(f, (f->leader + 1) % CLUSTER_NODES, (f->leader + 2) % CLUSTER_NODES);
}

static void nothing_is_acknowledged_while_the_leaders_and_another_disk_are_held(void **state)
{
    struct fixture *f = *state;

    hold_two_and_release(f, f->leader, (f->leader + 1) % CLUSTER_NODES);
}

/* As if the power had gone: what was held is lost on two nodes. */
static void a_held_write_whose_nodes_die_acts_once_when_it_is_sent_again(void **state)
{
    struct fixture *f = *state;
    unsigned first = (f->leader + 1) % CLUSTER_NODES;
    unsigned second = (f->leader + 2) % CLUSTER_NODES;
    struct http_response response = {0};
    unsigned node;

    assert_true(cluster_hold_writes(&f->cluster.nodes[first]));
    assert_true(cluster_hold_writes(&f->cluster.nodes[second]));
    f->clients[f->leader].timeout_ms = HELD_MS;
    assert_false(http_call(&f->clients[f->leader], &response, "POST", SESSION "/events", KEY,
                           APPEND) == HTTP_ANSWERED &&
                 response.status < 300);
    http_response_close(&response);
    assert_true(cluster_held_writes(&f->cluster.nodes[first]) > 0);
    assert_true(cluster_held_writes(&f->cluster.nodes[second]) > 0);

    cluster_kill_all(&f->cluster);
    assert_true(cluster_release_writes(&f->cluster.nodes[first]));
    assert_true(cluster_release_writes(&f->cluster.nodes[second]));
    assert_true(cluster_start(&f->cluster));

    for (node = 0; node < CLUSTER_NODES; node++) {
        http_client_close(&f->clients[node]);
        expect(&f->answer, &f->clients[node], 201, "POST", SESSION "/events", KEY, APPEND);
        assert_int_equal(answer_integer(&f->answer, "last_seq"), 1);
    }
    expect(&f->answer, &f->clients[0], 200, "GET", SESSION, NULL, NULL);
    assert_int_equal(answer_integer(&f->answer, "event_count"), 1);
    f->passed = true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_held_disk_stops_nothing),
        TEST(nothing_is_acknowledged_while_both_followers_disks_are_held),
        TEST(nothing_is_acknowledged_while_the_leaders_and_another_disk_are_held),
        TEST(a_held_write_whose_nodes_die_acts_once_when_it_is_sent_again),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
