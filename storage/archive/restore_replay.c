/* The deltas behind a full. From where the state is, the object is taken that goes furthest: a
 * merged one before a delta. That is decided anew behind each one, so that it does not matter how
 * they overlap. If a merged one turns out to be damaged, it counts as missing from there on: what
 * of it was executed before was sound, and the deltas that it was made of go on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/memory.h"
#include "storage/archive/ahead.h"
#include "storage/archive/restore_private.h"

/* --- The way --- */

/* An object of the way. */
struct stop {
    bool is_merged;
    size_t i; /* Of the catalog's. */
    uint64_t bytes;
    uint64_t last_index; /* As far as a listing tells. */
    char name[NAMES_BYTES];
};

/* What comes behind @index; false: nothing does. @after: the stop that led there, or NULL. */
static bool find_stop(const struct restore *restore, uint64_t index, const struct stop *after,
                      struct stop *stop)
{
    const struct catalog *catalog = &restore->catalog;
    size_t merged = catalog_find_merged(catalog, index, restore->is_damaged);
    size_t delta = catalog_find_delta(catalog, index);

    if (merged < catalog->n_merged) {
        *stop = (struct stop){.is_merged = true,
                              .i = merged,
                              .bytes = catalog->merged[merged].bytes,
                              .last_index = catalog->merged[merged].last_index};
        catalog_merged_name(restore->facts.base, &catalog->merged[merged], stop->name);
        return true;
    }
    if (delta == catalog->n_deltas || (after != NULL && !after->is_merged && after->i == delta)) {
        return false;
    }
    *stop = (struct stop){.i = delta,
                          .bytes = catalog->deltas[delta].bytes,
                          .last_index = catalog->deltas[delta].last_index};
    names_delta(restore->facts.base, catalog->deltas[delta].first_index, stop->name);
    return true;
}

struct way {
    struct ahead_object *objects;
    size_t n;
    size_t capacity;
};

static void add_object(struct way *way, const char *name, uint64_t size_bytes)
{
    if (way->n == way->capacity) {
        way->capacity = way->capacity == 0 ? 64 : 2 * way->capacity;
        way->objects = memory_resize(way->objects, way->capacity * sizeof *way->objects);
    }
    way->objects[way->n].size_bytes = size_bytes;
    (void)snprintf(way->objects[way->n++].name, NAMES_BYTES, "%s", name); /* Fits. */
}

static void add_segments(const struct restore *restore, struct way *way)
{
    char name[NAMES_BYTES];

    for (unsigned i = 0; i < restore->manifest.n_segments; i++) {
        names_segment(restore->catalog.fulls[restore->full].directory, i, name);
        add_object(way, name, restore->manifest.segments[i].size_bytes);
    }
}

/* As far as a listing tells: where the last step is that is wanted shows when it is read. */
enum status restore_read_ahead(struct restore *restore, bool with_full, struct error *error)
{
    struct way way = {.n = 0};
    struct stop before;
    struct stop stop = {.last_index = restore->facts.index};
    const struct stop *after = NULL;
    struct ahead_options options = {
        .url = restore->options.url,
        .n_threads = restore->options.n_threads,
        .data = restore->options.data,
        .is_canceled = restore->options.is_canceled,
    };
    enum status status;

    if (with_full) {
        add_segments(restore, &way);
    }
    while (stop.last_index != UINT64_MAX && find_stop(restore, stop.last_index, after, &stop)) {
        add_object(&way, stop.name, stop.bytes);
        before = stop;
        after = &before;
    }
    options.objects = way.objects;
    options.n_objects = way.n;
    status = ahead_open(&options, &restore->ahead, error);
    free(way.objects);
    return status;
}

/* --- Steps --- */

static enum status check_step(struct restore *restore, const struct step *step, struct error *error)
{
    struct restore_facts *facts = &restore->facts;
    uint64_t revision;
    enum status status = replay_look(restore->replay, facts->hash, &revision, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (facts->hash[0] != step->hash[0] || facts->hash[1] != step->hash[1] ||
        revision != step->revision) {
        return error_set(error, STATUS_CORRUPT,
                         "at index %" PRIu64 " the restored state is not what it was: revision "
                         "%" PRIu64 " instead of %" PRIu64 ", or another hash",
                         step->index, revision, step->revision);
    }
    facts->index = step->index;
    facts->term = step->term;
    facts->revision = step->revision;
    facts->time_ms = step->time_ms;
    facts->steps++;
    return STATUS_OK;
}

static enum status execute(struct restore *restore, const struct step *step, struct error *error)
{
    enum status status = replay_execute(restore->replay, step->index, step->term,
                                        step->entry.size > 0 ? &step->entry : NULL, error);

