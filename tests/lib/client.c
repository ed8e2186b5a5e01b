#include "tests/lib/client.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#define LIMIT_S 10 /* For a peer to do something. */

/* A newer libuv has io_uring tell threads of its loops, whatever they do just then: calls that wait
 * give EINTR without any signal. A connect() that was interrupted goes on by itself. */
static bool is_connected(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int failure = 0;
    socklen_t size = sizeof(failure);
    int ready;

    do {
        ready = poll(&poll_fd, 1, LIMIT_S * 1000);
    } while (ready < 0 && errno == EINTR);
    return ready == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0;
}

int client_connect(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {.tv_sec = LIMIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
        (errno != EINTR || !is_connected(fd))) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void client_send_bytes(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t sent;

        do {
            sent = send(fd, at, size, MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        assert_true(sent > 0);
        at += sent;
        size -= (size_t)sent;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

/* Read more; false at the end. A broken connection counts as the end, a silent one fails. */
static bool read_more(int fd, struct answers *answers)
{
    ssize_t got;

    do {
        got = recv(fd, buffer_reserve(&answers->bytes, 65536), 65536, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        assert_int_equal(errno, ECONNRESET);
        return false;
    }
    answers->bytes.size += (size_t)got;
    return got > 0;
}

/* Is there another whole answer? Its length is the one of its Content-Length, or none. */
static bool take(struct answers *answers, bool to_head)
{
    struct slice rest =
        slice_of(answers->bytes.data == NULL ? NULL : answers->bytes.data + answers->at,
                 answers->bytes.size - answers->at);
    const uint8_t *end = rest.size == 0 ? NULL : memmem(rest.data, rest.size, "\r\n\r\n", 4);
    const uint8_t *length;
    size_t head_size;
    size_t body_size = 0;

    if (end == NULL) {
        return false;
    }
    head_size = (size_t)(end - rest.data) + 4;
    length = memmem(rest.data, head_size, "Content-Length: ", 16);
    if (length != NULL && !to_head) {
        body_size = strtoul((const char *)length + 16, NULL, 10);
    }
    if (rest.size < head_size + body_size) {
        return false;
    }
    answers->head = slice_of(rest.data, head_size);
    answers->body = slice_of(rest.data + head_size, body_size);
    answers->status = (unsigned)strtoul((const char *)rest.data + 9, NULL, 10);
    answers->at += head_size + body_size;
    return true;
}

/* The next answer; gives its status, or 0 if the connection ended without one. */
unsigned client_answer_to(int fd, struct answers *answers, bool to_head)
{
    while (!take(answers, to_head)) {
        if (!read_more(fd, answers)) {
            return 0;
        }
    }
    return answers->status;
}

unsigned client_answer(int fd, struct answers *answers)
{
    return client_answer_to(fd, answers, false);
}

void client_assert_end(int fd, struct answers *answers)
{
    assert_int_equal(client_answer(fd, answers), 0);
    assert_int_equal(answers->at, answers->bytes.size);
}

bool answers_head_has(const struct answers *answers, const char *line)
{
    return memmem(answers->head.data, answers->head.size, line, strlen(line)) != NULL;
}

bool answers_body_has(const struct answers *answers, const char *text)
{
    return memmem(answers->body.data, answers->body.size, text, strlen(text)) != NULL;
}

void client_close(int fd, struct answers *answers)
{
    buffer_close(&answers->bytes);
    *answers = (struct answers){0};
    assert_int_equal(close(fd), 0);
}

/* One request on a connection of its own; gives the status. */
unsigned client_ask(unsigned port, const char *request)
{
    struct answers answers = {0};
    int fd = client_connect(port);
    unsigned status;

    assert_true(fd >= 0);
    client_send(fd, request);
    status = client_answer(fd, &answers);
    client_close(fd, &answers);
    return status;
}
