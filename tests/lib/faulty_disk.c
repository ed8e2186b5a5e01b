#include "tests/lib/faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define MOUNT_MS 10000
#define CUT_MS   200
#define SYNC_MS  6000

static const char *program(void)
{
    const char *path = getenv("HOLDFAST_POWERCUT_FS");

    return path == NULL ? "./tests/lib/powercut_fs" : path;
}

bool faulty_disk_is_possible(const char **why)
{
    if (geteuid() != 0) {
        *why = "it needs root, to mount";
    } else if (access("/dev/fuse", R_OK | W_OK) != 0) {
        *why = "there is no /dev/fuse";
    } else if (access(program(), X_OK) != 0) {
        *why = "tests/lib/powercut_fs was not built (libfuse3 is missing)";
    } else {
        return true;
    }
    return false;
}

/* A mount point is on another device than its parent. */
static bool is_mounted(void *data)
{
    const struct faulty_disk *disk = data;
    struct stat above;
    struct stat here;

    return stat(disk->backing, &above) == 0 && stat(disk->mount_point, &here) == 0 &&
           above.st_dev != here.st_dev;
}

bool faulty_disk_restore(struct faulty_disk *disk, uint64_t seed)
{
    char number[24];
    const char *arguments[] = {program(), disk->backing, disk->mount_point, number, NULL};

    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    return process_start(&disk->process, arguments, NULL, disk->log_path) &&
           wait_until(is_mounted, disk, MOUNT_MS);
}

/* The file system has made the file by the time that it is mounted. */
static bool map_counts(struct faulty_disk *disk)
{
    char path[FAULTY_DISK_MAX_PATH + 16];
    void *page = MAP_FAILED;
    int fd;

    (void)snprintf(path, sizeof path, "%s.counts", disk->backing);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        page = mmap(NULL, sizeof *disk->counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void)close(fd); /* Mapped. */
    }
    disk->counts = page == MAP_FAILED ? NULL : page;
    return disk->counts != NULL;
}

bool faulty_disk_open(struct faulty_disk *disk, const char *mount_point, uint64_t seed)
{
    disk->mount_point = mount_point;
    (void)snprintf(disk->backing, sizeof disk->backing, "%.180s.disk", mount_point);
    (void)snprintf(disk->log_path, sizeof disk->log_path, "%.180s.disk.log", mount_point);
    return mkdir(disk->backing, 0700) == 0 && faulty_disk_restore(disk, seed) && map_counts(disk);
}

void faulty_disk_cut(struct faulty_disk *disk, bool torn)
{
    /* A signal that comes between two requests is seen at the next. */
    while (torn && process_signal(&disk->process, SIGUSR1) &&
           !process_wait(&disk->process, CUT_MS)) {
    }
    process_kill(&disk->process);
    (void)umount2(disk->mount_point, MNT_DETACH); /* Not mounted: what we want. */
    if (disk->counts != NULL) {                   /* It could not say so itself. */
        atomic_fetch_add(&disk->counts->lost_bytes,
                         atomic_exchange(&disk->counts->unsynced_bytes, 0));
    }
}

bool faulty_disk_cut_at_sync(struct faulty_disk *disk, const char *what, bool torn)
{
    char fault[32];
    bool is_cut;

    (void)snprintf(fault, sizeof fault, "cut-%s", what);
    is_cut = (!torn || faulty_disk_set(disk, "torn", true)) && faulty_disk_set(disk, fault, true) &&
             process_wait(&disk->process, SYNC_MS);
    return faulty_disk_set(disk, fault, false) && faulty_disk_set(disk, "torn", false) && is_cut;
}

bool faulty_disk_set(struct faulty_disk *disk, const char *fault, bool active)
{
    char path[FAULTY_DISK_MAX_PATH + 16];
    int fd;

    (void)snprintf(path, sizeof path, "%s.%s", disk->backing, fault);
    if (!active) {
        return unlink(path) == 0 || errno == ENOENT;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && close(fd) == 0;
}

void faulty_disk_close(struct faulty_disk *disk)
{
    if (disk->mount_point != NULL) {
        faulty_disk_cut(disk, false);
        disk->mount_point = NULL;
        (void)munmap(disk->counts, sizeof *disk->counts); /* Cannot fail with these arguments. */
        disk->counts = NULL;
    }
}
