/* What the leader does about its members: which step comes next, what waits, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/membership.h"

#define OWN_INDEX 10u
#define COMMITTED 2000u

struct fixture {
    struct membership_table table;
    struct membership_view view;
    struct membership_step step;
    struct member_change change;
    struct membership_judgement judgement;
};

/* Member @id, called "n<id>", which is well and has everything. */
static struct membership_member *add_member(struct fixture *f, uint64_t id, int role)
{
    struct membership_member *member = &f->view.members[f->view.n_members++];

    *member = (struct membership_member){
        .id = id, .role = role, .is_well = true, .was_heard = true, .match_index = COMMITTED};
    return member;
}

static struct membership_row *add_row(struct fixture *f, uint64_t id, enum member_wanted wanted)
{
    struct membership_row *row = &f->table.rows[f->table.n_rows++];

    *row = (struct membership_row){.id = id, .wanted = wanted};
    (void)snprintf(row->name, sizeof row->name, "n%u", (unsigned)id);
    (void)snprintf(row->peer_address, sizeof row->peer_address, "h%u:7081", (unsigned)id);
    (void)snprintf(row->api_address, sizeof row->api_address, "h%u:7080", (unsigned)id);
    return row;
}

static void add_removed(struct fixture *f, uint64_t id, bool is_forced)
{
    f->table.removed =
        realloc(f->table.removed, (f->table.n_removed + 1) * sizeof *f->table.removed);
    assert_non_null(f->table.removed);
    f->table.removed[f->table.n_removed++] = (struct membership_removed){id, is_forced};
}

/* Three voters, of which 1 leads; nothing is wanted of them. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->view = (struct membership_view){.self = 1,
                                       .may_change = true,
                                       .own_index = OWN_INDEX,
                                       .configuration_index = 1,
                                       .commit_index = COMMITTED,
                                       .last_index = COMMITTED,
                                       .target_voters = 3};
    for (uint64_t id = 1; id <= 3; id++) {
        add_member(f, id, NODE_ROLE_VOTER);
        add_row(f, id, MEMBER_AS_IS);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    membership_table_close(&f->table);
    free(f);
    return 0;
}

static void make_ill(struct membership_member *member)
{
    member->is_well = false;
    member->silent_ms = 12000;
    member->match_index = OWN_INDEX - 1;
}

static void assert_step(struct fixture *f, enum membership_action action, uint64_t id, int role)
{
    membership_next(&f->table, &f->view, &f->step);
    assert_int_equal(f->step.action, action);
    if (action != MEMBERSHIP_NOTHING) {
        assert_int_equal(f->step.id, id);
    }
    if (action == MEMBERSHIP_ASSIGN) {
        assert_int_equal(f->step.role, role);
    }
}

static void assert_nothing(struct fixture *f)
{
    assert_step(f, MEMBERSHIP_NOTHING, 0, 0);
}

/* --- Steps --- */

static void a_cluster_that_is_as_wanted_stays(void **state)
{
    struct fixture *f = *state;

    assert_nothing(f);
    f->table.n_rows = 0; /* Not even rows are needed for that. */
    assert_nothing(f);
}

static void a_new_member_comes_step_by_step(void **state)
{
    struct fixture *f = *state;
    struct membership_member *member;

    f->view.target_voters = 5;
    add_row(f, 4, MEMBER_AUTO);
    assert_step(f, MEMBERSHIP_ADD, 4, 0);

    member = add_member(f, 4, NODE_ROLE_SPARE);
    member->is_well = false; /* A spare hears nothing, and so says nothing. */
    member->match_index = 0;
    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_STANDBY);

    member->role = NODE_ROLE_STANDBY;
    assert_nothing(f); /* It is not well yet, */
    member->is_well = true;
    member->match_index = COMMITTED - MEMBERSHIP_CAUGHT_UP - 1;
    assert_nothing(f); /* then it is behind. */
    member->match_index++;
    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_VOTER);

    member->role = NODE_ROLE_VOTER;
    assert_nothing(f);
}

