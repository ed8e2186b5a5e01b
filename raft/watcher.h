/* A thread that looks at what may wait for a disk: the free space, every second, and the member
 * table, every tenth of one. When the table does not say what is true of this node, it submits a
 * command that does. */
#ifndef HOLDFAST_RAFT_WATCHER_H
#define HOLDFAST_RAFT_WATCHER_H

#include "raft/members.h"

struct watcher;

struct watcher_options {
    struct node *node; /* For node_submit() and node_status(). */
    struct store *store;
    struct members *members;
    struct mailbox *home;   /* Of the consensus thread. */
    const char *directory;  /* Whose file system is watched. */
    struct member_row self; /* What the table should say; copied. */
};

/* Looks once before it returns. STATUS_IO. */
MUST_USE enum status watcher_open(const struct watcher_options *options, struct watcher **watcher,
                                  struct error *error);

/* Any thread: as of a second ago at most. */
uint64_t watcher_free_disk_bytes(const struct watcher *watcher);

/* End the thread. What it submitted must come back before watcher_close(). Accepts NULL. */
void watcher_stop(struct watcher *watcher);
void watcher_close(struct watcher *watcher); /* Accepts NULL. */

#endif
