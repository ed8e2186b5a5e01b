/* Networks that lose and part. */
#include <stdio.h>

#include "tests/cluster/nemesis.h"

static bool block_both(struct chaos *chaos, unsigned a, unsigned b)
{
    return network_block(&chaos->network, a, b) && network_block(&chaos->network, b, a);
}

static unsigned neighbour(unsigned node, unsigned distance)
{
    return (node + distance) % CLUSTER_NODES;
}

bool chaos_part_victim(struct chaos *chaos)
{
    return block_both(chaos, chaos->victim, neighbour(chaos->victim, 1)) &&
           block_both(chaos, chaos->victim, neighbour(chaos->victim, 2));
}

static bool part_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) && chaos_part_victim(chaos);
}

static bool part_follower(struct chaos *chaos)
{
    return chaos_choose_follower(chaos) && chaos_part_victim(chaos);
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

/* Each rule has to have dropped something, unless chance decides. */
static bool heal_as(struct chaos *chaos, bool by_chance)
{
    struct network_drops drops;

    if (!network_count_drops(&chaos->network, &drops)) {
        return false;
    }
    chaos->effect += drops.packets;
    if (drops.idle_rules > 0 && !by_chance) {
        (void)fprintf(stderr, "%u rules dropped nothing\n", drops.idle_rules);
        return false;
    }
    return network_heal(&chaos->network);
}

bool chaos_heal_network(struct chaos *chaos)
{
    return heal_as(chaos, false);
}

static bool lose_no_more(struct chaos *chaos)
{
    return heal_as(chaos, true);
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

    chaos->effect = atomic_load(&relay->held);
    atomic_store(&relay->delay_ms, 5 + chaos_draw(chaos, 15));
    atomic_store(&relay->jitter_ms, 1 + chaos_draw(chaos, 15));
    return true;
}

static bool hasten(struct chaos *chaos)
{
    atomic_store(&chaos->network.relay.delay_ms, 0);
    atomic_store(&chaos->network.relay.jitter_ms, 0);
    chaos->effect = atomic_load(&chaos->network.relay.held) - chaos->effect;
    return true;
}

#define DROPS   .effect = "packets dropped", .hold_ms = 5000, .needs = NEEDS_NETWORK
#define NETWORK DROPS, .end = chaos_heal_network
#define LOSS    DROPS, .end = lose_no_more

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
     LOSS},
    {.name = "loss-large", .does = "11 to 50 % of all packets are lost", .begin = lose_many, LOSS},
    {.name = "delay",
     .does = "what the nodes send each other arrives 5 to 35 ms later",
     .effect = "pieces held back",
     .begin = delay,
     .end = hasten,
     .hold_ms = 5000,
     .needs = NEEDS_NETWORK | NEEDS_RELAY,
     .keeps_majority = true},
    {.name = NULL},
};
