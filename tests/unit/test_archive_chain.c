/* What a chain is made of: names, manifests, and which parts of it are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/manifest.h"
#include "storage/archive/retention.h"

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"
#define HOUR_MS (3600ull * 1000)
#define DAY_MS  (24 * HOUR_MS)
#define NOW_MS  (1000 * DAY_MS)

/* --- Names --- */

static void names_are_parsed_back(void **state)
{
    struct names_parsed parsed;
    char base[NAMES_BASE_BYTES];
    char directory[NAMES_BYTES];
    char name[NAMES_BYTES];

    (void)state;
    names_base(CLUSTER, 0x1f, base);
    assert_string_equal(base, CLUSTER "/node-000000000000001f/");
    names_base(CLUSTER, 0, base);
    assert_string_equal(base, CLUSTER "/cluster/");

    names_delta(base, 77, name);
    assert_string_equal(name, CLUSTER "/cluster/log/00000000000000000077");
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_DELTA);
    assert_int_equal(parsed.index, 77);
    assert_string_equal(parsed.base, base);

    names_merged(base, 77, 1234, 1700000000000, name);
    assert_string_equal(name, CLUSTER
                        "/cluster/merged/00000000000000000077-00000000000000001234-01700000000000");
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_MERGED);
    assert_int_equal(parsed.index, 77);
    assert_int_equal(parsed.last_index, 1234);
    assert_int_equal(parsed.created_ms, 1700000000000);
    assert_string_equal(parsed.base, base);
    names_merged(base, 77, 77, UINT64_MAX, name);
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.created_ms, NAMES_MAX_MS);

    names_full_directory(base, UINT64_MAX, 0xabc, directory);
    names_segment(directory, 4095, name);
    assert_string_equal(name, CLUSTER "/cluster/full/18446744073709551615-00000abc/seg-004095");
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_SEGMENT);
    assert_int_equal(parsed.index, UINT64_MAX);
    assert_string_equal(parsed.full_directory, directory);

    names_manifest(directory, name);
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_MANIFEST);

    names_pin(directory, name);
    assert_string_equal(name, CLUSTER "/cluster/pins/18446744073709551615-00000abc");
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_PIN);
    assert_string_equal(parsed.full_directory, directory);
}

static void a_verification_is_in_its_name(void **state)
{
    struct names_verification verification = {
        .when_ms = 1767225600000, .revision = 42, .took_ms = 7};
    struct names_parsed parsed;
    char directory[NAMES_BYTES];
    char name[NAMES_BYTES];
    char prefix[NAMES_BYTES];

    (void)state;
    names_full_directory(CLUSTER "/cluster/", 12, 0xabc, directory);
    names_verified(directory, &verification, name);
    assert_string_equal(name,
                        CLUSTER "/cluster/verified/00000000000000000012-00000abc-01767225600000-"
                                "00000000000000000042-0000000007");
    names_verified_prefix(directory, prefix);
    assert_memory_equal(name, prefix, strlen(prefix));
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.kind, NAMES_VERIFIED);
    assert_string_equal(parsed.full_directory, directory);
    assert_int_equal(parsed.verification.when_ms, verification.when_ms);
    assert_int_equal(parsed.verification.revision, 42);
    assert_int_equal(parsed.verification.took_ms, 7);

    verification = (struct names_verification){UINT64_MAX, UINT64_MAX, UINT64_MAX};
    names_verified(directory, &verification, name);
    assert_true(names_parse(name, &parsed));
    assert_int_equal(parsed.verification.when_ms, NAMES_MAX_MS);
    assert_int_equal(parsed.verification.took_ms, NAMES_MAX_TOOK_MS);
    name[strlen(name) - 1] = 'x';
    assert_false(names_parse(name, &parsed));
}

