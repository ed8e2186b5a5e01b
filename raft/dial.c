/* 1. dial_start() parses the address; a host name is looked up.
 * 2. on_looked_up() has the IP addresses; try_next() connects to the first.
 * 3. on_connected() says HELLO.
 * 4. on_frame() sees WELCOME and gives the channel away.
 *
 * What can go wrong:
 * - An IP address does not answer within DIAL_CONNECT_MS, or refuses: the next one is tried.
 * - The other side answers REFUSED, or nothing within DIAL_HANDSHAKE_MS: that is told.
 * - dial_cancel(): a lookup that runs cannot be stopped; the memory waits for it. */
#include "raft/dial.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "raft/address.h"

struct dial {
    uv_loop_t *loop;
    uv_timer_t timer;
    struct address_lookup lookup;
    struct addrinfo *results; /* Of the lookup; NULL for an IP address. */
    struct addrinfo *next;    /* Not tried yet. */
    struct sockaddr_storage literal;
    bool literal_is_left; /* Not tried yet. */
    bool allow_insecure;
    bool done; /* The callback ran, or must not. */
    bool is_looking_up;
    bool timer_closed;
    struct channel *channel;
    struct buffer hello; /* Encoded. */
    char address[LIMIT_ADDRESS_BYTES + 1];
    void *data;
    dial_cb cb;
    struct error error; /* The last failure. */
};

static void try_next(struct dial *dial);

/* --- Ending --- */

static void maybe_closed(struct dial *dial)
{
    if (!dial->done || !dial->timer_closed || dial->is_looking_up) {
        return;
    }
    uv_freeaddrinfo(dial->results);
    buffer_close(&dial->hello);
    free(dial);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct dial *dial = handle->data;

    dial->timer_closed = true;
    maybe_closed(dial);
}

static void end(struct dial *dial)
{
    CHECK(!dial->done);
    dial->done = true;
    channel_close(dial->channel);
    dial->channel = NULL;
    if (dial->is_looking_up) {
        (void)uv_cancel((uv_req_t *)&dial->lookup.request); /* Runs already: it is waited for. */
    }
    uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}

static void fail(struct dial *dial)
{
    dial_cb cb = dial->cb;
    void *data = dial->data;
    struct error error = dial->error;

    (void)error_prefix(&error, "%s", dial->address); /* Its status is kept. */
    end(dial);
    cb(data, NULL, NULL, &error);
}

void dial_cancel(struct dial *dial)
{
    end(dial);
}

/* --- The handshake --- */

static void on_timeout(uv_timer_t *timer)
{
    struct dial *dial = timer->data;

    (void)error_set(&dial->error, STATUS_TIMEOUT, "no answer in time"); /* Told by fail(). */
    try_next(dial);
}

static void start_timer(struct dial *dial, unsigned timeout_ms)
{
    CHECK(uv_timer_start(&dial->timer, on_timeout, timeout_ms, 0) == 0);
}

static void on_connected(void *data, struct channel *channel)
{
    struct dial *dial = data;
    struct frame frame;

    CHECK(frame_decode(buffer_slice(&dial->hello), &frame, NULL) == STATUS_OK);
    start_timer(dial, DIAL_HANDSHAKE_MS);
    (void)channel_send(channel, &frame); /* on_broken() tells of a failure. */
    channel_flush(channel);
}

static void refused(struct dial *dial, const struct frame_refused *refused)
{
    enum status status = refused->status == STATUS_OK ? STATUS_PERMISSION : refused->status;

    (void)error_set(&dial->error, status, "refused: %.*s", (int)refused->reason.size,
                    (const char *)refused->reason.data); /* Told by fail(). */
    fail(dial);
}

static void on_frame(void *data, struct channel *channel, const struct frame *frame)
{
    struct dial *dial = data;
    dial_cb cb = dial->cb;
    void *cb_data = dial->data;

    if (frame->type == FRAME_REFUSED) {
        refused(dial, &frame->refused);
        return;
    }
    if (frame->type != FRAME_WELCOME || frame->hello.protocol != FRAME_PROTOCOL) {
        (void)error_set(&dial->error, STATUS_UNSUPPORTED,
                        "the other side speaks another protocol"); /* Told by fail(). */
        fail(dial);
        return;
    }
    dial->channel = NULL;
    end(dial);
    channel_lift_limit(channel);
    cb(cb_data, channel, &frame->hello, NULL); /* Last: what follows is the callee's. */
}

