/* One PUT with "If-None-Match: *". An attempt that ended without an answer may have been carried
 * out; the next one then finds the name taken. Each call puts a number of its own, which it draws,
 * into the object's metadata, so that it knows its object from another's. */
#include "storage/archive/s3_create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "daemon/base/check.h"
#include "daemon/base/hex.h"
#include "daemon/base/memory.h"

#define PROBE          ".create-only" /* No name of an object begins so. */
#define CREATION_BYTES 16u
#define CREATION_HEX   (2 * CREATION_BYTES + 1)
#define META_CREATION  "x-amz-meta-creation"
#define MD5_BYTES      16u
#define MD5_BASE64     25u /* With its NUL. */
#define COPY_BYTES     (256u << 10)
#define RETAIN_BYTES   sizeof "2026-01-31T12:00:00Z"
#define MAX_ANSWER     (64u << 10)
#define DAY_S          86400

/* --- What is sent --- */

struct upload {
    const struct repository_content *content;
    EVP_MD_CTX *hash; /* Of what was read so far, in order. */
};

static enum status read_content(const struct repository_content *content, uint64_t offset,
                                uint8_t *bytes, size_t size, size_t *n, struct error *error)
{
    ssize_t done;

    do {
        done = pread(content->fd, bytes, size, (off_t)offset);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return error_set(error, status_from_errno(errno), "what is to be sent cannot be read: %s",
                         strerror(errno));
    }
    if (done == 0) {
        return error_set(error, STATUS_CORRUPT, "what is to be sent was cut off");
    }
    *n = (size_t)done;
    return STATUS_OK;
}

/* The last piece is given away only if all of them are what the hash says: without it the server
 * has no object, however it treats hashes. */
static enum status read_upload(void *data, uint64_t offset, uint8_t *bytes, size_t size, size_t *n,
                               struct error *error)
{
    struct upload *upload = data;
    const struct repository_content *content = upload->content;
    uint8_t sha256[EVP_MAX_MD_SIZE];
    size_t got;
    enum status status = read_content(content, offset, bytes, size, &got, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (offset == 0) {
        CHECK(EVP_DigestInit_ex(upload->hash, EVP_sha256(), NULL) == 1);
    }
    CHECK(EVP_DigestUpdate(upload->hash, bytes, got) == 1);
    if (offset + got == content->size_bytes) {
        CHECK(EVP_DigestFinal_ex(upload->hash, sha256, NULL) == 1);
        if (memcmp(sha256, content->sha256, sizeof content->sha256) != 0) {
            return error_set(error, STATUS_CORRUPT, "what is to be sent is not what its hash says");
        }
    }
    *n = got;
    return STATUS_OK;
}

/* S3 wants this one beside a lock. */
static enum status write_md5(const struct repository_content *content, char base64[MD5_BASE64],
                             struct error *error)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    uint8_t *block = memory_new(COPY_BYTES);
    uint8_t md5[EVP_MAX_MD_SIZE];
    uint64_t offset = 0;
    enum status status = STATUS_OK;

    CHECK(hash != NULL);
    if (EVP_DigestInit_ex(hash, EVP_md5(), NULL) != 1) {
        status =
            error_set(error, STATUS_UNSUPPORTED, "an object lock needs MD5, which is disabled");
    }
    while (status == STATUS_OK && offset < content->size_bytes) {
        uint64_t left = content->size_bytes - offset;
        size_t n;

        status = read_content(content, offset, block, left < COPY_BYTES ? (size_t)left : COPY_BYTES,
                              &n, error);
        if (status == STATUS_OK) {
            CHECK(EVP_DigestUpdate(hash, block, n) == 1);
            offset += n;
        }
    }
    if (status == STATUS_OK) {
        CHECK(EVP_DigestFinal_ex(hash, md5, NULL) == 1);
        CHECK(EVP_EncodeBlock((unsigned char *)base64, md5, MD5_BYTES) == MD5_BASE64 - 1);
    }
    EVP_MD_CTX_free(hash);
    free(block);
    return status;
}

/* --- The call --- */

/* The texts that the call's fields point to. */
struct creation {
    struct s3_call call;
    struct upload upload;
    char sha256[SIGV4_HEX_BYTES];
    char creation[CREATION_HEX];
    char md5[MD5_BASE64];
    char retain_until[RETAIN_BYTES];
};

static void add_field(struct s3_call *call, const char *name, const char *value)
{
    size_t n = 0;

    while (call->fields[n].name != NULL) {
        n++;
        CHECK(n < S3_CALL_PAIRS);
    }
    call->fields[n] = (struct sigv4_pair){.name = name, .value = value};
}

static enum status add_lock(struct s3_service *service, struct creation *creation,
                            struct error *error)
{
    const struct s3_settings *settings = &service->settings;
    time_t until = s3_service_now(service) + (time_t)settings->retain_days * DAY_S;
    struct tm parts;