static void other_names_are_none_of_an_archive(void **state)
{
    static const char *const names[] = {
        "",
        "x",
        CLUSTER,
        CLUSTER "/",
        CLUSTER "/cluster/",
        CLUSTER "/cluster/log/",
        CLUSTER "/cluster/log/77",
        CLUSTER "/cluster/log/00000000000000000077x",
        CLUSTER "/cluster/log/-0000000000000000077",
        CLUSTER "/cluster/log/99999999999999999999",
        CLUSTER "/cluster/merged/00000000000000000077",
        CLUSTER "/cluster/merged/00000000000000000077-00000000000000001234",
        CLUSTER "/cluster/merged/00000000000000000077-00000000000000000076-01700000000000",
        CLUSTER "/cluster/merged/00000000000000000077-00000000000000001234-1700000000000",
        CLUSTER "/cluster/merged/00000000000000000077-00000000000000001234-01700000000000x",
        CLUSTER "/cluster/full/00000000000000000077-00000abc",
        CLUSTER "/cluster/full/00000000000000000077-00000abc/",
        CLUSTER "/cluster/full/00000000000000000077-00000ABC/MANIFEST",
        CLUSTER "/cluster/full/00000000000000000077-00000abc/MANIFESTS",
        CLUSTER "/cluster/full/00000000000000000077-00000abc/seg-1",
        CLUSTER "/cluster/full/00000000000000000077-00000abc/seg-000001/x",
        CLUSTER "/a-chain-whose-name-is-longer-than-any/log/00000000000000000077",
        "x" CLUSTER "/cluster/log/00000000000000000077",
    };
    struct names_parsed parsed;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(names_parse(names[i], &parsed));
        assert_int_equal(parsed.kind, NAMES_OTHER);
    }
}

/* --- Manifests --- */

static struct manifest a_manifest(void)
{
    struct manifest manifest = {
        .facts = {.cluster_id = CLUSTER,
                  .state = {.revision = 12,
                            .next_object_id = 13,
                            .time_ms = 14,
                            .applied_index = 15,
                            .applied_term = 16,
                            .hash = {UINT64_MAX, 18}}},
        .state_hash = {19, 1ull << 63},
        .image_bytes = 300,
        .records = 21,
        .content_bytes = 22,
        .created_ms = 23,
        .node = "n1",
        .key = "k1",
        .program = "0.1.0",
        .n_segments = 2,
    };

    for (unsigned i = 0; i < sizeof manifest.digest; i++) {
        manifest.digest[i] = (uint8_t)(i * 9);
    }
    manifest.segments = calloc(2, sizeof *manifest.segments);
    assert_non_null(manifest.segments);
    manifest.segments[0] = (struct manifest_segment){.size_bytes = 310, .content_bytes = 200};
    manifest.segments[1] =
        (struct manifest_segment){.size_bytes = 120, .content_bytes = 100, .sha256 = {1, 2}};
    return manifest;
}

static void a_manifest_is_read_back(void **state)
{
    struct manifest manifest = a_manifest();
    struct buffer json = BUFFER_EMPTY;
    struct manifest again;
    struct error error;

    (void)state;
    manifest_encode(&manifest, &json);
    assert_int_equal(manifest_decode(buffer_slice(&json), &again, &error), STATUS_OK);

    assert_memory_equal(&again.facts, &manifest.facts, sizeof again.facts);
    assert_memory_equal(again.state_hash, manifest.state_hash, sizeof again.state_hash);
    assert_memory_equal(again.digest, manifest.digest, sizeof again.digest);
    assert_int_equal(again.image_bytes, 300);
    assert_int_equal(again.records, 21);
    assert_int_equal(again.content_bytes, 22);
    assert_int_equal(again.created_ms, 23);
    assert_string_equal(again.node, "n1");
    assert_string_equal(again.key, "k1");
    assert_string_equal(again.program, "0.1.0");
    assert_int_equal(again.n_segments, 2);
    assert_memory_equal(again.segments, manifest.segments, 2 * sizeof *again.segments);
    manifest_close(&manifest);
    manifest_close(&again);
    buffer_close(&json);
}

/* A flipped bit in the space between two fields may not be seen, and does not matter. */
static void a_changed_manifest_is_refused_or_means_the_same(void **state)
{
    struct manifest manifest = a_manifest();
    struct buffer json = BUFFER_EMPTY;
    struct manifest again;
    struct error error;

    (void)state;
    manifest_encode(&manifest, &json);
    for (size_t i = 0; i < json.size * 8; i++) {
        json.data[i / 8] ^= (uint8_t)(1u << i % 8);
        if (manifest_decode(buffer_slice(&json), &again, &error) == STATUS_OK) {
            assert_memory_equal(&again.facts, &manifest.facts, sizeof again.facts);
            assert_memory_equal(again.segments, manifest.segments, 2 * sizeof *again.segments);
            manifest_close(&again);
        }
        json.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t size = 0; size + 1 < json.size; size++) {
        assert_int_equal(manifest_decode(slice_of(json.data, size), &again, &error),
                         STATUS_CORRUPT);
    }
    manifest_close(&manifest);
    buffer_close(&json);
}

