#include "api/cursor.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "api/page.h"
#include "api/params.h"
#include "api/reads.h"
#include "api/render.h"
#include "api/write.h"

/* --- writes: from what the client asks for to operations --- */

/* The router has checked the name. */
static enum status begin_operation(struct input *input, enum operation_kind kind,
                                   struct operation *operation)
{
    static const char *const names[] = {NULL};
    enum status status = input_allow(input, names);

    operation->kind = kind;
    operation->ns.name = input->request->ns;
    return status == STATUS_OK
               ? param_conditions(input, &operation->if_match, &operation->if_none_match)
               : status;
}

static enum status put_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, OPERATION_NAMESPACE_PUT, operation);
    const json_t *object;

    if (status == STATUS_OK) {
        status = input_object(input, true, &object);
    }
    return status == STATUS_OK ? fields_namespace(input, object, FIELDS_PUT, &operation->ns)
                               : status;
}

static enum status patch_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, OPERATION_NAMESPACE_PATCH, operation);
    const json_t *object;

    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    return status == STATUS_OK ? fields_namespace(input, object, FIELDS_PATCH, &operation->ns)
                               : status;
}

static enum status delete_operation(struct input *input, struct operation *operation)
{
    return begin_operation(input, OPERATION_NAMESPACE_DELETE, operation);
}

void namespace_put(struct request *request)
{
    write_request(request, put_operation, WRITE_ANSWER_ROW);
}

void namespace_patch(struct request *request)
{
    write_request(request, patch_operation, WRITE_ANSWER_ROW);
}

void namespace_delete(struct request *request)
{
    write_request(request, delete_operation, WRITE_ANSWER_ROW);
}

/* --- GET of one --- */

static void look_up_namespace(struct request *request, struct view *view)
{
    struct response response = {.status = 200};
    struct namespace_row row;

    if (!page_namespace(request, view, &row)) {
        return;
    }
    render_revision(&response, view->state->revision);
    render_etag(&response, row.revision);
    render_namespace(&response.body, &row);
    request_respond(request, &response);
}

void namespace_get(struct request *request)
{
    static const char *const names[] = {"consistency", "min_revision", NULL};

    if (request_allows_parameters(request, names)) {
        reads_start(request, look_up_namespace);
    }
}

/* --- list --- */

struct namespace_list {
    struct page_query query;
    struct page page;
};

static enum status read_list(struct input *input, void *data)
{
    static const char *const names[] = {"order",       "limit",        "cursor",
                                        "consistency", "min_revision", NULL};
    struct namespace_list *list = data;
    struct cursor_filters filters = {0};
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = page_query_read(input, ORDER_DESC, &list->query);
    }
    if (status != STATUS_OK) {
        return status;
    }
    cursor_filters_add(&filters, slice_of_string("namespaces"));
    cursor_filters_add_number(&filters, list->query.order);
    list->query.filters_hash = cursor_filters_hash(&filters);
    return page_query_cursor(input, &list->query);
}

static bool add_row(void *data, const struct namespace_row *row)
{
    struct namespace_list *list = data;

    if (!page_begin_row(&list->page)) {
        return false;
    }
    render_namespace(&list->page.response.body, row);
    return page_end_row(&list->page);
}

static void answer_list(struct request *request, struct view *view, void *data)
{
    struct namespace_list *list = data;
    enum status status;

    page_begin(&list->page, &list->query);
    status = view_namespaces(view, list->query.order, &list->query.position, add_row, list);
    if (page_end(&list->page, &list->query, request, view, status)) {
        page_respond(&list->page, request, view);
    }
}

static void run_list(struct request *request, struct view *view)
{
    struct namespace_list list = {0};
    const struct page_list page_list = {.run = run_list,
                                        .read = read_list,
                                        .answer = answer_list,
                                        .query = &list.query,
                                        .list = &list};

    page_run_list(request, view, &page_list);
}

void namespaces_list(struct request *request)
{
    run_list(request, NULL);
}
