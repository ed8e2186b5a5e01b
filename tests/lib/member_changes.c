#include "tests/lib/member_changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"

#define EXIT_REMOVED 4 /* Of the daemon, in docs/operations.md. */

/* The node's own word on a member: its role, "" if there is no such member; copied to @role. False
 * if the node did not answer. */
static bool role_of(const struct cluster_node *asked, const char *name, char role[16])
{
    json_t *view = cluster_view(asked);
    const json_t *members = json_object_get(view, "members");
    size_t i;

    role[0] = '\0';
    for (i = 0; i < json_array_size(members); i++) {
        const json_t *member = json_array_get(members, i);

        const char *found = json_string_value(json_object_get(member, "name"));

        if (found != NULL && strcmp(found, name) == 0) {
            (void)snprintf(role, 16, "%s", json_string_value(json_object_get(member, "role")));
        }
    }
    json_decref(view);
    return members != NULL;
}

struct cluster_node *member_that_lives(struct cluster *cluster, unsigned except)
{
    unsigned i;

    for (i = 0; i < cluster->n_nodes; i++) {
        struct cluster_node *node = &cluster->nodes[i];

        if (i != except && !atomic_load(&node->is_absent) && process_is_alive(&node->process)) {
            return node;
        }
    }
    fail_msg("no node is there");
    return NULL;
}

struct role_wait {
    struct cluster *cluster;
    const char *name;
    const char *role;
    unsigned not_asked;
};

/* By the word of every node that is there. */
static bool all_say_role(void *data)
{
    struct role_wait *wait = data;
    char role[16];
    unsigned i;

    for (i = 0; i < wait->cluster->n_nodes; i++) {
        struct cluster_node *node = &wait->cluster->nodes[i];

        if (i != wait->not_asked && !atomic_load(&node->is_absent) &&
            process_is_alive(&node->process) &&
            (!role_of(node, wait->name, role) || strcmp(role, wait->role) != 0)) {
            return false;
        }
    }
    return true;
}

void member_wait_role(struct cluster *cluster, unsigned node, const char *role)
{
    struct role_wait wait = {.cluster = cluster,
                             .name = cluster->nodes[node].name,
                             .role = role,
                             .not_asked = role[0] == '\0' ? node : CLUSTER_NOBODY};

    if (!wait_until(all_say_role, &wait, CHANGE_MS)) {
        fail_msg("n%u did not become \"%s\" for all: see %s", node + 1, role, cluster->directory);
    }
}

static bool is_done(unsigned status)
{
    return status >= 200 && status < 300;
}

/* To DELETE what was deleted already: its name is no member's any more. */
static bool is_gone(const char *method, unsigned status)
{
    return strcmp(method, "DELETE") == 0 && status == 404;
}

void member_change_again(struct cluster *cluster, unsigned except, const char *method,
                         const char *target, const char *body, bool was_asked)
{
    uint64_t end = now_ms() + CHANGE_MS;
    struct http_response response = {0};
    enum http_outcome outcome;
    bool done;

    do {
        struct http_client client = cluster_client(member_that_lives(cluster, except));

        outcome = http_call(&client, &response, method, target, NULL, body);
        http_client_close(&client);
        done = outcome == HTTP_ANSWERED &&
               (is_done(response.status) || (was_asked && is_gone(method, response.status)));
        was_asked = true;
        if (!done) {
            pause_ms(50);
        }
    } while (!done && now_ms() < end);
    if (!done) {
        fail_msg("%s %s: %u %.300s (see %s)", method, target, response.status,
                 outcome == HTTP_ANSWERED ? (const char *)response.body.data : "",
                 cluster->directory);
    }
    http_response_close(&response);
}

void member_change(struct cluster *cluster, unsigned except, const char *method, const char *target,
                   const char *body)
{
    member_change_again(cluster, except, method, target, body, false);
}

void member_set_role(struct cluster *cluster, unsigned node, const char *role)
{
    char target[64];
    char body[64];

    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", cluster->nodes[node].name);
    (void)snprintf(body, sizeof body, "{\"role\":\"%s\"}", role);
    member_change(cluster, CLUSTER_NOBODY, "PATCH", target, body);
}

void member_join(struct cluster *cluster, unsigned node)
{
    assert_true(cluster_start_node(cluster, node));
    if (!cluster_wait_node_ready(cluster, node, CLUSTER_READY_MS)) {
        fail_msg("n%u did not get ready: see %s", node + 1, cluster->directory);
    }
    atomic_store(&cluster->nodes[node].is_absent, false);
}

void member_forget(struct cluster *cluster, unsigned node)
{
    char target[64];

    (void)snprintf(target, sizeof target, "/v1/cluster/members/%s", cluster->nodes[node].name);
    atomic_store(&cluster->nodes[node].is_absent, true);
    member_change(cluster, node, "DELETE", target, NULL);
    member_wait_role(cluster, node, "");
}

void member_expect_removed(struct cluster *cluster, unsigned node)
{
    struct process *process = &cluster->nodes[node].process;

    if (!process_wait(process, CHANGE_MS) || !process_exited_with(process, EXIT_REMOVED)) {
        fail_msg("n%u was removed and did not end for that: see %s", node + 1, cluster->directory);
    }
}

void member_remove(struct cluster *cluster, unsigned node)
{
    member_forget(cluster, node);
    member_expect_removed(cluster, node);
}

void member_wipe(struct cluster_node *node)
{
    assert_true(remove_tree(node->data_directory));
    assert_int_equal(mkdir(node->data_directory, 0700), 0);
}

void member_join_anew(struct cluster *cluster, unsigned node)
{
    const struct cluster_node *other = member_that_lives(cluster, node);
    struct cluster_node *joiner = &cluster->nodes[node];

    member_wipe(joiner);
    (void)snprintf(joiner->join, sizeof joiner->join, "http://%s:%u", other->address,
                   other->api_port);
    member_join(cluster, node);
    member_wait_role(cluster, node, "voter");
}
