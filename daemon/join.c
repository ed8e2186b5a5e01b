/* 1. run() asks one member after the other.
 * 2. ask() makes a connection, sends the request and reads the answer to its end.
 * 3. judge() decides by status and reason: wait, ask again soon, or give up.
 *
 * What can go wrong: a member is not there, or knows no leader: the next one is asked. What the
 * answer calls a mistake of the operator's is final. */
#include "daemon/join.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <jansson.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"

#define MAX_MEMBERS      16u
#define MAX_ANSWER_BYTES (64u << 10)
#define REQUEST_S        10  /* One request may take so long. */
#define AGAIN_MS         500 /* Until members are asked again. */
#define LOOK_MS          100
#define ACCEPTED_MS      15000 /* An accepted request is looked after so long before it is repeated. */
#define DEFAULT_PORT     "7080"

struct target {
    char host[256];
    char port[8];
};

struct join {
    struct join_options options;
    unsigned n_targets;
    struct target targets[MAX_MEMBERS];
    char *body;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_closing;
    int fd; /* Of the request under way; -1: none. */
};

/* --- The list --- */

/* "http://HOST:PORT/", without scheme, port or slash too; IPv6 in brackets. */
static enum status parse_target(const char *text, size_t size, struct target *target,
                                struct error *error)
{
    static const char scheme[] = "http://";
    const char *end = text + size;
    const char *host = text;
    const char *host_end;
    const char *port = DEFAULT_PORT;
    size_t port_size = sizeof DEFAULT_PORT - 1;

    if (size >= sizeof scheme - 1 && strncmp(host, scheme, sizeof scheme - 1) == 0) {
        host += sizeof scheme - 1;
    }
    end = end > host && end[-1] == '/' ? end - 1 : end;
    if (host < end && *host == '[') {
        host_end = memchr(host, ']', (size_t)(end - host));
        host_end = host_end == NULL ? end : host_end + 1;
    } else {
        host_end = memchr(host, ':', (size_t)(end - host));
        host_end = host_end == NULL ? end : host_end;
    }
    if (host_end < end && *host_end == ':') {
        port = host_end + 1;
        port_size = (size_t)(end - port);
    } else if (host_end < end) {
        port_size = 0;
    }
    if (host_end > host && *host == '[') {
        host++;
        host_end--;
    }
    if (host_end <= host || (size_t)(host_end - host) >= sizeof target->host || port_size == 0 ||
        port_size >= sizeof target->port || strspn(port, "0123456789") < port_size ||
        memchr(host, '/', (size_t)(host_end - host)) != NULL) {
        return error_set(error, STATUS_INVALID,
                         "\"%.*s\" is not the URL of a member's API, like http://n1:7080",
                         (int)(size > 200 ? 200 : size), text);
    }
    (void)snprintf(target->host, sizeof target->host, "%.*s", (int)(host_end - host), host);
    (void)snprintf(target->port, sizeof target->port, "%.*s", (int)port_size, port); /* Fits. */
    return STATUS_OK;
}

static enum status parse_list(const char *list, struct target *targets, unsigned *n_targets,
                              struct error *error)
{
    unsigned n = 0;

    for (;;) {
        size_t size = strcspn(list, ",");
        enum status status = STATUS_OK;

        if (n == MAX_MEMBERS) {
            return error_set(error, STATUS_INVALID, "more than %u members", MAX_MEMBERS);
        }
        status = parse_target(list, size, &targets[n], error);
        if (status != STATUS_OK) {
            return status;
        }
        n++;
        if (list[size] == '\0') {
            *n_targets = n;
            return STATUS_OK;
        }
        list += size + 1;
    }
}

enum status join_check(const char *members, struct error *error)
{
    struct target *targets = memory_new_zeroed(MAX_MEMBERS, sizeof *targets);
    unsigned n_targets;
    enum status status = parse_list(members, targets, &n_targets, error);

    free(targets);
    return status;
}

/* --- One request --- */

/* Let join_close() reach it. False: it is too late. */
static bool show(struct join *join, int fd)
{
    bool is_open;

    CHECK(pthread_mutex_lock(&join->mutex) == 0);
    join->fd = fd;
    is_open = !join->is_closing;
    CHECK(pthread_mutex_unlock(&join->mutex) == 0);
    return is_open;
}

static void hang_up(struct join *join, int fd)
{
    (void)show(join, -1);
    (void)close(fd); /* What was sent was answered, or will be asked again. */
}

