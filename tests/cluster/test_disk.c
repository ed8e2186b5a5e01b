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

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/writers.h"

#define TEST_LIMIT_S   180
#define END_MS         10000 /* A node has to end by then. */
#define FAILOVER_MS    10000
#define WARM_UP_WRITES 20
#define EXIT_FAILED    1 /* A restart may cure it: docs/operations.md. */

struct fixture {
    struct cluster cluster;
    struct writers writers;
    unsigned leader;
    bool writing;
    bool passed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *interpose = getenv("HOLDFAST_INTERPOSE");
    struct answer answer = {0};
    struct http_client client;

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    f->cluster.preload = interpose == NULL ? "./tests/lib/interpose.so" : interpose;
    assert_true(cluster_start(&f->cluster));
    client = cluster_client(&f->cluster.nodes[0]);
    expect(&answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    answer_close(&answer);
    http_client_close(&client);
    f->leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    assert_int_not_equal(f->leader, CLUSTER_NOBODY);
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

static void assert_writes_go_on(struct fixture *f)
{
    bool progress;
    int i;

    for (i = 0; i < WARM_UP_WRITES; i++) {
        progress = writers_wait_progress(&f->writers, FAILOVER_MS);
        if (writers_failure(&f->writers) != NULL) {
            fail_msg("%s", writers_failure(&f->writers));
        }
        assert_true(progress);
    }
}

static void assert_everything_is_there_once(struct fixture *f)
{
    char text[512];
    unsigned node;

    f->writing = false;
    writers_stop(&f->writers);
    for (node = 0; node < CLUSTER_NODES; node++) {
        const char *wrong = writers_verify(&f->writers, node);

        if (wrong != NULL) {
            fail_msg("n%u: %s", node + 1, wrong);
        }
    }
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("the states differ: %s", text);
    }
}

static void break_and_mend(struct fixture *f, unsigned number, const char *what, const char *why)
{
    struct cluster_node *node = &f->cluster.nodes[number];

    assert_writes_go_on(f);
    assert_true(cluster_break_disk(node, what));

    assert_true(process_wait(&node->process, END_MS));
    assert_true(process_exited_with(&node->process, EXIT_FAILED));
    if (!cluster_log_has(node, why)) {
        fail_msg("n%u did not say \"%s\"", number + 1, why);
    }
    assert_writes_go_on(f);

    assert_true(cluster_mend_disk(node, what));
    assert_true(cluster_start_node(&f->cluster, number));
    assert_true(cluster_wait_node_ready(&f->cluster, number, CLUSTER_READY_MS));
    assert_writes_go_on(f);
    assert_everything_is_there_once(f);
    f->passed = true;
}

static unsigned a_follower(const struct fixture *f)
{
    return (f->leader + 1) % CLUSTER_NODES;
}

static void a_leader_whose_log_cannot_be_written_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, f->leader, ".log", "could not write to the log");
}

static void a_follower_whose_log_cannot_be_written_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, a_follower(f), ".log", "could not write to the log");
}

static void a_leader_whose_state_cannot_be_written_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, f->leader, ".write", "could not commit");
}

static void a_follower_whose_state_cannot_be_written_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, a_follower(f), ".write", "could not commit");
}

static void a_leader_whose_state_cannot_be_flushed_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, f->leader, ".flush", "could not commit");
}

static void a_follower_whose_state_cannot_be_flushed_ends(void **state)
{
    struct fixture *f = *state;

    break_and_mend(f, a_follower(f), ".flush", "could not commit");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
