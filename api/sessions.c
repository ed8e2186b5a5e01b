
#include "api/cursor.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "api/operations.h"
#include "api/page.h"
#include "api/params.h"
#include "api/reads.h"
#include "api/render.h"
#include "api/uuid.h"
#include "api/write.h"
#include "daemon/base/clock.h"

static const char *const no_parameters[] = {NULL};

/* --- writes: from what the client asks for to operations --- */

static enum status take_headers(struct input *input, struct operation *operation)
{
    enum status status = param_conditions(input, &operation->if_match, &operation->if_none_match);

    return status == STATUS_OK ? param_no_epoch(input) : status;
}

/* What all operations on one session have: no parameters, the id, the headers. */
static enum status begin_operation(struct input *input, enum operation_kind kind,
                                   struct operation *operation)
{
    enum status status = input_allow(input, no_parameters);

    operation->kind = kind;
    if (status == STATUS_OK) {
        status = param_session_id(input, &operation->session.id);
    }
    return status == STATUS_OK ? take_headers(input, operation) : status;
}

enum status session_put_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, OPERATION_SESSION_PUT, operation);
    const json_t *object;

    if (status == STATUS_OK) {
        status = input_object(input, true, &object);
    }
    return status == STATUS_OK
               ? fields_session(input, object, "", FIELDS_PUT, &operation->session.fields)
               : status;
}

enum status session_patch_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, OPERATION_SESSION_PATCH, operation);
    const json_t *object;

    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    return status == STATUS_OK
               ? fields_session(input, object, "", FIELDS_PATCH, &operation->session.fields)
               : status;
}

enum status session_delete_operation(struct input *input, struct operation *operation)
{
    return begin_operation(input, OPERATION_SESSION_DELETE, operation);
}

enum status session_check_operation(struct input *input, struct operation *operation)
{
    return begin_operation(input, OPERATION_SESSION_CHECK, operation);
}

static enum status touch_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, OPERATION_SESSION_TOUCH, operation);
    const json_t *object;

    if (status == STATUS_OK) {
        status = input_object(input, true, &object);
    }
    return status == STATUS_OK ? fields_touch(input, object, &operation->session.fields.ttl)
                               : status;
}

static struct slice make_id(struct input *input)
{
    char text[UUID_TEXT_BYTES + 1];

    uuid_make(clock_wall_ms(), text);
    return arena_copy(&input->arena, slice_of(text, UUID_TEXT_BYTES));
}

static enum status create_operation(struct input *input, struct operation *operation)
{
    enum status status = input_allow(input, no_parameters);
    const json_t *object;

    operation->kind = OPERATION_SESSION_PUT;
    operation->session.server_made_id = true;
    operation->session.id = make_id(input);
    if (status == STATUS_OK) {
        status = take_headers(input, operation);
    }
    if (status == STATUS_OK) {
        status = input_object(input, true, &object);
    }
    return status == STATUS_OK
               ? fields_session(input, object, "", FIELDS_PUT, &operation->session.fields)
               : status;
}

void sessions_create(struct request *request)
{
    write_request(request, create_operation, WRITE_ANSWER_LOCATED);
}

void session_put(struct request *request)
{
    write_request(request, session_put_operation, WRITE_ANSWER_ROW);
}

void session_patch(struct request *request)
{
    write_request(request, session_patch_operation, WRITE_ANSWER_ROW);
}

void session_delete(struct request *request)
{
    write_request(request, session_delete_operation, WRITE_ANSWER_ROW);
}

void session_touch(struct request *request)
{
    write_request(request, touch_operation, WRITE_ANSWER_ROW);
}

/* --- GET of one session --- */

static enum status read_get(struct input *input, struct slice *id)
{
    static const char *const names[] = {"consistency", "min_revision", NULL};
    enum status status = input_allow(input, names);

    return status == STATUS_OK ? param_session_id(input, id) : status;
}

static void look_up_session(struct request *request, struct view *view, struct slice id)
{
    struct response response = {.status = 200};
    struct namespace_row ns;
    struct session_row row;
    enum status status;

    if (!page_namespace(request, view, &ns)) {
        return;
    }
    status = view_session(view, ns.id, id, &row);
    if (status != STATUS_OK) {
        page_fail(request, view, status);
        return;
    }
    render_revision(&response, view->state->revision);
    render_etag(&response, row.revision);
    render_session(&response.body, &row, true);
    request_respond(request, &response);
}

