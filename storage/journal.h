/* What this node has executed of late, in order, on its disk: steps (step.h) in files, for the
 * archive, which is behind by seconds, and by hours while a repository is away.
 *
 * The state never gets ahead of it on disk: journal_sync() goes before each flush of the state, so
 * that what a crash takes from here is executed again from the log, and written again. What cannot
 * be kept is a gap: steps on both sides of it are there, and whoever reads is told. There is one if
 * the disk is full or fails, or is too slow for too long, if all is larger than it may get, or if
 * the node took a state from another one.
 *
 * Files are DIRECTORY/FIRST-LAST, with log indexes of 20 digits, and DIRECTORY/FIRST-open. */
#ifndef HOLDFAST_STORAGE_JOURNAL_H
#define HOLDFAST_STORAGE_JOURNAL_H

#include "storage/step.h"

struct journal;

struct journal_options {
    const char *directory; /* Made if it is missing. */
    uint64_t max_bytes;    /* The oldest goes beyond that. 0: LIMIT_JOURNAL_BYTES. */
    uint64_t file_bytes;   /* When a new file begins. 0: LIMIT_JOURNAL_FILE_BYTES. */
    /* Free space of the file system: the oldest goes if less is free. */
    uint64_t reserve_bytes;
};

/* Reads what an earlier process left in its last file. STATUS_IO, STATUS_PERMISSION: the directory
 * cannot be used. Starts a thread. */
MUST_USE enum status journal_open(const struct journal_options *options, struct journal **journal,
                                  struct error *error);

/* One thread: a step that was executed. It is copied; nothing waits for a disk. A step that is
 * there already does nothing. */
void journal_append(struct journal *journal, const struct step *step);

/* Any thread: have on disk what was appended. What fails becomes a gap, and is logged. */
void journal_sync(struct journal *journal);

/* Any thread: append encoded steps behind index @after to @steps, in order and without a gap: at
 * least one, and more while they are less than @max_bytes. The first one has the index behind
 * @after as its first_index. STATUS_END: there is nothing yet. STATUS_NOT_FOUND: what comes behind
 * @after is not here (any more), but later steps are. STATUS_IO. */
MUST_USE enum status journal_read(struct journal *journal, uint64_t after, size_t max_bytes,
                                  struct buffer *steps, struct error *error);

/* Any thread: nobody wants steps up to @index any more. */
void journal_release(struct journal *journal, uint64_t index);

struct journal_statistics {
    uint64_t last_index;   /* That was appended; 0: none is known. */
    uint64_t last_time_ms; /* Of the cluster, when it was executed. */
    uint64_t appended_ms;  /* By the monotonic clock, when that was; 0: before it was opened. */
    uint64_t last_revision;
    uint64_t bytes; /* Of all files. */
    uint64_t files;
    uint64_t gaps;    /* Since it was opened. */
    uint64_t dropped; /* Steps that could not be kept, of these. */
};
void journal_statistics(struct journal *journal, struct journal_statistics *statistics);

/* How many bytes of steps are behind @after, as far as is known; at most what files hold. */
uint64_t journal_bytes_after(struct journal *journal, uint64_t after);

/* Writes and syncs what was appended. Accepts NULL. */
void journal_close(struct journal *journal);

#endif
