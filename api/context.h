/* What one api thread has: its loop, its mailbox, its view of the state, and the way to the node.
 *
 * Each thread has one; nothing in it is shared, except where noted. */
#ifndef HOLDFAST_API_CONTEXT_H
#define HOLDFAST_API_CONTEXT_H

#include <uv.h>

#include "daemon/base/mailbox.h"
#include "raft/node.h"
#include "storage/applier.h"
#include "storage/view.h"

struct reads;
struct writes;
struct metrics;

struct api_thread {
    unsigned number;
    uv_loop_t loop;
    struct mailbox mailbox;
    struct node *node;   /* Shared; thread-safe. */
    struct store *store; /* Shared; thread-safe. */
    struct view view;    /* Between view_begin() and view_end() inside one call only. */
    struct reads *reads; /* Linearizable rounds and waits (reads.h). */
    struct writes *writes; /* Submissions and their time-outs (write.h). */
    /* Messages that others owe to the mailbox (submissions, tickets, waits), also those whose
     * request was answered meanwhile. Counted up by who submits, down by who is delivered to: the
     * mailbox outlives them. */
    unsigned outstanding;
    struct metrics *metrics; /* This thread's own counters; summed by /metrics. */
    unsigned read_wait_ms;  /* 0: LIMIT_REPLICA_WAIT_MS. Tests shorten both. */
    unsigned write_wait_ms; /* 0: LIMIT_OUTCOME_WAIT_MS. */
    const char *name;
    const char *version;
    struct server *server;
};

/* Milliseconds, monotonic, cached per loop turn. */
static inline uint64_t api_now_ms(struct api_thread *thread)
{
    return uv_now(&thread->loop);
}

#endif
