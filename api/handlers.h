/* Every handler that the table in routes.c names: one file per noun.
 *
 * A handler answers exactly once, at once or later from the same thread (request.h). */
#ifndef HOLDFAST_API_HANDLERS_H
#define HOLDFAST_API_HANDLERS_H

struct request;

/* items.c: items, items/{key...} */
void items_list(struct request *request);
void items_delete_prefix(struct request *request);
void items_get(struct request *request);
void items_put(struct request *request);
void items_patch(struct request *request);
void items_post(struct request *request);
void items_delete(struct request *request);

/* sessions.c: sessions, sessions/{s}, sessions/{s}/touch */
void sessions_list(struct request *request);
void sessions_create(struct request *request);
void session_get(struct request *request);
void session_put(struct request *request);
void session_patch(struct request *request);
void session_delete(struct request *request);
void session_touch(struct request *request);

/* events.c: sessions/{s}/events */
void events_list(struct request *request);
void events_append(struct request *request);
void events_delete(struct request *request);

/* namespaces.c: /v1/namespaces, /v1/namespaces/{ns} */
void namespaces_list(struct request *request);
void namespace_get(struct request *request);
void namespace_put(struct request *request);
void namespace_patch(struct request *request);
void namespace_delete(struct request *request);

/* transactions.c: transactions */
void transactions_post(struct request *request);

/* cluster.c: /v1/cluster */
void cluster_get(struct request *request);

/* snapshot.c: /v1/snapshot */
void snapshot_get(struct request *request);

/* archives.c: /v1/archives, /v1/archives/{id}, /v1/archives/{id}/content */
void archives_list(struct request *request);
void archives_post(struct request *request);
void archive_get(struct request *request);
void archive_get_content(struct request *request);

/* members.c: /v1/cluster/members, /v1/cluster/members/{name}, /v1/cluster/transfer */
void members_post(struct request *request);
void member_patch(struct request *request);
void member_delete(struct request *request);
void transfer_post(struct request *request);

/* health.c: what concerns this node alone; needs neither leader nor state. */
void livez_get(struct request *request);
void readyz_get(struct request *request);
void metrics_get(struct request *request);
void problem_get(struct request *request);
void openapi_get(struct request *request);

#endif
