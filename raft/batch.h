/* The commands of this node on their way: what waits to be sent, and what was sent in bundles whose
 * fate is open.
 *
 * A bundle is numbered once and keeps its number when it is sent again in the same term. When it is
 * certain that it was not executed, it is dissolved: its commands wait again, in their order, and
 * go into new bundles under new numbers, except those that nobody waits for any more. Sends
 * nothing itself; the consensus thread. */
#ifndef HOLDFAST_RAFT_BATCH_H
#define HOLDFAST_RAFT_BATCH_H

#include "daemon/base/queue.h"
#include "raft/agreement.h"

struct batch {
    /* For reading. */
    uint64_t n_waiting; /* Submissions that wait to be put into a bundle. */
    uint64_t n_sent;    /* Submissions in bundles. */
    uint64_t bytes;     /* Of the commands of both. */
    unsigned n_bundles;
    uint64_t n_resubmitted; /* Bundles that were dissolved. */
    /* Private. */
    uint64_t self;
    uint64_t boot;
    uint64_t next_sequence;
    struct queue waiting; /* struct submission, by message.link. */
    struct queue bundles; /* struct pending_bundle, by sequence. */
    void *data;
    void (*answer)(void *data, struct submission *submission);
};

void batch_init(struct batch *batch, uint64_t self, uint64_t boot,
                void (*answer)(void *data, struct submission *submission), void *data);

/* Takes @submission until it is answered or its bundle is taken. */
void batch_add(struct batch *batch, struct submission *submission);

/* Put what waits into one bundle, of LIMIT_ENTRY_BYTES unless its one command is larger; not sent
 * yet (term 0), and the batch's. NULL if nothing waits. */
struct pending_bundle *batch_next(struct batch *batch);

/* A bundle of one command that nobody waits for; dropped instead of dissolved. */
struct pending_bundle *batch_own(struct batch *batch, struct slice command);

/* The first bundle at or after @sequence, or NULL. */
struct pending_bundle *batch_find(const struct batch *batch, uint64_t sequence);
struct pending_bundle *batch_after(const struct batch *batch, const struct pending_bundle *bundle);

/* The bundle is in a committed entry: it is the caller's, who ends with batch_release(). NULL if it
 * is not known here. */
struct pending_bundle *batch_take(struct batch *batch, uint64_t boot, uint64_t sequence);
void batch_release(struct pending_bundle *bundle);

/* Something of @term is committed: what was sent in earlier terms and was not taken is certainly
 * not executed. Dissolves it. */
void batch_settle(struct batch *batch, uint64_t term);

/* Is the fate of something that was sent before @term open? Then what waits must not overtake. */
bool batch_is_unsettled(const struct batch *batch, uint64_t term);

/* Dissolve one bundle that is certainly not executed. */
void batch_dissolve(struct batch *batch, struct pending_bundle *bundle);

/* Answer with @status what has waited unsent since before @submitted_before_ms. */
void batch_expire(struct batch *batch, uint64_t submitted_before_ms, enum status status);

/* Answer all: STATUS_CLOSED, or STATUS_UNCERTAIN what was sent. */
void batch_close(struct batch *batch);

#endif
