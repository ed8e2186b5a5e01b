#include "tools/bench_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"

#define STAMP_DIGITS     16
#define MIN_DIGITS       7          /* As many as a million keys need, so that runs compare. */
#define FILL_BODY_BYTES  (2u << 20) /* Half of what one transaction may have. */
#define FILL_EXTRA_BYTES 128        /* What an operation has around its value, at most. */

static size_t digits_of(uint64_t most)
{
    size_t digits = 1;

    for (uint64_t rest = most - 1; rest >= 10; rest /= 10) {
        digits++;
    }
    return digits < MIN_DIGITS ? MIN_DIGITS : digits;
}

static struct bench_request start(uint64_t most)
{
    return (struct bench_request){.most = most, .width = digits_of(most)};
}

/* Room for one number, at the end of @text. */
static void add_place(struct bench_request *request, struct buffer *text)
{
    CHECK(request->n_places < BENCH_BATCH_MAX);
    request->places[request->n_places++] = text->size;
    memset(buffer_extend(text, request->width), '0', request->width);
}

/* A JSON string of @size characters. */
static void add_value(struct bench_request *request, struct buffer *text, uint64_t size)
{
    buffer_append_byte(text, '"');
    if (size >= STAMP_DIGITS && request->stamp == 0) {
        request->stamp = text->size;
    }
    memset(buffer_extend(text, size), 'x', size);
    buffer_append_byte(text, '"');
}

static void add_head(struct buffer *text, const struct bench_options *options, const char *method,
                     const char *path)
{
    buffer_append_format(text, "%s /v1/namespaces/%s/%s", method, options->ns, path);
}

/* The request line's end and the fields that each request has. */
static void add_fields(struct buffer *text, const struct bench_options *options)
{
    buffer_append_format(text, " HTTP/1.1\r\nHost: %s\r\n", options->endpoints.list[0].authority);
}

/* Put the length of @body and @body behind @request->bytes, and move the places along. */
static void add_body(struct bench_request *request, struct buffer *body, size_t first_place)
{
    size_t moved;

    buffer_append_format(&request->bytes,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                         body->size);
    moved = request->bytes.size;
    for (size_t i = first_place; i < request->n_places; i++) {
        request->places[i] += moved;
    }
    if (request->stamp != 0) {
        request->stamp += moved;
    }
    buffer_append_slice(&request->bytes, buffer_slice(body));
    buffer_close(body);
}

static struct bench_request make_append(const struct bench_options *options)
{
    struct bench_request request = start(options->sessions);
    struct buffer body = BUFFER_EMPTY;

    add_head(&request.bytes, options, "POST", "sessions/bench-");
    add_place(&request, &request.bytes);
    buffer_append_string(&request.bytes, "/events");
    add_fields(&request.bytes, options);
    buffer_append_string(&body, "{\"create\":{},\"events\":[{\"type\":\"message\",\"data\":");
    add_value(&request, &body, options->value_size);
    buffer_append_string(&body, "}]}");
    add_body(&request, &body, request.n_places);
    return request;
}

static struct bench_request make_put(const struct bench_options *options)
{
    struct bench_request request = start(options->keys);
    struct buffer body = BUFFER_EMPTY;

    add_head(&request.bytes, options, "PUT", "items/k");
    add_place(&request, &request.bytes);
    add_fields(&request.bytes, options);
    add_value(&request, &body, options->value_size);
    add_body(&request, &body, request.n_places);
    return request;
}

static struct bench_request make_get(const struct bench_options *options, const char *query)
{
    struct bench_request request = start(options->keys);

    add_head(&request.bytes, options, "GET", "items/k");
    add_place(&request, &request.bytes);
    buffer_append_string(&request.bytes, query);
    add_fields(&request.bytes, options);
    buffer_append_string(&request.bytes, "\r\n");
    return request;
}

struct bench_request bench_request_of(const struct bench_options *options, enum bench_op op)
{
    switch (op) {
    case BENCH_APPEND:
        return make_append(options);
    case BENCH_PUT:
        return make_put(options);
    case BENCH_GET:
        return make_get(options, "");
    case BENCH_STALE_GET:
    case BENCH_N_OPS:
        break;
    }
    return make_get(options, "?consistency=stale");
}

struct bench_request bench_request_fill(const struct bench_options *options, enum bench_op op)
{
    struct bench_request request = start(op == BENCH_PUT ? options->keys : options->sessions);
    uint64_t fit = FILL_BODY_BYTES / (options->value_size + FILL_EXTRA_BYTES);
    size_t n = fit < BENCH_BATCH_MAX ? (size_t)fit : BENCH_BATCH_MAX;
    struct buffer body = BUFFER_EMPTY;

    add_head(&request.bytes, options, "POST", "transactions");
    add_fields(&request.bytes, options);
    buffer_append_string(&body, "{\"ops\":[");
    for (size_t i = 0; i < n; i++) {
        buffer_append_string(&body, i == 0 ? "" : ",");
        buffer_append_format(&body, "{\"method\":\"PUT\",\"path\":\"%s",
                             op == BENCH_PUT ? "items/k" : "sessions/bench-");
        add_place(&request, &body);
        buffer_append_string(&body, "\",\"body\":");
        if (op == BENCH_PUT) {
            add_value(&request, &body, options->value_size);
        } else {
            buffer_append_string(&body, "{\"agent_id\":\"bench\"}");
        }
        buffer_append_byte(&body, '}');
    }
    buffer_append_string(&body, "]}");
    add_body(&request, &body, 0);
    return request;
}

struct bench_request bench_request_keyed_put(const struct bench_options *options)
{
    struct bench_request request = start(options->keys);
    struct buffer body = BUFFER_EMPTY;
    size_t stamp;

    add_head(&request.bytes, options, "PUT", "items/k");
    add_place(&request, &request.bytes);
    add_fields(&request.bytes, options);
    buffer_append_string(&request.bytes, "Idempotency-Key: bench-");
    stamp = request.bytes.size;
    memset(buffer_extend(&request.bytes, STAMP_DIGITS), '0', STAMP_DIGITS);
    buffer_append_string(&request.bytes, "\r\n");
    add_value(&request, &body, options->value_size);
    request.stamp = 0; /* The value may repeat: the key is what makes the write another one. */
    add_body(&request, &body, request.n_places);
    request.stamp = stamp;
    return request;
}

static void write_number(uint8_t *out, size_t width, uint64_t number)
{
    while (width > 0) {
        out[--width] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

static void write_stamp(uint8_t *out, uint64_t stamp)
{
    for (size_t i = STAMP_DIGITS; i > 0; i--) {
        out[i - 1] = (uint8_t) "0123456789abcdef"[stamp & 15];
        stamp >>= 4;
    }
}

void bench_request_write(const struct bench_request *request, uint64_t number, uint64_t stamp,
                         uint8_t *out)
{
    memcpy(out, request->bytes.data, request->bytes.size);
    for (size_t i = 0; i < request->n_places; i++) {
        write_number(out + request->places[i], request->width, (number + i) % request->most);
    }
    if (request->stamp != 0) {
        write_stamp(out + request->stamp, stamp);
    }
}

void bench_request_close(struct bench_request *request)
{
    buffer_close(&request->bytes);
}
