/* A target becomes a route and its captures:
 *
 * 1. The target is split into path and query, the path into segments.
 * 2. Segments are percent-decoded; those that need it go into request->decoded, the others are
 *    borrowed from the target as they are.
 * 3. The first pattern whose segments fit wins. "{key...}" takes the rest of the path, slashes and
 *    empty segments included.
 * 4. The namespace's name and the query are checked, as no handler wants others. */
#include "api/router.h"

#include <stdio.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"

struct path {
    struct slice raw;                            /* Without the first slash. */
    unsigned n_segments;                         /* Those that were split off. */
    bool has_more;                               /* There are more than fit. */
    size_t starts[REQUEST_MAX_SEGMENTS];         /* Where in raw each begins. */
    struct slice segments[REQUEST_MAX_SEGMENTS]; /* Decoded. */
};

static bool fail(struct route_failure *failure, enum problem problem, const char *detail)
{
    failure->problem = problem;
    failure->field[0] = '\0';
    failure->detail = detail;
    return false;
}

static bool fail_field(struct route_failure *failure, struct slice field, const char *detail)
{
    size_t size = field.size < sizeof(failure->field) - 1 ? field.size : sizeof(failure->field) - 1;

    failure->problem = PROBLEM_INVALID_FIELD;
    memcpy(failure->field, field.data, size);
    failure->field[size] = '\0';
    failure->detail = detail;
    return false;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Decode @raw once. Borrowed from it if nothing is encoded, else from @memory, in which there is
 * room: it does not move. False if an escape is not valid. */
static bool decode(struct buffer *memory, struct slice raw, bool plus_is_blank, struct slice *text)
{
    size_t start = memory->size;

    if (raw.size == 0 || (memchr(raw.data, '%', raw.size) == NULL &&
                          (!plus_is_blank || memchr(raw.data, '+', raw.size) == NULL))) {
        *text = raw;
        return true;
    }
    CHECK(memory->capacity - memory->size >= raw.size);
    for (size_t i = 0; i < raw.size; i++) {
        uint8_t byte = raw.data[i];

        if (byte == '%') {
            int high = raw.size - i > 2 ? hex_digit(raw.data[i + 1]) : -1;
            int low = raw.size - i > 2 ? hex_digit(raw.data[i + 2]) : -1;

            if (high < 0 || low < 0) {
                return false;
            }
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && plus_is_blank) {
            byte = ' ';
        }
        buffer_append_byte(memory, byte);
    }
    *text = slice_of(memory->data + start, memory->size - start);
    return true;
}

static bool is_dots(struct slice segment)
{
    return slice_equals_string(segment, ".") || slice_equals_string(segment, "..");
}

/* True if a part of @text between slashes is "." or "..". */
static bool has_dots(struct slice text)
{
    while (text.size > 0) {
        const uint8_t *slash = memchr(text.data, '/', text.size);
        size_t size = slash == NULL ? text.size : (size_t)(slash - text.data);

        if (is_dots(slice_of(text.data, size))) {
            return true;
        }
        text = slice_from(text, slash == NULL ? size : size + 1);
    }
    return false;
}

static bool split_path(struct request *request, struct slice raw, struct path *path,
                       struct route_failure *failure)
{
    size_t at = 0;

    path->raw = raw;
    path->n_segments = 0;
    path->has_more = false;
    for (;;) {
        const uint8_t *slash = at < raw.size ? memchr(raw.data + at, '/', raw.size - at) : NULL;
        size_t end = slash == NULL ? raw.size : (size_t)(slash - raw.data);
        struct slice *segment = &path->segments[path->n_segments];

        if (!decode(&request->decoded, slice_of(raw.data + at, end - at), false, segment)) {
            return fail(failure, PROBLEM_MALFORMED, "a percent escape in the path is not valid");
        }
        if (is_dots(*segment)) {
            return fail(failure, PROBLEM_MALFORMED, "the path must not hold . or .. as a segment");
        }
        path->starts[path->n_segments++] = at;
        if (slash == NULL) {
            return true;
        }
        at = end + 1;
        if (path->n_segments == REQUEST_MAX_SEGMENTS) {
            path->has_more = true;
            return true;
        }
    }
}

/* Does @path fit @pattern? Fills in ns and captures; the rest's is left raw and decoded later. */
static bool matches(const char *pattern, const struct path *path, struct request *request,
                    bool *takes_rest)
{
    const char *at = pattern + 1;

    request->n_captures = 0;
    request->ns = slice_of(NULL, 0);
    *takes_rest = false;
    for (unsigned i = 0; i < path->n_segments; i++) {
        const char *slash = strchrnul(at, '/');
        size_t size = (size_t)(slash - at);
        struct slice segment = path->segments[i];

        if (at[0] != '{') {
            if (!slice_equals(segment, slice_of(at, size))) {
                return false;
            }
        } else if (size > 4 && memcmp(slash - 4, "...}", 4) == 0) {
            request->captures[request->n_captures++] = slice_from(path->raw, path->starts[i]);
            *takes_rest = true;
            return true;
        } else if (segment.size == 0) {
            return false;
        } else if (memcmp(at, "{ns}", 4) == 0) {
            request->ns = segment;
        } else {
            request->captures[request->n_captures++] = segment;
        }
        if (*slash == '\0') {
            return i + 1 == path->n_segments && !path->has_more;
        }
        at = slash + 1;
    }
    return false; /* The pattern is longer. */
}

static bool is_namespace(struct slice name)
{
    if (name.size == 0 || name.size > LIMIT_NAMESPACE_BYTES || name.data[0] == '-' ||
        name.data[name.size - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];

        if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '-') {
            return false;
        }
    }
    return true;
}

