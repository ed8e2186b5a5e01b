#include "tools/cli_problem.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "tools/cli_text.h"

#define MAX_WAIT_MS 3600000

enum cli_exit problem_exit(unsigned status)
{
    switch (status) {
    case 404:
    case 410:
        return CLI_NOT_FOUND;
    case 409:
    case 412:
    case 422:
    case 428:
        return CLI_CONFLICT;
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
        return CLI_UNAVAILABLE;
    default:
        return status >= 200 && status <= 299 ? CLI_OK : CLI_FAILURE;
    }
}

static json_t *parse(struct slice body)
{
    json_t *json;

    if (body.size == 0) {
        return NULL;
    }
    json = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static void append_text(struct buffer *out, const char *text)
{
    text_append_escaped(out, slice_of_string(text), TEXT_LINE);
}

/* What tells the caller where things stand: " (field /a; revision 8)". */
static void append_facts(struct buffer *out, const json_t *problem)
{
    static const char *const names[] = {"field", "op",     "revision", "last_seq",
                                        "epoch", "holder", "address",  "expires_at"};
    bool is_first = true;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(problem, names[i]);

        if (!json_is_integer(value) && !json_is_string(value)) {
            continue;
        }
        buffer_append_format(out, "%s%s ", is_first ? " (" : "; ", names[i]);
        is_first = false;
        if (json_is_integer(value)) {
            buffer_append_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        } else {
            append_text(out, json_string_value(value));
        }
    }
    buffer_append_string(out, is_first ? "" : ")");
}

/* "; n3 lags; no leader" of a not-ready answer. */
static void append_causes(struct buffer *out, const json_t *causes)
{
    size_t i;
    json_t *cause;

    json_array_foreach(causes, i, cause)
    {
        if (json_is_string(cause)) {
            buffer_append_string(out, "; ");
            append_text(out, json_string_value(cause));
        }
    }
}

void problem_append(struct buffer *out, unsigned status, struct slice body)
{
    json_t *problem = parse(body);
    const char *title = json_string_value(json_object_get(problem, "title"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));

    if (title == NULL && detail == NULL) {
        buffer_append_format(out, "the server answered with status %u", status);
    } else {
        append_text(out, title == NULL ? detail : title);
        if (title != NULL && detail != NULL && strcmp(title, detail) != 0) {
            buffer_append_string(out, ": ");
            append_text(out, detail);
        }
        append_facts(out, problem);
        append_causes(out, json_object_get(problem, "causes"));
    }
    json_decref(problem);
}

uint64_t problem_retry_after_ms(struct slice body)
{
    json_t *problem = parse(body);
    json_int_t ms = json_integer_value(json_object_get(problem, "retry_after_ms"));

    json_decref(problem);
    return ms <= 0 ? 0 : ms > MAX_WAIT_MS ? MAX_WAIT_MS : (uint64_t)ms;
}
