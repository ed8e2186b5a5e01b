/* Images: what goes in comes out, equal states give equal bytes, and whatever is changed, cut off,
 * left out or put elsewhere is noticed. */
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
#include <xxhash.h>

#include "storage/image_export.h"
#include "storage/image_file.h"
#include "storage/record.h"
#include "tests/lib/state.h"

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"

/* --- Images in memory --- */

static struct buffer slurp(int fd)
{
    struct buffer bytes = BUFFER_EMPTY;
    off_t size = lseek(fd, 0, SEEK_END);

    assert_true(size > 0);
    assert_int_equal(pread(fd, buffer_extend(&bytes, (size_t)size), (size_t)size, 0), size);
    return bytes;
}

static int temporary_file(void)
{
    char path[] = "/tmp/holdfast-image-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

/* What is committed in @f, as the bytes of an image. */
static struct buffer export(struct state_fixture *f)
{
    struct image_export options = {
        .store = f->store, .cluster_id = CLUSTER, .fd = temporary_file()};
    struct image_facts facts;
    struct image_totals totals;
    struct buffer bytes;

    state_commit(f);
    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_OK);
    bytes = slurp(options.fd);
    assert_int_equal(bytes.size, totals.file_bytes);
    assert_int_equal(facts.state.applied_index, f->index);
    assert_int_equal(close(options.fd), 0);
    return bytes;
}

/* Record i of an image made without a store: a hash-like value that does not compress. */
static struct buffer noise(uint64_t i, size_t size)
{
    struct buffer value = BUFFER_EMPTY;
    uint8_t *place = buffer_extend(&value, size);

    for (size_t at = 0; at < size; at++) {
        i = i * 6364136223846793005u + 1442695040888963407u;
        place[at] = (uint8_t)(i >> 56);
    }
    return value;
}

/* An image of @n records of @size bytes; @salt makes it another one. */
static struct buffer compose(unsigned n, size_t size, uint64_t salt)
{
    struct image_facts facts = {.cluster_id = CLUSTER, .state = {.revision = 7 + salt}};
    struct image_writer *writer;
    struct image_totals totals;
    struct buffer bytes = BUFFER_EMPTY;

    for (unsigned pass = 0; pass < 2; pass++) {
        buffer_clear(&bytes);
        writer = image_writer_open(&facts, &bytes);
        for (unsigned i = 0; i < n; i++) {
            struct buffer value = noise(i + salt, size);
            uint8_t key[] = {1, (uint8_t)(i >> 8), (uint8_t)i};

            if (pass == 0) {
                record_hash_add(facts.state.hash, slice_of(key, sizeof key), buffer_slice(&value));
            }
            image_writer_add(writer, slice_of(key, sizeof key), buffer_slice(&value), &bytes);
            buffer_close(&value);
        }
        image_writer_finish(writer, &bytes, &totals);
        image_writer_close(writer);
    }
    assert_int_equal(totals.records, n);
    return bytes;
}

/* The pieces of an image: 0 to the last one. */
#define MAX_PIECES 16
struct pieces {
    unsigned n;
    struct slice list[MAX_PIECES];
};

static struct pieces cut(struct slice image)
{
    struct pieces pieces = {0};
    struct image_piece piece;

    while (image.size > 0) {
        assert_true(pieces.n < MAX_PIECES);
        assert_int_equal(image_piece_look(image, &piece, NULL), STATUS_OK);
        pieces.list[pieces.n++] = slice_of(image.data, piece.size);
        image = slice_from(image, piece.size);
    }
    return pieces;
}

/* Feed pieces until one is refused or none is left. */
static enum status feed(const struct pieces *pieces, struct error *error)
{
    struct image_reader *reader = image_reader_open();
    enum status status = STATUS_OK;

    for (unsigned i = 0; i < pieces->n && status == STATUS_OK; i++) {
        status = image_reader_feed(reader, pieces->list[i], NULL, NULL, error);
    }
    if (status == STATUS_OK && !image_reader_is_done(reader)) {
        status = STATUS_END;
    }
    image_reader_close(reader);
    return status;
}

/* The same through a file: opened, and verified. */
static enum status verify(struct slice image, struct error *error)
{
    int fd = temporary_file();
    struct image_file *file;
    struct image_totals totals;
    enum status status;

