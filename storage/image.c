#include "storage/image.h"

#include <stdlib.h>

#include <openssl/evp.h>
#include <xxhash.h>
#include <zstd.h>

#include "daemon/base/check.h"
#include "daemon/base/hex.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/record.h"

#define MAGIC             "HOLDFAST"
#define MAGIC_BYTES       8u
#define CHECKSUM_BYTES    16u
#define CHECKED_BYTES     (IMAGE_HEAD_BYTES - CHECKSUM_BYTES)
#define RECORD_HEAD_BYTES 6u
#define MAX_CONTENT_BYTES (IMAGE_MAX_PIECE_BYTES - IMAGE_HEAD_BYTES)
#define COMPRESSION_LEVEL 1 /* Three times as fast as level 3, and a few percent larger. */
#define POSITION_VERSION  1
#define LARGEST_RECORD    (LIMIT_COMMAND_BYTES + (64u << 10)) /* Each comes from one command. */

_Static_assert(IMAGE_BLOCK_BYTES + LARGEST_RECORD <= MAX_CONTENT_BYTES,
               "a block holds what was short of full and the largest record");

enum codec { CODEC_NONE = 0, CODEC_ZSTD = 1 };

bool image_facts_are(const void *wanted, const struct image_facts *facts)
{
    const struct image_facts *other = wanted;

    return strcmp(facts->cluster_id, other->cluster_id) == 0 &&
           memcmp(&facts->state, &other->state, sizeof facts->state) == 0;
}

void image_digest_text(const uint8_t digest[IMAGE_DIGEST_BYTES],
                       char text[2 * IMAGE_DIGEST_BYTES + 1])
{
    hex_text(digest, IMAGE_DIGEST_BYTES, text);
}

/* --- What writer and reader share --- */

/* The digest of @digest (nothing before the header) and @piece. */
static void chain(EVP_MD_CTX *context, bool is_first, uint8_t digest[IMAGE_DIGEST_BYTES],
                  struct slice piece)
{
    CHECK(EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    if (!is_first) {
        CHECK(EVP_DigestUpdate(context, digest, IMAGE_DIGEST_BYTES) == 1);
    }
    CHECK(EVP_DigestUpdate(context, piece.data, piece.size) == 1);
    CHECK(EVP_DigestFinal_ex(context, digest, NULL) == 1);
}

static XXH128_canonical_t checksum_of(struct slice piece, uint64_t seed)
{
    struct slice body = slice_from(piece, IMAGE_HEAD_BYTES);
    uint64_t head = XXH3_64bits_withSeed(piece.data, CHECKED_BYTES, seed);
    XXH128_canonical_t checksum;

    XXH128_canonicalFromHash(&checksum, XXH3_128bits_withSeed(body.data, body.size, head));
    return checksum;
}

static void encode_facts(const struct image_facts *facts, struct buffer *body)
{
    const struct state *state = &facts->state;

    CHECK(strlen(facts->cluster_id) == IMAGE_CLUSTER_BYTES);
    wire_put_u32(body, IMAGE_FORMAT);
    buffer_append(body, facts->cluster_id, IMAGE_CLUSTER_BYTES);
    wire_put_u64(body, state->revision);
    wire_put_u64(body, state->next_object_id);
    wire_put_u64(body, state->time_ms);
    wire_put_u64(body, state->applied_index);
    wire_put_u64(body, state->applied_term);
    wire_put_u64(body, state->hash[0]);
    wire_put_u64(body, state->hash[1]);
}

static bool is_cluster_id(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '-' && strchr("0123456789abcdef", text.data[i]) == NULL) {
            return false;
        }
    }
    return text.size == IMAGE_CLUSTER_BYTES && memchr(text.data, 0, text.size) == NULL;
}

static enum status decode_facts(struct slice body, struct image_facts *facts, struct error *error)
{
    struct wire_reader reader = wire_reader_of(body);
    uint32_t format = wire_get_u32(&reader);
    struct state *state = &facts->state;
    struct slice cluster_id;

