#include "tests/lib/archived_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"

#define GROW_MS     40000
#define ASK_MS      2000
#define FIND_MS     20000
#define PROGRESS_MS 20000

int archived_cluster_setup(void **state)
{
    static const char *const flags[] = {
        "--archive", NULL, "--archive-interval", "1", "--archive-full-interval", "60"};
    struct archived_cluster *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    if (archive_place_missing() != NULL) {
        return 0;
    }
    f->random = test_seed();
    assert_true(cluster_open(&f->cluster));
    f->is_open = true;
    f->cli.directory = f->cluster.directory;
    archive_place_open(&f->place, f->cluster.directory);
    (void)snprintf(f->list, sizeof f->list, "local %s", f->place.url);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        for (unsigned k = 0; k < sizeof flags / sizeof flags[0]; k++) {
            f->cluster.nodes[i].extra[k] = flags[k] == NULL ? f->list : flags[k];
        }
    }
    assert_true(cluster_start(&f->cluster));
    return 0;
}

int archived_cluster_teardown(void **state)
{
    struct archived_cluster *f = *state;

    if (f->is_writing) {
        writers_stop(&f->writers);
    }
    if (f->has_writers) {
        writers_close(&f->writers);
    }
    answer_close(&f->answer);
    command_line_close(&f->cli);
    if (f->is_open) {
        cluster_close(&f->cluster, f->passed);
    }
    archive_place_close(&f->place, f->passed);
    free(f);
    return 0;
}

void archived_cluster_need(struct archived_cluster *f)
{
    if (!f->is_open) {
        print_message("*** NOT RUN: %s ***\n", archive_place_missing());
        skip();
    }
}

void archived_cluster_write(struct archived_cluster *f)
{
    struct http_client client = cluster_client(&f->cluster.nodes[0]);

    expect(&f->answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    http_client_close(&client);
    writers_start(&f->writers, &f->cluster, test_seed());
    f->has_writers = true;
    f->is_writing = true;
}

static void check_writers(struct archived_cluster *f)
{
    if (writers_failure(&f->writers) != NULL) {
        fail_msg("%s", writers_failure(&f->writers));
    }
}

void archived_cluster_await_progress(struct archived_cluster *f)
{
    bool goes_on = writers_wait_progress(&f->writers, PROGRESS_MS);

    check_writers(f);
    assert_true(goes_on);
}

void archived_cluster_stop_writing(struct archived_cluster *f)
{
    writers_stop(&f->writers);
    f->is_writing = false;
    check_writers(f);
}

/* --- What nodes say --- */

json_t *archived_cluster_ask(const struct cluster_node *node)
{
    struct http_client client = cluster_client(node);
    struct http_response response = {0};
    json_t *answer = NULL;
    json_t *shared = NULL;

    client.timeout_ms = ASK_MS;
    if (http_call(&client, &response, "GET", "/v1/archives", NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        answer = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
        shared = json_incref(json_array_get(json_object_get(answer, "repositories"), 1));
    }
    json_decref(answer);
    http_response_close(&response);
    http_client_close(&client);
    return shared;
}

bool archived_cluster_is_archiver(const json_t *view)
{
    const char *activity = json_string_value(json_object_get(view, "activity"));

    return activity != NULL && strcmp(activity, "standby") != 0 &&
           strcmp(activity, "waiting") != 0 &&
           json_integer_value(json_object_get(view, "index")) > 0;
}

struct archiver_search {
    struct archived_cluster *f;
    unsigned found;
};

static bool archiver_is_found(void *data)
{
    struct archiver_search *search = data;

    for (unsigned i = 0; i < CLUSTER_NODES && search->found == CLUSTER_NOBODY; i++) {
        json_t *view = archived_cluster_ask(&search->f->cluster.nodes[i]);

        search->found = archived_cluster_is_archiver(view) ? i : CLUSTER_NOBODY;
        json_decref(view);
    }
    return search->found != CLUSTER_NOBODY;
}

unsigned archived_cluster_find_archiver(struct archived_cluster *f)
{
    struct archiver_search search = {.f = f, .found = CLUSTER_NOBODY};

    (void)wait_until(archiver_is_found, &search, FIND_MS); /* The result tells. */
    return search.found;
}

void archived_cluster_ask_for_full(struct archived_cluster *f, unsigned node)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);

    expect(&f->answer, &client, 202, "POST", "/v1/archives", NULL, NULL);
    http_client_close(&client);
}

