/* Threads whose work can wait: they get what cores the others leave. */
#ifndef HOLDFAST_BASE_BACKGROUND_H
#define HOLDFAST_BASE_BACKGROUND_H

/* The calling thread, from now on and for good: named @name (15 bytes at most) for those who look
 * at threads, and of the lowest priority that still gets a share of a busy machine. */
void background_enter(const char *name);

#endif
