/* holdfast-bench: how many requests a cluster answers, how fast, and how long a failover takes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/memory.h"
#include "tools/bench_failover.h"
#include "tools/bench_load.h"
#include "tools/bench_options.h"
#include "tools/bench_report.h"

enum { EXIT_WELL = 0, EXIT_ERRORS = 1, EXIT_USAGE = 2 };

static int complain(const struct error *error, int exit_code)
{
    (void)fprintf(stderr, "holdfast-bench: %s\n", error->text);
    return exit_code;
}

static int run_load(const struct bench_options *options)
{
    struct bench_result *result = memory_new(sizeof *result);
    struct error error = {0};
    int exit_code = EXIT_WELL;

    if (bench_load_run(options, result, &error) != STATUS_OK) {
        exit_code = complain(&error, EXIT_ERRORS);
        goto out;
    }
    bench_report(options, result);
    if (bench_result_errors(result) > 0) {
        exit_code = EXIT_ERRORS;
    }
out:
    free(result);
    return exit_code;
}

static int run(const struct bench_options *options, enum bench_action action)
{
    struct error error = {0};

    switch (action) {
    case BENCH_HELP:
        bench_options_print_help();
        return EXIT_WELL;
    case BENCH_VERSION:
        (void)puts("holdfast-bench " HOLDFAST_VERSION);
        return EXIT_WELL;
    case BENCH_FAILOVER:
        if (bench_failover_run(options, &error) != STATUS_OK) {
            return complain(&error, EXIT_ERRORS);
        }
        return EXIT_WELL;
    case BENCH_RUN:
        break;
    }
    return run_load(options);
}

int main(int argc, char **argv)
{
    struct bench_options options;
    enum bench_action action;
    struct error error = {0};
    int exit_code;

    (void)signal(SIGPIPE, SIG_IGN); /* Writing to a broken connection gives a status. */
    if (bench_options_parse(argc, argv, &options, &action, &error) != STATUS_OK) {
        exit_code = complain(&error, EXIT_USAGE);
    } else {
        exit_code = run(&options, action);
    }
    bench_options_close(&options);
    return exit_code;
}
