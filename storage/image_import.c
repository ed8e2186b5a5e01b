/* 1. image_import_open() finds how far an earlier import came: its reader's position is the note of
 *    the bulk that it filled.
 * 2. image_import_feed() checks each piece and puts its records into the bulk; each STEP_BYTES are
 *    made durable together with the position behind the last piece.
 * 3. The trailer shows that the records are those of the header. Only then the facts are written,
 *    which makes the directory a store.
 *
 * What can go wrong: a piece is damaged halfway. Its first records are in the bulk's transaction,
 * so the import ends, and what was durable before is the place to go on from. */
#include "storage/image_import.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/memory.h"
#include "storage/bulk.h"

/* Pages that are written wait in memory until then. */
#define STEP_BYTES (16u << 20)

struct image_import {
    struct bulk *bulk;
    struct image_reader *reader;
    bool has_failed;
};

enum status image_import_open(const char *directory, struct image_import **import,
                              struct error *error)
{
    struct image_import *opened = memory_new_zeroed(1, sizeof *opened);
    struct buffer position = BUFFER_EMPTY;
    enum status status = bulk_open(directory, 0, &opened->bulk, &position, error);

    opened->reader = image_reader_open();
    if (status == STATUS_OK && position.size > 0) {
        status = image_reader_resume(opened->reader, buffer_slice(&position));
        if (status != STATUS_OK) {
            (void)error_set(error, status, "what was left in \"%s\" is of no use: remove it",
                            directory); /* Returned below. */
        }
    }
    buffer_close(&position);
    if (status != STATUS_OK) {
        image_import_close(opened);
        return status;
    }
    *import = opened;
    return STATUS_OK;
}

uint64_t image_import_next(const struct image_import *import)
{
    return image_reader_next(import->reader);
}

const struct image_facts *image_import_facts(const struct image_import *import)
{
    return image_reader_next(import->reader) == 0 ? NULL : image_reader_facts(import->reader);
}

static enum status on_record(void *data, struct slice key, struct slice payload,
                             struct error *error)
{
    struct image_import *import = data;

    return bulk_put(import->bulk, key, payload, error);
}

/* Make durable what was fed, if it is enough or complete. */
static enum status keep(struct image_import *import, struct error *error)
{
    struct buffer position = BUFFER_EMPTY;
    enum status status;

    if (image_reader_is_done(import->reader)) {
        return bulk_finish(import->bulk, &image_reader_facts(import->reader)->state, error);
    }
    if (bulk_unkept_bytes(import->bulk) < STEP_BYTES) {
        return STATUS_OK;
    }
    image_reader_save(import->reader, &position);
    status = bulk_keep(import->bulk, buffer_slice(&position), error);
    buffer_close(&position);
    return status;
}

enum status image_import_feed(struct image_import *import, struct slice piece, struct error *error)
{
    enum status status;

    if (import->has_failed) {
        return error_set(error, STATUS_CANCELED, "the import has failed before");
    }
    status = image_reader_feed(import->reader, piece, on_record, import, error);
    if (status == STATUS_OK) {
        status = keep(import, error);
    }
    import->has_failed = status != STATUS_OK;
    return status;
}

bool image_import_is_done(const struct image_import *import)
{
    return !import->has_failed && image_reader_is_done(import->reader);
}

const struct image_totals *image_import_totals(const struct image_import *import)
{
    return image_reader_totals(import->reader);
}

void image_import_close(struct image_import *import)
{
    if (import == NULL) {
        return;
    }
    bulk_close(import->bulk);
    image_reader_close(import->reader);
    free(import);
}

/* --- Directories --- */

enum status image_import_discard(const char *directory, struct error *error)
{
    DIR *opened = opendir(directory);
    const struct dirent *entry;
    int rv = opened == NULL && errno != ENOENT ? -1 : 0;

    while (rv == 0 && opened != NULL && (entry = readdir(opened)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rv = unlinkat(dirfd(opened), entry->d_name, 0);
        }
    }
    if (rv == 0 && opened != NULL) {
        rv = rmdir(directory);
    }
    if (rv != 0) {
        rv = errno;
        (void)error_set(error, status_from_errno(rv), "could not remove \"%s\": %s", directory,
                        strerror(rv)); /* Returned below. */
    }
    if (opened != NULL) {
        (void)closedir(opened); /* Only read. */
    }
    return rv == 0 ? STATUS_OK : status_from_errno(rv);
}

static enum status path_error(const char *action, const char *path, struct error *error)
{
    int number = errno;

    return error_set(error, status_from_errno(number), "could not %s \"%s\": %s", action, path,
                     strerror(number));
}

/* Make renames in the directory that holds @path durable. */
static enum status sync_parent(const char *path, struct error *error)
{
    char *copy = memory_copy_string(path);
    enum status status = STATUS_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0) {
        status = path_error("sync the directory of", path, error);
    }
    if (fd >= 0) {
        (void)close(fd); /* Nothing was written through it. */
    }
    free(copy);
    return status;
}

/* "@path.old", for free(). */
static char *old_path(const char *path)
{
    struct buffer text = BUFFER_EMPTY;

    buffer_append_format(&text, "%s.old", path);
    buffer_append_byte(&text, 0);
    return (char *)text.data; /* From malloc, as buffers are. */
}

static enum status swap(const char *from, const char *to, const char *old, struct error *error)
{
    enum status status = image_import_discard(old, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (rename(to, old) != 0 && errno != ENOENT) {
        return path_error("move away", to, error);
    }
    if (rename(from, to) != 0) {
        status = path_error("move to its place", from, error);
        (void)rename(old, to); /* As it was; if that fails too, the next start repairs it. */
        return status;
    }
    status = sync_parent(to, error);
    return status == STATUS_OK ? image_import_discard(old, error) : status;
}

enum status image_install(const char *from, const char *to, struct error *error)
{
    char *old = old_path(to);
    enum status status = swap(from, to, old, error);

    free(old);
    return status;
}

enum status image_install_repair(const char *to, struct error *error)
{
    char *old = old_path(to);
    enum status status = STATUS_OK;

    if (access(to, F_OK) != 0 && access(old, F_OK) == 0) {
        if (rename(old, to) != 0) {
            status = path_error("move back", old, error);
        } else {
            status = sync_parent(to, error);
        }
    } else {
        status = image_import_discard(old, error);
    }
    free(old);
    return status;
}
