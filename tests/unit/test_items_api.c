/* The contract of items, of the rules that all nouns share, and of transactions, against a real
 * state machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/memory.h"
#include "tests/lib/api_fixture.h"

#define BYTES "Content-Type: application/octet-stream\r\n"

static void put(struct api_fixture *f, const char *key, const char *value)
{
    char target[512];

    (void)snprintf(target, sizeof(target), NS "/items/%s", key);
    (void)api_expect(f, "PUT", target, "", value, 201, NULL);
}

/* --- values --- */

static void put_answers_the_row_without_the_value(void **state)
{
    struct api_fixture *f = *state;
    struct reply *reply;

    reply = api_expect(f, "PUT", NS "/items/web/x?ttl_ms=60000&user_id=u", "", "{ }", 201,
                       "{\"key\":\"web/x\",\"revision\":2,\"content_type\":\"application/json\","
                       "\"size_bytes\":3,\"user_id\":\"u\",\"ttl_ms\":60000,\"created_at\":\"");

    assert_null(strstr(reply_body(reply), "\"value\""));
    assert_string_equal(reply_header(reply, "ETag"), "\"2\"");
    assert_string_equal(reply_header(reply, "Holdfast-Revision"), "2");
    assert_string_equal(reply_header(reply, "Holdfast-Expires-At"), "2023-11-14T22:14:20.000Z");
    assert_null(reply_header(reply, "Location"));
}

static void a_value_comes_back_byte_for_byte(void **state)
{
    static const char *const values[] = {" {\"a\" : 1.0e2 } ",  "null", "\"\"",
                                         "0.10000000000000001", "[]",   "\"\\u0000\""};
    struct api_fixture *f = *state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        (void)api_expect(f, "PUT", NS "/items/a", "", values[i], i == 0 ? 201 : 200, NULL);
        (void)api_expect(f, "GET", NS "/items/a", "", NULL, 200, NULL);

        assert_string_equal(reply_body(f->last), values[i]);
        assert_string_equal(f->last->content_type, "application/json");
    }
}

static void bytes_come_back_as_bytes(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/items/b", BYTES, "\x01\xff{", 201, "application/octet-stream");
    (void)api_expect(f, "GET", NS "/items/b", "", NULL, 200, "\x01\xff{");
    assert_string_equal(f->last->content_type, "application/octet-stream");
    (void)api_expect(f, "GET", NS "/items?values=true", "", NULL, 200,
                     "\"value_base64\":\"Af97\"}");
}

static void a_value_that_is_no_json_is_refused(void **state)
{
    static const char *const values[] = {
        "{", "{\"a\":1,\"a\":2}", "1 2", "nul", "99999999999999999999", "\"\xff\"", "'a'"};
    struct api_fixture *f = *state;
    struct buffer deep = BUFFER_EMPTY;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        api_refuses(f, "PUT", NS "/items/a", "", values[i], "malformed", "");
    }
    for (unsigned i = 0; i < 65; i++) {
        buffer_append_byte(&deep, '[');
    }
    for (unsigned i = 0; i < 65; i++) {
        buffer_append_byte(&deep, ']');
    }
    buffer_append_byte(&deep, 0);
    api_refuses(f, "PUT", NS "/items/a", "", (const char *)deep.data, "malformed", "");
    buffer_close(&deep);
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 404, "not-found");
}

static void the_content_type_must_be_one_that_is_known(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/items/a",
                     "Content-Type: Application/JSON; Charset=\"UTF-8\"\r\n", "1", 201, NULL);
    api_refuses(f, "PUT", NS "/items/a", "Content-Type: text/plain\r\n", "1",
                "unsupported-media-type", "Content-Type");
    api_refuses(f, "PUT", NS "/items/a", "Content-Type: application/json;charset=latin1\r\n", "1",
                "unsupported-media-type", NULL);
    api_refuses(f, "PUT", NS "/items/a", "Content-Type: application/merge-patch+json\r\n", "1",
                "unsupported-media-type", NULL);
    api_refuses(f, "PUT", NS "/items/a", "", NULL, "unsupported-media-type", NULL);
    (void)api_expect(f, "PATCH", NS "/items/a", "Content-Type: application/merge-patch+json\r\n",
                     "2", 200, NULL);
    api_refuses(f, "PATCH", NS "/items/a", BYTES, "2", "unsupported-media-type", NULL);
}

