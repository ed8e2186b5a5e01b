/* The phases, each entered once and in this order:
 *
 * 1. CONNECT: all connections are made. The clock has not started.
 * 2. FILL (if asked for): numbered transactions go out until each was answered with 2xx.
 * 3. RUN: the clock starts; the measured time begins after the warm-up.
 * 4. DRAIN: the measured time is over; what is in flight or was due is still answered.
 * 5. STOP: all handles close, and the loop ends by itself.
 *
 * A connection:
 *
 *   DOWN --timer--> CONNECTING --on_connected--> OPEN <--timer--> PAUSED (after an error status)
 *     ^                 |                          |                |
 *     +--on_closed-- BREAKING <--------------------+----------------+
 *
 * What can go wrong: a connection breaks: what was in flight on it counts as lost, and it is made
 * anew after a while. An error status: counted, and the connection pauses, so that a cluster
 * without a leader is not hammered. CONNECT or FILL that does not get on: the run fails. */
#include "tools/bench_load.h"

#include <inttypes.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "tools/bench_work.h"

#define CONNECT_WAIT_MS 10000
#define FILL_STALL_MS   30000
#define DRAIN_MS        10000
#define RECONNECT_MS    50
#define PAUSE_MS        20
#define TICK_NS         50000u /* The open loop looks at what is due at most so often. */
#define READ_BYTES      (64u << 10)

enum phase { CONNECT, FILL, RUN, DRAIN, STOP };
enum state { DOWN, CONNECTING, OPEN, PAUSED, BREAKING };

struct load;

struct connection {
    struct load *load;
    enum state state;
    struct link idle; /* In load->idle if is_idle. */
    bool is_idle;
    bool is_writing; /* libuv holds the rest of out. */
    bool was_open;
    const struct sockaddr *address;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_timer_t timer;
    llhttp_t parser;
    uint8_t *out; /* Requests that the kernel did not take yet. */
    size_t out_size;
    struct bench_slot *slots; /* A ring: answers come in order. */
    size_t first;
    size_t in_flight;
};

struct load {
    const struct bench_options *options;
    struct bench_result *result;
    uv_loop_t loop;
    enum phase phase;
    enum status status; /* What the run gives back. */
    struct error *error;
    struct sockaddr_storage addresses[ENDPOINTS_MAX];
    struct connection *connections;
    size_t n_connected; /* That were open once. */
    size_t in_flight;
    struct queue idle; /* Open loop: connections that can take a request. */
    llhttp_settings_t settings;
    struct bench_work work;
    size_t out_capacity;
    uv_timer_t clock; /* Ends a phase. */
    /* Open loop. */
    int tick_fd;
    uv_poll_t ticker;
    bool is_armed;
    uint64_t fill_seen; /* Transactions that were done when it was looked at last. */
    uint8_t input[READ_BYTES];
};

static void connection_connect(struct connection *connection);
static void connection_break(struct connection *connection);
static void start_run(struct load *load);
static void start_stop(struct load *load);

/* --- Sending
 * -------------------------------------------------------------------------------------- */

static void append_request(struct connection *connection, const struct bench_slot *slot)
{
    struct load *load = connection->load;
    size_t last = (connection->first + connection->in_flight) % load->options->pipeline;

    connection->out_size +=
        bench_work_write(&load->work, slot, connection->out + connection->out_size);
    connection->slots[last] = *slot;
    connection->in_flight++;
    load->in_flight++;
}

static bool is_open_loop(const struct load *load)
{
    return load->options->rate > 0 && load->work.mode == BENCH_TIMED;
}

/* True while requests of the open loop wait for a free connection, or for their time. */
static bool has_backlog(const struct load *load)
{
    return is_open_loop(load) && bench_work_due_ns(&load->work) != UINT64_MAX;
}

static void on_written(uv_write_t *write, int rv);

