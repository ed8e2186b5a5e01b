/* Objects of the archive: what was put in comes out, with and without encryption, and nothing that
 * was changed, cut, swapped or sealed with another key does. */
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

#include "storage/archive/object.h"

#define NAME "c/full/1/seg-0"

struct fixture {
    char directory[64];
    struct repository *repository;
    struct master_keys *keys;
    struct error error;
    struct buffer facts; /* As read. */
    struct buffer content;
};

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    return path;
}

static void write_file(const char *path, struct slice bytes, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static enum status open_keys(struct fixture *f, const char *text, struct master_keys **keys)
{
    write_file(path_of(f, ".keys"), slice_of_string(text), 0600);
    return master_keys_open(path_of(f, ".keys"), keys, &f->error);
}

#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_B "F00102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char url[96];

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-object-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(url, sizeof url, "file://%s", f->directory);
    assert_int_equal(
        repository_open(&(struct repository_options){.url = url}, &f->repository, &f->error),
        STATUS_OK);
    assert_int_equal(open_keys(f, "# new\n\nkey-2\t" HEX_B "\r\nkey-1 " HEX_A, &f->keys),
                     STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    repository_close(f->repository);
    master_keys_close(f->keys);
    buffer_close(&f->facts);
    buffer_close(&f->content);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void fill(struct buffer *bytes, size_t size)
{
    uint32_t x = 1;

    buffer_clear(bytes);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        buffer_append_byte(bytes, (uint8_t)(x >> 30)); /* So that it can be compressed. */
    }
}

/* Make the object NAME; gives its hash. */
static void make(struct fixture *f, enum object_codec codec, const struct master_keys *keys,
                 struct slice content, uint8_t sha256[REPOSITORY_SHA256_BYTES])
{
    const struct object_head head = {
        .kind = OBJECT_SEGMENT, .codec = codec, .name = NAME, .facts = slice_of_string("facts")};
    struct repository_content made;
    struct object_writer *writer;
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(object_writer_open(&head, keys, fileno(file), &writer, &f->error), STATUS_OK);
    while (content.size > 0) { /* In odd pieces. */
        size_t size = content.size < 777777 ? content.size : 777777;

        assert_int_equal(object_writer_add(writer, slice_of(content.data, size), &f->error),
                         STATUS_OK);
        content = slice_from(content, size);
    }
    assert_int_equal(object_writer_finish(writer, &made, &f->error), STATUS_OK);
    object_writer_close(writer);
    assert_int_equal(repository_remove(f->repository, NAME, &f->error), STATUS_OK);
    assert_int_equal(repository_create(f->repository, NAME, &made, &f->error), STATUS_OK);
    memcpy(sha256, made.sha256, sizeof made.sha256);
    assert_int_equal(fclose(file), 0);
}

static enum status on_facts(void *data, struct slice facts, struct error *error)
{
    struct fixture *f = data;

    (void)error;
    buffer_append_slice(&f->facts, facts);
    return STATUS_OK;
}

static enum status on_content(void *data, struct slice content, struct error *error)
{
    struct fixture *f = data;

    (void)error;
    buffer_append_slice(&f->content, content);
    return STATUS_OK;
}

static enum status read_as(struct fixture *f, const char *name, enum object_kind kind,
                           const struct master_keys *keys, const uint8_t *sha256)
{
    const struct object_reading reading = {
        .repository = f->repository,
        .name = name,
        .kind = kind,
        .keys = keys,
        .sha256 = sha256,
        .on_facts = on_facts,
        .on_content = on_content,
        .data = f,
    };

    buffer_clear(&f->facts);
    buffer_clear(&f->content);
    return object_read(&reading, &f->error);
}

static enum status read_it(struct fixture *f, const struct master_keys *keys)
{
    return read_as(f, NAME, OBJECT_SEGMENT, keys, NULL);
}

static void what_was_put_in_comes_out(void **state)
{
    static const size_t sizes[] = {0,
                                   1,
                                   OBJECT_BLOCK_BYTES - 1,
                                   OBJECT_BLOCK_BYTES,
                                   OBJECT_BLOCK_BYTES + 1,
                                   5 * OBJECT_BLOCK_BYTES + 4711};
    struct fixture *f = *state;
    struct buffer content = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill(&content, sizes[i]);
        for (unsigned way = 0; way < 4; way++) {
            make(f, way % 2 == 0 ? OBJECT_PLAIN : OBJECT_ZSTD, way < 2 ? NULL : f->keys,
                 buffer_slice(&content), sha256);

            assert_int_equal(read_as(f, NAME, OBJECT_SEGMENT, way < 2 ? NULL : f->keys, sha256),
                             STATUS_OK);
            assert_true(slice_equals_string(buffer_slice(&f->facts), "facts"));
            assert_true(slice_equals(buffer_slice(&f->content), buffer_slice(&content)));
        }
    }
    buffer_close(&content);
}

