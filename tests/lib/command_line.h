/* The command line, run by tests of real nodes as an operator would. Main thread only. */
#ifndef HOLDFAST_TESTS_COMMAND_LINE_H
#define HOLDFAST_TESTS_COMMAND_LINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct command_line {
    const char *directory; /* For what it prints: holdfast.out, and holdfast.log. */
    json_t *told;          /* What the last one printed, if that is JSON; else NULL. */
};

/* Run the program that HOLDFAST_CLI names with these arguments, through a shell; true if it ended
 * with 0. */
bool command_line_run(struct command_line *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An integer that it told; fails the test if it did not. */
long long command_line_integer(const struct command_line *cli, const char *name);
/* A text, or NULL. */
const char *command_line_text(const struct command_line *cli, const char *name);

/* Whether it printed @words. */
bool command_line_has(const struct command_line *cli, const char *words);

void command_line_close(struct command_line *cli);

#endif
