/* The contract of sessions, their events and namespaces, against a real state machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/memory.h"
#include "tests/lib/api_fixture.h"

static void make(struct api_fixture *f, const char *id)
{
    char target[512];

    (void)snprintf(target, sizeof(target), NS "/sessions/%s", id);
    (void)api_expect(f, "PUT", target, "", "{}", 201, NULL);
}

static void append(struct api_fixture *f, const char *id, unsigned n)
{
    char target[512];

    (void)snprintf(target, sizeof(target), NS "/sessions/%s/events", id);
    for (unsigned i = 0; i < n; i++) {
        (void)api_expect(f, "POST", target, "", "{\"events\":[{\"type\":\"t\",\"data\":1}]}", 201,
                         NULL);
    }
}

/* --- documents --- */

static void post_makes_an_id_and_says_where(void **state)
{
    struct api_fixture *f = *state;
    char *location;

    (void)api_expect(f, "POST", NS "/sessions", "", "{\"agent_id\":\"a\"}", 201,
                     "\"agent_id\":\"a\",\"user_id\":null,\"status\":\"active\",\"metadata\":{},"
                     "\"ttl_ms\":null,\"sliding\":true,\"write_policy\":\"any\",\"revision\":2,"
                     "\"first_seq\":null,\"last_seq\":0,\"event_count\":0,\"event_bytes\":0,"
                     "\"epoch\":0,\"owner\":null,\"created_at\":\"2023-11-14T22:13:20.000Z\","
                     "\"updated_at\":\"2023-11-14T22:13:20.000Z\",\"expires_at\":null}");
    location = memory_copy_string(reply_header(f->last, "Location"));
    assert_int_equal(strncmp(location, NS "/sessions/", strlen(NS "/sessions/")), 0);
    assert_int_equal(strlen(location), strlen(NS "/sessions/") + 36);
    assert_int_equal(location[strlen(NS "/sessions/") + 14], '7'); /* The version of the UUID. */
    (void)api_expect(f, "GET", location, "", NULL, 200, "\"metadata\":{},\"state\":{},\"ttl_ms\"");
    free(location);
    (void)api_expect(f, "POST", NS "/sessions", "", NULL, 201, NULL); /* No body, no fields. */
}

static void a_replayed_post_names_the_same_session(void **state)
{
    struct api_fixture *f = *state;
    char *location;

    (void)api_expect(f, "POST", NS "/sessions", "Idempotency-Key: k\r\n", "{}", 201, NULL);
    location = memory_copy_string(reply_header(f->last, "Location"));
    (void)api_expect(f, "POST", NS "/sessions", "Idempotency-Key: k\r\n", "{}", 201, NULL);
    assert_string_equal(reply_header(f->last, "Location"), location);
    assert_string_equal(reply_header(f->last, "Idempotency-Replayed"), "true");
    free(location);
}

static void put_replaces_the_document_and_keeps_the_log(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s", "",
                     "{\"agent_id\":\"a\",\"state\":{\"n\":0.10},\"metadata\":{\"k\":\"v\"}}", 201,
                     NULL);
    append(f, "s", 1);
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200,
                     "\"metadata\":{\"k\":\"v\"},\"state\":{\"n\":0.1}");
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    assert_string_equal(reply_header(f->last, "Holdfast-Revision"), "3");
    (void)api_expect(f, "PUT", NS "/sessions/s", "", "{\"user_id\":\"u\"}", 200,
                     "\"agent_id\":null,\"user_id\":\"u\"");
    assert_null(strstr(reply_body(f->last), "\"state\""));
    assert_null(reply_header(f->last, "Location"));
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200, "\"state\":{}");
    assert_non_null(
        strstr(reply_body(f->last), "\"first_seq\":1,\"last_seq\":1,\"event_count\":1"));
}

static void a_session_never_answers_304(void **state)
{
    struct api_fixture *f = *state;

    make(f, "s");
    (void)api_expect(f, "GET", NS "/sessions/s", "If-None-Match: \"2\"\r\n", NULL, 200, NULL);
}

