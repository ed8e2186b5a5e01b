/* Clusters that grow, shrink and replace their nodes while clients write on all of them and nodes
 * are killed: what was acknowledged is there, once and in order, and what must not be is refused
 * with what to do. */
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
#include "tests/lib/member_changes.h"
#include "tests/lib/ports.h"
#include "tests/lib/registers.h"
#include "tests/lib/writers.h"

#define TEST_LIMIT_S    280
#define NODES           7
#define FAILOVER_MS     10000
#define WARM_UP_WRITES  20
#define JOINER_ROUNDS   14
#define JOINER_STEP_MS  35
#define SMALL_CHANGE_MS 1500
#define STILL_MS        1500 /* Long enough for another leader, and to count as not well. */

struct fixture {
    struct cluster cluster;
    struct writers writers;
    struct registers registers;
    char founders[128];
    bool writing;
    bool passed;
};

/* --- The cluster --- */

static unsigned find_leader(struct fixture *f)
{
    unsigned leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);

    assert_int_not_equal(leader, CLUSTER_NOBODY);
    return leader;
}

/* --- The load --- */

static void assert_writers_are_well(struct fixture *f)
{
    const char *failure = writers_failure(&f->writers);

    if (failure != NULL) {
        fail_msg("%s (see %s)", failure, f->cluster.directory);
    }
}

static void wait_for_writes(struct fixture *f)
{
    int i;

    for (i = 0; i < WARM_UP_WRITES; i++) {
        bool progress = writers_wait_progress(&f->writers, FAILOVER_MS);

        assert_writers_are_well(f);
        if (!progress) {
            fail_msg("no writes go on: see %s", f->cluster.directory);
        }
    }
}

static void start_load(struct fixture *f)
{
    struct http_client client = cluster_client(&f->cluster.nodes[0]);
    struct answer answer = {0};

    expect(&answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    answer_close(&answer);
    http_client_close(&client);
    writers_start(&f->writers, &f->cluster, test_seed());
    registers_start(&f->registers, &f->cluster, test_seed());
    f->writing = true;
    wait_for_writes(f);
}

static void stop_load(struct fixture *f)
{
    if (f->writing) {
        f->writing = false;
        writers_stop(&f->writers);
        registers_stop(&f->registers);
    }
}

/* All operations are over: compare everything on all nodes that are there. */
static void assert_nothing_is_lost(struct fixture *f)
{
    struct registers_summary summary;
    const char *wrong;
    char text[1024] = "";
    unsigned node;

    stop_load(f);
    assert_writers_are_well(f);
    for (node = 0; node < f->cluster.n_nodes; node++) {
        if (atomic_load(&f->cluster.nodes[node].is_absent)) {
            continue;
        }
        wrong = writers_verify(&f->writers, node);
        if (wrong != NULL) {
            fail_msg("n%u: %s (see %s)", node + 1, wrong, f->cluster.directory);
        }
    }
    wrong = registers_check(&f->registers, &summary);
    if (wrong != NULL) {
        fail_msg("%s (see %s)", wrong, f->cluster.directory);
    }
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("the states differ: %s", text);
    }
    print_message("%llu writes, each there exactly once; %zu operations are linearizable\n",
                  (unsigned long long)atomic_load(&f->writers.acknowledged), summary.operations);
}

/* --- Fixtures --- */

/* Slots for NODES nodes; @n_founders of them form the cluster. */
static struct fixture *open_fixture(unsigned n_founders, const char *target_voters,
                                    const char *replace_dead_after)
{
    struct fixture *f = calloc(1, sizeof *f);
    size_t used = 0;
    unsigned i;

    assert_non_null(f);
    assert_true(cluster_open(&f->cluster));
    assert_true(cluster_open_more(&f->cluster, NODES - CLUSTER_NODES));
    for (i = 0; i < NODES; i++) {
        struct cluster_node *node = &f->cluster.nodes[i];

        node->extra[0] = "--target-voters";
        node->extra[1] = target_voters;
        node->extra[2] = "--replace-dead-after";
        node->extra[3] = replace_dead_after;
        if (i < n_founders) {
            used +=
                (size_t)snprintf(f->founders + used, sizeof f->founders - used, "%s%s=127.0.0.1:%u",
                                 i == 0 ? "" : ",", node->name, node->peer_port);
            node->initial_cluster = f->founders;
            continue;
        }
        atomic_store(&node->is_absent, true);
        (void)snprintf(node->join, sizeof node->join, "http://127.0.0.1:%u,http://127.0.0.1:%u",
                       f->cluster.nodes[i % n_founders].api_port, f->cluster.nodes[0].api_port);
    }
    assert_true(cluster_start(&f->cluster));
    return f;
}

