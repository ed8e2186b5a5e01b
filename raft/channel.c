/* Reading:
 * 1. on_read() appends to the buffer and hands out each whole frame.
 * 2. A frame that is too large, damaged or unknown breaks the channel, as does the end.
 *
 * Writing:
 * 1. channel_send() appends to what is pending.
 * 2. channel_flush() writes at once what the socket takes.
 * 3. The rest is handed to libuv; on_written() flushes again.
 *
 * A failure inside a call of the owner is told from the loop, by the idle handle "trouble". */
#include "raft/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "raft/address.h"

#define READ_BYTES (64u << 10)

/* After a burst, a buffer of this size is not kept. */
#define KEEP_BYTES (1u << 20)

/* A peer whose machine is gone is noticed after so long without an answer, in milliseconds; both by
 * bytes that are not acknowledged and by probes of a silent connection. Short, as every doubling of
 * TCP's patience delays the return of a peer after a partition. */
#define SILENCE_MS       2000
#define PROBE_IDLE_S     1
#define PROBE_INTERVAL_S 1
#define PROBES           2

enum channel_state {
    CHANNEL_NEW,
    CHANNEL_CONNECTING,
    CHANNEL_OPEN,
    CHANNEL_BROKEN,
    CHANNEL_CLOSED
};

struct channel {
    uv_tcp_t tcp;
    uv_idle_t trouble; /* Tells of a failure that happened inside a call. */
    uv_connect_t connect;
    uv_write_t write;
    const struct channel_events *events;
    void *data;
    enum channel_state state;
    unsigned handles; /* Not yet closed. */
    size_t frame_limit;
    struct buffer input;
    size_t consumed;       /* Of it, handed out already. */
    struct buffer pending; /* Not yet given to libuv. */
    struct buffer writing; /* In the hands of libuv, from write_offset on. */
    size_t write_offset;
    struct error error;
};

/* --- Failing --- */

static void stop_io(struct channel *channel, const struct error *error)
{
    channel->state = CHANNEL_BROKEN;
    channel->error = *error;
    (void)uv_read_stop((uv_stream_t *)&channel->tcp); /* Never fails. */
}

/* From a callback of libuv. The last statement of the caller. */
static void break_now(struct channel *channel, const struct error *error)
{
    stop_io(channel, error);
    channel->events->on_broken(channel->data, channel, &channel->error);
}

static void on_trouble(uv_idle_t *trouble)
{
    struct channel *channel = trouble->data;

    CHECK(uv_idle_stop(trouble) == 0);
    channel->events->on_broken(channel->data, channel, &channel->error);
}

/* From a call of the owner. */
static void break_later(struct channel *channel, const struct error *error)
{
    stop_io(channel, error);
    CHECK(uv_idle_start(&channel->trouble, on_trouble) == 0);
}

static void uv_error(struct error *error, const char *what, int rv)
{
    (void)error_set(error, STATUS_IO, "%s: %s", what, uv_strerror(rv)); /* The text is used. */
}

/* --- Opening --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    if (--channel->handles > 0) {
        return;
    }
    buffer_close(&channel->input);
    buffer_close(&channel->pending);
    buffer_close(&channel->writing);
    free(channel);
}

enum status channel_open(uv_loop_t *loop, const struct channel_events *events, void *data,
                         struct channel **channel, struct error *error)
{
    struct channel *opened = memory_new_zeroed(1, sizeof *opened);
    int rv = uv_tcp_init(loop, &opened->tcp);

    if (rv != 0) {
        free(opened);
        return error_set(error, STATUS_IO, "could not make a socket: %s", uv_strerror(rv));
    }
    CHECK(uv_idle_init(loop, &opened->trouble) == 0);
    opened->handles = 2;
    opened->tcp.data = opened;
    opened->trouble.data = opened;
    opened->connect.data = opened;
    opened->write.data = opened;
    opened->events = events;
    opened->data = data;
    opened->frame_limit = CHANNEL_HANDSHAKE_BYTES;
    *channel = opened;
    return STATUS_OK;
}

void channel_set_owner(struct channel *channel, const struct channel_events *events, void *data)
{
    channel->events = events;
    channel->data = data;
}

static void set_option(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof value) != 0) {
        log_debug("peer", "could not tune a connection: %s", strerror(errno));
    }
}

void channel_tune(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MS);
}

/* --- Reading --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct channel *channel = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)buffer_reserve(&channel->input, READ_BYTES), READ_BYTES);
}

/* The frame at the start of @bytes. *@size is 0 if it is not whole yet. */
static enum status next_frame(const struct channel *channel, struct slice bytes,
                              struct frame *frame, size_t *size, struct error *error)
{
    enum status status = frame_size(bytes, size);

