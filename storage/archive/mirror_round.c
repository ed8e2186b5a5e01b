#include "storage/archive/mirror_round.h"

#include <stdlib.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/change.h"

/* Something that changed, once in a round however often it did. */
struct object {
    enum change_resource resource; /* Events are their session's. */
    bool has_events;               /* Its log changed. */
    uint64_t namespace_id;
    size_t name_offset; /* In round->names. */
    size_t name_size;
};

struct mirror_round {
    uint64_t after;
    uint64_t after_ms;
    struct mirror_limits limits;
    struct mirror_end end;
    bool has_names;
    struct buffer names;
    struct object *objects;
    size_t n_objects;
    size_t capacity;
    size_t *slots; /* Number of the object plus 1, by hash; twice the capacity. */
    /* What was read of them. Namespaces come first: what is in one is told of when it is there. */
    bool has_namespaces;
    size_t at;
    struct mirror_log log; /* Of the session there. */
};

struct mirror_round *mirror_round_open(uint64_t after, uint64_t after_ms,
                                       const struct mirror_limits *limits)
{
    struct mirror_round *round = memory_new_zeroed(1, sizeof *round);

    round->after = after;
    round->after_ms = after_ms;
    round->limits = *limits;
    round->end = (struct mirror_end){.revision = after, .time_ms = after_ms};
    return round;
}

void mirror_round_close(struct mirror_round *round)
{
    if (round != NULL) {
        buffer_close(&round->names);
        free(round->objects);
        free(round->slots);
        free(round);
    }
}

void mirror_round_end(const struct mirror_round *round, struct mirror_end *end)
{
    *end = round->end;
}

/* --- Names --- */

static struct slice name_of(const struct mirror_round *round, const struct object *object)
{
    return slice_of(round->names.data + object->name_offset, object->name_size);
}

static size_t *find_slot(const struct mirror_round *round, enum change_resource resource,
                         uint64_t namespace_id, struct slice name)
{
    XXH64_hash_t seed = namespace_id * 4 + (uint64_t)resource;
    size_t n_slots = 2 * round->capacity;
    size_t slot = XXH3_64bits_withSeed(name.data, name.size, seed) % n_slots;

    while (round->slots[slot] != 0) {
        const struct object *object = &round->objects[round->slots[slot] - 1];

        if (object->resource == resource && object->namespace_id == namespace_id &&
            slice_equals(name_of(round, object), name)) {
            break;
        }
        slot = (slot + 1) % n_slots;
    }
    return &round->slots[slot];
}

static void grow(struct mirror_round *round)
{
    round->capacity = round->capacity == 0 ? 64 : 2 * round->capacity;
    round->objects = memory_resize(round->objects, round->capacity * sizeof *round->objects);
    free(round->slots);
    round->slots = memory_new_zeroed(2 * round->capacity, sizeof *round->slots);
    for (size_t i = 0; i < round->n_objects; i++) {
        const struct object *object = &round->objects[i];

        *find_slot(round, object->resource, object->namespace_id, name_of(round, object)) = i + 1;
    }
}

static void add(struct mirror_round *round, const struct change *change)
{
    bool is_log = change->resource == RESOURCE_EVENTS;
    enum change_resource resource = is_log ? RESOURCE_SESSION : change->resource;
    size_t *slot;

    if (round->n_objects == round->capacity) {
        grow(round);
    }
    slot = find_slot(round, resource, change->namespace_id, change->name);
    if (*slot == 0) {
        round->objects[round->n_objects] = (struct object){.resource = resource,
                                                           .namespace_id = change->namespace_id,
                                                           .name_offset = round->names.size,
                                                           .name_size = change->name.size};
        buffer_append_slice(&round->names, change->name);
        *slot = ++round->n_objects;
    }
    round->objects[*slot - 1].has_events |= is_log;
}

/* Each revision has a record, so one that is missing is an old one. */
static enum status read_names(struct mirror_round *round, struct view *view)
{
    uint64_t last = view->state->revision;

    if (round->after > last) {
        return STATUS_MISMATCH;
    }
    last = last - round->after > round->limits.revisions ? round->after + round->limits.revisions
                                                         : last;
    while (round->end.revision < last && round->n_objects < round->limits.objects) {
        struct change_set set;
        struct change change;
        enum status status = change_read(view->txn, round->end.revision + 1, &set);

        if (status != STATUS_OK) {
            return status;
        }
        while (change_next(&set.changes, &change)) {
            add(round, &change);
        }
        round->end.revision++;
        round->end.time_ms = set.time_ms;
    }
    return STATUS_OK;
}

