/* /v1/archives: what is archived, where and how far; and that it can be asked for. */
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
#include <jansson.h>

#include "daemon/base/files.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"
#include "storage/image_file.h"
#include "tests/lib/api_fixture.h"
#include "tests/lib/deadline.h"

#define CLUSTER  "01234567-89ab-cdef-0123-456789abcdef"
#define PATH     "/v1/archives"
#define LIMIT_MS 30000u

/* What the archive needs beside the node. */
static struct journal *journal;
static bool is_member;
static bool is_own; /* This node is the one that writes to what all share. */
static char directory[128];
static char journal_path[160];
static char work_path[160];
static char image_path[160];

static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    (void)data;
    strcpy(cluster_id, CLUSTER);
    *node_id = 7;
    return is_member;
}

static bool is_chosen(void *data)
{
    (void)data;
    return is_own;
}

static int setup(void **state)
{
    struct api_fixture *f;
    const struct journal_options journal_options = {.directory = journal_path};
    struct error error;

    (void)api_setup(state);
    f = *state;
    is_member = true;
    is_own = false;
    (void)snprintf(directory, sizeof directory, "%s/archive", f->node->state->directory);
    (void)snprintf(journal_path, sizeof journal_path, "%s/journal", f->node->state->directory);
    (void)snprintf(image_path, sizeof image_path, "%s/image", f->node->state->directory);
    (void)snprintf(work_path, sizeof work_path, "%s/work", f->node->state->directory);
    assert_int_equal(journal_open(&journal_options, &journal, &error), STATUS_OK);
    return 0;
}

