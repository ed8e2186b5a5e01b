#include "tests/lib/registers.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/deadline.h"

#define PATIENCE_MS        1500
#define BETWEEN            15
#define WAIT_AFTER_NOTHING 30
#define MAX_CONFIGURATIONS 20000000

struct register_record {
    uint64_t call;
    uint64_t answer;
    struct register_operation operation;
};

/* One request that is on its way. */
struct attempt {
    struct register_client *client;
    unsigned item;
    struct register_record record;
    struct http_response response;
};

static char complaint[384];

static void fail(struct register_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct register_client *client, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(client->failure, sizeof client->failure, format, args);
    va_end(args);
    atomic_store(&client->failed, true);
}

static bool is_read(const struct attempt *attempt)
{
    return attempt->record.operation.action == REGISTER_READ;
}

static void record(const struct attempt *attempt)
{
    struct buffer *history = &attempt->client->history[attempt->item];

    buffer_append(history, &attempt->record, sizeof attempt->record);
}

static void note_sight(struct attempt *attempt, uint64_t value)
{
    struct register_sight *sight = &attempt->client->sights[attempt->item];

    sight->value = value;
    if (!http_header(&attempt->response, "ETag", sight->etag, sizeof sight->etag)) {
        sight->value = 0;
    }
}

static uint64_t revision_of(const struct http_response *response)
{
    char value[32];

    return http_header(response, "Holdfast-Revision", value, sizeof value)
               ? strtoull(value, NULL, 10)
               : 0;
}

/* Understand an answer. False if it is none that may come. */
static bool take_answer(struct attempt *attempt)
{
    struct register_operation *operation = &attempt->record.operation;
    unsigned status = attempt->response.status;
    uint64_t revision = revision_of(&attempt->response);

    if (revision > attempt->client->revision) {
        attempt->client->revision = revision;
    }
    switch (operation->action) {
    case REGISTER_READ:
        operation->value =
            status == 200 ? strtoull((const char *)attempt->response.body.data, NULL, 10) : 0;
        note_sight(attempt, operation->value);
        return status == 200 || status == 404;
    case REGISTER_WRITE:
        note_sight(attempt, operation->value);
        return status == 200 || status == 201;
    case REGISTER_CAS:
        operation->succeeded = status != 412;
        if (operation->succeeded) {
            note_sight(attempt, operation->value);
        }
        return status == 200 || status == 201 || status == 412;
    case REGISTER_DELETE:
        operation->succeeded = status == 204;
        attempt->client->sights[attempt->item].value = 0;
        return status == 204 || status == 404;
    }
    return false;
}

/* One that is in the cluster. */
static unsigned any_node(struct register_client *client)
{
    const struct cluster *cluster = client->all->cluster;
    unsigned number = (unsigned)(random_next(&client->random) >> 32);

    for (unsigned i = 0; i < cluster->n_nodes; i++) {
        unsigned node = (number + i) % cluster->n_nodes;

        if (!atomic_load(&cluster->nodes[node].is_absent)) {
            return node;
        }
    }
    return 0;
}

