/* What a powercut_fs did, in the file BACKING.counts, which it maps and those who test read: a
 * fault that did nothing tests nothing. Any process, any thread. */
#ifndef HOLDFAST_TESTS_DISK_COUNTS_H
#define HOLDFAST_TESTS_DISK_COUNTS_H

#include <stdatomic.h>

struct disk_counts {
    atomic_ullong unsynced_bytes; /* Now: what a cut would lose. */
    atomic_ullong lost_bytes;     /* By cuts. */
    atomic_ullong torn_sectors;   /* Arrived at a cut though they were not synced. */
    atomic_ullong stalled;        /* Writes and syncs that had to wait, ... */
    atomic_ullong stalled_ms;     /* ... how long, together. */
    atomic_ullong failed;         /* Writes and syncs that failed with EIO. */
    atomic_ullong refused;        /* Growth that was refused for lack of space. */
    atomic_ullong told_short;     /* How often little or no free space was told. */
};

#endif
