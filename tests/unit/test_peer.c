/* Two nodes on loopback: who is let in, what comes through, and what happens when it breaks. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/wire.h"
#include "raft/peer.h"
#include "tests/lib/peer_fixture.h"

static void send_round(struct peer_node *node, uint64_t round)
{
    struct frame frame = {.type = FRAME_READ_ASK, .read = {.round = round}};

    assert_true(peers_send(node->peers, 3 - node->id, &frame));
}

static bool both_heard_ten(struct peer_fixture *f)
{
    return f->nodes[0].frames == 10 && f->nodes[1].frames == 10;
}

static void frames_arrive_in_order_both_ways(void **state)
{
    struct peer_fixture *f = *state;

    peer_meet(f);
    peer_run_until(f, peer_both_up);
    for (uint64_t round = 1; round <= 10; round++) {
        send_round(&f->nodes[0], round);
        send_round(&f->nodes[1], 100 + round);
    }
    peer_run_until(f, both_heard_ten);

    assert_int_equal(f->nodes[0].last_round, 110);
    assert_int_equal(f->nodes[1].last_round, 10);
}

static bool many_bytes_came(struct peer_fixture *f)
{
    return f->nodes[1].frames == 4;
}

static void large_frames_arrive_whole(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = {.type = FRAME_FORWARD};
    size_t size = 5u << 20;
    uint8_t *bytes = calloc(1, size);

    assert_non_null(bytes);
    peer_meet(f);
    peer_run_until(f, peer_both_up);
    frame.forward.bundle = slice_of(bytes, size);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(peers_send(f->nodes[0].peers, 2, &frame));
    }
    peer_run_until(f, many_bytes_came);

    assert_int_equal(f->nodes[1].bytes, 4 * size);
    free(bytes);
}

static bool all_types_came(struct peer_fixture *f)
{
    return f->nodes[1].frames == FRAME_MARKS - FRAME_FORWARD + 1;
}

/* None is taken for one that ends the connection. */
static void a_control_connection_takes_frames_of_each_control_type(void **state)
{
    struct peer_fixture *f = *state;

    peer_meet(f);
    peer_run_until(f, peer_both_up);
    for (unsigned type = FRAME_FORWARD; type <= FRAME_MARKS; type++) {
        struct frame frame = {.type = type};

        assert_true(peers_send(f->nodes[0].peers, 2, &frame));
    }
    peer_run_until(f, all_types_came);

    assert_int_equal(f->nodes[0].downs, 0);
}

static void without_a_connection_a_frame_is_lost(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = {.type = FRAME_READ_ASK};

    assert_false(peers_send(f->nodes[0].peers, 2, &frame));
    peer_meet(f);
    assert_false(peers_send(f->nodes[0].peers, 2, &frame));
    assert_false(peers_send(f->nodes[0].peers, 77, &frame));
}

static bool first_is_down(struct peer_fixture *f)
{
    return !f->nodes[0].is_up;
}

static bool up_again(struct peer_fixture *f)
{
    return peer_both_up(f) && f->nodes[0].ups >= 2;
}

static void a_lost_connection_is_made_again(void **state)
{
    struct peer_fixture *f = *state;
    char address[32];

    peer_meet(f);
    peer_run_until(f, peer_both_up);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(f->nodes[1].peers));
    peer_close_node(&f->nodes[1]);
    peer_run_until(f, first_is_down);
    assert_int_equal(f->nodes[0].downs, 1);
    f->nodes[1].is_up = false;
    f->nodes[1].frames = 0;

    peer_open_node(&f->nodes[1], address);
    peer_meet(f);
    peer_run_until(f, up_again);
    send_round(&f->nodes[0], 7);
    f->nodes[1].last_round = 0;
    while (f->nodes[1].frames == 0) {
        peers_flush(f->nodes[0].peers);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(f->nodes[1].last_round, 7);
}

static bool was_reset(struct peer_fixture *f)
{
    return peers_resets(f->nodes[0].peers) > 0;
}

/* The channel of a peer that takes everything at TCP's level, but reads nothing. */
static void a_peer_that_does_not_read_is_reset(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = {.type = FRAME_FORWARD};
    size_t size = 7u << 20;
    uint8_t *bytes = calloc(1, size);
    unsigned sent = 0;

    assert_non_null(bytes);
    peer_meet(f);
    peer_run_until(f, peer_both_up);
    frame.forward.bundle = slice_of(bytes, size);
    /* The loop does not run, so that nobody reads. */
    while (sent < 10 && peers_send(f->nodes[0].peers, 2, &frame)) {
        peers_flush(f->nodes[0].peers);
        sent++;
    }
    assert_true(sent >= 4 && sent < 10);
    peer_run_until(f, was_reset);

    assert_int_equal(f->nodes[0].downs, 1);
    peer_run_until(f, peer_both_up);
    free(bytes);
}

