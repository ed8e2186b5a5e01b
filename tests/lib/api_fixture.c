#include "tests/lib/api_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <cmocka.h>

#include "api/reads.h"
#include "api/router.h"
#include "api/write.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define MAX_TURNS 10000000 /* Far more than a few milliseconds of turns. */

int api_setup(void **state)
{
    struct api_fixture *f = memory_new_zeroed(1, sizeof(*f));

    f->node = fake_node_new();
    CHECK(uv_loop_init(&f->thread.loop) == 0);
    CHECK(mailbox_init(&f->thread.mailbox, &f->thread.loop, NULL) == STATUS_OK);
    f->thread.node = f->node;
    f->thread.store = f->node->state->store;
    f->thread.name = "n1";
    f->thread.version = "1.0.0";
    f->thread.read_wait_ms = 1;
    f->thread.write_wait_ms = 1;
    f->thread.reads = reads_new(&f->thread);
    f->thread.writes = writes_new(&f->thread);
    *state = f;
    return 0;
}

int api_teardown(void **state)
{
    struct api_fixture *f = *state;

    api_free(f->last);
    fake_node_release(f->node);
    mailbox_drain(&f->thread.mailbox);
    CHECK(f->thread.outstanding == 0);
    reads_free(f->thread.reads);
    writes_free(f->thread.writes);
    mailbox_close(&f->thread.mailbox, NULL);
    (void)uv_run(&f->thread.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&f->thread.loop) == 0);
    view_close(&f->thread.view);
    fake_node_free(f->node);
    free(f);
    return 0;
}

/* As a client that takes all of it at once. */
static void take_source(struct reply *reply, struct response *response)
{
    struct body_source *source = response->source;

    if (source == NULL) {
        return;
    }
    reply->length = source->size;
    if (reply->request.method != METHOD_HEAD) {
        CHECK(source->read(source, 0, source->size, &reply->body) == STATUS_OK);
    }
    source->close(source);
    response->source = NULL;
}

static void on_respond(struct request *request, struct response *response)
{
    struct reply *reply = request->owner;

    CHECK(!reply->is_done); /* Exactly once. */
    reply->is_done = true;
    reply->status = response->status;
    reply->content_type = response->content_type;
    reply->headers = buffer_take(&response->headers);
    reply->body = buffer_take(&response->body);
    take_source(reply, response);
    *buffer_reserve(&reply->headers, 1) = 0;
    *buffer_reserve(&reply->body, 1) = 0;
    free(request->state);
    buffer_close(&request->decoded);
    if (reply->on_done != NULL) {
        reply->on_done(reply);
    }
}

struct reply *api_start(struct api_fixture *f, const char *method, const char *target,
                        const char *headers, struct slice body)
{
    struct reply *reply = memory_new_zeroed(1, sizeof(*reply));
    struct request *request = &reply->request;
    size_t size;

    buffer_append_format(&reply->message, "%s %s HTTP/1.1\r\nHost: h\r\n%s", method, target,
                         headers);
    if (body.size > 0) {
        buffer_append_format(&reply->message, "Content-Length: %zu\r\n", body.size);
    }
    buffer_append_string(&reply->message, "\r\n");
    buffer_append_slice(&reply->message, body);
    http_init(&reply->http);
    size = reply->message.size;
    CHECK(http_parse(&reply->http, reply->message.data, &size) == HTTP_DONE);

    request->thread = &f->thread;
    request->method = reply->http.method;
    request->target = http_slice(reply->message.data, reply->http.target);
    request->body = http_slice(reply->message.data, reply->http.body);
    request->http = &reply->http;
    request->message = reply->message.data;
    request->respond = on_respond;
    request->owner = reply;
    router_dispatch(routes, false, request);
    return reply;
}

void api_turn(struct api_fixture *f)
{
    reads_flush(f->thread.reads);
    mailbox_drain(&f->thread.mailbox);
    (void)uv_run(&f->thread.loop, UV_RUN_NOWAIT);
}

void api_finish(struct api_fixture *f, struct reply *reply)
{
    for (unsigned i = 0; !reply->is_done; i++) {
        CHECK(i < MAX_TURNS);
        api_turn(f);
    }
}

void api_free(struct reply *reply)
{
    if (reply != NULL) {
        CHECK(reply->is_done);
        buffer_close(&reply->headers);
        buffer_close(&reply->body);
        buffer_close(&reply->message);
        free(reply);
    }
}

struct reply *api_call(struct api_fixture *f, const char *method, const char *target,
                       const char *headers, const char *body)
{
    struct buffer lines = BUFFER_EMPTY;
    struct reply *reply;

    buffer_append_string(&lines, headers);
    if (body != NULL && strcasestr(headers, "content-type:") == NULL) {
        buffer_append_string(&lines, "Content-Type: application/json\r\n");
    }
    buffer_append_byte(&lines, 0);
    reply = api_start(f, method, target, (const char *)lines.data,
                      slice_of_string(body == NULL ? "" : body));
    buffer_close(&lines);
    api_finish(f, reply);
    api_free(f->last);
    f->last = reply;
    return reply;
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[1024];
    const char *line = (const char *)reply->headers.data;
    size_t size = strlen(name);

    while (line != NULL && *line != '\0') {
        const char *end = strstr(line, "\r\n");

        if (strncasecmp(line, name, size) == 0 && line[size] == ':' && end != NULL) {
            (void)snprintf(value, sizeof(value), "%.*s", (int)(end - line - (long)size - 2),
                           line + size + 2);
            return value;
        }
        line = end == NULL ? NULL : end + 2;
    }
    return NULL;
}

const char *reply_body(const struct reply *reply)
{
    return (const char *)reply->body.data;
}

struct reply *api_expect(struct api_fixture *f, const char *method, const char *target,
                         const char *headers, const char *body, unsigned status, const char *text)
{
    struct reply *reply = api_call(f, method, target, headers, body);

    if (reply->status != status || (text != NULL && strstr(reply_body(reply), text) == NULL)) {
        print_error("%s %s %s\nexpected %u with %s\nanswered %u: %s\n", method, target,
                    body == NULL ? "" : body, status, text == NULL ? "anything" : text,
                    reply->status, reply_body(reply));
        fail();
    }
    return reply;
}

void api_refuses(struct api_fixture *f, const char *method, const char *target, const char *headers,
                 const char *body, const char *problem, const char *field)
{
    struct reply *reply = api_call(f, method, target, headers, body);
    char type[64];
    char member[128];

    (void)snprintf(type, sizeof(type), "{\"type\":\"/problems/%s\",", problem);
    (void)snprintf(member, sizeof(member), "\"field\":\"%s\"", field == NULL ? "" : field);
    if (strstr(reply_body(reply), type) == NULL ||
        (field != NULL && strstr(reply_body(reply), member) == NULL)) {
        print_error("%s %s %s\nexpected %s of %s\nanswered %u: %s\n", method, target,
                    body == NULL ? "" : body, problem, field == NULL ? "nothing" : field,
                    reply->status, reply_body(reply));
        fail();
    }
    assert_string_equal(reply->content_type, "application/problem+json");
}

char *api_next_cursor(struct api_fixture *f)
{
    const char *at = strstr(reply_body(f->last), "\"next_cursor\":\"");
    char *cursor;

    if (at == NULL) {
        return NULL;
    }
    cursor = memory_copy_string(at + strlen("\"next_cursor\":\""));
    *strchr(cursor, '"') = '\0';
    return cursor;
}