static void a_standby_gets_a_vote_only_up_to_the_target(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_AUTO);
    add_member(f, 4, NODE_ROLE_STANDBY);
    assert_nothing(f);

    f->table.rows[3].wanted = MEMBER_VOTER; /* By hand it does. */
    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_VOTER);

    f->table.rows[3].wanted = MEMBER_STANDBY;
    f->view.target_voters = 5;
    assert_nothing(f);
}

static void the_seat_of_one_that_goes_is_counted_as_free(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_AUTO);
    add_member(f, 4, NODE_ROLE_STANDBY);
    f->table.rows[2].wanted = MEMBER_STANDBY;

    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_VOTER); /* First, as 3 is well. */
    f->view.members[3].role = NODE_ROLE_VOTER;
    assert_step(f, MEMBERSHIP_ASSIGN, 3, NODE_ROLE_STANDBY);
}

static void of_two_the_one_in_the_emptier_zone_gets_the_vote(void **state)
{
    struct fixture *f = *state;
    static const char *const zones[] = {"a", "b", "a", "b", "c"};

    f->view.target_voters = 4;
    add_row(f, 4, MEMBER_AUTO);
    add_row(f, 5, MEMBER_AUTO);
    add_member(f, 4, NODE_ROLE_STANDBY);
    add_member(f, 5, NODE_ROLE_STANDBY)->match_index--;
    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_VOTER);
    for (unsigned i = 0; i < 5; i++) {
        (void)snprintf(f->table.rows[i].zone, sizeof f->table.rows[i].zone, "%s", zones[i]);
    }
    assert_step(f, MEMBERSHIP_ASSIGN, 5, NODE_ROLE_VOTER);
}

static void nothing_is_done_while_a_change_is_not_allowed(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_AUTO);
    f->view.may_change = false;
    assert_nothing(f);
}

static void every_step_waits_for_all_voters(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_AUTO);
    make_ill(&f->view.members[2]);
    assert_nothing(f);

    f->view.members[2].is_well = true; /* Back, but it lacks the first entry of the term. */
    assert_nothing(f);
    f->view.members[2].match_index = OWN_INDEX;
    assert_step(f, MEMBERSHIP_ADD, 4, 0);
    f->view.configuration_index = OWN_INDEX + 1;
    assert_nothing(f); /* It lacks the last configuration. */
}

static void a_voter_that_is_ill_goes_before_anything_else(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_VOTER);
    add_member(f, 4, NODE_ROLE_STANDBY);
    make_ill(&f->view.members[2]);
    assert_nothing(f);

    f->table.rows[2].wanted = MEMBER_STANDBY;
    assert_step(f, MEMBERSHIP_ASSIGN, 3, NODE_ROLE_STANDBY);
    f->table.rows[2].wanted = MEMBER_SPARE;
    assert_step(f, MEMBERSHIP_ASSIGN, 3, NODE_ROLE_SPARE);
    f->table.rows[2] = f->table.rows[3];
    f->table.n_rows = 3;
    add_removed(f, 3, false);
    assert_step(f, MEMBERSHIP_REMOVE, 3, 0);
}

static void with_two_ill_voters_only_what_is_forced_goes_on(void **state)
{
    struct fixture *f = *state;

    add_member(f, 4, NODE_ROLE_VOTER);
    add_member(f, 5, NODE_ROLE_VOTER);
    make_ill(&f->view.members[3]);
    make_ill(&f->view.members[4]);
    add_removed(f, 4, false);
    assert_nothing(f);

    f->table.removed[0].is_forced = true;
    assert_step(f, MEMBERSHIP_REMOVE, 4, 0);
    make_ill(&f->view.members[2]); /* Then less than a majority of those that stay. */
    assert_nothing(f);
}

static void the_last_voter_stays(void **state)
{
    struct fixture *f = *state;

    f->view.n_members = 2;
    f->view.members[1].role = NODE_ROLE_STANDBY;
    add_removed(f, 1, true);
    membership_next(&f->table, &f->view, &f->step);
    assert_int_not_equal(f->step.action, MEMBERSHIP_REMOVE);
    assert_int_not_equal(f->step.action, MEMBERSHIP_ASSIGN);
}