static void an_item_has_a_largest_size(void **state)
{
    struct api_fixture *f = *state;
    char *value = memory_new(LIMIT_ITEM_BYTES + 2);

    memset(value, 'x', LIMIT_ITEM_BYTES + 1);
    value[LIMIT_ITEM_BYTES + 1] = '\0';
    api_refuses(f, "PUT", NS "/items/a", BYTES, value, "too-large", "");
    value[LIMIT_ITEM_BYTES] = '\0';
    (void)api_expect(f, "PUT", NS "/items/a", BYTES, value, 201, NULL);
    free(value);
}

static void keys_are_decoded_once_and_checked(void **state)
{
    struct api_fixture *f = *state;
    char target[600];
    char key[400];

    put(f, "a%2Fb//c%25", "1");
    (void)api_expect(f, "GET", NS "/items?prefix=a/b//", "", NULL, 200, "\"key\":\"a/b//c%\"");
    api_refuses(f, "PUT", NS "/items/%ff", "", "1", "invalid-field", "key");
    api_refuses(f, "PUT", NS "/items/a%00", "", "1", "invalid-field", "key");
    api_refuses(f, "PUT", NS "/items/a/../b", "", "1", "malformed", NULL);
    memset(key, 'k', sizeof(key));
    key[LIMIT_ITEM_KEY_BYTES + 1] = '\0';
    (void)snprintf(target, sizeof(target), NS "/items/%s", key);
    api_refuses(f, "PUT", target, "", "1", "invalid-field", "key");
    key[LIMIT_ITEM_KEY_BYTES] = '\0';
    put(f, key, "1");
}

static void parameters_are_checked(void **state)
{
    static const struct {
        const char *method;
        const char *query;
        const char *field;
    } bad[] = {
        {"PUT", "ttl_ms=0", "ttl_ms"},
        {"PUT", "ttl_ms=1000000000001", "ttl_ms"},
        {"PUT", "ttl_ms=1.5", "ttl_ms"},
        {"PUT", "ttl_ms=", "ttl_ms"},
        {"PUT", "ttl_ms=05", "ttl_ms"},
        {"PUT", "user_id=", "user_id"},
        {"PUT", "user_id=a%01", "user_id"},
        {"PUT", "nonsense=1", "nonsense"},
        {"PUT", "ttl_ms=1&ttl_ms=1", "ttl_ms"},
        {"POST", "ttl_ms=1", "touch"},
        {"POST", "touch=no", "touch"},
        {"GET", "consistency=sure", "consistency"},
        {"GET", "min_revision=x", "min_revision"},
        {"GET", "consistency=linearizable&min_revision=1", "min_revision"},
        {"GET", "values=true", "values"},
        {"DELETE", "prefix=a", "prefix"},
    };
    struct api_fixture *f = *state;
    char target[200];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(target, sizeof(target), NS "/items/a?%s", bad[i].query);
        api_refuses(f, bad[i].method, target, "", strcmp(bad[i].method, "PUT") == 0 ? "1" : NULL,
                    "invalid-field", bad[i].field);
    }
}

/* --- PATCH, DELETE, touch, expiry --- */

static void a_patch_merges_and_never_creates(void **state)
{
    struct api_fixture *f = *state;

    put(f, "a", "{\"x\":1,\"y\":{\"z\":2}}");
    (void)api_expect(f, "PATCH", NS "/items/a", "", "{\"x\":null,\"y\":{\"w\":0.1}}", 200, NULL);
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 200, "{\"y\":{\"z\":2,\"w\":0.1}}");
    api_refuses(f, "PATCH", NS "/items/none", "", "{}", "not-found", NULL);
    (void)api_expect(f, "PUT", NS "/items/b", BYTES, "x", 201, NULL);
    api_refuses(f, "PATCH", NS "/items/b", "", "{}", "not-json", NULL);
}

static void delete_is_204_and_then_404(void **state)
{
    struct api_fixture *f = *state;

    put(f, "a", "1");
    (void)api_expect(f, "DELETE", NS "/items/a", "", NULL, 204, NULL);
    assert_string_equal(reply_body(f->last), "");
    assert_string_equal(reply_header(f->last, "Holdfast-Revision"), "3");
    api_refuses(f, "DELETE", NS "/items/a", "", NULL, "not-found", NULL);
    api_refuses(f, "DELETE", NS "/items/a", "If-Match: \"2\"\r\n", NULL, "not-found", NULL);
}

