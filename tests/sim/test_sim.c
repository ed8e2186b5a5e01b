/* Clusters under single faults on purpose, and some under random ones (sim.c runs many). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "raft/node.h"
#include "storage/entry.h"
#include "tests/sim/cluster.h"
#include "tests/sim/run.h"

#define FIRST_SEED    1u
#define SEEDS         30u
#define MANY_BYTES    (64u << 20)
#define FAILOVER_MS   1500u
#define STAMP_SOON_MS 50u
#define HOUR_MS       3600000

/* --- Random runs --- */

static void nothing_acknowledged_is_lost_doubled_or_reordered(void **state)
{
    struct cluster_counts sum = {.acknowledged = 0};
    unsigned failed = 0;

    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
        struct run run = {.seed = seed};

        if (!run_seed(&run)) {
            print_error("seed %llu failed %s (again with: tests/sim/sim --seed %llu)\n",
                        (unsigned long long)seed, run.failure, (unsigned long long)seed);
            failed++;
        }
        run_add_counts(&sum, &run.counts);
    }
    run_print_counts(&sum);
    assert_int_equal(failed, 0);
    assert_true(sum.resubmitted > 0); /* The faults did reach what they are to test. */
    assert_true(sum.snapshots > 0);
    assert_true(sum.transfers > 0);
    assert_true(sum.compared > 0);
    assert_true(sum.changes > 0);
    assert_true(sum.configurations > 0);
    assert_true(sum.raised > 0);
}

/* --- Single faults --- */

struct fixture {
    struct sim *sim;
    struct cluster *cluster;
};

static struct fixture open_with(const struct cluster_options *options)
{
    struct fixture f;

    f.sim = sim_open(4711);
    f.cluster = cluster_open(f.sim, options);
    return f;
}

static struct fixture open_cluster(unsigned n_nodes, uint64_t snapshot_threshold_bytes)
{
    struct cluster_options options = {.n_nodes = n_nodes,
                                      .client_period_ms = 10,
                                      .snapshot_threshold_bytes = snapshot_threshold_bytes};

    return open_with(&options);
}

/* One whose nodes cut their logs often, and in which nobody is given a state. */
static struct fixture open_without_transfer(unsigned n_nodes, uint64_t snapshot_threshold_bytes)
{
    struct cluster_options options = {.n_nodes = n_nodes,
                                      .client_period_ms = 10,
                                      .snapshot_threshold_bytes = snapshot_threshold_bytes,
                                      .has_no_transfer = true};

    return open_with(&options);
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
           sim_now_ms(f->sim) < end_ms && !sim_has_failed(f->sim)) {
        cluster_run(f->cluster, 5);
        leader = cluster_leader(f->cluster);
    }
    if (sim_has_failed(f->sim)) { /* Time stands still then. */
        print_error("%s\n", sim_failure(f->sim));
    }
    assert_false(sim_has_failed(f->sim));
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

