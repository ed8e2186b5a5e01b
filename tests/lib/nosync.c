/* Loaded into a daemon by LD_PRELOAD: nothing that it writes is synced, though it is told so. A
 * cluster of such daemons loses what it acknowledged when all of them lose power; a rig that does
 * not see that sees nothing.
 *
 * libraft syncs by O_DSYNC and by RWF_DSYNC on kernel AIO through syscall(__NR_io_submit), LMDB by
 * fdatasync() and by a descriptor with O_DSYNC. */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long (*syscall_cb)(long number, ...);
typedef int (*open_cb)(const char *path, int flags, ...);

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int msync(void *address, size_t size, int flags)
{
    (void)address;
    (void)size;
    (void)flags;
    return 0;
}

static int open_without_sync(const char *name, const char *path, int flags, unsigned mode)
{
    open_cb real;

    *(void **)&real = dlsym(RTLD_NEXT, name);
    return real(path, flags & ~(O_SYNC | O_DSYNC), mode);
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

long syscall(long number, ...)
{
    syscall_cb real;
    va_list arguments;
    long a[6];
    int i;

    va_start(arguments, number);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    for (i = 0; number == SYS_io_submit && i < a[1]; i++) {
        struct iocb **requests = (struct iocb **)(void *)a[2];

        requests[i]->aio_rw_flags &= ~(RWF_DSYNC | RWF_SYNC);
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
