/* All archivers of a node: one per repository. Any thread, but for opening and closing. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_ARCHIVE_H
#define HOLDFAST_STORAGE_ARCHIVE_ARCHIVE_H

#include "storage/archive/archiver.h"

struct image_spools;

#define ARCHIVE_REPOSITORIES 8u
/* In the list of repositories: the directory that a node has by itself, and no repository at all.
 */
#define ARCHIVE_LOCAL "local"
#define ARCHIVE_NONE  "none"

struct archive;

struct archive_options {
    const char *urls;            /* With spaces between; ARCHIVE_LOCAL may be one, or ARCHIVE_NONE
                                    all. */
    const char *key_file;        /* master_keys.h; NULL: nothing is encrypted. */
    const char *local_directory; /* What ARCHIVE_LOCAL stands for. */
    const char *work_directory;  /* Made if it is missing. */
    uint64_t local_bytes;        /* What is local takes no more; 0: no bound. */
    /* See archiver.h; @archiver.url, keys, work_directory and on_turn are ours. */
    struct archiver_options archiver;
};

/* Is @urls a list that could be opened? STATUS_INVALID, with what is wrong. */
MUST_USE enum status archive_check(const char *urls, struct error *error);
/* Does @urls name no repository? */
bool archive_is_off(const char *urls);

/* STATUS_INVALID, and as master_keys_open(). STATUS_IO, STATUS_PERMISSION: the directory for work
 * cannot be made. */
MUST_USE enum status archive_open(const struct archive_options *options, struct archive **archive,
                                  struct error *error);
void archive_close(struct archive *archive); /* Accepts NULL. */

size_t archive_count(const struct archive *archive); /* Accepts NULL: 0. */
struct archiver *archive_at(const struct archive *archive, size_t i);

/* The images of fulls, by their contents_source() (contents.h). */
struct image_spools *archive_contents(const struct archive *archive);

#endif
