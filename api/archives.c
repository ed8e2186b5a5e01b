/* /v1/archives: what this node archives and mirrors, and where. Each node answers for itself: its
 * local repository is its own, and what all nodes share is archived by one of them. The content of
 * a full comes from any node, which fetches it from where it is. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/context.h"
#include "api/handlers.h"
#include "api/images.h"
#include "api/problem.h"
#include "api/render.h"
#include "daemon/base/memory.h"
#include "raft/node.h"
#include "storage/archive/archive.h"
#include "storage/archive/contents.h"
#include "storage/archive/mirror.h"

#define ID_BYTES (LIMIT_NAME_BYTES + NAMES_BYTES + 16)

static const char *const no_parameters[] = {NULL};

/* --- Rendering --- */

static void append_text(struct buffer *text, const char *lead, const char *value)
{
    render_member_text_or_null(text, lead, slice_of_string(value));
}

static void append_repository(struct buffer *text, size_t number,
                              const struct archiver_status *status)
{
    render_member_number(text, "{\"number\":", number);
    append_text(text, ",\"url\":", status->url);
    render_member_bool(text, ",\"local\":", status->is_local);
    render_member_bool(text, ",\"encrypted\":", status->is_encrypted);
    append_text(text, ",\"activity\":", archiver_activity_text(status->activity));
    append_text(text, ",\"error\":", status->error);
    render_member_number(text, ",\"index\":", status->index);
    render_member_number(text, ",\"revision\":", status->revision);
    render_member_time_or_null(text, ",\"time\":", status->time_ms);
    render_member_number(text, ",\"lag_entries\":", status->lag_entries);
    render_member_number(text, ",\"lag_bytes\":", status->lag_bytes);
    render_member_number(text, ",\"lag_ms\":", status->lag_ms);
    render_member_number(text, ",\"restore_ms\":", status->restore_ms);
    render_member_number(text, ",\"fulls\":", status->fulls);
    render_member_number(text, ",\"deltas\":", status->deltas);
    render_member_number(text, ",\"merged\":", status->merged);
    render_member_number(text, ",\"bytes\":", status->bytes);
    render_member_time_or_null(text, ",\"verified_at\":", status->verified_ms);
    render_member_number(text, ",\"verified_revision\":", status->verified_revision);
    render_member_number(text, ",\"verify_ms\":", status->verify_took_ms);
    render_member_number(text, ",\"completed\":", status->completed);
    buffer_append_byte(text, '}');
}

/* A repository of this node. */
struct place {
    const char *node; /* Name. */
    size_t number;
    struct archiver_status status;
};

/* "REPOSITORY-INDEX-TOKEN", the end of the full's name; with "NODE:" before it where it is this
 * node's own, so that any node can say whose it is. */
static void make_id(const struct place *place, const struct catalog_full *full, char id[ID_BYTES])
{
    const char *end = strrchr(full->directory, '/');

    (void)snprintf(id, ID_BYTES, "%s%s%zu-%s", place->status.is_local ? place->node : "",
                   place->status.is_local ? ":" : "", place->number,
                   end == NULL ? "" : end + 1); /* Fits. */
}

static void append_full(struct buffer *text, const struct place *place,
                        const struct catalog_full *full)
{
    char id[ID_BYTES];

    make_id(place, full, id);
    append_text(text, "{\"id\":", id);
    append_text(text, ",\"repository\":", place->status.url);
    append_text(text, ",\"name\":", full->directory);
    render_member_number(text, ",\"index\":", full->index);
    render_member_number(text, ",\"revision\":", full->revision);
    render_member_time_or_null(text, ",\"time\":", full->time_ms);
    render_member_time_or_null(text, ",\"created_at\":", full->created_ms);
    render_member_number(text, ",\"size_bytes\":", full->bytes);
    render_member_number(text, ",\"content_bytes\":", full->content_bytes);
    render_member_number(text, ",\"records\":", full->records);
    render_member_bool(text, ",\"whole\":", full->is_whole);
    render_member_bool(text, ",\"pinned\":", full->is_pinned);
    render_member_time_or_null(text, ",\"verified_at\":", full->verified.when_ms);
    buffer_append_byte(text, '}');
}

