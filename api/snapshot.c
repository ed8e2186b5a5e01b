/* GET /v1/snapshot: an image of the whole state, from a file that is made for it.
 *
 * 1. A read as any other finds out which index this node must have executed, and waits for that.
 * 2. image_spools_request() gives an image of that index or a later one: one that is there, or one
 *    that is made, which on_image() hears of.
 * 3. The file, or the part that was asked for, is the body. It is read as the client takes it.
 *
 * A request that names an image by If-Range or If-Match gets a part of that one, as long as it is
 * there, however far the state has gone on: so a download can be continued. */
#include "api/context.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/ranges.h"
#include "api/reads.h"
#include "api/render.h"
#include "daemon/base/memory.h"
#include "storage/image_spool.h"

#include <inttypes.h>
#include <stdlib.h>

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
    default:
        request_fail(request, PROBLEM_INTERNAL, "the image could not be made: %s",
                     status_text(status));
    }
}

/* --- Waiting for an image --- */

struct waiting {
    struct image_spool_request asked;
    struct request *request;
};

static void finish(struct waiting *waiting)
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
    struct waiting *waiting = CONTAINER_OF(message, struct waiting, asked.message);

    waiting->request->thread->outstanding--;
    finish(waiting);
}

static void on_gone(struct request *request)
{
    struct waiting *waiting = request->state;

    image_spools_cancel(node_spools(request->thread->node), &waiting->asked);
}

static bool copy_cluster_id(struct node *node, char cluster_id[IMAGE_CLUSTER_BYTES + 1])
{
    struct node_status *status = memory_new(sizeof *status); /* Large for a stack. */
    bool is_formed;

    node_status(node, status);
    is_formed = status->cluster_id[0] != '\0';
    memcpy(cluster_id, status->cluster_id, IMAGE_CLUSTER_BYTES + 1);
    free(status);
    return is_formed;
}

/* The state may be looked at. */
static void on_view(struct request *request, struct view *view)
{
    struct waiting *waiting = memory_new_zeroed(1, sizeof *waiting);
    struct api_thread *thread = request->thread;

    waiting->request = request;
    waiting->asked.message.deliver = on_image;
    waiting->asked.home = &thread->mailbox;
    waiting->asked.min_index = view->state->applied_index;
    request->state = waiting; /* Released with the request. */
    if (!copy_cluster_id(thread->node, waiting->asked.cluster_id)) {
        request_fail(request, PROBLEM_NOT_READY, "the cluster is not formed yet");
        return;
    }
    if (image_spools_request(node_spools(thread->node), &waiting->asked)) {
        finish(waiting);
        return;
    }
    thread->outstanding++;
    request->on_gone = on_gone;
}

/* The image that the client has a part of already, or NULL. */
static struct image_spool *find_named(struct request *request)
{
    struct slice list;
    struct slice tag;
    bool is_weak;

    if (!request_header(request, "if-range", &list) &&
        !request_header(request, "if-match", &list)) {
        return NULL;
    }
    return tag_next(&list, &tag, &is_weak) && !is_weak
               ? image_spools_find(node_spools(request->thread->node), tag)
               : NULL;
}

void snapshot_get(struct request *request)
{
    static const char *const names[] = {"consistency", "min_revision", NULL};
    struct image_spool *named;

    if (!request_allows_parameters(request, names)) {
        return;
    }
    named = find_named(request);
    if (named != NULL) {
        answer(request, named);
    } else {
        reads_start(request, on_view);
    }
}
