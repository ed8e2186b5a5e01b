#include "storage/archive/delta.h"

#include "daemon/base/check.h"
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

enum status delta_create(struct repository *repository, const char *base,
                         const struct master_keys *keys, const struct delta_facts *facts,
                         struct slice steps, int fd, uint64_t *size_bytes, struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct object_writer *writer;
    struct repository_content content;
    char name[NAMES_BYTES];
    struct object_head head = {.kind = OBJECT_DELTA, .codec = OBJECT_ZSTD, .name = name};
    enum status status;

    encode_facts(facts, &bytes);
    names_delta(base, facts->first_index, name);
    head.facts = buffer_slice(&bytes);
    status = object_writer_open(&head, keys, fd, &writer, error);
    buffer_close(&bytes);
    if (status != STATUS_OK) {
        return status;
    }
    status = object_writer_add(writer, steps, error);
    if (status == STATUS_OK) {
        status = object_writer_finish(writer, &content, error);
    }
    object_writer_close(writer);
    if (status != STATUS_OK) {
        return status;
    }
    *size_bytes = content.size_bytes;
    return repository_create(repository, name, &content, error);
}

struct reading {
    const struct object_reading *object;
    struct delta_facts facts;
    struct delta_facts seen;
    struct buffer rest; /* Content that is not a whole step yet. */
    uint64_t wanted_first;
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
        reading->facts.first_index != reading->wanted_first) {
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
            reading->seen.steps == 0 ? reading->wanted_first : reading->seen.last_index + 1;

        if (step.first_index != next) {
            return damaged(reading, "its steps are not in order", error);
        }
        reading->seen.steps++;
        reading->seen.last_index = step.index;
        status = reading->cb(reading->data, &step, error);
    }
    buffer_consume(&reading->rest, reading->rest.size - walk.size);
    return status;
}

static enum status read_delta(struct reading *reading, struct repository *repository,
                              const char *base, const struct master_keys *keys,
                              struct delta_facts *facts, struct error *error)
{
    char name[NAMES_BYTES];
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

    names_delta(base, reading->wanted_first, name);
    reading->object = &object;
    status = object_read(&object, error);
    if (status == STATUS_OK && reading->cb != NULL &&
        (reading->rest.size > 0 || reading->seen.steps != reading->facts.steps ||
         reading->seen.last_index != reading->facts.last_index)) {
        status = damaged(reading, "its steps are not those that it says", error);
    }
    buffer_close(&reading->rest);
    if (status == STATUS_OK) {
        *facts = reading->facts;
    }
    return status;
}

enum status delta_look(struct repository *repository, const char *base, uint64_t first_index,
                       const struct master_keys *keys, struct delta_facts *facts,
                       struct error *error)
{
    struct reading reading = {.wanted_first = first_index};

    return read_delta(&reading, repository, base, keys, facts, error);
}

enum status delta_read(struct repository *repository, const char *base, uint64_t first_index,
                       const struct master_keys *keys, struct delta_facts *facts, delta_step_cb cb,
                       void *data, struct error *error)
{
    struct reading reading = {.wanted_first = first_index, .cb = cb, .data = data};

    return read_delta(&reading, repository, base, keys, facts, error);
}