    assert_int_equal(write(fd, image.data, image.size), (ssize_t)image.size);
    status = image_file_of(fd, "test.image", &file, error);
    if (status == STATUS_OK) {
        status = image_file_verify(file, &totals, NULL, NULL, error);
        image_file_close(file);
    }
    return status;
}

/* --- What goes in comes out --- */

static void fill(struct state_fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[32];
        char value[64];
        struct operation operation;

        (void)snprintf(key, sizeof key, "k/%u", i % 50);
        (void)snprintf(value, sizeof value, "{\"n\":%u}", i);
        operation = i % 7 == 3 ? item_delete(key) : item_put(key, value);
        (void)state_operate(f, &operation); /* Some delete what is not there. */
    }
}

struct comparison {
    struct txn *txn;
    uint64_t n;
};

static enum status compare(void *data, struct slice key, struct slice payload, struct error *error)
{
    struct comparison *c = data;
    struct slice found;

    (void)error;
    assert_int_equal(txn_get(c->txn, key, &found), STATUS_OK);
    assert_true(slice_equals(found, payload));
    c->n++;
    return STATUS_OK;
}

static void an_image_holds_every_record_of_memory_and_file(void **state)
{
    struct state_fixture *f = *state;
    struct comparison c = {0};
    struct image_reader *reader = image_reader_open();
    struct buffer image;
    struct pieces pieces;

    fill(f, 0, 40);
    state_flush(f);
    fill(f, 40, 90);
    image = export(f);
    pieces = cut(buffer_slice(&image));

    c.txn = state_view(f)->txn;
    for (unsigned i = 0; i < pieces.n; i++) {
        assert_int_equal(image_reader_feed(reader, pieces.list[i], compare, &c, &f->error),
                         STATUS_OK);
    }
    state_view_end(f);
    assert_true(image_reader_is_done(reader));
    assert_int_equal(c.n, state_count(f, 0));
    assert_string_equal(image_reader_facts(reader)->cluster_id, CLUSTER);
    assert_int_equal(image_reader_facts(reader)->state.revision, machine_revision(f->machine));
    assert_int_equal(image_reader_totals(reader)->file_bytes, image.size);

    image_reader_close(reader);
    buffer_close(&image);
}

static void equal_states_give_equal_bytes(void **state)
{
    struct state_fixture *f = *state;
    struct state_fixture *other = state_new();
    struct buffer image;
    struct buffer same;

    for (unsigned i = 0; i < 120; i += 10) {
        fill(f, i, i + 10);
        state_flush(f); /* Here it went through the file each time, there it is all in memory. */
        fill(other, i, i + 10);
    }
    state_reopen(f);
    image = export(f);
    same = export(other);
    assert_true(slice_equals(buffer_slice(&image), buffer_slice(&same)));

    fill(other, 120, 121);
    buffer_close(&same);
    same = export(other);
    assert_false(slice_equals(buffer_slice(&image), buffer_slice(&same)));

    state_free(other);
    buffer_close(&image);
    buffer_close(&same);
}

static void large_records_make_larger_blocks(void **state)
{
    struct buffer image = compose(3, 5u << 20, 0);
    struct pieces pieces = cut(buffer_slice(&image));

    (void)state;
    assert_int_equal(pieces.n, 5);
    assert_int_equal(feed(&pieces, NULL), STATUS_OK);
    buffer_close(&image);
}

static void an_empty_state_has_an_image(void **state)
{
    struct buffer image = compose(0, 0, 0);

    (void)state;
    assert_int_equal(verify(buffer_slice(&image), NULL), STATUS_OK);
    buffer_close(&image);
}

static void a_damaged_record_ends_the_export(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("victim", "\"find-me-on-the-disk\"");
    struct image_export options = {.store = NULL, .cluster_id = CLUSTER, .fd = temporary_file()};
    struct image_facts facts;
    struct image_totals totals;
    struct buffer content;
    char path[128];
    uint8_t *found;
    int fd;

    (void)state_operate(f, &operation);
    state_flush(f);
    state_close(f);
    (void)snprintf(path, sizeof path, "%s/data.mdb", f->directory);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    content = slurp(fd);
    found = memmem(content.data, content.size, "find-me", 7);
    assert_non_null(found);
    *found ^= 1;
    assert_int_equal(pwrite(fd, found, 1, found - content.data), 1);
    assert_int_equal(close(fd), 0);
    buffer_close(&content);
    state_open(f);

    options.store = f->store;
    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_CORRUPT);
    assert_int_equal(f->damages, 1);
    assert_int_equal(close(options.fd), 0);
}

