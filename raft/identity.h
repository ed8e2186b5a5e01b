/* Who this node is: the data directory, its lock, and the file that says to which cluster and node
 * it belongs.
 *
 *   DIR/lock       held by flock() while a process uses the directory
 *   DIR/identity   JSON; written to a temporary file, flushed, renamed, and the directory flushed
 *   DIR/damaged    there if something in here cannot be trusted any more: refuses to start
 *   DIR/removed    there if this node was removed from its cluster: refuses to start
 *   DIR/unfinished there while an offline command changes the rest: refuses to start
 *   DIR/raft/      the log
 *   DIR/state/     the LMDB environment
 *   DIR/images/    images of it that are being sent
 *   DIR/received/  the state of another member, while it is put together
 *
 * Functions wait for the disk. One thread at a time, but for the two that mark. */
#ifndef HOLDFAST_RAFT_IDENTITY_H
#define HOLDFAST_RAFT_IDENTITY_H

#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "raft/frame.h"

#define IDENTITY_CLUSTER_BYTES 36 /* A UUID as text. */
#define IDENTITY_UNFINISHED    "unfinished"

/* Of what is damaged beyond repair. */
#define IDENTITY_WHAT_TO_DO                                                                        \
    "stop this node, remove the directory, and let it join the cluster again as a new member"

struct identity_member {
    uint64_t id;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
};

struct identity {
    enum frame_identity stage; /* IDENTITY_EMPTY: only the name is set. */
    char cluster_id[IDENTITY_CLUSTER_BYTES + 1];
    uint64_t id;
    char name[LIMIT_NAME_BYTES + 1];
    bool is_joining; /* Pending: it was offered a place in a cluster, and has nothing of it yet. */
    bool has_log;    /* The log was begun: from then on, a missing log is a lost one. */
    unsigned n_members; /* Those that formed the cluster; who is a member now is in the state. */
    struct identity_member members[LIMIT_MEMBERS];
};

struct identity_directory;

/* Make the directory if it is missing, lock it, and read who it belongs to.
 *
 * STATUS_BUSY: another process holds it. STATUS_MISMATCH: it belongs to a node of another name.
 * STATUS_CORRUPT: it was marked as damaged, or its identity cannot be read. STATUS_CLOSED: it was
 * marked as removed. STATUS_UNSUPPORTED: a later program wrote it. STATUS_IO, STATUS_PERMISSION,
 * STATUS_DISK_FULL. */
MUST_USE enum status identity_open(const char *path, const char *name,
                                   struct identity_directory **directory, struct identity *identity,
                                   struct error *error);

/* Replace what the directory says, durably. STATUS_MISMATCH: it belongs to another cluster or node
 * already. STATUS_IO, STATUS_DISK_FULL: the old identity still holds; only if it was the last flush
 * that failed, a restart may find the new one. */
MUST_USE enum status identity_store(struct identity_directory *directory,
                                    const struct identity *identity, struct error *error);

/* DIR/raft, DIR/state, and those that are made by who uses them: DIR/images, DIR/journal,
 * DIR/archive, DIR/work and DIR/received; borrowed. */
const char *identity_raft_directory(const struct identity_directory *directory);
const char *identity_state_directory(const struct identity_directory *directory);
const char *identity_images_directory(const struct identity_directory *directory);
const char *identity_journal_directory(const struct identity_directory *directory);
const char *identity_archive_directory(const struct identity_directory *directory);
const char *identity_work_directory(const struct identity_directory *directory);
const char *identity_received_directory(const struct identity_directory *directory);

/* Any thread: make later starts refuse, and say why. STATUS_IO if even that cannot be written. */
enum status identity_mark_damaged(struct identity_directory *directory, const char *reason);

/* The same for a node that is no member any more. */
enum status identity_mark_removed(struct identity_directory *directory, const char *reason);

/* An offline command that was cut off; and what else is of interest to the next one. */
struct identity_unfinished {
    bool is_there;
    bool was_removed; /* The node was told that it is no member any more. */

    char cluster_id[IDENTITY_CLUSTER_BYTES + 1]; /* Of the directory when it began; may be "". */
};

/* For offline commands, which change who the directory belongs to. Open it as above, whatever the
 * node's name, and whether @command was cut off in it before. If it was another one:
 * STATUS_INVALID. @command NULL: whichever it was. */
MUST_USE enum status identity_open_offline(const char *path, const char *command,
                                           struct identity_directory **directory,
                                           struct identity *identity,
                                           struct identity_unfinished *unfinished,
                                           struct error *error);
/* From now on until identity_end_change(), starting a node refuses, and names @command as what has
 * to be run again. Durable. */
MUST_USE enum status identity_begin_change(struct identity_directory *directory,
                                           const char *command, struct error *error);
/* The directory belongs to @identity, whatever it was before; and all is done. Durable. */
MUST_USE enum status identity_end_change(struct identity_directory *directory,
                                         const struct identity *identity, struct error *error);

/* Unlock and release. Accepts NULL. */
void identity_close(struct identity_directory *directory);

/* Random, never 0. */
uint64_t identity_draw_id(void);
void identity_draw_cluster_id(char cluster_id[IDENTITY_CLUSTER_BYTES + 1]);

#endif
