/* What a chain in a repository consists of, as a listing and the manifests tell it. Any thread that
 * may wait for the repository. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_CATALOG_H
#define HOLDFAST_STORAGE_ARCHIVE_CATALOG_H

#include "storage/archive/delta.h"
#include "storage/archive/manifest.h"

struct catalog_full {
    char directory[NAMES_BYTES];
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;       /* The cluster's. */
    uint64_t created_ms;    /* The archiver's wall clock. */
    uint64_t bytes;         /* In the repository. */
    uint64_t content_bytes; /* Of records. */
    uint64_t records;
    unsigned n_segments;
    bool is_whole;  /* Every segment is listed, with the size that the manifest says. */
    bool is_pinned; /* It is kept whatever the policy says. */
    struct names_verification verified; /* The last one that is known. */
};

struct catalog_delta {
    uint64_t first_index;
    /* As far as a listing tells: behind it another one begins, merged or not. UINT64_MAX: none
     * does. */
    uint64_t last_index;
    uint64_t bytes;     /* In the repository. */
    uint64_t merged_ms; /* When a merged one was made that has all of it; 0: there is none. */
};

struct catalog_merged {
    uint64_t first_index;
    uint64_t last_index;
    uint64_t created_ms; /* The archiver's wall clock. */
    uint64_t bytes;      /* In the repository. */
    uint64_t merged_ms;  /* As above: of another one that has all of it. */
};

/* A segment without a manifest. */
struct catalog_orphan {
    char name[NAMES_BYTES];
    uint64_t index;
};

struct catalog {
    struct catalog_full *fulls; /* By index. */
    size_t n_fulls;
    struct catalog_delta *deltas; /* By index. */
    size_t n_deltas;
    struct catalog_merged *merged; /* By first index, then the longest first, then the oldest. */
    size_t n_merged;
    struct catalog_orphan *orphans; /* By index. */
    size_t n_orphans;
    uint64_t bytes; /* Of all of that. */
    /* Fulls whose manifest is damaged: they are not whole, and nothing else is known of them. */
    size_t n_damaged;
    char damage[ERROR_MAX_TEXT]; /* What is wrong with the last of them; "": none. */
    /* What is wrong with what comes last, merged or not; "": nothing. */
    char end_damage[ERROR_MAX_TEXT];
    /* Up to where the deltas go, without what is damaged at the end; without any, the newest full.
     * Zeros: there is nothing. */
    uint64_t last_index;
    uint64_t last_revision;
    uint64_t last_time_ms;
};

/* The chain with this base (names.h). As repository_list() and repository_read(). After STATUS_OK,
 * the caller ends with catalog_close().
 */
MUST_USE enum status catalog_load(struct repository *repository, const char *base,
                                  const struct master_keys *keys, struct catalog *catalog,
                                  struct error *error);
void catalog_close(struct catalog *catalog); /* It is empty then. */

/* Bring deltas and merged ones into order and find out what follows from their names: a catalog
 * that is loaded is so; who adds some calls it again. Pure. */
void catalog_settle(struct catalog *catalog);

/* The delta that holds what comes behind @index, if any does: the last one that begins there or
 * before; n_deltas: none. */
size_t catalog_find_delta(const struct catalog *catalog, uint64_t index);
/* The merged one that has it and goes furthest, but for those that are @excluded (as many as there
 * are, or NULL); n_merged: none. */
size_t catalog_find_merged(const struct catalog *catalog, uint64_t index, const bool *excluded);
/* The merged one that has all of what is between, and is not itself in another one. It is there if
 * merged_ms says so. */
size_t catalog_find_whole(const struct catalog *catalog, uint64_t first_index, uint64_t last_index);

/* The newest whole full that was verified, and the one that was verified last; n_fulls: none. */
size_t catalog_newest_verified(const struct catalog *catalog);
size_t catalog_last_verified(const struct catalog *catalog);

void catalog_merged_name(const char *base, const struct catalog_merged *merged,
                         char name[NAMES_BYTES]);

/* The newest whole full at or before all of these; n_fulls: none. */
size_t catalog_find_full(const struct catalog *catalog, uint64_t index, uint64_t revision,
                         uint64_t time_ms);

/* The bases of all chains in a repository, each once, in order. */
typedef void (*catalog_base_cb)(void *data, const char *base);
MUST_USE enum status catalog_bases(struct repository *repository, catalog_base_cb cb, void *data,
                                   struct error *error);

#endif
