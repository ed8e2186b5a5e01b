/* What the files of a restore share: restore.c (from what, the full, all of it) and
 * restore_replay.c (the deltas behind it). */
#ifndef HOLDFAST_STORAGE_ARCHIVE_RESTORE_PRIVATE_H
#define HOLDFAST_STORAGE_ARCHIVE_RESTORE_PRIVATE_H

#include "storage/archive/catalog.h"
#include "storage/archive/restore.h"
#include "storage/replay.h"

struct restore {
    struct restore_options options;
    struct repository *repository;
    struct catalog catalog;
    size_t full; /* Of the catalog's. */
    struct manifest manifest;
    bool has_manifest;
    struct restore_facts facts;
    char damaged_full[ERROR_MAX_TEXT]; /* One that cannot be used, and why; "": none is known. */

    /* While it runs. */
    struct repository *ahead; /* What comes next is fetched already (ahead.h). */
    struct image_import *import;
    struct buffer piece; /* Of the image; whole pieces are fed and taken away. */
    struct store *store;
    struct replay *replay;
    uint64_t replayed_bytes;
    bool has_arrived;     /* The next step is behind the wanted point. */
    bool has_failed;      /* A step could not be executed, or gave another state. */
    bool *is_damaged;     /* Beside catalog.merged: what is in it is taken from elsewhere. */
    bool has_damage;      /* One of them is, at least; */
    struct error damage;  /* what is wrong with the last one. */
    uint64_t damaged_end; /* Up to where the furthest of them goes. */
};

/* restore.c */

void restore_tell(struct restore *restore, enum restore_phase phase, uint64_t bytes,
                  uint64_t of_bytes);

/* restore_replay.c */

/* Have what comes next fetched ahead: the full, unless that is done, and the deltas from where it
 * is. As repository_open(). */
MUST_USE enum status restore_read_ahead(struct restore *restore, bool with_full,
                                        struct error *error);
/* Execute what is behind the full, up to the wanted point. */
MUST_USE enum status restore_replay(struct restore *restore, struct error *error);

#endif
