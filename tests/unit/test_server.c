/* A real server on loopback, with routes of the test's own and time-outs of milliseconds. What the
 * server asks of the cluster is answered by stand-ins here. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/connection.h"
#include "api/handlers.h"
#include "api/reads.h"
#include "api/server.h"
#include "api/write.h"
#include "daemon/base/memory.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"
#include "storage/image_spool.h"
#include "storage/store.h"
#include "tests/lib/client.h"

#define BIG_BYTES (1u << 20)

/* --- Stand-ins for the cluster
 * -------------------------------------------------------------------*/

static atomic_uint fake_causes;
static atomic_uint fake_warnings;
static atomic_uint fake_mirror_lag_ms; /* 0: there is no mirror. */

void node_status(struct node *node, struct node_status *status)
{
    (void)node;
    *status = (struct node_status){.causes = atomic_load(&fake_causes),
                                   .warnings = atomic_load(&fake_warnings),
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
    return atomic_load(&fake_mirror_lag_ms) == 0 ? NULL : (struct mirror *)&fake_mirror_lag_ms;
}

void mirror_status(struct mirror *mirror, struct mirror_status *status)
{
    assert_ptr_equal(mirror, &fake_mirror_lag_ms);
    *status = (struct mirror_status){.activity = MIRROR_WRITING,
                                     .revision = 77,
                                     .lag_revisions = 5,
                                     .lag_ms = atomic_load(&fake_mirror_lag_ms),
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

/* --- Routes
 * --------------------------------------------------------------------------------------*/

/* The one request that is kept; the server has one thread, so no two handlers run at a time. */
static struct request *kept;
static struct request *abandoned; /* Keeps what was given up reachable for the leak checker. */
static atomic_bool kept_was_gone;
static atomic_uint n_gone; /* Told by on_gone(). */
static atomic_uint n_kept;

static void echo(struct request *request)
{
    struct response response = {.status = 200, .content_type = "text/plain"};

    buffer_append_slice(&response.body, request->body);
    request_respond(request, &response);
}

static void big(struct request *request)
{
    struct response response = {.status = 200};

    memset(buffer_extend(&response.body, BIG_BYTES), 'b', BIG_BYTES);
    request_respond(request, &response);
}

/* A body from a source, of which each byte says where it is. Reading it can be made to fail. */
#define STREAM_BYTES (32u << 20)

static atomic_uint n_sources; /* Open ones. */
static atomic_uint_fast64_t stream_read_bytes;
static atomic_uint_fast64_t stream_fails_at; /* 0: never. */

static uint8_t stream_byte(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

static enum status read_stream(struct body_source *source, uint64_t offset, size_t size,
                               struct buffer *bytes)
{
    uint64_t fails_at = atomic_load(&stream_fails_at);

    if (fails_at != 0 && offset + size > fails_at) {
        return STATUS_IO;
    }
    assert_true(offset + size <= source->size);
    for (size_t i = 0; i < size; i++) {
        buffer_append_byte(bytes, stream_byte(offset + i));
    }
    (void)atomic_fetch_add(&stream_read_bytes, size);
    return STATUS_OK;
}

static void close_stream(struct body_source *source)
{
    (void)atomic_fetch_sub(&n_sources, 1);
    free(source);
}

static void stream(struct request *request)
{
    struct response response = {.status = 200, .is_cacheable = true};

    response.source = memory_new(sizeof(*response.source));
    *response.source =
        (struct body_source){.size = STREAM_BYTES, .read = read_stream, .close = close_stream};
    (void)atomic_fetch_add(&n_sources, 1);
    request_respond(request, &response);
}

static void on_gone(struct request *request)
{
    if (request == kept && request_is_gone(request)) {
        (void)atomic_fetch_add(&n_gone, 1);
    }
}

static void keep(struct request *request)
{
    request->on_gone = on_gone;
    request->state = memory_new(8);
    kept = request;
    (void)atomic_fetch_add(&n_kept, 1);
}

static void answer_kept(struct request *request)
{
    struct response response = {.status = 200};

    if (kept != NULL) {
        buffer_append_string(&response.body, "kept");
        atomic_store(&kept_was_gone, request_is_gone(kept));
        request_respond(kept, &response);
        kept = NULL;
    }
    response = (struct response){.status = 204};
    request_respond(request, &response);
}

const struct route routes[] = {
    {.pattern = "/echo", .get = echo, .post = echo, .put = echo},
    {.pattern = "/big", .get = big},
    {.pattern = "/stream", .get = stream},
    {.pattern = "/keep", .get = keep, .post = keep},
    {.pattern = "/answer", .post = answer_kept},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = "/readyz", .get = readyz_get, .local = true},
    {.pattern = "/metrics", .get = metrics_get, .local = true},
    {.pattern = "/problems/{name}", .get = problem_get, .local = true},
    {.pattern = "/openapi.json", .get = openapi_get, .local = true},
    {.pattern = NULL},
};

/* --- Helpers
 * -------------------------------------------------------------------------------------*/

static struct server *server_start(const struct server_options *wanted)
{
    struct server_options options = *wanted;
    struct server *server = NULL;
    struct error error;

    options.name = "n1";
    options.version = "1.2.3";
    options.address = "127.0.0.1:0";
    options.threads = options.threads == 0 ? 1 : options.threads;
    options.node = (struct node *)&fake_causes;
    options.store = (struct store *)&fake_causes;
    if (server_open(&options, &server, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return server;
}

static struct server *server_start_plain(void)
{
    return server_start(&(struct server_options){0});
}

static void server_stop(struct server *server)
{
    server_drain(server);
    server_close(server, 0);
}

#define HOST  "Host: a\r\n"
#define LIVEZ "GET /livez HTTP/1.1\r\n" HOST "\r\n"
#define KEEP  "GET /keep HTTP/1.1\r\n" HOST "\r\n"

/* Answer the kept request once there is one. Each try is a round trip, which is all the waiting. */
static void answer_when_kept(unsigned port, unsigned count)
{
    unsigned tries = 0;

    while (atomic_load(&n_kept) < count) {
        assert_int_equal(client_ask(port, LIVEZ), 200);
        assert_true(++tries < 100000);
    }
    assert_int_equal(client_ask(port, "POST /answer HTTP/1.1\r\n" HOST "\r\n"), 204);
}

static int reset(void **state)
{
    (void)state;
    kept = NULL;
    atomic_store(&n_kept, 0);
    atomic_store(&kept_was_gone, false);
    atomic_store(&n_gone, 0);
    atomic_store(&fake_causes, 0);
    atomic_store(&stream_read_bytes, 0);
    atomic_store(&stream_fails_at, 0);
    assert_int_equal(atomic_load(&n_sources), 0);
    atomic_store(&fake_warnings, 0);
    atomic_store(&fake_mirror_lag_ms, 0);
    return 0;
}

/* --- Tests
 * ---------------------------------------------------------------------------------------*/

static void requests_share_a_connection(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        client_send(fd, LIVEZ);
        assert_int_equal(client_answer(fd, &answers), 200);
        assert_true(slice_equals_string(answers.body, "{\"live\":true}"));
        assert_true(answers_head_has(&answers, "Content-Type: application/json\r\n"));
        assert_true(answers_head_has(&answers, "Cache-Control: no-store\r\n"));
        assert_true(answers_head_has(&answers, " GMT\r\n"));
        assert_false(answers_head_has(&answers, "Connection:"));
    }
    client_send(fd, "GET /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Connection: close\r\n"));
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n1" KEEP
                    "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                    "1\r\n2\r\n0\r\n\r\nPOST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
    answer_when_kept(server_port(server), 1);
    client_send(fd, "3");

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "1"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "kept"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "2"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "3"));
    client_close(fd, &answers);
    server_stop(server);
}

static void thousands_of_pipelined_requests_are_all_answered(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    struct buffer requests = BUFFER_EMPTY;
    int fd = client_connect(server_port(server));

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        buffer_append_format(&requests,
                             "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n%04u", i);
    }
    client_send_bytes(fd, requests.data, requests.size);
    for (unsigned i = 0; i < 5000; i++) {
        char expected[8];

        (void)snprintf(expected, sizeof(expected), "%04u", i);
        assert_int_equal(client_answer(fd, &answers), 200);
        assert_true(slice_equals_string(answers.body, expected));
    }
    buffer_close(&requests);
    client_close(fd, &answers);
    server_stop(server);
}

