/* Scrubbing: reading all records that are in the file, to find what nobody has asked for and is
 * damaged: a wrong checksum, records out of order, or records that do not add up to the state hash
 * that was kept with them (one was lost, or an old page came back).
 *
 * In bounded steps, with flushes in between, and yet one moment of the state is checked: what is
 * flushed over records that were read already changes the sum of what was read, so that this is at
 * all times the sum over the file up to where the scrub stands (C. Pu, "On-the-fly, incremental,
 * consistent reading of entire databases", Algorithmica 1, 1986). No read transaction outlives a
 * step, as LMDB's file grows while one does.
 *
 * The flushing thread alone, when it does not flush. */
#ifndef HOLDFAST_STORAGE_SCRUB_H
#define HOLDFAST_STORAGE_SCRUB_H

#include "storage/store.h"

/* One step reads so much at most; it takes no more than some milliseconds, unless the disk is slow.
 */
#define SCRUB_STEP_RECORDS 256u
#define SCRUB_STEP_BYTES   (256u << 10) /* Unless one record is larger. */

struct scrub_progress {
    uint64_t records; /* Read since the beginning, with those of this node alone. */
    uint64_t bytes;   /* Their payloads. */
    bool is_complete; /* All was read and is well: the next step begins anew. */
};

/* Read on. STATUS_CORRUPT: damage, after the store's on_damage() was called; STATUS_UNSUPPORTED: a
 * record of a later format; STATUS_IO. The next step after a failure begins anew. */
MUST_USE enum status scrub_step(struct store *store, struct scrub_progress *progress,
                                struct error *error);

/* When to scrub: every @interval, at most a tenth of the time of the thread that does it. Time is
 * monotonic, in nanoseconds. */
struct scrub_schedule {
    uint64_t interval_ns; /* 0: never. */
    uint64_t due_ns;      /* When scrub_turn() has something to do; UINT64_MAX: never. */
    /* Of the last scrub that was completed. */
    uint64_t completed; /* How many were. */
    uint64_t records;
    uint64_t ended_ns; /* Before the first one: when the schedule began. */
    uint64_t took_ns;
    /* Private. */
    bool is_running;
    uint64_t begun_ns;
    uint64_t rest_ns; /* When this piece of work should end. */
};

/* The first scrub is after half of the interval to all of it, by @random: nodes that were started
 * together shall not scrub together. */
void scrub_schedule_init(struct scrub_schedule *schedule, uint64_t interval_s, uint64_t now_ns,
                         unsigned random);

/* Do one step, if it is due by @clock_ns. As scrub_step(). */
MUST_USE enum status scrub_turn(struct scrub_schedule *schedule, struct store *store,
                                uint64_t (*clock_ns)(void), struct error *error);

#endif