static void append_mirror(struct buffer *text, struct mirror *mirror)
{
    struct mirror_status status;

    if (mirror == NULL) {
        buffer_append_string(text, "null");
        return;
    }
    mirror_status(mirror, &status);
    append_text(text, "{\"url\":", status.url);
    append_text(text, ",\"activity\":", mirror_activity_text(status.activity));
    append_text(text, ",\"error\":", status.error);
    render_member_number(text, ",\"revision\":", status.revision);
    render_member_time_or_null(text, ",\"time\":", status.time_ms);
    render_member_bool(text, ",\"exact\":", status.is_exact);
    render_member_number(text, ",\"lag_revisions\":", status.lag_revisions);
    render_member_number(text, ",\"lag_ms\":", status.lag_ms);
    buffer_append_byte(text, '}');
}

/* --- The fulls of all repositories --- */

/* False ends the walk. */
typedef bool (*full_cb)(void *data, const struct place *place, const struct catalog_full *full);

/* The newest first, repository by repository. */
static void walk_fulls(const struct api_thread *thread, full_cb cb, void *data)
{
    const struct archive *archive = node_archive(thread->node);
    struct place place = {.node = thread->name};
    bool goes_on = true;

    for (; place.number < archive_count(archive) && goes_on; place.number++) {
        size_t n;
        struct catalog_full *fulls = archiver_fulls(archive_at(archive, place.number), &n);

        archiver_status(archive_at(archive, place.number), &place.status);
        while (n > 0 && goes_on) {
            goes_on = cb(data, &place, &fulls[--n]);
        }
        free(fulls);
    }
}

static bool list_full(void *data, const struct place *place, const struct catalog_full *full)
{
    struct buffer *text = data;

    if (text->data[text->size - 1] == '}') {
        buffer_append_byte(text, ',');
    }
    append_full(text, place, full);
    return true;
}

struct search {
    struct slice wanted;
    bool is_found;
    struct place place;
    struct catalog_full full;
};

static bool look_for_full(void *data, const struct place *place, const struct catalog_full *full)
{
    struct search *search = data;
    char id[ID_BYTES];

    make_id(place, full, id);
    search->is_found = slice_equals_string(search->wanted, id);
    if (search->is_found) {
        search->place = *place;
        search->full = *full;
    }
    return !search->is_found;
}

/* What the path names. */
static bool find_full(const struct request *request, struct search *search)
{
    *search = (struct search){.wanted = request->captures[0]};
    walk_fulls(request->thread, look_for_full, search);
    return search->is_found;
}

/* --- Those of other nodes --- */

/* The API address of the other member whose name is before the ":" in the path's id; empty: there
 * is none. */
static void find_other_node(const struct request *request, char address[LIMIT_ADDRESS_BYTES + 1])
{
    struct slice id = request->captures[0];
    const uint8_t *colon = id.size == 0 ? NULL : memchr(id.data, ':', id.size);
    struct slice name = slice_of(id.data, colon == NULL ? 0 : (size_t)(colon - id.data));
    struct node_status *status;

    address[0] = '\0';
    if (name.size == 0 || slice_equals_string(name, request->thread->name)) {
        return;
    }
    status = memory_new(sizeof *status); /* Large for a stack. */
    node_status(request->thread->node, status);
    for (unsigned i = 0; i < status->n_members; i++) {
        if (slice_equals_string(name, status->members[i].name)) {
            memcpy(address, status->members[i].api_address, LIMIT_ADDRESS_BYTES + 1);
        }
    }
    free(status);
}

static void fail_to_find(struct request *request, const char *other_address)
{
    if (other_address[0] == '\0') {
        request_fail(request, PROBLEM_NOT_FOUND, "node %s knows no archive of that id",
                     request->thread->name);
    } else {
        request_fail(
            request, PROBLEM_NOT_FOUND,
            "that is an archive of another node: only http://%s knows more than its content",
            other_address);
    }
}

/* --- Handlers --- */

/* False: the request was answered. */
static bool has_archive(struct request *request)
{
    if (archive_count(node_archive(request->thread->node)) > 0) {
        return true;
    }
    request_fail(request, PROBLEM_NOT_FOUND, "node %s was started with --archive none",
                 request->thread->name);
    return false;
}

