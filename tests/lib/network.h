/* A network of the test's own: each node in a network namespace, joined by a bridge to the test,
 * which is in a namespace too. Nothing of the machine's network is touched, and all of it is gone
 * with the test.
 *
 * Needs root, ip(8), iptables(8) and nsenter(1). Main thread. */
#ifndef HOLDFAST_TESTS_NETWORK_H
#define HOLDFAST_TESTS_NETWORK_H

#include "tests/lib/cluster.h"
#include "tests/lib/relay.h"

struct network {
    struct cluster *cluster;
    char log_path[CLUSTER_MAX_PATH + 16];
    char addresses[CLUSTER_NODES][20];
    char targets[CLUSTER_NODES][40];
    struct process holders[CLUSTER_NODES]; /* Each keeps a namespace. */
    struct relay relay;                    /* If it was asked for. */
};

/* Leave the machine's network and its mounts, for good; once, before there are threads. False if
 * that is impossible here: @why says what is missing. */
bool network_enter(const char **why);

/* Give each node of the cluster, which does not run yet, its namespace and address. */
bool network_open(struct network *network, struct cluster *cluster);

/* Let the nodes reach each other through network->relay only, which can delay them. Before they are
 * started: connections that are there stay as they are. */
bool network_relay(struct network *network, uint64_t seed);

/* Let nothing that @from sends arrive at @to. */
bool network_block(struct network *network, unsigned from, unsigned to);

/* Lose @percent of what the nodes send each other. */
bool network_lose(struct network *network, unsigned percent);

/* What the rules of now have dropped. */
struct network_drops {
    uint64_t packets;
    unsigned idle_rules; /* That dropped none. */
};
bool network_count_drops(struct network *network, struct network_drops *drops);

/* Undo all of it. */
bool network_heal(struct network *network);

void network_close(struct network *network);

#endif
