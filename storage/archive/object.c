#include "storage/archive/object.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <xxhash.h>
#include <zstd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"

#define MAGIC            "HFARCHV1"
#define MAGIC_BYTES      8u
#define PREFIX_BYTES     12u /* Magic and size. */
#define HASH_BYTES       32u
#define BLOCK_HEAD_BYTES 12u
#define MAX_HEADER_BYTES (16u << 10)
#define ZSTD_LEVEL       1

/* What seals or opens the blocks of one object. */
struct sealing {
    bool is_encrypted;
    uint8_t data_key[DATA_KEY_BYTES];
    uint8_t header_hash[HASH_BYTES];
};

static void hash_of(struct slice bytes, uint8_t hash[HASH_BYTES])
{
    CHECK(EVP_Digest(bytes.data, bytes.size, hash, NULL, EVP_sha256(), NULL) == 1);
}

/* Bytes that a block's content adds at most, without its head. */
static size_t room_for(size_t content_bytes)
{
    return ZSTD_compressBound(content_bytes) + CIPHER_TAG_BYTES;
}

static void make_nonce(uint64_t number, uint8_t nonce[CIPHER_NONCE_BYTES])
{
    memset(nonce, 0, CIPHER_NONCE_BYTES);
    for (unsigned i = 0; i < 8; i++) {
        nonce[i] = (uint8_t)(number >> 8 * i);
    }
}

/* What a block is bound to. */
static void make_associated(const struct sealing *sealing, uint64_t number, struct slice head,
                            struct buffer *associated)
{
    buffer_clear(associated);
    buffer_append(associated, sealing->header_hash, HASH_BYTES);
    wire_put_u64(associated, number);
    buffer_append_slice(associated, head);
}

static uint64_t checksum_of(struct slice associated, struct slice bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size,
                                XXH3_64bits(associated.data, associated.size));
}

/* --- Writing --- */

struct object_writer {
    int fd;
    enum object_codec codec;
    struct sealing sealing;
    ZSTD_CCtx *zstd;
    EVP_MD_CTX *hash;
    uint64_t size_bytes;
    uint64_t content_bytes;
    uint64_t number;          /* Of the next block. */
    struct buffer content;    /* Of the block that is being filled. */
    struct buffer compressed; /* Memory only. */
    struct buffer associated; /* The same. */
    struct buffer out;        /* A block, on its way. */
};

static enum status write_out(struct object_writer *writer, struct error *error)
{
    struct slice rest = buffer_slice(&writer->out);
    enum status status;

    CHECK(EVP_DigestUpdate(writer->hash, rest.data, rest.size) == 1);
    writer->size_bytes += rest.size;
    status = files_write(writer->fd, rest, "a file for the archive", error);
    buffer_clear(&writer->out);
    return status;
}

static void put_header(struct object_writer *writer, const struct object_head *head,
                       const struct master_keys *keys)
{
    struct buffer *out = &writer->out;
    uint8_t wrapped[WRAPPED_KEY_BYTES];

    buffer_append(out, MAGIC, MAGIC_BYTES);
    wire_put_u32(out, 0);
    wire_put_u8(out, (uint8_t)head->kind);
    wire_put_u8(out, (uint8_t)head->codec);
    wire_put_u8(out, keys == NULL ? 0 : 1);
    wire_put_u8(out, 0);
    wire_put_bytes(out, slice_of_string(head->name));
    if (keys == NULL) {
        wire_put_bytes(out, slice_of("", 0));
        wire_put_bytes(out, slice_of("", 0));
    } else {
        master_keys_wrap_new(keys, writer->sealing.data_key, wrapped);
        wire_put_bytes(out, slice_of_string(master_keys_current(keys)));
        wire_put_bytes(out, slice_of(wrapped, sizeof wrapped));
    }
    wire_put_bytes(out, head->facts);
    wire_set_u32(out, MAGIC_BYTES, (uint32_t)(out->size + HASH_BYTES));
    CHECK(out->size + HASH_BYTES <= MAX_HEADER_BYTES);
    hash_of(buffer_slice(out), writer->sealing.header_hash);
    buffer_append(out, writer->sealing.header_hash, HASH_BYTES);
}

enum status object_writer_open(const struct object_head *head, const struct master_keys *keys,
                               int fd, struct object_writer **writer, struct error *error)
{
    struct object_writer *opened;
    enum status status;

    CHECK(strlen(head->name) <= REPOSITORY_NAME_BYTES);
    CHECK(head->facts.size <= OBJECT_FACTS_BYTES);

    opened = memory_new_zeroed(1, sizeof *opened);
    opened->fd = fd;
    opened->codec = head->codec;
    opened->sealing.is_encrypted = keys != NULL;
    opened->hash = EVP_MD_CTX_new();
    CHECK(opened->hash != NULL && EVP_DigestInit_ex(opened->hash, EVP_sha256(), NULL) == 1);
    opened->zstd = ZSTD_createCCtx();
    CHECK(opened->zstd != NULL);
    put_header(opened, head, keys);
    status = write_out(opened, error);
    if (status != STATUS_OK) {
        object_writer_close(opened);
        return status;
    }
    *writer = opened;
    return STATUS_OK;
}