static void the_largest_object_fits(void **state)
{
    struct fixture *f = *state;
    struct buffer content = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];
    uint64_t x = 1;

    for (size_t i = 0; i < OBJECT_CONTENT_BYTES / 8; i++) { /* Cannot be compressed. */
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t mixed = x ^ x >> 29;
        buffer_append(&content, &mixed, sizeof mixed);
    }
    make(f, OBJECT_ZSTD, f->keys, buffer_slice(&content), sha256);
    assert_int_equal(read_it(f, f->keys), STATUS_OK);
    assert_true(slice_equals(buffer_slice(&f->content), buffer_slice(&content)));
    buffer_close(&content);
}

static void load_object(struct fixture *f, struct buffer *bytes)
{
    buffer_clear(bytes);
    assert_int_equal(repository_read(f->repository, NAME, 0, 1u << 20, bytes, &f->error),
                     STATUS_OK);
}

static void no_flipped_bit_and_no_cut_is_taken(void **state)
{
    struct fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    for (unsigned way = 0; way < 2; way++) {
        const struct master_keys *keys = way == 0 ? NULL : f->keys;

        make(f, OBJECT_ZSTD, keys, slice_of_string("some content of no importance"), sha256);
        load_object(f, &bytes);
        for (size_t i = 0; i < bytes.size * 8; i++) {
            bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
            write_file(path_of(f, NAME), buffer_slice(&bytes), 0600);
            assert_int_not_equal(read_it(f, keys), STATUS_OK);
            bytes.data[i / 8] ^= (uint8_t)(1u << i % 8);
        }
        for (size_t size = 0; size < bytes.size; size++) {
            write_file(path_of(f, NAME), slice_of(bytes.data, size), 0600);
            assert_int_equal(read_it(f, keys), STATUS_CORRUPT);
        }
        buffer_append_byte(&bytes, 0);
        write_file(path_of(f, NAME), buffer_slice(&bytes), 0600);
        assert_int_equal(read_it(f, keys), STATUS_CORRUPT);
        assert_non_null(strstr(f->error.text, NAME));
    }
    buffer_close(&bytes);
}