static void head_is_get_without_the_body(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "HEAD /livez HTTP/1.1\r\n" HOST "\r\n" LIVEZ);

    assert_int_equal(client_answer_to(fd, &answers, true), 200);
    assert_true(answers_head_has(&answers, "Content-Length: 13\r\n"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_int_equal(answers.body.size, 13);
    client_close(fd, &answers);
    server_stop(server);
}

static void old_clients_are_served_too(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Connection: keep-alive\r\n"));
    client_send(fd, "GET /livez HTTP/1.0\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_body_may_be_as_large_as_the_limit(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    char *body = memory_new(LIMIT_BODY_BYTES);
    int fd = client_connect(server_port(server));

    (void)state;
    for (size_t i = 0; i < LIMIT_BODY_BYTES; i++) {
        body[i] = (char)(i * 31 >> 3);
    }
    client_send(fd, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
    client_send_bytes(fd, body, LIMIT_BODY_BYTES);
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals(answers.body, slice_of(body, LIMIT_BODY_BYTES)));

    client_send(fd, "PUT /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < LIMIT_BODY_BYTES; at += 1u << 19) {
        client_send(fd, "80000\r\n");
        client_send_bytes(fd, body + at, 1u << 19);
        client_send(fd, "\r\n");
    }
    client_send(fd, "0\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals(answers.body, slice_of(body, LIMIT_BODY_BYTES)));
    free(body);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_body_that_is_too_large_is_refused_before_it_comes(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 1000000000\r\n\r\nabc");

    assert_int_equal(client_answer(fd, &answers), 413);
    assert_true(answers_head_has(&answers, "Connection: close\r\n"));
    assert_true(answers_head_has(&answers, "Content-Type: application/problem+json\r\n"));
    assert_true(answers_body_has(&answers, "/problems/too-large"));
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_client_that_asks_is_told_to_go_on(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd,
                "PUT /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 100);
    client_send(fd, "a");
    client_send(fd, "b");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "ab"));
    client_close(fd, &answers);
    server_stop(server);
}

static void malformed_requests_end_their_connection_alone(void **state)
{
    static const char *const texts[] = {
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/2.0\r\n" HOST "\r\n" LIVEZ,
        "GET /livez HTTP/1.1\n" HOST "\r\n" LIVEZ,
        "GET /livez HTTP/1.1\r\n" HOST "X : a\r\n\r\n" LIVEZ,
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" LIVEZ,
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n" LIVEZ,
    };
    struct server *server = server_start_plain();
    struct answers good = {0};
    int other = client_connect(server_port(server));

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct answers answers = {0};
        int fd = client_connect(server_port(server));

        client_send(fd, texts[i]);
        assert_int_equal(client_answer(fd, &answers), 400);
        assert_true(answers_body_has(&answers, "/problems/malformed"));
        client_assert_end(fd, &answers);
        client_close(fd, &answers);

        client_send(other, LIVEZ);
        assert_int_equal(client_answer(other, &good), 200);
    }
    client_close(other, &good);
    server_stop(server);
}

/* Patient but for what the test is about: a slow machine must not look like a slow client. */
static struct connection_times patient(void)
{
    struct connection_times times = CONNECTION_TIMES_DEFAULT;

    times.linger_ms = 100;
    return times;
}

static void slow_requests_time_out(void **state)
{
    static const char *const starts[] = {
        "GET /liv",
        "GET /livez HTTP/1.1\r\nHost:",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\na",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    };
    struct connection_times times = patient();
    struct server *server;

    (void)state;
    times.head_ms = 100;
    times.body_grace_ms = 100;
    times.body_rate = 1000000;
    server = server_start(&(struct server_options){.times = &times});
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct answers answers = {0};
        int fd = client_connect(server_port(server));

        client_send(fd, starts[i]);
        assert_int_equal(client_answer(fd, &answers), 408);
        client_assert_end(fd, &answers);
        client_close(fd, &answers);
    }
    server_stop(server);
}

static void idle_connections_are_closed_without_a_word(void **state)
{
    struct connection_times times = patient();
    struct server *server;
    struct answers answers = {0};
    int fd;

    (void)state;
    times.idle_ms = 100;
    server = server_start(&(struct server_options){.times = &times});
    fd = client_connect(server_port(server));
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

/* It sends requests for 2 GiB and reads nothing: the server stops reading, then cuts it off. */
static void a_client_that_never_reads_is_cut_off(void **state)
{
    static const char request[] = "GET /big HTTP/1.1\r\n" HOST "\r\n";
    struct connection_times times = patient();
    struct server *server;
    unsigned sent = 0;
    int fd;

    (void)state;
    times.write_ms = 100;
    server = server_start(&(struct server_options){.times = &times});
    fd = client_connect(server_port(server));
    while (sent < 2048 && send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0) {
        sent++;
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    }
    assert_true(sent < 2048);
    assert_int_equal(close(fd), 0);
    server_stop(server);
}

static void a_client_that_is_done_sending_is_answered(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, KEEP LIVEZ);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    answer_when_kept(server_port(server), 1);

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_int_equal(client_answer(fd, &answers), 200);
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_request_that_is_cut_short_is_malformed(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);

    assert_int_equal(client_answer(fd, &answers), 400);
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_request_outlives_its_client(void **state)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    struct server *server = server_start_plain();
    int fd = client_connect(server_port(server));
    unsigned tries = 0;

    (void)state;
    client_send(fd, KEEP);
    while (atomic_load(&n_kept) == 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(++tries < 100000);
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    assert_int_equal(close(fd), 0); /* A reset, before the next connection is made. */
    for (tries = 0; atomic_load(&n_gone) == 0; tries++) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(tries < 100000);
    }
    answer_when_kept(server_port(server), 1);

    assert_true(atomic_load(&kept_was_gone));
    assert_int_equal(atomic_load(&n_gone), 1);
    server_stop(server);
}

static void what_is_in_flight_is_answered_before_the_end(void **state)
{
    struct server *server = server_start_plain();
    unsigned port = server_port(server);
    struct answers answers = {0};
    struct answers idle_answers = {0};
    struct answers other_answers = {0};
    int fd = client_connect(port);
    int idle = client_connect(port);
    int other = client_connect(port);

    (void)state;
    client_send(other, LIVEZ "POST /answer HT");
    assert_int_equal(client_answer(other, &other_answers), 200);
    client_send(fd, KEEP LIVEZ);
    while (atomic_load(&n_kept) == 0) {
        assert_int_equal(client_ask(port, LIVEZ), 200);
    }
    server_drain(server);
    client_assert_end(idle, &idle_answers);
    assert_int_equal(client_connect(port), -1);
    client_send(other, "TP/1.1\r\n" HOST "\r\n");

    assert_int_equal(client_answer(other, &other_answers), 204);
    assert_true(answers_head_has(&other_answers, "Connection: close\r\n"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "kept"));
    assert_true(answers_head_has(&answers, "Connection: close\r\n"));
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    client_close(idle, &idle_answers);
    client_close(other, &other_answers);
    server_close(server, 10000);
}

/* Its memory stays, as the handler may still answer. */
static void a_request_that_is_never_answered_does_not_hold_up_the_end(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, KEEP);
    while (atomic_load(&n_kept) == 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    }
    server_drain(server);
    server_close(server, 50);

    client_assert_end(fd, &answers);
    assert_true(request_is_gone(kept));
    abandoned = kept;
    client_close(fd, &answers);
}

static void there_is_a_maximum_of_connections(void **state)
{
    struct server *server = server_start(&(struct server_options){.max_connections = 1});
    struct answers answers = {0};
    struct answers second = {0};
    int fd = client_connect(server_port(server));
    int beyond;

    (void)state;
    client_send(fd, LIVEZ);
    assert_int_equal(client_answer(fd, &answers), 200);
    beyond = client_connect(server_port(server));
    assert_int_equal(client_answer(beyond, &second), 503);
    assert_true(answers_body_has(&second, "/problems/overloaded"));
    assert_true(answers_head_has(&second, "Retry-After: 1\r\n"));
    client_assert_end(beyond, &second);
    client_send(fd, LIVEZ);
    assert_int_equal(client_answer(fd, &answers), 200);
    client_close(fd, &answers);
    client_close(beyond, &second);
    server_stop(server);
}

static void an_address_has_one_server(void **state)
{
    struct server *server = server_start(&(struct server_options){.threads = 2});
    struct server_options options = {.name = "n2", .version = "1"};
    struct server *second = NULL;
    struct error error;
    char address[64];

    (void)state;
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", server_port(server));
    options.address = address;
    assert_int_equal(server_open(&options, &second, &error), STATUS_BUSY);
    assert_null(second);
    options.address = "127.0.0.1";
    assert_int_equal(server_open(&options, &second, &error), STATUS_INVALID);
    options.address = "192.0.2.1:0";
    assert_int_equal(server_open(&options, &second, &error), STATUS_INVALID);
    server_stop(server);
}

static void readiness_names_its_causes(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "{\"ready\":true}"));
    atomic_store(&fake_warnings, NODE_WARNING_STATES_SPLIT);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(
        slice_equals_string(answers.body, "{\"ready\":true,\"warnings\":[\"states-split\"]}"));
    atomic_store(&fake_warnings, NODE_WARNING_STATES_SPLIT | NODE_WARNING_STATE_DIFFERS);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\"warnings\":[\"state-differs\",\"states-split\"]}"));
    atomic_store(&fake_causes, NODE_CAUSE_NO_LEADER | NODE_CAUSE_SLOW_DISK);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 503);
    assert_true(answers_body_has(&answers, "\"causes\":[\"no-leader\",\"slow-disk\"]"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_mirror_that_is_behind_is_a_warning(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    atomic_store(&fake_mirror_lag_ms, 60000);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "{\"ready\":true}"));
    atomic_store(&fake_mirror_lag_ms, 60001);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(
        slice_equals_string(answers.body, "{\"ready\":true,\"warnings\":[\"mirror-behind\"]}"));
    client_close(fd, &answers);
    server_stop(server);
}

