#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/archive/full.h"
#include "storage/archive/restore_private.h"
#include "storage/image_import.h"

/* --- Which chain --- */

struct choice {
    struct restore *restore;
    struct buffer clusters; /* Names, for a message. */
    char last_cluster[NAMES_CLUSTER_BYTES + 1];
    unsigned n_clusters;
    char (*bases)[NAMES_BASE_BYTES];
    size_t n_bases;
};

static void on_base(void *data, const char *base)
{
    struct choice *choice = data;
    const char *wanted = choice->restore->options.cluster_id;
    const char *wanted_base = choice->restore->options.base;

    if (strncmp(base, choice->last_cluster, NAMES_CLUSTER_BYTES) != 0) {
        memcpy(choice->last_cluster, base, NAMES_CLUSTER_BYTES);
        choice->n_clusters++;
        buffer_append_format(&choice->clusters, " %s", choice->last_cluster);
    }
    if ((wanted != NULL && strncmp(base, wanted, NAMES_CLUSTER_BYTES) != 0) ||
        (wanted_base != NULL && strcmp(base, wanted_base) != 0)) {
        return;
    }
    choice->bases = memory_resize(choice->bases, (choice->n_bases + 1) * sizeof *choice->bases);
    memcpy(choice->bases[choice->n_bases++], base, strlen(base) + 1);
}

static enum status refuse_choice(struct choice *choice, struct error *error)
{
    const char *url = repository_url(choice->restore->repository);

    buffer_append_byte(&choice->clusters, 0);
    if (choice->n_clusters == 0) {
        return error_set(error, STATUS_NOT_FOUND, "there is no archive in %s", url);
    }
    if (choice->n_bases == 0) {
        return error_set(
            error, STATUS_NOT_FOUND, "there is no archive of cluster %s in %s, but of%.300s",
            choice->restore->options.base != NULL ? choice->restore->options.base
                                                  : choice->restore->options.cluster_id,
            url, choice->clusters.data);
    }
    return error_set(error, STATUS_MISMATCH,
                     "there are archives of %u clusters in %s: say which one is wanted:%.300s",
                     choice->n_clusters, url, choice->clusters.data);
}

static uint64_t end_of(const struct catalog *catalog, size_t full)
{
    uint64_t index = catalog->fulls[full].index;

    return index > catalog->last_index ? index : catalog->last_index;
}

/* Of the chains of one cluster, that which gets closest to the wanted point: to the newest one, or
 * the one with the newest full before it. */
static bool is_better(const struct restore *restore, const struct catalog *catalog, size_t full)
{
    const struct catalog *best = &restore->catalog;
    uint64_t end;
    uint64_t best_end;

    if (full == catalog->n_fulls || best->n_fulls == 0) {
        return full < catalog->n_fulls;
    }
    end = end_of(catalog, full);
    best_end = end_of(best, restore->full);
    return end != best_end ? end > best_end
                           : catalog->fulls[full].index > best->fulls[restore->full].index;
}

/* An earlier point does not need what is damaged at the end; the newest one was there. */
static enum status want_end(const struct restore *restore, const struct catalog *catalog,
                            struct error *error)
{
    if (catalog->end_damage[0] == '\0' || restore->options.to_revision != UINT64_MAX ||
        restore->options.to_time_ms != UINT64_MAX) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CORRUPT,
                     "%s. What is before it can be restored: say up to which revision, %" PRIu64
                     " at most",
                     catalog->end_damage, catalog->last_revision);
}

