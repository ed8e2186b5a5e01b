#include "api/request.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/http.h"
#include "api/problem.h"
#include "daemon/base/check.h"

/* Longer header lines than this are ours to avoid: tags, times, ids and targets are far shorter. */
#define MAX_HEADER_LINE 1024

const char *method_name(enum method method)
{
    static const char *const names[METHODS] = {
        [METHOD_GET] = "GET",         [METHOD_HEAD] = "HEAD",   [METHOD_PUT] = "PUT",
        [METHOD_POST] = "POST",       [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
        [METHOD_OPTIONS] = "OPTIONS", [METHOD_OTHER] = "OTHER",
    };

    CHECK(method < METHODS);
    return names[method];
}

bool request_header(const struct request *request, const char *name, struct slice *value)
{
    return request->http != NULL && http_header(request->http, request->message, name, value);
}

bool request_parameter(const struct request *request, const char *name, struct slice *value)
{
    for (unsigned i = 0; i < request->n_parameters; i++) {
        if (slice_equals_string(request->parameters[i].name, name)) {
            *value = request->parameters[i].value;
            return true;
        }
    }
    return false;
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

bool request_allows_parameters(struct request *request, const char *const *names)
{
    char field[64];

    for (unsigned i = 0; i < request->n_parameters; i++) {
        struct slice name = request->parameters[i].name;

        if (!is_listed(name, names)) {
            (void)snprintf(field, sizeof(field), "%.*s", (int)name.size,
                           name.size == 0 ? "" : (const char *)name.data);
            request_fail_field(request, PROBLEM_INVALID_FIELD, field,
                               "there is no such parameter here");
            return false;
        }
    }
    return true;
}

bool request_is_gone(const struct request *request)
{
    return request->is_gone;
}

void response_header(struct response *response, const char *name, const char *format, ...)
{
    char value[MAX_HEADER_LINE];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    CHECK(size >= 0);
    if ((size_t)size >= sizeof(value)) {
        size = (int)sizeof(value) - 1;
    }
    for (int i = 0; i < size; i++) {
        if (value[i] == '\r' || value[i] == '\n' || value[i] == '\0') {
            value[i] = ' ';
        }
    }
    buffer_append_string(&response->headers, name);
    buffer_append(&response->headers, ": ", 2);
    buffer_append(&response->headers, value, (size_t)size);
    buffer_append(&response->headers, "\r\n", 2);
}

void response_close(struct response *response)
{
    buffer_close(&response->headers);
    buffer_close(&response->body);
    if (response->source != NULL) {
        response->source->close(response->source);
        response->source = NULL;
    }
}

void request_respond(struct request *request, struct response *response)
{
    CHECK(request->respond != NULL);
    CHECK(response->status >= 200 && response->status <= 599);
    request->respond(request, response);
}
