/* 1. Somebody asks image_spools_request() for an image: one that is there, or one that is made,
 * which on_image() hears of.
 * 2. The file, or the part that was asked for, is the body. It is read as the client takes it.
 *
 * A request that names an image by If-Range or If-Match gets a part of that one, as long as it is
 * there: so a download can be continued. */
#include "api/images.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/context.h"
#include "api/problem.h"
#include "api/ranges.h"
#include "api/render.h"
#include "daemon/base/memory.h"

#define IMAGE_TYPE "application/octet-stream"

/* --- The body --- */

struct image_body {
    struct body_source source;
    struct image_spool *spool;
    uint64_t first; /* Where in the image the body begins. */
};

static enum status on_read(struct body_source *source, uint64_t offset, size_t size,
                           struct buffer *bytes)
{
    struct image_body *body = CONTAINER_OF(source, struct image_body, source);

    return image_spool_read(body->spool, body->first + offset, size, bytes, NULL);
}

static void on_close(struct body_source *source)
{
    struct image_body *body = CONTAINER_OF(source, struct image_body, source);

    image_spool_release(body->spool);
    free(body);
}

/* Takes the reference to @spool. */
static struct body_source *make_body(struct image_spool *spool, uint64_t first, uint64_t last)
{
    struct image_body *body = memory_new_zeroed(1, sizeof *body);

    body->source.size = last - first + 1;
    body->source.read = on_read;
    body->source.close = on_close;
    body->spool = spool;
    body->first = first;
    return &body->source;
}

/* --- The answer --- */

static struct slice tag_of(const struct image_spool *spool)
{
    return slice_of_string(image_spool_tag(spool));
}

static void add_headers(struct response *response, const struct image_spool *spool)
{
    const struct image_facts *facts = image_spool_facts(spool);

    response->is_cacheable = true;
    response->content_type = IMAGE_TYPE;
    response_header(response, "ETag", "\"%s\"", image_spool_tag(spool));
    response_header(response, "Cache-Control", "no-cache");
    response_header(response, "Accept-Ranges", "bytes");
    response_header(response, "Content-Disposition",
                    "attachment; filename=\"holdfast-%" PRIu64 ".image\"", facts->state.revision);
    render_revision(response, facts->state.revision);
}

/* The part of the image that is asked for; all of it unless If-Range, if there, names it. */
static struct range range_of(const struct request *request, const struct image_spool *spool)
{
    struct range whole = {.kind = RANGE_WHOLE};
    struct slice value;
    struct slice list;
    struct slice tag;
    bool is_weak;

    if (request->method != METHOD_GET || !request_header(request, "range", &value)) {
        return whole;
    }
    if (request_header(request, "if-range", &list) &&
        (!tag_next(&list, &tag, &is_weak) || is_weak || !slice_equals(tag, tag_of(spool)))) {
        return whole;
    }
    return range_parse(value, image_spool_totals(spool)->file_bytes);
}

/* Takes the reference to @spool. */
static void answer_part(struct request *request, struct image_spool *spool)
{
    uint64_t size = image_spool_totals(spool)->file_bytes;
    struct range range = range_of(request, spool);
    struct response response = {.status = 200};

    if (range.kind == RANGE_UNSATISFIABLE) {
        problem_begin(&response, PROBLEM_RANGE_NOT_SATISFIABLE, "the image has %" PRIu64 " bytes",
                      size);
        problem_end(&response);
        response_header(&response, "Content-Range", "bytes */%" PRIu64, size);
        image_spool_release(spool);
        request_respond(request, &response);
        return;
    }
    add_headers(&response, spool);
    if (range.kind == RANGE_PART) {
        response.status = 206;
        response_header(&response, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                        range.first, range.last, size);
        response.source = make_body(spool, range.first, range.last);
    } else {
        response.source = make_body(spool, 0, size - 1);
    }
    request_respond(request, &response);
}