/* What it was sent in the term before could be taken twice in the same one. */
static void the_only_voter_begins_a_new_term_at_each_start(void **state)
{
    struct fixture f = open_cluster(1, MANY_BYTES);
    uint64_t term = cluster_term(f.cluster, run_to_leader(&f, 0, 2000));

    (void)state;
    cluster_crash(f.cluster, 0);
    cluster_restart(f.cluster, 0);
    assert_true(cluster_term(f.cluster, run_to_leader(&f, term, 2000)) > term);
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

/* Another leader may reach it. As long as nobody does, leadership stays where it is then. */
static void a_leader_whose_follower_is_stuck_hands_over_once(void **state)
{
    struct fixture f = open_cluster(5, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned stuck = (leader + 1) % 5;
    uint64_t term;

    (void)state;
    cluster_run(f.cluster, 1000);
    term = cluster_term(f.cluster, leader);
    cluster_mute(f.cluster, stuck, true);
    cluster_run(f.cluster, 4000);
    assert_int_equal(cluster_leader(f.cluster), leader);
    assert_int_equal(cluster_term(f.cluster, leader), term);

    leader = run_to_leader(&f, term, 3000);
    assert_int_not_equal(leader, stuck);
    term = cluster_term(f.cluster, leader);
    cluster_run(f.cluster, 4000);
    cluster_mute(f.cluster, stuck, false);
    cluster_run(f.cluster, 20000);
    assert_int_equal(cluster_term(f.cluster, leader), term);
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
    struct fixture f = open_without_transfer(3, 128u << 10);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned away = (leader + 1) % 3;
    unsigned other = (leader + 2) % 3;
    uint64_t applied;

    (void)state;
    cluster_run(f.cluster, 1000);
    assert_false(cluster_needs_state(f.cluster, other));
    cluster_isolate(f.cluster, away);
    cluster_run(f.cluster, 10000);
    cluster_heal(f.cluster);
    /* What was offered last was lost; it is offered again after 2 s. */
    cluster_run(f.cluster, 4000);
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

/* It cannot be told what is committed; that must not make the leader talk without end. */
static void a_node_without_state_causes_no_storm(void **state)
{
    struct fixture f = open_without_transfer(5, 64u << 10);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned away = (leader + 1) % 5;

    (void)state;
    cluster_run(f.cluster, 1000);
    cluster_isolate(f.cluster, away);
    cluster_run(f.cluster, 10000);
    cluster_heal(f.cluster);
    cluster_run(f.cluster, 3000);
    assert_true(cluster_needs_state(f.cluster, away));
    close_cluster(&f);
}

static void a_node_left_behind_gets_the_state(void **state)
{
    struct cluster_options options = {.n_nodes = 3,
                                      .client_period_ms = 10,
                                      .snapshot_threshold_bytes = 128u << 10,
                                      .has_state = true};
    struct fixture f = open_with(&options);
    unsigned leader = run_to_leader(&f, 0, 2000);
    unsigned away = (leader + 1) % 3;
    struct cluster_counts counts;
    uint64_t applied;

    (void)state;
    cluster_run(f.cluster, 1000);
    cluster_isolate(f.cluster, away);
    cluster_run(f.cluster, 10000);
    cluster_heal(f.cluster);
    cluster_run(f.cluster, 5000);
    cluster_counts(f.cluster, &counts);
    assert_true(counts.transfers > 0);
    /* With logs as short as these it may have been left behind again. */
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 5000);
    assert_false(cluster_needs_state(f.cluster, away));
    cluster_check_converged(f.cluster, cluster_highest(f.cluster));

    /* It counts as any other. */
    cluster_crash(f.cluster, (leader + 2) % 3);
    (void)run_to_leader(&f, 0, 2000);
    cluster_quiet(f.cluster, false);
    applied = cluster_applied(f.cluster, away);
    cluster_run(f.cluster, 3000);
    assert_true(cluster_applied(f.cluster, away) > applied);
    close_cluster(&f);
}

/* Nobody made it a member: it is told nothing, and its clients are. */
static void a_node_that_was_added_is_no_member_by_that(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    uint64_t term;
    uint64_t before;

    (void)state;
    cluster_run(f.cluster, 1000);
    term = cluster_term(f.cluster, leader);
    assert_int_equal(cluster_add(f.cluster), 3);
    before = acknowledged(&f);
    cluster_run(f.cluster, 3000);

    assert_true(acknowledged(&f) > before);
    assert_int_equal(cluster_applied(f.cluster, 3), 0);
    assert_int_equal(cluster_term(f.cluster, leader), term);
    assert_false(cluster_is_voter(f.cluster, 3));
    assert_true(cluster_is_voter(f.cluster, leader));
    close_cluster(&f);
}

/* What was meant for a node that is gone does not reach the one that has its place. */
static void places_are_used_anew(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader = run_to_leader(&f, 0, 2000);
    uint64_t before;

    (void)state;
    for (int i = 3; i < 7; i++) {
        assert_int_equal(cluster_add(f.cluster), i);
    }
    assert_int_equal(cluster_add(f.cluster), -1);
    for (unsigned i = 0; i < 50; i++) {
        unsigned gone = i % 2 == 0 ? (leader + 1) % 3 : 3 + i % 4;

        cluster_run(f.cluster, 50);
        cluster_remove(f.cluster, gone);
        assert_false(cluster_has(f.cluster, gone));
        cluster_run(f.cluster, i % 3);
        assert_int_equal(cluster_add(f.cluster), gone);
    }
    assert_false(cluster_is_voter(f.cluster, (leader + 1) % 3));
    before = acknowledged(&f);
    cluster_run(f.cluster, 1000);
    assert_true(acknowledged(&f) > before); /* Two of three are left. */
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 3000);
    cluster_check_converged(f.cluster, cluster_highest(f.cluster));
    close_cluster(&f);
}

static void ask(struct fixture *f, enum member_change_kind kind, enum member_wanted wanted,
                enum status expected)
{
    const struct member_change change = {.kind = kind, .wanted = wanted, .name = "s3"};
    unsigned leader = run_to_leader(f, 0, 2000);

    /* Not through the member that is asked about, which may be gone when it is done. */
    cluster_ask_change(f->cluster, leader == 3 ? 0 : leader, &change);
    cluster_run(f->cluster, 3000);
    assert_int_equal(cluster_change(f->cluster)->kind, kind);
    if (cluster_change(f->cluster)->status != expected) {
        fail_msg("%s: %s", status_text(cluster_change(f->cluster)->status),
                 cluster_change(f->cluster)->text);
    }
}

static struct fixture open_with_a_spare_slot(uint64_t snapshot_threshold_bytes, bool has_transfer)
{
    struct cluster_options options = {.n_nodes = 4,
                                      .n_founders = 3,
                                      .has_churn = true,
                                      .client_period_ms = 10,
                                      .snapshot_threshold_bytes = snapshot_threshold_bytes,
                                      .has_state = has_transfer,
                                      .has_no_transfer = !has_transfer};
    struct fixture f = open_with(&options);

    cluster_end_churn(f.cluster);
    (void)run_to_leader(&f, 0, 2000);
    return f;
}

static void a_member_comes_gets_a_vote_and_goes(void **state)
{
    struct fixture f = open_with_a_spare_slot(MANY_BYTES, false);

    (void)state;
    ask(&f, MEMBER_CHANGE_ADD, MEMBER_AUTO, STATUS_OK);
    ask(&f, MEMBER_CHANGE_ADD, MEMBER_AUTO, STATUS_OK); /* It is so already. */
    ask(&f, MEMBER_CHANGE_ROLE, MEMBER_VOTER, STATUS_OK);
    ask(&f, MEMBER_CHANGE_TRANSFER, MEMBER_AS_IS, STATUS_OK);
    assert_int_equal(cluster_leader(f.cluster), 3);
    ask(&f, MEMBER_CHANGE_DRAIN, MEMBER_AS_IS, STATUS_OK);
    assert_int_not_equal(cluster_leader(f.cluster), 3);
    ask(&f, MEMBER_CHANGE_TRANSFER, MEMBER_AS_IS, STATUS_PERMISSION);
    ask(&f, MEMBER_CHANGE_UNDRAIN, MEMBER_AS_IS, STATUS_OK);
    ask(&f, MEMBER_CHANGE_TRANSFER, MEMBER_AS_IS, STATUS_OK);
    ask(&f, MEMBER_CHANGE_REMOVE, MEMBER_AS_IS, STATUS_OK); /* It leads. */
    assert_false(cluster_is_alive(f.cluster, 3));
    ask(&f, MEMBER_CHANGE_REMOVE, MEMBER_AS_IS, STATUS_PERMISSION);
    close_cluster(&f);
}

/* Or a read would wait for the next command. */
static void the_state_is_told_of_a_configuration_that_nothing_follows(void **state)
{
    struct fixture f = open_with_a_spare_slot(MANY_BYTES, false);

    (void)state;
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 2000);
    ask(&f, MEMBER_CHANGE_ADD, MEMBER_STANDBY, STATUS_OK);
    cluster_check_converged(f.cluster, cluster_highest(f.cluster));
    close_cluster(&f);
}

