#include "tools/bench_options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/limits.h"
#include "daemon/base/memory.h"

static const struct {
    const char *name;
    unsigned percent[BENCH_N_OPS];
} workloads[] = {
    {"append", {[BENCH_APPEND] = 100}},
    {"put", {[BENCH_PUT] = 100}},
    {"get", {[BENCH_GET] = 100}},
    {"stale-get", {[BENCH_STALE_GET] = 100}},
    {"mixed", {[BENCH_APPEND] = 15, [BENCH_PUT] = 15, [BENCH_GET] = 50, [BENCH_STALE_GET] = 20}},
};

#define N_WORKLOADS (sizeof workloads / sizeof workloads[0])

/* Settings that are a number; a duration is given in seconds and kept in milliseconds. */
struct number {
    const char *flag;
    size_t offset;
    uint64_t fallback;
    uint64_t least;
    uint64_t most;
    bool is_seconds;
};

#define FIELD(member) offsetof(struct bench_options, member)

static const struct number numbers[] = {
    {"connections", FIELD(connections), 64, 1, 100000, false},
    {"pipeline", FIELD(pipeline), 1, 1, 1024, false},
    {"duration", FIELD(duration_ms), 10000, 0, 86400000, true},
    {"warmup", FIELD(warmup_ms), 1000, 0, 3600000, true},
    {"value-size", FIELD(value_size), 256, 0, LIMIT_EVENT_DATA_BYTES - 2, false},
    {"keys", FIELD(keys), 1000000, 1, 1000000000000, false},
    {"sessions", FIELD(sessions), 10000, 1, 1000000000000, false},
    {"rate", FIELD(rate), 0, 1, 10000000, false},
    {"gap", FIELD(gap_ms), 100, 1, 60000, false},
    {"attempt-timeout", FIELD(attempt_ms), 1000, 10, 60000, false},
};

#define N_NUMBERS (sizeof numbers / sizeof numbers[0])

enum flag {
    FLAG_NUMBER = 256, /* And one more for each of numbers[]. */
    FLAG_ENDPOINT = FLAG_NUMBER + N_NUMBERS,
    FLAG_WORKLOAD,
    FLAG_OUTPUT,
    FLAG_NAMESPACE,
    FLAG_FILL,
    FLAG_FAILOVER,
    FLAG_HELP,
    FLAG_VERSION
};

static const struct option flags[] = {
    {"connections", required_argument, NULL, FLAG_NUMBER},
    {"pipeline", required_argument, NULL, FLAG_NUMBER + 1},
    {"duration", required_argument, NULL, FLAG_NUMBER + 2},
    {"warmup", required_argument, NULL, FLAG_NUMBER + 3},
    {"value-size", required_argument, NULL, FLAG_NUMBER + 4},
    {"keys", required_argument, NULL, FLAG_NUMBER + 5},
    {"sessions", required_argument, NULL, FLAG_NUMBER + 6},
    {"rate", required_argument, NULL, FLAG_NUMBER + 7},
    {"gap", required_argument, NULL, FLAG_NUMBER + 8},
    {"attempt-timeout", required_argument, NULL, FLAG_NUMBER + 9},
    {"endpoint", required_argument, NULL, FLAG_ENDPOINT},
    {"workload", required_argument, NULL, FLAG_WORKLOAD},
    {"output", required_argument, NULL, FLAG_OUTPUT},
    {"namespace", required_argument, NULL, FLAG_NAMESPACE},
    {"fill", no_argument, NULL, FLAG_FILL},
    {"failover", no_argument, NULL, FLAG_FAILOVER},
    {"help", no_argument, NULL, FLAG_HELP},
    {"version", no_argument, NULL, FLAG_VERSION},
    {NULL, 0, NULL, 0},
};

const char *bench_op_name(enum bench_op op)
{
    static const char *const names[BENCH_N_OPS] = {"append", "put", "get", "stale-get"};

    return names[op];
}

static enum status set_number(struct bench_options *options, const struct number *number,
                              const char *text, struct error *error)
{
    double factor = number->is_seconds ? 1000 : 1;
    double value;
    char *end;

    errno = 0;
    value = strtod(text, &end) * factor;
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0) {
        return error_set(error, STATUS_INVALID, "--%s: \"%s\" is not a number", number->flag, text);
    }
    if (value < (double)number->least || value > (double)number->most) {
        return error_set(error, STATUS_INVALID, "--%s: %s is out of range (%.10g to %.10g)",
                         number->flag, text, (double)number->least / factor,
                         (double)number->most / factor);
    }
    if (!number->is_seconds && value != (double)(uint64_t)value) {
        return error_set(error, STATUS_INVALID, "--%s: %s is not a whole number", number->flag,
                         text);
    }
    *(uint64_t *)(void *)((char *)options + number->offset) = (uint64_t)value;
    return STATUS_OK;
}

static enum status set_workload(struct bench_options *options, const char *name,
                                struct error *error)
{
    for (size_t i = 0; i < N_WORKLOADS; i++) {
        if (strcmp(workloads[i].name, name) == 0) {
            options->workload = workloads[i].name;
            memcpy(options->percent, workloads[i].percent, sizeof options->percent);
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_INVALID,
                     "--workload: \"%s\" is none of append, put, get, stale-get and mixed", name);
}

static enum status set_output(struct bench_options *options, const char *name, struct error *error)
{
    options->as_json = strcmp(name, "json") == 0;
    if (!options->as_json && strcmp(name, "text") != 0) {
        return error_set(error, STATUS_INVALID, "--output: \"%s\" is neither text nor json", name);
    }
    return STATUS_OK;
}

static enum status set_namespace(struct bench_options *options, const char *name,
                                 struct error *error)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

