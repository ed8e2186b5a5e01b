/* A writer, operation by operation:
 *
 * 1. prepare() puts the request together; it stays the same, byte for byte, until acknowledged.
 * 2. write_until_acknowledged() sends it to its node, and to the next one after 503, 504, a lost
 *    connection or a silent node.
 * 3. take_acknowledgement() writes down number, sequence and revision.
 * 4. read_back() reads on a random node.
 *
 * What can go wrong ends the writer: an answer that is neither success nor a reason to try again, a
 * revision that does not rise, a read that misses what was acknowledged before it, an operation
 * that is not acknowledged within GIVE_UP_MS. */
#include "tests/lib/writers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/deadline.h"

#define GIVE_UP_MS    60000
#define RETRY_PAUSE   20
#define REPEAT_MS     10000
#define BETWEEN       8 /* Keeps sessions within their limit, and the machine usable. */
#define NS            "/v1/namespaces/default"
#define PAGE_ROWS     500
#define MAX_CURSOR    512
#define SHARED_EVENTS NS "/sessions/shared/events"

/* How long the clients wait for a node's answer: some give up before it does, some after. */
static const unsigned patience_ms[] = {400, 1500, 6000};

static char complaint[768];

static void fail(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct writer *writer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(writer->failure, sizeof writer->failure, format, args);
    va_end(args);
    atomic_store(&writer->failed, true);
}

static void prepare(const struct writer *writer, uint64_t n, enum write_kind kind,
                    struct write_sample *request)
{
    unsigned w = writer->number;

    memset(request, 0, sizeof *request);
    (void)snprintf(request->method, sizeof request->method, kind == WRITE_PUT ? "PUT" : "POST");
    if (kind != WRITE_APPEND_IDS) {
        (void)snprintf(request->headers, sizeof request->headers,
                       "Idempotency-Key: w%u-%" PRIu64 "\r\n", w, n);
    }
    switch (kind) {
    case WRITE_APPEND_IDS:
        (void)snprintf(request->target, sizeof request->target, NS "/sessions/w%u/events", w);
        (void)snprintf(request->body, sizeof request->body,
                       "{\"events\":[{\"id\":\"e%" PRIu64 "\",\"type\":\"t\","
                       "\"data\":{\"w\":%u,\"n\":%" PRIu64 "}}],\"create\":{}}",
                       n, w, n);
        break;
    case WRITE_APPEND_KEY:
        (void)snprintf(request->target, sizeof request->target, SHARED_EVENTS);
        (void)snprintf(request->body, sizeof request->body,
                       "{\"events\":[{\"type\":\"t\",\"data\":{\"w\":%u,\"n\":%" PRIu64 "}}]}", w,
                       n);
        break;
    case WRITE_PUT:
        (void)snprintf(request->target, sizeof request->target, NS "/items/w%u", w);
        (void)snprintf(request->body, sizeof request->body, "{\"n\":%" PRIu64 "}", n);
        break;
    case WRITE_TRANSACTION:
    case WRITE_KINDS:
        (void)snprintf(request->target, sizeof request->target, NS "/transactions");
        (void)snprintf(
            request->body, sizeof request->body,
            "{\"ops\":[{\"method\":\"PUT\",\"path\":\"items/t%u\",\"body\":{\"n\":%" PRIu64
            "}},{\"method\":\"POST\",\"path\":\"sessions/shared/events\",\"body\":"
            "{\"events\":[{\"type\":\"t\",\"data\":{\"w\":%u,\"n\":%" PRIu64 "}}]}}]}",
            w, n, w, n);
        break;
    }
}

/* The node has to be asked again, or another one: nothing is known, or certainly nothing happened.
 */
static bool is_worth_another_try(const struct writer *writer, enum http_outcome outcome,
                                 unsigned status)
{
    if (status == 507 && atomic_load(&writer->all->disks_may_be_full)) {
        return true;
    }
    return outcome != HTTP_ANSWERED || status == 503 || status == 504 || status == 429;
}

static enum http_outcome send_once(struct writer *writer, unsigned node,
                                   const struct write_sample *request,
                                   struct http_response *response)
{
    return http_call(&writer->clients[node], response, request->method, request->target,
                     request->headers, request->body);
}

/* The node @number, or the next one that is in the cluster. */
static unsigned present(const struct writer *writer, unsigned number)
{
    const struct cluster *cluster = writer->all->cluster;

    for (unsigned i = 0; i < cluster->n_nodes; i++) {
        unsigned node = (number + i) % cluster->n_nodes;

        if (!atomic_load(&cluster->nodes[node].is_absent)) {
            return node;
        }
    }
    return 0;
}

