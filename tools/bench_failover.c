/* 1. A write is prepared: a new idempotency key, the same for all its attempts.
 * 2. attempt() sends it to the current endpoint and waits for the answer.
 * 3. 2xx: acknowledged; the time since the last acknowledgement is the gap.
 *
 * What can go wrong: the connection breaks, no answer comes within options->attempt_ms, or the
 * answer is 429, 503 or 504: the next endpoint is tried with the same key. Any other status is a
 * refusal that no retry cures, and ends the run. */
#include "tools/bench_failover.h"

#include <errno.h>
#include <inttypes.h>
#include <llhttp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "tools/bench_request.h"

#define RETRY_WAIT_MS 2 /* Between attempts: a node that refuses at once is not hammered. */

/* No status of HTTP. */
#define NO_ANSWER 0u

struct writer {
    const struct bench_options *options;
    struct sockaddr_storage addresses[ENDPOINTS_MAX];
    socklen_t address_sizes[ENDPOINTS_MAX];
    size_t endpoint; /* The current one. */
    int fd;          /* Connected to it, or -1. */
    llhttp_t parser;
    llhttp_settings_t settings;
    bool is_answered;
    struct bench_request request;
    uint8_t *bytes;
    uint64_t acknowledged, attempts, longest_ns;
};

/* RFC 3339 with milliseconds, @ago_ns before now. */
static void format_time(char text[32], uint64_t ago_ns)
{
    struct tm parts;
    uint64_t ms;
    time_t seconds;
    char day[24];

    ms = clock_wall_ms() - ago_ns / 1000000;
    seconds = (time_t)(ms / 1000);
    CHECK(gmtime_r(&seconds, &parts) != NULL);
    CHECK(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts) > 0);
    (void)snprintf(text, 32, "%s.%03uZ", day, (unsigned)(ms % 1000));
}

/* Wait until @fd can be read or written. False when the time is over. */
static bool wait_for(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = clock_ns();
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int rv;

        if (now >= deadline_ns) {
            return false;
        }
        rv = poll(&poll_fd, 1, (int)((deadline_ns - now) / 1000000) + 1);
        if (rv > 0) {
            return true;
        }
        if (rv < 0 && errno != EINTR) {
            return false;
        }
    }
}

static void disconnect(struct writer *writer)
{
    if (writer->fd >= 0) {
        (void)close(writer->fd); /* Nothing that is still needed was written. */
        writer->fd = -1;
    }
}

