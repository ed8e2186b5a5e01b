/* A node joins a cluster that lives: both sides of the talk, on a connection that the leader makes
 * to the new node, so that it is known to be reachable before anything changes.
 *
 *   leader                           new node
 *   HELLO (PURPOSE_JOIN)      ->
 *                             <-     WELCOME: empty, or what it was offered before
 *   JOIN_OFFER: cluster, id   ->     stores it, durably
 *                             <-     JOIN_ANSWER
 *   proposes the new member
 *
 * A connection that breaks anywhere changes nothing that the next try does not find: the node
 * remembers what it was offered, and is offered the same again. The loop's thread alone. */
#ifndef HOLDFAST_RAFT_JOINING_H
#define HOLDFAST_RAFT_JOINING_H

#include "raft/identity.h"
#include "raft/peer.h"

/* The leader gives up then. */
#define JOINING_DIAL_MS 3000u
/* Clocks that differ by more are refused. Expiry goes by the voters' median clock. */
#define JOINING_CLOCK_MS 30000u

/* --- The new node --- */

/* Judge an offer. @own: what the data directory says now; @joins: the operator wants it. What is
 * accepted is in @next, to be stored before it is answered; NONE then, else why not, in @text. */
enum member_reason joining_judge(const struct identity *own, bool joins,
                                 const struct frame_join_offer *offer, uint64_t wall_ms,
                                 struct identity *next, struct error *text);

/* --- The leader --- */

struct invitation;

struct invitation_options {
    uv_loop_t *loop;
    struct peers *peers;
    const char *peer_address; /* Copied. */
    void *data;
    /* The node said who it is: true if it is to be offered @offer, which is sent at once. */
    bool (*on_met)(void *data, const struct frame_hello *hello, struct frame *offer);
    /* Last, once, unless on_met() gave false: how it ended. The invitation is gone. */
    void (*on_joined)(void *data, enum member_reason why, const char *text);
    void (*on_ended)(void *data); /* on_met() gave false. The invitation is gone. */
};

/* Never fails: what goes wrong is told by on_joined(), from the loop. */
struct invitation *invitation_open(const struct invitation_options *options);
/* No callback runs any more. Accepts NULL. */
void invitation_close(struct invitation *invitation);

#endif
