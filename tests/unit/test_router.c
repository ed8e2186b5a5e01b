/* Targets become routes and captures, or the problem that tells what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/router.h"

static unsigned called;

static void on_get(struct request *request)
{
    struct response response = {.status = 200};

    called++;
    request_respond(request, &response);
}

static const struct route table[] = {
    {.pattern = "/v1/namespaces/{ns}/items/{key...}", .get = on_get, .delete = on_get},
    {.pattern = "/v1/namespaces/{ns}/items", .get = on_get},
    {.pattern = "/v1/namespaces/{ns}/sessions/{s}/events", .get = on_get, .post = on_get},
    {.pattern = "/v1/namespaces/{ns}/sessions/{s}", .get = on_get},
    {.pattern = "/v1/namespaces/{ns}", .put = on_get},
    {.pattern = "/livez", .get = on_get, .local = true},
    {.pattern = NULL},
};

/* What a request was answered with. */
struct answer {
    unsigned count;
    unsigned status;
    char headers[512];
    char body[1024];
};

static void keep(char *place, size_t size, struct buffer *text)
{
    assert_true(text->size < size);
    if (text->size > 0) {
        memcpy(place, text->data, text->size);
    }
    place[text->size] = '\0';
}

static void on_respond(struct request *request, struct response *response)
{
    struct answer *answer = request->owner;

    answer->count++;
    answer->status = response->status;
    keep(answer->headers, sizeof(answer->headers), &response->headers);
    keep(answer->body, sizeof(answer->body), &response->body);
    response_close(response);
}

static struct request request_of(enum method method, const char *target, struct answer *answer)
{
    return (struct request){.method = method,
                            .target = slice_of_string(target),
                            .respond = on_respond,
                            .owner = answer};
}

static struct answer dispatch(enum method method, const char *target)
{
    struct answer answer = {0};
    struct request request = request_of(method, target, &answer);

    router_dispatch(table, false, &request);
    assert_int_equal(answer.count, 1);
    buffer_close(&request.decoded);
    return answer;
}

static void resolve(const char *target, struct request *request)
{
    struct route_failure failure;

    *request = request_of(METHOD_GET, target, NULL);
    if (router_resolve(table, request, &failure) == NULL) {
        fail_msg("%s: %s", target, failure.detail);
    }
}

static void keys_are_the_decoded_rest_of_the_path(void **state)
{
    static const struct {
        const char *path;
        const char *key;
    } cases[] = {
        {"a", "a"},
        {"a/b", "a/b"},
        {"a%2Fb", "a/b"},
        {"a//b", "a//b"},
        {"/a", "/a"},
        {"a/", "a/"},
        {"", ""},
        {"a%2fb%20c/d", "a/b c/d"},
        {"a+b", "a+b"},
        {"%252F", "%2F"},
        {"a/b/c/d/e/f/g", "a/b/c/d/e/f/g"},
        {"...", "..."},
        {"a/.b/..c", "a/.b/..c"},
        {"%C3%A9", "\xc3\xa9"},
        {"a;b=c", "a;b=c"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char target[128];
        struct request request;

        (void)snprintf(target, sizeof(target), "/v1/namespaces/default/items/%s", cases[i].path);
        resolve(target, &request);

        assert_true(slice_equals_string(request.ns, "default"));
        assert_int_equal(request.n_captures, 1);
        assert_true(slice_equals_string(request.captures[0], cases[i].key));
        assert_string_equal(request.route, table[0].pattern);
        buffer_close(&request.decoded);
    }
}

static void segments_are_decoded_once_and_kept_apart(void **state)
{
    struct request request;

    (void)state;
    resolve("/v1/%6eamespaces/n-1/sessions/a%2Fb%2525/events", &request);

    assert_true(slice_equals_string(request.ns, "n-1"));
    assert_true(slice_equals_string(request.captures[0], "a/b%25"));
    assert_int_equal(request.route_number, 2);
    buffer_close(&request.decoded);
}

static void a_target_may_name_scheme_and_host(void **state)
{
    struct request request;

    (void)state;
    resolve("HTTP://host:1/livez?a=b", &request);

    assert_string_equal(request.route, "/livez");
    assert_int_equal(request.n_parameters, 1);
}

static void parameters_are_decoded_and_their_values_optional(void **state)
{
    struct request request;
    struct slice value;

    (void)state;
    resolve("/livez?a=b+c%2B&&touch&empty=&x=1=2&d%20e=%26&f=a/b?c", &request);

    assert_int_equal(request.n_parameters, 6);
    assert_true(request_parameter(&request, "a", &value));
    assert_true(slice_equals_string(value, "b c+"));
    assert_true(request_parameter(&request, "touch", &value));
    assert_false(request.parameters[1].has_value);
    assert_true(request.parameters[2].has_value);
    assert_true(request_parameter(&request, "empty", &value));
    assert_int_equal(value.size, 0);
    assert_true(request_parameter(&request, "x", &value));
    assert_true(slice_equals_string(value, "1=2"));
    assert_true(request_parameter(&request, "d e", &value));
    assert_true(slice_equals_string(value, "&"));
    assert_true(request_parameter(&request, "f", &value));
    assert_true(slice_equals_string(value, "a/b?c"));
    assert_false(request_parameter(&request, "b", &value));
    buffer_close(&request.decoded);
}

static void wrong_targets_get_the_problem_that_tells_why(void **state)
{
    static const struct {
        const char *target;
        unsigned status;
        const char *body; /* Part of it. */
    } cases[] = {
        {"*", 400, "malformed"},
        {"livez", 400, "malformed"},
        {"?a", 400, "malformed"},
        {"http://host", 400, "malformed"},
        {"/", 404, "not-found"},
        {"/livez/", 404, "not-found"},
        {"//livez", 404, "not-found"},
        {"/v1/namespaces", 404, "not-found"},
        {"/v1/namespaces/", 404, "not-found"},
        {"/v1/namespaces/a/sessions/", 404, "not-found"},
        {"/v1/namespaces/a/sessions/b/events/c", 404, "not-found"},
        {"/a/b/c/d/e/f/g/h/i/j/k", 404, "not-found"},
        {"/v1/namespaces/A/items", 400, "\"field\":\"namespace\""},
        {"/v1/namespaces/-a/items", 400, "\"field\":\"namespace\""},
        {"/v1/namespaces/a-/items", 400, "\"field\":\"namespace\""},
        {"/v1/namespaces/a_b/items", 400, "\"field\":\"namespace\""},
        {"/v1/namespaces/a%2Fb/items", 400, "\"field\":\"namespace\""},
        {"/v1/namespaces/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/items",
         400, "\"field\":\"namespace\""},
        {"/v1/namespaces/a/items/.", 400, "malformed"},
        {"/v1/namespaces/a/items/a/../b", 400, "malformed"},
        {"/v1/namespaces/a/items/a%2F..%2Fb", 400, "malformed"},
        {"/v1/namespaces/a/items/a/b/c/d/e/f/g/%2e%2E", 400, "malformed"},
        {"/v1/../livez", 400, "malformed"},
        {"/v1/%2e%2e/livez", 400, "malformed"},
        {"/v1/namespaces/a/items/%", 400, "malformed"},
        {"/v1/namespaces/a/items/%4", 400, "malformed"},
        {"/v1/namespaces/a/items/%4g", 400, "malformed"},
        {"/v1/namespaces/a/items/b/c/d/e/f/%zz", 400, "malformed"},
        {"/livez?a=%", 400, "malformed"},
        {"/livez?%g0", 400, "malformed"},
        {"/livez?a=1&a=2", 400, "\"field\":\"a\""},
        {"/livez?a=1&%61", 400, "\"field\":\"a\""},
        {"/livez?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17", 400, "\"field\":\"17\""},
    };

    (void)state;
    called = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = dispatch(METHOD_GET, cases[i].target);

        if (answer.status != cases[i].status || strstr(answer.body, cases[i].body) == NULL) {
            fail_msg("%s: %u %s", cases[i].target, answer.status, answer.body);
        }
    }
    assert_int_equal(called, 0);
}