static void a_leader_that_is_to_go_hands_over_last(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_STANDBY);
    add_removed(f, 1, false);
    assert_step(f, MEMBERSHIP_ADD, 4, 0);
    add_member(f, 4, NODE_ROLE_STANDBY);
    assert_step(f, MEMBERSHIP_HAND_OVER, 1, 0);

    f->view.self = 2; /* The next one does it. */
    assert_step(f, MEMBERSHIP_REMOVE, 1, 0);
}

static void members_without_a_vote_come_and_go(void **state)
{
    struct fixture *f = *state;

    add_member(f, 4, NODE_ROLE_STANDBY)->is_well = false;
    add_row(f, 4, MEMBER_SPARE);
    assert_step(f, MEMBERSHIP_ASSIGN, 4, NODE_ROLE_SPARE);
    f->table.n_rows--;
    add_removed(f, 4, false);
    assert_step(f, MEMBERSHIP_REMOVE, 4, 0);
}

/* --- Those that are dead --- */

static void assert_dead(struct fixture *f, uint64_t limit_ms, bool found)
{
    uint64_t dead = 0;
    uint64_t successor = 0;

    assert_int_equal(membership_find_dead(&f->table, &f->view, limit_ms, &dead, &successor), found);
    if (found) {
        assert_int_equal(dead, 3);
        assert_int_equal(successor, 5);
    }
}

static void the_seat_of_a_dead_voter_goes_to_a_standby_that_joined_for_it(void **state)
{
    struct fixture *f = *state;
    struct membership_member *standby;

    add_row(f, 4, MEMBER_AS_IS);
    add_row(f, 5, MEMBER_AUTO);
    add_member(f, 4, NODE_ROLE_VOTER);
    standby = add_member(f, 5, NODE_ROLE_STANDBY);
    make_ill(&f->view.members[2]);
    assert_dead(f, 12001, false); /* Not yet. */
    assert_dead(f, 12000, true);

    f->view.may_change = false;
    assert_dead(f, 12000, false);
    f->view.may_change = true;
    standby->match_index = COMMITTED - MEMBERSHIP_CAUGHT_UP - 1;
    assert_dead(f, 12000, false);
    standby->match_index = COMMITTED;
    f->table.rows[4].wanted = MEMBER_STANDBY; /* It is to have none. */
    assert_dead(f, 12000, false);
    f->table.rows[4].wanted = MEMBER_AUTO;
    f->table.rows[2].wanted = MEMBER_STANDBY; /* It is on its way out already. */
    assert_dead(f, 12000, false);
}

static void with_two_voters_that_are_well_no_seat_is_given_away(void **state)
{
    struct fixture *f = *state;

    add_row(f, 5, MEMBER_AUTO);
    add_member(f, 5, NODE_ROLE_STANDBY);
    make_ill(&f->view.members[2]);
    assert_dead(f, 12000, false);
}

static void with_two_dead_voters_no_seat_is_given_away(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 4; id <= 7; id++) {
        add_row(f, id, id == 5 ? MEMBER_AUTO : MEMBER_AS_IS);
        add_member(f, id, id == 5 ? NODE_ROLE_STANDBY : NODE_ROLE_VOTER);
    }
    make_ill(&f->view.members[2]);
    assert_dead(f, 12000, true);
    make_ill(&f->view.members[6]); /* Every change waits for it. */
    assert_dead(f, 12000, false);
}

/* --- Judging --- */

static void judge(struct fixture *f, enum member_change_kind kind, const char *name,
                  enum member_wanted wanted)
{
    f->change.kind = kind;
    f->change.wanted = wanted;
    (void)snprintf(f->change.name, sizeof f->change.name, "%s", name);
    f->judgement = (struct membership_judgement){.text = ""};
    membership_judge(&f->table, &f->view, &f->change, f->change.id, &f->judgement);
}

static void assert_verdict(struct fixture *f, enum membership_verdict verdict,
                           enum member_reason reason, const char *words)
{
    if (f->judgement.verdict != verdict || f->judgement.reason != reason ||
        strstr(f->judgement.text, words) == NULL) {
        fail_msg("verdict %d, reason %d: %s", (int)f->judgement.verdict, (int)f->judgement.reason,
                 f->judgement.text);
    }
}

