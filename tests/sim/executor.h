/* What stands for the apply thread of a simulated node: it takes committed entries in order, some
 * time later, which reads see at once, and flushes now and then. A crash goes back to what was
 * flushed.
 *
 * It runs the real state machine on a store in a directory of its own, or, much faster, records
 * only what is executed. Either way the checks hear of every command. */
#ifndef HOLDFAST_TESTS_SIM_EXECUTOR_H
#define HOLDFAST_TESTS_SIM_EXECUTOR_H

#include "daemon/base/limits.h"
#include "daemon/base/queue.h"
#include "storage/applier.h"

/* So much is flushed at once. */
#define EXECUTOR_FLUSH_BYTES (1u << 20)

struct node;
struct log_event;
struct log_operation;

/* What a start finds. */
struct executor_state {
    uint64_t applied;
    uint64_t stored;
    uint64_t time_ms;
    uint64_t hash[2];
};

struct executor {
    /* For reading. */
    struct executor_state now;
    struct executor_state durable;
    unsigned slow_ms; /* Added to each piece of work. */
    size_t queued_bytes;
    /* Private. */
    char directory[96]; /* Empty: it records only. */
    char received[104]; /* What was received, until a life begins with it. */
    bool has_received;
    struct executor_state received_state;
    struct store *store;
    struct machine *machine;
    bool is_busy;
    struct queue works;
};

/* Before the first start. */
void executor_init(struct node *node);
/* A life begins with what was flushed. */
void executor_open(struct node *node);
/* The callbacks of agreement; @data is the node. */
void executor_push(void *data, struct applied *work);
size_t executor_queued_bytes(void *data);
uint64_t executor_next_due_ms(void *data);
/* The value of an item in what is executed; 0: there is none. */
uint64_t executor_read_item(struct node *node, unsigned item);
/* What a session's log shows behind the number that is @n_back below the last, but no more than
 * HISTORY_PAGE events, into @operation and @seen. */
void executor_read_log(struct node *node, unsigned session, unsigned n_back,
                       struct log_operation *operation, struct log_event *seen);
/* What @donor has durable has come whole: the next life begins with it. False if the donor is dead,
 * or that does not reach @index. */
bool executor_receive(struct node *node, const struct node *donor, uint64_t index);
/* The life ends; what was not flushed is lost, and work that waits is given back undone. */
void executor_close(struct node *node);
/* After the last life. */
void executor_remove(struct node *node);

#endif
