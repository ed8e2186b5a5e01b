/* Objects are cut into pieces, of as many bytes as who reads them asks for at a time. A thread
 * claims the next piece that nobody has, as long as it is less than a window ahead of the reader,
 * fetches it into memory of its own, and puts it into the slot of that piece. The reader takes
 * pieces in order; if it skips some, what comes for those is thrown away. */
#include "storage/archive/ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/archive/object.h"
#include "storage/archive/repository_private.h"

/* How often who waits for a piece looks whether that is still wanted. */
#define LOOK_MS 50u

struct piece {
    size_t object;
    uint64_t offset;
};

/* What became of a piece. */
struct slot {
    bool is_there;
    enum status status;
    struct error error;
    struct buffer bytes;
};

struct ahead;

struct fetcher {
    struct ahead *ahead;
    struct repository *from;
    pthread_t thread;
    bool is_running;
};

struct ahead {
    struct repository repository; /* First: what others have is this. */
    struct repository *direct;    /* The reader's own. */
    struct ahead_object *objects;
    struct piece *pieces;
    size_t n_pieces;
    struct fetcher fetchers[AHEAD_MAX_THREADS];
    unsigned n_fetchers;
    struct slot *slots; /* Piece p has slot p % n_slots. */
    size_t n_slots;
    atomic_bool is_closing;

    pthread_mutex_t mutex; /* Guards what follows, and the slots. */
    pthread_cond_t changed;
    size_t next_fetch; /* Nobody has it yet. */
    size_t next_read;  /* All before are taken, or skipped. */
};

static void lock(struct ahead *ahead)
{
    CHECK(pthread_mutex_lock(&ahead->mutex) == 0);
}

static void unlock(struct ahead *ahead)
{
    CHECK(pthread_mutex_unlock(&ahead->mutex) == 0);
}

static void tell_all(struct ahead *ahead)
{
    CHECK(pthread_cond_broadcast(&ahead->changed) == 0);
}

/* --- Fetching --- */

static bool is_closing(void *data)
{
    struct ahead *ahead = data;

    return atomic_load(&ahead->is_closing);
}

/* False: it is closing, or there is nothing more to fetch. */
static bool claim(struct ahead *ahead, size_t *piece)
{
    while (!atomic_load(&ahead->is_closing) && ahead->next_fetch < ahead->n_pieces &&
           ahead->next_fetch >= ahead->next_read + ahead->n_slots) {
        CHECK(pthread_cond_wait(&ahead->changed, &ahead->mutex) == 0);
    }
    if (atomic_load(&ahead->is_closing) || ahead->next_fetch >= ahead->n_pieces) {
        return false;
    }
    *piece = ahead->next_fetch++;
    return true;
}

static void put(struct ahead *ahead, size_t piece, struct slot *fetched)
{
    struct slot *slot = &ahead->slots[piece % ahead->n_slots];

    if (piece < ahead->next_read) {
        buffer_close(&fetched->bytes); /* It was skipped. */
        return;
    }
    CHECK(!slot->is_there);
    *slot = *fetched;
    slot->is_there = true;
    tell_all(ahead);
}

static void *run(void *data)
{
    struct fetcher *fetcher = data;
    struct ahead *ahead = fetcher->ahead;
    size_t piece;

    thread_set_name("read-ahead");
    lock(ahead);
    while (claim(ahead, &piece)) {
        struct slot fetched = {.bytes = BUFFER_EMPTY};
        const struct piece *wanted = &ahead->pieces[piece];

        unlock(ahead);
        fetched.status =
            repository_read(fetcher->from, ahead->objects[wanted->object].name, wanted->offset,
                            OBJECT_READ_BYTES, &fetched.bytes, &fetched.error);
        lock(ahead);
        put(ahead, piece, &fetched);
    }
    unlock(ahead);
    return NULL;
}

/* --- Reading --- */

