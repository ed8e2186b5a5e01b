/* Comparing states: who is wrong is told by a majority of the voters at one index, and by nothing
 * less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft/comparison.h"

#define SELF 1u

static const uint64_t others[] = {2, 3, 4, 5};

struct fixture {
    struct comparison comparison;
    struct comparison_verdict verdict;
    uint64_t voters[5];
    unsigned n_voters;
};

/* A cluster of @n voters, this node first. */
static void form(struct fixture *f, unsigned n)
{
    comparison_init(&f->comparison, SELF);
    comparison_keep(&f->comparison, others, n - 1);
    f->n_voters = n;
    for (unsigned i = 0; i < n; i++) {
        f->voters[i] = i + 1;
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    form(f, 3);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void execute(struct fixture *f, uint64_t index, uint64_t hash)
{
    const uint64_t whole[2] = {hash, 7};

    comparison_executed(&f->comparison, index, whole);
}

static void hear(struct fixture *f, uint64_t id, uint64_t index, uint64_t hash)
{
    const struct frame_marks state = {.n_marks = 1, .marks = {{.index = index, .hash = {hash, 7}}}};

    comparison_heard(&f->comparison, id, &state);
}

static const struct comparison_verdict *judge(struct fixture *f)
{
    comparison_judge(&f->comparison, f->voters, f->n_voters, &f->verdict);
    return &f->verdict;
}

static void equal_states_are_well(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->verdict.split_index, 0);
    assert_int_equal(f->comparison.agreed_index, COMPARISON_EVERY);
    assert_false(comparison_differs(&f->comparison, 2));
    assert_false(comparison_differs(&f->comparison, 3));
}

static void what_a_majority_has_is_right(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 6);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);

    assert_int_equal(judge(f)->wrong_index, COMPARISON_EVERY);
    assert_int_equal(f->verdict.n_others, 2);
    assert_int_equal(f->verdict.hash[0], 6);
    assert_int_equal(f->verdict.others[0], 5);
    assert_int_equal(f->comparison.agreed_index, 0);
}

static void half_of_the_hash_is_not_enough_to_be_equal(void **state)
{
    struct fixture *f = *state;
    const uint64_t own[2] = {5, 8};

    comparison_executed(&f->comparison, COMPARISON_EVERY, own);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);

    assert_int_equal(judge(f)->wrong_index, COMPARISON_EVERY);
}

static void one_that_differs_from_the_majority_is_told_and_stops_nobody_else(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->comparison.agreed_index, COMPARISON_EVERY);
    assert_false(comparison_differs(&f->comparison, 2));
    assert_true(comparison_differs(&f->comparison, 3));
}

static void two_of_three_that_differ_leave_it_open(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->verdict.split_index, 0);
    assert_true(comparison_differs(&f->comparison, 2));

    hear(f, 3, COMPARISON_EVERY, 6);
    assert_int_equal(judge(f)->wrong_index, COMPARISON_EVERY);
}

static void without_a_majority_nobody_stops(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);
    hear(f, 3, COMPARISON_EVERY, 7);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->verdict.split_index, COMPARISON_EVERY);
}

static void two_voters_that_differ_are_no_majority(void **state)
{
    struct fixture *f = *state;

    form(f, 2);
    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->verdict.split_index, COMPARISON_EVERY);
}

/* 2 against 2 of 5: the fifth decides. */
static void a_split_is_one_only_when_nobody_can_decide_it_any_more(void **state)
{
    struct fixture *f = *state;

    form(f, 5);
    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 6);
    hear(f, 4, COMPARISON_EVERY, 6);
    assert_int_equal(judge(f)->split_index, 0);

    hear(f, 5, COMPARISON_EVERY, 7);
    assert_int_equal(judge(f)->split_index, COMPARISON_EVERY);
    assert_int_equal(f->verdict.wrong_index, 0);
}