static void assert_allowed(struct fixture *f)
{
    assert_verdict(f, MEMBERSHIP_MAY, MEMBER_REASON_NONE, "");
}

static void assert_refused(struct fixture *f, enum member_reason reason, const char *words)
{
    assert_verdict(f, MEMBERSHIP_REFUSED, reason, words);
}

static void judge_add(struct fixture *f, const char *name, const char *peer, const char *api)
{
    (void)snprintf(f->change.peer_address, sizeof f->change.peer_address, "%s", peer);
    (void)snprintf(f->change.api_address, sizeof f->change.api_address, "%s", api);
    judge(f, MEMBER_CHANGE_ADD, name, MEMBER_AUTO);
}

static void a_name_and_addresses_belong_to_one(void **state)
{
    struct fixture *f = *state;

    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_allowed(f);
    judge_add(f, "n3", "h4:7081", "h4:7080");
    assert_refused(f, MEMBER_REASON_NAME_TAKEN, "holdfast member remove n3");
    judge_add(f, "n4", "h3:7081", "h4:7080");
    assert_refused(f, MEMBER_REASON_ADDRESS_TAKEN, "\"n3\"");
    judge_add(f, "n4", "h4:7081", "h3:7080");
    assert_refused(f, MEMBER_REASON_ADDRESS_TAKEN, "\"n3\"");
}

static void a_cluster_has_a_largest_size(void **state)
{
    struct fixture *f = *state;

    while (f->table.n_rows < LIMIT_MEMBERS) {
        add_row(f, f->table.n_rows + 1, MEMBER_STANDBY);
    }
    judge_add(f, "n99", "h99:7081", "h99:7080");
    assert_refused(f, MEMBER_REASON_TOO_MANY, "remove one first");
}

static void one_that_joins_is_done_when_it_is_in_the_configuration(void **state)
{
    struct fixture *f = *state;

    f->change.id = 4;
    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_allowed(f); /* It was offered an id, and no more. */
    add_row(f, 4, MEMBER_AUTO);
    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE, "being done");
    add_member(f, 4, NODE_ROLE_SPARE);
    f->view.configuration_index = COMMITTED + 1;
    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE, "");
    f->view.commit_index = COMMITTED + 1;
    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
}

static void what_would_wait_for_a_voter_is_refused_with_its_name(void **state)
{
    struct fixture *f = *state;

    make_ill(&f->view.members[2]);
    judge_add(f, "n4", "h4:7081", "h4:7080");
    assert_refused(f, MEMBER_REASON_QUORUM, "n3 (not heard for 12 s)");
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_allowed(f);
    judge(f, MEMBER_CHANGE_REMOVE, "n2", 0);
    assert_refused(f, MEMBER_REASON_QUORUM, "only 1 would be well");
    judge(f, MEMBER_CHANGE_ROLE, "n2", MEMBER_STANDBY);
    assert_refused(f, MEMBER_REASON_QUORUM, "only 1 would be well");
    f->change.is_forced = true; /* That helps against neither. */
    judge(f, MEMBER_CHANGE_REMOVE, "n2", 0);
    assert_refused(f, MEMBER_REASON_QUORUM, "only 1 would be well");
}

static void force_needs_a_majority_only(void **state)
{
    struct fixture *f = *state;

    add_row(f, 4, MEMBER_AS_IS);
    add_row(f, 5, MEMBER_AS_IS);
    make_ill(add_member(f, 4, NODE_ROLE_VOTER));
    make_ill(add_member(f, 5, NODE_ROLE_VOTER));
    judge(f, MEMBER_CHANGE_REMOVE, "n4", 0);
    assert_refused(f, MEMBER_REASON_QUORUM, "or force the change");
    f->change.is_forced = true;
    judge(f, MEMBER_CHANGE_REMOVE, "n4", 0);
    assert_allowed(f);
}

