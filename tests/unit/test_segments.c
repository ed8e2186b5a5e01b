/* The check of the log's files: what a crash leaves is let through, everything else is refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/wire.h"
#include "raft/segments.h"
#include "tests/lib/fault.h"

struct fixture {
    char directory[64];
    struct buffer file;
    struct segments_summary summary;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-segments-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    buffer_close(&f->file);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    buffer_clear(&f->file);
    wire_put_u64(&f->file, 1);
}

/* Append a batch of @n entries of @size bytes each (a multiple of 8) and @term. */
static void add_batch(struct fixture *f, uint64_t n, uint64_t term, uint32_t size)
{
    size_t start = f->file.size;
    size_t data;

    wire_put_u64(&f->file, 0); /* The checksums. */
    wire_put_u64(&f->file, n);
    for (uint64_t i = 0; i < n; i++) {
        wire_put_u64(&f->file, term);
        wire_put_u32(&f->file, 1);
        wire_put_u32(&f->file, size);
    }
    data = f->file.size;
    for (uint64_t i = 0; i < n * size; i++) {
        buffer_append_byte(&f->file, (uint8_t)(i * 7 + term));
    }
    wire_set_u32(&f->file, start, segments_checksum(f->file.data + start + 8, data - start - 8, 0));
    wire_set_u32(&f->file, start + 4,
                 segments_checksum(f->file.data + data, f->file.size - data, 0));
}

static void add_zeros(struct fixture *f, size_t size)
{
    memset(buffer_extend(&f->file, size), 0, size);
}

static void save(struct fixture *f, const char *name)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(f->file.data, 1, f->file.size, file), f->file.size);
    assert_int_equal(fclose(file), 0);
}

static enum status check(struct fixture *f, uint64_t stored)
{
    return segments_check(f->directory, stored, &f->summary, &f->error);
}

/* Entries 1 to 3 in a closed segment, 4 and 5 in an open one. */
static void save_good_log(struct fixture *f)
{
    begin(f);
    add_batch(f, 2, 1, 64);
    add_batch(f, 1, 1, 16);
    save(f, "0000000000000001-0000000000000003");
    begin(f);
    add_batch(f, 1, 2, 32);
    add_batch(f, 1, 2, 800);
    add_zeros(f, 4096);
    save(f, "open-1");
}

static void checksum_is_the_one_of_libraft(void **state)
{
    (void)state;
    /* CRC-32/CKSUM of "123456789" is 765e7680; without its final inversion: */
    assert_int_equal(segments_checksum("123456789", 9, 0), 0x89a1897f);
    assert_int_equal(segments_checksum("6789", 4, segments_checksum("12345", 5, 0)), 0x89a1897f);
}

static void an_empty_directory_is_an_empty_log(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(check(f, 0), STATUS_OK);
    assert_int_equal(f->summary.last_index, 0);
    assert_int_equal(check(f, 1), STATUS_MISMATCH);
}

struct reading {
    uint64_t next; /* Expected. */
    uint64_t n;
    uint64_t bytes;
    uint64_t ends_at; /* 0: never. */
};

static enum status on_entry(void *data, uint64_t index, uint64_t term, uint8_t type,
                            struct slice bytes, struct error *error)
{
    struct reading *reading = data;

    assert_int_equal(index, reading->next++);
    assert_int_equal(term, index <= 3 ? 1 : 2);
    assert_int_equal(type, 1);
    for (size_t i = 0; i < bytes.size && index != 2; i++) { /* The second of a batch goes on. */
        assert_int_equal(bytes.data[i], (uint8_t)(i * 7 + term));
    }
    reading->n++;
    reading->bytes += bytes.size;
    return index == reading->ends_at ? error_set(error, STATUS_CANCELED, "enough") : STATUS_OK;
}

static void entries_are_read_in_order_behind_an_index(void **state)
{
    struct fixture *f = *state;

    save_good_log(f);
    for (uint64_t after = 0; after <= 6; after++) {
        struct reading reading = {.next = after + 1};

        assert_int_equal(
            segments_read(f->directory, after, on_entry, &reading, &f->summary, &f->error),
            STATUS_OK);
        assert_int_equal(reading.n, after > 5 ? 0 : 5 - after);
        assert_int_equal(f->summary.last_index, 5);
        assert_true(after > 0 || reading.bytes == 64 + 64 + 16 + 32 + 800);
    }
}