static void patch_merges_and_null_resets(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s", "",
                     "{\"agent_id\":\"a\",\"state\":{\"x\":1,\"y\":2},\"metadata\":{\"k\":\"v\"},"
                     "\"sliding\":false,\"ttl_ms\":5000}",
                     201, NULL);
    (void)api_expect(f, "PATCH", NS "/sessions/s", "",
                     "{\"agent_id\":null,\"state\":{\"x\":null,\"z\":3},"
                     "\"metadata\":{\"k\":null,\"l\":\"w\"},\"ttl_ms\":null,\"sliding\":null}",
                     200, "\"agent_id\":null");
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200,
                     "\"metadata\":{\"l\":\"w\"},\"state\":{\"y\":2,\"z\":3},\"ttl_ms\":null,"
                     "\"sliding\":true");
    api_refuses(f, "PATCH", NS "/sessions/none", "", "{}", "not-found", NULL);
    api_refuses(f, "PATCH", NS "/sessions/s", "", NULL, "unsupported-media-type", NULL);
}

static void fields_are_checked(void **state)
{
    static const struct {
        const char *body;
        const char *field;
    } bad[] = {
        {"[]", ""},
        {"{\"epoch\":1}", "/epoch"},
        {"{\"a/b~c\":1}", "/a~1b~0c"},
        {"{\"agent_id\":1}", "/agent_id"},
        {"{\"agent_id\":\"\"}", "/agent_id"},
        {"{\"agent_id\":\"a\\u0000b\"}", "/agent_id"},
        {"{\"user_id\":\"\\u0085\"}", "/user_id"},
        {"{\"status\":\"gone\"}", "/status"},
        {"{\"status\":1}", "/status"},
        {"{\"metadata\":[]}", "/metadata"},
        {"{\"metadata\":{\"a\":1}}", "/metadata/a"},
        {"{\"state\":[]}", "/state"},
        {"{\"ttl_ms\":0}", "/ttl_ms"},
        {"{\"ttl_ms\":1.0}", "/ttl_ms"},
        {"{\"ttl_ms\":\"1\"}", "/ttl_ms"},
        {"{\"ttl_ms\":1000000000001}", "/ttl_ms"},
        {"{\"sliding\":1}", "/sliding"},
        {"{\"write_policy\":\"owner\"}", "/write_policy"},
    };
    struct api_fixture *f = *state;

    make(f, "s");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        api_refuses(f, "PUT", NS "/sessions/s", "", bad[i].body, "invalid-field", bad[i].field);
        api_refuses(f, "PATCH", NS "/sessions/s", "", bad[i].body, "invalid-field", bad[i].field);
        api_refuses(f, "POST", NS "/sessions", "", bad[i].body, "invalid-field", bad[i].field);
    }
    assert_int_equal(machine_revision(f->node->state->machine), 2);
    api_refuses(f, "PUT", NS "/sessions/s", "", "{\"status\":\"active\",\"status\":\"paused\"}",
                "malformed", "");
    api_refuses(f, "PUT", NS "/sessions/a%2Fb", "", "{}", "invalid-field", "session");
    api_refuses(f, "GET", NS "/sessions/a%20b", "", NULL, "invalid-field", "session");
    api_refuses(f, "PUT", NS "/sessions/s?x=1", "", "{}", "invalid-field", "x");
    api_refuses(f, "PUT", NS "/sessions/s", "Session-Epoch: 1\r\n", "{}", "invalid-field",
                "Session-Epoch");
}

/* {"@name": {"x": "aaa..."}} whose inside has @size bytes. */
static char *document_of(const char *name, size_t size)
{
    struct buffer text = BUFFER_EMPTY;

    buffer_append_format(&text, "{\"%s\":{\"x\":\"", name);
    memset(buffer_extend(&text, size - 8), 'a', size - 8);
    buffer_append_string(&text, "\"}}");
    buffer_append_byte(&text, 0);
    return (char *)text.data;
}

static void a_state_has_a_largest_size(void **state)
{
    struct api_fixture *f = *state;
    char *body = document_of("state", LIMIT_STATE_BYTES + 1);

    api_refuses(f, "PUT", NS "/sessions/s", "", body, "too-large", "/state");
    free(body);
    body = document_of("state", LIMIT_STATE_BYTES);
    (void)api_expect(f, "PUT", NS "/sessions/s", "", body, 201, NULL);
    free(body);
    /* Each is small enough; together they are not. */
    api_refuses(f, "PATCH", NS "/sessions/s", "", "{\"state\":{\"y\":1}}", "too-large", "/state");
}

