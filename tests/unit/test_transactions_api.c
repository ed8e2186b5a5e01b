/* The contract of transactions and of GET /v1/cluster, against a real state machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/lib/api_fixture.h"

#define T NS "/transactions"

/* A transaction of one operation that is refused with invalid-field. */
static void refuses_op(struct api_fixture *f, const char *op, const char *field)
{
    char body[512];

    (void)snprintf(body, sizeof(body),
                   "{\"ops\":[{\"method\":\"PUT\",\"path\":\"items/ok\","
                   "\"body\":1},%s]}",
                   op);
    api_refuses(f, "POST", T, "", body, "invalid-field", field);
    assert_non_null(strstr(reply_body(f->last), "\"op\":1}"));
}

static void all_operations_take_effect_as_one_revision(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/items/old", "", "{\"a\":1}", 201, NULL);
    (void)api_expect(
        f, "POST", T, "",
        "{\"ops\":["
        "{\"method\":\"PUT\",\"path\":\"items/a%20b?ttl_ms=5000\",\"body\":{\"x\": 1}},"
        "{\"method\":\"PUT\",\"path\":\"items/b\",\"body_base64\":\"AAH/\"},"
        "{\"method\":\"PATCH\",\"path\":\"items/old\",\"headers\":{\"if-match\":\"\\\"2\\\"\"},"
        "\"body\":{\"b\":2}},"
        "{\"method\":\"PUT\",\"path\":\"sessions/s\",\"body\":{\"user_id\":\"u\"}},"
        "{\"method\":\"POST\",\"path\":\"sessions/s/events\",\"body\":{\"events\":"
        "[{\"type\":\"t\",\"data\":1}]}},"
        "{\"method\":\"CHECK\",\"path\":\"items/b\",\"headers\":{\"If-Match\":\"*\"}},"
        "{\"method\":\"POST\",\"path\":\"items/a%20b?touch\"},"
        "{\"method\":\"DELETE\",\"path\":\"items/old\"}]}",
        200,
        "{\"revision\":3,\"results\":[{\"status\":201,\"etag\":\"\\\"3\\\"\",\"body\":"
        "{\"key\":\"a b\",\"revision\":3,");
    assert_string_equal(reply_header(f->last, "Holdfast-Revision"), "3");
    assert_non_null(strstr(reply_body(f->last), "\"body\":{\"first_seq\":1,\"last_seq\":1,"));
    assert_non_null(strstr(reply_body(f->last), "{\"status\":204}]}"));

    (void)api_expect(f, "GET", NS "/items/a%20b", "", NULL, 200, "{\"x\":1}");
    (void)api_expect(f, "GET", NS "/items?prefix=b&values=true", "", NULL, 200,
                     "\"value_base64\":\"AAH/\"");
    (void)api_expect(f, "GET", NS "/items/old", "", NULL, 404, NULL);
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200, "\"event_count\":1");
}

static void one_failure_undoes_all_and_is_the_answer(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "POST", T, "",
                     "{\"ops\":[{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1},"
                     "{\"method\":\"CHECK\",\"path\":\"items/a\",\"headers\":"
                     "{\"If-None-Match\":\"*\"}}]}",
                     412, "\"op\":1}");
    assert_non_null(strstr(reply_body(f->last), "/problems/precondition-failed"));
    assert_string_equal(reply_header(f->last, "Holdfast-Revision"), "1");
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 404, NULL);
    (void)api_expect(f, "POST", T, "",
                     "{\"ops\":[{\"method\":\"DELETE\",\"path\":\"sessions/s\"}]}", 404,
                     "\"op\":0}");
}

static void a_known_append_is_refused_inside(void **state)
{
    static const char *const events = "{\"events\":[{\"id\":\"e\",\"type\":\"t\",\"data\":1}]}";
    struct api_fixture *f = *state;
    char body[256];

    (void)api_expect(f, "PUT", NS "/sessions/s", "", "{}", 201, NULL);
    (void)api_expect(f, "POST", NS "/sessions/s/events", "", events, 201, NULL);
    (void)snprintf(body, sizeof(body),
                   "{\"ops\":[{\"method\":\"POST\",\"path\":\"sessions/s/events\",\"body\":%s}]}",
                   events);
    (void)api_expect(f, "POST", T, "", body, 409, "event-id-reused");
}

