/* Lists: the rows of one page, and where the next one begins; and what all reads answer alike. */
#ifndef HOLDFAST_API_PAGE_H
#define HOLDFAST_API_PAGE_H

#include "api/input.h"
#include "api/reads.h"
#include "storage/view.h"

/* What every list can be asked for. */
struct page_query {
    unsigned limit;
    enum list_order order;
    uint64_t filters_hash;  /* Of what the cursor must agree with. */
    struct buffer position; /* From the cursor; empty at the start. */
};

/* Read limit and order, whose default is @order. Then the caller collects its filters. */
MUST_USE enum status page_query_read(struct input *input, enum list_order order,
                                     struct page_query *query);
/* Read the cursor, once filters_hash is known. */
MUST_USE enum status page_query_cursor(struct input *input, struct page_query *query);
void page_query_close(struct page_query *query);

/* A page under construction, in the body of a response. */
struct page {
    struct response response;
    unsigned limit;
    unsigned n_rows;
    size_t row_offset;
};

void page_begin(struct page *page, const struct page_query *query);
/* False if the page is full: the row is not part of it. Else the row's text is appended to
 * page->response.body, and page_end_row() may find the page too large for it: the same. */
bool page_begin_row(struct page *page);
bool page_end_row(struct page *page);
/* Close the list that was filled with @status: members may follow, then page_respond(). False if
 * the list failed, which is answered as page_fail() does. */
MUST_USE bool page_end(struct page *page, const struct page_query *query, struct request *request,
                       struct view *view, enum status status);
void page_respond(struct page *page, struct request *request, struct view *view);

/* A list of one noun, for page_run_list(). */
struct page_list {
    reads_serve_cb run; /* The function that calls page_run_list(). */
    enum status (*read)(struct input *input, void *list);
    void (*answer)(struct request *request, struct view *view, void *list);
    struct page_query *query; /* In the list. */
    void *list;               /* Zeroed: the noun's own. */
};

/* Twice for a request: when it comes, with @view NULL, and when it may look. What the request asks
 * for is read each time, as the list is on the stack. */
void page_run_list(struct request *request, struct view *view, const struct page_list *list);

/* The request's namespace; false if that is answered with 404. */
bool page_namespace(struct request *request, struct view *view, struct namespace_row *row);

/* Answer what went wrong while reading: 404, 410 or 500, with the revision that was read. */
void page_fail(struct request *request, struct view *view, enum status status);
/* Answer a problem with the revision that was read. */
void page_fail_with(struct request *request, struct view *view, enum problem problem,
                    const char *detail);

#endif
