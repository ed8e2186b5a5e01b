/* One HTTP request and its response, as handlers see them; how they travel is connection.c's.
 *
 * A handler runs on the api thread of the connection. It answers at once with one of the respond
 * functions, or keeps the request and answers later from the same thread (after a submission or a
 * read came back): every request is answered exactly once. If the client went away,
 * request_is_gone() is true and an answer is accepted and dropped. */
#ifndef HOLDFAST_API_REQUEST_H
#define HOLDFAST_API_REQUEST_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_PUT,
    METHOD_POST,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER,
    METHODS
};

/* "GET", ...; "OTHER" for those that no route has. */
const char *method_name(enum method method);

struct api_thread; /* context.h */
struct http;       /* http.h */
struct request;
struct response;

#define REQUEST_MAX_SEGMENTS   8
#define REQUEST_MAX_PARAMETERS 16

struct parameter {
    struct slice name;
    struct slice value;
    bool has_value; /* "?touch" has none, "?touch=" has an empty one. */
};

struct request {
    struct api_thread *thread;
    enum method method;
    struct slice target; /* As sent. */
    /* The path behind the namespace's base, percent-decoded, split by the router. */
    struct slice ns;     /* Empty outside /v1/namespaces/{ns}. */
    unsigned n_captures; /* {s}, {a}, {key}...: in the order of the route's pattern. */
    struct slice captures[REQUEST_MAX_SEGMENTS];
    unsigned n_parameters; /* Decoded; in the order sent, none twice. */
    struct parameter parameters[REQUEST_MAX_PARAMETERS];
    struct slice body;
    const char *route; /* The route's pattern, for metrics. */
    void *state;       /* The handler's own, freed with free() when the request ends. */
    /* Set by a handler that keeps the request, or NULL: the client went away before the answer. The
     * request still has to be answered, though not in there. */
    void (*on_gone)(struct request *request);
    void *on_gone_data;
    /* Private: of who made the request (connection.c, or a test). */
    void (*respond)(struct request *request, struct response *response);
    void *owner;
    const struct http *http; /* The headers, as offsets into message; NULL: there are none. */
    const uint8_t *message;
    bool is_gone;
    unsigned route_number; /* In the table; ROUTE_NONE if none matched. */
    uint64_t started_ns;
    struct buffer decoded; /* What captures and parameters borrow, where they were encoded. */
};

/* The value of a header (name in lower case), trimmed; false if absent. A header that may come once
 * and came twice was refused before. */
bool request_header(const struct request *request, const char *name, struct slice *value);

/* The parameter's value; false if absent. */
bool request_parameter(const struct request *request, const char *name, struct slice *value);

/* True if every parameter is one of @names, which ends with NULL. Else answers 400 invalid-field
 * with the parameter's name, and gives false: the request is gone. */
MUST_USE bool request_allows_parameters(struct request *request, const char *const *names);

/* True if the client no longer waits. */
bool request_is_gone(const struct request *request);

/* A body that is too large for memory: it is read piece by piece, as the client takes it. */
struct body_source {
    uint64_t size; /* Of the whole body, above 0. */
    /* On the request's thread: append exactly @size bytes from @offset on. Anything but STATUS_OK
     * ends the connection in the middle of the body. */
    enum status (*read)(struct body_source *source, uint64_t offset, size_t size,
                        struct buffer *bytes);
    /* On the request's thread: release it, whether all of it was read or not. */
    void (*close)(struct body_source *source);
};

/* A response under construction. Zero it, fill it, hand it to request_respond(). */
struct response {
    unsigned status;
    const char *content_type;   /* NULL: application/json if there is a body. */
    bool is_cacheable;          /* The handler says so itself: without Cache-Control: no-store. */
    struct buffer headers;      /* "Name: value\r\n" lines; see response_header(). */
    struct buffer body;         /* Taken. */
    struct body_source *source; /* NULL, or the body, instead of the one above. Taken. */
};

/* Append a header line. A CR, LF or NUL in the text becomes a blank, so that no client's bytes make
 * a header of their own. */
void response_header(struct response *response, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Release what a response holds that is not answered with. */
void response_close(struct response *response);

/* Answer. Takes the response's buffers. The connection adds Date, Content-Length, Cache-Control:
 * no-store, and leaves the body out for HEAD. The request is gone after this. */
void request_respond(struct request *request, struct response *response);

#endif
