/* The endpoints that change the members: what is read from a request, and what an outcome is
 * answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/api_fixture.h"

#define MEMBERS  "/v1/cluster/members"
#define TRANSFER "/v1/cluster/transfer"
#define N4       "{\"name\":\"n4\",\"peer_address\":\"h:7081\",\"api_address\":\"h:7080\"}"

static void a_new_member_is_asked_for_as_it_was_said(void **state)
{
    struct api_fixture *f = *state;

    f->node->outcome_of_change.id = 0x2a;
    (void)api_expect(f, "POST", MEMBERS, "", N4, 201,
                     "{\"name\":\"n4\",\"id\":\"000000000000002a\",\"done\":true,\"detail\":null}");
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_ADD);
    assert_string_equal(f->node->asked.name, "n4");
    assert_string_equal(f->node->asked.peer_address, "h:7081");
    assert_string_equal(f->node->asked.api_address, "h:7080");
    assert_string_equal(f->node->asked.zone, "");
    assert_int_equal(f->node->asked.wanted, MEMBER_AUTO);

    (void)api_expect(f, "POST", MEMBERS, "",
                     "{\"name\":\"n4\",\"peer_address\":\"h:1\",\"api_address\":\"h:2\","
                     "\"zone\":\"z\",\"role\":\"standby\"}",
                     201, NULL);
    assert_string_equal(f->node->asked.zone, "z");
    assert_int_equal(f->node->asked.wanted, MEMBER_STANDBY);
}

static void a_new_member_needs_a_name_and_addresses(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "POST", MEMBERS, "", "{}", "invalid-field", "/name");
    api_refuses(f, "POST", MEMBERS, "", "{\"name\":\"a/b\"}", "invalid-field", "/name");
    api_refuses(f, "POST", MEMBERS, "", "{\"name\":\"n4\"}", "invalid-field", "/peer_address");
    api_refuses(f, "POST", MEMBERS, "",
                "{\"name\":\"n4\",\"peer_address\":\"h\",\"api_address\":\"h:1\"}", "invalid-field",
                "/peer_address");
    api_refuses(f, "POST", MEMBERS, "",
                "{\"name\":\"n4\",\"peer_address\":\"h:1\",\"api_address\":\"h:0\"}",
                "invalid-field", "/api_address");
    api_refuses(f, "POST", MEMBERS, "",
                "{\"name\":\"n4\",\"peer_address\":\"h:1\",\"api_address\":\"h:2\",\"role\":1}",
                "invalid-field", "/role");
    api_refuses(f, "POST", MEMBERS, "", "{\"nam\":\"n4\"}", "invalid-field", "/nam");
    api_refuses(f, "POST", MEMBERS "?x=1", "", N4, "invalid-field", "x");
    assert_int_equal(f->node->n_changes, 0);
}

static void one_thing_of_a_member_is_changed_at_a_time(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PATCH", MEMBERS "/n2", "", "{\"role\":\"voter\"}", 200, "\"done\":true");
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_ROLE);
    assert_int_equal(f->node->asked.wanted, MEMBER_VOTER);
    assert_false(f->node->asked.is_forced);
    (void)api_expect(f, "PATCH", MEMBERS "/n2", "", "{\"role\":\"spare\",\"force\":true}", 200,
                     NULL);
    assert_int_equal(f->node->asked.wanted, MEMBER_SPARE);
    assert_true(f->node->asked.is_forced);
    (void)api_expect(f, "PATCH", MEMBERS "/n2", "", "{\"drained\":true}", 200, NULL);
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_DRAIN);
    (void)api_expect(f, "PATCH", MEMBERS "/n2", "", "{\"drained\":false}", 200, NULL);
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_UNDRAIN);

    api_refuses(f, "PATCH", MEMBERS "/n2", "", "{}", "invalid-field", "");
    api_refuses(f, "PATCH", MEMBERS "/n2", "", "{\"role\":\"voter\",\"drained\":true}",
                "invalid-field", "");
    api_refuses(f, "PATCH", MEMBERS "/n2", "", "{\"drained\":1}", "invalid-field", "/drained");
    api_refuses(f, "PATCH", MEMBERS "/n2", "", "{\"role\":\"king\"}", "invalid-field", "/role");
    api_refuses(f, "PATCH", MEMBERS "/a%2Fb", "", "{\"role\":\"voter\"}", "not-found", NULL);
}

static void a_removal_may_be_forced(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "DELETE", MEMBERS "/n2", "", NULL, 204, NULL);
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_REMOVE);
    assert_string_equal(f->node->asked.name, "n2");
    assert_false(f->node->asked.is_forced);
    (void)api_expect(f, "DELETE", MEMBERS "/n2?force=true", "", NULL, 204, NULL);
    assert_true(f->node->asked.is_forced);
    api_refuses(f, "DELETE", MEMBERS "/n2?force=yes", "", NULL, "invalid-field", "force");
}

static void leadership_goes_to_somebody_or_to_anybody(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "POST", TRANSFER, "", "{\"to\":\"n2\"}", 200, NULL);
    assert_int_equal(f->node->asked.kind, MEMBER_CHANGE_TRANSFER);
    assert_string_equal(f->node->asked.name, "n2");
    (void)api_expect(f, "POST", TRANSFER, "", NULL, 200, NULL);
    assert_string_equal(f->node->asked.name, "");
    (void)api_expect(f, "POST", TRANSFER, "", "{\"to\":null}", 200, NULL);
    assert_string_equal(f->node->asked.name, "");
    api_refuses(f, "POST", TRANSFER, "", "{\"to\":\"\"}", "invalid-field", "/to");
}

static void each_outcome_has_its_answer(void **state)
{
    struct api_fixture *f = *state;
    struct member_change *outcome = &f->node->outcome_of_change;

    (void)snprintf(outcome->text, sizeof outcome->text, "because of n3");
    outcome->status = STATUS_TIMEOUT;
    (void)api_expect(f, "DELETE", MEMBERS "/n2", "", NULL, 202,
                     "\"done\":false,\"detail\":\"because of n3\"");
    outcome->status = STATUS_PERMISSION;
    outcome->reason = MEMBER_REASON_LAST_VOTER;
    (void)api_expect(f, "DELETE", MEMBERS "/n2", "", NULL, 409, "\"reason\":\"last-voter\"");
    (void)api_expect(f, "DELETE", MEMBERS "/n2", "", NULL, 409, "\"detail\":\"because of n3\"");
    outcome->reason = MEMBER_REASON_UNKNOWN;
    api_refuses(f, "DELETE", MEMBERS "/n2", "", NULL, "not-found", NULL);
    outcome->status = STATUS_NO_LEADER;
    api_refuses(f, "DELETE", MEMBERS "/n2", "", NULL, "no-leader", NULL);
    outcome->status = STATUS_UNCERTAIN;
    api_refuses(f, "DELETE", MEMBERS "/n2", "", NULL, "outcome-unknown", NULL);
    outcome->status = STATUS_CLOSED;
    api_refuses(f, "DELETE", MEMBERS "/n2", "", NULL, "not-ready", NULL);
    f->node->change_status = STATUS_BUSY;
    api_refuses(f, "DELETE", MEMBERS "/n2", "", NULL, "overloaded", NULL);
}

/* Each has a name, or an operator's script would find none. */
static void every_reason_has_a_name(void **state)
{
    struct api_fixture *f = *state;

    f->node->outcome_of_change.status = STATUS_PERMISSION;
    for (int reason = MEMBER_REASON_NONE + 2; reason < MEMBER_REASONS; reason++) {
        f->node->outcome_of_change.reason = (enum member_reason)reason;
        (void)api_expect(f, "DELETE", MEMBERS "/n2", "", NULL, 409, "\"reason\":\"");
        assert_null(strstr(reply_body(f->last), "\"reason\":\"\""));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_member_is_asked_for_as_it_was_said),
        TEST(a_new_member_needs_a_name_and_addresses),
        TEST(one_thing_of_a_member_is_changed_at_a_time),
        TEST(a_removal_may_be_forced),
        TEST(leadership_goes_to_somebody_or_to_anybody),
        TEST(each_outcome_has_its_answer),
        TEST(every_reason_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
