#include "tests/lib/archive_chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/archive/retention.h"

static void load(struct repository *repository, const char *base, const struct master_keys *keys,
                 struct catalog *catalog)
{
    struct error error = {.text = ""};

    if (catalog_load(repository, base, keys, catalog, &error) != STATUS_OK) {
        fail_msg("the chain %s: %s", base, error.text);
    }
}

static struct delta_facts look(struct repository *repository, const char *name,
                               const struct master_keys *keys)
{
    struct delta_facts facts = {.last_index = 0};
    struct error error = {.text = ""};

    if (delta_look(repository, name, keys, &facts, &error) != STATUS_OK) {
        fail_msg("\"%s\": %s", name, error.text);
    }
    return facts;
}

/* Up to where merged ones go on behind @index, without a hole; 0: from the first one. */
static uint64_t go_through_merged(struct repository *repository, const char *base,
                                  const struct master_keys *keys, const struct catalog *catalog,
                                  uint64_t index)
{
    char name[NAMES_BYTES];

    for (size_t i = 0; i < catalog->n_merged; i++) {
        bool goes_on = index == 0 || (catalog->merged[i].first_index <= index + 1 &&
                                      catalog->merged[i].last_index > index);

        if (goes_on) {
            catalog_merged_name(base, &catalog->merged[i], name);
            index = look(repository, name, keys).last_index;
            assert_int_equal(index, catalog->merged[i].last_index);
        }
    }
    return index;
}

static void look_at_delta(struct repository *repository, const char *base,
                          const struct master_keys *keys, const struct catalog *catalog, size_t i,
                          struct archive_chain *chain)
{
    struct delta_facts facts;
    char name[NAMES_BYTES];
    bool is_first = i == 0 && (catalog->n_merged == 0 ||
                               catalog->merged[0].first_index > catalog->deltas[0].first_index);

    names_delta(base, catalog->deltas[i].first_index, name);
    facts = look(repository, name, keys);
    if (i > 0 && facts.first_index <= chain->delta_index) {
        fail_msg("the delta %llu of %s overlaps the one before, which ends at %llu",
                 (unsigned long long)facts.first_index, base,
                 (unsigned long long)chain->delta_index);
    }
    if (!is_first) {
        chain->last_index = go_through_merged(repository, base, keys, catalog, chain->last_index);
        chain->gaps += facts.first_index > chain->last_index + 1 ? 1 : 0;
    }
    chain->deltas++;
    chain->delta_index = facts.last_index;
    if (facts.last_index > chain->last_index) {
        chain->last_index = facts.last_index;
    }
}

void archive_chain_check(struct repository *repository, const char *base,
                         const struct master_keys *keys, struct archive_chain *chain)
{
    struct catalog catalog;

    load(repository, base, keys, &catalog);
    *chain = (struct archive_chain){
        .fulls = catalog.n_fulls,
        .orphans = catalog.n_orphans,
        .first_revision = catalog.n_fulls == 0 ? UINT64_MAX : catalog.fulls[0].revision};
    for (size_t i = 0; i < catalog.n_deltas; i++) {
        look_at_delta(repository, base, keys, &catalog, i, chain);
    }
    for (size_t i = 0; i < catalog.n_fulls; i++) {
        if (!catalog.fulls[i].is_whole) {
            fail_msg("the full %s is not whole", catalog.fulls[i].directory);
        }
    }
    catalog_close(&catalog);
}

uint64_t archive_chain_stale_orphans(struct repository *repository, const char *base,
                                     const struct master_keys *keys)
{
    const struct retention_policy policy = retention_of_days(RETENTION_DAYS);
    struct retention_plan plan;
    struct catalog catalog;
    uint64_t n = 0;

    load(repository, base, keys, &catalog);
    assert_true(catalog.n_fulls > 0);
    while (n < catalog.n_orphans &&
           catalog.orphans[n].index < catalog.fulls[catalog.n_fulls - 1].index) {
        n++;
    }
    retention_plan(&catalog, &policy,
                   catalog.fulls[catalog.n_fulls - 1].created_ms + 2 * RETENTION_GRACE_MS, &plan);
    n -= plan.n_orphans;
    retention_plan_close(&plan);
    catalog_close(&catalog);
    return n;
}
