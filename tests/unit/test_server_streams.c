/* Answers of the server whose body comes from a source, a piece at a time. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/connection.h"
#include "api/handlers.h"
#include "daemon/base/memory.h"
#include "tests/lib/client.h"
#include "tests/lib/server_fixture.h"

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

const struct route routes[] = {
    {.pattern = "/stream", .get = stream},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = NULL},
};

static int reset(void **state)
{
    atomic_store(&stream_read_bytes, 0);
    atomic_store(&stream_fails_at, 0);
    assert_int_equal(atomic_load(&n_sources), 0);
    return server_reset(state);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_streamed_body_arrives_whole, reset),
        cmocka_unit_test_setup(a_streamed_body_is_left_out_for_head, reset),
        cmocka_unit_test_setup(requests_behind_a_stream_wait_their_turn, reset),
        cmocka_unit_test_setup(a_client_that_does_not_take_its_stream_costs_little, reset),
        cmocka_unit_test_setup(a_client_that_leaves_its_stream_releases_it, reset),
        cmocka_unit_test_setup(a_stream_that_cannot_be_read_ends_the_connection, reset),
    };

    /* The daemon ignores it too: a broken connection is a status. */
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