/* --- Retention --- */

/* A full each day, the last one now, at index 1000 * day; a delta every 250 indexes. Each is 10
 * bytes. */
static struct catalog a_catalog(unsigned days)
{
    struct catalog catalog = {.n_fulls = days, .n_deltas = 4 * (days - 1)};

    catalog.fulls = calloc(days, sizeof *catalog.fulls);
    catalog.deltas = calloc(4 * days, sizeof *catalog.deltas);
    assert_non_null(catalog.fulls);
    assert_non_null(catalog.deltas);
    for (unsigned i = 0; i < days; i++) {
        catalog.fulls[i] = (struct catalog_full){.index = 1000 * i,
                                                 .created_ms = NOW_MS - (days - 1 - i) * DAY_MS,
                                                 .bytes = 10,
                                                 .is_whole = true};
    }
    for (unsigned i = 0; i < 4 * (days - 1); i++) {
        catalog.deltas[i] = (struct catalog_delta){.first_index = 250 * i + 1, .bytes = 10};
    }
    catalog.bytes = 10 * (catalog.n_fulls + catalog.n_deltas);
    catalog_settle(&catalog);
    return catalog;
}

/* Merge so many deltas, from the first to the last index, into one of 5 bytes. */
static void merge(struct catalog *catalog, uint64_t first_index, uint64_t last_index,
                  uint64_t created_ms)
{
    catalog->merged = realloc(catalog->merged, (catalog->n_merged + 1) * sizeof *catalog->merged);
    assert_non_null(catalog->merged);
    catalog->merged[catalog->n_merged++] = (struct catalog_merged){
        .first_index = first_index, .last_index = last_index, .created_ms = created_ms, .bytes = 5};
    catalog->bytes += 5;
    catalog_settle(catalog);
}

/* The first delta that stays; all behind it do. */
static size_t first_delta(const struct catalog *catalog, const struct retention_plan *plan)
{
    size_t n = 0;

    while (n < catalog->n_deltas && plan->deltas[n] == RETENTION_OLD) {
        n++;
    }
    for (size_t i = n; i < catalog->n_deltas; i++) {
        assert_int_equal(plan->deltas[i], RETENTION_STAYS);
    }
    return n;
}

static const struct retention_policy policy = {
    .deltas_ms = 7 * DAY_MS, .fulls_ms = 30 * DAY_MS, .grace_ms = DAY_MS};

