/* A session's log for the checker of histories (linearizability.h): appends number their events,
 * and may rewind the log before; reads show its newest events.
 *
 * A state is the number that the next event gets, and which version of the log is current. Versions
 * are kept, by what they hold, outside of the state: equal contents are the same version, however
 * a search came to them. One thread. */
#ifndef HOLDFAST_TESTS_LOG_MODEL_H
#define HOLDFAST_TESTS_LOG_MODEL_H

#include "tests/lib/linearizability.h"

struct log_versions;

/* One for all operations of one history; it outlives the check. */
struct log_versions *log_versions_open(void);
void log_versions_close(struct log_versions *versions);

#define LOG_NO_REWIND UINT64_MAX

enum log_action { LOG_APPEND, LOG_READ };

struct log_event {
    uint64_t seq;
    uint64_t event; /* What it is: any number. */
};

struct log_operation {
    enum log_action action;
    struct log_versions *versions;
    /* APPEND: its events are first_event, first_event + 1, ... */
    uint64_t truncate_after; /* Events above it go first; LOG_NO_REWIND: none. */
    uint64_t first_event;
    unsigned n_events;
    uint64_t first_seq; /* Given to the first, if the outcome is known. The others follow. */
    /* READ: what was shown of the events above after_seq, all of them in their order; borrowed. */
    uint64_t after_seq;
    uint64_t last_seq; /* The newest event; 0: none. */
    unsigned n_seen;
    const struct log_event *seen;
};

/* Its operations are struct log_operation. */
extern const struct object_model log_model;

#endif
