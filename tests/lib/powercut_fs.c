/* A file system that loses power well: a layer over a directory that keeps what was written and not
 * synced in its memory, so that killing it is a power cut.
 *
 *     powercut_fs BACKING MOUNTPOINT SEED
 *
 * - Data reaches the backing directory by fsync(), fdatasync(), and by writes with O_DSYNC, O_SYNC
 *   or RWF_DSYNC; not by close() or by time passing.
 * - SIGKILL cuts: all that was not synced is gone.
 * - SIGUSR1 cuts as disks may: of what was not synced some sectors have arrived, drawn from SEED,
 *   in no order.
 * - Names, truncation and reservation of space are durable at once, ahead of the data: a file that
 *   was renamed before it was synced is there and empty.
 *
 * It is a bad disk as well, while one of these files exists beside the backing directory:
 * BACKING.stall: writes and syncs wait; BACKING.eio: they fail; BACKING.low: 8 MiB are said to be
 * free; BACKING.full: nothing can grow, and no space is free.
 *
 * BACKING.cut-raft and BACKING.cut-state ask it to cut by itself, when something below that
 * directory is about to be synced: at the worst moment. If BACKING.torn exists as well, some
 * sectors arrive.
 *
 * BACKING.counts says what it did (disk_counts.h).
 *
 * One thread. The kernel's page cache serves mmap(); writes pass through it to here. A cut leaves
 * the mount point dead; unmount it and start again. */
#define FUSE_USE_VERSION 31
#include <fuse.h>
#include <fuse_lowlevel.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/disk_counts.h"

#define SECTOR    512
#define MAX_PATH  4096
#define LOW_BYTES (8ul << 20)

/* One write that was not synced. Later ones cover earlier ones. */
struct unsynced {
    struct unsynced *next;
    off_t offset;
    size_t size;
    char data[];
};

/* A file of the backing directory, for as long as this process lives. */
struct inode {
    struct inode *next;
    ino_t number;
    int fd;
    struct unsynced *first;
    struct unsynced **end; /* Where the next one goes. */
    unsigned opens;
};

static const char *backing;
static struct inode *inodes;
static struct disk_counts *counts;
static atomic_bool torn_cut_asked;
static uint64_t seed;

static bool backing_path(char *full, const char *path)
{
    return snprintf(full, MAX_PATH, "%s%s", backing, path) < MAX_PATH;
}

static bool is_asked(const char *fault)
{
    char path[MAX_PATH];

    return snprintf(path, sizeof path, "%s.%s", backing, fault) < (int)sizeof path &&
           access(path, F_OK) == 0;
}

/* --- Unsynced writes --- */

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static bool write_all(int fd, const char *data, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, offset);

        if (n <= 0) {
            return false;
        }
        data += n;
        size -= (size_t)n;
        offset += n;
    }
    return true;
}

/* Of each write, the sectors that the disk happened to take. */
static void tear(const struct inode *inode)
{
    const struct unsynced *write;
    size_t at;
    size_t size;

    for (write = inode->first; write != NULL; write = write->next) {
        for (at = 0; at < write->size; at += size) {
            size = SECTOR - (size_t)(write->offset + (off_t)at) % SECTOR;
            if (size > write->size - at) {
                size = write->size - at;
            }
            if (draw() % 2 == 0) {
                (void)write_all(inode->fd, write->data + at, size, write->offset + (off_t)at);
                atomic_fetch_add(&counts->torn_sectors, 1);
            } else {
                atomic_fetch_add(&counts->lost_bytes, size);
            }
            atomic_fetch_sub(&counts->unsynced_bytes, size);
        }
    }
}

static void cut(bool torn)
{
    const struct inode *inode;

    for (inode = inodes; torn && inode != NULL; inode = inode->next) {
        tear(inode);
    }
    _exit(EXIT_SUCCESS);
}

static void cut_if_asked(void)
{
    if (atomic_load(&torn_cut_asked)) {
        cut(true);
    }
}

/* What is at @path is about to be synced, and something is to be lost. */
static void cut_before_sync(const char *path, const struct inode *inode)
{
    if (inode->first != NULL && ((strncmp(path, "/raft/", 6) == 0 && is_asked("cut-raft")) ||
                                 (strncmp(path, "/state/", 7) == 0 && is_asked("cut-state")))) {
        cut(is_asked("torn"));
    }
}

static void drop_all(struct inode *inode)
{
    while (inode->first != NULL) {
        struct unsynced *write = inode->first;

        inode->first = write->next;
        atomic_fetch_sub(&counts->unsynced_bytes, write->size);
        free(write);
    }
    inode->end = &inode->first;
}

