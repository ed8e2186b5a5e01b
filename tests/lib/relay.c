#include "tests/lib/relay.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define CHUNK_BYTES 65536
#define TICK_MS     2
#define BACKLOG     16
#define MAX_POLLED  (RELAY_TARGETS + 2 * RELAY_CONNECTIONS)

struct relay_chunk {
    struct relay_chunk *next;
    uint64_t came_ms;
    uint64_t due_ms;
    unsigned delay_ms; /* What was asked for when it came. */
    size_t size;
    size_t sent;
    char data[];
};

static struct sockaddr_in address_of(const char *text, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    (void)inet_pton(AF_INET, text, &address.sin_addr); /* The test's own text. */
    return address;
}

static void close_connection(struct relay_connection *connection)
{
    int i;

    for (i = 0; i < 2; i++) {
        struct relay_way *way = &connection->ways[i];

        while (way->first != NULL) {
            struct relay_chunk *chunk = way->first;

            way->first = chunk->next;
            free(chunk);
        }
        (void)close(way->from);
    }
    memset(connection, 0, sizeof *connection);
}

static void accept_one(struct relay *relay, const struct relay_target *target)
{
    const struct sockaddr_in address = address_of(target->address, target->port);
    int from = accept4(target->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned i = 0;

    while (i < RELAY_CONNECTIONS && relay->connections[i].used) {
        i++;
    }
    /* On the same bridge: connecting takes no time, or fails at once. */
    if (from < 0 || to < 0 || i == RELAY_CONNECTIONS || atomic_load(&relay->refuses) ||
        connect(to, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(from);
        (void)close(to);
        return;
    }
    relay->connections[i] = (struct relay_connection){
        .used = true, .ways = {{.from = from, .to = to}, {.from = to, .to = from}}};
}

/* False when the connection broke. */
static bool take(struct relay *relay, struct relay_way *way)
{
    unsigned jitter = atomic_load(&relay->jitter_ms);
    unsigned delay_ms = atomic_load(&relay->delay_ms);
    uint64_t came_ms = now_ms();
    uint64_t due_ms = came_ms + delay_ms;
    struct relay_chunk *chunk = malloc(sizeof *chunk + CHUNK_BYTES);
    ssize_t n;

    if (chunk == NULL) {
        abort();
    }
    n = recv(way->from, chunk->data, CHUNK_BYTES, MSG_DONTWAIT);
    if (n <= 0) {
        free(chunk);
        way->ended = n == 0;
        return n == 0;
    }
    due_ms += jitter == 0 ? 0 : (random_next(&relay->random) >> 16) % jitter;
    way->due_ms = due_ms > way->due_ms ? due_ms : way->due_ms;
    chunk->next = NULL;
    chunk->came_ms = came_ms;
    chunk->delay_ms = delay_ms;
    chunk->due_ms = way->due_ms;
    chunk->size = (size_t)n;
    chunk->sent = 0;
    if (way->first == NULL) {
        way->first = chunk;
    } else {
        way->last->next = chunk;
    }
    way->last = chunk;
    return true;
}

/* Send on what is due. False when the connection broke, or ended and all of it was sent. */
static bool give(struct relay *relay, struct relay_way *way)
{
    uint64_t now = now_ms();

    while (way->first != NULL && way->first->due_ms <= now) {
        struct relay_chunk *chunk = way->first;
        ssize_t n = send(way->to, chunk->data + chunk->sent, chunk->size - chunk->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            struct pollfd poller = {.fd = way->to, .events = POLLOUT};

            /* Full, and taken up later, or broken. */
            return poll(&poller, 1, 0) == 0;
        }
        chunk->sent += (size_t)n;
        if (chunk->sent == chunk->size) {
            if (chunk->delay_ms > 0 && now - chunk->came_ms >= chunk->delay_ms) {
                atomic_fetch_add(&relay->held, 1);
            }
            way->first = chunk->next;
            free(chunk);
        }
    }
    return !way->ended || way->first != NULL;
}

void relay_lose(struct relay *relay, enum relay_loss loss, const char *text, unsigned nth,
                bool refuses_then)
{
    relay->loss = loss;
    relay->lost_text = text;
    relay->refuses_then = refuses_then;
    atomic_store(&relay->lost_in, nth); /* Last: from here on the thread looks at the others. */
}

bool relay_is_lost(struct relay *relay)
{
    return atomic_load(&relay->lost_in) == 0;
}

/* What a client sent last is looked at. False if the connection is to be lost now. */
static bool look_at_request(struct relay *relay, struct relay_connection *connection)
{
    const struct relay_chunk *last = connection->ways[0].last;
    unsigned lost_in = atomic_load(&relay->lost_in);

    if (connection->ways[0].first == NULL || lost_in == 0 ||
        memmem(last->data, last->size, relay->lost_text, strlen(relay->lost_text)) == NULL) {
        return true;
    }
    if (lost_in == 1) {
        atomic_store(&relay->refuses, relay->refuses_then);
        connection->is_doomed = relay->loss == RELAY_LOSE_ANSWER;
    }
    atomic_store(&relay->lost_in, lost_in - 1);
    return lost_in > 1 || connection->is_doomed;
}

static void serve_connection(struct relay *relay, struct relay_connection *connection,
                             const struct pollfd *polled)
{
    bool good = true;
    int i;

    for (i = 0; i < 2 && good; i++) {
        struct relay_way *way = &connection->ways[i];

        if (polled[i].revents != 0 && !way->ended) {
            good = take(relay, way) &&
                   (i == 0 ? look_at_request(relay, connection) : !connection->is_doomed);
        }
        good = good && give(relay, way);
    }
    if (!good) {
        close_connection(connection);
    }
}

static void *run(void *data)
{
    struct relay *relay = data;
    struct pollfd polled[MAX_POLLED];
    unsigned i;

    while (!atomic_load(&relay->stopping)) {
        for (i = 0; i < MAX_POLLED; i++) {
            polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
        }
        for (i = 0; i < RELAY_TARGETS; i++) {
            polled[i].fd = relay->targets[i].listener;
        }
        for (i = 0; i < 2 * RELAY_CONNECTIONS; i++) {
            const struct relay_connection *connection = &relay->connections[i / 2];

            if (connection->used && !connection->ways[i % 2].ended) {
                polled[RELAY_TARGETS + i].fd = connection->ways[i % 2].from;
            }
        }
        (void)poll(polled, MAX_POLLED, TICK_MS); /* Without an event, something may be due. */
        for (i = 0; i < RELAY_CONNECTIONS; i++) {
            if (relay->connections[i].used) {
                serve_connection(relay, &relay->connections[i], &polled[RELAY_TARGETS + 2 * i]);
            }
        }
        for (i = 0; i < RELAY_TARGETS; i++) {
            if (polled[i].revents != 0) {
                accept_one(relay, &relay->targets[i]);
            }
        }
    }
    return NULL;
}

static bool listen_for(struct relay_target *target)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    target->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (target->listener < 0 ||
        bind(target->listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(target->listener, BACKLOG) != 0 ||
        getsockname(target->listener, (struct sockaddr *)&address, &size) != 0) {
        return false;
    }
    target->relay_port = ntohs(address.sin_port);
    return true;
}

bool relay_start(struct relay *relay, uint64_t seed)
{
    unsigned i;

    relay->random = seed | 1;
    for (i = 0; i < RELAY_TARGETS; i++) {
        if (!listen_for(&relay->targets[i])) {
            return false;
        }
    }
    relay->runs = pthread_create(&relay->thread, NULL, run, relay) == 0;
    return relay->runs;
}

void relay_stop(struct relay *relay)
{
    unsigned i;

    if (!relay->runs) {
        return;
    }
    atomic_store(&relay->stopping, true);
    (void)pthread_join(relay->thread, NULL); /* Started, and joined once. */
    for (i = 0; i < RELAY_CONNECTIONS; i++) {
        if (relay->connections[i].used) {
            close_connection(&relay->connections[i]);
        }
    }
    for (i = 0; i < RELAY_TARGETS; i++) {
        (void)close(relay->targets[i].listener);
    }
    relay->runs = false;
}
