/* The archive of real nodes under load, with the command line, as an operator would: whoever is
 * killed, it has no hole, and what comes out of it is what was there. */
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

#define TEST_LIMIT_S 300
#define PROGRESS_MS  20000
#define ARCHIVE_MS   30000
#define GROW_MS      40000
#define MANY_WRITES  1500
#define KILLS        6 /* HOLDFAST_ARCHIVE_KILLS says otherwise. */
#define N_POINTS     5

struct fixture {
    struct cluster cluster;
    struct writers writers;
    bool has_writers;
    bool is_writing;
    struct answer answer;
    struct command_line cli;
    char shared[CLUSTER_MAX_PATH + 128];
    char list[CLUSTER_MAX_PATH + 160];
    char alone[64];
    uint64_t random;
    bool passed;
};

/* What all nodes archive to: a directory, or what HOLDFAST_ARCHIVE_URL says, where each test puts a
 * name of its own in the place of "@". */
static void choose_shared(struct fixture *f)
{
    const char *url = getenv("HOLDFAST_ARCHIVE_URL");
    const char *at = url == NULL ? NULL : strchr(url, '@');
    static unsigned n_tests;

    if (at == NULL) {
        (void)snprintf(f->shared, sizeof f->shared, "file://%s/shared?shared",
                       f->cluster.directory);
    } else {
        (void)snprintf(f->shared, sizeof f->shared, "%.*st%ld_%u%s", (int)(at - url), url,
                       (long)getpid(), ++n_tests, at + 1);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    f->random = test_seed();
    assert_true(cluster_open(&f->cluster));
    f->cli.directory = f->cluster.directory;
    choose_shared(f);
    (void)snprintf(f->list, sizeof f->list, "local %s", f->shared);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        f->cluster.nodes[i].extra[0] = "--archive";
        f->cluster.nodes[i].extra[1] = f->list;
        f->cluster.nodes[i].extra[2] = "--archive-interval";
        f->cluster.nodes[i].extra[3] = "1";
    }
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
    answer_close(&f->answer);
    command_line_close(&f->cli);
    cluster_close(&f->cluster, f->passed);
    free(f);
    return 0;
}

/* The archive is whole: all of it is restored, and each step gives the state that it gave before.
 * Gives the revision up to which it goes. */
static uint64_t verify(struct fixture *f, const char *url, const char *more)
{
    if (!command_line_run(&f->cli, "archive verify '%s' %s --work-dir %s -o json", url, more,
                          f->cluster.directory)) {
        fail_msg("archive verify '%s' %s: see holdfast.log in %s", url, more, f->cluster.directory);
    }
    return (uint64_t)command_line_integer(&f->cli, "revision");
}

/* --- Load --- */

