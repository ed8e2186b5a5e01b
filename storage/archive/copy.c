#include "storage/archive/copy.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/archive/ahead.h"
#include "storage/archive/full.h"

#define THREADS 4u /* That read ahead. */

struct item {
    char name[NAMES_BYTES];
    uint64_t bytes;
    enum names_kind kind;
};

struct items {
    struct item *list;
    size_t n;
    size_t capacity;
};

static bool add_item(void *data, const struct repository_object *object)
{
    struct items *items = data;
    struct names_parsed parsed;

    if (!names_parse(object->name, &parsed) || parsed.kind == NAMES_VERIFIED) {
        return true; /* None of an archive, or not true of the copy. */
    }
    if (items->n == items->capacity) {
        items->capacity = items->capacity == 0 ? 64 : 2 * items->capacity;
        items->list = memory_resize(items->list, items->capacity * sizeof *items->list);
    }
    memcpy(items->list[items->n].name, object->name, strlen(object->name) + 1); /* Parsed: fits. */
    items->list[items->n].bytes = object->size_bytes;
    items->list[items->n].kind = parsed.kind;
    items->n++;
    return true;
}

static enum status list_items(struct repository *repository, const char *prefix,
                              struct items *items, struct error *error)
{
    return repository_list(repository, prefix, NULL, add_item, items, error);
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static const struct item *find(const struct items *items, const struct item *item)
{
    return items->n == 0 ? NULL : bsearch(item, items->list, items->n, sizeof *item, compare_items);
}

/* --- One object --- */

/* Fetch it to @fd, and describe that as @content. */
static enum status fetch(const struct copy_options *options, const struct item *item, int fd,
                         struct repository_content *content, struct error *error)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    struct buffer bytes = BUFFER_EMPTY;
    uint64_t offset = 0;
    enum status status = STATUS_OK;

    CHECK(hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    while (status == STATUS_OK && offset < item->bytes) {
        buffer_clear(&bytes);
        status =
            repository_read(options->from, item->name, offset, OBJECT_READ_BYTES, &bytes, error);
        if (status == STATUS_OK && bytes.size == 0) {
            status = error_set(error, STATUS_CORRUPT, "\"%s\" in %s is shorter than was listed",
                               item->name, repository_url(options->from));
        }
        if (status == STATUS_OK) {
            CHECK(EVP_DigestUpdate(hash, bytes.data, bytes.size) == 1);
            status = files_write(fd, buffer_slice(&bytes), options->work_directory, error);
            offset += bytes.size;
        }
    }
    buffer_close(&bytes);
    content->fd = fd;
    content->size_bytes = offset;
    CHECK(EVP_DigestFinal_ex(hash, content->sha256, NULL) == 1);
    EVP_MD_CTX_free(hash);
    return status;
}

/* What is listed may be merged or pruned before it is its turn: what took its place was listed,
 * too, or nobody needs it any more. */
static bool was_removed(const struct item *item, enum status status)
{
    return status == STATUS_NOT_FOUND && (item->kind == NAMES_DELTA || item->kind == NAMES_MERGED);
}

/* Somebody else may copy at the same time. STATUS_END: it is not there any more. */
static enum status copy_item(const struct copy_options *options, const struct item *item,
                             struct error *error)
{
    struct repository_content content;
    enum status status;
    int fd;

    status = full_work_file(options->work_directory, &fd, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = fetch(options, item, fd, &content, error);
    if (was_removed(item, status)) {
        status = STATUS_END;
    }
    if (status == STATUS_OK) {
        status = repository_create(options->to, item->name, &content, error);
    }
    if (status == STATUS_UNCERTAIN) {
        status = repository_create(options->to, item->name, &content, error);
    }
    (void)close(fd); /* It is gone now. */
    return status == STATUS_EXISTS ? STATUS_OK : status;
}

/* --- All --- */

static enum status copy_if_missing(const struct copy_options *options, const struct item *item,
                                   const struct items *there, struct copy_totals *totals,
                                   struct error *error)
{
    const struct item *other = find(there, item);
    enum status status = STATUS_OK;

    if (other != NULL && other->bytes != item->bytes) {
        return error_set(error, STATUS_MISMATCH, "\"%s\" in %s is another object than in %s",
                         item->name, repository_url(options->to), repository_url(options->from));
    }
    if (other == NULL) {
        status = copy_item(options, item, error);
        if (status == STATUS_END) {
            return STATUS_OK;
        }
        totals->copied_objects += status == STATUS_OK ? 1 : 0;
        totals->copied_bytes += status == STATUS_OK ? item->bytes : 0;
    }
    totals->objects++;
    totals->bytes += item->bytes;
    if (options->on_progress != NULL) {
        options->on_progress(options->data, totals);
    }
    return status;
}

/* In two rounds: manifests are the second one. */
static bool is_of_round(const struct item *item, unsigned round)
{
    return (item->kind == NAMES_MANIFEST) == (round == 1);
}

static enum status copy_all(const struct copy_options *options, const struct items *here,
                            const struct items *there, struct copy_totals *totals,
                            struct error *error)
{
    enum status status = STATUS_OK;

    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < here->n && status == STATUS_OK; i++) {
            if (is_of_round(&here->list[i], round)) {
                status = copy_if_missing(options, &here->list[i], there, totals, error);
            }
        }
    }
    return status;
}

/* What is missing, in the order in which it is copied. */
static enum status open_ahead(const struct copy_options *options, const struct items *here,
                              const struct items *there, struct repository **ahead,
                              struct error *error)
{
    struct ahead_object *objects = memory_new_zeroed(here->n + 1, sizeof *objects);
    struct ahead_options ahead_options = {
        .url = options->from_url, .objects = objects, .n_threads = THREADS};
    enum status status;

    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < here->n; i++) {
            const struct item *item = &here->list[i];

            if (is_of_round(item, round) && find(there, item) == NULL) {
                struct ahead_object *object = &objects[ahead_options.n_objects++];

                memcpy(object->name, item->name, sizeof object->name);
                object->size_bytes = item->bytes;
            }
        }
    }
    status = ahead_open(&ahead_options, ahead, error);
    free(objects);
    return status;
}

static enum status copy_ahead(const struct copy_options *options, const struct items *here,
                              const struct items *there, struct copy_totals *totals,
                              struct error *error)
{
    struct copy_options from_ahead = *options;
    enum status status = open_ahead(options, here, there, &from_ahead.from, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = copy_all(&from_ahead, here, there, totals, error);
    repository_close(from_ahead.from);
    return status;
}

enum status copy_archive(const struct copy_options *options, struct copy_totals *totals,
                         struct error *error)
{
    struct items here = {.n = 0};
    struct items there = {.n = 0};
    struct copy_totals sums = {.objects = 0};
    enum status status = list_items(options->to, options->prefix, &there, error);

    if (status == STATUS_OK) { /* Later: what is not there yet can only be more. */
        status = list_items(options->from, options->prefix, &here, error);
    }
    if (status == STATUS_OK) {
        status = options->from_url != NULL ? copy_ahead(options, &here, &there, &sums, error)
                                           : copy_all(options, &here, &there, &sums, error);
    }
    free(here.list);
    free(there.list);
    if (status == STATUS_OK) {
        *totals = sums;
    }
    return status;
}
