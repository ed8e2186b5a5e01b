#include "tests/lib/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define DEFAULT_TIMEOUT_MS 10000
#define READ_BYTES         65536

static uint64_t end_of(const struct http_client *client)
{
    return now_ms() + (client->timeout_ms == 0 ? DEFAULT_TIMEOUT_MS : client->timeout_ms);
}

/* Wait until the descriptor is ready; false at the end of time. */
static bool wait_ready(int fd, short events, uint64_t end)
{
    struct pollfd poller = {.fd = fd, .events = events};

    for (;;) {
        uint64_t now = now_ms();
        int n;

        if (now >= end) {
            return false;
        }
        n = poll(&poller, 1, (int)(end - now));
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

bool http_connect(struct http_client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)client->port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int one = 1;
    int fd;

    if (client->connected) {
        return true;
    }
    if (client->address != NULL && inet_pton(AF_INET, client->address, &address.sin_addr) != 1) {
        return false;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    /* On loopback the kernel answers a connect() at once, even for a process that is stopped. */
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        (void)close(fd);
        return false;
    }
    client->fd = fd;
    client->connected = true;
    buffer_clear(&client->received);
    return true;
}

bool http_send(struct http_client *client, struct slice bytes)
{
    uint64_t end = end_of(client);

    while (bytes.size > 0) {
        ssize_t n = send(client->fd, bytes.data, bytes.size, MSG_NOSIGNAL);

        if (n > 0) {
            bytes = slice_from(bytes, (size_t)n);
            end = end_of(client);
        } else if (n < 0 && errno == EAGAIN) {
            if (!wait_ready(client->fd, POLLOUT, end)) {
                return false;
            }
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Read more of what the other side sent. */
static enum http_outcome read_more(struct http_client *client, uint64_t end)
{
    uint8_t *place = buffer_reserve(&client->received, READ_BYTES);
    ssize_t n;

    do {
        if (!wait_ready(client->fd, POLLIN, end)) {
            return HTTP_TIMEOUT;
        }
        n = recv(client->fd, place, READ_BYTES, 0);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n <= 0) {
        return HTTP_LOST;
    }
    (void)buffer_extend(&client->received, (size_t)n); /* In the place reserved above. */
    return HTTP_ANSWERED;
}

/* Where the empty line ends, or 0. */
static size_t head_size(const struct buffer *received)
{
    const uint8_t *found;

    if (received->size == 0) {
        return 0;
    }
    found = memmem(received->data, received->size, "\r\n\r\n", 4);
    return found == NULL ? 0 : (size_t)(found - received->data) + 4;
}

static enum http_outcome receive_head(struct http_client *client, uint64_t end,
                                      struct http_response *response)
{
    enum http_outcome outcome;
    size_t size;

    while ((size = head_size(&client->received)) == 0) {
        outcome = read_more(client, end);
        if (outcome != HTTP_ANSWERED) {
            return outcome;
        }
    }
    buffer_clear(&response->head);
    buffer_append(&response->head, client->received.data, size);
    buffer_append_byte(&response->head, 0);
    buffer_consume(&client->received, size);
    if (sscanf((const char *)response->head.data, "HTTP/1.%*1[01] %3u", &response->status) != 1) {
        return HTTP_LOST; /* What came is no answer. */
    }
    return HTTP_ANSWERED;
}

/* A body without a length lasts until the connection ends. */
static enum http_outcome receive_until_closed(struct http_client *client, uint64_t end)
{
    enum http_outcome outcome;

    do {
        outcome = read_more(client, end);
    } while (outcome == HTTP_ANSWERED);
    return outcome == HTTP_LOST ? HTTP_ANSWERED : outcome;
}

static enum http_outcome receive_body(struct http_client *client, uint64_t end, bool head_only,
                                      struct http_response *response)
{
    enum http_outcome outcome = HTTP_ANSWERED;
    char length[32];
    size_t size;

    if (head_only || response->status == 204 || response->status == 304) {
        size = 0;
    } else if (http_header(response, "Content-Length", length, sizeof length)) {
        size = strtoul(length, NULL, 10);
        while (outcome == HTTP_ANSWERED && client->received.size < size) {
            outcome = read_more(client, end);
        }
    } else {
        outcome = receive_until_closed(client, end);
        size = client->received.size;
    }
    if (outcome == HTTP_ANSWERED) {
        buffer_clear(&response->body);
        buffer_append(&response->body, client->received.data, size);
        *buffer_reserve(&response->body, 1) = 0;
        buffer_consume(&client->received, size);
    }
    return outcome;
}

enum http_outcome http_receive(struct http_client *client, bool head_only,
                               struct http_response *response)
{
    uint64_t end = end_of(client);
    enum http_outcome outcome;

    do {
        outcome = receive_head(client, end, response);
    } while (outcome == HTTP_ANSWERED && response->status < 200);
    if (outcome == HTTP_ANSWERED) {
        outcome = receive_body(client, end, head_only, response);
    }
    if (outcome != HTTP_ANSWERED || http_header_is(response, "Connection", "close")) {
        http_client_close(client);
    }
    return outcome;
}

enum http_outcome http_exchange(struct http_client *client, const struct http_request *request,
                                struct http_response *response)
{
    struct buffer bytes = BUFFER_EMPTY;
    enum http_outcome outcome = HTTP_LOST;

    if (!http_connect(client)) {
        return HTTP_REFUSED;
    }
    buffer_append_format(&bytes, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s", request->method,
                         request->target, client->port,
                         request->headers == NULL ? "" : request->headers);
    if (request->has_body) {
        buffer_append_format(&bytes, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                             request->content_type == NULL ? "application/json"
                                                           : request->content_type,
                             request->body.size);
    }
    buffer_append_string(&bytes, "\r\n");
    buffer_append_slice(&bytes, request->body);
    if (http_send(client, buffer_slice(&bytes))) {
        outcome = http_receive(client, strcmp(request->method, "HEAD") == 0, response);
    } else {
        http_client_close(client);
    }
    buffer_close(&bytes);
    return outcome;
}

enum http_outcome http_call(struct http_client *client, struct http_response *response,
                            const char *method, const char *target, const char *headers,
                            const char *body)
{
    struct http_request request = {
        .method = method,
        .target = target,
        .headers = headers,
        .has_body = body != NULL,
        .body = slice_of(body, body == NULL ? 0 : strlen(body)),
    };

    return http_exchange(client, &request, response);
}

bool http_wait_closed(struct http_client *client, unsigned limit_ms)
{
    uint64_t end = now_ms() + limit_ms;
    enum http_outcome outcome;

    if (!client->connected) {
        return true;
    }
    do {
        outcome = read_more(client, end);
        buffer_clear(&client->received);
    } while (outcome == HTTP_ANSWERED);
    http_client_close(client);
    return outcome == HTTP_LOST;
}

void http_client_close(struct http_client *client)
{
    if (client->connected) {
        (void)close(client->fd); /* A socket: nothing is left to be written. */
        client->connected = false;
    }
    buffer_close(&client->received);
}

bool http_header(const struct http_response *response, const char *name, char *value, size_t size)
{
    const char *line = (const char *)response->head.data;
    size_t length = strlen(name);

    while (line != NULL && (line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            const char *start = line + length + 1;

            start += strspn(start, " \t");
            (void)snprintf(value, size, "%.*s", (int)strcspn(start, "\r\n"), start);
            return true;
        }
    }
    return false;
}

bool http_header_is(const struct http_response *response, const char *name, const char *expected)
{
    char value[256];

    return http_header(response, name, value, sizeof value) && strcmp(value, expected) == 0;
}

void http_response_close(struct http_response *response)
{
    buffer_close(&response->head);
    buffer_close(&response->body);
    response->status = 0;
}
