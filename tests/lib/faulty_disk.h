/* A directory on a disk that can lose power, stall, fail and fill up: powercut_fs.c mounted over a
 * directory beside it.
 *
 * Needs root, /dev/fuse and a mount namespace of the test's own (see network.h). Main thread. */
#ifndef HOLDFAST_TESTS_FAULTY_DISK_H
#define HOLDFAST_TESTS_FAULTY_DISK_H

#include <stdint.h>

#include "tests/lib/disk_counts.h"
#include "tests/lib/process.h"

#define FAULTY_DISK_MAX_PATH 200

struct faulty_disk {
    const char *mount_point; /* Borrowed. */
    char backing[FAULTY_DISK_MAX_PATH];
    char log_path[FAULTY_DISK_MAX_PATH];
    struct process process;
    struct disk_counts *counts; /* What it did since it was opened. */
};

/* True if this machine can; else @why says what is missing. */
bool faulty_disk_is_possible(const char **why);

/* Mount over the empty directory @mount_point, which is borrowed. */
bool faulty_disk_open(struct faulty_disk *disk, const char *mount_point, uint64_t seed);

/* Power off: what was not synced is gone, or only part of it has arrived if @torn. What was open
 * fails from here on. */
void faulty_disk_cut(struct faulty_disk *disk, bool torn);

/* Power off when something below "raft" or "state" (@what) is about to be synced, so that something
 * is lost. False if that did not come within some seconds: cut it then. */
bool faulty_disk_cut_at_sync(struct faulty_disk *disk, const char *what, bool torn);

/* Power on again, after a cut. */
bool faulty_disk_restore(struct faulty_disk *disk, uint64_t seed);

/* Begin or end "stall", "eio", "low" or "full". */
bool faulty_disk_set(struct faulty_disk *disk, const char *fault, bool active);

void faulty_disk_close(struct faulty_disk *disk);

#endif
