/* A node that was away for so long that the others' logs do not reach back to it: it gets the whole
 * state from one of them, whoever of them dies meanwhile, and however often it dies itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/under_load.h"

#define TEST_LIMIT_S  300
#define KILLS         4
#define KILL_AFTER_MS 700 /* At most. */
#define OFFERED_MS    20000

static unsigned a_follower(const struct under_load *f)
{
    return (f->leader + 1) % CLUSTER_NODES;
}

struct awaited {
    const struct cluster_node *node;
    const char *text;
};

static bool log_has(void *data)
{
    const struct awaited *awaited = data;

    return cluster_log_has(awaited->node, awaited->text);
}

static void wait_for_log(struct under_load *f, unsigned node, const char *text)
{
    struct awaited awaited = {&f->cluster.nodes[node], text};

    if (!wait_until(log_has, &awaited, OFFERED_MS)) {
        fail_msg("n%u did not say \"%s\"", node + 1, text);
    }
}

static void leave_behind(struct under_load *f, unsigned node)
{
    under_load_goes_on(f);
    cluster_kill(&f->cluster, node);
    under_load_goes_on(f);
    expect_ballast(&f->cluster.nodes[f->leader], test_seed());
    assert_true(cluster_start_node(&f->cluster, node));
    wait_for_log(f, node, "gets the state from another member");
}

static void assert_caught_up(struct under_load *f, unsigned node)
{
    assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
    if (!cluster_log_has(&f->cluster.nodes[node], "takes the place of the own one")) {
        fail_msg("n%u is ready without the state of another", node + 1);
    }
    under_load_goes_on(f);
    under_load_verify(f);
    f->passed = true;
}

static void a_node_left_behind_gets_the_state(void **state)
{
    struct under_load *f = *state;

    leave_behind(f, a_follower(f));
    assert_caught_up(f, a_follower(f));
}

static void it_gets_it_however_often_it_dies_meanwhile(void **state)
{
    struct under_load *f = *state;
    uint64_t random = test_seed();

    leave_behind(f, a_follower(f));
    for (unsigned i = 0; i < KILLS; i++) {
        pause_ms((unsigned)(random_next(&random) % KILL_AFTER_MS));
        cluster_kill(&f->cluster, a_follower(f));
        assert_true(cluster_start_node(&f->cluster, a_follower(f)));
    }
    assert_caught_up(f, a_follower(f));
}

/* With one more away there is no majority until it is back; nothing is lost by that. */
static void it_gets_it_if_those_who_have_it_die_meanwhile(void **state)
{
    struct under_load *f = *state;
    uint64_t random = test_seed();

    leave_behind(f, a_follower(f));
    for (unsigned node = 0; node < CLUSTER_NODES; node++) {
        if (node != a_follower(f)) {
            pause_ms((unsigned)(random_next(&random) % KILL_AFTER_MS));
            cluster_kill(&f->cluster, node);
            assert_true(cluster_start_node(&f->cluster, node));
            assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
        }
    }
    if (!process_is_alive(&f->cluster.nodes[a_follower(f)].process)) {
        /* It heard no leader for long, and wants its old log back: it may be needed. */
        assert_true(cluster_start_node(&f->cluster, a_follower(f)));
    }
    assert_caught_up(f, a_follower(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, under_load_setup, under_load_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_node_left_behind_gets_the_state),
        TEST(it_gets_it_however_often_it_dies_meanwhile),
        TEST(it_gets_it_if_those_who_have_it_die_meanwhile),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
