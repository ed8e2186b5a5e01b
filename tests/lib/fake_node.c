#include "tests/lib/fake_node.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/applier.h"

struct node *fake_node_new(void)
{
    struct node *node = memory_new_zeroed(1, sizeof(*node));
    struct operation maintain = {.kind = OPERATION_MAINTAIN, .maintain = {.max_records = 1}};

    node->state = state_new();
    queue_init(&node->submissions);
    queue_init(&node->tickets);
    queue_init(&node->waits);
    /* The first entry lays the foundation, as the barrier of a new leader does. */
    (void)state_operate(node->state, &maintain);
    state_commit(node->state);
    return node;
}

void fake_node_free(struct node *node)
{
    fake_node_release(node);
    image_spools_close(node->spools);
    state_free(node->state);
    free(node);
}

void fake_node_pass(struct node *node, uint64_t ms)
{
    struct operation maintain = {.kind = OPERATION_MAINTAIN,
                                 .maintain = {.max_records = LIMIT_MAINTENANCE_RECORDS}};

    node->state->now_ms += ms;
    (void)state_operate(node->state, &maintain);
    state_commit(node->state);
}

/* --- writes --- */

static void execute(struct node *node, struct submission *submission)
{
    struct command command;

    submission->status = node->outcome;
    if (node->outcome == STATUS_OK) {
        CHECK(command_decode(buffer_slice(&submission->command), &command, NULL) == STATUS_OK);
        (void)state_execute(node->state, &command);
        buffer_append_slice(&submission->result, buffer_slice(&node->state->results[0]));
        command_close(&command);
        state_commit(node->state);
    }
    mailbox_post(submission->home, &submission->message);
}

enum status node_submit(struct node *node, struct submission *submission)
{
    if (node->look != NULL) {
        node->look(buffer_slice(&submission->command));
    }
    if (node->submit_status != STATUS_OK) {
        return node->submit_status;
    }
    node->n_submissions++;
    if (node->holds_submissions) {
        queue_push(&node->submissions, &submission->message.link);
    } else {
        execute(node, submission);
    }
    return STATUS_OK;
}

/* --- reads --- */

static void answer(struct node *node, struct read_ticket *ticket)
{
    ticket->status = node->ticket_status;
    ticket->index = node->state->index;
    mailbox_post(ticket->home, &ticket->message);
}

enum status node_read(struct node *node, struct read_ticket *ticket)
{
    if (node->read_status != STATUS_OK) {
        return node->read_status;
    }
    node->n_tickets++;
    if (node->holds_tickets) {
        queue_push(&node->tickets, &ticket->message.link);
    } else {
        answer(node, ticket);
    }
    return STATUS_OK;
}

enum status node_change(struct node *node, struct member_change *change)
{
    if (node->change_status != STATUS_OK) {
        return node->change_status;
    }
    node->n_changes++;
    node->asked = *change;
    change->status = node->outcome_of_change.status;
    change->reason = node->outcome_of_change.reason;
    change->id = node->outcome_of_change.id;
    memcpy(change->text, node->outcome_of_change.text, sizeof change->text);
    mailbox_post(change->home, &change->message);
    return STATUS_OK;
}

bool applier_wait_visible(struct applier *applier, struct visibility_wait *wait)
{
    struct node *node = (struct node *)(void *)applier;

    node->n_waits++;
    if (!node->holds_waits && wait->index <= node->state->index &&
        wait->revision <= machine_revision(node->state->machine)) {
        return true;
    }
    queue_push(&node->waits, &wait->message.link);
    return false;
}

bool applier_wait_cancel(struct applier *applier, struct visibility_wait *wait)
{
    (void)applier;
    queue_remove(&wait->message.link);
    return true;
}

void fake_node_release(struct node *node)
{
    struct link *link;

    node->holds_submissions = false;
    node->holds_tickets = false;
    node->holds_waits = false;
    while ((link = queue_pop(&node->submissions)) != NULL) {
        struct message *message = CONTAINER_OF(link, struct message, link);

        execute(node, CONTAINER_OF(message, struct submission, message));
    }
    while ((link = queue_pop(&node->tickets)) != NULL) {
        struct message *message = CONTAINER_OF(link, struct message, link);

        answer(node, CONTAINER_OF(message, struct read_ticket, message));
    }
    while ((link = queue_pop(&node->waits)) != NULL) {
        struct message *message = CONTAINER_OF(link, struct message, link);
        struct visibility_wait *wait = CONTAINER_OF(message, struct visibility_wait, message);

        mailbox_post(wait->home, &wait->message);
    }
}

/* --- what is known --- */

struct archive *node_archive(struct node *node)
{
    return node->archive;
}

struct mirror *node_mirror(struct node *node)
{
    return node->mirror;
}

struct image_spools *node_spools(struct node *node)
{
    char directory[128];

    if (node->spools == NULL) {
        (void)snprintf(directory, sizeof(directory), "%s/images", node->state->directory);
        node->spools_options.store = node->state->store;
        node->spools_options.directory = directory;
        CHECK(image_spools_open(&node->spools_options, &node->spools, NULL) == STATUS_OK);
    }
    return node->spools;
}

struct store *node_store(struct node *node)
{
    return node->state->store;
}

struct applier *node_applier(struct node *node)
{
    return (struct applier *)(void *)node;
}

void node_status(struct node *node, struct node_status *status)
{
    *status = node->status;
}

void applier_visible(const struct applier *applier, struct applier_visible *visible)
{
    const struct node *node = (const struct node *)(const void *)applier;

    visible->index = node->state->index;
    visible->revision = machine_revision(node->state->machine);
    visible->time_ms = node->state->now_ms;
}

void applier_statistics(const struct applier *applier, struct applier_statistics *statistics)
{
    (void)applier;
    *statistics = (struct applier_statistics){0};
}

size_t applier_queued_bytes(const struct applier *applier)
{
    (void)applier;
    return 0;
}
