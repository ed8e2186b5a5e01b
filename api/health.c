/* What each node says about itself, without asking the cluster or the state. */
#include "api/archives.h"
#include "api/context.h"
#include "api/handlers.h"
#include "api/metrics.h"
#include "api/mirrors.h"
#include "api/problem.h"
#include "api/server.h"

static const char *const no_parameters[] = {NULL};

static void answer_text(struct request *request, const char *content_type, const char *text)
{
    struct response response = {.status = 200, .content_type = content_type};

    buffer_append_string(&response.body, text);
    request_respond(request, &response);
}

/* Says that the process turns its loop; who asks would restart it if it did not. */
void livez_get(struct request *request)
{
    if (request_allows_parameters(request, no_parameters)) {
        answer_text(request, NULL, "{\"live\":true}");
    }
}

static unsigned causes_of(uint32_t bits, const char **causes)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } known[] = {
        {NODE_CAUSE_FORMING, "forming"},     {NODE_CAUSE_NO_LEADER, "no-leader"},
        {NODE_CAUSE_BEHIND, "behind"},       {NODE_CAUSE_NEEDS_STATE, "needs-state"},
        {NODE_CAUSE_SLOW_DISK, "slow-disk"}, {NODE_CAUSE_CLOSING, "closing"},
        {NODE_CAUSE_JOINING, "joining"},
    };
    unsigned count = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (bits & known[i].bit) {
            causes[count++] = known[i].name;
        }
    }
    return count;
}

static unsigned warnings_of(struct node *node, uint32_t bits, const char **warnings)
{
    unsigned count = 0;

    if (bits & NODE_WARNING_STATE_DIFFERS) {
        warnings[count++] = "state-differs";
    }
    if (bits & NODE_WARNING_STATES_SPLIT) {
        warnings[count++] = "states-split";
    }
    if (archives_lag_ms(node) > ARCHIVES_LAG_WARNING_MS) {
        warnings[count++] = "archive-behind";
    }
    if (mirrors_lag_ms(node) > MIRRORS_LAG_WARNING_MS) {
        warnings[count++] = "mirror-behind";
    }
    return count;
}

static void answer_ready(struct request *request, const struct node_status *status)
{
    struct response response = {.status = 200};
    const char *warnings[4];
    unsigned n_warnings = warnings_of(request->thread->node, status->warnings, warnings);

    buffer_append_string(&response.body, "{\"ready\":true");
    for (unsigned i = 0; i < n_warnings; i++) {
        buffer_append_format(&response.body, "%s\"%s\"%s", i == 0 ? ",\"warnings\":[" : ",",
                             warnings[i], i + 1 == n_warnings ? "]" : "");
    }
    buffer_append_string(&response.body, "}");
    request_respond(request, &response);
}

void readyz_get(struct request *request)
{
    struct response response = {0};
    struct node_status status;
    const char *causes[32];
    unsigned n_causes;

    if (!request_allows_parameters(request, no_parameters)) {
        return;
    }
    node_status(request->thread->node, &status);
    if (status.causes == 0) {
        answer_ready(request, &status);
        return;
    }
    n_causes = causes_of(status.causes, causes);
    problem_begin(&response, PROBLEM_NOT_READY, "node %s cannot serve all requests yet",
                  request->thread->name);
    problem_texts(&response, "causes", causes, n_causes);
    problem_end(&response);
    request_respond(request, &response);
}

void metrics_get(struct request *request)
{
    struct response response = {.status = 200,
                                .content_type = "text/plain; version=0.0.4; charset=utf-8"};

    server_write_metrics(request->thread->server, &response.body);
    request_respond(request, &response);
}

/* A browser gets a page, all others JSON. */
void problem_get(struct request *request)
{
    struct response response = {.status = 200};
    enum problem problem = problem_find(request->captures[0]);
    struct slice accept;
    bool as_json;

    if (problem == PROBLEMS) {
        request_fail(request, PROBLEM_NOT_FOUND, "there is no problem of that name");
        return;
    }
    as_json = !request_header(request, "accept", &accept) ||
              memmem(accept.data, accept.size, "text/html", strlen("text/html")) == NULL;
    problem_page(problem, as_json, &response);
    request_respond(request, &response);
}
