/* A round of a mirror: what changed behind one revision, up to a later one, out of the change log,
 * and the rows of that as they are now.
 *
 * The names come from one view, the rows from that and, if they are many, from some later ones: a
 * row may be newer than the end of the round, and never older. What changed since comes again in
 * later rounds, so that when a round ends where the state was when all of it was read, the mirror
 * is what the state was at that revision: it is exact.
 *
 * The change log does not say what a namespace held that was deleted: with its name goes all that
 * was in it. So a change in a namespace that is not there any more needs nothing done: the deletion
 * is in this round or in one to come.
 *
 * One thread. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_ROUND_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_ROUND_H

#include "storage/archive/mirror_reader.h"

/* How much one round, and one view, may take; tests make it little. */
struct mirror_limits {
    size_t objects;   /* A round ends with the revision that makes it so many, ... */
    size_t revisions; /* ... or so many. */
    size_t bytes;     /* Read in one view, about: the row that exceeds it is the last. */
};

#define MIRROR_ROUND_OBJECTS   4096u
#define MIRROR_ROUND_REVISIONS 16384u
#define MIRROR_VIEW_BYTES      (4u << 20)

struct mirror_round;

/* The round behind the revision @after, at the time @after_ms of the cluster or later: all events
 * from before then that are live are in the mirror. */
struct mirror_round *mirror_round_open(uint64_t after, uint64_t after_ms,
                                       const struct mirror_limits *limits);

/* Read as much as fits out of @view into @sink; again with a later view, until @is_done. The names
 * are read out of the first one. STATUS_NOT_FOUND: changes behind @after are not in the change log
 * any more. STATUS_MISMATCH: @after is behind the state. STATUS_CORRUPT, STATUS_UNSUPPORTED. */
MUST_USE enum status mirror_round_read(struct mirror_round *round, struct view *view,
                                       const struct mirror_sink *sink, bool *is_done);

/* Where it ended, when it is done: the mirror has all changes up to there. */
struct mirror_end {
    uint64_t revision;
    uint64_t time_ms;         /* Of that revision. */
    uint64_t newest_revision; /* No row is newer: of the state, at the last view. */
};
void mirror_round_end(const struct mirror_round *round, struct mirror_end *end);

void mirror_round_close(struct mirror_round *round); /* Accepts NULL. */

#endif