/* --- Rows --- */

static enum status read_namespace(struct mirror_reader *reader, struct slice name)
{
    struct namespace_row row;
    enum status status = view_namespace(reader->view, name, &row);

    if (status == STATUS_OK) {
        mirror_reader_put_namespace(reader, &row);
    } else if (status == STATUS_NOT_FOUND) {
        reader->sink->drop_namespace(reader->sink->data, name);
        status = STATUS_OK;
    }
    return status;
}

static enum status read_item(struct mirror_reader *reader, const struct mirror_namespace *ns,
                             struct slice key)
{
    struct item_row row;
    enum status status = view_item(reader->view, ns->id, key, &row);

    if (status == STATUS_OK) {
        mirror_reader_put_item(reader, ns, &row);
    } else if (status == STATUS_NOT_FOUND) {
        reader->sink->drop_item(reader->sink->data, ns, key);
        status = STATUS_OK;
    }
    return status;
}

/* If the log was cut off, it goes on in a later view, unless the session is another one there: then
 * that, and its events, come in a later round. */
static enum status read_session(struct mirror_round *round, struct mirror_reader *reader,
                                const struct mirror_namespace *ns, const struct object *object)
{
    struct session_row row;
    bool goes_on = round->log.is_open;
    enum status status = view_session(reader->view, ns->id, name_of(round, object), &row);

    if (goes_on && (status != STATUS_OK || row.object_id != round->log.object_id)) {
        round->log.is_open = false;
        return status == STATUS_NOT_FOUND || status == STATUS_CLOSED ? STATUS_OK : status;
    }
    if (status == STATUS_NOT_FOUND || status == STATUS_CLOSED) {
        reader->sink->drop_session(reader->sink->data, ns, name_of(round, object));
        return STATUS_OK;
    }
    if (status == STATUS_OK && !goes_on) {
        mirror_reader_put_session(reader, ns, &row);
    }
    return status == STATUS_OK && object->has_events
               ? mirror_reader_read_log(reader, ns, &row, round->after_ms, &round->log)
               : status;
}

static enum status read_object(struct mirror_round *round, struct mirror_reader *reader,
                               const struct object *object)
{
    struct mirror_namespace ns = {.id = object->namespace_id};
    enum status status;

    if (object->resource == RESOURCE_NAMESPACE) {
        return read_namespace(reader, name_of(round, object));
    }
    status = view_namespace_name(reader->view, ns.id, &ns.name);
    if (status != STATUS_OK) {
        round->log.is_open = false;
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    return object->resource == RESOURCE_ITEM ? read_item(reader, &ns, name_of(round, object))
                                             : read_session(round, reader, &ns, object);
}

/* Of namespaces, or of all else. */
static enum status read_objects(struct mirror_round *round, struct mirror_reader *reader)
{
    enum status status = STATUS_OK;

    while (status == STATUS_OK && round->at < round->n_objects && reader->left_bytes > 0) {
        const struct object *object = &round->objects[round->at];
        bool is_namespace = object->resource == RESOURCE_NAMESPACE;

        if (is_namespace != round->has_namespaces) {
            status = read_object(round, reader, object);
        }
        round->at += round->log.is_open ? 0 : 1;
    }
    return status;
}

enum status mirror_round_read(struct mirror_round *round, struct view *view,
                              const struct mirror_sink *sink, bool *is_done)
{
    struct mirror_reader reader = {.view = view, .sink = sink, .left_bytes = round->limits.bytes};
    enum status status = STATUS_OK;

    CHECK(round->limits.bytes > 0 && round->limits.objects > 0 && round->limits.revisions > 0);
    if (!round->has_names) {
        status = read_names(round, view);
        round->has_names = status == STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = read_objects(round, &reader);
    }
    if (status == STATUS_OK && !round->has_namespaces && round->at == round->n_objects) {
        round->has_namespaces = true;
        round->at = 0;
        status = read_objects(round, &reader);
    }
    if (status != STATUS_OK) {
        return status;
    }
    round->end.newest_revision = view->state->revision;
    *is_done = round->has_namespaces && round->at == round->n_objects;
    return STATUS_OK;
}