static int setup_one(void **state)
{
    *state = open_fixture(1, "5", "0");
    return 0;
}

static int setup_one_with_autopilot(void **state)
{
    *state = open_fixture(1, "5", "2");
    return 0;
}

static int setup_three(void **state)
{
    *state = open_fixture(3, "3", "0");
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop_load(f);
    if (f->writers.cluster != NULL) {
        writers_close(&f->writers);
        registers_close(&f->registers);
    }
    cluster_close(&f->cluster, f->passed);
    free(f);
    return 0;
}

/* --- Growing and shrinking --- */

static void kill_and_restart(struct fixture *f, unsigned node)
{
    cluster_kill(&f->cluster, node);
    wait_for_writes(f);
    assert_true(cluster_start_node(&f->cluster, node));
    assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
}

static void one_node_becomes_five_and_three_under_load(void **state)
{
    struct fixture *f = *state;
    unsigned leader;
    unsigned i;

    start_load(f);
    for (i = 1; i < 5; i++) {
        member_join(&f->cluster, i);
        member_wait_role(&f->cluster, i, "voter");
        wait_for_writes(f);
        if (i >= 2) {
            kill_and_restart(f, find_leader(f));
        }
    }
    leader = find_leader(f); /* It is removed first, under load. */
    member_remove(&f->cluster, leader);
    wait_for_writes(f);
    kill_and_restart(f, find_leader(f));
    for (i = 0; atomic_load(&f->cluster.nodes[i].is_absent); i++) {
    }
    member_remove(&f->cluster, i);
    wait_for_writes(f);
    kill_and_restart(f, find_leader(f));
    assert_nothing_is_lost(f);
    f->passed = true;
}

static void every_node_is_replaced_under_load(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    start_load(f);
    for (i = 0; i < 3; i++) {
        member_join(&f->cluster, 3 + i);
        member_wait_role(&f->cluster, 3 + i, "standby");
        member_set_role(&f->cluster, 3 + i, "voter");
        member_wait_role(&f->cluster, 3 + i, "voter");
        member_remove(&f->cluster, i);
        wait_for_writes(f);
    }
    kill_and_restart(f, find_leader(f));
    assert_nothing_is_lost(f);
    f->passed = true;
}

static void the_seat_of_a_dead_voter_is_filled(void **state)
{
    struct fixture *f = *state;
    unsigned dead;
    unsigned i;

    start_load(f);
    for (i = 1; i < 6; i++) {
        member_join(&f->cluster, i);
        member_wait_role(&f->cluster, i, i < 5 ? "voter" : "standby");
    }
    dead = (find_leader(f) + 1) % 5;
    cluster_kill(&f->cluster, dead);
    member_wait_role(&f->cluster, 5, "voter");
    member_wait_role(&f->cluster, dead, "standby");
    assert_true(cluster_start_node(&f->cluster, dead)); /* It comes back, as a standby. */
    assert_true(cluster_wait_node_ready(&f->cluster, dead, CLUSTER_READY_MS));
    member_wait_role(&f->cluster, dead, "standby");
    assert_nothing_is_lost(f);
    f->passed = true;
}

/* --- Changes while a node is cut off --- */

/* Nobody hears of @victim while the change is asked for, and for a while after it. */
static void change_while_still(struct fixture *f, unsigned victim, const char *method,
                               const char *target, const char *body)
{
    struct http_client client = cluster_client(member_that_lives(&f->cluster, victim));
    struct http_response response = {0};

    assert_true(process_signal(&f->cluster.nodes[victim].process, SIGSTOP));
    client.timeout_ms = STILL_MS;
    (void)http_call(&client, &response, method, target, NULL, body); /* It may not be done yet. */
    pause_ms(STILL_MS);
    assert_true(process_signal(&f->cluster.nodes[victim].process, SIGCONT));
    http_response_close(&response);
    http_client_close(&client);
    member_change_again(&f->cluster, CLUSTER_NOBODY, method, target, body, true);
}

