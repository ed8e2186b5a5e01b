/* The grammar: each request is fed whole and byte by byte, with the same result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/http.h"
#include "daemon/base/buffer.h"

/* Feed @bytes in pieces of @step; what is kept between the calls is moved each time, as it may. */
static enum http_verdict feed(struct http *http, struct slice bytes, size_t step,
                              struct buffer *message)
{
    enum http_verdict verdict = HTTP_MORE;
    size_t at = 0;

    http_next(http);
    buffer_clear(message);
    while (verdict == HTTP_MORE && at < bytes.size) {
        size_t piece = bytes.size - at < step ? bytes.size - at : step;
        struct buffer moved = BUFFER_EMPTY;
        size_t size;

        buffer_append_slice(&moved, buffer_slice(message));
        buffer_append(&moved, bytes.data + at, piece);
        buffer_close(message);
        *message = moved;
        at += piece;
        size = message->size;
        verdict = http_parse(http, message->data, &size);
        message->size = size;
    }
    return verdict;
}

static enum http_verdict feed_string(struct http *http, const char *text, size_t step,
                                     struct buffer *message)
{
    return feed(http, slice_of_string(text), step, message);
}

struct good {
    const char *text;
    enum method method;
    const char *target;
    const char *body;
    bool keep_alive;
};

#define HOST "Host: a\r\n"

static const struct good good[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", METHOD_GET, "/", "", true},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", METHOD_GET, "/", "", true},
    {"GET /a?b=c HTTP/1.1\r\nhOST:\ta:1 \t\r\nX:\r\n\r\n", METHOD_GET, "/a?b=c", "", true},
    {"HEAD / HTTP/1.1\r\nHost:\r\n\r\n", METHOD_HEAD, "/", "", true},
    {"GET / HTTP/1.1\r\nHost: [::1]:7080\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET http://a/b HTTP/1.1\r\n" HOST "\r\n", METHOD_GET, "http://a/b", "", true},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", METHOD_OPTIONS, "*", "", true},
    {"TRACE / HTTP/1.1\r\n" HOST "\r\n", METHOD_OTHER, "/", "", true},
    {"GET / HTTP/1.0\r\n\r\n", METHOD_GET, "/", "", false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", METHOD_GET, "/", "", true},
    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", METHOD_GET, "/", "", false},
    {"PUT /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", METHOD_PUT, "/x", "abc", true},
    {"PUT /x HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n a\nb", METHOD_PUT, "/x", " a\nb", true},
    {"PATCH /x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", METHOD_PATCH, "/x", "", true},
    {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", METHOD_POST, "/x",
     "", true},
    {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n1;name=value\r\n\n\r\nA\r\n0123456789\r\n0\r\nTrailer: ignored\r\n\r\n",
     METHOD_POST, "/x", "abc\n0123456789", true},
    {"DELETE /x HTTP/1.1\r\n" HOST "Accept: a\r\nAccept: b\r\n\r\n", METHOD_DELETE, "/x", "", true},
};

static void requests_are_taken_apart_however_they_arrive(void **state)
{
    static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 7};
    struct buffer message = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            if (feed_string(&http, good[i].text, steps[s], &message) != HTTP_DONE) {
                fail_msg("refused in steps of %zu, %s: %s", steps[s],
                         http.detail == NULL ? "incomplete" : http.detail, good[i].text);
            }
            assert_int_equal(http.method, good[i].method);
            assert_true(slice_equals_string(http_slice(message.data, http.target), good[i].target));
            assert_true(slice_equals_string(http_slice(message.data, http.body), good[i].body));
            assert_int_equal(http.keep_alive, good[i].keep_alive);
            assert_int_equal(http.end, message.size);
        }
    }
    buffer_close(&message);
}

struct bad {
    const char *text;
    enum problem problem;
};

#define GET1    "GET / HTTP/1.1\r\n"
#define POST1   "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST1 "Transfer-Encoding: chunked\r\n\r\n"

