/* 1. connections_accept() makes a connection, which is IDLE.
 * 2. on_read() brings the first bytes of a request: READING. http_parse() goes on until it is
 * whole.
 * 3. The router calls a handler: WORKING, until on_answer(), which may run at once or much later.
 *    What arrives meanwhile waits in ahead.
 * 4. The answer is appended to out; connections_flush() sends it at the end of the loop's turn.
 *    The connection is IDLE again, or READING the next request.
 *    A body from a source follows piece by piece, each when the one before is with the system:
 *    STREAMING. What that client does not take waits in its file.
 * 5. After the last answer: ENDING. It is sent, our side is shut, and what the client still sends
 * is thrown away until it closes its side, so that it can read the answer (RFC 9112, section 9.6).
 *
 *     IDLE -> READING -> WORKING -> [STREAMING ->] IDLE
 *       \         \         |  \--> [STREAMING ->] ENDING
 *        \---------\--------+-----------+------------+-> CLOSED
 *
 * What can go wrong:
 * - The request is malformed, too large or too slow: it gets its 4xx from WORKING, then ENDING.
 * - The client closes its side: what it sent is answered, then ENDING.
 * - The connection breaks, or the client does not read: CLOSED. A request that is being worked on
 * is gone, and the memory waits for its answer. */
#include "api/connection_private.h"

#include <stdlib.h>

#include "api/metrics.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define READ_BYTES     8192  /* The first buffer of a connection. */
#define READ_MAX_BYTES 65536 /* Room made for one read of a body. */

static void process(struct connection *c);
static void stream(struct connection *c);
static void maybe_free(struct connection *c);

uint64_t connection_now_ms(const struct connection *c)
{
    return uv_now(&c->all->thread->loop);
}

static void move(struct connection *c, enum connection_state state)
{
    static const uint8_t allowed[STATES] = {
        [IDLE] = 1u << READING | 1u << WORKING | 1u << ENDING | 1u << CLOSED,
        [READING] = 1u << WORKING | 1u << CLOSED,
        [WORKING] = 1u << STREAMING | 1u << IDLE | 1u << ENDING | 1u << CLOSED,
        [STREAMING] = 1u << IDLE | 1u << ENDING | 1u << CLOSED,
        [ENDING] = 1u << CLOSED,
    };

    CHECK(allowed[c->state] & 1u << state);
    c->state = state;
    c->since_ms = connection_now_ms(c);
}

static size_t unsent(const struct connection *c)
{
    return c->out.size + (c->is_writing ? c->sending.size : 0);
}

bool connection_has_input(const struct connection *c)
{
    return c->start < c->in.size || c->ahead.size > 0;
}

static bool may_parse(const struct connection *c)
{
    return (c->state == IDLE || c->state == READING) && unsent(c) <= LIMIT_UNSENT_BYTES;
}

/* --- The end of a connection
 * ---------------------------------------------------------------------*/

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    c->is_closed = true;
    maybe_free(c);
}

static void close_source(struct connection *c)
{
    if (c->source != NULL) {
        c->source->close(c->source);
        c->source = NULL;
    }
}

/* The handle is closed, and no handler has the request. */
static void maybe_free(struct connection *c)
{
    struct connections *all = c->all;

    if (!c->is_closed || c->request.owner != NULL) {
        return;
    }
    queue_remove(&c->link);
    all->count--;
    (void)atomic_fetch_sub_explicit(&all->shared->open, 1, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&all->shared->large_bytes, c->large_bytes,
                                    memory_order_relaxed);
    metrics_connection(all->thread->metrics, -1);
    buffer_close(&c->in);
    buffer_close(&c->ahead);
    buffer_close(&c->out);
    buffer_close(&c->sending);
    buffer_close(&c->request.decoded);
    free(c);
}

void connection_close(struct connection *c)
{
    if (c->state == CLOSED) {
        return;
    }
    move(c, CLOSED);
    close_source(c);
    c->request.is_gone = true;
    if (c->request.owner != NULL && c->request.on_gone != NULL) {
        c->request.on_gone(&c->request);
    }
    if (c->is_dirty) {
        queue_remove(&c->dirty);
        c->is_dirty = false;
    }
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_shutdown(uv_shutdown_t *shutdown, int rv)
{
    struct connection *c = shutdown->data;

    if (rv != 0 || c->at_end) {
        connection_close(c);
    }
}

/* The last answer was sent: shut our side, and wait for the client's. */
static void shut(struct connection *c)
{
    c->is_shut = true;
    c->since_ms = connection_now_ms(c);
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        connection_close(c); /* The client is not connected any more. */
    }
}

