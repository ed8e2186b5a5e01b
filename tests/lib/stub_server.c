#include "tests/lib/stub_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define MAX_CLIENTS  64
#define MAX_REQUESTS 1024 /* Later ones are counted and not kept. */

struct client {
    int fd;
    struct buffer input;
};

struct stub_server {
    const struct stub_step *script; /* NULL: cb answers. */
    stub_answer_cb cb;
    void *data;
    char url[64];
    int listener;
    int stop[2]; /* A pipe: closed to end the thread. */
    pthread_t thread;
    struct client clients[MAX_CLIENTS];
    size_t n_clients;
    pthread_mutex_t mutex; /* Guards what follows. */
    size_t count;
    char *requests[MAX_REQUESTS];
};

/* The size of the first request in @input if it is complete, else 0. */
static size_t complete_size(const struct buffer *input)
{
    const char *text = (const char *)input->data;
    const char *end = input->size == 0 ? NULL : memmem(text, input->size, "\r\n\r\n", 4);
    const char *length;
    size_t size;

    if (end == NULL) {
        return 0;
    }
    size = (size_t)(end - text) + 4;
    length = memmem(text, size, "\r\nContent-Length: ", 18);
    if (length != NULL) {
        size += strtoul(length + 18, NULL, 10);
    }
    return size <= input->size ? size : 0;
}

/* Remember the request; gives the step that is its turn. */
static const struct stub_step *note(struct stub_server *server, const struct buffer *input,
                                    size_t size)
{
    const struct stub_step *step = server->script;

    CHECK(pthread_mutex_lock(&server->mutex) == 0);
    for (size_t i = 0; step != NULL && i < server->count && step[1].conduct != STUB_END; i++) {
        step++;
    }
    if (server->count < MAX_REQUESTS) {
        server->requests[server->count] = strndup((const char *)input->data, size);
    }
    server->count++;
    CHECK(pthread_mutex_unlock(&server->mutex) == 0);
    return step;
}

static bool answer(const struct client *client, const struct stub_step *step)
{
    const char *body = step->body == NULL ? "" : step->body;
    struct buffer text = BUFFER_EMPTY;
    ssize_t n;

    buffer_append_format(&text, "HTTP/1.1 %u X\r\n%sContent-Length: %zu\r\n\r\n%s", step->status,
                         step->fields == NULL ? "" : step->fields,
                         strlen(body) + (step->conduct == STUB_CUT ? 1 : 0), body);
    n = send(client->fd, text.data, text.size, MSG_NOSIGNAL);
    buffer_close(&text);
    return n >= 0 && step->conduct != STUB_CUT;
}

/* Let the test's function answer a request. False if the connection is to be closed. */
static bool answer_by_call(const struct stub_server *server, struct client *client, size_t size)
{
    struct buffer text = BUFFER_EMPTY;
    bool stays = server->cb(server->data, (const char *)client->input.data, size, &text);
    size_t done = 0;

    while (done < text.size) {
        ssize_t n = send(client->fd, text.data + done, text.size - done, MSG_NOSIGNAL);

        if (n < 0) {
            stays = false; /* The client is gone. */
            break;
        }
        done += (size_t)n;
    }
    buffer_close(&text);
    return stays;
}

/* Answer all complete requests. False if the connection is to be closed. */
static bool serve(struct stub_server *server, struct client *client)
{
    size_t size;

    while ((size = complete_size(&client->input)) > 0) {
        const struct stub_step *step = note(server, &client->input, size);

        if (step == NULL) {
            bool stays = answer_by_call(server, client, size);

            buffer_consume(&client->input, size);
            if (!stays) {
                return false;
            }
            continue;
        }
        buffer_consume(&client->input, size);
        if (step->conduct == STUB_CLOSE ||
            (step->conduct != STUB_SILENT && !answer(client, step))) {
            return false;
        }
    }
    return true;
}

static void drop(struct stub_server *server, size_t nth)
{
    (void)close(server->clients[nth].fd); /* Nothing is left to be written. */
    buffer_close(&server->clients[nth].input);
    server->clients[nth] = server->clients[--server->n_clients];
}

static void read_client(struct stub_server *server, size_t nth)
{
    struct client *client = &server->clients[nth];
    ssize_t n = recv(client->fd, buffer_reserve(&client->input, 65536), 65536, 0);

    if (n <= 0) {
        drop(server, nth);
        return;
    }
    (void)buffer_extend(&client->input, (size_t)n);
    if (!serve(server, client)) {
        drop(server, nth);
    }
}

static void accept_client(struct stub_server *server)
{
    int fd = accept(server->listener, NULL, NULL);

    CHECK(fd >= 0);
    CHECK(server->n_clients < MAX_CLIENTS);
    server->clients[server->n_clients++] = (struct client){.fd = fd};
}

static void *run(void *data)
{
    struct stub_server *server = data;

    for (;;) {
        struct pollfd fds[MAX_CLIENTS + 2];
        size_t n = server->n_clients;

        for (size_t i = 0; i < n; i++) {
            fds[i] = (struct pollfd){.fd = server->clients[i].fd, .events = POLLIN};
        }
        fds[n] = (struct pollfd){.fd = server->listener, .events = POLLIN};
        fds[n + 1] = (struct pollfd){.fd = server->stop[0], .events = POLLIN};
        CHECK(poll(fds, n + 2, -1) > 0);
        if (fds[n + 1].revents != 0) {
            return NULL;
        }
        for (size_t i = n; i > 0; i--) { /* From the end: drop() moves the last one. */
            if (fds[i - 1].revents != 0) {
                read_client(server, i - 1);
            }
        }
        if (fds[n].revents != 0) {
            accept_client(server);
        }
    }
}

static struct stub_server *open_server(const struct stub_step *script, stub_answer_cb cb,
                                       void *data)
{
    struct stub_server *server = memory_new_zeroed(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    server->script = script;
    server->cb = cb;
    server->data = data;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(server->listener >= 0);
    CHECK(bind(server->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(server->listener, MAX_CLIENTS) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    CHECK(pipe(server->stop) == 0);
    CHECK(pthread_mutex_init(&server->mutex, NULL) == 0);
    CHECK(pthread_create(&server->thread, NULL, run, server) == 0);
    return server;
}

struct stub_server *stub_server_open(const struct stub_step *script)
{
    return open_server(script, NULL, NULL);
}

struct stub_server *stub_server_open_with(stub_answer_cb cb, void *data)
{
    return open_server(NULL, cb, data);
}

const char *stub_server_url(const struct stub_server *server)
{
    return server->url;
}

size_t stub_server_count(struct stub_server *server)
{
    size_t count;

    CHECK(pthread_mutex_lock(&server->mutex) == 0);
    count = server->count;
    CHECK(pthread_mutex_unlock(&server->mutex) == 0);
    return count;
}

const char *stub_server_request(struct stub_server *server, size_t nth)
{
    const char *request;

    CHECK(nth < MAX_REQUESTS);
    CHECK(pthread_mutex_lock(&server->mutex) == 0);
    request = server->requests[nth];
    CHECK(pthread_mutex_unlock(&server->mutex) == 0);
    return request == NULL ? "" : request;
}

void stub_server_close(struct stub_server *server)
{
    (void)close(server->stop[1]);
    CHECK(pthread_join(server->thread, NULL) == 0);
    while (server->n_clients > 0) {
        drop(server, 0);
    }
    for (size_t i = 0; i < MAX_REQUESTS; i++) {
        free(server->requests[i]);
    }
    (void)close(server->stop[0]);
    (void)close(server->listener);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}
