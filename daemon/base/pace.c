#include "daemon/base/pace.h"

#include "daemon/base/check.h"

#define MAX_BYTES (1ull << 42)

struct pace pace_of(uint64_t bytes_per_second, uint64_t now_ms)
{
    CHECK(bytes_per_second > 0 && bytes_per_second <= MAX_BYTES);
    return (struct pace){.bytes_per_second = bytes_per_second, .earned_ms = now_ms};
}

bool pace_allows(struct pace *pace, uint64_t now_ms)
{
    int64_t rate = (int64_t)pace->bytes_per_second; /* Thousandths of a byte per millisecond. */
    uint64_t ms = now_ms - pace->earned_ms;
    uint64_t useful_ms = pace_wait_ms(pace) + PACE_BURST_MS;

    CHECK(now_ms >= pace->earned_ms);
    pace->earned_ms = now_ms;
    pace->credit += rate * (int64_t)(ms < useful_ms ? ms : useful_ms);
    if (pace->credit > rate * (int64_t)PACE_BURST_MS) {
        pace->credit = rate * (int64_t)PACE_BURST_MS;
    }
    return pace->credit > 0;
}

void pace_spend(struct pace *pace, uint64_t bytes)
{
    CHECK(bytes <= MAX_BYTES);
    pace->credit -= (int64_t)bytes * 1000;
}

uint64_t pace_wait_ms(const struct pace *pace)
{
    return pace->credit > 0 ? 0 : (uint64_t)-pace->credit / pace->bytes_per_second + 1;
}
