/* GET /v1/snapshot: an image of the whole state, from a file that is made for it.
 *
 * 1. A read as any other finds out which index this node must have executed, and waits for that.
 * 2. An image of that index or a later one is the answer: see images.c. */
#include <stdlib.h>

#include "api/context.h"
#include "api/handlers.h"
#include "api/images.h"
#include "api/problem.h"
#include "api/reads.h"
#include "daemon/base/memory.h"

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
    struct node *node = request->thread->node;
    struct images_waiting *waiting = images_wait_for(request, node_spools(node));

    waiting->asked.min_index = view->state->applied_index;
    if (copy_cluster_id(node, waiting->asked.cluster_id)) {
        images_ask(waiting);
    } else {
        request_fail(request, PROBLEM_NOT_READY, "the cluster is not formed yet");
    }
}

void snapshot_get(struct request *request)
{
    static const char *const names[] = {"consistency", "min_revision", NULL};

    if (request_allows_parameters(request, names) &&
        !images_answer_named(request, node_spools(request->thread->node), "")) {
        reads_start(request, on_view);
    }
}
