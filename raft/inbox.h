/* What other threads leave for the consensus thread, and the way back: commands and reads from the
 * api threads, executed work from the apply thread. Counts what waits on this node, and refuses
 * beyond the limits.
 *
 * Functions say which thread may call them. */
#ifndef HOLDFAST_RAFT_INBOX_H
#define HOLDFAST_RAFT_INBOX_H

#include <pthread.h>
#include <uv.h>

#include "daemon/base/queue.h"
#include "raft/node.h"
#include "storage/applier.h"

/* Mailboxes to which one entry's answers are gathered before they are posted. */
#define INBOX_HOMES 32u
/* So many executed entries wake the loop. */
#define INBOX_EXECUTED 16u

struct inbox {
    /* Private. */
    uv_async_t async;
    pthread_mutex_t mutex;
    struct queue submissions; /* struct submission, by message.link */
    struct queue reads;       /* struct read_ticket, by message.link */
    struct queue executed;    /* struct applied */
    struct queue changes;     /* struct member_change, by message.link */
    bool is_woken;            /* The loop was told, and has not looked yet. */
    bool is_closed;
    unsigned n_executed;
    atomic_uint_least64_t pending_commands;
    atomic_uint_least64_t pending_bytes;
    atomic_uint_least64_t pending_reads;
    atomic_uint_least64_t pending_changes;
    /* The apply thread's: answers of the entry in execution. */
    unsigned n_homes;
    struct mailbox *homes[INBOX_HOMES];
    struct queue answers[INBOX_HOMES];
};

/* The loop's thread. @on_mail runs on the loop when something came. STATUS_IO. */
MUST_USE enum status inbox_init(struct inbox *inbox, uv_loop_t *loop,
                                void (*on_mail)(uv_async_t *async), void *data,
                                struct error *error);

/* Any thread: as node_submit() and node_read(). */
MUST_USE enum status inbox_submit(struct inbox *inbox, struct submission *submission);
MUST_USE enum status inbox_read(struct inbox *inbox, struct read_ticket *ticket);
/* Any thread: as node_change(). */
MUST_USE enum status inbox_change(struct inbox *inbox, struct member_change *change);
/* Any thread: run on_mail() soon. */
void inbox_wake(struct inbox *inbox);

/* The consensus thread: move out what came, all of it at once, as only what comes into an empty
 * inbox wakes the thread. The queues are added to. */
void inbox_take(struct inbox *inbox, struct queue *submissions, struct queue *reads,
                struct queue *executed, struct queue *changes);

/* The apply thread: the result of one command of @submission; the answer leaves with
 * inbox_executed(), which gives @work to the consensus thread. That has no hurry with what it only
 * releases: it is woken when INBOX_EXECUTED of it are there, or for other mail, and must look at
 * least every few milliseconds. */
void inbox_result(struct inbox *inbox, struct submission *submission, struct slice result);
void inbox_executed(struct inbox *inbox, struct applied *work);

/* The consensus thread: the outcome is filled in; it goes home. */
void inbox_answer(struct inbox *inbox, struct submission *submission);
void inbox_answer_read(struct inbox *inbox, struct read_ticket *ticket);
void inbox_answer_change(struct inbox *inbox, struct member_change *change);

/* Any thread. */
void inbox_pending(const struct inbox *inbox, uint64_t *commands, uint64_t *bytes);

/* The consensus thread: nothing more is taken from api threads. */
void inbox_close(struct inbox *inbox);

#endif
