/* The cluster's time: what the leader stamps entries with, and what expiry goes by.
 *
 * It never goes backwards, and it follows the median of the voters' wall clocks, but not faster
 * than a clock that is a tenth too fast or too slow: a node whose wall clock jumps an hour neither
 * makes things expire early nor freezes time. A leader goes on from the stamp that it executed
 * last. Only a cluster that was stopped as a whole takes wall time as it is, as no stamp was
 * executed by anyone who still runs; and of that only what its leader stamps counts, not what
 * clocks showed to a node that stamped nothing. Pure; one thread; time is a parameter. */
#ifndef HOLDFAST_RAFT_CLUSTER_TIME_H
#define HOLDFAST_RAFT_CLUSTER_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So long the lowest reading of a clock counts; twice that at most. */
#define CLOCK_LOW_MS 1000u

/* One voter's wall clock, as the lowest that it showed of late. Clocks are read at different
 * moments: one that jumps while another is set right must not make two wrong ones of one. */
struct clock_low {
    /* Private. The lowest of this period and of the one before, minus the monotonic time. */
    int64_t offset_ms[2];
    uint64_t period;   /* Counts from 1; 0: nothing was heard. */
    uint64_t since_ms; /* The first reading after the last long silence ... */
    uint64_t heard_ms; /* ... and the last one. */
};

void clock_low_hear(struct clock_low *clock, uint64_t wall_ms, uint64_t now_ms);

/* What it shows at @now_ms, by its lowest reading; 0 if none was heard. */
uint64_t clock_low_wall(const struct clock_low *clock, uint64_t now_ms);

/* How many of @n clocks, which it moves to the front, were read at some moment that all of them
 * were read around: since each of them is heard, they were heard again. What others showed may be
 * of a moment before any of these was heard: one clock is set right, another one jumps, and by
 * readings from both sides of that two would be wrong. */
size_t clock_low_comparable(const struct clock_low **clocks, size_t n);

/* The clock may run faster or slower by one in so many. */
#define CLUSTER_TIME_SLEW 10

struct cluster_time {
    /* Private. */
    uint64_t stamp_ms; /* The cluster's time ... */
    uint64_t at_ms;    /* ... at this monotonic time. */
    uint64_t carry; /* Slewed time that was not a whole millisecond, in 1/CLUSTER_TIME_SLEW ms. */
    int64_t offset_ms; /* The voters' median wall clock minus the monotonic time. */
    bool has_offset;
    bool is_running; /* A stamp of this run of the cluster is known. */
};

/* @stamp_ms is the state's time at start, 0 for a new state: the floor. */
void cluster_time_init(struct cluster_time *time, uint64_t stamp_ms, uint64_t now_ms);

/* An entry with this stamp is committed. Every node does this, leading or not. @is_current: the
 * entry is of the term that this node is in, so the cluster has been running since it was stamped;
 * entries replayed after a stop are of earlier terms and do not count. */
void cluster_time_executed(struct cluster_time *time, uint64_t stamp_ms, bool is_current,
                           uint64_t now_ms);

/* The wall clocks of the voters (own included), each in milliseconds since 1970 as of @now_ms: as
 * they were reported plus the time since. Reorders @walls_ms. With @n = 0 nothing changes. Where
 * the time of the running cluster is not known, they only say what a stamp made next would be. */
void cluster_time_hear_walls(struct cluster_time *time, uint64_t *walls_ms, size_t n,
                             uint64_t now_ms);

/* Does this node know the time of the running cluster? If not, it goes by wall clocks. */
bool cluster_time_is_running(const struct cluster_time *time);

/* The cluster's time now, for stamping. Never less than any before. */
uint64_t cluster_time_now(struct cluster_time *time, uint64_t now_ms);

#endif
