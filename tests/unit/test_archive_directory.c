/* A directory as a repository: the contract of all repositories, and what is special about files.
 */
#include <errno.h>
#include <fcntl.h>
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

#include "tests/lib/fault.h"
#include "tests/lib/repository_contract.h"

struct fixture {
    char directory[64];
    char url[128];
    struct repository *repository;
    struct error error;
    bool is_canceled;
};

static bool is_canceled(void *data)
{
    const struct fixture *f = data;

    return f->is_canceled;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->directory, "/tmp/holdfast-repository-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->url, sizeof f->url, "file://%s/a/b//", f->directory);
    assert_int_equal(
        repository_open(
            &(struct repository_options){.url = f->url, .data = f, .is_canceled = is_canceled},
            &f->repository, &f->error),
        STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    repository_close(f->repository);
    (void)snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static char *in_directory(const struct fixture *f, const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "%s/a/b/%s", f->directory, name);
    return path;
}

static void write_file(const char *path)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static bool count_one(void *data, const struct repository_object *object)
{
    (void)object;
    ++*(unsigned *)data;
    return true;
}

static unsigned count(struct fixture *f)
{
    unsigned n = 0;

    assert_int_equal(repository_list(f->repository, "", NULL, count_one, &n, &f->error), STATUS_OK);
    return n;
}

static void a_directory_keeps_the_contract(void **state)
{
    struct fixture *f = *state;

    repository_contract(f->repository);
}

static void a_directory_is_local_unless_it_is_shared(void **state)
{
    struct fixture *f = *state;
    struct repository *shared;

    assert_true(repository_is_local(f->repository));
    assert_int_equal(
        repository_open(&(struct repository_options){.url = "file:///x?shared"}, &shared, NULL),
        STATUS_OK);
    assert_false(repository_is_local(shared));
    repository_close(shared);
}

static void urls_that_name_no_directory_are_refused(void **state)
{
    static const char *const urls[] = {"",
                                       "x",
                                       "file:/x",
                                       "file://",
                                       "file://x",
                                       "file:///",
                                       "file:////",
                                       "http://u:secret@h/",
                                       "file:///x?y",
                                       "file:///x?"};
    struct fixture *f = *state;
    struct repository *repository;

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_int_equal(
            repository_open(&(struct repository_options){.url = urls[i]}, &repository, &f->error),
            STATUS_INVALID);
        assert_null(strstr(f->error.text, "secret"));
    }
}

static void what_is_being_created_or_is_no_file_is_not_listed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(repository_put(f->repository, "x/1", slice_of_string("1"), &f->error),
                     STATUS_OK);
    write_file(in_directory(f, ".new/half"));
    write_file(in_directory(f, "x/.hidden"));
    write_file(in_directory(f, "x/1 (copy)"));
    assert_int_equal(symlink("1", in_directory(f, "x/link")), 0);

    assert_int_equal(count(f), 1);
}

static void what_was_left_half_made_is_removed_after_a_day(void **state)
{
    struct fixture *f = *state;
    struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

    assert_int_equal(repository_put(f->repository, "1", slice_of_string("1"), &f->error),
                     STATUS_OK);
    write_file(in_directory(f, ".new/young"));
    write_file(in_directory(f, ".new/old"));
    times[0].tv_nsec = 0;
    times[1].tv_nsec = 0;
    assert_int_equal(utimensat(AT_FDCWD, in_directory(f, ".new/old"), times, 0), 0);

    assert_int_equal(repository_put(f->repository, "2", slice_of_string("2"), &f->error),
                     STATUS_OK);

    assert_int_equal(access(in_directory(f, ".new/young"), F_OK), 0);
    assert_int_not_equal(access(in_directory(f, ".new/old"), F_OK), 0);
}

static void bytes_that_are_not_what_their_hash_says_become_no_object(void **state)
{
    struct fixture *f = *state;
    struct repository_content content = {.size_bytes = 3};
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_true(fputs("abc", file) >= 0 && fflush(file) == 0);
    content.fd = fileno(file);

    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    assert_int_equal(count(f), 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_that_is_cut_off_becomes_no_object(void **state)
{
    struct fixture *f = *state;
    struct repository_content content = {.size_bytes = 3};
    FILE *file = tmpfile();

    assert_non_null(file);
    content.fd = fileno(file);

    assert_int_equal(repository_create(f->repository, "x", &content, &f->error), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "cut off"));
    assert_int_equal(fclose(file), 0);
}

static void what_takes_long_can_be_canceled(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    f->is_canceled = true;
    assert_int_equal(repository_put(f->repository, "x", slice_of_string("1"), &f->error),
                     STATUS_CANCELED);
    assert_int_equal(repository_list(f->repository, "", NULL, count_one, &n, &f->error),
                     STATUS_CANCELED);
    f->is_canceled = false;
    assert_int_equal(count(f), 0);
}

static void a_file_in_the_way_of_the_directory_is_told(void **state)
{
    struct fixture *f = *state;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/a", f->directory);
    write_file(path);
    assert_int_not_equal(repository_put(f->repository, "x", slice_of_string("1"), &f->error),
                         STATUS_OK);
    assert_non_null(strstr(f->error.text, path));
}

/* Whatever fails: the object is there whole or not at all, and nothing is left open. */
static void an_object_is_there_whole_or_its_failure_is_told(void **state)
{
    struct fixture *f = *state;
    unsigned descriptors = fault_count_descriptors();
    unsigned nth = 0;
    unsigned n_failed = 0;
    bool has_struck;
    bool was_uncertain = false;

    do {
        struct buffer bytes = BUFFER_EMPTY;
        enum status status;
        bool is_there = false;

        fault_arm(++nth, EIO);
        status = repository_put(f->repository, "x/y", slice_of_string("whole"), &f->error);
        has_struck = fault_disarm();
        is_there = repository_read(f->repository, "x/y", 0, 100, &bytes, NULL) == STATUS_OK;
        if (status == STATUS_OK) {
            assert_true(is_there); /* What struck was of no importance. */
        } else {
            assert_true(has_struck);
            assert_int_equal(status, is_there ? STATUS_UNCERTAIN : STATUS_IO);
            n_failed++;
        }
        assert_true(!is_there || slice_equals_string(buffer_slice(&bytes), "whole"));
        was_uncertain = was_uncertain || status == STATUS_UNCERTAIN;
        buffer_close(&bytes);
        assert_int_equal(repository_remove(f->repository, "x/y", &f->error), STATUS_OK);
        assert_int_equal(fault_count_descriptors(), descriptors);
    } while (has_struck);
    assert_true(n_failed > 8);
    assert_true(was_uncertain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_keeps_the_contract, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_is_local_unless_it_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(urls_that_name_no_directory_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_being_created_or_is_no_file_is_not_listed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_left_half_made_is_removed_after_a_day, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(bytes_that_are_not_what_their_hash_says_become_no_object,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_cut_off_becomes_no_object, setup, teardown),
        cmocka_unit_test_setup_teardown(what_takes_long_can_be_canceled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_in_the_way_of_the_directory_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_object_is_there_whole_or_its_failure_is_told, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