/* Twice for a request: when it comes, with @view NULL, and when it may look. */
static void run_get(struct request *request, struct view *view)
{
    struct input input;
    struct slice id;

    input_init(&input, request);
    if (read_get(&input, &id) != STATUS_OK) {
        input_answer_refusal(&input);
    } else if (view == NULL) {
        reads_start(request, run_get);
    } else {
        look_up_session(request, view, id);
    }
    input_close(&input);
}

void session_get(struct request *request)
{
    run_get(request, NULL);
}

/* --- list --- */

struct session_list {
    struct page_query query;
    struct session_filter filter;
    struct page page;
};

static enum status take_status(struct input *input, struct session_filter *filter)
{
    static const char *const names[SESSION_STATUSES] = {"active", "paused", "closed"};
    struct slice text;

    filter->has_status = input_parameter(input, "status", &text);
    if (!filter->has_status) {
        return STATUS_OK;
    }
    for (unsigned i = 0; i < SESSION_STATUSES; i++) {
        if (slice_equals_string(text, names[i])) {
            filter->status = (enum session_status)i;
            return STATUS_OK;
        }
    }
    return input_refuse(input, PROBLEM_INVALID_FIELD, "status",
                        "status must be active, paused or closed");
}

static enum status take_sort(struct input *input, struct session_filter *filter)
{
    struct slice text;

    filter->sort = SESSION_SORT_CREATED;
    if (!input_parameter(input, "sort", &text) || slice_equals_string(text, "created")) {
        return STATUS_OK;
    }
    if (!slice_equals_string(text, "updated")) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "sort",
                            "sort must be created or updated");
    }
    filter->sort = SESSION_SORT_UPDATED;
    return STATUS_OK;
}

static enum status take_filter(struct input *input, struct session_filter *filter)
{
    enum status status = param_name(input, "agent_id", &filter->agent_id);

    if (status == STATUS_OK) {
        status = param_name(input, "user_id", &filter->user_id);
    }
    if (status == STATUS_OK) {
        status = take_status(input, filter);
    }
    return status == STATUS_OK ? take_sort(input, filter) : status;
}

static uint64_t hash_filter(const struct request *request, const struct session_filter *filter)
{
    struct cursor_filters filters = {0};

    cursor_filters_add(&filters, slice_of_string("sessions"));
    cursor_filters_add(&filters, request->ns);
    cursor_filters_add(&filters, filter->agent_id);
    cursor_filters_add(&filters, filter->user_id);
    cursor_filters_add_number(&filters, filter->has_status ? 1 + (uint64_t)filter->status : 0);
    cursor_filters_add_number(&filters, filter->sort);
    cursor_filters_add_number(&filters, filter->order);
    return cursor_filters_hash(&filters);
}

static enum status read_list(struct input *input, void *data)
{
    static const char *const names[] = {"agent_id",     "user_id", "status", "sort",
                                        "order",        "limit",   "cursor", "consistency",
                                        "min_revision", NULL};
    struct session_list *list = data;
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = page_query_read(input, ORDER_DESC, &list->query);
    }
    if (status == STATUS_OK) {
        status = take_filter(input, &list->filter);
    }
    if (status != STATUS_OK) {
        return status;
    }
    list->filter.order = list->query.order;
    list->query.filters_hash = hash_filter(input->request, &list->filter);
    return page_query_cursor(input, &list->query);
}

static bool add_row(void *data, const struct session_row *row)
{
    struct session_list *list = data;

    if (!page_begin_row(&list->page)) {
        return false;
    }
    render_session(&list->page.response.body, row, false);
    return page_end_row(&list->page);
}

static void answer_list(struct request *request, struct view *view, void *data)
{
    struct session_list *list = data;
    struct namespace_row ns;
    enum status status;

    if (!page_namespace(request, view, &ns)) {
        return;
    }
    page_begin(&list->page, &list->query);
    status = view_sessions(view, ns.id, &list->filter, &list->query.position, add_row, list);
    if (page_end(&list->page, &list->query, request, view, status)) {
        page_respond(&list->page, request, view);
    }
}

static void run_list(struct request *request, struct view *view)
{
    struct session_list list = {0};
    const struct page_list page_list = {.run = run_list,
                                        .read = read_list,
                                        .answer = answer_list,
                                        .query = &list.query,
                                        .list = &list};

    page_run_list(request, view, &page_list);
}

void sessions_list(struct request *request)
{
    run_list(request, NULL);
}
