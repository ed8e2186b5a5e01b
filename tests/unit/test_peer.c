/* Two nodes on loopback: who is let in, what comes through, and what happens when it breaks. */
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

#define UUID        "0b0ff1ce-0000-4000-8000-000000000001"
#define OTHER_UUID  "0b0ff1ce-0000-4000-8000-000000000002"
#define DEADLINE_MS 20000

struct node {
    struct fixture *fixture;
    struct peers *peers;
    uint64_t id;
    const char *cluster_id;
    enum frame_identity identity;
    bool is_up;
    unsigned ups;
    unsigned downs;
    unsigned frames;
    uint64_t last_round; /* Of the last frame. */
    size_t bytes;        /* Of bundles that came. */
    unsigned hellos;     /* To form a cluster. */
    struct transport *transport;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct node nodes[2];
};

/* --- The nodes --- */

static void describe(void *data, struct frame_hello *hello)
{
    const struct node *node = data;

    hello->identity = node->identity;
    hello->cluster_id = slice_of_string(node->cluster_id);
    hello->id = node->id;
    hello->name = slice_of_string("n");
    hello->peer_address = slice_of_string("127.0.0.1:1");
    hello->api_address = slice_of_string("127.0.0.1:2");
    hello->version = slice_of_string("0");
}

