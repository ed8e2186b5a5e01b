/* The contract of the HTTP API, as a client with curl would meet it, on every node: leader or not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define TEST_LIMIT_S 120
#define N_TESTS      13
#define NS           "/v1/namespaces/default"
#define STALE_MS     1000 /* Far beyond the few milliseconds that it takes. */
#define MEBIBYTE     (1u << 20)

struct fixture {
    struct cluster cluster;
    struct http_client clients[CLUSTER_NODES];
    struct answer answer;
    unsigned node; /* The one that the test talks to; others by client_of_next(). */
    unsigned passed;
};

static int start_all(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    unsigned i;

    assert_non_null(f);
    *state = f;
    assert_true(cluster_open(&f->cluster));
    assert_true(cluster_start(&f->cluster));
    for (i = 0; i < CLUSTER_NODES; i++) {
        f->clients[i] = cluster_client(&f->cluster.nodes[i]);
    }
    return 0;
}

static int end_all(void **state)
{
    struct fixture *f = *state;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        http_client_close(&f->clients[i]);
    }
    answer_close(&f->answer);
    cluster_close(&f->cluster, f->passed == N_TESTS);
    free(f);
    return 0;
}

static struct http_client *client_of(struct fixture *f)
{
    return &f->clients[f->node];
}

static struct http_client *client_of_next(struct fixture *f)
{
    return &f->clients[(f->node + 1) % CLUSTER_NODES];
}

/* A request without headers. In @target, '#' stands for the node's number, so that each node works
 * on things of its own. */
static void ask(struct fixture *f, unsigned status, const char *method, const char *target,
                const char *headers, const char *body)
{
    char own[1024];
    char *mark;

    (void)snprintf(own, sizeof own, NS "/%s", target);
    while ((mark = strchr(own, '#')) != NULL) {
        *mark = (char)('1' + f->node);
    }
    expect(&f->answer, client_of(f), status, method, own, headers, body);
}

static void assert_body(struct fixture *f, const char *expected)
{
    assert_string_equal((const char *)f->answer.response.body.data, expected);
}

static void assert_integer(struct fixture *f, const char *path, long long expected)
{
    if (answer_integer(&f->answer, path) != expected) {
        fail_msg("%s is not %lld: %s", path, expected, (const char *)f->answer.response.body.data);
    }
}

static void assert_string(struct fixture *f, const char *path, const char *expected)
{
    assert_string_equal(answer_string(&f->answer, path), expected);
}

static void assert_member_is_null(struct fixture *f, const char *path)
{
    assert_true(json_is_null(answer_member(&f->answer, path)));
}

static size_t rows_of(struct fixture *f)
{
    return json_array_size(answer_member(&f->answer, "items"));
}

/* "Name: "N"\r\n" with the ETag of the last answer. */
static const char *with_tag(struct fixture *f, const char *name)
{
    static char header[128];

    (void)snprintf(header, sizeof header, "%s: %s\r\n", name, answer_header(&f->answer, "ETag"));
    return header;
}

/* Run @body for each node. */
static void on_every_node(void **state, void (*body)(struct fixture *f))
{
    struct fixture *f = *state;

    for (f->node = 0; f->node < CLUSTER_NODES; f->node++) {
        body(f);
    }
    f->passed++;
}

