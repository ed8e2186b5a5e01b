/* What the process says while it runs: one line per event, to standard error.
 *
 * On a terminal a line is text, elsewhere a JSON object. Any thread may log; a line is written
 * with one write(), so lines do not mix. */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Before other threads start. The default is LOG_INFO and LOG_FORMAT_AUTO. */
void log_configure(enum log_level level, enum log_format format);

/* "error", "warn", "info", "debug". STATUS_INVALID for anything else. */
MUST_USE enum status log_level_parse(const char *text, enum log_level *level);

/* A name that every line carries, copied: the name of this node. */
void log_set_node(const char *name);

bool log_enabled(enum log_level level);

/* One line. @subject is the room or module ("raft", "store", "http"). The message is a short
 * sentence in lower case without a full stop; facts go into it as name=value. */
void log_write(enum log_level level, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_DEBUG)) {                                                              \
            log_write(LOG_DEBUG, __VA_ARGS__);                                                     \
        }                                                                                          \
    } while (0)

/* For lines that a client or a peer can cause: at most @LOG_BURST per second and place. */
#define LOG_BURST 5

struct log_limit {
    uint64_t second;
    unsigned count;
    unsigned held_back;
};

/* True if the line may be written now. One thread at a time per @limit, which is zeroed first. */
bool log_limit_allows(struct log_limit *limit, uint64_t now_ms);

#endif
