/* Each nemesis in turn: a fresh cluster under a load of mixed operations, the nemesis twice, and
 * then the history is held against what the nodes have.
 *
 * HOLDFAST_CHAOS_SECONDS repeats all of them until that time is over (0: each once);
 * HOLDFAST_CHAOS_ONLY names one; HOLDFAST_TEST_SEED fixes what is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mount.h>

#include "tests/cluster/nemesis.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define TEST_LIMIT_S   900
#define ROUNDS         2
#define GO_ON_MS       15000 /* Failover and a little: machines are busy. */
#define WARM_UP_WRITES 30
#define MAX_NEMESES    40
#define SCRUB_S        "2"
#define COMPARED_MS    10000
#define STATUS_OUTSIDE 1 /* See docs/operations.md: a start may cure it. */

/* What this machine cannot do, by bit of enum nemesis_needs; NULL: it can. */
static const char *missing_network;
static const char *missing_disks;

/* What was done and seen in all runs of one nemesis. */
struct tally {
    const struct nemesis *nemesis;
    unsigned runs;
    uint64_t effect;
    uint64_t writes;
    uint64_t operations; /* In histories. */
    uint64_t unknown;    /* Those of them with unknown outcome. */
};

static struct tally tallies[MAX_NEMESES + 1]; /* The last one stays empty. */

/* Told apart from the load's, so that each nemesis draws the same whatever ran before. */
static uint64_t round_seed;

unsigned chaos_draw(struct chaos *chaos, unsigned n)
{
    return (unsigned)((random_next(&chaos->random) >> 16) % n);
}

bool chaos_choose_leader(struct chaos *chaos)
{
    chaos->victim = cluster_find_leader(&chaos->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    return chaos->victim != CLUSTER_NOBODY;
}

bool chaos_choose_follower(struct chaos *chaos)
{
    if (!chaos_choose_leader(chaos)) {
        return false;
    }
    chaos->victim = (chaos->victim + 1 + chaos_draw(chaos, CLUSTER_NODES - 1)) % CLUSTER_NODES;
    return true;
}

void chaos_kill(struct chaos *chaos, unsigned node)
{
    chaos->is_down[node] = true;
    cluster_kill(&chaos->cluster, node);
}

void chaos_kill_all(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        chaos->is_down[i] = true;
    }
    cluster_kill_all(&chaos->cluster);
}

/* --- A cluster under load --- */

/* NULL, or why this nemesis cannot run here. */
static const char *missing_for(const struct nemesis *nemesis)
{
    if ((nemesis->needs & NEEDS_NETWORK) != 0 && missing_network != NULL) {
        return missing_network;
    }
    return (nemesis->needs & NEEDS_DISKS) != 0 ? missing_disks : NULL;
}

static void open_surroundings(struct chaos *chaos)
{
    unsigned i;

    if (missing_network == NULL) {
        assert_true(network_open(&chaos->network, &chaos->cluster));
    }
    if ((chaos->nemesis->needs & NEEDS_RELAY) != 0) {
        assert_true(network_relay(&chaos->network, random_next(&chaos->random)));
    }
    for (i = 0; (chaos->nemesis->needs & NEEDS_DISKS) != 0 && i < CLUSTER_NODES; i++) {
        assert_true(faulty_disk_open(&chaos->disks[i], chaos->cluster.nodes[i].data_directory,
                                     random_next(&chaos->random)));
    }
    if ((chaos->nemesis->needs & NEEDS_CLOCKS) != 0) {
        const char *library = getenv("HOLDFAST_CLOCK_SHIFT");

        chaos->cluster.preload = library == NULL ? "./tests/lib/clock_shift.so" : library;
        for (i = 0; i < CLUSTER_NODES; i++) {
            assert_true(clock_set(&chaos->cluster.nodes[i], 0));
        }
    }
}

static void start_load(struct chaos *chaos)
{
    struct http_client client = cluster_client(&chaos->cluster.nodes[0]);
    struct answer answer = {0};

    expect(&answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    answer_close(&answer);
    http_client_close(&client);
    writers_start(&chaos->writers, &chaos->cluster, random_next(&chaos->random));
    atomic_store(&chaos->writers.disks_may_be_full, chaos->nemesis->fills_disks);
    registers_start(&chaos->registers, &chaos->cluster, random_next(&chaos->random));
    logs_start(&chaos->logs, &chaos->cluster, random_next(&chaos->random));
    chaos->loaded = true;
}

static void stop_load(struct chaos *chaos)
{
    if (chaos->loaded) {
        chaos->loaded = false;
        logs_stop(&chaos->logs);
        registers_stop(&chaos->registers);
        writers_stop(&chaos->writers);
    }
}

static int setup(void **state)
{
    const struct nemesis *nemesis = *state;
    struct chaos *chaos = calloc(1, sizeof *chaos);

    assert_non_null(chaos);
    *state = chaos;
    chaos->nemesis = nemesis;
    chaos->random = round_seed;
    if (missing_for(nemesis) != NULL) {
        return 0;
    }
    assert_int_equal(setenv("HOLDFAST_SCRUB_INTERVAL", nemesis->scrubs_not ? "0" : SCRUB_S, 1), 0);
    assert_true(cluster_open(&chaos->cluster));
    open_surroundings(chaos);
    assert_true(cluster_start(&chaos->cluster));
    start_load(chaos);
    return 0;
}

static void keep_disks(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        faulty_disk_close(&chaos->disks[i]);
    }
}

