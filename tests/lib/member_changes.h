/* What operators do with the members of a real cluster, in one line each. A node is told by its
 * number, and is a member unless it is absent (struct cluster_node). Main thread only: they end the
 * test that runs when it does not work out. */
#ifndef HOLDFAST_TESTS_MEMBER_CHANGES_H
#define HOLDFAST_TESTS_MEMBER_CHANGES_H

#include "tests/lib/cluster.h"

#define CHANGE_MS 20000 /* A change of members is done by then, on a busy machine too. */

/* One that is there and runs, but for @except. */
struct cluster_node *member_that_lives(struct cluster *cluster, unsigned except);

/* Wait until all nodes say that it has this role; "": that it is no member. */
void member_wait_role(struct cluster *cluster, unsigned node, const char *role);

/* Ask for a change, again and again, of any node but @except, until it is done: every change may be
 * repeated. */
void member_change(struct cluster *cluster, unsigned except, const char *method, const char *target,
                   const char *body);
/* @was_asked: the same was asked before, and it may have been carried out since. */
void member_change_again(struct cluster *cluster, unsigned except, const char *method,
                         const char *target, const char *body, bool was_asked);

void member_set_role(struct cluster *cluster, unsigned node, const char *role);

/* A node that is absent joins and is ready. */
void member_join(struct cluster *cluster, unsigned node);

/* A member is removed, whether it runs and is reached or not; it is absent from now on. */
void member_forget(struct cluster *cluster, unsigned node);
/* It learns that, and says so by its exit status. */
void member_expect_removed(struct cluster *cluster, unsigned node);
/* Both. */
void member_remove(struct cluster *cluster, unsigned node);

/* Its data directory is empty again. */
void member_wipe(struct cluster_node *node);

/* One that is absent and does not run joins as a new node, and becomes a voter. */
void member_join_anew(struct cluster *cluster, unsigned node);

#endif