static void open_archive(struct api_fixture *f)
{
    char urls[300];
    const struct archive_options options = {
        .urls = urls,
        .local_directory = directory,
        .work_directory = work_path,
        .archiver = {.store = f->node->state->store,
                     .journal = journal,
                     .node = "n1",
                     .program = "test",
                     .schedule = {.delta_ms = 10},
                     .identify = identify,
                     .is_chosen = is_chosen},
    };
    struct error error;

    (void)snprintf(urls, sizeof urls, "local file://%s-shared?shared", directory);
    if (archive_open(&options, &f->node->archive, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

static int teardown(void **state)
{
    struct api_fixture *f = *state;

    mirror_close(f->node->mirror);
    archive_close(f->node->archive);
    journal_close(journal);
    return api_teardown(state);
}

static json_t *list(struct api_fixture *f)
{
    json_t *json;

    (void)api_expect(f, "GET", PATH, "", NULL, 200, "\"next_cursor\":null}");
    json = json_loads(reply_body(f->last), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static json_int_t number_of(json_t *json, size_t i, const char *name)
{
    const json_t *value =
        json_object_get(json_array_get(json_object_get(json, "repositories"), i), name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static const char *text_of(json_t *json, size_t i, const char *name)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(json, "repositories"), i), name));
}

static bool has_first_full(void *data)
{
    struct archiver_status status;

    archiver_status(archive_at(((struct api_fixture *)data)->node->archive, 0), &status);
    return status.fulls > 0 && status.activity == ARCHIVER_IDLE;
}

static void a_node_without_an_archive_says_so(void **state)
{
    struct api_fixture *f = *state;
    json_t *json = list(f);

    assert_int_equal(json_array_size(json_object_get(json, "repositories")), 0);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 0);
    json_decref(json);
    api_refuses(f, "POST", PATH, "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "/0-1-2", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "?x=1", "", NULL, "invalid-field", "x");
    api_refuses(f, "POST", PATH "?x=1", "", NULL, "invalid-field", "x");
    api_refuses(f, "GET", PATH "/a?x=1", "", NULL, "invalid-field", "x");
}

static void repositories_and_fulls_are_listed(void **state)
{
    struct api_fixture *f = *state;
    json_t *json;
    json_t *full;
    char path[128];

    open_archive(f);
    assert_true(wait_until(has_first_full, f, LIMIT_MS));
    json = list(f);
    assert_int_equal(json_array_size(json_object_get(json, "repositories")), 2);
    assert_string_equal(text_of(json, 0, "activity"), "idle");
    assert_int_equal(number_of(json, 0, "fulls"), 1);
    assert_int_equal(number_of(json, 0, "lag_entries"), 0);
    assert_string_equal(text_of(json, 1, "activity"), "standby");

    full = json_array_get(json_object_get(json, "items"), 0);
    assert_int_equal(json_array_size(json_object_get(json, "items")), 1);
    assert_true(json_is_true(json_object_get(full, "whole")));
    assert_string_equal(json_string_value(json_object_get(full, "repository")),
                        text_of(json, 0, "url"));
    (void)snprintf(path, sizeof path, PATH "/%s", json_string_value(json_object_get(full, "id")));
    (void)api_expect(f, "GET", path, "", NULL, 200, json_string_value(json_object_get(full, "id")));
    path[strlen(path) - 1] ^= 1;
    api_refuses(f, "GET", path, "", NULL, "not-found", NULL);
    json_decref(json);
}

/* "/v1/archives/ID@after" of the first full, for free(). */
static char *path_of_first(struct api_fixture *f, const char *after)
{
    struct buffer path = BUFFER_EMPTY;
    json_t *json;

    open_archive(f);
    assert_true(wait_until(has_first_full, f, LIMIT_MS));
    json = list(f);
    buffer_append_format(
        &path, PATH "/%s%s",
        json_string_value(json_object_get(json_array_get(json_object_get(json, "items"), 0), "id")),
        after);
    buffer_append_byte(&path, 0);
    json_decref(json);
    return (char *)path.data;
}

/* The image that was answered last, in a file; checked. */
static struct image_facts facts_of_last(struct api_fixture *f, const char *path)
{
    struct image_totals totals;
    struct image_facts facts;
    struct image_file *file;
    struct error error;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(files_write(fd, buffer_slice(&f->last->body), path, &error), STATUS_OK);
    assert_int_equal(close(fd), 0);
    assert_int_equal(image_file_open(path, &file, &error), STATUS_OK);
    assert_int_equal(image_file_verify(file, &totals, NULL, NULL, &error), STATUS_OK);
    facts = *image_file_facts(file);
    image_file_close(file);
    return facts;
}

static void the_content_of_a_full_is_its_image(void **state)
{
    struct api_fixture *f = *state;
    char *path = path_of_first(f, "/content");
    char headers[256];
    char tag[128];
    size_t size;
    struct image_facts facts;
    struct image_spools_statistics statistics;

    (void)api_expect(f, "GET", path, "", NULL, 200, NULL);
    assert_string_equal(f->last->content_type, "application/octet-stream");
    size = f->last->body.size;
    (void)snprintf(tag, sizeof tag, "%s", reply_header(f->last, "ETag"));
    facts = facts_of_last(f, image_path);
    assert_string_equal(facts.cluster_id, CLUSTER);
    assert_int_equal(facts.state.revision, machine_revision(f->node->state->machine));

    /* A part, of the image that is there. */
    (void)snprintf(headers, sizeof headers, "Range: bytes=8-15\r\nIf-Match: %s\r\n", tag);
    (void)api_expect(f, "GET", path, headers, NULL, 206, NULL);
    assert_int_equal(f->last->body.size, 8);
    (void)api_call(f, "HEAD", path, "", NULL);
    assert_int_equal(f->last->length, size);
    image_spools_statistics(archive_contents(f->node->archive), &statistics);
    assert_int_equal(statistics.exports, 1);

    /* A tag that is not its own is not answered with another image. */
    (void)snprintf(headers, sizeof headers, "If-Match: \"1-00000000000000000000000000000000\"\r\n");
    api_refuses(f, "GET", path, headers, NULL, "precondition-failed", NULL);
    free(path);
}

static void remove_segments(void)
{
    char command[300];

    (void)snprintf(command, sizeof command, "find '%s' -name 'seg-*' -delete", directory);
    assert_int_equal(system(command), 0);
}

static void content_that_is_not_there_is_told(void **state)
{
    struct api_fixture *f = *state;
    char *path = path_of_first(f, "/content");

    remove_segments();
    api_refuses(f, "GET", path, "", NULL, "not-found", NULL);
    assert_non_null(strstr(reply_body(f->last), "a segment is missing"));
    api_refuses(f, "GET", PATH "/0-1-2/content", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "/0-1-2/content?x=1", "", NULL, "invalid-field", "x");
    free(path);
}

static void add_member(struct api_fixture *f, const char *name, const char *api_address)
{
    struct node_member *member = &f->node->status.members[f->node->status.n_members++];

    (void)snprintf(member->name, sizeof member->name, "%s", name);
    (void)snprintf(member->api_address, sizeof member->api_address, "%s", api_address);
}

static void another_node_is_asked_once(void **state)
{
    struct api_fixture *f = *state;

    open_archive(f);
    add_member(f, "n1", "127.0.0.1:1");
    add_member(f, "n2", "127.0.0.1:1"); /* Nobody listens there. */
    api_refuses(f, "GET", PATH "/n2:0-1-2", "", NULL, "not-found", NULL);
    assert_non_null(strstr(reply_body(f->last), "http://127.0.0.1:1 "));
    api_refuses(f, "GET", PATH "/n2:0-1-2/content", "", NULL, "not-ready", NULL);
    assert_non_null(strstr(reply_body(f->last), "127.0.0.1"));

    /* Its own, no member's, no id, and what another node asks for, go no further. */
    api_refuses(f, "GET", PATH "/n1:0-1-2/content", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "/n3:0-1-2/content", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "/n2:0-1-2%20x/content", "", NULL, "not-found", NULL);
    api_refuses(f, "GET", PATH "/n2:0-1-2/content", "Via: 1.1 holdfast\r\n", NULL, "not-found",
                NULL);
}

struct asked {
    struct api_fixture *f;
    json_int_t request;
};

static bool is_completed(void *data)
{
    const struct asked *asked = data;
    json_t *json = list(asked->f);
    bool is_done = number_of(json, 0, "completed") >= asked->request;

    json_decref(json);
    return is_done;
}

static void an_archive_can_be_asked_for(void **state)
{
    struct api_fixture *f = *state;
    struct asked asked = {.f = f};
    json_t *json;

    open_archive(f);
    assert_true(wait_until(has_first_full, f, LIMIT_MS));
    (void)api_expect(f, "POST", PATH, "", NULL, 202, "\"node\":\"n1\"");
    json = json_loads(reply_body(f->last), JSON_REJECT_DUPLICATES, NULL);
    asked.request = number_of(json, 0, "request");
    json_decref(json);
    assert_true(wait_until(is_completed, &asked, LIMIT_MS));

    json = list(f);
    assert_int_equal(number_of(json, 0, "fulls"), 2);
    json_decref(json);
}

static void a_node_that_is_no_member_waits(void **state)
{
    struct api_fixture *f = *state;
    json_t *json;

    is_member = false;
    open_archive(f);
    json = list(f);
    assert_string_equal(text_of(json, 0, "activity"), "waiting");
    assert_null(text_of(json, 0, "error"));
    assert_int_equal(number_of(json, 0, "index"), 0);
    json_decref(json);
}

static void lists_of_repositories_that_are_wrong_are_told(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(archive_check("none", &error), STATUS_OK);
    assert_true(archive_is_off("none"));
    assert_false(archive_is_off("local"));
    assert_int_equal(archive_check("local  file:///x\tfile:///y?shared", &error), STATUS_OK);
    assert_int_equal(archive_check(" ", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "none"));
    assert_int_equal(archive_check("local none", &error), STATUS_INVALID);
    assert_int_equal(archive_check("ftp://x", &error), STATUS_INVALID);
    assert_int_equal(archive_check("local local local local local local local local local", &error),
                     STATUS_INVALID);
}

/* --- The mirror --- */

/* In a server that is not there. */
static void open_mirror(struct api_fixture *f)
{
    const struct mirror_options options = {.url = "postgres://u:secret@127.0.0.1:1/d?schema=x",
                                           .store = f->node->state->store,
                                           .node = "n1",
                                           .identify = identify,
                                           .is_chosen = is_chosen};
    struct error error;

    if (mirror_open(&options, &f->node->mirror, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

static bool mirror_has_activity(void *data, const char *activity)
{
    json_t *json = list(data);
    const json_t *mirror = json_object_get(json, "mirror");
    const char *text = json_string_value(json_object_get(mirror, "activity"));
    bool has = text != NULL && strcmp(text, activity) == 0;

    json_decref(json);
    return has;
}

static bool mirror_stands_by(void *data)
{
    return mirror_has_activity(data, "standby");
}

static bool mirror_fails(void *data)
{
    return mirror_has_activity(data, "failing");
}

static void a_mirror_is_shown_without_its_password(void **state)
{
    struct api_fixture *f = *state;
    const json_t *mirror;
    json_t *json = list(f);

    assert_true(json_is_null(json_object_get(json, "mirror")));
    json_decref(json);
    open_mirror(f);
    assert_true(wait_until(mirror_stands_by, f, LIMIT_MS));
    json = list(f);
    mirror = json_object_get(json, "mirror");
    assert_string_equal(json_string_value(json_object_get(mirror, "url")),
                        "postgres://u@127.0.0.1:1/d?schema=x");
    assert_true(json_is_null(json_object_get(mirror, "error")));
    assert_true(json_is_null(json_object_get(mirror, "time")));
    assert_true(json_is_false(json_object_get(mirror, "exact")));
    assert_int_equal(json_integer_value(json_object_get(mirror, "lag_ms")), 0);
    json_decref(json);
    (void)api_expect(f, "GET", "/v1/cluster", "", NULL, 200, "\"mirror_lag_ms\":0");
}

static void a_mirror_that_cannot_be_written_says_why(void **state)
{
    struct api_fixture *f = *state;
    const json_t *mirror;
    json_t *json;

    (void)api_expect(f, "PUT", "/v1/namespaces/default/items/k", "", "1", 201, "\"key\":\"k\"");
    is_own = true;
    open_mirror(f);
    assert_true(wait_until(mirror_fails, f, LIMIT_MS));
    json = list(f);
    mirror = json_object_get(json, "mirror");
    assert_non_null(strstr(json_string_value(json_object_get(mirror, "error")), "refused"));
    assert_null(strstr(json_string_value(json_object_get(mirror, "error")), "secret"));
    assert_true(json_integer_value(json_object_get(mirror, "lag_revisions")) > 0);
    assert_true(json_integer_value(json_object_get(mirror, "lag_ms")) > 0);
    json_decref(json);
}

static void urls_of_mirrors_that_are_wrong_are_told(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(mirror_check("postgres://u@h/d?reader=r", &error), STATUS_OK);
    assert_int_equal(mirror_check("postgresql://h/d?schema=x", &error), STATUS_OK);
    assert_int_equal(mirror_check("s3://bucket", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "postgres://"));
    assert_int_equal(mirror_check("postgres://h/d?schema=", &error), STATUS_INVALID);
    assert_int_equal(mirror_check("postgres://u:se@cret@h/d", &error), STATUS_INVALID);
    assert_null(strstr(error.text, "cret"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_without_an_archive_says_so),
        TEST(repositories_and_fulls_are_listed),
        TEST(the_content_of_a_full_is_its_image),
        TEST(content_that_is_not_there_is_told),
        TEST(another_node_is_asked_once),
        TEST(an_archive_can_be_asked_for),
        TEST(a_node_that_is_no_member_waits),
        TEST(lists_of_repositories_that_are_wrong_are_told),
        TEST(a_mirror_is_shown_without_its_password),
        TEST(a_mirror_that_cannot_be_written_says_why),
        TEST(urls_of_mirrors_that_are_wrong_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
