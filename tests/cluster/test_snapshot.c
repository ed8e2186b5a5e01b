/* The state as a file, of real nodes: taken under load, restored into a new cluster; and survivors
 * of a lost majority that become one. With the command line, as an operator would. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/cluster.h"
#include "tests/lib/command_line.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/writers.h"

#define TEST_LIMIT_S 180
#define PROGRESS_MS  20000
#define MANY_WRITES  2000
#define SNAPSHOT     "/v1/snapshot"
#define REFUSED_MS   10000
#define GROW_MS      40000

struct fixture {
    struct cluster cluster;
    struct writers writers;
    bool has_writers;
    bool is_writing;
    struct answer answers[CLUSTER_NODES];
    struct command_line cli;
    char alone[CLUSTER_NODES][64]; /* Lists of one node. */
    bool passed;
};

struct archived {
    const struct cluster_node *node;
    struct answer answer;
    char id[128];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    f->cli.directory = f->cluster.directory;
    assert_true(cluster_start(&f->cluster));
    return 0;
}

static void stop_writers(struct fixture *f)
{
    if (f->is_writing) {
        writers_stop(&f->writers);
        f->is_writing = false;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop_writers(f);
    if (f->has_writers) {
        writers_close(&f->writers);
    }
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        answer_close(&f->answers[i]);
    }
    command_line_close(&f->cli);
    cluster_close(&f->cluster, f->passed);
    free(f);
    return 0;
}

/* --- Load --- */

static void start_writers(struct fixture *f)
{
    struct http_client client = cluster_client(&f->cluster.nodes[0]);

    expect(&f->answers[0], &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL,
           "{}");
    http_client_close(&client);
    writers_start(&f->writers, &f->cluster, test_seed());
    f->has_writers = true;
    f->is_writing = true;
}

static bool has_written_enough(void *data)
{
    struct writers *writers = data;

    return atomic_load(&writers->acknowledged) >= MANY_WRITES || writers_failure(writers) != NULL;
}

static void write_much(struct fixture *f)
{
    assert_true(wait_until(has_written_enough, &f->writers, 60000));
    assert_null(writers_failure(&f->writers));
}

static void assert_all_there(struct fixture *f, unsigned node)
{
    const char *wrong = writers_verify(&f->writers, node);

    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

/* --- A node alone --- */

/* Let the node start as the only one that it knows of. */
static void leave_alone(struct fixture *f, unsigned node)
{
    struct cluster_node *one = &f->cluster.nodes[node];
    char list[sizeof f->alone[node]];

    (void)snprintf(list, sizeof list, "%s=127.0.0.1:%u", one->name, one->peer_port);
    memcpy(f->alone[node], list, sizeof list);
    one->initial_cluster = f->alone[node];
}

static void start_alone(struct fixture *f, unsigned node)
{
    leave_alone(f, node);
    assert_true(cluster_start_node(&f->cluster, node));
    assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
}

static bool has_three_voters(void *data)
{
    json_t *view = cluster_view(data);
    const json_t *member;
    unsigned n = 0;
    size_t i;

    json_array_foreach(json_object_get(view, "members"), i, member)
    {
        n += strcmp(json_string_value(json_object_get(member, "role")), "voter") == 0;
    }
    json_decref(view);
    return n == 3;
}

/* The others join the node that is alone, with empty directories, and get its state: its log begins
 * behind it. */
static void grow_from(struct fixture *f, unsigned first)
{
    char text[512];

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        struct cluster_node *node = &f->cluster.nodes[i];

        if (i != first) {
            assert_true(remove_tree(node->data_directory));
            (void)snprintf(node->join, sizeof node->join, "http://127.0.0.1:%u",
                           f->cluster.nodes[first].api_port);
            assert_true(cluster_start_node(&f->cluster, i));
        }
    }
    assert_true(cluster_wait_ready(&f->cluster, GROW_MS));
    assert_true(wait_until(has_three_voters, &f->cluster.nodes[first], GROW_MS));
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("%s", text);
    }
}

/* It leads a cluster of one, whose id is @cluster_id. */
static void assert_cluster_of_one(struct fixture *f, unsigned node, const char *cluster_id)
{
    json_t *view = cluster_view(&f->cluster.nodes[node]);

    assert_non_null(view);
    assert_string_equal(json_string_value(json_object_get(view, "cluster_id")), cluster_id);
    assert_string_equal(json_string_value(json_object_get(view, "leader")),
                        f->cluster.nodes[node].name);
    assert_int_equal(json_array_size(json_object_get(view, "members")), 1);
    json_decref(view);
}

