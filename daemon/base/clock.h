/* The clocks of this node, and waiting by them. Any thread. */
#ifndef HOLDFAST_BASE_CLOCK_H
#define HOLDFAST_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Of the clock that never goes back; from a moment that nobody knows. */
uint64_t clock_ns(void);
uint64_t clock_ms(void);

/* Since 1970, of the clock on the wall: it may be set. */
uint64_t clock_wall_ms(void);

/* A condition that is waited for by clock_ns(). */
void clock_condition_init(pthread_cond_t *condition);

/* Wait for it until @until_ns (UINT64_MAX: without end), with the mutex held. False: the time is
 * over; true: it may have been signaled. */
bool clock_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t until_ns);
/* The same, for @ms from now on. */
bool clock_condition_wait_ms(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t ms);

#endif
