#include "tests/sim/run.h"

#include <string.h>

#define FAULTS_MS   44000u
#define PROGRESS_MS 5000u
#define SETTLE_MS   2000u
/* A node that waits for state restarts after 5 s without a leader, and may be needed as a voter. */
#define HEALED_LEADER_MS 9000u
#define HEALED_STATE_MS  20000u
#define MANY_BYTES       (4u << 20)
/* After a second a leader hands over, and tries again when that did not succeed. */
#define SLOW_DISK_MS   3000u
#define SLOW_LEADER_MS 4000u

static void draw_options(struct sim *sim, struct cluster_options *options)
{
    *options = (struct cluster_options){.n_nodes = sim_between(sim, 3, 5)};
    options->loss_percent = sim_once_in(sim, 2) ? 0 : sim_between(sim, 0, 5);
    options->client_period_ms = sim_between(sim, 10, 100);
    options->snapshot_threshold_bytes =
        sim_once_in(sim, 2) ? (32u << 10) << sim_between(sim, 0, 3) : MANY_BYTES;
    options->clock_jumps = sim_once_in(sim, 3);
    options->is_disorderly = sim_once_in(sim, 4);
    options->breaks = sim_once_in(sim, 2);
    options->has_state = sim_once_in(sim, 2);
    options->has_churn = sim_once_in(sim, 2);
    options->has_upgrades = true;
    if (options->has_churn) {
        options->n_founders = sim_between(sim, 1, 5);
        options->n_nodes = 7;
        options->clock_jumps = false; /* One clock of two may be wrong, then both count. */
        options->snapshot_threshold_bytes = MANY_BYTES; /* Only new ones lack the state. */
        options->replay_entries = sim_once_in(sim, 2) ? sim_between(sim, 50, 1000) : 0;
    }
    if (options->has_state) {
        options->client_period_ms += 50; /* It costs more. */
    }
}

/* Everything is well again, but for one node that may stay dead: the one that is, if there is. */
static void heal(struct sim *sim, struct cluster *cluster)
{
    unsigned n_nodes = cluster_size(cluster);
    bool may_lose = sim_once_in(sim, 3) && !cluster_has_churn(cluster); /* It may be one of two. */
    int dead = may_lose ? (int)sim_between(sim, 0, n_nodes - 1) : -1;

    for (unsigned i = 0; i < n_nodes; i++) {
        dead = cluster_is_lost(cluster, i) ? (int)i : dead;
    }
    cluster_heal(cluster);
    cluster_end_churn(cluster);
    cluster_set_loss(cluster, 0);
    for (unsigned i = 0; i < n_nodes; i++) {
        if ((int)i == dead) {
            cluster_crash(cluster, i);
            continue;
        }
        cluster_restart(cluster, i);
        cluster_slow_disk(cluster, i, 0);
        cluster_slow_executor(cluster, i, 0);
        cluster_set_free_disk(cluster, i, UINT64_MAX / 2);
    }
}

/* Enough voters live and have their state, also without node @without (-1: with all). */
static bool has_majority(const struct cluster *cluster, int without)
{
    unsigned n_voters = 0;
    unsigned n = 0;

    if (cluster_has_churn(cluster) && without < 0) {
        return true; /* All are there. */
    }
    for (unsigned i = 0; i < cluster_size(cluster); i++) {
        if (cluster_is_voter(cluster, i)) {
            n_voters++;
            n += (int)i != without && cluster_is_alive(cluster, i) &&
                 !cluster_needs_state(cluster, i);
        }
    }
    return n > n_voters / 2;
}

static void wait_for_leader(struct sim *sim, struct cluster *cluster)
{
    uint64_t limit_ms = sim_now_ms(sim) + HEALED_LEADER_MS;

    while (cluster_leader(cluster) < 0 && sim_now_ms(sim) < limit_ms && !sim_has_failed(sim)) {
        cluster_run(cluster, 10);
    }
    SIM_EXPECT(sim, cluster_leader(cluster) >= 0, "%s", "nobody leads after all is healed");
}

/* Whoever lacks the state gets it. */
static void wait_for_states(struct sim *sim, struct cluster *cluster)
{
    uint64_t limit_ms = sim_now_ms(sim) + HEALED_STATE_MS;
    unsigned i = 0;

    while (i < cluster_size(cluster) && !sim_has_failed(sim)) {
        if (!cluster_needs_state(cluster, i)) {
            i++;
        } else {
            SIM_EXPECT(sim, sim_now_ms(sim) < limit_ms, "node %u gets no state after all is healed",
                       i);
            cluster_run(cluster, 10);
        }
    }
}

static void run_on(struct sim *sim, struct cluster *cluster, uint64_t until_ms, uint64_t ms)
{
    uint64_t now_ms = sim_now_ms(sim);

    if (until_ms != 0 && now_ms + ms > until_ms) {
        ms = until_ms > now_ms ? until_ms - now_ms : 0;
    }
    if (ms > 0) {
        cluster_run(cluster, ms);
    }
}