    if (settings->lock == S3_LOCK_NONE) {
        return STATUS_OK;
    }
    CHECK(gmtime_r(&until, &parts) != NULL);
    CHECK(strftime(creation->retain_until, RETAIN_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0);
    add_field(&creation->call, "x-amz-object-lock-mode",
              settings->lock == S3_LOCK_GOVERNANCE ? "GOVERNANCE" : "COMPLIANCE");
    add_field(&creation->call, "x-amz-object-lock-retain-until-date", creation->retain_until);
    add_field(&creation->call, "content-md5", creation->md5);
    return write_md5(creation->upload.content, creation->md5, error);
}

static enum status prepare_creation(struct s3_service *service, const char *name,
                                    const struct repository_content *content,
                                    struct creation *creation, struct error *error)
{
    uint8_t drawn[CREATION_BYTES];

    *creation = (struct creation){
        .call = {.method = "PUT",
                 .name = name,
                 .body_sha256 = creation->sha256,
                 .read = read_upload,
                 .size_bytes = content->size_bytes,
                 .max_body = MAX_ANSWER,
                 .user = &creation->upload},
        .upload = {.content = content, .hash = EVP_MD_CTX_new()},
    };
    CHECK(creation->upload.hash != NULL);
    CHECK(RAND_bytes(drawn, sizeof drawn) == 1);
    hex_text(drawn, sizeof drawn, creation->creation);
    hex_text(content->sha256, sizeof content->sha256, creation->sha256);
    add_field(&creation->call, "if-none-match", "*");
    add_field(&creation->call, S3_META_SHA256, creation->sha256);
    add_field(&creation->call, META_CREATION, creation->creation);
    return add_lock(service, creation, error);
}

static bool is_ours(const struct exchange_answer *answer, const struct creation *creation)
{
    char size[24];

    (void)snprintf(size, sizeof size, "%" PRIu64, creation->upload.content->size_bytes);
    return slice_equals_string(exchange_field(answer, META_CREATION), creation->creation) &&
           slice_equals_string(exchange_field(answer, S3_META_SHA256), creation->sha256) &&
           slice_equals_string(exchange_field(answer, "content-length"), size);
}

/* Something has the name, and an attempt of ours may have put it there: look whose it is. */
static enum status find_owner(struct s3_service *service, const struct creation *creation,
                              struct error *error)
{
    struct s3_call call = {.method = "HEAD", .name = creation->call.name, .max_body = MAX_ANSWER};
    struct error why = {.text = "it does not say"};
    enum status status = s3_call_run(service, &call, &why);

    if (status != STATUS_OK || exchange_field(&call.answer, META_CREATION).size == 0) {
        status = error_set(error, STATUS_UNCERTAIN,
                           "an attempt had no answer, the next one found the name taken, and by "
                           "whom cannot be known: %s",
                           why.text);
    } else if (!is_ours(&call.answer, creation)) {
        status = error_set(error, STATUS_EXISTS, "it is there already");
    }
    s3_call_close(&call);
    return status;
}

/* --- Whether the server heeds conditions --- */

/* The second of two who create the same thing must be told that it is there; if it has been there
 * from an earlier time, already the first. What is sent is empty. */
static enum status try_out(struct s3_service *service, struct error *error)
{
    enum status status = STATUS_OK;

    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        struct s3_call call = {.method = "PUT",
                               .name = PROBE,
                               .fields = {{"if-none-match", "*"}},
                               .max_body = MAX_ANSWER};

        status = s3_call_run(service, &call, error);
        s3_call_close(&call);
    }
    if (status == STATUS_OK) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the server lets two create the same object (\"If-None-Match: *\" is not "
                         "heeded), perhaps as the bucket has versions");
    }
    if (status != STATUS_EXISTS) {
        return status;
    }
    service->is_tried_out = true;
    return STATUS_OK;
}

enum status s3_create(struct s3_service *service, const char *name,
                      const struct repository_content *content, struct error *error)
{
    struct creation creation;
    enum status status = STATUS_OK;

    if (!service->is_tried_out && !service->limits.trusts_server) {
        status = try_out(service, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = prepare_creation(service, name, content, &creation, error);
    if (status == STATUS_OK) {
        status = s3_call_run(service, &creation.call, error);
        if (status == STATUS_EXISTS) {
            status = creation.call.is_uncertain
                         ? find_owner(service, &creation, error)
                         : error_set(error, STATUS_EXISTS, "it is there already");
        } else if (status != STATUS_OK && creation.call.is_uncertain) {
            status = STATUS_UNCERTAIN; /* Whatever came behind. */
        }
    }
    s3_call_close(&creation.call);
    EVP_MD_CTX_free(creation.upload.hash);
    return status;
}
