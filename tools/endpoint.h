/* Where nodes of the cluster are reached: an ordered list of http://HOST:PORT, without doubles.
 *
 * Owned by the caller; a zeroed struct is an empty list. One thread. */
#ifndef HOLDFAST_TOOLS_ENDPOINT_H
#define HOLDFAST_TOOLS_ENDPOINT_H

#include <stddef.h>
#include <sys/socket.h>

#include "daemon/base/error.h"

#define ENDPOINT_DEFAULT      "http://127.0.0.1:7080"
#define ENDPOINT_DEFAULT_PORT "7080"
#define ENDPOINTS_MAX         32

struct endpoint {
    char *url;       /* http://HOST:PORT, without a slash at the end. */
    char *authority; /* HOST:PORT, an IPv6 host in brackets. */
    char *host;      /* Without brackets. */
    char *port;
};

struct endpoints {
    struct endpoint list[ENDPOINTS_MAX];
    size_t count;
};

/* Append the endpoints that @text names, separated by commas. The scheme and the port may be left
 * out. STATUS_INVALID with the reason; those before the wrong one were added. */
MUST_USE enum status endpoints_add(struct endpoints *endpoints, const char *text,
                                   struct error *error);

/* Find the first address of @endpoint. Blocks while a name is looked up. STATUS_INVALID. */
MUST_USE enum status endpoint_resolve(const struct endpoint *endpoint,
                                      struct sockaddr_storage *address, socklen_t *size,
                                      struct error *error);

void endpoints_close(struct endpoints *endpoints);

#endif
