/* The HTTP server: N threads, each with a loop, its own listening socket and its connections.
 *
 * /livez and /metrics are answered even while an api thread waits for a page: one more thread, the
 * "probe" one, has no reads. */
#ifndef HOLDFAST_API_SERVER_H
#define HOLDFAST_API_SERVER_H

#include "daemon/base/error.h"

struct server;
struct node;
struct store;

struct server_options {
    const char *address;         /* HOST:PORT to listen on. */
    const char *metrics_address; /* A second one for /livez, /readyz and /metrics, or NULL. */
    unsigned threads;            /* 0: by the number of cores. */
    unsigned max_connections;    /* Of all threads; 0: 65536. */
    const char *name;            /* This node's. */
    const char *version;
    struct node *node;
    struct store *store;
};

/* Listen and serve. STATUS_BUSY: the address is in use. STATUS_INVALID: it cannot be resolved. */
MUST_USE enum status server_open(const struct server_options *options, struct server **server,
                                 struct error *error);

/* The port that was bound, which differs from the option if that was 0. */
unsigned server_port(const struct server *server);

/* Stop accepting, answer what is in flight (@timeout_ms at most), close. Blocks. Two steps, so that
 * the node can be closed between them: after server_drain() no new request enters. */
void server_drain(struct server *server);
void server_close(struct server *server, unsigned timeout_ms);

#endif
