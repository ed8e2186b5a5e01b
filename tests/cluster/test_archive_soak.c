/* The archive of nodes under load, while the node that archives, the leader, all nodes and the
 * repository are killed at random: it has no hole, no overlap and nothing that stays unused, every
 * point of it is what it was, and what was shown as archived is in it.
 *
 * HOLDFAST_ARCHIVE_SECONDS says for how long (40), HOLDFAST_ARCHIVE_REPOSITORY where to
 * (archive_place.h). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/restore.h"
#include "tests/lib/archive_chain.h"
#include "tests/lib/archive_watch.h"
#include "tests/lib/deadline.h"

#define DEFAULT_SECONDS 40
#define MORE_SECONDS    600  /* To start, to wait at the end, and to restore. */
#define FULL_MS         3000 /* It begins, if it does. */
#define LAST_RESTORES   20
#define MAX_TRIES       400
#define AWAY_MS         6000  /* At most, mostly, ... */
#define LONG_AWAY_MS    25000 /* ... and sometimes. */

enum deed {
    KILL_ARCHIVER,
    KILL_LEADER,
    KILL_ALL,
    TAKE_AWAY,
    TAKE_AWAY_AND_KILL,
    CUT_OFF_FULL,
    DEEDS
};

static const char *const deed_texts[DEEDS] = {
    [KILL_ARCHIVER] = "archivers killed",
    [KILL_LEADER] = "leaders killed",
    [KILL_ALL] = "all nodes killed",
    [TAKE_AWAY] = "repository away",
    [TAKE_AWAY_AND_KILL] = "repository away, archiver killed meanwhile",
    [CUT_OFF_FULL] = "archivers killed in a full",
};

struct soak {
    struct archived_cluster *f;
    struct archive_watch watch;
    bool is_watching;
    unsigned done[DEEDS];
    unsigned restores;
    uint64_t first_revision; /* That can be restored. */
};

/* Of the only test. */
static struct soak the_soak;

static void stop_watching(struct soak *soak)
{
    if (soak->is_watching) {
        archive_watch_stop(&soak->watch);
        soak->is_watching = false;
    }
}

static int teardown(void **state)
{
    stop_watching(&the_soak);
    archive_watch_close(&the_soak.watch);
    return archived_cluster_teardown(state);
}

static unsigned seconds(void)
{
    const char *text = getenv("HOLDFAST_ARCHIVE_SECONDS");

    return text == NULL ? DEFAULT_SECONDS : (unsigned)strtoul(text, NULL, 10);
}

static unsigned draw(struct soak *soak, unsigned below)
{
    return (unsigned)((random_next(&soak->f->random) >> 16) % below);
}

/* --- Restores --- */

/* All that is at @url, up to @to_revision, into a directory that is removed again. */
static struct restore_facts restore(struct soak *soak, const char *url, uint64_t to_revision)
{
    const struct restore_options options = {
        .url = url, .to_revision = to_revision, .to_time_ms = UINT64_MAX};
    struct restore *restore;
    struct restore_facts facts;
    struct error error = {.text = ""};
    char directory[CLUSTER_MAX_PATH + 32];

    (void)snprintf(directory, sizeof directory, "%s/restored", soak->f->cluster.directory);
    if (restore_open(&options, &restore, &error) != STATUS_OK ||
        restore_run(restore, directory, &error) != STATUS_OK) {
        fail_msg("restoring %s up to %" PRIu64 ": %s", url, to_revision, error.text);
    }
    facts = *restore_facts(restore);
    restore_close(restore);
    assert_true(remove_tree(directory));
    soak->restores++;
    return facts;
}

/* As if all disks had been lost just now. No node runs, and nobody archives. */
static void check_promise(struct soak *soak)
{
    uint64_t promised = archive_watch_promised(&soak->watch);
    struct restore_facts facts;

    if (promised == 0) {
        return; /* Nobody has told anything yet. */
    }
    facts = restore(soak, soak->f->place.url, UINT64_MAX);
    if (facts.revision < promised) {
        fail_msg("the archive ends at revision %" PRIu64 ", but what is up to %" PRIu64
                 " was acknowledged longer ago than the archive was shown to be behind, by %s; "
                 "now it is %" PRIu64 " ms",
                 facts.revision, promised, archive_watch_how(&soak->watch), now_ms());
    }
}

