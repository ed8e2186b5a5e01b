/* Removing what a plan (retention.h) says that a chain does not need. What is in a merged one, too,
 * is removed only after that was read, and is sound: so it does not matter who merged, and what
 * happened to it since. One thread, which waits for the repository. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_PRUNE_H
#define HOLDFAST_STORAGE_ARCHIVE_PRUNE_H

#include "storage/archive/retention.h"

struct prune_totals {
    uint64_t removed; /* Objects. */
    uint64_t held;    /* That are held for longer, or may not be removed. */
    uint64_t damaged; /* Merged ones, for whose sake others stay. */
};

/* All is borrowed. */
struct prune_options {
    struct repository *repository;
    const char *base; /* names_base() */
    const struct master_keys *keys;
    const struct catalog *catalog; /* Of the chain. */
    const struct retention_plan *plan;
    void *data;
    /* All may be NULL. Before each object is removed: anything but STATUS_OK ends it with that. */
    enum status (*before_remove)(void *data, const struct prune_totals *totals,
                                 struct error *error);
    /* So many bytes of a merged one were read. */
    enum status (*on_read)(void *data, uint64_t bytes, struct error *error);
    /* The first object that is held, or a merged one that is damaged: @why names it. */
    void (*on_held)(void *data, const char *why);
    void (*on_damage)(void *data, const char *why);
};

/* @totals is written in any case. As repository_remove() and repository_read(). */
MUST_USE enum status prune(const struct prune_options *options, struct prune_totals *totals,
                           struct error *error);

#endif
