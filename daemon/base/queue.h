/* An intrusive double-ended list: the link lives inside the element, so nothing is allocated.
 *
 * An element is in at most one list through one link. One thread at a time. */
#ifndef HOLDFAST_BASE_QUEUE_H
#define HOLDFAST_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev;
    struct link *next;
};

struct queue {
    struct link head; /* Private. */
};

/* The element that holds @link as its member @member. */
#define CONTAINER_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void queue_init(struct queue *queue)
{
    queue->head.prev = &queue->head;
    queue->head.next = &queue->head;
}

static inline bool queue_is_empty(const struct queue *queue)
{
    return queue->head.next == &queue->head;
}

static inline void queue_push(struct queue *queue, struct link *link)
{
    link->prev = queue->head.prev;
    link->next = &queue->head;
    queue->head.prev->next = link;
    queue->head.prev = link;
}

static inline void queue_push_front(struct queue *queue, struct link *link)
{
    link->prev = &queue->head;
    link->next = queue->head.next;
    queue->head.next->prev = link;
    queue->head.next = link;
}

/* Take @link out of whatever list it is in. */
static inline void queue_remove(struct link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = NULL;
    link->next = NULL;
}

/* The first element, or NULL. */
static inline struct link *queue_first(const struct queue *queue)
{
    return queue_is_empty(queue) ? NULL : queue->head.next;
}

/* The one behind @link, or NULL. */
static inline struct link *queue_next(const struct queue *queue, const struct link *link)
{
    return link->next == &queue->head ? NULL : link->next;
}

/* Take the first element out, or NULL. */
static inline struct link *queue_pop(struct queue *queue)
{
    struct link *first = queue_first(queue);

    if (first != NULL) {
        queue_remove(first);
    }
    return first;
}

/* Move all of @from behind what @to holds; @from is empty afterwards. */
static inline void queue_append(struct queue *to, struct queue *from)
{
    if (queue_is_empty(from)) {
        return;
    }
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    queue_init(from);
}

#endif
