#include "storage/archive/delta.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"

void delta_describe(struct slice steps, struct delta_facts *facts)
{
    struct step step;

    CHECK(steps.size > 0);
    *facts = (struct delta_facts){.content_bytes = steps.size};
    while (step_take(&steps, &step) == STATUS_OK) {
        if (facts->steps++ == 0) {
            facts->first_index = step.first_index;
            facts->first_time_ms = step.time_ms;
        }
        facts->last_index = step.index;
        facts->last_time_ms = step.time_ms;
        facts->last_term = step.term;
        facts->last_revision = step.revision;
        facts->last_hash[0] = step.hash[0];
        facts->last_hash[1] = step.hash[1];
    }
    CHECK(steps.size == 0);
}

static void encode_facts(const struct delta_facts *facts, struct buffer *bytes)
{
    wire_put_u64(bytes, facts->first_index);
    wire_put_u64(bytes, facts->last_index);
    wire_put_u64(bytes, facts->first_time_ms);
    wire_put_u64(bytes, facts->last_time_ms);
    wire_put_u64(bytes, facts->last_term);
    wire_put_u64(bytes, facts->last_revision);
    wire_put_u64(bytes, facts->last_hash[0]);
    wire_put_u64(bytes, facts->last_hash[1]);
    wire_put_u64(bytes, facts->steps);
    wire_put_u64(bytes, facts->content_bytes);
}

static bool decode_facts(struct slice bytes, struct delta_facts *facts)
{
    struct wire_reader reader = wire_reader_of(bytes);

    facts->first_index = wire_get_u64(&reader);
    facts->last_index = wire_get_u64(&reader);
    facts->first_time_ms = wire_get_u64(&reader);
    facts->last_time_ms = wire_get_u64(&reader);
    facts->last_term = wire_get_u64(&reader);
    facts->last_revision = wire_get_u64(&reader);
    facts->last_hash[0] = wire_get_u64(&reader);
    facts->last_hash[1] = wire_get_u64(&reader);
    facts->steps = wire_get_u64(&reader);
    facts->content_bytes = wire_get_u64(&reader);
    return wire_done(&reader) == STATUS_OK && facts->last_index >= facts->first_index;
}

struct creating {
    struct repository *repository;
    const char *name;
    const struct master_keys *keys;
    const struct delta_facts *facts;
    struct slice steps; /* Or, if there are none, from: */
    int steps_fd;
    int fd;
};

static enum status add_from_file(const struct creating *creating, struct object_writer *writer,
                                 struct error *error)
{
    uint8_t *bytes = memory_new(OBJECT_BLOCK_BYTES);
    uint64_t done = 0;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && done < creating->facts->content_bytes) {
        uint64_t left = creating->facts->content_bytes - done;
        ssize_t n =
            pread(creating->steps_fd, bytes,
                  left < OBJECT_BLOCK_BYTES ? (size_t)left : OBJECT_BLOCK_BYTES, (off_t)done);

        if (n > 0) {
            status = object_writer_add(writer, slice_of(bytes, (size_t)n), error);
            done += (uint64_t)n;
        } else if (n == 0) {
            status = error_set(error, STATUS_IO, "a file with steps for \"%s\" was cut off",
                               creating->name);
        } else if (errno != EINTR) {
            status = error_set(error, status_from_errno(errno),
                               "could not read a file with steps for \"%s\"", creating->name);
        }
    }
    free(bytes);
    return status;
}

static enum status write_object(const struct creating *creating, struct repository_content *content,
                                struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct object_writer *writer;
    struct object_head head = {.kind = OBJECT_DELTA, .codec = OBJECT_ZSTD, .name = creating->name};
    enum status status;

    encode_facts(creating->facts, &bytes);
    head.facts = buffer_slice(&bytes);
    status = object_writer_open(&head, creating->keys, creating->fd, &writer, error);
    buffer_close(&bytes);
    if (status != STATUS_OK) {
        return status;
    }
    status = creating->steps.size > 0 ? object_writer_add(writer, creating->steps, error)
                                      : add_from_file(creating, writer, error);
    if (status == STATUS_OK) {
        status = object_writer_finish(writer, content, error);
    }
    object_writer_close(writer);
    return status;
}

static enum status create(const struct creating *creating, uint64_t *size_bytes,
                          struct error *error)
{
    struct repository_content content;
    enum status status = write_object(creating, &content, error);

    if (status != STATUS_OK) {
        return status;
    }
    *size_bytes = content.size_bytes;
    return repository_create(creating->repository, creating->name, &content, error);
}

