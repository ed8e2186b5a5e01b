#include "tests/lib/deadline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 10

uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* Cannot fail with this clock. */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

void pause_ms(unsigned duration_ms)
{
    struct timespec rest = {.tv_sec = duration_ms / 1000,
                            .tv_nsec = (long)(duration_ms % 1000) * 1000000};

    (void)nanosleep(&rest, NULL); /* Woken early, the caller just looks earlier. */
}

bool wait_until(condition_cb condition, void *data, unsigned limit_ms)
{
    uint64_t end = now_ms() + limit_ms;

    for (;;) {
        if (condition(data)) {
            return true;
        }
        if (now_ms() >= end) {
            return false;
        }
        pause_ms(LOOK_AGAIN_MS);
    }
}

uint64_t test_seed(void)
{
    static uint64_t seed; /* Set by the main thread before others start. */
    const char *given = getenv("HOLDFAST_TEST_SEED");

    if (seed == 0) {
        seed =
            given == NULL ? now_ms() * 2654435761u + (uint64_t)getpid() : strtoull(given, NULL, 10);
        seed += seed == 0;
        (void)printf("HOLDFAST_TEST_SEED=%" PRIu64 "\n", seed);
        (void)fflush(stdout);
    }
    return seed;
}

/* xorshift64* (Vigna 2016). */
uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Dull;
}