static int keep(struct inode *inode, const char *data, size_t size, off_t offset)
{
    struct unsynced *write = malloc(sizeof *write + size);

    if (write == NULL) {
        return -ENOMEM;
    }
    *write = (struct unsynced){.offset = offset, .size = size};
    memcpy(write->data, data, size);
    *inode->end = write;
    inode->end = &write->next;
    atomic_fetch_add(&counts->unsynced_bytes, size);
    return 0;
}

static int sync_inode(struct inode *inode)
{
    const struct unsynced *write;

    for (write = inode->first; write != NULL; write = write->next) {
        if (!write_all(inode->fd, write->data, write->size, write->offset)) {
            return -errno; /* What is kept stays kept: a later sync tries again. */
        }
    }
    drop_all(inode);
    return 0;
}

static off_t unsynced_end(const struct inode *inode)
{
    const struct unsynced *write;
    off_t end = 0;

    for (write = inode->first; write != NULL; write = write->next) {
        if (write->offset + (off_t)write->size > end) {
            end = write->offset + (off_t)write->size;
        }
    }
    return end;
}

/* Put what was not synced over what was read at @offset. */
static void cover(const struct inode *inode, char *data, size_t size, off_t offset)
{
    const struct unsynced *write;
    off_t end = offset + (off_t)size;

    for (write = inode->first; write != NULL; write = write->next) {
        off_t from = write->offset > offset ? write->offset : offset;
        off_t to = write->offset + (off_t)write->size;

        to = to < end ? to : end;
        if (from < to) {
            memcpy(data + (from - offset), write->data + (from - write->offset),
                   (size_t)(to - from));
        }
    }
}

static int clip(struct inode *inode, off_t size)
{
    struct unsynced **at = &inode->first;

    while (*at != NULL) {
        struct unsynced *write = *at;

        if (write->offset >= size) {
            *at = write->next;
            atomic_fetch_sub(&counts->unsynced_bytes, write->size);
            free(write);
            continue;
        }
        if (write->offset + (off_t)write->size > size) {
            atomic_fetch_sub(&counts->unsynced_bytes,
                             (size_t)(write->offset + (off_t)write->size - size));
            write->size = (size_t)(size - write->offset);
        }
        at = &write->next;
    }
    inode->end = at;
    return ftruncate(inode->fd, size) == 0 ? 0 : -errno;
}

/* What the disk does before a write or a sync. */
static int suffer(void)
{
    const struct timespec rest = {.tv_nsec = 10000000};

    cut_if_asked();
    if (is_asked("stall")) {
        atomic_fetch_add(&counts->stalled, 1);
    }
    while (is_asked("stall")) {
        (void)nanosleep(&rest, NULL);
        atomic_fetch_add(&counts->stalled_ms, 10);
        cut_if_asked();
    }
    if (is_asked("eio")) {
        atomic_fetch_add(&counts->failed, 1);
        return -EIO;
    }
    return 0;
}

/* --- Inodes --- */

static struct inode *find_inode(ino_t number)
{
    struct inode *inode = inodes;

    while (inode != NULL && inode->number != number) {
        inode = inode->next;
    }
    return inode;
}

/* Takes @fd, which stays open: a number is not used for another file while it is. */
static struct inode *take_inode(int fd)
{
    struct stat status;
    struct inode *inode;

    if (fstat(fd, &status) != 0) {
        (void)close(fd);
        return NULL;
    }
    inode = find_inode(status.st_ino);
    if (inode != NULL) {
        (void)close(fd); /* It has its own. */
        return inode;
    }
    inode = calloc(1, sizeof *inode);
    if (inode == NULL) {
        (void)close(fd);
        return NULL;
    }
    *inode = (struct inode){.next = inodes, .number = status.st_ino, .fd = fd};
    inode->end = &inode->first;
    inodes = inode;
    return inode;
}

static struct inode *inode_of(const struct fuse_file_info *file)
{
    return (struct inode *)(uintptr_t)file->fh;
}

static int open_inode(const char *path, int flags, mode_t mode, struct fuse_file_info *file)
{
    char full[MAX_PATH];
    struct inode *inode;
    int fd;

    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    fd = open(full, O_RDWR | O_CLOEXEC | flags, mode);
    if (fd < 0) {
        return -errno;
    }
    inode = take_inode(fd);
    file->fh = (uintptr_t)inode;
    return inode == NULL ? -ENOMEM : 0;
}

