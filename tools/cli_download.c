/* 1. The first attempt asks for all of it, of the first endpoint.
 * 2. If it breaks off, the next one asks the same node for the rest, by the tag of what is there:
 *    that node has it, and others mostly do not. If the node does not answer, the next one is
 * asked.
 * 3. Who does not have that any more answers with all of another one, and the file begins anew.
 *
 * What can go wrong: an answer that says no is the end, unless it asks to come again. Nothing that
 * arrives for standstill_ms is the end, too. */
#include "tools/cli_download.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "daemon/base/clock.h"
#include "tools/cli_text.h"

#define CONNECT_MS     2000
#define MAX_PROBLEM    (64u << 10) /* Of the body of an answer that says no. */
#define FIRST_PAUSE_MS 100u
#define MAX_PAUSE_MS   5000
#define TRIES_PER_NODE 2 /* Attempts that bring nothing before the next endpoint is asked. */
#define UNKNOWN        UINT64_MAX

struct arrival {
    struct download *download;
    CURL *curl;
    char why[CURL_ERROR_SIZE];
    /* Of the whole download. */
    char etag[128]; /* With its quotes; of what the file holds. */
    uint64_t of;    /* Its length, or UNKNOWN. */
    uint64_t progress_ms;
    /* Of this attempt. */
    long status;
    char new_etag[128];
    uint64_t first;  /* Of Content-Range. */
    uint64_t length; /* Of the whole, by either header. */
    uint64_t retry_after_ms;
    bool has_begun;
    bool is_final;     /* The file cannot be written, or the answer makes no sense. */
    uint64_t began_at; /* Bytes. */
    struct buffer problem;
    struct error *error;
};

/* --- What libcurl calls --- */

/* The value of the field @name, trimmed, in @value; "" if it is another one or does not fit. */
static bool take_field(const char *line, size_t size, const char *name, char *value, size_t most)
{
    size_t length = strlen(name);
    size_t end = size;

    if (size <= length || strncasecmp(line, name, length) != 0 || line[length] != ':') {
        return false;
    }
    length++;
    while (length < end && strchr(" \t", line[length]) != NULL) {
        length++;
    }
    while (end > length && strchr(" \t\r\n", line[end - 1]) != NULL) {
        end--;
    }
    if (end - length >= most) {
        return false;
    }
    memcpy(value, line + length, end - length);
    value[end - length] = '\0';
    return true;
}

static void take_range(struct arrival *arrival, const char *value)
{
    uint64_t first;
    uint64_t last;
    uint64_t of;

    if (sscanf(value, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last, &of) == 3) {
        arrival->first = first;
        arrival->length = of;
    }
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct arrival *arrival = user;
    char value[128];

    size *= count;
    if (size > 5 && strncmp(data, "HTTP/", 5) == 0) {
        arrival->new_etag[0] = '\0';
        arrival->first = UNKNOWN;
        arrival->length = UNKNOWN;
    } else if (take_field(data, size, "ETag", value, sizeof value)) {
        memcpy(arrival->new_etag, value, sizeof value);
    } else if (take_field(data, size, "Content-Range", value, sizeof value)) {
        take_range(arrival, value);
    } else if (take_field(data, size, "Retry-After", value, sizeof value)) {
        arrival->retry_after_ms = 1000 * strtoull(value, NULL, 10); /* Capped by who waits. */
    } else if (take_field(data, size, "Content-Length", value, sizeof value) &&
               arrival->length == UNKNOWN) {
        arrival->length = strtoull(value, NULL, 10);
    }
    return size;
}

/* The answer to the current attempt has a body: what is to become of the file? */
static bool begin_body(struct arrival *arrival)
{
    struct download *download = arrival->download;

    arrival->has_begun = true;
    curl_easy_getinfo(arrival->curl, CURLINFO_RESPONSE_CODE, &arrival->status);
    if (arrival->status == 206) {
        if (arrival->first == download->bytes && strcmp(arrival->new_etag, arrival->etag) == 0) {
            download->kept_bytes += download->bytes;
            return true;
        }
        (void)error_set(arrival->error, STATUS_INVALID,
                        "the node answered with a part that was not asked for");
        arrival->is_final = true;
        return false;
    }
    if (arrival->status == 200) {
        if (ftruncate(download->fd, 0) != 0 || lseek(download->fd, 0, SEEK_SET) != 0) {
            (void)error_set(arrival->error, STATUS_IO, "could not empty the file: %s",
                            strerror(errno));
            arrival->is_final = true;
            return false;
        }
        download->bytes = 0;
        memcpy(arrival->etag, arrival->new_etag, sizeof arrival->etag);
        arrival->of = arrival->length;
    }
    return true;
}

static bool write_body(struct arrival *arrival, const char *data, size_t size)
{
    struct download *download = arrival->download;

    while (size > 0) {
        ssize_t n = write(download->fd, data, size);

        if (n < 0 && errno != EINTR) {
            (void)error_set(arrival->error, status_from_errno(errno),
                            "could not write the file: %s", strerror(errno));
            arrival->is_final = true;
            return false;
        }
        if (n > 0) {
            data += n;
            size -= (size_t)n;
            download->bytes += (size_t)n;
        }
    }
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct arrival *arrival = user;

    size *= count;
    if (!arrival->has_begun && !begin_body(arrival)) {
        return 0; /* Ends the attempt. */
    }
    if (arrival->status != 200 && arrival->status != 206) {
        if (arrival->problem.size + size <= MAX_PROBLEM) {
            buffer_append(&arrival->problem, data, size);
        }
        return size;
    }
    arrival->progress_ms = clock_ms();
    return write_body(arrival, data, size) ? size : 0;
}

