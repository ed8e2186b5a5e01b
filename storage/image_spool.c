/* 1. A request finds an image that is fresh enough, or waits in the queue.
 * 2. The thread makes one, of the state as it is then, or fetches the one that is wanted. Whoever
 * wants an index up to its own gets it: those who came before it began, and those who came later
 * and want no more.
 * 3. The image stays in the list, and in its file, until nobody has used it for a while.
 *
 * What can go wrong:
 * - There is no room, or the file cannot be written: everybody who waits is told, and what was
 *   written is removed.
 * - All files are in use: STATUS_BUSY. One that is too old gives no more bytes, so its users go,
 * and ask for another.
 *
 * A spool has one reference of the list, while it is in there, and one of each user. When the last
 * is given back, the thread removes its file. */
#include "storage/image_spool_private.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"

void image_spools_lock(struct image_spools *spools)
{
    CHECK(pthread_mutex_lock(&spools->mutex) == 0);
}

void image_spools_unlock(struct image_spools *spools)
{
    CHECK(pthread_mutex_unlock(&spools->mutex) == 0);
}

static void release_spools(struct image_spools *spools)
{
    CHECK(pthread_mutex_destroy(&spools->mutex) == 0);
    CHECK(pthread_cond_destroy(&spools->wake) == 0);
    free(spools->directory);
    free(spools);
}

/* --- References. With the lock held. --- */

static void unref(struct image_spool *spool)
{
    CHECK(spool->refs > 0);
    spool->used_ms = clock_ms();
    if (--spool->refs == 0) {
        queue_push(&spool->spools->dead, &spool->link);
    }
}

/* Remove the files that nobody has any more; without the lock meanwhile. */
static void bury(struct image_spools *spools)
{
    struct link *link;

    while ((link = queue_pop(&spools->dead)) != NULL) {
        struct image_spool *spool = CONTAINER_OF(link, struct image_spool, link);
        uint64_t bytes = spool->totals.file_bytes;

        image_spools_unlock(spools);
        image_spool_release_file(spool);
        image_spools_lock(spools);
        spools->n_spools--;
        spools->statistics.files--;
        spools->statistics.file_bytes -= bytes;
    }
}

static struct image_spool *ref(struct image_spool *spool)
{
    spool->refs++;
    spool->used_ms = clock_ms();
    return spool;
}

static void unlist(struct image_spool *spool)
{
    CHECK(spool->is_listed);
    queue_remove(&spool->link);
    spool->is_listed = false;
    unref(spool);
}

static bool is_unused(const struct image_spool *spool)
{
    return spool->refs == 1 && spool->is_listed;
}

/* --- Keeping few, and not for long. With the lock held. --- */

static struct image_spool *spool_of(struct link *link)
{
    return CONTAINER_OF(link, struct image_spool, link);
}

/* Remove what is too old; gives when to look again, UINT64_MAX if nothing is there. */
static uint64_t sweep(struct image_spools *spools)
{
    struct link *link = queue_first(&spools->list);
    uint64_t next_ms = UINT64_MAX;
    uint64_t now = clock_ms();

    while (link != NULL) {
        struct image_spool *spool = spool_of(link);
        uint64_t end_ms = spool->made_ms + spools->options.max_age_ms;
        uint64_t unused_ms = spool->used_ms + spools->options.keep_ms;

        link = queue_next(&spools->list, link);
        if (is_unused(spool) && unused_ms < end_ms) {
            end_ms = unused_ms;
        }
        if (now >= end_ms) {
            atomic_store(&spool->is_too_old, true);
            unlist(spool);
        } else {
            next_ms = end_ms < next_ms ? end_ms : next_ms;
        }
    }
    return next_ms;
}

/* The thread only. */
static bool drop_oldest_unused(struct image_spools *spools)
{
    struct link *link;

    for (link = queue_first(&spools->list); link != NULL; link = queue_next(&spools->list, link)) {
        if (is_unused(spool_of(link))) {
            unlist(spool_of(link));
            bury(spools);
            return true;
        }
    }
    return false;
}

static enum status make_room(struct image_spools *spools, struct error *error)
{
    struct store_statistics store = {.used_bytes = 0};

