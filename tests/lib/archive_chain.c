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

static void look_at_delta(struct repository *repository, const char *base,
                          const struct master_keys *keys, uint64_t first_index,
                          struct archive_chain *chain)
{
    struct delta_facts facts;
    struct error error = {.text = ""};

    if (delta_look(repository, base, first_index, keys, &facts, &error) != STATUS_OK) {
        fail_msg("a delta of %s: %s", base, error.text);
    }
    if (chain->deltas++ > 0) {
        if (facts.first_index <= chain->last_index) {
            fail_msg("the delta %llu of %s overlaps the one before, which ends at %llu",
                     (unsigned long long)facts.first_index, base,
                     (unsigned long long)chain->last_index);
        }
        chain->gaps += facts.first_index > chain->last_index + 1 ? 1 : 0;
    }
    chain->last_index = facts.last_index;
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
        look_at_delta(repository, base, keys, catalog.deltas[i].first_index, chain);
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
    const struct retention_policy policy = {.deltas_ms = RETENTION_DELTAS_MS,
                                            .fulls_ms = RETENTION_FULLS_MS,
                                            .grace_ms = RETENTION_GRACE_MS};
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
