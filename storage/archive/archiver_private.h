/* What the files of the archiver share: archiver.c (its thread, and what others ask),
 * archiver_chain.c, archiver_merge.c, archiver_prune.c and archiver_upkeep.c. All of it is the
 * archiver's thread's, but for what the mutex guards. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_ARCHIVER_PRIVATE_H
#define HOLDFAST_STORAGE_ARCHIVE_ARCHIVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "daemon/base/pace.h"
#include "storage/archive/archiver.h"
#include "storage/archive/merge.h"

/* How far the chain is behind what was executed. */
struct archiver_lag {
    uint64_t noted_ms; /* When that was looked at; 0: never. */
    uint64_t since_ms; /* Since when something was not archived by then; 0: nothing was. */
    uint64_t entries;
    uint64_t bytes;
};

struct archiver {
    struct archiver_options options;
    char *url;
    char *node;
    char *program;
    char *work_directory;
    pthread_t thread;
    bool is_stopped; /* The thread has ended. */
    struct repository *repository;
    bool is_local;

    /* The thread's own. */
    char cluster_id[NAMES_CLUSTER_BYTES + 1];
    char base[NAMES_BASE_BYTES];
    bool has_catalog;
    bool knows_history;      /* The deltas that were found there are of this cluster's. */
    uint64_t ahead_since_ms; /* That the chain is, of what was executed; 0: it is not. */
    uint64_t prune_due_ms;
    uint64_t watch_due_ms;
    uint64_t stand_in_until_ms; /* Another node should archive, and does not. */
    uint64_t verify_due_ms;
    char verify_failure[ERROR_MAX_TEXT]; /* Of the last restore that was tried; "": it was good. */
    uint64_t squeeze_due_ms;
    bool prunes_on;        /* The last turn's pruning has left some, and the catalog is new. */
    uint64_t prune_end_ms; /* When this turn's is enough. */
    struct merge *merge;   /* What is being merged; NULL: nothing is. */
    uint64_t merged_index; /* Deltas that begin before are merged, or stay as they are. */
    uint64_t merge_due_ms;
    uint64_t full_early_ms; /* So that not all nodes make one at the same time. */
    uint64_t replay_bytes;  /* Of steps behind the last full. */
    uint64_t full_index;    /* Behind a gap: of the full with which the chain begins anew. */
    uint64_t asked;         /* What is being done now was asked for by then. */
    unsigned n_retries;
    unsigned random;
    struct pace pace;

    atomic_bool is_closing;

    pthread_mutex_t mutex; /* Guards what follows. */
    pthread_cond_t wake;
    uint64_t n_asked;
    struct archiver_lag lag;
    struct archiver_status status; /* Its lag is told when it is asked for. */
    struct catalog catalog;        /* Changed by the thread alone. */
};

/* archiver.c */

/* @ms later than @then_ms; UINT64_MAX: never. */
uint64_t archiver_later(uint64_t then_ms, uint64_t ms);
void archiver_lock(struct archiver *archiver);
void archiver_unlock(struct archiver *archiver);
void archiver_set_activity(struct archiver *archiver, enum archiver_activity activity);
/* Of this struct archiver: it is closing. */
bool archiver_is_canceled(void *archiver);
/* Wait until woken, for @ms at most. With the lock held. */
void archiver_wait_for(struct archiver *archiver, uint64_t ms);

/* archiver_lag.c: without the lock held, if nothing else is said. */

/* The lag of a chain that ends at @index. @since_ms: as long as it has been so, if it ended there
 * before; else 0. */
void archiver_find_lag(const struct archiver *archiver, uint64_t index, uint64_t since_ms,
                       struct archiver_lag *lag);
/* Look how far the chain is behind now. */
void archiver_note_lag(struct archiver *archiver);
/* archiver_is_canceled(), for what takes long: the lag goes on to be seen meanwhile. */
bool archiver_gives_up(void *archiver);
/* What @status says of it now. With the lock held. */
void archiver_tell_lag(const struct archiver *archiver, const struct journal_statistics *journal,
                       struct archiver_status *status);

/* archiver_history.c */

/* STATUS_MISMATCH: the state was another one at the end of this delta of the chain. STATUS_OK also
 * if that is not known. */
MUST_USE enum status archiver_check_history(struct archiver *archiver,
                                            const struct delta_facts *facts, struct error *error);
/* The same of the chain's last delta, once for each catalog that is loaded by who archives.
 * STATUS_MISMATCH also if the chain has been ahead of this cluster for long. */
MUST_USE enum status archiver_check_end(struct archiver *archiver, struct error *error);

/* archiver_chain.c */

/* Up to where the chain goes: the next delta comes behind that. A full may be further, while what
 * led to it is still to come: it takes part in that only where there is a gap. */
uint64_t archiver_end_of_chain(const struct archiver *archiver);
/* What the status says of the catalog. With the lock held. */
void archiver_count_catalog(struct archiver *archiver);
MUST_USE enum status archiver_load_catalog(struct archiver *archiver, struct error *error);
/* One delta of what the journal has. STATUS_END: nothing waits. STATUS_NOT_FOUND: there is a gap.
 */
MUST_USE enum status archiver_make_delta(struct archiver *archiver, struct error *error);
MUST_USE enum status archiver_make_full(struct archiver *archiver, struct error *error);
/* So many bytes of work are done: wait as long as the rate says. STATUS_CANCELED. */
MUST_USE enum status archiver_spend(struct archiver *archiver, uint64_t bytes, struct error *error);
/* There is one already. */
bool archiver_full_is_due(const struct archiver *archiver);

/* archiver_merge.c */

/* Merge old deltas, for about a second. */
MUST_USE enum status archiver_merge_when_due(struct archiver *archiver, struct error *error);
void archiver_give_up_merge(struct archiver *archiver);

/* archiver_prune.c */

/* Remove what is not needed any more, now and then, or when the disk is short; for some seconds,
 * and the rest in the next turn. */
MUST_USE enum status archiver_prune_when_due(struct archiver *archiver, struct error *error);

/* archiver_upkeep.c */

/* Free bytes above the reserve. */
uint64_t archiver_spare_bytes(const struct archiver *archiver);
/* STATUS_DISK_FULL: there is less room than so. */
MUST_USE enum status archiver_want_room(const struct archiver *archiver, uint64_t bytes,
                                        struct error *error);
MUST_USE enum status archiver_want_room_for_full(const struct archiver *archiver,
                                                 struct error *error);
/* Asked once: the next time is put off. */
bool archiver_verify_is_due(struct archiver *archiver);
/* Try a restore. That it failed is told by the status until one is good: archiving goes on. Any
 * other status than STATUS_OK: it was cut off. */
MUST_USE enum status archiver_verify(struct archiver *archiver, struct error *error);

#endif
