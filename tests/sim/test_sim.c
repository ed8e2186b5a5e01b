/* Clusters under random faults, and single faults on purpose.
 *
 *   test_sim             all tests
 *   test_sim --seed N    one random run, traced
 *   test_sim --seeds A B random runs from A up to (not including) B */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "storage/entry.h"
#include "tests/sim/cluster.h"

#define FIRST_SEED 1u
#define SEEDS      50u
#define RUN_MS     20000u
#define HEALED_MS  8000u
/* A node that waits for state restarts after 5 s without a leader, and may be needed as a voter. */
#define HEALED_LEADER_MS 9000u
#define MANY_BYTES       (64u << 20)
#define SETTLE_MS        2000u
#define FAILOVER_MS      1500u

/* --- Random runs --- */

static void random_fault(struct sim *sim, struct cluster *cluster, unsigned n_nodes)
{
    unsigned a = sim_between(sim, 0, n_nodes - 1);
    unsigned b = (a + sim_between(sim, 1, n_nodes - 1)) % n_nodes;

    switch (sim_between(sim, 0, 9)) {
    case 0:
    case 1:
    case 2:
        cluster_crash(cluster, a);
        break;
    case 3:
        cluster_cut(cluster, a, b, true);
        break;
    case 4:
        cluster_isolate(cluster, a);
        break;
    case 5:
        cluster_break_connection(cluster, a, b);
        break;
    case 6:
        cluster_slow_disk(cluster, a, sim_once_in(sim, 2) ? 0 : sim_between(sim, 20, 400));
        break;
    case 7:
        for (unsigned i = 0; i < n_nodes; i++) {
            cluster_crash(cluster, i);
        }
        break;
    default:
        cluster_heal(cluster);
    }
    for (unsigned i = 0; i < n_nodes; i++) {
        if (sim_once_in(sim, 2)) {
            cluster_restart(cluster, i);
        }
    }
}

/* Everything is well again, but for one node that may stay dead. */
static void heal(struct sim *sim, struct cluster *cluster, unsigned n_nodes)
{
    int dead = sim_once_in(sim, 3) ? (int)sim_between(sim, 0, n_nodes - 1) : -1;

    cluster_heal(cluster);
    for (unsigned i = 0; i < n_nodes; i++) {
        if ((int)i == dead) {
            cluster_crash(cluster, i);
        } else {
            cluster_restart(cluster, i);
            cluster_slow_disk(cluster, i, 0);
        }
    }
}

/* Enough nodes live and have their state: nobody is given a state that it lacks. */
static bool has_quorum(const struct cluster *cluster, unsigned n_nodes)
{
    unsigned n = 0;

    for (unsigned i = 0; i < n_nodes; i++) {
        n += cluster_is_alive(cluster, i) && !cluster_needs_state(cluster, i) ? 1 : 0;
    }
    return n > n_nodes / 2;
}

static void wait_for_leader(struct sim *sim, struct cluster *cluster)
{
    uint64_t limit_ms = sim_now_ms(sim) + HEALED_LEADER_MS;

    while (cluster_leader(cluster) < 0 && sim_now_ms(sim) < limit_ms && !sim_has_failed(sim)) {
        cluster_run(cluster, 10);
    }
    SIM_EXPECT(sim, cluster_leader(cluster) >= 0, "%s", "nobody leads after all is healed");
}

static void run_random(struct sim *sim, struct cluster *cluster, unsigned n_nodes)
{
    struct cluster_counts before;
    struct cluster_counts after;
    uint64_t end_ms = sim_now_ms(sim) + RUN_MS;

    while (sim_now_ms(sim) < end_ms && !sim_has_failed(sim)) {
        cluster_run(cluster, sim_between(sim, 50, 1500));
        random_fault(sim, cluster, n_nodes);
        if (sim_once_in(sim, 5)) {
            cluster_set_due(cluster);
        }
    }
    heal(sim, cluster, n_nodes);
    wait_for_leader(sim, cluster);
    cluster_run(cluster, HEALED_MS / 2);
    cluster_counts(cluster, &before);
    cluster_run(cluster, HEALED_MS / 2);
    cluster_counts(cluster, &after);
    if (has_quorum(cluster, n_nodes)) {
        SIM_EXPECT(sim, after.acknowledged > before.acknowledged, "%s", "nothing goes on");
        SIM_EXPECT(sim, after.reads > before.reads, "%s", "no read goes on");
    }
    cluster_quiet(cluster, true);
    cluster_run(cluster, SETTLE_MS);
    if (has_quorum(cluster, n_nodes)) {
        cluster_check_converged(cluster);
    }
}