static void what_others_wait_for_is_counted(void **state)
{
    struct fixture *f = *state;

    f->table.rows[1].wanted = MEMBER_STANDBY; /* Of three, one is to lose its vote, */
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_allowed(f); /* one may go, */
    add_removed(f, 3, false);
    judge(f, MEMBER_CHANGE_REMOVE, "n1", 0);
    assert_refused(f, MEMBER_REASON_LAST_VOTER, "last voter"); /* and one has to stay. */
}

static void only_one_that_is_well_becomes_a_voter(void **state)
{
    struct fixture *f = *state;
    struct membership_member *member = add_member(f, 4, NODE_ROLE_STANDBY);

    add_row(f, 4, MEMBER_STANDBY);
    judge(f, MEMBER_CHANGE_ROLE, "n4", MEMBER_VOTER);
    assert_allowed(f);
    member->needs_state = true;
    member->is_well = false;
    judge(f, MEMBER_CHANGE_ROLE, "n4", MEMBER_VOTER);
    assert_refused(f, MEMBER_REASON_INCOMPLETE, "state is not complete");
    member->needs_state = false;
    judge(f, MEMBER_CHANGE_ROLE, "n4", MEMBER_VOTER);
    assert_refused(f, MEMBER_REASON_UNHEALTHY, "has to be well");
    member->is_well = true;
    f->table.rows[3].wanted = MEMBER_VOTER;
    member->match_index = 0;
    judge(f, MEMBER_CHANGE_ROLE, "n4", MEMBER_VOTER);
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_QUORUM, "2000 entries behind");
    member->role = NODE_ROLE_VOTER;
    judge(f, MEMBER_CHANGE_ROLE, "n4", MEMBER_VOTER);
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
}

static void the_feature_level_is_what_all_know(void **state)
{
    struct fixture *f = *state;

    f->table.feature_level = 1;
    assert_int_equal(membership_next_level(&f->table, &f->view), 0); /* Nobody has said anything. */
    f->view.members[0].feature_level = 3;
    f->view.members[1].feature_level = 2;
    f->view.members[2].feature_level = 1;
    assert_int_equal(membership_next_level(&f->table, &f->view), 0);
    f->view.members[2].feature_level = 3;
    assert_int_equal(membership_next_level(&f->table, &f->view), 2);
    f->table.feature_level = 2;
    assert_int_equal(membership_next_level(&f->table, &f->view), 0);
}

static void the_feature_level_waits_for_all_to_be_there(void **state)
{
    struct fixture *f = *state;

    f->table.feature_level = 1;
    for (unsigned i = 0; i < 3; i++) {
        f->view.members[i].feature_level = 2;
    }
    f->view.members[2].is_well = false; /* It may come back with an earlier program. */
    assert_int_equal(membership_next_level(&f->table, &f->view), 0);
    f->view.members[2].is_well = true;
    add_row(f, 4, MEMBER_AUTO); /* It is taken in, and has not said what it knows. */
    assert_int_equal(membership_next_level(&f->table, &f->view), 0);
    add_member(f, 4, NODE_ROLE_SPARE)->feature_level = 2;
    assert_int_equal(membership_next_level(&f->table, &f->view), 2);
}

static void a_removal_is_done_when_it_is_out_and_stays_so(void **state)
{
    struct fixture *f = *state;

    f->change.id = 3;
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_allowed(f);
    add_removed(f, 3, false);
    f->table.n_rows = 2;
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE, "");
    make_ill(&f->view.members[1]);
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_QUORUM, "n2 (not heard for 12 s)");
    f->view.n_members = 2;
    judge(f, MEMBER_CHANGE_REMOVE, "n3", 0);
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
}

static void who_is_no_member_is_unknown(void **state)
{
    struct fixture *f = *state;

    judge(f, MEMBER_CHANGE_REMOVE, "n9", 0);
    assert_refused(f, MEMBER_REASON_UNKNOWN, "\"n9\"");
    judge(f, MEMBER_CHANGE_TRANSFER, "n9", 0);
    assert_refused(f, MEMBER_REASON_UNKNOWN, "\"n9\"");
    judge(f, MEMBER_CHANGE_DRAIN, "n9", 0);
    assert_refused(f, MEMBER_REASON_UNKNOWN, "\"n9\"");
}

