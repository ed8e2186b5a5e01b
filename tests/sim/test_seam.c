/* One node alone against messages that were under way for long: the other nodes are this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "raft/node.h"
#include "raft/seam.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_io.h"

#define SELF        1u
#define OTHER       2u
#define ELECTION_MS 150u

struct fixture {
    struct sim *sim;
    struct sim_owner owner;
    struct sim_disk disk;
    struct sim_io io;
    struct seam *seam;
    unsigned n_results; /* Answers to entries or a state that were sent. */
};

static void on_send(void *data, const struct raft_message *message)
{
    struct fixture *f = data;

    f->n_results += message->type == RAFT_APPEND_ENTRIES_RESULT ? 1 : 0;
}

static void on_turn(void *data)
{
    (void)data;
}

static void on_commit(void *data, uint64_t index, uint64_t term, struct slice bytes)
{
    (void)data;
    (void)index;
    (void)term;
    (void)bytes;
}

static void bootstrap(struct seam *seam)
{
    struct seam_configuration configuration = {.n_members = 3};

    for (unsigned i = 0; i < configuration.n_members; i++) {
        configuration.members[i].id = SELF + i;
        configuration.members[i].role = NODE_ROLE_VOTER;
    }
    assert_int_equal(seam_bootstrap(seam, &configuration, NULL), STATUS_OK);
}

/* A voter of three. */
static int set_up(void **state)
{
    static struct fixture f;
    struct seam_options options = {.io = &f.io.io,
                                   .self = SELF,
                                   .cluster_id = "00000000-0000-4000-8000-000000000001",
                                   .election_timeout_ms = ELECTION_MS,
                                   .heartbeat_ms = 30,
                                   .on_commit = on_commit};

    f = (struct fixture){.sim = sim_open(1)};
    sim_disk_init(&f.disk);
    sim_io_init(&f.io, f.sim, &f.disk, &f.owner);
    f.io.data = &f;
    f.io.on_send = on_send;
    f.io.on_turn = on_turn;
    assert_int_equal(seam_open(&options, &f.seam, NULL), STATUS_OK);
    bootstrap(f.seam);
    assert_int_equal(seam_start(f.seam, NULL), STATUS_OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sim_io_crash(&f->io);
    seam_abandon(f->seam);
    sim_close(f->sim);
    sim_disk_close(&f->disk);
    return 0;
}

static struct seam_view view_of(struct fixture *f)
{
    struct seam_view view;

    seam_view(f->seam, &view);
    return view;
}

static void receive(struct fixture *f, struct raft_message message)
{
    message.server_id = OTHER;
    message.server_address = "0000000000000002";
    f->io.recv(&f->io.io, &message);
}

static void receive_vote(struct fixture *f, uint64_t term, bool is_pre_vote)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT};

    message.request_vote_result = (struct raft_request_vote_result){
        .version = 2, .term = term, .vote_granted = true, .pre_vote = is_pre_vote};
    receive(f, message);
}

static void receive_heartbeat(struct fixture *f, uint64_t term, uint64_t behind)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};

    message.append_entries.term = term;
    message.append_entries.prev_log_index = behind;
    message.append_entries.prev_log_term = behind == 0 ? 0 : 1;
    receive(f, message);
}

static void receive_state(struct fixture *f, uint64_t term)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT};

    message.install_snapshot.term = term;
    message.install_snapshot.last_index = 10;
    message.install_snapshot.last_term = term;
    raft_configuration_init(&message.install_snapshot.conf);
    message.install_snapshot.data.len = 8;
    message.install_snapshot.data.base = raft_malloc(8);
    receive(f, message);
}

static void run_to_candidate(struct fixture *f)
{
    uint64_t until_ms = sim_now_ms(f->sim) + (uint64_t)3 * ELECTION_MS;

    while (view_of(f).state != SEAM_CANDIDATE && sim_step(f->sim, until_ms)) {
    }
    assert_int_equal(view_of(f).state, SEAM_CANDIDATE);
}

static void votes_that_come_late_change_nothing(void **state)
{
    struct fixture *f = *state;

    /* To a follower. */
    receive_vote(f, 7, true);
    receive_vote(f, 7, false);
    assert_int_equal(view_of(f).term, 1);

    /* To a candidate they count ... */
    run_to_candidate(f);
    receive_vote(f, 2, true);
    assert_int_equal(view_of(f).term, 2);
    receive_vote(f, 2, false);
    assert_int_equal(view_of(f).state, SEAM_LEADER);

    /* ... and to a leader no more. */
    receive_vote(f, 7, true);
    receive_vote(f, 7, false);
    assert_int_equal(view_of(f).state, SEAM_LEADER);
    assert_int_equal(view_of(f).term, 2);
}

static void what_an_earlier_leader_offers_is_not_accepted(void **state)
{
    struct fixture *f = *state;

    receive_heartbeat(f, 5, 1);
    assert_int_equal(view_of(f).term, 5);
    assert_int_equal(f->n_results, 1);
    receive_heartbeat(f, 3, 0);
    receive_state(f, 3);
    assert_int_equal(f->n_results, 1);
    assert_false(view_of(f).needs_state);
    assert_int_equal(view_of(f).term, 5);

    /* Of the leader they are taken. */
    receive_heartbeat(f, 5, 0);
    assert_int_equal(f->n_results, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(votes_that_come_late_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_earlier_leader_offers_is_not_accepted, set_up,
                                        tear_down),
    };

    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