/* Send it, once, and record what is known of it. */
static void perform(struct attempt *attempt, const char *method, const char *headers,
                    const char *body)
{
    struct register_client *client = attempt->client;
    unsigned node = any_node(client);
    enum http_outcome outcome;
    unsigned status;
    char target[64];

    (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/r%u", attempt->item);
    attempt->record.call = now_ns();
    outcome = http_call(&client->clients[node], &attempt->response, method, target, headers, body);
    attempt->record.answer = now_ns();
    status = outcome == HTTP_ANSWERED ? attempt->response.status : 0;
    if (outcome == HTTP_REFUSED || status == 503 || status == 429 || status == 507) {
        pause_ms(WAIT_AFTER_NOTHING); /* Certainly nothing happened. */
    } else if (outcome != HTTP_ANSWERED || status == 504) {
        attempt->record.answer = UINT64_MAX;
        if (!is_read(attempt)) {
            client->unknown++;
            record(attempt);
        }
    } else if (take_answer(attempt)) {
        record(attempt);
    } else {
        fail(client, "%s %s on n%u: %u %.100s", method, target, node + 1, status,
             (const char *)attempt->response.body.data);
    }
}

static void change(struct attempt *attempt, bool compare)
{
    struct register_operation *operation = &attempt->record.operation;
    const struct register_sight *sight = &attempt->client->sights[attempt->item];
    char headers[64] = "If-None-Match: *\r\n";
    char body[24];

    operation->action = compare ? REGISTER_CAS : REGISTER_WRITE;
    operation->value = atomic_fetch_add(&attempt->client->all->next_value, 1);
    operation->expected = sight->value;
    if (sight->value != 0) {
        (void)snprintf(headers, sizeof headers, "If-Match: %s\r\n", sight->etag);
    }
    (void)snprintf(body, sizeof body, "%" PRIu64, operation->value);
    perform(attempt, "PUT", compare ? headers : NULL, body);
}

/* A read that promises less. What it shows was written once, and with a minimum, not before that.
 */
static void read_weakly(struct attempt *attempt)
{
    struct register_client *client = attempt->client;
    unsigned node = any_node(client);
    bool has_minimum = random_next(&client->random) % 2 == 0;
    uint64_t minimum = client->revision;
    char target[128];
    uint64_t value;

    (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/r%u?", attempt->item);
    if (has_minimum) {
        (void)snprintf(target + strlen(target), 64, "min_revision=%" PRIu64, minimum);
    } else {
        (void)snprintf(target + strlen(target), 64, "consistency=stale");
    }
    if (http_call(&client->clients[node], &attempt->response, "GET", target, NULL, NULL) !=
            HTTP_ANSWERED ||
        attempt->response.status != 200) {
        return;
    }
    client->weak_reads++;
    value = strtoull((const char *)attempt->response.body.data, NULL, 10);
    if (value == 0 || value >= atomic_load(&client->all->next_value)) {
        fail(client, "%s on n%u shows %" PRIu64 ", which nobody wrote", target, node + 1, value);
    } else if (has_minimum && revision_of(&attempt->response) < minimum) {
        fail(client, "%s on n%u is of revision %" PRIu64, target, node + 1,
             revision_of(&attempt->response));
    }
}

static void *run(void *data)
{
    struct register_client *client = data;

    while (!atomic_load(&client->all->stopping) && !atomic_load(&client->failed)) {
        struct attempt attempt = {.client = client};
        uint64_t what = random_next(&client->random) % 100;

        attempt.item = (unsigned)(random_next(&client->random) % REGISTERS);
        if (what < 40) {
            attempt.record.operation.action = REGISTER_READ;
            perform(&attempt, "GET", NULL, NULL);
        } else if (what < 50) {
            read_weakly(&attempt);
        } else if (what < 65) {
            change(&attempt, false);
        } else if (what < 95) {
            change(&attempt, true);
        } else {
            attempt.record.operation.action = REGISTER_DELETE;
            perform(&attempt, "DELETE", NULL, NULL);
        }
        http_response_close(&attempt.response);
        pause_ms((unsigned)(random_next(&client->random) % BETWEEN));
    }
    return NULL;
}

void registers_start(struct registers *registers, struct cluster *cluster, uint64_t seed)
{
    unsigned node;
    unsigned i;

    memset(registers, 0, sizeof *registers);
    registers->cluster = cluster;
    atomic_store(&registers->next_value, 1);
    for (i = 0; i < REGISTER_CLIENTS; i++) {
        struct register_client *client = &registers->clients[i];

        client->all = registers;
        client->random = (seed * 37 + i + 1) | 1;
        for (node = 0; node < cluster->n_nodes; node++) {
            client->clients[node] = cluster_client(&cluster->nodes[node]);
            client->clients[node].timeout_ms = PATIENCE_MS;
        }
        if (pthread_create(&client->thread, NULL, run, client) != 0) {
            abort();
        }
    }
}

void registers_stop(struct registers *registers)
{
    unsigned i;

    atomic_store(&registers->stopping, true);
    for (i = 0; i < REGISTER_CLIENTS; i++) {
        (void)pthread_join(registers->clients[i].thread, NULL); /* Started, and joined once. */
    }
}

/* The histories of all clients of one item, as one that the checker takes. */
static size_t gather(struct registers *registers, unsigned item,
                     struct history_operation **operations)
{
    size_t n = 0;
    size_t at = 0;
    unsigned i;
    size_t j;

    for (i = 0; i < REGISTER_CLIENTS; i++) {
        n += registers->clients[i].history[item].size / sizeof(struct register_record);
    }
    *operations = calloc(n + 1, sizeof **operations);
    if (*operations == NULL) {
        abort();
    }
    for (i = 0; i < REGISTER_CLIENTS; i++) {
        const struct buffer *history = &registers->clients[i].history[item];
        const struct register_record *records = (const void *)history->data;

        for (j = 0; j < history->size / sizeof *records; j++) {
            (*operations)[at++] = (struct history_operation){.call = records[j].call,
                                                             .answer = records[j].answer,
                                                             .what = &records[j].operation};
        }
    }
    return n;
}

static const char *check_item(struct registers *registers, unsigned item, size_t *n)
{
    struct history_operation *operations;
    enum linearizability result;
    size_t furthest = 0;

    *n = gather(registers, item, &operations);
    result = linearizability_check(&register_model, operations, *n, MAX_CONFIGURATIONS, &furthest);
    if (result == NOT_LINEARIZABLE) {
        const struct history_operation *stuck = &operations[furthest];
        const struct register_operation *what = stuck->what;

        (void)snprintf(complaint, sizeof complaint,
                       "item r%u is not linearizable at action %d, value %" PRIu64
                       ", expected %" PRIu64 ", succeeded %d, called at %" PRIu64 " ns",
                       item, (int)what->action, what->value, what->expected, what->succeeded,
                       stuck->call);
    } else if (result == LINEARIZABILITY_UNDECIDED) {
        (void)snprintf(complaint, sizeof complaint, "item r%u: too many ways to order %zu", item,
                       *n);
    }
    free(operations);
    return result == LINEARIZABLE ? NULL : complaint;
}

const char *registers_check(struct registers *registers, struct registers_summary *summary)
{
    const char *wrong = NULL;
    unsigned i;
    size_t n;

    memset(summary, 0, sizeof *summary);
    for (i = 0; i < REGISTER_CLIENTS; i++) {
        if (atomic_load(&registers->clients[i].failed)) {
            return registers->clients[i].failure;
        }
        summary->unknown += registers->clients[i].unknown;
        summary->weak_reads += registers->clients[i].weak_reads;
    }
    for (i = 0; i < REGISTERS && wrong == NULL; i++) {
        wrong = check_item(registers, i, &n);
        summary->operations += n;
    }
    return wrong;
}

void registers_close(struct registers *registers)
{
    unsigned i;
    unsigned j;

    for (i = 0; i < REGISTER_CLIENTS; i++) {
        for (j = 0; j < CLUSTER_MAX_NODES; j++) {
            http_client_close(&registers->clients[i].clients[j]);
        }
        for (j = 0; j < REGISTERS; j++) {
            buffer_close(&registers->clients[i].history[j]);
        }
    }
}