    (void)sweep(spools);
    bury(spools);
    while (spools->n_spools >= spools->options.max_files) {
        if (!drop_oldest_unused(spools)) {
            return error_set(error, STATUS_BUSY, "%u images are being read already",
                             spools->n_spools);
        }
    }
    /* An image is hardly ever larger than the state. One that is not wanted goes before that. */
    if (store_statistics(spools->options.store, &store, NULL) != STATUS_OK) {
        return STATUS_OK; /* Whether there is room shows while it is written. */
    }
    while (image_spools_spare_bytes(spools) < store.used_bytes && drop_oldest_unused(spools)) {
    }
    return STATUS_OK;
}

void image_spools_wait_until(struct image_spools *spools, uint64_t ms)
{
    (void)clock_condition_wait(&spools->wake, &spools->mutex,
                               ms == UINT64_MAX ? UINT64_MAX : ms * 1000000);
}

/* --- Answering. With the lock held. --- */

static struct image_spool_request *request_of(struct link *link)
{
    return CONTAINER_OF(CONTAINER_OF(link, struct message, link), struct image_spool_request,
                        message);
}

static void post(struct image_spools *spools, struct image_spool_request *request)
{
    queue_remove(&request->message.link);
    spools->n_requests--;
    mailbox_post(request->home, &request->message);
}

/* All who want what is called @source; NULL: all. */
static void answer_all(struct image_spools *spools, const char *source, enum status status,
                       const struct error *error)
{
    struct link *link = queue_first(&spools->requests);

    while (link != NULL) {
        struct image_spool_request *request = request_of(link);

        link = queue_next(&spools->requests, link);
        if (source == NULL || strcmp(source, request->source) == 0) {
            request->status = status;
            request->error = *error;
            post(spools, request);
        }
    }
}

static bool is_fresh(const struct image_spool *spool, const struct image_spool_request *request)
{
    if (request->source[0] != '\0' || spool->source[0] != '\0') {
        return strcmp(spool->source, request->source) == 0;
    }
    return spool->facts.state.applied_index >= request->min_index &&
           strcmp(spool->facts.cluster_id, request->cluster_id) == 0;
}

static void give(struct image_spool *spool, struct image_spool_request *request)
{
    request->status = STATUS_OK;
    request->spool = ref(spool);
}

/* @spool is new: it goes into the list, and to whom it is fresh enough for. */
static void publish(struct image_spools *spools, struct image_spool *spool)
{
    struct link *link = queue_first(&spools->requests);
    unsigned n_given = 0;

    spool->refs = 1;
    spool->made_ms = clock_ms();
    spool->used_ms = spool->made_ms;
    spool->is_listed = true;
    queue_push(&spools->list, &spool->link);
    spools->n_spools++;
    spools->statistics.files++;
    spools->statistics.file_bytes += spool->totals.file_bytes;
    while (link != NULL) {
        struct image_spool_request *request = request_of(link);

        link = queue_next(&spools->requests, link);
        if (is_fresh(spool, request)) {
            give(spool, request);
            post(spools, request);
            n_given++;
        }
    }
    spools->statistics.shared += n_given > 0 ? n_given - 1 : 0;
}

/* --- The thread --- */

/* For the first request; with the lock held, which is given up meanwhile. */
static void serve(struct image_spools *spools)
{
    struct image_spool *spool = NULL;
    char source[IMAGE_SOURCE_BYTES] = "";
    struct error error = {.text = ""};
    enum status status = make_room(spools, &error);
    const char *whom = NULL; /* Without room, nobody gets one. */

    if (status == STATUS_OK && !queue_is_empty(&spools->requests)) { /* Room takes a while. */
        spool = image_spool_new(spools, request_of(queue_first(&spools->requests)));
        memcpy(source, spool->source, sizeof source);
        whom = source;
        image_spools_unlock(spools);
        status = image_spool_make(spools, spool, &error);
        image_spools_lock(spools);
    }
    if (status == STATUS_OK && spool != NULL) {
        publish(spools, spool);
    } else if (status != STATUS_OK && status != STATUS_CANCELED) {
        log_warn("image", "could not %s%s: %s", source[0] == '\0' ? "export the state" : "fetch ",
                 source, error.text);
        answer_all(spools, whom, status, &error);
    }
}

