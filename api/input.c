#include "api/input.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "api/context.h"
#include "api/reads.h"
#include "daemon/base/check.h"
#include "storage/document.h"

#define MAX_HEADER_NAME 64

void input_init(struct input *input, struct request *request)
{
    /* All but the refusal, whose texts are long and rarely written. */
    input->request = request;
    input->arena.chunks = NULL;
    input->refusal.has_op = false;
    input->is_operation = false;
    input->pointer[0] = '\0';
    input->headers = NULL;
    input->body = NULL;
    input->has_bytes = false;
    input->bytes = slice_of(NULL, 0);
    input->document = NULL;
}

void input_close(struct input *input)
{
    json_decref(input->document);
    input->document = NULL;
    arena_close(&input->arena);
}

static enum status refuse(struct input *input, enum problem problem, const char *format,
                          va_list args)
{
    input->refusal.problem = problem;
    CHECK(vsnprintf(input->refusal.detail, sizeof(input->refusal.detail), format, args) >= 0);
    return STATUS_INVALID;
}

enum status input_refuse(struct input *input, enum problem problem, const char *field,
                         const char *detail_format, ...)
{
    struct refusal *refusal = &input->refusal;
    enum status status;
    va_list args;

    refusal->has_field = field != NULL;
    (void)snprintf(refusal->field, sizeof(refusal->field), "%s", field == NULL ? "" : field);
    va_start(args, detail_format);
    status = refuse(input, problem, detail_format, args);
    va_end(args);
    return status;
}

enum status input_refuse_body(struct input *input, enum problem problem, const char *pointer,
                              const char *detail_format, ...)
{
    struct refusal *refusal = &input->refusal;
    enum status status;
    va_list args;

    refusal->has_field = true;
    /* A client's own names may be long: the field is cut then, which is still helpful. */
    (void)snprintf(refusal->field, sizeof(refusal->field), "%s%s", input->pointer, pointer);
    va_start(args, detail_format);
    status = refuse(input, problem, detail_format, args);
    va_end(args);
    return status;
}

/* Asks this node's own state, at once: bad input gets its 4xx also without a leader. */
static bool namespace_is_missing(struct request *request)
{
    struct view *view;
    struct namespace_row row;
    enum status status;

    if (request->ns.size == 0 || (view = reads_view_begin(request->thread->reads)) == NULL) {
        return false;
    }
    status = view_namespace(view, request->ns, &row);
    reads_view_end(request->thread->reads);
    return status == STATUS_NOT_FOUND;
}

/* "HTTP and size" come before the namespace, and PUT of a namespace makes it. */
static bool is_after_namespace(const struct input *input)
{
    const struct request *request = input->request;

    return input->refusal.problem != PROBLEM_UNSUPPORTED_MEDIA_TYPE &&
           !(request->method == METHOD_PUT && request->n_captures == 0);
}

void input_answer_refusal(struct input *input)
{
    const struct refusal *refusal = &input->refusal;
    struct request *request = input->request;
    struct response response = {0};

    if (is_after_namespace(input) && namespace_is_missing(request)) {
        request_fail(request, PROBLEM_NAMESPACE_NOT_FOUND,
                     "there is no such namespace; PUT makes one");
        return;
    }
    problem_begin(&response, refusal->problem, "%s", refusal->detail);
    if (refusal->has_field) {
        problem_text(&response, "field", slice_of_string(refusal->field));
    }
    if (refusal->has_op) {
        problem_number(&response, "op", refusal->op);
    }
    problem_end(&response);
    request_respond(request, &response);
}

static bool operation_header(const struct input *input, const char *name, struct slice *value)
{
    const char *key;
    json_t *entry;

    json_object_foreach(input->headers, key, entry)
    {
        if (strcasecmp(key, name) == 0) {
            *value = slice_of(json_string_value(entry), json_string_length(entry));
            return true;
        }
    }
    return false;
}

bool input_header(const struct input *input, const char *name, struct slice *value)
{
    char lower[MAX_HEADER_NAME];
    size_t i;

    if (input->is_operation) {
        return operation_header(input, name, value);
    }
    for (i = 0; name[i] != '\0' && i < sizeof(lower) - 1; i++) {
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    lower[i] = '\0';
    return request_header(input->request, lower, value);
}

bool input_parameter(const struct input *input, const char *name, struct slice *value)
{
    return request_parameter(input->request, name, value);
}

static bool is_listed(struct slice name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (slice_equals_string(name, *names)) {
            return true;
        }
    }
    return false;
}