static void reading_ends_when_it_is_told_to(void **state)
{
    struct fixture *f = *state;
    struct reading reading = {.next = 1, .ends_at = 4};

    save_good_log(f);
    assert_int_equal(segments_read(f->directory, 0, on_entry, &reading, &f->summary, &f->error),
                     STATUS_CANCELED);
    assert_string_equal(f->error.text, "enough");
    assert_int_equal(reading.n, 4);
}

static void save_metadata(struct fixture *f, const char *name, uint64_t format, uint64_t version,
                          uint64_t term)
{
    buffer_clear(&f->file);
    wire_put_u64(&f->file, format);
    wire_put_u64(&f->file, version);
    wire_put_u64(&f->file, term);
    wire_put_u64(&f->file, 77);
    save(f, name);
}

static void the_term_is_the_one_of_the_newest_metadata(void **state)
{
    struct fixture *f = *state;
    uint64_t term = 99;

    assert_int_equal(segments_term(f->directory, &term, &f->error), STATUS_OK);
    assert_int_equal(term, 0);
    save_metadata(f, "metadata1", 1, 5, 12);
    assert_int_equal(segments_term(f->directory, &term, &f->error), STATUS_OK);
    assert_int_equal(term, 12);
    save_metadata(f, "metadata2", 1, 4, 11);
    assert_int_equal(segments_term(f->directory, &term, &f->error), STATUS_OK);
    assert_int_equal(term, 12);
    save_metadata(f, "metadata2", 1, 6, 13);
    assert_int_equal(segments_term(f->directory, &term, &f->error), STATUS_OK);
    assert_int_equal(term, 13);
}

static void a_term_that_cannot_be_read_is_told(void **state)
{
    struct fixture *f = *state;
    uint64_t term = 99;

    save_metadata(f, "metadata1", 9, 5, 12);
    begin(f);
    save(f, "metadata2"); /* Too short. */
    assert_int_equal(segments_term(f->directory, &term, &f->error), STATUS_CORRUPT);
    assert_int_equal(term, 99);
}

static void a_whole_log_is_counted(void **state)
{
    struct fixture *f = *state;

    save_good_log(f);
    assert_int_equal(check(f, 5), STATUS_OK);
    assert_int_equal(f->summary.first_index, 1);
    assert_int_equal(f->summary.last_index, 5);
    assert_int_equal(f->summary.last_term, 2);
    assert_false(f->summary.torn);
}

/* As copies that leave out zeros make it. */
static void a_batch_that_ends_in_a_hole_is_whole(void **state)
{
    enum { SIZE = 64 << 10, NOT_ZERO = 100, BLOCK = 4096 };
    struct fixture *f = *state;
    char path[128];
    size_t start;
    size_t data;

    save_good_log(f);
    begin(f);
    add_batch(f, 1, 2, 32);
    start = f->file.size;
    add_batch(f, 1, 2, SIZE);
    data = f->file.size - SIZE;
    memset(f->file.data + data + NOT_ZERO, 0, SIZE - NOT_ZERO);
    wire_set_u32(&f->file, start + 4, segments_checksum(f->file.data + data, SIZE, 0));
    f->file.size = BLOCK;
    save(f, "open-1");
    (void)snprintf(path, sizeof path, "%s/open-1", f->directory);
    assert_int_equal(truncate(path, 1 << 20), 0);

    assert_int_equal(check(f, 5), STATUS_OK);
    assert_int_equal(f->summary.last_index, 5);
    assert_false(f->summary.torn);
}

static void a_log_that_ends_before_what_was_stored_is_refused(void **state)
{
    struct fixture *f = *state;

    save_good_log(f);
    assert_int_equal(check(f, 6), STATUS_MISMATCH);
    assert_non_null(strstr(f->error.text, "ends at 5, but this node had stored up to 6"));
}

