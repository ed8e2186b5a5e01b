/* The cluster's time under clocks that jump, drift and stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/cluster_time.h"

#define HOUR_MS  (3600u * 1000)
#define EPOCH_MS 1800000000000ull /* Some wall time. */

/* The clocks of three voters, as of @now_ms. */
static void hear(struct cluster_time *time, uint64_t now_ms, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t walls[3] = {a, b, c};

    cluster_time_hear_walls(time, walls, 3, now_ms);
}

static void a_cluster_that_was_stopped_takes_the_wall_time(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 1000);
    hear(&time, 1000, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + 5 * HOUR_MS);
    assert_true(cluster_time_now(&time, 1000) == EPOCH_MS + HOUR_MS);
}

static void entries_replayed_after_a_stop_do_not_hold_time_back(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    cluster_time_executed(&time, EPOCH_MS + 10, false, 5);
    hear(&time, 5, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS);
    assert_true(cluster_time_now(&time, 5) == EPOCH_MS + HOUR_MS);
}

static void a_wall_clock_behind_the_state_does_not_turn_time_back(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    hear(&time, 0, EPOCH_MS - HOUR_MS, EPOCH_MS - HOUR_MS, EPOCH_MS - HOUR_MS);
    assert_true(cluster_time_now(&time, 10) == EPOCH_MS);
}

static void a_running_cluster_does_not_follow_a_jump(void **state)
{
    struct cluster_time time;
    uint64_t now_ms;

    (void)state;
    cluster_time_init(&time, 0, 0);
    cluster_time_executed(&time, EPOCH_MS, true, 0);
    hear(&time, 0, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS);
    now_ms = cluster_time_now(&time, 10000);
    assert_true(now_ms == EPOCH_MS + 10000 + 1000); /* A tenth faster, no more. */

    hear(&time, 10000, EPOCH_MS - HOUR_MS, EPOCH_MS - HOUR_MS, EPOCH_MS - HOUR_MS);
    assert_true(cluster_time_now(&time, 20000) == now_ms + 10000 - 1000);
}

static void one_wrong_clock_of_three_changes_nothing(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, 0, 0);
    cluster_time_executed(&time, EPOCH_MS, true, 0);
    hear(&time, 0, EPOCH_MS, EPOCH_MS, EPOCH_MS + HOUR_MS);
    assert_true(cluster_time_now(&time, 5000) == EPOCH_MS + 5000);
    hear(&time, 5000, EPOCH_MS + 5000, EPOCH_MS + 5000, 0);
    assert_true(cluster_time_now(&time, 9000) == EPOCH_MS + 9000);
}

static void it_arrives_at_the_wall_time_and_stays_there(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, 0, 0);
    cluster_time_executed(&time, EPOCH_MS, true, 0);
    hear(&time, 0, EPOCH_MS + 500, EPOCH_MS + 500, EPOCH_MS + 500);
    for (uint64_t now_ms = 1; now_ms <= 20000; now_ms += 7) {
        (void)cluster_time_now(&time, now_ms); /* In small steps, which must not lose the slew. */
    }
    assert_true(cluster_time_now(&time, 20000) == EPOCH_MS + 20500);
    assert_true(cluster_time_now(&time, 30000) == EPOCH_MS + 30500);
}

static void it_never_goes_back_whatever_is_heard(void **state)
{
    struct cluster_time time;
    uint64_t last = 0;
    uint64_t random = 88172645463325252u;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    for (uint64_t now_ms = 0; now_ms < 100000; now_ms += random % 13) {
        uint64_t stamp;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if (random % 3 == 0) {
            hear(&time, now_ms, random % (2 * EPOCH_MS), EPOCH_MS + random % HOUR_MS, EPOCH_MS);
        } else if (random % 5 == 0) {
            cluster_time_executed(&time, EPOCH_MS + random % HOUR_MS, true, now_ms);
        }
        stamp = cluster_time_now(&time, now_ms);
        assert_true(stamp >= last);
        last = stamp;
    }
}

static void a_new_leader_goes_on_from_the_last_stamp(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    cluster_time_executed(&time, EPOCH_MS + 40000, true, 100);
    hear(&time, 150, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS);
    assert_true(cluster_time_now(&time, 150) == EPOCH_MS + 40050);
}

/* It saw two wrong clocks of three for a moment: that of one node, and what was last heard of
 * another that has been set right since. */
static void clocks_that_nothing_was_stamped_by_leave_no_trace(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    hear(&time, 10, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + 10);
    hear(&time, 20, EPOCH_MS + HOUR_MS, EPOCH_MS + HOUR_MS, EPOCH_MS + 20);
    hear(&time, 30, EPOCH_MS + HOUR_MS, EPOCH_MS + 30, EPOCH_MS + 30);
    cluster_time_executed(&time, EPOCH_MS + 50, true, 50);
    assert_true(cluster_time_now(&time, 50) == EPOCH_MS + 50);
}

static void what_was_stamped_before_the_clocks_were_heard_again_stays_the_floor(void **state)
{
    struct cluster_time time;

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    hear(&time, 10, EPOCH_MS + 500, EPOCH_MS + 500, EPOCH_MS + 500);
    assert_true(cluster_time_now(&time, 10) == EPOCH_MS + 500);
    hear(&time, 20, EPOCH_MS + 400, EPOCH_MS + 400, EPOCH_MS + 400);
    assert_true(cluster_time_now(&time, 20) == EPOCH_MS + 500);
    cluster_time_executed(&time, EPOCH_MS + 300, true, 30);
    assert_true(cluster_time_now(&time, 30) == EPOCH_MS + 500);
}