static void a_new_member_gets_the_state_and_then_a_vote(void **state)
{
    struct fixture f = open_with_a_spare_slot(256u << 10, true);
    struct cluster_counts counts;

    (void)state;
    cluster_run(f.cluster, 30000); /* Until the log does not begin at its beginning any more. */
    ask(&f, MEMBER_CHANGE_ADD, MEMBER_AUTO, STATUS_OK);
    cluster_run(f.cluster, 5000);
    cluster_counts(f.cluster, &counts);
    assert_true(counts.transfers > 0);
    ask(&f, MEMBER_CHANGE_ROLE, MEMBER_VOTER, STATUS_OK);
    assert_true(cluster_is_voter(f.cluster, 3));
    cluster_quiet(f.cluster, true);
    cluster_run(f.cluster, 3000);
    cluster_check_converged(f.cluster, cluster_highest(f.cluster));
    close_cluster(&f);
}

static void a_new_member_without_state_waits_and_gets_no_vote(void **state)
{
    struct fixture f = open_with_a_spare_slot(256u << 10, false);
    uint64_t before;

    (void)state;
    cluster_run(f.cluster, 30000); /* Until the log does not begin at its beginning any more. */
    ask(&f, MEMBER_CHANGE_ADD, MEMBER_AUTO, STATUS_OK);
    assert_true(cluster_needs_state(f.cluster, 3));
    ask(&f, MEMBER_CHANGE_ROLE, MEMBER_VOTER, STATUS_PERMISSION);
    assert_int_equal(cluster_change(f.cluster)->reason, MEMBER_REASON_INCOMPLETE);
    before = acknowledged(&f);
    cluster_run(f.cluster, 1000);
    assert_true(acknowledged(&f) > before);
    ask(&f, MEMBER_CHANGE_REMOVE, MEMBER_AS_IS, STATUS_OK);
    assert_false(cluster_is_alive(f.cluster, 3));
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
    cluster_check_converged(f.cluster, cluster_highest(f.cluster)); /* No step is left under way. */
    close_cluster(&f);
}

