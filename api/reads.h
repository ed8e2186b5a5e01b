/* Linearizable reads of one api thread: one round for all that are asked for in a turn of its loop.
 *
 * Only the thread that owns it uses it. */
#ifndef HOLDFAST_API_READS_H
#define HOLDFAST_API_READS_H

struct api_thread;
struct reads;

struct reads *reads_new(struct api_thread *thread);

/* At the end of each turn of the loop, and before it waits: ask for what the turn collected. */
void reads_flush(struct reads *reads);

/* On the loop's thread; nothing may be outstanding. */
void reads_free(struct reads *reads);

#endif
