/* What went wrong in the archives of others with single objects: their names, their bytes. A test
 * each, which fails if it could go wrong here. The number is that of the report, of
 * etcd-backup-restore; the others are in test_archive_lessons.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/copy.h"
#include "tests/lib/archive_fixture.h"
#include "tests/lib/deadline.h"
#include "tests/lib/repository_contract.h"

#define HOUR_S 3600l

/* What the linker calls it: __real_ is the system's and the repository's, __wrap_ is ours. */
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
enum status __real_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);
enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error);

static atomic_long wall_clock_shift_s;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int rv = __real_clock_gettime(clock, now);

    if (clock == CLOCK_REALTIME) {
        now->tv_sec += atomic_load(&wall_clock_shift_s);
    }
    return rv;
}

/* What a repository does to the objects whose names have @victim in them: all of it, and it says
 * that all is well. */
enum harm { NO_HARM, FLIPS_A_BIT, CUTS_THE_END, CUTS_HALF, KEEPS_NOTHING, ADDS_A_BYTE, HARMS };
static struct {
    _Atomic(enum harm) harm;
    const char *victim;
    atomic_uint n_harmed;
} bad;

static size_t harm_bytes(enum harm harm, uint8_t *bytes, size_t size)
{
    switch (harm) {
    case FLIPS_A_BIT:
        bytes[size / 2] ^= 1;
        return size;
    case CUTS_THE_END:
        return size - 1;
    case CUTS_HALF:
        return size / 2;
    case KEEPS_NOTHING:
        return 0;
    case ADDS_A_BYTE:
        bytes[size] = '\n';
        return size + 1;
    case NO_HARM:
    case HARMS:
        break;
    }
    return size;
}

enum status __wrap_repository_create(struct repository *repository, const char *name,
                                     const struct repository_content *content, struct error *error)
{
    enum harm harm = atomic_load(&bad.harm);
    static uint8_t bytes[ARCHIVE_FIXTURE_OBJECT_BYTES + 1]; /* One archiver, one thread. */
    static _Thread_local bool is_harming;
    enum status status;
    ssize_t n;

    if (harm == NO_HARM || is_harming || strstr(name, bad.victim) == NULL) {
        return __real_repository_create(repository, name, content, error);
    }
    n = pread(content->fd, bytes, ARCHIVE_FIXTURE_OBJECT_BYTES, 0);
    if (n < 2 || (uint64_t)n != content->size_bytes) {
        return error_set(error, STATUS_IO, "the test cannot read what is created");
    }
    is_harming = true; /* This comes here, too. */
    status = repository_put(repository, name, slice_of(bytes, harm_bytes(harm, bytes, (size_t)n)),
                            error);
    is_harming = false;
    (void)atomic_fetch_add(&bad.n_harmed, 1);
    return status;
}

/* --- A full whose name and content disagree (#1044) --- */

static const struct archive_fixture_point *point_at(const struct archive_fixture *f, uint64_t index)
{
    for (unsigned i = 0; i < f->n_points; i++) {
        if (f->points[i].index == index) {
            return &f->points[i];
        }
    }
    return NULL;
}

static void copy_full(struct archive_fixture *f, const struct catalog_full *full, const char *url)
{
    struct copy_options options = {
        .from = f->repository, .prefix = full->directory, .work_directory = f->work_path};
    struct copy_totals totals;

    assert_int_equal(
        repository_open(&(struct repository_options){.url = url}, &options.to, &f->error),
        STATUS_OK);
    assert_int_equal(copy_archive(&options, &totals, &f->error), STATUS_OK);
    assert_int_equal(totals.copied_objects, full->n_segments + 1);
    repository_close(options.to);
}

/* There, a full was named after the revision at which its upload began, and held what was there
 * when it was read. Here the name comes from the same read transaction as the content: with nothing
 * but the full, the state at its index comes out, though execution went on while it was made. */
