/* A disk that fails under a node while clients write on all of them: the node ends and says why,
 * the others go on, and once the disk is mended it catches up; what was acknowledged is there once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/under_load.h"

#define TEST_LIMIT_S 180
#define END_MS       10000 /* A node has to end by then. */
#define EXIT_FAILED  1     /* A restart may cure it: docs/operations.md. */

static int setup(void **state)
{
    const char *interpose = getenv("HOLDFAST_INTERPOSE");

    *state = under_load_open(interpose == NULL ? "./tests/lib/interpose.so" : interpose);
    return 0;
}

static void break_and_mend(struct under_load *f, unsigned number, const char *what, const char *why)
{
    struct cluster_node *node = &f->cluster.nodes[number];

    under_load_goes_on(f);
    assert_true(cluster_break_disk(node, what));

    assert_true(process_wait(&node->process, END_MS));
    assert_true(process_exited_with(&node->process, EXIT_FAILED));
    if (!cluster_log_has(node, why)) {
        fail_msg("n%u did not say \"%s\"", number + 1, why);
    }
    under_load_goes_on(f);

    assert_true(cluster_mend_disk(node, what));
    assert_true(cluster_start_node(&f->cluster, number));
    assert_true(cluster_wait_node_ready(&f->cluster, number, CLUSTER_READY_MS));
    under_load_goes_on(f);
    under_load_verify(f);
    f->passed = true;
}

static unsigned a_follower(const struct under_load *f)
{
    return (f->leader + 1) % CLUSTER_NODES;
}

static void a_leader_whose_log_cannot_be_written_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, f->leader, ".log", "could not write to the log");
}

static void a_follower_whose_log_cannot_be_written_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, a_follower(f), ".log", "could not write to the log");
}

static void a_leader_whose_state_cannot_be_written_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, f->leader, ".write", "could not commit");
}

static void a_follower_whose_state_cannot_be_written_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, a_follower(f), ".write", "could not commit");
}

static void a_leader_whose_state_cannot_be_flushed_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, f->leader, ".flush", "could not commit");
}

static void a_follower_whose_state_cannot_be_flushed_ends(void **state)
{
    struct under_load *f = *state;

    break_and_mend(f, a_follower(f), ".flush", "could not commit");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, under_load_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_leader_whose_log_cannot_be_written_ends),
        TEST(a_follower_whose_log_cannot_be_written_ends),
        TEST(a_leader_whose_state_cannot_be_written_ends),
        TEST(a_follower_whose_state_cannot_be_written_ends),
        TEST(a_leader_whose_state_cannot_be_flushed_ends),
        TEST(a_follower_whose_state_cannot_be_flushed_ends),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