static int teardown(void **state)
{
    struct chaos *chaos = *state;

    if (missing_for(chaos->nemesis) == NULL) {
        stop_load(chaos);
        logs_close(&chaos->logs);
        registers_close(&chaos->registers);
        writers_close(&chaos->writers);
        cluster_kill_all(&chaos->cluster);
        keep_disks(chaos);
        if (missing_network == NULL) {
            network_close(&chaos->network);
        }
        cluster_close(&chaos->cluster, chaos->passed);
    }
    free(chaos);
    return 0;
}

/* --- What has to hold --- */

static void assert_load_is_well(struct chaos *chaos)
{
    const char *failure = writers_failure(&chaos->writers);

    if (failure != NULL) {
        fail_msg("%s", failure);
    }
}

static void assert_writes_go_on(struct chaos *chaos, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        bool progress = writers_wait_progress(&chaos->writers, GO_ON_MS);

        assert_load_is_well(chaos);
        if (!progress) {
            fail_msg("no write was acknowledged for %u ms", GO_ON_MS);
        }
    }
}

/* Start again what the nemesis took down; what else has ended, should not have. */
static void start_what_is_down(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        struct process *process = &chaos->cluster.nodes[i].process;

        if (process_is_alive(process)) {
            continue;
        }
        if (!chaos->is_down[i] &&
            !(chaos->nemesis->may_end_nodes && process_exited_with(process, STATUS_OUTSIDE))) {
            fail_msg("n%u ended by itself, status %d", i + 1, process->status);
        }
        chaos->is_down[i] = false;
        assert_true(cluster_start_node(&chaos->cluster, i));
    }
}

static struct tally *tally_of(const struct nemesis *nemesis)
{
    struct tally *tally = tallies;

    while (tally->nemesis != NULL && tally->nemesis != nemesis) {
        tally++;
    }
    tally->nemesis = nemesis;
    return tally;
}

static void suffer_once(struct chaos *chaos)
{
    const struct nemesis *nemesis = chaos->nemesis;
    uint64_t end;
    uint64_t healed;

    assert_writes_go_on(chaos, WARM_UP_WRITES);
    chaos->effect = 0;
    assert_true(nemesis->begin(chaos));
    end = now_ms() + nemesis->hold_ms / 2 + chaos_draw(chaos, nemesis->hold_ms);
    while (now_ms() < end) {
        if (nemesis->keeps_majority) {
            assert_writes_go_on(chaos, 1);
        } else {
            assert_load_is_well(chaos);
            pause_ms(50);
        }
    }
    assert_true(nemesis->end == NULL || nemesis->end(chaos));
    if (chaos->effect == 0) {
        fail_msg("the nemesis did nothing: 0 %s", nemesis->effect);
    }
    tally_of(nemesis)->effect += chaos->effect;
    start_what_is_down(chaos);
    healed = now_ms();
    assert_writes_go_on(chaos, 2);
    print_message("  writes went on %llu ms after it ended\n",
                  (unsigned long long)(now_ms() - healed));
    if (!cluster_wait_ready(&chaos->cluster, CLUSTER_READY_MS)) {
        fail_msg("not all nodes were ready %u ms after it ended", CLUSTER_READY_MS);
    }
}

/* All nodes have executed the same by now, so they have to find each other alike there. */
static bool state_was_compared(void *data)
{
    uint64_t applied = 0;
    uint64_t compared = 0;

    return cluster_metric(data, "holdfast_raft_applied_index", &applied) &&
           cluster_metric(data, "holdfast_state_compared_index", &compared) &&
           compared == applied && applied > 0;
}

static void assert_nodes_watch_their_state(struct chaos *chaos)
{
    unsigned node;

    for (node = 0; node < CLUSTER_NODES; node++) {
        uint64_t split = 1;

        if (!wait_until(state_was_compared, &chaos->cluster.nodes[node], COMPARED_MS)) {
            fail_msg("n%u has not compared its state", node + 1);
        }
        assert_true(cluster_metric(&chaos->cluster.nodes[node], "holdfast_states_split", &split));
        assert_int_equal(split, 0);
    }
}