static void walk_items(struct fixture *f)
{
    ask(f, 404, "GET", "items/web#/x", NULL, NULL);
    expect_problem(&f->answer, "not-found");
    ask(f, 201, "PUT", "items/web#/x?ttl_ms=60000&user_id=u1", NULL, "{ \"b\": [1, 2.50] }");
    assert_integer(f, "ttl_ms", 60000);
    assert_string(f, "user_id", "u1");
    assert_string(f, "content_type", "application/json");
    assert_true(strlen(answer_string(&f->answer, "expires_at")) == 24);

    /* As it was sent, byte for byte. */
    ask(f, 200, "GET", "items/web#/x", NULL, NULL);
    assert_body(f, "{ \"b\": [1, 2.50] }");
    assert_string_equal(answer_header(&f->answer, "Content-Type"), "application/json");
    assert_string_equal(answer_header(&f->answer, "Cache-Control"), "no-store");
    assert_true(answer_header(&f->answer, "Holdfast-Expires-At")[0] != '\0');
    ask(f, 304, "GET", "items/web#/x", with_tag(f, "If-None-Match"), NULL);

    ask(f, 200, "PATCH", "items/web#/x", NULL, "{\"b\":null,\"c\":{\"d\":1}}");
    ask(f, 200, "GET", "items/web#%2Fx", NULL, NULL);
    assert_body(f, "{\"c\":{\"d\":1}}");
    ask(f, 204, "POST", "items/web#/x?touch&ttl_ms=120000", NULL, NULL);
    ask(f, 200, "PUT", "items/web#/x", NULL, "7");
    assert_member_is_null(f, "ttl_ms");
    ask(f, 204, "DELETE", "items/web#/x", NULL, NULL);
    ask(f, 404, "DELETE", "items/web#/x", NULL, NULL);
    ask(f, 404, "PATCH", "items/web#/x", NULL, "{}");
    ask(f, 404, "POST", "items/web#/x?touch", NULL, NULL);
}

static void items_live_on_every_node(void **state)
{
    on_every_node(state, walk_items);
}

static void walk_item_values(struct fixture *f)
{
    static const char *const values[] = {"null",  "true", "\"a\\u0000b\"",
                                         "-0.10", "[]",   "9223372036854775807"};
    static const uint8_t bytes[] = {0, 255, 10, 13, 0};
    struct http_request request = {.method = "PUT",
                                   .target = NS "/items/bytes",
                                   .content_type = "application/octet-stream",
                                   .body = slice_of(bytes, sizeof bytes),
                                   .has_body = true};
    size_t i;

    for (i = 0; i < sizeof values / sizeof values[0]; i++) {
        ask(f, f->node == 0 && i == 0 ? 201 : 200, "PUT", "items/value", NULL, values[i]);
        ask(f, 200, "GET", "items/value", NULL, NULL);
        assert_body(f, values[i]);
    }
    expect_exchange(&f->answer, client_of(f), f->node == 0 ? 201 : 200, &request);
    ask(f, 200, "GET", "items/bytes", NULL, NULL);
    assert_int_equal(f->answer.response.body.size, sizeof bytes);
    assert_memory_equal(f->answer.response.body.data, bytes, sizeof bytes);
    assert_string_equal(answer_header(&f->answer, "Content-Type"), "application/octet-stream");
    ask(f, 409, "PATCH", "items/bytes", NULL, "{}");
    expect_problem(&f->answer, "not-json");
}

static void items_hold_any_value(void **state)
{
    on_every_node(state, walk_item_values);
}

static void walk_conditions(struct fixture *f)
{
    char stale[128];

    ask(f, 201, "PUT", "items/lock#?ttl_ms=60000", "If-None-Match: *\r\n", "1");
    (void)snprintf(stale, sizeof stale, "%s", with_tag(f, "If-Match"));
    ask(f, 412, "PUT", "items/lock#", "If-None-Match: *\r\n", "2");
    expect_problem(&f->answer, "precondition-failed");
    assert_true(answer_integer(&f->answer, "revision") > 0);
    ask(f, 200, "PUT", "items/lock#", stale, "3");
    ask(f, 412, "PUT", "items/lock#", stale, "4");
    ask(f, 412, "DELETE", "items/lock#", stale, NULL);
    ask(f, 200, "GET", "items/lock#", NULL, NULL);
    assert_body(f, "3");
    ask(f, 204, "DELETE", "items/lock#", with_tag(f, "If-Match"), NULL);
    ask(f, 404, "DELETE", "items/lock#", "If-Match: *\r\n", NULL);
    ask(f, 412, "PUT", "items/lock#", "If-Match: *\r\n", "5");
}

static void conditions_hold_on_every_node(void **state)
{
    on_every_node(state, walk_conditions);
}