static void the_fifth_decides_for_one_side(void **state)
{
    struct fixture *f = *state;

    form(f, 5);
    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 6);
    hear(f, 4, COMPARISON_EVERY, 6);
    hear(f, 5, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->wrong_index, COMPARISON_EVERY);
    assert_int_equal(f->verdict.n_others, 3);
}

static void who_does_not_vote_decides_nothing(void **state)
{
    struct fixture *f = *state;

    form(f, 5);
    f->n_voters = 3;
    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);
    hear(f, 4, COMPARISON_EVERY, 6);
    hear(f, 5, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->comparison.agreed_index, COMPARISON_EVERY);
    assert_true(comparison_differs(&f->comparison, 5));
}

static void who_does_not_vote_can_be_wrong(void **state)
{
    struct fixture *f = *state;

    form(f, 4);
    f->n_voters = 3;
    for (unsigned i = 0; i < 3; i++) {
        f->voters[i] = i + 2; /* All but this node. */
    }
    execute(f, COMPARISON_EVERY, 6);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);

    assert_int_equal(judge(f)->wrong_index, COMPARISON_EVERY);
}

static void different_indexes_are_not_compared(void **state)
{
    struct fixture *f = *state;

    execute(f, 2 * COMPARISON_EVERY, 6);
    execute(f, 2 * COMPARISON_EVERY + 5, 7);
    hear(f, 2, COMPARISON_EVERY, 5);
    hear(f, 3, COMPARISON_EVERY, 5);
    hear(f, 2, 2 * COMPARISON_EVERY + 4, 5);
    hear(f, 3, 2 * COMPARISON_EVERY + 4, 5);

    assert_int_equal(judge(f)->wrong_index, 0);
    assert_false(comparison_differs(&f->comparison, 2));
}

/* An idle cluster is not at a marked index. */
static void the_last_index_is_compared_when_all_are_there(void **state)
{
    struct fixture *f = *state;

    execute(f, 16, 6);
    execute(f, 17, 6);
    hear(f, 2, 17, 5);
    hear(f, 3, 17, 5);

    assert_int_equal(judge(f)->wrong_index, 17);
}

static void who_is_behind_is_compared_with_what_was_heard_before(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 1; i <= COMPARISON_KEPT; i++) {
        hear(f, 2, i * COMPARISON_EVERY, i);
        hear(f, 3, i * COMPARISON_EVERY, i);
    }
    execute(f, 2 * COMPARISON_EVERY, 2);
    assert_int_equal(judge(f)->wrong_index, 0);
    assert_int_equal(f->comparison.agreed_index, 2 * COMPARISON_EVERY);

    execute(f, 3 * COMPARISON_EVERY, 2);
    assert_int_equal(judge(f)->wrong_index, 3 * COMPARISON_EVERY);
}

static void what_is_older_than_is_kept_is_forgotten(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 1; i <= COMPARISON_KEPT + 1; i++) {
        hear(f, 2, i * COMPARISON_EVERY, i);
        hear(f, 3, i * COMPARISON_EVERY, i);
    }
    execute(f, COMPARISON_EVERY, 99);

    assert_int_equal(judge(f)->wrong_index, 0);
}

static void who_begins_anew_is_not_held_to_what_it_told_before(void **state)
{
    struct fixture *f = *state;

    hear(f, 2, COMPARISON_EVERY, 6);
    hear(f, 3, COMPARISON_EVERY, 6);
    comparison_forget(&f->comparison, 2);
    execute(f, COMPARISON_EVERY, 5);

    assert_int_equal(judge(f)->wrong_index, 0);
}