static void assert_history_holds(struct chaos *chaos)
{
    struct tally *tally = tally_of(chaos->nemesis);
    struct registers_summary items;
    struct logs_summary logs;
    const char *wrong;
    char text[512];
    unsigned node;

    stop_load(chaos);
    assert_load_is_well(chaos);
    for (node = 0; node < CLUSTER_NODES; node++) {
        wrong = writers_verify(&chaos->writers, node);
        if (wrong != NULL) {
            fail_msg("n%u: %s", node + 1, wrong);
        }
    }
    if (!cluster_states_are_equal(&chaos->cluster, text, sizeof text)) {
        fail_msg("the states differ: %s", text);
    }
    assert_nodes_watch_their_state(chaos);
    wrong = registers_check(&chaos->registers, &items);
    wrong = wrong != NULL ? wrong : logs_check(&chaos->logs, &logs);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    print_message("  %llu writes, each there once; linearizable: %zu operations on items, %zu "
                  "appends to %zu logs and %zu reads of them, %llu of them with unknown outcome; "
                  "%llu weaker reads\n",
                  (unsigned long long)atomic_load(&chaos->writers.acknowledged), items.operations,
                  logs.appends, logs.logs, logs.reads,
                  (unsigned long long)(items.unknown + logs.unknown),
                  (unsigned long long)items.weak_reads);
    tally->runs++;
    tally->writes += atomic_load(&chaos->writers.acknowledged);
    tally->operations += items.operations + logs.appends + logs.reads;
    tally->unknown += items.unknown + logs.unknown;
}

static void print_tallies(void)
{
    const struct tally *tally;

    for (tally = tallies; tally->nemesis != NULL; tally++) {
        print_message("%-16s %3u runs, %8llu writes, %8llu operations in histories, %5llu of them "
                      "unknown; %llu %s\n",
                      tally->nemesis->name, tally->runs, (unsigned long long)tally->writes,
                      (unsigned long long)tally->operations, (unsigned long long)tally->unknown,
                      (unsigned long long)tally->effect, tally->nemesis->effect);
    }
}

static void nothing_is_lost(void **state)
{
    struct chaos *chaos = *state;
    const char *missing = missing_for(chaos->nemesis);
    unsigned round;

    print_message("  %s\n", chaos->nemesis->does);
    if (missing != NULL) {
        print_message("  *** NOT RUN: %s ***\n", missing);
        skip();
    }
    for (round = 0; round < ROUNDS; round++) {
        suffer_once(chaos);
    }
    assert_history_holds(chaos);
    chaos->passed = true;
}

/* --- All of them --- */

static size_t add_nemeses(struct CMUnitTest *tests, size_t n, const struct nemesis *nemeses)
{
    const char *only = getenv("HOLDFAST_CHAOS_ONLY");

    for (; nemeses->name != NULL && n < MAX_NEMESES; nemeses++) {
        if (only == NULL || strcmp(only, nemeses->name) == 0) {
            tests[n++] = (struct CMUnitTest){
                .name = nemeses->name,
                .test_func = nothing_is_lost,
                .setup_func = setup,
                .teardown_func = teardown,
                .initial_state = (void *)(uintptr_t)nemeses,
            };
        }
    }
    return n;
}

static int run_each_once(void)
{
    struct CMUnitTest tests[MAX_NEMESES];
    size_t n = 0;

    n = add_nemeses(tests, n, process_nemeses);
    n = add_nemeses(tests, n, network_nemeses);
    n = add_nemeses(tests, n, disk_nemeses);
    n = add_nemeses(tests, n, bit_nemeses);
    n = add_nemeses(tests, n, clock_nemeses);
    n = add_nemeses(tests, n, member_nemeses);
    return _cmocka_run_group_tests("chaos", tests, n, NULL, NULL);
}

int main(void)
{
    const char *text = getenv("HOLDFAST_CHAOS_SECONDS");
    uint64_t end = now_ms() + (text == NULL ? 0 : strtoull(text, NULL, 10) * 1000);
    int failed;

    if (!network_enter(&missing_network)) {
        missing_disks = missing_network; /* Mounts would not be the test's own. */
    } else {
        (void)faulty_disk_is_possible(&missing_disks); /* Says why not, if not. */
    }
    round_seed = test_seed();
    do {
        process_limit_test(TEST_LIMIT_S);
        print_message("HOLDFAST_TEST_SEED=%llu draws the following\n",
                      (unsigned long long)round_seed);
        failed = run_each_once();
        (void)random_next(&round_seed);
    } while (failed == 0 && now_ms() < end);
    print_tallies();
    return failed;
}