static char *cluster_id_of(struct fixture *f, unsigned node)
{
    json_t *view = cluster_view(&f->cluster.nodes[node]);
    char *id;

    assert_non_null(view);
    id = strdup(json_string_value(json_object_get(view, "cluster_id")));
    json_decref(view);
    return id;
}

/* --- Snapshots --- */

static void nodes_in_the_same_state_give_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct http_client client;
    char text[512];
    char tag[128] = "";

    start_writers(f);
    write_much(f);
    stop_writers(f);
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("%s", text);
    }
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        struct answer *answer = &f->answers[i];

        client = cluster_client(&f->cluster.nodes[i]);
        expect(answer, &client, 200, "GET", SNAPSHOT, NULL, NULL);
        if (i == 0) {
            (void)snprintf(tag, sizeof tag, "%s", answer_header(answer, "ETag"));
        }
        assert_string_equal(answer_header(answer, "ETag"), tag);
        assert_int_equal(answer->response.body.size, f->answers[0].response.body.size);
        assert_memory_equal(answer->response.body.data, f->answers[0].response.body.data,
                            answer->response.body.size);
        http_client_close(&client);
    }
    f->passed = true;
}

/* Half of it of one node, and the rest of another. */
static void parts_may_come_from_different_nodes(void **state)
{
    struct fixture *f = *state;
    struct buffer whole = BUFFER_EMPTY;
    char headers[256];
    char tag[128];
    char text[512];
    size_t half;

    start_writers(f);
    write_much(f);
    stop_writers(f);
    assert_true(cluster_states_are_equal(&f->cluster, text, sizeof text));
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        struct http_client client = cluster_client(&f->cluster.nodes[i]);
        struct answer *answer = &f->answers[i];

        if (i == 0) {
            expect(answer, &client, 200, "GET", SNAPSHOT, NULL, NULL);
            half = answer->response.body.size / 2;
            (void)snprintf(tag, sizeof tag, "%s", answer_header(answer, "ETag"));
        } else {
            (void)snprintf(headers, sizeof headers, "Range: bytes=%zu-%zu\r\nIf-Range: %s\r\n",
                           i == 1 ? 0 : half, i == 1 ? half - 1 : 2 * half + 1, tag);
            expect(answer, &client, 206, "GET", SNAPSHOT, headers, NULL);
            buffer_append_slice(&whole, buffer_slice(&answer->response.body));
        }
        http_client_close(&client);
    }
    assert_true(slice_equals(buffer_slice(&whole), buffer_slice(&f->answers[0].response.body)));
    buffer_close(&whole);
    f->passed = true;
}

/* The id of the first full that this node archived by itself. */
static bool has_archived(void *data)
{
    struct archived *archived = data;
    struct http_client client = cluster_client(archived->node);
    const char *id;

    expect(&archived->answer, &client, 200, "GET", "/v1/archives", NULL, NULL);
    http_client_close(&client);
    id = json_string_value(
        json_object_get(json_array_get(json_object_get(archived->answer.body, "items"), 0), "id"));
    (void)snprintf(archived->id, sizeof archived->id, "%s", id == NULL ? "" : id);
    return archived->id[0] != '\0';
}

/* An archive is on the disk of one node: the others get it from there, and keep it for a while. */
static void the_content_of_an_archive_comes_from_any_node(void **state)
{
    struct fixture *f = *state;
    struct archived archived = {.node = &f->cluster.nodes[0]};
    struct http_client other = cluster_client(&f->cluster.nodes[1]);
    struct http_client owner = cluster_client(&f->cluster.nodes[0]);
    char path[256];
    long long revision;

    assert_true(wait_until(has_archived, &archived, PROGRESS_MS));
    (void)snprintf(path, sizeof path, "/v1/archives/%s/content", archived.id);
    expect(&f->answers[0], &owner, 200, "GET", path, NULL, NULL);
    expect(&f->answers[1], &other, 200, "GET", path, NULL, NULL);
    assert_true(f->answers[0].response.body.size > 100);
    assert_true(slice_equals(buffer_slice(&f->answers[0].response.body),
                             buffer_slice(&f->answers[1].response.body)));

    revision = atoll(answer_header(&f->answers[1], "Holdfast-Revision"));
    assert_true(command_line_run(&f->cli, "archive show file://%s/archive %s -o json",
                                 f->cluster.nodes[0].data_directory, archived.id));
    assert_int_equal(command_line_integer(&f->cli, "revision"), revision);

    assert_true(command_line_run(
        &f->cli, "-e 127.0.0.1:%u status | grep -q '^archive   local: it does not outlive'",
        f->cluster.nodes[0].api_port));
    path[strlen(path) - strlen("/content") - 1] ^= 1;
    expect(&f->answers[1], &other, 404, "GET", path, NULL, NULL);
    path[strlen(path) - strlen("/content") - 1] ^= 1;
    cluster_kill(&f->cluster, 0);
    expect(&f->answers[1], &other, 200, "GET", path, NULL, NULL);
    http_client_close(&other);
    other = cluster_client(&f->cluster.nodes[2]); /* It had not asked for it. */
    expect(&f->answers[1], &other, 503, "GET", path, NULL, NULL);
    http_client_close(&other);
    http_client_close(&owner);
    answer_close(&archived.answer);
    f->passed = true;
}