static void a_repeated_transaction_acts_once(void **state)
{
    static const char *const body = "{\"ops\":[{\"method\":\"POST\",\"path\":\"sessions/s/events\","
                                    "\"body\":{\"events\":[{\"type\":\"t\",\"data\":1}],"
                                    "\"create\":{}}}]}";
    struct api_fixture *f = *state;

    (void)api_expect(f, "POST", T, "Idempotency-Key: k\r\n", body, 200, "\"last_seq\":1");
    (void)api_expect(f, "POST", T, "Idempotency-Key: k\r\n", body, 200, "\"last_seq\":1");
    assert_string_equal(reply_header(f->last, "Idempotency-Replayed"), "true");
    (void)api_expect(f, "POST", T, "Idempotency-Key: j\r\n", body, 200, "\"last_seq\":2");
}

static void operations_are_checked(void **state)
{
    static const struct {
        const char *op;
        const char *field;
    } bad[] = {
        {"1", "/ops/1"},
        {"{\"path\":\"items/a\"}", "/ops/1/method"},
        {"{\"method\":\"PUT\"}", "/ops/1/path"},
        {"{\"method\":\"PUT\",\"path\":\"/items/a\"}", "/ops/1/path"},
        {"{\"method\":\"PUT\",\"path\":\"items/%zz\"}", "/ops/1/path"},
        {"{\"method\":\"PUT\",\"path\":\"items/../../other/items/a\"}", "/ops/1/path"},
        {"{\"method\":\"POST\",\"path\":\"transactions\"}", "/ops/1/path"},
        {"{\"method\":\"DELETE\",\"path\":\"items?prefix=a\"}", "/ops/1/path"},
        {"{\"method\":\"POST\",\"path\":\"sessions\",\"body\":{}}", "/ops/1/path"},
        {"{\"method\":\"POST\",\"path\":\"sessions/s/touch\",\"body\":{}}", "/ops/1/path"},
        {"{\"method\":\"GET\",\"path\":\"items/a\"}", "/ops/1/method"},
        {"{\"method\":\"put\",\"path\":\"items/a\"}", "/ops/1/method"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\"}", "/ops/1/body"},
        {"{\"method\":\"PUT\",\"path\":\"items/a?x\",\"body\":1}", "x"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"body_base64\":\"AA==\"}",
         "/ops/1/body_base64"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body_base64\":\"AB==\"}",
         "/ops/1/body_base64"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body_base64\":\"A\"}", "/ops/1/body_base64"},
        {"{\"method\":\"PATCH\",\"path\":\"items/a\",\"body_base64\":\"AA==\"}",
         "/ops/1/body_base64"},
        {"{\"method\":\"PUT\",\"path\":\"sessions/s\",\"body\":{\"status\":1}}",
         "/ops/1/body/status"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"headers\":{\"Idempotency-Key\":"
         "\"k\"}}",
         "/ops/1/headers/Idempotency-Key"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"headers\":{\"If-Match\":\"*\","
         "\"if-match\":\"*\"}}",
         "/ops/1/headers/If-Match"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"headers\":{\"If-Match\":\"8\"}}",
         "If-Match"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"headers\":{\"Session-Epoch\":"
         "\"1\"}}",
         "Session-Epoch"},
        {"{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1,\"extra\":1}", "/ops/1/extra"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refuses_op(f, bad[i].op, bad[i].field);
    }
    assert_int_equal(f->node->n_submissions, 0);
    api_refuses(f, "POST", T, "", "{\"ops\":[]}", "invalid-field", "/ops");
    api_refuses(f, "POST", T, "", "{\"ops\":{}}", "invalid-field", "/ops");
    api_refuses(f, "POST", T, "", "{}", "invalid-field", "/ops");
    api_refuses(f, "POST", T, "", "[]", "invalid-field", "");
}

static void a_transaction_has_at_most_64_operations(void **state)
{
    struct api_fixture *f = *state;
    struct buffer body = BUFFER_EMPTY;

    buffer_append_string(&body, "{\"ops\":[{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1}");
    for (unsigned i = 1; i < 64; i++) {
        buffer_append_string(&body, ",{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1}");
    }
    buffer_append(&body, "]}", 3);
    (void)api_expect(f, "POST", T, "", (const char *)body.data, 200, NULL);
    body.size -= 3;
    buffer_append_string(&body, ",{\"method\":\"PUT\",\"path\":\"items/a\",\"body\":1}]}");
    buffer_append_byte(&body, 0);
    api_refuses(f, "POST", T, "", (const char *)body.data, "invalid-field", "/ops");
    buffer_close(&body);
}

static void the_state_may_refuse_a_field_of_an_operation(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s", "",
                     "{\"metadata\":{\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\","
                     "\"6\":\"\",\"7\":\"\",\"8\":\"\",\"9\":\"\",\"10\":\"\",\"11\":\"\","
                     "\"12\":\"\",\"13\":\"\",\"14\":\"\",\"15\":\"\",\"16\":\"\"}}",
                     201, NULL);
    api_refuses(f, "PATCH", NS "/sessions/s", "", "{\"metadata\":{\"17\":\"\"}}", "invalid-field",
                "/metadata");
    api_refuses(f, "POST", T, "",
                "{\"ops\":[{\"method\":\"PATCH\",\"path\":\"sessions/s\",\"body\":"
                "{\"metadata\":{\"17\":\"\"}}}]}",
                "invalid-field", "/ops/0/body/metadata");
}