void archives_list(struct request *request)
{
    const struct archive *archive = node_archive(request->thread->node);
    struct response response = {.status = 200};
    struct buffer *text = &response.body;

    if (!request_allows_parameters(request, no_parameters)) {
        return;
    }
    append_text(text, "{\"node\":", request->thread->name);
    buffer_append_string(text, ",\"repositories\":[");
    for (size_t i = 0; i < archive_count(archive); i++) {
        struct archiver_status status;

        archiver_status(archive_at(archive, i), &status);
        buffer_append_string(text, i == 0 ? "" : ",");
        append_repository(text, i, &status);
    }
    buffer_append_string(text, "],\"mirror\":");
    append_mirror(text, node_mirror(request->thread->node));
    buffer_append_string(text, ",\"items\":[");
    walk_fulls(request->thread, list_full, text);
    buffer_append_string(text, "],\"next_cursor\":null}");
    request_respond(request, &response);
}

void archive_get(struct request *request)
{
    struct response response = {.status = 200};
    char other_address[LIMIT_ADDRESS_BYTES + 1];
    struct search search;

    if (!request_allows_parameters(request, no_parameters)) {
        return;
    }
    if (find_full(request, &search)) {
        append_full(&response.body, &search.place, &search.full);
        request_respond(request, &response);
        return;
    }
    find_other_node(request, other_address);
    fail_to_find(request, other_address);
}

/* Another node asks on behalf of its client: it is not asked in turn. */
static bool is_forwarded(const struct request *request)
{
    struct slice via;

    return request_header(request, "via", &via) && slice_equals_string(via, CONTENTS_VIA);
}

static bool is_id_byte(uint8_t byte)
{
    return isalnum(byte) || byte == '-' || byte == '_' || byte == '.' || byte == ':';
}

/* It becomes a part of a URL. */
static bool copy_id(struct slice bytes, char id[ID_BYTES])
{
    bool is_well = bytes.size > 0 && bytes.size < ID_BYTES;

    for (size_t i = 0; i < bytes.size && is_well; i++) {
        is_well = is_id_byte(bytes.data[i]);
        id[i] = (char)bytes.data[i];
    }
    if (is_well) {
        id[bytes.size] = '\0';
    }
    return is_well;
}

/* Where the content of what the path names comes from; false: the request was answered. */
static bool find_source(struct request *request, char source[IMAGE_SOURCE_BYTES])
{
    char id[ID_BYTES];
    char other_address[LIMIT_ADDRESS_BYTES + 1];
    struct search search;

    if (find_full(request, &search)) {
        contents_source(search.place.number, search.full.directory, source);
        return true;
    }
    find_other_node(request, other_address);
    if (other_address[0] == '\0' || !copy_id(search.wanted, id) || is_forwarded(request)) {
        fail_to_find(request, "");
        return false;
    }
    contents_source_of_node(other_address, id, source);
    return true;
}

void archive_get_content(struct request *request)
{
    const struct archive *archive = node_archive(request->thread->node);
    char source[IMAGE_SOURCE_BYTES];
    struct images_waiting *waiting;

    if (!request_allows_parameters(request, no_parameters) || !has_archive(request)) {
        return;
    }
    if (find_source(request, source) &&
        !images_answer_named(request, archive_contents(archive), source)) {
        waiting = images_wait_for(request, archive_contents(archive));
        memcpy(waiting->asked.source, source, sizeof source);
        images_ask(waiting);
    }
}

/* Answers at once: a full may take minutes. Each repository's "completed" reaches its "request". */
void archives_post(struct request *request)
{
    const struct archive *archive = node_archive(request->thread->node);
    struct response response = {.status = 202};
    struct buffer *text = &response.body;

    if (!request_allows_parameters(request, no_parameters) || !has_archive(request)) {
        return;
    }
    append_text(text, "{\"node\":", request->thread->name);
    buffer_append_string(text, ",\"repositories\":[");
    for (size_t i = 0; i < archive_count(archive); i++) {
        render_member_number(text, i == 0 ? "{\"number\":" : ",{\"number\":", i);
        render_member_number(text, ",\"request\":", archiver_ask(archive_at(archive, i)));
        buffer_append_byte(text, '}');
    }
    buffer_append_string(text, "]}");
    request_respond(request, &response);
}
