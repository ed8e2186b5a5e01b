#include "daemon/base/mailbox.h"

#include "daemon/base/check.h"

static void on_async(uv_async_t *async)
{
    mailbox_drain(async->data);
}

enum status mailbox_init(struct mailbox *mailbox, uv_loop_t *loop, struct error *error)
{
    int rv = uv_async_init(loop, &mailbox->async, on_async);

    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not make a wake-up handle: %s", uv_strerror(rv));
    }
    mailbox->async.data = mailbox;
    CHECK(pthread_mutex_init(&mailbox->mutex, NULL) == 0);
    queue_init(&mailbox->messages);
    mailbox->closed = NULL;
    return STATUS_OK;
}

void mailbox_post(struct mailbox *mailbox, struct message *message)
{
    struct queue one;

    queue_init(&one);
    queue_push(&one, &message->link);
    mailbox_post_all(mailbox, &one);
}

void mailbox_post_all(struct mailbox *mailbox, struct queue *messages)
{
    bool was_empty;

    if (queue_is_empty(messages)) {
        return;
    }
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    was_empty = queue_is_empty(&mailbox->messages);
    queue_append(&mailbox->messages, messages);
    if (was_empty) {
        /* Inside the lock, so that a close that saw the message saw the wake-up too. It only
         * fails for a handle that is not an async one. */
        CHECK(uv_async_send(&mailbox->async) == 0);
    }
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
}

void mailbox_drain(struct mailbox *mailbox)
{
    struct queue arrived;
    struct link *link;

    queue_init(&arrived);
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    queue_append(&arrived, &mailbox->messages);
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
    while ((link = queue_pop(&arrived)) != NULL) {
        struct message *message = CONTAINER_OF(link, struct message, link);

        message->deliver(message);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = handle->data;

    CHECK(pthread_mutex_destroy(&mailbox->mutex) == 0);
    if (mailbox->closed != NULL) {
        mailbox->closed(mailbox);
    }
}

void mailbox_close(struct mailbox *mailbox, void (*closed)(struct mailbox *mailbox))
{
    mailbox_drain(mailbox);
    mailbox->closed = closed;
    uv_close((uv_handle_t *)&mailbox->async, on_closed);
}
