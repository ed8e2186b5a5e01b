/* For tests: a state that goes on, with its journal, and an archiver of it, in one directory; and
 * restores of what it archived, which are compared with what the state was.
 *
 * What goes wrong where a test does not expect it ends the test. */
#ifndef HOLDFAST_TESTS_ARCHIVE_FIXTURE_H
#define HOLDFAST_TESTS_ARCHIVE_FIXTURE_H

#include "storage/archive/archiver.h"
#include "storage/archive/restore.h"
#include "tests/lib/state.h"

#define ARCHIVE_FIXTURE_CLUSTER  "01234567-89ab-cdef-0123-456789abcdef"
#define ARCHIVE_FIXTURE_ENTRIES  200u
#define ARCHIVE_FIXTURE_LIMIT_MS 30000u
#define ARCHIVE_FIXTURE_ENTRY_MS 13u /* So much later, by the cluster's time, is each entry. */

/* What the state was after each entry. */
struct archive_fixture_point {
    uint64_t index;
    uint64_t revision;
    uint64_t time_ms;
    uint64_t hash[2];
};

struct archive_fixture {
    char directory[64];
    char journal_path[80];
    char work_path[80];
    char url[96]; /* Of the archive: a directory of its own, or shared. */
    char cluster_id[NAMES_CLUSTER_BYTES + 1];
    struct state_fixture *state;
    struct journal *journal;
    struct archiver *archiver;
    struct archiver *other;          /* A second one of the same chain, if a test needs it. */
    struct archiver_options options; /* For the next one that is opened. */
    struct repository *repository;   /* At url. */
    bool is_chosen;
    unsigned n_points;
    struct archive_fixture_point points[32 * ARCHIVE_FIXTURE_ENTRIES];
    unsigned n_restores;
    unsigned n_threads;          /* Of restores; 0: the default. */
    char damage[ERROR_MAX_TEXT]; /* What the last restore went around; "": nothing. */
    struct error error;
};

/* cmocka's setup and teardown: *state is the fixture. No archiver is open. */
int archive_fixture_setup(void **state);
int archive_fixture_teardown(void **state);

/* The archive is a directory that all nodes have. */
void archive_fixture_use_shared(struct archive_fixture *f);

/* What is archived from now on is encrypted, with the key "k1"; ends with master_keys_close(). */
struct master_keys *archive_fixture_use_key(struct archive_fixture *f);

/* Execute @n entries, with other log indexes between some of them; or one. */
void archive_fixture_go_on(struct archive_fixture *f, unsigned n);
void archive_fixture_write(struct archive_fixture *f, unsigned i);

void archive_fixture_open_journal(struct archive_fixture *f);

void archive_fixture_open_archiver(struct archive_fixture *f);
/* One that has just begun has made its first full. */
void archive_fixture_await_first_full(struct archive_fixture *f);
/* Wait for deltas up to what was executed. */
void archive_fixture_catch_up(struct archive_fixture *f);
/* All that was executed is archived, and a full is made. */
struct archiver_status archive_fixture_ask(struct archive_fixture *f);
struct archiver_status archive_fixture_ask_archiver(struct archiver *archiver);
/* What archiver_ask() gave @number for is done. */
void archive_fixture_await_asked(struct archiver *archiver, uint64_t number);
void archive_fixture_close_archiver(struct archive_fixture *f);

/* To a new directory. */
MUST_USE enum status archive_fixture_restore(struct archive_fixture *f, uint64_t to_revision,
                                             uint64_t to_time_ms, struct restore_facts *facts);
/* The same; it gives the state of @point. */
void archive_fixture_check_restore(struct archive_fixture *f, uint64_t to_revision,
                                   uint64_t to_time_ms, const struct archive_fixture_point *point);
/* All of it gives the state as it is now. */
void archive_fixture_check_latest(struct archive_fixture *f);
/* The plan of a restore; and what comes of it. */
struct restore *archive_fixture_begin_restore(struct archive_fixture *f, uint64_t to_revision);
MUST_USE enum status archive_fixture_end_restore(struct archive_fixture *f, struct restore *restore,
                                                 struct restore_facts *facts);
/* What is there now; ends with catalog_close(). */
void archive_fixture_load(struct archive_fixture *f, struct catalog *catalog);
/* Deltas, and what they were merged into, follow each other but for so many gaps, and nothing is
 * there that is not whole. */
void archive_fixture_check_chain(struct archive_fixture *f, unsigned n_gaps);

#define ARCHIVE_FIXTURE_OBJECTS      64u
#define ARCHIVE_FIXTURE_OBJECT_BYTES (1u << 20) /* No object of these tests is larger. */

/* What is in the repository, by name. */
struct archive_fixture_objects {
    char names[ARCHIVE_FIXTURE_OBJECTS][NAMES_BYTES];
    uint64_t sizes[ARCHIVE_FIXTURE_OBJECTS];
    size_t n;
};
void archive_fixture_list(struct archive_fixture *f, struct archive_fixture_objects *objects);

/* And what is in that, for archive_fixture_forget_objects(). */
struct archive_fixture_object {
    char name[NAMES_BYTES];
    struct buffer bytes;
};
struct archive_fixture_object *archive_fixture_read_objects(struct archive_fixture *f, size_t *n);
/* Each is there, byte for byte. */
void archive_fixture_check_objects(struct archive_fixture *f,
                                   const struct archive_fixture_object *objects, size_t n);
void archive_fixture_forget_objects(struct archive_fixture_object *objects, size_t n);

/* Change a bit of an object's file. */
void archive_fixture_flip(struct archive_fixture *f, const char *name, uint64_t offset);

#endif