static void a_client_that_does_not_read_stops_nobody(void **state)
{
    struct fixture *f = *state;
    struct http_client idle[8] = {0};
    struct http_client client = cluster_client(&f->cluster.nodes[0]);
    const char request[] = "GET /v1/snapshot HTTP/1.1\r\nHost: a\r\n\r\n";

    start_writers(f);
    write_much(f);
    for (unsigned i = 0; i < 8; i++) {
        idle[i] = cluster_client(&f->cluster.nodes[0]);
        assert_true(http_connect(&idle[i]));
        assert_true(http_send(&idle[i], slice_of_string(request)));
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
        expect(&f->answers[0], &client, 200, "GET", SNAPSHOT "?consistency=stale", NULL, NULL);
    }
    for (unsigned i = 0; i < 8; i++) {
        http_client_close(&idle[i]);
    }
    http_client_close(&client);
    stop_writers(f);
    assert_null(writers_failure(&f->writers));
    f->passed = true;
}

/* --- Restoring --- */

static void a_snapshot_under_load_becomes_a_cluster(void **state)
{
    struct fixture *f = *state;
    struct cluster_node *node = &f->cluster.nodes[2];
    char image[256];
    long long counts[3];
    uint64_t acknowledged;
    char *cluster_id;

    start_writers(f);
    write_much(f);
    (void)snprintf(image, sizeof image, "%s/backup.image", f->cluster.directory);
    acknowledged = atomic_load(&f->writers.revision);
    assert_true(command_line_run(&f->cli, "-e 127.0.0.1:%u,127.0.0.1:%u snapshot save %s -o json",
                                 f->cluster.nodes[1].api_port, f->cluster.nodes[0].api_port,
                                 image));
    assert_true(command_line_integer(&f->cli, "revision") >= (long long)acknowledged);
    assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
    stop_writers(f);
    assert_null(writers_failure(&f->writers));
    assert_true(command_line_run(&f->cli, "snapshot inspect %s -o json", image));
    assert_int_equal(command_line_integer(&f->cli, "feature_level"), 1);
    counts[0] = command_line_integer(&f->cli, "sessions");
    counts[1] = command_line_integer(&f->cli, "events");
    counts[2] = command_line_integer(&f->cli, "items");

    cluster_kill_all(&f->cluster);
    assert_true(remove_tree(node->data_directory));
    assert_true(command_line_run(&f->cli,
                                 "restore %s --data-dir %s --name %s --peer-address 127.0.0.1:%u "
                                 "--api-address 127.0.0.1:%u -o json",
                                 image, node->data_directory, node->name, node->peer_port,
                                 node->api_port));
    cluster_id = strdup(command_line_text(&f->cli, "cluster_id"));
    assert_false(
        command_line_run(&f->cli, "restore %s --data-dir %s", image, node->data_directory));
    start_alone(f, 2);
    assert_cluster_of_one(f, 2, cluster_id);

    assert_true(command_line_run(&f->cli, "-e 127.0.0.1:%u snapshot save %s.again -o json",
                                 node->api_port, image));
    assert_int_equal(command_line_integer(&f->cli, "sessions"), counts[0]);
    assert_int_equal(command_line_integer(&f->cli, "events"), counts[1]);
    assert_int_equal(command_line_integer(&f->cli, "items"), counts[2]);
    assert_true(command_line_integer(&f->cli, "revision") > 1ll << 32);
    grow_from(f, 2);
    free(cluster_id);
    f->passed = true;
}

/* --- Recovering --- */