    if (format > IMAGE_FORMAT) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the image has format %u, which a later version of Holdfast wrote; this "
                         "one knows format %u",
                         format, IMAGE_FORMAT);
    }
    cluster_id = wire_get_raw(&reader, IMAGE_CLUSTER_BYTES);
    state->revision = wire_get_u64(&reader);
    state->next_object_id = wire_get_u64(&reader);
    state->time_ms = wire_get_u64(&reader);
    state->applied_index = wire_get_u64(&reader);
    state->applied_term = wire_get_u64(&reader);
    state->hash[0] = wire_get_u64(&reader);
    state->hash[1] = wire_get_u64(&reader);
    if (format != IMAGE_FORMAT || wire_done(&reader) != STATUS_OK || !is_cluster_id(cluster_id)) {
        return error_set(error, STATUS_CORRUPT, "the image's header is malformed");
    }
    memcpy(facts->cluster_id, cluster_id.data, IMAGE_CLUSTER_BYTES);
    facts->cluster_id[IMAGE_CLUSTER_BYTES] = '\0';
    return STATUS_OK;
}

/* --- Writing --- */

struct image_writer {
    uint64_t seed;
    uint64_t number; /* Of the next piece. */
    struct buffer block;
    uint32_t n_records; /* In it. */
    struct image_totals totals;
    EVP_MD_CTX *digest;
    ZSTD_CCtx *zstd;
    uint8_t last_key[LIMIT_STATE_KEY_BYTES];
    size_t last_key_size;
};

/* Append the body, compressed if that makes it smaller. */
static enum codec put_body(struct image_writer *writer, struct slice body, struct buffer *out)
{
    size_t bound = ZSTD_compressBound(body.size);
    size_t size = ZSTD_compressCCtx(writer->zstd, buffer_reserve(out, bound), bound, body.data,
                                    body.size, COMPRESSION_LEVEL);

    if (!ZSTD_isError(size) && size < body.size) {
        (void)buffer_extend(out, size); /* The bytes are there already. */
        return CODEC_ZSTD;
    }
    buffer_append_slice(out, body);
    return CODEC_NONE;
}

/* Append a piece. The trailer is not part of the digest that it carries. */
static void put_piece(struct image_writer *writer, enum image_kind kind, struct slice body,
                      struct buffer *out)
{
    size_t start = out->size;
    struct buffer head = BUFFER_EMPTY;
    XXH128_canonical_t checksum;
    enum codec codec = CODEC_NONE;
    struct slice piece;

    CHECK(body.size <= MAX_CONTENT_BYTES);
    (void)buffer_extend(out, IMAGE_HEAD_BYTES); /* Filled in below. */
    if (kind == IMAGE_BLOCK) {
        codec = put_body(writer, body, out);
    } else {
        buffer_append_slice(out, body);
    }
    buffer_append(&head, MAGIC, MAGIC_BYTES);
    wire_put_u8(&head, (uint8_t)kind);
    wire_put_u8(&head, (uint8_t)codec);
    wire_put_u16(&head, 0);
    wire_put_u32(&head, (uint32_t)(out->size - start - IMAGE_HEAD_BYTES));
    wire_put_u32(&head, (uint32_t)body.size);
    wire_put_u64(&head, writer->number);
    CHECK(head.size == CHECKED_BYTES);
    memcpy(out->data + start, head.data, head.size);
    buffer_close(&head);
    piece = slice_of(out->data + start, out->size - start);
    checksum = checksum_of(piece, writer->seed);
    memcpy(out->data + start + CHECKED_BYTES, &checksum, CHECKSUM_BYTES);
    if (kind != IMAGE_TRAILER) {
        chain(writer->digest, kind == IMAGE_HEADER, writer->totals.digest, piece);
    }
    writer->number++;
    writer->totals.file_bytes += piece.size;
}

struct image_writer *image_writer_open(const struct image_facts *facts, struct buffer *out)
{
    struct image_writer *writer = memory_new_zeroed(1, sizeof *writer);
    struct buffer body = BUFFER_EMPTY;

    writer->digest = EVP_MD_CTX_new();
    writer->zstd = ZSTD_createCCtx();
    CHECK(writer->digest != NULL && writer->zstd != NULL); /* Out of memory. */
    encode_facts(facts, &body);
    put_piece(writer, IMAGE_HEADER, buffer_slice(&body), out);
    writer->seed = XXH3_64bits(body.data, body.size);
    buffer_close(&body);
    return writer;
}

static void end_block(struct image_writer *writer, struct buffer *out)
{
    if (writer->n_records == 0) {
        return;
    }
    put_piece(writer, IMAGE_BLOCK, buffer_slice(&writer->block), out);
    writer->totals.blocks++;
    writer->n_records = 0;
    buffer_clear(&writer->block);
}

