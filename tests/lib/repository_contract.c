#include "tests/lib/repository_contract.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE_BYTES (3u * 1024 * 1024 + 17)

enum status repository_put(struct repository *repository, const char *name, struct slice bytes,
                           struct error *error)
{
    struct repository_content content = {.size_bytes = bytes.size};
    FILE *file = tmpfile();
    enum status status;

    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fflush(file), 0);
    content.fd = fileno(file);
    (void)SHA256(bytes.data, bytes.size, content.sha256);
    status = repository_create(repository, name, &content, error);
    assert_int_equal(fclose(file), 0);
    return status;
}

static void put(struct repository *repository, const char *name, struct slice bytes)
{
    struct error error = {.text = ""};

    if (repository_put(repository, name, bytes, &error) != STATUS_OK) {
        fail_msg("creating %s: %s", name, error.text);
    }
}

static void check_read(struct repository *repository, const char *name, uint64_t offset,
                       size_t size, struct slice expected)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct error error = {.text = ""};

    buffer_append_string(&bytes, "before");
    if (repository_read(repository, name, offset, size, &bytes, &error) != STATUS_OK) {
        fail_msg("reading %s: %s", name, error.text);
    }
    assert_int_equal(bytes.size, 6 + expected.size);
    assert_memory_equal(bytes.data, "before", 6);
    assert_true(slice_equals(slice_from(buffer_slice(&bytes), 6), expected));
    buffer_close(&bytes);
}

static bool add_line(void *data, const struct repository_object *object)
{
    buffer_append_format(data, "%s:%llu ", object->name, (unsigned long long)object->size_bytes);
    return true;
}

static bool add_one(void *data, const struct repository_object *object)
{
    (void)add_line(data, object);
    return false;
}

static void check_list(struct repository *repository, const char *prefix, const char *after,
                       repository_list_cb cb, const char *expected)
{
    struct buffer lines = BUFFER_EMPTY;
    struct error error = {.text = ""};

    if (repository_list(repository, prefix, after, cb, &lines, &error) != STATUS_OK) {
        fail_msg("listing %s: %s", prefix, error.text);
    }
    buffer_append_byte(&lines, 0);
    assert_string_equal((const char *)lines.data, expected);
    buffer_close(&lines);
}

static void remove_it(struct repository *repository, const char *name)
{
    struct error error = {.text = ""};

    if (repository_remove(repository, name, &error) != STATUS_OK) {
        fail_msg("removing %s: %s", name, error.text);
    }
}

static void check_objects_of_all_sizes(struct repository *repository)
{
    struct buffer large = BUFFER_EMPTY;

    for (size_t i = 0; i < LARGE_BYTES; i++) {
        buffer_append_byte(&large, (uint8_t)(i * 7 + i / 251));
    }
    put(repository, "a/large", buffer_slice(&large));
    put(repository, "a/none", slice_of("", 0));
    check_read(repository, "a/large", 0, LARGE_BYTES + 1000, buffer_slice(&large));
    check_read(repository, "a/large", 1048570, 12, slice_of(large.data + 1048570, 12));
    check_read(repository, "a/large", LARGE_BYTES - 3, 10,
               slice_from(buffer_slice(&large), LARGE_BYTES - 3));
    check_read(repository, "a/large", LARGE_BYTES, 10, slice_of("", 0));
    check_read(repository, "a/large", 5, 0, slice_of("", 0));
    check_read(repository, "a/none", 0, 10, slice_of("", 0));
    remove_it(repository, "a/large");
    remove_it(repository, "a/none");
    buffer_close(&large);
}

static void check_names_are_taken_once(struct repository *repository)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct error error;

    put(repository, "c/x", slice_of_string("first"));
    assert_int_equal(repository_put(repository, "c/x", slice_of_string("second"), &error),
                     STATUS_EXISTS);
    assert_int_equal(repository_put(repository, "c/x", slice_of_string("first"), &error),
                     STATUS_EXISTS);
    check_read(repository, "c/x", 0, 100, slice_of_string("first"));
    remove_it(repository, "c/x");
    remove_it(repository, "c/x"); /* It is not there: fine. */
    assert_int_equal(repository_read(repository, "c/x", 0, 1, &bytes, &error), STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "c/x"));
    put(repository, "c/x", slice_of_string("third"));
    check_read(repository, "c/x", 0, 100, slice_of_string("third"));
    remove_it(repository, "c/x");
    buffer_close(&bytes);
}

static void check_lists(struct repository *repository)
{
    check_list(repository, "", NULL, add_line, "");
    put(repository, "d/b/2", slice_of_string("12"));
    put(repository, "d/b/1", slice_of_string("1"));
    put(repository, "d/b-1", slice_of_string("1"));
    put(repository, "d/b.x", slice_of_string("1"));
    put(repository, "d/B_1", slice_of_string("1"));
    put(repository, "d/c", slice_of_string("123"));
    put(repository, "e", slice_of_string("1"));

    check_list(repository, "", NULL, add_line,
               "d/B_1:1 d/b-1:1 d/b.x:1 d/b/1:1 d/b/2:2 d/c:3 e:1 ");
    check_list(repository, "d/b", NULL, add_line, "d/b-1:1 d/b.x:1 d/b/1:1 d/b/2:2 ");
    check_list(repository, "d/b/", NULL, add_line, "d/b/1:1 d/b/2:2 ");
    check_list(repository, "d/", "d/b/1", add_line, "d/b/2:2 d/c:3 ");
    check_list(repository, "d/", "d/b/0", add_one, "d/b/1:1 ");
    check_list(repository, "d/", "d/zz", add_line, "");
    check_list(repository, "x", NULL, add_line, "");

    remove_it(repository, "d/b/2");
    remove_it(repository, "d/b/1");
    remove_it(repository, "d/b-1");
    remove_it(repository, "d/b.x");
    remove_it(repository, "d/B_1");
    remove_it(repository, "d/c");
    remove_it(repository, "e");
    check_list(repository, "", NULL, add_line, "");
}

/* More than one page of any server. */
static void check_long_list(struct repository *repository)
{
    struct buffer expected = BUFFER_EMPTY;
    char name[32];

    for (int i = 0; i < 1100; i++) {
        (void)snprintf(name, sizeof name, "f/%04d", i);
        put(repository, name, slice_of_string("x"));
        buffer_append_format(&expected, "%s:1 ", name);
    }
    buffer_append_byte(&expected, 0);
    check_list(repository, "f/", NULL, add_line, (const char *)expected.data);
    check_list(repository, "f/", "f/1098", add_line, "f/1099:1 ");
    for (int i = 0; i < 1100; i++) {
        (void)snprintf(name, sizeof name, "f/%04d", i);
        remove_it(repository, name);
    }
    buffer_close(&expected);
}

void repository_contract(struct repository *repository)
{
    check_objects_of_all_sizes(repository);
    check_names_are_taken_once(repository);
    check_lists(repository);
    check_long_list(repository);
}