/* Call back with the inode at @path, which may not be open. */
static int with_inode(const char *path, struct fuse_file_info *file, struct inode **inode)
{
    struct fuse_file_info own = {0};
    int rc = 0;

    if (file == NULL) {
        file = &own;
        rc = open_inode(path, 0, 0, file);
    }
    *inode = inode_of(file);
    return rc;
}

/* --- Operations --- */

static int on_getattr(const char *path, struct stat *status, struct fuse_file_info *file)
{
    char full[MAX_PATH];
    const struct inode *inode;
    off_t end;

    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    if ((file == NULL ? lstat(full, status) : fstat(inode_of(file)->fd, status)) != 0) {
        return -errno;
    }
    inode = S_ISREG(status->st_mode) ? find_inode(status->st_ino) : NULL;
    end = inode == NULL ? 0 : unsynced_end(inode);
    if (end > status->st_size) {
        status->st_size = end;
    }
    return 0;
}

static int note_open(struct fuse_file_info *file, int rc)
{
    if (rc == 0) {
        inode_of(file)->opens++;
        rc = (file->flags & O_TRUNC) != 0 ? clip(inode_of(file), 0) : 0;
    }
    return rc;
}

/* Closing syncs nothing. Only what has no name any more is let go. */
static int on_release(const char *path, struct fuse_file_info *file)
{
    struct inode *inode = inode_of(file);
    struct inode **at = &inodes;
    struct stat status;

    (void)path;
    inode->opens--;
    if (inode->opens > 0 || fstat(inode->fd, &status) != 0 || status.st_nlink > 0) {
        return 0;
    }
    while (*at != inode) {
        at = &(*at)->next;
    }
    *at = inode->next;
    drop_all(inode);
    (void)close(inode->fd);
    free(inode);
    return 0;
}

static int on_open(const char *path, struct fuse_file_info *file)
{
    return note_open(file, open_inode(path, 0, 0, file));
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *file)
{
    return note_open(file, open_inode(path, O_CREAT | (file->flags & O_EXCL), mode, file));
}

static int on_read(const char *path, char *data, size_t size, off_t offset,
                   struct fuse_file_info *file)
{
    const struct inode *inode = inode_of(file);
    off_t end = unsynced_end(inode);
    ssize_t n;

    (void)path;
    memset(data, 0, size);
    n = pread(inode->fd, data, size, offset);
    if (n < 0) {
        return -errno;
    }
    cover(inode, data, size, offset);
    if (end > offset + n) {
        n = end - offset < (off_t)size ? end - offset : (off_t)size;
    }
    return (int)n;
}

static bool grows(const struct inode *inode, off_t end)
{
    struct stat status;

    return fstat(inode->fd, &status) == 0 && end > (off_t)status.st_blocks * SECTOR;
}

static int on_write(const char *path, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *file)
{
    struct inode *inode = inode_of(file);
    int rc;

    rc = suffer();
    if (rc == 0 && is_asked("full") && grows(inode, offset + (off_t)size)) {
        atomic_fetch_add(&counts->refused, 1);
        rc = -ENOSPC;
    }
    if (rc != 0) {
        return rc;
    }
    rc = keep(inode, data, size, offset);
    if (rc == 0 && (file->flags & (O_DSYNC | O_SYNC)) != 0) {
        cut_before_sync(path, inode);
        rc = sync_inode(inode);
    }
    return rc == 0 ? (int)size : rc;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    int rc;

    (void)data_only;
    rc = suffer();
    if (rc == 0) {
        cut_before_sync(path, inode_of(file));
        rc = sync_inode(inode_of(file));
    }
    return rc;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *file)
{
    struct inode *inode;
    int rc;

    cut_if_asked();
    rc = with_inode(path, file, &inode);
    return rc == 0 ? clip(inode, size) : rc;
}

static int on_fallocate(const char *path, int mode, off_t offset, off_t size,
                        struct fuse_file_info *file)
{
    (void)path;
    cut_if_asked();
    if (is_asked("full")) {
        atomic_fetch_add(&counts->refused, 1);
        return -ENOSPC;
    }
    return fallocate(inode_of(file)->fd, mode, offset, size) == 0 ? 0 : -errno;
}

static int on_rename(const char *from, const char *to, unsigned flags)
{
    char full_from[MAX_PATH];
    char full_to[MAX_PATH];

    cut_if_asked();
    if (!backing_path(full_from, from) || !backing_path(full_to, to)) {
        return -ENAMETOOLONG;
    }
    return renameat2(AT_FDCWD, full_from, AT_FDCWD, full_to, flags) == 0 ? 0 : -errno;
}

