/* An upgrade of one node after the other, under load, by a second build of the daemon that knows
 * one feature level more: the cluster's level rises when the last node has it, and never before;
 * then the earlier program is refused. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"
#include "tests/lib/under_load.h"

#define TEST_LIMIT_S   180
#define EXIT_OUTDATED  5
#define EARLIER_LEVEL  1
#define LATER_LEVEL    2
#define STOP_MS        10000
#define LEVEL_MS       20000
#define JOINER         CLUSTER_NODES
#define LOOKS_AT_LEVEL 20

/* --- Levels --- */

/* By the node's own word; 0 if it did not answer. */
static uint64_t level_of(const struct cluster_node *node)
{
    uint64_t level = 0;

    return cluster_metric(node, "holdfast_feature_level", &level) ? level : 0;
}

static bool all_are_at_later_level(void *data)
{
    struct under_load *f = data;

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        if (level_of(&f->cluster.nodes[i]) != LATER_LEVEL) {
            return false;
        }
    }
    return true;
}

static void assert_stays_at_earlier_level(struct under_load *f)
{
    for (unsigned look = 0; look < LOOKS_AT_LEVEL; look++) {
        for (unsigned i = 0; i < CLUSTER_NODES; i++) {
            assert_int_equal(level_of(&f->cluster.nodes[i]), EARLIER_LEVEL);
        }
        pause_ms(100);
    }
}

/* --- Programs --- */

static void stop(struct under_load *f, unsigned node)
{
    struct process *process = &f->cluster.nodes[node].process;

    assert_true(process_signal(process, SIGTERM));
    assert_true(process_wait(process, STOP_MS));
    assert_true(process_exited_with(process, 0));
}

/* Install another program on a node, as an operator does. */
static void install(struct under_load *f, unsigned node, const char *daemon)
{
    stop(f, node);
    f->cluster.nodes[node].daemon = daemon;
    assert_true(cluster_start_node(&f->cluster, node));
    assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
    under_load_goes_on(f);
}

static const char *later_program(void)
{
    const char *program = getenv("HOLDFASTD_NEXT");

    if (program == NULL) {
        fail_msg("HOLDFASTD_NEXT names no program");
    }
    return program;
}

static void install_everywhere(struct under_load *f)
{
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        install(f, i, later_program());
    }
    if (!wait_until(all_are_at_later_level, f, LEVEL_MS)) {
        fail_msg("the level did not rise: see %s", f->cluster.directory);
    }
}

static void assert_ends_outdated(struct under_load *f, unsigned node)
{
    struct cluster_node *refused = &f->cluster.nodes[node];

    assert_true(process_wait(&refused->process, CLUSTER_READY_MS));
    if (!process_exited_with(&refused->process, EXIT_OUTDATED)) {
        fail_msg("n%u ended with %d: see %s", node + 1, refused->process.status, refused->log_path);
    }
    assert_true(cluster_log_has(refused, "install the version of Holdfast that the other nodes "
                                         "run, and start it on this directory"));
}

/* --- Tests --- */

static void the_level_rises_with_the_last_node_and_the_earlier_program_is_refused(void **state)
{
    struct under_load *f = *state;

    install(f, 0, later_program());
    install(f, 1, later_program());
    assert_stays_at_earlier_level(f);
    install(f, 1, NULL); /* Up to here one may go back. */
    install(f, 1, later_program());
    install(f, 2, later_program());
    assert_true(wait_until(all_are_at_later_level, f, LEVEL_MS));

    stop(f, 0);
    f->cluster.nodes[0].daemon = NULL;
    assert_true(cluster_start_node(&f->cluster, 0));
    assert_ends_outdated(f, 0);
    under_load_goes_on(f);
    f->cluster.nodes[0].daemon = later_program();
    assert_true(cluster_start_node(&f->cluster, 0)); /* Nothing was lost by that. */
    assert_true(cluster_wait_node_ready(&f->cluster, 0, CLUSTER_READY_MS));
    under_load_verify(f);
    f->passed = true;
}

static void a_node_that_holds_back_holds_the_cluster(void **state)
{
    struct under_load *f = *state;

    f->cluster.nodes[2].extra[0] = "--feature-level";
    f->cluster.nodes[2].extra[1] = "1";
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        install(f, i, later_program());
    }
    assert_stays_at_earlier_level(f);
    f->cluster.nodes[2].extra[0] = NULL;
    install(f, 2, later_program());
    assert_true(wait_until(all_are_at_later_level, f, LEVEL_MS));
    under_load_verify(f);
    f->passed = true;
}

static void an_earlier_program_is_not_taken_in(void **state)
{
    struct under_load *f = *state;
    struct cluster_node *joiner = &f->cluster.nodes[JOINER];

    install_everywhere(f);
    assert_true(cluster_open_more(&f->cluster, 1));
    assert_true(cluster_start_node(&f->cluster, JOINER));
    assert_true(process_wait(&joiner->process, CLUSTER_READY_MS));
    assert_true(cluster_log_has(joiner, "the cluster is at feature level 2, and the program of "
                                        "\"n4\" knows the features up to level 1"));
    joiner->daemon = later_program();
    assert_true(cluster_start_node(&f->cluster, JOINER));
    assert_true(cluster_wait_node_ready(&f->cluster, JOINER, CLUSTER_READY_MS));
    under_load_verify(f);
    f->passed = true;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, under_load_setup, under_load_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_level_rises_with_the_last_node_and_the_earlier_program_is_refused),
        TEST(a_node_that_holds_back_holds_the_cluster),
        TEST(an_earlier_program_is_not_taken_in),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