static bool write_until_acknowledged(struct writer *writer, const struct write_sample *request,
                                     struct http_response *response)
{
    uint64_t end = now_ms() + GIVE_UP_MS;
    unsigned node = present(writer, writer->number);
    unsigned status = 0;
    enum http_outcome outcome;

    while (now_ms() < end) {
        outcome = send_once(writer, node, request, response);
        status = outcome == HTTP_ANSWERED ? response->status : 0;
        if (!is_worth_another_try(writer, outcome, status)) {
            if (status != 200 && status != 201) {
                fail(writer, "%s %s: %u %.200s", request->method, request->target, status,
                     (const char *)response->body.data);
                return false;
            }
            return true;
        }
        writer->retries++;
        node = present(writer, node + 1);
        pause_ms(RETRY_PAUSE);
    }
    fail(writer, "%s %s was not acknowledged within %u ms; the last status was %u", request->method,
         request->target, GIVE_UP_MS, status);
    return false;
}

static uint64_t revision_of(const struct http_response *response)
{
    char value[32];

    return http_header(response, "Holdfast-Revision", value, sizeof value)
               ? strtoull(value, NULL, 10)
               : 0;
}

/* The sequence number in the answer of an append, alone or as a transaction's second operation. */
static uint64_t seq_of(enum write_kind kind, const struct http_response *response)
{
    json_t *answer = json_loadb((const char *)response->body.data, response->body.size, 0, NULL);
    const json_t *append = answer;
    uint64_t seq;

    if (kind == WRITE_TRANSACTION) {
        append = json_object_get(json_array_get(json_object_get(answer, "results"), 1), "body");
    }
    seq = (uint64_t)json_integer_value(json_object_get(append, "last_seq"));
    json_decref(answer);
    return seq;
}

static void keep_sample(struct writer *writer, const struct write_sample *request,
                        const struct http_response *response)
{
    struct write_sample sample = *request;

    sample.status = response->status;
    (void)http_header(response, "ETag", sample.etag, sizeof sample.etag); /* May have none. */
    (void)http_header(response, "Holdfast-Revision", sample.revision, sizeof sample.revision);
    (void)snprintf(sample.answer, sizeof sample.answer, "%s", (const char *)response->body.data);
    (void)pthread_mutex_lock(&writer->mutex);
    writer->last = sample;
    if (writer->first.status == 0) {
        writer->first = sample;
    }
    (void)pthread_mutex_unlock(&writer->mutex);
}

static void raise_to(atomic_uint_fast64_t *highest, uint64_t value)
{
    uint_fast64_t old = atomic_load(highest);

    while (old < value && !atomic_compare_exchange_weak(highest, &old, value)) {
        /* Another writer was told something: look again. */
    }
}

static bool take_acknowledgement(struct writer *writer, uint64_t n, enum write_kind kind,
                                 const struct write_sample *request,
                                 const struct http_response *response)
{
    struct write_record record = {.n = n, .revision = revision_of(response)};

    if (kind != WRITE_PUT) {
        record.seq = seq_of(kind, response);
    }
    if (record.revision <= writer->last_revision || (kind != WRITE_PUT && record.seq == 0)) {
        fail(writer, "%s made revision %" PRIu64 " after %" PRIu64 ", seq %" PRIu64 ": %.200s",
             request->target, record.revision, writer->last_revision, record.seq,
             (const char *)response->body.data);
        return false;
    }
    writer->last_revision = record.revision;
    buffer_append(&writer->records[kind], &record, sizeof record);
    if (kind != WRITE_APPEND_IDS) {
        keep_sample(writer, request, response);
    }
    raise_to(&writer->all->revision, record.revision);
    (void)atomic_fetch_add(&writer->all->acknowledged, 1);
    return true;
}

static const struct write_record *last_record(const struct writer *writer, enum write_kind kind)
{
    const struct buffer *records = &writer->records[kind];

    return records->size == 0
               ? NULL
               : (const struct write_record *)(const void *)(records->data + records->size) - 1;
}

/* An own item is what its writer wrote last, whatever node is asked. */
static bool read_is_fresh(struct writer *writer, unsigned node, uint64_t told,
                          const struct http_response *response)
{
    const struct write_record *record = last_record(writer, WRITE_PUT);
    char expected[64];

    (void)snprintf(expected, sizeof expected, "{\"n\":%" PRIu64 "}", record->n);
    if (response->status != 200 || strcmp((const char *)response->body.data, expected) != 0) {
        fail(writer, "stale read on n%u: status %u, %.100s instead of %s", node + 1,
             response->status, (const char *)response->body.data, expected);
        return false;
    }
    if (revision_of(response) < told) {
        fail(writer, "stale read on n%u: revision %" PRIu64 " after %" PRIu64, node + 1,
             revision_of(response), told);
        return false;
    }
    return true;
}

