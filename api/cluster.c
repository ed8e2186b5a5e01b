#include <inttypes.h>
#include <stdlib.h>

#include "api/archives.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/mirrors.h"
#include "api/problem.h"
#include "api/reads.h"
#include "api/render.h"
#include "daemon/base/memory.h"

/* The zones of members, which the state knows and the consensus thread does not. */
struct zones {
    unsigned n;
    uint64_t ids[LIMIT_MEMBERS];
    struct slice names[LIMIT_MEMBERS]; /* Borrowed from the view. */
};

static bool add_zone(void *data, const struct member_row *row)
{
    struct zones *zones = data;

    zones->ids[zones->n] = row->id;
    zones->names[zones->n] = row->zone;
    zones->n++;
    return zones->n < LIMIT_MEMBERS;
}

static const char *role_name(enum node_role role)
{
    switch (role) {
    case NODE_ROLE_VOTER:
        return "voter";
    case NODE_ROLE_STANDBY:
        return "standby";
    case NODE_ROLE_SPARE:
        return "spare";
    case NODE_ROLE_NONE:
        return "";
    }
    return "";
}

/* What the cluster works towards. */
static const char *wanted_name(enum member_wanted wanted)
{
    switch (wanted) {
    case MEMBER_VOTER:
        return "voter";
    case MEMBER_STANDBY:
        return "standby";
    case MEMBER_SPARE:
        return "spare";
    case MEMBER_AUTO:
        return "auto";
    case MEMBER_AS_IS:
    case MEMBER_WANTED_KINDS:
        break;
    }
    return "";
}

/* Empty if @id is 0, or of nobody. */
static struct slice name_of(const struct node_status *status, uint64_t id)
{
    for (unsigned i = 0; i < status->n_members; i++) {
        if (id != 0 && status->members[i].id == id) {
            return slice_of_string(status->members[i].name);
        }
    }
    return slice_of(NULL, 0);
}

static void append_receiving(struct buffer *text, const struct node_status *status,
                             const struct state_progress *receiving)
{
    if (receiving->donor == 0) {
        buffer_append_string(text, ",\"receiving\":null");
        return;
    }
    render_member_text_or_null(text,
                               ",\"receiving\":{\"from\":", name_of(status, receiving->donor));
    render_member_number(text, ",\"bytes\":", receiving->bytes);
    render_member_number(text, ",\"total_bytes\":", receiving->total_bytes);
    render_member_number(text, ",\"bytes_per_second\":", receiving->bytes_per_second);
    buffer_append_byte(text, '}');
}

static void append_member(struct buffer *text, const struct node_status *status,
                          const struct node_member *member, struct slice zone)
{
    uint64_t commit_index = status->commit_index;
    bool is_behind = commit_index > member->match_index;

    render_member_text_or_null(text, "{\"name\":", slice_of_string(member->name));
    buffer_append_format(text, ",\"id\":\"%016" PRIx64 "\"", member->id);
    render_member_text_or_null(text, ",\"role\":", slice_of_string(role_name(member->role)));
    render_member_text_or_null(
        text, ",\"wanted\":",
        slice_of_string(member->is_leaving ? "removed" : wanted_name(member->wanted)));
    render_member_bool(text, ",\"drained\":", member->is_drained);
    render_member_bool(text, ",\"needs_state\":", member->needs_state);
    append_receiving(text, status, &member->receiving);
    render_member_text_or_null(text, ",\"peer_address\":", slice_of_string(member->peer_address));
    render_member_text_or_null(text, ",\"api_address\":", slice_of_string(member->api_address));
    render_member_text_or_null(text, ",\"zone\":", zone);
    render_member_text_or_null(text, ",\"version\":", slice_of_string(member->version));
    if (member->feature_level == 0) {
        buffer_append_string(text, ",\"feature_level\":null");
    } else {
        render_member_number(text, ",\"feature_level\":", member->feature_level);
    }
    render_member_number(text, ",\"match_index\":", member->match_index);
    render_member_number(text, ",\"lag\":", is_behind ? commit_index - member->match_index : 0);
    if (member->last_contact_ms == UINT64_MAX) {
        buffer_append_string(text, ",\"last_contact_ms\":null");
    } else {
        render_member_number(text, ",\"last_contact_ms\":", member->last_contact_ms);
    }
    buffer_append_string(text, member->healthy ? ",\"healthy\":true}" : ",\"healthy\":false}");
}

static void append_members(struct buffer *text, const struct node_status *status,
                           const struct zones *zones)
{
    buffer_append_string(text, ",\"members\":[");
    for (unsigned i = 0; i < status->n_members; i++) {
        struct slice zone = slice_of(NULL, 0);

        for (unsigned k = 0; k < zones->n; k++) {
            if (zones->ids[k] == status->members[i].id) {
                zone = zones->names[k];
            }
        }
        if (i > 0) {
            buffer_append_byte(text, ',');
        }
        append_member(text, status, &status->members[i], zone);
    }
    buffer_append_byte(text, ']');
}

static void append_cluster(struct buffer *text, const struct api_thread *thread,
                           const struct node_status *status, struct view *view,
                           const struct zones *zones)
{
    uint64_t hash[2];

    txn_state_hash(view->txn, hash);
    render_member_text_or_null(text, "{\"cluster_id\":", slice_of_string(status->cluster_id));
    render_member_text_or_null(text, ",\"name\":", slice_of_string(thread->name));
    render_member_text_or_null(text, ",\"leader\":", name_of(status, status->leader_id));
    render_member_number(text, ",\"term\":", status->term);
    render_member_number(text, ",\"revision\":", view->state->revision);
    render_member_number(text, ",\"applied_index\":", view->state->applied_index);
    render_member_number(text, ",\"feature_level\":", status->feature_level);
    render_member_text_or_null(text,
                               ",\"archive\":", slice_of_string(archives_where(thread->node)));
    render_member_number(text, ",\"archive_lag_ms\":", archives_lag_ms(thread->node));
    render_member_number(text, ",\"mirror_lag_ms\":", mirrors_lag_ms(thread->node));
    append_members(text, status, zones);
    buffer_append_format(text, ",\"state_hash\":\"%016" PRIx64 "%016" PRIx64 "\"}", hash[1],
                         hash[0]);
}

/* Answers from what this node knows: it must help also when there is no leader. */
static void answer(struct request *request, const struct node_status *status)
{
    struct api_thread *thread = request->thread;
    struct view *view = reads_view_begin(thread->reads);
    struct response response = {.status = 200};
    struct zones zones = {0};

    if (view == NULL) {
        request_fail(request, PROBLEM_INTERNAL, "the state could not be opened for reading");
        return;
    }
    if (view_members(view, add_zone, &zones) == STATUS_OK) {
        append_cluster(&response.body, thread, status, view, &zones);
        render_revision(&response, view->state->revision);
    } else {
        problem_begin(&response, PROBLEM_INTERNAL, "a record could not be read");
        problem_end(&response);
    }
    reads_view_end(thread->reads);
    request_respond(request, &response);
}

void cluster_get(struct request *request)
{
    static const char *const names[] = {NULL};
    struct node_status *status;

    if (!request_allows_parameters(request, names)) {
        return;
    }
    status = memory_new(sizeof(*status)); /* Large for a stack. */
    node_status(request->thread->node, status);
    answer(request, status);
    free(status);
}
