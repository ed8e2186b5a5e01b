/* A relay between TCP connections that makes everything arrive later, in order: a slow network,
 * where the kernel has none to offer. It can also lose a connection at a certain request.
 *
 * Its thread serves all connections; delay is changed by any thread at any time. */
#ifndef HOLDFAST_TESTS_RELAY_H
#define HOLDFAST_TESTS_RELAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RELAY_TARGETS     3
#define RELAY_CONNECTIONS 64

struct relay_chunk;

/* One way of a connection. */
struct relay_way {
    int from;
    int to;
    struct relay_chunk *first;
    struct relay_chunk *last;
    uint64_t due_ms; /* Of the last one: nothing overtakes. */
    bool ended;
};

struct relay_connection {
    bool used;
    bool is_doomed; /* The next answer is lost, and the connection with it. */
    struct relay_way ways[2];
};

struct relay_target {
    const char *address; /* Borrowed; IPv4 as text. */
    unsigned port;
    unsigned relay_port; /* Connect there to reach it through the relay. */
    int listener;
};

enum relay_loss {
    RELAY_LOSE_REQUEST, /* It does not arrive. */
    RELAY_LOSE_ANSWER,  /* What is answered to it does not, when it has been sent. */
};

struct relay {
    struct relay_target targets[RELAY_TARGETS];
    atomic_uint delay_ms;  /* 0: at once. */
    atomic_uint jitter_ms; /* Added, below that. */
    atomic_ullong held;    /* Pieces that were held back for at least delay_ms, which was not 0. */
    atomic_bool refuses;   /* New connections are closed at once. */
    /* Private. */
    const char *lost_text;
    enum relay_loss loss;
    bool refuses_then;
    atomic_uint lost_in; /* So many more requests with that text; 0: none is to be lost. */
    struct relay_connection connections[RELAY_CONNECTIONS];
    uint64_t random;
    atomic_bool stopping;
    pthread_t thread;
    bool runs;
};

/* The caller set address and port of all targets in the zeroed struct. Gives the relay's ports. */
bool relay_start(struct relay *relay, uint64_t seed);

/* The @nth request (from 1) that has @text (borrowed) in one piece of what a client sends loses its
 * connection; with @refuses_then, "refuses" is set too. At the end, relay_is_lost(). */
void relay_lose(struct relay *relay, enum relay_loss loss, const char *text, unsigned nth,
                bool refuses_then);
bool relay_is_lost(struct relay *relay);

/* Nothing if it was not started. */
void relay_stop(struct relay *relay);

#endif