static bool connect_to_endpoint(struct writer *writer, uint64_t deadline_ns)
{
    const struct sockaddr *address = (const struct sockaddr *)&writer->addresses[writer->endpoint];
    int failure = 0;
    socklen_t size = sizeof failure;
    int yes = 1;

    writer->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (writer->fd < 0) {
        return false;
    }
    if (connect(writer->fd, address, writer->address_sizes[writer->endpoint]) != 0 &&
        (errno != EINPROGRESS || !wait_for(writer->fd, POLLOUT, deadline_ns) ||
         getsockopt(writer->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure != 0)) {
        disconnect(writer);
        return false;
    }
    /* Slower without, not wrong. */
    (void)setsockopt(writer->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    llhttp_init(&writer->parser, HTTP_RESPONSE, &writer->settings);
    writer->parser.data = writer;
    return true;
}

static bool send_all(struct writer *writer, uint64_t deadline_ns)
{
    size_t sent = 0;

    while (sent < writer->request.bytes.size) {
        ssize_t n =
            send(writer->fd, writer->bytes + sent, writer->request.bytes.size - sent, MSG_NOSIGNAL);

        if (n > 0) {
            sent += (size_t)n;
        } else if ((errno != EAGAIN && errno != EINTR) ||
                   !wait_for(writer->fd, POLLOUT, deadline_ns)) {
            return false;
        }
    }
    return true;
}

static int on_answer(llhttp_t *parser)
{
    struct writer *writer = parser->data;

    writer->is_answered = true;
    return 0;
}

static bool receive_answer(struct writer *writer, uint64_t deadline_ns)
{
    char input[4096];

    writer->is_answered = false;
    while (!writer->is_answered) {
        ssize_t n;

        if (!wait_for(writer->fd, POLLIN, deadline_ns)) {
            return false;
        }
        n = recv(writer->fd, input, sizeof input, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (n <= 0 || llhttp_execute(&writer->parser, input, (size_t)n) != HPE_OK) {
            return false;
        }
    }
    return true;
}

/* Send the write once. Gives the status, or NO_ANSWER. */
static unsigned attempt(struct writer *writer)
{
    uint64_t deadline_ns = clock_ns() + writer->options->attempt_ms * 1000000;

    writer->attempts++;
    if (writer->fd < 0 && !connect_to_endpoint(writer, deadline_ns)) {
        return NO_ANSWER;
    }
    if (!send_all(writer, deadline_ns) || !receive_answer(writer, deadline_ns)) {
        disconnect(writer); /* A late answer must not be taken for that of the next write. */
        return NO_ANSWER;
    }
    return (unsigned)writer->parser.status_code;
}

static bool is_worth_a_retry(unsigned status)
{
    return status == NO_ANSWER || status == 429 || status == 503 || status == 504;
}

static void move_on(struct writer *writer)
{
    struct timespec pause = {.tv_nsec = RETRY_WAIT_MS * 1000000};

    disconnect(writer);
    writer->endpoint = (writer->endpoint + 1) % writer->options->endpoints.count;
    (void)nanosleep(&pause, NULL); /* An early return does no harm. */
}

static void note_gap(struct writer *writer, uint64_t last_ns, unsigned attempts)
{
    uint64_t now = clock_ns();
    uint64_t gap_ns = now - last_ns;
    char from[32];
    char to[32];

    if (gap_ns > writer->longest_ns) {
        writer->longest_ns = gap_ns;
    }
    if (gap_ns < writer->options->gap_ms * 1000000) {
        return;
    }
    format_time(from, gap_ns);
    format_time(to, 0);
    (void)printf("{\"event\":\"gap\",\"gap_ms\":%.1f,\"from\":\"%s\",\"to\":\"%s\","
                 "\"attempts\":%u,\"endpoint\":\"%s\"}\n",
                 (double)gap_ns / 1e6, from, to, attempts,
                 writer->options->endpoints.list[writer->endpoint].url);
    (void)fflush(stdout); /* Who measures waits for this line. */
}

static enum status write_once(struct writer *writer, uint64_t number, uint64_t stamp,
                              uint64_t end_ns, unsigned *attempts, struct error *error)
{
    unsigned status;

    bench_request_write(&writer->request, number, stamp, writer->bytes);
    for (*attempts = 1;; (*attempts)++) {
        status = attempt(writer);
        if (status >= 200 && status <= 299) {
            return STATUS_OK;
        }
        if (!is_worth_a_retry(status)) {
            return error_set(error, STATUS_INVALID, "a write was refused with status %u by %s",
                             status, writer->options->endpoints.list[writer->endpoint].url);
        }
        if (clock_ns() >= end_ns) {
            return STATUS_TIMEOUT;
        }
        move_on(writer);
    }
}

static enum status write_on(struct writer *writer, struct error *error)
{
    uint64_t begin_ns = clock_ns();
    uint64_t end_ns = begin_ns + writer->options->duration_ms * 1000000;
    uint64_t last_ns = begin_ns;
    enum status status = STATUS_OK;
    uint64_t stamp;
    unsigned attempts;

    CHECK(getrandom(&stamp, sizeof stamp, 0) == (ssize_t)sizeof stamp);
    while (clock_ns() < end_ns) {
        status = write_once(writer, writer->acknowledged, stamp + writer->acknowledged, end_ns,
                            &attempts, error);
        if (status == STATUS_INVALID) {
            return status;
        }
        if (status == STATUS_OK) {
            writer->acknowledged++;
            note_gap(writer, last_ns, attempts);
            last_ns = clock_ns();
        }
    }
    if (status == STATUS_TIMEOUT && clock_ns() - last_ns > writer->longest_ns) {
        writer->longest_ns = clock_ns() - last_ns; /* It ended in the middle of a gap. */
    }
    (void)printf("{\"event\":\"summary\",\"acknowledged\":%" PRIu64 ",\"attempts\":%" PRIu64
                 ",\"longest_gap_ms\":%.1f,\"ended_waiting\":%s}\n",
                 writer->acknowledged, writer->attempts, (double)writer->longest_ns / 1e6,
                 status == STATUS_TIMEOUT ? "true" : "false");
    if (writer->acknowledged == 0) {
        return error_set(error, STATUS_TIMEOUT, "no write was acknowledged");
    }
    return status == STATUS_TIMEOUT
               ? error_set(error, STATUS_TIMEOUT, "the last write was not acknowledged")
               : STATUS_OK;
}

enum status bench_failover_run(const struct bench_options *options, struct error *error)
{
    struct writer writer = {.options = options, .fd = -1};
    enum status status;

    for (size_t i = 0; i < options->endpoints.count; i++) {
        status = endpoint_resolve(&options->endpoints.list[i], &writer.addresses[i],
                                  &writer.address_sizes[i], error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    writer.settings.on_message_complete = on_answer;
    writer.request = bench_request_keyed_put(options);
    writer.bytes = memory_new(writer.request.bytes.size);
    status = write_on(&writer, error);
    disconnect(&writer);
    free(writer.bytes);
    bench_request_close(&writer.request);
    return status;
}
