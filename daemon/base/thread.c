#include "daemon/base/thread.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/base/check.h"

#define NAME_BYTES 16 /* Of Linux, with NUL. */
/* Each step is a factor of about 1.25 in the share of a processor. */
#define NICE_STEPS 10

void thread_set_name(const char *name)
{
    CHECK(strlen(name) < NAME_BYTES);
    (void)pthread_setname_np(pthread_self(), name); /* It works without. */
}

/* Linux keeps it for each thread, whatever POSIX says. */
void thread_give_way(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_STEPS); /* It works without. */
}

void thread_ignore_broken_pipes(void)
{
    sigset_t pipe;

    CHECK(sigemptyset(&pipe) == 0);
    CHECK(sigaddset(&pipe, SIGPIPE) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &pipe, NULL) == 0);
}