static void a_full_is_what_its_name_says(void **state)
{
    struct archive_fixture *f = *state;
    struct catalog_full *fulls;
    char url[sizeof f->url];
    size_t n;

    archive_fixture_go_on(f, 20);
    archive_fixture_open_archiver(f);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t asked = archiver_ask(f->archiver);
        struct archiver_status status;

        do {
            archive_fixture_write(f, f->n_points);
            pause_ms(5);
            archiver_status(f->archiver, &status);
        } while (status.completed < asked && f->n_points < 3 * ARCHIVE_FIXTURE_ENTRIES);
    }
    (void)archive_fixture_ask(f);
    fulls = archiver_fulls(f->archiver, &n);
    assert_true(n >= 5);
    memcpy(url, f->url, sizeof url);
    for (size_t i = 0; i < n; i++) {
        const struct archive_fixture_point *point = point_at(f, fulls[i].index);
        struct names_parsed parsed;
        char name[NAMES_BYTES];

        assert_non_null(point);
        names_manifest(fulls[i].directory, name);
        assert_true(names_parse(name, &parsed));
        assert_int_equal(parsed.index, fulls[i].index);
        assert_int_equal(fulls[i].revision, point->revision);
        (void)snprintf(f->url, sizeof f->url, "%s-%zu", url, i);
        copy_full(f, &fulls[i], f->url);
        archive_fixture_check_restore(f, UINT64_MAX, UINT64_MAX, point);
    }
    free(fulls);
}

/* The content of one object under the name of the other. */
static void swap_objects(struct archive_fixture *f, const char *one, const char *other)
{
    struct buffer bytes[2] = {BUFFER_EMPTY, BUFFER_EMPTY};
    const char *names[2] = {one, other};

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(repository_read(f->repository, names[i], 0, ARCHIVE_FIXTURE_OBJECT_BYTES,
                                         &bytes[i], &f->error),
                         STATUS_OK);
        assert_int_equal(repository_remove(f->repository, names[i], &f->error), STATUS_OK);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(
            repository_put(f->repository, names[i], buffer_slice(&bytes[1 - i]), &f->error),
            STATUS_OK);
        buffer_close(&bytes[1 - i]);
    }
}

/* The index of the full that a restore would begin with. */
static uint64_t begun_with(struct archive_fixture *f)
{
    struct restore *restore = archive_fixture_begin_restore(f, UINT64_MAX);
    uint64_t index = restore_facts(restore)->full_index;

    restore_close(restore);
    return index;
}

/* And should somebody rename things: a manifest says of which full it is, and with which segments.
 * (Those and deltas know their names: test_archive_object.) */
static void what_has_anothers_name_is_not_taken_for_it(void **state)
{
    struct archive_fixture *f = *state;
    struct catalog_full *fulls;
    char names[2][NAMES_BYTES];
    size_t n;

    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 2; i++) {
        archive_fixture_go_on(f, 10);
        (void)archive_fixture_ask(f);
    }
    fulls = archiver_fulls(f->archiver, &n);
    archive_fixture_close_archiver(f);
    assert_int_equal(n, 3);

    for (unsigned i = 0; i < 2; i++) {
        names_manifest(fulls[1 + i].directory, names[i]);
    }
    swap_objects(f, names[0], names[1]);
    archive_fixture_check_latest(f); /* From the first one. */
    assert_int_equal(begun_with(f), fulls[0].index);
    assert_non_null(strstr(f->damage, "is the manifest of another full"));
    swap_objects(f, names[0], names[1]);

    for (unsigned i = 0; i < 2; i++) {
        names_segment(fulls[1 + i].directory, 0, names[i]);
    }
    swap_objects(f, names[0], names[1]);
    /* Their sizes are not those of their manifests, so neither counts, and the first one does. */
    archive_fixture_check_latest(f);
    assert_int_equal(begun_with(f), fulls[0].index);
    swap_objects(f, names[0], names[1]);
    archive_fixture_check_latest(f);
    assert_int_equal(begun_with(f), fulls[2].index);
    free(fulls);
}

/* --- Uploads without a valid hash (#778) --- */

static bool has_failed(void *data)
{
    struct archiver_status status;

    archiver_status(data, &status);
    return status.failures > 0;
}

/* Archive with one kind of object harmed: what tells it is the next look at the chain, or the
 * restore that the archiver tries by itself; and no restore gives a state. */
static void check_that_harm_is_told(struct archive_fixture *f, const char *victim, enum harm harm)
{
    struct archiver_status status;
    struct restore_facts facts;

    bad.victim = victim;
    atomic_store(&bad.n_harmed, 0);
    atomic_store(&bad.harm, harm);
    f->options.schedule.verify_ms = 1;
    archive_fixture_open_archiver(f);
    while (atomic_load(&bad.n_harmed) == 0) {
        archive_fixture_write(f, f->n_points);
        pause_ms(2);
    }
    atomic_store(&bad.harm, NO_HARM);
    archive_fixture_write(f, f->n_points);
    if (!wait_until(has_failed, f->archiver, ARCHIVE_FIXTURE_LIMIT_MS)) {
        fail_msg("%s with harm %d is not told", victim, (int)harm);
    }
    archiver_status(f->archiver, &status);
    archive_fixture_close_archiver(f);

    if (strstr(status.error, victim) == NULL && strstr(status.error, "not listed whole") == NULL) {
        fail_msg("%s with harm %d is told as: %s", victim, (int)harm, status.error);
    }
    assert_int_not_equal(archive_fixture_restore(f, UINT64_MAX, UINT64_MAX, &facts), STATUS_OK);
    assert_true(strstr(f->error.text, victim) != NULL ||
                strstr(f->error.text, "no whole full") != NULL);
}