static void a_deleted_id_is_gone_for_a_day(void **state)
{
    struct api_fixture *f = *state;

    make(f, "s");
    (void)api_expect(f, "DELETE", NS "/sessions/s", "", NULL, 204, NULL);
    api_refuses(f, "GET", NS "/sessions/s", "", NULL, "deleted", NULL);
    api_refuses(f, "PUT", NS "/sessions/s", "", "{}", "deleted", NULL);
    api_refuses(f, "DELETE", NS "/sessions/s", "", NULL, "deleted", NULL);
    api_refuses(f, "GET", NS "/sessions/s/events", "", NULL, "deleted", NULL);
    api_refuses(f, "POST", NS "/sessions/s/events", "",
                "{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{}}", "deleted", NULL);
    fake_node_pass(f->node, 24ull * 3600 * 1000 + 1);
    make(f, "s");
}

static void a_touch_slides_the_time_and_keeps_the_etag(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s", "", "{\"ttl_ms\":1000}", 201, NULL);
    fake_node_pass(f->node, 900);
    (void)api_expect(f, "POST", NS "/sessions/s/touch", "", NULL, 204, NULL);
    fake_node_pass(f->node, 900);
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200, NULL);
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    (void)api_expect(f, "POST", NS "/sessions/s/touch", "", "{\"ttl_ms\":5000}", 204, NULL);
    api_refuses(f, "POST", NS "/sessions/s/touch", "", "{\"ttl_ms\":null}", "invalid-field",
                "/ttl_ms");
    api_refuses(f, "POST", NS "/sessions/s/touch", "", "{\"x\":1}", "invalid-field", "/x");
    fake_node_pass(f->node, 6000);
    api_refuses(f, "POST", NS "/sessions/s/touch", "", NULL, "not-found", NULL);
    make(f, "s"); /* An expired id may be used anew. */
}

static void conditions_look_at_the_document_only(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s", "If-Match: *\r\n", "{}", 412, "\"revision\":null");
    make(f, "s");
    append(f, "s", 1);
    (void)api_expect(f, "PUT", NS "/sessions/s", "If-Match: \"2\"\r\n", "{}", 200, NULL);
    (void)api_expect(f, "PATCH", NS "/sessions/s", "If-Match: \"2\"\r\n", "{}", 412,
                     "\"revision\":4");
    (void)api_expect(f, "PUT", NS "/sessions/s", "If-None-Match: *\r\n", "{}", 412, NULL);
    (void)api_expect(f, "DELETE", NS "/sessions/none", "If-Match: \"2\"\r\n", NULL, 404, NULL);
}

/* --- lists --- */

static void sessions_are_filtered_and_sorted(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", NS "/sessions/s1", "", "{\"agent_id\":\"a\",\"user_id\":\"u\"}", 201,
                     NULL);
    (void)api_expect(f, "PUT", NS "/sessions/s2", "", "{\"agent_id\":\"a\",\"status\":\"paused\"}",
                     201, NULL);
    (void)api_expect(f, "PUT", NS "/sessions/s3", "", "{\"user_id\":\"u\"}", 201, NULL);
    append(f, "s1", 1);

    (void)api_expect(f, "GET", NS "/sessions", "", NULL, 200, "{\"items\":[{\"id\":\"s3\"");
    assert_null(strstr(reply_body(f->last), "\"state\""));
    (void)api_expect(f, "GET", NS "/sessions?order=asc", "", NULL, 200,
                     "{\"items\":[{\"id\":\"s1\"");
    (void)api_expect(f, "GET", NS "/sessions?sort=updated", "", NULL, 200,
                     "{\"items\":[{\"id\":\"s1\"");
    (void)api_expect(f, "GET", NS "/sessions?agent_id=a&status=paused", "", NULL, 200,
                     "{\"items\":[{\"id\":\"s2\"");
    assert_null(strstr(reply_body(f->last), "\"s1\""));
    (void)api_expect(f, "GET", NS "/sessions?agent_id=a&user_id=u", "", NULL, 200,
                     "{\"items\":[{\"id\":\"s1\"");
    assert_null(strstr(reply_body(f->last), "\"s3\""));
    (void)api_expect(f, "GET", NS "/sessions?user_id=none", "", NULL, 200,
                     "{\"items\":[],\"next_cursor\":null}");
    api_refuses(f, "GET", NS "/sessions?status=gone", "", NULL, "invalid-field", "status");
    api_refuses(f, "GET", NS "/sessions?sort=name", "", NULL, "invalid-field", "sort");
    api_refuses(f, "GET", NS "/sessions?holder=h", "", NULL, "invalid-field", "holder");
}

