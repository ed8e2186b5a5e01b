#include "storage/archive/prune.h"

#include "daemon/base/check.h"
#include "storage/archive/marks.h"

struct pruning {
    const struct prune_options *options;
    struct prune_totals *totals;
};

/* --- Objects --- */

static enum status remove_one(struct pruning *pruning, const char *name, struct error *error)
{
    const struct prune_options *options = pruning->options;
    enum status status = STATUS_OK;

    if (options->before_remove != NULL) {
        status = options->before_remove(options->data, pruning->totals, error);
    }
    if (status == STATUS_OK) {
        status = repository_remove(options->repository, name, error);
        pruning->totals->removed += status == STATUS_OK ? 1 : 0;
    }
    return status;
}

/* The manifest first: what is left of a full without it is invisible. */
static enum status remove_full(struct pruning *pruning, const struct catalog_full *full,
                               struct error *error)
{
    char name[NAMES_BYTES];
    enum status status;

    status = marks_forget(pruning->options->repository, full->directory, error);
    if (status == STATUS_OK) {
        names_manifest(full->directory, name);
        status = remove_one(pruning, name, error);
    }
    for (unsigned i = 0; i < full->n_segments && status == STATUS_OK; i++) {
        names_segment(full->directory, i, name);
        status = remove_one(pruning, name, error);
    }
    return status;
}

/* What is held for longer, by an object lock say, or may not be removed, is left for later. */
static bool is_held(struct pruning *pruning, enum status *status, const struct error *error)
{
    const struct prune_options *options = pruning->options;

    if (*status != STATUS_PERMISSION) {
        return false;
    }
    *status = STATUS_OK;
    if (pruning->totals->held++ == 0 && options->on_held != NULL) {
        options->on_held(options->data, error->text);
    }
    return true;
}

/* --- Deltas --- */

static void name_of_delta(const struct pruning *pruning, size_t i, char name[NAMES_BYTES])
{
    names_delta(pruning->options->base, pruning->options->catalog->deltas[i].first_index, name);
}

static void name_of_merged(const struct pruning *pruning, size_t i, char name[NAMES_BYTES])
{
    catalog_merged_name(pruning->options->base, &pruning->options->catalog->merged[i], name);
}

/* The oldest first, and no further than the first one that is held: what is left has no hole. */
static enum status remove_old(struct pruning *pruning, const enum retention_fate *fates, size_t n,
                              void (*name_of)(const struct pruning *pruning, size_t i,
                                              char name[NAMES_BYTES]),
                              struct error *error)
{
    char name[NAMES_BYTES];
    enum status status = STATUS_OK;

    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        if (fates[i] == RETENTION_OLD) {
            name_of(pruning, i, name);
            status = remove_one(pruning, name, error);
            if (is_held(pruning, &status, error)) {
                return STATUS_OK;
            }
        }
    }
    return status;
}

static enum status on_checked_step(void *data, const struct step *step, struct error *error)
{
    struct pruning *pruning = data;
    const struct prune_options *options = pruning->options;

    return options->on_read == NULL
               ? STATUS_OK
               : options->on_read(options->data, step->entry.size + STEP_OVERHEAD_BYTES, error);
}

/* All of it is read: its blocks and steps have checksums, steps follow each other from the first to
 * the last index in its name, and end in the state that it says. */
static enum status check_merged(struct pruning *pruning, size_t i, bool *is_sound,
                                struct error *error)
{
    struct delta_facts facts;
    char name[NAMES_BYTES];
    enum status status;

    name_of_merged(pruning, i, name);
    status = delta_read(pruning->options->repository, name, pruning->options->keys, &facts,
                        on_checked_step, pruning, error);
    *is_sound = status == STATUS_OK;
    if (status != STATUS_CORRUPT && status != STATUS_NOT_FOUND && status != STATUS_UNSUPPORTED) {
        return status;
    }
    pruning->totals->damaged++;
    if (pruning->options->on_damage != NULL) {
        pruning->options->on_damage(pruning->options->data, error->text);
    }
    return STATUS_OK;
}

/* A merged one that has what others have, too. */
struct keeper {
    size_t i; /* n_merged: none was looked at. */
    bool is_sound;
};

/* Remove an object whose steps are in a merged one, if that is sound. */
static enum status remove_twice(struct pruning *pruning, struct keeper *keeper,
                                uint64_t first_index, uint64_t last_index, const char *name,
                                struct error *error)
{
    size_t i = catalog_find_whole(pruning->options->catalog, first_index, last_index);
    enum status status = STATUS_OK;

    if (i == pruning->options->catalog->n_merged) {
        return STATUS_OK;
    }
    if (i != keeper->i) {
        keeper->i = i;
        status = check_merged(pruning, i, &keeper->is_sound, error);
    }
    return status == STATUS_OK && keeper->is_sound ? remove_one(pruning, name, error) : status;
}

/* The first one that is held ends it: the others are younger, so they are held too. */
static enum status remove_all_twice(struct pruning *pruning, const struct retention_plan *plan,
                                    struct error *error)
{
    const struct catalog *catalog = pruning->options->catalog;
    struct keeper keeper = {.i = catalog->n_merged};
    char name[NAMES_BYTES];
    bool held = false;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < catalog->n_deltas && status == STATUS_OK && !held; i++) {
        if (plan->deltas[i] == RETENTION_TWICE) {
            name_of_delta(pruning, i, name);
            status = remove_twice(pruning, &keeper, catalog->deltas[i].first_index,
                                  catalog->deltas[i].last_index, name, error);
            held = is_held(pruning, &status, error);
        }
    }
    for (size_t i = 0; i < catalog->n_merged && status == STATUS_OK && !held; i++) {
        if (plan->merged[i] == RETENTION_TWICE) {
            name_of_merged(pruning, i, name);
            status = remove_twice(pruning, &keeper, catalog->merged[i].first_index,
                                  catalog->merged[i].last_index, name, error);
            held = is_held(pruning, &status, error);
        }
    }
    return status;
}

/* --- All --- */

/* A full before the deltas that follow it: deltas without one lead nowhere, and a full without
 * deltas is still a point. */
static enum status remove_planned(struct pruning *pruning, struct error *error)
{
    const struct catalog *catalog = pruning->options->catalog;
    const struct retention_plan *plan = pruning->options->plan;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < catalog->n_fulls && status == STATUS_OK; i++) {
        if (plan->drops_full[i]) {
            status = remove_full(pruning, &catalog->fulls[i], error);
            (void)is_held(pruning, &status, error); /* Then its manifest is, too. */
        }
    }
    if (status == STATUS_OK) {
        status = remove_old(pruning, plan->deltas, catalog->n_deltas, name_of_delta, error);
    }
    if (status == STATUS_OK) {
        status = remove_old(pruning, plan->merged, catalog->n_merged, name_of_merged, error);
    }
    if (status == STATUS_OK) {
        status = remove_all_twice(pruning, plan, error);
    }
    for (size_t i = 0; i < plan->n_orphans && status == STATUS_OK; i++) {
        status = remove_one(pruning, catalog->orphans[i].name, error);
        (void)is_held(pruning, &status, error); /* The next one may not be. */
    }
    return status;
}

enum status prune(const struct prune_options *options, struct prune_totals *totals,
                  struct error *error)
{
    struct pruning pruning = {.options = options, .totals = totals};

    *totals = (struct prune_totals){.removed = 0};
    return remove_planned(&pruning, error);
}
