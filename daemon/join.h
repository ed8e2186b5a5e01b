/* Asking a cluster to take this node in: a thread that sends POST /v1/cluster/members to one member
 * after another, until the node is one of them.
 *
 * Asking again is safe: the node remembers what it was offered. It goes on by itself whatever fails
 * on the way, but for what only an operator can mend, which is told once, and ends the asking. */
#ifndef HOLDFAST_DAEMON_JOIN_H
#define HOLDFAST_DAEMON_JOIN_H

#include "daemon/base/error.h"
#include "raft/node.h"

struct join;

struct join_options {
    struct node *node;
    const char *members; /* URLs of APIs, separated by commas. All texts are copied. */
    const char *name;
    const char *peer_address;
    const char *api_address;
    const char *zone; /* NULL: none. */
    const char *role;
    void *data;
    /* The thread: it was refused for good. */
    void (*on_refused)(void *data, enum node_exit why, const struct error *error);
};

/* Is @members a list of addresses? STATUS_INVALID with what is wrong. */
MUST_USE enum status join_check(const char *members, struct error *error);

/* STATUS_INVALID, STATUS_IO. Does nothing if the node is a member already. */
MUST_USE enum status join_open(const struct join_options *options, struct join **join,
                               struct error *error);
/* Cuts the request that is under way off. Accepts NULL. */
void join_close(struct join *join);

#endif
