#include "api/problem.h"

#include <stdarg.h>
#include <stdio.h>

#include "daemon/base/check.h"

/* Longer sentences are cut. */
#define MAX_DETAIL 512

struct problem_facts {
    const char *name;
    const char *title;
    unsigned status;
};

static const struct problem_facts facts[PROBLEMS] = {
#define PROBLEM_FACTS(id, text, number, headline)                                                  \
    [PROBLEM_##id] = {.name = text, .title = headline, .status = number},
    PROBLEM_LIST(PROBLEM_FACTS)
#undef PROBLEM_FACTS
};

/* Elections take a few hundred milliseconds, a full queue and a late replica less. */
static unsigned retry_after_ms(enum problem problem)
{
    switch (problem) {
    case PROBLEM_RATE_LIMITED:
    case PROBLEM_NOT_READY:
        return 1000;
    case PROBLEM_NO_LEADER:
        return 300;
    case PROBLEM_OVERLOADED:
        return 200;
    case PROBLEM_REPLICA_BEHIND:
        return 100;
    default:
        return 0;
    }
}

unsigned problem_status(enum problem problem)
{
    CHECK(problem < PROBLEMS);
    return facts[problem].status;
}

const char *problem_name(enum problem problem)
{
    CHECK(problem < PROBLEMS);
    return facts[problem].name;
}

const char *problem_title(enum problem problem)
{
    CHECK(problem < PROBLEMS);
    return facts[problem].title;
}

enum problem problem_find(struct slice name)
{
    for (enum problem problem = 0; problem < PROBLEMS; problem++) {
        if (slice_equals_string(name, facts[problem].name)) {
            return problem;
        }
    }
    return PROBLEMS;
}

enum problem problem_of_outcome(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_INVALID_FIELD:
        return PROBLEM_INVALID_FIELD;
    case OUTCOME_NOT_FOUND:
        return PROBLEM_NOT_FOUND;
    case OUTCOME_NAMESPACE_NOT_FOUND:
        return PROBLEM_NAMESPACE_NOT_FOUND;
    case OUTCOME_SEQUENCE_CONFLICT:
        return PROBLEM_SEQUENCE_CONFLICT;
    case OUTCOME_EVENT_ID_REUSED:
        return PROBLEM_EVENT_ID_REUSED;
    case OUTCOME_SESSION_CLOSED:
        return PROBLEM_SESSION_CLOSED;
    case OUTCOME_SESSION_FULL:
        return PROBLEM_SESSION_FULL;
    case OUTCOME_NOT_JSON:
        return PROBLEM_NOT_JSON;
    case OUTCOME_PROTECTED:
        return PROBLEM_PROTECTED;
    case OUTCOME_DELETED:
        return PROBLEM_DELETED;
    case OUTCOME_PRECONDITION_FAILED:
        return PROBLEM_PRECONDITION_FAILED;
    case OUTCOME_TOO_LARGE:
        return PROBLEM_TOO_LARGE;
    case OUTCOME_IDEMPOTENCY_KEY_REUSED:
        return PROBLEM_IDEMPOTENCY_KEY_REUSED;
    case OUTCOME_QUOTA_EXCEEDED:
        return PROBLEM_QUOTA_EXCEEDED;
    case OUTCOME_STORAGE_FULL:
        return PROBLEM_STORAGE_FULL;
    case OUTCOME_OK:
    case OUTCOME_CREATED:
    case OUTCOME_NO_CONTENT:
    case OUTCOME_INTERNAL:
    case OUTCOMES:
        break;
    }
    CHECK(outcome == OUTCOME_INTERNAL);
    return PROBLEM_INTERNAL;
}

/* The size of the UTF-8 character that @text begins with; 0 if it is none (RFC 3629, section 4). */
static size_t utf8_character(struct slice text)
{
    const uint8_t *s = text.data;
    size_t size = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (size == 0 || s[0] > 0xf4 || text.size < size) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return size;
}

void problem_append_text(struct buffer *buffer, struct slice text)
{
    buffer_append_byte(buffer, '"');
    while (text.size > 0) {
        size_t size = utf8_character(text);

        if (size == 0) {
            buffer_append_string(buffer, "\\ufffd");
            size = 1;
        } else if (text.data[0] == '"' || text.data[0] == '\\') {
            buffer_append_byte(buffer, '\\');
            buffer_append_byte(buffer, text.data[0]);
        } else if (text.data[0] < 0x20 || text.data[0] == 0x7f) {
            buffer_append_format(buffer, "\\u%04x", text.data[0]);
        } else {
            buffer_append(buffer, text.data, size);
        }
        text = slice_from(text, size);
    }
    buffer_append_byte(buffer, '"');
}

static void append_member(struct response *response, const char *name)
{
    buffer_append_string(&response->body, ",\"");
    buffer_append_string(&response->body, name);
    buffer_append_string(&response->body, "\":");
}

static void begin(struct response *response, enum problem problem, const char *format, va_list args)
{
    unsigned wait_ms = retry_after_ms(problem);
    char detail[MAX_DETAIL];

    CHECK(problem < PROBLEMS);
    CHECK(vsnprintf(detail, sizeof(detail), format, args) >= 0);
    buffer_clear(&response->body);
    response->status = facts[problem].status;
    response->content_type = "application/problem+json";
    buffer_append_format(&response->body,
                         "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                         facts[problem].name, facts[problem].title, facts[problem].status);
    problem_append_text(&response->body, slice_of_string(detail));
    if (wait_ms > 0) {
        response_header(response, "Retry-After", "%u", (wait_ms + 999) / 1000);
        problem_number(response, "retry_after_ms", wait_ms);
    }
}

void problem_begin(struct response *response, enum problem problem, const char *detail_format, ...)
{
    va_list args;

    va_start(args, detail_format);
    begin(response, problem, detail_format, args);
    va_end(args);
}

void problem_number(struct response *response, const char *name, uint64_t number)
{
    append_member(response, name);
    buffer_append_format(&response->body, "%llu", (unsigned long long)number);
}

void problem_text(struct response *response, const char *name, struct slice text)
{
    append_member(response, name);
    problem_append_text(&response->body, text);
}

void problem_null(struct response *response, const char *name)
{
    append_member(response, name);
    buffer_append_string(&response->body, "null");
}

void problem_texts(struct response *response, const char *name, const char *const *texts,
                   unsigned count)
{
    append_member(response, name);
    buffer_append_byte(&response->body, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) {
            buffer_append_byte(&response->body, ',');
        }
        problem_append_text(&response->body, slice_of_string(texts[i]));
    }
    buffer_append_byte(&response->body, ']');
}

void problem_end(struct response *response)
{
    buffer_append_byte(&response->body, '}');
}

void request_fail(struct request *request, enum problem problem, const char *detail_format, ...)
{
    struct response response = {0};
    va_list args;

    va_start(args, detail_format);
    begin(&response, problem, detail_format, args);
    va_end(args);
    problem_end(&response);
    request_respond(request, &response);
}

void request_fail_field(struct request *request, enum problem problem, const char *field,
                        const char *detail_format, ...)
{
    struct response response = {0};
    va_list args;

    va_start(args, detail_format);
    begin(&response, problem, detail_format, args);
    va_end(args);
    problem_text(&response, "field", slice_of_string(field));
    problem_end(&response);
    request_respond(request, &response);
}
