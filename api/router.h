/* Which handler answers a request: one table of all routes, in routes.c. */
#ifndef HOLDFAST_API_ROUTER_H
#define HOLDFAST_API_ROUTER_H

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

/* Find the route, fill in captures, ns and parameters, and call the handler, or answer 400, 404, 405
 * or OPTIONS. */
void router_dispatch(struct request *request);

#endif
