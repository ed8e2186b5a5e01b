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
#include "tests/lib/log_model.h"

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

static struct history_operation operation_of(uint64_t call, uint64_t answer, const void *what)
{
    return (struct history_operation){.call = call, .answer = answer, .what = what};
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
        operations[i] = operation_of(timed[i].call, timed[i].answer, &timed[i].operation);
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
        operation_of(5, 6, &what[2]), operation_of(1, 2, &what[0]), operation_of(3, 4, &what[1])};
    size_t furthest = 99;

    (void)state;
    assert_int_equal(linearizability_check(&register_model, operations, 3, MANY, &furthest),
                     NOT_LINEARIZABLE);
    assert_int_equal(furthest, 0);
}

/* --- Session logs --- */

struct timed_log {
    uint64_t call;
    uint64_t answer;
    struct log_operation operation;
};

#define APPEND(seq, n, event)                                                                      \
    {                                                                                              \
        .action = LOG_APPEND, .truncate_after = LOG_NO_REWIND, .first_event = (event),             \
        .n_events = (n), .first_seq = (seq)                                                        \
    }
#define REWIND(after, seq, n, event)                                                               \
    {                                                                                              \
        .action = LOG_APPEND, .truncate_after = (after), .first_event = (event), .n_events = (n),  \
        .first_seq = (seq)                                                                         \
    }
#define SEE(after, last, ...)                                                                      \
    {                                                                                              \
        .action = LOG_READ, .after_seq = (after), .last_seq = (last),                              \
        .n_seen = sizeof((const struct log_event[]){__VA_ARGS__}) / sizeof(struct log_event),      \
        .seen = (const struct log_event[])                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define SEE_NOTHING(after, last)                                                                   \
    {                                                                                              \
        .action = LOG_READ, .after_seq = (after), .last_seq = (last)                               \
    }

static enum linearizability check_log(struct timed_log *timed, size_t n)
{
    struct log_versions *versions = log_versions_open();
    struct history_operation operations[16];
    enum linearizability result;

    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        timed[i].operation.versions = versions;
        operations[i] = operation_of(timed[i].call, timed[i].answer, &timed[i].operation);
    }
    result = linearizability_check(&log_model, operations, n, MANY, NULL);
    log_versions_close(versions);
    return result;
}

#define ASSERT_LOG(expected, ...)                                                                  \
    do {                                                                                           \
        struct timed_log timed[] = {__VA_ARGS__};                                                  \
        assert_int_equal(check_log(timed, sizeof timed / sizeof timed[0]), (expected));            \
    } while (0)

static void a_log_in_sequence_is_linearizable(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 2, SEE_NOTHING(0, 0)}, {3, 4, APPEND(1, 2, 10)},
               {5, 6, SEE(0, 2, {1, 10}, {2, 11})}, {7, 8, APPEND(3, 1, 20)},
               {9, 10, SEE(1, 3, {2, 11}, {3, 20})}, {11, 12, SEE_NOTHING(3, 3)});
}

static void a_log_with_a_number_given_twice_is_not(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 5, APPEND(1, 1, 10)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 5, APPEND(1, 1, 10)}, {2, 6, APPEND(1, 1, 11)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 5, APPEND(1, 2, 10)}, {2, 6, APPEND(2, 1, 20)});
}

static void a_log_whose_numbers_leave_a_gap_is_not(void **state)
{
    (void)state;
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 1, 10)}, {3, 4, APPEND(3, 1, 11)});
    /* Unless somebody may have had it who never heard. */
    ASSERT_LOG(LINEARIZABLE, {1, UNKNOWN, APPEND(0, 1, 90)}, {1, 2, APPEND(1, 1, 10)},
               {3, 4, APPEND(3, 1, 11)});
}

static void numbers_that_go_against_time_are_not(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 9, APPEND(2, 1, 10)}, {3, 4, APPEND(1, 1, 11)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(2, 1, 10)}, {3, 4, APPEND(1, 1, 11)});
}

static void a_log_read_must_show_the_order_of_the_numbers(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 5, APPEND(1, 1, 10)}, {1, 5, APPEND(2, 1, 20)},
               {6, 7, SEE(0, 2, {1, 10}, {2, 20})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 5, APPEND(1, 1, 10)}, {1, 5, APPEND(2, 1, 20)},
               {6, 7, SEE(0, 2, {1, 20}, {2, 10})});
}