static bool lookup(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1])
{
    const struct node *node = data;

    for (unsigned i = 0; i < 2; i++) {
        const struct node *other = &node->fixture->nodes[i];

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
    struct node *node = data;

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
    struct node *node = data;

    assert_true(peer == 3 - node->id);
    node->is_up = true;
    node->ups++;
}

static void on_down(void *data, uint64_t peer)
{
    struct node *node = data;

    assert_true(peer == 3 - node->id);
    node->is_up = false;
    node->downs++;
}

static void on_raft(void *data, uint64_t peer, int fd)
{
    struct node *node = data;

    if (node->transport == NULL) {
        assert_int_equal(close(fd), 0);
        return;
    }
    transport_accept(node->transport, peer, fd);
}

static bool on_bootstrap_hello(void *data, const struct frame_hello *hello)
{
    struct node *node = data;

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

static void open_node(struct node *node, const char *address)
{
    const struct peers_options options = {
        .listen_address = address,
        .handshake_timeout_ms = 100,
        .data = node,
        .describe = describe,
        .lookup = lookup,
        .on_frame = on_frame,
        .on_up = on_up,
        .on_down = on_down,
        .on_raft = on_raft,
        .on_bootstrap_hello = on_bootstrap_hello,
        .on_bootstrap_request = on_bootstrap_request,
    };

    assert_int_equal(peers_open(&node->fixture->loop, &options, &node->peers, NULL), STATUS_OK);
}

static void meet(struct fixture *f)
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

/* Run the loop until @done says so. */
static void run_until(struct fixture *f, bool (*done)(struct fixture *f))
{
    assert_int_equal(uv_timer_start(&f->deadline, on_deadline, DEADLINE_MS, 0), 0);
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

static bool both_up(struct fixture *f)
{
    return f->nodes[0].is_up && f->nodes[1].is_up;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->deadline), 0);
    for (unsigned i = 0; i < 2; i++) {
        f->nodes[i] = (struct node){
            .fixture = f, .id = i + 1, .cluster_id = UUID, .identity = IDENTITY_MEMBER};
        open_node(&f->nodes[i], "127.0.0.1:0");
    }
    *state = f;
    return 0;
}

static void close_node(struct node *node)
{
    if (node->peers != NULL) {
        peers_close(node->peers, NULL);
        node->peers = NULL;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        if (f->nodes[i].transport != NULL) {
            transport_abandon(f->nodes[i].transport);
        }
        close_node(&f->nodes[i]);
        transport_close(f->nodes[i].transport);
    }
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

/* --- A raw connection, as anyone may make --- */

static int raw_connect(const struct node *node)
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

static void raw_write(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Run the loop until the node has ended the connection; gives what it said before. */
static void raw_read_to_end(struct fixture *f, int fd, struct buffer *said)
{
    assert_int_equal(uv_timer_start(&f->deadline, on_deadline, DEADLINE_MS, 0), 0);
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

static struct frame good_hello(enum frame_purpose purpose)
{
    struct frame frame = {.type = FRAME_HELLO};

    frame.hello = (struct frame_hello){
        .protocol = FRAME_PROTOCOL,
        .purpose = purpose,
        .identity = IDENTITY_MEMBER,
        .cluster_id = slice_of_string(UUID),
        .id = 2,
        .expected_id = 1,
        .name = slice_of_string("n2"),
        .peer_address = slice_of_string("127.0.0.1:1"),
        .api_address = slice_of_string("127.0.0.1:2"),
        .version = slice_of_string("0"),
    };
    return frame;
}

static int raw_say(struct fixture *f, const struct frame *frame)
{
    struct buffer bytes = BUFFER_EMPTY;
    int fd = raw_connect(&f->nodes[0]);

    frame_encode(frame, &bytes);
    raw_write(fd, bytes.data, bytes.size);
    buffer_close(&bytes);
    return fd;
}

/* Say @frame to node 1 and expect to be refused with @status and a reason with @word. */
static void assert_refused(struct fixture *f, const struct frame *frame, enum status status,
                           const char *word)
{
    struct buffer said = BUFFER_EMPTY;
    struct frame answer;
    char reason[ERROR_MAX_TEXT + 1] = {0};

    raw_read_to_end(f, raw_say(f, frame), &said);
    assert_int_equal(frame_decode(buffer_slice(&said), &answer, NULL), STATUS_OK);
    assert_int_equal(answer.type, FRAME_REFUSED);
    assert_int_equal(answer.refused.status, status);
    memcpy(reason, answer.refused.reason.data, answer.refused.reason.size);
    assert_non_null(strstr(reason, word));
    buffer_close(&said);
}

/* --- Tests --- */

static void send_round(struct node *node, uint64_t round)
{
    struct frame frame = {.type = FRAME_READ_ASK, .read = {.round = round}};

    assert_true(peers_send(node->peers, 3 - node->id, &frame));
}

static bool both_heard_ten(struct fixture *f)
{
    return f->nodes[0].frames == 10 && f->nodes[1].frames == 10;
}

static void frames_arrive_in_order_both_ways(void **state)
{
    struct fixture *f = *state;

    meet(f);
    run_until(f, both_up);
    for (uint64_t round = 1; round <= 10; round++) {
        send_round(&f->nodes[0], round);
        send_round(&f->nodes[1], 100 + round);
    }
    run_until(f, both_heard_ten);

    assert_int_equal(f->nodes[0].last_round, 110);
    assert_int_equal(f->nodes[1].last_round, 10);
}

static bool many_bytes_came(struct fixture *f)
{
    return f->nodes[1].frames == 4;
}

static void large_frames_arrive_whole(void **state)
{
    struct fixture *f = *state;
    struct frame frame = {.type = FRAME_FORWARD};
    size_t size = 5u << 20;
    uint8_t *bytes = calloc(1, size);

    assert_non_null(bytes);
    meet(f);
    run_until(f, both_up);
    frame.forward.bundle = slice_of(bytes, size);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(peers_send(f->nodes[0].peers, 2, &frame));
    }
    run_until(f, many_bytes_came);

    assert_int_equal(f->nodes[1].bytes, 4 * size);
    free(bytes);
}

static void without_a_connection_a_frame_is_lost(void **state)
{
    struct fixture *f = *state;
    struct frame frame = {.type = FRAME_READ_ASK};

    assert_false(peers_send(f->nodes[0].peers, 2, &frame));
    meet(f);
    assert_false(peers_send(f->nodes[0].peers, 2, &frame));
    assert_false(peers_send(f->nodes[0].peers, 77, &frame));
}

static bool first_is_down(struct fixture *f)
{
    return !f->nodes[0].is_up;
}

static bool up_again(struct fixture *f)
{
    return both_up(f) && f->nodes[0].ups >= 2;
}

static void a_lost_connection_is_made_again(void **state)
{
    struct fixture *f = *state;
    char address[32];

    meet(f);
    run_until(f, both_up);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(f->nodes[1].peers));
    close_node(&f->nodes[1]);
    run_until(f, first_is_down);
    assert_int_equal(f->nodes[0].downs, 1);
    f->nodes[1].is_up = false;
    f->nodes[1].frames = 0;

    open_node(&f->nodes[1], address);
    meet(f);
    run_until(f, up_again);
    send_round(&f->nodes[0], 7);
    f->nodes[1].last_round = 0;
    while (f->nodes[1].frames == 0) {
        peers_flush(f->nodes[0].peers);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(f->nodes[1].last_round, 7);
}

static bool was_reset(struct fixture *f)
{
    return peers_resets(f->nodes[0].peers) > 0;
}

/* The channel of a peer that takes everything at TCP's level, but reads nothing. */
static void a_peer_that_does_not_read_is_reset(void **state)
{
    struct fixture *f = *state;
    struct frame frame = {.type = FRAME_FORWARD};
    size_t size = 7u << 20;
    uint8_t *bytes = calloc(1, size);
    unsigned sent = 0;

    assert_non_null(bytes);
    meet(f);
    run_until(f, both_up);
    frame.forward.bundle = slice_of(bytes, size);
    /* The loop does not run, so that nobody reads. */
    while (sent < 10 && peers_send(f->nodes[0].peers, 2, &frame)) {
        peers_flush(f->nodes[0].peers);
        sent++;
    }
    assert_true(sent >= 4 && sent < 10);
    run_until(f, was_reset);

    assert_int_equal(f->nodes[0].downs, 1);
    run_until(f, both_up);
    free(bytes);
}

static void who_is_not_meant_is_refused(void **state)
{
    struct fixture *f = *state;
    struct frame frame;

    meet(f);
    frame = good_hello(PURPOSE_CONTROL);
    frame.hello.cluster_id = slice_of_string(OTHER_UUID);
    assert_refused(f, &frame, STATUS_MISMATCH, "is of cluster");

    frame = good_hello(PURPOSE_CONTROL);
    frame.hello.id = 9;
    assert_refused(f, &frame, STATUS_NOT_FOUND, "is no member");

    frame = good_hello(PURPOSE_RAFT);
    frame.hello.expected_id = 9;
    assert_refused(f, &frame, STATUS_MISMATCH, "was meant");

    frame = good_hello(PURPOSE_CONTROL);
    frame.hello.protocol = FRAME_PROTOCOL + 1;
    assert_refused(f, &frame, STATUS_UNSUPPORTED, "protocol");

    frame = good_hello(PURPOSE_CONTROL);
    frame.hello.identity = IDENTITY_PENDING;
    assert_refused(f, &frame, STATUS_MISMATCH, "is of cluster");

    frame = good_hello(PURPOSE_BULK);
    assert_refused(f, &frame, STATUS_UNSUPPORTED, "no connection of kind");

    frame = good_hello(PURPOSE_CONTROL);
    frame.hello.id = 1; /* This node itself. */
    assert_refused(f, &frame, STATUS_NOT_FOUND, "is no member");

    frame = (struct frame){.type = FRAME_STATUS};
    assert_refused(f, &frame, STATUS_INVALID, "no greeting");
    assert_int_equal(f->nodes[0].frames, 0);
}

static void members_are_refused_until_the_cluster_is_formed(void **state)
{
    struct fixture *f = *state;
    struct frame frame = good_hello(PURPOSE_CONTROL);

    meet(f);
    f->nodes[0].identity = IDENTITY_PENDING;
    assert_refused(f, &frame, STATUS_BUSY, "not in a cluster yet");
}

/* Each of these ends the connection, and node 2 is still served. */
static void garbage_ends_the_connection(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct fixture *f = *state;
    struct frame frame = good_hello(PURPOSE_CONTROL);
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer said = BUFFER_EMPTY;
    int fd;

    meet(f);
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, http, sizeof http - 1);
    raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    wire_put_u32(&bytes, CHANNEL_HANDSHAKE_BYTES); /* Too large before the greeting. */
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size);
    raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    bytes.data[bytes.size - 1] ^= 1;
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size);
    raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    /* After a good greeting, a frame beyond all limits. */
    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    wire_put_u32(&bytes, LIMIT_FRAME_BYTES);
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size);
    raw_read_to_end(f, fd, &said);

    /* And one that has no business there. */
    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    frame_encode(&frame, &bytes);
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size);
    raw_read_to_end(f, fd, &said);

    run_until(f, both_up);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void who_says_nothing_is_cut(void **state)
{
    struct fixture *f = *state;
    struct buffer said = BUFFER_EMPTY;
    struct frame frame = good_hello(PURPOSE_CONTROL);
    struct buffer bytes = BUFFER_EMPTY;
    int fd = raw_connect(&f->nodes[0]);

    raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    frame_encode(&frame, &bytes);
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size - 1); /* Half a greeting. */
    raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void a_flood_of_silent_connections_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct buffer said = BUFFER_EMPTY;
    int fds[100];

    for (unsigned i = 0; i < 100; i++) {
        fds[i] = raw_connect(&f->nodes[0]);
    }
    for (unsigned i = 0; i < 100; i++) {
        raw_read_to_end(f, fds[i], &said);
    }
    meet(f);
    run_until(f, both_up);
    buffer_close(&said);
}

