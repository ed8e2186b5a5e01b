#include "api/cursor.h"
#include "api/handlers.h"
#include "api/operations.h"
#include "api/page.h"
#include "api/params.h"
#include "api/reads.h"
#include "api/render.h"
#include "api/write.h"
#include "storage/document.h"

#define BYTES_TYPE "application/octet-stream"

/* --- writes: from what the client asks for to operations --- */

/* What all operations on one item have: parameters among @names, the key, the conditions. */
static enum status begin_operation(struct input *input, const char *const *names,
                                   enum operation_kind kind, struct operation *operation)
{
    enum status status = input_allow(input, names);

    operation->kind = kind;
    if (status == STATUS_OK) {
        status = param_item_key(input, &operation->item.key);
    }
    if (status == STATUS_OK) {
        status = param_conditions(input, &operation->if_match, &operation->if_none_match);
    }
    return status == STATUS_OK ? param_no_epoch(input) : status;
}

/* ttl_ms and user_id. */
static enum status take_parameters(struct input *input, struct operation *operation)
{
    struct item_operation *item = &operation->item;
    enum status status = param_ttl(input, &item->ttl);

    if (status == STATUS_OK) {
        status = param_name(input, "user_id", &item->user_id.value);
    }
    item->user_id.kind = item->user_id.value.size > 0 ? FIELD_SET : FIELD_ABSENT;
    return status;
}

static enum status take_json_value(struct input *input, struct item_operation *item)
{
    const json_t *value;
    enum status status = input_value(input, &value);

    if (status != STATUS_OK) {
        return status;
    }
    item->content = CONTENT_JSON;
    item->value = input->is_operation ? input_compact(input, value) : input->request->body;
    return STATUS_OK;
}

static enum status take_value(struct input *input, struct item_operation *item)
{
    enum input_content content = input_content(input);
    enum status status = STATUS_OK;

    if (content == INPUT_BYTES) {
        item->content = CONTENT_BYTES;
        item->content_type = slice_of_string(BYTES_TYPE);
        item->value = input->is_operation ? input->bytes : input->request->body;
    } else if (content == INPUT_JSON || input->is_operation) {
        status = take_json_value(input, item);
    } else {
        return input_refuse(input, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
                            "the value must be application/json or " BYTES_TYPE);
    }
    if (status == STATUS_OK && item->value.size > LIMIT_ITEM_BYTES) {
        return input_refuse_body(input, PROBLEM_TOO_LARGE, "", "an item has at most %u bytes",
                                 LIMIT_ITEM_BYTES);
    }
    return status;
}

static const char *const value_parameters[] = {"ttl_ms", "user_id", NULL};
static const char *const no_parameters[] = {NULL};

enum status item_put_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, value_parameters, OPERATION_ITEM_PUT, operation);

    if (status == STATUS_OK) {
        status = take_parameters(input, operation);
    }
    return status == STATUS_OK ? take_value(input, &operation->item) : status;
}

enum status item_patch_operation(struct input *input, struct operation *operation)
{
    enum status status = begin_operation(input, value_parameters, OPERATION_ITEM_PATCH, operation);
    const json_t *patch;

    if (status == STATUS_OK) {
        status = take_parameters(input, operation);
    }
    if (status == STATUS_OK) {
        status = input_value(input, &patch);
    }
    if (status != STATUS_OK) {
        return status;
    }
    operation->item.content = CONTENT_JSON;
    operation->item.value = input_compact(input, patch);
    return STATUS_OK;
}

enum status item_delete_operation(struct input *input, struct operation *operation)
{
    return begin_operation(input, no_parameters, OPERATION_ITEM_DELETE, operation);
}

enum status item_check_operation(struct input *input, struct operation *operation)
{
    return begin_operation(input, no_parameters, OPERATION_ITEM_CHECK, operation);
}

enum status item_touch_operation(struct input *input, struct operation *operation)
{
    static const char *const names[] = {"touch", "ttl_ms", NULL};
    enum status status = begin_operation(input, names, OPERATION_ITEM_TOUCH, operation);
    bool is_touch;

    if (status == STATUS_OK) {
        status = param_flag(input, "touch", &is_touch);
    }
    if (status == STATUS_OK && !is_touch) {
        status = input_refuse(input, PROBLEM_INVALID_FIELD, "touch",
                              "POST to an item needs ?touch; PUT and PATCH write a value");
    }
    return status == STATUS_OK ? param_ttl(input, &operation->item.ttl) : status;
}

/* A prefix of item keys; empty if absent. */
static enum status take_prefix(struct input *input, struct slice *prefix)
{
    struct slice text;

    *prefix = slice_of(NULL, 0);
    if (!input_parameter(input, "prefix", &text)) {
        return STATUS_OK;
    }
    if (text.size > LIMIT_ITEM_KEY_BYTES || !document_is_utf8(text) ||
        (text.size > 0 && memchr(text.data, 0, text.size) != NULL)) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "prefix",
                            "a prefix has up to %u bytes of UTF-8 without NUL",
                            LIMIT_ITEM_KEY_BYTES);
    }
    *prefix = text;
    return STATUS_OK;
}

static enum status delete_prefix_operation(struct input *input, struct operation *operation)
{
    static const char *const names[] = {"prefix", NULL};
    enum status status = input_allow(input, names);

    operation->kind = OPERATION_ITEM_DELETE_PREFIX;
    if (status == STATUS_OK) {
        status = take_prefix(input, &operation->item.key);
    }
    if (status == STATUS_OK && operation->item.key.size == 0) {
        return input_refuse(input, PROBLEM_INVALID_FIELD, "prefix",
                            "a prefix is needed, and it must not be empty");
    }
    return status == STATUS_OK ? param_no_epoch(input) : status;
}

