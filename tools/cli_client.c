#include "tools/cli_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "tools/cli_retry.h"
#include "tools/cli_text.h"

#define CONNECT_MS        2000
#define READ_ATTEMPT_MS   3000 /* A node gives up on a read after at most 2 s... */
#define WRITE_ATTEMPT_MS  7000 /* ...and on a write after 6 s. */
#define MAX_BODY_BYTES    (16u << 20)
#define MAX_RETRY_AFTER_S 3600

struct client {
    const struct endpoints *endpoints;
    size_t endpoint; /* The one that answered last. */
    uint64_t deadline_ms;
    unsigned n_sent; /* Attempts of the last client_send() that reached a node. */
    CURL *curl;
    char why[CURL_ERROR_SIZE];
};

/* What arrives during one attempt. */
struct arrival {
    struct client_answer answer;
    uint64_t retry_after_ms;
    bool is_too_large;
};

static void fill_random(void *bytes, size_t size)
{
    CHECK(getrandom(bytes, size, 0) == (ssize_t)size); /* Complete up to 256 bytes. */
}

static void append_uuid(struct buffer *out)
{
    uint8_t bytes[16];

    fill_random(bytes, sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* RFC 9562, version 4. */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof bytes; i++) {
        buffer_append_format(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                             bytes[i]);
    }
}

void client_append_encoded(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '_' || c == '.' || c == '~') {
            buffer_append_byte(out, c);
        } else {
            buffer_append_format(out, "%%%02X", c);
        }
    }
}

/* --- What libcurl calls
 * ---------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct arrival *arrival = user;

    if (arrival->answer.body.size + size * count > MAX_BODY_BYTES) {
        arrival->is_too_large = true;
        return 0; /* Ends the attempt. */
    }
    buffer_append(&arrival->answer.body, data, size * count);
    return size * count;
}

/* True if @line is the field @name; its value goes, trimmed, into @value, if it fits. */
static bool take_field(struct slice line, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    struct slice rest;

    if (line.size <= length || strncasecmp((const char *)line.data, name, length) != 0 ||
        line.data[length] != ':') {
        return false;
    }
    rest = slice_from(line, length + 1);
    while (rest.size > 0 && strchr(" \t", rest.data[0]) != NULL) {
        rest = slice_from(rest, 1);
    }
    while (rest.size > 0 && strchr(" \t\r\n", rest.data[rest.size - 1]) != NULL) {
        rest.size--;
    }
    if (rest.size < size) {
        memcpy(value, rest.data, rest.size);
        value[rest.size] = '\0';
    }
    return true;
}

/* W/"12" and "12" are 12. */
static void strip_quotes(char *etag)
{
    char *start = strchr(etag, '"');
    char *end = start == NULL ? NULL : strchr(start + 1, '"');

    if (end != NULL) {
        *end = '\0';
        memmove(etag, start + 1, (size_t)(end - start));
    }
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct arrival *arrival = user;
    struct client_answer *answer = &arrival->answer;
    struct slice line = slice_of(data, size * count);
    char seconds[16] = "";

    if (take_field(line, "ETag", answer->etag, sizeof answer->etag)) {
        strip_quotes(answer->etag);
    } else if (take_field(line, "Retry-After", seconds, sizeof seconds)) {
        unsigned long value = strtoul(seconds, NULL, 10); /* A date gives its day: a short wait. */

        arrival->retry_after_ms = 1000 * (value > MAX_RETRY_AFTER_S ? MAX_RETRY_AFTER_S : value);
    } else if (!take_field(line, "Content-Type", answer->content_type,
                           sizeof answer->content_type)) {
        (void)take_field(line, "Holdfast-Expires-At", answer->expires_at,
                         sizeof answer->expires_at); /* All others are of no interest. */
    }
    return size * count;
}

/* --- One attempt
 * ------------------------------------------------------------------------------------ */

static struct curl_slist *make_headers(const struct client_request *request, const char *key)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:"); /* Saves a round trip. */
    const char *next = (const char *)request->headers.data;
    size_t left = request->headers.size;
    char line[512];

    while (left > 0) {
        const char *end = memchr(next, '\n', left);
        size_t size = (size_t)(end - next);

        (void)snprintf(line, sizeof line, "%.*s", (int)size, next);
        headers = curl_slist_append(headers, line);
        next += size + 1;
        left -= size + 1;
    }
    if (request->content_type != NULL) {
        (void)snprintf(line, sizeof line, "Content-Type: %s", request->content_type);
        headers = curl_slist_append(headers, line);
    }
    if (key != NULL) {
        (void)snprintf(line, sizeof line, "Idempotency-Key: %s", key);
        headers = curl_slist_append(headers, line);
    }
    return headers;
}

static void set_options(struct client *client, const struct client_request *request,
                        const char *url, struct curl_slist *headers, struct arrival *arrival,
                        uint64_t attempt_ms)
{
    CURL *curl = client->curl;

    curl_easy_reset(curl); /* Keeps the connections. */
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->why);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* Nodes are reached directly. */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "holdfast/" HOLDFAST_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, arrival);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, arrival);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)attempt_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(attempt_ms < CONNECT_MS ? attempt_ms : CONNECT_MS));
    if (request->content_type != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.size == 0 ? "" : (const char *)request->body.data);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static enum attempt attempt_of(CURL *curl, CURLcode code)
{
    curl_off_t connected_us = 0;

    switch (code) {
    case CURLE_OK:
        return ATTEMPT_ANSWERED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return ATTEMPT_NOT_CONNECTED;
    default:
        break;
    }
    curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected_us);
    return code == CURLE_OPERATION_TIMEDOUT && connected_us == 0 ? ATTEMPT_NOT_CONNECTED
                                                                 : ATTEMPT_LOST;
}

