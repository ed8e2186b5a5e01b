/* The check of libraft's snapshot files: a flipped bit is told with what to do, a half-made
 * snapshot is none. */
#include <errno.h>
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
#include "raft/pointers.h"
#include "raft/segments.h"
#include "tests/lib/fault.h"

#define CONFIGURATION "a configuration, of three members perhaps"

struct fixture {
    char directory[64];
    struct buffer meta;
    struct error error;
};

static void make_meta(struct buffer *meta)
{
    buffer_clear(meta);
    wire_put_u64(meta, 1);
    wire_put_u64(meta, 0);
    wire_put_u64(meta, 7);
    wire_put_u64(meta, sizeof CONFIGURATION);
    buffer_append(meta, CONFIGURATION, sizeof CONFIGURATION);
    wire_set_u64(meta, 8, segments_checksum(meta->data + 16, meta->size - 16, 0));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-pointers-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    make_meta(&f->meta);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    buffer_close(&f->meta);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *name, struct slice bytes)
{
    char path[160];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
}

static void write_snapshot(struct fixture *f, const char *name)
{
    char meta[128];

    (void)snprintf(meta, sizeof meta, "%s.meta", name);
    write_file(f, meta, buffer_slice(&f->meta));
    write_file(f, name, slice_of_string("pointer"));
}

static void any_flipped_bit_is_told_unless_libraft_does_not_look_at_it(void **state)
{
    struct fixture *f = *state;

    for (size_t bit = 0; bit < f->meta.size * 8; bit++) {
        bool is_unused = bit >= 96 && bit < 128; /* The upper half of the checksum's place. */
        enum status status;

        f->meta.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        status = pointers_check_meta(buffer_slice(&f->meta), &f->error);
        f->meta.data[bit / 8] ^= (uint8_t)(1u << bit % 8);

        assert_int_equal(status, is_unused ? STATUS_OK : STATUS_CORRUPT);
    }
}

static void another_length_is_told(void **state)
{
    struct fixture *f = *state;

    for (size_t size = 0; size < f->meta.size; size++) {
        assert_int_equal(pointers_check_meta(slice_of(f->meta.data, size), &f->error),
                         STATUS_CORRUPT);
    }
    buffer_append_byte(&f->meta, 0);
    assert_int_equal(pointers_check_meta(buffer_slice(&f->meta), &f->error), STATUS_CORRUPT);
}

static void a_later_format_is_no_damage(void **state)
{
    struct fixture *f = *state;

    wire_set_u64(&f->meta, 0, 2);

    assert_int_equal(pointers_check_meta(buffer_slice(&f->meta), &f->error), STATUS_UNSUPPORTED);
}

static void a_directory_without_snapshots_is_good(void **state)
{
    struct fixture *f = *state;

    write_file(f, "0000000000000001-0000000000000001", slice_of_string("a segment"));
    write_file(f, "snapshot-1-2.meta", slice_of_string("no name of a snapshot"));
    write_file(f, "snapshot-1-2-3.meta.old", slice_of_string("nor this"));
    write_file(f, "snapshot-1-2-3", slice_of_string("pointer"));

    assert_int_equal(pointers_check(f->directory, &f->error), STATUS_OK);
}

static void a_damaged_one_is_named_with_what_to_do(void **state)
{
    struct fixture *f = *state;

    f->meta.data[40] ^= 1;
    write_snapshot(f, "snapshot-1-2-3");

    assert_int_equal(pointers_check(f->directory, &f->error), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "snapshot-1-2-3.meta"));
    assert_non_null(strstr(f->error.text, "wrong checksum"));
    assert_non_null(strstr(f->error.text, "join again as a new member"));
}

/* By term, index and time, as numbers. */
static void the_one_that_libraft_would_load_is_checked(void **state)
{
    static const char *const newer[] = {"snapshot-1-9-4", "snapshot-1-10-3", "snapshot-2-1-1"};
    struct fixture *f = *state;

    f->meta.data[40] ^= 1;
    write_snapshot(f, "snapshot-1-9-3");
    assert_int_equal(pointers_check(f->directory, &f->error), STATUS_CORRUPT);
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
        make_meta(&f->meta);
        write_snapshot(f, newer[i]);
        assert_int_equal(pointers_check(f->directory, &f->error), STATUS_OK);
        f->meta.data[40] ^= 1;
        write_snapshot(f, newer[i]);
        assert_int_equal(pointers_check(f->directory, &f->error), STATUS_CORRUPT);
    }
}

/* What a crash leaves between the two. */
static void one_without_its_pointer_is_none(void **state)
{
    struct fixture *f = *state;

    write_snapshot(f, "snapshot-1-2-3");
    f->meta.data[40] ^= 1;
    write_file(f, "snapshot-1-3-3.meta", buffer_slice(&f->meta));

    assert_int_equal(pointers_check(f->directory, &f->error), STATUS_OK);
}

static void each_call_that_fails_is_told(void **state)
{
    struct fixture *f = *state;
    unsigned before = fault_count_descriptors();
    unsigned nth = 0;
    enum status status;
    bool struck;

    write_snapshot(f, "snapshot-1-2-3");
    do {
        fault_arm(++nth, EIO);
        status = pointers_check(f->directory, &f->error);
        struck = fault_disarm();
        if (struck && strcmp(fault_name(), "close") != 0) {
            assert_int_equal(status, STATUS_IO);
        }
        assert_int_equal(fault_count_descriptors(), before);
    } while (struck);

    assert_int_equal(status, STATUS_OK);
    assert_true(nth > 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(any_flipped_bit_is_told_unless_libraft_does_not_look_at_it),
        TEST(another_length_is_told),
        TEST(a_later_format_is_no_damage),
        TEST(a_directory_without_snapshots_is_good),
        TEST(a_damaged_one_is_named_with_what_to_do),
        TEST(the_one_that_libraft_would_load_is_checked),
        TEST(one_without_its_pointer_is_none),
        TEST(each_call_that_fails_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