static void bytes_behind_the_greeting_of_a_raft_stream_end_it(void **state)
{
    struct fixture *f = *state;
    struct frame frame = good_hello(PURPOSE_RAFT);
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer said = BUFFER_EMPTY;
    int fd;

    meet(f);
    frame_encode(&frame, &bytes);
    buffer_append_byte(&bytes, 1);
    fd = raw_connect(&f->nodes[0]);
    raw_write(fd, bytes.data, bytes.size);
    raw_read_to_end(f, fd, &said);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void an_address_that_others_can_reach_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct peers_options options = {.listen_address = "0.0.0.0:0"};
    struct peers *peers = NULL;
    struct error error;

    assert_int_equal(peers_open(&f->loop, &options, &peers, &error), STATUS_PERMISSION);
    assert_non_null(strstr(error.text, "--allow-insecure-peers"));
    assert_null(peers);
}

static void a_port_in_use_is_told(void **state)
{
    struct fixture *f = *state;
    struct peers_options options = {0};
    struct peers *peers = NULL;
    struct error error;
    char address[32];

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(f->nodes[0].peers));
    options.listen_address = address;
    assert_int_equal(peers_open(&f->loop, &options, &peers, &error), STATUS_BUSY);
    assert_non_null(strstr(error.text, address));
}