static enum attempt attempt_once(struct client *client, const struct client_request *request,
                                 const char *key, struct arrival *arrival)
{
    uint64_t longest = key == NULL ? READ_ATTEMPT_MS : WRITE_ATTEMPT_MS;
    uint64_t now = clock_ms();
    uint64_t left = client->deadline_ms > now ? client->deadline_ms - now : 1;
    struct curl_slist *headers = make_headers(request, key);
    struct buffer url = BUFFER_EMPTY;
    long status = 0;
    CURLcode code;

    buffer_append_string(&url, client->endpoints->list[client->endpoint].url);
    buffer_append_slice(&url, buffer_slice(&request->path));
    buffer_append_byte(&url, '\0');
    *arrival = (struct arrival){0};
    client->why[0] = '\0';
    set_options(client, request, (const char *)url.data, headers, arrival,
                left < longest ? left : longest);
    code = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    arrival->answer.status = (unsigned)status;
    if (code != CURLE_OK && client->why[0] == '\0') {
        (void)snprintf(client->why, sizeof client->why, "%s", curl_easy_strerror(code));
    }
    curl_slist_free_all(headers);
    buffer_close(&url);
    return attempt_of(client->curl, code);
}

/* --- All attempts
 * ----------------------------------------------------------------------------------- */

static void wait_ms(uint64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&pause, NULL); /* An early return does no harm. */
}

/* Say why the last attempt failed, and what that means for a write. */
static enum cli_exit explain(const struct client *client, const struct retry *retry, bool is_write,
                             enum attempt attempt, const struct arrival *arrival,
                             struct error *error)
{
    const char *url = client->endpoints->list[client->endpoint].url;
    struct buffer text = BUFFER_EMPTY;
    enum cli_exit code = CLI_UNAVAILABLE;

    if (attempt == ATTEMPT_ANSWERED) {
        problem_append(&text, arrival->answer.status, buffer_slice(&arrival->answer.body));
        code = problem_exit(arrival->answer.status);
    } else {
        buffer_append_format(&text, "%s does not answer: ", url);
        text_append_escaped(&text, slice_of_string(client->why), TEXT_LINE);
    }
    if (is_write && retry_may_have_acted(retry)) {
        buffer_append_string(&text, "; the outcome is unknown: it may or may not have been done");
    } else if (is_write && code == CLI_UNAVAILABLE) {
        buffer_append_string(&text, "; nothing was changed");
    }
    (void)error_set(error, STATUS_IO, "%.*s", (int)text.size, (const char *)text.data);
    buffer_close(&text);
    return code;
}

static bool is_good(enum attempt attempt, const struct arrival *arrival)
{
    return attempt == ATTEMPT_ANSWERED && arrival->answer.status >= 200 &&
           arrival->answer.status <= 299;
}

enum cli_exit client_send(struct client *client, const struct client_request *request,
                          struct client_answer *answer, struct error *error)
{
    bool is_write = strcmp(request->method, "GET") != 0;
    struct buffer key = BUFFER_EMPTY;
    struct arrival arrival;
    struct retry retry;
    enum cli_exit code = CLI_OK;

    retry_init(&retry, client->endpoints->count, client->deadline_ms);
    if (is_write) {
        append_uuid(&key);
        buffer_append_byte(&key, '\0');
    }
    client->n_sent = 0;
    for (;;) {
        enum attempt attempt = attempt_once(client, request, (const char *)key.data, &arrival);
        uint64_t asked_ms = problem_retry_after_ms(buffer_slice(&arrival.answer.body));
        uint64_t dice;
        uint64_t pause;

        client->n_sent += attempt != ATTEMPT_NOT_CONNECTED ? 1 : 0;
        if (is_good(attempt, &arrival)) {
            *answer = arrival.answer;
            break;
        }
        fill_random(&dice, sizeof dice);
        asked_ms = asked_ms > 0 ? asked_ms : arrival.retry_after_ms;
        if (arrival.is_too_large || !retry_next(&retry, attempt, arrival.answer.status, asked_ms,
                                                clock_ms(), dice, &pause)) {
            code = explain(client, &retry, is_write, attempt, &arrival, error);
            client_answer_close(&arrival.answer);
            break;
        }
        client_answer_close(&arrival.answer);
        client->endpoint = (client->endpoint + 1) % client->endpoints->count;
        wait_ms(pause);
    }
    buffer_close(&key);
    return code;
}

bool client_sent_again(const struct client *client)
{
    return client->n_sent > 1;
}

bool client_has_time(const struct client *client)
{
    return clock_ms() < client->deadline_ms;
}

/* --- Life
 * ------------------------------------------------------------------------------------------- */

enum status client_open(const struct endpoints *endpoints, uint64_t timeout_ms,
                        struct client **client, struct error *error)
{
    struct client *made;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return error_set(error, STATUS_IO, "could not start libcurl");
    }
    made = memory_new_zeroed(1, sizeof *made);
    made->endpoints = endpoints;
    made->deadline_ms = clock_ms() + timeout_ms;
    made->curl = curl_easy_init();
    if (made->curl == NULL) {
        free(made);
        curl_global_cleanup();
        return error_set(error, STATUS_IO, "could not start libcurl");
    }
    *client = made;
    return STATUS_OK;
}

void client_close(struct client *client)
{
    if (client == NULL) {
        return;
    }
    curl_easy_cleanup(client->curl);
    curl_global_cleanup();
    free(client);
}

void client_request_close(struct client_request *request)
{
    buffer_close(&request->path);
    buffer_close(&request->headers);
    buffer_close(&request->body);
}

void client_answer_close(struct client_answer *answer)
{
    buffer_close(&answer->body);
}