static void a_scan_of_sessions_meets_each_once(void **state)
{
    struct api_fixture *f = *state;
    char target[512] = NS "/sessions?limit=3";
    unsigned seen[10] = {0};
    bool is_last;

    for (unsigned i = 0; i < 10; i++) {
        char id[8];

        (void)snprintf(id, sizeof(id), "s%u", i);
        make(f, id);
    }
    do {
        char *cursor;

        (void)api_expect(f, "GET", target, "", NULL, 200, NULL);
        for (const char *at = reply_body(f->last); (at = strstr(at, "{\"id\":\"s")) != NULL; at++) {
            seen[at[8] - '0']++;
        }
        cursor = api_next_cursor(f);
        (void)snprintf(target, sizeof(target), NS "/sessions?limit=3&cursor=%s",
                       cursor == NULL ? "" : cursor);
        is_last = cursor == NULL;
        free(cursor);
    } while (!is_last);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(seen[i], 1);
    }
}

/* --- events --- */

static void an_append_is_numbered_and_read_back(void **state)
{
    struct api_fixture *f = *state;

    make(f, "s");
    (void)api_expect(
        f, "POST", NS "/sessions/s/events", "",
        "{\"events\":[{\"type\":\"m\",\"data\":{\"a\": 1}},{\"type\":\"n\",\"data\":null}]}", 201,
        "{\"first_seq\":1,\"last_seq\":2,\"duplicate\":false,\"session_created\":false}");
    (void)api_expect(f, "GET", NS "/sessions/s/events", "", NULL, 200,
                     "{\"items\":[{\"seq\":1,\"id\":null,\"type\":\"m\",\"data\":{\"a\":1},"
                     "\"created_at\":\"2023-11-14T22:13:20.000Z\"},{\"seq\":2,");
    assert_non_null(strstr(reply_body(f->last), "],\"next_cursor\":null,\"last_seq\":2}"));
    (void)api_expect(f, "GET", NS "/sessions/s/events?order=desc&limit=1", "", NULL, 200,
                     "{\"items\":[{\"seq\":2,");
    (void)api_expect(f, "GET", NS "/sessions/s/events?after_seq=1&before_seq=2", "", NULL, 200,
                     "{\"items\":[],\"next_cursor\":null,\"last_seq\":2}");
    (void)api_expect(f, "GET", NS "/sessions/s/events?before_seq=0", "", NULL, 200,
                     "{\"items\":[],");
    api_refuses(f, "GET", NS "/sessions/none/events", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", NS "/sessions/s/events", "Accept: text/event-stream\r\n", NULL,
                "invalid-field", "Accept");
}

static void appends_with_ids_are_recognised(void **state)
{
    static const char *const body =
        "{\"events\":[{\"id\":\"e1\",\"type\":\"t\",\"data\":{\"a\":1}}]}";
    struct api_fixture *f = *state;

    make(f, "s");
    (void)api_expect(f, "POST", NS "/sessions/s/events", "", body, 201, "\"duplicate\":false");
    (void)api_expect(
        f, "POST", NS "/sessions/s/events", "", body, 200,
        "{\"first_seq\":1,\"last_seq\":1,\"duplicate\":true,\"session_created\":false}");
    api_refuses(f, "POST", NS "/sessions/s/events", "",
                "{\"events\":[{\"id\":\"e1\",\"type\":\"t\",\"data\":{\"a\":2}}]}",
                "event-id-reused", NULL);
}

