/* Loaded into a daemon by LD_PRELOAD: while the file named by HOLDFAST_TEST_HOLD exists, what
 * libraft writes to its log does not reach the disk, and nobody is told that it did.
 *
 * SIGKILL leaves the page cache alone, so a daemon that acknowledges before its log is written
 * passes every test that only kills. This shows it.
 *
 * libraft writes its segments by kernel AIO, through syscall(__NR_io_submit), and waits for the
 * completion on an eventfd or in io_getevents(). A request that is held is kept here and reported
 * as submitted, so both ways of waiting just go on waiting, and the loop that submitted is not
 * blocked: the node keeps answering its peers. A thread submits what was held when the file is
 * gone. */
#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
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

static void hold(aio_context_t context, struct iocb *request)
{
    pthread_t thread;

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

/* As libc declares it. */
long syscall(long number, ...)
{
    long a[6];
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
    return real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
