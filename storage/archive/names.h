/* How the objects of an archive are called. A chain is what one archiver after the other writes of
 * one cluster: of all of it, or of one node to a repository that is the node's own.
 *
 *   CLUSTER/CHAIN/full/INDEX-TOKEN/seg-N     the state at a log index: an image, cut into segments
 *   CLUSTER/CHAIN/full/INDEX-TOKEN/MANIFEST  which is there when it was written, last (manifest.h)
 *   CLUSTER/CHAIN/log/FIRST                  what was executed from a log index on (delta.h)
 *   CLUSTER/CHAIN/merged/FIRST-LAST-CREATED  the same, of many of those, up to LAST (merge.h)
 *   CLUSTER/CHAIN/pins/INDEX-TOKEN           this full is never removed, as long as that is there
 *   CLUSTER/CHAIN/verified/INDEX-TOKEN-WHEN-REVISION-TOOK  a restore from this full was tried, and
 *                                            was right
 *
 * CLUSTER is its UUID, CHAIN is "cluster" or "node-ID", indexes have 20 digits, TOKEN is random, so
 * that nobody ever writes into the full of another. CREATED is the wall clock of who merged, in
 * milliseconds since 1970, with 14 digits: what is merged is removed some time after that, and a
 * listing alone tells what goes when. WHEN is such a time, REVISION where the restore ended (20
 * digits), TOOK how long it took, in milliseconds (10 digits). Pure. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_NAMES_H
#define HOLDFAST_STORAGE_ARCHIVE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/archive/repository.h"

#define NAMES_CLUSTER_BYTES 36u /* A UUID as text. */
#define NAMES_BASE_BYTES    64u /* With NUL. */
#define NAMES_BYTES         (REPOSITORY_NAME_BYTES + 1)

/* "CLUSTER/CHAIN/". @node_id: 0: the chain of all of the cluster. */
void names_base(const char *cluster_id, uint64_t node_id, char base[NAMES_BASE_BYTES]);

/* Of what is below @base. */
void names_full_directory(const char *base, uint64_t index, uint32_t token, char name[NAMES_BYTES]);
void names_segment(const char *full_directory, unsigned number, char name[NAMES_BYTES]);
void names_manifest(const char *full_directory, char name[NAMES_BYTES]);
void names_pin(const char *full_directory, char name[NAMES_BYTES]);
void names_delta(const char *base, uint64_t first_index, char name[NAMES_BYTES]);
/* @created_ms: above NAMES_MAX_MS, that is taken. */
void names_merged(const char *base, uint64_t first_index, uint64_t last_index, uint64_t created_ms,
                  char name[NAMES_BYTES]);

#define NAMES_MAX_MS      99999999999999
#define NAMES_MAX_TOOK_MS 9999999999

/* A restore that was right. */
struct names_verification {
    uint64_t when_ms; /* By the wall clock; 0: there was none. */
    uint64_t revision;
    uint64_t took_ms;
};
/* Numbers that are too large for their digits are cut to the largest. */
void names_verified(const char *full_directory, const struct names_verification *verification,
                    char name[NAMES_BYTES]);
/* What the names of all verifications of the full begin with. */
void names_verified_prefix(const char *full_directory, char prefix[NAMES_BYTES]);

enum names_kind {
    NAMES_OTHER,
    NAMES_SEGMENT,
    NAMES_MANIFEST,
    NAMES_DELTA,
    NAMES_MERGED,
    NAMES_PIN,
    NAMES_VERIFIED
};

struct names_parsed {
    enum names_kind kind;
    char base[NAMES_BASE_BYTES];
    uint64_t index;                   /* Of a full, or the first one of a delta. */
    uint64_t last_index;              /* Of a merged one; */
    uint64_t created_ms;              /* the same; else 0. */
    char full_directory[NAMES_BYTES]; /* Also the one that is pinned or verified; "" for a delta. */
    struct names_verification verification;
};

/* Which object of which chain this is; false: none of an archive. */
bool names_parse(const char *name, struct names_parsed *parsed);

#endif
