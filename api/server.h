/* The HTTP server: N threads, each with a loop, its own listening socket and its connections.
 *
 * The kernel spreads new connections over the threads (SO_REUSEPORT). A thread that waits for a
 * page of the state keeps its own connections waiting, so who watches the node should ask the
 * metrics address: it has a thread that never touches the state. */
#ifndef HOLDFAST_API_SERVER_H
#define HOLDFAST_API_SERVER_H

#include "daemon/base/error.h"

struct server;
struct buffer;
struct connection_times; /* connection.h */
struct node;
struct store;

struct server_options {
    const char *address;         /* HOST:PORT to listen on; all addresses of a host name. */
    const char *metrics_address; /* A second one for the local routes alone, or NULL. */
    unsigned threads;            /* 0: by the number of cores. */
    unsigned max_connections;    /* Of all threads; 0: LIMIT_CONNECTIONS. */
    const char *name;            /* This node's. */
    const char *version;
    struct node *node; /* NULL, in tests: handlers that need it must not be called. */
    struct store *store;
    const struct connection_times *times; /* NULL: the defaults. */
};

/* Listen and serve. STATUS_BUSY: the address is in use. STATUS_INVALID: it cannot be resolved. */
MUST_USE enum status server_open(const struct server_options *options, struct server **server,
                                 struct error *error);

/* The port that was bound, which differs from the option if that was 0. */
unsigned server_port(const struct server *server);

/* The port of the metrics address, or 0. */
unsigned server_metrics_port(const struct server *server);

/* Any thread: append the metrics of all threads, and of node and store. */
void server_write_metrics(struct server *server, struct buffer *text);

/* Stop accepting; connections end with the request that they are at. Returns at once. */
void server_drain(struct server *server);

/* After server_drain(): wait until what is in flight is answered, @timeout_ms at most, then cut all
 * connections, and end the threads. The node is closed after this: should it still owe answers
 * then, their mailboxes are left open, and their memory is given up, as the process is about to
 * end. */
void server_close(struct server *server, unsigned timeout_ms);

#endif
