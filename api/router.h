/* Which handler answers a request: one table of all routes, in routes.c. */
#ifndef HOLDFAST_API_ROUTER_H
#define HOLDFAST_API_ROUTER_H

#include <limits.h>

#include "api/problem.h"
#include "api/request.h"

typedef void (*handler_cb)(struct request *request);

/* A pattern is a path with {captures}; a last "{key...}" takes the rest. The same pattern stands
 * once, with a handler per method; HEAD uses GET's, OPTIONS and 405 come from the table. */
struct route {
    const char *pattern;
    handler_cb get;
    handler_cb put;
    handler_cb post;
    handler_cb patch;
    handler_cb delete;
    bool local; /* Answered also when the node is not ready: health, metrics, problem pages. */
};

/* The table; ends with a NULL pattern. */
extern const struct route routes[];

#define ROUTE_NONE UINT_MAX /* request->route_number where no pattern matched. */

/* Why a target leads nowhere. */
struct route_failure {
    enum problem problem;
    char field[128]; /* Of PROBLEM_INVALID_FIELD; else empty. */
    const char *detail;
};

/* Take request->target apart: fill in ns, captures, parameters, route and route_number. NULL with
 * the reason if it is not valid or matches no pattern of @table. Pure, but for request->decoded,
 * which the caller closes. Also for the targets inside a transaction. */
const struct route *router_resolve(const struct route *table, struct request *request,
                                   struct route_failure *failure);

/* The handler of @route for @method, or NULL. */
handler_cb route_handler(const struct route *route, enum method method);

/* Resolve by @table and call the handler, or answer 400, 404, 405 or OPTIONS. With @local_only,
 * only local routes are there. */
void router_dispatch(const struct route *table, bool local_only, struct request *request);

#endif
