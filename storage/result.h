/* What executing one command gave: stored with an idempotency key, and rendered by the API.
 *
 * The same on every node, to the byte. Decoding borrows from the bytes. Pure, any thread. */
#ifndef HOLDFAST_STORAGE_RESULT_H
#define HOLDFAST_STORAGE_RESULT_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* Outcomes, each with the HTTP status and problem name that the API gives it. */
#define OUTCOME_LIST(X)                                                                            \
    X(OK, 200, NULL)                                                                               \
    X(CREATED, 201, NULL)                                                                          \
    X(NO_CONTENT, 204, NULL)                                                                       \
    X(INVALID_FIELD, 400, "invalid-field")             /* field */                                 \
    X(NOT_FOUND, 404, "not-found")                                                                 \
    X(NAMESPACE_NOT_FOUND, 404, "namespace-not-found")                                             \
    X(SEQUENCE_CONFLICT, 409, "sequence-conflict")     /* number: last_seq */                      \
    X(EVENT_ID_REUSED, 409, "event-id-reused")                                                     \
    X(SESSION_CLOSED, 409, "session-closed")                                                       \
    X(SESSION_FULL, 409, "session-full")                                                           \
    X(NOT_JSON, 409, "not-json")                                                                   \
    X(PROTECTED, 409, "protected")                                                                 \
    X(DELETED, 410, "deleted")                                                                     \
    X(PRECONDITION_FAILED, 412, "precondition-failed") /* number: revision, 0 if absent */         \
    X(TOO_LARGE, 413, "too-large")                     /* field */                                 \
    X(IDEMPOTENCY_KEY_REUSED, 422, "idempotency-key-reused")                                       \
    X(INTERNAL, 500, "internal")                                                                   \
    X(QUOTA_EXCEEDED, 507, "quota-exceeded")                                                       \
    X(STORAGE_FULL, 507, "storage-full")

enum outcome {
#define OUTCOME_ENUM(name, status, problem) OUTCOME_##name,
    OUTCOME_LIST(OUTCOME_ENUM)
#undef OUTCOME_ENUM
    OUTCOMES
};

/* The HTTP status of @outcome, and its problem's name or NULL. */
unsigned outcome_http_status(enum outcome outcome);
const char *outcome_problem(enum outcome outcome);
static inline bool outcome_is_success(enum outcome outcome)
{
    return outcome <= OUTCOME_NO_CONTENT;
}

enum row_kind {
    ROW_NONE,
    ROW_SESSION,        /* session_row, without state */
    ROW_ITEM,           /* item_row, without value */
    ROW_APPEND,         /* append_row */
    ROW_TRIM,           /* trim_row */
    ROW_PREFIX_DELETED, /* prefix_deleted_row */
    ROW_NAMESPACE,      /* namespace_row */
    ROW_MAINTAINED,     /* maintained_row */
    ROW_KINDS
};

/* The result of one operation. */
struct operation_result {
    enum outcome outcome;
    uint64_t etag;      /* Revision of the document after it; 0: none. */
    uint64_t number;    /* See OUTCOME_LIST. */
    struct slice text;  /* With INVALID_FIELD and TOO_LARGE: the JSON pointer of the field. */
    enum row_kind row_kind;
    struct slice row;   /* Encoded; see rows.h. */
};

struct result {
    uint64_t revision;   /* That the command made; of the state as it was, if it made none. */
    bool replayed;       /* Answered from the idempotency record. */
    uint32_t failed_operation; /* Index of the operation that undid all; with a failure only. */
    uint32_t n_operations;     /* All of them on success; only the failed one else. */
    struct slice operations;   /* Walk it with result_next(). */
};

/* Encoding: begin, one result_add() per operation, finish. */
void result_begin(struct buffer *buffer, uint64_t revision, uint32_t failed_operation);
void result_add(struct buffer *buffer, const struct operation_result *operation);
void result_finish(struct buffer *buffer, uint32_t n_operations);

/* Correct the revision that result_begin() was given. */
void result_set_revision(struct buffer *buffer, uint64_t revision);

/* Mark an encoded result as replayed. */
void result_set_replayed(struct buffer *buffer);

MUST_USE enum status result_decode(struct slice bytes, struct result *result);

/* The next operation's result; false behind the last. @walk starts as result->operations. */
bool result_next(struct slice *walk, struct operation_result *operation);

#endif