/* The blocks begin behind the header, whose size is at 8. */
static void blocks_cannot_change_places_or_be_left_away(void **state)
{
    struct fixture *f = *state;
    struct buffer content = BUFFER_EMPTY;
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer changed = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    fill(&content, 3 * OBJECT_BLOCK_BYTES);
    for (unsigned way = 0; way < 2; way++) {
        const struct master_keys *keys = way == 0 ? NULL : f->keys;
        size_t starts[4];

        make(f, OBJECT_ZSTD, keys, buffer_slice(&content), sha256);
        buffer_clear(&bytes);
        assert_int_equal(repository_read(f->repository, NAME, 0, 4u << 20, &bytes, &f->error),
                         STATUS_OK);
        starts[0] = bytes.data[8] + 256u * bytes.data[9];
        for (unsigned i = 1; i < 4; i++) {
            const uint8_t *at = bytes.data + starts[i - 1];

            starts[i] =
                starts[i - 1] + 12 + at[0] + 256u * at[1] + 65536u * at[2] + 16777216u * at[3];
        }
        assert_int_equal(starts[3], bytes.size);

        buffer_clear(&changed); /* Header, second, first, third block. */
        buffer_append(&changed, bytes.data, starts[0]);
        buffer_append(&changed, bytes.data + starts[1], starts[2] - starts[1]);
        buffer_append(&changed, bytes.data + starts[0], starts[1] - starts[0]);
        buffer_append(&changed, bytes.data + starts[2], starts[3] - starts[2]);
        write_file(path_of(f, NAME), buffer_slice(&changed), 0600);
        assert_int_equal(read_it(f, keys), STATUS_CORRUPT);

        buffer_clear(&changed); /* Without the first. */
        buffer_append(&changed, bytes.data, starts[0]);
        buffer_append(&changed, bytes.data + starts[1], starts[3] - starts[1]);
        write_file(path_of(f, NAME), buffer_slice(&changed), 0600);
        assert_int_equal(read_it(f, keys), STATUS_CORRUPT);
    }
    buffer_close(&content);
    buffer_close(&bytes);
    buffer_close(&changed);
}

static void an_object_under_another_name_or_of_another_kind_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    make(f, OBJECT_PLAIN, NULL, slice_of_string("x"), sha256);
    assert_int_equal(read_as(f, NAME, OBJECT_DELTA, NULL, NULL), STATUS_CORRUPT);
    sha256[0] ^= 1;
    assert_int_equal(read_as(f, NAME, OBJECT_SEGMENT, NULL, sha256), STATUS_CORRUPT);
    assert_int_equal(unlink(path_of(f, NAME)), 0);
    assert_int_equal(read_it(f, NULL), STATUS_NOT_FOUND);
}

static void the_name_in_the_object_counts(void **state)
{
    struct fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    make(f, OBJECT_PLAIN, NULL, slice_of_string("x"), sha256);
    load_object(f, &bytes);
    write_file(path_of(f, "other"), buffer_slice(&bytes), 0600);

    assert_int_equal(read_as(f, "other", OBJECT_SEGMENT, NULL, NULL), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "another object"));
    buffer_close(&bytes);
}

static void facts_are_read_without_the_content(void **state)
{
    struct fixture *f = *state;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];
    const struct object_reading reading = {.repository = f->repository,
                                           .name = NAME,
                                           .kind = OBJECT_SEGMENT,
                                           .keys = f->keys,
                                           .on_facts = on_facts,
                                           .data = f};

    make(f, OBJECT_PLAIN, f->keys, slice_of_string("x"), sha256);
    assert_int_equal(object_read(&reading, &f->error), STATUS_OK);
    assert_true(slice_equals_string(buffer_slice(&f->facts), "facts"));
}

static void encrypted_objects_hold_nothing_in_clear(void **state)
{
    struct fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];

    make(f, OBJECT_PLAIN, f->keys, slice_of_string("a secret that must not be seen"), sha256);
    load_object(f, &bytes);
    assert_null(memmem(bytes.data, bytes.size, "secret", 6));
    make(f, OBJECT_PLAIN, NULL, slice_of_string("a secret that must not be seen"), sha256);
    load_object(f, &bytes);
    assert_non_null(memmem(bytes.data, bytes.size, "secret", 6));
    buffer_close(&bytes);
}

static void old_keys_read_old_objects_and_others_do_not(void **state)
{
    struct fixture *f = *state;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];
    struct master_keys *old;
    struct master_keys *wrong;

    assert_int_equal(open_keys(f, "key-1 " HEX_A "\n", &old), STATUS_OK);
    assert_int_equal(open_keys(f, "key-1 " HEX_B "\n", &wrong), STATUS_OK);
    make(f, OBJECT_ZSTD, old, slice_of_string("x"), sha256);

    assert_string_equal(master_keys_current(f->keys), "key-2");
    assert_int_equal(read_it(f, f->keys), STATUS_OK);
    assert_int_equal(read_it(f, wrong), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "key-1"));
    assert_int_equal(read_it(f, NULL), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "key-1"));
    make(f, OBJECT_ZSTD, f->keys, slice_of_string("x"), sha256);
    assert_int_equal(read_it(f, old), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "key-2"));
    master_keys_close(old);
    master_keys_close(wrong);
}

