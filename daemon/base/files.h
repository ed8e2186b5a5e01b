/* What several parts do to files and directories. Any thread that may wait for a disk. */
#ifndef HOLDFAST_BASE_FILES_H
#define HOLDFAST_BASE_FILES_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* "could not ACTION "PATH": why", with the status and the words of errno. */
enum status files_error(const char *action, const char *path, struct error *error);

/* Write all of @bytes to @fd; "could not write "PATH": why". */
MUST_USE enum status files_write(int fd, struct slice bytes, const char *path, struct error *error);

/* For a large file that is written in pieces of @size bytes, after the one at @offset: have the
 * disk begin with it, and wait for the piece before it. The system would collect them, and then
 * keep the disk busy for longer than those who sync a log beside it can wait. Makes nothing
 * durable; whether it helps is not told. */
void files_write_back(int fd, uint64_t offset, size_t size);

/* Append what is there of @size bytes from @offset on; fewer only at the end of the file. */
MUST_USE enum status files_read(int fd, uint64_t offset, size_t size, const char *path,
                                struct buffer *bytes, struct error *error);

/* "@a@b", for free(). */
char *files_join(const char *a, const char *b);

/* Remove the files in a directory (it must have no directories), if it is there. */
MUST_USE enum status files_empty_directory(const char *path, struct error *error);

/* Remove a directory and the files in it (not directories), if it is there. */
MUST_USE enum status files_remove_directory(const char *path, struct error *error);

/* Make durable what was made, renamed or removed beside @path. */
MUST_USE enum status files_sync_parent(const char *path, struct error *error);

/* Put @from in the place of @to, durably. What was there is in "@to.replaced" meanwhile, and
 * removed at the end. After a crash, files_repair(@to) has either the one or the other at @to. Both
 * are flat directories, beside each other. */
MUST_USE enum status files_replace(const char *from, const char *to, struct error *error);
MUST_USE enum status files_repair(const char *to, struct error *error);

#endif