static void on_broken(void *data, struct channel *channel, const struct error *error)
{
    struct dial *dial = data;

    (void)channel; /* The one that try_next() closes. */
    dial->error = *error;
    try_next(dial);
}

static const struct channel_events events = {
    .on_connected = on_connected,
    .on_frame = on_frame,
    .on_broken = on_broken,
};

/* --- Connecting --- */

/* The next IP address to try, or NULL. */
static const struct sockaddr *take_next(struct dial *dial)
{
    const struct addrinfo *next = dial->next;

    if (dial->literal_is_left) {
        dial->literal_is_left = false;
        return (const struct sockaddr *)&dial->literal;
    }
    if (next == NULL) {
        return NULL;
    }
    dial->next = next->ai_next;
    return next->ai_addr;
}

static enum status try_one(struct dial *dial, const struct sockaddr *socket)
{
    enum status status;

    if (!dial->allow_insecure && !address_is_loopback(socket)) {
        return error_set(&dial->error, STATUS_PERMISSION,
                         "peers talk on this machine's loopback only, unless "
                         "--allow-insecure-peers is set");
    }
    status = channel_open(dial->loop, &events, dial, &dial->channel, &dial->error);
    if (status != STATUS_OK) {
        return status;
    }
    start_timer(dial, DIAL_CONNECT_MS);
    return channel_connect(dial->channel, socket, &dial->error);
}

static void try_next(struct dial *dial)
{
    const struct sockaddr *socket;

    for (;;) {
        channel_close(dial->channel);
        dial->channel = NULL;
        socket = take_next(dial);
        if (socket == NULL) {
            fail(dial);
            return;
        }
        if (try_one(dial, socket) == STATUS_OK) {
            return;
        }
    }
}

static void on_start(uv_timer_t *timer)
{
    try_next(timer->data);
}

static void on_looked_up(struct address_lookup *lookup, enum status status,
                         struct addrinfo *results, const struct error *error)
{
    struct dial *dial = lookup->data;

    dial->is_looking_up = false;
    dial->results = results;
    dial->next = results;
    if (dial->done) {
        maybe_closed(dial);
        return;
    }
    if (status != STATUS_OK) {
        dial->error = *error;
    }
    try_next(dial);
}

static enum status start(struct dial *dial, struct error *error)
{
    struct address address;
    enum status status = address_parse(slice_of_string(dial->address), &address, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (address_is_literal(&address, &dial->literal)) {
        dial->literal_is_left = true;
        /* From the loop, so that the callback never runs inside dial_start(). */
        CHECK(uv_timer_start(&dial->timer, on_start, 0, 0) == 0);
        return STATUS_OK;
    }
    dial->lookup.data = dial;
    status = address_lookup_start(&dial->lookup, dial->loop, &address, on_looked_up, error);
    dial->is_looking_up = status == STATUS_OK;
    return status;
}

enum status dial_start(uv_loop_t *loop, const struct dial_options *options, struct dial **dial,
                       struct error *error)
{
    struct dial *started = memory_new_zeroed(1, sizeof *started);
    const struct frame frame = {.type = FRAME_HELLO, .hello = *options->hello};
    size_t size = strlen(options->address);
    enum status status;

    CHECK(uv_timer_init(loop, &started->timer) == 0);
    started->timer.data = started;
    started->loop = loop;
    started->allow_insecure = options->allow_insecure;
    started->data = options->data;
    started->cb = options->cb;
    (void)error_set(&started->error, STATUS_NOT_FOUND, "no address"); /* Until one is tried. */
    frame_encode(&frame, &started->hello);
    size = size > LIMIT_ADDRESS_BYTES ? LIMIT_ADDRESS_BYTES : size;
    memcpy(started->address, options->address, size);
    status = start(started, error);
    if (status != STATUS_OK) {
        end(started);
        return status;
    }
    *dial = started;
    return STATUS_OK;
}
