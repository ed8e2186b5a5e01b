/* Who the members are, by id: names and addresses, as the cluster was formed, overlaid by the
 * replicated member table once it has rows. Any thread. */
#ifndef HOLDFAST_RAFT_MEMBERS_H
#define HOLDFAST_RAFT_MEMBERS_H

#include "raft/identity.h"
#include "raft/node.h"
#include "storage/view.h"

struct members;

struct members *members_open(void);
void members_close(struct members *members); /* Accepts NULL. */

/* The members that formed the cluster. */
void members_set_formed(struct members *members, const struct identity *identity);

/* Read the table. Keeps what it had if that fails. */
MUST_USE enum status members_read(struct members *members, struct view *view, struct store *store,
                                  struct error *error);

/* Does the table, as it was read last, say exactly this of the member? */
bool members_say(struct members *members, const struct member_row *row);

/* The address of member @id; false if it is unknown. */
bool members_address(struct members *members, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1]);

/* The ids of all but @self. */
unsigned members_others(struct members *members, uint64_t self, uint64_t ids[LIMIT_MEMBERS]);

/* Fill in names, addresses and versions of the members in @status, by id. */
void members_describe(struct members *members, struct node_status *status);

#endif
