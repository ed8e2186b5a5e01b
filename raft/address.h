/* Where a node listens or is reached: HOST:PORT, with a host name, an IPv4 address, or an IPv6
 * address in brackets.
 *
 * Parsing and writing are pure. Names are looked up on libuv's pool; what is an IP address already
 * needs no lookup. */
#ifndef HOLDFAST_RAFT_ADDRESS_H
#define HOLDFAST_RAFT_ADDRESS_H

#include <uv.h>

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/base/slice.h"

#define ADDRESS_HOST_BYTES 255

struct address {
    char host[ADDRESS_HOST_BYTES + 1]; /* Without brackets. */
    uint16_t port;
};

/* STATUS_INVALID with what is wrong. Port 0 is taken: the system chooses when listening. */
MUST_USE enum status address_parse(struct slice text, struct address *address, struct error *error);

void address_format(const struct address *address, char text[LIMIT_ADDRESS_BYTES + 1]);

/* The same for a socket's address. */
void address_format_socket(const struct sockaddr *socket, char text[LIMIT_ADDRESS_BYTES + 1]);

/* True if the host is an IP address, whose socket address is then filled in. */
bool address_is_literal(const struct address *address, struct sockaddr_storage *socket);

/* 127.0.0.0/8 and ::1, also as IPv4 mapped into IPv6. */
bool address_is_loopback(const struct sockaddr *socket);

/* At start only: it may wait for a name server. The first address found. */
MUST_USE enum status address_resolve_blocking(const struct address *address,
                                              struct sockaddr_storage *socket, struct error *error);

/* A lookup on its way. Owned by the caller until the callback ran. */
struct address_lookup;
/* @results is a list for uv_freeaddrinfo(), the callee's; NULL with any other status than
 * STATUS_OK. STATUS_CANCELED after uv_cancel() of lookup->request. */
typedef void (*address_lookup_cb)(struct address_lookup *lookup, enum status status,
                                  struct addrinfo *results, const struct error *error);

struct address_lookup {
    uv_getaddrinfo_t request;
    void *data; /* The caller's. */
    /* Private. */
    address_lookup_cb cb;
    struct address address;
};

MUST_USE enum status address_lookup_start(struct address_lookup *lookup, uv_loop_t *loop,
                                          const struct address *address, address_lookup_cb cb,
                                          struct error *error);

#endif
