/* Members that go and come, while leaders die and networks part. */
#include <stdio.h>

#include "tests/cluster/nemesis.h"
#include "tests/lib/deadline.h"
#include "tests/lib/member_changes.h"

#define PART_MS     1500 /* Long enough to count as not well. */
#define KILL_MIN_MS 20
#define KILL_MAX_MS 400

static bool replace_victim(struct chaos *chaos)
{
    member_remove(&chaos->cluster, chaos->victim);
    member_join_anew(&chaos->cluster, chaos->victim);
    chaos->effect++;
    return true;
}

static bool replace_follower(struct chaos *chaos)
{
    return chaos_choose_follower(chaos) && replace_victim(chaos);
}

static bool replace_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) && replace_victim(chaos);
}

/* Ask for it, and kill the leader at any point of it; whoever leads then goes on. */
static bool change_and_kill(struct chaos *chaos, const char *target, const char *body)
{
    struct cluster *cluster = &chaos->cluster;
    unsigned leader = cluster_find_leader(cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    struct http_client client;
    struct http_response response = {0};

    if (leader == CLUSTER_NOBODY) {
        return false;
    }
    client = cluster_client(&cluster->nodes[leader]);
    client.timeout_ms = KILL_MIN_MS + chaos_draw(chaos, KILL_MAX_MS);
    (void)http_call(&client, &response, "PATCH", target, NULL, body); /* Maybe not in time. */
    http_response_close(&response);
    http_client_close(&client);
    cluster_kill(cluster, leader);
    chaos->effect++;
    if (!cluster_start_node(cluster, leader)) {
        return false;
    }
    member_change_again(cluster, CLUSTER_NOBODY, "PATCH", target, body, true);
    return true;
}

static bool change_while_leaders_die(struct chaos *chaos)
{
    char target[64];

    if (!chaos_choose_follower(chaos)) {
        return false;
    }
    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s",
                   chaos->cluster.nodes[chaos->victim].name);
    if (!change_and_kill(chaos, target, "{\"role\":\"standby\"}")) {
        return false;
    }
    member_wait_role(&chaos->cluster, chaos->victim, "standby");
    if (!change_and_kill(chaos, target, "{\"role\":\"voter\"}")) {
        return false;
    }
    member_wait_role(&chaos->cluster, chaos->victim, "voter");
    return true;
}

/* One that is cut off, the leader maybe, is removed by those who are together. */
static bool part_and_remove(struct chaos *chaos)
{
    bool is_chosen =
        chaos_draw(chaos, 2) == 0 ? chaos_choose_leader(chaos) : chaos_choose_follower(chaos);

    if (!is_chosen || !chaos_part_victim(chaos)) {
        return false;
    }
    pause_ms(PART_MS);
    member_forget(&chaos->cluster, chaos->victim);
    return true;
}

/* It hears what became of it, and joins anew. */
static bool heal_and_join(struct chaos *chaos)
{
    if (!chaos_heal_network(chaos)) {
        return false;
    }
    member_expect_removed(&chaos->cluster, chaos->victim);
    member_join_anew(&chaos->cluster, chaos->victim);
    return true;
}

const struct nemesis member_nemeses[] = {
    {.name = "replace-follower",
     .does = "a follower is removed, wiped, and joins anew",
     .effect = "members replaced",
     .begin = replace_follower,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = "replace-leader",
     .does = "the leader is removed, wiped, and joins anew",
     .effect = "members replaced",
     .begin = replace_leader,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = "change-kill",
     .does = "a follower loses its vote and gets it back, and each time the leader is killed",
     .effect = "leaders killed",
     .begin = change_while_leaders_die,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = "change-part",
     .does = "a node that is cut off is removed, hears of it later, and joins anew",
     .effect = "packets dropped",
     .needs = NEEDS_NETWORK,
     .begin = part_and_remove,
     .end = heal_and_join,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = NULL},
};
