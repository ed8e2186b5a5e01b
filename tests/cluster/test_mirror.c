/* The mirror of real nodes in a real PostgreSQL, under load: whoever is killed, each row of each
 * table is what the API answers. Faults between one node and PostgreSQL: test_mirror_tables.c. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/cluster.h"
#include "tests/lib/command_line.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/mirror_rows.h"
#include "tests/lib/postgres_server.h"

#define TEST_LIMIT_S 600
#define MATCH_MS     60000
#define KILLS        4
#define MAX_WHY      2048
#define READER       "reporter"

struct fixture {
    struct cluster cluster;
    struct command_line cli;
    char url[200];
    pthread_t worker;
    bool is_working;
    atomic_bool stopping;
    atomic_uint n_done; /* Requests that were answered 2xx. */
    size_t n_events;    /* That were compared last. */
    uint64_t random;
    bool passed;
};

static struct postgres_server server;

/* --- Work --- */

#define PICK(random, list) ((list)[random_next(random) % (sizeof(list) / sizeof(list)[0])])

struct call {
    const char *method;
    const char *path; /* Behind the namespace, with %u for a number. */
    const char *body; /* NULL: none. */
};

static const struct call calls[] = {
    {"PUT", "items/k%u", "{\"a\":[1,2.5,\"x\"],\"nul\":\"a\\u0000b\"}"},
    {"PUT", "items/k%u", "\"text\""},
    {"PUT", "items/a%%20b%%2Fc%u?ttl_ms=80", "17"},
    {"DELETE", "items/k%u", NULL},
    {"DELETE", "items?prefix=k%u", NULL},
    {"PUT", "sessions/s%u", "{\"agent_id\":\"planner\",\"state\":{\"step\":1}}"},
    {"PUT", "sessions/t%u", "{\"ttl_ms\":150,\"metadata\":{\"k\":\"v\"}}"},
    {"PATCH", "sessions/s%u", "{\"state\":{\"step\":2,\"x\":null},\"status\":\"paused\"}"},
    {"PATCH", "sessions/s%u", "{\"status\":\"active\"}"},
    {"POST", "sessions", "{\"user_id\":\"u\"}"},
    {"POST", "sessions/s%u/events",
     "{\"create\":{},\"events\":[{\"type\":\"m\",\"data\":{\"n\":1}},{\"type\":\"n\",\"data\":[1e5,"
     "\"\\u0000\"]}]}"},
    {"POST", "sessions/s%u/events",
     "{\"create\":{},\"events\":[{\"type\":\"m\",\"data\":\"d\"}],\"state_patch\":{\"y\":\"z\"}}"},
    {"POST", "sessions/t%u/events",
     "{\"create\":{\"ttl_ms\":90},\"events\":[{\"type\":\"m\",\"data\":\"d\"}]}"},
    {"POST", "sessions/s%u/events",
     "{\"truncate_after\":5,\"events\":[{\"type\":\"again\",\"data\":null}]}"},
    {"DELETE", "sessions/s%u/events?after_seq=7", NULL},
    {"DELETE", "sessions/s%u/events?before_seq=3", NULL},
    {"DELETE", "sessions/d%u", NULL},
    {"PUT", "sessions/d%u", "{}"},
};

/* False if nobody answered. */
static bool work_once(struct http_client *client, uint64_t *random, bool *is_good)
{
    static const char *const namespaces[] = {"default", "default", "a", "b"};
    static const struct call on_namespaces[] = {
        {"DELETE", "", NULL}, {"PUT", "", NULL}, {"PUT", "", NULL}};
    const struct call *call = &PICK(random, calls);
    const char *ns = PICK(random, namespaces);
    struct http_response response = {0};
    char path[128];
    char target[256];
    bool is_answered;

    (void)snprintf(path, sizeof path, call->path, (unsigned)(random_next(random) % 8));
    (void)snprintf(target, sizeof target, "/v1/namespaces/%s/%s", ns, path);
    if (random_next(random) % 60 == 0) { /* Delete a namespace, or make one. */
        call = &PICK(random, on_namespaces);
        (void)snprintf(target, sizeof target, "/v1/namespaces/%s",
                       random_next(random) % 2 == 0 ? "a" : "b");
    }
    is_answered =
        http_call(client, &response, call->method, target, NULL, call->body) == HTTP_ANSWERED;
    *is_good = is_answered && response.status / 100 == 2;
    http_response_close(&response);
    return is_answered;
}

static void *run_work(void *data)
{
    struct fixture *f = data;
    struct http_client clients[CLUSTER_NODES];

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        clients[i] = cluster_client(&f->cluster.nodes[i]);
        clients[i].timeout_ms = 6000;
    }
    while (!atomic_load(&f->stopping)) {
        bool is_good;

        if (!work_once(&clients[random_next(&f->random) % CLUSTER_NODES], &f->random, &is_good)) {
            pause_ms(20);
        } else if (is_good) {
            atomic_fetch_add(&f->n_done, 1);
        }
    }
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        http_client_close(&clients[i]);
    }
    return NULL;
}