/* After a full stop wall time is taken as it is. That of one node alone may be an hour ahead; what
 * checks.c says of the cluster's time then fails. */
static void a_leader_that_hears_no_clock_but_its_own_waits(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);
    unsigned leader;
    uint64_t before;

    (void)state;
    cluster_run(f.cluster, 2000);
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(f.cluster, i);
    }
    cluster_break_all_connections(f.cluster);
    for (unsigned i = 0; i < 3; i++) {
        cluster_restart(f.cluster, i);
    }
    leader = run_to_leader(&f, 0, 2000);
    cluster_jump_clock(f.cluster, leader, HOUR_MS);
    before = acknowledged(&f);
    cluster_run(f.cluster, 6000);
    assert_true(acknowledged(&f) == before);

    cluster_heal(f.cluster);
    cluster_run(f.cluster, 1000);
    assert_true(acknowledged(&f) > before);
    close_cluster(&f);
}

/* Run until an entry with a new stamp is executed, soon after the one before: there may be none for
 * a while, and the next one then was made before that while, by a leader that was lost. */
static uint64_t run_to_stamp(struct fixture *f)
{
    uint64_t end_ms = sim_now_ms(f->sim) + FAILOVER_MS;
    uint64_t began_ms;

    do {
        uint64_t before = cluster_time_ms(f->cluster);

        began_ms = sim_now_ms(f->sim);
        while (cluster_time_ms(f->cluster) == before && sim_now_ms(f->sim) < end_ms) {
            cluster_run(f->cluster, 1);
        }
        assert_true(cluster_time_ms(f->cluster) > before);
    } while (sim_now_ms(f->sim) - began_ms > STAMP_SOON_MS);
    return sim_now_ms(f->sim);
}

/* Two clocks are there then, and the earlier one is followed, be it the wrong one or not. */
static void time_goes_on_with_a_wrong_clock_and_a_dead_node(void **state)
{
    static const int64_t wrong_ms[] = {HOUR_MS, -HOUR_MS};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct fixture f = open_cluster(3, MANY_BYTES);
        unsigned dead = i % 3;
        uint64_t before;
        uint64_t before_ms;
        uint64_t passed_ms;

        cluster_run(f.cluster, 2000);
        for (unsigned node = 0; node < 3; node++) {
            cluster_crash(f.cluster, node);
        }
        cluster_jump_clock(f.cluster, (dead + 1) % 3, wrong_ms[i / 3]);
        cluster_restart(f.cluster, (dead + 1) % 3);
        cluster_restart(f.cluster, (dead + 2) % 3);
        cluster_run(f.cluster, 3000);

        before_ms = run_to_stamp(&f);
        before = cluster_time_ms(f.cluster);
        cluster_run(f.cluster, 10000);
        passed_ms = run_to_stamp(&f) - before_ms;
        /* An entry is executed some time after it was stamped. */
        assert_in_range(cluster_time_ms(f.cluster) - before, passed_ms * 89 / 100 - 300,
                        passed_ms * 111 / 100 + 300);
        close_cluster(&f);
    }
}

