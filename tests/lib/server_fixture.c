#include "tests/lib/server_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/reads.h"
#include "api/write.h"
#include "daemon/base/memory.h"
#include "raft/node.h"
#include "storage/applier.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"
#include "storage/image_spool.h"
#include "storage/store.h"
#include "tests/lib/client.h"

struct fake_cluster fake_cluster;
struct server_kept server_kept;

/* --- Stand-ins for the cluster --- */

void node_status(struct node *node, struct node_status *status)
{
    (void)node;
    *status = (struct node_status){.causes = atomic_load(&fake_cluster.causes),
                                   .warnings = atomic_load(&fake_cluster.warnings),
                                   .term = 7,
                                   .commit_index = 12,
                                   .applied_index = 9,
                                   .log_appends = 2,
                                   .log_append_nanoseconds = 1500000,
                                   .n_members = 1,
                                   .members = {{.name = "n1", .healthy = true}}};
}

struct applier *node_applier(struct node *node)
{
    (void)node;
    return NULL;
}

void applier_statistics(const struct applier *applier, struct applier_statistics *statistics)
{
    (void)applier;
    *statistics = (struct applier_statistics){.flushes = 4};
}

struct archive *node_archive(struct node *node)
{
    (void)node;
    return NULL;
}

size_t archive_count(const struct archive *archive)
{
    assert_null(archive);
    return 0;
}

struct archiver *archive_at(const struct archive *archive, size_t i)
{
    fail_msg("archive %zu of %p", i, (const void *)archive);
    return NULL;
}

void archiver_status(struct archiver *archiver, struct archiver_status *status)
{
    fail_msg("status %p of %p", (void *)status, (void *)archiver);
}

struct mirror *node_mirror(struct node *node)
{
    (void)node;
    return atomic_load(&fake_cluster.mirror_lag_ms) == 0 ? NULL : (struct mirror *)&fake_cluster;
}

void mirror_status(struct mirror *mirror, struct mirror_status *status)
{
    assert_ptr_equal(mirror, &fake_cluster);
    *status = (struct mirror_status){.activity = MIRROR_WRITING,
                                     .revision = 77,
                                     .lag_revisions = 5,
                                     .lag_ms = atomic_load(&fake_cluster.mirror_lag_ms),
                                     .items = 3};
}

struct image_spools *node_spools(struct node *node)
{
    (void)node;
    return NULL;
}

void image_spools_statistics(struct image_spools *spools,
                             struct image_spools_statistics *statistics)
{
    (void)spools;
    *statistics = (struct image_spools_statistics){.files = 3};
}

enum status store_statistics(struct store *store, struct store_statistics *statistics,
                             struct error *error)
{
    (void)store;
    (void)error;
    *statistics = (struct store_statistics){.used_bytes = 4096};
    return STATUS_OK;
}

void view_close(struct view *view)
{
    (void)view;
}

struct reads *reads_new(struct api_thread *thread)
{
    (void)thread;
    return NULL;
}

void reads_flush(struct reads *reads)
{
    (void)reads;
}

void reads_free(struct reads *reads)
{
    (void)reads;
}

struct writes *writes_new(struct api_thread *thread)
{
    (void)thread;
    return NULL;
}

void writes_free(struct writes *writes)
{
    (void)writes;
}

/* --- Handlers --- */

void server_echo(struct request *request)
{
    struct response response = {.status = 200, .content_type = "text/plain"};

    buffer_append_slice(&response.body, request->body);
    request_respond(request, &response);
}

static void on_gone(struct request *request)
{
    if (request == server_kept.newest && request_is_gone(request)) {
        (void)atomic_fetch_add(&server_kept.n_gone, 1);
    }
}

void server_keep(struct request *request)
{
    request->on_gone = on_gone;
    request->state = memory_new(8);
    server_kept.newest = request;
    (void)atomic_fetch_add(&server_kept.count, 1);
}

void server_answer_kept(struct request *request)
{
    struct response response = {.status = 200};

    if (server_kept.newest != NULL) {
        buffer_append_string(&response.body, "kept");
        atomic_store(&server_kept.was_gone, request_is_gone(server_kept.newest));
        request_respond(server_kept.newest, &response);
        server_kept.newest = NULL;
    }
    response = (struct response){.status = 204};
    request_respond(request, &response);
}

void server_answer_when_kept(unsigned port)
{
    unsigned tries = 0;

    while (atomic_load(&server_kept.count) == 0) {
        assert_int_equal(client_ask(port, LIVEZ), 200);
        assert_true(++tries < 100000);
    }
    assert_int_equal(client_ask(port, "POST /answer HTTP/1.1\r\n" HOST "\r\n"), 204);
}

/* --- Servers --- */

int server_reset(void **state)
{
    (void)state;
    server_kept.newest = NULL;
    atomic_store(&server_kept.count, 0);
    atomic_store(&server_kept.was_gone, false);
    atomic_store(&server_kept.n_gone, 0);
    atomic_store(&fake_cluster.causes, 0);
    atomic_store(&fake_cluster.warnings, 0);
    atomic_store(&fake_cluster.mirror_lag_ms, 0);
    return 0;
}

struct server *server_start(const struct server_options *wanted)
{
    struct server_options options = *wanted;
    struct server *server = NULL;
    struct error error;

    options.name = "n1";
    options.version = "1.2.3";
    options.address = "127.0.0.1:0";
    options.threads = options.threads == 0 ? 1 : options.threads;
    options.node = (struct node *)&fake_cluster;
    options.store = (struct store *)&fake_cluster;
    if (server_open(&options, &server, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return server;
}

struct server *server_start_plain(void)
{
    return server_start(&(struct server_options){0});
}

void server_stop(struct server *server)
{
    server_drain(server);
    server_close(server, 0);
}