static struct slice encode(struct object_writer *writer)
{
    struct slice content = buffer_slice(&writer->content);
    size_t bound = ZSTD_compressBound(content.size);
    size_t size;

    if (writer->codec == OBJECT_PLAIN) {
        return content;
    }
    buffer_clear(&writer->compressed);
    size = ZSTD_compressCCtx(writer->zstd, buffer_reserve(&writer->compressed, bound), bound,
                             content.data, content.size, ZSTD_LEVEL);
    CHECK(!ZSTD_isError(size));
    return slice_of(writer->compressed.data, size);
}

/* Write the block that was filled. */
static enum status put_block(struct object_writer *writer, bool is_last, struct error *error)
{
    struct slice encoded = encode(writer);
    size_t tail = writer->sealing.is_encrypted ? CIPHER_TAG_BYTES : sizeof(uint64_t);
    uint8_t nonce[CIPHER_NONCE_BYTES];

    wire_put_u32(&writer->out, (uint32_t)(encoded.size + tail));
    wire_put_u32(&writer->out, (uint32_t)writer->content.size);
    wire_put_u32(&writer->out, is_last ? 1 : 0);
    make_associated(&writer->sealing, writer->number, buffer_slice(&writer->out),
                    &writer->associated);
    if (writer->sealing.is_encrypted) {
        make_nonce(writer->number, nonce);
        cipher_seal(writer->sealing.data_key, nonce, buffer_slice(&writer->associated), encoded,
                    buffer_extend(&writer->out, encoded.size + tail));
    } else {
        buffer_append_slice(&writer->out, encoded);
        wire_put_u64(&writer->out, checksum_of(buffer_slice(&writer->associated), encoded));
    }
    writer->number++;
    buffer_clear(&writer->content);
    return write_out(writer, error);
}

enum status object_writer_add(struct object_writer *writer, struct slice content,
                              struct error *error)
{
    enum status status = STATUS_OK;

    writer->content_bytes += content.size;
    CHECK(writer->content_bytes <= OBJECT_CONTENT_BYTES);
    while (content.size > 0 && status == STATUS_OK) {
        size_t room = OBJECT_BLOCK_BYTES - writer->content.size;
        size_t size = content.size < room ? content.size : room;

        buffer_append(&writer->content, content.data, size);
        content = slice_from(content, size);
        if (writer->content.size == OBJECT_BLOCK_BYTES && content.size > 0) {
            status = put_block(writer, false, error);
        } else if (writer->content.size == OBJECT_BLOCK_BYTES) {
            return STATUS_OK; /* Whether it is the last one shows with what comes. */
        }
    }
    return status;
}

enum status object_writer_finish(struct object_writer *writer, struct repository_content *content,
                                 struct error *error)
{
    enum status status = put_block(writer, true, error);

    if (status != STATUS_OK) {
        return status;
    }
    CHECK(writer->size_bytes <= REPOSITORY_OBJECT_BYTES);
    content->fd = writer->fd;
    content->size_bytes = writer->size_bytes;
    CHECK(EVP_DigestFinal_ex(writer->hash, content->sha256, NULL) == 1);
    return STATUS_OK;
}

void object_writer_close(struct object_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    OPENSSL_cleanse(&writer->sealing, sizeof writer->sealing);
    EVP_MD_CTX_free(writer->hash);
    (void)ZSTD_freeCCtx(writer->zstd); /* Gives nothing but 0. */
    buffer_close(&writer->content);
    buffer_close(&writer->compressed);
    buffer_close(&writer->associated);
    buffer_close(&writer->out);
    free(writer);
}

/* --- Reading --- */

struct reader {
    const struct object_reading *reading;
    struct error *error;
    struct sealing sealing;
    enum object_codec codec;
    EVP_MD_CTX *hash;
    uint64_t offset;       /* Read so far. */
    struct buffer bytes;   /* Read, and not looked at. */
    bool is_at_end;        /* Of the object. */
    uint64_t number;       /* Of the next block. */
    struct buffer content; /* Memory only. */
    struct buffer plain;   /* The same. */
    struct buffer associated;
};

static enum status damaged(struct reader *reader, const char *why)
{
    return error_set(reader->error, STATUS_CORRUPT, "\"%s\" in %s is damaged: %s",
                     reader->reading->name, repository_url(reader->reading->repository), why);
}

