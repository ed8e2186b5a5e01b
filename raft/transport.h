/* libraft's connections: a struct raft_uv_transport over the peers' listener and handshake.
 *
 * libraft knows a member by its id (16 hex digits); where it is now is looked up by id. A stream is
 * libraft's after the handshake; only the side that made it sends. The loop's thread alone. */
#ifndef HOLDFAST_RAFT_TRANSPORT_H
#define HOLDFAST_RAFT_TRANSPORT_H

#include <stdint.h>

#include <raft.h>
#include <raft/uv.h>

#include "raft/peer.h"

struct transport;

/* @peers outlives the transport; so does @lookup, which is as in struct peers_options. */
struct transport *transport_open(uv_loop_t *loop, struct peers *peers, void *data,
                                 bool (*lookup)(void *data, uint64_t id,
                                                char address[LIMIT_ADDRESS_BYTES + 1]));

/* For raft_uv_init(); borrowed. */
struct raft_uv_transport *transport_raft(struct transport *transport);

/* Member @id made a connection; takes @fd. Ends it if libraft does not listen. */
void transport_accept(struct transport *transport, uint64_t id, int fd);

/* Stop connecting, without a word to libraft, which does not run any more. */
void transport_abandon(struct transport *transport);

/* Release, after libraft closed it or it was abandoned. Accepts NULL. */
void transport_close(struct transport *transport);

#endif
