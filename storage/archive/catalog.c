#include "storage/archive/catalog.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/archive/full.h"

/* What is listed of one full. */
struct listed {
    uint64_t bytes;
    uint64_t segment_bytes; /* Of these. */
    unsigned n_segments;
    bool has_manifest;
};

struct loading {
    struct catalog *catalog;
    const char *base;
    struct listed *listed; /* Beside catalog->fulls. */
    struct catalog_orphan *segments;
    size_t n_segments;
    char (*pins)[NAMES_BYTES]; /* Directories of fulls. */
    size_t n_pins;
    struct catalog_full *verified; /* Directory and verification only. */
    size_t n_verified;
};

/* Room for one more in a list that grows by doubling. */
static void *grow(void *list, size_t n, size_t size)
{
    bool is_full = n == 0 || (n & (n - 1)) == 0;

    return is_full ? memory_resize(list, (n == 0 ? 1 : 2 * n) * size) : list;
}

/* Names come in order, so what is of one full comes together. */
static void add_full_object(struct loading *loading, const struct names_parsed *parsed,
                            const struct repository_object *object)
{
    struct catalog *catalog = loading->catalog;
    struct listed *listed;
    bool is_new = catalog->n_fulls == 0 || strcmp(catalog->fulls[catalog->n_fulls - 1].directory,
                                                  parsed->full_directory) != 0;

    if (is_new) {
        catalog->fulls = grow(catalog->fulls, catalog->n_fulls, sizeof *catalog->fulls);
        loading->listed = grow(loading->listed, catalog->n_fulls, sizeof *loading->listed);
        catalog->fulls[catalog->n_fulls] = (struct catalog_full){.index = parsed->index};
        loading->listed[catalog->n_fulls] = (struct listed){.bytes = 0};
        memcpy(catalog->fulls[catalog->n_fulls].directory, parsed->full_directory,
               sizeof parsed->full_directory);
        catalog->n_fulls++;
    }
    listed = &loading->listed[catalog->n_fulls - 1];
    listed->bytes += object->size_bytes;
    if (parsed->kind == NAMES_MANIFEST) {
        listed->has_manifest = true;
        return;
    }
    listed->n_segments++;
    listed->segment_bytes += object->size_bytes;
    loading->segments = grow(loading->segments, loading->n_segments, sizeof *loading->segments);
    loading->segments[loading->n_segments].index = parsed->index;
    (void)snprintf(loading->segments[loading->n_segments].name, NAMES_BYTES, "%s",
                   object->name); /* Fits: it was parsed. */
    loading->n_segments++;
}

static bool on_object(void *data, const struct repository_object *object)
{
    struct loading *loading = data;
    struct catalog *catalog = loading->catalog;
    struct names_parsed parsed;

    if (!names_parse(object->name, &parsed) || strcmp(parsed.base, loading->base) != 0) {
        return true; /* None of ours. */
    }
    catalog->bytes += object->size_bytes;
    if (parsed.kind == NAMES_PIN) {
        loading->pins = grow(loading->pins, loading->n_pins, sizeof *loading->pins);
        memcpy(loading->pins[loading->n_pins++], parsed.full_directory,
               sizeof parsed.full_directory);
    } else if (parsed.kind == NAMES_VERIFIED) {
        loading->verified = grow(loading->verified, loading->n_verified, sizeof *loading->verified);
        loading->verified[loading->n_verified].verified = parsed.verification;
        memcpy(loading->verified[loading->n_verified++].directory, parsed.full_directory,
               sizeof parsed.full_directory);
    } else if (parsed.kind == NAMES_DELTA) {
        catalog->deltas = grow(catalog->deltas, catalog->n_deltas, sizeof *catalog->deltas);
        catalog->deltas[catalog->n_deltas++] =
            (struct catalog_delta){.first_index = parsed.index, .bytes = object->size_bytes};
    } else if (parsed.kind == NAMES_MERGED) {
        catalog->merged = grow(catalog->merged, catalog->n_merged, sizeof *catalog->merged);
        catalog->merged[catalog->n_merged++] =
            (struct catalog_merged){.first_index = parsed.index,
                                    .last_index = parsed.last_index,
                                    .created_ms = parsed.created_ms,
                                    .bytes = object->size_bytes};
    } else {
        add_full_object(loading, &parsed, object);
    }
    return true;
}

