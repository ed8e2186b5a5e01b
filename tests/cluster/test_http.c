/* What a node does with clients that do not speak HTTP as they should: each gets its 4xx or is cut
 * off, nothing that hides in their bytes is executed, memory stays bounded, and a well-behaved
 * client beside them notices nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define N_TESTS         7
#define TEST_LIMIT_S    240
#define ANSWER_MS       5000
#define CUT_MS          8000
#define SLOW_HEAD_MS    20000
#define SLOW_BODY_MS    30000
#define NEVER_READS_MS  60000
#define GROWTH_LIMIT_KB (128 * 1024)
#define GIGABYTE        (1ull << 30)
#define POUR_BYTES      65536
#define SILENT_CLIENTS  24
#define PIPELINED       40
#define ITEMS           "/v1/namespaces/default/items/"
#define SESSION         "/v1/namespaces/default/sessions/good"
#define HIDDEN                                                                                     \
    "PUT " ITEMS "smuggled HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"              \
    "Content-Length: 1\r\n\r\n1"
#define PUT_HEAD(headers)                                                                          \
    "PUT " ITEMS "m HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n" headers "\r\n"

/* The well-behaved client, on a thread of its own. */
struct neighbour {
    pthread_t thread;
    struct http_client client;
    atomic_bool stopping;
    atomic_uint requests;
    atomic_bool failed; /* @failure is written before. */
    char failure[256];
};

struct fixture {
    struct cluster cluster;
    struct neighbour neighbour;
    struct http_client client;
    struct answer answer;
    long memory_kb; /* RssAnon of the first node, before anything happened. */
    unsigned passed;
};

static bool ask_as_neighbour(struct neighbour *n, const char *method, const char *target,
                             const char *body)
{
    struct http_response response = {0};
    enum http_outcome outcome = http_call(&n->client, &response, method, target, NULL, body);
    bool good = outcome == HTTP_ANSWERED && response.status < 300;

    if (!good) {
        (void)snprintf(n->failure, sizeof n->failure, "%s %s: outcome %d, status %u", method,
                       target, (int)outcome, outcome == HTTP_ANSWERED ? response.status : 0);
        atomic_store(&n->failed, true);
    }
    (void)atomic_fetch_add(&n->requests, 1);
    http_response_close(&response);
    return good;
}

static void *be_neighbour(void *data)
{
    struct neighbour *n = data;

    while (!atomic_load(&n->stopping) && ask_as_neighbour(n, "PUT", ITEMS "good", "[1,2,3]") &&
           ask_as_neighbour(n, "GET", ITEMS "good", NULL) &&
           ask_as_neighbour(n, "PATCH", SESSION, "{\"state\":{\"a\":1}}") &&
           ask_as_neighbour(n, "GET", SESSION, NULL)) {
        pause_ms(5);
    }
    http_client_close(&n->client);
    return NULL;
}

static void assert_neighbour_noticed_nothing(struct fixture *f)
{
    unsigned before = atomic_load(&f->neighbour.requests);
    uint64_t end = now_ms() + ANSWER_MS;

    while (!atomic_load(&f->neighbour.failed) && now_ms() < end &&
           atomic_load(&f->neighbour.requests) < before + 8) {
        pause_ms(5);
    }
    if (atomic_load(&f->neighbour.failed)) {
        fail_msg("the neighbour: %s", f->neighbour.failure);
    }
    assert_true(atomic_load(&f->neighbour.requests) >= before + 8);
}

static long anonymous_memory_kb(const struct fixture *f)
{
    char path[64];
    char line[256];
    long kilobytes = -1;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)f->cluster.nodes[0].process.pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while (kilobytes < 0 && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "RssAnon: %ld", &kilobytes);
    }
    (void)fclose(file); /* Only read. */
    assert_true(kilobytes > 0);
    return kilobytes;
}

static void assert_memory_is_bounded(struct fixture *f)
{
    long now_kb = anonymous_memory_kb(f);

    if (now_kb > f->memory_kb + GROWTH_LIMIT_KB) {
        fail_msg("RssAnon grew from %ld to %ld KiB", f->memory_kb, now_kb);
    }
}

