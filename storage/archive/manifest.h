/* The manifest of a full: what it is of, and which segments it has. JSON, so that people can read
 * it. It is created last: a full without one is not there.
 *
 * Its last field is the SHA-256 of all others, as compact JSON with sorted keys. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MANIFEST_H
#define HOLDFAST_STORAGE_ARCHIVE_MANIFEST_H

#include "daemon/base/buffer.h"
#include "daemon/base/limits.h"
#include "storage/archive/names.h"
#include "storage/image.h"

#define MANIFEST_FORMAT 1
/* Of a state of 240 GB after compression. */
#define MANIFEST_SEGMENTS 4096u
#define MANIFEST_BYTES    (1u << 20)

struct manifest_segment {
    uint64_t size_bytes;
    uint64_t content_bytes; /* Of the image. */
    uint8_t sha256[REPOSITORY_SHA256_BYTES];
};

struct manifest {
    struct image_facts facts; /* Of the image; and the hash of the state: */
    uint64_t state_hash[2];   /* txn_state_hash() */
    uint64_t image_bytes;
    uint64_t records;
    uint64_t content_bytes; /* Of the records. */
    uint8_t digest[IMAGE_DIGEST_BYTES];
    uint64_t created_ms;             /* By the wall clock of who wrote it. */
    char node[LIMIT_NAME_BYTES + 1]; /* Who wrote it. */
    char key[LIMIT_NAME_BYTES + 1];  /* The master key; "": not encrypted. */
    char program[LIMIT_NAME_BYTES + 1];
    unsigned n_segments;
    struct manifest_segment *segments; /* Owned. */
};

void manifest_encode(const struct manifest *manifest, struct buffer *json);

/* STATUS_CORRUPT: it is not what was written. STATUS_UNSUPPORTED: of a later program. After
 * STATUS_OK the caller ends with manifest_close(). */
MUST_USE enum status manifest_decode(struct slice json, struct manifest *manifest,
                                     struct error *error);

void manifest_close(struct manifest *manifest);

#endif