static bool add_parameter(struct request *request, struct slice raw, struct route_failure *failure)
{
    const uint8_t *equals = memchr(raw.data, '=', raw.size);
    size_t name_size = equals == NULL ? raw.size : (size_t)(equals - raw.data);
    struct parameter parameter = {.has_value = equals != NULL};

    if (!decode(&request->decoded, slice_of(raw.data, name_size), true, &parameter.name) ||
        (equals != NULL &&
         !decode(&request->decoded, slice_from(raw, name_size + 1), true, &parameter.value))) {
        return fail(failure, PROBLEM_MALFORMED, "a percent escape in the query is not valid");
    }
    for (unsigned i = 0; i < request->n_parameters; i++) {
        if (slice_equals(request->parameters[i].name, parameter.name)) {
            return fail_field(failure, parameter.name, "the parameter is repeated");
        }
    }
    if (request->n_parameters == REQUEST_MAX_PARAMETERS) {
        return fail_field(failure, parameter.name, "there are too many parameters");
    }
    request->parameters[request->n_parameters++] = parameter;
    return true;
}

static bool split_query(struct request *request, struct slice query, struct route_failure *failure)
{
    request->n_parameters = 0;
    while (query.size > 0) {
        const uint8_t *end = memchr(query.data, '&', query.size);
        size_t size = end == NULL ? query.size : (size_t)(end - query.data);

        if (size > 0 && !add_parameter(request, slice_of(query.data, size), failure)) {
            return false;
        }
        query = slice_from(query, end == NULL ? size : size + 1);
    }
    return true;
}

/* The part behind scheme and authority of an absolute target (RFC 9112, section 3.2.2), which comes
 * from a client that takes us for a proxy; other targets as they are. */
static struct slice without_authority(struct slice target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (unsigned i = 0; i < 2; i++) {
        size_t at = strlen(schemes[i]);

        if (target.size >= at && strncasecmp((const char *)target.data, schemes[i], at) == 0) {
            while (at < target.size && target.data[at] != '/' && target.data[at] != '?') {
                at++;
            }
            return slice_from(target, at);
        }
    }
    return target;
}

static const struct route *find(const struct route *table, const struct path *path,
                                struct request *request, bool *takes_rest)
{
    for (const struct route *route = table; route->pattern != NULL; route++) {
        if (matches(route->pattern, path, request, takes_rest)) {
            request->route = route->pattern;
            request->route_number = (unsigned)(route - table);
            return route;
        }
    }
    return NULL;
}

/* The last capture is the rest of the path. */
static bool decode_rest(struct request *request, struct route_failure *failure)
{
    struct slice *rest = &request->captures[request->n_captures - 1];

    if (!decode(&request->decoded, *rest, false, rest)) {
        return fail(failure, PROBLEM_MALFORMED, "a percent escape in the path is not valid");
    }
    if (has_dots(*rest)) {
        return fail(failure, PROBLEM_MALFORMED, "the path must not hold . or .. as a segment");
    }
    return true;
}

