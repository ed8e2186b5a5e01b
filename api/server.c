/* 1. server_open() claims the port, and sets up the loops of all threads before the first one runs.
 * 2. Each thread turns its loop. What a turn collected goes out at its end: in on_check() after the
 *    loop waited for input, in on_prepare() before it waits, as a timer's answers must not wait
 * too.
 * 3. server_drain() tells each thread to close its listeners and to end connections.
 * 4. server_close() gives them a time limit. A thread ends when no connection is left and nothing
 * is owed to its mailbox.
 *
 * What can go wrong:
 * - A connection outlasts the limit: it is cut, and the thread gets GRACE_MS for its last turns.
 * - The node owes messages even then: the thread stops, and what they point to stays. */
#include "api/server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/connection.h"
#include "api/listener.h"
#include "api/metrics.h"
#include "api/reads.h"
#include "api/write.h"
#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"

#define BACKLOG     4096 /* The system's own limit is usually smaller. */
#define MAX_THREADS 64
#define GRACE_MS    100

enum phase { SERVING, DRAINING, CLOSING, CUTTING, ENDING };

struct server_thread {
    struct api_thread api;
    struct connections connections;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t deadline;
    unsigned n_listeners;
    uv_tcp_t listeners[LISTENER_MAX_ADDRESSES];
    struct message drain;
    struct message close;
    unsigned close_timeout_ms;
    enum phase phase;
    bool is_given_up; /* Others still point into it. */
    pthread_t thread;
};

struct server {
    char *name;
    char *version;
    unsigned port;
    unsigned metrics_port;
    struct connections_shared shared;
    unsigned n_threads; /* The last one serves the metrics address, if there is one. */
    struct server_thread *threads[MAX_THREADS + 1];
    struct metrics *metrics[MAX_THREADS + 1];
    struct node *node;
    struct store *store;
};

/* --- The life of a thread, on itself
 * -------------------------------------------------------------*/

/* Send off what the turn collected. Sending may make room for requests that wait, which ask for
 * more; they are few, as nothing is read meanwhile. */
static void end_turn(struct server_thread *thread)
{
    uint64_t before;

    do {
        before = thread->connections.requests;
        if (thread->api.reads != NULL) {
            reads_flush(thread->api.reads);
        }
        connections_flush(&thread->connections);
    } while (thread->connections.requests != before);
}

/* Close all that keeps the loop turning. */
static void end(struct server_thread *thread)
{
    thread->phase = ENDING;
    if (thread->api.reads != NULL) {
        reads_free(thread->api.reads);
        writes_free(thread->api.writes);
        thread->api.reads = NULL;
        thread->api.writes = NULL;
    }
    connections_stop(&thread->connections);
    mailbox_close(&thread->api.mailbox, NULL);
    uv_close((uv_handle_t *)&thread->deadline, NULL);
    uv_close((uv_handle_t *)&thread->prepare, NULL);
    uv_close((uv_handle_t *)&thread->check, NULL);
}

static bool is_idle(const struct server_thread *thread)
{
    return connections_count(&thread->connections) == 0 && thread->api.outstanding == 0;
}

static void on_prepare(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    struct server_thread *thread = check->data;

    end_turn(thread);
    if ((thread->phase == CLOSING || thread->phase == CUTTING) && is_idle(thread)) {
        end(thread);
    }
}

static void on_connection(uv_stream_t *listener, int rv)
{
    struct server_thread *thread = listener->data;

    if (rv == 0) {
        connections_accept(&thread->connections, listener);
    } else {
        log_debug("http", "could not accept a connection: %s", uv_strerror(rv));
    }
}

