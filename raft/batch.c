#include "raft/batch.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"
#include "storage/entry.h"

/* A command and its length in front. */
#define COMMAND_OVERHEAD_BYTES 4u
#define MAX_BUNDLE_BYTES       (LIMIT_ENTRY_BYTES - ENTRY_HEADER_BYTES)

void batch_init(struct batch *batch, uint64_t self, uint64_t boot,
                void (*answer)(void *data, struct submission *submission), void *data)
{
    *batch = (struct batch){.self = self, .boot = boot, .next_sequence = 1};
    batch->answer = answer;
    batch->data = data;
    queue_init(&batch->waiting);
    queue_init(&batch->bundles);
}

static struct submission *submission_of(struct link *link)
{
    return link == NULL ? NULL : CONTAINER_OF(link, struct submission, message.link);
}

static struct pending_bundle *bundle_of(struct link *link)
{
    return link == NULL ? NULL : CONTAINER_OF(link, struct pending_bundle, link);
}

void batch_add(struct batch *batch, struct submission *submission)
{
    queue_push(&batch->waiting, &submission->message.link);
    batch->n_waiting++;
    batch->bytes += submission->command.size;
}

static void answer(struct batch *batch, struct submission *submission, enum status status)
{
    batch->bytes -= submission->command.size;
    submission->status = status;
    batch->answer(batch->data, submission);
}

/* Take the next submission that someone still waits for and that fits into what is left. */
static struct submission *next_fitting(struct batch *batch, size_t used)
{
    struct submission *submission;

    while ((submission = submission_of(queue_first(&batch->waiting))) != NULL) {
        if (atomic_load_explicit(&submission->abandoned, memory_order_relaxed)) {
            queue_remove(&submission->message.link);
            batch->n_waiting--;
            answer(batch, submission, STATUS_NO_LEADER);
            continue;
        }
        if (used > BUNDLE_HEADER_BYTES &&
            used + submission->command.size + COMMAND_OVERHEAD_BYTES > MAX_BUNDLE_BYTES) {
            return NULL;
        }
        queue_remove(&submission->message.link);
        batch->n_waiting--;
        return submission;
    }
    return NULL;
}

static struct pending_bundle *new_bundle(struct batch *batch)
{
    struct pending_bundle *bundle = memory_new_zeroed(1, sizeof *bundle);

    bundle->sequence = batch->next_sequence++;
    queue_push(&batch->bundles, &bundle->link);
    batch->n_bundles++;
    return bundle;
}

struct pending_bundle *batch_next(struct batch *batch)
{
    struct submission *submission = next_fitting(batch, BUNDLE_HEADER_BYTES);
    struct pending_bundle *bundle;
    uint32_t capacity = 16;
    size_t offset;

    if (submission == NULL) {
        return NULL;
    }
    bundle = new_bundle(batch);
    bundle->submissions = memory_new(capacity * sizeof(struct submission *));
    offset = bundle_begin(&bundle->encoded, batch->self, batch->boot, bundle->sequence);
    do {
        if (bundle->n_submissions == capacity) {
            capacity *= 2;
            bundle->submissions =
                memory_resize(bundle->submissions, capacity * sizeof(struct submission *));
        }
        bundle_add_command(&bundle->encoded, buffer_slice(&submission->command));
        bundle->submissions[bundle->n_submissions++] = submission;
        submission = next_fitting(batch, bundle->encoded.size);
    } while (submission != NULL);
    bundle_finish(&bundle->encoded, offset, bundle->n_submissions);
    batch->n_sent += bundle->n_submissions;
    return bundle;
}

struct pending_bundle *batch_own(struct batch *batch, struct slice command)
{
    struct pending_bundle *bundle = new_bundle(batch);
    size_t offset = bundle_begin(&bundle->encoded, batch->self, batch->boot, bundle->sequence);

    bundle_add_command(&bundle->encoded, command);
    bundle_finish(&bundle->encoded, offset, 1);
    return bundle;
}

