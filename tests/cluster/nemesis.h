/* What is done to a cluster under load, one thing at a time, each a row of a table.
 *
 * Main thread. Whatever is drawn comes from the seed. */
#ifndef HOLDFAST_TESTS_NEMESIS_H
#define HOLDFAST_TESTS_NEMESIS_H

#include "tests/lib/cluster.h"
#include "tests/lib/faulty_disk.h"
#include "tests/lib/logs.h"
#include "tests/lib/network.h"
#include "tests/lib/registers.h"
#include "tests/lib/writers.h"

struct chaos {
    const struct nemesis *nemesis;
    struct cluster cluster;
    struct network network;
    struct faulty_disk disks[CLUSTER_NODES];
    struct writers writers;
    struct registers registers;
    struct logs logs;
    uint64_t random;
    uint64_t effect; /* What the nemesis did this time, as counted by what did it. */
    unsigned victim;
    bool is_down[CLUSTER_NODES]; /* Killed by the nemesis: has to be started again. */
    bool loaded;
    bool passed;
};

enum nemesis_needs {
    NEEDS_NETWORK = 1,
    NEEDS_DISKS = 2,
    NEEDS_CLOCKS = 4,
    NEEDS_RELAY = 8,
};

struct nemesis {
    const char *name;
    const char *does;
    const char *effect; /* What chaos->effect counts; 0 of it, and the test fails. */
    bool (*begin)(struct chaos *chaos);
    /* Undo it. Nodes that are down are started afterwards. NULL: that is all. */
    bool (*end)(struct chaos *chaos);
    unsigned hold_ms; /* How long it lasts. */
    unsigned needs;
    bool keeps_majority; /* Writes have to go on while it lasts. */
    bool may_end_nodes;  /* A node may end with status 1: something outside failed. */
    bool fills_disks;
    bool scrubs_not; /* What is damaged is to be found by reading. */
};

/* Each ends with a row without a name. */
extern const struct nemesis process_nemeses[];
extern const struct nemesis network_nemeses[];
extern const struct nemesis disk_nemeses[];
extern const struct nemesis clock_nemeses[];
extern const struct nemesis member_nemeses[];
extern const struct nemesis bit_nemeses[];

/* A number below @n. */
unsigned chaos_draw(struct chaos *chaos, unsigned n);

/* Choose the victim. False if there is no leader. */
bool chaos_choose_leader(struct chaos *chaos);
bool chaos_choose_follower(struct chaos *chaos);

/* Let nothing through between the victim and the others. */
bool chaos_part_victim(struct chaos *chaos);
/* Undo what network_block() did, and count what it dropped: each of the rules has to have. */
bool chaos_heal_network(struct chaos *chaos);

void chaos_kill(struct chaos *chaos, unsigned node);
void chaos_kill_all(struct chaos *chaos);

/* The node's wall clock, in seconds from the true one. */
bool clock_set(const struct cluster_node *node, long long shift_s);
/* How often the node was told a time that was off. */
uint64_t clock_seen(const struct cluster_node *node);

#endif
