/* Disks that lose power, stall, fail and fill up. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/cluster/nemesis.h"
#include "tests/lib/deadline.h"

#define SHORTEST_STALL_MS 1000
#define LONGEST_STALL_MS  10000
#define ALARM_MS          15000

/* --- What the disks say that they did --- */

static uint64_t sum(const struct chaos *chaos, size_t offset)
{
    uint64_t whole = 0;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        const char *counts = (const char *)chaos->disks[i].counts;

        whole += atomic_load((const atomic_ullong *)(const void *)(counts + offset));
    }
    return whole;
}

#define SUM(chaos, count) sum(chaos, offsetof(struct disk_counts, count))

/* --- Power --- */

/* The machine goes off, process and disk at once, as far as two signals can: when its log or its
 * state is about to be synced, so that something is lost. */
static void cut_first(struct chaos *chaos, unsigned node, bool torn)
{
    const char *what = chaos_draw(chaos, 2) == 0 ? "raft" : "state";

    chaos->effect = SUM(chaos, lost_bytes);
    if (!faulty_disk_cut_at_sync(&chaos->disks[node], what, torn)) {
        (void)fprintf(stderr, "n%u did not sync its %s\n", node + 1, what);
    }
}

static void count_lost(struct chaos *chaos)
{
    chaos->effect = SUM(chaos, lost_bytes) - chaos->effect;
}

static bool cut_one(struct chaos *chaos)
{
    bool torn = chaos_draw(chaos, 2) == 0;

    if (!(chaos_draw(chaos, 2) == 0 ? chaos_choose_leader(chaos) : chaos_choose_follower(chaos))) {
        return false;
    }
    cut_first(chaos, chaos->victim, torn);
    chaos_kill(chaos, chaos->victim);
    faulty_disk_cut(&chaos->disks[chaos->victim], torn);
    count_lost(chaos);
    return true;
}

/* One of them at its worst moment, and the others wherever they are then. */
static bool cut_all(struct chaos *chaos, bool torn)
{
    unsigned i;

    cut_first(chaos, chaos_draw(chaos, CLUSTER_NODES), torn);
    for (i = 0; i < CLUSTER_NODES; i++) {
        /* All disks first: nothing more reaches them. */
        (void)process_signal(&chaos->disks[i].process, torn ? SIGUSR1 : SIGKILL);
    }
    chaos_kill_all(chaos);
    for (i = 0; i < CLUSTER_NODES; i++) {
        faulty_disk_cut(&chaos->disks[i], torn);
    }
    count_lost(chaos);
    return true;
}

static bool cut_all_clean(struct chaos *chaos)
{
    return cut_all(chaos, false);
}

static bool cut_all_torn(struct chaos *chaos)
{
    uint64_t before = SUM(chaos, torn_sectors);

    return cut_all(chaos, true) && SUM(chaos, torn_sectors) > before;
}

static bool restore(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!process_is_alive(&chaos->disks[i].process) &&
            !faulty_disk_restore(&chaos->disks[i], random_next(&chaos->random))) {
            return false;
        }
    }
    return true;
}

/* All at once, and again before they had time to do more than start. */
static bool cut_all_twice(struct chaos *chaos)
{
    uint64_t lost;
    unsigned i;

    if (!cut_all_clean(chaos) || !restore(chaos)) {
        return false;
    }
    lost = chaos->effect;
    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!cluster_start_node(&chaos->cluster, i)) {
            return false;
        }
    }
    pause_ms(chaos_draw(chaos, 1500)); /* What they are at then is what is drawn. */
    chaos->effect = SUM(chaos, lost_bytes);
    chaos_kill_all(chaos);
    for (i = 0; i < CLUSTER_NODES; i++) {
        faulty_disk_cut(&chaos->disks[i], true);
    }
    count_lost(chaos);
    chaos->effect = lost > 0 ? chaos->effect + lost : 0; /* The first has to have lost something. */
    return true;
}

/* --- Disks that do not work --- */

static bool stall_leader(struct chaos *chaos)
{
    chaos->effect = SUM(chaos, stalled_ms);
    return chaos_choose_leader(chaos) &&
           faulty_disk_set(&chaos->disks[chaos->victim], "stall", true);
}

/* Lasts a part of the time that is drawn beyond the hold. */
static bool end_stall(struct chaos *chaos)
{
    pause_ms(chaos_draw(chaos, LONGEST_STALL_MS - SHORTEST_STALL_MS));
    chaos->effect = SUM(chaos, stalled_ms) - chaos->effect;
    return faulty_disk_set(&chaos->disks[chaos->victim], "stall", false);
}

static bool fail_disk(struct chaos *chaos)
{
    bool chosen =
        chaos_draw(chaos, 2) == 0 ? chaos_choose_leader(chaos) : chaos_choose_follower(chaos);

    chaos->effect = SUM(chaos, failed);
    return chosen && faulty_disk_set(&chaos->disks[chaos->victim], "eio", true);
}

