/* Putting deltas of a chain that follow each other together into one object (names.h: merged/), so
 * that those of 30 days are some hundred and not hundreds of thousands. It has the same steps and
 * the same format, and is created beside the deltas, which stay until retention.h says that they
 * need not be there twice.
 *
 * Who else merges at the same time, or was cut off, does no harm: what is created has whole deltas,
 * and which ones is in its name, so that any of them may be there, overlap, or be in others.
 *
 * One thread, which waits for disks and networks. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MERGE_H
#define HOLDFAST_STORAGE_ARCHIVE_MERGE_H

#include "storage/archive/delta.h"

/* A merged one has no more than this of the cluster's time, ... */
#define MERGE_RANGE_MS (3600ull * 1000)
/* ... and of content: a segment's size, with room for what does not compress. */
#define MERGE_BYTES (56u << 20)

struct merge;

struct merge_options {
    struct repository *repository;
    const char *base;               /* names_base() */
    const struct master_keys *keys; /* NULL: not encrypted. */
    const char *work_directory;     /* For the steps, and the object. */
    uint64_t range_ms;              /* 0: MERGE_RANGE_MS */
    uint64_t max_bytes;             /* 0: MERGE_BYTES */
};

/* A merge of nothing yet. All of @options is borrowed until it is closed. STATUS_IO and others: no
 * file can be made for it. */
MUST_USE enum status merge_open(const struct merge_options *options, struct merge **merge,
                                struct error *error);

/* Read the delta that begins at @first_index and add its steps. STATUS_END: it is not added, as it
 * does not follow what is there, or would make it too long or too large. Others as delta_read(),
 * after which only merge_close() is right. */
MUST_USE enum status merge_add(struct merge *merge, uint64_t first_index, struct error *error);

/* How many deltas it has, and what they are together: if it has any. */
size_t merge_count(const struct merge *merge);
const struct delta_facts *merge_facts(const struct merge *merge);

/* Create the object, of at least one delta. STATUS_EXISTS: it was there, by this name. As
 * repository_create(). */
MUST_USE enum status merge_create(struct merge *merge, uint64_t now_ms, uint64_t *size_bytes,
                                  struct error *error);

void merge_close(struct merge *merge); /* Accepts NULL. */

#endif