enum status delta_create(struct repository *repository, const char *name,
                         const struct master_keys *keys, const struct delta_facts *facts,
                         struct slice steps, int fd, uint64_t *size_bytes, struct error *error)
{
    const struct creating creating = {.repository = repository,
                                      .name = name,
                                      .keys = keys,
                                      .facts = facts,
                                      .steps = steps,
                                      .fd = fd};

    CHECK(steps.size > 0);
    return create(&creating, size_bytes, error);
}

enum status delta_create_from_file(struct repository *repository, const char *name,
                                   const struct master_keys *keys, const struct delta_facts *facts,
                                   int steps_fd, int fd, uint64_t *size_bytes, struct error *error)
{
    const struct creating creating = {.repository = repository,
                                      .name = name,
                                      .keys = keys,
                                      .facts = facts,
                                      .steps_fd = steps_fd,
                                      .fd = fd};

    return create(&creating, size_bytes, error);
}

struct reading {
    const struct object_reading *object;
    struct delta_facts facts;
    struct delta_facts seen;
    struct buffer rest;       /* Content that is not a whole step yet. */
    struct names_parsed name; /* What it should be. */
    delta_step_cb cb;
    void *data;
};

static enum status damaged(const struct reading *reading, const char *why, struct error *error)
{
    return error_set(error, STATUS_CORRUPT, "\"%s\" in %s is damaged: %s", reading->object->name,
                     repository_url(reading->object->repository), why);
}

static enum status on_facts(void *data, struct slice bytes, struct error *error)
{
    struct reading *reading = data;

    if (!decode_facts(bytes, &reading->facts) ||
        reading->facts.first_index != reading->name.index ||
        (reading->name.kind == NAMES_MERGED &&
         reading->facts.last_index != reading->name.last_index)) {
        return damaged(reading, "its facts make no sense", error);
    }
    return STATUS_OK;
}

static enum status on_content(void *data, struct slice content, struct error *error)
{
    struct reading *reading = data;
    struct slice walk;
    struct step step;
    enum status status = STATUS_OK;

    buffer_append_slice(&reading->rest, content);
    walk = buffer_slice(&reading->rest);
    while (status == STATUS_OK && step_take(&walk, &step) == STATUS_OK) {
        uint64_t next =
            reading->seen.steps == 0 ? reading->name.index : reading->seen.last_index + 1;

        if (step.first_index != next) {
            return damaged(reading, "its steps are not in order", error);
        }
        reading->seen.steps++;
        reading->seen.last_index = step.index;
        reading->seen.last_revision = step.revision;
        reading->seen.last_hash[0] = step.hash[0];
        reading->seen.last_hash[1] = step.hash[1];
        status = reading->cb(reading->data, &step, error);
    }
    buffer_consume(&reading->rest, reading->rest.size - walk.size);
    return status;
}

static bool is_as_it_says(const struct reading *reading)
{
    const struct delta_facts *seen = &reading->seen;
    const struct delta_facts *facts = &reading->facts;

    return reading->rest.size == 0 && seen->steps == facts->steps &&
           seen->last_index == facts->last_index && seen->last_revision == facts->last_revision &&
           seen->last_hash[0] == facts->last_hash[0] && seen->last_hash[1] == facts->last_hash[1];
}

static enum status read_delta(struct reading *reading, struct repository *repository,
                              const char *name, const struct master_keys *keys,
                              struct delta_facts *facts, struct error *error)
{
    const struct object_reading object = {
        .repository = repository,
        .name = name,
        .kind = OBJECT_DELTA,
        .keys = keys,
        .on_facts = on_facts,
        .on_content = reading->cb == NULL ? NULL : on_content,
        .data = reading,
    };
    enum status status;

    CHECK(names_parse(name, &reading->name));
    reading->object = &object;
    status = object_read(&object, error);
    if (status == STATUS_OK && reading->cb != NULL && !is_as_it_says(reading)) {
        status = damaged(reading, "its steps are not those that it says", error);
    }
    buffer_close(&reading->rest);
    if (status == STATUS_OK) {
        *facts = reading->facts;
    }
    return status;
}

enum status delta_look(struct repository *repository, const char *name,
                       const struct master_keys *keys, struct delta_facts *facts,
                       struct error *error)
{
    struct reading reading = {.cb = NULL};

    return read_delta(&reading, repository, name, keys, facts, error);
}

enum status delta_read(struct repository *repository, const char *name,
                       const struct master_keys *keys, struct delta_facts *facts, delta_step_cb cb,
                       void *data, struct error *error)
{
    struct reading reading = {.cb = cb, .data = data};

    return read_delta(&reading, repository, name, keys, facts, error);
}
