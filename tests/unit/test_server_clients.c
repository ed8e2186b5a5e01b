/* The server and clients that are slow, silent, gone, or still waiting when it ends. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/connection.h"
#include "api/handlers.h"
#include "tests/lib/client.h"
#include "tests/lib/server_fixture.h"

#define BIG_BYTES (1u << 20)

/* Keeps what was given up reachable for the leak checker. */
static struct request *abandoned;

static void big(struct request *request)
{
    struct response response = {.status = 200};

    memset(buffer_extend(&response.body, BIG_BYTES), 'b', BIG_BYTES);
    request_respond(request, &response);
}

const struct route routes[] = {
    {.pattern = "/echo", .post = server_echo, .put = server_echo},
    {.pattern = "/big", .get = big},
    {.pattern = "/keep", .get = server_keep},
    {.pattern = "/answer", .post = server_answer_kept},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = NULL},
};

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
    server_answer_when_kept(server_port(server));

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
    while (atomic_load(&server_kept.count) == 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(++tries < 100000);
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    assert_int_equal(close(fd), 0); /* A reset, before the next connection is made. */
    for (tries = 0; atomic_load(&server_kept.n_gone) == 0; tries++) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
        assert_true(tries < 100000);
    }
    server_answer_when_kept(server_port(server));

    assert_true(atomic_load(&server_kept.was_gone));
    assert_int_equal(atomic_load(&server_kept.n_gone), 1);
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
    while (atomic_load(&server_kept.count) == 0) {
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
    while (atomic_load(&server_kept.count) == 0) {
        assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    }
    server_drain(server);
    server_close(server, 50);

    client_assert_end(fd, &answers);
    assert_true(request_is_gone(server_kept.newest));
    abandoned = server_kept.newest;
    client_close(fd, &answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(slow_requests_time_out, server_reset),
        cmocka_unit_test_setup(idle_connections_are_closed_without_a_word, server_reset),
        cmocka_unit_test_setup(a_client_that_never_reads_is_cut_off, server_reset),
        cmocka_unit_test_setup(a_client_that_is_done_sending_is_answered, server_reset),
        cmocka_unit_test_setup(a_request_that_is_cut_short_is_malformed, server_reset),
        cmocka_unit_test_setup(a_request_outlives_its_client, server_reset),
        cmocka_unit_test_setup(what_is_in_flight_is_answered_before_the_end, server_reset),
        cmocka_unit_test_setup(a_request_that_is_never_answered_does_not_hold_up_the_end,
                               server_reset),
    };

    /* The daemon ignores it too: a broken connection is a status. */
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