static int on_unlink(const char *path)
{
    char full[MAX_PATH];

    cut_if_asked();
    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    return unlink(full) == 0 ? 0 : -errno;
}

static int on_mkdir(const char *path, mode_t mode)
{
    char full[MAX_PATH];

    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    return mkdir(full, mode) == 0 ? 0 : -errno;
}

static int on_rmdir(const char *path)
{
    char full[MAX_PATH];

    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    return rmdir(full) == 0 ? 0 : -errno;
}

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *file)
{
    char full[MAX_PATH];

    (void)file;
    if (!backing_path(full, path)) {
        return -ENAMETOOLONG;
    }
    return chmod(full, mode) == 0 ? 0 : -errno;
}

static int on_readdir(const char *path, void *list, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *file, enum fuse_readdir_flags flags)
{
    char full[MAX_PATH];
    const struct dirent *entry;
    DIR *directory;

    (void)offset;
    (void)file;
    (void)flags;
    directory = backing_path(full, path) ? opendir(full) : NULL;
    if (directory == NULL) {
        return -errno;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (fill(list, entry->d_name, NULL, 0, 0) != 0) {
            break;
        }
    }
    (void)closedir(directory);
    return 0;
}

static int on_statfs(const char *path, struct statvfs *status)
{
    (void)path;
    if (statvfs(backing, status) != 0) {
        return -errno;
    }
    if (is_asked("full") || is_asked("low")) {
        status->f_bfree = is_asked("full") ? 0 : LOW_BYTES / status->f_frsize;
        status->f_bavail = status->f_bfree;
        atomic_fetch_add(&counts->told_short, 1);
    }
    return 0;
}

/* A directory's names are durable anyway. */
static int on_fsyncdir(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)path;
    (void)data_only;
    (void)file;
    return 0;
}

static void on_cut_signal(int number)
{
    (void)number;
    atomic_store(&torn_cut_asked, true);
}

/* The loop is in read() most of the time: let the signal break it off. */
static void prepare_signal(void)
{
    struct sigaction action = {.sa_handler = on_cut_signal};

    (void)sigaction(SIGUSR1, &action, NULL); /* Cannot fail with these arguments. */
}

static bool map_counts(void)
{
    char path[MAX_PATH];
    void *page = MAP_FAILED;
    int fd = -1;

    if (snprintf(path, sizeof path, "%s.counts", backing) < (int)sizeof path) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    if (fd >= 0 && ftruncate(fd, sizeof *counts) == 0) {
        page = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) {
        (void)close(fd); /* Mapped. */
    }
    counts = page;
    return page != MAP_FAILED;
}

static int serve(struct fuse *fuse)
{
    struct fuse_session *session = fuse_get_session(fuse);
    struct fuse_buf request = {0};
    int n = 0;

    while (!fuse_session_exited(session)) {
        cut_if_asked();
        n = fuse_session_receive_buf(session, &request);
        if (n > 0) {
            fuse_session_process_buf(session, &request);
        } else if (n != -EINTR) {
            break;
        }
    }
    free(request.mem);
    return n < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int count, char **arguments)
{
    static const struct fuse_operations operations = {
        .getattr = on_getattr,
        .open = on_open,
        .create = on_create,
        .release = on_release,
        .read = on_read,
        .write = on_write,
        .fsync = on_fsync,
        .truncate = on_truncate,
        .fallocate = on_fallocate,
        .rename = on_rename,
        .unlink = on_unlink,
        .mkdir = on_mkdir,
        .rmdir = on_rmdir,
        .chmod = on_chmod,
        .readdir = on_readdir,
        .statfs = on_statfs,
        .fsyncdir = on_fsyncdir,
    };
    char *options[] = {arguments[0], (char *)(uintptr_t) "-odefault_permissions", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(2, options);
    struct fuse *fuse;

    if (count != 4) {
        (void)fprintf(stderr, "usage: %s BACKING MOUNTPOINT SEED\n", arguments[0]);
        return 2;
    }
    backing = arguments[1];
    seed = strtoull(arguments[3], NULL, 10) | 1;
    fuse = fuse_new(&args, &operations, sizeof operations, NULL);
    if (fuse == NULL || !map_counts() || fuse_mount(fuse, arguments[2]) != 0) {
        return EXIT_FAILURE;
    }
    prepare_signal();
    return serve(fuse);
}
