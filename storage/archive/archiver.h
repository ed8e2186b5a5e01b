/* The archiver of one repository: a thread that keeps a chain there going, of fulls and deltas, as
 * long as this node is the one that should.
 *
 * It never holds up anything: it reads the journal and the state, writes to files of its own, and
 * falls behind, visibly, when the repository is slow or away. Who else writes to the chain at the
 * same time does no harm: a delta is created under its first index, and whoever comes second goes
 * on behind what is there.
 *
 * Any thread, but for opening and closing. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_ARCHIVER_H
#define HOLDFAST_STORAGE_ARCHIVE_ARCHIVER_H

#include "storage/archive/retention.h"
#include "storage/journal.h"
#include "storage/store.h"

struct archiver;

/* 0: the defaults. */
struct archiver_schedule {
    uint64_t delta_ms;   /* What was executed is archived so much later at most: 10 s. */
    uint64_t full_ms;    /* A full is made so long after the last one: 24 h. */
    uint64_t restore_ms; /* Or when a restore would take longer than so: 120 s. */
    uint64_t prune_ms;   /* How often what is not needed any more is removed: 1 h. */
    /* A node that another one should archive for does it itself when the chain is so far behind; it
     * looks four times as often. 180 s. */
    uint64_t stand_in_ms;
    uint64_t verify_ms; /* How often a restore is tried; UINT64_MAX: never. 24 h. */
    /* Deltas become one object when they are so old, and so long together, by the cluster's time;
     * UINT64_MAX: never. MERGE_RANGE_MS. */
    uint64_t merge_ms;
};

struct archiver_options {
    const char *url;
    const struct master_keys *keys; /* NULL: not encrypted. */
    struct store *store;
    struct journal *journal;
    const char *node;           /* Name, ... */
    const char *program;        /* ... and version. */
    const char *work_directory; /* Exists. */
    unsigned number;            /* Among those with this work directory. */
    struct archiver_schedule schedule;
    struct retention_policy retention; /* Zeros: RETENTION_DAYS; but for max_bytes. */
    uint64_t bytes_per_second;         /* Of state that is read for a full. */
    /* Free space of the file system that holds the directory for work, and what is local: less is
     * left to others. Before it comes to that, what is local is cut down to the newest chain. */
    uint64_t reserve_bytes;
    void *data;
    /* The archiver's thread: the cluster and this node in it; false: it is in none yet. */
    bool (*identify)(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id);
    /* The archiver's thread: this node is the one that archives to what all nodes share. */
    bool (*is_chosen)(void *data);
    void *turn_data;
    /* The archiver's thread, every now and then: archiver_needs_after() may have changed. May be
     * NULL. */
    void (*on_turn)(void *turn_data);
};

/* Strings are copied. STATUS_INVALID: see repository_open(). */
MUST_USE enum status archiver_open(const struct archiver_options *options,
                                   struct archiver **archiver, struct error *error);
/* Have its thread end: it gives up what it is at, and calls nobody any more. Waits. */
void archiver_stop(struct archiver *archiver);
/* Stops it, if it was not. Accepts NULL. */
void archiver_close(struct archiver *archiver);

/* With what is secret in it. */
const char *archiver_url(const struct archiver *archiver);

/* Have all that was executed so far archived now, and a full made. Gives the number of the request,
 * for archiver_status.completed. */
uint64_t archiver_ask(struct archiver *archiver);

enum archiver_activity {
    ARCHIVER_WAITING, /* For the cluster. */
    ARCHIVER_STANDBY, /* Another node archives. */
    ARCHIVER_IDLE,
    ARCHIVER_DELTA,
    ARCHIVER_FULL,
    ARCHIVER_MERGING,
    ARCHIVER_PRUNING,
    ARCHIVER_VERIFYING, /* By restoring it to a directory of its own. */
    ARCHIVER_FAILING,   /* It tries again now and then; error says why. */
};
const char *archiver_activity_text(enum archiver_activity activity);

struct archiver_status {
    char url[256];
    bool is_local;
    bool is_encrypted;
    enum archiver_activity activity;
    char error[ERROR_MAX_TEXT]; /* Of the last failure, while it lasts; else "". */
    uint64_t completed;         /* The last request of archiver_ask() that is done. */
    /* Where the chain ends. */
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;
    /* What is not in it yet. */
    uint64_t lag_entries;
    uint64_t lag_bytes;
    uint64_t lag_ms; /* Since when there is something: what is older is archived. While index is 0,
                        not known yet. */
    /* What is in it. */
    uint64_t fulls;
    uint64_t deltas;
    uint64_t merged; /* Objects that are many deltas each. */
    uint64_t bytes;
    uint64_t held;    /* Objects that were to be removed last, and are held for longer. */
    uint64_t damaged; /* Merged ones that were found so when the deltas in them could go last. */
    struct catalog_full last_full; /* That is whole; directory "": none. */
    uint64_t restore_ms;           /* That a restore of all of it would take, about. */
    /* The last restore that was tried and gave what it should. */
    uint64_t verified_ms; /* By the wall clock; 0: none is known. */
    uint64_t verified_revision;
    uint64_t verify_took_ms;
    /* Since the start. */
    uint64_t made_fulls;
    uint64_t made_deltas;
    uint64_t made_merged;
    uint64_t made_bytes;
    uint64_t failures;
    uint64_t gaps;   /* The chain could not go on, and began anew with a full. */
    uint64_t fenced; /* Another archiver was first. */
    uint64_t pruned_bytes;
};
void archiver_status(struct archiver *archiver, struct archiver_status *status);

/* A copy of the fulls of the chain, the newest last; the caller frees it. NULL: none. */
struct catalog_full *archiver_fulls(struct archiver *archiver, size_t *n);

/* The journal may forget what is at or before this index, as far as this repository is concerned.
 */
uint64_t archiver_needs_after(struct archiver *archiver);

#endif