static void *run(void *data)
{
    struct image_spools *spools = data;
    struct error closed;

    thread_set_name("images");
    thread_give_way();
    (void)error_set(&closed, STATUS_CLOSED, "the node is shutting down");
    image_spools_lock(spools);
    while (!atomic_load(&spools->is_closing)) {
        uint64_t next_ms = sweep(spools);

        if (!queue_is_empty(&spools->dead)) {
            bury(spools);
        } else if (queue_is_empty(&spools->requests)) {
            image_spools_wait_until(spools, next_ms);
        } else {
            serve(spools);
        }
    }
    answer_all(spools, NULL, STATUS_CLOSED, &closed);
    image_spools_unlock(spools);
    return NULL;
}

/* --- Life --- */

static enum status prepare_directory(const char *path, struct error *error)
{
    const struct dirent *entry;
    DIR *directory;
    int rv = 0;

    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_set(error, status_from_errno(errno), "could not make directory \"%s\": %s",
                         path, strerror(errno));
    }
    directory = opendir(path);
    while (directory != NULL && rv == 0 && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, IMAGE_SPOOL_PREFIX, strlen(IMAGE_SPOOL_PREFIX)) == 0) {
            rv = unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    if (directory == NULL || rv != 0) {
        rv = errno;
        (void)error_set(error, status_from_errno(rv), "could not empty \"%s\": %s", path,
                        strerror(rv)); /* Returned below. */
    }
    if (directory != NULL) {
        (void)closedir(directory); /* Only read. */
    }
    return rv == 0 ? STATUS_OK : status_from_errno(rv);
}

static void init_locks(struct image_spools *spools)
{
    clock_condition_init(&spools->wake);
    CHECK(pthread_mutex_init(&spools->mutex, NULL) == 0);
}

static void set_default(unsigned *value, unsigned otherwise)
{
    *value = *value == 0 ? otherwise : *value;
}

enum status image_spools_open(const struct image_spools_options *options,
                              struct image_spools **spools, struct error *error)
{
    enum status status = prepare_directory(options->directory, error);
    struct image_spools *opened;
    int rv;

    if (status != STATUS_OK) {
        return status;
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    opened->options = *options;
    opened->directory = memory_copy_string(options->directory);
    set_default(&opened->options.max_files, LIMIT_SPOOL_FILES);
    set_default(&opened->options.keep_ms, LIMIT_SPOOL_KEEP_MS);
    set_default(&opened->options.max_age_ms, LIMIT_SPOOL_AGE_MS);
    if (options->bytes_per_second == 0) {
        opened->options.bytes_per_second = LIMIT_TRANSFER_RATE;
    }
    queue_init(&opened->requests);
    queue_init(&opened->list);
    queue_init(&opened->dead);
    init_locks(opened);
    rv = pthread_create(&opened->thread, NULL, run, opened);
    if (rv != 0) {
        release_spools(opened);
        return error_set(error, STATUS_IO, "could not start the thread of images: %s",
                         strerror(rv));
    }
    *spools = opened;
    return STATUS_OK;
}

void image_spools_close(struct image_spools *spools)
{
    struct link *link;
    bool is_last;

    if (spools == NULL) {
        return;
    }
    image_spools_lock(spools);
    atomic_store(&spools->is_closing, true);
    CHECK(pthread_cond_signal(&spools->wake) == 0);
    image_spools_unlock(spools);
    CHECK(pthread_join(spools->thread, NULL) == 0);
    image_spools_lock(spools);
    while ((link = queue_first(&spools->list)) != NULL) {
        unlist(spool_of(link));
    }
    bury(spools);
    is_last = spools->n_spools == 0;
    image_spools_unlock(spools);
    if (is_last) { /* Else a user was given up, and the process is about to end. */
        release_spools(spools);
    }
}

/* --- Requests --- */

/* The newest that is fresh enough, or NULL. With the lock held. */
static struct image_spool *find_fresh(struct image_spools *spools,
                                      const struct image_spool_request *request)
{
    struct image_spool *found = NULL;
    struct link *link;

    (void)sweep(spools);
    for (link = queue_first(&spools->list); link != NULL; link = queue_next(&spools->list, link)) {
        if (is_fresh(spool_of(link), request)) {
            found = spool_of(link);
        }
    }
    return found;
}

bool image_spools_request(struct image_spools *spools, struct image_spool_request *request)
{
    struct image_spool *spool;
    bool is_done = true;

    CHECK(request->source[0] != '\0' || strlen(request->cluster_id) == IMAGE_CLUSTER_BYTES);
    request->spool = NULL;
    image_spools_lock(spools);
    spool = find_fresh(spools, request);
    if (spool != NULL) {
        give(spool, request);
        spools->statistics.shared++;
    } else if (atomic_load(&spools->is_closing)) {
        request->status = error_set(&request->error, STATUS_CLOSED, "the node is shutting down");
    } else if (spools->n_requests >= LIMIT_SPOOL_REQUESTS) {
        request->status = error_set(&request->error, STATUS_BUSY,
                                    "too many requests wait for an image on this node");
    } else {
        queue_push(&spools->requests, &request->message.link);
        spools->n_requests++;
        CHECK(pthread_cond_signal(&spools->wake) == 0);
        is_done = false;
    }
    image_spools_unlock(spools);
    return is_done;
}

void image_spools_cancel(struct image_spools *spools, struct image_spool_request *request)
{
    struct link *link;

    image_spools_lock(spools);
    for (link = queue_first(&spools->requests); link != NULL;
         link = queue_next(&spools->requests, link)) {
        if (request_of(link) == request) {
            request->status = STATUS_CANCELED;
            post(spools, request);
            break;
        }
    }
    image_spools_unlock(spools);
}

struct image_spool *image_spools_find(struct image_spools *spools, const char *source,
                                      struct slice tag)
{
    struct image_spool *found = NULL;
    struct link *link;