static void on_drain(struct message *message)
{
    struct server_thread *thread = CONTAINER_OF(message, struct server_thread, drain);

    thread->phase = DRAINING;
    for (unsigned i = 0; i < thread->n_listeners; i++) {
        uv_close((uv_handle_t *)&thread->listeners[i], NULL);
    }
    connections_drain(&thread->connections);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct server_thread *thread = timer->data;

    if (is_idle(thread)) {
        end(thread);
        return;
    }
    log_warn("http", "ending while answers are owed connections=%u messages=%u",
             connections_count(&thread->connections), thread->api.outstanding);
    thread->is_given_up = true;
    uv_stop(timer->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    struct server_thread *thread = timer->data;

    if (thread->phase != CLOSING) {
        return;
    }
    thread->phase = CUTTING;
    connections_cut(&thread->connections);
    CHECK(uv_timer_start(timer, on_grace_over, GRACE_MS, 0) == 0);
}

static void on_close(struct message *message)
{
    struct server_thread *thread = CONTAINER_OF(message, struct server_thread, close);

    thread->phase = CLOSING;
    CHECK(uv_timer_start(&thread->deadline, on_deadline, thread->close_timeout_ms, 0) == 0);
    /* on_check() follows in this turn, and ends the thread if nothing is left. */
}

static void *run(void *data)
{
    struct server_thread *thread = data;

    thread_set_name("api");
    (void)uv_run(&thread->api.loop, UV_RUN_DEFAULT); /* Tells whether handles are left. */
    if (!thread->is_given_up) {
        CHECK(uv_loop_close(&thread->api.loop) == 0);
        view_close(&thread->api.view);
    }
    return NULL;
}

/* --- Setting up
 * ----------------------------------------------------------------------------------*/

static enum status listen_on(struct server_thread *thread, const struct sockaddr_storage *address,
                             struct error *error)
{
    uv_tcp_t *listener = &thread->listeners[thread->n_listeners];
    enum status status;
    int fd = -1;
    int rv;

    status = listener_bind(address, &fd, error);
    if (status != STATUS_OK) {
        return status;
    }
    CHECK(uv_tcp_init(&thread->api.loop, listener) == 0);
    listener->data = thread;
    thread->n_listeners++;
    rv = uv_tcp_open(listener, fd);
    if (rv != 0) {
        (void)close(fd); /* Not libuv's yet. */
    } else {
        rv = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
    }
    return rv == 0 ? STATUS_OK
                   : error_set(error, STATUS_IO, "could not listen: %s", uv_strerror(rv));
}

static void init_hooks(struct server_thread *thread)
{
    uv_loop_t *loop = &thread->api.loop;

    /* None of these can fail with these arguments. */
    CHECK(uv_prepare_init(loop, &thread->prepare) == 0);
    CHECK(uv_check_init(loop, &thread->check) == 0);
    CHECK(uv_timer_init(loop, &thread->deadline) == 0);
    thread->prepare.data = thread;
    thread->check.data = thread;
    thread->deadline.data = thread;
    CHECK(uv_prepare_start(&thread->prepare, on_prepare) == 0);
    CHECK(uv_check_start(&thread->check, on_check) == 0);
}

static void init_connections(struct server_thread *thread, const struct server_options *options,
                             bool local_only)
{
    struct connections *connections = &thread->connections;

    connections->thread = &thread->api;
    connections->shared = &thread->api.server->shared;
    connections->routes = routes;
    connections->local_only = local_only;
    connections->times = options->times == NULL ? CONNECTION_TIMES_DEFAULT : *options->times;
    connections_start(connections);
}

/* Add a thread that listens on @addresses. It does not run yet, and stays in the list of @server
 * also when this fails, for close_threads(). */
static enum status add_thread(struct server *server, const struct server_options *options,
                              const struct listener_addresses *addresses, bool local_only,
                              struct error *error)
{
    struct server_thread *thread;
    enum status status;
    int rv;

    thread = memory_new_zeroed(1, sizeof(*thread));
    rv = uv_loop_init(&thread->api.loop);
    if (rv != 0) {
        free(thread);
        return error_set(error, STATUS_IO, "could not make a loop: %s", uv_strerror(rv));
    }
    status = mailbox_init(&thread->api.mailbox, &thread->api.loop, error);
    if (status != STATUS_OK) {
        CHECK(uv_loop_close(&thread->api.loop) == 0);
        free(thread);
        return status;
    }
    thread->api.number = server->n_threads;
    thread->api.node = server->node;
    thread->api.store = server->store;
    thread->api.name = server->name;
    thread->api.version = server->version;
    thread->api.server = server;
    thread->api.metrics = metrics_new(routes);
    thread->drain.deliver = on_drain;
    thread->close.deliver = on_close;
    init_hooks(thread);
    init_connections(thread, options, local_only);
    if (!local_only && server->node != NULL) {
        thread->api.reads = reads_new(&thread->api);
        thread->api.writes = writes_new(&thread->api);
    }
    server->metrics[server->n_threads] = thread->api.metrics;
    server->threads[server->n_threads++] = thread;
    for (unsigned i = 0; i < addresses->count && status == STATUS_OK; i++) {
        status = listen_on(thread, &addresses->addresses[i], error);
    }
    return status;
}

static unsigned default_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 4 ? 1 : cores >= 8 ? 4 : (unsigned)cores / 2;
}

