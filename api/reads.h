/* Reads: from the arrival of a GET to the moment at which the state may be looked at.
 *
 * The linearizable reads of one loop turn share one ReadIndex ticket, one wait until that index is
 * visible here, and one view. Stale reads look at once; those with min_revision wait for it. One
 * reads per api thread. */
#ifndef HOLDFAST_API_READS_H
#define HOLDFAST_API_READS_H

#include "api/request.h"
#include "storage/view.h"

struct reads;
struct api_thread;

struct reads *reads_new(struct api_thread *thread);

/* Send off what this loop turn collected. At the end of every turn, before and after polling. */
void reads_flush(struct reads *reads);

/* Nothing may be outstanding. The memory is released from the loop, later. */
void reads_free(struct reads *reads);

/* Answers the request out of @view, which is open during the call only. */
typedef void (*reads_serve_cb)(struct request *request, struct view *view);

/* Wait as the request's consistency and min_revision demand, then call @serve, once; or answer 503.
 * A bad value of those parameters answers 400. @serve may run before this returns. */
void reads_start(struct request *request, reads_serve_cb serve);

/* A look at the local state as it is, within one call: NULL if it cannot be opened. May be used
 * while reads are served. */
struct view *reads_view_begin(struct reads *reads);
void reads_view_end(struct reads *reads);

#endif