static void walk_sessions(struct fixture *f)
{
    char location[256];

    ask(f, 404, "GET", "sessions/s#", NULL, NULL);
    ask(f, 201, "PUT", "sessions/s#", NULL,
        "{\"agent_id\":\"a\",\"user_id\":\"u\",\"metadata\":{\"k\":\"v\"},\"state\":{\"x\":0.1},"
        "\"ttl_ms\":3600000}");
    assert_true(json_object_get(f->answer.body, "state") == NULL); /* Writes answer small. */
    ask(f, 200, "GET", "sessions/s#", NULL, NULL);
    assert_string(f, "status", "active");
    assert_string(f, "metadata.k", "v");
    assert_true(json_real_value(answer_member(&f->answer, "state.x")) == 0.1);
    assert_integer(f, "last_seq", 0);
    assert_member_is_null(f, "first_seq");
    assert_member_is_null(f, "owner");
    assert_string(f, "write_policy", "any");

    ask(f, 200, "PATCH", "sessions/s#", with_tag(f, "If-Match"),
        "{\"metadata\":null,\"state\":{\"y\":[1]}}");
    ask(f, 200, "GET", "sessions/s#", NULL, NULL);
    assert_integer(f, "state.y[0]", 1);
    assert_true(json_object_size(answer_member(&f->answer, "metadata")) == 0);
    ask(f, 200, "PUT", "sessions/s#", NULL, "{}");
    ask(f, 200, "GET", "sessions/s#", NULL, NULL);
    assert_member_is_null(f, "agent_id");
    assert_member_is_null(f, "ttl_ms");
    ask(f, 204, "POST", "sessions/s#/touch", NULL, "{\"ttl_ms\":60000}");
    ask(f, 400, "PATCH", "sessions/s#", NULL, "{\"epoch\":1}");
    expect_problem(&f->answer, "invalid-field");
    assert_string(f, "field", "/epoch");

    ask(f, 204, "DELETE", "sessions/s#", NULL, NULL);
    ask(f, 410, "GET", "sessions/s#", NULL, NULL);
    expect_problem(&f->answer, "deleted");
    ask(f, 410, "PUT", "sessions/s#", NULL, "{}");

    ask(f, 201, "POST", "sessions", NULL, "{}");
    (void)snprintf(location, sizeof location, "%s", answer_header(&f->answer, "Location"));
    assert_int_equal(strlen(answer_string(&f->answer, "id")), 36);
    expect(&f->answer, client_of_next(f), 200, "GET", location, NULL, NULL);
}

static void sessions_live_on_every_node(void **state)
{
    on_every_node(state, walk_sessions);
}

#define TWO_EVENTS                                                                                 \
    "{\"events\":[{\"id\":\"a\",\"type\":\"m\",\"data\":{\"t\":\"x\"}},"                           \
    "{\"id\":\"b\",\"type\":\"m\",\"data\":null}],\"expected_seq\":0,\"create\":{\"user_id\":"     \
    "\"u\"}}"

