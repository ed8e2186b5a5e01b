/* An S3 in memory, on a port of loopback, that does wrong what a test asks for: what no real server
 * does on demand. It believes every signature; real servers show whether those are right.
 *
 * Its lists have pages of 100 names. */
#ifndef HOLDFAST_TESTS_S3_STUB_H
#define HOLDFAST_TESTS_S3_STUB_H

#include <stddef.h>

#include "daemon/base/slice.h"

struct s3_stub;

enum s3_fault {
    S3_HONEST,       /* Do what is asked, and say so. */
    S3_SAY,          /* Do nothing, and answer with @status, @fields and @body. */
    S3_DO_AND_SAY,   /* Do what is asked, and answer so. */
    S3_DO_AND_CLOSE, /* Do it, and close the connection without an answer. */
    S3_CLOSE,        /* Close the connection. */
    S3_SILENT,       /* Nothing. */
    S3_CUT,          /* Do it, and send all but the last 2 bytes of the answer; then close. */
    S3_OTHER_PART,   /* Answer with the bytes behind those that were asked for. */
    S3_DISORDER,     /* The names of a list turned round. */
    S3_STRIP,        /* Without the object's metadata. */
    S3_CARELESS,     /* Do it whatever the condition says. */
    S3_OTHER_FIRST   /* Another client creates the object first, with equal bytes. */
};

struct s3_step {
    enum s3_fault fault;
    unsigned status;
    const char *fields; /* Lines, each with its end; NULL: none. */
    const char *body;   /* NULL: empty. */
};

/* "archive" is its only bucket. */
struct s3_stub *s3_stub_open(void);

/* http://127.0.0.1:PORT */
const char *s3_stub_url(const struct s3_stub *stub);

/* What becomes of the next requests: @steps (copied; their texts are borrowed) one after the other,
 * @n of them; then it is honest. Only while no request is under way. */
void s3_stub_plan(struct s3_stub *stub, const struct s3_step *steps, size_t n);

/* How many steps were used up, and how many requests came. */
size_t s3_stub_used(struct s3_stub *stub);
size_t s3_stub_count(struct s3_stub *stub);

/* The nth request (from 0), as text; it stays until the stub is closed. */
const char *s3_stub_request(struct s3_stub *stub, size_t nth);

/* How many objects there are; a PUT without a condition would change one. */
size_t s3_stub_objects(struct s3_stub *stub);

/* Put an object there, as if another program had. */
void s3_stub_put(struct s3_stub *stub, const char *key, struct slice bytes);

void s3_stub_close(struct s3_stub *stub);

#endif
