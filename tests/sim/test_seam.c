/* One node alone against messages that were under way for long: the other nodes are this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "raft/node.h"
#include "raft/seam.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_io.h"

#define SELF        1u
#define OTHER       2u
#define THIRD       3u
#define ELECTION_MS 150u

struct fixture {
    struct sim *sim;
    struct sim_owner owner;
    struct sim_disk disk;
    struct sim_io io;
    struct seam *seam;
    unsigned n_results;          /* Answers to entries or a state that were sent. */
    uint64_t told[THIRD + 1];    /* The commit index that each was sent last ... */
    uint64_t sent[THIRD + 1];    /* ... and the last entry. */
    uint64_t refused[THIRD + 1]; /* Behind which it was sent some, and lacks that; 0: not. */
    unsigned n_votes;            /* Granted. */
    uint64_t vote_term;          /* That the last answer to a candidate told. */
    unsigned n_changes;          /* Configurations that were sent, ... */
    unsigned n_too_early;        /* ... those of them that were not on the disk yet. */
    unsigned n_first;            /* Entries that were sent before the disk was given them. */
    unsigned n_empty;            /* Messages without entries, to other nodes. */
};

static void look_for_changes(struct fixture *f, const struct raft_append_entries *append)
{
    struct seam_view view;

    seam_view(f->seam, &view);
    for (unsigned i = 0; i < append->n_entries; i++) {
        if (append->entries[i].type == RAFT_CHANGE) {
            f->n_changes++;
            f->n_too_early += append->prev_log_index + 1 + i > view.stored_index ? 1 : 0;
        }
    }
}

/* The others take what follows on what they have. */
static void take_entries(struct fixture *f, uint64_t id, const struct raft_append_entries *append)
{
    f->refused[id] = 0;
    if (f->sent[id] != 0 && append->prev_log_index > f->sent[id]) {
        f->refused[id] = append->prev_log_index;
    } else {
        f->sent[id] = append->prev_log_index + append->n_entries;
    }
}

static unsigned on_send(void *data, const struct raft_message *message)
{
    struct fixture *f = data;

    if (message->type == RAFT_REQUEST_VOTE_RESULT) {
        f->n_votes += message->request_vote_result.vote_granted ? 1 : 0;
        f->vote_term = message->request_vote_result.term;
    }
    f->n_results += message->type == RAFT_APPEND_ENTRIES_RESULT ? 1 : 0;
    if (message->type == RAFT_APPEND_ENTRIES) {
        f->told[message->server_id] = message->append_entries.leader_commit;
        take_entries(f, message->server_id, &message->append_entries);
        look_for_changes(f, &message->append_entries);
        f->n_empty += message->append_entries.n_entries == 0 ? 1 : 0;
        f->n_first +=
            message->append_entries.n_entries > 0 && f->sent[message->server_id] >= f->io.next_index
                ? 1
                : 0;
    }
    return 0;
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

static void on_skip(void *data, uint64_t index, uint64_t term)
{
    (void)data;
    (void)index;
    (void)term;
}

static void on_needs_state(void *data, uint64_t index)
{
    (void)data;
    (void)index;
}

static void bootstrap(struct seam *seam, const int roles[3])
{
    struct seam_configuration configuration = {.n_members = 3};

    for (unsigned i = 0; i < configuration.n_members; i++) {
        configuration.members[i].id = SELF + i;
        configuration.members[i].role = roles[i];
    }
    assert_int_equal(seam_bootstrap(seam, &configuration, NULL), STATUS_OK);
}

static int set_up_as(void **state, const int roles[3])
{
    static struct fixture f;
    struct seam_options options = {.io = &f.io.io,
                                   .self = SELF,
                                   .cluster_id = "00000000-0000-4000-8000-000000000001",
                                   .election_timeout_ms = ELECTION_MS,
                                   .heartbeat_ms = 30,
                                   .on_commit = on_commit,
                                   .on_skip = on_skip,
                                   .on_needs_state = on_needs_state};

    f = (struct fixture){.sim = sim_open(1)};
    sim_disk_init(&f.disk);
    sim_io_init(&f.io, f.sim, &f.disk, &f.owner);
    f.io.data = &f;
    f.io.on_send = on_send;
    f.io.on_turn = on_turn;
    assert_int_equal(seam_open(&options, &f.seam, NULL), STATUS_OK);
    bootstrap(f.seam, roles);
    assert_int_equal(seam_start(f.seam, NULL), STATUS_OK);
    *state = &f;
    return 0;
}

/* A voter of three. */
static int set_up(void **state)
{
    const int roles[] = {NODE_ROLE_VOTER, NODE_ROLE_VOTER, NODE_ROLE_VOTER};

    return set_up_as(state, roles);
}

/* One of two, with a standby. */
static int set_up_pair(void **state)
{
    const int roles[] = {NODE_ROLE_VOTER, NODE_ROLE_VOTER, NODE_ROLE_STANDBY};

    return set_up_as(state, roles);
}

static int set_up_standby(void **state)
{
    const int roles[] = {NODE_ROLE_STANDBY, NODE_ROLE_VOTER, NODE_ROLE_VOTER};

    return set_up_as(state, roles);
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

/* @id has all that it was sent, or says what it lacks. */
static void receive_stored(struct fixture *f, uint64_t id)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT,
                                   .server_id = id,
                                   .server_address =
                                       id == OTHER ? "0000000000000002" : "0000000000000003"};

    message.append_entries_result =
        (struct raft_append_entries_result){.version = 1,
                                            .term = view_of(f).term,
                                            .rejected = f->refused[id],
                                            .last_log_index = f->sent[id]};
    f->io.recv(&f->io.io, &message);
}