static void every_cut_of_the_last_batch_is_a_torn_end(void **state)
{
    struct fixture *f = *state;
    size_t end;

    save_good_log(f);
    begin(f);
    add_batch(f, 1, 2, 32);
    end = f->file.size;
    add_batch(f, 1, 2, 800);
    for (size_t cut = f->file.size - 1; cut > end; cut--) {
        f->file.data[cut] = 0; /* What did not reach the disk reads as zeros. */
        if (cut % 37 == 0 || cut < end + 24) {
            save(f, "open-1");
            assert_int_equal(check(f, 4), STATUS_OK);
            assert_int_equal(f->summary.last_index, 4);
            assert_true(f->summary.torn);
            assert_int_equal(check(f, 5), STATUS_MISMATCH);
        }
    }
}

static void every_flipped_byte_before_the_end_is_found(void **state)
{
    struct fixture *f = *state;
    size_t last;

    save_good_log(f);
    begin(f);
    add_batch(f, 1, 2, 32);
    add_batch(f, 1, 2, 40);
    last = f->file.size;
    add_batch(f, 1, 2, 48);
    for (size_t i = 8; i < last; i++) {
        f->file.data[i] ^= 0x40;
        save(f, "open-1");
        /* The unused bytes of an entry's header are covered by its checksum as well. */
        assert_int_equal(check(f, 0), STATUS_CORRUPT);
        f->file.data[i] ^= 0x40;
    }
    assert_non_null(strstr(f->error.text, "open-1"));
    assert_non_null(strstr(f->error.text, "join again as a new member"));
}

static void a_damaged_closed_segment_is_refused(void **state)
{
    struct fixture *f = *state;

    begin(f);
    add_batch(f, 3, 1, 64);
    f->file.data[f->file.size - 1] ^= 1;
    save(f, "0000000000000001-0000000000000003");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);

    f->file.data[f->file.size - 1] ^= 1;
    save(f, "0000000000000001-0000000000000003");
    assert_int_equal(check(f, 0), STATUS_OK);

    add_batch(f, 1, 1, 64);
    save(f, "0000000000000001-0000000000000003");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
}

static void gaps_and_overlaps_are_refused(void **state)
{
    struct fixture *f = *state;

    save_good_log(f);
    begin(f);
    add_batch(f, 2, 2, 8);
    save(f, "0000000000000005-0000000000000006");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "does not follow"));
}

static void a_log_without_its_beginning_needs_a_snapshot(void **state)
{
    struct fixture *f = *state;

    begin(f);
    add_batch(f, 2, 2, 8);
    save(f, "0000000000000005-0000000000000006");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
    buffer_clear(&f->file);
    save(f, "snapshot-2-3-1234.meta");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
    save(f, "snapshot-2-4-1235.meta");
    assert_int_equal(check(f, 6), STATUS_OK);
    assert_int_equal(f->summary.snapshot_index, 4);
    assert_int_equal(f->summary.first_index, 5);
}

static void what_lies_behind_the_snapshot_may_be_followed_by_a_gap(void **state)
{
    struct fixture *f = *state;

    begin(f);
    add_batch(f, 3, 1, 8);
    save(f, "0000000000000001-0000000000000003");
    begin(f);
    add_batch(f, 1, 2, 8);
    save(f, "0000000000000010-0000000000000010");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
    buffer_clear(&f->file);
    save(f, "snapshot-2-9-1.meta");
    assert_int_equal(check(f, 10), STATUS_OK);
    assert_int_equal(f->summary.first_index, 10);
}

static void nothing_may_follow_a_torn_segment(void **state)
{
    struct fixture *f = *state;

    save_good_log(f);
    begin(f);
    add_batch(f, 1, 2, 32);
    f->file.data[f->file.size - 1] ^= 1;
    save(f, "open-1");
    begin(f);
    add_batch(f, 1, 2, 32);
    save(f, "open-2");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "goes on behind it"));

    buffer_clear(&f->file);
    add_zeros(f, 4096);
    save(f, "open-2"); /* Prepared, never used. */
    assert_int_equal(check(f, 0), STATUS_OK);
    assert_true(f->summary.torn);
}

static bool is_there(const struct fixture *f, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    return access(path, F_OK) == 0;
}

