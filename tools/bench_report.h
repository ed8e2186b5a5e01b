/* What a run measured, for people or for programs, on standard output. */
#ifndef HOLDFAST_TOOLS_BENCH_REPORT_H
#define HOLDFAST_TOOLS_BENCH_REPORT_H

#include "tools/bench_load.h"

void bench_report(const struct bench_options *options, const struct bench_result *result);

#endif