static bool end_failing(struct chaos *chaos)
{
    chaos->effect = SUM(chaos, failed) - chaos->effect;
    return faulty_disk_set(&chaos->disks[chaos->victim], "eio", false);
}

static bool set_all(struct chaos *chaos, const char *fault, bool active)
{
    bool set = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        set = faulty_disk_set(&chaos->disks[i], fault, active) && set;
    }
    return set;
}

static void count_refused(struct chaos *chaos)
{
    chaos->effect = SUM(chaos, refused) + SUM(chaos, told_short) - chaos->effect;
}

static bool fill_disks(struct chaos *chaos)
{
    count_refused(chaos);
    return set_all(chaos, "full", true);
}

static bool empty_disks(struct chaos *chaos)
{
    count_refused(chaos);
    return set_all(chaos, "full", false);
}

static bool fill_follower(struct chaos *chaos)
{
    count_refused(chaos);
    return chaos_choose_follower(chaos) &&
           faulty_disk_set(&chaos->disks[chaos->victim], "full", true);
}

struct refusal {
    struct http_client client;
    unsigned status;
};

static bool is_refused_with(void *data)
{
    struct refusal *refusal = data;
    struct http_response response = {0};
    bool refused = http_call(&refusal->client, &response, "PUT",
                             "/v1/namespaces/default/items/probe", NULL, "1") == HTTP_ANSWERED &&
                   response.status == refusal->status;

    http_response_close(&response);
    return refused;
}

/* One node that is short of space is enough for all to refuse what adds. */
static bool fill_one_nearly(struct chaos *chaos)
{
    struct refusal refusal = {.status = 507};
    bool refused;

    count_refused(chaos);
    if (!chaos_choose_follower(chaos) ||
        !faulty_disk_set(&chaos->disks[chaos->victim], "low", true)) {
        return false;
    }
    refusal.client = cluster_client(&chaos->cluster.nodes[chaos_draw(chaos, CLUSTER_NODES)]);
    refused = wait_until(is_refused_with, &refusal, ALARM_MS);
    http_client_close(&refusal.client);
    return refused;
}

static bool empty_nearly(struct chaos *chaos)
{
    count_refused(chaos);
    return set_all(chaos, "low", false);
}

const struct nemesis disk_nemeses[] = {
    {.name = "power-one",
     .effect = "unsynced bytes lost",
     .does = "one machine loses power, some unsynced sectors may survive",
     .begin = cut_one,
     .end = restore,
     .hold_ms = 2000,
     .needs = NEEDS_DISKS,
     .keeps_majority = true},
    {.name = "power-all",
     .effect = "unsynced bytes lost",
     .does = "all machines lose power and all that was not synced",
     .begin = cut_all_clean,
     .end = restore,
     .hold_ms = 200,
     .needs = NEEDS_DISKS},
    {.name = "power-all-torn",
     .effect = "unsynced bytes lost",
     .does = "all machines lose power and some unsynced sectors",
     .begin = cut_all_torn,
     .end = restore,
     .hold_ms = 200,
     .needs = NEEDS_DISKS},
    {.name = "power-all-twice",
     .effect = "unsynced bytes lost",
     .does = "all machines lose power, and again while they start",
     .begin = cut_all_twice,
     .end = restore,
     .hold_ms = 200,
     .needs = NEEDS_DISKS},
    {.name = "disk-stall",
     .effect = "ms waited",
     .does = "the leader's disk takes nothing for 1 to 10 s",
     .begin = stall_leader,
     .end = end_stall,
     .hold_ms = SHORTEST_STALL_MS,
     .needs = NEEDS_DISKS},
    {.name = "disk-error",
     .effect = "operations failed",
     .does = "one node's writes and syncs fail with EIO",
     .begin = fail_disk,
     .end = end_failing,
     .hold_ms = 3000,
     .needs = NEEDS_DISKS,
     .keeps_majority = true,
     .may_end_nodes = true},
    {.name = "disk-low",
     .effect = "times told",
     .does = "a follower's disk falls below the floor: 507 everywhere, until it rises again",
     .begin = fill_one_nearly,
     .end = empty_nearly,
     .hold_ms = 2000,
     .needs = NEEDS_DISKS,
     .fills_disks = true},
    {.name = "disk-full-one",
     .effect = "times refused or told",
     .does = "a follower's disk is full at once",
     .begin = fill_follower,
     .end = empty_disks,
     .hold_ms = 4000,
     .needs = NEEDS_DISKS,
     .may_end_nodes = true,
     .fills_disks = true},
    {.name = "disk-full-all",
     .effect = "times refused or told",
     .does = "all disks are full at once",
     .begin = fill_disks,
     .end = empty_disks,
     .hold_ms = 4000,
     .needs = NEEDS_DISKS,
     .may_end_nodes = true,
     .fills_disks = true},
    {.name = NULL},
};