/* Takes the reference to @spool. */
static void answer(struct request *request, struct image_spool *spool)
{
    struct response response = {.status = 304};
    struct slice list;

    if (request_header(request, "if-match", &list) && !tag_is_listed(list, tag_of(spool), false)) {
        problem_begin(&response, PROBLEM_PRECONDITION_FAILED,
                      "the image that If-Match names is not there any more");
        problem_number(&response, "revision", image_spool_facts(spool)->state.revision);
        problem_end(&response);
    } else if (request_header(request, "if-none-match", &list) &&
               tag_is_listed(list, tag_of(spool), true)) {
        add_headers(&response, spool);
    } else {
        answer_part(request, spool);
        return;
    }
    image_spool_release(spool);
    request_respond(request, &response);
}

static void answer_failure(struct request *request, enum status status, const struct error *error)
{
    switch (status) {
    case STATUS_DISK_FULL:
        request_fail(request, PROBLEM_STORAGE_FULL, "%s", error->text);
        break;
    case STATUS_BUSY:
        request_fail(request, PROBLEM_OVERLOADED, "%s", error->text);
        break;
    case STATUS_CANCELED: /* The client is gone. */
    case STATUS_CLOSED:
        request_fail(request, PROBLEM_NOT_READY, "the node is shutting down");
        break;
    case STATUS_NOT_FOUND:
        request_fail(request, PROBLEM_NOT_FOUND, "%s", error->text);
        break;
    case STATUS_IO: /* Of a network or a server, mostly; a disk that fails ends the node. */
    case STATUS_TIMEOUT:
    case STATUS_PERMISSION:
        request_fail(request, PROBLEM_NOT_READY, "the image could not be read: %s", error->text);
        break;
    default:
        request_fail(request, PROBLEM_INTERNAL, "the image could not be made: %s", error->text);
    }
}

/* --- Waiting for an image --- */

static void finish(struct images_waiting *waiting)
{
    struct request *request = waiting->request;

    if (waiting->asked.status == STATUS_OK) {
        answer(request, waiting->asked.spool);
    } else {
        answer_failure(request, waiting->asked.status, &waiting->asked.error);
    }
}

static void on_image(struct message *message)
{
    struct images_waiting *waiting = CONTAINER_OF(message, struct images_waiting, asked.message);

    waiting->request->thread->outstanding--;
    finish(waiting);
}

static void on_gone(struct request *request)
{
    struct images_waiting *waiting = request->state;

    image_spools_cancel(waiting->spools, &waiting->asked);
}

/* The image that the client has a part of already, or NULL. */
static struct image_spool *find_named(struct request *request, struct image_spools *spools,
                                      const char *source)
{
    struct slice list;
    struct slice tag;
    bool is_weak;

    if (!request_header(request, "if-range", &list) &&
        !request_header(request, "if-match", &list)) {
        return NULL;
    }
    return tag_next(&list, &tag, &is_weak) && !is_weak ? image_spools_find(spools, source, tag)
                                                       : NULL;
}

struct images_waiting *images_wait_for(struct request *request, struct image_spools *spools)
{
    struct images_waiting *waiting = memory_new_zeroed(1, sizeof *waiting);

    waiting->request = request;
    waiting->spools = spools;
    waiting->asked.message.deliver = on_image;
    waiting->asked.home = &request->thread->mailbox;
    request->state = waiting; /* Released with the request. */
    return waiting;
}

void images_ask(struct images_waiting *waiting)
{
    struct request *request = waiting->request;

    if (image_spools_request(waiting->spools, &waiting->asked)) {
        finish(waiting);
        return;
    }
    request->thread->outstanding++;
    request->on_gone = on_gone;
}

bool images_answer_named(struct request *request, struct image_spools *spools, const char *source)
{
    struct image_spool *spool = find_named(request, spools, source);

    if (spool != NULL) {
        answer(request, spool);
    }
    return spool != NULL;
}