static int connect_to(struct join *join, const struct target *target, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = REQUEST_S};
    struct addrinfo *found = NULL;
    int fd = -1;
    int rv = getaddrinfo(target->host, target->port, &hints, &found);

    if (rv != 0) {
        (void)error_set(error, STATUS_IO, "%s", gai_strerror(rv)); /* The caller tells. */
        return -1;
    }
    for (struct addrinfo *next = found; next != NULL && fd < 0; next = next->ai_next) {
        fd = socket(next->ai_family, next->ai_socktype | SOCK_CLOEXEC, next->ai_protocol);
        if (fd < 0) {
            continue;
        }
        /* Bounds connecting, sending and each read. */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (!show(join, fd) || connect(fd, next->ai_addr, next->ai_addrlen) != 0) {
            rv = errno;
            hang_up(join, fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) {
        (void)error_set(error, STATUS_IO, "could not connect: %s", strerror(rv));
    }
    return fd;
}

static bool send_all(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }
        bytes = slice_from(bytes, (size_t)sent);
    }
    return true;
}

/* To the end of the connection, as was asked for. */
static bool read_all(int fd, struct buffer *answer)
{
    while (answer->size < MAX_ANSWER_BYTES) {
        ssize_t got = recv(fd, buffer_reserve(answer, 4096), 4096, 0);

        if (got <= 0) {
            return got == 0;
        }
        (void)buffer_extend(answer, (size_t)got); /* The bytes are there already. */
    }
    return false;
}

struct verdict {
    unsigned status;
    char reason[64];
    char detail[400];
};

static void copy_member(const json_t *object, const char *name, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    (void)snprintf(to, size, "%s", text == NULL ? "" : text); /* Cut is fine. */
}

/* False if that is no answer of a member. */
static bool read_verdict(struct slice answer, struct verdict *verdict)
{
    static const char head[] = "HTTP/1.1 ";
    const char *body;
    json_t *object;

    if (answer.size < sizeof head + 3 || memcmp(answer.data, head, sizeof head - 1) != 0) {
        return false;
    }
    verdict->status = (unsigned)strtoul((const char *)answer.data + sizeof head - 1, NULL, 10);
    body = memmem(answer.data, answer.size, "\r\n\r\n", 4);
    if (body == NULL) {
        return false;
    }
    body += 4;
    object = json_loadb(body, answer.size - (size_t)(body - (const char *)answer.data), 0, NULL);
    copy_member(object, "reason", verdict->reason, sizeof verdict->reason);
    copy_member(object, "detail", verdict->detail, sizeof verdict->detail);
    json_decref(object);
    return true;
}

static bool ask(struct join *join, const struct target *target, struct verdict *verdict,
                struct error *error)
{
    struct buffer request = BUFFER_EMPTY;
    struct buffer answer = BUFFER_EMPTY;
    bool is_ipv6 = strchr(target->host, ':') != NULL;
    bool done = false;
    int fd = connect_to(join, target, error);

    if (fd < 0) {
        return false;
    }
    buffer_append_format(&request,
                         "POST /v1/cluster/members HTTP/1.1\r\nHost: %s%s%s:%s\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                         "Connection: close\r\n\r\n%s",
                         is_ipv6 ? "[" : "", target->host, is_ipv6 ? "]" : "", target->port,
                         strlen(join->body), join->body);
    done = send_all(fd, buffer_slice(&request)) && read_all(fd, &answer);
    if (!done) {
        (void)error_set(error, STATUS_IO, "the connection ended before the answer");
    } else {
        buffer_append_byte(&answer, 0); /* For strtoul(). */
        answer.size--;
        done = read_verdict(buffer_slice(&answer), verdict);
        if (!done) {
            (void)error_set(error, STATUS_IO, "what answers there is no member's API");
        }
    }
    hang_up(join, fd);
    buffer_close(&request);
    buffer_close(&answer);
    return done;
}

/* --- What follows --- */