    image_spools_lock(spools);
    (void)sweep(spools);
    for (link = queue_first(&spools->list); link != NULL && found == NULL;
         link = queue_next(&spools->list, link)) {
        if (slice_equals_string(tag, spool_of(link)->tag) &&
            strcmp(source, spool_of(link)->source) == 0) {
            found = ref(spool_of(link));
        }
    }
    image_spools_unlock(spools);
    return found;
}

/* --- One image --- */

const char *image_spool_tag(const struct image_spool *spool)
{
    return spool->tag;
}

const struct image_facts *image_spool_facts(const struct image_spool *spool)
{
    return &spool->facts;
}

const struct image_totals *image_spool_totals(const struct image_spool *spool)
{
    return &spool->totals;
}

uint64_t image_spool_pieces(const struct image_spool *spool)
{
    return image_file_pieces(spool->file);
}

static enum status check_age(struct image_spool *spool, struct error *error)
{
    /* The sweep may be held up by a long export. */
    if (atomic_load(&spool->is_too_old) ||
        clock_ms() - spool->made_ms > spool->spools->options.max_age_ms) {
        return error_set(error, STATUS_CLOSED, "the image is too old");
    }
    return STATUS_OK;
}

enum status image_spool_read(struct image_spool *spool, uint64_t offset, size_t size,
                             struct buffer *bytes, struct error *error)
{
    enum status status = check_age(spool, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = image_file_read(spool->file, offset, size, bytes, error);
    image_file_prefetch(spool->file, offset + size, size);
    return status;
}

enum status image_spool_piece(struct image_spool *spool, uint64_t number, struct buffer *bytes,
                              struct error *error)
{
    enum status status = check_age(spool, error);

    return status == STATUS_OK ? image_file_piece(spool->file, number, bytes, error) : status;
}

void image_spool_release(struct image_spool *spool)
{
    struct image_spools *spools;

    if (spool == NULL) {
        return;
    }
    spools = spool->spools;
    image_spools_lock(spools);
    unref(spool);
    CHECK(pthread_cond_signal(&spools->wake) == 0); /* It may be swept earlier now. */
    image_spools_unlock(spools);
}

void image_spools_statistics(struct image_spools *spools,
                             struct image_spools_statistics *statistics)
{
    image_spools_lock(spools);
    *statistics = spools->statistics;
    statistics->waiting = spools->n_requests;
    image_spools_unlock(spools);
}