/* Have @size bytes to look at. STATUS_END: the object ends before. */
static enum status want(struct reader *reader, size_t size)
{
    const struct object_reading *reading = reader->reading;

    while (reader->bytes.size < size && !reader->is_at_end) {
        size_t before = reader->bytes.size;
        size_t wanted = reading->on_content == NULL ? MAX_HEADER_BYTES : OBJECT_READ_BYTES;
        enum status status = repository_read(reading->repository, reading->name, reader->offset,
                                             wanted, &reader->bytes, reader->error);
        size_t got = reader->bytes.size - before;

        if (status != STATUS_OK) {
            return status;
        }
        if (got > 0) {
            CHECK(EVP_DigestUpdate(reader->hash, reader->bytes.data + before, got) == 1);
        }
        reader->offset += got;
        reader->is_at_end = got < wanted;
    }
    return reader->bytes.size < size ? STATUS_END : STATUS_OK;
}

static enum status take_key(struct reader *reader, struct slice name, struct slice wrapped)
{
    char text[LIMIT_NAME_BYTES + 1] = "";

    if (wrapped.size != WRAPPED_KEY_BYTES || name.size > LIMIT_NAME_BYTES) {
        return damaged(reader, "it has no data key");
    }
    memcpy(text, name.data, name.size);
    if (master_keys_unwrap(reader->reading->keys, text, wrapped.data, reader->sealing.data_key,
                           reader->error) != STATUS_OK) {
        return error_prefix(reader->error, "could not decrypt \"%s\"", reader->reading->name);
    }
    return STATUS_OK;
}

static enum status read_fields(struct reader *reader, struct slice header, struct slice *facts)
{
    struct wire_reader fields = wire_reader_of(slice_from(header, PREFIX_BYTES));
    unsigned kind = wire_get_u8(&fields);
    unsigned codec = wire_get_u8(&fields);
    unsigned cipher = wire_get_u8(&fields);
    unsigned zero = wire_get_u8(&fields);
    struct slice name = wire_get_bytes(&fields);
    struct slice key_name = wire_get_bytes(&fields);
    struct slice wrapped = wire_get_bytes(&fields);

    *facts = wire_get_bytes(&fields);
    if (wire_done(&fields) != STATUS_OK) {
        return damaged(reader, "its header makes no sense");
    }
    if (codec > OBJECT_ZSTD || cipher > 1 || zero != 0) {
        return error_set(reader->error, STATUS_UNSUPPORTED, "\"%s\" needs a later program",
                         reader->reading->name);
    }
    if (!slice_equals_string(name, reader->reading->name) ||
        kind != (unsigned)reader->reading->kind) {
        return damaged(reader, "it is another object");
    }
    reader->codec = (enum object_codec)codec;
    reader->sealing.is_encrypted = cipher == 1;
    return cipher == 1 ? take_key(reader, key_name, wrapped) : STATUS_OK;
}

static enum status read_header(struct reader *reader)
{
    struct wire_reader prefix;
    uint8_t hash[HASH_BYTES];
    struct slice header;
    struct slice facts;
    uint32_t size;
    enum status status = want(reader, PREFIX_BYTES);

    if (status == STATUS_END ||
        (status == STATUS_OK && memcmp(reader->bytes.data, MAGIC, MAGIC_BYTES) != 0)) {
        return damaged(reader, "it is no object of the archive");
    }
    if (status != STATUS_OK) {
        return status;
    }
    prefix = wire_reader_of(slice_of(reader->bytes.data + MAGIC_BYTES, sizeof size));
    size = wire_get_u32(&prefix);
    if (size < PREFIX_BYTES + HASH_BYTES || size > MAX_HEADER_BYTES) {
        return damaged(reader, "its header makes no sense");
    }
    status = want(reader, size);
    if (status != STATUS_OK) {
        return status == STATUS_END ? damaged(reader, "its header is cut off") : status;
    }
    header = slice_of(reader->bytes.data, size - HASH_BYTES);
    hash_of(header, hash);
    if (memcmp(hash, header.data + header.size, HASH_BYTES) != 0) {
        return damaged(reader, "the hash of its header is wrong");
    }
    memcpy(reader->sealing.header_hash, hash, HASH_BYTES);
    status = read_fields(reader, header, &facts);
    if (status == STATUS_OK && reader->reading->on_facts != NULL) {
        status = reader->reading->on_facts(reader->reading->data, facts, reader->error);
    }
    buffer_consume(&reader->bytes, size);
    return status;
}

/* The block's bytes as the codec left them. */
static enum status open_block(struct reader *reader, struct slice block, struct slice *encoded)
{
    struct slice sealed = slice_from(block, BLOCK_HEAD_BYTES);
    size_t tail = reader->sealing.is_encrypted ? CIPHER_TAG_BYTES : sizeof(uint64_t);
    uint8_t nonce[CIPHER_NONCE_BYTES];