void image_writer_add(struct image_writer *writer, struct slice key, struct slice payload,
                      struct buffer *out)
{
    CHECK(key.size > 0 && key.size <= LIMIT_STATE_KEY_BYTES);
    CHECK(payload.size <= LARGEST_RECORD);
    CHECK(slice_compare(key, slice_of(writer->last_key, writer->last_key_size)) > 0);
    wire_put_u16(&writer->block, (uint16_t)key.size);
    wire_put_u32(&writer->block, (uint32_t)payload.size);
    buffer_append_slice(&writer->block, key);
    buffer_append_slice(&writer->block, payload);
    memcpy(writer->last_key, key.data, key.size);
    writer->last_key_size = key.size;
    writer->n_records++;
    writer->totals.records++;
    writer->totals.content_bytes += key.size + payload.size;
    if (writer->block.size >= IMAGE_BLOCK_BYTES) {
        end_block(writer, out);
    }
}

void image_writer_finish(struct image_writer *writer, struct buffer *out,
                         struct image_totals *totals)
{
    struct buffer body = BUFFER_EMPTY;

    end_block(writer, out);
    wire_put_u64(&body, writer->totals.blocks);
    wire_put_u64(&body, writer->totals.records);
    wire_put_u64(&body, writer->totals.content_bytes);
    buffer_append(&body, writer->totals.digest, IMAGE_DIGEST_BYTES);
    put_piece(writer, IMAGE_TRAILER, buffer_slice(&body), out);
    buffer_close(&body);
    *totals = writer->totals;
}

void image_writer_close(struct image_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    EVP_MD_CTX_free(writer->digest);
    (void)ZSTD_freeCCtx(writer->zstd); /* Always 0. */
    buffer_close(&writer->block);
    free(writer);
}

/* --- The head of a piece --- */

struct head {
    uint8_t kind;
    uint8_t codec;
    uint32_t stored;
    uint32_t content;
    uint64_t number;
};

static enum status read_head(struct slice bytes, struct head *head, struct error *error)
{
    struct wire_reader reader = wire_reader_of(bytes);
    struct slice magic = wire_get_raw(&reader, MAGIC_BYTES);
    uint16_t zero;

    head->kind = wire_get_u8(&reader);
    head->codec = wire_get_u8(&reader);
    zero = wire_get_u16(&reader);
    head->stored = wire_get_u32(&reader);
    head->content = wire_get_u32(&reader);
    head->number = wire_get_u64(&reader);
    if (reader.failed || !slice_equals(magic, slice_of(MAGIC, MAGIC_BYTES))) {
        return error_set(error, STATUS_CORRUPT, "no piece of an image of Holdfast begins here");
    }
    if (head->kind < IMAGE_HEADER || head->kind > IMAGE_TRAILER || head->codec > CODEC_ZSTD ||
        (head->kind != IMAGE_BLOCK && head->codec != CODEC_NONE) || zero != 0 ||
        head->stored == 0 || head->stored > head->content || head->content > MAX_CONTENT_BYTES ||
        (head->codec == CODEC_NONE && head->stored != head->content)) {
        return error_set(error, STATUS_CORRUPT, "the head of a piece is malformed");
    }
    return STATUS_OK;
}

enum status image_piece_look(struct slice bytes, struct image_piece *piece, struct error *error)
{
    struct head head;
    enum status status = read_head(bytes, &head, error);

    if (status == STATUS_OK) {
        piece->kind = (enum image_kind)head.kind;
        piece->number = head.number;
        piece->size = IMAGE_HEAD_BYTES + head.stored;
        piece->content_bytes = head.content;
    }
    return status;
}

/* --- Reading --- */

enum stage { AT_HEADER, AT_BLOCKS, AT_END, FAILED };

struct image_reader {
    enum stage stage;
    uint64_t seed;
    uint64_t next;
    struct image_facts facts;
    struct image_totals totals;
    uint64_t sum[2]; /* Of the records so far. */
    uint8_t last_key[LIMIT_STATE_KEY_BYTES];
    size_t last_key_size;
    EVP_MD_CTX *digest;
    ZSTD_DCtx *zstd;
    struct buffer content;
};

struct image_reader *image_reader_open(void)
{
    struct image_reader *reader = memory_new_zeroed(1, sizeof *reader);

    reader->digest = EVP_MD_CTX_new();
    reader->zstd = ZSTD_createDCtx();
    CHECK(reader->digest != NULL && reader->zstd != NULL); /* Out of memory. */
    return reader;
}

static enum status corrupt(const struct image_reader *reader, struct error *error, const char *what)
{
    return error_set(error, STATUS_CORRUPT, "piece %llu of the image %s",
                     (unsigned long long)reader->next, what);
}