static void a_log_read_must_show_all_that_is_behind(void **state)
{
    (void)state;
    /* One that is missing in front, in the middle, or at the end; and one that nobody wrote. */
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, SEE(0, 3, {2, 11}, {3, 12})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, SEE(0, 3, {1, 10}, {3, 12})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, SEE(0, 2, {1, 10}, {2, 11})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 1, 10)}, {3, 4, SEE(0, 2, {1, 10}, {2, 99})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 1, 10)}, {3, 4, SEE_NOTHING(0, 1)});
    /* What is not behind is not asked for. */
    ASSERT_LOG(LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, SEE(1, 3, {2, 11}, {3, 12})});
}

static void log_reads_must_not_go_back(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 9, APPEND(1, 1, 10)}, {2, 3, SEE_NOTHING(0, 0)},
               {4, 5, SEE(0, 1, {1, 10})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 9, APPEND(1, 1, 10)}, {2, 3, SEE(0, 1, {1, 10})},
               {4, 5, SEE_NOTHING(0, 0)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 1, 10)}, {3, 4, SEE_NOTHING(0, 0)});
}

static void a_rewound_log_shows_less_and_goes_on_with_its_numbers(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, REWIND(1, 4, 1, 20)},
               {5, 6, SEE(0, 4, {1, 10}, {4, 20})}, {7, 8, REWIND(0, 5, 1, 30)},
               {9, 10, SEE(0, 5, {5, 30})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, REWIND(1, 2, 1, 20)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, REWIND(1, 4, 1, 20)},
               {5, 6, SEE(0, 4, {1, 10}, {2, 11}, {4, 20})});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, 2, APPEND(1, 3, 10)}, {3, 4, REWIND(1, 4, 1, 20)},
               {5, 6, SEE(0, 3, {1, 10}, {2, 11}, {3, 12})});
}

static void an_unknown_append_may_happen_late_once_or_never(void **state)
{
    (void)state;
    ASSERT_LOG(LINEARIZABLE, {1, UNKNOWN, APPEND(0, 1, 10)}, {3, 4, SEE_NOTHING(0, 0)},
               {5, 6, APPEND(1, 1, 20)}, {7, 8, SEE(0, 2, {1, 20}, {2, 10})});
    ASSERT_LOG(LINEARIZABLE, {1, UNKNOWN, APPEND(0, 1, 10)}, {3, 4, APPEND(1, 1, 20)},
               {5, 6, APPEND(2, 1, 21)});
    ASSERT_LOG(NOT_LINEARIZABLE, {1, UNKNOWN, APPEND(0, 1, 10)}, {3, 4, APPEND(1, 1, 20)},
               {5, 6, SEE(0, 3, {1, 20}, {2, 10}, {3, 10})});
    ASSERT_LOG(NOT_LINEARIZABLE, {5, UNKNOWN, APPEND(0, 1, 10)}, {3, 4, SEE(0, 1, {1, 10})});
}

/* As many operations as the simulator lets one session have, many of them at once. */
static void a_long_log_of_many_clients_is_decided(void **state)
{
    enum { ROUNDS = 100, CLIENTS = 6, N = ROUNDS * CLIENTS };
    struct log_versions *versions = log_versions_open();
    static struct log_operation what[2 * N];
    static struct history_operation operations[2 * N];
    static struct log_event seen[N][CLIENTS];

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t call = i / CLIENTS * 10;
        /* Within a round, the last that calls is the first in the log. */
        uint64_t seq = i / CLIENTS * CLIENTS + CLIENTS - i % CLIENTS;

        what[i] = (struct log_operation)APPEND(seq, 1, 1000 + seq);
        operations[i] = operation_of(call, call + 9, &what[i]);
        for (uint64_t j = 0; j < CLIENTS; j++) {
            uint64_t shown = i / CLIENTS * CLIENTS + 1 + j;

            seen[i][j] = (struct log_event){shown, 1000 + shown};
        }
        what[N + i] = (struct log_operation){.action = LOG_READ,
                                             .after_seq = i / CLIENTS * CLIENTS,
                                             .last_seq = (i / CLIENTS + 1) * CLIENTS,
                                             .n_seen = CLIENTS,
                                             .seen = seen[i]};
        operations[N + i] = operation_of(call + 1, call + 9, &what[N + i]);
        what[i].versions = versions;
        what[N + i].versions = versions;
    }
    assert_int_equal(linearizability_check(&log_model, operations, 2 * N, MANY, NULL),
                     LINEARIZABLE);
    seen[N - 1][0].event++; /* The very last read shows something else. */
    assert_int_equal(linearizability_check(&log_model, operations, 2 * N, MANY, NULL),
                     NOT_LINEARIZABLE);
    log_versions_close(versions);
}

