/* The journal: what was executed is read back in order, a restart or a failure loses nothing that
 * was synced, and what could not be kept is a gap that is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "storage/journal.h"
#include "storage/journal_files.h"
#include "tests/lib/fault.h"

#define ENTRY "an entry of some command, which is not looked at here"

struct fixture {
    char directory[64];
    char path[80];
    struct journal_options options;
    struct journal *journal;
    struct error error;
};

static void open_journal(struct fixture *f)
{
    assert_int_equal(journal_open(&f->options, &f->journal, &f->error), STATUS_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-journal-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof f->path, "%s/journal", f->directory);
    f->options.directory = f->path;
    f->options.file_bytes = 1000; /* Eight steps. */
    open_journal(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    journal_close(f->journal);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    journal_close(f->journal);
    open_journal(f);
}

static struct step entry_at(uint64_t index)
{
    return (struct step){.first_index = index,
                         .index = index,
                         .term = 3,
                         .revision = index * 2,
                         .time_ms = index * 10,
                         .hash = {index, ~index},
                         .entry = slice_of_string(ENTRY)};
}

static struct step skip_to(uint64_t first, uint64_t index)
{
    struct step step = entry_at(index);

    step.first_index = first;
    step.entry = slice_of("", 0);
    return step;
}

static void append_entries(struct fixture *f, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        struct step step = entry_at(i);

        journal_append(f->journal, &step);
    }
}

static void append_skip(struct fixture *f, uint64_t first, uint64_t index)
{
    struct step step = skip_to(first, index);

    journal_append(f->journal, &step);
}

/* Read on from @after until nothing more comes: sound steps in order; gives the last index. */
static uint64_t read_on(struct fixture *f, uint64_t after, size_t max_bytes, enum status *end)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct slice walk;
    struct step step;

    while ((*end = journal_read(f->journal, after, max_bytes, &bytes, &f->error)) == STATUS_OK) {
        walk = buffer_slice(&bytes);
        assert_true(walk.size > 0);
        while (step_take(&walk, &step) == STATUS_OK) {
            assert_int_equal(step.first_index, after + 1);
            assert_int_equal(step.term, 3);
            assert_int_equal(step.revision, step.index * 2);
            assert_int_equal(step.time_ms, step.index * 10);
            assert_int_equal(step.hash[0], step.index);
            assert_int_equal(step.hash[1], ~step.index);
            assert_true(step.entry.size == 0 || slice_equals_string(step.entry, ENTRY));
            after = step.index;
        }
        assert_int_equal(walk.size, 0);
        buffer_clear(&bytes);
    }
    buffer_close(&bytes);
    return after;
}

static void check_reads(struct fixture *f, uint64_t after, uint64_t last)
{
    enum status end;

    assert_int_equal(read_on(f, after, 1, &end), last);
    assert_int_equal(end, STATUS_END);
    assert_int_equal(read_on(f, after, 1500, &end), last);
    assert_int_equal(end, STATUS_END);
    assert_int_equal(read_on(f, after, 1u << 20, &end), last);
    assert_int_equal(end, STATUS_END);
}

static uint64_t file_count(struct fixture *f)
{
    struct journal_statistics statistics;

    journal_statistics(f->journal, &statistics);
    return statistics.files;
}

static uint64_t gap_count(struct fixture *f)
{
    struct journal_statistics statistics;

    journal_statistics(f->journal, &statistics);
    return statistics.gaps;
}

static void steps_are_read_back_in_order_from_anywhere(void **state)
{
    struct fixture *f = *state;

    append_entries(f, 1, 30);
    append_skip(f, 31, 35);
    append_entries(f, 36, 50);

    check_reads(f, 0, 50);
    check_reads(f, 7, 50);
    check_reads(f, 8, 50);
    check_reads(f, 33, 50); /* In the middle of a run of indexes. */
    check_reads(f, 49, 50);
    check_reads(f, 50, 50);
    assert_true(file_count(f) >= 5);
    assert_int_equal(gap_count(f), 0);
}

static void an_empty_journal_has_nothing_yet(void **state)
{
    struct fixture *f = *state;
    struct buffer steps = BUFFER_EMPTY;

    assert_int_equal(journal_read(f->journal, 0, 1, &steps, &f->error), STATUS_END);
    assert_int_equal(journal_read(f->journal, 5, 1, &steps, &f->error), STATUS_END);
}