static void one_joins_and_goes_while(struct fixture *f, bool the_leader_is_still)
{
    const unsigned joiner = 3;
    unsigned leader = find_leader(f);
    unsigned victim = the_leader_is_still ? leader : (leader + 1) % 3;

    assert_true(cluster_start_node(&f->cluster, joiner));
    assert_true(process_signal(&f->cluster.nodes[victim].process, SIGSTOP));
    pause_ms(STILL_MS);
    assert_true(process_signal(&f->cluster.nodes[victim].process, SIGCONT));
    assert_true(cluster_wait_node_ready(&f->cluster, joiner, CLUSTER_READY_MS));
    atomic_store(&f->cluster.nodes[joiner].is_absent, false);
    member_wait_role(&f->cluster, joiner, "standby");

    victim = the_leader_is_still ? find_leader(f) : (find_leader(f) + 1) % 3;
    change_while_still(f, victim, "PATCH", "/v1/cluster/members/n4", "{\"role\":\"voter\"}");
    member_wait_role(&f->cluster, joiner, "voter");
    wait_for_writes(f);

    victim = the_leader_is_still ? find_leader(f) : (find_leader(f) + 1) % 3;
    if (victim == joiner) { /* The one that goes is not the one that is cut off. */
        member_change(&f->cluster, CLUSTER_NOBODY, "POST", "/v1/cluster/transfer",
                      "{\"to\":\"n1\"}");
        victim = 0;
    }
    atomic_store(&f->cluster.nodes[joiner].is_absent, true);
    change_while_still(f, victim, "DELETE", "/v1/cluster/members/n4", NULL);
    member_wait_role(&f->cluster, joiner, "");
    member_expect_removed(&f->cluster, joiner);
    member_wipe(&f->cluster.nodes[joiner]);
    wait_for_writes(f);
}

static void changes_outlast_a_node_that_is_cut_off(void **state)
{
    struct fixture *f = *state;

    start_load(f);
    one_joins_and_goes_while(f, false);
    one_joins_and_goes_while(f, true);
    assert_nothing_is_lost(f);
    f->passed = true;
}

/* --- Joiners that die --- */

static void a_joiner_that_is_killed_goes_on(void **state)
{
    struct fixture *f = *state;
    const unsigned joiner = 3;
    unsigned i;

    start_load(f);
    for (i = 0; i < JOINER_ROUNDS; i++) {
        assert_true(cluster_start_node(&f->cluster, joiner));
        pause_ms(i * JOINER_STEP_MS); /* What it has come to by then is what is tested. */
        cluster_kill(&f->cluster, joiner);
        if (i % 3 == 1) { /* The leader, too. */
            kill_and_restart(f, find_leader(f));
        }
        member_join(&f->cluster, joiner);
        member_wait_role(&f->cluster, joiner, "standby");
        wait_for_writes(f);
        member_remove(&f->cluster, joiner);
        member_wipe(&f->cluster.nodes[joiner]);
    }
    assert_nothing_is_lost(f);
    f->passed = true;
}

/* It gets the whole state from a member, and dies meanwhile. */
static void a_joiner_that_no_log_reaches_gets_the_state(void **state)
{
    struct fixture *f = *state;
    const unsigned joiner = 3;
    unsigned i;

    start_load(f);
    expect_ballast(&f->cluster.nodes[0], test_seed());
    for (i = 0; i < 3; i++) {
        assert_true(cluster_start_node(&f->cluster, joiner));
        pause_ms(400 + i * JOINER_STEP_MS);
        cluster_kill(&f->cluster, joiner);
    }
    member_join(&f->cluster, joiner);
    member_wait_role(&f->cluster, joiner, "standby");
    assert_true(cluster_wait_node_ready(&f->cluster, joiner, CLUSTER_READY_MS));
    assert_true(cluster_log_has(&f->cluster.nodes[joiner], "takes the place of the own one"));
    wait_for_writes(f);
    assert_nothing_is_lost(f);
    f->passed = true;
}

static void a_joiner_needs_no_settings_once_it_was_accepted(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *joiner = &f->cluster.nodes[3];

    member_join(&f->cluster, 3);
    member_wait_role(&f->cluster, 3, "standby");
    cluster_kill(&f->cluster, 3);
    (void)snprintf(joiner->join, sizeof joiner->join, "http://127.0.0.1:1");
    member_join(&f->cluster, 3);
    member_wait_role(&f->cluster, 3, "standby");
    f->passed = true;
}

/* --- Zombies --- */

static void one_that_was_removed_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *node = &f->cluster.nodes[2];

    member_remove(&f->cluster, 2);
    assert_true(cluster_log_has(node, "was removed from the cluster"));
    assert_true(cluster_start_node(&f->cluster, 2));

    member_expect_removed(&f->cluster, 2);
    assert_true(cluster_log_has(node, "is of a node that is no member any more"));
    f->passed = true;
}