static enum status refuse(void *data, const struct image_facts *facts, uint64_t bytes,
                          struct error *error)
{
    unsigned *calls = data;

    (void)bytes;
    assert_string_equal(facts->cluster_id, CLUSTER);
    (*calls)++;
    return error_set(error, STATUS_DISK_FULL, "no room is left");
}

static enum status count(void *data, const struct image_facts *facts, uint64_t bytes,
                         struct error *error)
{
    unsigned *calls = data;

    (void)facts;
    (void)error;
    (*calls)++;
    assert_true((*calls == 1) == (bytes == 0));
    assert_true(bytes < (4u << 20));
    return STATUS_OK;
}

/* A state that shrinks to next to nothing is told of as often. */
static void an_export_tells_how_far_it_is_by_the_state(void **state)
{
    struct state_fixture *f = *state;
    unsigned calls = 0;
    struct image_export options = {.store = f->store,
                                   .cluster_id = CLUSTER,
                                   .fd = temporary_file(),
                                   .on_progress = count,
                                   .data = &calls};
    struct image_facts facts;
    struct image_totals totals;
    char *value = malloc(1000001);

    assert_non_null(value);
    memset(value, '1', 1000000);
    value[1000000] = '\0';
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        struct operation operation;

        (void)snprintf(key, sizeof key, "large/%u", i);
        operation = item_put(key, value);
        (void)state_operate(f, &operation);
    }
    free(value);
    state_commit(f);
    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_OK);
    assert_true(totals.file_bytes < 100000);
    assert_true(calls >= 4);
    assert_int_equal(close(options.fd), 0);
}

static void an_export_ends_when_it_is_told_to(void **state)
{
    struct state_fixture *f = *state;
    unsigned calls = 0;
    struct image_export options = {.store = f->store,
                                   .cluster_id = CLUSTER,
                                   .fd = temporary_file(),
                                   .on_progress = refuse,
                                   .data = &calls};
    struct image_facts facts;
    struct image_totals totals;

    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_DISK_FULL);
    assert_string_equal(f->error.text, "no room is left");
    assert_int_equal(calls, 1);
    assert_int_equal(lseek(options.fd, 0, SEEK_END), 0);
    assert_int_equal(close(options.fd), 0);
}

static void a_file_that_cannot_be_written_ends_the_export(void **state)
{
    struct state_fixture *f = *state;
    struct image_export options = {
        .store = f->store, .cluster_id = CLUSTER, .fd = open("/dev/full", O_WRONLY)};
    struct image_facts facts;
    struct image_totals totals;

    assert_true(options.fd >= 0);
    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_DISK_FULL);
    assert_int_equal(close(options.fd), 0);
}

/* --- Damage --- */

static void every_flipped_bit_is_noticed(void **state)
{
    struct buffer image = compose(12, 40, 0);
    struct pieces pieces = cut(buffer_slice(&image));

    (void)state;
    assert_int_equal(feed(&pieces, NULL), STATUS_OK);
    for (size_t at = 0; at < image.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct error error = {.text = ""};
            enum status status;

            image.data[at] ^= (uint8_t)(1u << bit);
            status = feed(&pieces, &error);
            assert_int_equal(status, STATUS_CORRUPT);
            assert_string_not_equal(error.text, "");
            image.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    buffer_close(&image);
}

static void every_flipped_byte_of_a_file_is_noticed(void **state)
{
    struct buffer image = compose(12, 40, 0);

    (void)state;
    for (size_t at = 0; at < image.size; at++) {
        image.data[at] ^= 0x81;
        assert_int_equal(verify(buffer_slice(&image), NULL), STATUS_CORRUPT);
        image.data[at] ^= 0x81;
    }
    buffer_close(&image);
}

static void every_truncation_is_noticed(void **state)
{
    struct buffer image = compose(12, 40, 0);
    struct error error;

    (void)state;
    for (size_t size = 0; size < image.size; size++) {
        assert_int_equal(verify(slice_of(image.data, size), &error), STATUS_CORRUPT);
        assert_non_null(strstr(error.text, size == 0 ? "no piece" : "cut off: it ends at byte"));
    }
    assert_int_equal(verify(buffer_slice(&image), &error), STATUS_OK);
    buffer_append_byte(&image, 0);
    assert_int_equal(verify(buffer_slice(&image), &error), STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "goes on behind the end"));
    buffer_close(&image);
}

