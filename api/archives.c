/* /v1/archives: what this node archives, and where. Each node answers for itself: its local
 * repository is its own, and what all nodes share is archived by one of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/context.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/render.h"
#include "raft/node.h"
#include "storage/archive/archive.h"

#define ID_BYTES (NAMES_BYTES + 8)

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
    render_member_number(text, ",\"bytes\":", status->bytes);
    render_member_time_or_null(text, ",\"verified_at\":", status->verified_ms);
    render_member_number(text, ",\"verified_revision\":", status->verified_revision);
    render_member_number(text, ",\"verify_ms\":", status->verify_took_ms);
    render_member_number(text, ",\"completed\":", status->completed);
    buffer_append_byte(text, '}');
}

/* "REPOSITORY-INDEX-TOKEN": the end of the full's name. */
static void make_id(size_t number, const struct catalog_full *full, char id[ID_BYTES])
{
    const char *end = strrchr(full->directory, '/');

    (void)snprintf(id, ID_BYTES, "%zu-%s", number, end == NULL ? "" : end + 1); /* Fits. */
}

static void append_full(struct buffer *text, size_t number, const char *url,
                        const struct catalog_full *full)
{
    char id[ID_BYTES];

    make_id(number, full, id);
    append_text(text, "{\"id\":", id);
    append_text(text, ",\"repository\":", url);
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
    buffer_append_byte(text, '}');
}

/* --- The fulls of all repositories --- */

/* False ends the walk. */
typedef bool (*full_cb)(void *data, size_t number, const char *url,
                        const struct catalog_full *full);

/* The newest first, repository by repository. */
static void walk_fulls(const struct archive *archive, full_cb cb, void *data)
{
    bool goes_on = true;

    for (size_t i = 0; i < archive_count(archive) && goes_on; i++) {
        struct archiver_status status;
        size_t n;
        struct catalog_full *fulls = archiver_fulls(archive_at(archive, i), &n);

        archiver_status(archive_at(archive, i), &status);
        while (n > 0 && goes_on) {
            goes_on = cb(data, i, status.url, &fulls[--n]);
        }
        free(fulls);
    }
}

static bool list_full(void *data, size_t number, const char *url, const struct catalog_full *full)
{
    struct buffer *text = data;

    if (text->data[text->size - 1] == '}') {
        buffer_append_byte(text, ',');
    }
    append_full(text, number, url, full);
    return true;
}

struct search {
    struct slice wanted;
    struct response *response;
    bool is_found;
};

static bool look_for_full(void *data, size_t number, const char *url,
                          const struct catalog_full *full)
{
    struct search *search = data;
    char id[ID_BYTES];

    make_id(number, full, id);
    search->is_found = slice_equals_string(search->wanted, id);
    if (search->is_found) {
        append_full(&search->response->body, number, url, full);
    }
    return !search->is_found;
}

/* --- Handlers --- */

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
    buffer_append_string(text, "],\"items\":[");
    walk_fulls(archive, list_full, text);
    buffer_append_string(text, "],\"next_cursor\":null}");
    request_respond(request, &response);
}

void archive_get(struct request *request)
{
    const struct archive *archive = node_archive(request->thread->node);
    struct response response = {.status = 200};
    struct search search = {.wanted = request->captures[0], .response = &response};

    if (!request_allows_parameters(request, no_parameters)) {
        return;
    }
    walk_fulls(archive, look_for_full, &search);
    if (!search.is_found) {
        request_fail(request, PROBLEM_NOT_FOUND, "node %s knows no archive of that id",
                     request->thread->name);
        return;
    }
    request_respond(request, &response);
}

/* Answers at once: a full may take minutes. Each repository's "completed" reaches its "request". */
void archives_post(struct request *request)
{
    const struct archive *archive = node_archive(request->thread->node);
    struct response response = {.status = 202};
    struct buffer *text = &response.body;

    if (!request_allows_parameters(request, no_parameters)) {
        return;
    }
    if (archive_count(archive) == 0) {
        request_fail(request, PROBLEM_NOT_FOUND, "node %s was started with --archive none",
                     request->thread->name);
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
