#include "daemon/base/clock.h"

#include <errno.h>
#include <time.h>

#include "daemon/base/check.h"

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u

uint64_t clock_ns(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_ms(void)
{
    return clock_ns() / NS_PER_MS;
}

uint64_t clock_wall_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

void clock_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(condition, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
}

bool clock_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                   .tv_nsec = (long)(until_ns % NS_PER_S)};
    int rv;

    if (until_ns == UINT64_MAX) {
        CHECK(pthread_cond_wait(condition, mutex) == 0);
        return true;
    }
    rv = pthread_cond_timedwait(condition, mutex, &until);
    CHECK(rv == 0 || rv == ETIMEDOUT);
    return rv == 0;
}

bool clock_condition_wait_ms(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t ms)
{
    return clock_condition_wait(condition, mutex, clock_ns() + ms * NS_PER_MS);
}
