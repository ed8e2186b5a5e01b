#include "tools/bench_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/memory.h"

static const double percents[] = {50, 90, 99, 99.9};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99.9"};

#define N_PERCENTS (sizeof percents / sizeof percents[0])

static double ms_of(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* All operations together; the caller frees it. */
static struct histogram *sum_up(const struct bench_result *result)
{
    struct histogram *total = memory_new_zeroed(1, sizeof *total);

    for (int op = 0; op < BENCH_N_OPS; op++) {
        histogram_add(total, &result->latency_ns[op]);
    }
    return total;
}

static double rate_of(const struct bench_options *options, const struct bench_result *result)
{
    return options->duration_ms == 0
               ? 0
               : (double)result->completed * 1000 / (double)options->duration_ms;
}

static void print_latency(const char *name, const struct histogram *histogram)
{
    (void)printf("%-10s", name);
    for (size_t i = 0; i < N_PERCENTS; i++) {
        (void)printf(" %s %.2f", percent_names[i],
                     ms_of(histogram_percentile(histogram, percents[i])));
    }
    (void)printf(" max %.2f ms (%" PRIu64 ")\n", ms_of(histogram_max(histogram)),
                 histogram_count(histogram));
}

static void print_errors(const struct bench_result *result)
{
    (void)printf("%-10s %" PRIu64, "errors", bench_result_errors(result));
    for (unsigned status = 0; status < BENCH_MAX_STATUS; status++) {
        if (result->errors[status] > 0) {
            (void)printf(", %" PRIu64 " times %u", result->errors[status], status);
        }
    }
    if (result->lost > 0) {
        (void)printf(", %" PRIu64 " lost with their connection", result->lost);
    }
    if (result->unanswered > 0) {
        (void)printf(", %" PRIu64 " not answered", result->unanswered);
    }
    if (result->bad_responses > 0) {
        (void)printf(", %" PRIu64 " times not HTTP", result->bad_responses);
    }
    (void)printf("\n%-10s %" PRIu64 "\n", "reconnects", result->reconnects);
}

static void print_text(const struct bench_options *options, const struct bench_result *result)
{
    struct histogram *total = sum_up(result);

    if (options->fill) {
        (void)printf("%-10s %" PRIu64 " records in %.1f s\n", "filled", result->filled,
                     (double)result->fill_ms / 1000);
    }
    if (options->duration_ms > 0) {
        (void)printf("%-10s %s, %" PRIu64 " connections to %zu nodes, ", "workload",
                     options->workload, options->connections, options->endpoints.count);
        if (options->rate > 0) {
            (void)printf("open loop at %" PRIu64 "/s, ", options->rate);
        } else {
            (void)printf("closed loop, ");
        }
        (void)printf("%.3g s\n", (double)options->duration_ms / 1000);
        (void)printf("%-10s %.0f/s\n", "rate", rate_of(options, result));
        print_latency("latency", total);
        for (int op = 0; op < BENCH_N_OPS; op++) {
            if (options->percent[op] > 0 && options->percent[op] < 100) {
                print_latency(bench_op_name((enum bench_op)op), &result->latency_ns[op]);
            }
        }
        if (result->misses > 0) {
            (void)printf("%-10s %" PRIu64 " reads found nothing\n", "misses", result->misses);
        }
    }
    print_errors(result);
    free(total);
}

static json_t *latency_json(const struct histogram *histogram)
{
    json_t *json = json_object();

    for (size_t i = 0; i < N_PERCENTS; i++) {
        json_object_set_new(json, percent_names[i],
                            json_real(ms_of(histogram_percentile(histogram, percents[i]))));
    }
    json_object_set_new(json, "max", json_real(ms_of(histogram_max(histogram))));
    json_object_set_new(json, "mean", json_real(histogram_mean(histogram) / 1e6));
    json_object_set_new(json, "count", json_integer((json_int_t)histogram_count(histogram)));
    return json;
}

static json_t *errors_json(const struct bench_result *result)
{
    json_t *by_status = json_object();

    for (unsigned status = 0; status < BENCH_MAX_STATUS; status++) {
        char name[8];

        if (result->errors[status] > 0) {
            (void)snprintf(name, sizeof name, "%u", status);
            json_object_set_new(by_status, name, json_integer((json_int_t)result->errors[status]));
        }
    }
    return json_pack("{s:I, s:o, s:I, s:I, s:I}", "total", (json_int_t)bench_result_errors(result),
                     "by_status", by_status, "lost", (json_int_t)result->lost, "unanswered",
                     (json_int_t)result->unanswered, "bad_responses",
                     (json_int_t)result->bad_responses);
}

static void print_json(const struct bench_options *options, const struct bench_result *result)
{
    struct histogram *total = sum_up(result);
    json_t *by_op = json_object();
    json_t *json;

    for (int op = 0; op < BENCH_N_OPS; op++) {
        if (options->percent[op] > 0) {
            json_object_set_new(by_op, bench_op_name((enum bench_op)op),
                                latency_json(&result->latency_ns[op]));
        }
    }
    json = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:I, s:o, s:I, s:I, s:I}", "workload",
        options->workload, "endpoints", (json_int_t)options->endpoints.count, "connections",
        (json_int_t)options->connections, "pipeline", (json_int_t)options->pipeline, "target_rate",
        (json_int_t)options->rate, "duration_ms", (json_int_t)options->duration_ms, "rate_per_s",
        rate_of(options, result), "latency_ms", latency_json(total), "latency_ms_by_op", by_op,
        "misses", (json_int_t)result->misses, "errors", errors_json(result), "reconnects",
        (json_int_t)result->reconnects, "filled", (json_int_t)result->filled, "fill_ms",
        (json_int_t)result->fill_ms);
    (void)json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)printf("\n");
    json_decref(json);
    free(total);
}

void bench_report(const struct bench_options *options, const struct bench_result *result)
{
    if (options->as_json) {
        print_json(options, result);
    } else {
        print_text(options, result);
    }
}