/* The clock that is wrong is another one all the time, and the nodes stop and start. */
static void a_stop_of_all_while_clocks_jump_does_not_bring_time_forward(void **state)
{
    struct fixture f = open_cluster(3, MANY_BYTES);

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        unsigned leader;

        for (unsigned node = 0; node < 3; node++) {
            cluster_jump_clock(f.cluster, node, node == i % 3 ? HOUR_MS : 0);
            cluster_crash(f.cluster, node);
            cluster_restart(f.cluster, node);
        }
        cluster_run(f.cluster, 100 + 7 * i % 200);
        cluster_jump_clock(f.cluster, i % 3, 0);
        cluster_jump_clock(f.cluster, (i + 1) % 3, HOUR_MS);
        leader = run_to_leader(&f, 0, 2000);
        cluster_run(f.cluster, 300);
        cluster_crash(f.cluster, leader);
        cluster_run(f.cluster, 1000);
        cluster_restart(f.cluster, leader);
    }
    close_cluster(&f);
}

static char *trace_of(uint64_t seed, uint64_t *digest)
{
    struct run run = {.seed = seed, .with_notes = true};
    char *text;
    size_t size;

    run.trace = open_memstream(&text, &size);
    assert_non_null(run.trace);
    assert_true(run_seed(&run));
    assert_int_equal(fclose(run.trace), 0);
    *digest = run.digest;
    return text;
}

/* Print where two traces part: they are too long to print. */
static void expect_same(const char *first, const char *second)
{
    size_t same = 0;

    while (first[same] != '\0' && first[same] == second[same]) {
        same++;
    }
    if (first[same] != second[same]) {
        size_t from = same > 300 ? same - 300 : 0;

        print_error("first:\n%.400s\nsecond:\n%.400s\n", first + from, second + from);
    }
    assert_true(first[same] == second[same]);
}

/* Some on the state machine, some that record only. */
static void the_same_seed_gives_the_same_run_byte_for_byte(void **state)
{
    (void)state;
    for (uint64_t seed = 98; seed < 102; seed++) {
        uint64_t digests[2];
        char *first = trace_of(seed, &digests[0]);
        char *second = trace_of(seed, &digests[1]);

        assert_true(strlen(first) > 100000);
        expect_same(first, second);
        assert_int_equal(digests[0], digests[1]);
        free(first);
        free(second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_node_serves_and_restarts),
        cmocka_unit_test(the_only_voter_begins_a_new_term_at_each_start),
        cmocka_unit_test(writes_go_on_soon_after_the_leader_died),
        cmocka_unit_test(a_leader_that_leaves_hands_over_at_once),
        cmocka_unit_test(a_leader_with_a_slow_disk_hands_over),
        cmocka_unit_test(a_leader_whose_follower_is_stuck_hands_over_once),
        cmocka_unit_test(a_full_disk_of_one_voter_is_known_to_all_and_ends),
        cmocka_unit_test(a_node_without_state_waits_and_counts_for_nothing),
        cmocka_unit_test(a_node_without_state_causes_no_storm),
        cmocka_unit_test(a_node_left_behind_gets_the_state),
        cmocka_unit_test(a_node_that_was_added_is_no_member_by_that),
        cmocka_unit_test(places_are_used_anew),
        cmocka_unit_test(a_member_comes_gets_a_vote_and_goes),
        cmocka_unit_test(the_state_is_told_of_a_configuration_that_nothing_follows),
        cmocka_unit_test(a_new_member_gets_the_state_and_then_a_vote),
        cmocka_unit_test(a_new_member_without_state_waits_and_gets_no_vote),
        cmocka_unit_test(maintenance_is_proposed_when_something_is_due),
        cmocka_unit_test(a_leader_that_hears_no_clock_but_its_own_waits),
        cmocka_unit_test(time_goes_on_with_a_wrong_clock_and_a_dead_node),
        cmocka_unit_test(a_stop_of_all_while_clocks_jump_does_not_bring_time_forward),
        cmocka_unit_test(the_same_seed_gives_the_same_run_byte_for_byte),
        cmocka_unit_test(nothing_acknowledged_is_lost_doubled_or_reordered),
    };

    log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
