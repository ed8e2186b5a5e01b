/* Who the members are, by id: names and addresses, as the cluster was formed or joined, overlaid by
 * the replicated table of members once it has rows. Any thread. */
#ifndef HOLDFAST_RAFT_MEMBERS_H
#define HOLDFAST_RAFT_MEMBERS_H

#include "raft/identity.h"
#include "raft/membership.h"
#include "raft/node.h"
#include "storage/view.h"

struct members;

struct members *members_open(void);
void members_close(struct members *members); /* Accepts NULL. */

/* The members that formed the cluster, or that were there when this node joined. */
void members_set_formed(struct members *members, const struct identity *identity);

/* Who is in libraft's committed configuration, as of log index @index: one that was removed is
 * still reached until it is out. Nobody counts as removed before the first call, and while the
 * table is of a later index: a node that was given a state gets the log that led to it afterwards,
 * and may not know yet who joined before the removal was asked for. */
void members_set_configuration(struct members *members, const uint64_t *ids, unsigned n_ids,
                               uint64_t index);

/* Read the table. Keeps what it had if that fails. */
MUST_USE enum status members_read(struct members *members, struct view *view, struct store *store,
                                  struct error *error);

/* Copy the table into @table, if it was read since *@version, which is then raised. Those that
 * formed the cluster and have said nothing of themselves yet have rows in it as well. */
bool members_table(struct members *members, uint64_t *version, struct membership_table *table);

/* Does the table, as it was read last, say exactly this of the member? */
bool members_say(struct members *members, const struct member_row *row);
/* Is it drained, by the table? */
bool members_is_drained(struct members *members, uint64_t id);
/* Was it a member, and is out of the configuration too? */
bool members_was_removed(struct members *members, uint64_t id);

/* One of this cluster that is not known here has said who it is: this node's table may be behind,
 * and who it is may lead. Known from now on, until the table says more. False: it was removed, or
 * there are too many. */
bool members_meet(struct members *members, const struct frame_hello *hello);

/* The address of member @id; false if it is unknown. */
bool members_address(struct members *members, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1]);

/* The ids of all but @self. */
unsigned members_others(struct members *members, uint64_t self, uint64_t ids[LIMIT_MEMBERS]);

/* Fill in names, addresses and versions of the members in @status, by id. */
void members_describe(struct members *members, struct node_status *status);

#endif