static bool read_back(struct writer *writer)
{
    uint64_t end = now_ms() + GIVE_UP_MS;
    unsigned node = present(writer, (unsigned)(random_next(&writer->random) >> 32));
    struct http_response response = {0};
    bool good = false;
    char target[96];

    (void)snprintf(target, sizeof target, NS "/items/w%u", writer->number);
    while (now_ms() < end) {
        uint64_t told = atomic_load(&writer->all->revision);
        enum http_outcome outcome =
            http_call(&writer->clients[node], &response, "GET", target, NULL, NULL);

        if (!is_worth_another_try(writer, outcome, response.status)) {
            good = read_is_fresh(writer, node, told, &response);
            writer->reads++;
            goto done;
        }
        node = present(writer, node + 1);
        pause_ms(RETRY_PAUSE);
    }
    fail(writer, "no node answered GET %s within %u ms", target, GIVE_UP_MS);
done:
    http_response_close(&response);
    return good;
}

static void *run(void *data)
{
    struct writer *writer = data;
    struct http_response response = {0};
    struct write_sample request;
    bool good = true;
    unsigned rest_ms;
    uint64_t n;

    for (n = 1; good && !atomic_load(&writer->all->stopping); n++) {
        enum write_kind kind = (enum write_kind)(n % WRITE_KINDS);

        prepare(writer, n, kind, &request);
        good = write_until_acknowledged(writer, &request, &response) &&
               take_acknowledgement(writer, n, kind, &request, &response);
        if (good && last_record(writer, WRITE_PUT) != NULL && random_next(&writer->random) % 2) {
            good = read_back(writer);
        }
        rest_ms = atomic_load(&writer->all->rest_ms);
        pause_ms(rest_ms == 0 ? BETWEEN : rest_ms);
    }
    http_response_close(&response);
    return NULL;
}

void writers_start(struct writers *writers, struct cluster *cluster, uint64_t seed)
{
    unsigned i;
    unsigned node;

    memset(writers, 0, sizeof *writers);
    writers->cluster = cluster;
    for (i = 0; i < WRITERS; i++) {
        struct writer *writer = &writers->writers[i];

        writer->all = writers;
        writer->number = i;
        writer->random = seed * 31 + i + 1;
        (void)pthread_mutex_init(&writer->mutex, NULL);
        for (node = 0; node < cluster->n_nodes; node++) {
            writer->clients[node] = cluster_client(&cluster->nodes[node]);
            writer->clients[node].timeout_ms =
                patience_ms[i / 2 % (sizeof patience_ms / sizeof patience_ms[0])];
        }
        if (pthread_create(&writer->thread, NULL, run, writer) != 0) {
            abort();
        }
    }
}

const char *writers_failure(struct writers *writers)
{
    unsigned i;

    for (i = 0; i < WRITERS; i++) {
        if (atomic_load(&writers->writers[i].failed)) {
            return writers->writers[i].failure;
        }
    }
    return NULL;
}

struct progress {
    struct writers *writers;
    uint64_t before;
};

static bool has_progress(void *data)
{
    struct progress *progress = data;

    return atomic_load(&progress->writers->acknowledged) > progress->before ||
           writers_failure(progress->writers) != NULL;
}

bool writers_wait_progress(struct writers *writers, unsigned limit_ms)
{
    struct progress progress = {.writers = writers, .before = atomic_load(&writers->acknowledged)};

    return wait_until(has_progress, &progress, limit_ms) && writers_failure(writers) == NULL;
}

static bool is_the_same_answer(const struct write_sample *sample,
                               const struct http_response *response)
{
    char etag[32] = "";
    char revision[32] = "";

    (void)http_header(response, "ETag", etag, sizeof etag); /* May have none. */
    (void)http_header(response, "Holdfast-Revision", revision, sizeof revision);
    return response->status == sample->status && strcmp(etag, sample->etag) == 0 &&
           strcmp(revision, sample->revision) == 0 &&
           strcmp((const char *)response->body.data, sample->answer) == 0 &&
           http_header_is(response, "Idempotency-Replayed", "true");
}