    if (status != STATUS_OK || *size > channel->frame_limit) {
        return error_set(error, STATUS_TOO_LARGE,
                         "a frame is too large, or what came is none: is this the peer address of "
                         "a Holdfast node?");
    }
    if (*size > bytes.size) {
        *size = 0;
    }
    if (*size == 0) {
        return STATUS_OK;
    }
    return frame_decode(slice_of(bytes.data, *size), frame, error);
}

/* Hand out what is whole. The channel stays in memory until the loop comes round, so that the owner
 * may close it meanwhile. */
static void hand_out(struct channel *channel)
{
    struct error error;
    enum status status = STATUS_OK;

    while (channel->state == CHANNEL_OPEN) {
        struct frame frame;
        size_t size = 0;

        status = next_frame(channel, slice_from(buffer_slice(&channel->input), channel->consumed),
                            &frame, &size, &error);
        if (status != STATUS_OK || size == 0) {
            break;
        }
        channel->consumed += size;
        channel->events->on_frame(channel->data, channel, &frame);
    }
    buffer_consume(&channel->input, channel->consumed);
    if (channel->input.size == 0 && channel->consumed > KEEP_BYTES) {
        buffer_close(&channel->input);
    }
    channel->consumed = 0;
    if (status != STATUS_OK) {
        break_now(channel, &error);
    }
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct channel *channel = stream->data;
    struct error error;

    (void)buf;
    if (got < 0) {
        uv_error(&error, got == UV_EOF ? "the other side ended the connection" : "could not read",
                 (int)got);
        break_now(channel, &error);
        return;
    }
    if (got > 0) {
        (void)buffer_extend(&channel->input, (size_t)got); /* The bytes are there already. */
        hand_out(channel);
    }
}

static enum status start_reading(struct channel *channel, struct error *error)
{
    uv_os_fd_t fd;
    int rv = uv_fileno((uv_handle_t *)&channel->tcp, &fd);

    if (rv == 0) {
        channel_tune(fd);
        rv = uv_read_start((uv_stream_t *)&channel->tcp, on_alloc, on_read);
    }
    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not read: %s", uv_strerror(rv));
    }
    channel->state = CHANNEL_OPEN;
    return STATUS_OK;
}

/* --- Connecting --- */

static void on_connect(uv_connect_t *connect, int rv)
{
    struct channel *channel = connect->data;
    struct error error;

    if (channel->state != CHANNEL_CONNECTING) {
        return; /* Closed meanwhile. */
    }
    if (rv != 0) {
        uv_error(&error, "could not connect", rv);
        break_now(channel, &error);
        return;
    }
    if (start_reading(channel, &error) != STATUS_OK) {
        break_now(channel, &error);
        return;
    }
    channel->events->on_connected(channel->data, channel);
}

enum status channel_connect(struct channel *channel, const struct sockaddr *address,
                            struct error *error)
{
    int rv;

    CHECK(channel->state == CHANNEL_NEW);
    rv = uv_tcp_connect(&channel->connect, &channel->tcp, address, on_connect);
    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not connect: %s", uv_strerror(rv));
    }
    channel->state = CHANNEL_CONNECTING;
    return STATUS_OK;
}

enum status channel_accept(struct channel *channel, uv_stream_t *listener, struct error *error)
{
    int rv;

    CHECK(channel->state == CHANNEL_NEW);
    rv = uv_accept(listener, (uv_stream_t *)&channel->tcp);
    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not accept a connection: %s", uv_strerror(rv));
    }
    return start_reading(channel, error);
}

enum status channel_adopt(struct channel *channel, int fd, struct error *error)
{
    int rv;

    CHECK(channel->state == CHANNEL_NEW);
    rv = uv_tcp_open(&channel->tcp, fd);
    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not take over a connection: %s", uv_strerror(rv));
    }
    channel_lift_limit(channel);
    return start_reading(channel, error);
}

static bool peer_socket(const struct channel *channel, struct sockaddr_storage *socket)
{
    int size = sizeof *socket;

    return uv_tcp_getpeername(&channel->tcp, (struct sockaddr *)socket, &size) == 0;
}