static enum status read_manifest(struct repository *repository, const struct listed *listed,
                                 struct catalog_full *full, struct error *error)
{
    struct manifest manifest;
    uint64_t bytes = 0;
    enum status status = full_manifest(repository, full->directory, &manifest, error);

    if (status != STATUS_OK) {
        return status;
    }
    for (unsigned i = 0; i < manifest.n_segments; i++) {
        bytes += manifest.segments[i].size_bytes;
    }
    full->revision = manifest.facts.state.revision;
    full->time_ms = manifest.facts.state.time_ms;
    full->created_ms = manifest.created_ms;
    full->bytes = listed->bytes;
    full->content_bytes = manifest.content_bytes;
    full->records = manifest.records;
    full->n_segments = manifest.n_segments;
    full->is_whole = listed->n_segments == manifest.n_segments && listed->segment_bytes == bytes;
    manifest_close(&manifest);
    return STATUS_OK;
}

static void add_orphans(struct loading *loading, const struct catalog_full *full)
{
    struct catalog *catalog = loading->catalog;
    size_t size = strlen(full->directory);

    for (size_t i = 0; i < loading->n_segments; i++) {
        if (strncmp(loading->segments[i].name, full->directory, size) == 0) {
            catalog->orphans = grow(catalog->orphans, catalog->n_orphans, sizeof *catalog->orphans);
            catalog->orphans[catalog->n_orphans++] = loading->segments[i];
        }
    }
}

/* One that is damaged is not whole: the others are as good as they were. */
static void note_damage(struct catalog *catalog, const struct listed *listed,
                        struct catalog_full *full, const struct error *error)
{
    full->bytes = listed->bytes;
    catalog->n_damaged++;
    memcpy(catalog->damage, error->text, sizeof catalog->damage);
}

/* Fulls without a manifest are none. */
static enum status read_manifests(struct loading *loading, struct repository *repository,
                                  struct error *error)
{
    struct catalog *catalog = loading->catalog;
    size_t n = 0;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < catalog->n_fulls && status == STATUS_OK; i++) {
        if (loading->listed[i].has_manifest) {
            struct catalog_full *full = &catalog->fulls[n++];

            *full = catalog->fulls[i];
            status = read_manifest(repository, &loading->listed[i], full, error);
            if (status == STATUS_CORRUPT) {
                note_damage(catalog, &loading->listed[i], full, error);
                status = STATUS_OK;
            }
        } else {
            add_orphans(loading, &catalog->fulls[i]);
        }
    }
    catalog->n_fulls = n;
    return status;
}

static void mark_pinned(struct loading *loading)
{
    struct catalog *catalog = loading->catalog;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        for (size_t k = 0; k < loading->n_pins; k++) {
            catalog->fulls[i].is_pinned =
                catalog->fulls[i].is_pinned ||
                strcmp(catalog->fulls[i].directory, loading->pins[k]) == 0;
        }
    }
}

static void mark_verified(struct loading *loading)
{
    struct catalog *catalog = loading->catalog;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        for (size_t k = 0; k < loading->n_verified; k++) {
            if (strcmp(catalog->fulls[i].directory, loading->verified[k].directory) == 0 &&
                loading->verified[k].verified.when_ms > catalog->fulls[i].verified.when_ms) {
                catalog->fulls[i].verified = loading->verified[k].verified;
            }
        }
    }
}

static void go_to(struct catalog *catalog, const struct delta_facts *facts)
{
    if (facts->last_index > catalog->last_index) {
        catalog->last_index = facts->last_index;
        catalog->last_revision = facts->last_revision;
        catalog->last_time_ms = facts->last_time_ms;
    }
}

/* The merged one that goes furthest; n_merged: there is none. */
static size_t furthest_merged(const struct catalog *catalog)
{
    size_t found = catalog->n_merged;

    for (size_t i = 0; i < catalog->n_merged; i++) {
        if (found == catalog->n_merged ||
            catalog->merged[i].last_index > catalog->merged[found].last_index) {
            found = i;
        }
    }
    return found;
}

/* If it is damaged, that is noted. */
static enum status look_at_end(struct catalog *catalog, struct repository *repository,
                               const char *name, const struct master_keys *keys,
                               struct error *error)
{
    struct delta_facts facts;
    enum status status = delta_look(repository, name, keys, &facts, error);

    if (status == STATUS_OK) {
        go_to(catalog, &facts);
    } else if (status == STATUS_CORRUPT && catalog->end_damage[0] == '\0') {
        memcpy(catalog->end_damage, error->text, sizeof catalog->end_damage);
    }
    return status == STATUS_CORRUPT ? STATUS_OK : status;
}

