/* Copying chains from one repository to another, object by object, as they are: for a second place,
 * or another kind of it. What is copied can be restored from there like from the first one, with
 * the same keys. One thread, which waits for both repositories; others may read ahead. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_COPY_H
#define HOLDFAST_STORAGE_ARCHIVE_COPY_H

#include "storage/archive/repository.h"

struct copy_totals {
    uint64_t objects; /* Of those that are wanted. */
    uint64_t bytes;
    uint64_t copied_objects; /* That were not there. */
    uint64_t copied_bytes;
};

struct copy_options {
    struct repository *from;
    const char *from_url; /* The same; with it, objects are read ahead (ahead.h). May be NULL. */
    struct repository *to;
    const char *prefix;         /* Names that begin with it; "": all. */
    const char *work_directory; /* For one object. */
    void *data;
    void (*on_progress)(void *data, const struct copy_totals *totals); /* May be NULL. */
};

/* Copy what is missing: segments before manifests, so that what is cut off counts for nothing yet,
 * and is gone on with by the next run. Objects of an archive are never changed, so one that is
 * there is the same; if its size is another one, that is STATUS_MISMATCH. A delta that is removed
 * meanwhile, as it was merged say, is left out. As repository_list(), repository_read() and
 * repository_create(). */
MUST_USE enum status copy_archive(const struct copy_options *options, struct copy_totals *totals,
                                  struct error *error);

#endif
