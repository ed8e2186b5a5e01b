#include "raft/preallocation.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/check.h"

#define PIECE_BYTES (256u << 10)
#define DISK_BLOCK  4096u /* What O_DIRECT wants memory to be aligned to, at most. */

typedef int allocate_fn(int fd, off_t offset, off_t size);

static atomic_size_t fill_size; /* 0: fill nothing. */
static atomic_size_t fill_first_bytes;
static atomic_uint n_first_left;

void preallocation_fill(size_t size, unsigned n_first, size_t first_bytes)
{
    atomic_store(&fill_first_bytes, first_bytes);
    atomic_store(&n_first_left, n_first);
    atomic_store(&fill_size, size);
}

static bool is_empty(int fd)
{
    struct stat facts;

    return fstat(fd, &facts) == 0 && facts.st_size == 0;
}

/* How much of what is allocated is to be filled. */
static size_t choose_fill(int fd, off_t offset, off_t size)
{
    if (offset != 0 || size <= 0 || (size_t)size != atomic_load(&fill_size) || !is_empty(fd)) {
        return 0;
    }
    /* libraft prepares one segment at a time. */
    if (atomic_load(&n_first_left) > 0) {
        atomic_fetch_sub(&n_first_left, 1);
        return atomic_load(&fill_first_bytes);
    }
    return (size_t)size;
}

/* An errno, or 0. */
static int write_zeros(int fd, size_t size)
{
    static _Alignas(DISK_BLOCK) const uint8_t zeros[PIECE_BYTES];
    size_t written = 0;

    while (written < size) {
        size_t left = size - written;
        ssize_t n = pwrite(fd, zeros, left < sizeof zeros ? left : sizeof zeros, (off_t)written);

        if (n < 0 && errno != EINTR) {
            return errno;
        }
        written += n > 0 ? (size_t)n : 0;
    }
    return fdatasync(fd) == 0 ? 0 : errno;
}

/* Past the page cache, where that is possible: it would hold zeros that nobody reads. */
static int fill(int fd, size_t size)
{
    int flags = fcntl(fd, F_GETFL);
    bool is_direct = flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
    int rv = write_zeros(fd, size);

    if (is_direct && fcntl(fd, F_SETFL, flags) != 0 && rv == 0) {
        rv = errno;
    }
    return rv;
}

/* As the C library's. What fails to be filled is told like what fails to be allocated. */
int posix_fallocate(int fd, off_t offset, off_t size)
{
    static allocate_fn *_Atomic next;
    size_t to_fill = choose_fill(fd, offset, size);
    int rv;

    if (atomic_load(&next) == NULL) {
        /* POSIX lets a function be found as what is not one. */
        union {
            void *found;
            allocate_fn *function;
        } symbol = {.found = dlsym(RTLD_NEXT, "posix_fallocate")};

        CHECK(symbol.found != NULL);
        atomic_store(&next, symbol.function);
    }
    rv = atomic_load(&next)(fd, offset, size);
    return rv == 0 && to_fill > 0 ? fill(fd, to_fill) : rv;
}
