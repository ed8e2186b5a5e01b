/* 1. exchange_run() sets up libcurl's handle, which keeps its connections, and lets it run.
 * 2. on_prepared(): the connection stands, and the request is about to be sent.
 * 3. on_send() hands over what a PUT sends, piece by piece; on_rewind(): again from the beginning.
 * 4. on_head() and on_body() collect the answer, within limits.
 *
 * What can go wrong: on_progress(), which runs all the time, ends it when it is canceled; libcurl
 * ends it at its times; a callback that fails ends it, and its status is kept in the run. */
#include "storage/archive/exchange.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include <curl/curl.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define MAX_HEAD          (64u << 10)
#define SLOWEST_RATE      1024L /* Bytes per second. */
#define SEND_BUFFER_BYTES (512L << 10)

struct exchange_client {
    struct exchange_options options;
    CURL *curl;
};

/* What the callbacks of one exchange share. */
struct run {
    struct exchange_client *client;
    const struct exchange_request *request;
    struct exchange_answer *answer;
    struct error *error;
    enum status status; /* Of the callback that ended it. */
    uint64_t offset;    /* What was handed over. */
    bool is_cut;        /* The rest of the body was not read. */
    char why[CURL_ERROR_SIZE];
};

static void initialize(void)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

struct exchange_client *exchange_open(const struct exchange_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct exchange_client *client = memory_new_zeroed(1, sizeof *client);

    CHECK(pthread_once(&once, initialize) == 0);
    client->options = *options;
    client->curl = curl_easy_init();
    CHECK(client->curl != NULL); /* It fails for want of memory only. */
    return client;
}

void exchange_set_times(struct exchange_client *client, unsigned connect_ms, unsigned stall_s)
{
    client->options.connect_ms = connect_ms;
    client->options.stall_s = stall_s;
}

/* --- What libcurl calls --- */

static int on_progress(void *user, curl_off_t down_total, curl_off_t down_now, curl_off_t up_total,
                       curl_off_t up_now)
{
    struct run *run = user;
    const struct exchange_options *options = &run->client->options;

    (void)down_total;
    (void)down_now;
    (void)up_total;
    (void)up_now;
    if (options->is_canceled != NULL && options->is_canceled(options->data)) {
        run->status = error_set(run->error, STATUS_CANCELED, "the node is shutting down");
        return 1;
    }
    return 0;
}

static int on_prepared(void *user, char *ip, char *local_ip, int port, int local_port)
{
    struct run *run = user;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    run->answer->n_sent++;
    run->offset = 0; /* Nothing was handed over to this connection. */
    if (run->request->size_bytes == 0) {
        run->answer->was_sent_whole = true;
    }
    return CURL_PREREQFUNC_OK;
}

static size_t on_send(char *place, size_t size, size_t count, void *user)
{
    struct run *run = user;
    uint64_t left = run->request->size_bytes - run->offset;
    size_t n = 0;

    size *= count;
    if (left == 0) {
        return 0;
    }
    if (left < size) {
        size = (size_t)left;
    }
    run->status =
        run->request->read(run->request->data, run->offset, (uint8_t *)place, size, &n, run->error);
    if (run->status != STATUS_OK) {
        return CURL_READFUNC_ABORT;
    }
    CHECK(n > 0 && n <= size);
    run->offset += n;
    if (run->offset == run->request->size_bytes) {
        run->answer->was_sent_whole = true;
    }
    return n;
}

static int on_rewind(void *user, curl_off_t offset, int origin)
{
    struct run *run = user;

    if (offset != 0 || origin != SEEK_SET) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    run->offset = 0;
    return CURL_SEEKFUNC_OK;
}