struct awaited {
    struct archived_cluster *f;
    uint64_t revision;
};

static bool is_archived(void *data)
{
    const struct awaited *awaited = data;
    bool is_there = false;

    for (unsigned i = 0; i < CLUSTER_NODES && !is_there; i++) {
        json_t *view = archived_cluster_ask(&awaited->f->cluster.nodes[i]);

        is_there =
            archived_cluster_is_archiver(view) &&
            (uint64_t)json_integer_value(json_object_get(view, "revision")) >= awaited->revision;
        json_decref(view);
    }
    return is_there;
}

void archived_cluster_await(struct archived_cluster *f, uint64_t revision)
{
    struct awaited awaited = {.f = f, .revision = revision};

    assert_true(wait_until(is_archived, &awaited, ARCHIVED_MS));
}

uint64_t archived_cluster_verify(struct archived_cluster *f, const char *url, const char *more)
{
    if (!command_line_run(&f->cli, "archive verify '%s' %s --work-dir %s -o json", url, more,
                          f->cluster.directory)) {
        fail_msg("archive verify '%s' %s: see holdfast.log in %s", url, more, f->cluster.directory);
    }
    return (uint64_t)command_line_integer(&f->cli, "revision");
}

/* --- The loss of all --- */

bool archived_cluster_restore(struct archived_cluster *f, unsigned i)
{
    const struct cluster_node *node = &f->cluster.nodes[i];

    return command_line_run(
        &f->cli,
        "restore '%s' --data-dir %s --name %s --peer-address 127.0.0.1:%u --api-address "
        "127.0.0.1:%u -o json",
        f->place.url, node->data_directory, node->name, node->peer_port, node->api_port);
}

void archived_cluster_check_writes(struct archived_cluster *f)
{
    char text[512];

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        const char *wrong = writers_verify(&f->writers, i);

        if (wrong != NULL) {
            fail_msg("n%u: %s", i + 1, wrong);
        }
    }
    if (!cluster_states_are_equal(&f->cluster, text, sizeof text)) {
        fail_msg("the states are not equal: %s", text);
    }
}

static void start_alone(struct archived_cluster *f, unsigned i)
{
    struct cluster_node *node = &f->cluster.nodes[i];

    (void)snprintf(f->alone, sizeof f->alone, "%s=127.0.0.1:%u", node->name, node->peer_port);
    node->initial_cluster = f->alone;
    assert_true(cluster_start_node(&f->cluster, i));
    assert_true(cluster_wait_node_ready(&f->cluster, i, CLUSTER_READY_MS));
}

void archived_cluster_lose_all(struct archived_cluster *f, char old_cluster_id[40])
{
    cluster_kill_all(&f->cluster);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        assert_true(remove_tree(f->cluster.nodes[i].data_directory));
    }
    if (!archived_cluster_restore(f, 2)) {
        fail_msg("see holdfast.log in %s", f->cluster.directory);
    }
    (void)snprintf(old_cluster_id, 40, "%s", command_line_text(&f->cli, "old_cluster_id"));
    start_alone(f, 2);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(f->cluster.nodes[i].join, sizeof f->cluster.nodes[i].join,
                       "http://127.0.0.1:%u", f->cluster.nodes[2].api_port);
        assert_true(cluster_start_node(&f->cluster, i));
    }
    assert_true(cluster_wait_ready(&f->cluster, GROW_MS));
}