static void who_is_not_meant_is_refused(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame;

    peer_meet(f);
    frame = peer_good_hello(PURPOSE_CONTROL);
    frame.hello.cluster_id = slice_of_string(PEER_OTHER_UUID);
    peer_assert_refused(f, &frame, STATUS_MISMATCH, "is of cluster");

    frame = peer_good_hello(PURPOSE_CONTROL);
    frame.hello.id = 9;
    peer_assert_refused(f, &frame, STATUS_NOT_FOUND, "is no member");

    frame = peer_good_hello(PURPOSE_RAFT);
    frame.hello.expected_id = 9;
    peer_assert_refused(f, &frame, STATUS_MISMATCH, "was meant");

    frame = peer_good_hello(PURPOSE_CONTROL);
    frame.hello.protocol = FRAME_PROTOCOL + 1;
    peer_assert_refused(f, &frame, STATUS_UNSUPPORTED, "protocol");

    frame = peer_good_hello(PURPOSE_CONTROL);
    frame.hello.identity = IDENTITY_EMPTY;
    peer_assert_refused(f, &frame, STATUS_MISMATCH, "is of cluster");

    frame = peer_good_hello(PURPOSE_CONTROL);
    frame.hello.id = 1; /* This node itself. */
    peer_assert_refused(f, &frame, STATUS_NOT_FOUND, "is no member");

    frame = (struct frame){.type = FRAME_STATUS};
    peer_assert_refused(f, &frame, STATUS_INVALID, "no greeting");
    assert_int_equal(f->nodes[0].frames, 0);
}

static void members_are_refused_until_the_cluster_is_formed(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = peer_good_hello(PURPOSE_CONTROL);

    peer_meet(f);
    f->nodes[0].identity = IDENTITY_EMPTY;
    peer_assert_refused(f, &frame, STATUS_BUSY, "not in a cluster yet");
}

/* After a recovery, say: nodes of the cluster that it was hear at once that this is another one. */
static void a_member_alone_tells_others_that_it_is_of_another_cluster(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = peer_good_hello(PURPOSE_CONTROL);

    frame.hello.cluster_id = slice_of_string(PEER_OTHER_UUID);
    peer_assert_refused(f, &frame, STATUS_MISMATCH, "is of cluster");
}

static bool is_told(struct peer_fixture *f)
{
    return f->nodes[1].removals > 0;
}

/* Also by a node that has nobody else any more. */
static void one_that_was_removed_is_told_so(void **state)
{
    struct peer_fixture *f = *state;

    peer_meet(f);
    peer_run_until(f, peer_both_up);
    f->nodes[0].removed_id = f->nodes[1].id;
    assert_int_equal(f->nodes[1].removals, 0); /* As long as it is a member there. */
    peers_set(f->nodes[0].peers, NULL, 0);
    peer_run_until(f, is_told);
}

/* A node whose table is behind may not know who leads. */
static void a_member_that_is_not_known_yet_is_met(void **state)
{
    struct peer_fixture *f = *state;
    const uint64_t somebody = 7;
    const uint64_t first = 1;

    peers_set(f->nodes[0].peers, &somebody, 1);
    peers_set(f->nodes[1].peers, &first, 1);
    f->nodes[0].meets_strangers = true;
    peer_run_until(f, peer_both_up);
}

/* It formed its cluster alone, and was killed before its state had who came then. */
static void one_that_knows_nobody_meets_members_too(void **state)
{
    struct peer_fixture *f = *state;
    const uint64_t first = 1;

    peers_set(f->nodes[1].peers, &first, 1);
    f->nodes[0].meets_strangers = true;
    peer_run_until(f, peer_both_up);
}

static void a_node_that_joins_may_be_visited_and_may_connect(void **state)
{
    struct peer_fixture *f = *state;

    f->nodes[1].identity = IDENTITY_PENDING; /* With an id that the table of the other has. */
    peer_meet(f);
    peer_run_until(f, peer_both_up);
}

