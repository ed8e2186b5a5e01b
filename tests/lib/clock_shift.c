/* Loaded into a daemon by LD_PRELOAD: its wall clock is off by as many seconds as the file says
 * that HOLDFAST_TEST_CLOCK names: a 64-bit integer, read anew each time, so that clocks jump while
 * it runs. In the next one it counts how often it told a time that is off. The monotonic clock is
 * not touched, as no administrator can set it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*clock_cb)(clockid_t clock, struct timespec *now);

static _Atomic int64_t *shift; /* And the count. */
static clock_cb real_clock;

__attribute__((constructor)) static void prepare(void)
{
    const char *path = getenv("HOLDFAST_TEST_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *page;

    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    if (fd < 0) {
        return;
    }
    page = mmap(NULL, 2 * sizeof *shift, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (page == MAP_FAILED) {
        abort(); /* A test that shifts no clock must not pass. */
    }
    shift = page;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc;

    if (real_clock == NULL) {
        prepare(); /* Another library's constructor came first. */
    }
    rc = real_clock(clock, now);
    if (rc == 0 && shift != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t shift_s = atomic_load(&shift[0]);

        now->tv_sec += shift_s;
        if (shift_s != 0) {
            (void)atomic_fetch_add(&shift[1], 1);
        }
    }
    return rc;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    int rc = clock_gettime(CLOCK_REALTIME, &precise);

    (void)zone;
    *now = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    return rc;
}

time_t time(time_t *result)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* Cannot fail with these arguments. */
    if (result != NULL) {
        *result = now.tv_sec;
    }
    return now.tv_sec;
}