/* What is merged is never the end of a chain, unless something was taken away. */
static enum status find_end(struct catalog *catalog, struct repository *repository,
                            const char *base, const struct master_keys *keys, struct error *error)
{
    size_t i = furthest_merged(catalog);
    uint64_t begins = 0;
    char name[NAMES_BYTES];
    enum status status = STATUS_OK;

    for (size_t k = catalog->n_deltas; k > 0 && status == STATUS_OK && catalog->last_index == 0;
         k--) {
        begins = catalog->deltas[k - 1].first_index;
        names_delta(base, begins, name);
        status = look_at_end(catalog, repository, name, keys, error);
    }
    if (status == STATUS_OK && i < catalog->n_merged && catalog->merged[i].last_index >= begins) {
        catalog_merged_name(base, &catalog->merged[i], name);
        status = look_at_end(catalog, repository, name, keys, error);
    }
    for (size_t k = catalog->n_fulls; k > 0 && status == STATUS_OK && catalog->last_index == 0;
         k--) {
        const struct catalog_full *full = &catalog->fulls[k - 1];

        if (full->created_ms != 0) { /* Else its manifest is damaged. */
            catalog->last_index = full->index;
            catalog->last_revision = full->revision;
            catalog->last_time_ms = full->time_ms;
        }
    }
    return status;
}

enum status catalog_load(struct repository *repository, const char *base,
                         const struct master_keys *keys, struct catalog *catalog,
                         struct error *error)
{
    struct loading loading = {.catalog = catalog, .base = base};
    enum status status;

    *catalog = (struct catalog){.n_fulls = 0};
    /* Names are in order: deltas come before merged ones. So a delta that is removed meanwhile was
     * listed, or else the one that has it will be. */
    status = repository_list(repository, base, NULL, on_object, &loading, error);
    if (status == STATUS_OK) {
        status = read_manifests(&loading, repository, error);
    }
    catalog_settle(catalog);
    if (status == STATUS_OK) {
        status = find_end(catalog, repository, base, keys, error);
    }
    mark_pinned(&loading);
    mark_verified(&loading);
    free(loading.pins);
    free(loading.verified);
    free(loading.listed);
    free(loading.segments);
    if (status != STATUS_OK) {
        catalog_close(catalog);
    }
    return status;
}

void catalog_close(struct catalog *catalog)
{
    free(catalog->fulls);
    free(catalog->deltas);
    free(catalog->merged);
    free(catalog->orphans);
    *catalog = (struct catalog){.n_fulls = 0};
}

size_t catalog_find_full(const struct catalog *catalog, uint64_t index, uint64_t revision,
                         uint64_t time_ms)
{
    size_t found = catalog->n_fulls;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        const struct catalog_full *full = &catalog->fulls[i];

        if (full->is_whole && full->index <= index && full->revision <= revision &&
            full->time_ms <= time_ms) {
            found = i;
        }
    }
    return found;
}

/* --- All chains --- */

struct bases {
    catalog_base_cb cb;
    void *data;
    char last[NAMES_BASE_BYTES];
};

static bool on_any_object(void *data, const struct repository_object *object)
{
    struct bases *bases = data;
    struct names_parsed parsed;

    if (names_parse(object->name, &parsed) && strcmp(parsed.base, bases->last) != 0) {
        memcpy(bases->last, parsed.base, sizeof parsed.base);
        bases->cb(bases->data, parsed.base);
    }
    return true;
}

enum status catalog_bases(struct repository *repository, catalog_base_cb cb, void *data,
                          struct error *error)
{
    struct bases bases = {.cb = cb, .data = data};

    return repository_list(repository, "", NULL, on_any_object, &bases, error);
}

size_t catalog_newest_verified(const struct catalog *catalog)
{
    size_t found = catalog->n_fulls;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        if (catalog->fulls[i].is_whole && catalog->fulls[i].verified.when_ms != 0) {
            found = i;
        }
    }
    return found;
}

size_t catalog_last_verified(const struct catalog *catalog)
{
    size_t found = catalog->n_fulls;

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        uint64_t when_ms = catalog->fulls[i].verified.when_ms;

        if (when_ms != 0 &&
            (found == catalog->n_fulls || when_ms > catalog->fulls[found].verified.when_ms)) {
            found = i;
        }
    }
    return found;
}