/* Hand to the kernel what is in out. False if the connection broke by it. */
static bool connection_flush(struct connection *connection)
{
    uv_buf_t rest;
    int rv;

    if (connection->is_writing || connection->out_size == 0) {
        return true;
    }
    rest = uv_buf_init((char *)connection->out, (unsigned)connection->out_size);
    rv = uv_try_write((uv_stream_t *)&connection->tcp, &rest, 1);
    if (rv == (int)connection->out_size) {
        connection->out_size = 0;
        return true;
    }
    if (rv < 0 && rv != UV_EAGAIN) {
        connection_break(connection);
        return false;
    }
    if (rv > 0) {
        rest.base += rv;
        rest.len -= (size_t)rv;
    }
    rv = uv_write(&connection->write, (uv_stream_t *)&connection->tcp, &rest, 1, on_written);
    if (rv != 0) {
        connection_break(connection);
        return false;
    }
    connection->is_writing = true;
    return true;
}

static bool connection_has_room(const struct connection *connection)
{
    /* A server may answer before it read all of a request, so slots alone do not bound out. */
    return connection->state == OPEN && !connection->is_writing &&
           connection->in_flight < connection->load->options->pipeline;
}

/* Let the ticker run when the next request of the open loop is due. */
static void arm_ticker(struct load *load, uint64_t now_ns)
{
    uint64_t wait_ns = TICK_NS;
    uint64_t due_ns = bench_work_due_ns(&load->work);
    struct itimerspec when = {0};

    if (load->is_armed || due_ns == UINT64_MAX) {
        return;
    }
    if (due_ns > now_ns + TICK_NS) {
        wait_ns = due_ns - now_ns;
    }
    when.it_value.tv_sec = (time_t)(wait_ns / 1000000000u);
    when.it_value.tv_nsec = (long)(wait_ns % 1000000000u);
    CHECK(timerfd_settime(load->tick_fd, 0, &when, NULL) == 0);
    load->is_armed = true;
}

/* Send @most requests if there is work, and note whether it could take more. */
static void connection_send(struct connection *connection, size_t most)
{
    struct load *load = connection->load;
    uint64_t now_ns = uv_hrtime();
    struct bench_slot slot;

    for (;
         most > 0 && connection_has_room(connection) && bench_work_take(&load->work, now_ns, &slot);
         most--) {
        append_request(connection, &slot);
    }
    if (connection_flush(connection) && connection_has_room(connection) && !connection->is_idle) {
        connection->is_idle = true;
        queue_push(&load->idle, &connection->idle);
        if (is_open_loop(load)) {
            arm_ticker(load, now_ns);
        }
    }
}

static void connection_forget_idle(struct connection *connection)
{
    if (connection->is_idle) {
        connection->is_idle = false;
        queue_remove(&connection->idle);
    }
}

/* Spread what is to be done over the connections that are free. */
static void dispatch(struct load *load)
{
    uint64_t now_ns = uv_hrtime();
    struct queue free_now;
    struct link *link;

    if (!is_open_loop(load)) {
        queue_init(&free_now);
        queue_append(&free_now, &load->idle);
        while ((link = queue_pop(&free_now)) != NULL) {
            struct connection *connection = CONTAINER_OF(link, struct connection, idle);

            connection->is_idle = false;
            connection_send(connection, load->options->pipeline);
        }
        return;
    }
    while (bench_work_due_ns(&load->work) <= now_ns && (link = queue_pop(&load->idle)) != NULL) {
        struct connection *connection = CONTAINER_OF(link, struct connection, idle);

        connection->is_idle = false;
        connection_send(connection, 1);
    }
    if (!queue_is_empty(&load->idle)) {
        arm_ticker(load, now_ns);
    }
}

static void on_tick(uv_poll_t *ticker, int rv, int events)
{
    struct load *load = ticker->data;
    uint64_t expirations;

    (void)events;
    CHECK(rv == 0);
    /* Nothing to read means that it was armed anew meanwhile; it will fire again. */
    if (read(load->tick_fd, &expirations, sizeof expirations) < 0) {
        return;
    }
    load->is_armed = false;
    dispatch(load);
}

/* --- Phases
 * --------------------------------------------------------------------------------------- */

static void fail(struct load *load, enum status status, const char *text)
{
    if (load->status == STATUS_OK) {
        load->status = error_set(load->error, status, "%s", text);
    }
    start_stop(load);
}

