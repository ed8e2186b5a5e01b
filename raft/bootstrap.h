/* How nodes that start with empty directories become one cluster, and never two.
 *
 * A pure state machine: events in, frames out; no sockets, clocks or threads, so that a test can
 * lose any message and stop any node at each step.
 *
 * The node that is named first in --initial-cluster coordinates:
 *
 *   EMPTY ----------> PENDING ----------> MEMBER
 *     all named peers   all named peers
 *     say: empty        say: prepared
 *
 * 1. Every node asks every other who it is (the handshake), again and again.
 * 2. When all have said that they are empty, the coordinator draws the cluster's UUID and the
 *    members' ids, stores them as pending, and sends PREPARE to all.
 * 3. A node that is empty and agrees with the list stores it as pending and answers PREPARED.
 * 4. When all have answered, the coordinator stores itself as member: from here on the cluster
 *    exists. It sends COMMIT; they store themselves as members and answer COMMITTED.
 *
 * What can go wrong:
 * - A message is lost, a node stops: whoever comes back asks again. The coordinator repeats what it
 *   stored; a pending node that meets a member of its own cluster knows that step 4 happened.
 * - An empty node meets a member, or a node that prepares for a cluster it knows nothing of: its
 *   data was lost, or it was never asked. It gives up and says what to do, as a cluster of empty
 *   nodes could otherwise stand beside a living one.
 * - Lists that differ, or name another coordinator, never find all nodes prepared. */
#ifndef HOLDFAST_RAFT_BOOTSTRAP_H
#define HOLDFAST_RAFT_BOOTSTRAP_H

#include "raft/identity.h"

struct bootstrap;

struct bootstrap_options {
    const char *name;
    const char *peer_address; /* As the others reach this node. */
    const char *api_address;
    const char *initial_cluster; /* "n1=HOST:PORT,n2=HOST:PORT,..." */
    void *data;
    /* Make @identity durable; it holds when this returns STATUS_OK. */
    enum status (*store)(void *data, const struct identity *identity, struct error *error);
    /* Send @frame to peer @peer, on the connection of which bootstrap_met() told. */
    void (*send)(void *data, unsigned peer, const struct frame *frame);
};

/* STATUS_INVALID: the list is malformed, or does not name this node with its own address.
 * STATUS_MISMATCH: @identity is pending for other members than the list names. */
MUST_USE enum status bootstrap_open(const struct bootstrap_options *options,
                                    const struct identity *identity, struct bootstrap **bootstrap,
                                    struct error *error);
void bootstrap_close(struct bootstrap *bootstrap); /* Accepts NULL. */

/* The other nodes of the list, counted from 0: whom to connect to. The address is borrowed. */
unsigned bootstrap_peers(const struct bootstrap *bootstrap);
const char *bootstrap_peer_address(const struct bootstrap *bootstrap, unsigned peer);

/* A connection that this node made to @peer was welcomed with @welcome.
 *
 * Of this and the next functions: STATUS_INVALID: someone else answers there, or the lists differ;
 * end the connection and try again later, as an operator may mend that. Anything else but STATUS_OK
 * is final: this node cannot form a cluster, and @error says what to do. */
MUST_USE enum status bootstrap_met(struct bootstrap *bootstrap, unsigned peer,
                                   const struct frame_hello *welcome, struct error *error);
/* The connection to @peer is gone. */
void bootstrap_lost(struct bootstrap *bootstrap, unsigned peer);
/* An answer came on it: PREPARED, COMMITTED or REFUSED. */
MUST_USE enum status bootstrap_answered(struct bootstrap *bootstrap, unsigned peer,
                                        const struct frame *frame, struct error *error);

/* Someone else connected to this node and said @hello. */
MUST_USE enum status bootstrap_heard(struct bootstrap *bootstrap, const struct frame_hello *hello,
                                     struct error *error);
/* A request came on such a connection: PREPARE or COMMIT. @reply is filled in and borrows from
 * @bootstrap and @request; @text, which it may borrow from too, is the caller's. */
MUST_USE enum status bootstrap_asked(struct bootstrap *bootstrap, const struct frame_hello *hello,
                                     const struct frame *request, struct frame *reply,
                                     struct error *text, struct error *error);

/* Is this the node that is named first? */
bool bootstrap_coordinates(const struct bootstrap *bootstrap);

/* What this node is now. IDENTITY_MEMBER: the cluster exists, and this is one of it. */
const struct identity *bootstrap_identity(const struct bootstrap *bootstrap);
/* True if this node is a member and all others are known to be: nobody needs its COMMIT any more.
 */
bool bootstrap_is_settled(const struct bootstrap *bootstrap);

/* For the log: who is waited for, "" if for nobody. */
void bootstrap_describe(const struct bootstrap *bootstrap, struct buffer *text);

/* Does the list name what @identity was formed from? STATUS_MISMATCH: another cluster. */
MUST_USE enum status bootstrap_check_list(const char *initial_cluster,
                                          const struct identity *identity, struct error *error);

#endif
