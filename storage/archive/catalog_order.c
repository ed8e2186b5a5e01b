/* What follows from the names of deltas and merged ones. A delta goes up to where the next object
 * begins: its own last index is in it only. That is right even if two archivers wrote deltas that
 * overlap, as whoever goes on begins behind the end of the one that begins last; and where there is
 * a gap, it takes a delta for longer than it is, which then has no merged one that has all of it.
 */
#include "storage/archive/catalog.h"

#include <stdlib.h>

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_deltas(const void *a, const void *b)
{
    return compare(((const struct catalog_delta *)a)->first_index,
                   ((const struct catalog_delta *)b)->first_index);
}

static int compare_merged(const void *a, const void *b)
{
    const struct catalog_merged *one = a;
    const struct catalog_merged *other = b;

    if (one->first_index != other->first_index) {
        return compare(one->first_index, other->first_index);
    }
    if (one->last_index != other->last_index) {
        return compare(other->last_index, one->last_index);
    }
    return compare(one->created_ms, other->created_ms);
}

/* Each goes up to where the next delta or merged one begins. */
static void find_ends(struct catalog *catalog)
{
    size_t k = 0;

    for (size_t i = 0; i < catalog->n_deltas; i++) {
        struct catalog_delta *delta = &catalog->deltas[i];
        uint64_t next = i + 1 < catalog->n_deltas ? catalog->deltas[i + 1].first_index : UINT64_MAX;

        while (k < catalog->n_merged && catalog->merged[k].first_index <= delta->first_index) {
            k++;
        }
        if (k < catalog->n_merged && catalog->merged[k].first_index < next) {
            next = catalog->merged[k].first_index;
        }
        delta->last_index = next == UINT64_MAX ? UINT64_MAX : next - 1;
    }
}

/* 0 is for what is not merged, whatever a clock says. */
static uint64_t merged_ms_of(const struct catalog_merged *merged)
{
    return merged->created_ms == 0 ? 1 : merged->created_ms;
}

/* A longer one, or an equal one that is older, comes first: the first that goes so far has it. */
static void find_merged_in_others(struct catalog *catalog)
{
    const struct catalog_merged *furthest = NULL;

    for (size_t i = 0; i < catalog->n_merged; i++) {
        struct catalog_merged *merged = &catalog->merged[i];
        bool is_inside = furthest != NULL && merged->last_index <= furthest->last_index;

        merged->merged_ms = is_inside ? merged_ms_of(furthest) : 0;
        furthest = is_inside ? furthest : merged;
    }
}

/* Those that are in no other one end in the order in which they begin. */
static void find_merged_deltas(struct catalog *catalog)
{
    size_t k = 0;

    for (size_t i = 0; i < catalog->n_deltas; i++) {
        struct catalog_delta *delta = &catalog->deltas[i];

        while (k < catalog->n_merged && (catalog->merged[k].merged_ms != 0 ||
                                         catalog->merged[k].last_index < delta->last_index)) {
            k++;
        }
        delta->merged_ms =
            k < catalog->n_merged && catalog->merged[k].first_index <= delta->first_index
                ? merged_ms_of(&catalog->merged[k])
                : 0;
    }
}

void catalog_settle(struct catalog *catalog)
{
    if (catalog->n_deltas > 0) {
        qsort(catalog->deltas, catalog->n_deltas, sizeof *catalog->deltas, compare_deltas);
    }
    if (catalog->n_merged > 0) {
        qsort(catalog->merged, catalog->n_merged, sizeof *catalog->merged, compare_merged);
    }
    find_ends(catalog);
    find_merged_in_others(catalog);
    find_merged_deltas(catalog);
}

size_t catalog_find_delta(const struct catalog *catalog, uint64_t index)
{
    size_t first = 0;
    size_t end = catalog->n_deltas; /* All from there on begin later. */

    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (catalog->deltas[middle].first_index <= index + 1) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return end == 0 ? catalog->n_deltas : end - 1;
}

size_t catalog_find_merged(const struct catalog *catalog, uint64_t index, const bool *excluded)
{
    size_t found = catalog->n_merged;

    for (size_t i = 0; i < catalog->n_merged && catalog->merged[i].first_index <= index + 1; i++) {
        bool is_further = found == catalog->n_merged ||
                          catalog->merged[i].last_index > catalog->merged[found].last_index;

        if (catalog->merged[i].last_index > index && is_further &&
            (excluded == NULL || !excluded[i])) {
            found = i;
        }
    }
    return found;
}

size_t catalog_find_whole(const struct catalog *catalog, uint64_t first_index, uint64_t last_index)
{
    for (size_t i = 0; i < catalog->n_merged; i++) {
        if (catalog->merged[i].merged_ms == 0 && catalog->merged[i].first_index <= first_index &&
            catalog->merged[i].last_index >= last_index) {
            return i;
        }
    }
    return catalog->n_merged;
}

void catalog_merged_name(const char *base, const struct catalog_merged *merged,
                         char name[NAMES_BYTES])
{
    names_merged(base, merged->first_index, merged->last_index, merged->created_ms, name);
}