static void a_touch_keeps_the_etag_and_renews(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/items/a?ttl_ms=1000", "", "1", 201, NULL);
    fake_node_pass(f->node, 900);
    (void)api_expect(f, "POST", NS "/items/a?touch", "If-Match: \"2\"\r\n", NULL, 204, NULL);
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    fake_node_pass(f->node, 900);
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 200, NULL);
    fake_node_pass(f->node, 200);
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 404, NULL);
    api_refuses(f, "POST", NS "/items/a?touch", "", NULL, "not-found", NULL);
}

/* --- preconditions --- */

static void conditions_guard_writes(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/items/l", "If-None-Match: *\r\n", "1", 201, NULL);
    (void)api_expect(f, "PUT", NS "/items/l", "If-None-Match: *\r\n", "1", 412, "\"revision\":2");
    (void)api_expect(f, "PUT", NS "/items/l", "If-Match: \"7\", W/\"2\"\r\n", "2", 200, NULL);
    (void)api_expect(f, "PUT", NS "/items/l", "If-Match: \"2\"\r\n", "2", 412, "\"revision\":3");
    (void)api_expect(f, "PUT", NS "/items/l", "If-Match: \"other\"\r\n", "2", 412, NULL);
    (void)api_expect(f, "PUT", NS "/items/n", "If-Match: *\r\n", "2", 412, "\"revision\":null");
    (void)api_expect(f, "DELETE", NS "/items/l", "If-Match: *\r\n", NULL, 204, NULL);
}

static void a_header_that_is_no_tag_is_refused(void **state)
{
    static const char *const bad[] = {"If-Match: 2\r\n", "If-Match: \"2\r\n",
                                      "If-Match: \"2\" \"3\"\r\n", "If-Match: ,\r\n"};
    struct api_fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        api_refuses(f, "PUT", NS "/items/a", bad[i], "1", "invalid-field", "If-Match");
    }
    api_refuses(f, "PUT", NS "/items/a", "Session-Epoch: 1\r\n", "1", "invalid-field",
                "Session-Epoch");
}

static void get_answers_304_to_who_has_it(void **state)
{
    struct api_fixture *f = *state;

    put(f, "a", "1");
    (void)api_expect(f, "GET", NS "/items/a", "If-None-Match: W/\"2\"\r\n", NULL, 304, NULL);
    assert_string_equal(reply_body(f->last), "");
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    (void)api_expect(f, "GET", NS "/items/a", "If-None-Match: \"3\"\r\n", NULL, 200, "1");
    (void)api_expect(f, "GET", NS "/items/a", "If-Match: \"3\"\r\n", NULL, 412, "\"revision\":2");
    (void)api_expect(f, "HEAD", NS "/items/a", "", NULL, 200, NULL);
}

/* --- idempotency --- */

static void a_repeated_key_answers_the_same_and_acts_once(void **state)
{
    struct api_fixture *f = *state;
    char *first;

    (void)api_expect(f, "PUT", NS "/items/a", "Idempotency-Key: k\r\n", "1", 201, NULL);
    first = memory_copy_string(reply_body(f->last));
    assert_null(reply_header(f->last, "Idempotency-Replayed"));
    put(f, "b", "1");
    (void)api_expect(f, "PUT", NS "/items/a", "Idempotency-Key: k\r\n", "1", 201, NULL);
    assert_string_equal(reply_body(f->last), first);
    assert_string_equal(reply_header(f->last, "Idempotency-Replayed"), "true");
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    assert_string_equal(reply_header(f->last, "Holdfast-Revision"), "2");
    free(first);
    api_refuses(f, "PUT", NS "/items/a", "Idempotency-Key: k\r\n", "2", "idempotency-key-reused",
                NULL);
    api_refuses(f, "PUT", NS "/items/c", "Idempotency-Key: k\r\n", "1", "idempotency-key-reused",
                NULL);
}

static void an_idempotency_key_has_a_form(void **state)
{
    struct api_fixture *f = *state;
    char header[200];

    (void)snprintf(header, sizeof(header), "Idempotency-Key: %0129d\r\n", 1);
    api_refuses(f, "PUT", NS "/items/a", header, "1", "invalid-field", "Idempotency-Key");
    api_refuses(f, "PUT", NS "/items/a", "Idempotency-Key:\r\n", "1", "invalid-field",
                "Idempotency-Key");
    (void)snprintf(header, sizeof(header), "Idempotency-Key: %0128d\r\n", 1);
    (void)api_expect(f, "PUT", NS "/items/a", header, "1", 201, NULL);
}

