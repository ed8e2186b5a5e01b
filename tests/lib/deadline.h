/* Waiting with an end: tests of real processes have nothing else to wait on than what they see.
 *
 * Any thread. */
#ifndef HOLDFAST_TESTS_DEADLINE_H
#define HOLDFAST_TESTS_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds and milliseconds of the monotonic clock. */
uint64_t now_ns(void);
uint64_t now_ms(void);

/* Give the others a moment before looking again; never instead of looking. */
void pause_ms(unsigned duration_ms);

typedef bool (*condition_cb)(void *data);

/* Look until @condition holds; false if it did not within @limit_ms. */
bool wait_until(condition_cb condition, void *data, unsigned limit_ms);

/* The seed of this run: HOLDFAST_TEST_SEED, or a fresh one; printed at the first call. */
uint64_t test_seed(void);

/* The next number of a sequence that starts with @state (not 0). */
uint64_t random_next(uint64_t *state);

#endif