static void run_to_leader(struct fixture *f)
{
    run_to_candidate(f);
    receive_vote(f, 2, true);
    receive_vote(f, 2, false);
    assert_int_equal(view_of(f).state, SEAM_LEADER);
    receive_stored(f, OTHER); /* Now libraft knows where their logs are. */
    receive_stored(f, THIRD);
}

/* The others are so quick that libraft has no heartbeat to send meanwhile. */
static uint64_t commit_one(struct fixture *f)
{
    static const uint8_t entry[8] = {0};
    uint64_t index;

    assert_int_equal(seam_propose(f->seam, slice_of(entry, sizeof entry), &index), STATUS_OK);
    receive_stored(f, OTHER);
    receive_stored(f, THIRD);
    assert_int_equal(view_of(f).commit_index, index);
    return index;
}

static void who_waits_is_told_at_once_and_others_a_little_later(void **state)
{
    struct fixture *f = *state;
    uint64_t index;
    uint64_t before;

    run_to_leader(f);
    before = commit_one(f);
    (void)seam_announce_commit(f->seam, sim_now_ms(f->sim) + SEAM_ANNOUNCE_MS);
    (void)seam_announce_commit(f->seam, sim_now_ms(f->sim) + 2 * SEAM_ANNOUNCE_MS);
    assert_int_equal(f->told[OTHER], before);
    assert_int_equal(f->told[THIRD], before);

    index = commit_one(f);
    seam_await_commit(f->seam, OTHER, index);
    assert_true(seam_announce_commit(f->seam, 1000));
    assert_int_equal(f->told[OTHER], index);
    assert_int_equal(f->told[THIRD], before);
    assert_true(seam_announce_commit(f->seam, 1000 + SEAM_ANNOUNCE_MS - 1));
    assert_int_equal(f->told[THIRD], before);
    assert_false(seam_announce_commit(f->seam, 1000 + SEAM_ANNOUNCE_MS));
    assert_int_equal(f->told[THIRD], index);

    /* An entry tells it, too: then nothing is left to tell but that entry's own commit. */
    before = index;
    index = commit_one(f);
    assert_true(seam_announce_commit(f->seam, 2000));
    assert_int_equal(commit_one(f), index + 1);
    assert_int_equal(f->told[THIRD], index);
    assert_true(seam_announce_commit(f->seam, 2000 + SEAM_ANNOUNCE_MS));
    assert_int_equal(f->told[THIRD], index);
}

/* Let time pass, in which @id answers what it is sent, and the other does not. */
/* What they have to do takes longer than what this node has. */
static void others_get_a_proposal_before_the_own_disk(void **state)
{
    struct fixture *f = *state;
    uint64_t index;

    run_to_leader(f);
    f->n_first = 0;
    index = commit_one(f);
    assert_int_equal(f->n_first, 2);
    assert_int_equal(f->io.next_index, index + 1);
}

/* It is no news to the follower, which would answer it again. */
static void a_result_that_takes_longer_is_not_answered(void **state)
{
    static const uint8_t entry[8] = {0};
    struct fixture *f = *state;
    uint64_t index;
    uint64_t later_ms;

    run_to_leader(f);
    assert_int_equal(seam_propose(f->seam, slice_of(entry, sizeof entry), &index), STATUS_OK);
    later_ms = sim_now_ms(f->sim) + 5;
    while (sim_step(f->sim, later_ms)) {
    }
    f->n_empty = 0;
    receive_stored(f, OTHER);
    assert_int_equal(view_of(f).commit_index, index);
    assert_int_equal(f->n_empty, 0);
}

