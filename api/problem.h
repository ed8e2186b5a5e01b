/* Errors as clients see them: RFC 9457 problem documents with a stable type, and a page for each.
 */
#ifndef HOLDFAST_API_PROBLEM_H
#define HOLDFAST_API_PROBLEM_H

#include "api/request.h"
#include "storage/result.h"

/* name, HTTP status, title */
#define PROBLEM_LIST(X)                                                                            \
    X(MALFORMED, "malformed", 400, "The request is malformed")                                     \
    X(INVALID_FIELD, "invalid-field", 400, "A field is not valid")                                 \
    X(UNAUTHENTICATED, "unauthenticated", 401, "Credentials are missing or wrong")                 \
    X(FORBIDDEN, "forbidden", 403, "Access is not allowed")                                        \
    X(NOT_FOUND, "not-found", 404, "There is no such thing")                                       \
    X(NAMESPACE_NOT_FOUND, "namespace-not-found", 404, "There is no such namespace")               \
    X(METHOD_NOT_ALLOWED, "method-not-allowed", 405, "The method is not allowed here")             \
    X(REQUEST_TIMEOUT, "request-timeout", 408, "The request took too long to arrive")              \
    X(SEQUENCE_CONFLICT, "sequence-conflict", 409, "The log is not where it was expected")         \
    X(EVENT_ID_REUSED, "event-id-reused", 409, "An event id was used for something else")          \
    X(OWNED, "owned", 409, "Another holder owns the session")                                      \
    X(FENCED, "fenced", 409, "The epoch or fence is not the current one")                          \
    X(LEASE_LOST, "lease-lost", 409, "The lease has ended")                                        \
    X(SESSION_CLOSED, "session-closed", 409, "The session is closed")                              \
    X(SESSION_FULL, "session-full", 409, "The session's log is full")                              \
    X(NOT_JSON, "not-json", 409, "The item does not hold JSON")                                    \
    X(PROTECTED, "protected", 409, "It is protected")                                              \
    X(MEMBER_REFUSED, "member-refused", 409, "The change of members was refused")                  \
    X(DELETED, "deleted", 410, "It was deleted")                                                   \
    X(COMPACTED, "compacted", 410, "The changes are no longer kept")                               \
    X(PRECONDITION_FAILED, "precondition-failed", 412, "A precondition does not hold")             \
    X(TOO_LARGE, "too-large", 413, "It is too large")                                              \
    X(URI_TOO_LONG, "uri-too-long", 414, "The target is too long")                                 \
    X(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", 415, "The content type is not supported")  \
    X(RANGE_NOT_SATISFIABLE, "range-not-satisfiable", 416, "The range is behind the end")          \
    X(IDEMPOTENCY_KEY_REUSED, "idempotency-key-reused", 422,                                       \
      "The idempotency key was used for another request")                                          \
    X(PRECONDITION_REQUIRED, "precondition-required", 428, "A precondition is required")           \
    X(RATE_LIMITED, "rate-limited", 429, "Too many requests")                                      \
    X(HEADERS_TOO_LARGE, "headers-too-large", 431, "The header is too large")                      \
    X(INTERNAL, "internal", 500, "The server has a mistake")                                       \
    X(NO_LEADER, "no-leader", 503, "The cluster has no leader")                                    \
    X(OVERLOADED, "overloaded", 503, "The node is overloaded")                                     \
    X(REPLICA_BEHIND, "replica-behind", 503, "The node has not reached that revision")             \
    X(NOT_READY, "not-ready", 503, "The node is not ready")                                        \
    X(OUTCOME_UNKNOWN, "outcome-unknown", 504, "The outcome is not known")                         \
    X(QUOTA_EXCEEDED, "quota-exceeded", 507, "A quota is used up")                                 \
    X(STORAGE_FULL, "storage-full", 507, "The disk is full")

enum problem {
#define PROBLEM_ENUM(id, name, status, title) PROBLEM_##id,
    PROBLEM_LIST(PROBLEM_ENUM)
#undef PROBLEM_ENUM
        PROBLEMS
};

unsigned problem_status(enum problem problem);
const char *problem_name(enum problem problem);
const char *problem_title(enum problem problem);

/* The problem called @name; PROBLEMS if there is none. */
enum problem problem_find(struct slice name);

/* The problem for an outcome of the state machine that is not a success. */
enum problem problem_of_outcome(enum outcome outcome);

/* Begin the document in @response: type, title, status, detail. More members follow with
 * problem_number() and problem_text(); problem_end() closes it. Sets status, content type, and
 * Retry-After with retry_after_ms for 429 and 503. */
void problem_begin(struct response *response, enum problem problem, const char *detail_format, ...)
    __attribute__((format(printf, 3, 4)));
void problem_number(struct response *response, const char *name, uint64_t number);
void problem_text(struct response *response, const char *name, struct slice text);
void problem_null(struct response *response, const char *name);
void problem_texts(struct response *response, const char *name, const char *const *texts,
                   unsigned count);
void problem_end(struct response *response);

/* All of the above at once, and respond. */
void request_fail(struct request *request, enum problem problem, const char *detail_format, ...)
    __attribute__((format(printf, 3, 4)));
/* 400 invalid-field (or another problem that names a field) with "field". */
void request_fail_field(struct request *request, enum problem problem, const char *field,
                        const char *detail_format, ...) __attribute__((format(printf, 4, 5)));

/* The page /problems/NAME, which explains it: HTML, or JSON if @as_json. */
void problem_page(enum problem problem, bool as_json, struct response *response);

/* Append @text as a JSON string; bytes that are not UTF-8 become U+FFFD. */
void problem_append_text(struct buffer *buffer, struct slice text);

#endif