static size_t on_head(char *data, size_t size, size_t count, void *user)
{
    struct run *run = user;
    struct buffer *head = &run->answer->head;

    size *= count;
    if (size >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        buffer_clear(head); /* Of an interim answer. */
    }
    if (size > MAX_HEAD - head->size) {
        run->status =
            error_set(run->error, STATUS_TOO_LARGE, "the answer has too many header fields");
        return 0;
    }
    buffer_append(head, data, size);
    return size;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct run *run = user;
    struct buffer *body = &run->answer->body;
    long http_status = 0;
    size_t most;

    size *= count;
    (void)curl_easy_getinfo(run->client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    most = http_status >= 300 ? EXCHANGE_MAX_PROBLEM : run->request->max_body;
    if (size > most - body->size) {
        buffer_append(body, data, most - body->size);
        run->is_cut = true;
        return 0;
    }
    buffer_append(body, data, size);
    return size;
}

/* --- One exchange --- */

/* An option that libcurl does not take is our mistake, or it is too old for what configure saw. */
#define SET(curl, option, value) CHECK(curl_easy_setopt(curl, option, value) == CURLE_OK)

static void set_method(CURL *curl, const struct exchange_request *request)
{
    if (strcmp(request->method, "PUT") == 0) {
        SET(curl, CURLOPT_UPLOAD, 1L);
        SET(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->size_bytes);
        SET(curl, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
    } else if (strcmp(request->method, "HEAD") == 0) {
        SET(curl, CURLOPT_NOBODY, 1L);
    } else {
        SET(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_up(struct run *run, struct curl_slist *fields)
{
    const struct exchange_options *options = &run->client->options;
    CURL *curl = run->client->curl;

    curl_easy_reset(curl); /* Keeps the connections. */
    SET(curl, CURLOPT_URL, run->request->url);
    SET(curl, CURLOPT_PATH_AS_IS, 1L);
    SET(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(curl, CURLOPT_HTTPHEADER, fields);
    SET(curl, CURLOPT_NOSIGNAL, 1L);
    SET(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_ms);
    SET(curl, CURLOPT_LOW_SPEED_LIMIT, SLOWEST_RATE);
    SET(curl, CURLOPT_LOW_SPEED_TIME, (long)options->stall_s);
    SET(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(curl, CURLOPT_ERRORBUFFER, run->why);
    SET(curl, CURLOPT_NOPROGRESS, 0L);
    SET(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(curl, CURLOPT_XFERINFODATA, run);
    SET(curl, CURLOPT_PREREQFUNCTION, on_prepared);
    SET(curl, CURLOPT_PREREQDATA, run);
    SET(curl, CURLOPT_READFUNCTION, on_send);
    SET(curl, CURLOPT_READDATA, run);
    SET(curl, CURLOPT_SEEKFUNCTION, on_rewind);
    SET(curl, CURLOPT_SEEKDATA, run);
    SET(curl, CURLOPT_HEADERFUNCTION, on_head);
    SET(curl, CURLOPT_HEADERDATA, run);
    SET(curl, CURLOPT_WRITEFUNCTION, on_body);
    SET(curl, CURLOPT_WRITEDATA, run);
    if (options->is_direct) {
        SET(curl, CURLOPT_PROXY, "");
    }
    if (options->ca_file != NULL) {
        SET(curl, CURLOPT_CAINFO, options->ca_file);
    }
    set_method(curl, run->request);
}

static struct curl_slist *add_line(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);

    CHECK(longer != NULL); /* It fails for want of memory only. */
    return longer;
}

/* Ours, and without those that libcurl would add. */
static struct curl_slist *make_fields(const struct exchange_request *request)
{
    struct curl_slist *list = add_line(add_line(NULL, "Expect:"), "Accept:");
    struct buffer line = BUFFER_EMPTY;

    for (size_t i = 0; i < request->n_fields; i++) {
        buffer_clear(&line);
        buffer_append_format(&line, "%s: %s", request->fields[i].name, request->fields[i].value);
        buffer_append_byte(&line, 0);
        list = add_line(list, (const char *)line.data);
    }
    buffer_close(&line);
    return list;
}

static enum status status_from_curl(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return STATUS_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_TIMEOUT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
        return STATUS_INVALID;
    default:
        return STATUS_IO;
    }
}

static enum status settle(struct run *run, CURLcode code)
{
    long http_status = 0;

    (void)curl_easy_getinfo(run->client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    run->answer->status = (unsigned)http_status;
    if (run->status != STATUS_OK) {
        run->answer->was_ended_here = true;
        return run->status;
    }
    if (run->is_cut) {
        return http_status >= 300
                   ? STATUS_OK
                   : error_set(run->error, STATUS_TOO_LARGE, "the answer is longer than asked for");
    }
    if (code != CURLE_OK) {
        return error_set(run->error, status_from_curl(code), "%s",
                         run->why[0] != '\0' ? run->why : curl_easy_strerror(code));
    }
    return STATUS_OK;
}

enum status exchange_run(struct exchange_client *client, const struct exchange_request *request,
                         struct exchange_answer *answer, struct error *error)
{
    struct run run = {.client = client, .request = request, .answer = answer, .error = error};
    struct curl_slist *fields = make_fields(request);
    enum status status;

    *answer = (struct exchange_answer){0};
    set_up(&run, fields);
    if (on_progress(&run, 0, 0, 0, 0) != 0) { /* libcurl asks only once it waits. */
        status = run.status;
    } else {
        status = settle(&run, curl_easy_perform(client->curl));
    }
    curl_easy_reset(client->curl); /* It points to what is gone now. */
    curl_slist_free_all(fields);
    return status;
}

struct slice exchange_field(const struct exchange_answer *answer, const char *name)
{
    const char *line = answer->head.size == 0 ? "" : (const char *)answer->head.data;
    const char *end = line + answer->head.size;
    size_t size = strlen(name);

    while (line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const char *last = next == NULL ? end : next;

        if ((size_t)(last - line) > size && line[size] == ':' &&
            strncasecmp(line, name, size) == 0) {
            line += size + 1;
            while (line < last && (*line == ' ' || *line == '\t')) {
                line++;
            }
            while (last > line && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '\r')) {
                last--;
            }
            return slice_of(line, (size_t)(last - line));
        }
        line = next == NULL ? end : next + 1;
    }
    return slice_of("", 0);
}

void exchange_answer_close(struct exchange_answer *answer)
{
    buffer_close(&answer->head);
    buffer_close(&answer->body);
}

void exchange_close(struct exchange_client *client)
{
    if (client != NULL) {
        curl_easy_cleanup(client->curl);
        free(client);
    }
}
