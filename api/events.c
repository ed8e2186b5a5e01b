#include "api/cursor.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "api/operations.h"
#include "api/page.h"
#include "api/params.h"
#include "api/reads.h"
#include "api/render.h"
#include "api/write.h"

/* --- writes: from what the client asks for to operations --- */

static enum status take_headers(struct input *input, struct operation *operation)
{
    enum status status = param_conditions(input, &operation->if_match, &operation->if_none_match);

    return status == STATUS_OK ? param_no_epoch(input) : status;
}

enum status events_append_operation(struct input *input, struct operation *operation)
{
    static const char *const names[] = {NULL};
    enum status status = input_allow(input, names);
    const json_t *object;

    operation->kind = OPERATION_EVENTS_APPEND;
    if (status == STATUS_OK) {
        status = param_session_id(input, &operation->append.session_id);
    }
    if (status == STATUS_OK) {
        status = take_headers(input, operation);
    }
    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    return status == STATUS_OK ? fields_append(input, object, &operation->append) : status;
}

/* after_seq rewinds, before_seq trims: exactly one of them. */
static enum status take_bound(struct input *input, struct trim_operation *trim)
{
    bool has_before;
    enum status status =
        param_number(input, "after_seq", 0, UINT64_MAX, &trim->seq, &trim->is_rewind);

    if (status == STATUS_OK) {
        status = param_number(input, "before_seq", 0, UINT64_MAX, &trim->seq, &has_before);
    }
    if (status == STATUS_OK && trim->is_rewind == has_before) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "after_seq",
                            "exactly one of after_seq (rewind) and before_seq (trim) is needed");
    }
    return status;
}

enum status events_delete_operation(struct input *input, struct operation *operation)
{
    static const char *const names[] = {"after_seq", "before_seq", "expected_seq", NULL};
    struct trim_operation *trim = &operation->trim;
    enum status status = input_allow(input, names);

    operation->kind = OPERATION_EVENTS_DELETE;
    if (status == STATUS_OK) {
        status = param_session_id(input, &trim->session_id);
    }
    if (status == STATUS_OK) {
        status = take_bound(input, trim);
    }
    if (status == STATUS_OK) {
        status = param_number(input, "expected_seq", 0, UINT64_MAX, &trim->expected_seq,
                              &trim->has_expected_seq);
    }
    return status == STATUS_OK ? take_headers(input, operation) : status;
}

void events_append(struct request *request)
{
    write_request(request, events_append_operation, WRITE_ANSWER_ROW);
}

void events_delete(struct request *request)
{
    write_request(request, events_delete_operation, WRITE_ANSWER_ROW);
}

/* --- list --- */

struct event_list {
    struct page_query query;
    struct slice session_id;
    uint64_t after_seq;
    uint64_t before_seq;
    struct page page;
};

/* The stream is not there yet: say so, rather than send a page that the client cannot read. */
static enum status refuse_stream(struct input *input)
{
    struct slice accept;

    if (!input_header(input, "Accept", &accept) || accept.size == 0 ||
        memmem(accept.data, accept.size, "text/event-stream", 17) == NULL ||
        memmem(accept.data, accept.size, "json", 4) != NULL ||
        memmem(accept.data, accept.size, "*/*", 3) != NULL) {
        return STATUS_OK;
    }
    return input_refuse(input, PROBLEM_INVALID_FIELD, "Accept",
                        "events are served as application/json only in this version");
}

static uint64_t hash_list(const struct request *request, const struct event_list *list)
{
    struct cursor_filters filters = {0};

    cursor_filters_add(&filters, slice_of_string("events"));
    cursor_filters_add(&filters, request->ns);
    cursor_filters_add(&filters, list->session_id);
    cursor_filters_add_number(&filters, list->after_seq);
    cursor_filters_add_number(&filters, list->before_seq);
    cursor_filters_add_number(&filters, list->query.order);
    return cursor_filters_hash(&filters);
}

static enum status read_list(struct input *input, void *data)
{
    static const char *const names[] = {"after_seq", "before_seq",  "order",        "limit",
                                        "cursor",    "consistency", "min_revision", NULL};
    struct event_list *list = data;
    enum status status = input_allow(input, names);
    bool is_given;

    list->before_seq = UINT64_MAX;
    if (status == STATUS_OK) {
        status = param_session_id(input, &list->session_id);
    }
    if (status == STATUS_OK) {
        status = refuse_stream(input);
    }
    if (status == STATUS_OK) {
        status = param_number(input, "after_seq", 0, UINT64_MAX, &list->after_seq, &is_given);
    }
    if (status == STATUS_OK) {
        status = param_number(input, "before_seq", 0, UINT64_MAX, &list->before_seq, &is_given);
    }
    if (status == STATUS_OK) {
        status = page_query_read(input, ORDER_ASC, &list->query);
    }
    if (status != STATUS_OK) {
        return status;
    }
    list->query.filters_hash = hash_list(input->request, list);
    return page_query_cursor(input, &list->query);
}

static bool add_row(void *data, const struct event_row *row)
{
    struct event_list *list = data;

    if (!page_begin_row(&list->page)) {
        return false;
    }
    render_event(&list->page.response.body, row);
    return page_end_row(&list->page);
}

static enum status fill_page(struct view *view, const struct session_row *session,
                             struct event_list *list)
{
    page_begin(&list->page, &list->query);
    if (list->before_seq == 0) {
        return STATUS_OK; /* No event comes before 0, and storage takes it for "no bound". */
    }
    return view_events(view, session, list->after_seq, list->before_seq, list->query.order,
                       &list->query.position, add_row, list);
}

static void answer_list(struct request *request, struct view *view, void *data)
{
    struct event_list *list = data;
    struct namespace_row ns;
    struct session_row session;
    enum status status;

    if (!page_namespace(request, view, &ns)) {
        return;
    }
    status = view_session(view, ns.id, list->session_id, &session);
    if (status == STATUS_OK) {
        status = fill_page(view, &session, list);
    }
    if (!page_end(&list->page, &list->query, request, view, status)) {
        return;
    }
    buffer_append_string(&list->page.response.body, ",\"last_seq\":");
    render_number(&list->page.response.body, session.last_seq);
    page_respond(&list->page, request, view);
}

static void run_list(struct request *request, struct view *view)
{
    struct event_list list = {0};
    const struct page_list page_list = {.run = run_list,
                                        .read = read_list,
                                        .answer = answer_list,
                                        .query = &list.query,
                                        .list = &list};

    page_run_list(request, view, &page_list);
}

void events_list(struct request *request)
{
    run_list(request, NULL);
}
