/* Dialling a node: who is reached, who answers, and why it failed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "raft/peer.h"
#include "tests/lib/peer_fixture.h"

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

static bool dial_is_done(struct peer_fixture *f)
{
    (void)f;
    return outcome.done;
}

static enum status dial(struct peer_fixture *f, const char *address, enum frame_purpose purpose)
{
    struct dial *started;

    outcome = (struct outcome){0};
    assert_int_equal(
        peers_dial(f->nodes[1].peers, address, purpose, 1, NULL, on_dialled, &started, NULL),
        STATUS_OK);
    assert_false(outcome.done);
    peer_run_until(f, dial_is_done);
    return outcome.status;
}

static bool answer_came(struct peer_fixture *f)
{
    (void)f;
    return outcome.answer != FRAME_NONE;
}

static void a_node_that_forms_is_answered_on_its_own_connection(void **state)
{
    struct peer_fixture *f = *state;
    struct frame frame = {.type = FRAME_BOOTSTRAP_COMMIT};
    char address[32];

    f->nodes[0].identity = IDENTITY_EMPTY;
    f->nodes[1].identity = IDENTITY_EMPTY;
    (void)snprintf(address, sizeof address, "localhost:%u", peers_port(f->nodes[0].peers));
    assert_int_equal(dial(f, address, PURPOSE_BOOTSTRAP), STATUS_OK);
    assert_int_equal(f->nodes[0].hellos, 1);
    assert_int_equal(channel_send(outcome.channel, &frame), STATUS_OK);
    channel_flush(outcome.channel);
    peer_run_until(f, answer_came);

    assert_int_equal(outcome.answer, FRAME_BOOTSTRAP_COMMIT);
    channel_close(outcome.channel);
}

static void dialling_tells_why_it_failed(void **state)
{
    struct peer_fixture *f = *state;
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
    peer_close_node(&f->nodes[0]);
    assert_int_equal(dial(f, address, PURPOSE_CONTROL), STATUS_IO);
    assert_int_equal(peers_dial(f->nodes[1].peers, "nowhere", PURPOSE_CONTROL, 1, NULL, on_dialled,
                                &started, NULL),
                     STATUS_INVALID);
}

static void a_canceled_dial_says_nothing(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:1", "localhost:1"};
    struct peer_fixture *f = *state;

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_that_forms_is_answered_on_its_own_connection),
        TEST(dialling_tells_why_it_failed),
        TEST(a_canceled_dial_says_nothing),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As in the daemon: libuv writes with write(). */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
