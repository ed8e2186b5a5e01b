/* The grammar of HTTP/1.1 requests: llhttp, and what it leaves to us.
 *
 * Bytes go in; out comes a request whose parts are offsets into those bytes, or the one reason why
 * they are none. Nothing is copied or allocated, no clock is read and no socket is known. The
 * caller keeps a message in one piece from its first byte, and may move it between calls. One
 * thread at a time.
 *
 * Beyond llhttp: only HTTP/1.0 and 1.1, exactly one Host, no folded header lines, no bare LF, no
 * header without a name, no other transfer coding than "chunked", never two lengths, no header
 * twice that may come once, neither CONNECT nor Upgrade, and a maximum for everything. */
#ifndef HOLDFAST_API_HTTP_H
#define HOLDFAST_API_HTTP_H

#include <llhttp.h>

#include "api/problem.h"
#include "api/request.h"
#include "daemon/base/limits.h"
#include "daemon/base/slice.h"

enum http_verdict {
    HTTP_MORE, /* All was taken, and the message goes on. */
    HTTP_DONE, /* The message is complete and ends at http->end. */
    HTTP_BAD,  /* http->problem and http->detail say why; the connection has to end. */
};

enum http_stage {
    HTTP_STAGE_START, /* Nothing of the request line was seen. */
    HTTP_STAGE_HEAD,
    HTTP_STAGE_BODY,
    HTTP_STAGE_DONE,
};

/* Offsets from the first byte of the message. */
struct http_span {
    uint32_t offset;
    uint32_t size;
};

struct http_field {
    struct http_span name;
    struct http_span value; /* Trimmed. */
};

struct http {
    /* Valid once the head is complete (stage BODY or DONE). */
    enum method method;
    bool keep_alive;       /* The client allows another request on the connection. */
    bool is_old;           /* HTTP/1.0 */
    bool expects_continue; /* It waits for "100 Continue" before it sends the body. */
    bool has_length;       /* length_bytes was announced. */
    uint64_t length_bytes;
    struct http_span target; /* As sent. */
    unsigned n_fields;
    struct http_field fields[LIMIT_HEADER_FIELDS];
    /* The body so far, in one piece; chunks were moved together. */
    struct http_span body;
    /* With HTTP_DONE: where the next message begins. */
    size_t end;
    /* With HTTP_BAD. */
    enum problem problem;
    const char *detail;

    /* Private. */
    enum http_stage stage;
    llhttp_t parser;
    uint8_t *bytes;   /* Of the message, during http_parse(). */
    size_t given;     /* Bytes there, during http_parse(). */
    size_t fed;       /* Bytes given to llhttp. */
    size_t checked;   /* Bytes whose line ends were looked at. */
    size_t overhead;  /* Bytes since the last of the body. */
    uint8_t previous; /* The byte before checked, 0 if it was one of the body. */
    bool in_value;
};

/* Ready for the first message. */
void http_init(struct http *http);

/* Forget the message: the next bytes begin a new one. */
void http_next(struct http *http);

/* Go on with the message in @bytes, of which *@size are there now: those of the call before, and
 * new ones behind them. With HTTP_MORE, *@size is how many to keep: the framing of chunks is
 * dropped. */
MUST_USE enum http_verdict http_parse(struct http *http, uint8_t *bytes, size_t *size);

/* The value of a header (name in lower case) of the message in @bytes; false if absent. */
bool http_header(const struct http *http, const uint8_t *bytes, const char *name,
                 struct slice *value);

static inline struct slice http_slice(const uint8_t *bytes, struct http_span span)
{
    return slice_of(bytes + span.offset, span.size);
}

#endif