static void of_two_clocks_the_earlier_counts_and_time_goes_on(void **state)
{
    struct cluster_time time;
    uint64_t walls[2] = {EPOCH_MS + HOUR_MS, EPOCH_MS + 700};

    (void)state;
    cluster_time_init(&time, EPOCH_MS, 0);
    cluster_time_hear_walls(&time, walls, 2, 0);
    assert_true(cluster_time_now(&time, 0) == EPOCH_MS + 700);
    cluster_time_executed(&time, EPOCH_MS + 700, true, 0);

    walls[0] = EPOCH_MS + 700;
    walls[1] = EPOCH_MS - HOUR_MS;
    cluster_time_hear_walls(&time, walls, 2, 0);
    assert_true(cluster_time_now(&time, 10000) == EPOCH_MS + 9700); /* A tenth slower, no more. */
}

static void a_clock_that_jumped_ahead_counts_as_before_for_a_while(void **state)
{
    struct clock_low clock = {.period = 0};

    (void)state;
    assert_true(clock_low_wall(&clock, 5) == 0);
    for (uint64_t now_ms = 0; now_ms < 3 * CLOCK_LOW_MS; now_ms += 100) {
        clock_low_hear(&clock, EPOCH_MS + now_ms, now_ms);
    }
    for (uint64_t now_ms = 3 * CLOCK_LOW_MS; now_ms < 4 * CLOCK_LOW_MS; now_ms += 100) {
        clock_low_hear(&clock, EPOCH_MS + now_ms + HOUR_MS, now_ms);
        assert_true(clock_low_wall(&clock, now_ms) == EPOCH_MS + now_ms);
    }
    clock_low_hear(&clock, EPOCH_MS + HOUR_MS, 4 * CLOCK_LOW_MS); /* Not for ever. */
    clock_low_hear(&clock, EPOCH_MS + HOUR_MS + 2000, 5 * CLOCK_LOW_MS + 1000);
    assert_true(clock_low_wall(&clock, 6 * CLOCK_LOW_MS) > EPOCH_MS + HOUR_MS - 5000);
}

static void a_clock_that_was_set_back_counts_at_once(void **state)
{
    struct clock_low clock = {.period = 0};

    (void)state;
    clock_low_hear(&clock, EPOCH_MS + HOUR_MS, 10);
    clock_low_hear(&clock, EPOCH_MS, 20);
    assert_true(clock_low_wall(&clock, 30) == EPOCH_MS + 10);
    clock_low_hear(&clock, EPOCH_MS + HOUR_MS, 10 * CLOCK_LOW_MS); /* After a long silence. */
    assert_true(clock_low_wall(&clock, 10 * CLOCK_LOW_MS) == EPOCH_MS + HOUR_MS);
}

/* One clock is wrong at each moment: first this one, then that one. */
static void readings_from_both_sides_of_a_change_are_not_compared(void **state)
{
    struct clock_low set_right = {.period = 0};
    struct clock_low jumped = {.period = 0};
    struct clock_low own = {.period = 0};
    const struct clock_low *clocks[] = {&set_right, &own, &jumped};

    (void)state;
    clock_low_hear(&set_right, EPOCH_MS + HOUR_MS, 100);
    clock_low_hear(&own, EPOCH_MS, 100);
    assert_int_equal(clock_low_comparable(clocks, 2), 2);

    clock_low_hear(&jumped, EPOCH_MS + HOUR_MS, 150); /* It was never heard when it was right. */
    clock_low_hear(&own, EPOCH_MS, 160);
    assert_int_equal(clock_low_comparable(clocks, 3), 2);
    assert_ptr_equal(clocks[0], &own);
    assert_ptr_equal(clocks[1], &jumped);

    clocks[0] = &set_right;
    clocks[1] = &own;
    clocks[2] = &jumped;
    clock_low_hear(&set_right, EPOCH_MS, 200);
    assert_int_equal(clock_low_comparable(clocks, 3), 3);

    /* After a long silence it is as if it were heard for the first time. */
    clock_low_hear(&own, EPOCH_MS, 200 + 10 * CLOCK_LOW_MS);
    assert_int_equal(clock_low_comparable(clocks, 3), 1);
    assert_ptr_equal(clocks[0], &own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_that_was_stopped_takes_the_wall_time),
        cmocka_unit_test(entries_replayed_after_a_stop_do_not_hold_time_back),
        cmocka_unit_test(a_wall_clock_behind_the_state_does_not_turn_time_back),
        cmocka_unit_test(a_running_cluster_does_not_follow_a_jump),
        cmocka_unit_test(one_wrong_clock_of_three_changes_nothing),
        cmocka_unit_test(it_arrives_at_the_wall_time_and_stays_there),
        cmocka_unit_test(it_never_goes_back_whatever_is_heard),
        cmocka_unit_test(a_new_leader_goes_on_from_the_last_stamp),
        cmocka_unit_test(clocks_that_nothing_was_stamped_by_leave_no_trace),
        cmocka_unit_test(what_was_stamped_before_the_clocks_were_heard_again_stays_the_floor),
        cmocka_unit_test(a_clock_that_jumped_ahead_counts_as_before_for_a_while),
        cmocka_unit_test(a_clock_that_was_set_back_counts_at_once),
        cmocka_unit_test(of_two_clocks_the_earlier_counts_and_time_goes_on),
        cmocka_unit_test(readings_from_both_sides_of_a_change_are_not_compared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
