#include "api/http.h"

#include "daemon/base/check.h"

/* Empty lines and the method, before the target. */
#define MAX_BEFORE_TARGET 64

/* What the token rule of RFC 9110, section 5.6.2, allows in a header's name. */
static const uint8_t is_token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

/* Headers that may come once. Lists (Accept, Forwarded, ...) may be spread over several lines. */
static const char *const singletons[] = {
    "host",          "content-length", "transfer-encoding", "content-type",     "idempotency-key",
    "if-match",      "if-none-match",  "session-epoch",     "expect",           "authorization",
    "last-event-id", "range",          "if-range",          "content-encoding",
};

static int fail(struct http *http, enum problem problem, const char *detail)
{
    http->problem = problem;
    http->detail = detail;
    return -1;
}

static bool name_equals(const uint8_t *bytes, struct http_span name, const char *lower)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = bytes[name.offset + i];

        if (byte >= 'A' && byte <= 'Z') {
            byte = (uint8_t)(byte | 0x20);
        }
        if (byte != (uint8_t)lower[i]) {
            return false;
        }
    }
    return lower[name.size] == '\0';
}

bool http_header(const struct http *http, const uint8_t *bytes, const char *name,
                 struct slice *value)
{
    size_t size = strlen(name);

    for (unsigned i = 0; i < http->n_fields; i++) {
        const struct http_field *field = &http->fields[i];

        if (field->name.size == size && name_equals(bytes, field->name, name)) {
            *value = http_slice(bytes, field->value);
            return true;
        }
    }
    return false;
}

/* Grow @span by a piece that follows what is there; llhttp gives parts where the input was cut. */
static void span_add(struct http_span *span, size_t offset, size_t size)
{
    if (span->size == 0) {
        span->offset = (uint32_t)offset;
    }
    span->size = (uint32_t)(offset + size - span->offset);
}

static size_t offset_of(const struct http *http, const char *at)
{
    return (size_t)((const uint8_t *)at - http->bytes);
}

/* Look at the lines in bytes[checked .. until): each ends with CR LF, and none begins with a blank,
 * which would fold it into the one before. */
static int check_lines(struct http *http, size_t until)
{
    const uint8_t *bytes = http->bytes;
    size_t at = http->checked;

    if (at >= until) {
        return 0;
    }
    if (http->previous == '\n' && (bytes[at] == ' ' || bytes[at] == '\t')) {
        return fail(http, PROBLEM_MALFORMED, "header lines must not be folded");
    }
    while (at < until) {
        const uint8_t *found = memchr(bytes + at, '\n', until - at);
        uint8_t before;

        if (found == NULL) {
            break;
        }
        before = found == bytes + http->checked ? http->previous : found[-1];
        if (before != '\r') {
            return fail(http, PROBLEM_MALFORMED, "lines must end with CR LF");
        }
        at = (size_t)(found - bytes) + 1;
        if (at < until && (bytes[at] == ' ' || bytes[at] == '\t')) {
            return fail(http, PROBLEM_MALFORMED, "header lines must not be folded");
        }
    }
    http->overhead += until - http->checked;
    http->previous = bytes[until - 1];
    http->checked = until;
    if (http->stage >= HTTP_STAGE_BODY && http->overhead > LIMIT_CHUNK_OVERHEAD_BYTES) {
        return fail(http, PROBLEM_HEADERS_TOO_LARGE, "there is too much between the chunks");
    }
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct http *http = parser->data;
    size_t offset = offset_of(http, at);

    if (http->target.size == 0 && offset > MAX_BEFORE_TARGET) {
        return fail(http, PROBLEM_MALFORMED, "there is too much in front of the target");
    }
    http->stage = HTTP_STAGE_HEAD;
    span_add(&http->target, offset, size);
    if (http->target.size > LIMIT_TARGET_BYTES) {
        return fail(http, PROBLEM_URI_TOO_LONG, "the target is longer than 8 KiB");
    }
    return 0;
}

