#include "tools/cli_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define SHOW_EVERY_MS 200
#define RATE_AFTER_MS 1000 /* Before that it would jump. */

void progress_append_bytes(struct buffer *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    buffer_append_format(out, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void append_time(struct buffer *out, uint64_t seconds)
{
    if (seconds < 60) {
        buffer_append_format(out, "%" PRIu64 " s", seconds);
    } else if (seconds < 3600) {
        buffer_append_format(out, "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    } else {
        buffer_append_format(out, "%" PRIu64 " h %" PRIu64 " min", seconds / 3600,
                             seconds / 60 % 60);
    }
}

void progress_amounts(struct buffer *line, uint64_t done, uint64_t of, uint64_t rate)
{
    progress_append_bytes(line, done);
    if (of > 0) {
        buffer_append_string(line, " of ");
        progress_append_bytes(line, of);
    }
    if (rate > 0) {
        buffer_append_string(line, ", ");
        progress_append_bytes(line, rate);
        buffer_append_string(line, "/s");
    }
    if (rate > 0 && of > done) {
        buffer_append_string(line, ", ");
        append_time(line, (of - done + rate - 1) / rate);
        buffer_append_string(line, " left");
    }
}

void progress_line(struct buffer *line, const char *what, uint64_t done, uint64_t of,
                   uint64_t since_bytes, uint64_t elapsed_ms)
{
    buffer_append_format(line, "%s  ", what);
    progress_amounts(line, done, of,
                     elapsed_ms < RATE_AFTER_MS ? 0 : since_bytes * 1000 / elapsed_ms);
}

void progress_begin(struct progress *progress, const char *what)
{
    *progress = (struct progress){
        .what = what, .is_shown = isatty(STDERR_FILENO) == 1, .began_ms = clock_ms()};
}

void progress_show(struct progress *progress, uint64_t done, uint64_t of)
{
    struct buffer line = BUFFER_EMPTY;
    uint64_t now = clock_ms();

    if (!progress->is_shown || now - progress->shown_ms < SHOW_EVERY_MS) {
        return;
    }
    if (!progress->has_line || done < progress->began_at) {
        progress->began_at = done;
        progress->began_ms = now;
    }
    progress->has_line = true;
    progress->shown_ms = now;
    progress_line(&line, progress->what, done, of, done - progress->began_at,
                  now - progress->began_ms);
    (void)fprintf(stderr, "\r%.*s\033[K", (int)line.size, (const char *)line.data);
    buffer_close(&line);
}

void progress_end(struct progress *progress)
{
    if (progress->has_line) {
        (void)fputs("\r\033[K", stderr);
        progress->has_line = false;
    }
}