    if (size == 0 || size > LIMIT_NAMESPACE_BYTES || name[size] != '\0') {
        return error_set(error, STATUS_INVALID, "--namespace: \"%s\" is not a namespace", name);
    }
    free(options->ns);
    options->ns = memory_copy_string(name);
    return STATUS_OK;
}

static enum status apply(struct bench_options *options, int flag, enum bench_action *action,
                         struct error *error)
{
    if (flag >= FLAG_NUMBER && flag < FLAG_ENDPOINT) {
        return set_number(options, &numbers[flag - FLAG_NUMBER], optarg, error);
    }
    switch (flag) {
    case FLAG_ENDPOINT:
        return endpoints_add(&options->endpoints, optarg, error);
    case FLAG_WORKLOAD:
        return set_workload(options, optarg, error);
    case FLAG_OUTPUT:
        return set_output(options, optarg, error);
    case FLAG_NAMESPACE:
        return set_namespace(options, optarg, error);
    case FLAG_FILL:
        options->fill = true;
        return STATUS_OK;
    case FLAG_FAILOVER:
        *action = BENCH_FAILOVER;
        return STATUS_OK;
    case FLAG_HELP:
        *action = BENCH_HELP;
        return STATUS_OK;
    case FLAG_VERSION:
        *action = BENCH_VERSION;
        return STATUS_OK;
    default:
        return STATUS_INVALID;
    }
}

static void set_defaults(struct bench_options *options)
{
    struct error error;

    *options = (struct bench_options){.ns = memory_copy_string("default")};
    for (size_t i = 0; i < N_NUMBERS; i++) {
        *(uint64_t *)(void *)((char *)options + numbers[i].offset) = numbers[i].fallback;
    }
    (void)set_workload(options, "put", &error); /* A name of the table. */
}

enum status bench_options_parse(int argc, char **argv, struct bench_options *options,
                                enum bench_action *action, struct error *error)
{
    const char *variable = getenv("HOLDFAST_ENDPOINTS");
    enum status status;
    int flag;

    set_defaults(options);
    *action = BENCH_RUN;
    optind = 0; /* The value by which GNU getopt starts anew. */
    opterr = 0;
    while ((flag = getopt_long(argc, argv, ":", flags, NULL)) != -1) {
        if (flag == ':') {
            return error_set(error, STATUS_INVALID, "%s: a value is missing", argv[optind - 1]);
        }
        if (flag == '?') {
            return error_set(error, STATUS_INVALID, "unknown flag \"%s\" (try --help)",
                             argv[optind - 1]);
        }
        status = apply(options, flag, action, error);
        if (status != STATUS_OK || *action == BENCH_HELP || *action == BENCH_VERSION) {
            return status;
        }
    }
    if (optind < argc) {
        return error_set(error, STATUS_INVALID, "unexpected argument \"%s\" (try --help)",
                         argv[optind]);
    }
    if (options->endpoints.count == 0) {
        return endpoints_add(&options->endpoints,
                             variable != NULL && variable[0] != '\0' ? variable : ENDPOINT_DEFAULT,
                             error);
    }
    return STATUS_OK;
}

void bench_options_print_help(void)
{
    (void)fputs(
        "holdfast-bench measures how many requests a cluster answers, and how fast.\n"
        "\n"
        "usage: holdfast-bench [FLAG...]\n"
        "\n"
        "  --endpoint URL        a node of the cluster; several by commas or by repeating it\n"
        "                        [HOLDFAST_ENDPOINTS, else " ENDPOINT_DEFAULT "]\n"
        "  --workload NAME       append: one event each, to a session that is made if absent\n"
        "                        put: items     get: items, linearizable\n"
        "                        stale-get: items, from the local state of the node asked\n"
        "                        mixed: 15 % append, 15 % put, 50 % get, 20 % stale-get [put]\n"
        "  --connections N       spread over all endpoints in turn [64]\n"
        "  --pipeline N          requests in flight per connection [1]\n"
        "  --duration S          seconds that are measured; 0: only --fill [10]\n"
        "  --warmup S            seconds of load before that [1]\n"
        "  --rate N              open loop: N requests per second in all, each timed from when it\n"
        "                        was due, so that waiting for a free connection counts\n"
        "                        [closed loop: each answer brings the next request]\n"
        "  --value-size BYTES    characters of each value or event [256]\n"
        "  --keys N              items that are put and got, at random [1000000]\n"
        "  --sessions N          sessions that are appended to, at random [10000]\n"
        "  --fill                first write all keys (put, get), sessions (append), or both\n"
        "  --namespace NAME      must exist [default]\n"
        "  --output text|json    [text]\n"
        "\n"
        "  --failover            instead: one writer that goes on through the loss of nodes and\n"
        "                        prints each pause between acknowledged writes as a line of JSON\n"
        "  --gap MS              ... pauses of at least so long [100]\n"
        "  --attempt-timeout MS  ... how long one node may take before another is asked [1000]\n"
        "\n"
        "  --help, --version     print this, or the version, and exit\n"
        "\n"
        "Examples:\n"
        "  holdfast-bench --workload append --connections 64 --duration 10\n"
        "  holdfast-bench --workload get --fill --keys 100000 --output json\n"
        "  holdfast-bench --failover --duration 30 --endpoint http://n1:7080,http://n2:7080\n"
        "\n"
        "Exit status: 0 all well, 1 an error was counted or the bench could not run, 2 usage.\n",
        stdout);
}

void bench_options_close(struct bench_options *options)
{
    endpoints_close(&options->endpoints);
    free(options->ns);
    options->ns = NULL;
}
