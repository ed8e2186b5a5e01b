/* What is done to a data directory while no node runs on it: looking, and making it the directory
 * of a new cluster of one node, from an image or from what a lost cluster left.
 *
 * The new cluster has a UUID and a node id of its own, so that nodes of the old one can neither
 * join nor disturb it, and its revisions, log indexes and terms go on above the old ones. Each
 * command can be run again after it was cut off; until it has ended, no node starts on the
 * directory. Functions wait for the disk. */
#ifndef HOLDFAST_RAFT_OFFLINE_H
#define HOLDFAST_RAFT_OFFLINE_H

#include "raft/identity.h"
#include "storage/image.h"
#include "storage/machine.h"

struct offline_facts {
    struct identity identity;
    struct identity_unfinished unfinished;           /* A command was cut off in it: */
    bool is_rebased;                                 /* the state is that of its new cluster, */
    char new_cluster_id[IDENTITY_CLUSTER_BYTES + 1]; /* this one; */
    bool is_renamed;                                 /* the identity too. */

    bool has_received; /* A newer state of another member, which its next start had taken. */
    struct machine_position state; /* As it is on disk: all of it was committed. */
    uint64_t last_index;           /* Of the log; what is behind the state may be uncommitted. */
    uint64_t last_term;            /* Of the last entry: who has the highest has the newest log. */
    uint64_t n_entries;            /* Behind the state, that will be executed. */
    uint64_t time_ms;              /* The cluster's time at the last of all entries. */
};

/* Look, and change nothing but lock files. STATUS_NOT_FOUND: there is no such directory, or no
 * node's in it. STATUS_BUSY: a node runs on it. STATUS_CORRUPT, STATUS_MISMATCH: log or state
 * cannot be trusted. */
MUST_USE enum status offline_inspect(const char *path, struct offline_facts *facts,
                                     struct error *error);

/* Is @a's log newer than @b's? The one of the newest log has every write that a majority had, if
 * any of those that are compared was in that majority. */
bool offline_is_newer(const struct offline_facts *a, const struct offline_facts *b);

/* The new cluster. */
struct offline_made {
    char old_cluster_id[IDENTITY_CLUSTER_BYTES + 1];
    struct identity identity; /* Of its only member. */
    uint64_t old_revision;    /* The last one of the old cluster that is in it, ... */
    uint64_t old_time_ms;     /* ... and its time then. */
    uint64_t revision;
    uint64_t index;
    uint64_t term;
};

/* Make the node's directory that of a cluster of one: executes all that its log has, committed or
 * not, as nobody is left to tell. As offline_inspect(), and STATUS_IO, STATUS_DISK_FULL: run it
 * again when that is cured. */
MUST_USE enum status offline_recover(const char *path, struct offline_made *made,
                                     struct error *error);

struct restore_options;

struct offline_restore {
    const char *image; /* A file; or NULL: */
    const struct restore_options *archive; /* storage/archive/restore.h */
    const char *directory; /* Missing, empty, or where the same was cut off. */
    const char *name;      /* The node's. */
    const char *peer_address;
    const char *api_address;
    void (*on_progress)(void *data, uint64_t bytes, uint64_t of_bytes); /* Of an image, or NULL. */
    void *data;
};

/* STATUS_EXISTS: the directory is not empty. STATUS_CORRUPT, STATUS_UNSUPPORTED: see
 * image_file_open(). From an archive: as restore_open() and restore_run(). */
MUST_USE enum status offline_restore(const struct offline_restore *options,
                                     struct offline_made *made, struct error *error);

#endif
