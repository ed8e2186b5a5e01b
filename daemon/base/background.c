#include "daemon/base/background.h"

#include <pthread.h>
#include <sys/resource.h>

#define NICENESS 19

void background_enter(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
    /* On Linux this is of the calling thread alone: setpriority(2), "C library/kernel differences".
     * If it is refused, the work is done all the same. */
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
}
