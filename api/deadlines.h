/* Time-outs that all last equally long, on one timer: the first one armed is the first one due.
 *
 * On the thread of the loop. A deadline is embedded in what waits, zeroed at first. */
#ifndef HOLDFAST_API_DEADLINES_H
#define HOLDFAST_API_DEADLINES_H

#include <uv.h>

#include "daemon/base/error.h"
#include "daemon/base/queue.h"

struct deadline {
    void (*on_due)(struct deadline *deadline); /* Set by the owner. Disarmed when it runs. */
    /* Private. */
    struct link link;
    uint64_t due_ms;
    bool is_armed;
};

struct deadlines {
    /* Private. */
    uv_timer_t timer;
    struct queue armed;
    uint64_t duration_ms;
    void (*closed)(struct deadlines *deadlines);
};

void deadlines_init(struct deadlines *deadlines, uv_loop_t *loop, uint64_t duration_ms);

void deadlines_arm(struct deadlines *deadlines, struct deadline *deadline);

/* Does nothing if it is not armed. */
void deadline_disarm(struct deadline *deadline);

/* What is armed never comes due. @closed runs later, from the loop, and may release the memory. */
void deadlines_close(struct deadlines *deadlines, void (*closed)(struct deadlines *deadlines));

#endif
