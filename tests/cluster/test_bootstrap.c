/* How nodes become one cluster, once, and how a node ends. */
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

#define TEST_LIMIT_S   180
#define REFUSES_MS     10000
#define STAYS_ALONE_MS 1500 /* Ten election time-outs. */
#define TERMINATES_MS  5000 /* As the daemon promises. */
#define NEXT_WRITE_MS  1000
#define ITEM           "/v1/namespaces/default/items/k"

struct fixture {
    struct cluster cluster;
    struct cluster other; /* Opened by the tests that need a second one. */
    struct answer answer;
    bool other_is_open;
    bool passed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    answer_close(&f->answer);
    cluster_close(&f->cluster, f->passed);
    if (f->other_is_open) {
        cluster_close(&f->other, f->passed);
    }
    free(f);
    return 0;
}

/* The UUID of the cluster that a node belongs to; "" while it belongs to none. */
static void get_cluster_id(const struct cluster_node *node, char id[64])
{
    json_t *view = cluster_view(node);
    const char *text = json_string_value(json_object_get(view, "cluster_id"));

    (void)snprintf(id, 64, "%s", text == NULL ? "" : text);
    json_decref(view);
}

static void assert_is_one_cluster(struct fixture *f)
{
    char first[64];
    char id[64];
    unsigned i;

    get_cluster_id(&f->cluster.nodes[0], first);
    assert_int_equal(strlen(first), 36);
    for (i = 1; i < CLUSTER_NODES; i++) {
        get_cluster_id(&f->cluster.nodes[i], id);
        assert_string_equal(id, first);
    }
}

static void put(struct fixture *f, unsigned node, unsigned status, const char *body)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);

    expect(&f->answer, &client, status, "PUT", ITEM, NULL, body);
    http_client_close(&client);
}

static void assert_reads(struct fixture *f, unsigned node, const char *body)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);

    expect(&f->answer, &client, 200, "GET", ITEM, NULL, NULL);
    assert_string_equal((const char *)f->answer.response.body.data, body);
    http_client_close(&client);
}

static bool node_is_ready(struct fixture *f, unsigned node, unsigned limit_ms)
{
    return cluster_wait_node_ready(&f->cluster, node, limit_ms);
}

static bool log_contains(const struct cluster_node *node, const char *text)
{
    FILE *file = fopen(node->log_path, "r");
    char line[4096];
    bool found = false;

    assert_non_null(file);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        found = strstr(line, text) != NULL;
    }
    (void)fclose(file); /* Only read. */
    return found;
}

/* The node ends by itself, not with success, and says why. */
static void assert_refuses(struct cluster *cluster, unsigned node, const char *why)
{
    struct process *process = &cluster->nodes[node].process;

    assert_true(process_wait(process, REFUSES_MS));
    assert_false(process_exited_with(process, 0));
    assert_false(process_exited_with(process, 127)); /* Not even started. */
    if (!log_contains(&cluster->nodes[node], why)) {
        fail_msg("%s does not say \"%s\"", cluster->nodes[node].log_path, why);
    }
}

static void form_in_order(struct fixture *f, const unsigned order[CLUSTER_NODES])
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(cluster_start_node(&f->cluster, order[i]));
        if (i + 1 < CLUSTER_NODES) {
            assert_false(node_is_ready(f, order[i], STAYS_ALONE_MS / 2));
        }
    }
    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    assert_is_one_cluster(f);
    put(f, order[0], 201, "1");
    assert_reads(f, order[2], "1");
    f->passed = true;
}

static void nodes_form_one_cluster_when_the_first_named_starts_first(void **state)
{
    const unsigned order[] = {0, 1, 2};

    form_in_order(*state, order);
}

static void nodes_form_one_cluster_when_the_first_named_starts_last(void **state)
{
    const unsigned order[] = {2, 1, 0};

    form_in_order(*state, order);
}

