/* The leader's side of group commit: bundles of all nodes in the order in which they came, and the
 * log entries that they become.
 *
 * Within one term, a bundle (by origin, boot and sequence) is accepted at most once, whatever
 * connections break and whatever is sent again: that is what makes sending again safe. What was
 * refused once stays refused. All of it is forgotten when another term is led, as an entry of an
 * earlier term that was not proposed then never will be. The consensus thread. */
#ifndef HOLDFAST_RAFT_PROPOSER_H
#define HOLDFAST_RAFT_PROPOSER_H

#include "daemon/base/queue.h"
#include "raft/frame.h"

/* Refused bundles of one origin that are remembered; it has fewer in flight. */
#define PROPOSER_REFUSED 64
/* Boots of members that are remembered in one term. */
#define PROPOSER_ORIGINS (4 * LIMIT_MEMBERS)

struct proposer_origin {
    uint64_t id; /* 0: unused. */
    uint64_t boot;
    uint64_t last_sequence; /* Accepted or refused. */
    uint64_t used;          /* When it was last used, as a count. */
    uint64_t refused[PROPOSER_REFUSED];
    unsigned n_refused;
};

struct proposer {
    uint64_t max_bytes; /* Of the bundles that wait; LIMIT_PENDING_BYTES. */
    /* For reading. */
    uint64_t term; /* That is led; 0: none. */
    size_t bytes;  /* Of the bundles that wait. */
    unsigned n_in_flight;
    bool has_begun; /* Something was proposed in this term. */
    uint64_t n_entries;
    uint64_t n_commands;
    uint64_t n_bytes;
    /* Private. */
    struct queue waiting;
    uint64_t in_flight[LIMIT_ENTRIES_IN_FLIGHT]; /* Indexes, rising. */
    unsigned n_taken;                            /* Bundles of the entry being made ... */
    uint64_t n_taken_commands;                   /* ... and their commands. */
    size_t entry_bytes;
    uint64_t proposed_ms;         /* When the last entry was proposed, ... */
    uint64_t n_proposed_commands; /* ... and its commands. */
    uint64_t clock;
    struct proposer_origin origins[PROPOSER_ORIGINS];
};

void proposer_init(struct proposer *proposer);

/* This node leads @term from now on; 0: it does not lead. Forgets everything of another term. */
void proposer_lead(struct proposer *proposer, uint64_t term);

/* A bundle for this term from member @peer. True if it was accepted (@bundle is copied) now or
 * before; else *@refusal says why not. */
MUST_USE bool proposer_accept(struct proposer *proposer, uint64_t peer, struct slice bundle,
                              enum refusal *refusal);

/* Is there room for another entry? */
bool proposer_has_room(const struct proposer *proposer);

/* Group commit: an entry costs every node a flush and several wake-ups, whatever is in it. So among
 * many clients (the last entry was PROPOSER_CROWD commands or more) there is one entry at a time,
 * and one for each millisecond of the clock, unless half an entry waits: who comes meanwhile, those
 * who just got their answers among them, shares the next one. A few clients never wait. True:
 * propose nothing before what is in flight is committed and the clock has moved on. (As
 * commit_delay and commit_siblings of PostgreSQL.) */
#define PROPOSER_CROWD 8u
bool proposer_gathers(const struct proposer *proposer, uint64_t now_ms);

/* Make the next entry of the term from what waits (maybe nothing), into an empty @entry. It stays
 * waiting until proposer_proposed(). */
void proposer_make(struct proposer *proposer, unsigned feature_level, uint16_t flags,
                   uint64_t time_ms, struct buffer *entry);
void proposer_proposed(struct proposer *proposer, uint64_t index, uint64_t now_ms);

/* Everything up to @index is committed: it is not in flight any more. */
void proposer_committed(struct proposer *proposer, uint64_t index);

void proposer_close(struct proposer *proposer);

#endif