static void a_difference_that_is_mended_is_over(void **state)
{
    struct fixture *f = *state;

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);
    hear(f, 3, COMPARISON_EVERY, 7);
    assert_int_equal(judge(f)->split_index, COMPARISON_EVERY);

    execute(f, 2 * COMPARISON_EVERY, 8);
    hear(f, 2, 2 * COMPARISON_EVERY, 8);
    hear(f, 3, 2 * COMPARISON_EVERY, 8);

    assert_int_equal(judge(f)->split_index, 0);
    assert_false(comparison_differs(&f->comparison, 2));
    assert_false(comparison_differs(&f->comparison, 3));
}

static void members_that_left_are_dropped_and_the_others_kept(void **state)
{
    struct fixture *f = *state;
    const uint64_t kept[] = {3, 9};

    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);
    hear(f, 3, COMPARISON_EVERY, 6);
    comparison_keep(&f->comparison, kept, 2);
    hear(f, 2, COMPARISON_EVERY, 6);

    assert_int_equal(f->comparison.n_members, 2);
    assert_int_equal(judge(f)->wrong_index, 0);
    assert_true(comparison_differs(&f->comparison, 3));
    assert_false(comparison_differs(&f->comparison, 2));
}

/* Before the first configuration is known. */
static void without_voters_nothing_is_judged(void **state)
{
    struct fixture *f = *state;

    f->n_voters = 0;
    execute(f, COMPARISON_EVERY, 5);
    hear(f, 2, COMPARISON_EVERY, 6);

    assert_int_equal(judge(f)->split_index, 0);
    assert_int_equal(f->verdict.wrong_index, 0);
}

static void the_newest_marks_and_the_last_index_are_told(void **state)
{
    struct fixture *f = *state;
    struct frame_marks told;
    bool has_last = false;
    bool has_newest = false;

    comparison_tell(&f->comparison, &told);
    assert_int_equal(told.n_marks, 0);
    for (uint64_t i = 1; i <= COMPARISON_KEPT + 9; i++) {
        if (i != COMPARISON_KEPT + 7) { /* One that went by unseen. */
            execute(f, i * COMPARISON_EVERY, i);
        }
    }
    execute(f, (COMPARISON_KEPT + 9) * COMPARISON_EVERY + 3, 77);
    comparison_tell(&f->comparison, &told);

    assert_int_equal(told.n_marks, FRAME_MAX_MARKS);
    for (unsigned i = 0; i < told.n_marks; i++) {
        const struct frame_mark *mark = &told.marks[i];

        has_last = has_last || (mark->hash[0] == 77 && mark->index % COMPARISON_EVERY == 3);
        has_newest = has_newest || mark->hash[0] == COMPARISON_KEPT + 9;
        assert_true(mark->hash[0] == 77 || mark->index == mark->hash[0] * COMPARISON_EVERY);
        assert_true(mark->hash[0] > COMPARISON_KEPT);
    }
    assert_true(has_last);
    assert_true(has_newest);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(equal_states_are_well),
        TEST(what_a_majority_has_is_right),
        TEST(half_of_the_hash_is_not_enough_to_be_equal),
        TEST(one_that_differs_from_the_majority_is_told_and_stops_nobody_else),
        TEST(two_of_three_that_differ_leave_it_open),
        TEST(without_a_majority_nobody_stops),
        TEST(two_voters_that_differ_are_no_majority),
        TEST(a_split_is_one_only_when_nobody_can_decide_it_any_more),
        TEST(the_fifth_decides_for_one_side),
        TEST(who_does_not_vote_decides_nothing),
        TEST(who_does_not_vote_can_be_wrong),
        TEST(different_indexes_are_not_compared),
        TEST(the_last_index_is_compared_when_all_are_there),
        TEST(who_is_behind_is_compared_with_what_was_heard_before),
        TEST(what_is_older_than_is_kept_is_forgotten),
        TEST(who_begins_anew_is_not_held_to_what_it_told_before),
        TEST(a_difference_that_is_mended_is_over),
        TEST(members_that_left_are_dropped_and_the_others_kept),
        TEST(without_voters_nothing_is_judged),
        TEST(the_newest_marks_and_the_last_index_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