static void list_directories(const struct fixture *f, char *text, size_t size)
{
    (void)snprintf(text, size, "%s %s %s", f->cluster.nodes[0].data_directory,
                   f->cluster.nodes[1].data_directory, f->cluster.nodes[2].data_directory);
}

static unsigned newest_of(struct fixture *f)
{
    char directories[768];
    const char *newest;

    list_directories(f, directories, sizeof directories);
    assert_true(command_line_run(&f->cli, "recover --inspect %s -o json", directories));
    newest = command_line_text(&f->cli, "newest");
    assert_non_null(newest);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        if (strcmp(newest, f->cluster.nodes[i].data_directory) == 0) {
            return i;
        }
    }
    fail_msg("%s is none of them", newest);
    return 0;
}

/* Gives the new cluster's id, for free(). */
static char *recover(struct fixture *f, unsigned node)
{
    const char *directory = f->cluster.nodes[node].data_directory;

    assert_false(command_line_run(&f->cli, "recover --data-dir %s",
                                  directory)); /* It only says what it would. */
    assert_true(command_line_run(&f->cli, "recover --data-dir %s --yes -o json", directory));
    return strdup(command_line_text(&f->cli, "cluster_id"));
}

/* All end at once under load; the newest of the three has every acknowledged write, as each was on
 * the disks of two. Its state is behind its log. */
static void the_newest_survivor_has_every_acknowledged_write(void **state)
{
    struct fixture *f = *state;
    unsigned newest;
    char *cluster_id;

    start_writers(f);
    write_much(f);
    cluster_kill_all(&f->cluster);
    newest = newest_of(f);
    cluster_id = recover(f, newest);
    start_alone(f, newest);
    assert_cluster_of_one(f, newest, cluster_id);
    stop_writers(f); /* Each ends what it was at, on the node that is left. */
    assert_null(writers_failure(&f->writers));
    assert_all_there(f, newest);
    grow_from(f, newest);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        assert_all_there(f, i);
    }
    free(cluster_id);
    f->passed = true;
}

static bool log_tells_of_another_cluster(void *data)
{
    return cluster_log_has(data, "this one of");
}

/* A majority is lost for good; what is left goes on, and when the others come back all the same,
 * they neither join it nor disturb it. */
static void old_nodes_are_kept_out(void **state)
{
    struct fixture *f = *state;
    struct http_client client = cluster_client(&f->cluster.nodes[1]);
    char text[512];
    char *old_id = cluster_id_of(f, 1);
    char *cluster_id;

    start_writers(f);
    write_much(f);
    stop_writers(f);
    assert_true(cluster_states_are_equal(&f->cluster, text, sizeof text));
    cluster_kill_all(&f->cluster);
    cluster_id = recover(f, 1);
    assert_string_not_equal(cluster_id, old_id);
    start_alone(f, 1);
    assert_all_there(f, 1);

    assert_true(cluster_start_node(&f->cluster, 0));
    assert_true(cluster_start_node(&f->cluster, 2));
    assert_true(wait_until(log_tells_of_another_cluster, &f->cluster.nodes[0], REFUSED_MS));
    assert_true(cluster_wait_node_ready(&f->cluster, 0, CLUSTER_READY_MS)); /* Two of three. */
    for (unsigned i = 0; i < 50; i++) {
        expect(&f->answers[0], &client, i == 0 ? 201 : 200, "PUT",
               "/v1/namespaces/default/items/only-here", NULL, "1");
    }
    assert_cluster_of_one(f, 1, cluster_id);
    http_client_close(&client);
    client = cluster_client(&f->cluster.nodes[0]);
    expect(&f->answers[0], &client, 404, "GET", "/v1/namespaces/default/items/only-here", NULL,
           NULL);
    http_client_close(&client);
    free(old_id);
    free(cluster_id);
    f->passed = true;
}

static void a_running_node_is_not_recovered(void **state)
{
    struct fixture *f = *state;

    assert_false(command_line_run(&f->cli, "recover --data-dir %s --yes",
                                  f->cluster.nodes[0].data_directory));
    assert_true(cluster_wait_ready(&f->cluster, CLUSTER_READY_MS));
    f->passed = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nodes_in_the_same_state_give_the_same_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(parts_may_come_from_different_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_content_of_an_archive_comes_from_any_node, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_stops_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_under_load_becomes_a_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(the_newest_survivor_has_every_acknowledged_write, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(old_nodes_are_kept_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_running_node_is_not_recovered, setup, teardown),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