static void a_lost_doubled_or_swapped_block_is_noticed(void **state)
{
    struct buffer image = compose(40, IMAGE_BLOCK_BYTES / 5, 0);
    struct pieces whole = cut(buffer_slice(&image));
    struct pieces changed;

    (void)state;
    assert_true(whole.n > 5);
    assert_int_equal(feed(&whole, NULL), STATUS_OK);
    for (unsigned i = 0; i < whole.n; i++) {
        changed = whole;
        for (unsigned k = i + 1; k < whole.n; k++) {
            changed.list[k - 1] = whole.list[k];
        }
        changed.n--;
        assert_int_equal(feed(&changed, NULL), i + 1 < whole.n ? STATUS_CORRUPT : STATUS_END);

        changed = whole;
        for (unsigned k = i; k < whole.n; k++) {
            changed.list[k + 1] = whole.list[k];
        }
        changed.n++;
        assert_int_equal(feed(&changed, NULL), STATUS_CORRUPT);

        changed = whole;
        changed.list[i] = whole.list[(i + 1) % whole.n];
        changed.list[(i + 1) % whole.n] = whole.list[i];
        assert_int_equal(feed(&changed, NULL), STATUS_CORRUPT);
    }
    buffer_close(&image);
}

static void a_piece_of_another_image_is_noticed(void **state)
{
    struct buffer image = compose(40, IMAGE_BLOCK_BYTES / 5, 0);
    struct buffer other = compose(40, IMAGE_BLOCK_BYTES / 5, 1);
    struct pieces whole = cut(buffer_slice(&image));
    struct pieces foreign = cut(buffer_slice(&other));

    (void)state;
    assert_int_equal(whole.n, foreign.n);
    assert_int_equal(feed(&foreign, NULL), STATUS_OK);
    for (unsigned i = 0; i < whole.n; i++) {
        struct pieces changed = whole;

        changed.list[i] = foreign.list[i];
        assert_int_equal(feed(&changed, NULL), STATUS_CORRUPT);
    }
    buffer_close(&image);
    buffer_close(&other);
}

static void records_that_are_not_the_state_of_the_header_are_noticed(void **state)
{
    struct image_facts facts = {.cluster_id = CLUSTER, .state = {.hash = {1, 2}}};
    struct buffer image = BUFFER_EMPTY;
    struct image_writer *writer = image_writer_open(&facts, &image);
    struct image_totals totals;
    struct error error;

    (void)state;
    image_writer_add(writer, slice_of("\1a", 2), slice_of("x", 1), &image);
    image_writer_finish(writer, &image, &totals);
    image_writer_close(writer);
    assert_int_equal(verify(buffer_slice(&image), &error), STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "their hash differs"));
    buffer_close(&image);
}

static void what_is_no_image_is_told(void **state)
{
    char text[200] = "just some text that someone saved, long enough to be the head of a piece";
    struct image_file *file;
    struct error error;

    (void)state;
    assert_int_equal(verify(slice_of(text, sizeof text), &error), STATUS_CORRUPT);
    assert_string_equal(error.text,
                        "\"test.image\" at byte 0: no piece of an image of Holdfast begins here");
    assert_int_equal(image_file_open("/nonexistent/x", &file, &error), STATUS_NOT_FOUND);
    assert_int_equal(image_file_open("/tmp", &file, &error), STATUS_INVALID);
    assert_string_equal(error.text, "\"/tmp\" is not a file");
}

/* Give the header's piece a checksum that fits what was changed in it. */
static void seal_header(struct buffer *image)
{
    const size_t checked = IMAGE_HEAD_BYTES - 16;
    struct image_piece piece;
    XXH128_canonical_t checksum;

    assert_int_equal(image_piece_look(buffer_slice(image), &piece, NULL), STATUS_OK);
    XXH128_canonicalFromHash(&checksum, XXH3_128bits_withSeed(image->data + IMAGE_HEAD_BYTES,
                                                              piece.size - IMAGE_HEAD_BYTES,
                                                              XXH3_64bits(image->data, checked)));
    memcpy(image->data + checked, &checksum, sizeof checksum);
}