static void segments_that_were_never_used_are_removed(void **state)
{
    struct fixture *f = *state;
    char path[256];
    int fd;

    save_good_log(f);
    (void)snprintf(path, sizeof path, "%s/open-2", f->directory);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, 1 << 20), 0);
    assert_int_equal(close(fd), 0);
    begin(f);
    add_zeros(f, 4096); /* Written, if only its format. */
    save(f, "open-3");
    buffer_clear(&f->file);
    add_zeros(f, 4096); /* Filled before its use. */
    save(f, "open-4");
    f->file.data[f->file.size - 1] = 1; /* A first write that a crash cut off. */
    save(f, "open-5");

    assert_int_equal(check(f, 0), STATUS_OK);
    segments_drop_unused(f->directory);
    assert_true(is_there(f, "open-1"));
    assert_false(is_there(f, "open-2"));
    assert_true(is_there(f, "open-3"));
    assert_false(is_there(f, "open-4"));
    assert_true(is_there(f, "open-5"));
    assert_int_equal(check(f, 0), STATUS_OK);
    segments_drop_unused("/nonexistent");
}

static void a_later_format_is_not_supported(void **state)
{
    struct fixture *f = *state;

    begin(f);
    add_batch(f, 1, 1, 8);
    f->file.data[0] = 2;
    save(f, "0000000000000001-0000000000000001");
    assert_int_equal(check(f, 0), STATUS_UNSUPPORTED);
}

static void a_term_that_goes_down_is_refused(void **state)
{
    struct fixture *f = *state;

    begin(f);
    add_batch(f, 1, 3, 8);
    add_batch(f, 1, 2, 8);
    save(f, "0000000000000001-0000000000000002");
    assert_int_equal(check(f, 0), STATUS_CORRUPT);
}

static void a_missing_directory_is_told(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(segments_check("/nowhere/raft", 0, &f->summary, &f->error), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "/nowhere/raft"));
}

/* Fail the first step of a check, then the second, until there are none left: it is told, and never
 * taken for a shorter log. */
static void a_check_that_fails_says_nothing_of_the_log(void **state)
{
    struct fixture *f = *state;
    unsigned descriptors = fault_count_descriptors();
    enum status status;
    unsigned nth = 0;
    bool has_struck;

    save_good_log(f);
    do {
        f->summary.last_index = 77;
        fault_arm(++nth, EIO);
        status = check(f, 0);
        has_struck = fault_disarm();
        if (has_struck && strcmp(fault_name(), "close") != 0) { /* After it only read. */
            assert_int_equal(status, STATUS_IO);
            assert_int_equal(f->summary.last_index, 77);
            assert_int_not_equal(f->error.text[0], '\0');
        } else {
            assert_int_equal(status, STATUS_OK);
            assert_int_equal(f->summary.last_index, 5);
        }
        assert_int_equal(fault_count_descriptors(), descriptors);
    } while (has_struck);
    assert_true(nth > 10); /* The list, and open, stat, map and close of two files. */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_are_read_in_order_behind_an_index, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_ends_when_it_is_told_to, setup, teardown),
        cmocka_unit_test_setup_teardown(the_term_is_the_one_of_the_newest_metadata, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_term_that_cannot_be_read_is_told, setup, teardown),
        cmocka_unit_test(checksum_is_the_one_of_libraft),
        TEST(an_empty_directory_is_an_empty_log),
        TEST(a_whole_log_is_counted),
        TEST(a_batch_that_ends_in_a_hole_is_whole),
        TEST(a_log_that_ends_before_what_was_stored_is_refused),
        TEST(every_cut_of_the_last_batch_is_a_torn_end),
        TEST(every_flipped_byte_before_the_end_is_found),
        TEST(a_damaged_closed_segment_is_refused),
        TEST(gaps_and_overlaps_are_refused),
        TEST(a_log_without_its_beginning_needs_a_snapshot),
        TEST(what_lies_behind_the_snapshot_may_be_followed_by_a_gap),
        TEST(nothing_may_follow_a_torn_segment),
        TEST(a_later_format_is_not_supported),
        TEST(a_term_that_goes_down_is_refused),
        TEST(a_missing_directory_is_told),
        TEST(a_check_that_fails_says_nothing_of_the_log),
        TEST(segments_that_were_never_used_are_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