static void figures_of_the_mirror_are_there_if_it_is(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_false(answers_body_has(&answers, "holdfast_mirror"));
    atomic_store(&fake_mirror_lag_ms, 1250);
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_active 1\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_failing 0\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_revision 77\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_lag_revisions 5\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_lag_seconds 1.250\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_rows_total{table=\"items\"} 3\n"));
    client_close(fd, &answers);
    server_stop(server);
}

#define STREAM "GET /stream HTTP/1.1\r\n" HOST "\r\n"

static void assert_stream(struct slice body)
{
    assert_int_equal(body.size, STREAM_BYTES);
    for (size_t i = 0; i < body.size; i++) {
        if (body.data[i] != stream_byte(i)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
}

static void a_streamed_body_arrives_whole(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, STREAM);
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Content-Length: 33554432"));
    assert_false(answers_head_has(&answers, "Cache-Control: no-store"));
    assert_stream(answers.body);
    client_send(fd, LIVEZ); /* The connection goes on. */
    assert_int_equal(client_answer(fd, &answers), 200);
    client_close(fd, &answers);
    server_stop(server);
    assert_int_equal(atomic_load(&n_sources), 0);
}

static void a_streamed_body_is_left_out_for_head(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n" LIVEZ);
    assert_int_equal(client_answer_to(fd, &answers, true), 200);
    assert_true(answers_head_has(&answers, "Content-Length: 33554432"));
    assert_int_equal(client_answer(fd, &answers), 200);
    client_close(fd, &answers);
    server_stop(server);
    assert_int_equal(atomic_load(&stream_read_bytes), 0);
    assert_int_equal(atomic_load(&n_sources), 0);
}

static void requests_behind_a_stream_wait_their_turn(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, LIVEZ STREAM STREAM "GET /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_stream(answers.body);
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_stream(answers.body);
    assert_int_equal(client_answer(fd, &answers), 200);
    client_assert_end(fd, &answers);
    client_close(fd, &answers);
    server_stop(server);
    assert_int_equal(atomic_load(&n_sources), 0);
}

/* It neither keeps the others of its thread waiting, nor is more read for it than the sockets and
 * one piece hold; and it is cut off in the end. */
static void a_client_that_does_not_take_its_stream_costs_little(void **state)
{
    struct connection_times times = CONNECTION_TIMES_DEFAULT;
    struct server *server;
    struct answers answers = {0};
    unsigned tries = 0;
    int fd;

    (void)state;
    times.write_ms = 300;
    server = server_start(&(struct server_options){.times = &times});
    fd = client_connect(server_port(server));
    client_send(fd, STREAM);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    }
    while (atomic_load(&n_sources) > 0) { /* Each try is a round trip, which is all the waiting. */
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(++tries < 1000000);
    }
    assert_true(atomic_load(&stream_read_bytes) < STREAM_BYTES / 2);
    client_close(fd, &answers);
    server_stop(server);
}