static void one_that_was_removed_while_it_was_off_learns_it(void **state)
{
    struct fixture *f = *state;

    cluster_kill(&f->cluster, 2);
    member_forget(&f->cluster, 2);
    assert_true(cluster_start_node(&f->cluster, 2));

    member_expect_removed(&f->cluster, 2);
    f->passed = true;
}

static void one_that_was_wiped_needs_a_new_id(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *node = &f->cluster.nodes[2];

    cluster_kill(&f->cluster, 2);
    atomic_store(&node->is_absent, true);
    member_wipe(node);
    (void)snprintf(node->join, sizeof node->join, "http://127.0.0.1:%u",
                   f->cluster.nodes[0].api_port);
    assert_true(cluster_start_node(&f->cluster, 2));
    assert_true(process_wait(&node->process, CHANGE_MS));
    assert_true(process_exited_with(&node->process, 1));
    assert_true(cluster_log_has(node, "holdfast member remove n3"));

    member_forget(&f->cluster, 2);
    member_join(&f->cluster, 2);
    member_wait_role(&f->cluster, 2, "voter");
    f->passed = true;
}

/* --- What is refused --- */

/* Ask node @via, and expect member-refused for @reason, with @words in the sentence. */
static void assert_refused(struct fixture *f, unsigned via, const char *method, const char *target,
                           const char *body, const char *reason, const char *words)
{
    struct http_client client = cluster_client(&f->cluster.nodes[via]);
    struct answer answer = {0};

    expect(&answer, &client, 409, method, target, NULL, body);
    expect_problem(&answer, "member-refused");
    assert_string_equal(answer_string(&answer, "reason"), reason);
    if (strstr(answer_string(&answer, "detail"), words) == NULL) {
        fail_msg("%s %s: %s", method, target, answer_string(&answer, "detail"));
    }
    answer_close(&answer);
    http_client_close(&client);
}

static void expect_status(struct fixture *f, unsigned via, unsigned status, const char *method,
                          const char *target, const char *body)
{
    struct http_client client = cluster_client(&f->cluster.nodes[via]);
    struct answer answer = {0};

    expect(&answer, &client, status, method, target, NULL, body);
    answer_close(&answer);
    http_client_close(&client);
}

static void wrong_requests_change_nothing(void **state)
{
    struct fixture *f = *state;
    char body[256];

    expect_status(f, 1, 404, "DELETE", "/v1/cluster/members/n9", NULL);
    expect_status(f, 1, 404, "PATCH", "/v1/cluster/members/n9", "{\"role\":\"voter\"}");
    expect_status(f, 1, 400, "PATCH", "/v1/cluster/members/n1", "{\"role\":\"king\"}");
    expect_status(f, 1, 400, "PATCH", "/v1/cluster/members/n1", "{}");
    expect_status(f, 1, 400, "POST", "/v1/cluster/members", "{\"name\":\"n4\"}");
    expect_status(f, 1, 404, "POST", "/v1/cluster/transfer", "{\"to\":\"n9\"}");
    (void)snprintf(body, sizeof body,
                   "{\"name\":\"n9\",\"peer_address\":\"127.0.0.1:%u\",\"api_address\":"
                   "\"127.0.0.1:%u\"}",
                   port_take(), port_take());
    assert_refused(f, 1, "POST", "/v1/cluster/members", body, "unreachable",
                   "could not reach it by its peer address");
    (void)snprintf(body, sizeof body,
                   "{\"name\":\"n9\",\"peer_address\":\"127.0.0.1:%u\",\"api_address\":"
                   "\"127.0.0.1:%u\"}",
                   f->cluster.nodes[1].peer_port, port_take());
    assert_refused(f, 2, "POST", "/v1/cluster/members", body, "name-taken", "\"n2\" answers");
    member_wait_role(&f->cluster, 0, "voter");
    member_wait_role(&f->cluster, 1, "voter");
    member_wait_role(&f->cluster, 2, "voter");
    f->passed = true;
}