static void start_work(struct fixture *f)
{
    atomic_store(&f->stopping, false);
    assert_int_equal(pthread_create(&f->worker, NULL, run_work, f), 0);
    f->is_working = true;
}

static void stop_work(struct fixture *f)
{
    if (f->is_working) {
        atomic_store(&f->stopping, true);
        assert_int_equal(pthread_join(f->worker, NULL), 0);
        f->is_working = false;
    }
}

struct wanted {
    struct fixture *f;
    unsigned n_done;
};

static bool has_done(void *data)
{
    const struct wanted *wanted = data;

    return atomic_load(&wanted->f->n_done) >= wanted->n_done;
}

static void await_work(struct fixture *f, unsigned n)
{
    struct wanted wanted = {.f = f, .n_done = atomic_load(&f->n_done) + n};

    assert_true(wait_until(has_done, &wanted, MATCH_MS));
}

/* --- The fixture --- */

static int setup_group(void **state)
{
    (void)state;
    if (postgres_server_missing() != NULL) {
        return 0;
    }
    return postgres_server_make(&server) && postgres_server_start(&server) ? 0 : -1;
}

static int teardown_group(void **state)
{
    (void)state;
    if (postgres_server_missing() == NULL) {
        postgres_server_remove(&server);
    }
    return 0;
}

static int setup(void **state)
{
    static unsigned n_tests;
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    if (postgres_server_missing() != NULL) {
        return 0;
    }
    f->random = test_seed();
    (void)snprintf(f->url, sizeof f->url,
                   "postgres://admin@127.0.0.1:%u/postgres?schema=mirror_%u&reader=" READER,
                   server.port, ++n_tests);
    if (n_tests == 1) {
        free(postgres_server_ask(&server, "CREATE ROLE " READER));
    }
    assert_true(cluster_open(&f->cluster));
    f->cli.directory = f->cluster.directory;
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        f->cluster.nodes[i].extra[0] = "--mirror";
        f->cluster.nodes[i].extra[1] = f->url;
        f->cluster.nodes[i].extra[2] = "--archive";
        f->cluster.nodes[i].extra[3] = "none";
    }
    assert_true(cluster_start(&f->cluster));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (postgres_server_missing() == NULL) {
        stop_work(f);
        command_line_close(&f->cli);
        cluster_close(&f->cluster, f->passed);
    }
    free(f);
    return 0;
}

static void need_server(void)
{
    if (postgres_server_missing() != NULL) {
        print_message("*** NOT RUN: %s ***\n", postgres_server_missing());
        skip();
    }
}

/* --- Comparing --- */

static const char *schema_of(const struct fixture *f)
{
    static char schema[32];

    assert_int_equal(sscanf(strstr(f->url, "schema="), "schema=%31[a-z_0-9]", schema), 1);
    return schema;
}

static long long revision_of(const struct cluster_node *node)
{
    json_t *view = cluster_view(node);
    long long revision = (long long)json_integer_value(json_object_get(view, "revision"));

    json_decref(view);
    return revision;
}

static bool has_tables(const struct fixture *f)
{
    char *found = postgres_server_ask(&server, "SELECT to_regclass('%s.position')", schema_of(f));
    bool has = found[0] != '\0';

    free(found);
    return has;
}

struct comparison {
    struct fixture *f;
    unsigned node;
    char why[MAX_WHY];
};

/* What has expired is absent in the API at once, and leaves the tables when it is removed, so it is
 * looked again. */
static bool do_match(void *data)
{
    struct comparison *comparison = data;
    const struct cluster_node *node = &comparison->f->cluster.nodes[comparison->node];
    struct http_client client = cluster_client(node);
    struct mirror_rows_position position;
    long long revision = revision_of(node);
    bool result = false;
    json_t *expected;
    json_t *found;
    PGconn *pg;

    if (!has_tables(comparison->f)) {
        (void)snprintf(comparison->why, MAX_WHY, "there are no tables");
        return false;
    }
    pg = postgres_server_connect(&server);
    found = mirror_rows_of_tables(pg, schema_of(comparison->f), &position);
    expected = mirror_rows_of_node(&client);
    PQfinish(pg);
    http_client_close(&client);
    (void)snprintf(comparison->why, MAX_WHY, "the tables are at %lld%s, and node %u at %lld",
                   position.revision, position.is_exact ? "" : " or so", comparison->node,
                   revision);
    if (position.is_exact && position.revision == revision && revision == revision_of(node) &&
        expected != NULL) {
        result = mirror_rows_match(expected, found, comparison->why, MAX_WHY);
        comparison->f->n_events = mirror_rows_count(found, "events");
    }
    json_decref(found);
    json_decref(expected);
    return result;
}

