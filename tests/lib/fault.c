#include "tests/lib/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/check.h"

static unsigned countdown; /* 0: not armed, or struck. */
static bool has_struck;
static int number_to_give;
static const char *last_name = "nothing";

void fault_arm(unsigned nth, int number)
{
    countdown = nth;
    number_to_give = number;
    has_struck = false;
}

bool fault_disarm(void)
{
    countdown = 0;
    return has_struck;
}

const char *fault_name(void)
{
    return last_name;
}

static bool strikes(const char *name)
{
    if (countdown == 0 || --countdown > 0) {
        return false;
    }
    has_struck = true;
    last_name = name;
    errno = number_to_give;
    return true;
}

/* What the linker calls them: __real_ is libc's, __wrap_ is ours. */
int __real_open(const char *path, int flags, ...);
int __real_openat(int directory, const char *path, int flags, ...);
ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_close(int fd);
int __real_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __real_link(const char *from, const char *to);
int __real_mkdir(const char *path, mode_t mode);
int __real_flock(int fd, int operation);
int __real_fstat(int fd, struct stat *facts);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
DIR *__real_opendir(const char *path);
struct dirent *__real_readdir(DIR *directory);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_close(int fd);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_link(const char *from, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_flock(int fd, int operation);
int __wrap_fstat(int fd, struct stat *facts);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
DIR *__wrap_opendir(const char *path);
struct dirent *__wrap_readdir(DIR *directory);

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return strikes("open") ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_of(flags, arguments);
    va_end(arguments);
    return strikes("openat") ? -1 : __real_openat(directory, path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    return strikes("read") ? -1 : __real_read(fd, bytes, size);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    return strikes("write") ? -1 : __real_write(fd, bytes, size);
}

int __wrap_fsync(int fd)
{
    return strikes("fsync") ? -1 : __real_fsync(fd);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return strikes("pwrite") ? -1 : __real_pwrite(fd, bytes, size, offset);
}

int __wrap_fdatasync(int fd)
{
    return strikes("fdatasync") ? -1 : __real_fdatasync(fd);
}

/* The descriptor is gone also when close() fails. */
int __wrap_close(int fd)
{
    bool fails = strikes("close");

    CHECK(__real_close(fd) == 0);
    if (fails) {
        errno = number_to_give;
    }
    return fails ? -1 : 0;
}

int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return strikes("renameat") ? -1 : __real_renameat(from_directory, from, to_directory, to);
}

int __wrap_link(const char *from, const char *to)
{
    return strikes("link") ? -1 : __real_link(from, to);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return strikes("mkdir") ? -1 : __real_mkdir(path, mode);
}

int __wrap_flock(int fd, int operation)
{
    return strikes("flock") ? -1 : __real_flock(fd, operation);
}

int __wrap_fstat(int fd, struct stat *facts)
{
    return strikes("fstat") ? -1 : __real_fstat(fd, facts);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return strikes("mmap") ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);
}

DIR *__wrap_opendir(const char *path)
{
    return strikes("opendir") ? NULL : __real_opendir(path);
}

struct dirent *__wrap_readdir(DIR *directory)
{
    return strikes("readdir") ? NULL : __real_readdir(directory);
}

unsigned fault_count_descriptors(void)
{
    DIR *directory = __real_opendir("/proc/self/fd");
    unsigned n = 0;

    CHECK(directory != NULL);
    while (__real_readdir(directory) != NULL) {
        n++;
    }
    (void)closedir(directory); /* Only read. */
    return n;
}
