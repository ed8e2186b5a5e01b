#include "storage/archive/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"

#define SEGMENT  "/seg-"
#define MANIFEST "/MANIFEST"
#define FULL     "full"
#define PINS     "pins"
#define VERIFIED "verified"

void names_base(const char *cluster_id, uint64_t node_id, char base[NAMES_BASE_BYTES])
{
    CHECK(strlen(cluster_id) == NAMES_CLUSTER_BYTES);
    if (node_id == 0) {
        (void)snprintf(base, NAMES_BASE_BYTES, "%s/cluster/", cluster_id); /* Fits. */
    } else {
        (void)snprintf(base, NAMES_BASE_BYTES, "%s/node-%016" PRIx64 "/", cluster_id, node_id);
    }
}

void names_full_directory(const char *base, uint64_t index, uint32_t token, char name[NAMES_BYTES])
{
    (void)snprintf(name, NAMES_BYTES, "%sfull/%020" PRIu64 "-%08" PRIx32, base, index,
                   token); /* Fits, as do the others. */
}

void names_segment(const char *full_directory, unsigned number, char name[NAMES_BYTES])
{
    CHECK(snprintf(name, NAMES_BYTES, "%s" SEGMENT "%06u", full_directory, number) <
          (int)NAMES_BYTES);
}

void names_manifest(const char *full_directory, char name[NAMES_BYTES])
{
    CHECK(snprintf(name, NAMES_BYTES, "%s" MANIFEST, full_directory) < (int)NAMES_BYTES);
}

/* "BASE/@kind/INDEX-TOKEN" */
static void name_beside(const char *full_directory, const char *kind, char name[NAMES_BYTES])
{
    const char *end = strrchr(full_directory, '/');
    size_t base_size = strlen(full_directory) - strlen(FULL) - strlen(end);

    CHECK(snprintf(name, NAMES_BYTES, "%.*s%s%s", (int)base_size, full_directory, kind, end) <
          (int)NAMES_BYTES);
}

void names_pin(const char *full_directory, char name[NAMES_BYTES])
{
    name_beside(full_directory, PINS, name);
}

static uint64_t at_most(uint64_t number, uint64_t most)
{
    return number < most ? number : most;
}

void names_verified_prefix(const char *full_directory, char prefix[NAMES_BYTES])
{
    size_t size;

    name_beside(full_directory, VERIFIED, prefix);
    size = strlen(prefix);
    CHECK(size + 1 < NAMES_BYTES);
    memcpy(prefix + size, "-", 2);
}

void names_verified(const char *full_directory, const struct names_verification *verification,
                    char name[NAMES_BYTES])
{
    char prefix[NAMES_BYTES];

    names_verified_prefix(full_directory, prefix);
    CHECK(snprintf(name, NAMES_BYTES, "%s%014" PRIu64 "-%020" PRIu64 "-%010" PRIu64, prefix,
                   at_most(verification->when_ms, NAMES_MAX_MS), verification->revision,
                   at_most(verification->took_ms, NAMES_MAX_TOOK_MS)) < (int)NAMES_BYTES);
}

void names_delta(const char *base, uint64_t first_index, char name[NAMES_BYTES])
{
    (void)snprintf(name, NAMES_BYTES, "%slog/%020" PRIu64, base, first_index);
}

void names_merged(const char *base, uint64_t first_index, uint64_t last_index, uint64_t created_ms,
                  char name[NAMES_BYTES])
{
    (void)snprintf(name, NAMES_BYTES, "%smerged/%020" PRIu64 "-%020" PRIu64 "-%014" PRIu64, base,
                   first_index, last_index, at_most(created_ms, NAMES_MAX_MS));
}

/* What is parsed is written again, and compared, so that nothing but what we write is taken. */
static bool is_same(const char *name, const char *again)
{
    return strcmp(name, again) == 0;
}

