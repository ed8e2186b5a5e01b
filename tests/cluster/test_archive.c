/* The archive of real nodes, with the command line, as an operator would: a cluster that lost all
 * disks comes back from it, and a repository that is away holds up nobody. Nodes and repositories
 * that are killed at random are in test_archive_soak.c.
 *
 * HOLDFAST_ARCHIVE_REPOSITORY says where to (archive_place.h). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "storage/archive/repository.h"
#include "tests/lib/archived_cluster.h"
#include "tests/lib/deadline.h"

#define TEST_LIMIT_S 300
#define MANY_WRITES  1500
#define LAG_MS       5000

#define FINGERPRINT_BYTES 64

struct digest {
    unsigned n;
    uint64_t hash;
};

static bool has_written_enough(void *data)
{
    struct writers *writers = data;

    return atomic_load(&writers->acknowledged) >= MANY_WRITES || writers_failure(writers) != NULL;
}

static void write_much(struct archived_cluster *f)
{
    assert_true(wait_until(has_written_enough, &f->writers, 60000));
    assert_null(writers_failure(&f->writers));
}

static bool add_object(void *data, const struct repository_object *object)
{
    struct digest *digest = data;

    digest->n++;
    digest->hash = digest->hash * 31 + object->size_bytes;
    for (const char *at = object->name; *at != '\0'; at++) {
        digest->hash = digest->hash * 31 + (uint8_t)*at;
    }
    return true;
}

/* Which objects of a cluster there are, and how large. */
static void take_fingerprint(struct archived_cluster *f, const char *cluster_id,
                             char text[FINGERPRINT_BYTES])
{
    struct digest digest = {.n = 0};
    struct repository *repository;

    assert_int_equal(
        repository_open(&(struct repository_options){.url = f->place.url}, &repository, NULL),
        STATUS_OK);
    assert_int_equal(repository_list(repository, cluster_id, NULL, add_object, &digest, NULL),
                     STATUS_OK);
    repository_close(repository);
    assert_true(digest.n > 1);
    (void)snprintf(text, FINGERPRINT_BYTES, "%u objects, %016" PRIx64, digest.n, digest.hash);
}

/* All disks are lost. The new cluster has everything that was archived, and takes the others in.
 * etcd-backup-restore #781: it archives at once; pgBackRest #1161: and not into the archive of the
 * old one, but beside it. */
static void a_lost_cluster_comes_back_from_its_archive(void **state)
{
    struct archived_cluster *f = *state;
    char before[FINGERPRINT_BYTES];
    char after[FINGERPRINT_BYTES];
    char text[64];
    char cluster_id[40];

    archived_cluster_need(f);
    archived_cluster_write(f);
    write_much(f);
    archived_cluster_stop_writing(f);
    assert_true(command_line_run(&f->cli, "-e 127.0.0.1:%u archive now -o json",
                                 f->cluster.nodes[1].api_port));
    archived_cluster_await(f, atomic_load(&f->writers.revision));

    archived_cluster_lose_all(f, cluster_id);
    take_fingerprint(f, cluster_id, before);
    archived_cluster_check_writes(f);
    archived_cluster_await(f, 1ull << 32); /* The new chain. */

    /* Two clusters are there now; which one is wanted has to be said. */
    assert_false(command_line_run(&f->cli, "archive verify '%s' -o json", f->place.url));
    take_fingerprint(f, cluster_id, after);
    assert_string_equal(before, after);
    (void)snprintf(text, sizeof text, "--cluster %s", cluster_id);
    assert_true(archived_cluster_verify(f, f->place.url, text) >=
                atomic_load(&f->writers.revision));
    f->passed = true;
}

static void check_refused(struct archived_cluster *f, unsigned node, const char *words)
{
    char log[CLUSTER_MAX_PATH + 32];

    assert_false(archived_cluster_restore(f, node));
    (void)snprintf(log, sizeof log, "%s/holdfast.log", f->cluster.directory);
    assert_true(process_run("/dev/null", "grep -q '%s' %s && rm %s", words, log, log));
}

/* rqlite #1561: a node that was started with a setting to restore did so over what it had. Here a
 * restore is a command, which refuses a directory that has anything in it, used or not; and no node
 * restores anything by itself, be its directory empty. */
static void nothing_is_restored_over_data_or_without_being_asked_for(void **state)
{
    struct archived_cluster *f = *state;
    struct http_client client;
    struct http_response response = {0};

    archived_cluster_need(f);
    archived_cluster_write(f);
    write_much(f);
    archived_cluster_stop_writing(f);
    archived_cluster_await(f, atomic_load(&f->writers.revision));
    check_refused(f, 1, "is not empty");
    cluster_kill(&f->cluster, 1);
    check_refused(f, 1, "is not empty");
    assert_true(cluster_start_node(&f->cluster, 1));
    assert_true(cluster_wait_node_ready(&f->cluster, 1, CLUSTER_READY_MS));
    archived_cluster_check_writes(f);

    cluster_kill_all(&f->cluster);
    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        assert_true(remove_tree(f->cluster.nodes[i].data_directory));
    }
    assert_true(cluster_start(&f->cluster));
    client = cluster_client(&f->cluster.nodes[0]);
    assert_int_equal(
        http_call(&client, &response, "GET", "/v1/namespaces/default/sessions/shared", NULL, NULL),
        HTTP_ANSWERED);
    assert_int_equal(response.status, 404);
    http_response_close(&response);
    http_client_close(&client);
    f->passed = true;
}

/* It is more than an archive that is written each second ever is behind. */
static bool lag_shows(void *data)
{
    struct archived_cluster *f = data;
    bool shows = false;

    for (unsigned i = 0; i < CLUSTER_NODES && !shows; i++) {
        json_t *view = archived_cluster_ask(&f->cluster.nodes[i]);

        shows = archived_cluster_is_archiver(view) &&
                json_integer_value(json_object_get(view, "lag_ms")) > LAG_MS;
        json_decref(view);
    }
    return shows;
}

/* Nothing is lost when the repository is away for a while, and nobody waits for it. */
static void a_repository_that_is_away_holds_up_nobody(void **state)
{
    struct archived_cluster *f = *state;

    archived_cluster_need(f);
    archived_cluster_write(f);
    archived_cluster_await(f, 2);
    archive_place_take_away(&f->place);
    write_much(f);
    assert_true(wait_until(lag_shows, f, ARCHIVED_MS));
    archived_cluster_await_progress(f);
    archive_place_bring_back(&f->place);
    archived_cluster_stop_writing(f);
    archived_cluster_await(f, atomic_load(&f->writers.revision));
    assert_true(archived_cluster_verify(f, f->place.url, "") >= atomic_load(&f->writers.revision));
    f->passed = true;
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, archived_cluster_setup, archived_cluster_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lost_cluster_comes_back_from_its_archive),
        TEST(nothing_is_restored_over_data_or_without_being_asked_for),
        TEST(a_repository_that_is_away_holds_up_nobody),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