/* Mistakes that time does not cure. */
static bool is_final(const struct verdict *verdict)
{
    static const char *const reasons[] = {"name-taken", "address-taken", "other-cluster", "version",
                                          "removed",    "too-many",      "clock"};

    if (verdict->status == 400 || verdict->status == 404 || verdict->status == 405) {
        return true;
    }
    for (size_t i = 0; verdict->status == 409 && i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(verdict->reason, reasons[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum node_exit exit_of(const struct verdict *verdict)
{
    return strcmp(verdict->reason, "removed") == 0 || strcmp(verdict->reason, "other-cluster") == 0
               ? NODE_EXIT_REMOVED
               : NODE_EXIT_RESTART;
}

static bool is_joined(const struct join *join)
{
    struct node_status *status = memory_new(sizeof *status);
    bool joined;

    node_status(join->options.node, status);
    joined = status->id != 0 && (status->causes & NODE_CAUSE_JOINING) == 0;
    free(status);
    return joined;
}

/* False if the node is a member, or the thread is to end. */
static bool wait_for(struct join *join, unsigned wait_ms)
{
    bool is_closing = false;

    for (unsigned waited_ms = 0; waited_ms < wait_ms && !is_closing; waited_ms += LOOK_MS) {
        if (is_joined(join)) {
            return false;
        }
        CHECK(pthread_mutex_lock(&join->mutex) == 0);
        if (!join->is_closing) {
            (void)clock_condition_wait_ms(&join->wake, &join->mutex, LOOK_MS); /* Looks again. */
        }
        is_closing = join->is_closing;
        CHECK(pthread_mutex_unlock(&join->mutex) == 0);
    }
    return !is_closing && !is_joined(join);
}

/* Ask one member; gives how long to wait before the next is asked, 0 to give up. */
static unsigned try_one(struct join *join, const struct target *target)
{
    struct verdict verdict = {.status = 0};
    struct error error = {.status = STATUS_OK};

    if (!ask(join, target, &verdict, &error)) {
        log_warn("join", "could not ask %s:%s to be taken in: %s", target->host, target->port,
                 error.text);
        return AGAIN_MS;
    }
    if (verdict.status >= 200 && verdict.status < 300) {
        log_info("join", "the cluster takes this node in, asked through %s:%s", target->host,
                 target->port);
        return ACCEPTED_MS;
    }
    if (!is_final(&verdict)) {
        log_warn("join", "%s:%s cannot take this node in now status=%u: %s", target->host,
                 target->port, verdict.status, verdict.detail);
        return AGAIN_MS;
    }
    (void)error_set(&error, STATUS_PERMISSION, "the cluster refuses to take this node in: %s",
                    verdict.detail); /* Told below. */
    join->options.on_refused(join->options.data, exit_of(&verdict), &error);
    return 0;
}

static void *run(void *data)
{
    struct join *join = data;
    unsigned wait_ms = AGAIN_MS;

    thread_set_name("join");
    for (unsigned i = 0; wait_for(join, i == 0 ? LOOK_MS : wait_ms); i++) {
        wait_ms = try_one(join, &join->targets[i % join->n_targets]);
        if (wait_ms == 0) {
            break;
        }
    }
    return NULL;
}

/* --- Life --- */

static char *make_body(const struct join_options *options)
{
    json_t *body = json_pack("{s:s, s:s, s:s}", "name", options->name, "peer_address",
                             options->peer_address, "api_address", options->api_address);
    char *text;

    CHECK(body != NULL);
    if (options->zone != NULL) {
        CHECK(json_object_set_new(body, "zone", json_string(options->zone)) == 0);
    }
    if (strcmp(options->role, "auto") != 0) {
        CHECK(json_object_set_new(body, "role", json_string(options->role)) == 0);
    }
    text = json_dumps(body, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(body);
    return text;
}

static void release(struct join *join)
{
    CHECK(pthread_cond_destroy(&join->wake) == 0);
    CHECK(pthread_mutex_destroy(&join->mutex) == 0);
    free(join->body);
    free(join);
}

enum status join_open(const struct join_options *options, struct join **join, struct error *error)
{
    struct join *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status = parse_list(options->members, opened->targets, &opened->n_targets, error);
    int rv;

    if (status != STATUS_OK) {
        free(opened);
        return error_prefix(error, "--join");
    }
    opened->options = *options;
    opened->body = make_body(options);
    opened->fd = -1;
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    clock_condition_init(&opened->wake);
    rv = pthread_create(&opened->thread, NULL, run, opened);
    if (rv != 0) {
        release(opened);
        return error_set(error, STATUS_IO, "could not start the joining thread: %s", strerror(rv));
    }
    *join = opened;
    return STATUS_OK;
}

void join_close(struct join *join)
{
    if (join == NULL) {
        return;
    }
    CHECK(pthread_mutex_lock(&join->mutex) == 0);
    join->is_closing = true;
    if (join->fd >= 0) {
        (void)shutdown(join->fd, SHUT_RDWR); /* It may not be connected yet. */
    }
    CHECK(pthread_cond_signal(&join->wake) == 0);
    CHECK(pthread_mutex_unlock(&join->mutex) == 0);
    CHECK(pthread_join(join->thread, NULL) == 0);
    release(join);
}
