/* Whatever is read from a repository is refused, or is what it says: objects, deltas, manifests,
 * names, steps. The first byte chooses; headers of objects are given their right hash, to get past
 * that. */
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"
#include "storage/archive/delta.h"
#include "storage/archive/manifest.h"
#include "storage/archive/repository_private.h"

#define BASE       "01234567-89ab-cdef-0123-456789abcdef/cluster/"
#define NAME       BASE "log/00000000000000000001"
#define HASH_BYTES 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- A repository of one object --- */

static struct slice the_object;

static enum status read_object(struct repository *repository, const char *name, uint64_t offset,
                               size_t size, struct buffer *bytes, struct error *error)
{
    struct slice rest;

    (void)repository;
    (void)name;
    (void)error;
    if (offset < the_object.size) {
        rest = slice_from(the_object, (size_t)offset);
        buffer_append(bytes, rest.data, rest.size < size ? rest.size : size);
    }
    return STATUS_OK;
}

static const struct repository_kind kind = {.schemes = {"fuzz"}, .read = read_object};
static struct repository repository = {.kind = &kind, .url = (char *)(uintptr_t) "fuzz://"};

/* --- What is read --- */

static enum status on_bytes(void *data, struct slice bytes, struct error *error)
{
    (void)error;
    *(size_t *)data += bytes.size;
    return STATUS_OK;
}

static enum status on_step(void *data, const struct step *step, struct error *error)
{
    uint64_t *last_index = data;

    (void)error;
    CHECK(step->first_index == *last_index + 1);
    *last_index = step->index;
    return STATUS_OK;
}

static void try_object(struct slice bytes)
{
    struct error error;
    size_t total = 0;
    const struct object_reading reading = {.repository = &repository,
                                           .name = NAME,
                                           .kind = OBJECT_DELTA,
                                           .on_facts = on_bytes,
                                           .on_content = on_bytes,
                                           .data = &total};

    the_object = bytes;
    (void)object_read(&reading, &error); /* That it comes back is what is looked at. */
}

/* A header of the size that it says, with the right hash. */
static void try_sealed_object(struct slice bytes)
{
    struct buffer sealed = BUFFER_EMPTY;
    struct wire_reader size_field;
    size_t size;

    if (bytes.size < 12 + HASH_BYTES) {
        return;
    }
    buffer_append_slice(&sealed, bytes);
    memcpy(sealed.data, "HFARCHV1", 8);
    size_field = wire_reader_of(slice_of(sealed.data + 8, 4));
    size = wire_get_u32(&size_field);
    if (size >= 12 + HASH_BYTES && size <= sealed.size) {
        CHECK(EVP_Digest(sealed.data, size - HASH_BYTES, sealed.data + size - HASH_BYTES, NULL,
                         EVP_sha256(), NULL) == 1);
    }
    try_object(buffer_slice(&sealed));
    buffer_close(&sealed);
}

/* An object in which nothing is wrong but what it holds. */
static void try_delta(struct slice facts_and_steps)
{
    struct object_head head = {.kind = OBJECT_DELTA, .codec = OBJECT_ZSTD, .name = NAME};
    struct buffer bytes = BUFFER_EMPTY;
    struct repository_content content;
    struct object_writer *writer;
    struct delta_facts facts;
    struct error error;
    uint64_t last_index = 0;
    int fd;

    if (facts_and_steps.size < 80) {
        return;
    }
    fd = memfd_create("object", MFD_CLOEXEC);
    CHECK(fd >= 0);
    head.facts = slice_of(facts_and_steps.data, 80);
    CHECK(object_writer_open(&head, NULL, fd, &writer, &error) == STATUS_OK);
    CHECK(object_writer_add(writer, slice_from(facts_and_steps, 80), &error) == STATUS_OK);
    CHECK(object_writer_finish(writer, &content, &error) == STATUS_OK);
    object_writer_close(writer);
    CHECK(pread(fd, buffer_extend(&bytes, content.size_bytes), content.size_bytes, 0) ==
          (ssize_t)content.size_bytes);
    CHECK(close(fd) == 0);
    the_object = buffer_slice(&bytes);
    if (delta_read(&repository, NAME, NULL, &facts, on_step, &last_index, &error) == STATUS_OK) {
        CHECK(last_index == facts.last_index);
    }
    buffer_close(&bytes);
}

static void try_manifest(struct slice json)
{
    struct buffer again = BUFFER_EMPTY;
    struct manifest manifest;
    struct manifest second;
    struct error error;

    if (manifest_decode(json, &manifest, &error) == STATUS_OK) {
        manifest_encode(&manifest, &again);
        CHECK(manifest_decode(buffer_slice(&again), &second, &error) == STATUS_OK);
        CHECK(second.n_segments == manifest.n_segments);
        manifest_close(&second);
        manifest_close(&manifest);
    }
    buffer_close(&again);
}

static void try_name(struct slice bytes)
{
    struct names_parsed parsed;
    char name[REPOSITORY_NAME_BYTES + 20];
    char again[NAMES_BYTES];
    size_t size = bytes.size < sizeof name - 1 ? bytes.size : sizeof name - 1;

    memcpy(name, bytes.data, size);
    name[size] = '\0';
    if (names_parse(name, &parsed) && parsed.kind == NAMES_DELTA) {
        names_delta(parsed.base, parsed.index, again);
        CHECK(strcmp(name, again) == 0);
    }
    if (parsed.kind == NAMES_MERGED) {
        names_merged(parsed.base, parsed.index, parsed.last_index, parsed.created_ms, again);
        CHECK(strcmp(name, again) == 0);
    }
}

static void try_steps(struct slice walk)
{
    struct buffer again = BUFFER_EMPTY;
    struct slice before = walk;
    struct step step;

    while (step_take(&walk, &step) == STATUS_OK) {
        buffer_clear(&again);
        step_append(&again, &step);
        CHECK(slice_equals(buffer_slice(&again), slice_of(before.data, before.size - walk.size)));
        before = walk;
    }
    buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);

    if (size == 0) {
        return 0;
    }
    bytes = slice_from(bytes, 1);
    switch (data[0] % 6) {
    case 0:
        try_object(bytes);
        break;
    case 1:
        try_sealed_object(bytes);
        break;
    case 2:
        try_delta(bytes);
        break;
    case 3:
        try_manifest(bytes);
        break;
    case 4:
        try_name(bytes);
        break;
    default:
        try_steps(bytes);
    }
    return 0;
}
