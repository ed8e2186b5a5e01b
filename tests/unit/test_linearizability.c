/* The checker itself, with histories known to be good and bad, and against a plain search that
 * tries every order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/linearizability.h"

#define UNKNOWN UINT64_MAX
#define MANY    1000000

#define READ(v)                                                                                    \
    {                                                                                              \
        REGISTER_READ, (v), 0, true                                                                \
    }
#define WRITE(v)                                                                                   \
    {                                                                                              \
        REGISTER_WRITE, (v), 0, true                                                               \
    }
#define CAS(e, v)                                                                                  \
    {                                                                                              \
        REGISTER_CAS, (v), (e), true                                                               \
    }
#define CAS_FAILED(e, v)                                                                           \
    {                                                                                              \
        REGISTER_CAS, (v), (e), false                                                              \
    }

struct timed_register {
    uint64_t call;
    uint64_t answer;
    struct register_operation operation;
};

static enum linearizability check_register(const struct timed_register *timed, size_t n)
{
    struct history_operation operations[16];

    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        operations[i] =
            (struct history_operation){timed[i].call, timed[i].answer, &timed[i].operation};
    }
    return linearizability_check(&register_model, operations, n, MANY, NULL);
}

#define ASSERT_REGISTER(expected, ...)                                                             \
    do {                                                                                           \
        const struct timed_register timed[] = {__VA_ARGS__};                                       \
        assert_int_equal(check_register(timed, sizeof timed / sizeof timed[0]), (expected));       \
    } while (0)

static void a_sequence_is_linearizable(void **state)
{
    (void)state;
    ASSERT_REGISTER(LINEARIZABLE, {1, 2, READ(0)}, {3, 4, WRITE(7)}, {5, 6, READ(7)},
                    {7, 8, CAS(7, 8)}, {9, 10, CAS_FAILED(7, 9)}, {11, 12, READ(8)});
}

static void a_stale_read_is_not(void **state)
{
    (void)state;
    ASSERT_REGISTER(NOT_LINEARIZABLE, {1, 2, WRITE(1)}, {3, 4, WRITE(2)}, {5, 6, READ(1)});
}

static void reads_beside_a_write_may_see_either_but_not_go_back(void **state)
{
    (void)state;
    ASSERT_REGISTER(LINEARIZABLE, {1, 10, WRITE(1)}, {2, 3, READ(0)}, {4, 5, READ(1)});
    ASSERT_REGISTER(NOT_LINEARIZABLE, {1, 10, WRITE(1)}, {2, 3, READ(1)}, {4, 5, READ(0)});
}

static void a_lost_write_is_not(void **state)
{
    (void)state;
    ASSERT_REGISTER(NOT_LINEARIZABLE, {1, 2, WRITE(1)}, {3, 4, READ(0)});
}

static void of_two_equal_swaps_only_one_may_win(void **state)
{
    (void)state;
    ASSERT_REGISTER(LINEARIZABLE, {1, 2, WRITE(1)}, {3, 9, CAS(1, 2)}, {3, 9, CAS_FAILED(1, 3)});
    ASSERT_REGISTER(NOT_LINEARIZABLE, {1, 2, WRITE(1)}, {3, 9, CAS(1, 2)}, {3, 9, CAS(1, 3)});
}

static void an_unknown_write_may_happen_late_or_never(void **state)
{
    (void)state;
    ASSERT_REGISTER(LINEARIZABLE, {1, UNKNOWN, WRITE(1)}, {3, 4, READ(0)}, {5, 6, READ(1)});
    ASSERT_REGISTER(LINEARIZABLE, {1, UNKNOWN, WRITE(1)}, {3, 4, READ(0)}, {5, 6, READ(0)});
    ASSERT_REGISTER(NOT_LINEARIZABLE, {1, UNKNOWN, WRITE(1)}, {3, 4, READ(1)}, {5, 6, READ(0)});
    ASSERT_REGISTER(NOT_LINEARIZABLE, {5, UNKNOWN, WRITE(1)}, {3, 4, READ(1)});
}

static void it_names_the_operation_that_does_not_fit(void **state)
{
    const struct register_operation what[] = {WRITE(1), WRITE(2), READ(1)};
    const struct history_operation operations[] = {
        {5, 6, &what[2]}, {1, 2, &what[0]}, {3, 4, &what[1]}};
    size_t furthest = 99;

    (void)state;
    assert_int_equal(linearizability_check(&register_model, operations, 3, MANY, &furthest),
                     NOT_LINEARIZABLE);
    assert_int_equal(furthest, 0);
}

static void a_log_with_a_number_given_twice_is_not(void **state)
{
    const struct log_operation what[] = {{LOG_APPEND, 10, 1, 0}, {LOG_APPEND, 11, 1, 0}};
    const struct history_operation operations[] = {{1, 5, &what[0]}, {2, 6, &what[1]}};

    (void)state;
    assert_int_equal(linearizability_check(&log_model, operations, 1, MANY, NULL), LINEARIZABLE);
    assert_int_equal(linearizability_check(&log_model, operations, 2, MANY, NULL),
                     NOT_LINEARIZABLE);
}

static void a_log_read_must_show_the_order_of_the_numbers(void **state)
{
    uint64_t both = log_contents_add(log_contents_add(0, 10), 11);
    uint64_t swapped = log_contents_add(log_contents_add(0, 11), 10);
    const struct log_operation good[] = {
        {LOG_APPEND, 10, 1, 0}, {LOG_APPEND, 11, 2, 0}, {LOG_READ, 0, 2, both}};
    const struct log_operation bad[] = {
        {LOG_APPEND, 10, 1, 0}, {LOG_APPEND, 11, 2, 0}, {LOG_READ, 0, 2, swapped}};
    struct history_operation operations[3];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        operations[i] = (struct history_operation){i, i + 5, &good[i]};
    }
    assert_int_equal(linearizability_check(&log_model, operations, 3, MANY, NULL), LINEARIZABLE);
    for (size_t i = 0; i < 3; i++) {
        operations[i].what = &bad[i];
    }
    assert_int_equal(linearizability_check(&log_model, operations, 3, MANY, NULL),
                     NOT_LINEARIZABLE);
}

static void a_long_history_of_many_clients_is_decided(void **state)
{
    enum { ROUNDS = 2000, CLIENTS = 6 };
    struct register_operation *what = calloc(ROUNDS * CLIENTS, sizeof *what);
    struct history_operation *operations = calloc(ROUNDS * CLIENTS, sizeof *operations);
    size_t n = 0;

    (void)state;
    assert_non_null(what);
    assert_non_null(operations);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t client = 0; client < CLIENTS; client++) {
            what[n] = (struct register_operation){REGISTER_WRITE, 1 + n, 0, true};
            operations[n] = (struct history_operation){round * 10, round * 10 + 9, &what[n]};
            n++;
        }
    }
    assert_int_equal(linearizability_check(&register_model, operations, n, 10 * MANY, NULL),
                     LINEARIZABLE);
    free(operations);
    free(what);
}

static void it_gives_up_when_it_may_not_try_more(void **state)
{
    /* Twelve concurrent writes and a read of something that none wrote: every order is tried. */
    struct register_operation what[13];
    struct history_operation operations[13];

    (void)state;
    for (uint64_t i = 0; i < 12; i++) {
        what[i] = (struct register_operation){REGISTER_WRITE, i + 1, 0, true};
        operations[i] = (struct history_operation){1, 9, &what[i]};
    }
    what[12] = (struct register_operation){REGISTER_READ, 99, 0, true};
    operations[12] = (struct history_operation){10, 11, &what[12]};
    assert_int_equal(linearizability_check(&register_model, operations, 13, 100, NULL),
                     LINEARIZABILITY_UNDECIDED);
    assert_int_equal(linearizability_check(&register_model, operations, 13, MANY, NULL),
                     NOT_LINEARIZABLE);
}