static void methods_come_from_the_table(void **state)
{
    struct answer answer;

    (void)state;
    called = 0;
    assert_int_equal(dispatch(METHOD_GET, "/v1/namespaces/a/items/b").status, 200);
    assert_int_equal(dispatch(METHOD_HEAD, "/v1/namespaces/a/items/b").status, 200);
    assert_int_equal(dispatch(METHOD_DELETE, "/v1/namespaces/a/items/b").status, 200);
    assert_int_equal(called, 3);

    answer = dispatch(METHOD_PUT, "/v1/namespaces/a/items/b");
    assert_int_equal(answer.status, 405);
    assert_string_equal(answer.headers, "Allow: GET, HEAD, DELETE, OPTIONS\r\n");
    answer = dispatch(METHOD_OTHER, "/v1/namespaces/a");
    assert_int_equal(answer.status, 405);
    assert_string_equal(answer.headers, "Allow: PUT, OPTIONS\r\n");
    answer = dispatch(METHOD_OPTIONS, "/v1/namespaces/a/sessions/b/events");
    assert_int_equal(answer.status, 204);
    assert_string_equal(answer.headers, "Allow: GET, HEAD, POST, OPTIONS\r\n");
    answer = dispatch(METHOD_OPTIONS, "*");
    assert_int_equal(answer.status, 204);
    assert_int_equal(called, 3);
}

static void a_local_port_serves_local_routes_alone(void **state)
{
    struct answer answer = {0};
    struct request livez = request_of(METHOD_GET, "/livez", &answer);
    struct request items = request_of(METHOD_GET, "/v1/namespaces/a/items", &answer);

    (void)state;
    router_dispatch(table, true, &livez);
    assert_int_equal(answer.status, 200);
    router_dispatch(table, true, &items);
    assert_int_equal(answer.status, 404);
}

static void unknown_parameters_are_refused_by_name(void **state)
{
    static const char *const names[] = {"limit", "cursor", NULL};
    struct answer answer = {0};
    struct request known = request_of(METHOD_GET, "/livez?cursor=a&limit=1", &answer);
    struct request unknown = request_of(METHOD_GET, "/livez?limit=1&limi%22t=2", &answer);
    struct route_failure failure;

    (void)state;
    assert_non_null(router_resolve(table, &known, &failure));
    assert_true(request_allows_parameters(&known, names));
    assert_int_equal(answer.count, 0);
    assert_non_null(router_resolve(table, &unknown, &failure));
    assert_false(request_allows_parameters(&unknown, names));
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(answer.body, "\"field\":\"limi\\\"t\""));
    buffer_close(&known.decoded);
    buffer_close(&unknown.decoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_the_decoded_rest_of_the_path),
        cmocka_unit_test(segments_are_decoded_once_and_kept_apart),
        cmocka_unit_test(a_target_may_name_scheme_and_host),
        cmocka_unit_test(parameters_are_decoded_and_their_values_optional),
        cmocka_unit_test(wrong_targets_get_the_problem_that_tells_why),
        cmocka_unit_test(methods_come_from_the_table),
        cmocka_unit_test(a_local_port_serves_local_routes_alone),
        cmocka_unit_test(unknown_parameters_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