static void a_restart_goes_on_and_takes_nothing_twice(void **state)
{
    struct fixture *f = *state;

    append_entries(f, 1, 11);
    append_skip(f, 12, 12);
    reopen(f);
    append_entries(f, 9, 11); /* Executed again from the log. */
    append_skip(f, 12, 14);
    append_entries(f, 15, 17);

    check_reads(f, 0, 17);
    assert_int_equal(gap_count(f), 0);
}

static void a_step_that_does_not_follow_makes_a_gap(void **state)
{
    struct fixture *f = *state;
    enum status end;

    append_entries(f, 1, 5);
    append_entries(f, 9, 12);

    assert_int_equal(read_on(f, 0, 1u << 20, &end), 5);
    assert_int_equal(end, STATUS_NOT_FOUND);
    check_reads(f, 8, 12);
    assert_int_equal(read_on(f, 6, 1, &end), 6);
    assert_int_equal(end, STATUS_NOT_FOUND);
    assert_int_equal(gap_count(f), 1);
}

static void what_nobody_wants_any_more_is_removed(void **state)
{
    struct fixture *f = *state;
    uint64_t files;
    enum status end;

    append_entries(f, 1, 40);
    check_reads(f, 0, 40);
    files = file_count(f);
    journal_release(f->journal, 7);
    assert_int_equal(file_count(f), files);
    journal_release(f->journal, 20);
    assert_true(file_count(f) < files);

    assert_int_equal(read_on(f, 0, 1, &end), 0);
    assert_int_equal(end, STATUS_NOT_FOUND);
    check_reads(f, 20, 40);
    journal_release(f->journal, 40); /* The open file stays. */
    assert_int_equal(file_count(f), 1);
    reopen(f);
    append_entries(f, 41, 41);
    check_reads(f, 40, 41);
}

static void the_oldest_goes_if_all_is_too_large(void **state)
{
    struct fixture *f = *state;
    struct journal_statistics statistics;
    enum status end;

    f->options.max_bytes = 5000;
    reopen(f);
    append_entries(f, 1, 400);

    journal_sync(f->journal);
    journal_statistics(f->journal, &statistics);
    assert_in_range(statistics.bytes, 2000, 5500);
    assert_int_equal(read_on(f, 0, 1, &end), 0);
    assert_int_equal(end, STATUS_NOT_FOUND);
    check_reads(f, 390, 400);
}

static void a_full_disk_makes_a_gap_and_no_more(void **state)
{
    struct fixture *f = *state;
    enum status end;

    append_entries(f, 1, 3);
    journal_sync(f->journal);
    f->options.reserve_bytes = UINT64_MAX;
    reopen(f);
    append_entries(f, 4, 5);
    journal_sync(f->journal);
    assert_int_equal(gap_count(f), 1);
    f->options.reserve_bytes = 0;
    reopen(f);
    append_entries(f, 6, 8);

    assert_int_equal(read_on(f, 5, 1, &end), 8);
    assert_int_equal(end, STATUS_END);
    assert_int_equal(read_on(f, 0, 1, &end), 0);
    assert_int_equal(end, STATUS_NOT_FOUND);
}

static char *open_file_path(struct fixture *f, uint64_t first)
{
    static char path[160];

    (void)snprintf(path, sizeof path, "%s/%020llu-open", f->path, (unsigned long long)first);
    return path;
}

/* As if the process had been killed: the open file keeps its name. */
static void leave_open(struct fixture *f, uint64_t first, uint64_t last)
{
    struct buffer steps = BUFFER_EMPTY;
    struct journal_files *files;
    struct journal_options options = f->options;

    journal_close(f->journal);
    f->journal = NULL;
    options.max_bytes = LIMIT_JOURNAL_BYTES;
    assert_int_equal(journal_files_open(&options, &files, &f->error), STATUS_OK);
    for (uint64_t i = first; i <= last; i++) {
        struct step step = entry_at(i);

        step_append(&steps, &step);
    }
    assert_int_equal(journal_files_write(files, buffer_slice(&steps), &f->error), STATUS_OK);
    journal_files_close(files);
    buffer_close(&steps);
}