/* The piece's head, if it is whole, undamaged, and the one that comes next. */
static enum status check_piece(const struct image_reader *reader, struct slice piece,
                               struct head *head, struct error *error)
{
    enum status status = read_head(piece, head, error);
    XXH128_canonical_t checksum;

    if (status != STATUS_OK) {
        return status;
    }
    if (piece.size != IMAGE_HEAD_BYTES + head->stored) {
        return corrupt(reader, error, "has another length than its head says");
    }
    if ((head->kind == IMAGE_HEADER) != (reader->stage == AT_HEADER) ||
        head->number != reader->next) {
        return corrupt(reader, error, "was expected, and another one is there");
    }
    checksum = checksum_of(piece, reader->seed);
    if (memcmp(&checksum, piece.data + CHECKED_BYTES, CHECKSUM_BYTES) != 0) {
        return corrupt(reader, error, "is damaged: it does not pass its checksum");
    }
    return STATUS_OK;
}

/* The body as it was before it was compressed; borrows from @body or the reader. */
static enum status expand(struct image_reader *reader, const struct head *head, struct slice body,
                          struct slice *content, struct error *error)
{
    size_t size;

    if (head->codec == CODEC_NONE) {
        *content = body;
        return STATUS_OK;
    }
    buffer_clear(&reader->content);
    size = ZSTD_decompressDCtx(reader->zstd, buffer_reserve(&reader->content, head->content),
                               head->content, body.data, body.size);
    if (ZSTD_isError(size) || size != head->content) {
        return corrupt(reader, error, "cannot be expanded");
    }
    *content = slice_of(reader->content.data, size);
    return STATUS_OK;
}

static enum status read_record(struct image_reader *reader, struct wire_reader *walk,
                               image_record_cb cb, void *data, struct error *error)
{
    uint16_t key_size = wire_get_u16(walk);
    uint32_t payload_size = wire_get_u32(walk);
    struct slice key = wire_get_raw(walk, key_size);
    struct slice payload = wire_get_raw(walk, payload_size);

    if (walk->failed || key.size == 0 || key.size > LIMIT_STATE_KEY_BYTES || key.data[0] == 0) {
        return corrupt(reader, error, "holds a malformed record");
    }
    if (slice_compare(key, slice_of(reader->last_key, reader->last_key_size)) <= 0) {
        return corrupt(reader, error, "holds records that are not in order");
    }
    memcpy(reader->last_key, key.data, key.size);
    reader->last_key_size = key.size;
    record_hash_add(reader->sum, key, payload);
    reader->totals.records++;
    reader->totals.content_bytes += key.size + payload.size;
    return cb == NULL ? STATUS_OK : cb(data, key, payload, error);
}

static enum status read_block(struct image_reader *reader, struct slice content, image_record_cb cb,
                              void *data, struct error *error)
{
    struct wire_reader walk = wire_reader_of(content);
    enum status status = STATUS_OK;

    while (status == STATUS_OK && walk.rest.size > 0) {
        status = read_record(reader, &walk, cb, data, error);
    }
    reader->totals.blocks++;
    return status;
}

static enum status read_trailer(struct image_reader *reader, struct slice content,
                                struct error *error)
{
    struct wire_reader walk = wire_reader_of(content);
    const struct image_totals *totals = &reader->totals;
    uint64_t blocks = wire_get_u64(&walk);
    uint64_t records = wire_get_u64(&walk);
    uint64_t content_bytes = wire_get_u64(&walk);
    struct slice digest = wire_get_raw(&walk, IMAGE_DIGEST_BYTES);

    if (wire_done(&walk) != STATUS_OK) {
        return corrupt(reader, error, "is a malformed trailer");
    }
    if (blocks != totals->blocks || records != totals->records ||
        content_bytes != totals->content_bytes ||
        !slice_equals(digest, slice_of(totals->digest, IMAGE_DIGEST_BYTES))) {
        return corrupt(reader, error, "is the trailer of other blocks");
    }
    if (reader->sum[0] != reader->facts.state.hash[0] ||
        reader->sum[1] != reader->facts.state.hash[1]) {
        return error_set(error, STATUS_CORRUPT,
                         "the records of the image are not the state that its header names: their "
                         "hash differs");
    }
    return STATUS_OK;
}

static enum status take_piece(struct image_reader *reader, const struct head *head,
                              struct slice piece, image_record_cb cb, void *data,
                              struct error *error)
{
    struct slice content;
    enum status status = expand(reader, head, slice_from(piece, IMAGE_HEAD_BYTES), &content, error);

