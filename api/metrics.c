#include "api/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "api/metrics_node.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

/* The statuses that we answer with; others, which do not occur, share a place. */
static const unsigned statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404,
                                    405, 408, 409, 410, 412, 413, 414, 415, 416, 422,
                                    428, 429, 431, 500, 503, 504, 507, 0};
#define N_STATUSES (sizeof(statuses) / sizeof(statuses[0]))

/* Upper bounds of the latency buckets. A bucket holds what is above the one before. */
static const struct {
    uint64_t nanoseconds;
    const char *label;
} bounds[] = {
    {100000, "0.0001"},  {250000, "0.00025"},    {500000, "0.0005"},   {1000000, "0.001"},
    {2500000, "0.0025"}, {5000000, "0.005"},     {10000000, "0.01"},   {25000000, "0.025"},
    {50000000, "0.05"},  {100000000, "0.1"},     {250000000, "0.25"},  {500000000, "0.5"},
    {1000000000, "1"},   {2500000000ull, "2.5"}, {5000000000ull, "5"}, {UINT64_MAX, "+Inf"},
};
#define N_BUCKETS (sizeof(bounds) / sizeof(bounds[0]))

typedef _Atomic uint64_t counter;

/* Of one method of one route. */
struct series {
    counter by_status[N_STATUSES];
    counter buckets[N_BUCKETS];
    counter nanoseconds;
};

struct metrics {
    const struct route *table;
    unsigned n_routes; /* And one more, for what matched none. */
    counter connections;
    counter connections_total;
    counter bytes_received;
    counter bytes_sent;
    struct series series[]; /* By route and method. */
};

static uint64_t value_of(const counter *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* There is one writer, so this needs no locked instruction. */
static void add(counter *number, uint64_t more)
{
    atomic_store_explicit(number, value_of(number) + more, memory_order_relaxed);
}

struct metrics *metrics_new(const struct route *table)
{
    struct metrics *metrics;
    unsigned n_routes = 0;

    while (table[n_routes].pattern != NULL) {
        n_routes++;
    }
    metrics =
        memory_new_zeroed(1, sizeof(*metrics) + sizeof(struct series) * (n_routes + 1) * METHODS);
    metrics->table = table;
    metrics->n_routes = n_routes;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics);
}

static size_t status_number(unsigned status)
{
    size_t i = 0;

    while (statuses[i] != status && i + 1 < N_STATUSES) {
        i++;
    }
    return i;
}

void metrics_request(struct metrics *metrics, unsigned route_number, enum method method,
                     unsigned status, uint64_t nanoseconds)
{
    unsigned row = route_number < metrics->n_routes ? route_number : metrics->n_routes;
    struct series *series = &metrics->series[row * METHODS + method];
    size_t bucket = 0;

    CHECK(method < METHODS);
    while (nanoseconds > bounds[bucket].nanoseconds) {
        bucket++;
    }
    add(&series->by_status[status_number(status)], 1);
    add(&series->buckets[bucket], 1);
    add(&series->nanoseconds, nanoseconds);
}

void metrics_connection(struct metrics *metrics, int change)
{
    add(&metrics->connections, (uint64_t)(int64_t)change);
    if (change > 0) {
        add(&metrics->connections_total, 1);
    }
}

void metrics_bytes_received(struct metrics *metrics, uint64_t bytes)
{
    add(&metrics->bytes_received, bytes);
}

void metrics_bytes_sent(struct metrics *metrics, uint64_t bytes)
{
    add(&metrics->bytes_sent, bytes);
}

/* --- The text
 * ------------------------------------------------------------------------------------*/

static uint64_t sum(const struct metrics_sources *sources, size_t offset)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < sources->n_threads; i++) {
        total +=
            value_of((const counter *)(const void *)((const char *)sources->threads[i] + offset));
    }
    return total;
}

static size_t series_offset(unsigned row, enum method method)
{
    return offsetof(struct metrics, series) +
           sizeof(struct series) * (row * METHODS + (size_t)method);
}

