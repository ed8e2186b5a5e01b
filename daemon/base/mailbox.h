/* Where other threads leave messages for the thread of one libuv loop.
 *
 * A message is delivered on the loop's thread, once, in the order of posting, by a call of its
 * deliver(). Posting never waits longer than it takes to link one element. What bounds the number
 * of messages is the sender's business: each is embedded in a request that was counted. */
#ifndef HOLDFAST_BASE_MAILBOX_H
#define HOLDFAST_BASE_MAILBOX_H

#include <pthread.h>
#include <uv.h>

#include "daemon/base/error.h"
#include "daemon/base/queue.h"

struct message;
typedef void (*message_deliver_cb)(struct message *message);

struct message {
    struct link link;           /* Private. */
    message_deliver_cb deliver; /* Set by the owner before posting. */
};

struct mailbox {
    /* Private. */
    uv_async_t async;
    pthread_mutex_t mutex;
    struct queue messages;
    void (*closed)(struct mailbox *mailbox);
};

/* On the loop's thread. STATUS_IO if libuv has no more handles. */
MUST_USE enum status mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, struct error *error);

/* Any thread. @message stays the mailbox's until it is delivered. */
void mailbox_post(struct mailbox *mailbox, struct message *message);

/* Any thread: post all of @messages (links of struct message) at once; it is empty afterwards. */
void mailbox_post_all(struct mailbox *mailbox, struct queue *messages);

/* On the loop's thread: deliver what is there now, without waiting for the loop to come round. */
void mailbox_drain(struct mailbox *mailbox);

/* On the loop's thread. No one may post any more. @closed runs later, from the loop, and may
 * release the memory; messages still inside are delivered before. */
void mailbox_close(struct mailbox *mailbox, void (*closed)(struct mailbox *mailbox));

#endif