static enum status add_threads(struct server *server, const struct server_options *options,
                               struct error *error)
{
    unsigned n_threads = options->threads == 0 ? default_threads() : options->threads;
    struct listener_addresses addresses;
    enum status status = listener_resolve(options->address, &addresses, error);

    if (status == STATUS_OK) {
        status = listener_claim(&addresses, options->address, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    server->port = listener_port(&addresses.addresses[0]);
    for (unsigned i = 0; i < n_threads && i < MAX_THREADS && status == STATUS_OK; i++) {
        status = add_thread(server, options, &addresses, false, error);
    }
    return status;
}

static enum status add_metrics_thread(struct server *server, const struct server_options *options,
                                      struct error *error)
{
    struct listener_addresses addresses;
    enum status status = listener_resolve(options->metrics_address, &addresses, error);

    if (status == STATUS_OK) {
        status = listener_claim(&addresses, options->metrics_address, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    server->metrics_port = listener_port(&addresses.addresses[0]);
    return add_thread(server, options, &addresses, true, error);
}

/* --- The server, on the thread of its owner
 * ------------------------------------------------------*/

static void start_threads(struct server *server)
{
    for (unsigned i = 0; i < server->n_threads; i++) {
        struct server_thread *thread = server->threads[i];

        CHECK(pthread_create(&thread->thread, NULL, run, thread) == 0);
    }
}

enum status server_open(const struct server_options *options, struct server **server,
                        struct error *error)
{
    struct server *opened = memory_new_zeroed(1, sizeof(*opened));
    enum status status;

    opened->name = memory_copy_string(options->name);
    opened->version = memory_copy_string(options->version);
    opened->node = options->node;
    opened->store = options->store;
    opened->shared.max_open =
        options->max_connections == 0 ? LIMIT_CONNECTIONS : options->max_connections;
    status = add_threads(opened, options, error);
    if (status == STATUS_OK && options->metrics_address != NULL) {
        status = add_metrics_thread(opened, options, error);
    }
    /* Also after a failure: a loop that was set up is ended by its own turns. */
    start_threads(opened);
    if (status != STATUS_OK) {
        server_drain(opened);
        server_close(opened, 0);
        return status;
    }
    *server = opened;
    return STATUS_OK;
}

unsigned server_port(const struct server *server)
{
    return server->port;
}

unsigned server_metrics_port(const struct server *server)
{
    return server->metrics_port;
}

void server_write_metrics(struct server *server, struct buffer *text)
{
    const struct metrics_sources sources = {
        .threads = server->metrics,
        .n_threads = server->n_threads,
        .version = server->version,
        .node = server->node,
        .store = server->store,
    };

    metrics_write(&sources, text);
}

void server_drain(struct server *server)
{
    for (unsigned i = 0; i < server->n_threads; i++) {
        mailbox_post(&server->threads[i]->api.mailbox, &server->threads[i]->drain);
    }
}

void server_close(struct server *server, unsigned timeout_ms)
{
    bool is_given_up = false;

    for (unsigned i = 0; i < server->n_threads; i++) {
        server->threads[i]->close_timeout_ms = timeout_ms;
        mailbox_post(&server->threads[i]->api.mailbox, &server->threads[i]->close);
    }
    for (unsigned i = 0; i < server->n_threads; i++) {
        struct server_thread *thread = server->threads[i];

        CHECK(pthread_join(thread->thread, NULL) == 0);
        if (thread->is_given_up) {
            is_given_up = true;
        } else {
            metrics_free(thread->api.metrics);
            free(thread);
        }
    }
    if (!is_given_up) {
        free(server->name);
        free(server->version);
        free(server);
    }
}
