#include "tests/lib/peer_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "daemon/base/wire.h"
#include "raft/peer.h"
#include "raft/transport.h"

/* --- The nodes --- */

static void describe(void *data, struct frame_hello *hello)
{
    const struct peer_node *node = data;

    hello->identity = node->identity;
    hello->cluster_id = slice_of_string(node->cluster_id);
    hello->id = node->id;
    hello->name = slice_of_string("n");
    hello->peer_address = slice_of_string("127.0.0.1:1");
    hello->api_address = slice_of_string("127.0.0.1:2");
    hello->version = slice_of_string("0");
}

bool peer_lookup(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1])
{
    const struct peer_node *node = data;

    for (unsigned i = 0; i < 2; i++) {
        const struct peer_node *other = &node->fixture->nodes[i];

        if (other->id == id && other->peers != NULL) {
            (void)snprintf(address, LIMIT_ADDRESS_BYTES + 1, "127.0.0.1:%u",
                           peers_port(other->peers));
            return true;
        }
    }
    return false;
}

static void on_frame(void *data, uint64_t peer, const struct frame *frame)
{
    struct peer_node *node = data;

    assert_true(peer == 3 - node->id);
    node->frames++;
    if (frame->type == FRAME_FORWARD) {
        node->bytes += frame->forward.bundle.size;
    } else {
        node->last_round = frame->read.round;
    }
}

static void on_up(void *data, uint64_t peer)
{
    struct peer_node *node = data;

    assert_true(peer == 3 - node->id);
    node->is_up = true;
    node->ups++;
}

static void on_down(void *data, uint64_t peer)
{
    struct peer_node *node = data;

    assert_true(peer == 3 - node->id);
    node->is_up = false;
    node->downs++;
}

static void on_raft(void *data, uint64_t peer, int fd)
{
    struct peer_node *node = data;

    if (node->transport == NULL) {
        assert_int_equal(close(fd), 0);
        return;
    }
    transport_accept(node->transport, peer, fd);
}

static void on_bulk(void *data, uint64_t peer, int fd)
{
    struct peer_node *node = data;

    if (node->on_bulk == NULL) {
        assert_int_equal(close(fd), 0);
    } else {
        node->on_bulk(node, peer, fd);
    }
}

static bool on_stranger(void *data, const struct frame_hello *hello)
{
    struct peer_node *node = data;

    if (node->meets_strangers) {
        peers_set(node->peers, &hello->id, 1);
    }
    return node->meets_strangers;
}

static bool on_was_removed(void *data, uint64_t id)
{
    const struct peer_node *node = data;

    return node->removed_id != 0 && id == node->removed_id;
}

static void on_removed(void *data, const struct error *why)
{
    struct peer_node *node = data;

    assert_int_equal(why->status, STATUS_CLOSED);
    node->removals++;
}

static bool on_bootstrap_hello(void *data, const struct frame_hello *hello)
{
    struct peer_node *node = data;

    (void)hello;
    node->hellos++;
    return true;
}

/* Answers with what was asked. */
static bool on_bootstrap_request(void *data, const struct frame_hello *hello,
                                 const struct frame *request, struct channel *channel)
{
    (void)data;
    (void)hello;
    return channel_send(channel, request) == STATUS_OK;
}

void peer_open_node(struct peer_node *node, const char *address)
{
    const struct peers_options options = {
        .listen_address = address,
        .handshake_timeout_ms = 100,
        .data = node,
        .describe = describe,
        .lookup = peer_lookup,
        .on_frame = on_frame,
        .on_up = on_up,
        .on_down = on_down,
        .on_raft = on_raft,
        .on_bulk = on_bulk,
        .on_stranger = on_stranger,
        .was_removed = on_was_removed,
        .on_removed = on_removed,
        .on_bootstrap_hello = on_bootstrap_hello,
        .on_bootstrap_request = on_bootstrap_request,
    };

    assert_int_equal(peers_open(&node->fixture->loop, &options, &node->peers, NULL), STATUS_OK);
}