static void appends_are_checked(void **state)
{
    static const struct {
        const char *body;
        const char *field;
    } bad[] = {
        {"{}", "/events"},
        {"{\"events\":[]}", "/events"},
        {"{\"events\":{}}", "/events"},
        {"{\"events\":[1]}", "/events/0"},
        {"{\"events\":[{\"data\":1}]}", "/events/0/type"},
        {"{\"events\":[{\"type\":\"\",\"data\":1}]}", "/events/0/type"},
        {"{\"events\":[{\"type\":\"t\"}]}", "/events/0/data"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1,\"seq\":1}]}", "/events/0/seq"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1,\"id\":\"a b\"}]}", "/events/0/id"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1,\"id\":\"a\"},{\"type\":\"t\",\"data\":1}]}",
         "/events/1/id"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1,\"id\":\"a\"},"
         "{\"type\":\"t\",\"data\":1,\"id\":\"a\"}]}",
         "/events/1/id"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"expected_seq\":-1}", "/expected_seq"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"truncate_after\":\"1\"}", "/truncate_after"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"state_patch\":1}", "/state_patch"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":[]}", "/create"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{\"status\":2}}", "/create/status"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{\"id\":2}}", "/create/id"},
        {"{\"events\":[{\"type\":\"t\",\"data\":1}],\"more\":1}", "/more"},
    };
    struct api_fixture *f = *state;
    struct buffer many = BUFFER_EMPTY;

    make(f, "s");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        api_refuses(f, "POST", NS "/sessions/s/events", "", bad[i].body, "invalid-field",
                    bad[i].field);
    }
    buffer_append_string(&many, "{\"events\":[{\"type\":\"t\",\"data\":1}");
    for (unsigned i = 0; i < LIMIT_APPEND_EVENTS; i++) {
        buffer_append_string(&many, ",{\"type\":\"t\",\"data\":1}");
    }
    buffer_append(&many, "]}", 3);
    api_refuses(f, "POST", NS "/sessions/s/events", "", (const char *)many.data, "invalid-field",
                "/events");
    buffer_close(&many);
}

static void an_event_has_a_largest_size(void **state)
{
    struct api_fixture *f = *state;
    struct buffer body = BUFFER_EMPTY;

    make(f, "s");
    buffer_append_string(&body, "{\"events\":[{\"type\":\"t\",\"data\":\"");
    memset(buffer_extend(&body, LIMIT_EVENT_DATA_BYTES - 1), 'a', LIMIT_EVENT_DATA_BYTES - 1);
    buffer_append(&body, "\"}]}", 5);
    api_refuses(f, "POST", NS "/sessions/s/events", "", (const char *)body.data, "too-large",
                "/events/0/data");
    buffer_close(&body);
}

static void an_append_may_expect_truncate_patch_and_create(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "POST", NS "/sessions/s/events", "",
                "{\"events\":[{\"type\":\"t\",\"data\":1}]}", "not-found", NULL);
    (void)api_expect(f, "POST", NS "/sessions/s/events", "",
                     "{\"events\":[{\"type\":\"t\",\"data\":1},{\"type\":\"t\",\"data\":2}],"
                     "\"expected_seq\":0,\"create\":{\"user_id\":\"u\"},\"state_patch\":{\"n\":2}}",
                     201, "\"session_created\":true}");
    (void)api_expect(f, "GET", NS "/sessions/s", "", NULL, 200, "\"state\":{\"n\":2}");
    (void)api_expect(f, "POST", NS "/sessions/s/events", "",
                     "{\"events\":[{\"type\":\"t\",\"data\":3}],\"expected_seq\":1}", 409,
                     "\"last_seq\":2}");
    (void)api_expect(f, "POST", NS "/sessions/s/events", "",
                     "{\"events\":[{\"type\":\"t\",\"data\":3}],\"expected_seq\":2,"
                     "\"truncate_after\":1}",
                     201, "{\"first_seq\":3,\"last_seq\":3,");
    (void)api_expect(f, "GET", NS "/sessions/s/events", "", NULL, 200, "\"seq\":1,");
    assert_null(strstr(reply_body(f->last), "\"seq\":2,"));
}

static void a_log_is_rewound_or_trimmed(void **state)
{
    struct api_fixture *f = *state;

    make(f, "s");
    append(f, "s", 5);
    (void)api_expect(f, "DELETE", NS "/sessions/s/events?before_seq=3", "", NULL, 200,
                     "{\"deleted\":2,\"first_seq\":3,\"last_seq\":5}");
    (void)api_expect(f, "DELETE", NS "/sessions/s/events?after_seq=4&expected_seq=5", "", NULL, 200,
                     "{\"deleted\":1,\"first_seq\":3,\"last_seq\":4}");
    (void)api_expect(f, "DELETE", NS "/sessions/s/events?after_seq=0&expected_seq=5", "", NULL, 409,
                     "\"last_seq\":4}");
    (void)api_expect(f, "DELETE", NS "/sessions/s/events?before_seq=9", "", NULL, 200,
                     "{\"deleted\":2,\"first_seq\":null,\"last_seq\":4}");
    api_refuses(f, "DELETE", NS "/sessions/s/events", "", NULL, "invalid-field", "after_seq");
    api_refuses(f, "DELETE", NS "/sessions/s/events?after_seq=1&before_seq=2", "", NULL,
                "invalid-field", "after_seq");
}

static void a_closed_session_takes_no_events_until_reopened(void **state)
{
    struct api_fixture *f = *state;

    make(f, "s");
    (void)api_expect(f, "PATCH", NS "/sessions/s", "", "{\"status\":\"closed\"}", 200, NULL);
    api_refuses(f, "POST", NS "/sessions/s/events", "",
                "{\"events\":[{\"type\":\"t\",\"data\":1}]}", "session-closed", NULL);
    (void)api_expect(f, "PATCH", NS "/sessions/s", "", "{\"status\":\"active\"}", 200, NULL);
    append(f, "s", 1);
}