/* Killed again and again while the cluster forms, at whatever step they are at. */
static void nodes_that_die_while_forming_still_form_one_cluster(void **state)
{
    struct fixture *f = *state;
    uint64_t random = test_seed();
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(cluster_start_node(&f->cluster, i));
    }
    for (i = 0; i < 12; i++) {
        unsigned node = (unsigned)(random_next(&random) >> 32) % CLUSTER_NODES;

        (void)cluster_wait_node_ready(&f->cluster, node,
                                      (unsigned)(random_next(&random) >> 32) % 150);
        cluster_kill(&f->cluster, node);
        assert_true(cluster_start_node(&f->cluster, node));
    }

    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    assert_is_one_cluster(f);
    put(f, 1, 201, "1");
    assert_reads(f, 2, "1");
    f->passed = true;
}

static void a_cluster_that_was_stopped_goes_on_with_its_data(void **state)
{
    struct fixture *f = *state;
    char before[64];
    char after[64];

    assert_true(cluster_start(&f->cluster));
    get_cluster_id(&f->cluster.nodes[0], before);
    put(f, 0, 201, "\"kept\"");
    cluster_kill_all(&f->cluster);

    assert_true(cluster_start(&f->cluster));

    get_cluster_id(&f->cluster.nodes[0], after);
    assert_string_equal(after, before);
    assert_reads(f, 0, "\"kept\"");
    f->passed = true;
}

/* A wiped node must not vote as the one that it was, nor help to form a second cluster. */
static void an_empty_node_beside_a_living_cluster_refuses(void **state)
{
    struct fixture *f = *state;
    char id[64];

    assert_true(cluster_start(&f->cluster));
    put(f, 0, 201, "1");
    cluster_kill(&f->cluster, 2);
    assert_true(remove_tree(f->cluster.nodes[2].data_directory));

    assert_true(cluster_start_node(&f->cluster, 2));

    assert_false(node_is_ready(f, 2, STAYS_ALONE_MS));
    get_cluster_id(&f->cluster.nodes[2], id);
    assert_string_equal(id, "");
    assert_true(log_contains(&f->cluster.nodes[2], "cluster"));
    put(f, 0, 200, "2");
    assert_reads(f, 1, "2");
    f->passed = true;
}

static void two_empty_nodes_beside_one_with_data_form_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    assert_true(cluster_start(&f->cluster));
    put(f, 0, 201, "1");
    cluster_kill_all(&f->cluster);
    assert_true(remove_tree(f->cluster.nodes[0].data_directory));
    assert_true(remove_tree(f->cluster.nodes[1].data_directory));

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(cluster_start_node(&f->cluster, i));
    }

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_false(node_is_ready(f, i, STAYS_ALONE_MS));
    }
    f->passed = true;
}

static void open_other(struct fixture *f)
{
    assert_true(cluster_open(&f->other));
    f->other_is_open = true;
}

/* The directory of another cluster's node of the same name, started among these. */
static void a_directory_of_another_cluster_is_not_taken_in(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *stranger;
    char own[64];

    open_other(f);
    assert_true(cluster_start(&f->cluster));
    assert_true(cluster_start(&f->other));
    get_cluster_id(&f->cluster.nodes[0], own);
    cluster_kill_all(&f->other);
    cluster_kill(&f->cluster, 1);

    /* n2 of the other cluster, at the addresses of this one's. */
    stranger = &f->other.nodes[1];
    stranger->api_port = f->cluster.nodes[1].api_port;
    stranger->peer_port = f->cluster.nodes[1].peer_port;
    stranger->initial_cluster = f->cluster.initial_cluster;
    assert_true(cluster_start_node(&f->other, 1));

    /* It may end or wait for its own cluster, but is never part of this one. */
    assert_false(cluster_wait_node_ready(&f->other, 1, STAYS_ALONE_MS));
    put(f, 0, 201, "1");
    assert_reads(f, 2, "1");
    cluster_kill(&f->other, 1);
    assert_true(cluster_start_node(&f->cluster, 1));
    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    assert_is_one_cluster(f);
    f->passed = true;
}

static void another_name_on_a_nodes_directory_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_true(cluster_start(&f->cluster));
    cluster_kill(&f->cluster, 1);
    strcpy(f->cluster.nodes[1].name, "n9");

    assert_true(cluster_start_node(&f->cluster, 1));

    assert_refuses(&f->cluster, 1, "n2");
    f->passed = true;
}

