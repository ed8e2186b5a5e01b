/* Child processes of a test: each in a group of its own, with its output in a file, and none of
 * them outlives the test, however that ends.
 *
 * Only processes that were started here are ever signalled. Only the main thread (the kernel ends a
 * child with the thread that made it). */
#ifndef HOLDFAST_TESTS_PROCESS_H
#define HOLDFAST_TESTS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process {
    pid_t pid;  /* 0: does not run. */
    int status; /* As of waitpid(), once it ended. */
};

/* End the whole test, and with it all its processes, unless it is done within @limit_s. */
void process_limit_test(unsigned limit_s);

/* Run @arguments[0] with @arguments and the own environment, to which the "NAME=value" strings of
 * @environment (NULL: none) are added. Both lists end with NULL. Output is appended to @log_path.
 * False if it could not be started. */
bool process_start(struct process *process, const char *const arguments[],
                   const char *const environment[], const char *log_path);

/* Run a shell's command, which takes 10 s at most, and append its output to @log_path. True if it
 * ended with status 0. */
bool process_run(const char *log_path, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* True while it runs; collects its status when it has ended. */
bool process_is_alive(struct process *process);

/* Wait for the end. False if it still runs after @limit_ms. */
bool process_wait(struct process *process, unsigned limit_ms);

/* It ended by itself with this exit status. */
bool process_exited_with(const struct process *process, int status);

/* False if it does not run. */
bool process_signal(struct process *process, int number);

/* SIGKILL, and wait for the end. Does nothing if it does not run. */
void process_kill(struct process *process);

#endif
