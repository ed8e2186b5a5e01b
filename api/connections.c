/* The connections of a thread: those that come, those that are too slow, and the end of all. */
#include <stdlib.h>

#include "api/connection_private.h"
#include "api/metrics.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define OVER_LIMIT   64 /* Connections beyond the maximum that are told so. */
#define SWEEPS       8  /* Looks at each connection per shortest time-out. */
#define MIN_SWEEP_MS 10
#define MAX_SWEEP_MS 1000

/* --- Time
 * ----------------------------------------------------------------------------------------*/

static bool is_too_slow(const struct connection *c, uint64_t now)
{
    const struct connection_times *times = &c->all->times;
    uint64_t elapsed_ms = now - c->since_ms;

    if (c->http.stage != HTTP_STAGE_BODY) {
        return elapsed_ms > times->head_ms;
    }
    return elapsed_ms > times->body_grace_ms &&
           c->http.body.size < (elapsed_ms - times->body_grace_ms) * times->body_rate / 1000;
}

/* Cut it off if it took nothing of its answers for too long. */
static void check_writing(struct connection *c, uint64_t now)
{
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);

    if (left != c->unsent_then) {
        c->unsent_then = left;
        c->progress_ms = now;
    } else if (now - c->progress_ms > c->all->times.write_ms) {
        connection_close(c);
    }
}

static void check_time(struct connection *c, uint64_t now)
{
    const struct connection_times *times = &c->all->times;

    if (c->is_writing) {
        check_writing(c, now);
        return;
    }
    switch (c->state) {
    case IDLE:
        if (now - c->since_ms > times->idle_ms) {
            connection_close(c);
        } else if (now - c->since_ms > MAX_SWEEP_MS && c->start == c->in.size) {
            buffer_close(&c->in); /* Thousands of idle connections hold no buffers. */
            c->start = 0;
            connection_count_memory(c);
        }
        break;
    case READING:
        if (is_too_slow(c, now)) {
            connection_refuse(c, PROBLEM_REQUEST_TIMEOUT, "the request took too long to arrive");
        }
        break;
    case ENDING:
        if (c->is_shut && now - c->since_ms > times->linger_ms) {
            connection_close(c);
        }
        break;
    case WORKING:
    case STREAMING:
    case CLOSED:
    case STATES:
        break;
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct connections *all = timer->data;
    uint64_t now = uv_now(timer->loop);
    struct link *link = queue_first(&all->all);

    while (link != NULL) {
        struct connection *c = CONTAINER_OF(link, struct connection, link);

        link = queue_next(&all->all, link); /* Connections leave the list later, from the loop. */
        check_time(c, now);
    }
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static uint64_t sweep_interval_ms(const struct connection_times *times)
{
    unsigned shortest =
        smaller(smaller(times->idle_ms, times->head_ms),
                smaller(smaller(times->body_grace_ms, times->write_ms), times->linger_ms));
    unsigned interval_ms = shortest / SWEEPS;

    return interval_ms < MIN_SWEEP_MS ? MIN_SWEEP_MS : smaller(interval_ms, MAX_SWEEP_MS);
}

/* --- All of a thread
 * -----------------------------------------------------------------------------*/

void connections_start(struct connections *connections)
{
    uint64_t interval_ms = sweep_interval_ms(&connections->times);

    queue_init(&connections->all);
    queue_init(&connections->dirty);
    connections->count = 0;
    connections->draining = false;
    connections->log_limit = (struct log_limit){0};
    connections->date = (struct response_date){.second = -1};
    connections->sweep.data = connections;
    /* Both fail for wrong arguments only. */
    CHECK(uv_timer_init(&connections->thread->loop, &connections->sweep) == 0);
    CHECK(uv_timer_start(&connections->sweep, on_sweep, interval_ms, interval_ms) == 0);
}

static void on_not_accepted(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    free(c);
}

void connections_accept(struct connections *connections, uv_stream_t *listener)
{
    struct connections_shared *shared = connections->shared;
    struct connection *c = memory_new_zeroed(1, sizeof(*c));
    unsigned open = atomic_load_explicit(&shared->open, memory_order_relaxed);

    c->all = connections;
    c->tcp.data = c;
    CHECK(uv_tcp_init(&connections->thread->loop, &c->tcp) == 0);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || open >= shared->max_open + OVER_LIMIT ||
        connections->draining) {
        uv_close((uv_handle_t *)&c->tcp, on_not_accepted);
        return;
    }
    http_init(&c->http);
    c->since_ms = connection_now_ms(c);
    queue_push(&connections->all, &c->link);
    connections->count++;
    (void)atomic_fetch_add_explicit(&shared->open, 1, memory_order_relaxed);
    metrics_connection(connections->thread->metrics, 1);
    if (open >= shared->max_open) {
        connection_refuse(c, PROBLEM_OVERLOADED, "this node serves as many connections as it may");
    } else {
        connection_update_reading(c);
    }
}

void connections_drain(struct connections *connections)
{
    struct link *link = queue_first(&connections->all);

    connections->draining = true;
    while (link != NULL) {
        struct connection *c = CONTAINER_OF(link, struct connection, link);

        link = queue_next(&connections->all, link);
        if (c->state == IDLE && !connection_has_input(c)) {
            connection_end(c);
        }
    }
}

void connections_cut(struct connections *connections)
{
    struct link *link = queue_first(&connections->all);

    while (link != NULL) {
        struct connection *c = CONTAINER_OF(link, struct connection, link);

        link = queue_next(&connections->all, link);
        connection_close(c);
    }
}

void connections_stop(struct connections *connections)
{
    CHECK(connections->count == 0);
    uv_close((uv_handle_t *)&connections->sweep, NULL);
}
