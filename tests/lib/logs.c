#include "tests/lib/logs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/lib/deadline.h"
#include "tests/lib/log_model.h"

#define PATIENCE_MS        1500
#define BETWEEN            20
#define WAIT_AFTER_NOTHING 30
#define PAGE_ROWS          500
#define MAX_CONFIGURATIONS 20000000
#define LAST_READ_MS       20000

_Static_assert(LOG_EVENTS + LOG_CLIENTS < PAGE_ROWS, "one page shows all of a log");

struct log_record {
    uint64_t log; /* Its number, of all that were. */
    uint64_t call;
    uint64_t answer;
    struct log_operation operation;
    size_t seen_at; /* READ: where its events are among those that the client saw. */
};

/* Where reads showed an event. */
struct log_sight {
    uint64_t seq;    /* 0: none did. */
    uint64_t answer; /* Of the first one. */
};

static char complaint[384];

static void fail(struct log_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct log_client *client, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(client->failure, sizeof client->failure, format, args);
    va_end(args);
    atomic_store(&client->failed, true);
}

/* --- Answers --- */

static bool take_append(struct log_record *record, const struct http_response *response,
                        const json_t *body)
{
    json_int_t first = json_integer_value(json_object_get(body, "first_seq"));
    json_int_t last = json_integer_value(json_object_get(body, "last_seq"));

    record->operation.first_seq = (uint64_t)last;
    return response->status == 201 && first > 0 && first == last;
}

static void note_sight(struct log_client *client, uint64_t event, uint64_t seq, uint64_t answer)
{
    struct buffer *sights = &client->sights;
    size_t size = (size_t)(event + 1) * sizeof(struct log_sight);
    struct log_sight *sight;

    if (sights->size < size) {
        size_t more = size - sights->size;

        memset(buffer_extend(sights, more), 0, more);
    }
    sight = (struct log_sight *)(void *)sights->data + event;
    if (sight->seq == 0 || answer < sight->answer) {
        *sight = (struct log_sight){.seq = seq, .answer = answer};
    }
}

/* All events, numbered from one on without a gap. */
static bool take_read(struct log_client *client, struct log_record *record,
                      const struct http_response *response, const json_t *body)
{
    const json_t *events = json_object_get(body, "items");
    struct log_operation *operation = &record->operation;
    size_t i;

    if (response->status == 404) {
        return true; /* Nobody has appended to it yet. */
    }
    if (response->status != 200 || !json_is_null(json_object_get(body, "next_cursor"))) {
        return false;
    }
    operation->last_seq = (uint64_t)json_integer_value(json_object_get(body, "last_seq"));
    record->seen_at = client->seen.size / sizeof(struct log_event);
    for (i = 0; i < json_array_size(events); i++) {
        const json_t *row = json_array_get(events, i);
        uint64_t event = (uint64_t)json_integer_value(json_object_get(row, "data"));

        if (json_integer_value(json_object_get(row, "seq")) != (json_int_t)i + 1 || event == 0 ||
            event >= atomic_load(&client->all->next_event)) {
            return false;
        }
        note_sight(client, event, i + 1, record->answer);
        buffer_append(&client->seen, &(struct log_event){.seq = i + 1, .event = event},
                      sizeof(struct log_event));
        operation->n_seen++;
    }
    return operation->last_seq == i;
}

static bool take_answer(struct log_client *client, struct log_record *record,
                        const struct http_response *response)
{
    json_t *body = json_loadb((const char *)response->body.data, response->body.size, 0, NULL);
    bool taken = record->operation.action == LOG_APPEND ? take_append(record, response, body)
                                                        : take_read(client, record, response, body);

    json_decref(body);
    return taken;
}

/* --- Requests --- */

/* Send it, once, and record what is known of it. */
static void perform(struct log_client *client, struct log_record *record, const char *method,
                    const char *target, const char *body)
{
    unsigned node = (unsigned)(random_next(&client->random) % CLUSTER_NODES);
    struct http_response response = {0};
    enum http_outcome outcome;
    unsigned status;

    record->call = now_ns();
    outcome = http_call(&client->clients[node], &response, method, target, NULL, body);
    record->answer = now_ns();
    status = outcome == HTTP_ANSWERED ? response.status : 0;
    if (outcome == HTTP_REFUSED || status == 503 || status == 429 || status == 507) {
        pause_ms(WAIT_AFTER_NOTHING); /* Certainly nothing happened. */
    } else if (outcome != HTTP_ANSWERED || status == 504) {
        record->answer = UINT64_MAX;
        if (record->operation.action == LOG_APPEND) {
            client->unknown++;
            buffer_append(&client->history, record, sizeof *record);
        }
    } else if (take_answer(client, record, &response)) {
        buffer_append(&client->history, record, sizeof *record);
    } else {
        fail(client, "%s %s on n%u: %u %.100s", method, target, node + 1, status,
             (const char *)response.body.data);
    }
    http_response_close(&response);
}