static void start_writers(struct fixture *f)
{
    struct http_client client = cluster_client(&f->cluster.nodes[0]);

    expect(&f->answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
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

/* --- What nodes say --- */

/* The answer of one node, which the caller releases; NULL: none. */
static json_t *archives_of(const struct cluster_node *node)
{
    struct http_client client = cluster_client(node);
    struct http_response response = {0};
    json_t *json = NULL;

    client.timeout_ms = 2000;
    if (http_call(&client, &response, "GET", "/v1/archives", NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        json = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
    }
    http_response_close(&response);
    http_client_close(&client);
    return json;
}

/* The newest revision that is archived to the shared repository, by the node that archives; 0 if
 * nobody does. */
static uint64_t shared_revision(struct fixture *f)
{
    uint64_t revision = 0;

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        json_t *view = archives_of(&f->cluster.nodes[i]);
        const json_t *shared = json_array_get(json_object_get(view, "repositories"), 1);
        const char *activity = json_string_value(json_object_get(shared, "activity"));
        json_int_t found = json_integer_value(json_object_get(shared, "revision"));

        if (activity != NULL && strcmp(activity, "standby") != 0 && found > 0 &&
            (uint64_t)found > revision) {
            revision = (uint64_t)found;
        }
        json_decref(view);
    }
    return revision;
}

struct awaited {
    struct fixture *f;
    uint64_t revision;
};

static bool is_archived(void *data)
{
    const struct awaited *awaited = data;

    return shared_revision(awaited->f) >= awaited->revision;
}

static void await_archived(struct fixture *f, uint64_t revision)
{
    struct awaited awaited = {.f = f, .revision = revision};

    assert_true(wait_until(is_archived, &awaited, ARCHIVE_MS));
}

/* The chain of the node itself. */
static void local_url(const struct cluster_node *node, char *url, size_t size)
{
    (void)snprintf(url, size, "file://%s/archive", node->data_directory);
}

/* --- Tests --- */

static unsigned kills(void)
{
    const char *text = getenv("HOLDFAST_ARCHIVE_KILLS");

    return text == NULL ? KILLS : (unsigned)strtoul(text, NULL, 10);
}

/* The leader, the archiver and the third come in turn, at random moments. */
static void kills_leave_no_hole(void **state)
{
    struct fixture *f = *state;
    char url[CLUSTER_MAX_PATH + 32];
    char to[64];
    uint64_t end;
    uint64_t begin;

    start_writers(f);
    write_much(f);
    for (unsigned i = 0; i < kills(); i++) {
        unsigned victim = (unsigned)(random_next(&f->random) % CLUSTER_NODES);

        pause_ms((unsigned)(random_next(&f->random) % 1500));
        cluster_kill(&f->cluster, victim);
        assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
        assert_true(cluster_start_node(&f->cluster, victim));
        assert_true(cluster_wait_node_ready(&f->cluster, victim, CLUSTER_READY_MS));
    }
    assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
    stop_writers(f);
    assert_null(writers_failure(&f->writers));
    await_archived(f, atomic_load(&f->writers.revision));

    end = verify(f, f->shared, "");
    assert_true(end >= atomic_load(&f->writers.revision));
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        local_url(&f->cluster.nodes[i], url, sizeof url);
        assert_true(verify(f, url, "") > 1);
    }
    begin = (uint64_t)command_line_integer(&f->cli, "full_revision");
    for (unsigned i = 0; i < N_POINTS; i++) {
        uint64_t revision = begin + random_next(&f->random) % (end - begin);

        (void)snprintf(to, sizeof to, "--to-revision %llu", (unsigned long long)revision);
        assert_true(verify(f, f->shared, to) <= revision);
    }
    f->passed = true;
}

static void restore_to(struct fixture *f, unsigned i, const char *url)
{
    struct cluster_node *node = &f->cluster.nodes[i];

    if (!command_line_run(
            &f->cli,
            "restore '%s' --data-dir %s --name %s --peer-address 127.0.0.1:%u --api-address "
            "127.0.0.1:%u -o json",
            url, node->data_directory, node->name, node->peer_port, node->api_port)) {
        fail_msg("see holdfast.log in %s", f->cluster.directory);
    }
}

static void start_alone(struct fixture *f, unsigned i)
{
    struct cluster_node *node = &f->cluster.nodes[i];

    (void)snprintf(f->alone, sizeof f->alone, "%s=127.0.0.1:%u", node->name, node->peer_port);
    node->initial_cluster = f->alone;
    assert_true(cluster_start_node(&f->cluster, i));
    assert_true(cluster_wait_node_ready(&f->cluster, i, CLUSTER_READY_MS));
}

/* All disks are lost. The new cluster has everything that was archived, gets an archive of its own
 * beside the old one, and takes the others in. */
static void a_lost_cluster_comes_back_from_its_archive(void **state)
{
    struct fixture *f = *state;
    const char *wrong;
    char text[512];
    char cluster_id[40];

    start_writers(f);
    write_much(f);
    stop_writers(f);
    assert_true(command_line_run(&f->cli, "-e 127.0.0.1:%u archive now -o json",
                                 f->cluster.nodes[1].api_port));
    await_archived(f, atomic_load(&f->writers.revision));
    cluster_kill_all(&f->cluster);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        assert_true(remove_tree(f->cluster.nodes[i].data_directory));
    }

    restore_to(f, 2, f->shared);
    (void)snprintf(cluster_id, sizeof cluster_id, "%s",
                   command_line_text(&f->cli, "old_cluster_id"));
    start_alone(f, 2);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(f->cluster.nodes[i].join, sizeof f->cluster.nodes[i].join,
                       "http://127.0.0.1:%u", f->cluster.nodes[2].api_port);
        assert_true(cluster_start_node(&f->cluster, i));
    }
    assert_true(cluster_wait_ready(&f->cluster, GROW_MS));
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        wrong = writers_verify(&f->writers, i);
        if (wrong != NULL) {
            fail_msg("%s", wrong);
        }
    }
    assert_true(cluster_states_are_equal(&f->cluster, text, sizeof text));
    await_archived(f, 1ull << 32); /* The new chain. */

    /* Two clusters are there now; which one is wanted has to be said. */
    assert_false(command_line_run(&f->cli, "archive verify '%s' -o json", f->shared));
    (void)snprintf(text, sizeof text, "--cluster %s", cluster_id);
    assert_true(verify(f, f->shared, text) >= atomic_load(&f->writers.revision));
    f->passed = true;
}

/* All nodes end at once, under load: what the archive was seen to have is there, and no more than
 * some seconds are lost. */
static void what_was_shown_as_archived_is_there(void **state)
{
    struct fixture *f = *state;
    uint64_t shown;

    start_writers(f);
    write_much(f);
    for (unsigned i = 0; i < 3; i++) {
        pause_ms((unsigned)(random_next(&f->random) % 2500));
        shown = shared_revision(f);
        cluster_kill_all(&f->cluster);
        assert_true(shown == 0 || verify(f, f->shared, "") >= shown);
        assert_true(cluster_start(&f->cluster));
        assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
    }
    stop_writers(f);
    assert_null(writers_failure(&f->writers));
    await_archived(f, atomic_load(&f->writers.revision));
    (void)verify(f, f->shared, "");
    f->passed = true;
}

/* Nothing is lost when the repository is away for a while, and nobody waits for it. */
static void a_repository_that_is_away_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    char path[CLUSTER_MAX_PATH + 16];
    char away[CLUSTER_MAX_PATH + 16];
    FILE *file;

    if (strncmp(f->shared, "file://", strlen("file://")) != 0) {
        f->passed = true;
        skip(); /* It is no directory that could be moved. */
    }
    (void)snprintf(path, sizeof path, "%s/shared", f->cluster.directory);
    (void)snprintf(away, sizeof away, "%s/away", f->cluster.directory);
    start_writers(f);
    await_archived(f, 2);
    assert_int_equal(rename(path, away), 0);
    file = fopen(path, "w"); /* In the place of the directory. */
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    write_much(f);
    assert_true(cluster_log_has(&f->cluster.nodes[0], "archiving waits") ||
                cluster_log_has(&f->cluster.nodes[1], "archiving waits") ||
                cluster_log_has(&f->cluster.nodes[2], "archiving waits"));
    assert_true(writers_wait_progress(&f->writers, PROGRESS_MS));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(away, path), 0);
    stop_writers(f);
    assert_null(writers_failure(&f->writers));
    await_archived(f, atomic_load(&f->writers.revision));
    assert_true(verify(f, f->shared, "") >= atomic_load(&f->writers.revision));
    f->passed = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kills_leave_no_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_cluster_comes_back_from_its_archive, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_shown_as_archived_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repository_that_is_away_holds_up_nobody, setup, teardown),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
