/* From the state of this node to an image in a file.
 *
 * The state is walked in one read transaction. LMDB cannot use pages again that were freed since
 * such a transaction began, so nothing here waits for a network: the file is sent later. Any thread
 * but those that must not wait for a disk. */
#ifndef HOLDFAST_STORAGE_IMAGE_EXPORT_H
#define HOLDFAST_STORAGE_IMAGE_EXPORT_H

#include "storage/image.h"

struct image_export {
    struct store *store;
    const char *cluster_id;
    int fd; /* Written from its position on; not synced. */
    /* After each IMAGE_BLOCK_BYTES or so of the state, with the bytes of it since the last call:
     * anything but STATUS_OK ends the export with that. It may wait, to make the export slower. May
     * be NULL. The first call is with 0 bytes, when @facts are known. */
    enum status (*on_progress)(void *data, const struct image_facts *facts, uint64_t bytes,
                               struct error *error);
    void *data;
};

/* STATUS_CORRUPT: a record is damaged, and the store's on_damage() was called. STATUS_DISK_FULL,
 * STATUS_IO: the file could not be written; what is in it is of no use. */
MUST_USE enum status image_export(const struct image_export *options, struct image_facts *facts,
                                  struct image_totals *totals, struct error *error);

#endif
