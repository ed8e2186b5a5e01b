/* An image in a file, for reading piece by piece.
 *
 * One thread at a time, but for image_file_read(). */
#ifndef HOLDFAST_STORAGE_IMAGE_FILE_H
#define HOLDFAST_STORAGE_IMAGE_FILE_H

#include "storage/image.h"

struct image_file;

/* Open @path, and find its pieces: it reads their heads, not what they hold. STATUS_CORRUPT: this
 * is no image, or one that is cut off or goes on behind its end. STATUS_UNSUPPORTED: of a later
 * format. STATUS_NOT_FOUND, STATUS_PERMISSION, STATUS_IO. */
MUST_USE enum status image_file_open(const char *path, struct image_file **file,
                                     struct error *error);
/* The same for an open descriptor, which is taken, also by a failure; @name is for messages. */
MUST_USE enum status image_file_of(int fd, const char *name, struct image_file **file,
                                   struct error *error);

/* As the header says. */
const struct image_facts *image_file_facts(const struct image_file *file);
/* Of all kinds: those of a whole image are 0 to the last one. */
uint64_t image_file_pieces(const struct image_file *file);
uint64_t image_file_bytes(const struct image_file *file);

/* Append piece @number, unchecked. */
MUST_USE enum status image_file_piece(const struct image_file *file, uint64_t number,
                                      struct buffer *bytes, struct error *error);

/* Any thread: append up to @size bytes from @offset on, fewer only at the end. */
MUST_USE enum status image_file_read(const struct image_file *file, uint64_t offset, size_t size,
                                     struct buffer *bytes, struct error *error);

/* Any thread: have the system fetch these bytes soon, without waiting for it. */
void image_file_prefetch(const struct image_file *file, uint64_t offset, size_t size);

/* Feed all pieces to @reader from the one that it waits for. @on_progress may be NULL. */
MUST_USE enum status image_file_feed(const struct image_file *file, struct image_reader *reader,
                                     image_record_cb cb, void *data,
                                     void (*on_progress)(void *data, uint64_t bytes),
                                     struct error *error);

/* Read and check all of it. */
MUST_USE enum status image_file_verify(const struct image_file *file, struct image_totals *totals,
                                       void (*on_progress)(void *data, uint64_t bytes), void *data,
                                       struct error *error);

void image_file_close(struct image_file *file); /* Accepts NULL. */

#endif
