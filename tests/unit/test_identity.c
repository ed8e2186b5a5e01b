/* The data directory: it belongs to one node of one cluster, and says so when it is given to
 * another. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "raft/identity.h"
#include "tests/lib/fault.h"

#define UUID       "0b0ff1ce-0000-4000-8000-000000000001"
#define OTHER_UUID "0b0ff1ce-0000-4000-8000-000000000002"

struct fixture {
    char base[128];
    char path[160]; /* The data directory, which does not exist at first. */
    struct identity_directory *directory;
    struct identity identity;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    (void)snprintf(f->base, sizeof f->base, "%s/holdfast-identity-XXXXXX",
                   tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(f->base));
    (void)snprintf(f->path, sizeof f->path, "%s/data", f->base);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    identity_close(f->directory);
    assert_int_equal(nftw(f->base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(f);
    return 0;
}

static enum status open_as(struct fixture *f, const char *name)
{
    return identity_open(f->path, name, &f->directory, &f->identity, &f->error);
}

static void close_it(struct fixture *f)
{
    identity_close(f->directory);
    f->directory = NULL;
}

static struct identity an_identity(void)
{
    struct identity identity = {
        .stage = IDENTITY_PENDING,
        .cluster_id = UUID,
        .id = 0xfedcba9876543210,
        .name = "n1",
        .n_members = 2,
        .members =
            {
                {0xfedcba9876543210, "n1", "127.0.0.1:1", "127.0.0.1:2"},
                {0x1, "n2", "[::1]:3", "localhost:4"},
            },
    };

    return identity;
}

static void store(struct fixture *f, const struct identity *identity)
{
    assert_int_equal(identity_store(f->directory, identity, &f->error), STATUS_OK);
}

static void write_file(struct fixture *f, const char *file, const char *text)
{
    char path[200];
    FILE *stream;

    (void)snprintf(path, sizeof path, "%s/%s", f->path, file);
    stream = fopen(path, "w");
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static void a_missing_directory_is_made_for_its_owner_alone(void **state)
{
    struct fixture *f = *state;
    struct stat info;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);

    assert_int_equal(f->identity.stage, IDENTITY_EMPTY);
    assert_string_equal(f->identity.name, "n1");
    assert_int_equal(stat(f->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(identity_raft_directory(f->directory), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(stat(identity_state_directory(f->directory), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
}

static void a_directory_is_held_by_one_process(void **state)
{
    struct fixture *f = *state;
    struct identity_directory *second = NULL;
    struct identity identity;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_int_equal(identity_open(f->path, "n1", &second, &identity, &f->error), STATUS_BUSY);
    assert_non_null(strstr(f->error.text, "in use"));
    assert_null(second);

    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
}

static void what_was_stored_is_there_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_int_equal(f->identity.stage, IDENTITY_PENDING);
    assert_false(f->identity.has_log);
    stored.stage = IDENTITY_MEMBER;
    stored.has_log = true;
    store(f, &stored);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);

    assert_int_equal(f->identity.stage, IDENTITY_MEMBER);
    assert_true(f->identity.has_log);
    assert_string_equal(f->identity.cluster_id, UUID);
    assert_true(f->identity.id == stored.id);
    assert_int_equal(f->identity.n_members, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(f->identity.members[i].id == stored.members[i].id);
        assert_string_equal(f->identity.members[i].name, stored.members[i].name);
        assert_string_equal(f->identity.members[i].peer_address, stored.members[i].peer_address);
        assert_string_equal(f->identity.members[i].api_address, stored.members[i].api_address);
    }
}

static void another_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    close_it(f);

    assert_int_equal(open_as(f, "n2"), STATUS_MISMATCH);
    assert_non_null(strstr(f->error.text, "belongs to node \"n1\""));
}

static void another_cluster_or_node_does_not_replace_the_first(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();
    struct identity other = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    memcpy(other.cluster_id, OTHER_UUID, sizeof other.cluster_id);
    assert_int_equal(identity_store(f->directory, &other, &f->error), STATUS_MISMATCH);
    other = stored;
    other.id++;
    assert_int_equal(identity_store(f->directory, &other, &f->error), STATUS_MISMATCH);

    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_string_equal(f->identity.cluster_id, UUID);
    assert_true(f->identity.id == stored.id);
}

static void a_later_format_is_unsupported(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mkdir(f->path, 0700), 0);
    write_file(f, "identity", "{\"format\": 2, \"soul\": true}");
    assert_int_equal(open_as(f, "n1"), STATUS_UNSUPPORTED);
    assert_non_null(strstr(f->error.text, "later version"));
}

/* The file, cut after each byte, and with each of its fields spoilt. */
static void a_damaged_identity_is_refused(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();
    char path[200];
    char text[2048];
    size_t size;
    FILE *stream;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    close_it(f);
    (void)snprintf(path, sizeof path, "%s/identity", f->path);
    stream = fopen(path, "r");
    assert_non_null(stream);
    size = fread(text, 1, sizeof text, stream);
    assert_true(size > 100 && size < sizeof text);
    assert_int_equal(fclose(stream), 0);

    for (size_t cut = 0; cut < size - 2; cut += 7) {
        assert_int_equal(truncate(path, (off_t)(size - 2 - cut)), 0);
        assert_int_equal(open_as(f, "n1"), STATUS_CORRUPT);
        assert_non_null(strstr(f->error.text, "join the cluster again"));
    }
}

static void wrong_fields_are_refused(void **state)
{
    static const char *const texts[] = {
        "[]",
        "null",
        "{\"format\": \"1\"}",
        "{\"format\": 0}",
        "{\"format\": 1}",
        "{\"format\": 1, \"cluster_id\": \"short\", \"node_id\": \"0000000000000001\", \"name\": "
        "\"n1\", \"pending\": false, \"has_log\": false, \"members\": []}",
        "{\"format\": 1, \"cluster_id\": \"" UUID "\", \"node_id\": \"0000000000000000\", "
        "\"name\": \"n1\", \"pending\": false, \"has_log\": false, \"members\": []}",
        "{\"format\": 1, \"cluster_id\": \"" UUID "\", \"node_id\": \"1\", "
        "\"name\": \"n1\", \"pending\": false, \"has_log\": false, \"members\": []}",
        "{\"format\": 1, \"cluster_id\": \"" UUID "\", \"node_id\": \"0000000000000001\", "
        "\"name\": \"n1\", \"pending\": false, \"has_log\": false, \"members\": [{}]}",
    };
    struct fixture *f = *state;

    assert_int_equal(mkdir(f->path, 0700), 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_file(f, "identity", texts[i]);
        assert_int_equal(open_as(f, "n1"), STATUS_CORRUPT);
    }
}

static void a_rename_that_did_not_happen_leaves_the_old_identity(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    close_it(f);
    write_file(f, "identity.new", "{\"format\":");

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_int_equal(f->identity.stage, IDENTITY_PENDING);
    stored.stage = IDENTITY_MEMBER;
    store(f, &stored);
}

static void a_damaged_directory_refuses_and_says_why(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    assert_int_equal(identity_mark_damaged(f->directory, "record \"x\" fails its checksum"),
                     STATUS_OK);
    close_it(f);

    assert_int_equal(open_as(f, "n1"), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "record \"x\" fails its checksum"));
    assert_non_null(strstr(f->error.text, "remove the directory"));
}

static enum status open_offline(struct fixture *f, const char *command,
                                struct identity_unfinished *unfinished)
{
    return identity_open_offline(f->path, command, &f->directory, &f->identity, unfinished,
                                 &f->error);
}

static void an_offline_command_makes_it_another_node_s(void **state)
{
    struct fixture *f = *state;
    struct identity first = an_identity();
    struct identity second = an_identity();
    struct identity_unfinished unfinished;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &first);
    close_it(f);
    strcpy(second.cluster_id, OTHER_UUID);
    strcpy(second.name, "n9");
    second.id = 5;

    assert_int_equal(open_offline(f, "holdfast recover", &unfinished), STATUS_OK);
    assert_string_equal(f->identity.name, "n1");
    assert_false(unfinished.is_there);
    assert_int_equal(identity_begin_change(f->directory, "holdfast recover", &f->error), STATUS_OK);
    assert_int_equal(identity_end_change(f->directory, &second, &f->error), STATUS_OK);
    close_it(f);
    assert_int_equal(open_as(f, "n9"), STATUS_OK);
    assert_string_equal(f->identity.cluster_id, OTHER_UUID);
}