/* --- The search --- */

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
            operations[n] = operation_of(round * 10, round * 10 + 9, &what[n]);
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
        operations[i] = operation_of(1, 9, &what[i]);
    }
    what[12] = (struct register_operation){REGISTER_READ, 99, 0, true};
    operations[12] = operation_of(10, 11, &what[12]);
    assert_int_equal(linearizability_check(&register_model, operations, 13, 100, NULL),
                     LINEARIZABILITY_UNDECIDED);
    assert_int_equal(linearizability_check(&register_model, operations, 13, MANY, NULL),
                     NOT_LINEARIZABLE);
}

static void hints_lead_it_where_it_would_search_long(void **state)
{
    /* Sixteen concurrent appends whose numbers say nothing of them, and what a read saw. */
    enum { N = 16 };
    struct log_versions *versions = log_versions_open();
    struct history_operation operations[N + 1];
    struct log_operation what[N + 1];
    struct log_event seen[N];

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        what[i] = (struct log_operation)REWIND(LOG_NO_REWIND, 0, 1, 100 + i);
        what[i].versions = versions;
        operations[i] = operation_of(1, UNKNOWN, &what[i]);
        operations[i].hint = N - i;
        seen[i] = (struct log_event){.seq = i + 1, .event = 100 + N - 1 - i};
    }
    what[N] = (struct log_operation){.action = LOG_READ, .last_seq = N, .n_seen = N, .seen = seen};
    what[N].versions = versions;
    operations[N] = operation_of(10, 11, &what[N]);
    operations[N].hint = N + 1;
    assert_int_equal(linearizability_check(&log_model, operations, N + 1, 2 * N, NULL),
                     LINEARIZABLE);
    for (size_t i = 0; i <= N; i++) {
        operations[i].hint = 0;
    }
    assert_int_equal(linearizability_check(&log_model, operations, N + 1, 10000, NULL),
                     LINEARIZABILITY_UNDECIDED);
    log_versions_close(versions);
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
            operations[i] = operation_of(
                call, rand_r(&seed) % 8 == 0 ? UNKNOWN : call + (uint64_t)(rand_r(&seed) % 5),
                &what[i]);
        }
        for (size_t i = 0; i < 6 && round % 2 == 1; i++) {
            operations[i].hint = (uint64_t)(rand_r(&seed) % 4); /* Whatever they are. */
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
        cmocka_unit_test(a_log_in_sequence_is_linearizable),
        cmocka_unit_test(a_log_with_a_number_given_twice_is_not),
        cmocka_unit_test(a_log_whose_numbers_leave_a_gap_is_not),
        cmocka_unit_test(numbers_that_go_against_time_are_not),
        cmocka_unit_test(a_log_read_must_show_the_order_of_the_numbers),
        cmocka_unit_test(a_log_read_must_show_all_that_is_behind),
        cmocka_unit_test(log_reads_must_not_go_back),
        cmocka_unit_test(a_rewound_log_shows_less_and_goes_on_with_its_numbers),
        cmocka_unit_test(an_unknown_append_may_happen_late_once_or_never),
        cmocka_unit_test(a_long_log_of_many_clients_is_decided),
        cmocka_unit_test(a_long_history_of_many_clients_is_decided),
        cmocka_unit_test(it_gives_up_when_it_may_not_try_more),
        cmocka_unit_test(hints_lead_it_where_it_would_search_long),
        cmocka_unit_test(it_agrees_with_trying_every_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
