#include "daemon/base/backoff.h"

uint64_t backoff_ms(uint64_t first_ms, uint64_t most_ms, unsigned n_failures, uint64_t dice)
{
    uint64_t ms = first_ms;

    for (unsigned i = 1; i < n_failures && ms < most_ms; i++) {
        ms *= 2;
    }
    ms = ms < most_ms ? ms : most_ms;
    return ms / 2 + dice % (ms / 2 + 1);
}