static void a_removed_node_s_directory_may_become_another_s(void **state)
{
    struct fixture *f = *state;
    struct identity first = an_identity();
    struct identity second = an_identity();
    struct identity_unfinished unfinished;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &first);
    assert_int_equal(identity_mark_removed(f->directory, "removed by an operator"), STATUS_OK);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_CLOSED);

    strcpy(second.cluster_id, OTHER_UUID);
    assert_int_equal(open_offline(f, "holdfast recover", &unfinished), STATUS_OK);
    assert_true(unfinished.was_removed);
    assert_int_equal(identity_begin_change(f->directory, "holdfast recover", &f->error), STATUS_OK);
    assert_int_equal(identity_end_change(f->directory, &second, &f->error), STATUS_OK);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
}

static void while_a_command_is_unfinished_no_node_starts(void **state)
{
    struct fixture *f = *state;
    struct identity first = an_identity();
    struct identity_unfinished unfinished;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &first);
    close_it(f);
    assert_int_equal(open_offline(f, "holdfast recover", &unfinished), STATUS_OK);
    assert_int_equal(identity_begin_change(f->directory, "holdfast recover", &f->error), STATUS_OK);
    close_it(f);

    assert_int_equal(open_as(f, "n1"), STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "was left half changed by \"holdfast recover\": run that "
                                          "again to finish it"));
    assert_int_equal(open_offline(f, "holdfast restore", &unfinished), STATUS_INVALID);
    assert_int_equal(open_offline(f, "holdfast recover", &unfinished), STATUS_OK);
    assert_true(unfinished.is_there);
    assert_string_equal(unfinished.cluster_id, UUID);
    close_it(f);
    assert_int_equal(open_offline(f, NULL, &unfinished), STATUS_OK);
    assert_true(unfinished.is_there);
    close_it(f);
    write_file(f, "unfinished", ""); /* Even an empty mark is one. */
    assert_int_equal(open_as(f, "n1"), STATUS_INVALID);
}

