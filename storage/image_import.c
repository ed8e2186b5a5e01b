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

#include <stdlib.h>

#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/bulk.h"

/* Pages that are written wait in memory until then; more of them at once would keep the disk busy
 * for longer than others on it can wait to sync a log. */
#define STEP_BYTES (1u << 20)

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

enum status image_import_resume(const char *directory,
                                bool (*is_wanted)(const void *data,
                                                  const struct image_facts *facts),
                                const void *data, struct image_import **import, struct error *error)
{
    enum status status = image_import_open(directory, import, error);
    const struct image_facts *facts = status == STATUS_OK ? image_import_facts(*import) : NULL;

    if (status == STATUS_OK && (facts == NULL || is_wanted(data, facts))) {
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        image_import_close(*import);
        *import = NULL;
    } else if (status != STATUS_EXISTS && status != STATUS_CORRUPT) {
        return status;
    }
    status = files_remove_directory(directory, error);
    return status == STATUS_OK ? image_import_open(directory, import, error) : status;
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
