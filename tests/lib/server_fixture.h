/* For tests of the server: a real one on loopback, with time-outs of milliseconds. What it asks of
 * the cluster is answered by stand-ins here. A program has its own routes. */
#ifndef HOLDFAST_TESTS_LIB_SERVER_FIXTURE_H
#define HOLDFAST_TESTS_LIB_SERVER_FIXTURE_H

#include <stdatomic.h>

#include "api/request.h"
#include "api/router.h"
#include "api/server.h"

#define HOST  "Host: a\r\n"
#define LIVEZ "GET /livez HTTP/1.1\r\n" HOST "\r\n"
#define KEEP  "GET /keep HTTP/1.1\r\n" HOST "\r\n"

/* What the cluster says of itself. */
struct fake_cluster {
    atomic_uint causes;
    atomic_uint warnings;
    atomic_uint mirror_lag_ms; /* 0: there is no mirror. */
};
extern struct fake_cluster fake_cluster;

/* cmocka's setup, before each test. */
int server_reset(void **state);

/* What is not set in @wanted is set here: it listens on a port of loopback, with one thread. */
struct server *server_start(const struct server_options *wanted);
struct server *server_start_plain(void);
void server_stop(struct server *server);

/* --- Handlers --- */

/* Answers with the body that came. */
void server_echo(struct request *request);

/* Keeps the request, without an answer, until server_answer_kept(), another request, comes. The
 * server has one thread, so no two handlers run at a time. */
void server_keep(struct request *request);
void server_answer_kept(struct request *request);

struct server_kept {
    atomic_uint count;      /* So many were kept. */
    atomic_uint n_gone;     /* Told by on_gone(). */
    atomic_bool was_gone;   /* When it was answered. */
    struct request *newest; /* NULL: it is answered. */
};
extern struct server_kept server_kept;

/* For a program with the routes /keep, /livez, and /answer: answer the kept request once there is
 * one. Each try is a round trip, which is all the waiting. */
void server_answer_when_kept(unsigned port);

#endif