static void a_later_format_is_told(void **state)
{
    struct image_facts facts = {.cluster_id = CLUSTER};
    struct buffer image = BUFFER_EMPTY;
    struct image_writer *writer = image_writer_open(&facts, &image);
    struct image_totals totals;
    struct error error;

    (void)state;
    image_writer_finish(writer, &image, &totals);
    image_writer_close(writer);
    image.data[IMAGE_HEAD_BYTES]++; /* The lowest byte of the format. */
    assert_int_equal(verify(buffer_slice(&image), &error), STATUS_CORRUPT);
    seal_header(&image);
    assert_int_equal(verify(buffer_slice(&image), &error), STATUS_UNSUPPORTED);
    assert_string_equal(error.text, "\"test.image\": the image has format 2, which a later version "
                                    "of Holdfast wrote; this one knows format 1");
    buffer_close(&image);
}

/* --- Going on --- */

static void a_reader_goes_on_where_another_one_stood(void **state)
{
    struct buffer image = compose(40, IMAGE_BLOCK_BYTES / 5, 0);
    struct pieces pieces = cut(buffer_slice(&image));

    (void)state;
    for (unsigned at = 1; at < pieces.n; at++) {
        struct image_reader *first = image_reader_open();
        struct image_reader *second = image_reader_open();
        struct buffer position = BUFFER_EMPTY;

        for (unsigned i = 0; i < at; i++) {
            assert_int_equal(image_reader_feed(first, pieces.list[i], NULL, NULL, NULL), STATUS_OK);
        }
        image_reader_save(first, &position);
        assert_int_equal(image_reader_resume(second, buffer_slice(&position)), STATUS_OK);
        assert_int_equal(image_reader_next(second), at);
        for (unsigned i = at; i < pieces.n; i++) {
            assert_int_equal(image_reader_feed(second, pieces.list[i], NULL, NULL, NULL),
                             STATUS_OK);
        }
        assert_true(image_reader_is_done(second));
        assert_int_equal(image_reader_totals(second)->file_bytes, image.size);
        image_reader_close(first);
        image_reader_close(second);
        buffer_close(&position);
    }
    buffer_close(&image);
}

static void a_cut_position_is_refused(void **state)
{
    struct buffer image = compose(3, 40, 0);
    struct pieces pieces = cut(buffer_slice(&image));
    struct image_reader *reader = image_reader_open();
    struct buffer position = BUFFER_EMPTY;

    (void)state;
    assert_int_equal(image_reader_feed(reader, pieces.list[0], NULL, NULL, NULL), STATUS_OK);
    image_reader_save(reader, &position);
    image_reader_close(reader);
    for (size_t size = 0; size < position.size; size++) {
        reader = image_reader_open();
        assert_int_equal(image_reader_resume(reader, slice_of(position.data, size)),
                         STATUS_CORRUPT);
        image_reader_close(reader);
    }
    buffer_close(&position);
    buffer_close(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_holds_every_record_of_memory_and_file, state_setup,
                                        state_teardown),
        cmocka_unit_test_setup_teardown(equal_states_give_equal_bytes, state_setup, state_teardown),
        cmocka_unit_test(large_records_make_larger_blocks),
        cmocka_unit_test(an_empty_state_has_an_image),
        cmocka_unit_test_setup_teardown(a_damaged_record_ends_the_export, state_setup,
                                        state_teardown),
        cmocka_unit_test_setup_teardown(an_export_tells_how_far_it_is_by_the_state, state_setup,
                                        state_teardown),
        cmocka_unit_test_setup_teardown(an_export_ends_when_it_is_told_to, state_setup,
                                        state_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written_ends_the_export, state_setup,
                                        state_teardown),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_flipped_byte_of_a_file_is_noticed),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(a_lost_doubled_or_swapped_block_is_noticed),
        cmocka_unit_test(a_piece_of_another_image_is_noticed),
        cmocka_unit_test(records_that_are_not_the_state_of_the_header_are_noticed),
        cmocka_unit_test(what_is_no_image_is_told),
        cmocka_unit_test(a_later_format_is_told),
        cmocka_unit_test(a_reader_goes_on_where_another_one_stood),
        cmocka_unit_test(a_cut_position_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
