/* 1. The state is exported to a file without a name.
 * 2. It is cut into segments: each becomes an object in a second file, and is created.
 * 3. The manifest is created. From then on the full is there. */
#include "storage/archive/full.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/image_export.h"

#define COPY_BYTES      IMAGE_BLOCK_BYTES /* As while it is exported. */
#define CREATE_ATTEMPTS 3

enum status full_work_file(const char *directory, int *fd, struct error *error)
{
    int opened = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (opened < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) { /* Not every file system can. */
        char *path = files_join(directory, "/work-XXXXXX");

        opened = mkostemp(path, O_CLOEXEC);
        if (opened >= 0) {
            (void)unlink(path); /* If it stays, it is in the way of nothing. */
        }
        free(path);
    }
    if (opened < 0) {
        return files_error("make a file in", directory, error);
    }
    *fd = opened;
    return STATUS_OK;
}

/* --- Making --- */

struct making {
    const struct full_making *options;
    struct manifest manifest;
    char directory[NAMES_BYTES];
    int image_fd;
    int object_fd;
};

static enum status tell(const struct making *making, uint64_t bytes, struct error *error)
{
    return making->options->on_progress(making->options->data, bytes, error);
}

static enum status on_exported(void *data, const struct image_facts *facts, uint64_t bytes,
                               struct error *error)
{
    (void)facts;
    return tell(data, bytes, error);
}

static enum status export_state(struct making *making, struct error *error)
{
    struct image_totals totals;
    const struct image_export options = {
        .store = making->options->store,
        .cluster_id = making->options->cluster_id,
        .fd = making->image_fd,
        .on_progress = on_exported,
        .data = making,
    };
    struct manifest *manifest = &making->manifest;
    enum status status = image_export(&options, &manifest->facts, &totals, error);

    if (status != STATUS_OK) {
        return status;
    }
    store_state_hash(&manifest->facts.state, manifest->state_hash);
    manifest->image_bytes = totals.file_bytes;
    manifest->records = totals.records;
    manifest->content_bytes = totals.content_bytes;
    memcpy(manifest->digest, totals.digest, sizeof manifest->digest);
    return STATUS_OK;
}

/* Our name is taken only by an earlier attempt of ours whose outcome was not known. */
static enum status create(const struct making *making, const char *name,
                          const struct repository_content *content, struct error *error)
{
    enum status status = STATUS_UNCERTAIN;

    for (unsigned i = 0; i < CREATE_ATTEMPTS && status == STATUS_UNCERTAIN; i++) {
        status = repository_create(making->options->repository, name, content, error);
        if (status == STATUS_EXISTS && i > 0) {
            status = STATUS_OK;
        }
    }
    return status;
}

/* The next @size bytes of the image. */
static enum status copy_content(const struct making *making, struct object_writer *writer,
                                uint64_t offset, uint64_t size, struct error *error)
{
    uint8_t *bytes = memory_new(COPY_BYTES);
    uint64_t done = 0;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && done < size) {
        uint64_t left = size - done;
        ssize_t n = pread(making->image_fd, bytes, left < COPY_BYTES ? (size_t)left : COPY_BYTES,
                          (off_t)(offset + done));

        if (n > 0) {
            status = object_writer_add(writer, slice_of(bytes, (size_t)n), error);
            status = status == STATUS_OK ? tell(making, (uint64_t)n, error) : status;
            done += (uint64_t)n;
        } else if (n == 0 || errno != EINTR) {
            status = files_error("read an image in", making->options->work_directory, error);
        }
    }
    free(bytes);
    return status;
}

static enum status rewind_file(int fd, const char *directory, struct error *error)
{
    if (lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0) {
        return files_error("use a file in", directory, error);
    }
    return STATUS_OK;
}

static enum status make_segment(struct making *making, unsigned i, uint64_t offset,
                                struct error *error)
{
    struct manifest_segment *segment = &making->manifest.segments[i];
    struct repository_content content;
    struct object_writer *writer;
    char name[NAMES_BYTES];
    const struct object_head head = {
        .kind = OBJECT_SEGMENT, .codec = OBJECT_PLAIN, .name = name, .facts = slice_of("", 0)};
    enum status status = rewind_file(making->object_fd, making->options->work_directory, error);

