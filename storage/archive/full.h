/* A full: the whole state at one log index, in a repository: an image (image.h), cut into segments,
 * and its manifest. Any thread that may wait for disks and networks; an LMDB read transaction is
 * open only while the image is written to a local file. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_FULL_H
#define HOLDFAST_STORAGE_ARCHIVE_FULL_H

#include "storage/archive/manifest.h"
#include "storage/archive/object.h"

/* A file without a name in @directory, for what is gone with the process; the caller closes it. */
MUST_USE enum status full_work_file(const char *directory, int *fd, struct error *error);

struct full_making {
    struct repository *repository;
    const char *base;               /* names_base() */
    const struct master_keys *keys; /* NULL: not encrypted. */
    struct store *store;
    const char *cluster_id;
    const char *node;           /* Name, for the manifest, ... */
    const char *program;        /* ... and version. */
    const char *work_directory; /* For an image of all of the state, and a segment. */
    uint64_t now_ms;            /* The wall clock. */
    void *data;
    /* So many more bytes of the state were read, or of the image sent: it may wait, to keep a rate;
     * anything but STATUS_OK ends it with that. */
    enum status (*on_progress)(void *data, uint64_t bytes, struct error *error);
};

/* What was made is in @manifest (manifest_close()) and is called @directory. A failure may leave
 * segments, which nobody sees. As image_export() and repository_create(). */
MUST_USE enum status full_create(const struct full_making *making, struct manifest *manifest,
                                 char directory[NAMES_BYTES], struct error *error);

/* Read its manifest, and see that it is that of this full. As repository_read() and
 * manifest_decode(). */
MUST_USE enum status full_manifest(struct repository *repository, const char *directory,
                                   struct manifest *manifest, struct error *error);

/* The image, in order. As object_read(). */
MUST_USE enum status full_read(struct repository *repository, const char *directory,
                               const struct manifest *manifest, const struct master_keys *keys,
                               object_content_cb cb, void *data, struct error *error);

#endif
