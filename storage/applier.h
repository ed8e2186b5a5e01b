/* The apply thread: executes committed entries in order; and the flush thread, which makes the
 * state durable behind it, and scrubs it (scrub.h).
 *
 * Results leave, and reads see them, as soon as an entry is executed, as the log is durable. The
 * state follows: what was executed is flushed to LMDB by a thread of its own while execution goes
 * on. Under load a flush should be rare: it writes every page that was touched since the one
 * before, and the more is flushed at once, the more commands share a page. Entries that wait are
 * bounded by the consensus thread, which asks applier_queued_bytes() before it takes more from the
 * leader. */
#ifndef HOLDFAST_STORAGE_APPLIER_H
#define HOLDFAST_STORAGE_APPLIER_H

#include "daemon/base/buffer.h"
#include "daemon/base/mailbox.h"
#include "storage/journal.h"
#include "storage/machine.h"

/* A flush begins when this much is unflushed, or the oldest of it is so old. */
#define APPLIER_FLUSH_DELAY_MS 2000u

struct applier;

enum applied_kind {
    APPLIED_ENTRY,   /* Execute the entry. */
    APPLIED_SKIP,    /* Entries up to index are not the state's business. */
    APPLIED_DURABLE, /* Flush, so that the state survives a power cut through index. */
};

/* Work for the apply thread. Made by the consensus thread, given back by on_done(). */
struct applied {
    struct link link; /* Private. */
    enum applied_kind kind;
    uint64_t index;
    uint64_t term;
    uint64_t stored;     /* The highest index in this node's own log on disk. */
    struct buffer entry; /* Owned; APPLIED_ENTRY only. */
    /* Filled in: what is executed now, which is more if this was executed before, and the hash of
     * the state (txn_state_hash()). 0: not known. */
    uint64_t state_index;
    uint64_t state_hash[2];
    void *data; /* The consensus thread's. */
};

struct applier_options {
    struct store *store;
    unsigned feature_level;    /* That the program knows (feature.h). */
    uint64_t scrub_interval_s; /* 0: never. */
    struct journal *journal;   /* Of what is executed, the caller's; NULL: none. */
    void *data;
    /* Apply thread: the result of one command, borrowed during the call. */
    void (*on_result)(void *data, struct applied *work, uint32_t bundle, uint32_t command,
                      struct slice result);
    /* Apply thread: the work was executed (and is visible), or is durable; the callee owns it
     * again. Work after an APPLIED_DURABLE is not held up by it, and may be done before. */
    void (*on_done)(void *data, struct applied *work);
    /* Apply or flush thread, once: the state cannot go on; the process must stop. */
    void (*on_failure)(void *data, const struct error *error);
};

/* Opens the machine and starts the threads. */
MUST_USE enum status applier_open(const struct applier_options *options, struct applier **applier,
                                  struct error *error);

/* Any thread: queue work, in order. */
void applier_push(struct applier *applier, struct applied *work);
size_t applier_queued_bytes(const struct applier *applier);

/* Any thread: what readers can see. */
struct applier_visible {
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;
};
void applier_visible(const struct applier *applier, struct applier_visible *visible);

/* When the next expiry or purge is due: see machine_next_due(). As of the last execution. */
uint64_t applier_next_due_ms(const struct applier *applier);

/* Wait until readers can see @index and @revision (either may be 0). Posts @message to @home when
 * it is so. */
struct visibility_wait {
    struct message message; /* Its deliver() is set by the caller. */
    struct mailbox *home;
    uint64_t index;
    uint64_t revision;
    /* Private. */
    struct link link;
};
/* True if it is visible already: nothing is posted. */
bool applier_wait_visible(struct applier *applier, struct visibility_wait *wait);
/* Forget a wait that gave up. True if it was still waiting; false if its message is on its way. */
bool applier_wait_cancel(struct applier *applier, struct visibility_wait *wait);

struct applier_statistics {
    uint64_t entries;
    uint64_t commands;
    uint64_t flushes;
    uint64_t flush_nanoseconds; /* Sum of the time that flushes took. */
    uint64_t scrubs;            /* Completed; of the last one: */
    uint64_t scrub_records;
    uint64_t scrub_nanoseconds;
    uint64_t scrub_age_nanoseconds; /* Since it ended, or since the start. */
    uint64_t queued_entries;
    uint64_t queued_bytes;
    uint64_t executed_index;
};
void applier_statistics(const struct applier *applier, struct applier_statistics *statistics);

/* Finish what is queued, flush, end the threads. */
void applier_close(struct applier *applier);

#endif
