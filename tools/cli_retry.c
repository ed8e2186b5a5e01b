#include "tools/cli_retry.h"

#include "daemon/base/backoff.h"

#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MOST_MS  2000u

void retry_init(struct retry *retry, size_t n_endpoints, uint64_t deadline_ms)
{
    *retry = (struct retry){.deadline_ms = deadline_ms, .n_endpoints = n_endpoints};
}

/* Statuses that another attempt may cure: too much, too slow, or a node that lacks the rest. A 502
 * comes from a load balancer. */
static bool is_passing(unsigned status)
{
    return status == 408 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* 503, 429 and 408 say that nothing was executed. */
static bool leaves_doubt(enum attempt attempt, unsigned status)
{
    return attempt == ATTEMPT_LOST ||
           (attempt == ATTEMPT_ANSWERED && (status == 502 || status == 504));
}

/* It counts rounds over all endpoints. */
static uint64_t backoff(const struct retry *retry, uint64_t dice)
{
    size_t round = (retry->attempts - 1) / retry->n_endpoints;

    return backoff_ms(BACKOFF_FIRST_MS, BACKOFF_MOST_MS, (unsigned)round + 1, dice);
}

bool retry_next(struct retry *retry, enum attempt attempt, unsigned status, uint64_t retry_after_ms,
                uint64_t now_ms, uint64_t dice, uint64_t *wait_ms)
{
    uint64_t wait = 0;

    if (attempt == ATTEMPT_ANSWERED && !is_passing(status)) {
        retry->may_have_acted = false; /* This answer settles it. */
        return false;
    }
    retry->attempts++;
    retry->may_have_acted = retry->may_have_acted || leaves_doubt(attempt, status);
    if (attempt == ATTEMPT_ANSWERED || retry->attempts >= retry->n_endpoints) {
        wait = backoff(retry, dice);
    } /* Else another node may be well: ask it at once. */
    if (attempt == ATTEMPT_ANSWERED && retry_after_ms > wait) {
        wait = retry_after_ms;
    }
    if (now_ms >= retry->deadline_ms || wait >= retry->deadline_ms - now_ms) {
        return false;
    }
    *wait_ms = wait;
    return true;
}

bool retry_may_have_acted(const struct retry *retry)
{
    return retry->may_have_acted;
}