static void walk_events(struct fixture *f)
{
    ask(f, 404, "POST", "sessions/e#/events", NULL, "{\"events\":[{\"type\":\"m\",\"data\":1}]}");
    ask(f, 201, "POST", "sessions/e#/events", NULL, TWO_EVENTS);
    assert_integer(f, "first_seq", 1);
    assert_integer(f, "last_seq", 2);
    assert_true(json_is_true(answer_member(&f->answer, "session_created")));
    assert_true(json_is_false(answer_member(&f->answer, "duplicate")));

    /* The same ids again, also elsewhere: the first answer, and nothing written. */
    ask(f, 200, "POST", "sessions/e#/events", NULL, TWO_EVENTS);
    assert_true(json_is_true(answer_member(&f->answer, "duplicate")));
    assert_integer(f, "last_seq", 2);
    ask(f, 409, "POST", "sessions/e#/events", NULL,
        "{\"events\":[{\"id\":\"a\",\"type\":\"m\",\"data\":{\"t\":\"other\"}}]}");
    expect_problem(&f->answer, "event-id-reused");
    ask(f, 409, "POST", "sessions/e#/events", NULL,
        "{\"events\":[{\"id\":\"c\",\"type\":\"m\",\"data\":1}],\"expected_seq\":1}");
    expect_problem(&f->answer, "sequence-conflict");
    assert_integer(f, "last_seq", 2);

    /* A rewind leaves a gap: no number comes twice. */
    ask(f, 201, "POST", "sessions/e#/events", NULL,
        "{\"events\":[{\"id\":\"d\",\"type\":\"m\",\"data\":1}],\"truncate_after\":1,"
        "\"state_patch\":{\"z\":1}}");
    assert_integer(f, "first_seq", 3);
    ask(f, 200, "GET", "sessions/e#/events?order=desc&limit=1", NULL, NULL);
    assert_integer(f, "items[0].seq", 3);
    assert_string(f, "items[0].id", "d");
    assert_integer(f, "last_seq", 3);
    ask(f, 200, "GET", "sessions/e#", NULL, NULL);
    assert_integer(f, "state.z", 1);
    assert_integer(f, "event_count", 2);
    ask(f, 200, "DELETE", "sessions/e#/events?before_seq=2", NULL, NULL);
    assert_integer(f, "deleted", 1);
    assert_integer(f, "first_seq", 3);

    ask(f, 200, "PATCH", "sessions/e#", NULL, "{\"status\":\"closed\"}");
    ask(f, 409, "POST", "sessions/e#/events", NULL, "{\"events\":[{\"type\":\"m\",\"data\":1}]}");
    expect_problem(&f->answer, "session-closed");
}

static void events_live_on_every_node(void **state)
{
    on_every_node(state, walk_events);
}

static void walk_namespaces(struct fixture *f)
{
    char path[64];
    char item[96];

    (void)snprintf(path, sizeof path, "/v1/namespaces/team-%u", f->node + 1);
    (void)snprintf(item, sizeof item, "%s/items/k", path);
    expect(&f->answer, client_of(f), 404, "PUT", item, NULL, "1");
    expect_problem(&f->answer, "namespace-not-found");
    expect(&f->answer, client_of(f), 201, "PUT", path, NULL, "{\"metadata\":{\"a\":\"b\"}}");
    expect(&f->answer, client_of_next(f), 201, "PUT", item, NULL, "1");
    ask(f, 404, "GET", "items/k", NULL, NULL); /* Nothing crosses a namespace. */
    expect(&f->answer, client_of(f), 200, "GET", path, NULL, NULL);
    assert_string(f, "metadata.a", "b");
    expect(&f->answer, client_of(f), 200, "GET", "/v1/namespaces?limit=500", NULL, NULL);
    assert_int_equal(rows_of(f), 2);
    expect(&f->answer, client_of(f), 204, "DELETE", path, NULL, NULL);
    expect(&f->answer, client_of(f), 404, "GET", item, NULL, NULL);
    expect(&f->answer, client_of(f), 201, "PUT", path, NULL, "{}");
    expect(&f->answer, client_of(f), 404, "GET", item, NULL, NULL);
    expect_problem(&f->answer, "not-found");
    expect(&f->answer, client_of(f), 204, "DELETE", path, NULL, NULL);
    expect(&f->answer, client_of(f), 409, "DELETE", NS, NULL, NULL);
    expect_problem(&f->answer, "protected");
}

static void namespaces_live_on_every_node(void **state)
{
    on_every_node(state, walk_namespaces);
}