/* --- lists --- */

static void a_list_is_paged_in_byte_order(void **state)
{
    static const char *const keys[] = {"a/1", "a/2", "a/3", "b"};
    struct api_fixture *f = *state;
    char target[512];
    char *cursor;

    for (unsigned i = 0; i < 4; i++) {
        put(f, keys[3 - i], "{}");
    }
    (void)api_expect(f, "GET", NS "/items?prefix=a/&limit=2", "", NULL, 200,
                     "{\"items\":[{\"key\":\"a/1\",");
    assert_null(strstr(reply_body(f->last), "a/3"));
    cursor = api_next_cursor(f);
    assert_non_null(cursor);
    (void)snprintf(target, sizeof(target), NS "/items?prefix=a/&limit=2&cursor=%s", cursor);
    (void)api_expect(f, "GET", target, "", NULL, 200, "{\"items\":[{\"key\":\"a/3\",");
    assert_non_null(strstr(reply_body(f->last), "],\"next_cursor\":null}"));

    (void)snprintf(target, sizeof(target), NS "/items?prefix=a&cursor=%s", cursor);
    api_refuses(f, "GET", target, "", NULL, "invalid-field", "cursor");
    cursor[3] ^= 1;
    (void)snprintf(target, sizeof(target), NS "/items?prefix=a/&limit=2&cursor=%s", cursor);
    api_refuses(f, "GET", target, "", NULL, "invalid-field", "cursor");
    free(cursor);
    (void)api_expect(f, "GET", NS "/items?order=desc&values=true&limit=1", "", NULL, 200,
                     "\"key\":\"b\"");
    assert_non_null(strstr(reply_body(f->last), ",\"value\":{}}]"));
}

static void a_list_refuses_what_is_out_of_range(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "GET", NS "/items?limit=0", "", NULL, "invalid-field", "limit");
    api_refuses(f, "GET", NS "/items?limit=501", "", NULL, "invalid-field", "limit");
    api_refuses(f, "GET", NS "/items?order=up", "", NULL, "invalid-field", "order");
    api_refuses(f, "GET", NS "/items?cursor=", "", NULL, "invalid-field", "cursor");
    api_refuses(f, "GET", NS "/items?prefix=%ff", "", NULL, "invalid-field", "prefix");
    (void)api_expect(f, "GET", NS "/items?limit=500", "", NULL, 200,
                     "{\"items\":[],\"next_cursor\":null}");
}

static void a_page_ends_before_it_gets_too_large(void **state)
{
    struct api_fixture *f = *state;
    char *value = memory_new(LIMIT_ITEM_BYTES);

    memset(value, 'x', LIMIT_ITEM_BYTES - 1);
    value[LIMIT_ITEM_BYTES - 1] = '\0';
    (void)api_expect(f, "PUT", NS "/items/1", BYTES, value, 201, NULL);
    put(f, "2", "2");
    (void)api_expect(f, "GET", NS "/items?values=true", "", NULL, 200, "\"key\":\"1\"");
    assert_null(strstr(reply_body(f->last), "\"key\":\"2\"")); /* A large row comes alone. */
    free(value);
    value = api_next_cursor(f);
    assert_non_null(value);
    free(value);
}

static void a_prefix_is_deleted_until_nothing_is_left(void **state)
{
    struct api_fixture *f = *state;

    put(f, "a/1", "1");
    put(f, "a/2", "1");
    put(f, "b", "1");
    (void)api_expect(f, "DELETE", NS "/items?prefix=a/", "", NULL, 200,
                     "{\"deleted\":2,\"more\":false}");
    (void)api_expect(f, "GET", NS "/items", "", NULL, 200, "[{\"key\":\"b\"");
    api_refuses(f, "DELETE", NS "/items", "", NULL, "invalid-field", "prefix");
    api_refuses(f, "DELETE", NS "/items?prefix=", "", NULL, "invalid-field", "prefix");
}

/* --- outcomes of the cluster --- */