static void key_files_that_are_wrong_are_told_by_line(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } files[] = {
        {"", "holds no key"},
        {"# only this\n", "holds no key"},
        {"a " HEX_A "\nb 1234\n", ":2: a key must"},
        {"a " HEX_A "00\n", ":1: a key must"},
        {"a/b " HEX_A "\n", ":1: a key must"},
        {" " HEX_A "\n", ":1: a key must"},
        {"a\n", ":1: a key must"},
        {"a " HEX_A "\n\na " HEX_B "\n", ":3: key \"a\" is there twice"},
    };
    struct fixture *f = *state;
    struct buffer longest = BUFFER_EMPTY;
    struct master_keys *keys;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(open_keys(f, files[i].text, &keys), STATUS_INVALID);
        assert_non_null(strstr(f->error.text, files[i].says));
        assert_null(strstr(f->error.text, HEX_A));
    }
    for (unsigned i = 0; i < 100; i++) {
        buffer_append_string(&longest, "a  ");
    }
    buffer_append_byte(&longest, 0);
    assert_int_equal(open_keys(f, (const char *)longest.data, &keys), STATUS_INVALID);
    assert_int_equal(master_keys_open(path_of(f, ".no"), &keys, &f->error), STATUS_NOT_FOUND);
    write_file(path_of(f, ".keys"), slice_of_string("a " HEX_A "\n"), 0640);
    assert_int_equal(master_keys_open(path_of(f, ".keys"), &keys, &f->error), STATUS_PERMISSION);
    buffer_close(&longest);
}

/* NIST's test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega). */
static void the_cipher_is_aes_256_gcm(void **state)
{
    static const uint8_t key[] = {0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f,
                                  0x94, 0x67, 0x30, 0x83, 0x08, 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65,
                                  0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08};
    static const uint8_t nonce[] = {0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce,
                                    0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88};
    static const uint8_t associated[] = {0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe,
                                         0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad,
                                         0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2};
    static const uint8_t plain[] = {
        0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26,
        0x9a, 0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31,
        0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49,
        0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39};
    static const uint8_t tag[] = {0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68,
                                  0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55, 0x1b};
    uint8_t sealed[sizeof plain + sizeof tag];
    uint8_t opened[sizeof plain];

    (void)state;
    cipher_seal(key, nonce, slice_of(associated, sizeof associated), slice_of(plain, sizeof plain),
                sealed);
    assert_int_equal(sealed[0], 0x52);
    assert_int_equal(sealed[1], 0x2d);
    assert_memory_equal(sealed + sizeof plain, tag, sizeof tag);
    assert_int_equal(cipher_open(key, nonce, slice_of(associated, sizeof associated),
                                 slice_of(sealed, sizeof sealed), opened),
                     STATUS_OK);
    assert_memory_equal(opened, plain, sizeof plain);
    sealed[5] ^= 1;
    assert_int_equal(cipher_open(key, nonce, slice_of(associated, sizeof associated),
                                 slice_of(sealed, sizeof sealed), opened),
                     STATUS_CORRUPT);
    assert_int_equal(cipher_open(key, nonce, slice_of(associated, sizeof associated),
                                 slice_of(sealed, 15), opened),
                     STATUS_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_in_comes_out, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_object_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(no_flipped_bit_and_no_cut_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_cannot_change_places_or_be_left_away, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_object_under_another_name_or_of_another_kind_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_name_in_the_object_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(facts_are_read_without_the_content, setup, teardown),
        cmocka_unit_test_setup_teardown(encrypted_objects_hold_nothing_in_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(old_keys_read_old_objects_and_others_do_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(key_files_that_are_wrong_are_told_by_line, setup, teardown),
        cmocka_unit_test(the_cipher_is_aes_256_gcm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