static void walk_transactions(struct fixture *f)
{
    long long revision;

    ask(f, 201, "PUT", "items/from", NULL, "10");
    ask(f, 200, "POST", "transactions", NULL,
        "{\"ops\":[{\"method\":\"PUT\",\"path\":\"items/from\",\"body\":9},"
        "{\"method\":\"PUT\",\"path\":\"items/to%20x\",\"body\":1,"
        "\"headers\":{\"If-None-Match\":\"*\"}},"
        "{\"method\":\"POST\",\"path\":\"sessions/tx/events\","
        "\"body\":{\"events\":[{\"type\":\"moved\",\"data\":1}],\"create\":{}}},"
        "{\"method\":\"CHECK\",\"path\":\"items/to%20x\",\"headers\":{\"If-Match\":\"*\"}}]}");
    revision = answer_integer(&f->answer, "revision");
    assert_integer(f, "results[0].status", 200);
    assert_integer(f, "results[1].status", 201);
    assert_integer(f, "results[1].body.revision", revision);
    assert_integer(f, "results[2].status", 201);
    assert_integer(f, "results[3].status", 204);

    /* One that fails undoes all. */
    ask(f, 412, "POST", "transactions", NULL,
        "{\"ops\":[{\"method\":\"DELETE\",\"path\":\"items/from\"},"
        "{\"method\":\"PUT\",\"path\":\"items/to%20x\",\"body\":2,"
        "\"headers\":{\"If-None-Match\":\"*\"}}]}");
    expect_problem(&f->answer, "precondition-failed");
    assert_integer(f, "op", 1);
    ask(f, 200, "GET", "items/from", NULL, NULL);
    assert_body(f, "9");
    ask(f, 400, "POST", "transactions", NULL, "{\"ops\":[]}");
    ask(f, 204, "DELETE", "items/from", NULL, NULL);
    ask(f, 204, "DELETE", "items/to%20x", NULL, NULL);
}

static void transactions_do_all_or_nothing_on_every_node(void **state)
{
    on_every_node(state, walk_transactions);
}

/* Walk all pages of @limit rows, changing the node with each: cursors work everywhere. */
static unsigned count_by_pages(struct fixture *f, const char *list)
{
    char target[1024];
    unsigned pages = 0;
    unsigned rows = 0;
    const char *next;

    (void)snprintf(target, sizeof target, NS "/%s", list);
    do {
        expect(&f->answer, &f->clients[pages++ % CLUSTER_NODES], 200, "GET", target, NULL, NULL);
        rows += (unsigned)rows_of(f);
        next = json_string_value(answer_member(&f->answer, "next_cursor"));
        (void)snprintf(target, sizeof target, NS "/%s&cursor=%s", list, next == NULL ? "" : next);
    } while (next != NULL && pages < 1000);
    return rows;
}

static void lists_go_on_at_any_node(void **state)
{
    struct fixture *f = *state;
    char target[96];
    unsigned i;

    f->node = 0;
    for (i = 0; i < 25; i++) {
        (void)snprintf(target, sizeof target, "items/list/%02u", i);
        ask(f, 201, "PUT", target, NULL, "{\"v\":1}");
        (void)snprintf(target, sizeof target, "sessions/list-%02u", i);
        ask(f, 201, "PUT", target, NULL,
            i % 2 ? "{\"agent_id\":\"odd\"}" : "{\"agent_id\":\"even\"}");
        ask(f, 201, "POST", "sessions/list-00/events", NULL,
            "{\"events\":[{\"type\":\"t\",\"data\":1}]}");
    }

    assert_int_equal(count_by_pages(f, "items?prefix=list/&limit=4"), 25);
    assert_int_equal(count_by_pages(f, "items?prefix=list/&limit=4&order=desc&values=true"), 25);
    assert_int_equal(count_by_pages(f, "sessions?agent_id=odd&limit=5"), 12);
    assert_int_equal(count_by_pages(f, "sessions?agent_id=even&limit=5&sort=updated"), 13);
    assert_int_equal(count_by_pages(f, "sessions/list-00/events?limit=3"), 25);
    assert_int_equal(count_by_pages(f, "sessions/list-00/events?limit=3&order=desc&after_seq=5"),
                     20);

    ask(f, 200, "GET", "items?prefix=list/&limit=2&values=true", NULL, NULL);
    assert_string(f, "items[0].key", "list/00");
    assert_integer(f, "items[1].value.v", 1);
    ask(f, 400, "GET", "items?prefix=list/&limit=0", NULL, NULL);
    ask(f, 400, "GET", "items?prefix=list/&limit=501", NULL, NULL);
    ask(f, 400, "GET", "items?prefix=list/&cursor=nonsense", NULL, NULL);
    ask(f, 400, "GET", "items?prefix=list/&unknown=1", NULL, NULL);
    ask(f, 400, "GET", "items?prefix=list/&prefix=list/", NULL, NULL);
    ask(f, 200, "DELETE", "items?prefix=list/", NULL, NULL);
    assert_integer(f, "deleted", 25);
    f->passed++;
}