void peer_meet(struct peer_fixture *f)
{
    const uint64_t first = 1;
    const uint64_t second = 2;

    peers_set(f->nodes[0].peers, &second, 1);
    peers_set(f->nodes[1].peers, &first, 1);
}

/* --- The loop --- */

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happened in time");
}

void peer_run_until(struct peer_fixture *f, bool (*done)(struct peer_fixture *f))
{
    assert_int_equal(uv_timer_start(&f->deadline, on_deadline, PEER_DEADLINE_MS, 0), 0);
    while (!done(f)) {
        for (unsigned i = 0; i < 2; i++) {
            if (f->nodes[i].peers != NULL) {
                peers_flush(f->nodes[i].peers);
            }
        }
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_timer_stop(&f->deadline), 0);
}

bool peer_both_up(struct peer_fixture *f)
{
    return f->nodes[0].is_up && f->nodes[1].is_up;
}

int peer_setup(void **state)
{
    struct peer_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->deadline), 0);
    for (unsigned i = 0; i < 2; i++) {
        f->nodes[i] = (struct peer_node){
            .fixture = f, .id = i + 1, .cluster_id = PEER_UUID, .identity = IDENTITY_MEMBER};
        peer_open_node(&f->nodes[i], "127.0.0.1:0");
    }
    *state = f;
    return 0;
}

void peer_close_node(struct peer_node *node)
{
    if (node->peers != NULL) {
        peers_close(node->peers, NULL);
        node->peers = NULL;
    }
}

int peer_teardown(void **state)
{
    struct peer_fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        if (f->nodes[i].transport != NULL) {
            transport_abandon(f->nodes[i].transport);
        }
        peer_close_node(&f->nodes[i]);
        transport_close(f->nodes[i].transport);
    }
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

/* --- A raw connection, as anyone may make --- */

int peer_raw_connect(const struct peer_node *node)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)peers_port(node->peers)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void peer_raw_write(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

void peer_raw_read_to_end(struct peer_fixture *f, int fd, struct buffer *said)
{
    assert_int_equal(uv_timer_start(&f->deadline, on_deadline, PEER_DEADLINE_MS, 0), 0);
    for (;;) {
        uint8_t bytes[4096];
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);

        if (got > 0) {
            buffer_append(said, bytes, (size_t)got);
        } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            break;
        } else {
            uv_run(&f->loop, UV_RUN_ONCE);
        }
    }
    assert_int_equal(uv_timer_stop(&f->deadline), 0);
    assert_int_equal(close(fd), 0);
}

struct frame peer_good_hello(enum frame_purpose purpose)
{
    struct frame frame = {.type = FRAME_HELLO};

    frame.hello = (struct frame_hello){
        .protocol = FRAME_PROTOCOL,
        .purpose = purpose,
        .identity = IDENTITY_MEMBER,
        .cluster_id = slice_of_string(PEER_UUID),
        .id = 2,
        .expected_id = 1,
        .name = slice_of_string("n2"),
        .peer_address = slice_of_string("127.0.0.1:1"),
        .api_address = slice_of_string("127.0.0.1:2"),
        .version = slice_of_string("0"),
    };
    return frame;
}

static int raw_say(struct peer_fixture *f, const struct frame *frame)
{
    struct buffer bytes = BUFFER_EMPTY;
    int fd = peer_raw_connect(&f->nodes[0]);

    frame_encode(frame, &bytes);
    peer_raw_write(fd, bytes.data, bytes.size);
    buffer_close(&bytes);
    return fd;
}

void peer_assert_refused(struct peer_fixture *f, const struct frame *frame, enum status status,
                         const char *word)
{
    struct buffer said = BUFFER_EMPTY;
    struct frame answer;
    char reason[ERROR_MAX_TEXT + 1] = {0};

    peer_raw_read_to_end(f, raw_say(f, frame), &said);
    assert_int_equal(frame_decode(buffer_slice(&said), &answer, NULL), STATUS_OK);
    assert_int_equal(answer.type, FRAME_REFUSED);
    assert_int_equal(answer.refused.status, status);
    memcpy(reason, answer.refused.reason.data, answer.refused.reason.size);
    assert_non_null(strstr(reason, word));
    buffer_close(&said);
}