static void the_directory_of_a_removed_node_refuses(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    assert_int_equal(identity_mark_removed(f->directory, "it was removed"), STATUS_OK);
    close_it(f);

    assert_int_equal(open_as(f, "n1"), STATUS_CLOSED);
    assert_non_null(strstr(f->error.text, "no member any more (it was removed)"));
    assert_non_null(strstr(f->error.text, "remove the directory"));
}

static void that_a_node_joins_is_remembered(void **state)
{
    struct fixture *f = *state;
    struct identity stored = an_identity();

    stored.is_joining = true;
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    store(f, &stored);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_int_equal(f->identity.stage, IDENTITY_PENDING);
    assert_true(f->identity.is_joining);

    stored.stage = IDENTITY_MEMBER;
    stored.is_joining = false;
    store(f, &stored);
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    assert_false(f->identity.is_joining);
}

static void a_file_in_place_of_the_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->path, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_not_equal(open_as(f, "n1"), STATUS_OK);
    assert_non_null(strstr(f->error.text, f->path));
}

static void drawn_ids_differ(void **state)
{
    char first[IDENTITY_CLUSTER_BYTES + 1];
    char second[IDENTITY_CLUSTER_BYTES + 1];

    (void)state;
    identity_draw_cluster_id(first);
    identity_draw_cluster_id(second);
    assert_int_equal(strlen(first), IDENTITY_CLUSTER_BYTES);
    assert_int_equal(first[14], '4');
    assert_string_not_equal(first, second);
    assert_true(identity_draw_id() != identity_draw_id());
}

