/* AWS Signature Version 4: proof that who sends a request knows a secret key, in the header field
 * Authorization. Pure: no clock, no network. Any thread.
 *
 * Paths and queries are given as they are meant and encoded here, once, as S3 wants it (other AWS
 * services want paths encoded twice). What is sent must be these same bytes: build the URL with
 * sigv4_encode_path() and sigv4_encode_query(). */
#ifndef HOLDFAST_STORAGE_ARCHIVE_SIGV4_H
#define HOLDFAST_STORAGE_ARCHIVE_SIGV4_H

#include <stdint.h>

#include "daemon/base/buffer.h"

#define SIGV4_SHA256_BYTES 32u
#define SIGV4_HEX_BYTES    65u /* A SHA-256 as text, with its NUL. */
#define SIGV4_TIME_BYTES   17u /* 20130524T000000Z, with its NUL. */

/* A parameter of a query, or a header field; not encoded. All is borrowed. */
struct sigv4_pair {
    const char *name; /* That of a field: in lower case. */
    const char *value;
};

/* The fields are those that are signed: all that are given. Among them are "host" and
 * "x-amz-date", as sigv4_time() writes it; S3 wants "x-amz-content-sha256" and every other
 * "x-amz-..." that is sent, too. */
struct sigv4_request {
    const char *method;
    const char *path; /* Begins with "/". */
    const struct sigv4_pair *query;
    size_t n_query;
    const struct sigv4_pair *fields;
    size_t n_fields;
    const char *body_sha256; /* As text. */
};

struct sigv4_key {
    const char *access_key;
    const char *secret_key;
    const char *region;
    const char *service; /* "s3" */
};

/* The time, in seconds since 1970, as it stands in x-amz-date. */
void sigv4_time(int64_t time_s, char text[SIGV4_TIME_BYTES]);

/* Append @path with all but "/" and the unreserved letters of RFC 3986 encoded. */
void sigv4_encode_path(const char *path, struct buffer *text);

/* Append the parameters, encoded, sorted and with "&" between them. */
void sigv4_encode_query(const struct sigv4_pair *query, size_t n_query, struct buffer *text);

/* Append the value of the field Authorization. */
void sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request,
                struct buffer *authorization);

#endif