static void a_write_that_was_not_taken_says_so(void **state)
{
    struct api_fixture *f = *state;

    f->node->submit_status = STATUS_BUSY;
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 503, "overloaded");
    assert_non_null(reply_header(f->last, "Retry-After"));
    f->node->submit_status = STATUS_OK;
    f->node->outcome = STATUS_NO_LEADER;
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 503, "no-leader");
    f->node->outcome = STATUS_UNCERTAIN;
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 504, "outcome-unknown");
    f->node->outcome = STATUS_CLOSED;
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 503, "not-ready");
}

static void a_write_without_outcome_is_given_up_once(void **state)
{
    struct api_fixture *f = *state;

    f->node->holds_submissions = true;
    (void)api_expect(f, "PUT", NS "/items/a", "", "1", 504, "outcome-unknown");
    assert_int_equal(f->thread.outstanding, 1);
    fake_node_release(f->node); /* It happens all the same. */
    api_turn(f);
    assert_int_equal(f->thread.outstanding, 0);
    (void)api_expect(f, "GET", NS "/items/a", "", NULL, 200, "1");
}

static void a_write_whose_client_went_away_is_abandoned_at_once(void **state)
{
    struct api_fixture *f = *state;
    struct submission *submission;
    struct reply *reply;

    f->node->holds_submissions = true;
    reply = api_start(f, "PUT", NS "/items/a", "Content-Type: application/json\r\n",
                      slice_of_string("1"));
    submission =
        CONTAINER_OF(CONTAINER_OF(queue_first(&f->node->submissions), struct message, link),
                     struct submission, message);
    assert_false(atomic_load(&submission->abandoned));

    assert_non_null(reply->request.on_gone);
    reply->request.on_gone(&reply->request);

    assert_true(atomic_load(&submission->abandoned));
    fake_node_release(f->node);
    api_finish(f, reply);
    api_free(reply);
}

static void a_full_disk_refuses_what_adds_and_is_new(void **state)
{
    struct api_fixture *f = *state;

    f->node->status.storage_full = true;
    api_refuses(f, "PUT", NS "/items/b", "", "1", "storage-full", NULL);
    assert_int_equal(f->node->n_submissions, 0);
    api_refuses(f, "DELETE", NS "/items/a", "", NULL, "not-found", NULL);
    (void)api_expect(f, "PUT", NS "/items/b", "Idempotency-Key: k\r\n", "1", 201, NULL);
}

static void what_is_in_no_namespace_is_404_before_its_fields_are_read(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "PUT", "/v1/namespaces/none/items/a", "", "1", "namespace-not-found", NULL);
    api_refuses(f, "PUT", "/v1/namespaces/none/items/a?x", "", "1", "namespace-not-found", NULL);
    api_refuses(f, "GET", "/v1/namespaces/none/items/a", "", NULL, "namespace-not-found", NULL);
    api_refuses(f, "GET", "/v1/namespaces/none/items", "", NULL, "namespace-not-found", NULL);
    api_refuses(f, "DELETE", "/v1/namespaces/none/items", "", NULL, "namespace-not-found", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_answers_the_row_without_the_value),
        TEST(a_value_comes_back_byte_for_byte),
        TEST(bytes_come_back_as_bytes),
        TEST(a_value_that_is_no_json_is_refused),
        TEST(the_content_type_must_be_one_that_is_known),
        TEST(an_item_has_a_largest_size),
        TEST(keys_are_decoded_once_and_checked),
        TEST(parameters_are_checked),
        TEST(a_patch_merges_and_never_creates),
        TEST(delete_is_204_and_then_404),
        TEST(a_touch_keeps_the_etag_and_renews),
        TEST(conditions_guard_writes),
        TEST(a_header_that_is_no_tag_is_refused),
        TEST(get_answers_304_to_who_has_it),
        TEST(a_repeated_key_answers_the_same_and_acts_once),
        TEST(an_idempotency_key_has_a_form),
        TEST(a_list_is_paged_in_byte_order),
        TEST(a_list_refuses_what_is_out_of_range),
        TEST(a_page_ends_before_it_gets_too_large),
        TEST(a_prefix_is_deleted_until_nothing_is_left),
        TEST(a_write_that_was_not_taken_says_so),
        TEST(a_write_whose_client_went_away_is_abandoned_at_once),
        TEST(a_write_without_outcome_is_given_up_once),
        TEST(a_full_disk_refuses_what_adds_and_is_new),
        TEST(what_is_in_no_namespace_is_404_before_its_fields_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
