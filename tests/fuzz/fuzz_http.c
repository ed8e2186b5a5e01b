/* The HTTP grammar: whatever arrives, however it is cut, gives the same request or is refused, and
 * what it gives lies inside the bytes. A request is then taken through the router. */
#include <stdint.h>
#include <stdlib.h>

#include "api/http.h"
#include "api/router.h"
#include "daemon/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct route table[] = {
    {.pattern = "/v1/namespaces/{ns}/items/{key...}"},
    {.pattern = "/v1/namespaces/{ns}/sessions/{s}/events"},
    {.pattern = "/livez"},
    {.pattern = NULL},
};

static enum http_verdict feed(struct http *http, struct slice bytes, size_t step,
                              struct buffer *message)
{
    enum http_verdict verdict = HTTP_MORE;

    http_next(http);
    while (verdict == HTTP_MORE && bytes.size > 0) {
        size_t piece = bytes.size < step ? bytes.size : step;
        struct buffer moved = BUFFER_EMPTY; /* Of the exact size, for the sanitizer to see. */
        size_t there;

        moved.capacity = moved.size = message->size + piece;
        moved.data = malloc(moved.size);
        CHECK(moved.data != NULL);
        if (message->size > 0) {
            memcpy(moved.data, message->data, message->size);
        }
        memcpy(moved.data + message->size, bytes.data, piece);
        buffer_close(message);
        *message = moved;
        bytes = slice_from(bytes, piece);
        there = message->size;
        verdict = http_parse(http, message->data, &there);
        message->size = there;
    }
    return verdict;
}

static void check_inside(struct http_span span, const struct buffer *message)
{
    CHECK(span.offset <= message->size);
    CHECK(span.size <= message->size - span.offset);
}

static void check_whole(const struct http *http, const struct buffer *message)
{
    check_inside(http->target, message);
    check_inside(http->body, message);
    CHECK(http->end <= message->size);
    CHECK(http->n_fields <= LIMIT_HEADER_FIELDS);
    for (unsigned i = 0; i < http->n_fields; i++) {
        check_inside(http->fields[i].name, message);
        check_inside(http->fields[i].value, message);
        CHECK(http->fields[i].name.size > 0);
    }
}

static void route(struct slice target)
{
    struct request request = {.method = METHOD_GET, .target = target};
    struct route_failure failure;

    if (router_resolve(table, &request, &failure) != NULL) {
        CHECK(request.n_captures <= REQUEST_MAX_SEGMENTS);
        CHECK(request.n_parameters <= REQUEST_MAX_PARAMETERS);
    }
    buffer_close(&request.decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct buffer whole_message = BUFFER_EMPTY;
    struct buffer message = BUFFER_EMPTY;
    struct http whole;
    struct http cut;
    enum http_verdict verdict;
    size_t step;

    if (size == 0) {
        return 0;
    }
    step = 1 + data[size - 1] % 16;
    http_init(&whole);
    http_init(&cut);
    verdict = feed(&whole, bytes, SIZE_MAX, &whole_message);
    CHECK(feed(&cut, bytes, step, &message) == verdict);
    if (verdict == HTTP_DONE) {
        check_whole(&whole, &whole_message);
        check_whole(&cut, &message);
        CHECK(whole.method == cut.method && whole.n_fields == cut.n_fields);
        CHECK(whole.keep_alive == cut.keep_alive);
        CHECK(slice_equals(http_slice(whole_message.data, whole.target),
                           http_slice(message.data, cut.target)));
        CHECK(slice_equals(http_slice(whole_message.data, whole.body),
                           http_slice(message.data, cut.body)));
        route(http_slice(message.data, cut.target));
    }
    buffer_close(&whole_message);
    buffer_close(&message);
    return 0;
}