    restore->replayed_bytes += step->entry.size;
    return status == STATUS_OK ? check_step(restore, step, error) : status;
}

static enum status on_step(void *data, const struct step *step, struct error *error)
{
    struct restore *restore = data;
    enum status status;

    if (step->index <= restore->facts.index) {
        return STATUS_OK; /* From before the full. */
    }
    if (step->revision > restore->options.to_revision ||
        step->time_ms > restore->options.to_time_ms) {
        restore->has_arrived = true;
        return error_set(error, STATUS_END, "it is behind the wanted point");
    }
    status = execute(restore, step, error);
    restore->has_failed = status != STATUS_OK;
    return status;
}

/* --- Objects --- */

/* Is it the object that is to blame, and might others have what is in it? */
static bool is_damage(const struct restore *restore, enum status status)
{
    return !restore->has_failed &&
           (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND || status == STATUS_UNSUPPORTED);
}

static void tell_damage(const struct restore *restore, const struct error *error)
{
    if (restore->options.on_damage != NULL) {
        restore->options.on_damage(restore->options.data, error->text);
    }
}

static enum status go_around(struct restore *restore, const struct stop *stop, struct error *error)
{
    restore->is_damaged[stop->i] = true;
    restore->has_damage = true;
    restore->damage = *error;
    if (stop->last_index > restore->damaged_end) {
        restore->damaged_end = stop->last_index;
    }
    restore->facts.damaged++;
    tell_damage(restore, error);
    repository_close(restore->ahead);
    restore->ahead = NULL;
    return restore_read_ahead(restore, false, error);
}

static enum status replay_stop(struct restore *restore, const struct stop *stop,
                               struct error *error)
{
    struct delta_facts facts;
    enum status status = delta_read(restore->ahead, stop->name, restore->options.keys, &facts,
                                    on_step, restore, error);

    restore_tell(restore, RESTORE_REPLAY, restore->replayed_bytes, 0);
    if (status == STATUS_END && restore->has_arrived) {
        return STATUS_OK;
    }
    if (!is_damage(restore, status)) {
        return status;
    }
    if (stop->is_merged) {
        return go_around(restore, stop, error);
    }
    if (restore->facts.revision == restore->options.to_revision) {
        restore->has_arrived = true; /* It is behind the wanted point. */
        tell_damage(restore, error);
        return STATUS_OK;
    }
    return status;
}

static bool begins_later(const struct catalog *catalog, uint64_t index)
{
    return (catalog->n_deltas > 0 &&
            catalog->deltas[catalog->n_deltas - 1].first_index > index + 1) ||
           (catalog->n_merged > 0 &&
            catalog->merged[catalog->n_merged - 1].first_index > index + 1);
}

/* There is nothing behind where it is: that is right at the end of the chain only. */
static enum status check_end(struct restore *restore, struct error *error)
{
    uint64_t index = restore->facts.index;

    if (restore->has_arrived || restore->facts.revision == restore->options.to_revision) {
        return STATUS_OK; /* What is missing is behind it. */
    }
    if (restore->has_damage && index < restore->damaged_end) {
        *error = restore->damage;
        return error->status;
    }
    if (begins_later(&restore->catalog, index)) {
        return error_set(error, STATUS_CORRUPT,
                         "a delta is missing in %slog/: nothing there begins at log index %" PRIu64,
                         restore->facts.base, index + 1);
    }
    if (restore->options.to_revision != UINT64_MAX &&
        restore->facts.revision < restore->options.to_revision) {
        return error_set(error, STATUS_NOT_FOUND,
                         "revision %" PRIu64 " is not in the archive, which ends at %" PRIu64,
                         restore->options.to_revision, restore->facts.revision);
    }
    return STATUS_OK;
}

enum status restore_replay(struct restore *restore, struct error *error)
{
    struct stop before;
    struct stop stop;
    const struct stop *after = NULL;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && !restore->has_arrived &&
           find_stop(restore, restore->facts.index, after, &stop)) {
        status = replay_stop(restore, &stop, error);
        before = stop;
        after = &before;
    }
    if (status == STATUS_OK) {
        status = check_end(restore, error);
    }
    return status == STATUS_OK ? replay_flush(restore->replay, error) : status;
}