/* Logs LOGS apart follow each other in one place. */
static uint64_t number_of(unsigned place, uint64_t tries)
{
    return tries / LOG_EVENTS * LOGS + place;
}

static void append(struct log_client *client, unsigned place)
{
    struct log_record record = {
        .operation = {.action = LOG_APPEND, .truncate_after = LOG_NO_REWIND, .n_events = 1}};
    char target[96];
    char body[96];

    record.log = number_of(place, atomic_fetch_add(&client->all->tries[place], 1));
    record.operation.first_event = atomic_fetch_add(&client->all->next_event, 1);
    (void)snprintf(target, sizeof target, "/v1/namespaces/default/sessions/log-%" PRIu64 "/events",
                   record.log);
    (void)snprintf(body, sizeof body,
                   "{\"events\":[{\"type\":\"t\",\"data\":%" PRIu64 "}],\"create\":{}}",
                   record.operation.first_event);
    perform(client, &record, "POST", target, body);
}

static void read_all(struct log_client *client, uint64_t log)
{
    struct log_record record = {.log = log, .operation = {.action = LOG_READ}};
    char target[128];

    (void)snprintf(target, sizeof target,
                   "/v1/namespaces/default/sessions/log-%" PRIu64 "/events?order=asc&limit=%d",
                   record.log, PAGE_ROWS);
    perform(client, &record, "GET", target, NULL);
}

/* The log of now, or now and then the one before, which may still be appended to. */
static void read_one(struct log_client *client, unsigned place)
{
    uint64_t tries = atomic_load(&client->all->tries[place]);

    if (tries >= LOG_EVENTS && random_next(&client->random) % 8 == 0) {
        tries -= LOG_EVENTS;
    }
    read_all(client, number_of(place, tries));
}

static void *run(void *data)
{
    struct log_client *client = data;

    while (!atomic_load(&client->all->stopping) && !atomic_load(&client->failed)) {
        unsigned place = (unsigned)(random_next(&client->random) % LOGS);

        if (random_next(&client->random) % 100 < 60) {
            append(client, place);
        } else {
            read_one(client, place);
        }
        pause_ms((unsigned)(random_next(&client->random) % BETWEEN));
    }
    return NULL;
}

/* --- The life --- */

void logs_start(struct logs *logs, struct cluster *cluster, uint64_t seed)
{
    unsigned node;
    unsigned i;

    memset(logs, 0, sizeof *logs);
    atomic_store(&logs->next_event, 1);
    for (i = 0; i < LOG_CLIENTS; i++) {
        struct log_client *client = &logs->clients[i];

        client->all = logs;
        client->random = (seed * 41 + i + 1) | 1;
        for (node = 0; node < CLUSTER_NODES; node++) {
            client->clients[node] = cluster_client(&cluster->nodes[node]);
            client->clients[node].timeout_ms = PATIENCE_MS;
        }
        if (pthread_create(&client->thread, NULL, run, client) != 0) {
            abort();
        }
    }
}

void logs_stop(struct logs *logs)
{
    unsigned i;

    atomic_store(&logs->stopping, true);
    for (i = 0; i < LOG_CLIENTS; i++) {
        (void)pthread_join(logs->clients[i].thread, NULL); /* Started, and joined once. */
    }
}

void logs_close(struct logs *logs)
{
    unsigned i;
    unsigned j;

    for (i = 0; i < LOG_CLIENTS; i++) {
        for (j = 0; j < CLUSTER_NODES; j++) {
            http_client_close(&logs->clients[i].clients[j]);
        }
        buffer_close(&logs->clients[i].history);
        buffer_close(&logs->clients[i].sights);
        buffer_close(&logs->clients[i].seen);
    }
}

/* --- The check --- */

/* Read it until that is recorded. False if it was not in time. */
static bool read_last(struct log_client *client, uint64_t log)
{
    size_t before = client->history.size;
    uint64_t end = now_ms() + LAST_READ_MS;

    while (client->history.size == before && now_ms() < end && !atomic_load(&client->failed)) {
        read_all(client, log);
    }
    return client->history.size > before;
}

/* What is known of an append whose client was told nothing. False if it never took effect as far as
 * anybody can see. */