static const char *repeat(struct writer *writer, unsigned node, bool first)
{
    struct http_client client = cluster_client(&writer->all->cluster->nodes[node]);
    struct http_response response = {0};
    uint64_t end = now_ms() + REPEAT_MS;
    const char *wrong = NULL;
    struct write_sample sample;
    enum http_outcome outcome;

    (void)pthread_mutex_lock(&writer->mutex);
    sample = first ? writer->first : writer->last;
    (void)pthread_mutex_unlock(&writer->mutex);
    if (sample.status == 0) {
        return NULL; /* Nothing was acknowledged yet. */
    }
    do {
        outcome = http_call(&client, &response, sample.method, sample.target, sample.headers,
                            sample.body);
    } while (is_worth_another_try(writer, outcome, response.status) && now_ms() < end);
    if (outcome != HTTP_ANSWERED || !is_the_same_answer(&sample, &response)) {
        (void)snprintf(complaint, sizeof complaint,
                       "%s %s %.60s sent again to n%u: outcome %d: %.200s\n%.200s\nbefore: %u %s",
                       sample.method, sample.target, sample.headers, node + 1, (int)outcome,
                       outcome == HTTP_ANSWERED ? (const char *)response.head.data : "",
                       outcome == HTTP_ANSWERED ? (const char *)response.body.data : "",
                       sample.status, sample.answer);
        wrong = complaint;
    }
    http_response_close(&response);
    http_client_close(&client);
    return wrong;
}

const char *writers_repeat(struct writers *writers, unsigned node, bool first)
{
    const char *wrong = NULL;
    unsigned i;

    for (i = 0; i < WRITERS && wrong == NULL; i++) {
        wrong = repeat(&writers->writers[i], node, first);
    }
    return wrong;
}

void writers_stop(struct writers *writers)
{
    unsigned i;

    atomic_store(&writers->stopping, true);
    for (i = 0; i < WRITERS; i++) {
        (void)pthread_join(writers->writers[i].thread, NULL);
    }
}

/* --- What is there, against what was acknowledged --- */

/* Where the next event of each writer is expected in a session's log. */
struct reading {
    struct writers *writers;
    size_t next[WRITERS][WRITE_KINDS];
    uint64_t last_seq;
    uint64_t events;
};

/* The next record of @writer that has to be in this session. In the shared one two kinds mix, in
 * the order of their numbers. */
static const struct write_record *expect_next(struct reading *reading, unsigned writer, bool shared)
{
    static const enum write_kind in_shared[] = {WRITE_APPEND_KEY, WRITE_TRANSACTION};
    static const enum write_kind in_own[] = {WRITE_APPEND_IDS, WRITE_APPEND_IDS};
    const enum write_kind *kinds = shared ? in_shared : in_own;
    const struct write_record *found = NULL;
    unsigned i;

    for (i = 0; i < 2; i++) {
        const struct buffer *records = &reading->writers->writers[writer].records[kinds[i]];
        size_t next = reading->next[writer][kinds[i]];
        const struct write_record *record =
            (const struct write_record *)(const void *)records->data;

        if (next < records->size / sizeof *record && (found == NULL || record[next].n < found->n)) {
            found = &record[next];
        }
    }
    if (found != NULL) {
        reading->next[writer][shared ? found->n % WRITE_KINDS : WRITE_APPEND_IDS]++;
    }
    return found;
}

static const char *check_event(struct reading *reading, const json_t *event, bool shared)
{
    const json_t *data = json_object_get(event, "data");
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(event, "seq"));
    uint64_t n = (uint64_t)json_integer_value(json_object_get(data, "n"));
    json_int_t writer = json_integer_value(json_object_get(data, "w"));
    const struct write_record *record = NULL;

    if (writer >= 0 && writer < WRITERS) {
        record = expect_next(reading, (unsigned)writer, shared);
    }
    if (record == NULL || record->n != n || record->seq != seq || seq <= reading->last_seq) {
        (void)snprintf(complaint, sizeof complaint,
                       "event %" PRIu64 " (after %" PRIu64 ") is number %" PRIu64
                       " of writer %lld; acknowledged next was number %" PRIu64
                       " as event %" PRIu64,
                       seq, reading->last_seq, n, (long long)writer, record == NULL ? 0 : record->n,
                       record == NULL ? 0 : record->seq);
        return complaint;
    }
    reading->last_seq = seq;
    reading->events++;
    return NULL;
}