/* --- cluster --- */

static void the_cluster_is_told_without_a_leader(void **state)
{
    struct api_fixture *f = *state;
    struct node_status *status = &f->node->status;
    json_t *document;

    f->node->ticket_status = STATUS_NO_LEADER;
    (void)strcpy(status->cluster_id, "0190a5f0-0000-7000-8000-000000000000");
    status->term = 7;
    status->commit_index = 12;
    status->n_members = 1;
    status->members[0].id = 0x9f3c2a1be07d4455;
    (void)strcpy(status->members[0].name, "n1");
    (void)strcpy(status->members[0].peer_address, "h:7081");
    (void)strcpy(status->members[0].api_address, "h:7080");
    (void)strcpy(status->members[0].version, "1.0.0");
    status->members[0].role = NODE_ROLE_VOTER;
    status->members[0].match_index = 9;
    status->members[0].last_contact_ms = UINT64_MAX;
    status->feature_level = 1;

    (void)api_expect(f, "GET", "/v1/cluster", "", NULL, 200,
                     "{\"cluster_id\":\"0190a5f0-0000-7000-8000-000000000000\",\"name\":\"n1\","
                     "\"leader\":null,\"term\":7,\"revision\":1,\"applied_index\":1,"
                     "\"feature_level\":1,\"archive\":\"none\",\"archive_lag_ms\":0,\"mirror_lag_"
                     "ms\":0,\"members\":["
                     "{\"name\":\"n1\",\"id\":\"9f3c2a1be07d4455\",\"role\":\"voter\","
                     "\"wanted\":null,\"drained\":false,\"needs_state\":false,\"receiving\":null,"
                     "\"peer_address\":\"h:7081\",\"api_address\":\"h:7080\",\"zone\":null,"
                     "\"version\":\"1.0.0\",\"feature_level\":null,\"match_index\":9,\"lag\":3,"
                     "\"last_contact_ms\":null,"
                     "\"healthy\":false}],\"state_hash\":\"");
    document = json_loads(reply_body(f->last), JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_string_length(json_object_get(document, "state_hash")), 32);
    json_decref(document);
    status->leader_id = status->members[0].id;
    (void)api_expect(f, "GET", "/v1/cluster", "", NULL, 200, "\"leader\":\"n1\"");
    status->members[0].feature_level = 2;
    status->members[0].receiving =
        (struct state_progress){.donor = status->members[0].id, 10, 100, 5};
    (void)api_expect(f, "GET", "/v1/cluster", "", NULL, 200,
                     "\"receiving\":{\"from\":\"n1\",\"bytes\":10,\"total_bytes\":100,"
                     "\"bytes_per_second\":5}");
    (void)api_expect(f, "GET", "/v1/cluster", "", NULL, 200, "\"feature_level\":2,\"match_index\"");
    api_refuses(f, "GET", "/v1/cluster?x=1", "", NULL, "invalid-field", "x");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_operations_take_effect_as_one_revision),
        TEST(one_failure_undoes_all_and_is_the_answer),
        TEST(a_known_append_is_refused_inside),
        TEST(a_repeated_transaction_acts_once),
        TEST(operations_are_checked),
        TEST(a_transaction_has_at_most_64_operations),
        TEST(the_state_may_refuse_a_field_of_an_operation),
        TEST(the_cluster_is_told_without_a_leader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