/* Each of these ends the connection, and node 2 is still served. */
static void garbage_ends_the_connection(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct peer_fixture *f = *state;
    struct frame frame = peer_good_hello(PURPOSE_CONTROL);
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer said = BUFFER_EMPTY;
    int fd;

    peer_meet(f);
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, http, sizeof http - 1);
    peer_raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    wire_put_u32(&bytes, CHANNEL_HANDSHAKE_BYTES); /* Too large before the greeting. */
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size);
    peer_raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    bytes.data[bytes.size - 1] ^= 1;
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size);
    peer_raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    /* After a good greeting, a frame beyond all limits. */
    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    wire_put_u32(&bytes, LIMIT_FRAME_BYTES);
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size);
    peer_raw_read_to_end(f, fd, &said);

    /* And one that has no business there. */
    buffer_clear(&bytes);
    frame_encode(&frame, &bytes);
    frame_encode(&frame, &bytes);
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size);
    peer_raw_read_to_end(f, fd, &said);

    peer_run_until(f, peer_both_up);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void who_says_nothing_is_cut(void **state)
{
    struct peer_fixture *f = *state;
    struct buffer said = BUFFER_EMPTY;
    struct frame frame = peer_good_hello(PURPOSE_CONTROL);
    struct buffer bytes = BUFFER_EMPTY;
    int fd = peer_raw_connect(&f->nodes[0]);

    peer_raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);

    frame_encode(&frame, &bytes);
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size - 1); /* Half a greeting. */
    peer_raw_read_to_end(f, fd, &said);
    assert_int_equal(said.size, 0);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void a_flood_of_silent_connections_is_bounded(void **state)
{
    struct peer_fixture *f = *state;
    struct buffer said = BUFFER_EMPTY;
    int fds[100];

    for (unsigned i = 0; i < 100; i++) {
        fds[i] = peer_raw_connect(&f->nodes[0]);
    }
    for (unsigned i = 0; i < 100; i++) {
        peer_raw_read_to_end(f, fds[i], &said);
    }
    peer_meet(f);
    peer_run_until(f, peer_both_up);
    buffer_close(&said);
}

static void bytes_behind_the_greeting_of_a_raft_stream_end_it(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = peer_good_hello(PURPOSE_RAFT);
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer said = BUFFER_EMPTY;
    int fd;

    peer_meet(f);
    frame_encode(&frame, &bytes);
    buffer_append_byte(&bytes, 1);
    fd = peer_raw_connect(&f->nodes[0]);
    peer_raw_write(fd, bytes.data, bytes.size);
    peer_raw_read_to_end(f, fd, &said);
    buffer_close(&bytes);
    buffer_close(&said);
}

static void an_address_that_others_can_reach_is_refused(void **state)
{
    struct peer_fixture *f = *state;
    const struct peers_options options = {.listen_address = "0.0.0.0:0"};
    struct peers *peers = NULL;
    struct error error;

    assert_int_equal(peers_open(&f->loop, &options, &peers, &error), STATUS_PERMISSION);
    assert_non_null(strstr(error.text, "--allow-insecure-peers"));
    assert_null(peers);
}

static void a_port_in_use_is_told(void **state)
{
    struct peer_fixture *f = *state;
    struct peers_options options = {0};
    struct peers *peers = NULL;
    struct error error;
    char address[32];

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(f->nodes[0].peers));
    options.listen_address = address;
    assert_int_equal(peers_open(&f->loop, &options, &peers, &error), STATUS_BUSY);
    assert_non_null(strstr(error.text, address));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_arrive_in_order_both_ways),
        TEST(large_frames_arrive_whole),
        TEST(a_control_connection_takes_frames_of_each_control_type),
        TEST(without_a_connection_a_frame_is_lost),
        TEST(a_lost_connection_is_made_again),
        TEST(a_peer_that_does_not_read_is_reset),
        TEST(who_is_not_meant_is_refused),
        TEST(members_are_refused_until_the_cluster_is_formed),
        cmocka_unit_test_setup_teardown(a_member_alone_tells_others_that_it_is_of_another_cluster,
                                        peer_setup, peer_teardown),
        TEST(one_that_was_removed_is_told_so),
        TEST(a_member_that_is_not_known_yet_is_met),
        TEST(one_that_knows_nobody_meets_members_too),
        TEST(a_node_that_joins_may_be_visited_and_may_connect),
        TEST(garbage_ends_the_connection),
        TEST(who_says_nothing_is_cut),
        TEST(a_flood_of_silent_connections_is_bounded),
        TEST(bytes_behind_the_greeting_of_a_raft_stream_end_it),
        TEST(an_address_that_others_can_reach_is_refused),
        TEST(a_port_in_use_is_told),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As in the daemon: libuv writes with write(). */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
