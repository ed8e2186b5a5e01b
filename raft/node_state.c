/* The whole state from another member, for a node that is behind the leader's log:
 *
 * 1. libraft is offered the leader's pointer to a state that is not here: node_want_state() finds
 *    who may have it, and the transfer's thread gets it, into a directory of its own.
 * 2. on_state(): it is there, durably. The process starts itself again.
 * 3. node_install_received() puts it in the place of the own state. The log stays as it is: what
 *    this node has promised is in there.
 * 4. The leader offers its pointer again; now the state reaches it, and libraft takes it.
 *
 * What can go wrong: the process ends at any point of that. Before 2 the transfer goes on where it
 * was; before the end of 3 either the one or the other state is there; before 4 nothing is lost. If
 * the leader has cut its log meanwhile, it all begins anew (members hold their logs for that time,
 * see agreement_watch.c). */
#include <inttypes.h>

#include "raft/node_private.h"
#include "raft/received.h"

/* --- At start --- */

enum status node_install_received(struct node *node, struct error *error)
{
    return received_install(identity_received_directory(node->directory),
                            identity_state_directory(node->directory), error);
}

/* --- Later --- */

static bool has_executed(void *data, uint64_t index)
{
    const struct node *node = data;
    struct applier_visible visible;

    applier_visible(node->applier, &visible);
    return visible.index >= index;
}

bool node_is_state_urgent(void *node)
{
    return atomic_load(&((struct node *)node)->is_state_urgent);
}

static void on_state(void *data, const struct image_facts *facts)
{
    struct error error;

    error_set(&error, STATUS_OK,
              "starting again with the state that was received, of index %" PRIu64,
              facts->state.applied_index);
    node_exit_with(data, NODE_EXIT_RELOAD, &error);
}

enum status node_open_transfer(struct node *node, struct error *error)
{
    const struct state_transfer_options options = {
        .spools = node->spools,
        .hello = &node->hello,
        .directory = identity_received_directory(node->directory),
        .allow_insecure = node->options.allow_insecure_peers,
        .bytes_per_second = node->options.transfer_rate,
        .data = node,
        .has_executed = has_executed,
        .is_urgent = node_is_state_urgent,
        .on_state = on_state,
    };

    node->hello = (struct frame_hello){0};
    node_describe(node, &node->hello);
    return state_transfer_open(&options, &node->transfer, error);
}

void node_want_state(struct node *node)
{
    uint64_t index = agreement_needed_index(node->agreement);
    struct state_donor donors[LIMIT_MEMBERS];
    uint64_t ids[LIMIT_MEMBERS];
    unsigned n_donors = 0;
    unsigned n_ids;

    if (index == 0) {
        return;
    }
    n_ids = agreement_donors(node->agreement, ids);
    for (unsigned i = 0; i < n_ids; i++) {
        donors[n_donors].id = ids[i];
        n_donors += members_address(node->members, ids[i], donors[n_donors].address) ? 1 : 0;
    }
    state_transfer_want(node->transfer, index, donors, n_donors);
}
