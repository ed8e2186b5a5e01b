/* The indexes that lists of sessions walk.
 *
 * In the order of creation there is one per attribute (agent, user, status) and one of all. In the
 * order of update there is none by status: every append moves a session there, and the filter on
 * status is applied to the rows instead. An entry holds the session's id. Only the apply thread. */
#ifndef HOLDFAST_STORAGE_SESSION_INDEX_H
#define HOLDFAST_STORAGE_SESSION_INDEX_H

#include "storage/rows.h"
#include "storage/store.h"

/* Make the entries say @now instead of @was; either may be NULL. Writes only what differs. */
MUST_USE enum status session_index_move(struct txn *txn, uint64_t namespace_id,
                                        const struct session_row *was,
                                        const struct session_row *now);

#endif