static int start_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    assert_true(cluster_start(&f->cluster));
    f->client = cluster_client(&f->cluster.nodes[0]);
    f->client.timeout_ms = ANSWER_MS;
    f->neighbour.client = f->client;
    expect(&f->answer, &f->client, 201, "PUT", SESSION, NULL, "{}");
    f->memory_kb = anonymous_memory_kb(f);
    assert_int_equal(pthread_create(&f->neighbour.thread, NULL, be_neighbour, &f->neighbour), 0);
    return 0;
}

static int end_all(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->neighbour.stopping, true);
    (void)pthread_join(f->neighbour.thread, NULL);
    answer_close(&f->answer);
    http_client_close(&f->client);
    cluster_close(&f->cluster, f->passed == N_TESTS);
    free(f);
    return 0;
}

/* After each test: nothing malformed or hidden was executed, and the node is as it was. */
static void assert_nothing_happened(struct fixture *f)
{
    http_client_close(&f->client);
    expect(&f->answer, &f->client, 404, "GET", ITEMS "smuggled", NULL, NULL);
    expect(&f->answer, &f->client, 404, "GET", ITEMS "m", NULL, NULL);
    assert_true(process_is_alive(&f->cluster.nodes[0].process));
    assert_memory_is_bounded(f);
    assert_neighbour_noticed_nothing(f);
    f->passed++;
}

struct malformed {
    const char *what;
    const char *bytes;
    size_t size;
};

/* The literal may hold NULs. */
#define BYTES(literal) literal, sizeof(literal) - 1

