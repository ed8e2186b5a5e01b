#include <inttypes.h>
#include <stdlib.h>

#include "api/archives.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/reads.h"
#include "api/render.h"
#include "daemon/base/memory.h"
#include "storage/document.h"

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

static void append_text(struct buffer *text, const char *lead, struct slice value)
{
    buffer_append_string(text, lead);
    if (value.size == 0) {
        buffer_append_string(text, "null");
    } else {
        document_write_string(value, text);
    }
}

static void append_number(struct buffer *text, const char *lead, uint64_t number)
{
    buffer_append_string(text, lead);
    render_number(text, number);
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

static void append_flag(struct buffer *text, const char *lead, bool flag)
{
    buffer_append_string(text, lead);
    buffer_append_string(text, flag ? "true" : "false");
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
    append_text(text, ",\"receiving\":{\"from\":", name_of(status, receiving->donor));
    append_number(text, ",\"bytes\":", receiving->bytes);
    append_number(text, ",\"total_bytes\":", receiving->total_bytes);
    append_number(text, ",\"bytes_per_second\":", receiving->bytes_per_second);
    buffer_append_byte(text, '}');
}

static void append_member(struct buffer *text, const struct node_status *status,
                          const struct node_member *member, struct slice zone)
{
    uint64_t commit_index = status->commit_index;
    bool is_behind = commit_index > member->match_index;

    append_text(text, "{\"name\":", slice_of_string(member->name));
    buffer_append_format(text, ",\"id\":\"%016" PRIx64 "\"", member->id);
    append_text(text, ",\"role\":", slice_of_string(role_name(member->role)));
    append_text(text, ",\"wanted\":",
                slice_of_string(member->is_leaving ? "removed" : wanted_name(member->wanted)));
    append_flag(text, ",\"drained\":", member->is_drained);
    append_flag(text, ",\"needs_state\":", member->needs_state);
    append_receiving(text, status, &member->receiving);
    append_text(text, ",\"peer_address\":", slice_of_string(member->peer_address));
    append_text(text, ",\"api_address\":", slice_of_string(member->api_address));
    append_text(text, ",\"zone\":", zone);
    append_text(text, ",\"version\":", slice_of_string(member->version));
    if (member->feature_level == 0) {
        buffer_append_string(text, ",\"feature_level\":null");
    } else {
        append_number(text, ",\"feature_level\":", member->feature_level);
    }
    append_number(text, ",\"match_index\":", member->match_index);
    append_number(text, ",\"lag\":", is_behind ? commit_index - member->match_index : 0);
    if (member->last_contact_ms == UINT64_MAX) {
        buffer_append_string(text, ",\"last_contact_ms\":null");
    } else {
        append_number(text, ",\"last_contact_ms\":", member->last_contact_ms);
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

static void append_cluster(struct buffer *text, const char *name, const struct node_status *status,
                           uint64_t archive_lag_ms, struct view *view, const struct zones *zones)
{
    uint64_t hash[2];

    txn_state_hash(view->txn, hash);
    append_text(text, "{\"cluster_id\":", slice_of_string(status->cluster_id));
    append_text(text, ",\"name\":", slice_of_string(name));
    append_text(text, ",\"leader\":", name_of(status, status->leader_id));
    append_number(text, ",\"term\":", status->term);
    append_number(text, ",\"revision\":", view->state->revision);
    append_number(text, ",\"applied_index\":", view->state->applied_index);
    append_number(text, ",\"feature_level\":", status->feature_level);
    append_number(text, ",\"archive_lag_ms\":", archive_lag_ms);
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
        append_cluster(&response.body, thread->name, status, archives_lag_ms(thread->node), view,
                       &zones);
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