struct totals {
    unsigned seeds;
    unsigned failed;
    struct cluster_counts counts;
};

static void add_counts(struct totals *totals, const struct cluster_counts *counts)
{
    totals->counts.acknowledged += counts->acknowledged;
    totals->counts.refused += counts->refused;
    totals->counts.uncertain += counts->uncertain;
    totals->counts.reads += counts->reads;
    totals->counts.failed_reads += counts->failed_reads;
    totals->counts.elections += counts->elections;
    totals->counts.resubmitted += counts->resubmitted;
    totals->counts.snapshots += counts->snapshots;
    totals->counts.maintained += counts->maintained;
    totals->counts.crashes += counts->crashes;
}

static void run_seed(uint64_t seed, bool trace, struct totals *totals)
{
    struct sim *sim = sim_open(seed);
    struct cluster_options options = {.n_nodes = sim_once_in(sim, 5) ? 5 : 3};
    struct cluster *cluster;
    struct cluster_counts counts;

    sim_set_trace(sim, trace);
    options.loss_percent = sim_once_in(sim, 2) ? 0 : sim_between(sim, 0, 5);
    options.client_period_ms = sim_between(sim, 5, 60);
    options.snapshot_threshold_bytes = sim_once_in(sim, 2) ? MANY_BYTES : 1u << 20;
    options.clock_jumps = sim_once_in(sim, 3);
    cluster = cluster_open(sim, &options);
    run_random(sim, cluster, options.n_nodes);
    cluster_counts(cluster, &counts);
    add_counts(totals, &counts);
    totals->seeds++;
    if (sim_has_failed(sim)) {
        cluster_describe(cluster);
        totals->failed++;
        (void)printf("seed %llu failed %s (again with: test_sim --seed %llu)\n",
                     (unsigned long long)seed, sim_failure(sim), (unsigned long long)seed);
    }
    cluster_close(cluster);
    sim_close(sim);
}

static void print_totals(const struct totals *totals)
{
    (void)printf(
        "%u seeds, %u failed: %llu commands acknowledged, %llu refused, %llu uncertain, "
        "%llu reads, %llu failed; %llu leaders, %llu crashes, %llu bundles sent anew, "
        "%llu snapshots, %llu maintenance steps\n",
        totals->seeds, totals->failed, (unsigned long long)totals->counts.acknowledged,
        (unsigned long long)totals->counts.refused, (unsigned long long)totals->counts.uncertain,
        (unsigned long long)totals->counts.reads, (unsigned long long)totals->counts.failed_reads,
        (unsigned long long)totals->counts.elections, (unsigned long long)totals->counts.crashes,
        (unsigned long long)totals->counts.resubmitted,
        (unsigned long long)totals->counts.snapshots,
        (unsigned long long)totals->counts.maintained);
}

static void nothing_acknowledged_is_lost_doubled_or_reordered(void **state)
{
    struct totals totals = {.seeds = 0};

    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
        run_seed(seed, false, &totals);
    }
    print_totals(&totals);
    assert_int_equal(totals.failed, 0);
    assert_true(totals.counts.resubmitted > 0); /* The faults did reach what they are to test. */
    assert_true(totals.counts.snapshots > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_doubled_or_reordered),
    };
    struct totals totals = {.seeds = 0};

    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        log_configure(LOG_INFO, LOG_FORMAT_TEXT);
        run_seed(strtoull(argv[2], NULL, 10), true, &totals);
        print_totals(&totals);
        return totals.failed == 0 ? 0 : 1;
    }
    if (argc == 4 && strcmp(argv[1], "--seeds") == 0) {
        for (uint64_t seed = strtoull(argv[2], NULL, 10); seed < strtoull(argv[3], NULL, 10);
             seed++) {
            run_seed(seed, false, &totals);
        }
        print_totals(&totals);
        return totals.failed == 0 ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
