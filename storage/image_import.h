/* From the pieces of an image to an LMDB environment in a directory of its own, in bounded memory.
 *
 * It can go on after a crash or a restart with what it had durable. The directory becomes a store
 * only with the trailer, when everything in the image holds. One thread that may wait for a disk.
 */
#ifndef HOLDFAST_STORAGE_IMAGE_IMPORT_H
#define HOLDFAST_STORAGE_IMAGE_IMPORT_H

#include "storage/image.h"

struct image_import;

/* The directory is made if it is missing. If an earlier import was cut off in it, this one goes on
 * there. STATUS_EXISTS: it holds a whole store. STATUS_CORRUPT: it holds something else: remove it,
 * and begin anew. STATUS_BUSY, STATUS_IO, STATUS_DISK_FULL. */
MUST_USE enum status image_import_open(const char *directory, struct image_import **import,
                                       struct error *error);

/* As image_import_open(), but what is in the directory is gone on with only if @is_wanted says so
 * of the image that it is of; if not, or if it is no import that can be gone on with, it is
 * removed. */
MUST_USE enum status
image_import_resume(const char *directory,
                    bool (*is_wanted)(const void *data, const struct image_facts *facts),
                    const void *data, struct image_import **import, struct error *error);

/* The number of the piece that is wanted next. Above 0, what was imported before is of the image
 * image_import_facts(): pieces of another one are refused. */
uint64_t image_import_next(const struct image_import *import);
/* NULL before the header. */
const struct image_facts *image_import_facts(const struct image_import *import);

/* Take the next piece, whole. What was fed is durable now and then, and all of it with the trailer.
 * STATUS_CORRUPT, STATUS_UNSUPPORTED: see image_reader_feed(); the import can only be closed, and
 * opened again to go on from what was durable, or discarded. STATUS_IO, STATUS_DISK_FULL. */
MUST_USE enum status image_import_feed(struct image_import *import, struct slice piece,
                                       struct error *error);

/* The trailer was fed, and the directory is a store with these. */
bool image_import_is_done(const struct image_import *import);
const struct image_totals *image_import_totals(const struct image_import *import);

/* Unless it is done, what was not durable is gone. Accepts NULL. */
void image_import_close(struct image_import *import);

#endif
