/* What an error answer says, as one sentence and as an exit status. Pure, any thread. */
#ifndef HOLDFAST_TOOLS_CLI_PROBLEM_H
#define HOLDFAST_TOOLS_CLI_PROBLEM_H

#include "daemon/base/buffer.h"

/* How the tool ends: documented in its help and docs/cli.md. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_CONFLICT = 4,   /* Also a precondition that did not hold. */
    CLI_UNAVAILABLE = 5 /* Also an outcome that is not known. */
};

enum cli_exit problem_exit(unsigned status);

/* Append the sentence for the answer @status with @body, which may be anything. */
void problem_append(struct buffer *out, unsigned status, struct slice body);

/* The retry_after_ms of a problem document; 0 if there is none. */
uint64_t problem_retry_after_ms(struct slice body);

#endif