static enum status consider(struct restore *restore, const char *base, struct error *error)
{
    struct catalog catalog;
    size_t full;
    enum status status =
        catalog_load(restore->repository, base, restore->options.keys, &catalog, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = want_end(restore, &catalog, error);
    if (status != STATUS_OK) {
        catalog_close(&catalog);
        return status;
    }
    full = catalog_find_full(&catalog, UINT64_MAX, restore->options.to_revision,
                             restore->options.to_time_ms);
    if (catalog.n_damaged > 0) {
        memcpy(restore->damaged_full, catalog.damage, sizeof restore->damaged_full);
    }
    if (is_better(restore, &catalog, full)) {
        catalog_close(&restore->catalog);
        restore->catalog = catalog;
        restore->full = full;
        memcpy(restore->facts.base, base, strlen(base) + 1);
        memcpy(restore->facts.cluster_id, base, NAMES_CLUSTER_BYTES);
        return STATUS_OK;
    }
    catalog_close(&catalog);
    return STATUS_OK;
}

static enum status choose(struct restore *restore, struct choice *choice, struct error *error)
{
    enum status status = catalog_bases(restore->repository, on_base, choice, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (choice->n_bases == 0 || (restore->options.cluster_id == NULL &&
                                 restore->options.base == NULL && choice->n_clusters > 1)) {
        return refuse_choice(choice, error);
    }
    for (size_t i = 0; i < choice->n_bases && status == STATUS_OK; i++) {
        status = consider(restore, choice->bases[i], error);
    }
    if (status == STATUS_OK && restore->catalog.n_fulls == 0) {
        status = error_set(error, STATUS_NOT_FOUND,
                           "there is no whole full at or before the wanted point in %s%s%s",
                           repository_url(restore->repository),
                           restore->damaged_full[0] == '\0' ? "" : ": ", restore->damaged_full);
    }
    if (status == STATUS_OK && restore->damaged_full[0] != '\0' &&
        restore->options.on_damage != NULL) {
        restore->options.on_damage(restore->options.data, restore->damaged_full);
    }
    return status;
}

static enum status plan(struct restore *restore, struct error *error)
{
    struct choice choice = {.restore = restore};
    const struct catalog_full *full;
    enum status status = choose(restore, &choice, error);

    buffer_close(&choice.clusters);
    free(choice.bases);
    if (status != STATUS_OK) {
        return status;
    }
    full = &restore->catalog.fulls[restore->full];
    status = full_manifest(restore->repository, full->directory, &restore->manifest, error);
    if (status != STATUS_OK) {
        return status;
    }
    restore->has_manifest = true;
    restore->is_damaged =
        memory_new_zeroed(restore->catalog.n_merged + 1, sizeof *restore->is_damaged);
    memcpy(restore->facts.full_directory, full->directory, sizeof full->directory);
    restore->facts.full_index = full->index;
    restore->facts.full_revision = full->revision;
    restore->facts.index = full->index;
    restore->facts.revision = full->revision;
    restore->facts.time_ms = full->time_ms;
    return STATUS_OK;
}

enum status restore_open(const struct restore_options *options, struct restore **restore,
                         struct error *error)
{
    const struct repository_options repository = {
        .url = options->url, .data = options->data, .is_canceled = options->is_canceled};
    struct restore *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status;

    opened->options = *options;
    if (opened->options.n_threads == 0) {
        opened->options.n_threads = RESTORE_THREADS;
    }
    status = repository_open(&repository, &opened->repository, error);
    if (status == STATUS_OK) {
        status = plan(opened, error);
    }
    if (status != STATUS_OK) {
        restore_close(opened);
        return status;
    }
    *restore = opened;
    return STATUS_OK;
}

void restore_close(struct restore *restore)
{
    if (restore == NULL) {
        return;
    }
    if (restore->has_manifest) {
        manifest_close(&restore->manifest);
    }
    free(restore->is_damaged);
    catalog_close(&restore->catalog);
    repository_close(restore->repository);
    buffer_close(&restore->piece);
    free(restore);
}

const struct restore_facts *restore_facts(const struct restore *restore)
{
    return &restore->facts;
}

/* --- The full --- */

void restore_tell(struct restore *restore, enum restore_phase phase, uint64_t bytes,
                  uint64_t of_bytes)
{
    if (restore->options.on_progress != NULL) {
        restore->options.on_progress(restore->options.data, phase, bytes, of_bytes);
    }
}

/* The first piece of what came, if it is whole. STATUS_END: not yet. */
static enum status take_piece(struct restore *restore, struct slice *rest, struct slice *piece,
                              struct image_piece *head, struct error *error)
{
    enum status status;

