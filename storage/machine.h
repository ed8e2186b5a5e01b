/* The state machine: executes committed entries, in order, each exactly once.
 *
 * Execution is deterministic: it sees the entry and the state, never a clock, a disk or an option.
 * An index that was executed before is checked against the record kept of it and skipped. The
 * results of a batch may be given to clients as soon as it is executed, as the log is durable; what
 * is executed becomes visible to readers with machine_commit(), and durable in this node's own
 * state when what machine_freeze() set aside is flushed.
 *
 * One thread (apply) uses a machine. */
#ifndef HOLDFAST_STORAGE_MACHINE_H
#define HOLDFAST_STORAGE_MACHINE_H

#include "storage/feature.h"

struct machine;

/* @feature_level: that the program knows (feature.h). STATUS_UNSUPPORTED: the state is of a cluster
 * that has features beyond it. */
MUST_USE enum status machine_open(struct store *store, unsigned feature_level,
                                  struct machine **machine, struct error *error);

/* Commits and flushes nothing: what was executed after the last flush is executed again from the
 * log. */
void machine_close(struct machine *machine);

/* The encoded result (result.h) of command @command of bundle @bundle (both counted from 0 in the
 * entry); borrowed during the call. */
typedef void (*machine_result_cb)(void *data, uint32_t bundle, uint32_t command,
                                  struct slice result);

/* Execute the entry at @index. @on_result runs once per command, in order, except when the index
 * was executed before.
 *
 * Any failure must stop the process before anything is acknowledged: STATUS_CORRUPT (the entry or a
 * record is damaged, or a skipped entry differs from what was executed), STATUS_UNSUPPORTED (an
 * entry of a later program), STATUS_DISK_FULL, STATUS_IO. */
MUST_USE enum status machine_execute(struct machine *machine, uint64_t index, uint64_t term,
                                     struct slice entry, machine_result_cb on_result, void *data,
                                     struct error *error);

/* Entries up to @index are not the state's business (barriers, configurations) or executed. */
MUST_USE enum status machine_skip_to(struct machine *machine, uint64_t index, uint64_t term,
                                     struct error *error);

/* The highest index known to be in this node's own log on disk ("stored"); kept with the next
 * machine_freeze(). Never goes back. */
void machine_set_stored(struct machine *machine, uint64_t stored);

/* Indexes as of now, committed or not. */
uint64_t machine_applied_index(const struct machine *machine);
uint64_t machine_revision(const struct machine *machine);
uint64_t machine_time_ms(const struct machine *machine);

/* What two replicas compare at the same applied index. As of the last machine_commit(): nothing was
 * executed since. */
void machine_state_hash(const struct machine *machine, uint64_t hash[2]);

/* Make visible what was executed; cheap if nothing was. No I/O. */
MUST_USE enum status machine_commit(struct machine *machine, struct error *error);

/* Commit, and set aside all that is not flushed for store_flush(), together with what this node
 * knows of its log. Nothing may be flushing. @frozen: false if there was nothing. */
MUST_USE enum status machine_freeze(struct machine *machine, bool *frozen, struct error *error);

/* What this node's state says about its log at start: read before Raft starts, to recognise a log
 * that was lost or replaced. */
struct machine_position {
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t stored;
    uint64_t revision;
    uint64_t time_ms;
    uint64_t hash[2]; /* machine_state_hash() */
    unsigned feature_level;
};

MUST_USE enum status machine_position(struct store *store, struct machine_position *position,
                                      struct error *error);

/* When the next thing is due (an expiry or a purge), in milliseconds of the cluster's time; 0 when
 * something is due at once, UINT64_MAX when nothing is. As of what was executed. */
MUST_USE enum status machine_next_due(struct machine *machine, uint64_t *due_ms,
                                      struct error *error);

#endif
