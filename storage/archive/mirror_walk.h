/* All of a state for a mirror that has nothing, or not enough: namespaces, sessions with their
 * events, and items, out of many short views.
 *
 * What was there at the first view, and still is at the end, comes at least once, as it was at some
 * view. So whoever takes all of that, and then the changes behind the revision of the first view
 * (mirror_round.h, with its time), has the state. One thread. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_WALK_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_WALK_H

#include "storage/archive/mirror_round.h"

struct mirror_walk;

/* Of each view, @bytes are read, about. */
struct mirror_walk *mirror_walk_open(size_t bytes);

/* Read as much as fits out of @view into @sink; again with a later view, until @is_done.
 * STATUS_CORRUPT, STATUS_UNSUPPORTED. */
MUST_USE enum status mirror_walk_read(struct mirror_walk *walk, struct view *view,
                                      const struct mirror_sink *sink, bool *is_done);

/* Where changes begin, and how new rows are, so far. */
void mirror_walk_end(const struct mirror_walk *walk, struct mirror_end *end);

void mirror_walk_close(struct mirror_walk *walk); /* Accepts NULL. */

#endif
