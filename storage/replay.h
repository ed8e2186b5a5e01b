/* Executing what came behind a state, onto its store, while no node runs on it: from a log, or from
 * an archive. It is flushed now and then, by a thread of its own, so that memory is bounded. One
 * thread uses it; others may read the store. */
#ifndef HOLDFAST_STORAGE_REPLAY_H
#define HOLDFAST_STORAGE_REPLAY_H

#include "storage/machine.h"

struct replay;

/* Where the entries come from. */
enum replay_source {
    REPLAY_OWN_LOG, /* The node's own, which has them on disk: machine_set_stored(). */
    REPLAY_ARCHIVE
};

/* @store is borrowed until replay_close(). As machine_open(). */
MUST_USE enum status replay_open(struct store *store, enum replay_source source,
                                 struct replay **replay, struct error *error);

/* Execute the entry at @index; NULL: what is up to there is not the state's business. As
 * machine_execute() and store_flush(). */
MUST_USE enum status replay_execute(struct replay *replay, uint64_t index, uint64_t term,
                                    const struct slice *entry, struct error *error);

/* What the state is now: txn_state_hash() and its revision. As machine_commit(). */
MUST_USE enum status replay_look(struct replay *replay, uint64_t hash[2], uint64_t *revision,
                                 struct error *error);

/* Have all of it on disk: else what was executed since the last flush is lost. As store_flush(). */
MUST_USE enum status replay_flush(struct replay *replay, struct error *error);

/* Accepts NULL. Waits for a flush that runs, and flushes nothing. */
void replay_close(struct replay *replay);

#endif
