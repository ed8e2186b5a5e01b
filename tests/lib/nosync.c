/* Loaded into a daemon by LD_PRELOAD: while the file exists that HOLDFAST_TEST_FAIL names with
 * ".sync" behind it, nothing that it writes is synced, though it is told so. A cluster of such
 * daemons loses what it acknowledged when all of them lose power; a rig that does not see that sees
 * nothing.
 *
 * libraft syncs by fsync() and by RWF_DSYNC on kernel AIO through syscall(__NR_io_submit), LMDB by
 * fdatasync() and by a descriptor with O_DSYNC. That one is opened without the flag, and what is
 * written through it is synced here, unless nothing is to be. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 65536

typedef long (*syscall_cb)(long number, ...);
typedef int (*open_cb)(const char *path, int flags, ...);
typedef int (*sync_cb)(int fd);

/* Opened with O_DSYNC or O_SYNC, which was left out. */
static atomic_bool is_synchronous[MAX_FD];

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static bool is_off(void)
{
    const char *path = getenv("HOLDFAST_TEST_FAIL");
    char whole[PATH_MAX];

    if (path == NULL) {
        abort(); /* A test that switches nothing off must not pass. */
    }
    (void)snprintf(whole, sizeof whole, "%s.sync", path);
    return access(whole, F_OK) == 0;
}

int fsync(int fd)
{
    sync_cb next;

    *(void **)&next = real("fsync");
    return is_off() ? 0 : next(fd);
}

int fdatasync(int fd)
{
    sync_cb next;

    *(void **)&next = real("fdatasync");
    return is_off() ? 0 : next(fd);
}

int msync(void *address, size_t size, int flags)
{
    int (*next)(void *, size_t, int);

    *(void **)&next = real("msync");
    return is_off() ? 0 : next(address, size, flags);
}

/* --- Descriptors that sync by themselves --- */

static int open_without_sync(const char *name, const char *path, int flags, unsigned mode)
{
    open_cb next;
    int fd;

    *(void **)&next = real(name);
    fd = next(path, flags & ~(O_SYNC | O_DSYNC), mode);
    if (fd >= MAX_FD) {
        abort();
    }
    if (fd >= 0) {
        atomic_store(&is_synchronous[fd], (flags & (O_SYNC | O_DSYNC)) != 0);
    }
    return fd;
}

static unsigned mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, unsigned) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    unsigned mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_without_sync("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    unsigned mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_without_sync("open64", path, flags, mode);
}

/* Gives the result of the write, or that of a sync that failed after it. */
static ssize_t sync_after(int fd, ssize_t written)
{
    if (written >= 0 && fd >= 0 && fd < MAX_FD && atomic_load(&is_synchronous[fd]) &&
        fdatasync(fd) != 0) {
        return -1;
    }
    return written;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*next)(int, const void *, size_t);

    *(void **)&next = real("write");
    return sync_after(fd, next(fd, bytes, size));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t);

    *(void **)&next = real("pwrite");
    return sync_after(fd, next(fd, bytes, size, offset));
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    ssize_t (*next)(int, const struct iovec *, int);

    *(void **)&next = real("writev");
    return sync_after(fd, next(fd, pieces, count));
}

int close(int fd)
{
    sync_cb next;

    *(void **)&next = real("close");
    if (fd >= 0 && fd < MAX_FD) {
        atomic_store(&is_synchronous[fd], false);
    }
    return next(fd);
}

/* As libc declares it. */
long syscall(long number, ...)
{
    syscall_cb next;
    va_list arguments;
    long a[6];
    int i;

    va_start(arguments, number);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    *(void **)&next = real("syscall");
    if (number == SYS_io_submit && is_off()) {
        for (i = 0; i < a[1]; i++) {
            struct iocb **requests = (struct iocb **)(void *)a[2];

            requests[i]->aio_rw_flags &= ~(RWF_DSYNC | RWF_SYNC);
        }
    }
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