static int on_transfer(void *user, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                       curl_off_t ulnow)
{
    struct arrival *arrival = user;
    struct download *download = arrival->download;
    uint64_t limit = arrival->has_begun ? download->standstill_ms : download->first_byte_ms;

    (void)dltotal;
    (void)dlnow;
    (void)ultotal;
    (void)ulnow;
    if (download->on_progress != NULL) {
        download->on_progress(download->data, download->bytes,
                              arrival->of == UNKNOWN ? 0 : arrival->of);
    }
    return clock_ms() - arrival->progress_ms > limit; /* Not 0 ends the attempt. */
}

/* --- One attempt --- */

static void set_options(struct arrival *arrival, const char *url, struct curl_slist *headers)
{
    CURL *curl = arrival->curl;

    curl_easy_reset(curl); /* Keeps the connections. */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, arrival->why);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* Nodes are reached directly. */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, arrival);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, arrival);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, arrival);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
}

/* True if all of it is there. */
static bool attempt(struct arrival *arrival, const struct endpoint *endpoint)
{
    struct download *download = arrival->download;
    struct curl_slist *headers = NULL;
    struct buffer url = BUFFER_EMPTY;
    char line[256];
    CURLcode code;

    if (download->bytes > 0 && arrival->etag[0] != '\0') {
        (void)snprintf(line, sizeof line, "Range: bytes=%" PRIu64 "-", download->bytes);
        headers = curl_slist_append(headers, line);
        (void)snprintf(line, sizeof line, "If-Range: %s", arrival->etag);
        headers = curl_slist_append(headers, line);
    }
    buffer_append_format(&url, "%s%s", endpoint->url, download->path);
    buffer_append_byte(&url, 0);
    arrival->status = 0;
    arrival->has_begun = false;
    arrival->retry_after_ms = 0;
    arrival->began_at = download->bytes;
    arrival->why[0] = '\0';
    buffer_clear(&arrival->problem);
    set_options(arrival, (const char *)url.data, headers);
    download->attempts++;
    code = curl_easy_perform(arrival->curl);
    curl_easy_getinfo(arrival->curl, CURLINFO_RESPONSE_CODE, &arrival->status);
    if (code != CURLE_OK && arrival->why[0] == '\0') {
        (void)snprintf(arrival->why, sizeof arrival->why, "%s", curl_easy_strerror(code));
    }
    curl_slist_free_all(headers);
    buffer_close(&url);
    return code == CURLE_OK && (arrival->status == 200 || arrival->status == 206) &&
           download->bytes == arrival->of;
}

/* --- All attempts --- */

static bool says_no(const struct arrival *arrival)
{
    switch (arrival->status) {
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
        return false;
    default:
        return arrival->status >= 300;
    }
}

static enum cli_exit explain(const struct arrival *arrival, const char *url)
{
    struct buffer text = BUFFER_EMPTY;
    enum cli_exit code = CLI_UNAVAILABLE;

    if (arrival->is_final) {
        return CLI_FAILURE; /* It is told. */
    }
    if (arrival->status >= 300) {
        problem_append(&text, (unsigned)arrival->status, buffer_slice(&arrival->problem));
        code = problem_exit((unsigned)arrival->status);
    } else {
        buffer_append_format(&text, "%s: ", url);
        text_append_escaped(
            &text, slice_of_string(arrival->why[0] == '\0' ? "the answer broke off" : arrival->why),
            TEXT_LINE);
    }
    (void)error_set(arrival->error, STATUS_IO, "%.*s", (int)text.size, (const char *)text.data);
    buffer_close(&text);
    return code;
}

static void pause_ms(uint64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&pause, NULL); /* An early return does no harm. */
}

static enum cli_exit run(struct arrival *arrival)
{
    const struct endpoints *endpoints = arrival->download->endpoints;
    unsigned in_vain = 0; /* Attempts since something came. */
    size_t endpoint = 0;

    for (;;) {
        uint64_t wait_ms;

        if (attempt(arrival, &endpoints->list[endpoint])) {
            return CLI_OK;
        }
        if (arrival->download->bytes != arrival->began_at) {
            in_vain = 0;
        }
        in_vain++;
        if (arrival->is_final || says_no(arrival) ||
            clock_ms() - arrival->progress_ms > arrival->download->standstill_ms) {
            return explain(arrival, endpoints->list[endpoint].url);
        }
        if (arrival->download->bytes == 0 || in_vain % TRIES_PER_NODE == 0) {
            endpoint = (endpoint + 1) % endpoints->count;
        }
        wait_ms = (uint64_t)FIRST_PAUSE_MS << (in_vain < 8 ? in_vain : 8);
        wait_ms = wait_ms < arrival->retry_after_ms ? arrival->retry_after_ms : wait_ms;
        pause_ms(wait_ms < MAX_PAUSE_MS ? wait_ms : MAX_PAUSE_MS);
    }
}

enum cli_exit download_run(struct download *download, struct error *error)
{
    struct arrival arrival = {
        .download = download, .of = UNKNOWN, .progress_ms = clock_ms(), .error = error};
    enum cli_exit code;

    download->bytes = 0;
    download->attempts = 0;
    download->kept_bytes = 0;
    arrival.curl = curl_easy_init();
    if (arrival.curl == NULL) {
        (void)error_set(error, STATUS_IO, "could not start libcurl");
        return CLI_FAILURE;
    }
    code = run(&arrival);
    curl_easy_cleanup(arrival.curl);
    buffer_close(&arrival.problem);
    return code;
}
