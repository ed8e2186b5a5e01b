/* Who is to be a member, in which role, and the next step towards it.
 *
 * The replicated table of members (storage/member.c) says what is wanted. libraft's configuration
 * says what is. Whoever leads compares the two and changes the configuration, one member at a time,
 * so a change that was committed is carried out whatever leader fails meanwhile; what would
 * endanger the cluster now waits, and is looked at again at every tick.
 *
 * A step is taken only if every voter of the configuration that it makes is well and has everything
 * up to the first entry of this term and the last configuration (Ongaro's dissertation, 4.1, asks
 * for less; libraft loses its leader for good with less). The voter that is removed or demoted is
 * exempt, so the replacement of a dead one begins with that. What an operator forces needs a
 * majority only.
 *
 * Requests are judged by the same rules before they are committed, so an operator hears at once
 * what would wait for ever. Pure: all that is known comes in as parameters. */
#ifndef HOLDFAST_RAFT_MEMBERSHIP_H
#define HOLDFAST_RAFT_MEMBERSHIP_H

#include "raft/node.h"
#include "storage/view.h"

/* A follower so many entries behind what is committed has caught up, but for what is under way. */
#define MEMBERSHIP_CAUGHT_UP 512u

struct membership_row {
    uint64_t id;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    char zone[LIMIT_NAME_BYTES + 1];
    char version[sizeof((struct node_member *)NULL)->version];
    enum member_wanted wanted;
    bool is_drained;
    bool is_forced;
};

struct membership_removed {
    uint64_t id;
    bool is_forced;
};

/* The replicated table as of one state. */
struct membership_table {
    uint64_t applied_index; /* Of the state that it was read from; 0: never. */
    unsigned feature_level; /* The cluster's. */
    unsigned n_rows;
    struct membership_row rows[LIMIT_MEMBERS];
    unsigned n_removed;
    struct membership_removed *removed; /* Owned. */
};

/* Read it; @table is zeroed or was read before. STATUS_CORRUPT, and then it is as it was. */
MUST_USE enum status membership_table_read(struct membership_table *table, struct view *view);
void membership_table_copy(const struct membership_table *from, struct membership_table *to);
void membership_table_close(struct membership_table *table);

const struct membership_row *membership_find(const struct membership_table *table, uint64_t id);
const struct membership_row *membership_find_name(const struct membership_table *table,
                                                  const char *name);
const struct membership_removed *membership_find_removed(const struct membership_table *table,
                                                         uint64_t id);

/* A member of libraft's configuration, as this leader knows it. */
struct membership_member {
    uint64_t id;
    int role;     /* enum node_role */
    bool is_well; /* This node, or heard within a second, and its state is complete. */
    bool needs_state;
    bool was_heard;
    unsigned feature_level; /* As it said last; 0: it has not. */
    uint64_t silent_ms;     /* Since it was heard, or since this node leads. */
    uint64_t match_index;
};

struct membership_view {
    uint64_t self;   /* The leader. */
    bool may_change; /* seam_may_change(). */
    uint64_t own_index;
    uint64_t configuration_index;
    uint64_t commit_index;
    uint64_t last_index;
    unsigned target_voters;
    unsigned n_members;
    struct membership_member members[LIMIT_MEMBERS];
};

enum membership_action {
    MEMBERSHIP_NOTHING,
    MEMBERSHIP_ADD,
    MEMBERSHIP_ASSIGN,
    MEMBERSHIP_REMOVE,
    MEMBERSHIP_HAND_OVER, /* The leader itself is to go. */
};

struct membership_step {
    enum membership_action action;
    uint64_t id;
    int role; /* With MEMBERSHIP_ASSIGN. */
};

/* The next step that is safe, or MEMBERSHIP_NOTHING. A member that becomes a voter has caught up,
 * but may lack what is under way: the caller lets nothing new get under way until it has all. */
void membership_next(const struct membership_table *table, const struct membership_view *view,
                     struct membership_step *step);

/* Is there a voter that was silent for @limit_ms, and a standby that joined for a vote and could
 * have its seat at once? Never with fewer than three voters that are well: then a mistake could
 * cost the majority. */
bool membership_find_dead(const struct membership_table *table, const struct membership_view *view,
                          uint64_t limit_ms, uint64_t *dead, uint64_t *successor);

enum membership_verdict {
    MEMBERSHIP_DONE,      /* It is so. */
    MEMBERSHIP_UNDER_WAY, /* It is agreed upon; text says what it waits for, if anything. */
    MEMBERSHIP_MAY,       /* It may be proposed. */
    MEMBERSHIP_REFUSED,
};

struct membership_judgement {
    enum membership_verdict verdict;
    uint64_t id; /* Of the member; 0: none. */
    enum member_reason reason;
    char text[ERROR_MAX_TEXT];
};

/* Judge what an operator asks for. @id: of the member, if it is known already; else 0. */
void membership_judge(const struct membership_table *table, const struct membership_view *view,
                      const struct member_change *change, uint64_t id,
                      struct membership_judgement *judgement);

/* The level to which the cluster can rise: all members are well and know it; 0: to none. */
unsigned membership_next_level(const struct membership_table *table,
                               const struct membership_view *view);

/* NULL if it is none. */
const struct membership_member *membership_find_member(const struct membership_view *view,
                                                       uint64_t id);
/* Is @id wanted without a vote, or not at all? */
bool membership_loses_vote(const struct membership_table *table, uint64_t id);
/* Has it all but what is under way? */
bool membership_has_caught_up(const struct membership_view *view,
                              const struct membership_member *member);

/* May @id be made the leader by hand, or take over? */
bool membership_may_lead(const struct membership_table *table, uint64_t id);

#endif