/* --- Against a plain search --- */

static bool plain_search(const struct history_operation *operations, size_t n, unsigned placed,
                         struct object_state object)
{
    bool all_known = true;

    for (size_t i = 0; i < n; i++) {
        all_known = all_known && ((placed >> i & 1) || operations[i].answer == UNKNOWN);
    }
    if (all_known) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        struct object_state next = object;
        bool may_be_next = !(placed >> i & 1);

        for (size_t j = 0; j < n && may_be_next; j++) {
            may_be_next = (placed >> j & 1) || operations[j].answer >= operations[i].call;
        }
        if (may_be_next &&
            register_model.step(&next, operations[i].what, operations[i].answer != UNKNOWN) &&
            plain_search(operations, n, placed | 1u << i, next)) {
            return true;
        }
    }
    return false;
}

static void it_agrees_with_trying_every_order(void **state)
{
    unsigned counts[2] = {0, 0};
    unsigned seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct register_operation what[6];
        struct history_operation operations[6];
        bool expected;

        for (size_t i = 0; i < 6; i++) {
            uint64_t call = (uint64_t)(rand_r(&seed) % 12);

            what[i] = (struct register_operation){
                (enum register_action)(rand_r(&seed) % 4), 1 + (uint64_t)(rand_r(&seed) % 2),
                (uint64_t)(rand_r(&seed) % 3), rand_r(&seed) % 2 == 0};
            if (what[i].action == REGISTER_READ) {
                what[i].value = (uint64_t)(rand_r(&seed) % 3);
            }
            operations[i] = (struct history_operation){
                call, rand_r(&seed) % 8 == 0 ? UNKNOWN : call + (uint64_t)(rand_r(&seed) % 5),
                &what[i]};
        }
        expected = plain_search(operations, 6, 0, (struct object_state){{0}});
        counts[expected]++;
        assert_int_equal(linearizability_check(&register_model, operations, 6, MANY, NULL),
                         expected ? LINEARIZABLE : NOT_LINEARIZABLE);
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000); /* Both kinds were tried. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_is_linearizable),
        cmocka_unit_test(a_stale_read_is_not),
        cmocka_unit_test(reads_beside_a_write_may_see_either_but_not_go_back),
        cmocka_unit_test(a_lost_write_is_not),
        cmocka_unit_test(of_two_equal_swaps_only_one_may_win),
        cmocka_unit_test(an_unknown_write_may_happen_late_or_never),
        cmocka_unit_test(it_names_the_operation_that_does_not_fit),
        cmocka_unit_test(a_log_with_a_number_given_twice_is_not),
        cmocka_unit_test(a_log_read_must_show_the_order_of_the_numbers),
        cmocka_unit_test(a_long_history_of_many_clients_is_decided),
        cmocka_unit_test(it_gives_up_when_it_may_not_try_more),
        cmocka_unit_test(it_agrees_with_trying_every_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
