/* What image_spool.c (who asks, and who gets which) and image_spool_make.c (making one) share. */
#ifndef HOLDFAST_STORAGE_IMAGE_SPOOL_PRIVATE_H
#define HOLDFAST_STORAGE_IMAGE_SPOOL_PRIVATE_H

#include <pthread.h>

#include "storage/image_file.h"
#include "storage/image_spool.h"

#define IMAGE_SPOOL_PREFIX "image-"

struct image_spool {
    struct link link; /* In spools->list, if is_listed; in spools->dead, if nobody has it. */
    struct image_spools *spools;
    struct image_file *file;
    char *path;
    char source[IMAGE_SOURCE_BYTES];
    char tag[IMAGE_TAG_BYTES];
    struct image_facts facts;
    struct image_totals totals;
    uint64_t made_ms;
    uint64_t used_ms; /* The last user came or went. */
    unsigned refs;
    bool is_listed;
    atomic_bool is_too_old;
};

struct image_spools {
    struct image_spools_options options;
    char *directory;
    pthread_t thread;

    pthread_mutex_t mutex; /* Guards what follows, and the counts of each spool. */
    pthread_cond_t wake;
    struct queue requests;
    unsigned n_requests;
    struct queue list; /* The newest last. */
    struct queue dead; /* Their files are to be removed, by the thread: that may take a while. */
    unsigned n_spools; /* All whose files are there. */
    uint64_t next_number;
    atomic_bool is_closing;
    struct image_spools_statistics statistics;
};

/* image_spool.c */

void image_spools_lock(struct image_spools *spools);
void image_spools_unlock(struct image_spools *spools);
/* Wait until woken, or until @ms by clock_ms() (UINT64_MAX: without end). With the lock held. */
void image_spools_wait_until(struct image_spools *spools, uint64_t ms);

/* image_spool_make.c. On the thread of the images, without the lock. */

/* Free bytes above the reserve; UINT64_MAX if the system does not tell. */
uint64_t image_spools_spare_bytes(const struct image_spools *spools);

/* What @request wants, which may be gone before it is made; with no file yet. With the lock held.
 */
struct image_spool *image_spool_new(struct image_spools *spools,
                                    const struct image_spool_request *request);
/* Export or fetch it. Releases @spool if it fails. */
MUST_USE enum status image_spool_make(struct image_spools *spools, struct image_spool *spool,
                                      struct error *error);
/* Remove its file, and forget it. */
void image_spool_release_file(struct image_spool *spool);

#endif
