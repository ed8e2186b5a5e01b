/* State transfer between a member that has the state and one that needs it: what arrives is the
 * state that was asked for, however often the connection breaks, and whoever is asked.
 *
 * Both sides run on one loop. The donor's state is written by the test. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/files.h"
#include "raft/state_receiver.h"
#include "raft/state_sender.h"
#include "storage/image_import.h"
#include "tests/lib/peer_fixture.h"
#include "tests/lib/state.h"

#define N_ITEMS    160
#define ITEM_BYTES 50000

struct fixture {
    struct peer_fixture *peer; /* Node 1 has the state, node 2 needs it. */
    struct state_fixture *state;
    struct image_spools *spools;
    struct mailbox home;
    struct state_sender *sender;
    struct state_receiver *receiver;
    struct frame_hello hello;
    char images[128];
    char received[128];
    uint64_t sent_before; /* By senders that are closed. */
    uint64_t rate;
    bool is_behind; /* The donor has not executed anything. */
    bool is_urgent;
    bool is_closing;
    unsigned n_done;
    struct image_facts facts;
};

static struct fixture *current;

static bool has_executed(void *data, uint64_t index)
{
    const struct fixture *f = data;

    return !f->is_behind && index <= f->state->index;
}

static bool is_urgent(void *data)
{
    return ((const struct fixture *)data)->is_urgent;
}

static void open_sender(struct fixture *f)
{
    const struct state_sender_options options = {
        .loop = &f->peer->loop,
        .home = &f->home,
        .spools = f->spools,
        .cluster_id = PEER_UUID,
        .bytes_per_second = f->rate,
        .has_executed = has_executed,
        .is_urgent = is_urgent,
        .data = f,
    };

    f->sender = state_sender_open(&options);
}

static void on_sender_closed(void *data)
{
    struct fixture *f = data;

    f->sender = NULL;
}

static void close_sender(struct fixture *f)
{
    f->sent_before += state_sender_bytes(f->sender);
    state_sender_close(f->sender, on_sender_closed, f);
    while (f->sender != NULL) {
        (void)uv_run(&f->peer->loop, UV_RUN_ONCE);
    }
}

static void on_bulk(struct peer_node *node, uint64_t peer, int fd)
{
    (void)node;
    assert_int_equal(peer, 2);
    if (current->sender == NULL) {
        assert_int_equal(close(fd), 0);
    } else {
        state_sender_accept(current->sender, peer, fd);
    }
}

static void on_done(void *data, const struct image_facts *facts)
{
    struct fixture *f = data;

    f->n_done++;
    f->facts = *facts;
}

static void open_receiver(struct fixture *f)
{
    const struct state_receiver_options options = {
        .loop = &f->peer->loop,
        .directory = f->received,
        .hello = &f->hello,
        .data = f,
        .on_done = on_done,
    };

    f->receiver = state_receiver_open(&options);
}

static void on_receiver_closed(void *data)
{
    struct fixture *f = data;

    f->receiver = NULL;
}

static void close_receiver(struct fixture *f)
{
    state_receiver_close(f->receiver, on_receiver_closed, f);
    while (f->receiver != NULL) {
        (void)uv_run(&f->peer->loop, UV_RUN_ONCE);
    }
}

