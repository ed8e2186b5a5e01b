/* A transaction is read operation by operation: each becomes a request of its own, which is
 * resolved by the table of routes and read by the same function as if it had come alone. */
#include <stdio.h>
#include <stdlib.h>

#include "api/base64.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "api/operations.h"
#include "api/params.h"
#include "api/router.h"
#include "api/write.h"
#include "daemon/base/memory.h"
#include "storage/document.h"

/* One operation while it is read. Its operation borrows from it, so it stays until the command is
 * encoded. */
struct step {
    struct input input;
    struct request request;
};

struct transaction {
    struct input *input; /* Of the whole. */
    uint32_t n_steps;
    struct step *steps;
    struct operation *operations;
};

static struct slice string_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

/* Which operations there are: by the route, named by the handler of its GET, and the method. */
static const struct {
    handler_cb route_get;
    const char *method;
    operation_from_input make;
} allowed[] = {
    {items_get, "PUT", item_put_operation},
    {items_get, "PATCH", item_patch_operation},
    {items_get, "DELETE", item_delete_operation},
    {items_get, "POST", item_touch_operation},
    {items_get, "CHECK", item_check_operation},
    {session_get, "PUT", session_put_operation},
    {session_get, "PATCH", session_patch_operation},
    {session_get, "DELETE", session_delete_operation},
    {session_get, "CHECK", session_check_operation},
    {events_list, "POST", events_append_operation},
    {events_list, "DELETE", events_delete_operation},
};

/* The refusals of a step speak of its place in the transaction. */
static enum status refuse(struct transaction *transaction, uint32_t index, const char *member,
                          const char *detail)
{
    char pointer[128];

    (void)snprintf(pointer, sizeof(pointer), "/ops/%u%s", index, member);
    transaction->input->refusal.has_op = true;
    transaction->input->refusal.op = index;
    return input_refuse_body(transaction->input, PROBLEM_INVALID_FIELD, pointer, "%s", detail);
}

static enum status take_path(struct transaction *transaction, uint32_t index, const json_t *path,
                             const struct route **route)
{
    struct request *request = &transaction->steps[index].request;
    struct route_failure failure;
    struct buffer target = BUFFER_EMPTY;

    if (!json_is_string(path)) {
        return refuse(transaction, index, "/path", "an operation needs a path");
    }
    buffer_append_string(&target, "/v1/namespaces/");
    buffer_append_slice(&target, transaction->input->request->ns);
    buffer_append_byte(&target, '/');
    buffer_append_slice(&target, string_of(path));
    request->target = arena_copy(&transaction->input->arena, buffer_slice(&target));
    buffer_close(&target);

    *route = router_resolve(routes, request, &failure);
    if (*route == NULL) {
        return refuse(transaction, index, "/path", failure.detail);
    }
    return STATUS_OK;
}

static bool is_condition_header(const char *name)
{
    return strcasecmp(name, "If-Match") == 0 || strcasecmp(name, "If-None-Match") == 0 ||
           strcasecmp(name, "Session-Epoch") == 0;
}

/* True if another name in @headers is the same but for case. */
static bool is_doubled(json_t *headers, const char *name)
{
    unsigned n = 0;
    const char *other;
    json_t *value;

    json_object_foreach(headers, other, value)
    {
        n += strcasecmp(name, other) == 0 ? 1 : 0;
    }
    return n > 1;
}

static enum status take_headers(struct transaction *transaction, uint32_t index, json_t *headers)
{
    char member[96];
    const char *name;
    json_t *value;

    if (headers == NULL) {
        return STATUS_OK;
    }
    if (!json_is_object(headers)) {
        return refuse(transaction, index, "/headers", "headers must be an object");
    }
    json_object_foreach(headers, name, value)
    {
        (void)snprintf(member, sizeof(member), "/headers/%.64s", name);
        if (!is_condition_header(name)) {
            return refuse(transaction, index, member,
                          "an operation can have If-Match, If-None-Match and Session-Epoch");
        }
        if (!json_is_string(value) || is_doubled(headers, name)) {
            return refuse(transaction, index, member, "a header is one string");
        }
    }
    transaction->steps[index].input.headers = headers;
    return STATUS_OK;
}

static enum status take_body(struct transaction *transaction, uint32_t index, const json_t *op)
{
    struct input *input = &transaction->steps[index].input;
    const json_t *bytes = json_object_get(op, "body_base64");
    struct buffer decoded = BUFFER_EMPTY;

    input->body = json_object_get(op, "body");
    if (bytes == NULL) {
        return STATUS_OK;
    }
    if (input->body != NULL || !json_is_string(bytes) ||
        !base64_decode(BASE64_STANDARD, string_of(bytes), &decoded)) {
        buffer_close(&decoded);
        return refuse(transaction, index, "/body_base64",
                      "body_base64 must be base64 with padding, without a body beside it");
    }
    input->has_bytes = true;
    input->bytes = arena_copy(&transaction->input->arena, buffer_slice(&decoded));
    buffer_close(&decoded);
    return STATUS_OK;
}