static void maybe_drained(struct load *load)
{
    if (load->phase == DRAIN && load->in_flight == 0 && !has_backlog(load)) {
        start_stop(load);
    }
}

static void on_drain_over(uv_timer_t *timer)
{
    struct load *load = timer->data;
    struct bench_slot unsent;

    while (has_backlog(load)) {
        (void)bench_work_take(&load->work, UINT64_MAX, &unsent); /* It is due: has_backlog(). */
        load->result->unanswered++;
    }
    load->result->unanswered += load->in_flight;
    start_stop(load);
}

static void on_run_over(uv_timer_t *timer)
{
    struct load *load = timer->data;

    load->phase = DRAIN;
    CHECK(uv_timer_start(timer, on_drain_over, DRAIN_MS, 0) == 0);
    maybe_drained(load);
}

static void start_run(struct load *load)
{
    const struct bench_options *options = load->options;

    if (options->duration_ms == 0) {
        start_stop(load);
        return;
    }
    load->phase = RUN;
    bench_work_start_timed(&load->work, uv_hrtime());
    uv_update_time(&load->loop);
    CHECK(uv_timer_start(&load->clock, on_run_over, options->warmup_ms + options->duration_ms, 0) ==
          0);
    dispatch(load);
}

static void on_fill_checked(uv_timer_t *timer)
{
    struct load *load = timer->data;

    if (load->work.fill_done == load->fill_seen) {
        fail(load, STATUS_TIMEOUT, "filling does not get on: is there a leader?");
        return;
    }
    load->fill_seen = load->work.fill_done;
}

static void fill_one_done(struct load *load)
{
    if (!bench_work_done(&load->work)) {
        return;
    }
    load->result->fill_ms = (uv_hrtime() - load->work.begin_ns) / 1000000;
    load->result->filled = bench_work_fill_records(&load->work);
    start_run(load);
}

static void start_fill(struct load *load)
{
    load->phase = FILL;
    bench_work_start_fill(&load->work, uv_hrtime());
    CHECK(uv_timer_start(&load->clock, on_fill_checked, FILL_STALL_MS, FILL_STALL_MS) == 0);
    dispatch(load);
}

static void on_connect_over(uv_timer_t *timer)
{
    struct load *load = timer->data;
    size_t i = 0;
    char text[256];

    while (load->connections[i].was_open) {
        i++;
    }
    (void)snprintf(text, sizeof text, "could not connect to %.128s within %d s",
                   load->options->endpoints.list[i % load->options->endpoints.count].url,
                   CONNECT_WAIT_MS / 1000);
    fail(load, STATUS_TIMEOUT, text);
}

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle; /* All memory is released after the loop. */
}

static void start_stop(struct load *load)
{
    if (load->phase == STOP) {
        return;
    }
    load->phase = STOP;
    uv_close((uv_handle_t *)&load->clock, on_handle_closed);
    uv_close((uv_handle_t *)&load->ticker, on_handle_closed);
    for (size_t i = 0; i < load->options->connections; i++) {
        struct connection *connection = &load->connections[i];

        uv_close((uv_handle_t *)&connection->timer, on_handle_closed);
        if (connection->state != DOWN && connection->state != BREAKING) {
            uv_close((uv_handle_t *)&connection->tcp, on_handle_closed);
        }
    }
}

/* --- A connection
 * --------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct connection *connection = timer->data;

    if (connection->state == DOWN) {
        connection_connect(connection);
    } else if (connection->state == PAUSED) {
        connection->state = OPEN;
        connection_send(connection, connection->load->options->pipeline);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    connection->state = DOWN;
    if (connection->load->phase != STOP) {
        CHECK(uv_timer_start(&connection->timer, on_timer, RECONNECT_MS, 0) == 0);
    }
}

/* Give up on what is in flight and close; on_closed() leads to a new attempt. */
static void connection_break(struct connection *connection)
{
    struct load *load = connection->load;

    if (connection->state == BREAKING || connection->state == DOWN || load->phase == STOP) {
        return;
    }
    for (; connection->in_flight > 0; connection->in_flight--) {
        if (load->phase == FILL) {
            bench_work_again(&load->work, &connection->slots[connection->first]);
        } else {
            load->result->lost++;
        }
        connection->first = (connection->first + 1) % load->options->pipeline;
        load->in_flight--;
    }
    if (connection->state == OPEN || connection->state == PAUSED) {
        load->result->reconnects++;
    }
    connection_forget_idle(connection);
    connection->state = BREAKING;
    connection->out_size = 0;
    connection->is_writing = false;
    (void)uv_timer_stop(&connection->timer); /* Cannot fail. */
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    maybe_drained(load);
}

