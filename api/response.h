/* How an answer looks on the wire. Any thread, each with its own date. */
#ifndef HOLDFAST_API_RESPONSE_H
#define HOLDFAST_API_RESPONSE_H

#include "api/request.h"

/* The current date as RFC 9110, section 5.6.7, wants it; made once per second. */
struct response_date {
    int64_t second; /* -1: none was made yet. */
    char text[64];
};

const char *response_date(struct response_date *date);

/* What the connection and the request say about the answer. */
struct response_form {
    bool without_body; /* To HEAD: the length is told, the body left out. */
    bool keep_alive;
    bool is_old; /* The client speaks HTTP/1.0. */
    const char *date;
};

/* Append head and body to @out, in one piece, without a body that comes from a source. A 204 or 304
 * has neither body nor length. */
void response_write(const struct response *response, const struct response_form *form,
                    struct buffer *out);

#endif