/* --- Dialling --- */

struct outcome {
    bool done;
    enum status status;
    struct channel *channel;
    enum frame_type answer;
};

static struct outcome outcome;

static void on_answer(void *data, struct channel *channel, const struct frame *frame)
{
    (void)data;
    (void)channel;
    outcome.answer = frame->type;
}

static void on_answer_broken(void *data, struct channel *channel, const struct error *error)
{
    (void)data;
    (void)channel;
    fail_msg("%s", error->text);
}

static const struct channel_events answer_events = {.on_frame = on_answer,
                                                    .on_broken = on_answer_broken};

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    (void)data;
    outcome.done = true;
    outcome.status = channel == NULL ? error->status : STATUS_OK;
    outcome.channel = channel;
    if (channel != NULL) {
        assert_int_equal(welcome->id, 1);
        channel_set_owner(channel, &answer_events, NULL);
    }
}

static bool dial_is_done(struct fixture *f)
{
    (void)f;
    return outcome.done;
}

static enum status dial(struct fixture *f, const char *address, enum frame_purpose purpose)
{
    struct dial *started;

    outcome = (struct outcome){0};
    assert_int_equal(
        peers_dial(f->nodes[1].peers, address, purpose, 1, NULL, on_dialled, &started, NULL),
        STATUS_OK);
    assert_false(outcome.done);
    run_until(f, dial_is_done);
    return outcome.status;
}

