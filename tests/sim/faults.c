#include "tests/sim/faults.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/base/memory.h"
#include "tests/sim/cluster.h"
#include "tests/sim/sim.h"

#define SLOWEST_PACE_MS 1500u
#define HOUR_MS         3600000
#define FLOOD_REQUESTS  60u
#define FLOOD_BYTES     40000u
#define LONGER_MS       6000u

static const char *const names[FAULT_KINDS] = {
    [FAULT_CRASH] = "crash",
    [FAULT_CRASH_ALL] = "crash of all",
    [FAULT_CUT_ONE_WAY] = "cut of one direction",
    [FAULT_ISOLATE] = "isolation",
    [FAULT_SPLIT] = "split",
    [FAULT_BREAK] = "broken connection",
    [FAULT_SLOW_DISK] = "slow disk",
    [FAULT_FULL_DISK] = "full disk",
    [FAULT_FAILED_WRITE] = "failed write",
    [FAULT_PAUSE] = "pause",
    [FAULT_SLOW_EXECUTOR] = "slow executor",
    [FAULT_CLOCK] = "clock jump",
    [FAULT_LOSS] = "loss",
    [FAULT_DUE] = "something due",
    [FAULT_FLOOD] = "flood",
    [FAULT_CRASH_AT_CHANGE] = "crash of who changes the members",
    [FAULT_LOST_LOG] = "lost log",
};

/* --- The plan --- */

static uint64_t next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random >> 16;
}

static unsigned between(uint64_t *random, unsigned low, unsigned high)
{
    return low + (unsigned)(next(random) % (high - low + 1));
}

static enum fault_kind draw_kind(uint64_t *random)
{
    static const enum fault_kind often[] = {FAULT_CRASH, FAULT_PAUSE, FAULT_ISOLATE, FAULT_BREAK,
                                            FAULT_CUT_ONE_WAY};

    if (next(random) % 2 == 0) {
        return often[next(random) % (sizeof often / sizeof *often)];
    }
    return (enum fault_kind)(next(random) % FAULT_LOST_LOG);
}

static unsigned draw_strength(uint64_t *random, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_SLOW_DISK:
        return between(random, 0, 3) == 0 ? between(random, 1000, 3000) : between(random, 20, 400);
    case FAULT_SLOW_EXECUTOR: /* Slow, or it hardly moves. */
        return between(random, 0, 3) == 0 ? between(random, 500, 3000) : between(random, 5, 200);
    case FAULT_FLOOD: /* While the executor of one node hardly moves, or not. */
        return between(random, 0, 1) == 0 ? 0 : between(random, 500, 3000);
    case FAULT_LOSS:
        return between(random, 2, 40);
    case FAULT_CLOCK:           /* Back, or forth. */
    case FAULT_ISOLATE:         /* Of everything, or of raft's messages only. */
    case FAULT_CRASH_AT_CHANGE: /* Whether the others can hear of the change. */
        return between(random, 0, 1);
    default:
        return 0;
    }
}

void faults_draw(struct faults *faults, uint64_t seed, unsigned n_nodes, uint64_t run_ms)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15ull ^ 0x5bd1e995c0ffee11ull;
    uint64_t at_ms = 500;
    unsigned pace_ms;

    for (int i = 0; i < 16; i++) {
        (void)next(&random);
    }
    pace_ms = between(&random, 300, SLOWEST_PACE_MS);
    faults->n = 0;
    while (faults->n < FAULTS_MAX) {
        struct fault *fault = &faults->fault[faults->n];

        at_ms += between(&random, 20, 2 * pace_ms);
        if (at_ms >= run_ms) {
            break;
        }
        fault->kind = draw_kind(&random);
        fault->at_ms = at_ms;
        fault->until_ms = at_ms + between(&random, 0, 3) * 1000 + between(&random, 10, 1000);
        if (fault->kind == FAULT_CRASH_AT_CHANGE) { /* There has to be a change meanwhile. */
            fault->until_ms += LONGER_MS;
        }
        fault->until_ms = fault->until_ms < run_ms ? fault->until_ms : run_ms;
        fault->node = between(&random, 0, n_nodes - 1);
        fault->other = fault->kind == FAULT_SPLIT
                           ? between(&random, 1, (1u << n_nodes) - 2)
                           : (fault->node + between(&random, 1, n_nodes - 1)) % n_nodes;
        fault->strength = draw_strength(&random, fault->kind);
        fault->is_off = false;
        faults->n++;
    }
    if (faults->n > 0 && between(&random, 0, 19) == 0) {
        faults->fault[between(&random, 0, faults->n - 1)].kind = FAULT_LOST_LOG;
    }
}

void faults_describe(const struct fault *fault, char *text, unsigned size)
{
    (void)snprintf(text, size, "%s of node %u (%u, %u) for %" PRIu64 " ms", names[fault->kind],
                   fault->node, fault->other, fault->strength,
                   fault->until_ms - fault->at_ms); /* Longer text is cut. */
}

/* --- Happening --- */

struct happening {
    struct sim *sim;
    struct cluster *cluster;
    const struct fault *fault;
    unsigned number;
    unsigned n_nodes;
};

static void cut_split(const struct happening *h, bool cut)
{
    for (unsigned a = 0; a < h->n_nodes; a++) {
        for (unsigned b = 0; b < h->n_nodes; b++) {
            if (((h->fault->other >> a) & 1) != ((h->fault->other >> b) & 1)) {
                cluster_cut(h->cluster, a, b, cut);
            }
        }
    }
}

