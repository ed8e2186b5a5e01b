/* Those who give out keys for some hours to who is what he says: STS, containers and instances
 * (aws_credentials.h). */
#ifndef HOLDFAST_STORAGE_ARCHIVE_AWS_ENDPOINTS_H
#define HOLDFAST_STORAGE_ARCHIVE_AWS_ENDPOINTS_H

#include "storage/archive/aws_credentials.h"
#include "storage/archive/exchange.h"

struct aws_endpoints {
    /* Private. */
    struct exchange_client *inside;  /* For endpoints of this machine. */
    struct exchange_client *outside; /* For STS. */
};

void aws_endpoints_open(struct aws_endpoints *endpoints,
                        const struct aws_credentials_options *options);

/* A key of the first of them that the environment names. STATUS_NOT_FOUND: it names none.
 * STATUS_PERMISSION: there is none to be had. STATUS_CANCELED. */
MUST_USE enum status aws_endpoints_find(struct aws_endpoints *endpoints, struct aws_key *key,
                                        struct error *error);

void aws_endpoints_close(struct aws_endpoints *endpoints);

#endif
