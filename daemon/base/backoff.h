/* How long to wait before something that failed is tried again. Pure. */
#ifndef HOLDFAST_BASE_BACKOFF_H
#define HOLDFAST_BASE_BACKOFF_H

#include <stdint.h>

/* Milliseconds after the @n_failures-th failure in a row (0 counts as 1): @first_ms, doubled with
 * each one more, @most_ms at most. Half of that is drawn with @dice, so that many who failed
 * together do not come back together. */
uint64_t backoff_ms(uint64_t first_ms, uint64_t most_ms, unsigned n_failures, uint64_t dice);

#endif
