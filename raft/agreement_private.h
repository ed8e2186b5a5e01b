/* What agreement.c (commands and entries) and agreement_watch.c (the state of the cluster) share.
 */
#ifndef HOLDFAST_RAFT_AGREEMENT_PRIVATE_H
#define HOLDFAST_RAFT_AGREEMENT_PRIVATE_H

#include "daemon/base/log.h"
#include "raft/agreement.h"
#include "raft/batch.h"
#include "raft/cluster_time.h"
#include "raft/comparison.h"
#include "raft/proposer.h"
#include "raft/read_index.h"
#include "raft/seam.h"

/* Another member, as it was last heard. */
struct agreement_peer {
    uint64_t id;
    int role;
    bool is_up;          /* There is a control connection: */
    uint64_t connection; /* the so-manieth. */
    bool was_heard;
    uint64_t heard_ms;
    struct frame_status status;
    struct clock_low clock;
    uint64_t needed_state_ms; /* When it last said that it needs state; 0: never. */
    bool state_differs;       /* The log says so. */

    /* Of the leader of match_term: where its log is known to agree, and since when. */
    uint64_t match_term;
    uint64_t match_index;
    uint64_t match_ms;
};

struct agreement {
    struct agreement_options options;
    char *cluster_id;
    struct seam *seam;
    struct seam_view view;
    struct batch batch;
    struct proposer proposer;
    struct read_index reads;
    struct cluster_time time;
    unsigned n_peers;
    struct agreement_peer peers[LIMIT_MEMBERS]; /* Without this node. */
    int own_role;
    uint64_t now_ms;
    bool is_closing;
    bool is_ending; /* options.exit() was called. */
    bool is_gathering;
    bool is_announcing; /* Others will be told of what is committed, a little later. */

    /* Sending. */
    uint64_t hold_ms;     /* Nothing is sent before this time. */
    uint64_t repeated_ms; /* When unanswered bundles were last sent again. */
    uint64_t
        leaderless_ms; /* Since when there is no leader that can be reached; if has_no_leader. */
    bool has_no_leader;
    uint64_t elected_ms;
    uint64_t n_forwarded;
    uint64_t n_elections;
    uint64_t leader_term; /* Of the last leader seen. */

    /* Executing. */
    uint64_t executed_index;
    uint64_t caught_up_index; /* This node is behind until it has executed this; 0: not known. */
    bool has_caught_up;
    uint64_t maintain_index; /* Of the last maintenance entry. */
    uint64_t maintain_sequence;

    /* Watching. */
    uint64_t ticked_ms;
    uint64_t wall_ms;
    struct clock_low own_clock;
    uint64_t free_disk_bytes;
    uint64_t status_ms;   /* When the last status was sent. */
    uint64_t transfer_ms; /* When handing over was last tried. */
    uint64_t stuck_ms;    /* When leadership was last handed over because a follower was stuck. */
    bool cannot_transfer;
    bool is_told_of_clocks; /* The log says that this leader lacks the clocks of a majority. */
    bool is_short_of_disk;
    bool storage_full;

    /* Comparing states. */
    struct comparison comparison;
    uint64_t told_ms; /* When the others were last told. */
    bool states_are_split;

    struct log_limit refused_log;
};

struct agreement_peer *agreement_peer(struct agreement *agreement, uint64_t id);

/* Read the seam again; notice a change of leader. */
void agreement_observe(struct agreement *agreement);

/* How many voters the cluster has, this node included. */
unsigned agreement_voters(const struct agreement *agreement);

/* May this node, as the leader, stamp an entry: is the cluster's time known, or the clocks by which
 * it starts after a full stop? */
bool agreement_knows_time(struct agreement *agreement);

/* Hand leadership to the voter that can take it best. */
void agreement_hand_over(struct agreement *agreement);

/* The process must end; said once. */
void agreement_exit(struct agreement *agreement, enum node_exit why, const struct error *error);

/* Compare states, and tell the others, now and then. */
void agreement_watch_states(struct agreement *agreement);
void agreement_on_state(struct agreement *agreement, uint64_t peer,
                        const struct frame_marks *state);

void agreement_on_status(struct agreement *agreement, struct agreement_peer *peer,
                         const struct frame_status *status);

#endif
