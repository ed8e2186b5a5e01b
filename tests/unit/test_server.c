/* A server and the requests on its connections, in HTTP as clients write it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/handlers.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "tests/lib/client.h"
#include "tests/lib/server_fixture.h"

const struct route routes[] = {
    {.pattern = "/echo", .get = server_echo, .post = server_echo, .put = server_echo},
    {.pattern = "/keep", .get = server_keep},
    {.pattern = "/answer", .post = server_answer_kept},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = NULL},
};

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
    server_answer_when_kept(server_port(server));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(requests_share_a_connection, server_reset),
        cmocka_unit_test_setup(pipelined_requests_are_answered_in_order, server_reset),
        cmocka_unit_test_setup(thousands_of_pipelined_requests_are_all_answered, server_reset),
        cmocka_unit_test_setup(head_is_get_without_the_body, server_reset),
        cmocka_unit_test_setup(old_clients_are_served_too, server_reset),
        cmocka_unit_test_setup(a_body_may_be_as_large_as_the_limit, server_reset),
        cmocka_unit_test_setup(a_body_that_is_too_large_is_refused_before_it_comes, server_reset),
        cmocka_unit_test_setup(a_client_that_asks_is_told_to_go_on, server_reset),
        cmocka_unit_test_setup(malformed_requests_end_their_connection_alone, server_reset),
        cmocka_unit_test_setup(there_is_a_maximum_of_connections, server_reset),
        cmocka_unit_test_setup(an_address_has_one_server, server_reset),
    };

    /* The daemon ignores it too: a broken connection is a status. */
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
