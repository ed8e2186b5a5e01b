#include <stdio.h>

#include "api/problem.h"
#include "api/render.h"
#include "api/write.h"

/* What a client may need beyond the name of the problem. */
static const char *detail_of(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_INVALID_FIELD:
        return "the field is not valid for what is stored";
    case OUTCOME_NOT_FOUND:
        return "it does not exist, or has expired";
    case OUTCOME_NAMESPACE_NOT_FOUND:
        return "there is no such namespace; PUT makes one";
    case OUTCOME_SEQUENCE_CONFLICT:
        return "last_seq is not the expected_seq of the request";
    case OUTCOME_EVENT_ID_REUSED:
        return "some of the events are in the log already, or with other contents";
    case OUTCOME_SESSION_CLOSED:
        return "the session is closed; PATCH of its status may reopen it";
    case OUTCOME_SESSION_FULL:
        return "the session's log is full; trim it by DELETE with before_seq";
    case OUTCOME_NOT_JSON:
        return "the item holds bytes, which cannot be patched";
    case OUTCOME_PROTECTED:
        return "the namespace \"default\" cannot be deleted";
    case OUTCOME_DELETED:
        return "the session was deleted; its id can be used again a day later";
    case OUTCOME_PRECONDITION_FAILED:
        return "If-Match or If-None-Match does not hold";
    case OUTCOME_TOO_LARGE:
        return "what would be stored is larger than allowed";
    case OUTCOME_IDEMPOTENCY_KEY_REUSED:
        return "the Idempotency-Key was used for another request within a day";
    case OUTCOME_QUOTA_EXCEEDED:
        return "a quota of the namespace is used up";
    case OUTCOME_STORAGE_FULL:
        return "a disk of the cluster is full; reads and deletes work";
    default:
        return "the operation could not be executed";
    }
}

/* The members that a problem has beside the common ones. */
static void render_failure_facts(const struct operation_result *operation, const char *pointer,
                                 struct response *response)
{
    struct buffer field = BUFFER_EMPTY;

    switch (operation->outcome) {
    case OUTCOME_SEQUENCE_CONFLICT:
        problem_number(response, "last_seq", operation->number);
        break;
    case OUTCOME_PRECONDITION_FAILED:
        if (operation->number == 0) {
            problem_null(response, "revision");
        } else {
            problem_number(response, "revision", operation->number);
        }
        break;
    case OUTCOME_INVALID_FIELD:
    case OUTCOME_TOO_LARGE:
        buffer_append_string(&field, pointer);
        buffer_append_slice(&field, operation->text);
        problem_text(response, "field", buffer_slice(&field));
        buffer_close(&field);
        break;
    default:
        break;
    }
}

/* Some refusals concern the command as a whole. */
static bool is_of_operation(enum outcome outcome)
{
    return outcome != OUTCOME_IDEMPOTENCY_KEY_REUSED && outcome != OUTCOME_NAMESPACE_NOT_FOUND &&
           outcome != OUTCOME_STORAGE_FULL;
}

static void render_failure(enum write_answer answer, const struct result *result,
                           const struct operation_result *operation, struct response *response)
{
    char pointer[32] = "";

    if (answer == WRITE_ANSWER_RESULTS) {
        (void)snprintf(pointer, sizeof(pointer), "/ops/%u/body", result->failed_operation);
    }
    problem_begin(response, problem_of_outcome(operation->outcome), "%s",
                  detail_of(operation->outcome));
    render_failure_facts(operation, pointer, response);
    if (answer == WRITE_ANSWER_RESULTS && is_of_operation(operation->outcome)) {
        problem_number(response, "op", result->failed_operation);
    }
    problem_end(response);
}

/* Location of what was made, below the target without its query. */
static void render_location(const struct request *request, const struct operation_result *operation,
                            struct response *response)
{
    struct session_row row;

    if (operation->row_kind == ROW_SESSION &&
        session_row_decode(operation->row, &row) == STATUS_OK) {
        response_header(response, "Location", "/v1/namespaces/%.*s/sessions/%.*s",
                        (int)request->ns.size, (const char *)request->ns.data, (int)row.id.size,
                        (const char *)row.id.data);
    }
}

static void render_item_expiry(const struct operation_result *operation, struct response *response)
{
    struct item_row row;

    if (operation->row_kind == ROW_ITEM && item_row_decode(operation->row, &row) == STATUS_OK) {
        render_expires_at(response, row.expires_at_ms);
    }
}

static bool render_one(const struct request *request, enum write_answer answer,
                       const struct operation_result *operation, struct response *response)
{
    response->status = outcome_http_status(operation->outcome);
    if (operation->etag != 0) {
        render_etag(response, operation->etag);
    }
    render_item_expiry(operation, response);
    if (answer == WRITE_ANSWER_LOCATED) {
        render_location(request, operation, response);
    }
    return operation->outcome == OUTCOME_NO_CONTENT || render_row(&response->body, operation);
}

static bool render_results(const struct result *result, struct response *response)
{
    struct operation_result operation;
    struct slice walk = result->operations;
    struct buffer *text = &response->body;
    bool is_first = true;

    response->status = 200;
    buffer_append_string(text, "{\"revision\":");
    render_number(text, result->revision);
    buffer_append_string(text, ",\"results\":[");
    while (result_next(&walk, &operation)) {
        buffer_append_string(text, is_first ? "{\"status\":" : ",{\"status\":");
        is_first = false;
        render_number(text, outcome_http_status(operation.outcome));
        if (operation.etag != 0) {
            buffer_append_string(text, ",\"etag\":\"\\\"");
            render_number(text, operation.etag);
            buffer_append_string(text, "\\\"\"");
        }
        if (operation.outcome != OUTCOME_NO_CONTENT && operation.row_kind != ROW_NONE) {
            buffer_append_string(text, ",\"body\":");
            if (!render_row(text, &operation)) {
                return false;
            }
        }
        buffer_append_byte(text, '}');
    }
    buffer_append_string(text, "]}");
    return true;
}

static void render_damaged(struct response *response)
{
    response_close(response);
    *response = (struct response){0};
    problem_begin(response, PROBLEM_INTERNAL, "the result of the write is damaged");
    problem_end(response);
}

void write_render(const struct request *request, enum write_answer answer, struct slice encoded,
                  struct response *response)
{
    struct operation_result first = {0};
    struct result result;
    struct slice walk;
    bool is_good;

    if (result_decode(encoded, &result) != STATUS_OK) {
        render_damaged(response);
        return;
    }
    walk = result.operations;
    if (!result_next(&walk, &first)) {
        render_damaged(response);
        return;
    }
    render_revision(response, result.revision);
    if (result.replayed) {
        response_header(response, "Idempotency-Replayed", "true");
    }
    if (!outcome_is_success(first.outcome)) {
        render_failure(answer, &result, &first, response);
        return;
    }
    is_good = answer == WRITE_ANSWER_RESULTS ? render_results(&result, response)
                                             : render_one(request, answer, &first, response);
    if (!is_good) {
        render_damaged(response);
    }
}