static void cut_node(const struct happening *h, bool cut)
{
    for (unsigned i = 0; i < h->n_nodes; i++) {
        if (i != h->fault->node) {
            cluster_cut(h->cluster, i, h->fault->node, cut);
            cluster_cut(h->cluster, h->fault->node, i, cut);
        }
    }
}

static void crash_all(const struct happening *h, bool restart)
{
    for (unsigned i = 0; i < h->n_nodes; i++) {
        if (restart) {
            cluster_restart(h->cluster, i);
        } else {
            cluster_crash(h->cluster, i);
        }
    }
}

static void begin(const struct happening *h)
{
    const struct fault *fault = h->fault;

    switch (fault->kind) {
    case FAULT_CRASH:
        cluster_crash(h->cluster, fault->node);
        break;
    case FAULT_CRASH_ALL:
        crash_all(h, false);
        break;
    case FAULT_CUT_ONE_WAY:
        cluster_cut(h->cluster, fault->node, fault->other, true);
        break;
    case FAULT_ISOLATE:
        if (fault->strength == 1) {
            cluster_mute(h->cluster, fault->node, true);
        } else {
            cut_node(h, true);
        }
        break;
    case FAULT_SPLIT:
        cut_split(h, true);
        break;
    case FAULT_BREAK:
        cluster_break_connection(h->cluster, fault->node, fault->other);
        break;
    case FAULT_SLOW_DISK:
        cluster_slow_disk(h->cluster, fault->node, fault->strength);
        break;
    case FAULT_FULL_DISK:
        cluster_set_free_disk(h->cluster, fault->node, 1000);
        break;
    case FAULT_FAILED_WRITE:
        cluster_fail_disk(h->cluster, fault->node);
        break;
    case FAULT_PAUSE:
        cluster_pause(h->cluster, fault->node, (unsigned)(fault->until_ms - fault->at_ms));
        break;
    case FAULT_SLOW_EXECUTOR:
        cluster_slow_executor(h->cluster, fault->node, fault->strength);
        break;
    case FAULT_CLOCK:
        /* One clock at a time is wrong: the median is a good one. */
        for (unsigned i = 0; i < h->n_nodes; i++) {
            cluster_jump_clock(h->cluster, i, 0);
        }
        cluster_jump_clock(h->cluster, fault->node, fault->strength == 0 ? -HOUR_MS : HOUR_MS);
        break;
    case FAULT_LOSS:
        cluster_set_loss(h->cluster, fault->strength);
        break;
    case FAULT_DUE:
        cluster_set_due(h->cluster);
        break;
    case FAULT_FLOOD:
        if (fault->strength > 0) {
            cluster_slow_executor(h->cluster, fault->node, fault->strength);
        }
        cluster_flood(h->cluster, FLOOD_REQUESTS, FLOOD_BYTES);
        break;
    case FAULT_CRASH_AT_CHANGE:
        cluster_crash_at_change(h->cluster, fault->strength == 1);
        break;
    case FAULT_LOST_LOG:
        if (!cluster_lose_log(h->cluster, fault->node)) {
            cluster_restart(h->cluster, fault->node);
        }
        break;
    case FAULT_KINDS:
        break;
    }
}

static void end(const struct happening *h)
{
    const struct fault *fault = h->fault;

    switch (fault->kind) {
    case FAULT_CRASH:
        cluster_restart(h->cluster, fault->node);
        break;
    case FAULT_CRASH_ALL:
        crash_all(h, true);
        break;
    case FAULT_CUT_ONE_WAY:
        cluster_cut(h->cluster, fault->node, fault->other, false);
        break;
    case FAULT_ISOLATE:
        cluster_mute(h->cluster, fault->node, false);
        cut_node(h, false);
        break;
    case FAULT_SPLIT:
        cut_split(h, false);
        break;
    case FAULT_SLOW_DISK:
        cluster_slow_disk(h->cluster, fault->node, 0);
        break;
    case FAULT_FULL_DISK:
        cluster_set_free_disk(h->cluster, fault->node, UINT64_MAX / 2);
        break;
    case FAULT_SLOW_EXECUTOR:
    case FAULT_FLOOD:
        cluster_slow_executor(h->cluster, fault->node, 0);
        break;
    case FAULT_LOSS:
        cluster_set_loss(h->cluster, 0);
        break;
    case FAULT_CRASH_AT_CHANGE:
        cluster_end_crash_at_change(h->cluster);
        break;
    default: /* What is over by itself. */
        break;
    }
}

static void on_begin(void *data)
{
    const struct happening *h = data;
    char text[128];

    if (!sim_is_closing(h->sim)) {
        faults_describe(h->fault, text, sizeof text);
        sim_trace(h->sim, "fault %u: %s", h->number, text);
        sim_note(h->sim, "fault", h->number, 0);
        begin(h);
    }
}

static void on_end(void *data)
{
    const struct happening *h = data;

    if (!sim_is_closing(h->sim)) {
        sim_note(h->sim, "fault", h->number, 1);
        end(h);
    }
}

void faults_schedule(struct faults *faults, struct sim *sim, struct cluster *cluster)
{
    uint64_t now_ms = sim_now_ms(sim);

    for (unsigned i = 0; i < faults->n; i++) {
        const struct fault *fault = &faults->fault[i];

        for (unsigned j = 0; j < 2 && !fault->is_off; j++) {
            struct happening *happening = memory_new(sizeof *happening);

            *happening = (struct happening){sim, cluster, fault, i, cluster_size(cluster)};
            sim_at(sim, now_ms + (j == 0 ? fault->at_ms : fault->until_ms), NULL,
                   j == 0 ? on_begin : on_end, happening);
        }
    }
}
