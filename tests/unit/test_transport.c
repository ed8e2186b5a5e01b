/* libraft's streams between two nodes: bytes, resets, nobody there, and the end. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "raft/peer.h"
#include "raft/transport.h"
#include "tests/lib/peer_fixture.h"

struct raft_end {
    bool done;
    int status;
    uv_stream_t *stream;
};

static struct raft_end connecting;
static struct raft_end accepted;
static char raft_heard[16];

static void on_raft_connected(struct raft_uv_connect *request, uv_stream_t *stream, int status)
{
    (void)request;
    connecting = (struct raft_end){.done = true, .status = status, .stream = stream};
}

static void on_raft_accepted(struct raft_uv_transport *raft, raft_id id, const char *address,
                             uv_stream_t *stream)
{
    (void)raft;
    assert_int_equal(id, 2);
    assert_string_equal(address, "0000000000000002");
    accepted = (struct raft_end){.done = true, .stream = stream};
}

static bool raft_is_connected(struct peer_fixture *f)
{
    (void)f;
    return connecting.done && (connecting.status != 0 || accepted.done);
}

static void on_raft_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(raft_heard, sizeof raft_heard);
}

static void on_raft_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    (void)stream;
    (void)buf;
    assert_int_equal(got, 5);
}

static bool raft_was_heard(struct peer_fixture *f)
{
    (void)f;
    return raft_heard[0] != '\0';
}

static int raft_write_status;
static bool raft_write_is_done;

static void on_raft_written(uv_write_t *request, int status)
{
    (void)request;
    raft_write_status = status;
    raft_write_is_done = true;
}

static bool raft_write_came_back(struct peer_fixture *f)
{
    (void)f;
    return raft_write_is_done;
}

/* Write as libraft does. It only notices a failure that comes later, from the loop. */
static int raft_write(struct peer_fixture *f)
{
    uv_write_t request;
    char byte = 0;
    uv_buf_t buf = uv_buf_init(&byte, 1);

    raft_write_is_done = false;
    assert_int_equal(uv_write(&request, connecting.stream, &buf, 1, on_raft_written), 0);
    peer_run_until(f, raft_write_came_back);
    return raft_write_status;
}

static void open_transports(struct peer_fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        struct peer_node *node = &f->nodes[i];
        struct raft_uv_transport *raft;

        node->transport = transport_open(&f->loop, node->peers, node, peer_lookup);
        raft = transport_raft(node->transport);
        assert_int_equal(raft->init(raft, node->id, "x"), 0);
        assert_int_equal(raft->listen(raft, on_raft_accepted), 0);
    }
    connecting = (struct raft_end){0};
    accepted = (struct raft_end){0};
    memset(raft_heard, 0, sizeof raft_heard);
}

static void connect_raft(struct peer_fixture *f)
{
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    peer_meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    assert_int_equal(raft->connect(raft, &request, 1, "0000000000000001", on_raft_connected), 0);
    peer_run_until(f, raft_is_connected);
    assert_int_equal(connecting.status, 0);
}

/* Let what the kernel knows reach the loop. */
static void run_turns(struct peer_fixture *f)
{
    for (unsigned i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void a_raft_stream_carries_bytes_one_way_and_notices_its_end(void **state)
{
    struct peer_fixture *f = *state;
    char hello[] = "hello";
    uv_buf_t buf = uv_buf_init(hello, 5);

    connect_raft(f);
    assert_int_equal(uv_read_start(accepted.stream, on_raft_alloc, on_raft_read), 0);
    assert_int_equal(uv_try_write(connecting.stream, &buf, 1), 5);
    peer_run_until(f, raft_was_heard);
    assert_memory_equal(raft_heard, "hello", 5);

    /* The acceptor goes; the next write of the dialler must fail, not get lost. */
    uv_close((uv_handle_t *)accepted.stream, (uv_close_cb)raft_free);
    run_turns(f);
    assert_int_equal(raft_write(f), UV_EPIPE);
    uv_close((uv_handle_t *)connecting.stream, (uv_close_cb)raft_free);
}

/* The acceptor is killed with bytes unread, so that its machine answers with a reset. */
static void a_raft_stream_that_is_reset_fails_from_the_loop(void **state)
{
    struct peer_fixture *f = *state;

    connect_raft(f);
    assert_int_equal(raft_write(f), 0);
    assert_int_equal(uv_tcp_close_reset((uv_tcp_t *)accepted.stream, (uv_close_cb)raft_free), 0);
    run_turns(f);

    assert_true(raft_write(f) < 0);
    uv_close((uv_handle_t *)connecting.stream, (uv_close_cb)raft_free);
}

static void a_raft_connection_to_nobody_fails_later(void **state)
{
    struct peer_fixture *f = *state;
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    peer_meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    assert_int_equal(raft->connect(raft, &request, 9, "9", on_raft_connected), RAFT_NOCONNECTION);
    f->nodes[0].id = 8; /* Another node has taken the place. */
    f->nodes[1].fixture->nodes[0].cluster_id = PEER_OTHER_UUID;
    assert_int_equal(raft->connect(raft, &request, 8, "8", on_raft_connected), 0);
    assert_false(connecting.done);
    peer_run_until(f, raft_is_connected);
    assert_int_equal(connecting.status, RAFT_NOCONNECTION);
    assert_null(connecting.stream);
}

static bool transport_closed;

static void on_transport_closed(struct raft_uv_transport *raft)
{
    (void)raft;
    transport_closed = true;
}

static bool transport_is_closed(struct peer_fixture *f)
{
    (void)f;
    return transport_closed;
}

static void closing_the_transport_cancels_what_is_on_its_way(void **state)
{
    struct peer_fixture *f = *state;
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    peer_meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    transport_closed = false;
    assert_int_equal(raft->connect(raft, &request, 1, "1", on_raft_connected), 0);
    raft->close(raft, on_transport_closed);
    assert_false(transport_closed);
    peer_run_until(f, transport_is_closed);
    assert_true(connecting.done);
    assert_int_equal(connecting.status, RAFT_CANCELED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_raft_stream_carries_bytes_one_way_and_notices_its_end),
        TEST(a_raft_stream_that_is_reset_fails_from_the_loop),
        TEST(a_raft_connection_to_nobody_fails_later),
        TEST(closing_the_transport_cancels_what_is_on_its_way),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As in the daemon: libuv writes with write(). */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