static void on_written(uv_write_t *write, int rv)
{
    struct connection *connection = write->data;

    if (rv == UV_ECANCELED || connection->load->phase == STOP) {
        return; /* It is being closed. */
    }
    connection->is_writing = false;
    connection->out_size = 0;
    if (rv != 0) {
        connection_break(connection);
        return;
    }
    connection_send(connection, connection->load->options->pipeline);
}

/* Count the answer to @slot. False if the connection should pause. */
static bool count_answer(struct load *load, const struct bench_slot *slot, unsigned status)
{
    struct bench_result *result = load->result;
    uint64_t now_ns = uv_hrtime();
    bool is_read = slot->op == BENCH_GET || slot->op == BENCH_STALE_GET;
    bool is_miss = status == 404 && is_read;

    if ((status < 200 || status > 299) && !is_miss) {
        result->errors[status < BENCH_MAX_STATUS ? status : 0]++;
        return false;
    }
    if (slot->since_ns >= load->work.measure_ns && slot->since_ns < load->work.end_ns) {
        histogram_record(&result->latency_ns[slot->op], now_ns - slot->since_ns);
        result->misses += is_miss ? 1 : 0;
    }
    if (now_ns >= load->work.measure_ns && now_ns < load->work.end_ns) {
        result->completed++;
    }
    return true;
}

static int on_answer(llhttp_t *parser)
{
    struct connection *connection = parser->data;
    struct load *load = connection->load;
    unsigned status = (unsigned)parser->status_code;
    struct bench_slot slot;
    bool is_good;

    if (connection->in_flight == 0) {
        return HPE_USER; /* An answer that nobody asked for. */
    }
    slot = connection->slots[connection->first];
    connection->first = (connection->first + 1) % load->options->pipeline;
    connection->in_flight--;
    load->in_flight--;
    if (load->phase == FILL) {
        is_good = status >= 200 && status <= 299;
        if (is_good) {
            fill_one_done(load);
        } else {
            load->result->errors[status < BENCH_MAX_STATUS ? status : 0]++;
            bench_work_again(&load->work, &slot);
        }
    } else {
        is_good = count_answer(load, &slot, status);
    }
    if (!is_good && connection->state == OPEN) {
        connection->state = PAUSED;
        connection_forget_idle(connection);
        CHECK(uv_timer_start(&connection->timer, on_timer, PAUSE_MS, 0) == 0);
    }
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)connection->load->input, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;
    struct load *load = connection->load;

    if (n == 0 || load->phase == STOP) {
        return;
    }
    if (n < 0) {
        connection_break(connection);
        return;
    }
    if (llhttp_execute(&connection->parser, buf->base, (size_t)n) != HPE_OK) {
        if (load->phase != STOP) {
            load->result->bad_responses++;
            connection_break(connection);
        }
        return;
    }
    if (load->phase == STOP) {
        return; /* The last transaction of FILL may have ended the run. */
    }
    if (is_open_loop(load)) {
        connection_send(connection, has_backlog(load) ? load->options->pipeline : 0);
        dispatch(load);
    } else {
        connection_send(connection, load->options->pipeline);
    }
    maybe_drained(load);
}