static void walk_idempotency(struct fixture *f)
{
    char key[64];
    char first[512];
    char revision[64];
    char target[128];

    (void)snprintf(key, sizeof key, "Idempotency-Key: once-%u\r\n", f->node);
    (void)snprintf(target, sizeof target, NS "/sessions/idem%u/events", f->node + 1);
    ask(f, 201, "POST", "sessions/idem#/events", key,
        "{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{}}");
    (void)snprintf(first, sizeof first, "%s", (const char *)f->answer.response.body.data);
    (void)snprintf(revision, sizeof revision, "%s", answer_header(&f->answer, "Holdfast-Revision"));

    expect(&f->answer, client_of_next(f), 201, "POST", target, key,
           "{\"events\":[{\"type\":\"t\",\"data\":1}],\"create\":{}}");
    assert_body(f, first);
    assert_string_equal(answer_header(&f->answer, "Holdfast-Revision"), revision);
    assert_string_equal(answer_header(&f->answer, "Idempotency-Replayed"), "true");
    ask(f, 422, "POST", "sessions/idem#/events", key,
        "{\"events\":[{\"type\":\"t\",\"data\":2}],\"create\":{}}");
    expect_problem(&f->answer, "idempotency-key-reused");
    ask(f, 200, "GET", "sessions/idem#", NULL, NULL);
    assert_integer(f, "last_seq", 1);
}

static void a_key_acts_once_on_all_nodes(void **state)
{
    on_every_node(state, walk_idempotency);
}

struct stale_read {
    struct fixture *f;
    const char *expected;
};

static bool stale_read_is_current(void *data)
{
    struct stale_read *read = data;
    struct fixture *f = read->f;
    char target[96];

    (void)snprintf(target, sizeof target, NS "/items/fresh%u?consistency=stale", f->node + 1);
    return http_call(client_of(f), &f->answer.response, "GET", target, NULL, NULL) ==
               HTTP_ANSWERED &&
           f->answer.response.status == 200 &&
           strcmp((const char *)f->answer.response.body.data, read->expected) == 0;
}

/* What was acknowledged becomes visible to stale reads a moment later. */
static void assert_stale_reads_follow(struct fixture *f, const char *expected)
{
    struct stale_read read = {.f = f, .expected = expected};

    assert_true(wait_until(stale_read_is_current, &read, STALE_MS));
}

/* Read on the next node what was written here: at once, by revision, and stale. */
static void walk_consistency(struct fixture *f)
{
    char target[160];
    char value[32];
    long long revision;
    unsigned i;

    for (i = 0; i < 20; i++) {
        (void)snprintf(value, sizeof value, "%u", i + 1);
        ask(f, i == 0 ? 201 : 200, "PUT", "items/fresh#", NULL, value);
        revision = strtoll(answer_header(&f->answer, "Holdfast-Revision"), NULL, 10);
        (void)snprintf(target, sizeof target, NS "/items/fresh%u", f->node + 1);
        expect(&f->answer, client_of_next(f), 200, "GET", target, NULL, NULL);
        assert_body(f, value);
        assert_true(strtoll(answer_header(&f->answer, "Holdfast-Revision"), NULL, 10) >= revision);

        (void)snprintf(value, sizeof value, "\"%u\"", i);
        ask(f, 200, "PUT", "items/fresh#", NULL, value);
        revision = strtoll(answer_header(&f->answer, "Holdfast-Revision"), NULL, 10);
        (void)snprintf(target, sizeof target, NS "/items/fresh%u?min_revision=%lld", f->node + 1,
                       revision);
        expect(&f->answer, client_of_next(f), 200, "GET", target, NULL, NULL);
        assert_body(f, value);
    }
    assert_stale_reads_follow(f, value);
    ask(f, 400, "GET", "items/fresh#?consistency=wrong", NULL, NULL);
    ask(f, 503, "GET", "items/fresh#?min_revision=1000000000", NULL, NULL);
    expect_problem(&f->answer, "replica-behind");
    assert_true(answer_header(&f->answer, "Retry-After")[0] != '\0');
    assert_true(answer_integer(&f->answer, "retry_after_ms") > 0);
}

