#include "tests/lib/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define MAX_PROCESSES 64
#define COMMAND_MS    10000
#define MAX_COMMAND   2048

/* What runs; read by the signal handler, so plain atomics. */
static _Atomic pid_t running[MAX_PROCESSES];

static void end_all(void)
{
    int i;

    for (i = 0; i < MAX_PROCESSES; i++) {
        pid_t pid = atomic_load(&running[i]);

        if (pid > 0) {
            (void)kill(-pid, SIGKILL); /* Ended already: what we want. */
        }
    }
}

static void on_alarm(int number)
{
    static const char text[] = "the test's time is over\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);

    (void)number;
    (void)written; /* Nobody is left to be told. */
    end_all();
    _exit(EXIT_FAILURE);
}

void process_limit_test(unsigned limit_s)
{
    struct sigaction action = {.sa_handler = on_alarm};

    (void)sigaction(SIGALRM, &action, NULL); /* Cannot fail with these arguments. */
    (void)alarm(limit_s);
}

static bool note_running(pid_t pid)
{
    static bool prepared;
    int i;

    if (!prepared) {
        prepared = atexit(end_all) == 0;
    }
    for (i = 0; i < MAX_PROCESSES; i++) {
        pid_t none = 0;

        if (atomic_compare_exchange_strong(&running[i], &none, pid)) {
            return true;
        }
    }
    return false;
}

static void note_ended(pid_t pid)
{
    int i;

    for (i = 0; i < MAX_PROCESSES; i++) {
        pid_t expected = pid;

        if (atomic_compare_exchange_strong(&running[i], &expected, 0)) {
            return;
        }
    }
}

/* In the child: from here on only what is allowed between fork() and exec() of a threaded process;
 * the environment was put together before. */
static void become(const char *const arguments[], char **environment, int log_fd, pid_t parent)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(127);
    }
    if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0) {
        _exit(127);
    }
    (void)execve(arguments[0], (char *const *)(uintptr_t)arguments, environment);
    _exit(127);
}

extern char **environ;

/* The own environment and the additions; the list is released by free(), the strings are borrowed.
 */
static char **extend_environment(const char *const additions[])
{
    size_t own = 0;
    size_t more = 0;
    char **list;

    while (environ[own] != NULL) {
        own++;
    }
    while (additions != NULL && additions[more] != NULL) {
        more++;
    }
    list = calloc(own + more + 1, sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    if (more > 0) {
        memcpy(list, additions, more * sizeof *list); /* First: the first of two counts. */
    }
    memcpy(list + more, environ, own * sizeof *list);
    return list;
}

bool process_start(struct process *process, const char *const arguments[],
                   const char *const environment[], const char *log_path)
{
    int log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    char **list = extend_environment(environment);
    pid_t parent = getpid();
    pid_t pid = -1;

    process->pid = 0;
    process->status = 0;
    if (log_fd >= 0 && list != NULL) {
        pid = fork();
    }
    if (pid == 0) {
        become(arguments, list, log_fd, parent);
    }
    if (log_fd >= 0) {
        (void)close(log_fd); /* The child has its own. */
    }
    free(list);
    if (pid < 0) {
        return false;
    }
    (void)setpgid(pid, pid); /* Both sides do it, whoever comes first. */
    process->pid = pid;
    if (!note_running(pid)) {
        process_kill(process);
        return false;
    }
    return true;
}

bool process_is_alive(struct process *process)
{
    if (process->pid == 0) {
        return false;
    }
    if (waitpid(process->pid, &process->status, WNOHANG) != process->pid) {
        return true;
    }
    note_ended(process->pid);
    process->pid = 0;
    return false;
}

static bool has_ended(void *data)
{
    struct process *process = data;

    return !process_is_alive(process);
}

bool process_wait(struct process *process, unsigned limit_ms)
{
    return wait_until(has_ended, process, limit_ms);
}

bool process_exited_with(const struct process *process, int status)
{
    return process->pid == 0 && WIFEXITED(process->status) &&
           WEXITSTATUS(process->status) == status;
}

bool process_signal(struct process *process, int number)
{
    return process_is_alive(process) && kill(process->pid, number) == 0;
}

void process_kill(struct process *process)
{
    if (process->pid == 0) {
        return;
    }
    (void)kill(-process->pid, SIGKILL); /* Ended already: what we want. */
    (void)waitpid(process->pid, &process->status, 0);
    note_ended(process->pid);
    process->pid = 0;
}

bool process_run(const char *log_path, const char *format, ...)
{
    char command[MAX_COMMAND];
    const char *arguments[] = {"/bin/sh", "-c", command, NULL};
    struct process shell;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (!process_start(&shell, arguments, NULL, log_path)) {
        return false;
    }
    if (!process_wait(&shell, COMMAND_MS)) {
        process_kill(&shell);
        return false;
    }
    if (!process_exited_with(&shell, 0)) {
        (void)fprintf(stderr, "failed: %s (see %s)\n", command, log_path);
        return false;
    }
    return true;
}