/* --- Answers
 * -------------------------------------------------------------------------------------*/

static void mark_dirty(struct connection *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        queue_push(&c->all->dirty, &c->dirty);
    }
}

static void after_sending(struct connection *c)
{
    if (c->state == STREAMING) {
        stream(c);
    } else if (c->state == ENDING) {
        shut(c);
    } else if (may_parse(c) && (connection_has_input(c) || c->at_end)) {
        process(c);
    }
}

static void on_written(uv_write_t *write, int rv)
{
    struct connection *c = write->data;

    c->is_writing = false;
    buffer_close(&c->sending);
    if (rv != 0) {
        connection_close(c);
    } else if (c->out.size > 0) {
        mark_dirty(c);
    } else {
        after_sending(c);
    }
}

/* Send out at once as far as the socket takes it; libuv sends the rest. Of a stream libuv sends
 * all, and tells in a later turn: a client that takes it fast must not keep the others waiting. */
static void send_out(struct connection *c)
{
    uv_buf_t buf = uv_buf_init((char *)c->out.data, (unsigned)c->out.size);
    int sent = c->state == STREAMING ? UV_EAGAIN : uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);

    if (sent < 0 && sent != UV_EAGAIN) {
        connection_close(c);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    metrics_bytes_sent(c->all->thread->metrics, c->out.size);
    if ((size_t)sent == c->out.size) {
        buffer_clear(&c->out);
        if (c->out.capacity > LIMIT_AHEAD_BYTES) {
            buffer_close(&c->out);
        }
        after_sending(c);
        return;
    }
    c->sending = buffer_take(&c->out);
    buf = uv_buf_init((char *)c->sending.data + sent, (unsigned)(c->sending.size - (size_t)sent));
    c->write.data = c;
    c->is_writing = true;
    c->progress_ms = connection_now_ms(c);
    c->unsent_then = buf.len;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        c->is_writing = false;
        connection_close(c);
    }
}

void connections_flush(struct connections *connections)
{
    struct link *link;

    while ((link = queue_pop(&connections->dirty)) != NULL) {
        struct connection *c = CONTAINER_OF(link, struct connection, dirty);

        c->is_dirty = false;
        if (!c->is_writing && c->out.size > 0) {
            send_out(c);
        }
    }
}

static void append_response(struct connection *c, const struct response *response)
{
    const struct response_form form = {
        .without_body = c->request.method == METHOD_HEAD,
        .keep_alive = c->keep_alive,
        .is_old = c->http.is_old,
        .date = response_date(&c->all->date),
    };

    response_write(response, &form, &c->out);
    mark_dirty(c);
}

/* --- Input
 * ---------------------------------------------------------------------------------------*/

/* Keep the books on large buffers. */
void connection_count_memory(struct connection *c)
{
    atomic_size_t *sum = &c->all->shared->large_bytes;
    size_t large = c->in.capacity > LIMIT_AHEAD_BYTES ? c->in.capacity : 0;

    if (large != c->large_bytes) {
        /* Unsigned arithmetic wraps, so a difference of either sign is added. */
        (void)atomic_fetch_add_explicit(sum, large - c->large_bytes, memory_order_relaxed);
        c->large_bytes = large;
    }
}

/* The current message was answered: what follows it becomes the front of in. */
static void drop_message(struct connection *c)
{
    c->start += c->http.end;
    CHECK(c->start <= c->in.size);
    if (c->start == c->in.size) {
        c->start = 0;
        buffer_clear(&c->in);
        if (c->in.capacity > LIMIT_AHEAD_BYTES) {
            buffer_close(&c->in);
            connection_count_memory(c);
        }
    }
}