static void what_endangers_the_quorum_is_refused(void **state)
{
    struct fixture *f = *state;
    unsigned leader = find_leader(f);
    unsigned dead = (leader + 1) % 3;
    unsigned other = (leader + 2) % 3;
    char target[64];

    cluster_kill(&f->cluster, dead);
    pause_ms(SMALL_CHANGE_MS); /* For a second, it counts as well. */
    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", f->cluster.nodes[other].name);
    assert_refused(f, leader, "DELETE", target, NULL, "quorum", "only 1 would be well");
    assert_refused(f, other, "PATCH", target, "{\"role\":\"standby\"}", "quorum", "not heard");

    /* The dead one may go; then there are two, and each may go, but not both. */
    atomic_store(&f->cluster.nodes[dead].is_absent, true);
    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", f->cluster.nodes[dead].name);
    member_change(&f->cluster, dead, "DELETE", target, NULL);
    member_wait_role(&f->cluster, dead, "");
    member_remove(&f->cluster, other);
    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", f->cluster.nodes[leader].name);
    assert_refused(f, leader, "DELETE", target, NULL, "last-voter", "last voter");
    assert_refused(f, leader, "PATCH", target, "{\"role\":\"spare\"}", "last-voter", "last voter");
    f->passed = true;
}

/* --- Leadership --- */

struct leader_wait {
    struct fixture *f;
    unsigned not_me;
};

static bool another_leads(void *data)
{
    struct leader_wait *wait = data;
    unsigned leader = cluster_find_leader(&wait->f->cluster, CLUSTER_NOBODY, 1000);

    return leader != CLUSTER_NOBODY && leader != wait->not_me;
}

static void leadership_goes_where_it_is_sent(void **state)
{
    struct fixture *f = *state;
    unsigned leader = find_leader(f);
    unsigned next = (leader + 1) % 3;
    struct leader_wait wait = {.f = f, .not_me = next};
    char target[64];
    char body[32];

    start_load(f);
    (void)snprintf(body, sizeof body, "{\"to\":\"%s\"}", f->cluster.nodes[next].name);
    member_change(&f->cluster, CLUSTER_NOBODY, "POST", "/v1/cluster/transfer", body);
    assert_int_equal(find_leader(f), next);
    wait_for_writes(f);

    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", f->cluster.nodes[next].name);
    member_change(&f->cluster, CLUSTER_NOBODY, "PATCH", target, "{\"drained\":true}");
    assert_true(wait_until(another_leads, &wait, CHANGE_MS));
    assert_refused(f, next, "POST", "/v1/cluster/transfer", body, "drained", "drained");
    wait_for_writes(f);
    member_change(&f->cluster, CLUSTER_NOBODY, "PATCH", target, "{\"drained\":false}");
    member_change(&f->cluster, CLUSTER_NOBODY, "POST", "/v1/cluster/transfer", body);
    assert_int_equal(find_leader(f), next);
    member_change(&f->cluster, CLUSTER_NOBODY, "PATCH", target, "{\"drained\":true}");
    kill_and_restart(f, next); /* That undoes it. */
    member_change(&f->cluster, CLUSTER_NOBODY, "POST", "/v1/cluster/transfer", body);
    assert_int_equal(find_leader(f), next);
    member_change(&f->cluster, CLUSTER_NOBODY, "POST", "/v1/cluster/transfer", NULL);
    assert_true(wait_until(another_leads, &wait, CHANGE_MS));
    assert_nothing_is_lost(f);
    f->passed = true;
}

#define TEST_ONE(name)   cmocka_unit_test_setup_teardown(name, setup_one, teardown)
#define TEST_THREE(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ONE(one_node_becomes_five_and_three_under_load),
        TEST_THREE(every_node_is_replaced_under_load),
        cmocka_unit_test_setup_teardown(the_seat_of_a_dead_voter_is_filled,
                                        setup_one_with_autopilot, teardown),
        TEST_THREE(changes_outlast_a_node_that_is_cut_off),
        TEST_THREE(a_joiner_that_is_killed_goes_on),
        TEST_THREE(a_joiner_that_no_log_reaches_gets_the_state),
        TEST_THREE(a_joiner_needs_no_settings_once_it_was_accepted),
        TEST_THREE(one_that_was_removed_does_not_come_back),
        TEST_THREE(one_that_was_removed_while_it_was_off_learns_it),
        TEST_THREE(one_that_was_wiped_needs_a_new_id),
        TEST_THREE(wrong_requests_change_nothing),
        TEST_THREE(what_endangers_the_quorum_is_refused),
        TEST_THREE(leadership_goes_where_it_is_sent),
    };

    process_limit_test(TEST_LIMIT_S);
    cmocka_set_test_filter(getenv("HOLDFAST_MEMBERS_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