static void a_client_that_leaves_its_stream_releases_it(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));
    unsigned tries = 0;

    (void)state;
    client_send(fd, STREAM);
    while (atomic_load(&stream_read_bytes) == 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(++tries < 1000000);
    }
    client_close(fd, &answers);
    while (atomic_load(&n_sources) > 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(++tries < 1000000);
    }
    server_stop(server);
}

static void a_stream_that_cannot_be_read_ends_the_connection(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    atomic_store(&stream_fails_at, 1000000);
    client_send(fd, STREAM);
    assert_int_equal(client_answer(fd, &answers), 0);
    assert_true(answers.bytes.size < 1000000 + 1000);
    assert_int_equal(atomic_load(&n_sources), 0);
    client_close(fd, &answers);
    server_stop(server);
}

static void metrics_count_what_was_answered(void **state)
{
    struct server *server =
        server_start(&(struct server_options){.metrics_address = "127.0.0.1:0"});
    struct answers answers = {0};
    int fd;

    (void)state;
    assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    assert_int_equal(client_ask(server_port(server), "nonsense\r\n\r\n"), 400);
    assert_int_equal(client_ask(server_metrics_port(server), "GET /echo HTTP/1.1\r\n" HOST "\r\n"),
                     404);
    fd = client_connect(server_metrics_port(server));
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);

    assert_true(answers_body_has(&answers,
                                 "holdfast_http_requests_total{route=\"/livez\",method=\"GET\","
                                 "status=\"200\"} 2\n"));
    assert_true(answers_body_has(&answers,
                                 "holdfast_http_requests_total{route=\"none\",method=\"OTHER\","
                                 "status=\"400\"} 1\n"));
    assert_true(answers_body_has(&answers, "holdfast_http_request_duration_seconds_bucket{"
                                           "route=\"/livez\",method=\"GET\",le=\"+Inf\"} 2\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_term 7\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_apply_lag 3\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_log_append_seconds_sum 0.001500000\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_store_used_bytes 4096\n"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_node_serves_its_contract(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /openapi.json HTTP/1.1\r\n" HOST "\r\n");

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\"openapi\": \"3.1.0\""));
    assert_true(answers_body_has(&answers, "/v1/namespaces/{ns}/sessions/{s}/events"));
    assert_true(slice_equals_string(slice_from(answers.body, answers.body.size - 2), "}\n"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_problem_page_suits_who_asks(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /problems/fenced HTTP/1.1\r\n" HOST "\r\n"
                    "GET /problems/fenced HTTP/1.1\r\n" HOST "Accept: text/html,*/*\r\n\r\n"
                    "GET /problems/nonsense HTTP/1.1\r\n" HOST "\r\n");

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Content-Type: application/json\r\n"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_int_equal(client_answer(fd, &answers), 404);
    client_close(fd, &answers);
    server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_streamed_body_arrives_whole, reset),
        cmocka_unit_test_setup(a_streamed_body_is_left_out_for_head, reset),
        cmocka_unit_test_setup(requests_behind_a_stream_wait_their_turn, reset),
        cmocka_unit_test_setup(a_client_that_does_not_take_its_stream_costs_little, reset),
        cmocka_unit_test_setup(a_client_that_leaves_its_stream_releases_it, reset),
        cmocka_unit_test_setup(a_stream_that_cannot_be_read_ends_the_connection, reset),
        cmocka_unit_test_setup(requests_share_a_connection, reset),
        cmocka_unit_test_setup(pipelined_requests_are_answered_in_order, reset),
        cmocka_unit_test_setup(thousands_of_pipelined_requests_are_all_answered, reset),
        cmocka_unit_test_setup(head_is_get_without_the_body, reset),
        cmocka_unit_test_setup(old_clients_are_served_too, reset),
        cmocka_unit_test_setup(a_body_may_be_as_large_as_the_limit, reset),
        cmocka_unit_test_setup(a_body_that_is_too_large_is_refused_before_it_comes, reset),
        cmocka_unit_test_setup(a_client_that_asks_is_told_to_go_on, reset),
        cmocka_unit_test_setup(malformed_requests_end_their_connection_alone, reset),
        cmocka_unit_test_setup(slow_requests_time_out, reset),
        cmocka_unit_test_setup(idle_connections_are_closed_without_a_word, reset),
        cmocka_unit_test_setup(a_client_that_never_reads_is_cut_off, reset),
        cmocka_unit_test_setup(a_client_that_is_done_sending_is_answered, reset),
        cmocka_unit_test_setup(a_request_that_is_cut_short_is_malformed, reset),
        cmocka_unit_test_setup(a_request_outlives_its_client, reset),
        cmocka_unit_test_setup(what_is_in_flight_is_answered_before_the_end, reset),
        cmocka_unit_test_setup(a_request_that_is_never_answered_does_not_hold_up_the_end, reset),
        cmocka_unit_test_setup(there_is_a_maximum_of_connections, reset),
        cmocka_unit_test_setup(an_address_has_one_server, reset),
        cmocka_unit_test_setup(readiness_names_its_causes, reset),
        cmocka_unit_test_setup(a_mirror_that_is_behind_is_a_warning, reset),
        cmocka_unit_test_setup(figures_of_the_mirror_are_there_if_it_is, reset),
        cmocka_unit_test_setup(metrics_count_what_was_answered, reset),
        cmocka_unit_test_setup(a_node_serves_its_contract, reset),
        cmocka_unit_test_setup(a_problem_page_suits_who_asks, reset),
    };

    /* The daemon ignores it too: a broken connection is a status. */
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
