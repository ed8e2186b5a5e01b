/* For tests of the API: a node that executes commands at once on a store of its own, without peers
 * and threads. It takes the place of raft/node.c and storage/applier.c when linked.
 *
 * What it gives out can be refused, failed or held back. */
#ifndef HOLDFAST_TESTS_LIB_FAKE_NODE_H
#define HOLDFAST_TESTS_LIB_FAKE_NODE_H

#include "raft/node.h"
#include "storage/image_spool.h"
#include "tests/lib/state.h"

struct node {
    struct state_fixture *state;
    struct image_spools *spools;                /* Made when they are asked for. */
    struct image_spools_options spools_options; /* For that; store and directory are set there. */
    struct archive *archive;                    /* The test's; NULL: there is none. */
    struct mirror *mirror;                      /* Likewise. */
    struct node_status status;                  /* What node_status() says. */
    /* Writes. */
    enum status submit_status; /* STATUS_OK: taken. */
    enum status outcome;       /* STATUS_OK: executed. */
    bool holds_submissions;
    struct queue submissions; /* Executed when they are released. */
    unsigned n_submissions;
    void (*look)(struct slice command); /* NULL, or sees each command, taken or not. */
    /* Reads. */
    enum status read_status;
    enum status ticket_status;
    bool holds_tickets;
    struct queue tickets;
    unsigned n_tickets;
    /* Changes of members: what each is answered with, unless it is not taken. */
    enum status change_status; /* STATUS_OK: taken. */
    struct member_change outcome_of_change;
    struct member_change asked; /* The last one, as it came. */
    unsigned n_changes;
    /* Visibility. */
    bool holds_waits;
    struct queue waits;
    unsigned n_waits;
};

struct node *fake_node_new(void);
void fake_node_free(struct node *node);

/* Let go what is held, and hold no more. */
void fake_node_release(struct node *node);

/* The cluster's time goes on. */
void fake_node_pass(struct node *node, uint64_t ms);

#endif
