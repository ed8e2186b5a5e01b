/* The log of one session: a chain of events, each of which knows the one before it and how many
 * events and bytes there are up to it. So the size of any part is a difference of two numbers, and
 * a rewind or trim of any length is a change of the session's row.
 *
 *   first_seq .. last_seq      live, but for the dead ranges between
 *   below first_seq            trimmed
 *   dead range                 rewound: its numbers are never given again
 *
 * What is dead is invisible at once. A few events are deleted on the spot; more are left to
 * event_purge(), in bounded steps. Until then the queue of purge entries is also the list of dead
 * ranges, which readers skip. Only the apply thread writes. */
#ifndef HOLDFAST_STORAGE_EVENT_LOG_H
#define HOLDFAST_STORAGE_EVENT_LOG_H

#include "storage/rows.h"
#include "storage/store.h"

/* Events up to this number are deleted by the entry that rewinds or trims. */
#define EVENT_LOG_DELETE_NOW 256

/* Dead ranges of one log that may wait for being purged. A rewind beyond that deletes on the spot,
 * at most LIMIT_LOG_EVENTS live events; a client gets there only by rewinding more than so many
 * times, by more than EVENT_LOG_DELETE_NOW events, faster than maintenance follows. */
#define EVENT_LOG_RANGES 16

/* A part of the log that dies: what log_rewind() or log_trim() leaves to write. */
struct log_cut {
    uint64_t from_seq;
    uint64_t below_seq;
    uint64_t deleted; /* Live events in it; 0: nothing to write. */
};

/* Change @row as if all above @after_seq (below @before_seq) were gone; writes nothing.
 *
 * Behind a rewind into the trimmed part, last_seq is @after_seq itself: what was rewound before it
 * was trimmed is not remembered. */
MUST_USE enum status log_rewind(struct txn *txn, struct session_row *row, uint64_t after_seq,
                                struct log_cut *cut);
MUST_USE enum status log_trim(struct txn *txn, struct session_row *row, uint64_t before_seq,
                              struct log_cut *cut);

/* Write what they left. */
MUST_USE enum status log_write_cut(struct txn *txn, uint64_t object_id, const struct log_cut *cut);

/* Give @event the next place in the log of @row, and change the row; writes nothing. */
void log_advance(struct session_row *row, struct event_row *event);

/* What an event counts: its id, type and data. */
uint64_t log_bytes_of(const struct event_row *event);

/* Delete up to *@budget events with @from_seq <= seq < @below_seq and lower the budget by them. */
MUST_USE enum status log_delete(struct txn *txn, uint64_t object_id, uint64_t from_seq,
                                uint64_t below_seq, uint32_t *budget);

#endif