/* Of states that nodes had, the archive has these too, hash by hash. */
static void check_random_points(struct soak *soak)
{
    size_t n = archive_watch_samples(&soak->watch);
    unsigned n_equal = 0;
    char hash[40];

    assert_true(n > 0);
    for (unsigned i = 0; i < MAX_TRIES && n_equal < LAST_RESTORES; i++) {
        const struct archive_watch_sample *sample =
            archive_watch_sample(&soak->watch, draw(soak, (unsigned)n));
        struct restore_facts facts;

        if (sample->revision < soak->first_revision) {
            continue; /* The repository was away from the beginning on. */
        }
        facts = restore(soak, soak->f->place.url, sample->revision);
        assert_int_equal(facts.revision, sample->revision);
        assert_true(facts.index >= sample->index);
        if (facts.index == sample->index) { /* Else something followed that changed no revision. */
            (void)snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, facts.hash[1],
                           facts.hash[0]);
            assert_string_equal(hash, sample->hash);
            n_equal++;
        }
    }
    assert_int_equal(n_equal, LAST_RESTORES);
}

/* --- What is done to them --- */

static void start_again(struct soak *soak, unsigned node)
{
    assert_true(cluster_start_node(&soak->f->cluster, node));
    assert_true(cluster_wait_node_ready(&soak->f->cluster, node, CLUSTER_READY_MS));
}

/* False: nobody was there to be killed. */
static bool kill_one(struct soak *soak, unsigned victim)
{
    if (victim == CLUSTER_NOBODY) {
        return false;
    }
    cluster_kill(&soak->f->cluster, victim);
    archived_cluster_await_progress(soak->f);
    start_again(soak, victim);
    return true;
}

static bool kill_archiver(struct soak *soak)
{
    return kill_one(soak, archived_cluster_find_archiver(soak->f));
}

static bool kill_leader(struct soak *soak)
{
    return kill_one(soak, cluster_find_leader(&soak->f->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS));
}

static bool kill_all(struct soak *soak)
{
    cluster_kill_all(&soak->f->cluster);
    check_promise(soak);
    assert_true(cluster_start(&soak->f->cluster));
    return true;
}

static bool take_away(struct soak *soak)
{
    archive_place_take_away(&soak->f->place);
    pause_ms(draw(soak, draw(soak, 4) == 0 ? LONG_AWAY_MS : AWAY_MS));
    archive_place_bring_back(&soak->f->place);
    return true;
}

/* The one who comes after has to find out how far the first one was. */
static bool take_away_and_kill(struct soak *soak)
{
    unsigned archiver = archived_cluster_find_archiver(soak->f);
    bool was_killed;

    archive_place_take_away(&soak->f->place);
    pause_ms(draw(soak, AWAY_MS));
    was_killed = kill_one(soak, archiver);
    pause_ms(draw(soak, AWAY_MS));
    archive_place_bring_back(&soak->f->place);
    return was_killed;
}

static bool makes_full(void *data)
{
    json_t *view = archived_cluster_ask(data);
    const char *activity = json_string_value(json_object_get(view, "activity"));
    bool makes = activity != NULL && strcmp(activity, "full") == 0;

    json_decref(view);
    return makes;
}

/* At a moment that may be behind its segments and before its manifest. */
static bool cut_off_full(struct soak *soak)
{
    unsigned archiver = archived_cluster_find_archiver(soak->f);

    if (archiver == CLUSTER_NOBODY) {
        return false;
    }
    archived_cluster_ask_for_full(soak->f, archiver);
    (void)wait_until(makes_full, &soak->f->cluster.nodes[archiver], FULL_MS); /* Or it was quick. */
    pause_ms(draw(soak, 50));
    return kill_one(soak, archiver);
}

static bool do_to_them(struct soak *soak, enum deed deed)
{
    switch (deed) {
    case KILL_ARCHIVER:
        return kill_archiver(soak);
    case KILL_LEADER:
        return kill_leader(soak);
    case KILL_ALL:
        return kill_all(soak);
    case TAKE_AWAY:
        return take_away(soak);
    case TAKE_AWAY_AND_KILL:
        return take_away_and_kill(soak);
    case CUT_OFF_FULL:
        return cut_off_full(soak);
    case DEEDS:
        break;
    }
    return false;
}

/* Each of the deeds in a random order, and again, until the time is over. */
static void do_all_to_them(struct soak *soak)
{
    uint64_t end_ms = now_ms() + 1000ull * seconds();
    enum deed order[DEEDS];

    for (unsigned round = 0; round == 0 || now_ms() < end_ms; round++) {
        for (unsigned i = 0; i < DEEDS; i++) {
            unsigned k = draw(soak, i + 1);

            order[i] = order[k];
            order[k] = (enum deed)i;
        }
        for (unsigned i = 0; i < DEEDS && (round == 0 || now_ms() < end_ms); i++) {
            pause_ms(draw(soak, 1500));
            soak->done[order[i]] += do_to_them(soak, order[i]) ? 1 : 0;
            archived_cluster_await_progress(soak->f);
        }
    }
}

