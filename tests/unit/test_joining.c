/* Joining: what a node accepts, and how a leader talks to it over a real connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/joining.h"
#include "tests/lib/peer_fixture.h"

#define WALL_MS 1700000000000ull

static void make_offer(struct frame_join_offer *offer)
{
    *offer = (struct frame_join_offer){
        .cluster_id = slice_of_string(PEER_UUID), .id = 77, .wall_ms = WALL_MS, .n_members = 1};
    offer->members[0] = (struct frame_bootstrap_member){.id = 1,
                                                        .name = slice_of_string("n1"),
                                                        .peer_address = slice_of_string("h:7081"),
                                                        .api_address = slice_of_string("h:7080")};
}

static const struct identity empty = {.stage = IDENTITY_EMPTY, .name = "n4"};

static void an_empty_node_that_joins_takes_the_offer(void **state)
{
    struct frame_join_offer offer;
    struct identity next;
    struct error error;

    (void)state;
    make_offer(&offer);
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS + JOINING_CLOCK_MS, &next, &error),
                     MEMBER_REASON_NONE);
    assert_int_equal(next.stage, IDENTITY_PENDING);
    assert_true(next.is_joining);
    assert_false(next.has_log);
    assert_int_equal(next.id, 77);
    assert_string_equal(next.cluster_id, PEER_UUID);
    assert_string_equal(next.name, "n4");
    assert_int_equal(next.n_members, 1);
    assert_string_equal(next.members[0].api_address, "h:7080");

    /* The same once more, after a restart and without the flag; nothing else. */
    assert_int_equal(joining_judge(&next, false, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_NONE);
    offer.id = 78;
    assert_int_equal(joining_judge(&next, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_OTHER_CLUSTER);
    make_offer(&offer);
    offer.cluster_id = slice_of_string(PEER_OTHER_UUID);
    assert_int_equal(joining_judge(&next, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_OTHER_CLUSTER);
}

static void others_refuse_it(void **state)
{
    struct identity own = empty;
    struct frame_join_offer offer;
    struct identity next;
    struct error error;

    (void)state;
    make_offer(&offer);
    assert_int_equal(joining_judge(&own, false, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_NOT_JOINING);
    own.stage = IDENTITY_MEMBER;
    assert_int_equal(joining_judge(&own, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_OTHER_CLUSTER);
    own.stage = IDENTITY_PENDING; /* It forms a cluster. */
    assert_int_equal(joining_judge(&own, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_OTHER_CLUSTER);
}

static void clocks_that_differ_are_told_with_the_difference(void **state)
{
    struct frame_join_offer offer;
    struct identity next;
    struct error error;

    (void)state;
    make_offer(&offer);
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS + 3600000, &next, &error),
                     MEMBER_REASON_CLOCK);
    assert_non_null(strstr(error.text, "3600 s ahead"));
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS - 40000, &next, &error),
                     MEMBER_REASON_CLOCK);
    assert_non_null(strstr(error.text, "40 s behind"));
}

static void an_offer_that_makes_no_sense_is_refused(void **state)
{
    struct frame_join_offer offer;
    struct identity next;
    struct error error;

    (void)state;
    make_offer(&offer);
    offer.id = 0;
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_VERSION);
    make_offer(&offer);
    offer.cluster_id = slice_of_string("");
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_VERSION);
    make_offer(&offer);
    offer.members[0].id = 0;
    assert_int_equal(joining_judge(&empty, true, &offer, WALL_MS, &next, &error),
                     MEMBER_REASON_VERSION);
}

/* --- The leader's side, against the other node of the fixture --- */

struct meeting {
    bool may_offer;
    bool has_met;
    bool has_ended;
    bool has_joined;
    enum member_reason why;
    char text[ERROR_MAX_TEXT];
};

static struct meeting meeting;

static bool on_met(void *data, const struct frame_hello *hello, struct frame *offer)
{
    (void)data;
    meeting.has_met = true;
    assert_int_equal(hello->purpose, PURPOSE_JOIN);
    *offer = (struct frame){.type = FRAME_JOIN_OFFER};
    make_offer(&offer->join_offer);
    return meeting.may_offer;
}

static void on_joined(void *data, enum member_reason why, const char *text)
{
    (void)data;
    meeting.has_joined = true;
    meeting.why = why;
    (void)snprintf(meeting.text, sizeof meeting.text, "%s", text);
}

static void on_ended(void *data)
{
    (void)data;
    meeting.has_ended = true;
}

static bool is_over(struct peer_fixture *f)
{
    (void)f;
    return meeting.has_joined || meeting.has_ended;
}

static void invite(struct peer_fixture *f, const char *address, bool may_offer)
{
    const struct invitation_options options = {
        .loop = &f->loop,
        .peers = f->nodes[0].peers,
        .peer_address = address,
        .on_met = on_met,
        .on_joined = on_joined,
        .on_ended = on_ended,
    };

    meeting = (struct meeting){.may_offer = may_offer};
    (void)invitation_open(&options);
    peer_run_until(f, is_over);
}

static void address_of(const struct peer_node *node, char address[64])
{
    (void)snprintf(address, 64, "127.0.0.1:%u", peers_port(node->peers));
}

static void a_node_that_is_not_there_is_told(void **state)
{
    struct peer_fixture *f = *state;

    invite(f, "127.0.0.1:1", true);
    assert_true(meeting.has_joined);
    assert_int_equal(meeting.why, MEMBER_REASON_UNREACHABLE);
    assert_non_null(strstr(meeting.text, "127.0.0.1:1"));
    assert_false(meeting.has_met);
}

static void one_that_may_not_be_offered_a_place_is_left(void **state)
{
    struct peer_fixture *f = *state;
    char address[64];

    address_of(&f->nodes[1], address);
    invite(f, address, false);
    assert_true(meeting.has_met && meeting.has_ended && !meeting.has_joined);
}

/* The node of the fixture answers as if it were to form a cluster. */
static void one_that_answers_something_else_changes_nothing(void **state)
{
    struct peer_fixture *f = *state;
    char address[64];

    address_of(&f->nodes[1], address);
    invite(f, address, true);
    assert_true(meeting.has_met && meeting.has_joined);
    assert_int_equal(meeting.why, MEMBER_REASON_VERSION);
}

#define TEST_PEERS(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_node_that_joins_takes_the_offer),
        cmocka_unit_test(others_refuse_it),
        cmocka_unit_test(clocks_that_differ_are_told_with_the_difference),
        cmocka_unit_test(an_offer_that_makes_no_sense_is_refused),
        TEST_PEERS(a_node_that_is_not_there_is_told),
        TEST_PEERS(one_that_may_not_be_offered_a_place_is_left),
        TEST_PEERS(one_that_answers_something_else_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
