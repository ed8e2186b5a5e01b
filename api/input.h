/* What a client asks for, seen the same way whether it is a request of its own or one operation of
 * a transaction: method, captures, parameters, headers and a body.
 *
 * The functions that read it give STATUS_OK, or STATUS_INVALID with the reason in the refusal,
 * which becomes the answer. What they give out is borrowed from the request or the input's arena.
 */
#ifndef HOLDFAST_API_INPUT_H
#define HOLDFAST_API_INPUT_H

#include <jansson.h>

#include "api/arena.h"
#include "api/problem.h"
#include "api/request.h"

struct refusal {
    enum problem problem;
    bool has_field;
    bool has_op; /* In a transaction: the operation that is refused. */
    unsigned op;
    char field[320];
    char detail[320];
};

struct input {
    struct request *request; /* Resolved. Of an operation: a request that is never answered. */
    struct arena arena;
    struct refusal refusal;

    /* Of an operation in a transaction. */
    bool is_operation;
    char pointer[32];   /* Where its body is in the transaction: "/ops/3/body". */
    json_t *headers;    /* An object, or NULL. Borrowed. */
    json_t *body;       /* Or NULL. Borrowed. */
    bool has_bytes;     /* body_base64 was given: */
    struct slice bytes; /* Decoded. */

    /* Private. */
    json_t *document; /* The parsed body, owned. */
};

void input_init(struct input *input, struct request *request);
void input_close(struct input *input);

/* Note why, and give STATUS_INVALID. @field is a parameter, a header or NULL. */
enum status input_refuse(struct input *input, enum problem problem, const char *field,
                         const char *detail_format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a place in the body: @pointer is relative to it. */
enum status input_refuse_body(struct input *input, enum problem problem, const char *pointer,
                              const char *detail_format, ...) __attribute__((format(printf, 4, 5)));

/* Answer the request with the refusal. A namespace that does not exist is said first, as far as
 * this node knows: namespace comes before fields. */
void input_answer_refusal(struct input *input);

/* @name as a client writes it: "If-Match". */
bool input_header(const struct input *input, const char *name, struct slice *value);
bool input_parameter(const struct input *input, const char *name, struct slice *value);
/* Refuses parameters that are not among @names, which ends with NULL. */
MUST_USE enum status input_allow(struct input *input, const char *const *names);

/* The body as a JSON object. Without a body: an empty one if @may_be_absent, else refused. */
MUST_USE enum status input_object(struct input *input, bool may_be_absent, const json_t **object);
/* The body as any JSON value. */
MUST_USE enum status input_value(struct input *input, const json_t **value);

enum input_content { INPUT_JSON, INPUT_MERGE_PATCH, INPUT_BYTES, INPUT_OTHER };
/* What the body is by its Content-Type; INPUT_OTHER also without one. */
enum input_content input_content(const struct input *input);

/* @value as compact text in the arena. */
struct slice input_compact(struct input *input, const json_t *value);

#endif