enum status input_allow(struct input *input, const char *const *names)
{
    for (unsigned i = 0; i < input->request->n_parameters; i++) {
        struct slice name = input->request->parameters[i].name;
        char field[64];

        if (!is_listed(name, names)) {
            (void)snprintf(field, sizeof(field), "%.*s", (int)name.size,
                           name.size == 0 ? "" : (const char *)name.data);
            return input_refuse(input, PROBLEM_INVALID_FIELD, field,
                                "there is no such parameter here");
        }
    }
    return STATUS_OK;
}

static struct slice trim(struct slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice_from(text, 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static bool equals_ignoring_case(struct slice text, const char *lower)
{
    return text.size == strlen(lower) &&
           (text.size == 0 || strncasecmp((const char *)text.data, lower, text.size) == 0);
}

/* The part before @mark; @rest is what comes behind it. */
static struct slice cut(struct slice text, char mark, struct slice *rest)
{
    const uint8_t *at = text.size == 0 ? NULL : memchr(text.data, mark, text.size);
    size_t size = at == NULL ? text.size : (size_t)(at - text.data);

    *rest = at == NULL ? slice_of(NULL, 0) : slice_from(text, size + 1);
    return trim(slice_of(text.data, size));
}

/* Of the parameters of a media type only the charset matters, and only UTF-8 is right. */
static bool is_utf8_type(struct slice parameters)
{
    while (parameters.size > 0) {
        struct slice value;
        struct slice name = cut(cut(parameters, ';', &parameters), '=', &value);

        value = trim(value);
        if (equals_ignoring_case(name, "charset") && !equals_ignoring_case(value, "utf-8") &&
            !equals_ignoring_case(value, "\"utf-8\"")) {
            return false;
        }
    }
    return true;
}

enum input_content input_content(const struct input *input)
{
    struct slice parameters;
    struct slice value;
    struct slice type;

    if (input->is_operation) {
        return input->has_bytes ? INPUT_BYTES : input->body != NULL ? INPUT_JSON : INPUT_OTHER;
    }
    if (!input_header(input, "Content-Type", &value)) {
        return INPUT_OTHER;
    }
    type = cut(value, ';', &parameters);
    if (equals_ignoring_case(type, "application/octet-stream")) {
        return INPUT_BYTES;
    }
    if (!is_utf8_type(parameters)) {
        return INPUT_OTHER;
    }
    if (equals_ignoring_case(type, "application/json")) {
        return INPUT_JSON;
    }
    if (equals_ignoring_case(type, "application/merge-patch+json")) {
        return INPUT_MERGE_PATCH;
    }
    return INPUT_OTHER;
}

static enum status operation_value(struct input *input, const json_t **value)
{
    if (input->has_bytes) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "_base64",
                                 "bytes are for PUT of an item; this needs a JSON body");
    }
    if (input->body == NULL) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "", "the operation needs a body");
    }
    *value = input->body;
    return STATUS_OK;
}

enum status input_value(struct input *input, const json_t **value)
{
    enum input_content content = input_content(input);
    bool is_patch = input->request->method == METHOD_PATCH;
    struct error error;

    if (input->is_operation) {
        return operation_value(input, value);
    }
    if (content != INPUT_JSON && !(is_patch && content == INPUT_MERGE_PATCH)) {
        return input_refuse(input, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
                            "the body must be application/json%s",
                            is_patch ? " or application/merge-patch+json" : "");
    }
    if (document_parse(input->request->body, &input->document, &error) != STATUS_OK) {
        return input_refuse_body(input, PROBLEM_MALFORMED, "", "%s", error.text);
    }
    *value = input->document;
    return STATUS_OK;
}

enum status input_object(struct input *input, bool may_be_absent, const json_t **object)
{
    bool is_absent = input->is_operation ? input->body == NULL && !input->has_bytes
                                         : input->request->body.size == 0;
    const json_t *value;
    enum status status;

    if (is_absent && may_be_absent) {
        input->document = json_object();
        CHECK(input->document != NULL);
        *object = input->document;
        return STATUS_OK;
    }
    status = input_value(input, &value);
    if (status != STATUS_OK) {
        return status;
    }
    if (!json_is_object(value)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "", "the body must be an object");
    }
    *object = value;
    return STATUS_OK;
}

struct slice input_compact(struct input *input, const json_t *value)
{
    struct buffer text = BUFFER_EMPTY;
    struct slice copy;

    document_write(value, &text);
    copy = arena_copy(&input->arena, buffer_slice(&text));
    buffer_close(&text);
    return copy;
}