/* One page, from @cursor on, which is then that of the next page, or empty after the last. */
static const char *check_page(struct reading *reading, struct http_client *client,
                              const char *session, bool shared, char cursor[MAX_CURSOR])
{
    struct http_response response = {0};
    const char *wrong = NULL;
    json_t *page = NULL;
    const json_t *events;
    const char *next;
    char target[MAX_CURSOR + 160];
    size_t i;

    (void)snprintf(target, sizeof target, NS "/sessions/%s/events?limit=%d%s%s", session, PAGE_ROWS,
                   cursor[0] == '\0' ? "" : "&cursor=", cursor);
    if (http_call(client, &response, "GET", target, NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        page = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
    }
    events = json_object_get(page, "items");
    if (events == NULL) {
        (void)snprintf(complaint, sizeof complaint, "GET %s: %u", target, response.status);
        wrong = complaint;
    }
    for (i = 0; wrong == NULL && i < json_array_size(events); i++) {
        wrong = check_event(reading, json_array_get(events, i), shared);
    }
    next = json_string_value(json_object_get(page, "next_cursor"));
    (void)snprintf(cursor, MAX_CURSOR, "%s", next == NULL ? "" : next);
    json_decref(page);
    http_response_close(&response);
    return wrong;
}

static const char *check_session(struct reading *reading, struct http_client *client,
                                 const char *session, unsigned first, unsigned end)
{
    const char *wrong = NULL;
    bool shared = end - first > 1;
    char cursor[MAX_CURSOR] = "";
    unsigned i;

    reading->last_seq = 0;
    do {
        wrong = check_page(reading, client, session, shared, cursor);
    } while (cursor[0] != '\0' && wrong == NULL);
    for (i = first; i < end && wrong == NULL; i++) {
        const struct write_record *record = expect_next(reading, i, shared);

        if (record != NULL) {
            (void)snprintf(complaint, sizeof complaint,
                           "number %" PRIu64 " of writer %u, acknowledged as event %" PRIu64
                           ", is not in session %s",
                           record->n, i, record->seq, session);
            wrong = complaint;
        }
    }
    return wrong;
}

static const char *check_item(struct http_client *client, const char *prefix,
                              const struct writer *writer, enum write_kind kind)
{
    const struct write_record *record = last_record(writer, kind);
    struct http_response response = {0};
    const char *wrong = NULL;
    char expected[64];
    char tag[32];
    char target[96];

    if (record == NULL) {
        return NULL;
    }
    (void)snprintf(target, sizeof target, NS "/items/%s%u", prefix, writer->number);
    (void)snprintf(expected, sizeof expected, "{\"n\":%" PRIu64 "}", record->n);
    (void)snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", record->revision);
    if (http_call(client, &response, "GET", target, NULL, NULL) != HTTP_ANSWERED ||
        response.status != 200 || strcmp((const char *)response.body.data, expected) != 0 ||
        !http_header_is(&response, "ETag", tag)) {
        (void)snprintf(complaint, sizeof complaint,
                       "GET %s: %u %.100s, but %s at %s was acknowledged", target, response.status,
                       response.body.data == NULL ? "" : (const char *)response.body.data, expected,
                       tag);
        wrong = complaint;
    }
    http_response_close(&response);
    return wrong;
}

const char *writers_verify(struct writers *writers, unsigned node)
{
    struct http_client client = cluster_client(&writers->cluster->nodes[node]);
    struct reading reading = {.writers = writers};
    const char *wrong = check_session(&reading, &client, "shared", 0, WRITERS);
    char session[16];
    unsigned i;

    for (i = 0; i < WRITERS && wrong == NULL; i++) {
        (void)snprintf(session, sizeof session, "w%u", i);
        if (last_record(&writers->writers[i], WRITE_APPEND_IDS) != NULL) {
            wrong = check_session(&reading, &client, session, i, i + 1);
        }
        if (wrong == NULL) {
            wrong = check_item(&client, "w", &writers->writers[i], WRITE_PUT);
        }
        if (wrong == NULL) {
            wrong = check_item(&client, "t", &writers->writers[i], WRITE_TRANSACTION);
        }
    }
    http_client_close(&client);
    return wrong;
}

void writers_close(struct writers *writers)
{
    unsigned i;
    unsigned j;

    for (i = 0; i < WRITERS; i++) {
        struct writer *writer = &writers->writers[i];

        for (j = 0; j < CLUSTER_MAX_NODES; j++) {
            http_client_close(&writer->clients[j]);
        }
        for (j = 0; j < WRITE_KINDS; j++) {
            buffer_close(&writer->records[j]);
        }
        (void)pthread_mutex_destroy(&writer->mutex);
    }
}
