/* The apply thread: executes committed entries in order and commits them durably.
 *
 * Results leave as soon as an entry is executed, as the log is durable. The LMDB commit follows: at
 * once when a read waits for what was executed, when nothing came for APPLIER_IDLE_MS, and at the
 * latest after APPLIER_COMMIT_DELAY_MS. Under load it should be rare: each commit writes every page
 * that was touched since the one before, and the longer the time between them, the more commands
 * share a page (of appends to random sessions, 100 ms cost a ninth of what 5 ms do). Entries that
 * wait are bounded by the consensus thread, which asks applier_queued_bytes() before it takes more
 * from the leader. */
#ifndef HOLDFAST_STORAGE_APPLIER_H
#define HOLDFAST_STORAGE_APPLIER_H

#include "daemon/base/mailbox.h"
#include "storage/machine.h"

#define APPLIER_COMMIT_DELAY_MS 100
#define APPLIER_IDLE_MS         5

struct applier;

enum applied_kind {
    APPLIED_ENTRY,   /* Execute the entry. */
    APPLIED_SKIP,    /* Entries up to index are not the state's business. */
    APPLIED_DURABLE, /* Commit, and make it survive a power cut, through index. */
};

/* Work for the apply thread. Made by the consensus thread, given back by on_done(). */
struct applied {
    struct link link; /* Private. */
    enum applied_kind kind;
    uint64_t index;
    uint64_t term;
    uint64_t stored;    /* The highest index in this node's own log on disk. */
    struct buffer entry; /* Owned; APPLIED_ENTRY only. */
    void *data;          /* The consensus thread's. */
};

struct applier_options {
    struct store *store;
    void *data;
    /* Apply thread: the result of one command, borrowed during the call. */
    void (*on_result)(void *data, struct applied *work, uint32_t bundle, uint32_t command,
                      struct slice result);
    /* Apply thread: the work was executed (or is durable); the callee owns it again. */
    void (*on_done)(void *data, struct applied *work);
    /* Apply thread: the state machine cannot go on; the process must stop. */
    void (*on_failure)(void *data, const struct error *error);
};

/* Opens the machine and starts the thread. */
MUST_USE enum status applier_open(const struct applier_options *options, struct applier **applier,
                                  struct error *error);

/* Any thread: queue work, in order. */
void applier_push(struct applier *applier, struct applied *work);
size_t applier_queued_bytes(const struct applier *applier);

/* Any thread: what readers can see, that is, what is committed in LMDB. */
struct applier_visible {
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;
};
void applier_visible(const struct applier *applier, struct applier_visible *visible);

/* When the next expiry or purge is due: see machine_next_due(). As of the last execution. */
uint64_t applier_next_due_ms(const struct applier *applier);

/* Wait until readers can see @index and @revision (either may be 0). Posts @message to @home when
 * it is so; makes the apply thread commit at once if it was executed already. */
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
    uint64_t commits;
    uint64_t commit_nanoseconds; /* Sum of the time in LMDB commits. */
    uint64_t queued_entries;
    uint64_t queued_bytes;
    uint64_t executed_index;
};
void applier_statistics(const struct applier *applier, struct applier_statistics *statistics);

/* Finish what is queued, commit, sync, end the thread. */
void applier_close(struct applier *applier);

#endif