static void on_connected(uv_connect_t *connect, int rv)
{
    struct connection *connection = connect->data;
    struct load *load = connection->load;

    if (rv == UV_ECANCELED || load->phase == STOP) {
        return;
    }
    if (rv != 0) {
        connection_break(connection);
        return;
    }
    (void)uv_tcp_nodelay(&connection->tcp, 1); /* Slower without, not wrong. */
    llhttp_init(&connection->parser, HTTP_RESPONSE, &load->settings);
    connection->parser.data = connection;
    connection->state = OPEN;
    CHECK(uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) == 0);
    if (!connection->was_open) {
        connection->was_open = true;
        load->n_connected++;
    }
    connection_send(connection, load->options->pipeline);
    if (load->phase != CONNECT || load->n_connected < load->options->connections) {
        return;
    }
    if (load->options->fill) {
        start_fill(load);
    } else {
        start_run(load);
    }
}

static void connection_connect(struct connection *connection)
{
    connection->state = CONNECTING;
    CHECK(uv_tcp_init(&connection->load->loop, &connection->tcp) == 0);
    connection->tcp.data = connection;
    connection->connect.data = connection;
    connection->write.data = connection;
    if (uv_tcp_connect(&connection->connect, &connection->tcp, connection->address, on_connected) !=
        0) {
        connection_break(connection);
    }
}

/* --- The run
 * -------------------------------------------------------------------------------------- */

static void open_connections(struct load *load)
{
    const struct bench_options *options = load->options;

    load->connections = memory_new_zeroed(options->connections, sizeof *load->connections);
    for (size_t i = 0; i < options->connections; i++) {
        struct connection *connection = &load->connections[i];

        connection->load = load;
        connection->address =
            (const struct sockaddr *)&load->addresses[i % options->endpoints.count];
        connection->out = memory_new(load->out_capacity);
        connection->slots = memory_new_zeroed(options->pipeline, sizeof *connection->slots);
        CHECK(uv_timer_init(&load->loop, &connection->timer) == 0);
        connection->timer.data = connection;
        connection_connect(connection);
    }
}

static void start_clocks(struct load *load)
{
    load->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK(load->tick_fd >= 0);
    CHECK(uv_poll_init(&load->loop, &load->ticker, load->tick_fd) == 0);
    load->ticker.data = load;
    CHECK(uv_poll_start(&load->ticker, UV_READABLE, on_tick) == 0);
    CHECK(uv_timer_init(&load->loop, &load->clock) == 0);
    load->clock.data = load;
    CHECK(uv_timer_start(&load->clock, on_connect_over, CONNECT_WAIT_MS, 0) == 0);
}

static void release(struct load *load)
{
    for (size_t i = 0; i < load->options->connections; i++) {
        free(load->connections[i].out);
        free(load->connections[i].slots);
    }
    bench_work_close(&load->work);
    free(load->connections);
    (void)close(load->tick_fd); /* Nothing was written to it. */
}

enum status bench_load_run(const struct bench_options *options, struct bench_result *result,
                           struct error *error)
{
    struct load *load = memory_new_zeroed(1, sizeof *load);
    enum status status;

    memset(result, 0, sizeof *result);
    load->options = options;
    load->result = result;
    load->error = error;
    load->settings.on_message_complete = on_answer;
    queue_init(&load->idle);
    for (size_t i = 0; i < options->endpoints.count; i++) {
        socklen_t size;

        status = endpoint_resolve(&options->endpoints.list[i], &load->addresses[i], &size, error);
        if (status != STATUS_OK) {
            goto out;
        }
    }
    CHECK(uv_loop_init(&load->loop) == 0);
    bench_work_init(&load->work, options, uv_hrtime() | 1);
    load->out_capacity = load->work.largest * options->pipeline;
    start_clocks(load);
    open_connections(load);
    (void)uv_run(&load->loop, UV_RUN_DEFAULT); /* Ends when all handles are closed. */
    CHECK(uv_loop_close(&load->loop) == 0);
    status = load->status;
    release(load);
out:
    free(load);
    return status;
}

uint64_t bench_result_errors(const struct bench_result *result)
{
    uint64_t sum = result->lost + result->unanswered + result->bad_responses;

    for (unsigned status = 0; status < BENCH_MAX_STATUS; status++) {
        sum += result->errors[status];
    }
    return sum;
}