static void put_item(struct fixture *f, unsigned i)
{
    static char value[ITEM_BYTES + 3];
    uint64_t noise = i;
    char key[32];
    struct operation operation;

    for (size_t at = 1; at <= ITEM_BYTES; at++) { /* Does not compress to much less. */
        noise = noise * 6364136223846793005u + 1442695040888963407u;
        value[at] = (char)('a' + (noise >> 40) % 26);
    }
    value[0] = '"';
    value[ITEM_BYTES + 1] = '"';
    (void)snprintf(key, sizeof key, "item/%06u", i);
    operation = item_put(key, value);
    assert_true(outcome_is_success(state_operate(f->state, &operation).first.outcome));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct image_spools_options options = {0};

    assert_non_null(f);
    assert_int_equal(peer_setup((void **)&f->peer), 0);
    peer_meet(f->peer);
    f->peer->nodes[0].on_bulk = on_bulk;
    f->state = state_new();
    for (unsigned i = 0; i < N_ITEMS; i++) {
        put_item(f, i);
    }
    state_flush(f->state);
    (void)snprintf(f->images, sizeof f->images, "%s/images", f->state->directory);
    (void)snprintf(f->received, sizeof f->received, "%s/received", f->state->directory);
    options.store = f->state->store;
    options.directory = f->images;
    assert_int_equal(image_spools_open(&options, &f->spools, &f->state->error), STATUS_OK);
    assert_int_equal(mailbox_init(&f->home, &f->peer->loop, NULL), STATUS_OK);
    f->hello = peer_good_hello(PURPOSE_BULK).hello;
    current = f;
    open_sender(f);
    open_receiver(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_receiver(f);
    if (f->sender != NULL) {
        close_sender(f);
    }
    image_spools_close(f->spools);
    mailbox_close(&f->home, NULL);
    assert_int_equal(files_remove_directory(f->received, NULL), STATUS_OK);
    state_free(f->state);
    assert_int_equal(peer_teardown((void **)&f->peer), 0);
    free(f);
    return 0;
}

static struct state_donor donor(const struct fixture *f, uint64_t id)
{
    struct state_donor donor = {.id = id};

    (void)snprintf(donor.address, sizeof donor.address, "127.0.0.1:%u",
                   peers_port(f->peer->nodes[0].peers));
    return donor;
}

static void want(struct fixture *f, uint64_t min_index)
{
    struct state_donor first = donor(f, 1);

    state_receiver_want(f->receiver, min_index, &first, 1);
}

static bool is_done(struct peer_fixture *peer)
{
    (void)peer;
    return current->n_done > 0;
}

static uint64_t sent(const struct fixture *f)
{
    return f->sent_before + state_sender_bytes(f->sender);
}

static uint64_t goal;

static bool has_sent(struct peer_fixture *peer)
{
    (void)peer;
    return sent(current) >= goal;
}

static void run_until_sent(struct fixture *f, uint64_t bytes)
{
    goal = sent(f) + bytes;
    peer_run_until(f->peer, has_sent);
}

/* What is in the directory is the donor's state. */
static void assert_received(struct fixture *f)
{
    const struct store_options options = {.directory = f->received};
    uint64_t hash[2];
    uint64_t got[2];
    struct store *store;
    struct view view = {0};

    state_hash(f->state, hash);
    assert_int_equal(f->n_done, 1);
    assert_int_equal(f->facts.state.applied_index, f->state->index);
    assert_int_equal(store_open(&options, &store, &f->state->error), STATUS_OK);
    assert_int_equal(view_begin(store, &view, NULL), STATUS_OK);
    txn_state_hash(view.txn, got);
    assert_memory_equal(hash, got, sizeof hash);
    view_end(&view);
    view_close(&view);
    store_close(store);
}

static void the_whole_state_arrives(void **state)
{
    struct fixture *f = *state;
    struct state_progress progress;

    want(f, f->state->index);
    run_until_sent(f, 1);
    peer_run_until(f->peer, is_done);
    assert_received(f);
    assert_true(sent(f) > (uint64_t)N_ITEMS * ITEM_BYTES / 4);
    state_receiver_progress(f->receiver, &progress);
    assert_int_equal(progress.donor, 0);
}

static void on_wait_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Let the loop turn for a while. */
static void run_for(struct fixture *f, uint64_t ms)
{
    bool is_over = false;
    uv_timer_t timer;

    assert_int_equal(uv_timer_init(&f->peer->loop, &timer), 0);
    timer.data = &is_over;
    assert_int_equal(uv_timer_start(&timer, on_wait_over, ms, 0), 0);
    while (!is_over) {
        (void)uv_run(&f->peer->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&f->peer->loop, UV_RUN_NOWAIT);
}

/* By what a piece holds, not by how small it gets: the header's 100 bytes are paid after minutes.
 */
static void nothing_is_sent_that_the_rate_does_not_allow(void **state)
{
    struct fixture *f = *state;
    uint64_t first;

    f->rate = 1;
    close_sender(f);
    open_sender(f);
    want(f, f->state->index);
    run_until_sent(f, 1);
    first = sent(f);
    assert_true(first < 1000);
    run_for(f, 200);
    assert_int_equal(sent(f), first);

    f->is_urgent = true;
    peer_run_until(f->peer, is_done);
    assert_received(f);
}

static void a_broken_connection_costs_only_what_was_under_way(void **state)
{
    struct fixture *f = *state;
    uint64_t total;

    want(f, f->state->index);
    for (unsigned i = 0; i < 4; i++) {
        run_until_sent(f, 600000);
        close_sender(f);
        open_sender(f);
    }
    peer_run_until(f->peer, is_done);
    assert_received(f);
    total = sent(f);
    /* Each time four pieces at most. */
    assert_in_range(total, 4 * 600000, (uint64_t)N_ITEMS * ITEM_BYTES + 16 * IMAGE_BLOCK_BYTES);
}

static void a_receiver_that_starts_again_gets_it_too(void **state)
{
    struct fixture *f = *state;

    want(f, f->state->index);
    run_until_sent(f, 1000000);
    close_receiver(f);
    open_receiver(f);
    want(f, f->state->index);
    peer_run_until(f->peer, is_done);
    assert_received(f);
}

static void what_was_begun_of_an_older_image_is_replaced(void **state)
{
    struct fixture *f = *state;

    want(f, f->state->index);
    run_until_sent(f, 1000000);
    put_item(f, 7);
    put_item(f, N_ITEMS);
    state_flush(f->state);
    want(f, f->state->index); /* What comes is too old from now on. */
    peer_run_until(f->peer, is_done);
    assert_received(f);
}

static void another_member_is_asked_if_one_has_nothing(void **state)
{
    struct fixture *f = *state;
    struct state_donor donors[2] = {donor(f, 9), donor(f, 1)}; /* There is no member 9. */

    state_receiver_want(f->receiver, f->state->index, donors, 2);
    peer_run_until(f->peer, is_done);
    assert_received(f);
}

static bool was_refused(struct peer_fixture *peer)
{
    struct state_progress progress;

    (void)peer;
    state_receiver_progress(current->receiver, &progress);
    return state_sender_receivers(current->sender) == 0 && progress.donor == 0;
}

static bool has_guest(struct peer_fixture *peer)
{
    (void)peer;
    return state_sender_receivers(current->sender) > 0;
}

static void a_member_that_is_behind_too_gives_nothing(void **state)
{
    struct fixture *f = *state;

    f->is_behind = true;
    want(f, f->state->index);
    peer_run_until(f->peer, has_guest);
    peer_run_until(f->peer, was_refused);
    assert_int_equal(sent(f), 0);
    f->is_behind = false;
    peer_run_until(f->peer, is_done);
    assert_received(f);
}

/* --- Receivers out of order --- */

struct rude {
    struct channel *channel;
    bool is_broken;
    struct frame frame; /* What is said. */
};

static struct rude rude;

static void on_rude_frame(void *data, struct channel *channel, const struct frame *frame)
{
    (void)data;
    (void)channel;
    assert_int_equal(frame->type, FRAME_STATE_OFFER);
}

static void on_rude_broken(void *data, struct channel *channel, const struct error *error)
{
    (void)data;
    (void)error;
    rude.is_broken = true;
    channel_close(channel);
}

static void on_rude_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                            const struct error *error)
{
    static const struct channel_events events = {.on_frame = on_rude_frame,
                                                 .on_broken = on_rude_broken};

    (void)data;
    (void)welcome;
    (void)error;
    assert_non_null(channel);
    channel_set_owner(channel, &events, NULL);
    for (unsigned i = 0; i < 32; i++) {
        (void)channel_send(channel, &rude.frame);
    }
    channel_flush(channel);
}

static bool is_broken(struct peer_fixture *peer)
{
    (void)peer;
    return rude.is_broken;
}

static void assert_cut_for(struct fixture *f, struct frame frame)
{
    struct state_donor to = donor(f, 1);
    struct dial *dial;
    struct dial_options options = {
        .address = to.address, .hello = &f->hello, .cb = on_rude_dialled};

    rude = (struct rude){.frame = frame};
    assert_int_equal(dial_start(&f->peer->loop, &options, &dial, NULL), STATUS_OK);
    peer_run_until(f->peer, is_broken);
    peer_run_until(f->peer, was_refused);
    assert_int_equal(sent(f), 0);
}

static void receivers_that_are_out_of_order_are_cut_off(void **state)
{
    struct fixture *f = *state;
    struct frame frame = {.type = FRAME_STATE_PULL};

    assert_cut_for(f, frame); /* Of no image. */
    frame = (struct frame){.type = FRAME_STATE_ASK};
    assert_cut_for(f, frame); /* 32 times. */
    frame = (struct frame){.type = FRAME_STATUS};
    assert_cut_for(f, frame);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_whole_state_arrives),
        TEST(nothing_is_sent_that_the_rate_does_not_allow),
        TEST(a_broken_connection_costs_only_what_was_under_way),
        TEST(a_receiver_that_starts_again_gets_it_too),
        TEST(what_was_begun_of_an_older_image_is_replaced),
        TEST(another_member_is_asked_if_one_has_nothing),
        TEST(a_member_that_is_behind_too_gives_nothing),
        TEST(receivers_that_are_out_of_order_are_cut_off),
    };

    assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
