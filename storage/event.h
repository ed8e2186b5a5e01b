/* Events: appending, recognising what was appended before, rewinding and trimming.
 *
 * Each event id that a client gave is remembered for the life of its session, with the append that
 * it came with: so a repeated append is answered as the first time, also after its events were
 * rewound or trimmed. Only the apply thread. */
#ifndef HOLDFAST_STORAGE_EVENT_H
#define HOLDFAST_STORAGE_EVENT_H

#include "storage/execution.h"

/* The session with @row is gone: queue what hangs off it for purging. */
MUST_USE enum status event_abandon(struct txn *txn, const struct session_row *row);

#endif
