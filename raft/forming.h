/* Forming the cluster, on a loop: connects bootstrap.[ch] with the other named nodes. The loop's
 * thread alone. */
#ifndef HOLDFAST_RAFT_FORMING_H
#define HOLDFAST_RAFT_FORMING_H

#include "raft/bootstrap.h"
#include "raft/peer.h"

struct forming;

struct forming_options {
    uv_loop_t *loop;
    struct peers *peers;
    struct identity_directory *directory;
    const char *name;
    const char *peer_address;
    const char *api_address;
    const char *initial_cluster;
    bool allow_insecure;
    void *data;
    /* From the loop, once: this node is a member. The callee closes the forming. */
    void (*on_formed)(void *data);
    /* From the loop, once: it can never be one like this. The callee closes the forming. */
    void (*on_failed)(void *data, const struct error *error);
};

/* As bootstrap_open(); STATUS_PERMISSION: the list leaves this machine, and that is not allowed. */
MUST_USE enum status forming_open(const struct forming_options *options,
                                  const struct identity *identity, struct forming **forming,
                                  struct error *error);

/* What this node is now; borrowed. */
const struct identity *forming_identity(const struct forming *forming);

/* For the callbacks of struct peers_options. */
bool forming_heard(struct forming *forming, const struct frame_hello *hello);
bool forming_asked(struct forming *forming, const struct frame_hello *hello,
                   const struct frame *request, struct channel *channel);

/* The memory is released from the loop. Accepts NULL. */
void forming_close(struct forming *forming);

#endif
