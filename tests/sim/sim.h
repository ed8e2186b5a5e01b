/* The world of a simulated cluster: one clock, one stream of random numbers, one list of what is to
 * happen. The same seed gives the same run.
 *
 * Memory that libraft and the seam allocate is counted and released as a whole, as a simulated
 * crash leaves it behind. One thread. */
#ifndef HOLDFAST_TESTS_SIM_SIM_H
#define HOLDFAST_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sim;
struct sim_event;

/* @data is released by free() after the call, or without one when the owner's epoch has passed. */
typedef void (*sim_event_cb)(void *data);

struct sim *sim_open(uint64_t seed);
void sim_close(struct sim *sim);

/* Nothing is to happen any more. Events without an owner are called once more, with
 * sim_is_closing(), to release what they hold. */
void sim_drain(struct sim *sim);
bool sim_is_closing(const struct sim *sim);

uint64_t sim_now_ms(const struct sim *sim);
uint64_t sim_random(struct sim *sim);
/* From @low to @high, both included. */
unsigned sim_between(struct sim *sim, unsigned low, unsigned high);
/* True once in @n. */
bool sim_once_in(struct sim *sim, unsigned n);

/* Whose event it is: somebody who may die, or stand still for a while. */
struct sim_owner {
    uint64_t epoch;     /* Events from before it changed do not happen. */
    uint64_t paused_ms; /* Events before this time happen then. */
};

/* Have @cb called at @at_ms. @owner may be NULL. */
void sim_at(struct sim *sim, uint64_t at_ms, const struct sim_owner *owner, sim_event_cb cb,
            void *data);

/* Let the next thing happen. False if nothing is left, or if it is later than @until_ms (the clock
 * is then there), or if something failed. */
bool sim_step(struct sim *sim, uint64_t until_ms);

/* A fact that must hold, whatever happens; the first one that does not ends the run. */
#define SIM_EXPECT(sim, fact, ...)                                                                 \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            sim_fail((sim), #fact, __VA_ARGS__);                                                   \
        }                                                                                          \
    } while (0)
void sim_fail(struct sim *sim, const char *fact, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool sim_has_failed(const struct sim *sim);
/* The story of the failure, or NULL. */
const char *sim_failure(const struct sim *sim);

/* Lines with the time, of what matters, to @file; NULL: none. */
void sim_set_trace(struct sim *sim, FILE *file, bool with_notes);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Everything that happens, in a digest of the whole run: two runs of a seed have the same. */
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b);
uint64_t sim_digest(const struct sim *sim);

#endif