/* --- namespaces --- */

static void namespaces_are_made_changed_and_removed(void **state)
{
    struct api_fixture *f = *state;

    (void)api_expect(f, "PUT", "/v1/namespaces/t1", "", "{\"metadata\":{\"a\":\"b\"}}", 201,
                     "{\"name\":\"t1\",\"revision\":2,\"metadata\":{\"a\":\"b\"},"
                     "\"quotas\":{\"max_bytes\":null},\"created_at\":\"");
    assert_string_equal(reply_header(f->last, "ETag"), "\"2\"");
    (void)api_expect(f, "PATCH", "/v1/namespaces/t1", "If-Match: \"2\"\r\n",
                     "{\"metadata\":{\"a\":null,\"c\":\"d\"}}", 200, "\"metadata\":{\"c\":\"d\"}");
    (void)api_expect(f, "GET", "/v1/namespaces/t1", "", NULL, 200, "\"metadata\":{\"c\":\"d\"}");
    assert_string_equal(reply_header(f->last, "ETag"), "\"3\"");
    (void)api_expect(f, "PUT", "/v1/namespaces/t1/items/a", "", "1", 201, NULL);
    api_refuses(f, "GET", NS "/items/a", "", NULL, "not-found", NULL); /* Nothing crosses. */
    (void)api_expect(f, "GET", "/v1/namespaces?order=asc&limit=1", "", NULL, 200,
                     "{\"items\":[{\"name\":\"default\"");
    assert_null(strstr(reply_body(f->last), "\"next_cursor\":null"));
    (void)api_expect(f, "DELETE", "/v1/namespaces/t1", "", NULL, 204, NULL);
    api_refuses(f, "GET", "/v1/namespaces/t1", "", NULL, "namespace-not-found", NULL);
    (void)api_expect(f, "PUT", "/v1/namespaces/t1", "", NULL, 201,
                     NULL); /* Anew at once, and empty. */
    api_refuses(f, "GET", "/v1/namespaces/t1/items/a", "", NULL, "not-found", NULL);
    api_refuses(f, "DELETE", "/v1/namespaces/default", "", NULL, "protected", NULL);
}

static void namespaces_are_checked(void **state)
{
    struct api_fixture *f = *state;

    api_refuses(f, "PUT", "/v1/namespaces/t", "", "{\"quotas\":{}}", "invalid-field", "/quotas");
    api_refuses(f, "PUT", "/v1/namespaces/t", "", "{\"name\":\"t\"}", "invalid-field", "/name");
    api_refuses(f, "PUT", "/v1/namespaces/t", "", "{\"metadata\":{\"a\":1}}", "invalid-field",
                "/metadata/a");
    api_refuses(f, "PUT", "/v1/namespaces/T", "", "{}", "invalid-field", "namespace");
    api_refuses(f, "PATCH", "/v1/namespaces/none", "", "{}", "namespace-not-found", NULL);
    api_refuses(f, "DELETE", "/v1/namespaces/none", "", NULL, "namespace-not-found", NULL);
    api_refuses(f, "GET", "/v1/namespaces?prefix=a", "", NULL, "invalid-field", "prefix");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(post_makes_an_id_and_says_where),
        TEST(a_replayed_post_names_the_same_session),
        TEST(put_replaces_the_document_and_keeps_the_log),
        TEST(a_session_never_answers_304),
        TEST(patch_merges_and_null_resets),
        TEST(fields_are_checked),
        TEST(a_state_has_a_largest_size),
        TEST(a_deleted_id_is_gone_for_a_day),
        TEST(a_touch_slides_the_time_and_keeps_the_etag),
        TEST(conditions_look_at_the_document_only),
        TEST(sessions_are_filtered_and_sorted),
        TEST(a_scan_of_sessions_meets_each_once),
        TEST(an_append_is_numbered_and_read_back),
        TEST(appends_with_ids_are_recognised),
        TEST(appends_are_checked),
        TEST(an_event_has_a_largest_size),
        TEST(an_append_may_expect_truncate_patch_and_create),
        TEST(a_log_is_rewound_or_trimmed),
        TEST(a_closed_session_takes_no_events_until_reopened),
        TEST(namespaces_are_made_changed_and_removed),
        TEST(namespaces_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
