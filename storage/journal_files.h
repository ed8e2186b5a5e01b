/* The files of a journal (journal.h): which there are, and what is in them. One thread at a time.
 * Everything here may wait for the disk. */
#ifndef HOLDFAST_STORAGE_JOURNAL_FILES_H
#define HOLDFAST_STORAGE_JOURNAL_FILES_H

#include "storage/journal.h"

struct journal_files;

/* The options' numbers are set. */
MUST_USE enum status journal_files_open(const struct journal_options *options,
                                        struct journal_files **files, struct error *error);

/* Append whole steps. After a failure, what is there is what was there before. STATUS_IO,
 * STATUS_DISK_FULL. */
MUST_USE enum status journal_files_write(struct journal_files *files, struct slice steps,
                                         struct error *error);

/* After a failure, what was not synced before is gone. STATUS_IO. */
MUST_USE enum status journal_files_sync(struct journal_files *files, struct error *error);

/* See journal_read(). */
MUST_USE enum status journal_files_read(struct journal_files *files, uint64_t after,
                                        size_t max_bytes, struct buffer *steps,
                                        struct error *error);

/* See journal_release(). */
void journal_files_release(struct journal_files *files, uint64_t index);

/* Of the last step; 0: there is none. */
uint64_t journal_files_last_index(const struct journal_files *files);
size_t journal_files_count(const struct journal_files *files);
uint64_t journal_files_bytes(const struct journal_files *files);
/* Behind @after: of whole files. */
uint64_t journal_files_bytes_after(const struct journal_files *files, uint64_t after);

/* Does not sync. Accepts NULL. */
void journal_files_close(struct journal_files *files);

#endif
