/* How often which value was seen, in buckets whose width grows with the value.
 *
 * Values below 256 are exact; above, each power of two has 128 buckets, so what is given back
 * differs from what was recorded by less than 1 in 128. Any value of 64 bits fits, recording
 * allocates nothing. One thread; a zeroed struct is empty. */
#ifndef HOLDFAST_TOOLS_HISTOGRAM_H
#define HOLDFAST_TOOLS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PRECISION_BITS 7
#define HISTOGRAM_BUCKETS        ((64 - HISTOGRAM_PRECISION_BITS + 1) << HISTOGRAM_PRECISION_BITS)

struct histogram {
    /* Private. */
    uint64_t count;
    uint64_t max;
    uint64_t sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value);

/* Add all that @other holds. */
void histogram_add(struct histogram *histogram, const struct histogram *other);

uint64_t histogram_count(const struct histogram *histogram);

/* Exact; 0 if nothing was recorded. */
uint64_t histogram_max(const struct histogram *histogram);
double histogram_mean(const struct histogram *histogram);

/* The least value that at least @percent (0 to 100) of the recorded ones do not exceed; 0 if
 * nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