/* What came while no request could begin is looked at now. */
static void take_ahead(struct connection *c)
{
    if (c->ahead.size > 0) {
        buffer_append_slice(&c->in, buffer_slice(&c->ahead));
        buffer_close(&c->ahead);
        connection_count_memory(c);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = handle->data;
    size_t room = READ_BYTES;

    (void)suggested; /* 64 KiB: too much for thousands of small requests. */
    if (c->state == ENDING || c->state == CLOSED) {
        *buf = uv_buf_init((char *)c->all->discarded, sizeof(c->all->discarded));
        return;
    }
    if (!may_parse(c)) {
        *buf = uv_buf_init((char *)buffer_reserve(&c->ahead, READ_BYTES), READ_BYTES);
        return;
    }
    if (c->start > 0) {
        buffer_consume(&c->in, c->start); /* No slice points in here between requests. */
        c->start = 0;
    }
    if (c->state == READING && c->http.stage == HTTP_STAGE_BODY && c->http.has_length) {
        uint64_t missing = c->http.length_bytes - c->http.body.size;

        room = missing > READ_MAX_BYTES ? READ_MAX_BYTES : missing < 1024 ? 1024 : (size_t)missing;
    }
    (void)buffer_reserve(&c->in, room);
    connection_count_memory(c);
    *buf = uv_buf_init((char *)c->in.data + c->in.size, (unsigned)(c->in.capacity - c->in.size));
}

static void on_input_end(struct connection *c, bool is_broken)
{
    c->is_reading = false;
    c->at_end = true;
    if (is_broken || (c->state == ENDING && unsent(c) == 0)) {
        connection_close(c);
    } else {
        uv_read_stop((uv_stream_t *)&c->tcp);
        process(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct connection *c = stream->data;

    if (c->state == CLOSED || nread == 0) {
        return;
    }
    if (nread < 0) {
        on_input_end(c, nread != UV_EOF);
        return;
    }
    metrics_bytes_received(c->all->thread->metrics, (uint64_t)nread);
    if (c->state == ENDING) {
        c->discarded_bytes += (size_t)nread;
        if (c->discarded_bytes > LIMIT_DISCARDED_BYTES) {
            connection_close(c); /* It is not about to read its answer. */
        }
        return;
    }
    if (may_parse(c)) {
        CHECK(buf->base == (char *)c->in.data + c->in.size);
        c->in.size += (size_t)nread;
        process(c);
    } else {
        c->ahead.size += (size_t)nread;
        connection_update_reading(c);
    }
}

/* Read as long as there is room for what comes. */
void connection_update_reading(struct connection *c)
{
    size_t ahead = c->ahead.size;
    bool wanted;

    if (c->state == WORKING || c->state == STREAMING) {
        ahead += c->in.size - c->start - c->http.end;
    }
    wanted = c->state != CLOSED && !c->at_end &&
             (c->state == ENDING || may_parse(c) || ahead < LIMIT_AHEAD_BYTES);
    if (wanted == c->is_reading || c->state == CLOSED) {
        return;
    }
    c->is_reading = wanted;
    if (!wanted) {
        uv_read_stop((uv_stream_t *)&c->tcp);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        connection_close(c); /* The client is not connected any more. */
    }
}

/* --- Requests
 * ------------------------------------------------------------------------------------*/

/* Nothing more is read from the client after this answer, nor kept. */
void connection_end(struct connection *c)
{
    move(c, ENDING);
    buffer_close(&c->in);
    buffer_close(&c->ahead);
    c->start = 0;
    connection_count_memory(c);
    if (unsent(c) == 0) {
        connection_close(c);
    } else {
        connection_update_reading(c);
    }
}

/* The answer is in out, or was sent: go on, or end. */
static void after_answer(struct connection *c)
{
    if (!c->keep_alive) {
        connection_end(c);
    } else {
        move(c, IDLE);
        drop_message(c);
        process(c);
    }
}

/* What was sent before is with the system: read the next piece. */
static void stream(struct connection *c)
{
    uint64_t left = c->source->size - c->streamed_bytes;
    size_t size = left < LIMIT_STREAM_BYTES ? (size_t)left : LIMIT_STREAM_BYTES;
    size_t before = c->out.size;

    if (c->source->read(c->source, c->streamed_bytes, size, &c->out) != STATUS_OK ||
        c->out.size - before != size) {
        connection_close(c); /* The client sees that its length is not reached. */
        return;
    }
    c->streamed_bytes += size;
    mark_dirty(c);
    if (c->streamed_bytes == c->source->size) {
        close_source(c);
        c->keep_alive = c->keep_alive && !c->all->draining;
        after_answer(c);
    }
}

/* Take the body that follows the head, if one does. */
static void take_source(struct connection *c, struct response *response)
{
    if (response->source != NULL && c->request.method != METHOD_HEAD) {
        c->source = response->source;
        response->source = NULL;
        c->streamed_bytes = 0;
        move(c, STREAMING);
    }
}

static void on_answer(struct request *request, struct response *response)
{
    struct connection *c = request->owner;

    CHECK(c != NULL); /* A request is answered once. */
    metrics_request(c->all->thread->metrics, request->route_number, request->method,
                    response->status, uv_hrtime() - request->started_ns);
    c->keep_alive = c->keep_alive && !c->all->draining;
    if (c->state == WORKING) {
        append_response(c, response);
        take_source(c, response);
    }
    response_close(response);
    free(request->state);
    request->state = NULL;
    request->owner = NULL;
    if (c->state == CLOSED) {
        maybe_free(c);
    } else if (c->state != STREAMING) {
        after_answer(c);
    }
}

static void begin_request(struct connection *c)
{
    struct request *request = &c->request;

    c->all->requests++;
    move(c, WORKING);
    request->thread = c->all->thread;
    request->respond = on_answer;
    request->owner = c;
    request->on_gone = NULL;
    request->started_ns = uv_hrtime();
    request->route = NULL;
    request->route_number = ROUTE_NONE;
    request->ns = slice_of(NULL, 0);
    request->n_captures = 0;
    request->n_parameters = 0;
}

static void serve(struct connection *c)
{
    struct request *request = &c->request;
    const uint8_t *message = c->in.data + c->start;

    begin_request(c);
    c->keep_alive = c->http.keep_alive;
    request->method = c->http.method;
    request->target = http_slice(message, c->http.target);
    request->body = http_slice(message, c->http.body);
    request->http = &c->http;
    request->message = message;
    router_dispatch(c->all->routes, c->all->local_only, request);
}

/* Answer what is no request we could serve; the connection ends, as what follows has no meaning. */
void connection_refuse(struct connection *c, enum problem problem, const char *detail)
{
    if (log_limit_allows(&c->all->log_limit, connection_now_ms(c))) {
        log_debug("http", "refused a request problem=%s detail=\"%s\"", problem_name(problem),
                  detail);
    }
    begin_request(c);
    c->keep_alive = false;
    c->http.end = c->in.size - c->start;
    c->request.method = METHOD_OTHER;
    c->request.target = slice_of(NULL, 0);
    c->request.body = slice_of(NULL, 0);
    c->request.http = NULL;
    request_fail(&c->request, problem, "%s", detail);
}

/* The head is there, and not all of the body. */
static void go_on_with_body(struct connection *c)
{
    if (!c->continued) {
        c->continued = true;
        c->since_ms = connection_now_ms(c);
        if (c->http.expects_continue && c->http.body.size == 0) {
            buffer_append_string(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
            mark_dirty(c);
        }
    }
    if (c->large_bytes > 0 &&
        atomic_load_explicit(&c->all->shared->large_bytes, memory_order_relaxed) >
            LIMIT_LARGE_BODIES_BYTES) {
        connection_refuse(c, PROBLEM_OVERLOADED, "too many large bodies are arriving at this node");
    }
}

/* Go on with the message that begins at start. False if more bytes are needed. */
static bool parse(struct connection *c)
{
    size_t size = c->in.size - c->start;

    if (c->state == IDLE) {
        move(c, READING);
        http_next(&c->http);
        c->continued = false;
    }
    switch (http_parse(&c->http, c->in.data + c->start, &size)) {
    case HTTP_DONE:
        serve(c);
        return true;
    case HTTP_BAD:
        connection_refuse(c, c->http.problem, c->http.detail);
        return true;
    case HTTP_MORE:
        c->in.size = c->start + size;
        if (c->http.stage == HTTP_STAGE_BODY) {
            go_on_with_body(c);
        }
        return false;
    }
    return false;
}

/* Serve what is there, until a handler keeps a request or nothing complete is left. Handlers that
 * answer at once come back here through on_answer(), and find it busy. */
static void process(struct connection *c)
{
    if (c->is_processing) {
        return;
    }
    c->is_processing = true;
    if (may_parse(c)) {
        take_ahead(c);
    }
    while (may_parse(c) && c->start < c->in.size && parse(c)) {
    }
    if (c->at_end && may_parse(c)) {
        if (c->state == READING) {
            connection_refuse(c, PROBLEM_MALFORMED, "the request ends before it is complete");
        } else {
            connection_end(c);
        }
    }
    c->is_processing = false;
    connection_update_reading(c);
}
