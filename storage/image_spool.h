/* Images in files, for all who want to send one: of this node's state, or fetched from elsewhere.
 * They are made by a thread of their own, one at a time, shared by everybody whom one is fresh
 * enough for, and removed when nobody has used it for a while. Their number, their age and the disk
 * space that they may take are bounded.
 *
 * Any thread, but for opening and closing. Waits for a disk only where it says so. */
#ifndef HOLDFAST_STORAGE_IMAGE_SPOOL_H
#define HOLDFAST_STORAGE_IMAGE_SPOOL_H

#include <stdatomic.h>

#include "daemon/base/mailbox.h"
#include "storage/image.h"

struct image_spools; /* All of a node. */
struct image_spool;  /* One, while somebody holds a reference. */

struct image_spools_options {
    struct store *store;
    const char *directory;  /* Made if it is missing. What an earlier process left is removed. */
    uint64_t reserve_bytes; /* Free space of the file system that no image may take. */
    /* 0: the defaults, LIMIT_SPOOL_... */
    unsigned max_files;
    unsigned keep_ms;          /* Since it was used last. */
    unsigned max_age_ms;       /* Since it was made, whoever uses it. */
    uint64_t bytes_per_second; /* Of state that is read for an image. 0: LIMIT_TRANSFER_RATE. */
    void *data;
    /* The thread of the images: that rate is not to be kept for now. May be NULL. */
    bool (*is_urgent)(void *data);
    /* The thread of the images: write the image that is called @source to @fd, from its beginning
     * on, and give up soon after @is_canceled(@cancel_data) says so. NULL: there are no others than
     * of the state. */
    enum status (*fetch)(void *data, const char *source, int fd, bool (*is_canceled)(void *data),
                         void *cancel_data, struct error *error);
};

/* STATUS_IO, STATUS_PERMISSION: the directory cannot be used. */
MUST_USE enum status image_spools_open(const struct image_spools_options *options,
                                       struct image_spools **spools, struct error *error);
/* Requests that wait come back with STATUS_CLOSED. Waits for a few MiB of an export at most. */
void image_spools_close(struct image_spools *spools); /* Accepts NULL. */

/* With NUL. */
#define IMAGE_SOURCE_BYTES 512

/* Ask for an image. Zero it and set the first part. */
struct image_spool_request {
    struct message message; /* Its deliver() is the caller's. */
    struct mailbox *home;
    char source[IMAGE_SOURCE_BYTES];          /* For fetch(); "": of the state, ... */
    char cluster_id[IMAGE_CLUSTER_BYTES + 1]; /* ... of this cluster, ... */
    uint64_t min_index; /* ... of this index, which this node has executed, or a later one. */
    /* Filled in: STATUS_OK and @spool, a reference that the caller gives back; or why not, with the
     * story in @error. STATUS_DISK_FULL: there is no room. STATUS_BUSY: too many images are in use,
     * or too many requests wait. STATUS_CANCELED, STATUS_CLOSED, STATUS_IO, STATUS_CORRUPT; those
     * of fetch(). */
    enum status status;
    struct image_spool *spool;
    struct error error;
};

/* True if @request is filled in already, and no message comes. */
bool image_spools_request(struct image_spools *spools, struct image_spool_request *request);
/* The request is not wanted any more: if nothing is on its way yet, its message comes at once, with
 * STATUS_CANCELED. The image is made all the same, for whoever asks next. */
void image_spools_cancel(struct image_spools *spools, struct image_spool_request *request);

/* The image from @source ("": of the state) with this tag (see image_spool_tag()), with a
 * reference; NULL if there is none. */
struct image_spool *image_spools_find(struct image_spools *spools, const char *source,
                                      struct slice tag);

/* Of the image: its revision and the first half of its digest. */
#define IMAGE_TAG_BYTES 64
const char *image_spool_tag(const struct image_spool *spool);
const struct image_facts *image_spool_facts(const struct image_spool *spool);
const struct image_totals *image_spool_totals(const struct image_spool *spool);
/* Of pieces: 0 to one less. */
uint64_t image_spool_pieces(const struct image_spool *spool);

/* Append what is there of @size bytes from @offset on, or a piece. Reads the file, which was mostly
 * written a moment ago, and has the system fetch what follows meanwhile. STATUS_CLOSED: it is too
 * old, and must not be used any longer. STATUS_IO. */
MUST_USE enum status image_spool_read(struct image_spool *spool, uint64_t offset, size_t size,
                                      struct buffer *bytes, struct error *error);
MUST_USE enum status image_spool_piece(struct image_spool *spool, uint64_t number,
                                       struct buffer *bytes, struct error *error);

void image_spool_release(struct image_spool *spool); /* Accepts NULL. */

struct image_spools_statistics {
    uint64_t exports;
    uint64_t failures;
    uint64_t export_nanoseconds; /* Sum of the time that exports took. */
    uint64_t exported_bytes;
    uint64_t shared; /* Requests that were answered by an image made for another one. */
    uint64_t files;
    uint64_t file_bytes;
    uint64_t waiting; /* Requests. */
};
void image_spools_statistics(struct image_spools *spools,
                             struct image_spools_statistics *statistics);

#endif
