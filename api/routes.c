#include "api/handlers.h"
#include "api/router.h"

#define NS "/v1/namespaces/{ns}"

/* The busiest first: the table is searched from the top. */
const struct route routes[] = {
    {.pattern = NS "/items/{key...}",
     .get = items_get,
     .put = items_put,
     .post = items_post,
     .patch = items_patch,
     .delete = items_delete},
    {.pattern = NS "/sessions/{s}/events",
     .get = events_list,
     .post = events_append,
     .delete = events_delete},
    {.pattern = NS "/sessions/{s}",
     .get = session_get,
     .put = session_put,
     .patch = session_patch,
     .delete = session_delete},
    {.pattern = NS "/sessions/{s}/touch", .post = session_touch},
    {.pattern = NS "/sessions", .get = sessions_list, .post = sessions_create},
    {.pattern = NS "/items", .get = items_list, .delete = items_delete_prefix},
    {.pattern = NS "/transactions", .post = transactions_post},
    {.pattern = NS,
     .get = namespace_get,
     .put = namespace_put,
     .patch = namespace_patch,
     .delete = namespace_delete},
    {.pattern = "/v1/namespaces", .get = namespaces_list},
    {.pattern = "/v1/cluster", .get = cluster_get},
    {.pattern = "/v1/snapshot", .get = snapshot_get},
    {.pattern = "/v1/cluster/members", .post = members_post},
    {.pattern = "/v1/cluster/members/{name}", .patch = member_patch, .delete = member_delete},
    {.pattern = "/v1/cluster/transfer", .post = transfer_post},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = "/readyz", .get = readyz_get, .local = true},
    {.pattern = "/metrics", .get = metrics_get, .local = true},
    {.pattern = "/problems/{name}", .get = problem_get, .local = true},
    {.pattern = "/openapi.json", .get = openapi_get, .local = true},
    {.pattern = NULL},
};