    if (sealed.size < tail) {
        return STATUS_CORRUPT;
    }
    make_associated(&reader->sealing, reader->number, slice_of(block.data, BLOCK_HEAD_BYTES),
                    &reader->associated);
    if (reader->sealing.is_encrypted) {
        make_nonce(reader->number, nonce);
        buffer_clear(&reader->plain);
        *encoded = slice_of(buffer_reserve(&reader->plain, sealed.size), sealed.size - tail);
        return cipher_open(reader->sealing.data_key, nonce, buffer_slice(&reader->associated),
                           sealed, reader->plain.data);
    } else {
        struct wire_reader checksum = wire_reader_of(slice_from(sealed, sealed.size - tail));

        *encoded = slice_of(sealed.data, sealed.size - tail);
        return wire_get_u64(&checksum) == checksum_of(buffer_slice(&reader->associated), *encoded)
                   ? STATUS_OK
                   : STATUS_CORRUPT;
    }
}

static enum status decode(struct reader *reader, struct slice encoded, size_t content_bytes,
                          struct slice *content)
{
    size_t size;

    if (reader->codec == OBJECT_PLAIN) {
        *content = encoded;
        return encoded.size == content_bytes ? STATUS_OK : STATUS_CORRUPT;
    }
    buffer_clear(&reader->content);
    size = ZSTD_decompress(buffer_reserve(&reader->content, content_bytes), content_bytes,
                           encoded.data, encoded.size);
    *content = slice_of(reader->content.data, content_bytes);
    return ZSTD_isError(size) || size != content_bytes ? STATUS_CORRUPT : STATUS_OK;
}

static enum status read_block(struct reader *reader, bool *is_last)
{
    struct wire_reader head;
    struct slice content;
    struct slice encoded;
    uint32_t size;
    uint32_t content_bytes;
    uint32_t last;
    enum status status = want(reader, BLOCK_HEAD_BYTES);

    if (status != STATUS_OK) {
        return status == STATUS_END ? damaged(reader, "it is cut off") : status;
    }
    head = wire_reader_of(buffer_slice(&reader->bytes));
    size = wire_get_u32(&head);
    content_bytes = wire_get_u32(&head);
    last = wire_get_u32(&head);
    if (last > 1 || content_bytes > OBJECT_BLOCK_BYTES || size > room_for(OBJECT_BLOCK_BYTES)) {
        return damaged(reader, "a block makes no sense");
    }
    status = want(reader, BLOCK_HEAD_BYTES + size);
    if (status != STATUS_OK) {
        return status == STATUS_END ? damaged(reader, "it is cut off") : status;
    }
    if (open_block(reader, slice_of(reader->bytes.data, BLOCK_HEAD_BYTES + size), &encoded) !=
            STATUS_OK ||
        decode(reader, encoded, content_bytes, &content) != STATUS_OK) {
        return damaged(reader, reader->sealing.is_encrypted ? "a block is not what was encrypted"
                                                            : "the checksum of a block is wrong");
    }
    *is_last = last == 1;
    reader->number++;
    status = reader->reading->on_content(reader->reading->data, content, reader->error);
    buffer_consume(&reader->bytes, BLOCK_HEAD_BYTES + size);
    return status;
}

/* Nothing follows, and the whole is what it should be. */
static enum status check_end(struct reader *reader)
{
    uint8_t hash[HASH_BYTES];
    enum status status = want(reader, 1);

    if (status == STATUS_OK) {
        return damaged(reader, "something follows its end");
    }
    if (status != STATUS_END) {
        return status;
    }
    CHECK(EVP_DigestFinal_ex(reader->hash, hash, NULL) == 1);
    if (reader->reading->sha256 != NULL && memcmp(hash, reader->reading->sha256, HASH_BYTES) != 0) {
        return damaged(reader, "its hash is not the one in the manifest");
    }
    return STATUS_OK;
}

enum status object_read(const struct object_reading *reading, struct error *error)
{
    struct reader reader = {.reading = reading, .error = error, .hash = EVP_MD_CTX_new()};
    bool is_last = reading->on_content == NULL;
    enum status status;

    CHECK(reader.hash != NULL && EVP_DigestInit_ex(reader.hash, EVP_sha256(), NULL) == 1);
    status = read_header(&reader);
    while (status == STATUS_OK && !is_last) {
        status = read_block(&reader, &is_last);
    }
    if (status == STATUS_OK && reading->on_content != NULL) {
        status = check_end(&reader);
    }
    OPENSSL_cleanse(&reader.sealing, sizeof reader.sealing);
    EVP_MD_CTX_free(reader.hash);
    buffer_close(&reader.bytes);
    buffer_close(&reader.content);
    buffer_close(&reader.plain);
    buffer_close(&reader.associated);
    return status;
}