void channel_describe(const struct channel *channel, char text[LIMIT_ADDRESS_BYTES + 1])
{
    struct sockaddr_storage socket;

    if (peer_socket(channel, &socket)) {
        address_format_socket((const struct sockaddr *)&socket, text);
    } else {
        memcpy(text, "?", sizeof "?");
    }
}

bool channel_is_loopback(const struct channel *channel)
{
    struct sockaddr_storage socket;

    return peer_socket(channel, &socket) && address_is_loopback((const struct sockaddr *)&socket);
}

void channel_lift_limit(struct channel *channel)
{
    channel->frame_limit = LIMIT_FRAME_BYTES;
}

/* --- Writing --- */

size_t channel_queued_bytes(const struct channel *channel)
{
    return channel->pending.size + (channel->writing.size - channel->write_offset);
}

enum status channel_send(struct channel *channel, const struct frame *frame)
{
    struct error error;

    if (channel->state != CHANNEL_OPEN) {
        return STATUS_CLOSED;
    }
    frame_encode(frame, &channel->pending);
    if (channel_queued_bytes(channel) <= LIMIT_PEER_QUEUE_BYTES) {
        return STATUS_OK;
    }
    (void)error_set(&error, STATUS_BUSY, "the other side does not read what it is sent");
    break_later(channel, &error);
    return STATUS_BUSY;
}

static void clear_output(struct buffer *buffer)
{
    if (buffer->size > KEEP_BYTES) {
        buffer_close(buffer);
    } else {
        buffer_clear(buffer);
    }
}

static void on_written(uv_write_t *write, int rv)
{
    struct channel *channel = write->data;
    struct error error;

    clear_output(&channel->writing);
    channel->write_offset = 0;
    if (channel->state != CHANNEL_OPEN) {
        return;
    }
    if (rv != 0) {
        uv_error(&error, "could not write", rv);
        break_now(channel, &error);
        return;
    }
    channel_flush(channel);
}

/* The socket is full: libuv writes the rest of what was pending, from @offset on. */
static void write_rest(struct channel *channel, size_t offset)
{
    struct buffer spare = channel->writing;
    struct error error;
    uv_buf_t buf;
    int rv;

    channel->writing = channel->pending;
    channel->pending = spare; /* Empty; its memory is used again. */
    channel->write_offset = offset;
    buf = uv_buf_init((char *)channel->writing.data + offset,
                      (unsigned)(channel->writing.size - offset));
    rv = uv_write(&channel->write, (uv_stream_t *)&channel->tcp, &buf, 1, on_written);
    if (rv != 0) {
        clear_output(&channel->writing);
        channel->write_offset = 0;
        uv_error(&error, "could not write", rv);
        break_later(channel, &error);
    }
}

void channel_flush(struct channel *channel)
{
    struct error error;
    uv_buf_t buf;
    int written;

    if (channel->state != CHANNEL_OPEN || channel->pending.size == 0 || channel->writing.size > 0) {
        return;
    }
    buf = uv_buf_init((char *)channel->pending.data, (unsigned)channel->pending.size);
    written = uv_try_write((uv_stream_t *)&channel->tcp, &buf, 1);
    if (written == UV_EAGAIN) {
        written = 0;
    }
    if (written < 0) {
        uv_error(&error, "could not write", written);
        break_later(channel, &error);
    } else if ((size_t)written == channel->pending.size) {
        clear_output(&channel->pending);
    } else {
        write_rest(channel, (size_t)written);
    }
}

/* --- Ending --- */

enum status channel_detach(struct channel *channel, int *fd)
{
    uv_os_fd_t own;
    int copy;

    if (channel->state != CHANNEL_OPEN || channel_queued_bytes(channel) > 0 ||
        channel->input.size > channel->consumed) {
        return STATUS_BUSY;
    }
    /* A copy, so that libuv can close its own, whose registration ends with that. */
    if (uv_fileno((uv_handle_t *)&channel->tcp, &own) != 0) {
        return STATUS_IO;
    }
    copy = fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        return STATUS_IO;
    }
    *fd = copy;
    return STATUS_OK;
}

void channel_close(struct channel *channel)
{
    if (channel == NULL) {
        return;
    }
    CHECK(channel->state != CHANNEL_CLOSED);
    channel->state = CHANNEL_CLOSED;
    uv_close((uv_handle_t *)&channel->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&channel->trouble, on_handle_closed);
}