static bool parse_full(const char *name, const char *rest, struct names_parsed *parsed)
{
    char again[NAMES_BYTES];
    uint32_t token = 0;
    unsigned number = 0;

    if (sscanf(rest, "full/%20" SCNu64 "-%8" SCNx32, &parsed->index, &token) != 2) {
        return false;
    }
    names_full_directory(parsed->base, parsed->index, token, parsed->full_directory);
    names_manifest(parsed->full_directory, again);
    parsed->kind = NAMES_MANIFEST;
    if (is_same(name, again)) {
        return true;
    }
    parsed->kind = NAMES_SEGMENT;
    rest = name + strlen(parsed->full_directory);
    if (strlen(name) < strlen(parsed->full_directory) ||
        sscanf(rest, SEGMENT "%6u", &number) != 1) {
        return false;
    }
    names_segment(parsed->full_directory, number, again);
    return is_same(name, again);
}

static bool parse_pin(const char *name, const char *rest, struct names_parsed *parsed)
{
    char again[NAMES_BYTES];
    uint32_t token = 0;

    if (sscanf(rest, PINS "/%20" SCNu64 "-%8" SCNx32, &parsed->index, &token) != 2) {
        return false;
    }
    parsed->kind = NAMES_PIN;
    names_full_directory(parsed->base, parsed->index, token, parsed->full_directory);
    names_pin(parsed->full_directory, again);
    return is_same(name, again);
}

static bool parse_verified(const char *name, const char *rest, struct names_parsed *parsed)
{
    struct names_verification *verification = &parsed->verification;
    char again[NAMES_BYTES];
    uint32_t token = 0;

    if (sscanf(rest, VERIFIED "/%20" SCNu64 "-%8" SCNx32 "-%14" SCNu64 "-%20" SCNu64 "-%10" SCNu64,
               &parsed->index, &token, &verification->when_ms, &verification->revision,
               &verification->took_ms) != 5) {
        return false;
    }
    parsed->kind = NAMES_VERIFIED;
    names_full_directory(parsed->base, parsed->index, token, parsed->full_directory);
    names_verified(parsed->full_directory, verification, again);
    return is_same(name, again);
}

static bool parse_delta(const char *name, const char *rest, struct names_parsed *parsed)
{
    char again[NAMES_BYTES];

    if (sscanf(rest, "log/%20" SCNu64, &parsed->index) != 1) {
        return false;
    }
    parsed->kind = NAMES_DELTA;
    names_delta(parsed->base, parsed->index, again);
    return is_same(name, again);
}

static bool parse_merged(const char *name, const char *rest, struct names_parsed *parsed)
{
    char again[NAMES_BYTES];

    if (sscanf(rest, "merged/%20" SCNu64 "-%20" SCNu64 "-%14" SCNu64, &parsed->index,
               &parsed->last_index, &parsed->created_ms) != 3) {
        return false;
    }
    parsed->kind = NAMES_MERGED;
    names_merged(parsed->base, parsed->index, parsed->last_index, parsed->created_ms, again);
    return is_same(name, again) && parsed->last_index >= parsed->index;
}

bool names_parse(const char *name, struct names_parsed *parsed)
{
    const char *slash = strchr(name, '/');
    const char *rest = slash == NULL ? NULL : strchr(slash + 1, '/');
    size_t base_size;

    *parsed = (struct names_parsed){.kind = NAMES_OTHER};
    if (rest == NULL || slash - name != NAMES_CLUSTER_BYTES) {
        return false;
    }
    rest++;
    base_size = (size_t)(rest - name);
    if (base_size >= NAMES_BASE_BYTES || strlen(name) > REPOSITORY_NAME_BYTES) {
        return false;
    }
    memcpy(parsed->base, name, base_size);
    if (parse_full(name, rest, parsed) || parse_delta(name, rest, parsed) ||
        parse_merged(name, rest, parsed) || parse_pin(name, rest, parsed) ||
        parse_verified(name, rest, parsed)) {
        return true;
    }
    parsed->kind = NAMES_OTHER;
    return false;
}
