/* An image: the whole replicated state at one applied index, as one stream of bytes that proves
 * itself. Equal states give equal bytes on every node that compresses with the same libzstd.
 *
 * A stream is pieces, numbered from 0: a header, blocks of records in the order of their keys, and
 * a trailer. Each has a head of IMAGE_HEAD_BYTES and a body (little-endian):
 *
 *   8 bytes "HOLDFAST", u8 kind (1 header, 2 block, 3 trailer), u8 codec (0: as it is, 1: zstd),
 *   u16 0, u32 size of the body, u32 its size before compression, u64 number,
 *   16 bytes XXH3-128 of all of that and the body, with the header's own XXH3-64 as seed
 *
 *   header   u32 format, 36 bytes UUID of the cluster, u64 revision, next object id, time in ms,
 *            applied index, its term, u64[2] sum of the hashes of all records (record.h)
 *   block    per record: u16 size of the key, u32 size of the payload, key, payload
 *   trailer  u64 blocks, u64 records, u64 bytes of them, 32 bytes digest
 *
 * So a piece can be checked by itself, and shows where it belongs: one that is damaged, lost,
 * doubled, out of place or of another image is noticed when it comes. The digest is a chain of
 * SHA-256: of the header, then of the digest so far and each block. It names the image, and as a
 * chain it can be continued in another process.
 *
 * Pure: bytes in, bytes out; each writer or reader belongs to one thread at a time. */
#ifndef HOLDFAST_STORAGE_IMAGE_H
#define HOLDFAST_STORAGE_IMAGE_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "storage/store.h"

#define IMAGE_FORMAT        1u
#define IMAGE_CLUSTER_BYTES 36 /* A UUID as text. */
#define IMAGE_DIGEST_BYTES  32
#define IMAGE_HEAD_BYTES    44u
/* A block ends with the record that fills it; one record may be larger. To compress one takes less
 * than a millisecond: where processors are short, those who answer clients wait for so long. */
#define IMAGE_BLOCK_BYTES (128u << 10)
/* No piece is larger: a block that ends with the largest record. */
#define IMAGE_MAX_PIECE_BYTES (8u << 20)

/* The state that the image is of. */
struct image_facts {
    char cluster_id[IMAGE_CLUSTER_BYTES + 1];
    struct state state;
};

/* Of the same state of the same cluster? For image_import_resume(), too. */
bool image_facts_are(const void *wanted, const struct image_facts *facts);

struct image_totals {
    uint64_t blocks;
    uint64_t records;
    uint64_t content_bytes; /* Of keys and payloads. */
    uint64_t file_bytes;    /* Of all pieces. */
    uint8_t digest[IMAGE_DIGEST_BYTES];
};

/* The digest as 64 hex digits and NUL. */
void image_digest_text(const uint8_t digest[IMAGE_DIGEST_BYTES],
                       char text[2 * IMAGE_DIGEST_BYTES + 1]);

/* --- Writing --- */

struct image_writer;

/* Appends the header to @out. */
struct image_writer *image_writer_open(const struct image_facts *facts, struct buffer *out);
/* Records come in the order of their keys, each once. Appends a block to @out when one is full. */
void image_writer_add(struct image_writer *writer, struct slice key, struct slice payload,
                      struct buffer *out);
/* Appends what is left and the trailer. */
void image_writer_finish(struct image_writer *writer, struct buffer *out,
                         struct image_totals *totals);
void image_writer_close(struct image_writer *writer); /* Accepts NULL. */

/* --- Reading --- */

enum image_kind { IMAGE_HEADER = 1, IMAGE_BLOCK = 2, IMAGE_TRAILER = 3 };

struct image_piece {
    enum image_kind kind;
    uint64_t number;
    size_t size;          /* Of head and body. */
    size_t content_bytes; /* Of the body before compression. */
};

/* What the head at the start of @bytes (at least IMAGE_HEAD_BYTES) says, for those who have to find
 * the piece's end; only image_reader_feed() checks it. STATUS_CORRUPT: it is no head. */
MUST_USE enum status image_piece_look(struct slice bytes, struct image_piece *piece,
                                      struct error *error);

struct image_reader;

struct image_reader *image_reader_open(void);

/* A record, borrowed during the call. Anything but STATUS_OK ends the reading with that. */
typedef enum status (*image_record_cb)(void *data, struct slice key, struct slice payload,
                                       struct error *error);

/* The next piece, whole. @cb may be NULL. STATUS_CORRUPT: it is damaged, or not the one that comes
 * next, or with the trailer: the records are not those that the header promised.
 * STATUS_UNSUPPORTED: a later format. After a failure the reader takes nothing more. */
MUST_USE enum status image_reader_feed(struct image_reader *reader, struct slice piece,
                                       image_record_cb cb, void *data, struct error *error);

/* The number of the piece that comes next. */
uint64_t image_reader_next(const struct image_reader *reader);
/* Valid after the header. */
const struct image_facts *image_reader_facts(const struct image_reader *reader);
/* The trailer was there, and all of it holds. */
bool image_reader_is_done(const struct image_reader *reader);
/* So far; the digest too. */
const struct image_totals *image_reader_totals(const struct image_reader *reader);

/* Where the reader stands, behind the header, for another one that goes on there. */
void image_reader_save(const struct image_reader *reader, struct buffer *position);
/* STATUS_CORRUPT: it is no position. The reader must be new. */
MUST_USE enum status image_reader_resume(struct image_reader *reader, struct slice position);

void image_reader_close(struct image_reader *reader); /* Accepts NULL. */

#endif