/* There, uploads carried no hash that the server would have checked, and nobody looked at them
 * later. Here the bytes are held against their hash as they leave (test_archive_directory,
 * test_s3, tests/cluster/test_postgres), an S3 server is sent the hash to check (tests/cluster/
 * test_s3), and what a repository harms all the same, and says that all is well, is found by the
 * daily restore, whatever is harmed and how. */
static void a_repository_that_keeps_other_bytes_is_found_out(void **state)
{
    static const char *const victims[] = {"/seg-", "/MANIFEST", "/log/"};
    char url[sizeof((struct archive_fixture *)0)->url];
    struct archive_fixture *f = *state;

    memcpy(url, f->url, sizeof url);
    for (size_t i = 0; i < sizeof victims / sizeof victims[0]; i++) {
        for (unsigned harm = FLIPS_A_BIT; harm < HARMS; harm++) {
            if (strcmp(victims[i], "/MANIFEST") == 0 &&
                (harm == ADDS_A_BYTE || harm == CUTS_THE_END)) {
                continue; /* White space behind JSON means nothing. */
            }
            (void)snprintf(f->url, sizeof f->url, "%s-%zu-%u", url, i, harm);
            check_that_harm_is_told(f, victims[i], (enum harm)harm);
        }
    }
}

/* --- One object overwritten by names made of time stamps (#1833) --- */

/* There, two snapshots of one second had one name, and a clock that went back made an old one that
 * was overwritten. Here names are log indexes, with a random token for fulls, and a name is given
 * once: a clock decides nothing but when something is old. */
static void a_clock_that_goes_back_overwrites_nothing(void **state)
{
    static const long shifts_s[] = {0, -HOUR_S, -HOUR_S, -5 * 24 * HOUR_S, HOUR_S, 0};
    struct archive_fixture *f = *state;
    struct archiver_status status;

    for (size_t i = 0; i < sizeof shifts_s / sizeof shifts_s[0]; i++) {
        size_t n;
        struct archive_fixture_object *before = archive_fixture_read_objects(f, &n);

        atomic_store(&wall_clock_shift_s, shifts_s[i]);
        archive_fixture_open_archiver(f);
        archive_fixture_go_on(f, 5);
        status = archive_fixture_ask(f);
        archive_fixture_close_archiver(f);
        assert_string_equal(status.error, "");
        assert_int_equal(status.index, f->state->index);
        assert_true(status.last_full.index >= f->points[f->n_points - 4].index);

        archive_fixture_check_objects(f, before, n);
        archive_fixture_forget_objects(before, n);
        archive_fixture_check_chain(f, 0);
        archive_fixture_check_latest(f);
    }
    atomic_store(&wall_clock_shift_s, 0);
}

static void two_fulls_of_one_moment_are_two(void **state)
{
    struct archive_fixture *f = *state;
    struct archiver_status status;
    struct catalog_full *fulls;
    size_t n;

    archive_fixture_go_on(f, 10);
    archive_fixture_open_archiver(f);
    archive_fixture_await_first_full(f);
    for (unsigned i = 0; i < 3; i++) {
        status = archive_fixture_ask(f); /* Nothing was executed in between. */
    }
    fulls = archiver_fulls(f->archiver, &n);
    archive_fixture_close_archiver(f);

    assert_int_equal(status.failures, 0);
    assert_int_equal(n, 4);
    for (size_t i = 1; i < n; i++) {
        assert_int_equal(fulls[i].index, fulls[0].index);
        assert_string_not_equal(fulls[i].directory, fulls[i - 1].directory);
        assert_true(fulls[i].is_whole);
    }
    archive_fixture_check_latest(f);
    free(fulls);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, archive_fixture_setup, archive_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_is_what_its_name_says),
        TEST(what_has_anothers_name_is_not_taken_for_it),
        TEST(a_repository_that_keeps_other_bytes_is_found_out),
        TEST(a_clock_that_goes_back_overwrites_nothing),
        TEST(two_fulls_of_one_moment_are_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