static enum method method_of(struct slice name)
{
    for (enum method method = METHOD_GET; method < METHOD_OPTIONS; method++) {
        if (slice_equals_string(name, method_name(method))) {
            return method;
        }
    }
    return METHOD_OTHER; /* CHECK among them. */
}

/* The reader of the operation, by its path and method. */
static enum status take_target(struct transaction *transaction, uint32_t index, const json_t *op,
                               operation_from_input *make)
{
    const json_t *method = json_object_get(op, "method");
    const struct route *route;
    bool is_noun = false;
    enum status status = take_path(transaction, index, json_object_get(op, "path"), &route);

    if (status != STATUS_OK) {
        return status;
    }
    if (!json_is_string(method)) {
        return refuse(transaction, index, "/method", "an operation needs a method");
    }
    transaction->steps[index].request.method = method_of(string_of(method));
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        is_noun = is_noun || route->get == allowed[i].route_get;
        if (route->get == allowed[i].route_get &&
            slice_equals_string(string_of(method), allowed[i].method)) {
            *make = allowed[i].make;
            return STATUS_OK;
        }
    }
    return is_noun ? refuse(transaction, index, "/method",
                            "the path does not have this method in a "
                            "transaction")
                   : refuse(transaction, index, "/path",
                            "a transaction works on items, sessions and events");
}

static enum status take_op(struct transaction *transaction, uint32_t index, const json_t *op)
{
    static const char *const names[] = {"method", "path", "headers", "body", "body_base64", NULL};
    struct step *step = &transaction->steps[index];
    operation_from_input make = NULL;
    char pointer[32];
    enum status status;

    (void)snprintf(pointer, sizeof(pointer), "/ops/%u", index);
    if (!json_is_object(op)) {
        return refuse(transaction, index, "", "an operation must be an object");
    }
    status = fields_allow(transaction->input, op, pointer, names);
    if (status == STATUS_OK) {
        status = take_target(transaction, index, op, &make);
    }
    if (status == STATUS_OK) {
        status = take_headers(transaction, index, json_object_get(op, "headers"));
    }
    if (status == STATUS_OK) {
        status = take_body(transaction, index, op);
    }
    if (status == STATUS_OK) {
        (void)snprintf(step->input.pointer, sizeof(step->input.pointer), "/ops/%u/body", index);
        status = make(&step->input, &transaction->operations[index]);
        if (status != STATUS_OK) {
            transaction->input->refusal = step->input.refusal;
        }
    }
    if (status != STATUS_OK) {
        transaction->input->refusal.has_op = true;
        transaction->input->refusal.op = index;
    }
    return status;
}

static enum status take_ops(struct transaction *transaction, const json_t *object)
{
    static const char *const names[] = {"ops", NULL};
    const json_t *ops = json_object_get(object, "ops");
    size_t n = json_array_size(ops);
    enum status status = fields_allow(transaction->input, object, "", names);

    if (status != STATUS_OK) {
        return status;
    }
    if (!json_is_array(ops) || n < 1 || n > LIMIT_TRANSACTION_OPS) {
        return input_refuse_body(transaction->input, PROBLEM_INVALID_FIELD, "/ops",
                                 "ops must be an array of 1 to %u operations",
                                 LIMIT_TRANSACTION_OPS);
    }
    transaction->steps = memory_new_zeroed(n, sizeof(*transaction->steps));
    transaction->operations = memory_new_zeroed(n, sizeof(*transaction->operations));
    transaction->n_steps = (uint32_t)n;
    for (uint32_t i = 0; i < n && status == STATUS_OK; i++) {
        input_init(&transaction->steps[i].input, &transaction->steps[i].request);
        transaction->steps[i].input.is_operation = true;
        status = take_op(transaction, i, json_array_get(ops, i));
    }
    return status;
}

static enum status read_transaction(struct transaction *transaction)
{
    static const char *const names[] = {NULL};
    struct input *input = transaction->input;
    const json_t *object;
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = param_no_epoch(input);
    }
    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    return status == STATUS_OK ? take_ops(transaction, object) : status;
}

static void close_transaction(struct transaction *transaction)
{
    for (uint32_t i = 0; i < transaction->n_steps; i++) {
        input_close(&transaction->steps[i].input);
        buffer_close(&transaction->steps[i].request.decoded);
    }
    free(transaction->steps);
    free(transaction->operations);
}

void transactions_post(struct request *request)
{
    struct input input;
    struct transaction transaction = {.input = &input};

    input_init(&input, request);
    if (read_transaction(&transaction) == STATUS_OK) {
        struct command command = {
            .ns = request->ns,
            .is_transaction = true,
            .n_operations = transaction.n_steps,
            .operations = transaction.operations,
        };

        write_command(&input, &command, WRITE_ANSWER_RESULTS);
    } else {
        input_answer_refusal(&input);
    }
    close_transaction(&transaction);
    input_close(&input);
}
