/* How far a long command is, on one line of standard error if that is a terminal. One thread. */
#ifndef HOLDFAST_TOOLS_CLI_PROGRESS_H
#define HOLDFAST_TOOLS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/buffer.h"

struct progress {
    const char *what; /* "receiving"; borrowed. */
    /* Private. */
    bool is_shown; /* Standard error is a terminal. */
    bool has_line;
    uint64_t began_ms;
    uint64_t began_at; /* Bytes: what was there already is not counted into the rate. */
    uint64_t shown_ms;
};

void progress_begin(struct progress *progress, const char *what);

/* @done of @of bytes (0: it is not known of how many); shown a few times a second. */
void progress_show(struct progress *progress, uint64_t done, uint64_t of);

/* Wipe the line. */
void progress_end(struct progress *progress);

/* The line: what, how much, how fast, and how long it will take. Pure. */
void progress_line(struct buffer *line, const char *what, uint64_t done, uint64_t of,
                   uint64_t since_bytes, uint64_t elapsed_ms);

/* The numbers in it: @done of @of bytes (0: not known), at @rate bytes per second (0: not known).
 */
void progress_amounts(struct buffer *line, uint64_t done, uint64_t of, uint64_t rate);

/* "12 B", "34.5 MiB". */
void progress_append_bytes(struct buffer *out, uint64_t bytes);

#endif