static const struct malformed malformed[] = {
    {"both lengths",
     BYTES(PUT_HEAD("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n" HIDDEN)},
    {"both lengths, the other way round",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") "0\r\n\r\n" HIDDEN)},
    {"two lengths", BYTES(PUT_HEAD("Content-Length: 1\r\nContent-Length: 2\r\n") "1" HIDDEN)},
    {"the same length twice",
     BYTES(PUT_HEAD("Content-Length: 1\r\nContent-Length: 1\r\n") "1" HIDDEN)},
    {"a list of lengths", BYTES(PUT_HEAD("Content-Length: 1, 1\r\n") "1" HIDDEN)},
    {"a signed length", BYTES(PUT_HEAD("Content-Length: +1\r\n") "1" HIDDEN)},
    {"a negative length", BYTES(PUT_HEAD("Content-Length: -1\r\n") HIDDEN)},
    {"a length in hex", BYTES(PUT_HEAD("Content-Length: 0x1\r\n") "1" HIDDEN)},
    {"a length beyond 64 bits",
     BYTES(PUT_HEAD("Content-Length: 18446744073709551617\r\n") "1" HIDDEN)},
    {"an empty length", BYTES(PUT_HEAD("Content-Length:\r\n") HIDDEN)},
    {"an unknown transfer coding", BYTES(PUT_HEAD("Transfer-Encoding: gzip\r\n") HIDDEN)},
    {"a list of transfer codings",
     BYTES(PUT_HEAD("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n" HIDDEN)},
    {"chunked twice",
     BYTES(PUT_HEAD(
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n" HIDDEN)},
    {"chunked, misspelt with a control character",
     BYTES(PUT_HEAD("Transfer-Encoding: \x0b"
                    "chunked\r\n") "0\r\n\r\n" HIDDEN)},
    {"a bare LF after the request line", BYTES("GET /v1/cluster HTTP/1.1\nHost: n\r\n\r\n")},
    {"a bare LF after a header", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\n\r\n")},
    {"a bare LF at the end", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\n\n")},
    {"only bare LFs", BYTES("GET /v1/cluster HTTP/1.1\nHost: n\n\n")},
    {"a bare CR", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\rX: y\r\n\r\n")},
    {"a folded header", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nX: a\r\n b\r\n\r\n")},
    {"a folded first header", BYTES("GET /v1/cluster HTTP/1.1\r\n X: a\r\nHost: n\r\n\r\n")},
    {"a space before the colon", BYTES("GET /v1/cluster HTTP/1.1\r\nHost : n\r\n\r\n")},
    {"a space before the colon of a length", BYTES(PUT_HEAD("Content-Length : 1\r\n") "1" HIDDEN)},
    {"a header without a name", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\n: x\r\n\r\n")},
    {"a header without a colon", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nnothing\r\n\r\n")},
    {"NUL in a header", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nX: a\0b\r\n\r\n")},
    {"a control character in a name",
     BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nX\x01: a\r\n\r\n")},
    {"no Host", BYTES("GET /v1/cluster HTTP/1.1\r\n\r\n")},
    {"two Hosts", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nHost: n\r\n\r\n")},
    {"HTTP/0.9", BYTES("GET /v1/cluster\r\n\r\n")},
    {"HTTP/1.2", BYTES("GET /v1/cluster HTTP/1.2\r\nHost: n\r\n\r\n")},
    {"HTTP/2.0", BYTES("GET /v1/cluster HTTP/2.0\r\nHost: n\r\n\r\n")},
    {"the preface of HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")},
    {"no version", BYTES("GET /v1/cluster HTTP/\r\nHost: n\r\n\r\n")},
    {"TLS", BYTES("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")},
    {"spaces in the target", BYTES("GET /v1/ cluster HTTP/1.1\r\nHost: n\r\n\r\n")},
    {"a control character in the target", BYTES("GET /v1/\x01 HTTP/1.1\r\nHost: n\r\n\r\n")},
    {"an unknown method", BYTES("FETCH /v1/cluster HTTP/1.1\r\nHost: n\r\n\r\n")},
    {"CONNECT", BYTES("CONNECT n:80 HTTP/1.1\r\nHost: n\r\n\r\n" HIDDEN)},
    {"Upgrade", BYTES("GET /v1/cluster HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\n"
                      "Upgrade: websocket\r\n\r\n" HIDDEN)},
    {"a chunk size that is none",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "xyz\r\n1\r\n0\r\n\r\n" HIDDEN)},
    {"a negative chunk size",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "-1\r\n1\r\n0\r\n\r\n" HIDDEN)},
    {"a chunk size in C's hex",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "0x1\r\n1\r\n0\r\n\r\n" HIDDEN)},
    {"a chunk size beyond 64 bits",
     BYTES(
         PUT_HEAD("Transfer-Encoding: chunked\r\n") "10000000000000001\r\n1\r\n0\r\n\r\n" HIDDEN)},
    {"a chunk longer than its size",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "1\r\n11\r\n0\r\n\r\n" HIDDEN)},
    {"a chunk ended by a bare LF",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "1\n1\r\n0\r\n\r\n" HIDDEN)},
    {"chunk data ended by a bare LF",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") "1\r\n1\n0\r\n\r\n" HIDDEN)},
    {"a space before a chunk size",
     BYTES(PUT_HEAD("Transfer-Encoding: chunked\r\n") " 1\r\n1\r\n0\r\n\r\n" HIDDEN)},
};

/* The node answers 4xx (or 505) or nothing, and ends the connection. */
static void assert_is_refused(struct fixture *f, const struct malformed *m)
{
    struct http_client client = f->client;
    struct http_response response = {0};
    enum http_outcome outcome;

    client.connected = false;
    client.received = BUFFER_EMPTY;
    assert_true(http_connect(&client));
    (void)http_send(&client, slice_of(m->bytes, m->size)); /* It may be cut before the end. */
    outcome = http_receive(&client, false, &response);
    if (outcome == HTTP_TIMEOUT) {
        fail_msg("%s: neither answered nor cut", m->what);
    }
    if (outcome == HTTP_ANSWERED &&
        (response.status < 400 || (response.status >= 500 && response.status != 505))) {
        fail_msg("%s: answered with %u", m->what, response.status);
    }
    if (!http_wait_closed(&client, CUT_MS)) {
        fail_msg("%s: the connection stays open", m->what);
    }
    http_response_close(&response);
}

static void malformed_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        assert_is_refused(f, &malformed[i]);
    }

    assert_nothing_happened(f);
}

static bool is_readable(const struct http_client *client)
{
    struct pollfd poller = {.fd = client->fd, .events = POLLIN};

    return poll(&poller, 1, 0) != 0;
}

/* Send @piece over and over; gives the bytes that were taken. With @stubborn also after the answer,
 * until the connection breaks. */
static uint64_t pour(struct http_client *client, struct slice piece, bool stubborn)
{
    uint64_t sent = 0;

    while (sent < GIGABYTE && (stubborn || !is_readable(client)) && http_send(client, piece)) {
        sent += piece.size;
    }
    return sent;
}

struct endless {
    const char *what;
    const char *start;
    const char *piece;
    uint64_t bytes; /* Of which not nearly all may be taken. */
    unsigned status;
};

/* Pieces are repeated to POUR_BYTES. */
static const struct endless endless[] = {
    {"a target", "GET /", "a", 64 << 20, 414},
    {"a method", "", "A", 64 << 20, 400},
    {"headers", "GET /livez HTTP/1.1\r\nHost: n\r\n", "X: y\r\n", 64 << 20, 431},
    {"one header", "GET /livez HTTP/1.1\r\nHost: n\r\nX: ", "y", 64 << 20, 431},
    {"a header's name", "GET /livez HTTP/1.1\r\nHost: n\r\n", "y", 64 << 20, 431},
    {"a body of a gigabyte", PUT_HEAD("Content-Length: 1073741824\r\n"), "1", GIGABYTE, 413},
    {"a body in chunks", PUT_HEAD("Transfer-Encoding: chunked\r\n"), "8\r\n11111111\r\n", GIGABYTE,
     413},
    {"a chunk's extension", PUT_HEAD("Transfer-Encoding: chunked\r\n") "1;", "x", 64 << 20, 0},
    {"a trailer", PUT_HEAD("Transfer-Encoding: chunked\r\n") "1\r\n1\r\n0\r\n", "X: y\r\n",
     64 << 20, 0},
    {"a chunk size of zeros", PUT_HEAD("Transfer-Encoding: chunked\r\n"), "0", 64 << 20, 0},
};

static void assert_is_ended(struct fixture *f, const struct endless *e, struct slice piece,
                            bool stubborn)
{
    struct http_client client = {.port = f->client.port, .timeout_ms = ANSWER_MS};
    struct http_response response = {0};
    enum http_outcome outcome;
    uint64_t sent;

    assert_true(http_connect(&client));
    assert_true(http_send(&client, slice_of_string(e->start)));
    sent = pour(&client, piece, stubborn);
    if (sent >= e->bytes) {
        fail_msg("%s: %llu bytes were taken", e->what, (unsigned long long)sent);
    }
    outcome = http_receive(&client, false, &response);
    if (outcome == HTTP_TIMEOUT || (!stubborn && e->status != 0 && outcome != HTTP_ANSWERED)) {
        fail_msg("%s: no answer (%d)", e->what, (int)outcome);
    }
    if (outcome == HTTP_ANSWERED && (response.status < 400 || response.status >= 500 ||
                                     (e->status != 0 && response.status != e->status))) {
        fail_msg("%s: answered with %u", e->what, response.status);
    }
    assert_true(http_wait_closed(&client, CUT_MS));
    http_response_close(&response);
}

static void endless_requests_are_ended(void **state)
{
    struct fixture *f = *state;
    struct buffer piece = BUFFER_EMPTY;
    size_t i;

    for (i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        buffer_clear(&piece);
        while (piece.size < POUR_BYTES) {
            buffer_append_string(&piece, endless[i].piece);
        }
        assert_is_ended(f, &endless[i], buffer_slice(&piece), false);
        assert_is_ended(f, &endless[i], buffer_slice(&piece), true);
        assert_memory_is_bounded(f);
    }

    buffer_close(&piece);
    assert_nothing_happened(f);
}

/* One byte per second, where the protocol waits for more. */
struct slow {
    const char *what;
    const char *start;
    char byte;
    unsigned limit_ms;
    struct http_client client;
    bool ended;
};

static bool send_one(struct slow *slow)
{
    return send(slow->client.fd, &slow->byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

static void assert_ended_in_time(struct slow *slow, uint64_t start)
{
    struct http_response response = {0};

    if (slow->ended) {
        return;
    }
    if (!is_readable(&slow->client) && send_one(slow)) {
        if (now_ms() > start + slow->limit_ms) {
            fail_msg("%s: still connected", slow->what);
        }
        return;
    }
    if (http_receive(&slow->client, false, &response) == HTTP_ANSWERED && response.status != 408) {
        fail_msg("%s: answered with %u", slow->what, response.status);
    }
    assert_true(http_wait_closed(&slow->client, CUT_MS));
    http_response_close(&response);
    slow->ended = true;
}

static void clients_that_send_a_byte_per_second_are_cut(void **state)
{
    struct fixture *f = *state;
    struct slow slow[] = {
        {.what = "request line", .start = "GET /", .byte = 'a', .limit_ms = SLOW_HEAD_MS},
        {.what = "header",
         .start = "GET /livez HTTP/1.1\r\nHost: n\r\nX: ",
         .byte = 'y',
         .limit_ms = SLOW_HEAD_MS},
        {.what = "body",
         .start = PUT_HEAD("Content-Length: 1000\r\n"),
         .byte = '1',
         .limit_ms = SLOW_BODY_MS},
        {.what = "chunk",
         .start = PUT_HEAD("Transfer-Encoding: chunked\r\n") "3e8\r\n",
         .byte = '1',
         .limit_ms = SLOW_BODY_MS},
    };
    const size_t n = sizeof slow / sizeof slow[0];
    uint64_t start = now_ms();
    size_t ended;
    size_t i;

    for (i = 0; i < n; i++) {
        slow[i].client = (struct http_client){.port = f->client.port, .timeout_ms = ANSWER_MS};
        assert_true(http_connect(&slow[i].client));
        assert_true(http_send(&slow[i].client, slice_of_string(slow[i].start)));
    }
    do {
        pause_ms(1000); /* That is what these clients are about. */
        ended = 0;
        for (i = 0; i < n; i++) {
            assert_ended_in_time(&slow[i], start);
            ended += slow[i].ended;
        }
    } while (ended < n);

    assert_nothing_happened(f);
}

static void ask_without_reading(struct http_client *client)
{
    struct buffer requests = BUFFER_EMPTY;
    int i;

    for (i = 0; i < PIPELINED; i++) {
        buffer_append_string(&requests, "GET " ITEMS "large HTTP/1.1\r\nHost: n\r\n\r\n");
    }
    assert_true(http_connect(client));
    assert_true(http_send(client, buffer_slice(&requests)));
    buffer_close(&requests);
}

/* The other side gave up: what is sent now is refused. */
static bool is_cut(const struct http_client *client)
{
    ssize_t n = send(client->fd, "G", 1, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n < 0 && errno != EAGAIN;
}

static void clients_that_never_read_are_cut(void **state)
{
    struct fixture *f = *state;
    struct http_client silent[SILENT_CLIENTS];
    struct buffer value = BUFFER_EMPTY;
    struct http_request put = {.method = "PUT",
                               .target = ITEMS "large",
                               .content_type = "application/octet-stream",
                               .has_body = true};
    uint64_t end = now_ms() + NEVER_READS_MS;
    unsigned cut;
    unsigned i;

    memset(buffer_extend(&value, 1 << 20), 'v', 1 << 20);
    put.body = buffer_slice(&value);
    expect_exchange(&f->answer, &f->client, 201, &put);
    for (i = 0; i < SILENT_CLIENTS; i++) {
        silent[i] = (struct http_client){.port = f->client.port};
        ask_without_reading(&silent[i]);
    }
    do {
        pause_ms(250);
        assert_memory_is_bounded(f);
        cut = 0;
        for (i = 0; i < SILENT_CLIENTS; i++) {
            cut += is_cut(&silent[i]);
        }
    } while (cut < SILENT_CLIENTS && now_ms() < end);
    assert_int_equal(cut, SILENT_CLIENTS);

    for (i = 0; i < SILENT_CLIENTS; i++) {
        http_client_close(&silent[i]);
    }
    buffer_close(&value);
    assert_nothing_happened(f);
}

/* Strict with what is wrong must not mean strict with what is unusual. */
static void unusual_but_correct_requests_are_served(void **state)
{
    static const char *const requests[] = {
        "GET /livez HTTP/1.0\r\nHost: n\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhOsT:n\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: \t n \t \r\nX:\r\n\r\n",
        "\r\nGET /livez HTTP/1.1\r\nHost: n\r\n\r\n",
        "PUT " ITEMS "u HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1;ext=1\r\n[\r\n01\r\n]\r\n0\r\nTrailer: x\r\n\r\n",
        "PUT " ITEMS "u HTTP/1.1\r\nHost: n\r\nContent-Type: application/json; charset=utf-8\r\n"
        "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    };
    struct fixture *f = *state;
    struct http_response response = {0};
    size_t i;

    for (i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        http_client_close(&f->client);
        assert_true(http_connect(&f->client));
        assert_true(http_send(&f->client, slice_of_string(requests[i])));
        assert_int_equal(http_receive(&f->client, false, &response), HTTP_ANSWERED);
        if (response.status != 200 && response.status != 201) {
            fail_msg("answered with %u: %s", response.status, requests[i]);
        }
    }

    http_response_close(&response);
    assert_nothing_happened(f);
}

static void a_request_in_single_bytes_is_served(void **state)
{
    static const char request[] =
        "PUT " ITEMS "bytes HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\n\"ab\r\n2\r\nc\"\r\n0\r\n\r\n";
    struct fixture *f = *state;
    struct http_response response = {0};
    size_t i;

    http_client_close(&f->client);
    assert_true(http_connect(&f->client));
    for (i = 0; i < sizeof request - 1; i++) {
        assert_true(http_send(&f->client, slice_of(request + i, 1)));
        pause_ms(1); /* So that they arrive as single bytes. */
    }

    assert_int_equal(http_receive(&f->client, false, &response), HTTP_ANSWERED);
    assert_int_equal(response.status, 201);
    expect(&f->answer, &f->client, 200, "GET", ITEMS "bytes", NULL, NULL);
    assert_string_equal((const char *)f->answer.response.body.data, "\"abc\"");
    http_response_close(&response);
    assert_nothing_happened(f);
}

static void requests_sent_ahead_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct buffer requests = BUFFER_EMPTY;
    struct http_response response = {0};
    unsigned i;

    for (i = 0; i < PIPELINED; i++) {
        buffer_append_format(&requests,
                             "PUT " ITEMS "p HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n"
                             "Content-Type: application/json\r\n\r\n%2u"
                             "GET " ITEMS "p HTTP/1.1\r\nHost: n\r\n\r\n",
                             10 + i);
    }
    http_client_close(&f->client);
    assert_true(http_connect(&f->client));
    assert_true(http_send(&f->client, buffer_slice(&requests)));

    for (i = 0; i < PIPELINED; i++) {
        char expected[16];

        (void)snprintf(expected, sizeof expected, "%u", 10 + i);
        assert_int_equal(http_receive(&f->client, false, &response), HTTP_ANSWERED);
        assert_int_equal(response.status, i == 0 ? 201 : 200);
        assert_int_equal(http_receive(&f->client, false, &response), HTTP_ANSWERED);
        assert_int_equal(response.status, 200);
        assert_string_equal((const char *)response.body.data, expected);
    }

    http_response_close(&response);
    buffer_close(&requests);
    assert_nothing_happened(f);
}

int main(void)
{
    const struct CMUnitTest tests[N_TESTS] = {
        cmocka_unit_test(unusual_but_correct_requests_are_served),
        cmocka_unit_test(a_request_in_single_bytes_is_served),
        cmocka_unit_test(requests_sent_ahead_are_answered_in_order),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(endless_requests_are_ended),
        cmocka_unit_test(clients_that_send_a_byte_per_second_are_cut),
        cmocka_unit_test(clients_that_never_read_are_cut),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, start_all, end_all);
}
