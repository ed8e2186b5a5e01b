/* What the tests of real nodes ask and expect, in one line each. Main thread only: they end the
 * test that runs when something else came. */
#ifndef HOLDFAST_TESTS_EXPECT_H
#define HOLDFAST_TESTS_EXPECT_H

#include <jansson.h>

#include "tests/lib/cluster.h"

/* The answer to the last request. */
struct answer {
    struct http_response response;
    json_t *body; /* NULL if it is no JSON. */
};

/* Send a request (see http_call()) and expect this status. On another, or none, the answer is
 * printed. The answer is valid until the next call with the same @answer. */
void expect(struct answer *answer, struct http_client *client, unsigned status, const char *method,
            const char *target, const char *headers, const char *body);

/* As expect(), with any request. */
void expect_exchange(struct answer *answer, struct http_client *client, unsigned status,
                     const struct http_request *request);

/* The answer is a problem document of this type, "not-found" say, as it has to look. */
void expect_problem(const struct answer *answer, const char *name);

/* The member at @path, with dots and [numbers]: "results[1].body.last_seq". Fails the test if there
 * is none. */
const json_t *answer_member(const struct answer *answer, const char *path);
long long answer_integer(const struct answer *answer, const char *path);
const char *answer_string(const struct answer *answer, const char *path);

/* The value of a header, static until the next call; fails the test if there is none. */
const char *answer_header(const struct answer *answer, const char *name);

void answer_close(struct answer *answer);

/* Write so much through @node that the logs of those who are there are cut behind those who are
 * not.
 */
void expect_ballast(const struct cluster_node *node, uint64_t random);

#endif