static bool answer_came(struct fixture *f)
{
    (void)f;
    return outcome.answer != FRAME_NONE;
}

static void a_node_that_forms_is_answered_on_its_own_connection(void **state)
{
    struct fixture *f = *state;
    struct frame frame = {.type = FRAME_BOOTSTRAP_COMMIT};
    char address[32];

    f->nodes[0].identity = IDENTITY_EMPTY;
    f->nodes[1].identity = IDENTITY_EMPTY;
    (void)snprintf(address, sizeof address, "localhost:%u", peers_port(f->nodes[0].peers));
    assert_int_equal(dial(f, address, PURPOSE_BOOTSTRAP), STATUS_OK);
    assert_int_equal(f->nodes[0].hellos, 1);
    assert_int_equal(channel_send(outcome.channel, &frame), STATUS_OK);
    channel_flush(outcome.channel);
    run_until(f, answer_came);

    assert_int_equal(outcome.answer, FRAME_BOOTSTRAP_COMMIT);
    channel_close(outcome.channel);
}

static void dialling_tells_why_it_failed(void **state)
{
    struct fixture *f = *state;
    const uint64_t stranger = 77;
    struct dial *started;
    char address[32];
    unsigned port = peers_port(f->nodes[0].peers);

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(dial(f, address, PURPOSE_CONTROL), STATUS_BUSY); /* It knows nobody yet. */
    peers_set(f->nodes[0].peers, &stranger, 1);
    assert_int_equal(dial(f, address, PURPOSE_CONTROL), STATUS_NOT_FOUND); /* No member. */
    assert_int_equal(dial(f, "192.0.2.1:1", PURPOSE_CONTROL), STATUS_PERMISSION);
    assert_int_equal(dial(f, "-.invalid:1", PURPOSE_CONTROL), STATUS_NOT_FOUND);
    close_node(&f->nodes[0]);
    assert_int_equal(dial(f, address, PURPOSE_CONTROL), STATUS_IO);
    assert_int_equal(peers_dial(f->nodes[1].peers, "nowhere", PURPOSE_CONTROL, 1, NULL, on_dialled,
                                &started, NULL),
                     STATUS_INVALID);
}

static void a_canceled_dial_says_nothing(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:1", "localhost:1"};
    struct fixture *f = *state;

    outcome = (struct outcome){0};
    for (unsigned i = 0; i < 2; i++) {
        struct dial *started;

        assert_int_equal(peers_dial(f->nodes[1].peers, addresses[i], PURPOSE_CONTROL, 1, NULL,
                                    on_dialled, &started, NULL),
                         STATUS_OK);
        dial_cancel(started);
    }
    for (unsigned i = 0; i < 50; i++) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_false(outcome.done);
}

/* --- libraft's streams --- */

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

static bool raft_is_connected(struct fixture *f)
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

static bool raft_was_heard(struct fixture *f)
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

static bool raft_write_came_back(struct fixture *f)
{
    (void)f;
    return raft_write_is_done;
}

/* Write as libraft does. It only notices a failure that comes later, from the loop. */
static int raft_write(struct fixture *f)
{
    uv_write_t request;
    char byte = 0;
    uv_buf_t buf = uv_buf_init(&byte, 1);

    raft_write_is_done = false;
    assert_int_equal(uv_write(&request, connecting.stream, &buf, 1, on_raft_written), 0);
    run_until(f, raft_write_came_back);
    return raft_write_status;
}

static void open_transports(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        struct node *node = &f->nodes[i];
        struct raft_uv_transport *raft;

        node->transport = transport_open(&f->loop, node->peers, node, lookup);
        raft = transport_raft(node->transport);
        assert_int_equal(raft->init(raft, node->id, "x"), 0);
        assert_int_equal(raft->listen(raft, on_raft_accepted), 0);
    }
    connecting = (struct raft_end){0};
    accepted = (struct raft_end){0};
    memset(raft_heard, 0, sizeof raft_heard);
}