struct pending_bundle *batch_find(const struct batch *batch, uint64_t sequence)
{
    struct pending_bundle *bundle = bundle_of(queue_first(&batch->bundles));

    while (bundle != NULL && bundle->sequence < sequence) {
        bundle = batch_after(batch, bundle);
    }
    return bundle;
}

struct pending_bundle *batch_after(const struct batch *batch, const struct pending_bundle *bundle)
{
    return bundle_of(queue_next(&batch->bundles, &bundle->link));
}

static void remove_bundle(struct batch *batch, struct pending_bundle *bundle)
{
    queue_remove(&bundle->link);
    batch->n_bundles--;
    batch->n_sent -= bundle->n_submissions;
}

struct pending_bundle *batch_take(struct batch *batch, uint64_t boot, uint64_t sequence)
{
    struct pending_bundle *bundle = boot == batch->boot ? batch_find(batch, sequence) : NULL;

    if (bundle == NULL || bundle->sequence != sequence) {
        return NULL;
    }
    remove_bundle(batch, bundle);
    for (uint32_t i = 0; i < bundle->n_submissions; i++) {
        batch->bytes -= bundle->submissions[i]->command.size;
    }
    return bundle;
}

void batch_release(struct pending_bundle *bundle)
{
    if (bundle != NULL) {
        buffer_close(&bundle->encoded);
        free(bundle->submissions);
        free(bundle);
    }
}

void batch_dissolve(struct batch *batch, struct pending_bundle *bundle)
{
    remove_bundle(batch, bundle);
    for (uint32_t i = bundle->n_submissions; i > 0; i--) {
        queue_push_front(&batch->waiting, &bundle->submissions[i - 1]->message.link);
    }
    batch->n_waiting += bundle->n_submissions;
    if (bundle->n_submissions > 0) {
        batch->n_resubmitted++;
    }
    batch_release(bundle);
}

bool batch_is_unsettled(const struct batch *batch, uint64_t term)
{
    const struct pending_bundle *bundle = bundle_of(queue_first(&batch->bundles));

    return bundle != NULL && bundle->term != 0 && bundle->term < term && !MUTATION(never_settled);
}

void batch_settle(struct batch *batch, uint64_t term)
{
    struct link *link;
    struct link *before;

    term += MUTATION(settled_too_early) ? 1 : 0;
    if (!batch_is_unsettled(batch, term)) {
        return;
    }
    /* From the last to the first, as each goes in front of what waits. What was never sent (term 0)
     * is dissolved as well, or it would be overtaken. */
    for (link = batch->bundles.head.prev; link != &batch->bundles.head; link = before) {
        before = link->prev;
        if (bundle_of(link)->term < term) {
            batch_dissolve(batch, bundle_of(link));
        }
    }
}

void batch_expire(struct batch *batch, uint64_t submitted_before_ms, enum status status)
{
    struct submission *submission;

    while ((submission = submission_of(queue_first(&batch->waiting))) != NULL &&
           submission->submitted_ms < submitted_before_ms) {
        queue_remove(&submission->message.link);
        batch->n_waiting--;
        answer(batch, submission, status);
    }
}

void batch_close(struct batch *batch)
{
    struct pending_bundle *bundle;

    batch_expire(batch, UINT64_MAX, STATUS_CLOSED);
    while ((bundle = bundle_of(queue_first(&batch->bundles))) != NULL) {
        remove_bundle(batch, bundle);
        for (uint32_t i = 0; i < bundle->n_submissions; i++) {
            answer(batch, bundle->submissions[i],
                   bundle->term == 0 || MUTATION(uncertain_called_refused) ? STATUS_CLOSED
                                                                           : STATUS_UNCERTAIN);
        }
        batch_release(bundle);
    }
    CHECK(batch->n_waiting == 0 && batch->n_sent == 0 && batch->bytes == 0);
}