void items_put(struct request *request)
{
    write_request(request, item_put_operation, WRITE_ANSWER_ROW);
}

void items_patch(struct request *request)
{
    write_request(request, item_patch_operation, WRITE_ANSWER_ROW);
}

void items_post(struct request *request)
{
    write_request(request, item_touch_operation, WRITE_ANSWER_ROW);
}

void items_delete(struct request *request)
{
    write_request(request, item_delete_operation, WRITE_ANSWER_ROW);
}

void items_delete_prefix(struct request *request)
{
    write_request(request, delete_prefix_operation, WRITE_ANSWER_ROW);
}

/* --- GET of one item --- */

struct item_query {
    struct slice key;
    struct condition if_match;
    struct condition if_none_match;
};

static enum status read_item_query(struct input *input, struct item_query *query)
{
    static const char *const names[] = {"consistency", "min_revision", NULL};
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = param_item_key(input, &query->key);
    }
    return status == STATUS_OK ? param_conditions(input, &query->if_match, &query->if_none_match)
                               : status;
}

static bool names_revision(const struct condition *condition, uint64_t revision)
{
    bool found = condition->kind == CONDITION_ANY;

    for (uint32_t i = 0; i < condition->n_tags; i++) {
        found = found || condition->tags[i] == revision;
    }
    return found;
}

static void answer_item(struct request *request, struct view *view, const struct item_query *query,
                        const struct item_row *row)
{
    struct response response = {.status = 200};

    render_revision(&response, view->state->revision);
    if (query->if_match.kind != CONDITION_NONE &&
        !names_revision(&query->if_match, row->revision)) {
        problem_begin(&response, PROBLEM_PRECONDITION_FAILED, "If-Match does not hold");
        problem_number(&response, "revision", row->revision);
        problem_end(&response);
        request_respond(request, &response);
        return;
    }
    render_etag(&response, row->revision);
    render_expires_at(&response, row->expires_at_ms);
    if (query->if_none_match.kind != CONDITION_NONE &&
        names_revision(&query->if_none_match, row->revision)) {
        response.status = 304;
    } else {
        response.content_type = row->content == CONTENT_JSON ? "application/json" : BYTES_TYPE;
        buffer_append_slice(&response.body, row->value);
    }
    request_respond(request, &response);
}

static void look_up_item(struct request *request, struct view *view, const struct item_query *query)
{
    struct namespace_row ns;
    struct item_row row;
    enum status status;

    if (!page_namespace(request, view, &ns)) {
        return;
    }
    status = view_item(view, ns.id, query->key, &row);
    if (status == STATUS_OK) {
        answer_item(request, view, query, &row);
    } else {
        page_fail(request, view, status);
    }
}

/* Twice for a request: when it comes, with @view NULL, and when it may look. */
static void run_get(struct request *request, struct view *view)
{
    struct item_query query;
    struct input input;

    input_init(&input, request);
    if (read_item_query(&input, &query) != STATUS_OK) {
        input_answer_refusal(&input);
    } else if (view == NULL) {
        reads_start(request, run_get);
    } else {
        look_up_item(request, view, &query);
    }
    input_close(&input);
}

void items_get(struct request *request)
{
    run_get(request, NULL);
}

/* --- list --- */

struct item_list {
    struct page_query query;
    struct slice prefix;
    bool with_values;
    struct page page;
};

static enum status read_list(struct input *input, void *data)
{
    static const char *const names[] = {"prefix", "order",       "values",       "limit",
                                        "cursor", "consistency", "min_revision", NULL};
    struct item_list *list = data;
    struct cursor_filters filters = {0};
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = page_query_read(input, ORDER_ASC, &list->query);
    }
    if (status == STATUS_OK) {
        status = take_prefix(input, &list->prefix);
    }
    if (status == STATUS_OK) {
        status = param_flag(input, "values", &list->with_values);
    }
    if (status != STATUS_OK) {
        return status;
    }
    cursor_filters_add(&filters, slice_of_string("items"));
    cursor_filters_add(&filters, input->request->ns);
    cursor_filters_add(&filters, list->prefix);
    cursor_filters_add_number(&filters, list->query.order);
    list->query.filters_hash = cursor_filters_hash(&filters);
    return page_query_cursor(input, &list->query);
}

static bool add_row(void *data, const struct item_row *row)
{
    struct item_list *list = data;

    if (!page_begin_row(&list->page)) {
        return false;
    }
    render_item(&list->page.response.body, row, list->with_values);
    return page_end_row(&list->page);
}

static void answer_list(struct request *request, struct view *view, void *data)
{
    struct item_list *list = data;
    struct namespace_row ns;
    enum status status;

    if (!page_namespace(request, view, &ns)) {
        return;
    }
    page_begin(&list->page, &list->query);
    status = view_items(view, ns.id, list->prefix, list->query.order, &list->query.position,
                        add_row, list);
    if (page_end(&list->page, &list->query, request, view, status)) {
        page_respond(&list->page, request, view);
    }
}

static void run_list(struct request *request, struct view *view)
{
    struct item_list list = {0};
    const struct page_list page_list = {.run = run_list,
                                        .read = read_list,
                                        .answer = answer_list,
                                        .query = &list.query,
                                        .list = &list};

    page_run_list(request, view, &page_list);
}

void items_list(struct request *request)
{
    run_list(request, NULL);
}
