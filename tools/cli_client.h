/* One request to the cluster, sent to one node after another until it is answered.
 *
 * All requests of a client share one deadline. A write carries an idempotency key that is made
 * once, so repeating it is safe (cli_retry.h). One thread; blocks. */
#ifndef HOLDFAST_TOOLS_CLI_CLIENT_H
#define HOLDFAST_TOOLS_CLI_CLIENT_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "tools/cli_problem.h"
#include "tools/endpoint.h"

struct client;

struct client_request {
    const char *method;
    struct buffer path;    /* From the first slash, percent-encoded, with the query. */
    struct buffer headers; /* "Name: value\n" lines. */
    struct buffer body;
    const char *content_type; /* NULL: no body. */
};

struct client_answer {
    unsigned status;
    char etag[64]; /* Without quotes; empty: none. */
    char content_type[160];
    char expires_at[64];
    struct buffer body;
};

/* @endpoints is borrowed. STATUS_IO: libcurl cannot start. */
MUST_USE enum status client_open(const struct endpoints *endpoints, uint64_t timeout_ms,
                                 struct client **client, struct error *error);

/* Send it. The result is an exit status: CLI_OK with a 2xx answer, which the caller ends with
 * client_answer_close(); else @error says what happened, and *@answer is untouched. */
enum cli_exit client_send(struct client *client, const struct client_request *request,
                          struct client_answer *answer, struct error *error);

/* Did more than one attempt of the last client_send() reach a node? */
bool client_sent_again(const struct client *client);

/* False when the time of client_open() is over: nothing more should be begun. */
bool client_has_time(const struct client *client);

void client_close(struct client *client);

void client_request_close(struct client_request *request);
void client_answer_close(struct client_answer *answer);

/* Append @text so that it can stand in a path segment or a query. */
void client_append_encoded(struct buffer *out, struct slice text);

#endif
