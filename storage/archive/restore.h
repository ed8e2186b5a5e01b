/* From an archive to a store: the newest full that is not behind the wanted point is imported, and
 * the deltas behind it are executed, step by step, up to that point. After each step the state must
 * have the hash that the archiving node had there. Where a merged object is damaged, the deltas
 * that it was made of are used, if they are still there.
 *
 * One thread, which waits for disks and networks; others, of its own, read ahead (ahead.h). */
#ifndef HOLDFAST_STORAGE_ARCHIVE_RESTORE_H
#define HOLDFAST_STORAGE_ARCHIVE_RESTORE_H

#include "storage/archive/master_keys.h"
#include "storage/archive/names.h"

/* That read ahead, unless something else is said. */
#define RESTORE_THREADS 4u

struct restore;

enum restore_phase { RESTORE_IMPORT, RESTORE_REPLAY };

/* What is borrowed is so until restore_close(). */
struct restore_options {
    const char *url;
    const struct master_keys *keys; /* NULL: none are given. */
    const char *cluster_id;         /* NULL: the only one that is there. */
    const char *base;               /* Only this chain (names.h); NULL: the best one. */
    /* The last point that is wanted; UINT64_MAX: as far as it goes. A point between two steps of
     * the archive is the earlier one of them. */
    uint64_t to_revision;
    uint64_t to_time_ms; /* The cluster's time. */
    unsigned n_threads;  /* That read ahead, 16 MiB each; 0: RESTORE_THREADS. */
    void *data;
    bool (*is_canceled)(void *data); /* As in repository.h. */
    /* May be NULL. @of_bytes: 0: not known. */
    void (*on_progress)(void *data, enum restore_phase phase, uint64_t bytes, uint64_t of_bytes);
    /* A merged object, or the manifest of a full, is damaged, @why says which, and what is in it is
     * taken from elsewhere. May be NULL. */
    void (*on_damage)(void *data, const char *why);
};

/* Find out from what to restore; nothing is written. STATUS_NOT_FOUND: there is no such archive,
 * cluster or point in it, with what there is. STATUS_MISMATCH: there are several clusters, with
 * their UUIDs. STATUS_CORRUPT, and as repository_read(). */
MUST_USE enum status restore_open(const struct restore_options *options, struct restore **restore,
                                  struct error *error);

struct restore_facts {
    char cluster_id[NAMES_CLUSTER_BYTES + 1];
    char base[NAMES_BASE_BYTES];
    char full_directory[NAMES_BYTES];
    uint64_t full_index;
    uint64_t full_revision;
    /* Where it is, or ended. */
    uint64_t index;
    uint64_t term;
    uint64_t revision;
    uint64_t time_ms;
    uint64_t steps;       /* Executed. */
    uint64_t state_bytes; /* Imported, as the image has it. */
    uint64_t hash[2];     /* txn_state_hash() */
    unsigned damaged;     /* Merged objects that are, in whose place others were used. */
};
/* Of the plan, before restore_run(); and what came of it. */
const struct restore_facts *restore_facts(const struct restore *restore);

/* Make the state in @directory: a store when it ends well. What is there already is taken for what
 * an attempt left that was cut off: an import goes on, anything else is removed. STATUS_CORRUPT:
 * something in the archive is damaged, or does not lead to the state that it should.
 * STATUS_NOT_FOUND: the wanted revision is behind its end. STATUS_DISK_FULL, STATUS_IO, and as
 * repository_read(). */
MUST_USE enum status restore_run(struct restore *restore, const char *directory,
                                 struct error *error);

void restore_close(struct restore *restore); /* Accepts NULL. */

#endif
