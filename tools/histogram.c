#include "tools/histogram.h"

#include <math.h>
#include <stddef.h>

#define HALF ((uint64_t)1 << HISTOGRAM_PRECISION_BITS)

/* How many low bits of @value its bucket does not tell apart. */
static unsigned shift_of(uint64_t value)
{
    unsigned highest = 63u - (unsigned)__builtin_clzll(value | 1);

    return highest > HISTOGRAM_PRECISION_BITS ? highest - HISTOGRAM_PRECISION_BITS : 0;
}

static size_t bucket_of(uint64_t value)
{
    unsigned shift = shift_of(value);

    /* Shift 0 covers two halves (0 to 255), each further shift only the upper one. */
    return (size_t)(((uint64_t)shift << HISTOGRAM_PRECISION_BITS) + (value >> shift));
}

/* The middle of what falls into @bucket. */
static uint64_t value_of(size_t bucket)
{
    uint64_t shift;
    uint64_t low;

    if (bucket < 2 * HALF) {
        return bucket;
    }
    shift = (bucket >> HISTOGRAM_PRECISION_BITS) - 1;
    low = ((bucket & (HALF - 1)) + HALF) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

void histogram_add(struct histogram *histogram, const struct histogram *other)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram->buckets[i] += other->buckets[i];
    }
    histogram->count += other->count;
    histogram->sum += other->sum;
    if (other->max > histogram->max) {
        histogram->max = other->max;
    }
}

uint64_t histogram_count(const struct histogram *histogram)
{
    return histogram->count;
}

uint64_t histogram_max(const struct histogram *histogram)
{
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    /* 99.9 is not exact in binary: 999.0000000001 of 1000 are 999. */
    double exact = ceil(percent / 100 * (double)histogram->count - 1e-6);
    uint64_t wanted = exact < 1 ? 1 : (uint64_t)exact;
    uint64_t seen = 0;

    if (wanted >= histogram->count) {
        return histogram->max; /* Exact, and also right for an empty histogram. */
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) {
            uint64_t value = value_of(i);

            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