    names_segment(making->directory, i, name);
    if (status == STATUS_OK) {
        status =
            object_writer_open(&head, making->options->keys, making->object_fd, &writer, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = copy_content(making, writer, offset, segment->content_bytes, error);
    if (status == STATUS_OK) {
        status = object_writer_finish(writer, &content, error);
    }
    object_writer_close(writer);
    if (status == STATUS_OK) {
        segment->size_bytes = content.size_bytes;
        memcpy(segment->sha256, content.sha256, sizeof segment->sha256);
        status = create(making, name, &content, error);
    }
    return status;
}

static enum status make_segments(struct making *making, struct error *error)
{
    struct manifest *manifest = &making->manifest;
    uint64_t n = (manifest->image_bytes + OBJECT_CONTENT_BYTES - 1) / OBJECT_CONTENT_BYTES;
    uint64_t offset = 0;
    enum status status = STATUS_OK;

    if (n > MANIFEST_SEGMENTS) {
        return error_set(error, STATUS_TOO_LARGE,
                         "the state is too large for one full: %" PRIu64 " segments", n);
    }
    manifest->n_segments = (unsigned)n;
    manifest->segments = memory_new_zeroed(n, sizeof *manifest->segments);
    for (unsigned i = 0; i < n && status == STATUS_OK; i++) {
        uint64_t left = manifest->image_bytes - offset;

        manifest->segments[i].content_bytes =
            left < OBJECT_CONTENT_BYTES ? left : OBJECT_CONTENT_BYTES;
        status = make_segment(making, i, offset, error);
        offset += manifest->segments[i].content_bytes;
    }
    return status;
}

static enum status make_manifest(struct making *making, struct error *error)
{
    struct buffer json = BUFFER_EMPTY;
    struct repository_content content = {.fd = making->object_fd};
    char name[NAMES_BYTES];
    enum status status = rewind_file(making->object_fd, making->options->work_directory, error);

    manifest_encode(&making->manifest, &json);
    names_manifest(making->directory, name);
    content.size_bytes = json.size;
    CHECK(EVP_Digest(json.data, json.size, content.sha256, NULL, EVP_sha256(), NULL) == 1);
    if (status == STATUS_OK &&
        pwrite(making->object_fd, json.data, json.size, 0) != (ssize_t)json.size) {
        status = files_error("write a manifest in", making->options->work_directory, error);
    }
    buffer_close(&json);
    return status == STATUS_OK ? create(making, name, &content, error) : status;
}

static void put_origin(const struct full_making *options, struct manifest *manifest)
{
    (void)snprintf(manifest->node, sizeof manifest->node, "%s", options->node);
    (void)snprintf(manifest->program, sizeof manifest->program, "%s", options->program);
    (void)snprintf(manifest->key, sizeof manifest->key, "%s",
                   options->keys == NULL ? "" : master_keys_current(options->keys));
    manifest->created_ms = options->now_ms;
}

static enum status make(struct making *making, struct error *error)
{
    uint32_t token;
    enum status status;

    put_origin(making->options, &making->manifest);
    status = export_state(making, error);
    if (status != STATUS_OK) {
        return status;
    }
    CHECK(RAND_bytes((unsigned char *)&token, sizeof token) == 1);
    names_full_directory(making->options->base, making->manifest.facts.state.applied_index, token,
                         making->directory);
    status = make_segments(making, error);
    return status == STATUS_OK ? make_manifest(making, error) : status;
}

enum status full_create(const struct full_making *options, struct manifest *manifest,
                        char directory[NAMES_BYTES], struct error *error)
{
    struct making making = {.options = options, .image_fd = -1, .object_fd = -1};
    enum status status = full_work_file(options->work_directory, &making.image_fd, error);

    if (status == STATUS_OK) {
        status = full_work_file(options->work_directory, &making.object_fd, error);
    }
    if (status == STATUS_OK) {
        status = make(&making, error);
    }
    if (making.image_fd >= 0) {
        (void)close(making.image_fd); /* It is gone now. */
    }
    if (making.object_fd >= 0) {
        (void)close(making.object_fd); /* The same. */
    }
    if (status != STATUS_OK) {
        manifest_close(&making.manifest);
        return status;
    }
    *manifest = making.manifest;
    memcpy(directory, making.directory, sizeof making.directory);
    return STATUS_OK;
}

/* --- Reading --- */

enum status full_manifest(struct repository *repository, const char *directory,
                          struct manifest *manifest, struct error *error)
{
    struct buffer json = BUFFER_EMPTY;
    struct names_parsed parsed;
    char name[NAMES_BYTES];
    enum status status;

    names_manifest(directory, name);
    status = repository_read(repository, name, 0, MANIFEST_BYTES, &json, error);
    if (status == STATUS_OK) {
        status = manifest_decode(buffer_slice(&json), manifest, error);
        if (status != STATUS_OK) {
            status = error_prefix(error, "\"%s\" in %s", name, repository_url(repository));
        }
    }
    buffer_close(&json);
    if (status != STATUS_OK) {
        return status;
    }
    if (!names_parse(name, &parsed) || parsed.index != manifest->facts.state.applied_index ||
        strncmp(name, manifest->facts.cluster_id, NAMES_CLUSTER_BYTES) != 0) {
        manifest_close(manifest);
        return error_set(error, STATUS_CORRUPT, "\"%s\" in %s is the manifest of another full",
                         name, repository_url(repository));
    }
    return STATUS_OK;
}

enum status full_read(struct repository *repository, const char *directory,
                      const struct manifest *manifest, const struct master_keys *keys,
                      object_content_cb cb, void *data, struct error *error)
{
    char name[NAMES_BYTES];
    struct object_reading reading = {.repository = repository,
                                     .name = name,
                                     .kind = OBJECT_SEGMENT,
                                     .keys = keys,
                                     .on_content = cb,
                                     .data = data};
    enum status status = STATUS_OK;

    for (unsigned i = 0; i < manifest->n_segments && status == STATUS_OK; i++) {
        names_segment(directory, i, name);
        reading.sha256 = manifest->segments[i].sha256;
        status = object_read(&reading, error);
        if (status == STATUS_NOT_FOUND) {
            status = error_prefix(error, "a segment is missing");
        }
    }
    return status;
}