const struct route *router_resolve(const struct route *table, struct request *request,
                                   struct route_failure *failure)
{
    struct slice target = without_authority(request->target);
    const uint8_t *mark = target.size == 0 ? NULL : memchr(target.data, '?', target.size);
    size_t path_size = mark == NULL ? target.size : (size_t)(mark - target.data);
    const struct route *route;
    struct path path;
    bool takes_rest;

    request->route = NULL;
    request->route_number = ROUTE_NONE;
    buffer_clear(&request->decoded);
    if (path_size == 0 || target.data[0] != '/') {
        (void)fail(failure, PROBLEM_MALFORMED, "the target must begin with a slash");
        return NULL;
    }
    if (memchr(target.data, '%', target.size) != NULL ||
        memchr(target.data, '+', target.size) != NULL) {
        /* Each byte is decoded twice at most: as a segment, and as part of the rest. */
        (void)buffer_reserve(&request->decoded, 2 * target.size);
    }
    if (!split_path(request, slice_of(target.data + 1, path_size - 1), &path, failure)) {
        return NULL;
    }
    route = find(table, &path, request, &takes_rest);
    if (route == NULL) {
        (void)fail(failure, PROBLEM_NOT_FOUND, "nothing is served under this path");
        return NULL;
    }
    if (takes_rest && !decode_rest(request, failure)) {
        return NULL;
    }
    if (request->ns.data != NULL && !is_namespace(request->ns)) {
        (void)fail_field(failure, slice_of_string("namespace"),
                         "a namespace is 1 to 63 of a-z, 0-9 and -, with no - at its ends");
        return NULL;
    }
    if (!split_query(request, mark == NULL ? slice_of(NULL, 0) : slice_from(target, path_size + 1),
                     failure)) {
        return NULL;
    }
    return route;
}

handler_cb route_handler(const struct route *route, enum method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
        return route->get;
    case METHOD_PUT:
        return route->put;
    case METHOD_POST:
        return route->post;
    case METHOD_PATCH:
        return route->patch;
    case METHOD_DELETE:
        return route->delete;
    case METHOD_OPTIONS:
    case METHOD_OTHER:
    case METHODS:
        return NULL;
    }
    return NULL;
}

static void append_allow(struct response *response, const struct route *route)
{
    char allow[64] = "";
    size_t size = 0;

    for (enum method method = METHOD_GET; method < METHOD_OPTIONS; method++) {
        if (route == NULL || route_handler(route, method) != NULL) {
            size +=
                (size_t)snprintf(allow + size, sizeof(allow) - size, "%s, ", method_name(method));
        }
    }
    CHECK(size < sizeof(allow));
    response_header(response, "Allow", "%sOPTIONS", allow);
}

/* @route NULL: the server as a whole, "OPTIONS *". */
static void answer_options(struct request *request, const struct route *route)
{
    struct response response = {.status = 204};

    append_allow(&response, route);
    request_respond(request, &response);
}

static void refuse_method(struct request *request, const struct route *route)
{
    struct response response = {0};

    problem_begin(&response, PROBLEM_METHOD_NOT_ALLOWED, "%s is not among the methods of %s",
                  request->method == METHOD_OTHER ? "the method" : method_name(request->method),
                  route->pattern);
    append_allow(&response, route);
    problem_end(&response);
    request_respond(request, &response);
}

void router_dispatch(const struct route *table, bool local_only, struct request *request)
{
    struct route_failure failure;
    const struct route *route;
    handler_cb handler;

    if (request->method == METHOD_OPTIONS && slice_equals_string(request->target, "*")) {
        request->route_number = ROUTE_NONE;
        answer_options(request, NULL);
        return;
    }
    route = router_resolve(table, request, &failure);
    if (route == NULL) {
        if (failure.problem == PROBLEM_INVALID_FIELD) {
            request_fail_field(request, failure.problem, failure.field, "%s", failure.detail);
        } else {
            request_fail(request, failure.problem, "%s", failure.detail);
        }
        return;
    }
    if (local_only && !route->local) {
        request_fail(request, PROBLEM_NOT_FOUND, "this port serves health and metrics only");
        return;
    }
    handler = route_handler(route, request->method);
    if (handler != NULL) {
        handler(request);
    } else if (request->method == METHOD_OPTIONS) {
        answer_options(request, route);
    } else {
        refuse_method(request, route);
    }
}
