/* The images of fulls, for who wants to read one: fetched into files (image_spool.h) from the
 * repositories of this node, and from other nodes what only they have. Any thread, but for opening
 * and closing. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_CONTENTS_H
#define HOLDFAST_STORAGE_ARCHIVE_CONTENTS_H

#include "storage/archive/master_keys.h"
#include "storage/archive/names.h"
#include "storage/image_spool.h"

/* The value of the field Via in requests of one node to another. */
#define CONTENTS_VIA "1.1 holdfast"

struct contents;

struct contents_options {
    struct store *store;
    const struct master_keys *keys; /* NULL: what is encrypted cannot be read. */
    const char *directory;          /* For the files. Made if it is missing. */
    uint64_t reserve_bytes;         /* Free space of its file system that they leave. */
    uint64_t bytes_per_second;      /* Of images. */
    void *data;
    /* The thread of the files: the URL of a repository of this node, borrowed until closing; NULL:
     * there is none of that number. */
    const char *(*find_url)(void *data, size_t number);
};

/* As image_spools_open(). */
MUST_USE enum status contents_open(const struct contents_options *options,
                                   struct contents **contents, struct error *error);
void contents_close(struct contents *contents); /* Accepts NULL. */

/* Where they are asked for, by image_spool_request.source: what the next two write. */
struct image_spools *contents_spools(struct contents *contents);

/* The full in @directory (names_full_directory()) of repository @number. */
void contents_source(size_t number, const char *directory, char source[IMAGE_SOURCE_BYTES]);
/* What the node at @api_address (HOST:PORT) has as archive @id. */
void contents_source_of_node(const char *api_address, const char *id,
                             char source[IMAGE_SOURCE_BYTES]);

#endif
