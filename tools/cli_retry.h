/* When a request that was not answered well is sent again, where, and what a final failure means.
 *
 * Sending again is safe: a read changes nothing, and each write carries an idempotency key that was
 * made once, so that the cluster executes it once. Pure: time and dice are parameters. */
#ifndef HOLDFAST_TOOLS_CLI_RETRY_H
#define HOLDFAST_TOOLS_CLI_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What became of one attempt. */
enum attempt {
    ATTEMPT_ANSWERED,      /* With an HTTP status. */
    ATTEMPT_NOT_CONNECTED, /* The request certainly was not sent. */
    ATTEMPT_LOST           /* It was sent, at least in part, and no answer came. */
};

struct retry {
    uint64_t deadline_ms;
    size_t n_endpoints;
    /* Private. */
    size_t attempts;
    bool may_have_acted;
};

void retry_init(struct retry *retry, size_t n_endpoints, uint64_t deadline_ms);

/* An attempt came to its end at @now_ms. @status: with ATTEMPT_ANSWERED. @retry_after_ms: what the
 * server asked for; 0: nothing. @dice: random. True if the next endpoint is to be tried after
 * *@wait_ms; false if this was the last attempt, well answered or not. */
bool retry_next(struct retry *retry, enum attempt attempt, unsigned status, uint64_t retry_after_ms,
                uint64_t now_ms, uint64_t dice, uint64_t *wait_ms);

/* True if an attempt may have reached execution without our knowing. A write that was not answered
 * in the end then has an unknown outcome; else it certainly was not executed. */
bool retry_may_have_acted(const struct retry *retry);

#endif