/* The piece that is asked for; n_pieces: it was not announced, or is behind us. */
static size_t find(const struct ahead *ahead, const char *name, uint64_t offset, size_t size)
{
    size_t i = size == OBJECT_READ_BYTES ? ahead->next_read : ahead->n_pieces;

    while (i < ahead->n_pieces &&
           (ahead->pieces[i].offset != offset ||
            strcmp(ahead->objects[ahead->pieces[i].object].name, name) != 0)) {
        i++;
    }
    return i;
}

/* With the lock held. What is before @piece is not wanted any more. */
static void skip_to(struct ahead *ahead, size_t piece)
{
    for (; ahead->next_read < piece; ahead->next_read++) {
        struct slot *slot = &ahead->slots[ahead->next_read % ahead->n_slots];

        if (slot->is_there) {
            buffer_close(&slot->bytes);
            slot->is_there = false;
        }
    }
    if (ahead->next_fetch < ahead->next_read) {
        ahead->next_fetch = ahead->next_read;
    }
    tell_all(ahead);
}

static void wait_a_little(struct ahead *ahead)
{
    (void)clock_condition_wait_ms(&ahead->changed, &ahead->mutex, LOOK_MS);
}

static bool is_canceled(const struct ahead *ahead)
{
    const struct repository_options *options = &ahead->repository.options;

    return options->is_canceled != NULL && options->is_canceled(options->data);
}

/* With the lock held: who reads has nothing else to do. */
static enum status take(struct ahead *ahead, size_t piece, struct buffer *bytes,
                        struct error *error)
{
    struct slot *slot = &ahead->slots[piece % ahead->n_slots];
    enum status status;

    skip_to(ahead, piece);
    while (!slot->is_there) {
        if (is_canceled(ahead)) {
            return error_set(error, STATUS_CANCELED, "reading from %s was canceled",
                             ahead->repository.url);
        }
        wait_a_little(ahead);
    }
    status = slot->status;
    if (status == STATUS_OK) {
        buffer_append_slice(bytes, buffer_slice(&slot->bytes));
    } else {
        *error = slot->error;
    }
    skip_to(ahead, piece + 1);
    return status;
}

static enum status read_ahead(struct repository *repository, const char *name, uint64_t offset,
                              size_t size, struct buffer *bytes, struct error *error)
{
    struct ahead *ahead = (struct ahead *)repository;
    enum status status = STATUS_OK;
    size_t piece;

    lock(ahead);
    piece = find(ahead, name, offset, size);
    if (piece < ahead->n_pieces) {
        status = take(ahead, piece, bytes, error);
    }
    unlock(ahead);
    return piece < ahead->n_pieces
               ? status
               : repository_read(ahead->direct, name, offset, size, bytes, error);
}

/* --- What it is not for --- */

static enum status refuse(struct repository *repository, struct error *error)
{
    return error_set(error, STATUS_UNSUPPORTED, "%s is only read from", repository->url);
}

static enum status refuse_create(struct repository *repository, const char *name,
                                 const struct repository_content *content, struct error *error)
{
    (void)name;
    (void)content;
    return refuse(repository, error);
}

static enum status refuse_list(struct repository *repository, const char *prefix, const char *after,
                               repository_list_cb cb, void *data, struct error *error)
{
    (void)prefix;
    (void)after;
    (void)cb;
    (void)data;
    return refuse(repository, error);
}

static enum status refuse_remove(struct repository *repository, const char *name,
                                 struct error *error)
{
    (void)name;
    return refuse(repository, error);
}

/* --- Life --- */

static void close_ahead(struct repository *repository)
{
    struct ahead *ahead = (struct ahead *)repository;

    lock(ahead);
    atomic_store(&ahead->is_closing, true);
    tell_all(ahead);
    unlock(ahead);
    for (unsigned i = 0; i < ahead->n_fetchers; i++) {
        if (ahead->fetchers[i].is_running) {
            CHECK(pthread_join(ahead->fetchers[i].thread, NULL) == 0);
        }
        repository_close(ahead->fetchers[i].from);
    }
    for (size_t i = 0; i < ahead->n_slots; i++) {
        buffer_close(&ahead->slots[i].bytes);
    }
    repository_close(ahead->direct);
    CHECK(pthread_cond_destroy(&ahead->changed) == 0);
    CHECK(pthread_mutex_destroy(&ahead->mutex) == 0);
    free(ahead->repository.url);
    free(ahead->objects);
    free(ahead->pieces);
    free(ahead->slots);
    free(ahead);
}

