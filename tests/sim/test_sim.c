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

    switch (sim_between(sim, 0, 12)) {
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
    case 8:
    case 9:
        cluster_pause(cluster, a, sim_between(sim, 100, 3000));
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
            cluster_pause(cluster, i, 0);
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

/* --- Single faults --- */

struct fixture {
    struct sim *sim;
    struct cluster *cluster;
};

static struct fixture open_cluster(unsigned n_nodes, uint64_t snapshot_threshold_bytes)
{
    struct cluster_options options = {.n_nodes = n_nodes, .client_period_ms = 10};
    struct fixture f;

    options.snapshot_threshold_bytes = snapshot_threshold_bytes;
    f.sim = sim_open(4711);
    f.cluster = cluster_open(f.sim, &options);
    return f;
}

static void close_cluster(struct fixture *f)
{
    if (sim_has_failed(f->sim)) {
        print_error("%s\n", sim_failure(f->sim));
    }
    assert_false(sim_has_failed(f->sim));
    cluster_close(f->cluster);
    sim_close(f->sim);
}

/* Run until somebody leads a term after @term; gives who. */
static unsigned run_to_leader(struct fixture *f, uint64_t term, uint64_t limit_ms)
{
    uint64_t end_ms = sim_now_ms(f->sim) + limit_ms;
    int leader = cluster_leader(f->cluster);

    while ((leader < 0 || cluster_term(f->cluster, (unsigned)leader) <= term) &&
           sim_now_ms(f->sim) < end_ms) {
        cluster_run(f->cluster, 5);
        leader = cluster_leader(f->cluster);
    }
    assert_true(leader >= 0);
    assert_true(cluster_term(f->cluster, (unsigned)leader) > term);
    return (unsigned)leader;
}

static uint64_t acknowledged(const struct fixture *f)
{
    struct cluster_counts counts;

    cluster_counts(f->cluster, &counts);
    return counts.acknowledged;
}

static void a_single_node_serves_and_restarts(void **state)
{
    struct fixture f = open_cluster(1, MANY_BYTES);
    uint64_t before;

    (void)state;
    cluster_run(f.cluster, 1000);
    before = acknowledged(&f);
    assert_true(before > 0);
    cluster_crash(f.cluster, 0);
    cluster_restart(f.cluster, 0);
    cluster_run(f.cluster, 1000);
    assert_true(acknowledged(&f) > before);
    close_cluster(&f);
}

static void writes_go_on_soon_after_the_leader_died(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    uint64_t before;

    (void)state;
    cluster_run(f.cluster, 500);
    for (int i = 0; i < 20; i++) {
        uint64_t term = cluster_term(f.cluster, leader);

        before = acknowledged(&f);
        cluster_crash(f.cluster, leader);
        (void)run_to_leader(&f, term, FAILOVER_MS);
        cluster_run(f.cluster, 200);
        assert_true(acknowledged(&f) > before);
        cluster_restart(f.cluster, leader);
        cluster_run(f.cluster, 1000);
        leader = run_to_leader(&f, 0, FAILOVER_MS);
    }
    close_cluster(&f);
}

static void a_leader_that_leaves_hands_over_at_once(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    uint64_t term;

    (void)state;
    cluster_run(f.cluster, 1000);
    term = cluster_term(f.cluster, leader);
    cluster_leave(f.cluster, leader);
    assert_int_not_equal(run_to_leader(&f, term, 100), leader); /* Less than an election. */
    cluster_run(f.cluster, 500);
    close_cluster(&f);
}

static void a_leader_with_a_slow_disk_hands_over(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    uint64_t term;

    (void)state;
    cluster_run(f.cluster, 1000);
    term = cluster_term(f.cluster, leader);
    cluster_slow_disk(f.cluster, leader, 3000);
    assert_int_not_equal(run_to_leader(&f, term, 2500), leader);
    close_cluster(&f);
}

static void a_full_disk_of_one_voter_is_known_to_all_and_ends(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned follower = (leader + 1) % 3;

    (void)state;
    cluster_run(f.cluster, 1000);
    assert_false(cluster_last_flags(f.cluster) & ENTRY_FLAG_STORAGE_FULL);
    cluster_set_free_disk(f.cluster, follower, 1000);
    cluster_run(f.cluster, 500);
    assert_true(cluster_last_flags(f.cluster) & ENTRY_FLAG_STORAGE_FULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(cluster_storage_full(f.cluster, i));
    }
    cluster_set_free_disk(f.cluster, follower, UINT64_MAX / 2);
    cluster_run(f.cluster, 500);
    assert_false(cluster_last_flags(f.cluster) & ENTRY_FLAG_STORAGE_FULL);
    assert_false(cluster_storage_full(f.cluster, follower));
    close_cluster(&f);
}

/* The log of the others does not reach back to where this node is. */
static void a_node_without_state_waits_and_counts_for_nothing(void **state)
{
    struct fixture f = open_cluster(3, 64u << 10);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned away = (leader + 1) % 3;
    unsigned other = (leader + 2) % 3;
    uint64_t applied;

    (void)state;
    cluster_run(f.cluster, 1000);
    cluster_isolate(f.cluster, away);
    cluster_run(f.cluster, 10000);
    cluster_heal(f.cluster);
    cluster_run(f.cluster, 2000);
    assert_true(cluster_needs_state(f.cluster, away));

    /* With the third node gone, the one without state must not make a majority. */
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 500);
    cluster_crash(f.cluster, other);
    cluster_run(f.cluster, 200);
    applied = cluster_applied(f.cluster, leader);
    cluster_quiet(f.cluster, false);
    cluster_run(f.cluster, 3000);
    assert_int_equal(cluster_applied(f.cluster, leader), applied);

    cluster_restart(f.cluster, other);
    cluster_run(f.cluster, 3000);
    assert_true(cluster_applied(f.cluster, leader) > applied);
    close_cluster(&f);
}

static void maintenance_is_proposed_when_something_is_due(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    struct cluster_counts counts;

    (void)state;
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 2000);
    cluster_set_due(f.cluster);
    cluster_run(f.cluster, 500);
    cluster_counts(f.cluster, &counts);
    assert_true(counts.maintained > 0);
    cluster_check_converged(f.cluster); /* No step is left under way. */
    close_cluster(&f);
}

static void the_same_seed_gives_the_same_run(void **state)
{
    struct totals first = {.seeds = 0};
    struct totals second = {.seeds = 0};

    (void)state;
    run_seed(99, false, &first);
    run_seed(99, false, &second);
    assert_memory_equal(&first, &second, sizeof first);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_node_serves_and_restarts),
        cmocka_unit_test(writes_go_on_soon_after_the_leader_died),
        cmocka_unit_test(a_leader_that_leaves_hands_over_at_once),
        cmocka_unit_test(a_leader_with_a_slow_disk_hands_over),
        cmocka_unit_test(a_full_disk_of_one_voter_is_known_to_all_and_ends),
        cmocka_unit_test(a_node_without_state_waits_and_counts_for_nothing),
        cmocka_unit_test(maintenance_is_proposed_when_something_is_due),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
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
