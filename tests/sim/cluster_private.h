/* What the parts of a simulated cluster share: its nodes (node.c), their network (network.c), the
 * clients (clients.c), the executors (executor.c) and what is known to be true (checks.c,
 * model.c). */
#ifndef HOLDFAST_TESTS_SIM_CLUSTER_PRIVATE_H
#define HOLDFAST_TESTS_SIM_CLUSTER_PRIVATE_H

#include "raft/agreement.h"
#include "raft/seam.h"
#include "tests/sim/cluster.h"
#include "tests/sim/executor.h"
#include "tests/sim/history.h"
#include "tests/sim/model.h"
#include "tests/sim/sim_io.h"

#define MAX_NODES        7u /* Places; an id is never used twice. */
#define CLUSTER_ID       "00000000-0000-4000-8000-000000000001"
#define SIM_HEARTBEAT_MS 30u
#define SIM_ELECTION_MS  150u
#define WALL_EPOCH_MS    1700000000000ull

/* Maxima that a burst reaches. */
#define SIM_PENDING_COMMANDS 250u
#define SIM_PENDING_BYTES    (1u << 20)
#define SIM_APPLY_BYTES      (1u << 20)
#define SIM_PEER_QUEUE_BYTES (512u << 10)
enum op_fate { OP_OPEN, OP_ACKNOWLEDGED, OP_REFUSED, OP_UNCERTAIN };

/* One try of a client's request. The command carries its number, so that it is known in the log. */
struct op {
    struct submission submission; /* Valid while @is_out. */
    struct cluster *cluster;
    struct request *request;
    uint64_t number;
    unsigned node;
    bool is_out;
    enum op_fate fate;
    uint64_t position; /* Where it was executed; 0: it was not. */
    uint64_t index;
    uint64_t after_position; /* What was acknowledged before it was sent. */
    uint64_t call;           /* A moment (history.h). */
    uint64_t executed;       /* Another: when a node executed it first, and what came of it. */
    bool succeeded;
    bool was_full; /* The cluster's disks were, so nothing was looked at. */
    uint64_t first_seq;
    uint64_t sent_ms;
    uint64_t result_hash; /* Of what its execution gave. */
};

/* What is known to be at an index: the same on all nodes. 0: not seen. */
struct slot {
    uint64_t entry_hash; /* 1: none of the state's business. */
    uint64_t results_hash;
    uint64_t state_hash[2];
};

/* What the later program of nodes that were upgraded knows. */
#define NEXT_LEVEL (FEATURE_LEVEL + 1)

struct connection {
    bool is_up;
    uint64_t epoch;
    uint64_t arrival_ms; /* Of the last frame: they do not overtake. */
};

struct node {
    struct cluster *cluster;
    unsigned number;
    uint64_t id; /* 0: there is no such node. */
    bool is_alive;
    bool is_lost;     /* Its disk lost what it must not: it never starts again. */
    bool is_absent;   /* It is no member, and waits to be one. */
    bool is_accepted; /* It was offered an id, and stored it. */
    bool is_mute;     /* Raft's messages from and to it are lost. */
    bool in_turn;
    bool is_receiving;      /* The state of another node. */
    unsigned feature_level; /* That its program knows. */
    struct sim_owner owner;
    struct sim_disk disk;
    struct sim_io *io;
    struct seam *seam;
    struct agreement *agreement;
    struct executor executor;
    struct queue reads; /* struct read_op that wait until their index is visible. */
    uint64_t free_disk_bytes;
    int64_t wall_offset_ms;
    unsigned n_out;
    uint64_t commit_index; /* The highest seen in this life. */
    uint64_t led_term;     /* If it led when it was seen last: the term, else 0; ... */
    uint64_t led_index;    /* ... what every voter has to have before the voters change. */
    uint64_t start_bytes;  /* What the log held when this life began. */
    uint64_t full_term;    /* The term, if too much waited for the executor at the last turn ... */
    uint64_t full_index;   /* ... and the end of the log then. */
    uint64_t resubmitted;
    uint64_t snapshots;
};