/* What a restart finds. */
static struct identity found_again(struct fixture *f)
{
    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    return f->identity;
}

static bool has_file(struct fixture *f, const char *file)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s/%s", f->path, file);
    return access(path, F_OK) == 0;
}

/* Fail the first step of storing, then the second, until there are none left. Once the file has its
 * name, only a crash may bring the old one back. */
static void a_store_that_fails_leaves_the_old_identity(void **state)
{
    struct fixture *f = *state;
    struct identity old = an_identity();
    struct identity new = an_identity();
    enum status status;
    bool was_renamed = false;
    bool has_struck;
    unsigned nth = 0;

    new.has_log = true;
    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    do {
        store(f, &old);
        fault_arm(++nth, EIO);
        status = identity_store(f->directory, &new, &f->error);
        has_struck = fault_disarm();
        assert_int_equal(status, has_struck ? STATUS_IO : STATUS_OK);
        assert_false(has_file(f, "identity.new"));
        assert_int_equal(found_again(f).has_log, was_renamed || !has_struck);
        was_renamed = has_struck && strcmp(fault_name(), "renameat") == 0;
    } while (has_struck);
    assert_int_equal(nth, 7); /* Create, write, flush, close, rename, flush, and none. */
}

/* The same for opening, of a new directory and of one with an identity. */
static void an_open_that_fails_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct identity identity = an_identity();
    unsigned descriptors = fault_count_descriptors();
    enum status status;
    unsigned nth = 0;
    unsigned round;
    bool has_struck;

    for (round = 0; round < 2; round++) {
        nth = 0;
        do {
            fault_arm(++nth, EIO);
            status = open_as(f, "n1");
            has_struck = fault_disarm();
            if (status != STATUS_OK) {
                assert_true(has_struck);
                assert_int_equal(fault_count_descriptors(), descriptors);
                assert_int_not_equal(f->error.text[0], '\0');
            } else {
                assert_true(!has_struck || strcmp(fault_name(), "close") == 0); /* Only read. */
                store(f, &identity);
                assert_int_equal(found_again(f).id, identity.id);
                close_it(f);
            }
        } while (has_struck);
        assert_true(nth > 6);
    }
}

/* Whoever is told that damage was marked can rely on it. */
static void a_mark_of_damage_is_there_whole_or_its_failure_is_told(void **state)
{
    struct fixture *f = *state;
    enum status status;
    bool has_struck;
    unsigned nth = 0;

    assert_int_equal(open_as(f, "n1"), STATUS_OK);
    do {
        fault_arm(++nth, EIO);
        status = identity_mark_damaged(f->directory, "a record is damaged");
        has_struck = fault_disarm();
        assert_int_equal(status, has_struck ? STATUS_IO : STATUS_OK);
    } while (has_struck);
    assert_int_equal(nth, 7);

    close_it(f);
    assert_int_equal(open_as(f, "n1"), STATUS_CORRUPT);
    assert_non_null(strstr(f->error.text, "a record is damaged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_missing_directory_is_made_for_its_owner_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_directory_is_held_by_one_process, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_stored_is_there_at_the_next_start, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_name_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_cluster_or_node_does_not_replace_the_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_later_format_is_unsupported, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_identity_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_fields_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rename_that_did_not_happen_leaves_the_old_identity, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_directory_refuses_and_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(an_offline_command_makes_it_another_node_s, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_removed_node_s_directory_may_become_another_s, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(while_a_command_is_unfinished_no_node_starts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_directory_of_a_removed_node_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(that_a_node_joins_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_in_place_of_the_directory_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_store_that_fails_leaves_the_old_identity, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_open_that_fails_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mark_of_damage_is_there_whole_or_its_failure_is_told,
                                        setup, teardown),
        cmocka_unit_test(drawn_ids_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
