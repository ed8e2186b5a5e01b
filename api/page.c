#include "api/page.h"

#include "api/cursor.h"
#include "api/params.h"
#include "api/render.h"

enum status page_query_read(struct input *input, enum list_order order, struct page_query *query)
{
    enum status status = param_limit(input, &query->limit);

    query->order = order;
    query->filters_hash = 0;
    query->position = BUFFER_EMPTY;
    return status == STATUS_OK ? param_order(input, &query->order) : status;
}

enum status page_query_cursor(struct input *input, struct page_query *query)
{
    struct slice text;

    if (input_parameter(input, "cursor", &text) &&
        cursor_decode(text, query->filters_hash, &query->position) != STATUS_OK) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "cursor",
                            "it is no cursor of a list with these filters");
    }
    return STATUS_OK;
}

void page_query_close(struct page_query *query)
{
    buffer_close(&query->position);
}

void page_begin(struct page *page, const struct page_query *query)
{
    memset(page, 0, sizeof(*page));
    page->limit = query->limit;
    buffer_append_string(&page->response.body, "{\"items\":[");
}

bool page_begin_row(struct page *page)
{
    if (page->n_rows == page->limit) {
        return false;
    }
    page->row_offset = page->response.body.size;
    if (page->n_rows > 0) {
        buffer_append_byte(&page->response.body, ',');
    }
    return true;
}

bool page_end_row(struct page *page)
{
    if (page->n_rows > 0 && page->response.body.size > LIMIT_PAGE_BYTES) {
        page->response.body.size = page->row_offset;
        return false;
    }
    page->n_rows++;
    return true;
}

bool page_end(struct page *page, const struct page_query *query, struct request *request,
              struct view *view, enum status status)
{
    struct buffer *text = &page->response.body;

    if (status != STATUS_OK) {
        response_close(&page->response);
        page_fail(request, view, status);
        return false;
    }
    buffer_append_string(text, "],\"next_cursor\":");
    if (query->position.size == 0) {
        buffer_append_string(text, "null");
        return true;
    }
    buffer_append_byte(text, '"');
    cursor_encode(buffer_slice(&query->position), query->filters_hash, text);
    buffer_append_byte(text, '"');
    return true;
}

void page_respond(struct page *page, struct request *request, struct view *view)
{
    buffer_append_byte(&page->response.body, '}');
    page->response.status = 200;
    render_revision(&page->response, view->state->revision);
    request_respond(request, &page->response);
}

void page_fail_with(struct request *request, struct view *view, enum problem problem,
                    const char *detail)
{
    struct response response = {0};

    problem_begin(&response, problem, "%s", detail);
    problem_end(&response);
    render_revision(&response, view->state->revision);
    request_respond(request, &response);
}

void page_fail(struct request *request, struct view *view, enum status status)
{
    switch (status) {
    case STATUS_NOT_FOUND:
        page_fail_with(request, view, PROBLEM_NOT_FOUND, "it does not exist, or has expired");
        break;
    case STATUS_CLOSED:
        page_fail_with(request, view, PROBLEM_DELETED,
                       "the session was deleted; its id can be used again a day later");
        break;
    case STATUS_INVALID:
        page_fail_with(request, view, PROBLEM_INVALID_FIELD, "the cursor leads nowhere");
        break;
    default:
        page_fail_with(request, view, PROBLEM_INTERNAL, "a record could not be read");
        break;
    }
}

void page_run_list(struct request *request, struct view *view, const struct page_list *list)
{
    struct input input;

    input_init(&input, request);
    if (list->read(&input, list->list) != STATUS_OK) {
        input_answer_refusal(&input);
    } else if (view == NULL) {
        reads_start(request, list->run);
    } else {
        list->answer(request, view, list->list);
    }
    page_query_close(list->query);
    input_close(&input);
}

bool page_namespace(struct request *request, struct view *view, struct namespace_row *row)
{
    enum status status = view_namespace(view, request->ns, row);

    if (status == STATUS_OK) {
        return true;
    }
    if (status == STATUS_NOT_FOUND) {
        page_fail_with(request, view, PROBLEM_NAMESPACE_NOT_FOUND,
                       "there is no such namespace; PUT makes one");
    } else {
        page_fail(request, view, status);
    }
    return false;
}