static void run_with(struct fixture *f, uint64_t id, uint64_t ms)
{
    uint64_t until_ms = sim_now_ms(f->sim) + ms;

    while (sim_step(f->sim, until_ms)) {
        receive_stored(f, id);
    }
}

/* It was on its way when the follower had stored more, and then nothing came for a while. libraft
 * would go back behind what it knows, where the follower's answers are no news to it, and send no
 * entry any more. */
static void a_refusal_that_comes_late_takes_nobody_back(void **state)
{
    static const uint8_t entry[8] = {0};
    struct fixture *f = *state;
    struct raft_message refusal = {.type = RAFT_APPEND_ENTRIES_RESULT};
    uint64_t index;

    run_to_leader(f);
    index = commit_one(f);
    run_with(f, THIRD, 2 * ELECTION_MS);
    refusal.append_entries_result = (struct raft_append_entries_result){
        .version = 1, .term = 2, .rejected = index, .last_log_index = 1};
    receive(f, refusal);
    assert_int_equal(seam_propose(f->seam, slice_of(entry, sizeof entry), &index), STATUS_OK);
    for (unsigned i = 0; i < 10; i++) {
        receive_stored(f, OTHER);
        run_with(f, THIRD, 30);
    }

    assert_int_equal(view_of(f).state, SEAM_LEADER);
    assert_int_equal(f->sent[OTHER], index);
}

/* Two commands of 8 bytes behind @previous, written together. */
static void receive_two_entries(struct fixture *f, uint64_t term, uint64_t previous)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
    struct raft_entry *entries = raft_calloc(2, sizeof *entries);
    uint8_t *batch = raft_malloc(16);

    for (uint8_t i = 0; i < 2; i++) {
        memset(batch + i * 8, 'a' + i, 8);
        entries[i].term = 1;
        entries[i].type = RAFT_COMMAND;
        entries[i].buf = (struct raft_buffer){.base = batch + i * 8, .len = 8};
        entries[i].batch = batch;
    }
    message.append_entries.term = term;
    message.append_entries.prev_log_index = previous;
    message.append_entries.prev_log_term = previous == 0 ? 0 : 1;
    message.append_entries.entries = entries;
    message.append_entries.n_entries = 2;
    receive(f, message);
}

/* The leader's log reaches back to the beginning; this node has been offered a state by one whose
 * log did not, or by the same one later. */
static void entries_that_were_cut_off_are_not_taken_again(void **state)
{
    struct fixture *f = *state;

    receive_heartbeat(f, 5, 1);
    receive_state(f, 5);
    assert_true(view_of(f).needs_state);
    assert_int_equal(view_of(f).last_index, 10);

    receive_two_entries(f, 5, 0);
    assert_int_equal(view_of(f).last_index, 10);
}

/* libraft releases what entries share when the first of them goes, be the other under way still. */
static void entries_that_are_loaded_share_no_memory(void **state)
{
    struct fixture *f = *state;
    struct raft_snapshot *snapshot;
    struct raft_entry *entries;
    raft_term term;
    raft_id vote;
    raft_index start;
    size_t n;

    receive_two_entries(f, 1, 1); /* Behind the configuration. */
    while (f->disk.n_entries < 3 && sim_step(f->sim, sim_now_ms(f->sim) + ELECTION_MS)) {
    }

    assert_int_equal(f->io.io.load(&f->io.io, &term, &vote, &snapshot, &start, &entries, &n), 0);

    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_null(entries[i].batch);
    }
    assert_memory_equal(entries[1].buf.base, "aaaaaaaa", 8);
    assert_memory_equal(entries[2].buf.base, "bbbbbbbb", 8);
    for (size_t i = 0; i < n; i++) {
        raft_free(entries[i].buf.base); /* Each by itself. */
    }
    raft_free(entries);
}

/* If it lost the entry, and one that goes had it, the two might never find a leader (seed 501229
 * was of two voters, of which one was demoted). */