static int check_head_size(struct http *http, size_t until)
{
    if (until - http->target.offset - http->target.size > LIMIT_HEADER_BYTES) {
        return fail(http, PROBLEM_HEADERS_TOO_LARGE, "the header is larger than 32 KiB");
    }
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size)
{
    struct http *http = parser->data;
    size_t offset = offset_of(http, at);

    if (http->stage != HTTP_STAGE_HEAD) {
        return 0; /* A trailer: allowed, counted as overhead, and of no meaning to us. */
    }
    if (http->n_fields == 0 || http->in_value) {
        if (http->n_fields == LIMIT_HEADER_FIELDS) {
            return fail(http, PROBLEM_HEADERS_TOO_LARGE, "there are more than 100 header fields");
        }
        http->fields[http->n_fields++] = (struct http_field){.name = {.offset = (uint32_t)offset}};
        http->in_value = false;
    }
    span_add(&http->fields[http->n_fields - 1].name, offset, size);
    return check_head_size(http, offset + size);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http *http = parser->data;
    size_t offset = offset_of(http, at);
    struct http_span *value;

    if (http->stage != HTTP_STAGE_HEAD) {
        return 0;
    }
    if (http->n_fields == 0) {
        return fail(http, PROBLEM_MALFORMED, "a header has no name");
    }
    value = &http->fields[http->n_fields - 1].value;
    if (http->in_value && offset != value->offset + value->size) {
        return fail(http, PROBLEM_MALFORMED, "a header has no name, or is folded");
    }
    if (!http->in_value) {
        value->offset = (uint32_t)offset;
    }
    http->in_value = true;
    span_add(value, offset, size);
    return check_head_size(http, offset + size);
}

/* METHOD SP TARGET SP HTTP/1.x CR LF, with one blank each. */
static int check_request_line(struct http *http)
{
    const uint8_t *bytes = http->bytes;
    const size_t at = http->target.offset;
    const uint8_t *version = bytes + at + http->target.size;
    const uint8_t *start = bytes;

    while (*start == '\r' || *start == '\n') {
        start++; /* Empty lines before a request are ignored: RFC 9112, section 2.2. */
    }
    if (at < 2 || bytes[at - 1] != ' ' ||
        memchr(start, ' ', (size_t)(bytes + at - start)) != bytes + at - 1) {
        return fail(http, PROBLEM_MALFORMED, "the request line is not METHOD TARGET VERSION");
    }
    if (http->given - at - http->target.size < 11 || memcmp(version, " HTTP/1.", 8) != 0 ||
        (version[8] != '0' && version[8] != '1') || memcmp(version + 9, "\r\n", 2) != 0) {
        return fail(http, PROBLEM_MALFORMED, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    http->is_old = version[8] == '0';
    return 0;
}

static int check_target(struct http *http)
{
    struct slice target = http_slice(http->bytes, http->target);

    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#') {
            return fail(http, PROBLEM_MALFORMED,
                        "the target holds a character that must be percent-encoded");
        }
    }
    return 0;
}

static int check_names(struct http *http)
{
    uint32_t seen = 0;

    for (unsigned i = 0; i < http->n_fields; i++) {
        struct http_span name = http->fields[i].name;

        if (name.size == 0) {
            return fail(http, PROBLEM_MALFORMED, "a header has no name");
        }
        for (size_t at = name.offset; at < name.offset + name.size; at++) {
            if (!is_token[http->bytes[at]]) {
                return fail(http, PROBLEM_MALFORMED, "a header's name holds a wrong character");
            }
        }
        for (unsigned s = 0; s < sizeof(singletons) / sizeof(singletons[0]); s++) {
            if ((singletons[s][0] ^ http->bytes[name.offset]) & 0xdf ||
                !name_equals(http->bytes, name, singletons[s])) {
                continue;
            }
            if (seen & (1u << s)) {
                return fail(http, PROBLEM_MALFORMED, "a header came twice that may come once");
            }
            seen |= 1u << s;
            break;
        }
    }
    return 0;
}