static void connect_raft(struct fixture *f)
{
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    assert_int_equal(raft->connect(raft, &request, 1, "0000000000000001", on_raft_connected), 0);
    run_until(f, raft_is_connected);
    assert_int_equal(connecting.status, 0);
}

/* Let what the kernel knows reach the loop. */
static void run_turns(struct fixture *f)
{
    for (unsigned i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void a_raft_stream_carries_bytes_one_way_and_notices_its_end(void **state)
{
    struct fixture *f = *state;
    char hello[] = "hello";
    uv_buf_t buf = uv_buf_init(hello, 5);

    connect_raft(f);
    assert_int_equal(uv_read_start(accepted.stream, on_raft_alloc, on_raft_read), 0);
    assert_int_equal(uv_try_write(connecting.stream, &buf, 1), 5);
    run_until(f, raft_was_heard);
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
    struct fixture *f = *state;

    connect_raft(f);
    assert_int_equal(raft_write(f), 0);
    assert_int_equal(uv_tcp_close_reset((uv_tcp_t *)accepted.stream, (uv_close_cb)raft_free), 0);
    run_turns(f);

    assert_true(raft_write(f) < 0);
    uv_close((uv_handle_t *)connecting.stream, (uv_close_cb)raft_free);
}

static void a_raft_connection_to_nobody_fails_later(void **state)
{
    struct fixture *f = *state;
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    assert_int_equal(raft->connect(raft, &request, 9, "9", on_raft_connected), RAFT_NOCONNECTION);
    f->nodes[0].id = 8; /* Another node has taken the place. */
    f->nodes[1].fixture->nodes[0].cluster_id = OTHER_UUID;
    assert_int_equal(raft->connect(raft, &request, 8, "8", on_raft_connected), 0);
    assert_false(connecting.done);
    run_until(f, raft_is_connected);
    assert_int_equal(connecting.status, RAFT_NOCONNECTION);
    assert_null(connecting.stream);
}

static bool transport_closed;

static void on_transport_closed(struct raft_uv_transport *raft)
{
    (void)raft;
    transport_closed = true;
}

static bool transport_is_closed(struct fixture *f)
{
    (void)f;
    return transport_closed;
}

static void closing_the_transport_cancels_what_is_on_its_way(void **state)
{
    struct fixture *f = *state;
    struct raft_uv_transport *raft;
    struct raft_uv_connect request;

    meet(f);
    open_transports(f);
    raft = transport_raft(f->nodes[1].transport);
    transport_closed = false;
    assert_int_equal(raft->connect(raft, &request, 1, "1", on_raft_connected), 0);
    raft->close(raft, on_transport_closed);
    assert_false(transport_closed);
    run_until(f, transport_is_closed);
    assert_true(connecting.done);
    assert_int_equal(connecting.status, RAFT_CANCELED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_arrive_in_order_both_ways),
        TEST(large_frames_arrive_whole),
        TEST(without_a_connection_a_frame_is_lost),
        TEST(a_lost_connection_is_made_again),
        TEST(a_peer_that_does_not_read_is_reset),
        TEST(who_is_not_meant_is_refused),
        TEST(members_are_refused_until_the_cluster_is_formed),
        TEST(garbage_ends_the_connection),
        TEST(who_says_nothing_is_cut),
        TEST(a_flood_of_silent_connections_is_bounded),
        TEST(bytes_behind_the_greeting_of_a_raft_stream_end_it),
        TEST(an_address_that_others_can_reach_is_refused),
        TEST(a_port_in_use_is_told),
        TEST(a_node_that_forms_is_answered_on_its_own_connection),
        TEST(dialling_tells_why_it_failed),
        TEST(a_canceled_dial_says_nothing),
        TEST(a_raft_stream_carries_bytes_one_way_and_notices_its_end),
        TEST(a_raft_stream_that_is_reset_fails_from_the_loop),
        TEST(a_raft_connection_to_nobody_fails_later),
        TEST(closing_the_transport_cancels_what_is_on_its_way),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As in the daemon: libuv writes with write(). */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
