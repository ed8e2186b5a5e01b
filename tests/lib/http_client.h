/* A blocking HTTP/1.1 client on one connection to a node, on loopback or elsewhere, for tests.
 *
 * It tells apart what a client must: an answer, a request that certainly was not sent, and one
 * whose fate is open. It sends exactly what it is told, so that wrong requests can be sent as well.
 * One thread uses a client. A zeroed client with a port is ready. */
#ifndef HOLDFAST_TESTS_HTTP_CLIENT_H
#define HOLDFAST_TESTS_HTTP_CLIENT_H

#include <stdbool.h>

#include "daemon/base/buffer.h"

enum http_outcome {
    HTTP_ANSWERED,
    HTTP_REFUSED, /* No connection: nothing was sent. */
    HTTP_LOST,    /* The connection ended before the answer did. */
    HTTP_TIMEOUT, /* No whole answer in time; the connection was closed. */
};

struct http_client {
    unsigned port;
    unsigned timeout_ms; /* For one request; 0: 10 s. */
    const char *address; /* IPv4, as text; NULL: loopback. */
    /* Private. */
    bool connected;
    int fd; /* Only if connected. */
    struct buffer received;
};

struct http_request {
    const char *method;
    const char *target;
    const char *headers;      /* "Name: value\r\n" lines; NULL: none. */
    const char *content_type; /* NULL: application/json, if there is a body. */
    struct slice body;
    bool has_body; /* Also if it is empty. */
};

struct http_response {
    unsigned status;
    struct buffer head; /* Status line and headers, ends with NUL. */
    struct buffer body; /* Ends with NUL beyond its size. */
};

/* Send the request and wait for its answer, on the open connection or on a new one. @response is
 * filled in if HTTP_ANSWERED, and the caller ends with http_response_close() in any case; it starts
 * zeroed. */
enum http_outcome http_exchange(struct http_client *client, const struct http_request *request,
                                struct http_response *response);

/* As above, for a request with a JSON body or none (NULL). */
enum http_outcome http_call(struct http_client *client, struct http_response *response,
                            const char *method, const char *target, const char *headers,
                            const char *body);

/* The pieces. Connect if there is no connection; false if refused. */
bool http_connect(struct http_client *client);

/* False if the connection broke or took nothing for the time-out. */
bool http_send(struct http_client *client, struct slice bytes);

/* Wait for one answer; @head_only if it answers HEAD. Answers 1xx are skipped. */
enum http_outcome http_receive(struct http_client *client, bool head_only,
                               struct http_response *response);

/* Drop what arrives until the other side closes; false if it did not within @limit_ms. */
bool http_wait_closed(struct http_client *client, unsigned limit_ms);

/* Close the connection; the client may be used again. */
void http_client_close(struct http_client *client);

/* The value of a header (any case); false if absent. Copied to @value, cut to @size. */
bool http_header(const struct http_response *response, const char *name, char *value, size_t size);

/* The header's value is exactly this. */
bool http_header_is(const struct http_response *response, const char *name, const char *expected);

void http_response_close(struct http_response *response);

#endif