static bool resolve(const struct logs *logs, struct log_record *record)
{
    const struct log_sight *first = NULL;
    unsigned i;

    for (i = 0; i < LOG_CLIENTS; i++) {
        const struct buffer *sights = &logs->clients[i].sights;
        const struct log_sight *sight;

        if (record->operation.first_event >= sights->size / sizeof *sight) {
            continue;
        }
        sight =
            (const struct log_sight *)(const void *)sights->data + record->operation.first_event;
        if (sight->seq != 0 && (first == NULL || sight->answer < first->answer)) {
            first = sight;
        }
    }
    if (first != NULL) {
        record->answer = first->answer;
        record->operation.first_seq = first->seq;
    }
    return first != NULL;
}

/* What all clients did with one log, as one history that the checker takes. */
static size_t gather(struct logs *logs, uint64_t log, struct log_versions *versions,
                     struct history_operation *operations)
{
    size_t n = 0;
    unsigned i;
    size_t j;

    for (i = 0; i < LOG_CLIENTS; i++) {
        const struct buffer *history = &logs->clients[i].history;
        const struct log_event *seen = (const void *)logs->clients[i].seen.data;
        struct log_record *records = (void *)history->data;

        for (j = 0; j < history->size / sizeof *records; j++) {
            records[j].operation.versions = versions;
            records[j].operation.seen = seen == NULL ? NULL : seen + records[j].seen_at;
            if (records[j].log == log &&
                (records[j].answer != UINT64_MAX || resolve(logs, &records[j]))) {
                operations[n++] = (struct history_operation){.call = records[j].call,
                                                             .answer = records[j].answer,
                                                             .what = &records[j].operation};
            }
        }
    }
    return n;
}

static const char *check_log(uint64_t log, const struct history_operation *operations, size_t n)
{
    size_t furthest = 0;
    enum linearizability result =
        linearizability_check(&log_model, operations, n, MAX_CONFIGURATIONS, &furthest);

    if (result == NOT_LINEARIZABLE) {
        const struct log_operation *what = operations[furthest].what;

        (void)snprintf(complaint, sizeof complaint,
                       "session log-%" PRIu64 " is not linearizable at %s of event %" PRIu64
                       ", number %" PRIu64 ", %u events seen, called at %" PRIu64 " ns",
                       log, what->action == LOG_APPEND ? "the append" : "a read", what->first_event,
                       what->first_seq + what->last_seq, what->n_seen, operations[furthest].call);
    } else if (result == LINEARIZABILITY_UNDECIDED) {
        (void)snprintf(complaint, sizeof complaint,
                       "session log-%" PRIu64 ": too many ways to order %zu", log, n);
    }
    return result == LINEARIZABLE ? NULL : complaint;
}

/* How many records there are, and the highest number of a log; counts what they are. */
static size_t survey(const struct logs *logs, uint64_t *highest, struct logs_summary *summary)
{
    size_t n = 0;
    unsigned i;
    size_t j;

    for (i = 0; i < LOG_CLIENTS; i++) {
        const struct buffer *history = &logs->clients[i].history;
        const struct log_record *records = (const void *)history->data;

        summary->unknown += logs->clients[i].unknown;
        for (j = 0; j < history->size / sizeof *records; j++, n++) {
            *highest = records[j].log > *highest ? records[j].log : *highest;
            summary->appends += records[j].operation.action == LOG_APPEND;
            summary->reads += records[j].operation.action == LOG_READ;
        }
    }
    return n;
}

const char *logs_check(struct logs *logs, struct logs_summary *summary)
{
    struct history_operation *operations;
    const char *wrong = NULL;
    uint64_t highest = 0;
    uint64_t log;
    unsigned i;

    memset(summary, 0, sizeof *summary);
    for (i = 0; i < LOG_CLIENTS; i++) {
        if (atomic_load(&logs->clients[i].failed)) {
            return logs->clients[i].failure;
        }
    }
    (void)survey(logs, &highest, summary);
    for (log = 0; log <= highest; log++) {
        if (!read_last(&logs->clients[0], log)) {
            (void)snprintf(complaint, sizeof complaint,
                           "session log-%" PRIu64 " cannot be read: %s", log,
                           logs->clients[0].failure);
            return complaint;
        }
    }
    memset(summary, 0, sizeof *summary);
    operations = calloc(survey(logs, &highest, summary) + 1, sizeof *operations);
    if (operations == NULL) {
        abort();
    }
    for (log = 0; log <= highest && wrong == NULL; log++) {
        struct log_versions *versions = log_versions_open();

        wrong = check_log(log, operations, gather(logs, log, versions, operations));
        log_versions_close(versions);
        summary->logs++;
    }
    free(operations);
    return wrong;
}