    if (rest->size < IMAGE_HEAD_BYTES) {
        return STATUS_END;
    }
    status = image_piece_look(*rest, head, error);
    if (status != STATUS_OK) {
        return error_prefix(error, "the image in %s", restore->facts.base);
    }
    if (rest->size < head->size) {
        return STATUS_END;
    }
    *piece = slice_of(rest->data, head->size);
    *rest = slice_from(*rest, head->size);
    return STATUS_OK;
}

static enum status on_image_bytes(void *data, struct slice content, struct error *error)
{
    struct restore *restore = data;
    struct image_piece head;
    struct slice piece;
    struct slice rest;
    enum status status = STATUS_OK;

    buffer_append_slice(&restore->piece, content);
    rest = buffer_slice(&restore->piece);
    while (status == STATUS_OK &&
           (status = take_piece(restore, &rest, &piece, &head, error)) == STATUS_OK) {
        /* What an earlier attempt has imported comes again. */
        if (head.number >= image_import_next(restore->import)) {
            status = image_import_feed(restore->import, piece, error);
        }
        restore->facts.state_bytes += head.content_bytes;
    }
    buffer_consume(&restore->piece, restore->piece.size - rest.size);
    restore_tell(restore, RESTORE_IMPORT, restore->facts.state_bytes,
                 restore->manifest.content_bytes);
    return status == STATUS_END ? STATUS_OK : status;
}

static enum status import_full(struct restore *restore, const char *directory, struct error *error)
{
    const struct manifest *manifest = &restore->manifest;
    const struct image_totals *totals;
    enum status status =
        image_import_resume(directory, image_facts_are, &manifest->facts, &restore->import, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = full_read(restore->ahead, restore->catalog.fulls[restore->full].directory, manifest,
                       restore->options.keys, on_image_bytes, restore, error);
    if (status == STATUS_OK) {
        totals = image_import_totals(restore->import);
        if (!image_import_is_done(restore->import) || restore->piece.size > 0 ||
            memcmp(totals->digest, manifest->digest, sizeof manifest->digest) != 0 ||
            !image_facts_are(&manifest->facts, image_import_facts(restore->import))) {
            status =
                error_set(error, STATUS_CORRUPT, "the image in %s is not the one of its manifest",
                          restore->facts.base);
        }
    }
    image_import_close(restore->import);
    return status;
}

/* --- All --- */

static enum status check_full(struct restore *restore, struct error *error)
{
    const struct manifest *manifest = &restore->manifest;
    struct restore_facts *facts = &restore->facts;
    uint64_t revision;
    enum status status = replay_look(restore->replay, facts->hash, &revision, error);

    if (status != STATUS_OK) {
        return status;
    }
    facts->term = manifest->facts.state.applied_term;
    if (memcmp(facts->hash, manifest->state_hash, sizeof facts->hash) != 0) {
        return error_set(error, STATUS_CORRUPT,
                         "the state in %s is not what its manifest says: another hash",
                         facts->base);
    }
    return STATUS_OK;
}

static enum status make_state(struct restore *restore, const char *directory, struct error *error)
{
    const struct store_options options = {.directory = directory};
    enum status status = import_full(restore, directory, error);

    if (status == STATUS_OK) {
        status = store_open(&options, &restore->store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = replay_open(restore->store, REPLAY_ARCHIVE, &restore->replay, error);
    if (status == STATUS_OK) {
        status = check_full(restore, error);
        if (status == STATUS_OK) {
            status = restore_replay(restore, error);
        }
        replay_close(restore->replay);
    }
    store_close(restore->store);
    return status;
}

enum status restore_run(struct restore *restore, const char *directory, struct error *error)
{
    enum status status = restore_read_ahead(restore, true, error);

    if (status == STATUS_OK) {
        status = make_state(restore, directory, error);
    }
    repository_close(restore->ahead);
    restore->ahead = NULL;
    return status;
}
