/* A rate that is kept over time: a token bucket. Credit comes with time, and is spent by what is
 * done; whoever is in debt waits. It may be spent before it is there, so that one large piece of
 * work delays the next one by what it cost, and the rate holds for pieces of all sizes.
 *
 * Pure: the caller brings the time. One thread at a time. */
#ifndef HOLDFAST_BASE_PACE_H
#define HOLDFAST_BASE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* What was not used comes back as a burst of at most so many milliseconds' worth. */
#define PACE_BURST_MS 20u

struct pace {
    uint64_t bytes_per_second;
    uint64_t earned_ms; /* Up to when the credit is counted. */
    int64_t credit;     /* In thousandths of a byte; below 0: in debt. */
};

/* @bytes_per_second: above 0, at most 2^42. No credit yet. */
struct pace pace_of(uint64_t bytes_per_second, uint64_t now_ms);

/* May work be begun now? @now_ms never goes back. */
bool pace_allows(struct pace *pace, uint64_t now_ms);

/* @bytes of work are done, or begun; at most 2^42. */
void pace_spend(struct pace *pace, uint64_t bytes);

/* In how many milliseconds pace_allows() will say so, by what it knew when it was asked last. */
uint64_t pace_wait_ms(const struct pace *pace);

#endif