static const struct repository_kind kind = {
    .create = refuse_create,
    .read = read_ahead,
    .list = refuse_list,
    .remove = refuse_remove,
    .close = close_ahead,
};

/* An empty object, or one of unknown size, is a piece too. */
static size_t pieces_of(const struct ahead_object *object)
{
    uint64_t n = (object->size_bytes + OBJECT_READ_BYTES - 1) / OBJECT_READ_BYTES;

    return n == 0 ? 1 : (size_t)n;
}

static void cut(struct ahead *ahead, const struct ahead_options *options)
{
    size_t n = 0;

    for (size_t i = 0; i < options->n_objects; i++) {
        ahead->n_pieces += pieces_of(&options->objects[i]);
    }
    ahead->objects = memory_new_zeroed(options->n_objects + 1, sizeof *ahead->objects);
    ahead->pieces = memory_new_zeroed(ahead->n_pieces + 1, sizeof *ahead->pieces);
    for (size_t i = 0; i < options->n_objects; i++) {
        ahead->objects[i] = options->objects[i];
        for (size_t k = 0; k < pieces_of(&options->objects[i]); k++) {
            ahead->pieces[n++] =
                (struct piece){.object = i, .offset = (uint64_t)k * OBJECT_READ_BYTES};
        }
    }
}

static enum status open_handles(struct ahead *ahead, const struct ahead_options *options,
                                struct error *error)
{
    const struct repository_options own = {
        .url = options->url, .data = options->data, .is_canceled = options->is_canceled};
    const struct repository_options fetched = {
        .url = options->url, .data = ahead, .is_canceled = is_closing};
    enum status status = repository_open(&own, &ahead->direct, error);

    while (status == STATUS_OK && ahead->n_fetchers < options->n_threads) {
        struct fetcher *fetcher = &ahead->fetchers[ahead->n_fetchers];

        fetcher->ahead = ahead;
        status = repository_open(&fetched, &fetcher->from, error);
        ahead->n_fetchers += status == STATUS_OK ? 1 : 0;
    }
    return status;
}

static enum status start(struct ahead *ahead, struct error *error)
{
    for (unsigned i = 0; i < ahead->n_fetchers; i++) {
        struct fetcher *fetcher = &ahead->fetchers[i];
        int rv = pthread_create(&fetcher->thread, NULL, run, fetcher);

        if (rv != 0) {
            return error_set(error, status_from_errno(rv), "could not start a thread");
        }
        fetcher->is_running = true;
    }
    return STATUS_OK;
}

enum status ahead_open(const struct ahead_options *options, struct repository **repository,
                       struct error *error)
{
    struct ahead *ahead;
    enum status status;

    CHECK(options->n_threads > 0);
    CHECK(options->n_threads <= AHEAD_MAX_THREADS);

    ahead = memory_new_zeroed(1, sizeof *ahead);
    ahead->repository.kind = &kind;
    ahead->repository.options.data = options->data;
    ahead->repository.options.is_canceled = options->is_canceled;
    CHECK(pthread_mutex_init(&ahead->mutex, NULL) == 0);
    clock_condition_init(&ahead->changed);
    cut(ahead, options);
    ahead->n_slots = (size_t)AHEAD_PIECES * options->n_threads;
    ahead->slots = memory_new_zeroed(ahead->n_slots, sizeof *ahead->slots);
    status = open_handles(ahead, options, error);
    if (status == STATUS_OK) {
        ahead->repository.url = memory_copy_string(repository_url(ahead->direct));
        ahead->repository.is_local = repository_is_local(ahead->direct);
        status = start(ahead, error);
    }
    if (status != STATUS_OK) {
        close_ahead(&ahead->repository);
        return status;
    }
    *repository = &ahead->repository;
    return STATUS_OK;
}