static void what_was_cut_off_by_a_crash_ends_at_its_last_whole_step(void **state)
{
    struct fixture *f = *state;
    struct stat facts;
    off_t whole;

    leave_open(f, 1, 5);
    assert_int_equal(stat(open_file_path(f, 1), &facts), 0);
    whole = facts.st_size;
    for (off_t size = whole; size >= 0; size -= 7) {
        uint64_t expected = (uint64_t)(size * 5 / whole);
        char command[256];

        leave_open(f, 1, 5);
        assert_int_equal(truncate(open_file_path(f, 1), size), 0);
        open_journal(f);
        append_entries(f, expected + 1, expected + 2);
        check_reads(f, 0, expected + 2);
        assert_int_equal(gap_count(f), 0);
        journal_close(f->journal);
        f->journal = NULL;
        (void)snprintf(command, sizeof command, "rm -r %s", f->path);
        assert_int_equal(system(command), 0);
        open_journal(f);
    }
}

static void a_damaged_step_is_a_gap_not_an_answer(void **state)
{
    struct fixture *f = *state;
    char path[192];
    enum status end;
    FILE *file;

    append_entries(f, 1, 20);
    check_reads(f, 0, 20);
    (void)snprintf(path, sizeof path, "%s/%020d-%020d", f->path, 1, 8);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 3 * (long)(STEP_OVERHEAD_BYTES + strlen(ENTRY)) + 80, SEEK_SET),
                     0);
    assert_int_equal(fputc('x', file), 'x');
    assert_int_equal(fclose(file), 0);

    assert_int_equal(read_on(f, 0, 1u << 20, &end), 3);
    assert_int_equal(end, STATUS_NOT_FOUND);
    check_reads(f, 8, 20);
}

/* Whatever fails, what was synced before is there, and what comes later is kept again. */
static void a_failure_loses_nothing_that_was_synced(void **state)
{
    struct fixture *f = *state;
    unsigned descriptors;
    unsigned nth = 0;
    unsigned n_gaps = 0;
    bool has_struck;

    reopen(f);
    descriptors = fault_count_descriptors();
    do {
        uint64_t first = 100 * ++nth;
        enum status end;

        append_entries(f, first, first + 4);
        journal_sync(f->journal);
        append_entries(f, first + 5, first + 13); /* Into a second file. */
        fault_arm(nth, EIO);
        journal_sync(f->journal);
        has_struck = fault_disarm();
        append_entries(f, first + 14, first + 20);
        journal_sync(f->journal);

        if (read_on(f, first - 1, 1u << 20, &end) != first + 20) {
            assert_true(has_struck);
            assert_int_equal(end, STATUS_NOT_FOUND);
            assert_true(read_on(f, first - 1, 1u << 20, &end) >= first + 4);
            assert_int_equal(read_on(f, first + 13, 1u << 20, &end), first + 20);
            n_gaps++;
        }
        assert_in_range(fault_count_descriptors(), descriptors, descriptors + 1);
        assert_true(nth < 50);
    } while (has_struck);
    assert_true(n_gaps >= 3);
}

static void a_directory_that_cannot_be_used_is_told(void **state)
{
    struct fixture *f = *state;
    unsigned descriptors;
    unsigned nth = 0;
    bool has_struck;
    enum status status;

    append_entries(f, 1, 5);
    journal_close(f->journal);
    descriptors = fault_count_descriptors();
    do {
        f->journal = NULL;
        fault_arm(++nth, EIO);
        status = journal_open(&f->options, &f->journal, &f->error);
        has_struck = fault_disarm();
        if (status != STATUS_OK) {
            assert_true(has_struck);
            assert_non_null(strstr(f->error.text, "journal"));
            assert_int_equal(fault_count_descriptors(), descriptors);
        }
        if (has_struck) {
            journal_close(f->journal);
        }
    } while (has_struck);
    assert_true(nth > 4);
    check_reads(f, 0, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_are_read_back_in_order_from_anywhere, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_empty_journal_has_nothing_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_and_takes_nothing_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_that_does_not_follow_makes_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_wants_any_more_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_goes_if_all_is_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_makes_a_gap_and_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_cut_off_by_a_crash_ends_at_its_last_whole_step,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_step_is_a_gap_not_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_loses_nothing_that_was_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_cannot_be_used_is_told, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
