#include "raft/cluster_time.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/mutation.h"

void clock_low_hear(struct clock_low *clock, uint64_t wall_ms, uint64_t now_ms)
{
    uint64_t period = now_ms / CLOCK_LOW_MS + 1;
    int64_t offset_ms = (int64_t)(wall_ms - now_ms);

    if (clock->period == 0 || period > clock->period + 1) {
        clock->since_ms = now_ms;
    }
    clock->heard_ms = now_ms;
    if (period != clock->period) {
        clock->offset_ms[1] =
            period == clock->period + 1 && clock->period != 0 ? clock->offset_ms[0] : offset_ms;
        clock->offset_ms[0] = offset_ms;
        clock->period = period;
    } else if (offset_ms < clock->offset_ms[0]) {
        clock->offset_ms[0] = offset_ms;
    }
}

uint64_t clock_low_wall(const struct clock_low *clock, uint64_t now_ms)
{
    int64_t low = clock->offset_ms[0];

    if (clock->period == 0) {
        return 0;
    }
    if (clock->offset_ms[1] < low) {
        low = clock->offset_ms[1];
    }
    return now_ms + (uint64_t)low;
}

size_t clock_low_comparable(const struct clock_low **clocks, size_t n)
{
    uint64_t latest_ms = 0;
    size_t n_kept = 0;

    for (size_t i = 0; i < n; i++) {
        latest_ms = clocks[i]->since_ms > latest_ms ? clocks[i]->since_ms : latest_ms;
    }
    for (size_t i = 0; i < n; i++) {
        if (clocks[i]->heard_ms >= latest_ms) {
            clocks[n_kept++] = clocks[i];
        }
    }
    return n_kept;
}

void cluster_time_init(struct cluster_time *time, uint64_t stamp_ms, uint64_t now_ms)
{
    *time = (struct cluster_time){.stamp_ms = stamp_ms, .at_ms = now_ms};
}

void cluster_time_executed(struct cluster_time *time, uint64_t stamp_ms, bool is_current,
                           uint64_t now_ms)
{
    if (!time->is_running && !is_current) {
        if (stamp_ms > time->stamp_ms) {
            time->stamp_ms = stamp_ms; /* Only a floor. */
        }
        return;
    }
    /* A stamp that is behind what was reached here was made before: it moves nothing. */
    if (!time->is_running || stamp_ms > cluster_time_now(time, now_ms)) {
        if (stamp_ms > time->stamp_ms || MUTATION(time_goes_back)) {
            time->stamp_ms = stamp_ms;
        }
        time->at_ms = now_ms;
        time->carry = 0;
    }
    time->is_running = true;
}

static int compare_walls(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

void cluster_time_hear_walls(struct cluster_time *time, uint64_t *walls_ms, size_t n,
                             uint64_t now_ms)
{
    if (n == 0) {
        return;
    }
    if (time->is_running) {
        (void)cluster_time_now(time, now_ms); /* What passed until now went by the old offset. */
    }
    qsort(walls_ms, n, sizeof *walls_ms, compare_walls);
    /* Of two, the earlier: a clock that is too fast would expire things early. */
    time->offset_ms =
        (int64_t)(walls_ms[MUTATION(fastest_clock_followed) ? n - 1 : (n - 1) / 2] - now_ms);
    time->has_offset = true;
}

bool cluster_time_is_running(const struct cluster_time *time)
{
    return time->is_running;
}

/* How far the clock goes while @passed_ms pass, to come closer to @target_ms. */
static uint64_t slewed(struct cluster_time *time, uint64_t passed_ms, uint64_t target_ms)
{
    uint64_t plain = time->stamp_ms + passed_ms;
    uint64_t most;
    uint64_t error;

    if (plain == target_ms) {
        return passed_ms;
    }
    time->carry += passed_ms;
    most = time->carry / CLUSTER_TIME_SLEW;
    time->carry %= CLUSTER_TIME_SLEW;
    error = plain < target_ms ? target_ms - plain : plain - target_ms;
    if (error < most) {
        most = error;
    }
    return plain < target_ms ? passed_ms + most : passed_ms - most;
}

uint64_t cluster_time_now(struct cluster_time *time, uint64_t now_ms)
{
    uint64_t wall_ms = now_ms + (uint64_t)time->offset_ms;

    CHECK(now_ms >= time->at_ms);
    if (!time->is_running) {
        /* The whole cluster was stopped: how long, only the wall clocks know. */
        if (time->has_offset && wall_ms > time->stamp_ms) {
            time->stamp_ms = wall_ms;
        }
    } else if (time->has_offset) {
        time->stamp_ms += slewed(time, now_ms - time->at_ms, wall_ms);
    } else {
        time->stamp_ms += now_ms - time->at_ms;
    }
    time->at_ms = now_ms;
    return time->stamp_ms;
}
