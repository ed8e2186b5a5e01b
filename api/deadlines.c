#include "api/deadlines.h"

#include "daemon/base/check.h"

static void on_timer(uv_timer_t *timer);

static void start_timer(struct deadlines *deadlines)
{
    struct link *first = queue_first(&deadlines->armed);
    uint64_t now_ms = uv_now(deadlines->timer.loop);
    uint64_t due_ms;

    if (first == NULL || uv_is_active((uv_handle_t *)&deadlines->timer)) {
        return;
    }
    due_ms = CONTAINER_OF(first, struct deadline, link)->due_ms;
    CHECK(uv_timer_start(&deadlines->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0) ==
          0);
}

/* The timer may come when its deadline was disarmed long ago: then it waits for the next one. */
static void on_timer(uv_timer_t *timer)
{
    struct deadlines *deadlines = timer->data;
    struct link *first;

    while ((first = queue_first(&deadlines->armed)) != NULL) {
        struct deadline *deadline = CONTAINER_OF(first, struct deadline, link);

        if (deadline->due_ms > uv_now(timer->loop)) {
            break;
        }
        deadline_disarm(deadline);
        deadline->on_due(deadline);
    }
    start_timer(deadlines);
}

void deadlines_init(struct deadlines *deadlines, uv_loop_t *loop, uint64_t duration_ms)
{
    CHECK(uv_timer_init(loop, &deadlines->timer) == 0);
    uv_unref((uv_handle_t *)&deadlines->timer);
    deadlines->timer.data = deadlines;
    queue_init(&deadlines->armed);
    deadlines->duration_ms = duration_ms;
    deadlines->closed = NULL;
}

void deadlines_arm(struct deadlines *deadlines, struct deadline *deadline)
{
    CHECK(!deadline->is_armed);
    deadline->is_armed = true;
    deadline->due_ms = uv_now(deadlines->timer.loop) + deadlines->duration_ms;
    queue_push(&deadlines->armed, &deadline->link);
    start_timer(deadlines);
}

void deadline_disarm(struct deadline *deadline)
{
    if (deadline->is_armed) {
        deadline->is_armed = false;
        queue_remove(&deadline->link);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct deadlines *deadlines = handle->data;

    deadlines->closed(deadlines);
}

void deadlines_close(struct deadlines *deadlines, void (*closed)(struct deadlines *deadlines))
{
    struct link *link;

    while ((link = queue_first(&deadlines->armed)) != NULL) {
        deadline_disarm(CONTAINER_OF(link, struct deadline, link));
    }
    deadlines->closed = closed;
    uv_close((uv_handle_t *)&deadlines->timer, on_closed);
}