/* Blanks behind a value are no part of it; llhttp leaves some in. */
static void trim_values(struct http *http)
{
    for (unsigned i = 0; i < http->n_fields; i++) {
        struct http_span *value = &http->fields[i].value;

        while (value->size > 0 && (http->bytes[value->offset + value->size - 1] == ' ' ||
                                   http->bytes[value->offset + value->size - 1] == '\t')) {
            value->size--;
        }
    }
}

static bool is_host(struct slice host)
{
    for (size_t i = 0; i < host.size; i++) {
        uint8_t byte = host.data[i];

        if (byte <= 0x20 || byte >= 0x7f || strchr("/?#@,\\\"<>^`{|}", byte) != NULL) {
            return false;
        }
    }
    return true;
}

static bool equals_ignoring_case(struct slice text, const char *lower)
{
    return name_equals(text.data, (struct http_span){0, (uint32_t)text.size}, lower);
}

static int check_host_and_upgrade(struct http *http)
{
    struct slice value;

    if (!http_header(http, http->bytes, "host", &value)) {
        if (!http->is_old) {
            return fail(http, PROBLEM_MALFORMED, "the Host header is missing");
        }
    } else if (!is_host(value)) {
        return fail(http, PROBLEM_MALFORMED, "the Host header is not valid");
    }
    if (http->parser.method == HTTP_CONNECT) {
        return fail(http, PROBLEM_MALFORMED, "CONNECT is not offered");
    }
    if (http_header(http, http->bytes, "upgrade", &value)) {
        return fail(http, PROBLEM_MALFORMED, "no other protocol is offered for Upgrade");
    }
    return 0;
}

static int check_length(struct http *http)
{
    struct slice value;
    bool has_coding = http_header(http, http->bytes, "transfer-encoding", &value);

    if (has_coding && (http->is_old || !equals_ignoring_case(value, "chunked"))) {
        return fail(http, PROBLEM_MALFORMED, "chunked is the only transfer coding");
    }
    http->has_length = http_header(http, http->bytes, "content-length", &value);
    if (has_coding && http->has_length) {
        return fail(http, PROBLEM_MALFORMED, "a request has one length, not two");
    }
    if (http->has_length) {
        http->length_bytes = http->parser.content_length;
        if (http->length_bytes > LIMIT_BODY_BYTES) {
            return fail(http, PROBLEM_TOO_LARGE, "the body is larger than 4 MiB");
        }
    }
    http->expects_continue = !http->is_old && (has_coding || http->length_bytes > 0) &&
                             http_header(http, http->bytes, "expect", &value) &&
                             equals_ignoring_case(value, "100-continue");
    return 0;
}

static enum method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return METHOD_GET;
    case HTTP_HEAD:
        return METHOD_HEAD;
    case HTTP_PUT:
        return METHOD_PUT;
    case HTTP_POST:
        return METHOD_POST;
    case HTTP_PATCH:
        return METHOD_PATCH;
    case HTTP_DELETE:
        return METHOD_DELETE;
    case HTTP_OPTIONS:
        return METHOD_OPTIONS;
    default:
        return METHOD_OTHER;
    }
}

/* Behind the empty line, of which llhttp took the line feed just now: the second one behind the
 * last part that it gave to us. */
