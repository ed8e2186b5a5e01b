#include "raft/inbox.h"

#include "daemon/base/check.h"

static void lock(struct inbox *inbox)
{
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
}

static void unlock(struct inbox *inbox)
{
    CHECK(pthread_mutex_unlock(&inbox->mutex) == 0);
}

enum status inbox_init(struct inbox *inbox, uv_loop_t *loop, void (*on_mail)(uv_async_t *async),
                       void *data, struct error *error)
{
    int rv = uv_async_init(loop, &inbox->async, on_mail);

    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not make a wake-up handle: %s", uv_strerror(rv));
    }
    inbox->async.data = data;
    CHECK(pthread_mutex_init(&inbox->mutex, NULL) == 0);
    queue_init(&inbox->submissions);
    queue_init(&inbox->reads);
    queue_init(&inbox->executed);
    queue_init(&inbox->changes);
    for (unsigned i = 0; i < INBOX_HOMES; i++) {
        queue_init(&inbox->answers[i]);
    }
    inbox->n_homes = 0;
    inbox->is_closed = false;
    inbox->is_woken = false;
    inbox->n_executed = 0;
    atomic_store(&inbox->pending_commands, 0);
    atomic_store(&inbox->pending_bytes, 0);
    atomic_store(&inbox->pending_reads, 0);
    atomic_store(&inbox->pending_changes, 0);
    return STATUS_OK;
}

void inbox_wake(struct inbox *inbox)
{
    /* Only fails for a handle that is not an async one. */
    CHECK(uv_async_send(&inbox->async) == 0);
}

/* The mutex is held: true if the caller shall wake the loop after it. */
static bool must_wake(struct inbox *inbox)
{
    bool must = !inbox->is_woken;

    inbox->is_woken = true;
    return must;
}

/* False if the inbox is closed. */
static bool leave(struct inbox *inbox, struct queue *queue, struct link *link)
{
    bool is_open;
    bool wake = false;

    lock(inbox);
    is_open = !inbox->is_closed;
    if (is_open) {
        queue_push(queue, link);
        wake = must_wake(inbox);
    }
    unlock(inbox);
    if (wake) {
        inbox_wake(inbox);
    }
    return is_open;
}

static void count_down(struct inbox *inbox, const struct submission *submission)
{
    atomic_fetch_sub(&inbox->pending_commands, 1);
    atomic_fetch_sub(&inbox->pending_bytes, submission->counted_bytes);
}

enum status inbox_submit(struct inbox *inbox, struct submission *submission)
{
    size_t bytes = submission->command.size;
    uint64_t commands = atomic_fetch_add(&inbox->pending_commands, 1);
    uint64_t all_bytes = atomic_fetch_add(&inbox->pending_bytes, bytes);

    submission->counted_bytes = bytes;
    if (commands < LIMIT_PENDING_COMMANDS && all_bytes + bytes <= LIMIT_PENDING_BYTES &&
        leave(inbox, &inbox->submissions, &submission->message.link)) {
        return STATUS_OK;
    }
    count_down(inbox, submission);
    return STATUS_BUSY;
}

enum status inbox_read(struct inbox *inbox, struct read_ticket *ticket)
{
    uint64_t reads = atomic_fetch_add(&inbox->pending_reads, 1);

    if (reads < LIMIT_PENDING_READS && leave(inbox, &inbox->reads, &ticket->message.link)) {
        return STATUS_OK;
    }
    atomic_fetch_sub(&inbox->pending_reads, 1);
    return STATUS_BUSY;
}

enum status inbox_change(struct inbox *inbox, struct member_change *change)
{
    uint64_t changes = atomic_fetch_add(&inbox->pending_changes, 1);

    if (changes < LIMIT_PENDING_CHANGES && leave(inbox, &inbox->changes, &change->message.link)) {
        return STATUS_OK;
    }
    atomic_fetch_sub(&inbox->pending_changes, 1);
    return STATUS_BUSY;
}

void inbox_take(struct inbox *inbox, struct queue *submissions, struct queue *reads,
                struct queue *executed, struct queue *changes)
{
    lock(inbox);
    queue_append(submissions, &inbox->submissions);
    queue_append(reads, &inbox->reads);
    queue_append(executed, &inbox->executed);
    queue_append(changes, &inbox->changes);
    inbox->n_executed = 0;
    inbox->is_woken = false;
    unlock(inbox);
}

static void post_answers(struct inbox *inbox)
{
    for (unsigned i = 0; i < inbox->n_homes; i++) {
        mailbox_post_all(inbox->homes[i], &inbox->answers[i]);
    }
    inbox->n_homes = 0;
}

/* Where the answers to @home are gathered. */
static struct queue *answers_to(struct inbox *inbox, struct mailbox *home)
{
    for (unsigned i = 0; i < inbox->n_homes; i++) {
        if (inbox->homes[i] == home) {
            return &inbox->answers[i];
        }
    }
    if (inbox->n_homes == INBOX_HOMES) {
        post_answers(inbox);
    }
    inbox->homes[inbox->n_homes] = home;
    return &inbox->answers[inbox->n_homes++];
}

void inbox_result(struct inbox *inbox, struct submission *submission, struct slice result)
{
    buffer_append_slice(&submission->result, result);
    submission->status = STATUS_OK;
    count_down(inbox, submission);
    queue_push(answers_to(inbox, submission->home), &submission->message.link);
}

void inbox_executed(struct inbox *inbox, struct applied *work)
{
    bool is_urgent = work->kind == APPLIED_DURABLE || work->entry.size > LIMIT_ENTRY_BYTES / 4;
    bool wake = false;

    post_answers(inbox);
    lock(inbox);
    queue_push(&inbox->executed, &work->link); /* Also after the end: the work is waited for. */
    if (++inbox->n_executed >= INBOX_EXECUTED || is_urgent) {
        wake = must_wake(inbox);
    }
    unlock(inbox);
    if (wake) {
        inbox_wake(inbox);
    }
}

void inbox_answer(struct inbox *inbox, struct submission *submission)
{
    count_down(inbox, submission);
    mailbox_post(submission->home, &submission->message); /* Its memory is the caller's now. */
}

void inbox_answer_read(struct inbox *inbox, struct read_ticket *ticket)
{
    atomic_fetch_sub(&inbox->pending_reads, 1);
    mailbox_post(ticket->home, &ticket->message); /* Its memory is the caller's now. */
}

void inbox_answer_change(struct inbox *inbox, struct member_change *change)
{
    atomic_fetch_sub(&inbox->pending_changes, 1);
    mailbox_post(change->home, &change->message); /* Its memory is the caller's now. */
}

void inbox_pending(const struct inbox *inbox, uint64_t *commands, uint64_t *bytes)
{
    *commands = atomic_load(&inbox->pending_commands);
    *bytes = atomic_load(&inbox->pending_bytes);
}

void inbox_close(struct inbox *inbox)
{
    lock(inbox);
    inbox->is_closed = true;
    unlock(inbox);
}
