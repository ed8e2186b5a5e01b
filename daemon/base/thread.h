/* What a thread says of itself to the operating system. */
#ifndef HOLDFAST_BASE_THREAD_H
#define HOLDFAST_BASE_THREAD_H

/* How this thread is called by those who look at threads (top, ps, debuggers); at most 15
 * characters. */
void thread_set_name(const char *name);

/* This thread's work can wait: where processors are short, others go first. It goes on all the
 * same, at a tenth of what another thread gets. */
void thread_give_way(void);

/* Sockets that are written to without MSG_NOSIGNAL, by libuv say: the other side going away must
 * not end the process. */
void thread_ignore_broken_pipes(void);

#endif
