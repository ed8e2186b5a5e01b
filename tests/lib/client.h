/* A client of the HTTP server that a test drives byte by byte; it waits for answers, 10 s at most,
 * and fails the test when the connection does what it should not. */
#ifndef HOLDFAST_TESTS_CLIENT_H
#define HOLDFAST_TESTS_CLIENT_H

#include "daemon/base/buffer.h"

/* To loopback; -1 if the connection is refused. */
int client_connect(unsigned port);

void client_send_bytes(int fd, const void *data, size_t size);
void client_send(int fd, const char *text);

/* What was read: the heads and bodies of answers, one behind the other. Zero it first. */
struct answers {
    struct buffer bytes;
    size_t at; /* Behind the answer that was looked at last, which follows. */
    unsigned status;
    struct slice head;
    struct slice body;
};

/* The next answer; gives its status, or 0 if the connection ended without one. */
unsigned client_answer(int fd, struct answers *answers);
/* The same, of an answer to HEAD if @to_head. */
unsigned client_answer_to(int fd, struct answers *answers, bool to_head);

bool answers_head_has(const struct answers *answers, const char *line);
bool answers_body_has(const struct answers *answers, const char *text);

/* The server ends the connection without another byte. */
void client_assert_end(int fd, struct answers *answers);

void client_close(int fd, struct answers *answers);

/* One request on a connection of its own; gives the status. */
unsigned client_ask(unsigned port, const char *request);

#endif
