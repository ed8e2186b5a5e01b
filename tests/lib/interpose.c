/* Loaded into a daemon by LD_PRELOAD: disks that hold back what is written, or fail.
 *
 * While the file named by HOLDFAST_TEST_HOLD exists, what libraft writes to its log does not reach
 * the disk, and nobody is told that it did; the file grows by a byte for each write. SIGKILL leaves
 * the page cache alone, so a daemon that acknowledges before its log is written passes every test
 * that only kills. This shows it.
 *
 * libraft writes its segments by kernel AIO, through syscall(__NR_io_submit), and waits for the
 * completion on an eventfd or in io_getevents(). A request that is held is kept here and reported
 * as submitted, so both ways of waiting just go on waiting, and the loop that submitted is not
 * blocked: the node keeps answering its peers. A thread submits what was held when the file is
 * gone.
 *
 * HOLDFAST_TEST_FAIL names a file that says, with a suffix, which disk gives EIO while it exists:
 * ".log" (libraft's writes), ".write" (LMDB's writes to data.mdb) or ".flush" (its flushes). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_HELD 4096

typedef long (*syscall_cb)(long number, ...);

struct held_write {
    aio_context_t context;
    struct iocb *request; /* libraft keeps it until the completion. */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct held_write held[MAX_HELD];
static unsigned n_held;
static bool releaser_runs;

static syscall_cb real_syscall(void)
{
    static syscall_cb found; /* Written twice with the same value at worst. */

    if (found == NULL) {
        *(void **)&found = dlsym(RTLD_NEXT, "syscall");
    }
    return found;
}

static bool is_holding(void)
{
    const char *path = getenv("HOLDFAST_TEST_HOLD");

    return path != NULL && access(path, F_OK) == 0;
}

static void submit_held(void)
{
    unsigned i;

    for (i = 0; i < n_held; i++) {
        struct iocb *request = held[i].request;

        if (real_syscall()(SYS_io_submit, held[i].context, 1L, &request) != 1) {
            abort(); /* The daemon was told that it was submitted. */
        }
    }
    n_held = 0;
}

/* Ends when nothing is held any more. */
static void *release(void *data)
{
    const struct timespec rest = {.tv_nsec = 5000000};
    bool done = false;

    while (!done) {
        (void)nanosleep(&rest, NULL);
        (void)pthread_mutex_lock(&mutex);
        if (!is_holding()) {
            submit_held();
            releaser_runs = false;
            done = true;
        }
        (void)pthread_mutex_unlock(&mutex);
    }
    return data;
}

/* For those who want to know that something is held. */
static void count_held(void)
{
    int fd = open(getenv("HOLDFAST_TEST_HOLD"), O_WRONLY | O_APPEND | O_CLOEXEC);

    if (fd >= 0) { /* Else it is gone by now. */
        (void)!write(fd, "h", 1);
        (void)close(fd);
    }
}

static void hold(aio_context_t context, struct iocb *request)
{
    pthread_t thread;

    count_held();

    if (n_held == MAX_HELD) {
        abort();
    }
    held[n_held++] = (struct held_write){.context = context, .request = request};
    if (!releaser_runs) {
        if (pthread_create(&thread, NULL, release, NULL) != 0 || pthread_detach(thread) != 0) {
            abort();
        }
        releaser_runs = true;
    }
}

/* True if the requests were kept. What came before them goes first. */
static bool hold_if_asked(aio_context_t context, long count, struct iocb **requests)
{
    bool holding;
    long i;

    (void)pthread_mutex_lock(&mutex);
    holding = n_held > 0 || is_holding();
    for (i = 0; holding && i < count; i++) {
        hold(context, requests[i]);
    }
    (void)pthread_mutex_unlock(&mutex);
    return holding;
}

static bool is_failing(const char *suffix)
{
    const char *path = getenv("HOLDFAST_TEST_FAIL");
    char whole[PATH_MAX];

    if (path == NULL) {
        return false;
    }
    (void)snprintf(whole, sizeof whole, "%s%s", path, suffix);
    return access(whole, F_OK) == 0;
}

/* True, with errno, if this operation on the state's file has to fail. */
static bool fails(int fd, const char *suffix)
{
    static const char name[] = "/data.mdb";
    char link[64];
    char path[PATH_MAX];
    ssize_t size;

    if (!is_failing(suffix)) {
        return false;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path);
    if (size < (ssize_t)sizeof name ||
        memcmp(path + size - (sizeof name - 1), name, sizeof name - 1) != 0) {
        return false;
    }
    errno = EIO;
    return true;
}

/* Whatever became of the writes, the disk is said to have failed. */
static void fail_events(struct io_event *events, long count)
{
    long i;

    for (i = 0; i < count; i++) {
        events[i].res = -EIO;
    }
}

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*next)(int, const void *, size_t);

    *(void **)&next = real("write");
    return fails(fd, ".write") ? -1 : next(fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t);

    *(void **)&next = real("pwrite");
    return fails(fd, ".write") ? -1 : next(fd, bytes, size, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    ssize_t (*next)(int, const struct iovec *, int);

    *(void **)&next = real("writev");
    return fails(fd, ".write") ? -1 : next(fd, pieces, count);
}

int fsync(int fd)
{
    int (*next)(int);

    *(void **)&next = real("fsync");
    return fails(fd, ".flush") ? -1 : next(fd);
}

int fdatasync(int fd)
{
    int (*next)(int);

    *(void **)&next = real("fdatasync");
    return fails(fd, ".flush") ? -1 : next(fd);
}

/* As libc declares it. */
long syscall(long number, ...)
{
    long a[6];
    long result;
    va_list arguments;
    int i;

    va_start(arguments, number);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (number == SYS_io_submit &&
        hold_if_asked((aio_context_t)a[0], a[1], (struct iocb **)(void *)a[2])) {
        return a[1];
    }
    result = real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_io_getevents && is_failing(".log")) {
        fail_events((struct io_event *)a[3], result);
    }
    return result;
}