static void what_is_young_is_kept(void **state)
{
    struct catalog catalog = a_catalog(7);
    struct retention_plan plan;

    (void)state;
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    assert_int_equal(first_delta(&catalog, &plan), 0);
    assert_int_equal(plan.bytes, 0);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* Any point of the last seven days, and one a day before, for 30 days. */
static void deltas_go_before_fulls_do(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_plan plan;

    (void)state;
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    /* The newest full that is eight days old is number 31: the deltas from index 31001 on stay. */
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 31001);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(plan.drops_full[i], i <= 8); /* 31 days old or older. */
    }
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void the_newest_full_and_what_follows_are_kept_whatever_else(void **state)
{
    struct catalog catalog = a_catalog(3);
    struct retention_policy strict = {.deltas_ms = 1, .fulls_ms = 1, .max_bytes = 1};
    struct retention_plan plan;

    (void)state;
    retention_plan(&catalog, &strict, NOW_MS + 1000 * DAY_MS, &plan);
    assert_true(plan.drops_full[0]);
    assert_true(plan.drops_full[1]);
    assert_false(plan.drops_full[2]);
    /* The last delta before it may go on behind it, as far as a listing tells. */
    assert_int_equal(first_delta(&catalog, &plan), catalog.n_deltas - 1);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* Whatever was made since may not lead anywhere. */
static void the_newest_verified_full_and_what_follows_are_kept(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_policy strict = {.deltas_ms = 1, .fulls_ms = 1, .max_bytes = 1};
    struct retention_plan plan;

    (void)state;
    catalog.fulls[10].verified.when_ms = NOW_MS; /* The last one, of an older full. */
    catalog.fulls[20].verified.when_ms = 1;
    assert_int_equal(catalog_newest_verified(&catalog), 20);
    assert_int_equal(catalog_last_verified(&catalog), 10);
    retention_plan(&catalog, &strict, NOW_MS + 1000 * DAY_MS, &plan);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(plan.drops_full[i], i < 20);
    }
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 20001);
    retention_plan_close(&plan);

    catalog.fulls[20].is_whole = false;
    assert_int_equal(catalog_newest_verified(&catalog), 10);
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 10001);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void an_incomplete_full_is_none_to_rely_on(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_plan plan;

    (void)state;
    catalog.fulls[31].is_whole = false;
    catalog.fulls[39].is_whole = false;
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 30001);
    retention_plan_close(&plan);

    for (unsigned i = 0; i < 40; i++) {
        catalog.fulls[i].is_whole = false;
    }
    retention_plan(&catalog, &policy, NOW_MS + 100 * DAY_MS, &plan);
    assert_int_equal(first_delta(&catalog, &plan), 0);
    assert_int_equal(plan.bytes, 0);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void the_oldest_goes_until_the_rest_fits(void **state)
{
    struct catalog catalog = a_catalog(5); /* 210 bytes; a day is 50. */
    struct retention_policy bounded = policy;
    struct retention_plan plan;

    (void)state;
    bounded.max_bytes = 120;
    retention_plan(&catalog, &bounded, NOW_MS, &plan);
    assert_true(plan.drops_full[0]);
    assert_true(plan.drops_full[1]);
    assert_false(plan.drops_full[2]);
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 2001);
    assert_int_equal(plan.bytes, 100);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void a_pinned_full_stays(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_policy bounded = policy;
    struct retention_plan plan;

    (void)state;
    catalog.fulls[2].is_pinned = true;
    bounded.max_bytes = 1;
    retention_plan(&catalog, &bounded, NOW_MS, &plan);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(plan.drops_full[i], i != 2 && i != 39);
    }
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void segments_without_a_manifest_go_when_a_later_full_is_old(void **state)
{
    struct catalog catalog = a_catalog(3);
    struct retention_plan plan;

    (void)state;
    catalog.n_orphans = 3;
    catalog.orphans = calloc(3, sizeof *catalog.orphans);
    assert_non_null(catalog.orphans);
    catalog.orphans[0].index = 500;
    catalog.orphans[1].index = 999;
    catalog.orphans[2].index = 1500; /* Perhaps it is being written. */
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    assert_int_equal(plan.n_orphans, 2);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* A clock that went back makes nothing old. */
static void a_time_before_all_fulls_drops_nothing(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_plan plan;

    (void)state;
    retention_plan(&catalog, &policy, DAY_MS, &plan);
    assert_int_equal(plan.bytes, 0);
    assert_int_equal(first_delta(&catalog, &plan), 0);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* --- Merged ones --- */

static void a_delta_is_merged_if_all_of_it_is_in_one(void **state)
{
    struct catalog catalog = a_catalog(2); /* 1, 251, 501, 751; the last one goes on. */

    (void)state;
    merge(&catalog, 1, 500, 7);
    merge(&catalog, 501, 749, 8); /* Not all of the third one. */
    assert_int_equal(catalog.deltas[0].last_index, 250);
    assert_int_equal(catalog.deltas[3].last_index, UINT64_MAX);
    assert_int_equal(catalog.deltas[0].merged_ms, 7);
    assert_int_equal(catalog.deltas[1].merged_ms, 7);
    assert_int_equal(catalog.deltas[2].merged_ms, 0);
    assert_int_equal(catalog.deltas[3].merged_ms, 0);
    merge(&catalog, 751, 5000, 9);
    assert_int_equal(catalog.deltas[3].merged_ms, 0); /* Nobody knows where it ends. */
    assert_int_equal(catalog_find_whole(&catalog, 251, 500), 0);
    assert_int_equal(catalog_find_whole(&catalog, 251, 501), catalog.n_merged);
    catalog_close(&catalog);
}

/* Where deltas are gone, the merged one behind tells where the one before ends. */
static void a_merged_one_ends_a_delta_too(void **state)
{
    struct catalog catalog = a_catalog(2);

    (void)state;
    merge(&catalog, 1, 250, 7);
    merge(&catalog, 251, 750, 8);
    catalog.deltas[1] = catalog.deltas[3];
    catalog.n_deltas = 2; /* 1, 751 */
    catalog_settle(&catalog);
    assert_int_equal(catalog.deltas[0].last_index, 250);
    assert_int_equal(catalog.deltas[0].merged_ms, 7);
    catalog_close(&catalog);
}

static void a_merged_one_in_another_one_is_told(void **state)
{
    struct catalog catalog = a_catalog(3);

    (void)state;
    merge(&catalog, 1, 500, 9);
    merge(&catalog, 1, 750, 8);
    merge(&catalog, 1, 750, 7); /* The older one of two that are equal counts. */
    merge(&catalog, 501, 1000, 6);
    merge(&catalog, 251, 750, 5);
    merge(&catalog, 1001, 1250, 0); /* By a clock that was wrong. */
    assert_int_equal(catalog.n_merged, 6);
    assert_int_equal(catalog.merged[0].created_ms, 7);
    assert_int_equal(catalog.merged[0].merged_ms, 0);
    assert_int_equal(catalog.merged[1].merged_ms, 7); /* 1-750, the younger. */
    assert_int_equal(catalog.merged[2].merged_ms, 7); /* 1-500 */
    assert_int_equal(catalog.merged[3].merged_ms, 7); /* 251-750 */
    assert_int_equal(catalog.merged[4].merged_ms, 0); /* 501-1000 */
    assert_int_equal(catalog.merged[5].merged_ms, 0);
    assert_int_equal(catalog.deltas[2].merged_ms, 7);
    assert_int_equal(catalog.deltas[3].merged_ms, 6);
    assert_int_not_equal(catalog.deltas[4].merged_ms, 0);
    catalog_close(&catalog);
}

static void the_merged_one_that_goes_furthest_is_found(void **state)
{
    struct catalog catalog = a_catalog(3);
    bool excluded[3] = {false};

    (void)state;
    merge(&catalog, 1, 500, 7);
    merge(&catalog, 251, 1000, 7);
    merge(&catalog, 1251, 1500, 7);
    assert_int_equal(catalog_find_merged(&catalog, 0, NULL), 0);
    assert_int_equal(catalog_find_merged(&catalog, 249, NULL), 0);
    assert_int_equal(catalog_find_merged(&catalog, 250, NULL), 1);
    assert_int_equal(catalog_find_merged(&catalog, 999, NULL), 1);
    assert_int_equal(catalog_find_merged(&catalog, 1000, NULL), 3);
    assert_int_equal(catalog_find_merged(&catalog, 1250, NULL), 2);
    assert_int_equal(catalog_find_merged(&catalog, 1500, NULL), 3);
    excluded[1] = true;
    assert_int_equal(catalog_find_merged(&catalog, 300, excluded), 0);
    assert_int_equal(catalog_find_merged(&catalog, 600, excluded), 3);
    assert_int_equal(catalog_find_delta(&catalog, 600), 2);
    assert_int_equal(catalog_find_delta(&catalog, 750), 3);
    assert_int_equal(catalog_find_delta(&catalog, 100000), 7);
    catalog_close(&catalog);
}

static void what_is_merged_goes_when_the_grace_is_over(void **state)
{
    struct catalog catalog = a_catalog(3);
    struct retention_plan plan;

    (void)state;
    merge(&catalog, 1, 500, NOW_MS - DAY_MS);
    merge(&catalog, 1, 250, NOW_MS);
    merge(&catalog, 501, 1000, NOW_MS - DAY_MS + 1);
    merge(&catalog, 1001, 1250, NOW_MS + 1000 * DAY_MS); /* By a clock that was wrong. */
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    for (size_t i = 0; i < catalog.n_deltas; i++) {
        assert_int_equal(plan.deltas[i], i < 2 ? RETENTION_TWICE : RETENTION_STAYS);
    }
    assert_int_equal(plan.merged[0], RETENTION_STAYS);
    assert_int_equal(plan.merged[1], RETENTION_TWICE); /* It is in the first one. */
    assert_int_equal(plan.merged[2], RETENTION_STAYS);
    assert_int_equal(plan.merged[3], RETENTION_STAYS);
    assert_int_equal(plan.bytes, 25);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

static void merged_ones_go_as_deltas_do(void **state)
{
    struct catalog catalog = a_catalog(40);
    struct retention_plan plan;

    (void)state;
    merge(&catalog, 29001, 30000, NOW_MS);
    merge(&catalog, 30501, 31000, NOW_MS);
    merge(&catalog, 30751, 31250, NOW_MS); /* The full of day 31 needs it. */
    retention_plan(&catalog, &policy, NOW_MS, &plan);
    assert_int_equal(plan.merged[0], RETENTION_OLD);
    assert_int_equal(plan.merged[1], RETENTION_OLD);
    assert_int_equal(plan.merged[2], RETENTION_STAYS);
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 31001);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* What is there twice goes first, and at once; then all of the oldest full. */
static void a_bound_takes_what_is_there_twice_first(void **state)
{
    struct catalog catalog = a_catalog(5); /* 210 bytes */
    struct retention_policy bounded = policy;
    struct retention_plan plan;

    (void)state;
    merge(&catalog, 1, 500, NOW_MS); /* 20 of them; 215 bytes now. */
    bounded.max_bytes = 195;
    retention_plan(&catalog, &bounded, NOW_MS, &plan);
    assert_false(plan.drops_full[0]);
    assert_int_equal(plan.deltas[0], RETENTION_TWICE);
    assert_int_equal(plan.deltas[1], RETENTION_TWICE);
    assert_int_equal(plan.bytes, 20);
    retention_plan_close(&plan);

    bounded.max_bytes = 194;
    retention_plan(&catalog, &bounded, NOW_MS, &plan);
    assert_true(plan.drops_full[0]);
    assert_false(plan.drops_full[1]);
    assert_int_equal(plan.merged[0], RETENTION_OLD);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(plan.deltas[i], RETENTION_OLD);
    }
    assert_int_equal(plan.deltas[4], RETENTION_STAYS);
    assert_int_equal(plan.bytes, 55);
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

/* Every point of thirty days, and the full that leads to the first of them. */
static void by_default_every_point_of_the_days_stays(void **state)
{
    struct catalog catalog = a_catalog(50);
    struct retention_policy days = retention_of_days(30);
    struct retention_plan plan;

    (void)state;
    retention_plan(&catalog, &days, NOW_MS, &plan);
    /* The newest full that is 31 days old is number 18. */
    assert_int_equal(catalog.deltas[first_delta(&catalog, &plan)].first_index, 18001);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(plan.drops_full[i], i < 18);
    }
    retention_plan_close(&plan);
    catalog_close(&catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_parsed_back),
        cmocka_unit_test(other_names_are_none_of_an_archive),
        cmocka_unit_test(a_manifest_is_read_back),
        cmocka_unit_test(a_changed_manifest_is_refused_or_means_the_same),
        cmocka_unit_test(what_is_young_is_kept),
        cmocka_unit_test(deltas_go_before_fulls_do),
        cmocka_unit_test(the_newest_full_and_what_follows_are_kept_whatever_else),
        cmocka_unit_test(the_newest_verified_full_and_what_follows_are_kept),
        cmocka_unit_test(a_verification_is_in_its_name),
        cmocka_unit_test(an_incomplete_full_is_none_to_rely_on),
        cmocka_unit_test(the_oldest_goes_until_the_rest_fits),
        cmocka_unit_test(a_pinned_full_stays),
        cmocka_unit_test(segments_without_a_manifest_go_when_a_later_full_is_old),
        cmocka_unit_test(a_time_before_all_fulls_drops_nothing),
        cmocka_unit_test(a_delta_is_merged_if_all_of_it_is_in_one),
        cmocka_unit_test(a_merged_one_ends_a_delta_too),
        cmocka_unit_test(a_merged_one_in_another_one_is_told),
        cmocka_unit_test(the_merged_one_that_goes_furthest_is_found),
        cmocka_unit_test(what_is_merged_goes_when_the_grace_is_over),
        cmocka_unit_test(merged_ones_go_as_deltas_do),
        cmocka_unit_test(a_bound_takes_what_is_there_twice_first),
        cmocka_unit_test(by_default_every_point_of_the_days_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
