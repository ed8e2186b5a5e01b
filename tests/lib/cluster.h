/* Real nodes on loopback, each with a data directory and a log file in one temporary directory.
 *
 * The daemon is the one that HOLDFASTD names. The directory stays when a test failed, so that it
 * can be looked into. Only the main thread starts, stops and closes; clients of a node may be
 * anywhere. */
#ifndef HOLDFAST_TESTS_CLUSTER_H
#define HOLDFAST_TESTS_CLUSTER_H

#include <jansson.h>
#include <stdatomic.h>

#include "tests/lib/http_client.h"
#include "tests/lib/process.h"

#define CLUSTER_NODES        3 /* Of most tests, ... */
#define CLUSTER_MAX_NODES    9 /* ... and of those that add some. */
#define CLUSTER_MAX_PATH     160
#define CLUSTER_MAX_LAUNCHER 10
#define CLUSTER_MAX_EXTRA    7
#define CLUSTER_READY_MS     20000 /* A node has to be ready by then, on a busy machine too. */
#define CLUSTER_SETTLE_MS    20000 /* Nodes have to agree by then. */
#define CLUSTER_NOBODY       CLUSTER_MAX_NODES

struct cluster_node {
    char name[8];
    unsigned api_port;
    unsigned peer_port;
    char data_directory[CLUSTER_MAX_PATH];
    char log_path[CLUSTER_MAX_PATH];
    char hold_path[CLUSTER_MAX_PATH];     /* See cluster_hold_writes(). */
    char fail_path[CLUSTER_MAX_PATH];     /* See cluster_break_disk(). */
    char clock_path[CLUSTER_MAX_PATH];    /* For clock_shift.c. */
    const char *initial_cluster;          /* The cluster's, unless the test sets another. */
    char join[96];                        /* Not empty: it joins by this URL instead. */
    const char *extra[CLUSTER_MAX_EXTRA]; /* More flags, NULL behind the last. */
    const char *daemon;                   /* NULL: the one that HOLDFASTD names. */
    atomic_bool is_absent; /* It is no member: neither started, waited for nor written to. */
    const char *address;   /* Loopback, unless it lives in a namespace. */
    /* What the daemon is started by, NULL behind the last: a program that becomes another. */
    const char *launcher[CLUSTER_MAX_LAUNCHER];
    struct process process;
};

struct cluster {
    char directory[CLUSTER_MAX_PATH];
    char initial_cluster[256];
    const char *preload; /* NULL: none. A library for each node that is started. */
    unsigned n_nodes;
    struct cluster_node nodes[CLUSTER_MAX_NODES];
};

/* Names, free ports and directories; nothing runs yet. False if the machine gives none. */
bool cluster_open(struct cluster *cluster);

/* The same for more nodes, which are absent at first, and are given the URL of the first one to
 * join by. */
bool cluster_open_more(struct cluster *cluster, unsigned n_nodes);

/* The nodes' addresses changed: put together again what tells them of each other. */
void cluster_name_members(struct cluster *cluster);

/* Start one node, on the data that it has. */
bool cluster_start_node(struct cluster *cluster, unsigned node);

/* Start those that do not run, and wait until all are ready. */
bool cluster_start(struct cluster *cluster);

bool cluster_wait_node_ready(struct cluster *cluster, unsigned node, unsigned limit_ms);
bool cluster_wait_ready(struct cluster *cluster, unsigned limit_ms);

/* SIGKILL one, or all at once. */
void cluster_kill(struct cluster *cluster, unsigned node);
void cluster_kill_all(struct cluster *cluster);

/* The node's own view: GET /v1/cluster, as JSON that the caller releases; NULL if it did not answer
 * within two seconds. */
json_t *cluster_view(const struct cluster_node *node);

/* The figure called @name among the node's metrics, without labels. False if it did not answer
 * within two seconds, or has none. */
bool cluster_metric(const struct cluster_node *node, const char *name, uint64_t *value);

/* The node that leads, by its own word; CLUSTER_NOBODY if none did within @limit_ms. @except is
 * not asked (CLUSTER_NOBODY: all are). */
unsigned cluster_find_leader(struct cluster *cluster, unsigned except, unsigned limit_ms);

/* Wait until all nodes have applied the same index, and tell whether their state hashes are equal
 * there. On false, @text says what they said. Nobody may be writing. */
bool cluster_states_are_equal(struct cluster *cluster, char *text, size_t size);

/* With the library of interpose.c preloaded: hold back what this node writes to its log, until it
 * is released. */
bool cluster_hold_writes(struct cluster_node *node);
bool cluster_release_writes(struct cluster_node *node);
/* How many writes were held back since; 0 when they are released. */
unsigned cluster_held_writes(const struct cluster_node *node);

/* The same library: a disk of this node gives EIO until it is mended. @what is ".log", ".write"
 * (the state) or ".flush" (the state). With the library of nosync.c: ".sync" lets it sync nothing.
 */
bool cluster_break_disk(struct cluster_node *node, const char *what);
bool cluster_mend_disk(struct cluster_node *node, const char *what);

/* Does the node's log hold @text? */
bool cluster_log_has(const struct cluster_node *node, const char *text);

/* End all nodes. Removes the directory if the test @passed, else prints where it is. */
void cluster_close(struct cluster *cluster, bool passed);

/* A client of one node. */
struct http_client cluster_client(const struct cluster_node *node);

/* Remove a directory with all that is in it. */
bool remove_tree(const char *path);

#endif