    if (status != STATUS_OK) {
        return status;
    }
    switch ((enum image_kind)head->kind) {
    case IMAGE_HEADER:
        status = decode_facts(content, &reader->facts, error);
        reader->seed = XXH3_64bits(content.data, content.size);
        break;
    case IMAGE_BLOCK:
        status = read_block(reader, content, cb, data, error);
        break;
    case IMAGE_TRAILER:
        return read_trailer(reader, content, error);
    }
    chain(reader->digest, head->kind == IMAGE_HEADER, reader->totals.digest, piece);
    return status;
}

enum status image_reader_feed(struct image_reader *reader, struct slice piece, image_record_cb cb,
                              void *data, struct error *error)
{
    struct head head;
    enum status status;

    if (reader->stage == FAILED || reader->stage == AT_END) {
        return error_set(error, STATUS_CORRUPT,
                         reader->stage == FAILED ? "the image was found damaged before"
                                                 : "bytes follow behind the end of the image");
    }
    status = check_piece(reader, piece, &head, error);
    if (status == STATUS_OK) {
        status = take_piece(reader, &head, piece, cb, data, error);
    }
    if (status != STATUS_OK) {
        reader->stage = FAILED;
        return status;
    }
    reader->stage = head.kind == IMAGE_TRAILER ? AT_END : AT_BLOCKS;
    reader->totals.file_bytes += piece.size;
    reader->next++;
    return STATUS_OK;
}

uint64_t image_reader_next(const struct image_reader *reader)
{
    return reader->next;
}

const struct image_facts *image_reader_facts(const struct image_reader *reader)
{
    CHECK(reader->next > 0);
    return &reader->facts;
}

bool image_reader_is_done(const struct image_reader *reader)
{
    return reader->stage == AT_END;
}

const struct image_totals *image_reader_totals(const struct image_reader *reader)
{
    return &reader->totals;
}

/* --- Going on in another process --- */

void image_reader_save(const struct image_reader *reader, struct buffer *position)
{
    const struct image_totals *totals = &reader->totals;
    struct buffer facts = BUFFER_EMPTY;

    CHECK(reader->stage == AT_BLOCKS);
    encode_facts(&reader->facts, &facts);
    wire_put_u8(position, POSITION_VERSION);
    wire_put_bytes(position, buffer_slice(&facts));
    buffer_close(&facts);
    wire_put_u64(position, reader->next);
    wire_put_u64(position, totals->blocks);
    wire_put_u64(position, totals->records);
    wire_put_u64(position, totals->content_bytes);
    wire_put_u64(position, totals->file_bytes);
    buffer_append(position, totals->digest, IMAGE_DIGEST_BYTES);
    wire_put_u64(position, reader->sum[0]);
    wire_put_u64(position, reader->sum[1]);
    wire_put_bytes(position, slice_of(reader->last_key, reader->last_key_size));
}

enum status image_reader_resume(struct image_reader *reader, struct slice position)
{
    struct wire_reader walk = wire_reader_of(position);
    uint8_t version = wire_get_u8(&walk);
    struct slice facts = wire_get_bytes(&walk);
    struct image_totals *totals = &reader->totals;
    struct slice digest;
    struct slice key;

    CHECK(reader->stage == AT_HEADER);
    reader->stage = FAILED;
    reader->next = wire_get_u64(&walk);
    totals->blocks = wire_get_u64(&walk);
    totals->records = wire_get_u64(&walk);
    totals->content_bytes = wire_get_u64(&walk);
    totals->file_bytes = wire_get_u64(&walk);
    digest = wire_get_raw(&walk, IMAGE_DIGEST_BYTES);
    reader->sum[0] = wire_get_u64(&walk);
    reader->sum[1] = wire_get_u64(&walk);
    key = wire_get_bytes(&walk);
    if (version != POSITION_VERSION || wire_done(&walk) != STATUS_OK || reader->next == 0 ||
        key.size > sizeof reader->last_key ||
        decode_facts(facts, &reader->facts, NULL) != STATUS_OK) {
        return STATUS_CORRUPT;
    }
    reader->seed = XXH3_64bits(facts.data, facts.size);
    memcpy(totals->digest, digest.data, IMAGE_DIGEST_BYTES);
    if (key.size > 0) {
        memcpy(reader->last_key, key.data, key.size);
    }
    reader->last_key_size = key.size;
    reader->stage = AT_BLOCKS;
    return STATUS_OK;
}

void image_reader_close(struct image_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    EVP_MD_CTX_free(reader->digest);
    (void)ZSTD_freeDCtx(reader->zstd); /* Always 0. */
    buffer_close(&reader->content);
    free(reader);
}
