#include "tests/lib/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"

/* Logs are cut behind 64 MiB, and keep another 64. */
#define BALLAST_ITEMS 220
#define BALLAST_BYTES 900000

static void take_answer(struct answer *answer, enum http_outcome outcome, unsigned status,
                        const char *method, const char *target)
{
    json_decref(answer->body);
    answer->body = NULL;
    if (outcome != HTTP_ANSWERED) {
        fail_msg("%s %s: no answer (%d)", method, target, (int)outcome);
    }
    if (answer->response.status != status) {
        fail_msg("%s %s: expected %u\n%s%.2000s", method, target, status,
                 (const char *)answer->response.head.data,
                 (const char *)answer->response.body.data);
    }
    answer->body = json_loadb((const char *)answer->response.body.data, answer->response.body.size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

void expect(struct answer *answer, struct http_client *client, unsigned status, const char *method,
            const char *target, const char *headers, const char *body)
{
    enum http_outcome outcome = http_call(client, &answer->response, method, target, headers, body);

    take_answer(answer, outcome, status, method, target);
}

void expect_exchange(struct answer *answer, struct http_client *client, unsigned status,
                     const struct http_request *request)
{
    enum http_outcome outcome = http_exchange(client, request, &answer->response);

    take_answer(answer, outcome, status, request->method, request->target);
}

void expect_problem(const struct answer *answer, const char *name)
{
    char type[128];

    (void)snprintf(type, sizeof type, "/problems/%s", name);
    assert_string_equal(answer_header(answer, "Content-Type"), "application/problem+json");
    assert_string_equal(answer_string(answer, "type"), type);
    assert_int_equal(answer_integer(answer, "status"), answer->response.status);
    assert_true(answer_string(answer, "title")[0] != '\0');
    assert_true(json_is_string(answer_member(answer, "detail")));
}

/* One step down: the member's name up to '.' or '[', or the number in brackets. */
static const json_t *step(const json_t *value, const char **path)
{
    char name[64];
    size_t length;

    if (**path == '[') {
        char *end;
        size_t index = strtoul(*path + 1, &end, 10);

        *path = end + 1;
        return json_array_get(value, index);
    }
    *path += **path == '.';
    length = strcspn(*path, ".[");
    (void)snprintf(name, sizeof name, "%.*s", (int)length, *path);
    *path += length;
    return json_object_get(value, name);
}

const json_t *answer_member(const struct answer *answer, const char *path)
{
    const json_t *value = answer->body;
    const char *rest = path;

    while (value != NULL && *rest != '\0') {
        value = step(value, &rest);
    }
    if (value == NULL) {
        fail_msg("no member %s in: %.2000s", path, (const char *)answer->response.body.data);
    }
    return value;
}

long long answer_integer(const struct answer *answer, const char *path)
{
    const json_t *value = answer_member(answer, path);

    if (!json_is_integer(value)) {
        fail_msg("%s is no integer in: %.2000s", path, (const char *)answer->response.body.data);
    }
    return json_integer_value(value);
}

const char *answer_string(const struct answer *answer, const char *path)
{
    const json_t *value = answer_member(answer, path);

    if (!json_is_string(value)) {
        fail_msg("%s is no string in: %.2000s", path, (const char *)answer->response.body.data);
    }
    return json_string_value(value);
}

const char *answer_header(const struct answer *answer, const char *name)
{
    static char value[512];

    if (!http_header(&answer->response, name, value, sizeof value)) {
        fail_msg("no header %s in: %s", name, (const char *)answer->response.head.data);
    }
    return value;
}

void answer_close(struct answer *answer)
{
    json_decref(answer->body);
    answer->body = NULL;
    http_response_close(&answer->response);
}

void expect_ballast(const struct cluster_node *node, uint64_t random)
{
    struct http_client client = cluster_client(node);
    char *body = malloc(BALLAST_BYTES + 3);
    struct answer answer = {0};
    char target[96];

    assert_non_null(body);
    body[0] = '"';
    memcpy(&body[BALLAST_BYTES + 1], "\"", 2);
    for (unsigned i = 0; i < BALLAST_ITEMS; i++) {
        for (unsigned at = 1; at <= BALLAST_BYTES; at++) { /* Does not compress to much less. */
            body[at] = (char)('a' + random_next(&random) % 26);
        }
        (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/ballast/%u", i);
        expect(&answer, &client, 201, "PUT", target, NULL, body);
    }
    answer_close(&answer);
    http_client_close(&client);
    free(body);
}