struct cluster {
    struct sim *sim;
    struct cluster_options options;
    struct node nodes[MAX_NODES];
    uint64_t founder_ids[MAX_NODES];
    struct churn *churn; /* Or NULL. */
    /* The network. */
    bool cut[MAX_NODES][MAX_NODES];
    uint64_t link_ms[MAX_NODES][MAX_NODES];
    struct connection connections[MAX_NODES][MAX_NODES]; /* [lower][higher] */
    unsigned loss_percent;
    unsigned n_flying; /* Messages of raft that are under way. */
    unsigned n_places; /* Numbers that were ever used. */
    /* Clients. */
    bool is_quiet;
    bool is_unconnected; /* Control connections are not made. */
    bool is_due;
    bool crashes_at_change;
    bool crashes_mute;
    uint32_t crashed_at_change; /* Which nodes did, as bits. */
    struct op **ops;
    size_t n_ops;
    struct request **requests;
    size_t n_requests;
    uint64_t acknowledged_position; /* The highest of what was acknowledged ... */
    uint64_t acknowledged_index;    /* ... and its index, or what was read. */
    /* What is known. */
    unsigned last_flags;
    uint64_t last_time_ms;
    uint64_t highest_index; /* Executed by anyone. */
    uint64_t next_position;
    struct slot *slots; /* By index. */
    size_t n_slots;
    struct model model;
    struct histories histories;
    uint64_t *leaders; /* Their ids, by term; 0: nobody. */
    size_t n_terms;
    struct cluster_counts counts;
};

/* cluster.c: a leader wrote a configuration. */
void cluster_changed(struct node *node);

/* node.c */
struct node *node_of(struct cluster *cluster, uint64_t id);
/* The end of a turn of the node's loop. */
void node_turn(struct node *node);
/* @is_first: with the first configuration, of all that there are. */
void node_boot(struct node *node, bool is_first);
void node_die(struct node *node);

/* network.c */
/* Gives how long the message stays in the sender's memory. */
unsigned network_raft_send(void *node, const struct raft_message *message);
bool network_frame_send(void *node, uint64_t peer, const struct frame *frame);
void network_start(struct cluster *cluster);
void network_drop_cut(struct cluster *cluster);

/* churn.c */
void churn_open(struct cluster *cluster);
void churn_close(struct cluster *cluster);
/* A command on the table of members is executed for the first time. */
void churn_command(struct cluster *cluster, uint64_t index, const struct operation *operation);
/* Tell agreement what the table says. */
void churn_tick(struct node *node);
void churn_dial(void *node, const char *peer_address);
void churn_answer(void *node, struct member_change *change);
/* The node ends as one that was removed. */
void churn_retire(struct node *node);
/* Has any operator insisted so far? */
bool churn_is_forced(const struct cluster *cluster);
/* Is it sent what is committed, by what the leader says? */
bool churn_gets_entries(const struct cluster *cluster, const struct node *node);
/* All is well for a while: the cluster's feature level is what its members know. */
void churn_check_level(const struct cluster *cluster);
void churn_describe(struct cluster *cluster);
uint64_t churn_done(const struct cluster *cluster);

/* clients.c */
void clients_start(struct node *node);
/* Many large requests at once. */
void clients_flood(struct node *node, unsigned n, size_t size);
void clients_answer(void *node, struct submission *submission);
void clients_answer_read(void *node, struct read_ticket *ticket);
/* More became visible on @node, or (@is_dying) never will. */
void clients_look(struct node *node, bool is_dying);
void clients_close(struct cluster *cluster);

/* checks.c */
struct slot *checks_slot(struct cluster *cluster, uint64_t index);
/* The entry at @index is executed or skipped. True the first time in the cluster. */
bool checks_entry(struct node *node, uint64_t index, uint64_t hash);
void checks_time(struct node *node, uint64_t index, uint64_t time_ms);
/* A command is executed for the first time in the cluster. */
void checks_command(struct cluster *cluster, uint64_t index, struct slice command,
                    struct slice result);
void checks_results(struct node *node, uint64_t index, uint64_t hash);
void checks_state(struct node *node, uint64_t index, const uint64_t hash[2]);
void checks_view(struct node *node, const struct seam_view *view);
/* The log of @node (a struct node) is cut off from @index on. */
void checks_cut(void *node, uint64_t index);
void checks_configuration(struct node *node, const struct raft_configuration *configuration);
void checks_close(struct cluster *cluster);

/* bounds.c */
void bounds_check(struct node *node);

#endif