static size_t head_end(const struct http *http)
{
    const struct http_field *last = &http->fields[http->n_fields == 0 ? 0 : http->n_fields - 1];
    size_t at = http->target.offset + http->target.size;

    if (http->n_fields > 0) {
        /* llhttp gives an empty value's place only after it saw the next line. */
        at = last->value.size > 0 ? last->value.offset + last->value.size
                                  : last->name.offset + last->name.size;
    }
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *feed = memchr(http->bytes + at, '\n', http->given - at);

        at = feed == NULL ? http->given : (size_t)(feed - http->bytes) + 1;
    }
    return at;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http *http = parser->data;

    if (check_lines(http, head_end(http)) != 0) {
        return -1;
    }
    trim_values(http);
    if (check_request_line(http) != 0 || check_target(http) != 0 || check_names(http) != 0 ||
        check_host_and_upgrade(http) != 0 || check_length(http) != 0) {
        return -1;
    }
    http->method = method_of(parser->method);
    http->keep_alive = llhttp_should_keep_alive(parser) != 0;
    http->stage = HTTP_STAGE_BODY;
    http->overhead = 0;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct http *http = parser->data;
    size_t offset = offset_of(http, at);
    size_t body_end = http->body.offset + http->body.size;

    if (check_lines(http, offset) != 0) {
        return -1;
    }
    if (http->body.size + size > LIMIT_BODY_BYTES) {
        return fail(http, PROBLEM_TOO_LARGE, "the body is larger than 4 MiB");
    }
    if (http->body.size == 0) {
        http->body.offset = (uint32_t)offset;
    } else if (offset != body_end) {
        memmove(http->bytes + body_end, at, size); /* Close the gap that a chunk's head left. */
    }
    http->body.size += (uint32_t)size;
    http->checked = offset + size;
    http->previous = 0;
    http->overhead = 0;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http *http = parser->data;

    http->stage = HTTP_STAGE_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http_init(struct http *http)
{
    *http = (struct http){0};
    http_next(http);
}

void http_next(struct http *http)
{
    llhttp_init(&http->parser, HTTP_REQUEST, &settings);
    http->parser.data = http;
    http->stage = HTTP_STAGE_START;
    http->expects_continue = false;
    http->has_length = false;
    http->length_bytes = 0;
    http->target = (struct http_span){0};
    http->n_fields = 0;
    http->body = (struct http_span){0};
    http->problem = PROBLEMS;
    http->detail = NULL;
    http->fed = 0;
    http->checked = 0;
    http->overhead = 0;
    http->previous = 0;
    http->in_value = false;
}

/* What the callbacks see only at the end of a part. */
static int check_sizes(struct http *http)
{
    switch (http->stage) {
    case HTTP_STAGE_START:
        return http->fed <= MAX_BEFORE_TARGET
                   ? 0
                   : fail(http, PROBLEM_MALFORMED, "there is too much in front of the target");
    case HTTP_STAGE_HEAD:
        return check_head_size(http, http->fed);
    case HTTP_STAGE_BODY:
    case HTTP_STAGE_DONE:
        return 0;
    }
    return 0;
}

static enum http_verdict bad(struct http *http)
{
    if (http->problem == PROBLEMS) {
        http->problem = PROBLEM_MALFORMED;
        http->detail = llhttp_get_error_reason(&http->parser);
        if (http->detail == NULL) {
            http->detail = "it is not HTTP/1.1";
        }
    }
    return HTTP_BAD;
}

/* Bytes of a chunked body's framing are done with once they were read; the next ones go right
 * behind the body. */
static size_t drop_framing(struct http *http, size_t size)
{
    size_t body_end = http->body.offset + http->body.size;

    if (http->stage != HTTP_STAGE_BODY || http->body.size == 0 || body_end >= size) {
        return size;
    }
    http->checked = body_end;
    return body_end;
}

enum http_verdict http_parse(struct http *http, uint8_t *bytes, size_t *size)
{
    llhttp_errno_t error;
    size_t taken;

    CHECK(http->stage != HTTP_STAGE_DONE);
    CHECK(*size >= http->fed);
    http->bytes = bytes;
    http->given = *size;
    error = llhttp_execute(&http->parser, (const char *)bytes + http->fed, *size - http->fed);
    if (error != HPE_OK && error != HPE_PAUSED) {
        return bad(http);
    }
    taken = error == HPE_PAUSED ? offset_of(http, llhttp_get_error_pos(&http->parser)) : *size;
    if (check_lines(http, taken) != 0) {
        return bad(http);
    }
    http->fed = taken;
    if (check_sizes(http) != 0) {
        return bad(http);
    }
    if (error == HPE_PAUSED) {
        CHECK(http->stage == HTTP_STAGE_DONE);
        http->end = taken;
        return HTTP_DONE;
    }
    http->fed = drop_framing(http, taken);
    *size = http->fed;
    return HTTP_MORE;
}
