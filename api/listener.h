/* Where clients knock: one socket per address and thread, all on the same port. */
#ifndef HOLDFAST_API_LISTENER_H
#define HOLDFAST_API_LISTENER_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/base/error.h"

#define LISTENER_MAX_ADDRESSES 8

/* What a HOST:PORT stands for. */
struct listener_addresses {
    unsigned count;
    struct sockaddr_storage addresses[LISTENER_MAX_ADDRESSES];
};

/* Look up @text: HOST:PORT, [IPV6]:PORT, or :PORT for all. Waits for the resolver. STATUS_INVALID.
 */
MUST_USE enum status listener_resolve(const char *text, struct listener_addresses *addresses,
                                      struct error *error);

/* Make sure that no one else has the addresses, drop those that this machine does not have, and
 * draw a port where it is 0. STATUS_BUSY, STATUS_PERMISSION, STATUS_INVALID. */
MUST_USE enum status listener_claim(struct listener_addresses *addresses, const char *text,
                                    struct error *error);

/* A bound socket, not yet listening, that shares its port with others made by this function. */
MUST_USE enum status listener_bind(const struct sockaddr_storage *address, int *fd,
                                   struct error *error);

unsigned listener_port(const struct sockaddr_storage *address);

#endif