/* All is well, but the leader's disk takes seconds for each write: another one must lead. */
static void slow_leader(struct sim *sim, struct cluster *cluster)
{
    int leader = cluster_leader(cluster);

    if (!sim_once_in(sim, 4) || leader < 0 || !has_majority(cluster, leader)) {
        return;
    }
    sim_trace(sim, "the disk of node %d takes %u ms from now on", leader, SLOW_DISK_MS);
    cluster_slow_disk(cluster, (unsigned)leader, SLOW_DISK_MS);
    run_on(sim, cluster, 0, SLOW_LEADER_MS);
    SIM_EXPECT(sim, cluster_leader(cluster) != leader, "node %d leads on with a slow disk", leader);
    cluster_slow_disk(cluster, (unsigned)leader, 0);
    /* What was given to the disk before it got well; then what came meanwhile, entry by entry, of
     * which the disk takes little more than clients bring (seed 246). */
    run_on(sim, cluster, 0, SLOW_DISK_MS);
    cluster_quiet(cluster, true);
    run_on(sim, cluster, 0, SLOW_LEADER_MS + SLOW_DISK_MS);
}

static void run_cluster(struct run *run, struct sim *sim, struct cluster *cluster)
{
    struct cluster_counts before;
    struct cluster_counts after;
    uint64_t settled;

    run_on(sim, cluster, run->until_ms, FAULTS_MS);
    if (sim_has_failed(sim) || (run->until_ms != 0 && sim_now_ms(sim) >= run->until_ms)) {
        return;
    }
    heal(sim, cluster);
    wait_for_leader(sim, cluster);
    if (has_majority(cluster, -1)) {
        wait_for_states(sim, cluster);
    }
    run_on(sim, cluster, 0, PROGRESS_MS);
    cluster_counts(cluster, &before);
    run_on(sim, cluster, 0, PROGRESS_MS);
    cluster_counts(cluster, &after);
    if (has_majority(cluster, -1)) {
        SIM_EXPECT(sim, after.acknowledged > before.acknowledged, "%s", "nothing goes on");
        SIM_EXPECT(sim, after.reads > before.reads, "%s", "no read goes on");
    }
    slow_leader(sim, cluster);
    cluster_quiet(cluster, true);
    run_on(sim, cluster, 0, SETTLE_MS);
    settled = cluster_highest(cluster); /* Things go on falling due. */
    run_on(sim, cluster, 0, SETTLE_MS / 2);
    if (has_majority(cluster, -1)) {
        cluster_check_converged(cluster, settled);
    }
    cluster_check_histories(cluster);
}

static void note_failure(struct run *run, struct sim *sim, struct cluster *cluster)
{
    run->failed_ms = 0;
    if (sim_has_failed(sim)) {
        sim_trace(sim, "%s", sim_failure(sim));
        cluster_describe(cluster);
        run->failed_ms = sim_now_ms(sim);
        (void)snprintf(run->failure, sizeof run->failure, "%s",
                       sim_failure(sim)); /* Longer text is cut. */
    }
}

bool run_seed(struct run *run)
{
    struct sim *sim = sim_open(run->seed);
    struct cluster_options options;
    struct cluster *cluster;
    struct faults faults;

    sim_set_trace(sim, run->trace, run->with_notes);
    draw_options(sim, &options);
    faults_draw(&faults, run->seed, options.n_nodes, FAULTS_MS);
    for (unsigned i = 0; i < faults.n; i++) {
        faults.fault[i].is_off =
            run->without[i] || (options.has_churn && (faults.fault[i].kind == FAULT_LOST_LOG ||
                                                      faults.fault[i].kind == FAULT_CLOCK));
    }
    sim_trace(sim, "seed %llu: %u nodes, %s, %u %% loss, %s, snapshots after %llu bytes",
              (unsigned long long)run->seed, options.n_nodes,
              options.has_state ? "real state" : "a record", options.loss_percent,
              options.is_disorderly ? "disorder" : "order",
              (unsigned long long)options.snapshot_threshold_bytes);
    cluster = cluster_open(sim, &options);
    faults_schedule(&faults, sim, cluster);
    run_cluster(run, sim, cluster);
    cluster_counts(cluster, &run->counts);
    note_failure(run, sim, cluster);
    run->n_faults = faults.n;
    run->digest = sim_digest(sim);
    cluster_close(cluster);
    sim_close(sim);
    return run->failed_ms == 0;
}

/* --- Counts: a struct of nothing but numbers --- */

void run_add_counts(struct cluster_counts *sum, const struct cluster_counts *counts)
{
    uint64_t total[sizeof *sum / sizeof(uint64_t)];
    uint64_t more[sizeof *sum / sizeof(uint64_t)];

    memcpy(total, sum, sizeof total);
    memcpy(more, counts, sizeof more);
    for (size_t i = 0; i < sizeof total / sizeof *total; i++) {
        total[i] += more[i];
    }
    memcpy(sum, total, sizeof total);
}

void run_print_counts(const struct cluster_counts *counts)
{
    (void)printf(
        "%llu commands acknowledged, %llu refused, %llu uncertain, %llu reads, %llu failed; "
        "%llu leaders, %llu crashes, %llu bundles sent anew, %llu snapshots, %llu transfers, %llu "
        "maintenance steps, %llu logs cut off, %llu states compared, %llu histories checked, "
        "%llu changes of members, %llu configurations, %llu feature levels raised\n",
        (unsigned long long)counts->acknowledged, (unsigned long long)counts->refused,
        (unsigned long long)counts->uncertain, (unsigned long long)counts->reads,
        (unsigned long long)counts->failed_reads, (unsigned long long)counts->elections,
        (unsigned long long)counts->crashes, (unsigned long long)counts->resubmitted,
        (unsigned long long)counts->snapshots, (unsigned long long)counts->transfers,
        (unsigned long long)counts->maintained, (unsigned long long)counts->cuts,
        (unsigned long long)counts->compared, (unsigned long long)counts->histories,
        (unsigned long long)counts->changes, (unsigned long long)counts->configurations,
        (unsigned long long)counts->raised);
}
