#include "daemon/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINE 4096

static atomic_int threshold = LOG_INFO;
static atomic_int chosen_format = LOG_FORMAT_AUTO;
static char node_name[129];

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

void log_configure(enum log_level level, enum log_format format)
{
    if (format == LOG_FORMAT_AUTO) {
        format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    }
    threshold = (int)level;
    chosen_format = (int)format;
}

enum status log_level_parse(const char *text, enum log_level *level)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

void log_set_node(const char *name)
{
    (void)snprintf(node_name, sizeof node_name, "%s", name); /* Cut is fine. */
}

bool log_enabled(enum log_level level)
{
    return (int)level <= threshold;
}

static size_t append(char *line, size_t used, const char *text)
{
    size_t size = strlen(text);

    if (size > MAX_LINE - used - 1) {
        size = MAX_LINE - used - 1;
    }
    memcpy(line + used, text, size);
    return used + size;
}

/* Append @text as the inside of a JSON string, cut with room left for what closes the line. */
static size_t append_escaped(char *line, size_t used, const char *text)
{
    for (; *text != '\0' && used < MAX_LINE - 16; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            line[used++] = '\\';
            line[used++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(line + used, 7, "\\u%04x", c);
        } else {
            line[used++] = (char)c;
        }
    }
    return used;
}

/* The time as RFC 3339 in UTC with milliseconds. */
static void format_time(char *text, size_t size)
{
    struct timespec now;
    struct tm parts;
    char seconds[32];

    (void)clock_gettime(CLOCK_REALTIME, &now); /* Cannot fail for this clock. */
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

static size_t format_json(char *line, const char *when, const char *level, const char *subject,
                          const char *message)
{
    size_t used = 0;

    used = append(line, used, "{\"time\":\"");
    used = append(line, used, when);
    used = append(line, used, "\",\"level\":\"");
    used = append(line, used, level);
    if (node_name[0] != '\0') {
        used = append(line, used, "\",\"node\":\"");
        used = append_escaped(line, used, node_name);
    }
    used = append(line, used, "\",\"subject\":\"");
    used = append_escaped(line, used, subject);
    used = append(line, used, "\",\"msg\":\"");
    used = append_escaped(line, used, message);
    return append(line, used, "\"}");
}

static size_t format_text(char *line, const char *when, const char *level, const char *subject,
                          const char *message)
{
    char head[256];
    size_t used = 0;

    (void)snprintf(head, sizeof head, "%s %-5s %s%s%s: ", when, level, node_name,
                   node_name[0] == '\0' ? "" : " ", subject);
    used = append(line, used, head);
    for (; *message != '\0' && used < MAX_LINE - 1; message++) {
        unsigned char c = (unsigned char)*message;

        /* A peer's or client's bytes may not move the cursor of who reads this. */
        line[used++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    return used;
}

void log_write(enum log_level level, const char *subject, const char *format, ...)
{
    char message[MAX_LINE];
    char line[MAX_LINE];
    char when[64];
    size_t used;
    va_list args;

    if (!log_enabled(level)) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args); /* Cut is fine. */
    va_end(args);
    format_time(when, sizeof when);
    if (chosen_format == LOG_FORMAT_TEXT) {
        used = format_text(line, when, level_names[level], subject, message);
    } else {
        used = format_json(line, when, level_names[level], subject, message);
    }
    line[used++] = '\n';
    /* There is nowhere to report that the log itself cannot be written. */
    if (write(STDERR_FILENO, line, used) < 0) {
        return;
    }
}

bool log_limit_allows(struct log_limit *limit, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;

    if (second != limit->second) {
        limit->second = second;
        limit->count = 0;
    }
    if (limit->count >= LOG_BURST) {
        limit->held_back++;
        return false;
    }
    limit->count++;
    return true;
}
