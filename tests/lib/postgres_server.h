/* A PostgreSQL server of a test's own: data in a directory of its own, a free port on loopback, run
 * as a user other than root. The programs are those of Debian's package "postgresql".
 *
 * It does not sync its files, and outlives no test. Only the main thread (process.h). */
#ifndef HOLDFAST_TESTS_POSTGRES_SERVER_H
#define HOLDFAST_TESTS_POSTGRES_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/lib/process.h"

struct postgres_server {
    char directory[256]; /* Data, log and the Unix socket. */
    unsigned port;
    /* Private. */
    char programs[256];
    uid_t uid; /* 0: the own one. */
    gid_t gid;
    struct process process;
};

/* What is missing to run one, in words; NULL: nothing. */
const char *postgres_server_missing(void);

/* Make a new one. The roles can do what they please ("admin"), or log in over TCP with a password
 * only (others). Its databases sort by the rules of a language. False: see the log, in the
 * directory. */
bool postgres_server_make(struct postgres_server *server);

/* Until it answers. The port stays the same. */
bool postgres_server_start(struct postgres_server *server);

/* With SIGINT (at once, in order) or SIGQUIT (as if it crashed); until it has ended. */
bool postgres_server_stop(struct postgres_server *server, int number);

/* Any thread: a connection as "admin" to the database "postgres", which ends the test if it cannot
 * be had; for PQfinish(). */
PGconn *postgres_server_connect(const struct postgres_server *server);

/* Any thread: execute what may be several statements. Gives the first field of the last result, ""
 * if there is none, for free(). Ends the test if it fails. */
char *postgres_server_ask(const struct postgres_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether @words are in what it has logged. */
bool postgres_server_has_logged(const struct postgres_server *server, const char *words);

/* End it, and remove all of it. */
void postgres_server_remove(struct postgres_server *server);

#endif