static void reads_see_what_was_written_on_another_node(void **state)
{
    on_every_node(state, walk_consistency);
}

static void walk_methods(struct fixture *f)
{
    static const char *const local[] = {
        "/livez", "/readyz", "/metrics", "/openapi.json", "/problems/not-found", "/v1/cluster"};
    size_t i;

    ask(f, f->node == 0 ? 201 : 200, "PUT", "items/methods", NULL, "[1]");
    ask(f, 200, "HEAD", "items/methods", NULL, NULL);
    assert_string_equal(answer_header(&f->answer, "Content-Length"), "3");
    assert_true(answer_header(&f->answer, "ETag")[0] == '"');
    ask(f, 404, "HEAD", "items/missing", NULL, NULL);
    ask(f, 204, "OPTIONS", "items/methods", NULL, NULL);
    assert_non_null(strstr(answer_header(&f->answer, "Allow"), "PATCH"));
    ask(f, 405, "PUT", "sessions", NULL, "{}");
    expect_problem(&f->answer, "method-not-allowed");
    assert_non_null(strstr(answer_header(&f->answer, "Allow"), "POST"));
    for (i = 0; i < sizeof local / sizeof local[0]; i++) {
        expect(&f->answer, client_of(f), 200, "GET", local[i], NULL, NULL);
        assert_true(f->answer.response.body.size > 0);
        expect(&f->answer, client_of(f), 200, "HEAD", local[i], NULL, NULL);
        expect(&f->answer, client_of(f), 405, "DELETE", local[i], NULL, NULL);
    }
    expect(&f->answer, client_of(f), 404, "GET", "/nothing/here", NULL, NULL);
    expect_problem(&f->answer, "not-found");
}

static void methods_are_told_on_every_node(void **state)
{
    on_every_node(state, walk_methods);
}

static void walk_bad_input(struct fixture *f)
{
    struct http_request text = {.method = "PUT",
                                .target = NS "/items/bad",
                                .content_type = "text/plain",
                                .body = slice_of_string("1"),
                                .has_body = true};

    ask(f, 400, "PUT", "items/bad", NULL, "{\"a\":1,\"a\":2}");
    ask(f, 400, "PUT", "items/bad", NULL, "{\"a\":");
    ask(f, 400, "PUT", "items/bad", NULL, "\"\xff\"");
    ask(f, 400, "PUT", "items/bad", NULL, "18446744073709551616");
    ask(f, 400, "PUT", "items/a/../bad", NULL, "1");
    ask(f, 400, "PUT", "items/bad%00", NULL, "1");
    ask(f, 400, "PUT", "items/bad%zz", NULL, "1");
    ask(f, 400, "PUT", "items/bad?ttl_ms=0", NULL, "1");
    ask(f, 400, "PUT", "items/bad?ttl_ms=-1", NULL, "1");
    ask(f, 400, "PUT", "items/bad", "If-Match: nonsense\r\n", "1");
    ask(f, 400, "PUT", "sessions/a%20b", NULL, "{}");
    ask(f, 400, "PUT", "sessions/bad", NULL, "{\"unknown\":1}");
    ask(f, 400, "PUT", "sessions/bad", NULL, "{\"write_policy\":\"owner\"}");
    ask(f, 400, "PUT", "sessions/bad", NULL, "{\"state\":[]}");
    ask(f, 400, "POST", "sessions/bad/events", NULL, "{\"events\":[],\"create\":{}}");
    expect_exchange(&f->answer, client_of(f), 415, &text);
    expect_problem(&f->answer, "unsupported-media-type");

    ask(f, 404, "GET", "items/bad", NULL, NULL);
    ask(f, 404, "GET", "sessions/bad", NULL, NULL);
}

