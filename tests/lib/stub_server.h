/* A server that answers with what a test wrote down, on a free port of loopback.
 *
 * It runs on a thread of its own and takes many connections; each complete request gets the next
 * step of the script, the last one again and again. */
#ifndef HOLDFAST_TESTS_STUB_SERVER_H
#define HOLDFAST_TESTS_STUB_SERVER_H

#include <stddef.h>

#include "daemon/base/buffer.h"

struct stub_server;

enum stub_conduct {
    STUB_ANSWER,
    STUB_CLOSE,  /* Close the connection instead. */
    STUB_SILENT, /* Say nothing. */
    STUB_CUT,    /* Announce one byte more than the body has, and close behind it. */
    STUB_END     /* Ends a script. */
};

struct stub_step {
    enum stub_conduct conduct;
    unsigned status;
    const char *fields; /* Header lines, each with its end of line; NULL: none. */
    const char *body;   /* NULL: empty. The length is written in front. */
};

#define STUB_LAST                                                                                  \
    {                                                                                              \
        STUB_END, 0, NULL, NULL                                                                    \
    }

/* @script is borrowed, has at least one step, and ends with STUB_LAST. */
struct stub_server *stub_server_open(const struct stub_step *script);

/* Append the bytes of the answer to @request (which is whole) to @answer. False: close the
 * connection behind them. Runs on the server's thread; by then all earlier requests of it were
 * answered. */
typedef bool (*stub_answer_cb)(void *data, const char *request, size_t size, struct buffer *answer);

/* As above, but @cb answers. No answer at all, with true, is silence. */
struct stub_server *stub_server_open_with(stub_answer_cb cb, void *data);

/* http://127.0.0.1:PORT */
const char *stub_server_url(const struct stub_server *server);

/* How many requests came, and the one that came as the nth (from 0), as text. It stays until the
 * server is closed. */
size_t stub_server_count(struct stub_server *server);
const char *stub_server_request(struct stub_server *server, size_t nth);

void stub_server_close(struct stub_server *server);

#endif