static void leadership_goes_to_those_that_can_lead(void **state)
{
    struct fixture *f = *state;

    f->change.from = 1;
    judge(f, MEMBER_CHANGE_TRANSFER, "n2", 0);
    assert_allowed(f);
    judge(f, MEMBER_CHANGE_TRANSFER, "", 0);
    assert_allowed(f);
    judge(f, MEMBER_CHANGE_TRANSFER, "n1", 0);
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
    f->table.rows[1].is_drained = true;
    judge(f, MEMBER_CHANGE_TRANSFER, "n2", 0);
    assert_refused(f, MEMBER_REASON_DRAINED, "undrain it first");
    make_ill(&f->view.members[2]);
    judge(f, MEMBER_CHANGE_TRANSFER, "n3", 0);
    assert_refused(f, MEMBER_REASON_UNHEALTHY, "not heard for 12 s");
    judge(f, MEMBER_CHANGE_TRANSFER, "", 0);
    assert_refused(f, MEMBER_REASON_QUORUM, "nobody else could lead");
    f->view.members[2].role = NODE_ROLE_STANDBY;
    judge(f, MEMBER_CHANGE_TRANSFER, "n3", 0);
    assert_refused(f, MEMBER_REASON_ROLE, "only a voter");
    f->change.from = 3; /* Another led when it began: it is done. */
    judge(f, MEMBER_CHANGE_TRANSFER, "", 0);
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
}

static void somebody_has_to_be_left_to_lead(void **state)
{
    struct fixture *f = *state;

    judge(f, MEMBER_CHANGE_DRAIN, "n1", 0);
    assert_allowed(f);
    f->table.rows[0].is_drained = true;
    judge(f, MEMBER_CHANGE_DRAIN, "n1", 0);
    assert_verdict(f, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE, "handing leadership over");
    f->view.self = 2;
    judge(f, MEMBER_CHANGE_DRAIN, "n1", 0);
    assert_verdict(f, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "");
    f->table.rows[2].is_drained = true;
    judge(f, MEMBER_CHANGE_DRAIN, "n2", 0);
    assert_refused(f, MEMBER_REASON_QUORUM, "nobody else could lead");
    judge(f, MEMBER_CHANGE_UNDRAIN, "n1", 0);
    assert_allowed(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cluster_that_is_as_wanted_stays),
        TEST(a_new_member_comes_step_by_step),
        TEST(a_standby_gets_a_vote_only_up_to_the_target),
        TEST(the_seat_of_one_that_goes_is_counted_as_free),
        TEST(of_two_the_one_in_the_emptier_zone_gets_the_vote),
        TEST(nothing_is_done_while_a_change_is_not_allowed),
        TEST(every_step_waits_for_all_voters),
        TEST(a_voter_that_is_ill_goes_before_anything_else),
        TEST(with_two_ill_voters_only_what_is_forced_goes_on),
        TEST(the_last_voter_stays),
        TEST(a_leader_that_is_to_go_hands_over_last),
        TEST(members_without_a_vote_come_and_go),
        TEST(the_seat_of_a_dead_voter_goes_to_a_standby_that_joined_for_it),
        TEST(with_two_voters_that_are_well_no_seat_is_given_away),
        TEST(with_two_dead_voters_no_seat_is_given_away),
        TEST(a_name_and_addresses_belong_to_one),
        TEST(a_cluster_has_a_largest_size),
        TEST(one_that_joins_is_done_when_it_is_in_the_configuration),
        TEST(what_would_wait_for_a_voter_is_refused_with_its_name),
        TEST(force_needs_a_majority_only),
        TEST(what_others_wait_for_is_counted),
        TEST(only_one_that_is_well_becomes_a_voter),
        TEST(the_feature_level_is_what_all_know),
        TEST(the_feature_level_waits_for_all_to_be_there),
        TEST(a_removal_is_done_when_it_is_out_and_stays_so),
        TEST(who_is_no_member_is_unknown),
        TEST(leadership_goes_to_those_that_can_lead),
        TEST(somebody_has_to_be_left_to_lead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