static void check_tables(struct fixture *f, unsigned node)
{
    struct comparison comparison = {.f = f, .node = node};

    if (!wait_until(do_match, &comparison, MATCH_MS)) {
        fail_msg("%s", comparison.why);
    }
}

/* --- Who mirrors --- */

/* What the node says of it; the caller releases it. */
static json_t *mirror_of(struct fixture *f, unsigned node)
{
    struct http_client client = cluster_client(&f->cluster.nodes[node]);
    struct http_response response = {0};
    json_t *answer = NULL;
    json_t *mirror;

    client.timeout_ms = 2000;
    if (http_call(&client, &response, "GET", "/v1/archives", NULL, NULL) == HTTP_ANSWERED) {
        answer = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
    }
    http_response_close(&response);
    http_client_close(&client);
    mirror = json_incref(json_object_get(answer, "mirror"));
    json_decref(answer);
    return mirror;
}

static bool is_mirroring(void *data)
{
    struct comparison *comparison = data;
    unsigned n = 0;

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        json_t *mirror = mirror_of(comparison->f, i);
        const char *activity = json_string_value(json_object_get(mirror, "activity"));

        if (activity != NULL && strcmp(activity, "standby") != 0 &&
            strcmp(activity, "waiting") != 0) {
            comparison->node = i;
            n++;
        }
        json_decref(mirror);
    }
    return n == 1;
}

static unsigned find_mirroring(struct fixture *f)
{
    struct comparison comparison = {.f = f};

    assert_true(wait_until(is_mirroring, &comparison, MATCH_MS));
    return comparison.node;
}

/* --- Tests --- */

static void each_row_is_what_the_api_answers(void **state)
{
    struct fixture *f = *state;
    size_t n_events = 0;
    char *count;
    uint64_t lag;
    unsigned node;

    need_server();
    for (unsigned round = 0; round < 3; round++) {
        start_work(f);
        await_work(f, 400);
        stop_work(f);
        check_tables(f, round % CLUSTER_NODES);
        n_events += f->n_events;
    }
    assert_true(n_events > 10); /* Something was compared. */
    node = find_mirroring(f);
    assert_true(cluster_metric(&f->cluster.nodes[node], "holdfast_mirror_lag_revisions", &lag));
    assert_int_equal(lag, 0);
    count = postgres_server_ask(
        &server, "SET ROLE " READER "; SELECT count(*) > 0 FROM %s.namespaces", schema_of(f));
    assert_string_equal(count, "t");
    free(count);
    f->passed = true;
}

static void the_command_line_shows_the_mirror(void **state)
{
    struct fixture *f = *state;
    unsigned node;
    json_t *mirror;

    need_server();
    check_tables(f, 0);
    node = find_mirroring(f);
    mirror = mirror_of(f, node);
    assert_true(json_is_true(json_object_get(mirror, "exact")));
    assert_non_null(strstr(json_string_value(json_object_get(mirror, "url")), "reader=" READER));
    json_decref(mirror);
    assert_true(
        command_line_run(&f->cli, "-e 127.0.0.1:%u archive list", f->cluster.nodes[node].api_port));
    assert_true(command_line_has(&f->cli, "MIRROR"));
    assert_true(command_line_has(&f->cli, "exact"));
    f->passed = true;
}

/* Another node goes on, from where the tables are. */
static void nodes_that_are_killed_lose_nothing(void **state)
{
    struct fixture *f = *state;

    need_server();
    check_tables(f, 0);
    start_work(f);
    for (unsigned i = 0; i < KILLS; i++) {
        unsigned node = find_mirroring(f);

        await_work(f, 150);
        cluster_kill(&f->cluster, node);
        await_work(f, 150);
        if (i % 2 == 0) {
            (void)find_mirroring(f); /* Another one. */
        }
        assert_true(cluster_start_node(&f->cluster, node));
        assert_true(cluster_wait_node_ready(&f->cluster, node, CLUSTER_READY_MS));
    }
    stop_work(f);
    check_tables(f, 1);
    f->passed = true;
}

static void a_server_that_crashes_loses_nothing(void **state)
{
    struct fixture *f = *state;

    need_server();
    start_work(f);
    for (unsigned i = 0; i < 3; i++) {
        await_work(f, 150);
        assert_true(postgres_server_stop(&server, i == 1 ? SIGINT : SIGQUIT));
        await_work(f, 200); /* The cluster does not mind. */
        assert_true(postgres_server_start(&server));
    }
    stop_work(f);
    check_tables(f, 2);
    f->passed = true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_row_is_what_the_api_answers),
        TEST(the_command_line_shows_the_mirror),
        TEST(nodes_that_are_killed_lose_nothing),
        TEST(a_server_that_crashes_loses_nothing),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