static void bad_input_is_refused_and_writes_nothing(void **state)
{
    on_every_node(state, walk_bad_input);
}

/* Put a JSON string of @size bytes in all. */
static void put_string(struct fixture *f, unsigned status, const char *target, size_t size)
{
    struct buffer body = BUFFER_EMPTY;
    struct http_request request = {.method = "PUT", .target = target, .has_body = true};

    memset(buffer_extend(&body, size), 'x', size);
    body.data[0] = '"';
    body.data[size - 1] = '"';
    request.body = buffer_slice(&body);
    expect_exchange(&f->answer, client_of(f), status, &request);
    buffer_close(&body);
}

/* A transaction of nearly 4 MiB: three items of almost a mebibyte and a rest. */
static void post_large_transaction(struct fixture *f, unsigned status, size_t size)
{
    struct buffer body = BUFFER_EMPTY;
    struct http_request request = {
        .method = "POST", .target = NS "/transactions", .has_body = true};
    size_t left;
    unsigned i;

    buffer_append_string(&body, "{\"ops\":[");
    for (i = 0; body.size + 200 < size; i++) {
        left = size - body.size - 200;
        buffer_append_format(&body, "%s{\"method\":\"PUT\",\"path\":\"items/part%u\",\"body\":\"",
                             i == 0 ? "" : ",", i);
        left = left < MEBIBYTE - 100 ? left : MEBIBYTE - 100;
        memset(buffer_extend(&body, left), 'y', left);
        buffer_append_string(&body, "\"}");
    }
    buffer_append_string(&body, "]}");
    while (body.size < size) {
        buffer_append_byte(&body, ' ');
    }
    request.body = buffer_slice(&body);
    expect_exchange(&f->answer, client_of(f), status, &request);
    buffer_close(&body);
}

static void walk_large(struct fixture *f)
{
    put_string(f, f->node == 0 ? 201 : 200, NS "/items/large", MEBIBYTE);
    expect(&f->answer, client_of_next(f), 200, "GET", NS "/items/large", NULL, NULL);
    assert_int_equal(f->answer.response.body.size, MEBIBYTE);
    assert_int_equal(f->answer.response.body.data[MEBIBYTE - 2], 'x');
    put_string(f, 413, NS "/items/large", MEBIBYTE + 1);
    expect_problem(&f->answer, "too-large");

    post_large_transaction(f, 200, 4 * MEBIBYTE);
    expect(&f->answer, client_of_next(f), 200, "GET", NS "/items/part2", NULL, NULL);
    assert_int_equal(f->answer.response.body.size, MEBIBYTE - 98);
    post_large_transaction(f, 413, 4 * MEBIBYTE + 1);
    http_client_close(client_of(f)); /* The rest of that body may not have been read. */
}

static void bodies_up_to_the_limits_pass_every_node(void **state)
{
    on_every_node(state, walk_large);
}

int main(void)
{
    const struct CMUnitTest tests[N_TESTS] = {
        cmocka_unit_test(items_live_on_every_node),
        cmocka_unit_test(items_hold_any_value),
        cmocka_unit_test(conditions_hold_on_every_node),
        cmocka_unit_test(sessions_live_on_every_node),
        cmocka_unit_test(events_live_on_every_node),
        cmocka_unit_test(namespaces_live_on_every_node),
        cmocka_unit_test(transactions_do_all_or_nothing_on_every_node),
        cmocka_unit_test(lists_go_on_at_any_node),
        cmocka_unit_test(a_key_acts_once_on_all_nodes),
        cmocka_unit_test(reads_see_what_was_written_on_another_node),
        cmocka_unit_test(methods_are_told_on_every_node),
        cmocka_unit_test(bad_input_is_refused_and_writes_nothing),
        cmocka_unit_test(bodies_up_to_the_limits_pass_every_node),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, start_all, end_all);
}