static const struct bad bad[] = {
    /* The request line. */
    {"GET /\r\n\r\n", PROBLEM_MALFORMED},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET / HTTP/1.2\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PROBLEM_MALFORMED},
    {"GET / http/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET / ICE/1.0\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET /  HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"get / HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"NONSENSE / HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"\x16\x03\x01\x02", PROBLEM_MALFORMED},
    {"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "Upgrade: h2c\r\n\r\n", PROBLEM_MALFORMED},
    /* Line ends. */
    {"GET / HTTP/1.1\n" HOST "\r\n", PROBLEM_MALFORMED},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    {GET1 "Host: a\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "\n", PROBLEM_MALFORMED},
    {GET1 "Host: a\rb\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X: a\r\n b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X: a\r\n\tb\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X:\r\n b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 " X: a\r\n" HOST "\r\n", PROBLEM_MALFORMED},
    /* Headers. */
    {GET1 "\r\n", PROBLEM_MALFORMED},
    {GET1 HOST HOST "\r\n", PROBLEM_MALFORMED},
    {GET1 "Host: a b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 "Host: a, b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 "Host: a/b\r\n\r\n", PROBLEM_MALFORMED},
    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", PROBLEM_MALFORMED},
    {GET1 HOST ": b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X: a\r\n: b\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X : a\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X(): a\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "X: a\x01\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "If-Match: \"1\"\r\nIf-Match: \"2\"\r\n\r\n", PROBLEM_MALFORMED},
    {GET1 HOST "idempotency-key: a\r\nIdempotency-Key: a\r\n\r\n", PROBLEM_MALFORMED},
    /* Lengths. */
    {POST1 "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 1, 1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: +1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: -1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 0x1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 1 1\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length:\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 18446744073709551617\r\n\r\na", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Content-Length: 4194305\r\n\r\n", PROBLEM_TOO_LARGE},
    {POST1 "Content-Length: 1000000000\r\n\r\n", PROBLEM_TOO_LARGE},
    {POST1 "Transfer-Encoding: gzip, chunked\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: gzip\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: identity\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: chunked, chunked\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: xchunked\r\n\r\n", PROBLEM_MALFORMED},
    {POST1 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", PROBLEM_MALFORMED},
    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", PROBLEM_MALFORMED},
    /* Chunks. */
    {CHUNKED "x\r\n", PROBLEM_MALFORMED},
    {CHUNKED " 1\r\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "1 \r\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "-1\r\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "0x1\r\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "\r\n", PROBLEM_MALFORMED},
    {CHUNKED "1\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "1\r\nab\r\n", PROBLEM_MALFORMED},
    {CHUNKED "1\r\na\n0\r\n\r\n", PROBLEM_MALFORMED},
    {CHUNKED "0\r\n\n", PROBLEM_MALFORMED},
    {CHUNKED "1;a\nb\r\na\r\n", PROBLEM_MALFORMED},
    {CHUNKED "0\r\nX: a\n\r\n", PROBLEM_MALFORMED},
    {CHUNKED "fffffffffffffffff\r\n", PROBLEM_MALFORMED},
};

static void malformed_requests_are_refused_however_they_arrive(void **state)
{
    static const size_t steps[] = {SIZE_MAX / 2, 1, 3};
    struct buffer message = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            if (feed_string(&http, bad[i].text, steps[s], &message) != HTTP_BAD) {
                fail_msg("number %zu was taken in steps of %zu: %s", i, steps[s], bad[i].text);
            }
            assert_int_equal(http.problem, bad[i].problem);
            assert_non_null(http.detail);
        }
    }
    buffer_close(&message);
}

/* A request with @count of @unit between @before and @after. */
static void repeat(struct buffer *bytes, const char *before, const char *unit, size_t count,
                   const char *after)
{
    buffer_clear(bytes);
    buffer_append_string(bytes, before);
    for (size_t i = 0; i < count; i++) {
        buffer_append_string(bytes, unit);
    }
    buffer_append_string(bytes, after);
}

static void expect(struct slice bytes, enum http_verdict verdict, enum problem problem)
{
    static const size_t steps[] = {SIZE_MAX / 2, 1, 1000};
    struct buffer message = BUFFER_EMPTY;
    struct http http;

    http_init(&http);
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        assert_int_equal(feed(&http, bytes, steps[s], &message), verdict);
        assert_int_equal(http.problem, problem);
    }
    buffer_close(&message);
}

static void sizes_are_limited_exactly(void **state)
{
    struct buffer bytes = BUFFER_EMPTY;

    (void)state;
    repeat(&bytes, "GET /", "a", LIMIT_TARGET_BYTES - 1, " HTTP/1.1\r\n" HOST "\r\n");
    expect(buffer_slice(&bytes), HTTP_DONE, PROBLEMS);
    repeat(&bytes, "GET /", "a", LIMIT_TARGET_BYTES, " HTTP/1.1\r\n" HOST "\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_URI_TOO_LONG);
    repeat(&bytes, GET1 HOST, "X: a\r\n", LIMIT_HEADER_FIELDS - 1, "\r\n");
    expect(buffer_slice(&bytes), HTTP_DONE, PROBLEMS);
    repeat(&bytes, GET1 HOST, "X: a\r\n", LIMIT_HEADER_FIELDS, "\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_HEADERS_TOO_LARGE);
    repeat(&bytes, GET1 HOST "X: ", "a", LIMIT_HEADER_BYTES - 200, "\r\n\r\n");
    expect(buffer_slice(&bytes), HTTP_DONE, PROBLEMS);
    repeat(&bytes, GET1 HOST "X: ", "a", LIMIT_HEADER_BYTES, "\r\n\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_HEADERS_TOO_LARGE);
    repeat(&bytes, "", "\r\n", 100, GET1 HOST "\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_MALFORMED);
    repeat(&bytes, CHUNKED "1;", "a", LIMIT_CHUNK_OVERHEAD_BYTES, "\r\na\r\n0\r\n\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_HEADERS_TOO_LARGE);
    repeat(&bytes, CHUNKED "0\r\nX: ", "a", LIMIT_CHUNK_OVERHEAD_BYTES, "\r\n\r\n");
    expect(buffer_slice(&bytes), HTTP_BAD, PROBLEM_HEADERS_TOO_LARGE);
    buffer_close(&bytes);
}

static void a_chunked_body_is_limited_while_it_arrives(void **state)
{
    struct buffer message = BUFFER_EMPTY;
    struct buffer bytes = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    repeat(&bytes, CHUNKED "500000\r\n", "a", LIMIT_BODY_BYTES, "");
    assert_int_equal(feed(&http, buffer_slice(&bytes), 65536, &message), HTTP_MORE);
    assert_int_equal(http.body.size, LIMIT_BODY_BYTES);

    buffer_append_byte(&bytes, 'a');
    assert_int_equal(feed(&http, buffer_slice(&bytes), 65536, &message), HTTP_BAD);
    assert_int_equal(http.problem, PROBLEM_TOO_LARGE);
    buffer_close(&bytes);
    buffer_close(&message);
}

static void the_framing_of_chunks_takes_no_memory(void **state)
{
    struct buffer message = BUFFER_EMPTY;
    struct buffer bytes = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    repeat(&bytes, CHUNKED, "1\r\na\r\n", 20000, "");

    assert_int_equal(feed(&http, buffer_slice(&bytes), 4096, &message), HTTP_MORE);
    assert_int_equal(http.body.size, 20000);
    assert_true(message.size < 20000 + 4096 + 200);
    buffer_close(&bytes);
    buffer_close(&message);
}

static void a_message_ends_where_the_next_begins(void **state)
{
    static const char *const texts[] = {
        GET1 HOST "\r\n",
        POST1 "Content-Length: 2\r\n\r\nab",
        CHUNKED "2\r\nab\r\n0\r\n\r\n",
        GET1 HOST "Connection: close\r\n\r\n",
        GET1 "Host: \r\n\r\n",
    };
    struct buffer bytes = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t size;

        repeat(&bytes, texts[i], "GET / HTTP/1.1\n", 2, ""); /* Not looked at yet. */
        size = bytes.size;
        http_next(&http);
        assert_int_equal(http_parse(&http, bytes.data, &size), HTTP_DONE);
        assert_int_equal(http.end, strlen(texts[i]));
    }
    buffer_close(&bytes);
}

static void headers_are_found_in_any_case_and_trimmed(void **state)
{
    struct buffer message = BUFFER_EMPTY;
    struct slice value;
    struct http http;

    (void)state;
    http_init(&http);
    assert_int_equal(feed_string(&http,
                                 GET1 HOST
                                 "Empty:\r\nIF-match: \t \"1\" \t\r\nBlank: \t\r\nLast: 1\r\n\r\n",
                                 1, &message),
                     HTTP_DONE);

    assert_true(http_header(&http, message.data, "if-match", &value));
    assert_true(slice_equals_string(value, "\"1\""));
    assert_int_equal(http.n_fields, 5);
    assert_true(http_header(&http, message.data, "empty", &value));
    assert_int_equal(value.size, 0);
    assert_true(http_header(&http, message.data, "blank", &value));
    assert_int_equal(value.size, 0);
    assert_false(http_header(&http, message.data, "if-matc", &value));
    assert_false(http_header(&http, message.data, "if-match-", &value));
    buffer_close(&message);
}

static void only_a_request_with_a_body_waits_to_go_on(void **state)
{
    struct buffer message = BUFFER_EMPTY;
    struct http http;

    (void)state;
    http_init(&http);
    assert_int_equal(
        feed_string(&http, POST1 "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", 1, &message),
        HTTP_MORE);
    assert_true(http.expects_continue);
    assert_int_equal(feed_string(&http, GET1 HOST "Expect: 100-continue\r\n\r\n", 1, &message),
                     HTTP_DONE);
    assert_false(http.expects_continue);
    buffer_close(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_taken_apart_however_they_arrive),
        cmocka_unit_test(malformed_requests_are_refused_however_they_arrive),
        cmocka_unit_test(sizes_are_limited_exactly),
        cmocka_unit_test(a_chunked_body_is_limited_while_it_arrives),
        cmocka_unit_test(the_framing_of_chunks_takes_no_memory),
        cmocka_unit_test(a_message_ends_where_the_next_begins),
        cmocka_unit_test(headers_are_found_in_any_case_and_trimmed),
        cmocka_unit_test(only_a_request_with_a_body_waits_to_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