static void a_data_directory_in_use_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_true(cluster_start(&f->cluster));
    open_other(f);
    strcpy(f->other.nodes[0].data_directory, f->cluster.nodes[0].data_directory);

    assert_true(cluster_start_node(&f->other, 0));

    assert_refuses(&f->other, 0, f->cluster.nodes[0].data_directory);
    put(f, 0, 201, "1");
    f->passed = true;
}

/* Write until it works; gives the milliseconds. */
static uint64_t time_to_next_write(struct fixture *f, unsigned node)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);
    struct http_response response = {0};
    uint64_t start = now_ms();
    bool done;

    do {
        done = http_call(&client, &response, "PUT", ITEM, NULL, "2") == HTTP_ANSWERED &&
               response.status < 300;
    } while (!done && now_ms() < start + CLUSTER_READY_MS);
    http_response_close(&response);
    http_client_close(&client);
    return now_ms() - start;
}

static void a_leader_asked_to_end_hands_over_and_ends_with_success(void **state)
{
    struct fixture *f = *state;
    unsigned leader;
    uint64_t pause;

    assert_true(cluster_start(&f->cluster));
    put(f, 0, 201, "1");
    leader = cluster_find_leader(&f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    assert_int_not_equal(leader, CLUSTER_NOBODY);

    assert_true(process_signal(&f->cluster.nodes[leader].process, SIGTERM));
    assert_true(process_wait(&f->cluster.nodes[leader].process, TERMINATES_MS));
    pause = time_to_next_write(f, (leader + 1) % CLUSTER_NODES);

    assert_true(process_exited_with(&f->cluster.nodes[leader].process, 0));
    print_message("the next write took %llu ms\n", (unsigned long long)pause);
    assert_true(pause <= NEXT_WRITE_MS);
    assert_true(cluster_start(&f->cluster));
    assert_reads(f, leader, "2");
    f->passed = true;
}

/* The last ones have nobody to hand over to, and must end in time all the same. */
static void all_nodes_asked_to_end_do_so_with_success(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    assert_true(cluster_start(&f->cluster));
    put(f, 0, 201, "1");

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(process_signal(&f->cluster.nodes[i].process, SIGTERM));
    }

    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(process_wait(&f->cluster.nodes[i].process, TERMINATES_MS));
        assert_true(process_exited_with(&f->cluster.nodes[i].process, 0));
    }
    assert_true(cluster_start(&f->cluster));
    assert_reads(f, 2, "1");
    f->passed = true;
}

static void a_node_that_still_waits_for_its_cluster_ends_when_asked(void **state)
{
    struct fixture *f = *state;

    assert_true(cluster_start_node(&f->cluster, 0));
    assert_false(node_is_ready(f, 0, STAYS_ALONE_MS / 2));

    assert_true(process_signal(&f->cluster.nodes[0].process, SIGTERM));

    assert_true(process_wait(&f->cluster.nodes[0].process, TERMINATES_MS));
    assert_true(process_exited_with(&f->cluster.nodes[0].process, 0));
    f->passed = true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nodes_form_one_cluster_when_the_first_named_starts_first),
        TEST(nodes_form_one_cluster_when_the_first_named_starts_last),
        TEST(nodes_that_die_while_forming_still_form_one_cluster),
        TEST(a_cluster_that_was_stopped_goes_on_with_its_data),
        TEST(an_empty_node_beside_a_living_cluster_refuses),
        TEST(two_empty_nodes_beside_one_with_data_form_nothing),
        TEST(a_directory_of_another_cluster_is_not_taken_in),
        TEST(another_name_on_a_nodes_directory_is_refused),
        TEST(a_data_directory_in_use_is_refused),
        TEST(a_leader_asked_to_end_hands_over_and_ends_with_success),
        TEST(all_nodes_asked_to_end_do_so_with_success),
        TEST(a_node_that_still_waits_for_its_cluster_ends_when_asked),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
