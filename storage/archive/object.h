/* What is in an object of the archive: a header, and blocks of its content, compressed and, with a
 * key, encrypted. Little-endian:
 *
 *   header  8 bytes "HFARCHV1", u32 size of the header, u8 kind, u8 codec (0: none, 1: zstd),
 *           u8 cipher (0: none, 1: AES-256-GCM), u8 0, u32-prefixed name of the object,
 *           u32-prefixed name of the master key and u32-prefixed wrapped data key (master_keys.h;
 *           empty without cipher), u32-prefixed facts (the kind's own),
 *           32 bytes SHA-256 of all of that
 *   block   u32 bytes that follow, u32 content bytes, u8 1 if it is the last one, 3 zeros,
 *           the content as the codec and the cipher leave it
 *
 * A cipher's nonce is the number of the block; its associated data are the header's hash, the
 * number and the block's own first 12 bytes. Without one, the block ends with the XXH3-64 of the
 * same. So blocks cannot be changed, moved, left away, or taken from another object, and an object
 * cannot be given for another one, as it knows its name (which begins with the cluster's UUID).
 *
 * One thread at a time. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_OBJECT_H
#define HOLDFAST_STORAGE_ARCHIVE_OBJECT_H

#include "storage/archive/master_keys.h"
#include "storage/archive/repository.h"

#define OBJECT_BLOCK_BYTES (1u << 20) /* Of content; the last one may be shorter. */
/* Content of an object that it certainly can hold. */
#define OBJECT_CONTENT_BYTES (60u << 20)
#define OBJECT_FACTS_BYTES   4096u
/* Of an object that are asked for at a time. */
#define OBJECT_READ_BYTES (4u << 20)

enum object_kind { OBJECT_SEGMENT = 1, OBJECT_DELTA = 2 };
enum object_codec { OBJECT_PLAIN = 0, OBJECT_ZSTD = 1 };

struct object_head {
    enum object_kind kind;
    enum object_codec codec;
    const char *name;
    struct slice facts;
};

/* --- Writing, to a file --- */

struct object_writer;

/* @keys: NULL: not encrypted. @fd: written from its beginning on; the caller's. */
MUST_USE enum status object_writer_open(const struct object_head *head,
                                        const struct master_keys *keys, int fd,
                                        struct object_writer **writer, struct error *error);
/* At most OBJECT_CONTENT_BYTES in all. STATUS_IO, STATUS_DISK_FULL. */
MUST_USE enum status object_writer_add(struct object_writer *writer, struct slice content,
                                       struct error *error);
/* What the repository is to be given. */
MUST_USE enum status object_writer_finish(struct object_writer *writer,
                                          struct repository_content *content, struct error *error);
void object_writer_close(struct object_writer *writer); /* Accepts NULL. */

/* --- Reading, from a repository --- */

/* Borrowed during the call. Anything but STATUS_OK ends the reading with that. */
typedef enum status (*object_content_cb)(void *data, struct slice content, struct error *error);

struct object_reading {
    struct repository *repository;
    const char *name;
    enum object_kind kind;
    const struct master_keys *keys; /* May be NULL: for objects that are not encrypted. */
    const uint8_t *sha256;          /* Of the whole object, or NULL: not known. */
    object_content_cb on_facts;     /* Once, before any content. May be NULL. */
    object_content_cb on_content;   /* NULL: nothing behind the facts is read. */
    void *data;
};

/* STATUS_CORRUPT: it is damaged, cut off, goes on behind its end, or is another object.
 * STATUS_UNSUPPORTED: of a later program. STATUS_NOT_FOUND: there is none, or its key is not among
 * @keys. Others as repository_read(). */
MUST_USE enum status object_read(const struct object_reading *reading, struct error *error);

#endif