static const char *route_label(const struct metrics *metrics, unsigned row)
{
    return row < metrics->n_routes ? metrics->table[row].pattern : "none";
}

static void write_request_counts(const struct metrics_sources *sources, struct buffer *text)
{
    const struct metrics *first = sources->threads[0];

    metric_begin(text, "holdfast_http_requests_total", "counter",
                 "Requests answered, by route, method and status.");
    for (unsigned row = 0; row <= first->n_routes; row++) {
        for (enum method method = 0; method < METHODS; method++) {
            for (size_t s = 0; s < N_STATUSES; s++) {
                uint64_t count =
                    sum(sources, series_offset(row, method) + offsetof(struct series, by_status) +
                                     s * sizeof(counter));

                if (count > 0) {
                    buffer_append_format(text,
                                         "holdfast_http_requests_total{route=\"%s\",method=\"%s\","
                                         "status=\"%u\"} %llu\n",
                                         route_label(first, row), method_name(method), statuses[s],
                                         (unsigned long long)count);
                }
            }
        }
    }
}

static void write_histogram(const struct metrics_sources *sources, unsigned row, enum method method,
                            struct buffer *text)
{
    const char *route = route_label(sources->threads[0], row);
    size_t offset = series_offset(row, method);
    uint64_t counts[N_BUCKETS];
    uint64_t count = 0;

    for (size_t b = 0; b < N_BUCKETS; b++) {
        count += sum(sources, offset + offsetof(struct series, buckets) + b * sizeof(counter));
        counts[b] = count; /* Prometheus wants each bucket to hold the smaller ones too. */
    }
    if (count == 0) {
        return;
    }
    for (size_t b = 0; b < N_BUCKETS; b++) {
        buffer_append_format(text,
                             "holdfast_http_request_duration_seconds_bucket{route=\"%s\","
                             "method=\"%s\",le=\"%s\"} %llu\n",
                             route, method_name(method), bounds[b].label,
                             (unsigned long long)counts[b]);
    }
    buffer_append_format(
        text,
        "holdfast_http_request_duration_seconds_sum{route=\"%s\",method=\"%s\"} %.9f\n"
        "holdfast_http_request_duration_seconds_count{route=\"%s\",method=\"%s\"} %llu\n",
        route, method_name(method),
        (double)sum(sources, offset + offsetof(struct series, nanoseconds)) / 1e9, route,
        method_name(method), (unsigned long long)count);
}

static void write_histograms(const struct metrics_sources *sources, struct buffer *text)
{
    metric_begin(text, "holdfast_http_request_duration_seconds", "histogram",
                 "Time from a whole request to its answer.");
    for (unsigned row = 0; row <= sources->threads[0]->n_routes; row++) {
        for (enum method method = 0; method < METHODS; method++) {
            write_histogram(sources, row, method, text);
        }
    }
}

void metrics_write(const struct metrics_sources *sources, struct buffer *text)
{
    metric_begin(text, "holdfast_build_info", "gauge", "1, labelled with the version.");
    buffer_append_format(text, "holdfast_build_info{version=\"%s\"} 1\n", sources->version);
    write_request_counts(sources, text);
    write_histograms(sources, text);
    metric_number(text, "holdfast_http_connections", "gauge", "Open connections of clients.",
                  sum(sources, offsetof(struct metrics, connections)));
    metric_number(text, "holdfast_http_connections_total", "counter",
                  "Connections of clients accepted.",
                  sum(sources, offsetof(struct metrics, connections_total)));
    metric_number(text, "holdfast_http_received_bytes_total", "counter",
                  "Bytes received from clients.",
                  sum(sources, offsetof(struct metrics, bytes_received)));
    metric_number(text, "holdfast_http_sent_bytes_total", "counter", "Bytes sent to clients.",
                  sum(sources, offsetof(struct metrics, bytes_sent)));
    if (sources->node != NULL) {
        metrics_write_node(sources->node, text);
    }
    if (sources->store != NULL) {
        metrics_write_store(sources->store, text);
    }
}
