/* Networks that lose and part. */
#include "tests/cluster/nemesis.h"

static bool block_both(struct chaos *chaos, unsigned a, unsigned b)
{
    return network_block(&chaos->network, a, b) && network_block(&chaos->network, b, a);
}

static unsigned neighbour(unsigned node, unsigned distance)
{
    return (node + distance) % CLUSTER_NODES;
}

static bool part_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) &&
           block_both(chaos, chaos->victim, neighbour(chaos->victim, 1)) &&
           block_both(chaos, chaos->victim, neighbour(chaos->victim, 2));
}

static bool part_follower(struct chaos *chaos)
{
    return chaos_choose_follower(chaos) &&
           block_both(chaos, chaos->victim, neighbour(chaos->victim, 1)) &&
           block_both(chaos, chaos->victim, neighbour(chaos->victim, 2));
}

static bool part_all(struct chaos *chaos)
{
    return block_both(chaos, 0, 1) && block_both(chaos, 1, 2) && block_both(chaos, 0, 2);
}

static bool deafen_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) &&
           network_block(&chaos->network, neighbour(chaos->victim, 1), chaos->victim) &&
           network_block(&chaos->network, neighbour(chaos->victim, 2), chaos->victim);
}

static bool mute_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) &&
           network_block(&chaos->network, chaos->victim, neighbour(chaos->victim, 1)) &&
           network_block(&chaos->network, chaos->victim, neighbour(chaos->victim, 2));
}

/* Each hears one other only, in a circle. */
static bool make_ring(struct chaos *chaos)
{
    unsigned distance = 1 + chaos_draw(chaos, 2);
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!network_block(&chaos->network, i, neighbour(i, distance))) {
            return false;
        }
    }
    return true;
}

/* A follower is the only one that hears both others, of which one leads. */
static bool make_bridge(struct chaos *chaos)
{
    return chaos_choose_follower(chaos) &&
           block_both(chaos, neighbour(chaos->victim, 1), neighbour(chaos->victim, 2));
}

static bool lose_some(struct chaos *chaos)
{
    return network_lose(&chaos->network, 1 + chaos_draw(chaos, 10));
}

static bool lose_many(struct chaos *chaos)
{
    return network_lose(&chaos->network, 11 + chaos_draw(chaos, 40));
}

/* A linearizable read on a follower takes two round trips, within an election timeout (150 ms): on
 * slower networks that has to be set higher. */
static bool delay(struct chaos *chaos)
{
    struct relay *relay = &chaos->network.relay;

    atomic_store(&relay->delay_ms, 5 + chaos_draw(chaos, 15));
    atomic_store(&relay->jitter_ms, 1 + chaos_draw(chaos, 15));
    return true;
}

static bool hasten(struct chaos *chaos)
{
    atomic_store(&chaos->network.relay.delay_ms, 0);
    atomic_store(&chaos->network.relay.jitter_ms, 0);
    return true;
}

static bool heal(struct chaos *chaos)
{
    return network_heal(&chaos->network);
}

#define NETWORK .end = heal, .hold_ms = 5000, .needs = NEEDS_NETWORK

const struct nemesis network_nemeses[] = {
    {.name = "part-leader",
     .does = "the leader is cut off from both others",
     .begin = part_leader,
     .keeps_majority = true,
     NETWORK},
    {.name = "part-follower",
     .does = "a follower is cut off from both others",
     .begin = part_follower,
     .keeps_majority = true,
     NETWORK},
    {.name = "part-all", .does = "nobody reaches anybody", .begin = part_all, NETWORK},
    {.name = "deaf-leader",
     .does = "nothing reaches the leader, what it sends arrives",
     .begin = deafen_leader,
     .keeps_majority = true,
     NETWORK},
    {.name = "mute-leader",
     .does = "nothing that the leader sends arrives, it hears all",
     .begin = mute_leader,
     .keeps_majority = true,
     NETWORK},
    {.name = "ring",
     .does = "each node hears one other only, in a circle",
     .begin = make_ring,
     NETWORK},
    {.name = "bridge",
     .does = "the leader and a follower are joined by the third node only",
     .begin = make_bridge,
     .keeps_majority = true,
     NETWORK},
    {.name = "loss-small",
     .does = "1 to 10 % of all packets are lost",
     .begin = lose_some,
     .keeps_majority = true,
     NETWORK},
    {.name = "loss-large",
     .does = "11 to 50 % of all packets are lost",
     .begin = lose_many,
     NETWORK},
    {.name = "delay",
     .does = "what the nodes send each other arrives 5 to 35 ms later",
     .begin = delay,
     .end = hasten,
     .hold_ms = 5000,
     .needs = NEEDS_NETWORK | NEEDS_RELAY,
     .keeps_majority = true},
    {.name = NULL},
};
