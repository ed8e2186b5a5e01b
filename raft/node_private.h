/* What node.c (the life of a node and its loop) and node_parts.c (what the loop drives) share. */
#ifndef HOLDFAST_RAFT_NODE_PRIVATE_H
#define HOLDFAST_RAFT_NODE_PRIVATE_H

#include <pthread.h>
#include <uv.h>

#include "raft/agreement.h"
#include "raft/disk.h"
#include "raft/forming.h"
#include "raft/inbox.h"
#include "raft/joining.h"
#include "raft/members.h"
#include "raft/node.h"
#include "raft/peer.h"
#include "raft/seam.h"
#include "raft/state_transfer.h"
#include "raft/transport.h"
#include "raft/watcher.h"

struct node {
    struct node *next_remains;
    struct node_options options;
    char *name;
    char *data_directory;
    char *peer_address; /* Announced. */
    char *api_address;
    char *version;
    char *zone;                   /* Or NULL. */
    struct buffer join_addresses; /* Ends with NUL. */

    struct identity_directory *directory;
    struct identity identity;
    struct store *store;
    struct machine_position position; /* At start. */
    struct applier *applier;
    struct image_spools *spools;
    struct journal *journal; /* NULL without an archive. */
    struct archive *archive; /* Or NULL. */
    struct mirror *mirror;   /* Or NULL. */
    struct members *members;
    struct frame_hello hello;        /* To members, once this node is one. */
    struct state_transfer *transfer; /* As the watcher. */
    struct watcher *watcher;         /* NULL before the raft parts are there. */

    /* The consensus thread's. */
    pthread_t thread;
    bool has_loop;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t ticker;
    uv_timer_t next_turn; /* See agreement_next_turn_ms(). */
    struct inbox inbox;
    struct mailbox home; /* Of the watcher's submission. */
    struct peers *peers;
    struct forming *forming; /* NULL once it is formed. */
    bool has_accepted; /* The offer of a cluster: this node takes part from the next tick on. */
    struct invitation *invitation; /* This leader's, of a node that joins; or NULL. */
    struct membership_table table; /* As it was given to agreement. */
    uint64_t table_version;
    struct transport *transport;
    struct disk *disk;
    struct seam *seam;
    struct agreement *agreement; /* NULL while forming, and at the end. */
    bool is_leaving;
    uint64_t leave_until_ms;
    unsigned ticks;

    atomic_bool is_closing;      /* node_close() was called. */
    atomic_bool is_state_urgent; /* agreement_is_state_urgent(), for other threads. */
    atomic_bool has_exited;      /* on_exit() was called. */

    pthread_mutex_t status_mutex;
    struct node_status status; /* As published. */
    struct node_status next;   /* The consensus thread's, to be published. */
};

static inline uint64_t node_now_ms(const struct node *node)
{
    return uv_now(&node->loop);
}

uint64_t node_wall_ms(void);

/* Any thread: this node cannot go on. Only the first call is told. */
void node_exit_with(struct node *node, enum node_exit why, const struct error *error);
/* What a failure of disk or state means for the supervisor. */
enum node_exit node_exit_of(enum status status);

/* Listen. The loop does not run yet. */
MUST_USE enum status node_open_peers(struct node *node, struct error *error);
/* A member takes part; others begin to form the cluster, and take part when that is done. */
MUST_USE enum status node_begin(struct node *node, struct error *error);
/* A state that was received and is further than the own one takes its place. Before the store is
 * open. */
MUST_USE enum status node_install_received(struct node *node, struct error *error);
/* Keep what is executed for the archive; before it is executed. */
MUST_USE enum status node_open_journal(struct node *node, struct error *error);
/* Archive it. */
MUST_USE enum status node_open_archive(struct node *node, struct error *error);
/* Mirror it. */
MUST_USE enum status node_open_mirror(struct node *node, struct error *error);
/* Give state to others, and take it if this node needs it. */
MUST_USE enum status node_open_transfer(struct node *node, struct error *error);
/* Any thread: agreement_is_state_urgent() of this struct node. */
bool node_is_state_urgent(void *node);
/* The consensus thread, every now and then: have state brought if it is needed. */
void node_want_state(struct node *node);
/* Who this node says it is. */
void node_describe(const struct node *node, struct frame_hello *hello);

/* The table of members may have been read anew: tell agreement and the connections. */
void node_update_members(struct node *node);
/* This node joins, and was accepted, or has got the first of the log. */
void node_watch_joining(struct node *node);

#endif
