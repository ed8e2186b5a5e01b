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
#include "storage/command.h"

/* A control connection, to a member or to one that is to be one. */
struct agreement_link {
    uint64_t id; /* 0: unused. */
    bool is_up;
    uint64_t connection; /* Its number among all that came up. */
    /* From its last status: a node without state knows no configuration, so it has no peers. */
    uint64_t heard_ms;
    uint64_t applied_index; /* 0: not heard, or it needs state itself. */
};
#define AGREEMENT_LINKS (2u * LIMIT_MEMBERS)

/* Changes of the members that this node was asked for (struct member_change, by message.link), and
 * what it does for them as the leader. */
struct agreement_changes {
    struct membership_table table;
    struct queue waiting;
    unsigned n_waiting;
    uint64_t next_number;

    /* Leading. */
    uint64_t sequence; /* Of the bundle with the last command; 0: none. */
    uint64_t index;    /* Where it was committed; 0: not yet. */
    bool is_dialling;
    uint64_t asker; /* For whom: the member, and its number. */
    uint64_t asker_number;
    struct member_change dialled;
    uint64_t offered_id;
    unsigned raised_level; /* Proposed as the cluster's feature level in this term; 0: none. */
    bool is_quiet;         /* Nothing is proposed, until a new voter has all there is. */
    uint64_t quiet_ms;
    uint64_t no_quiet_before_ms;
    struct log_limit log;
};

/* Another member, as it was last heard. */
struct agreement_peer {
    uint64_t id;
    int role;
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
    struct agreement_link links[AGREEMENT_LINKS];
    uint64_t n_connections; /* That came up, on all links. */
    struct agreement_changes changes;
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
    bool has_foundation;     /* The state holds what the first entry of a new cluster brings. */
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
    struct state_progress receiving;
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

bool agreement_is_fresh(const struct agreement *agreement, const struct agreement_peer *peer,
                        uint64_t limit_ms);

/* Hand leadership to the voter that can take it best. */
void agreement_hand_over(struct agreement *agreement);

/* The process must end; said once. */
void agreement_exit(struct agreement *agreement, enum node_exit why, const struct error *error);

/* Compare states, and tell the others, now and then. */
void agreement_watch_states(struct agreement *agreement);
void agreement_on_state(struct agreement *agreement, uint64_t peer,
                        const struct frame_marks *state);

/* As the leader: have @command executed, in a bundle of its own that nobody waits for. */
uint64_t agreement_propose_own(struct agreement *agreement, const struct command *command);

/* Members (agreement_members.c). */
void agreement_members_init(struct agreement *agreement);
void agreement_members_close(struct agreement *agreement);
void agreement_members_tick(struct agreement *agreement);
/* Take the next step, if a member is about to become a voter and nothing is proposed meanwhile. */
void agreement_members_flush(struct agreement *agreement);
void agreement_on_change_ask(struct agreement *agreement, uint64_t peer,
                             const struct frame_change_ask *ask);
void agreement_on_change_answer(struct agreement *agreement, uint64_t peer,
                                const struct frame_change_answer *answer);
/* Leads, and knows all that earlier leaders had agreed upon. */
bool agreement_may_judge(const struct agreement *agreement);
/* The last command on members that this leader proposed is not in the table yet. */
bool agreement_is_proposing(const struct agreement *agreement);
/* The members as this leader knows them. */
void agreement_look(const struct agreement *agreement, struct membership_view *view);
/* What was judged to be allowed begins. */
void agreement_carry_out(struct agreement *agreement, const struct member_change *change,
                         struct membership_judgement *judgement);
/* How it stands with the change that @asker, this node maybe, knows by @number. */
void agreement_tell(struct agreement *agreement, uint64_t asker, uint64_t number,
                    const struct membership_judgement *judgement);
/* Dial the node that @change is to add (agreement_joining.c); one at a time. */
void agreement_begin_dial(struct agreement *agreement, uint64_t asker,
                          const struct member_change *change,
                          struct membership_judgement *judgement);
struct agreement_link *agreement_link(struct agreement *agreement, uint64_t id);
/* Leads this node, or is a leader known that is connected? */
bool agreement_can_reach_leader(struct agreement *agreement);
/* The cluster's feature level, as this node has executed it. */
unsigned agreement_feature_level(const struct agreement *agreement);
/* A voter that is well and may lead; 0: none. */
uint64_t agreement_successor(const struct agreement *agreement);

/* Of a member or not; agreement_on_status() for a member. */
void agreement_on_any_status(struct agreement *agreement, uint64_t id,
                             const struct frame_status *status);
void agreement_on_status(struct agreement *agreement, struct agreement_peer *peer,
                         const struct frame_status *status);

#endif
