/* The state of another member, which this node has put together beside its own (state_transfer.h),
 * and which takes the place of that while no one has either open. Waits for the disk. */
#ifndef HOLDFAST_RAFT_RECEIVED_H
#define HOLDFAST_RAFT_RECEIVED_H

#include "storage/machine.h"

/* Is there a whole one in @received, and is it newer than the one in @own? Then @position is filled
 * in; what it says to be stored is of no log. STATUS_IO, STATUS_CORRUPT. */
MUST_USE enum status received_look(const char *received, const char *own, bool *is_newer,
                                   struct machine_position *position, struct error *error);

/* Put it in the place of @own if it is newer; remove it if it is whole and not. One that is not
 * whole stays, to be gone on with. */
MUST_USE enum status received_install(const char *received, const char *own, struct error *error);

#endif