static void the_only_voter_tells_that_when_it_is_on_its_disk(void **state)
{
    struct fixture *f = *state;

    static const uint8_t entry[8] = {0};
    uint64_t index;

    run_to_leader(f);
    assert_int_equal(seam_propose(f->seam, slice_of(entry, sizeof entry), &index), STATUS_OK);
    while (!seam_may_change(f->seam)) {
        run_with(f, OTHER, 5);
    }
    f->n_changes = 0;
    assert_int_equal(seam_assign(f->seam, OTHER, NODE_ROLE_STANDBY), STATUS_OK);
    seam_turn(f->seam, sim_now_ms(f->sim)); /* As at the end of every turn. */
    assert_true(view_of(f).stored_index < view_of(f).last_index);
    for (unsigned i = 0; i < 10; i++) {
        run_with(f, THIRD, 30);
        receive_stored(f, OTHER);
        seam_turn(f->seam, sim_now_ms(f->sim));
    }

    assert_true(f->n_changes >= 2); /* To both. */
    assert_int_equal(f->n_too_early, 0);
}

static void receive_request_vote(struct fixture *f, uint64_t term, uint64_t last_index,
                                 bool is_pre_vote)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE};

    message.request_vote = (struct raft_request_vote){.version = 2,
                                                      .term = term,
                                                      .candidate_id = OTHER,
                                                      .last_log_index = last_index,
                                                      .last_log_term = 1,
                                                      .pre_vote = is_pre_vote};
    receive(f, message);
}

/* The leader, one of two voters by then, may have made it one and not told it yet (seed 530711). */
static void one_without_a_vote_votes_for_who_asks(void **state)
{
    struct fixture *f = *state;
    struct seam_configuration configuration;

    receive_request_vote(f, 2, 0, false); /* Its log is shorter. */
    assert_int_equal(f->n_votes, 0);
    receive_request_vote(f, 3, 2, false);
    assert_int_equal(f->n_votes, 1);
    assert_int_equal(view_of(f).term, 3);

    seam_configuration(f->seam, &configuration);
    assert_int_equal(configuration.members[0].role, NODE_ROLE_STANDBY);
    while (sim_step(f->sim, (uint64_t)20 * ELECTION_MS)) {
    }
    assert_int_equal(view_of(f).state, SEAM_FOLLOWER); /* It does not stand itself. */
}

/* The same, but it had heard that leader before, whose heartbeats ended when it crashed. libraft
 * forgets a leader only where it stands itself. */
static void one_without_a_vote_does_not_wait_for_a_leader_that_is_gone(void **state)
{
    struct fixture *f = *state;
    uint64_t until_ms = sim_now_ms(f->sim) + (uint64_t)2 * ELECTION_MS;

    receive_heartbeat(f, 5, 1);
    assert_int_equal(view_of(f).leader_id, OTHER);
    receive_request_vote(f, 6, 2, true);
    receive_request_vote(f, 6, 2, false);
    assert_int_equal(f->n_votes, 0); /* It is heard. */

    while (sim_step(f->sim, until_ms)) {
    }
    receive_request_vote(f, 6, 2, true);
    assert_int_equal(f->n_votes, 1);
    assert_int_equal(view_of(f).term, 5);
    assert_int_equal(view_of(f).leader_id, OTHER);
    receive_request_vote(f, 6, 2, false);
    assert_int_equal(f->n_votes, 2);
    assert_int_equal(view_of(f).term, 6);
    receive_heartbeat(f, 6, 1);
    assert_int_equal(view_of(f).leader_id, OTHER);
}

/* Else one with a long log and a low term, and one with a short log and a high term, would refuse
 * each other for ever. */
static void a_candidate_that_is_refused_learns_the_higher_term(void **state)
{
    struct fixture *f = *state;

    receive_heartbeat(f, 5, 1);
    while (sim_step(f->sim, sim_now_ms(f->sim) + 1) && view_of(f).leader_id != 0) {
    }
    receive_request_vote(f, 3, 7, true);
    assert_int_equal(f->n_votes, 0);
    assert_true(f->vote_term >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(votes_that_come_late_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_earlier_leader_offers_is_not_accepted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(entries_that_were_cut_off_are_not_taken_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_waits_is_told_at_once_and_others_a_little_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(others_get_a_proposal_before_the_own_disk, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_result_that_takes_longer_is_not_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_that_comes_late_takes_nobody_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(entries_that_are_loaded_share_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_without_a_vote_does_not_wait_for_a_leader_that_is_gone,
                                        set_up_standby, tear_down),
        cmocka_unit_test_setup_teardown(one_without_a_vote_votes_for_who_asks, set_up_standby,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_candidate_that_is_refused_learns_the_higher_term, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_only_voter_tells_that_when_it_is_on_its_disk,
                                        set_up_pair, tear_down),
    };

    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