/* --- What is to be seen at the end --- */

static void print_what_was_done(const struct soak *soak)
{
    for (unsigned i = 0; i < DEEDS; i++) {
        print_message("    %u %s\n", soak->done[i], deed_texts[i]);
    }
    print_message("    %u restores; %" PRIuFAST64 " writes; the lag was told %" PRIu64
                  " times, and %" PRIu64 " ms at most\n",
                  soak->restores, atomic_load(&soak->f->writers.acknowledged),
                  archive_watch_looks(&soak->watch), archive_watch_largest_lag_ms(&soak->watch));
}

static void check_chain(struct soak *soak, const char *url, const char *name)
{
    const unsigned *done = soak->done;
    struct restore_facts facts = restore(soak, url, UINT64_MAX);
    struct repository *repository;
    struct archive_chain chain;

    assert_int_equal(repository_open(&(struct repository_options){.url = url}, &repository, NULL),
                     STATUS_OK);
    archive_chain_check(repository, facts.base, NULL, &chain);
    print_message("    %s: %" PRIu64 " fulls, %" PRIu64 " deltas, %" PRIu64
                  " segments of fulls that were cut off\n",
                  name, chain.fulls, chain.deltas, chain.orphans);
    assert_int_equal(chain.gaps, 0);
    /* One segment of one full for each that could have been cut off. */
    assert_true(chain.orphans <= done[KILL_ARCHIVER] + done[CUT_OFF_FULL] + done[KILL_LEADER] +
                                     done[KILL_ALL] + done[TAKE_AWAY] +
                                     2 * done[TAKE_AWAY_AND_KILL]);
    assert_int_equal(archive_chain_stale_orphans(repository, facts.base, NULL), 0);
    repository_close(repository);
    soak->first_revision = chain.first_revision;
}

/* What all archive to, last, and each node's own. */
static void check_chains(struct soak *soak)
{
    char url[CLUSTER_MAX_PATH + 32];

    for (unsigned i = 0; i < CLUSTER_NODES; i++) {
        const struct cluster_node *node = &soak->f->cluster.nodes[i];

        (void)snprintf(url, sizeof url, "file://%s/archive", node->data_directory);
        check_chain(soak, url, node->name);
    }
    check_chain(soak, soak->f->place.url, "all");
}

struct made {
    struct archived_cluster *f;
    int64_t fulls;
    unsigned node;
};

static bool has_new_full(void *data)
{
    const struct made *made = data;
    json_t *view = archived_cluster_ask(&made->f->cluster.nodes[made->node]);
    bool has = json_integer_value(json_object_get(view, "fulls")) > made->fulls;

    json_decref(view);
    return has;
}

/* Later than all that was cut off. */
static void make_last_full(struct archived_cluster *f)
{
    struct made made = {.f = f, .node = archived_cluster_find_archiver(f)};
    json_t *view;

    assert_int_not_equal(made.node, CLUSTER_NOBODY);
    view = archived_cluster_ask(&f->cluster.nodes[made.node]);
    made.fulls = json_integer_value(json_object_get(view, "fulls"));
    json_decref(view);
    archived_cluster_ask_for_full(f, made.node);
    assert_true(wait_until(has_new_full, &made, ARCHIVED_MS));
}

static void whoever_is_killed_the_archive_is_whole_and_has_what_it_showed(void **state)
{
    struct archived_cluster *f = *state;
    struct soak *soak = &the_soak;
    char old_cluster_id[40];

    archived_cluster_need(f);
    soak->f = f;
    archived_cluster_write(f);
    atomic_store(&f->writers.rest_ms, 8 + seconds() / 15);
    archive_watch_start(&soak->watch, f);
    soak->is_watching = true;
    do_all_to_them(soak);
    archived_cluster_stop_writing(f);
    archived_cluster_await(f, atomic_load(&f->writers.revision));
    make_last_full(f);
    stop_watching(soak);

    check_chains(soak);
    check_random_points(soak);
    archived_cluster_lose_all(f, old_cluster_id);
    archived_cluster_check_writes(f);
    print_what_was_done(soak);
    for (unsigned i = 0; i < DEEDS; i++) {
        assert_true(soak->done[i] > 0);
    }
    f->passed = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            whoever_is_killed_the_archive_is_whole_and_has_what_it_showed, archived_cluster_setup,
            teardown),
    };

    process_limit_test(seconds() + MORE_SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
