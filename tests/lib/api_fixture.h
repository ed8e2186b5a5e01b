/* For tests: one api thread with a fake node behind it, and requests that go through the router to
 * the handlers without a socket. */
#ifndef HOLDFAST_TESTS_LIB_API_FIXTURE_H
#define HOLDFAST_TESTS_LIB_API_FIXTURE_H

#include "api/context.h"
#include "api/http.h"
#include "api/request.h"
#include "tests/lib/fake_node.h"

struct api_fixture {
    struct api_thread thread;
    struct node *node;
    /* Of the last api_call(): valid until the next one. */
    struct reply *last;
};

struct reply {
    bool is_done;
    unsigned status;
    const char *content_type;
    struct buffer headers; /* Both end with NUL, which is not counted. */
    struct buffer body;
    uint64_t length;                      /* Of a body that came from a source, also to HEAD. */
    void (*on_done)(struct reply *reply); /* During the answer; may be NULL. */
    void *data;
    /* Private. */
    struct request request;
    struct http http;
    struct buffer message;
};

/* cmocka's setup and teardown. */
int api_setup(void **state);
int api_teardown(void **state);

/* Start a request: @headers is lines that end with CR LF, or "". */
struct reply *api_start(struct api_fixture *f, const char *method, const char *target,
                        const char *headers, struct slice body);
/* Turn the loop until it is answered. */
void api_finish(struct api_fixture *f, struct reply *reply);
/* One turn of the loop, as the server does it. */
void api_turn(struct api_fixture *f);
void api_free(struct reply *reply);

/* All at once; a @body gives the header Content-Type: application/json unless @headers has one. */
struct reply *api_call(struct api_fixture *f, const char *method, const char *target,
                       const char *headers, const char *body);

/* The value of a header, or NULL; valid until the next call of this. */
const char *reply_header(const struct reply *reply, const char *name);
const char *reply_body(const struct reply *reply);

/* Call, and assert the status and that the body holds @text, if that is not NULL. */
struct reply *api_expect(struct api_fixture *f, const char *method, const char *target,
                         const char *headers, const char *body, unsigned status, const char *text);
/* The same for a problem; @field may be NULL. */
void api_refuses(struct api_fixture *f, const char *method, const char *target, const char *headers,
                 const char *body, const char *problem, const char *field);
/* The "next_cursor" of the last reply, or NULL. */
char *api_next_cursor(struct api_fixture *f);

/* The base of paths in the namespace that always exists. */
#define NS "/v1/namespaces/default"

#endif
