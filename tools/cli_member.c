/* holdfast member, transfer, drain: who belongs to the cluster, in which role, and who leads.
 *
 * Every change may be asked for again, so what takes longer than one request is asked for until it
 * is done, and what it waits for is told meanwhile. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/cli_run.h"

#define MEMBERS    "/v1/cluster/members"
#define AGAIN_MS   200
#define MAX_DETAIL 400

static const char *operand(const struct cli *cli, size_t i)
{
    return cli->options->operands[i];
}

static struct client_request member_request(const char *method, const char *name)
{
    struct client_request request = {.method = method};

    buffer_append_string(&request.path, MEMBERS "/");
    client_append_encoded(&request.path, slice_of_string(name));
    return request;
}

/* --- Until it is done --- */

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void)nanosleep(&pause, NULL); /* A shorter pause does no harm. */
}

/* Tell what it waits for, once for each thing. */
static void tell_progress(const json_t *answer, char told[MAX_DETAIL])
{
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    struct buffer text = BUFFER_EMPTY;

    if (detail == NULL || strncmp(detail, told, MAX_DETAIL - 1) == 0) {
        return;
    }
    (void)snprintf(told, MAX_DETAIL, "%s", detail); /* Cut is fine. */
    text_append_escaped(&text, slice_of_string(detail), TEXT_LINE);
    (void)fprintf(stderr, "agreed upon: %.*s\n", (int)text.size, (const char *)text.data);
    buffer_close(&text);
}

static bool is_under_way(const json_t *answer)
{
    return json_is_false(json_object_get(answer, "done"));
}

/* Send @request, which is closed, until what it asks for is done. *@answer is the last answer, and
 * the caller's; NULL if it had no body. */
static enum cli_exit change(struct cli *cli, struct client_request *request, json_t **answer)
{
    char told[MAX_DETAIL] = "";
    bool is_agreed = false;
    enum cli_exit code;

    *answer = NULL;
    for (;;) {
        struct client_answer got = {0};

        json_decref(*answer);
        *answer = NULL;
        code = client_send(cli->client, request, &got, &cli->error);
        /* A node that is asked to remove itself may be gone before it can say that it did. */
        if (code == CLI_NOT_FOUND && strcmp(request->method, "DELETE") == 0 &&
            (is_agreed || client_sent_again(cli->client))) {
            code = CLI_OK;
            break;
        }
        if (code != CLI_OK) {
            break;
        }
        *answer = json_loadb((const char *)got.body.data, got.body.size, 0, NULL);
        client_answer_close(&got);
        if (!is_under_way(*answer)) {
            break;
        }
        is_agreed = true;
        tell_progress(*answer, told);
        pause_ms(AGAIN_MS);
        if (!client_has_time(cli->client)) {
            code = CLI_UNAVAILABLE;
            break;
        }
    }
    if (code == CLI_UNAVAILABLE && is_agreed) {
        code =
            cli_fail(cli, CLI_UNAVAILABLE,
                     "it is agreed upon and goes on by itself, but is not done yet: %s; holdfast "
                     "status shows how far it is",
                     told);
    }
    client_request_close(request);
    return code;
}

/* The same, and print what was done. */
static enum cli_exit change_and_tell(struct cli *cli, struct client_request *request,
                                     const char *name, const char *what)
{
    json_t *answer;
    enum cli_exit code = change(cli, request, &answer);

    if (code == CLI_OK && cli->options->as_json && answer != NULL) {
        cli_print_json(cli, answer);
    } else if (code == CLI_OK && !cli->options->as_json) {
        text_append_escaped(&cli->out, slice_of_string(name), TEXT_LINE);
        buffer_append_format(&cli->out, " %s\n", what);
    }
    json_decref(answer);
    return code;
}

/* --- Members --- */

enum cli_exit run_member_add(struct cli *cli)
{
    const char *const *values = cli->options->values;
    struct client_request request = {.method = "POST"};
    json_t *body = json_object();

    if (values[CLI_PEER_ADDRESS] == NULL || values[CLI_API_ADDRESS] == NULL) {
        json_decref(body);
        return cli_fail(cli, CLI_USAGE,
                        "--peer-address and --api-address are needed: where the new node, which "
                        "was started with --join, listens");
    }
    (void)json_object_set_new(body, "name", json_string(operand(cli, 0)));
    (void)json_object_set_new(body, "peer_address", json_string(values[CLI_PEER_ADDRESS]));
    (void)json_object_set_new(body, "api_address", json_string(values[CLI_API_ADDRESS]));
    if (values[CLI_ZONE] != NULL) {
        (void)json_object_set_new(body, "zone", json_string(values[CLI_ZONE]));
    }
    if (values[CLI_ROLE] != NULL) {
        (void)json_object_set_new(body, "role", json_string(values[CLI_ROLE]));
    }
    buffer_append_string(&request.path, MEMBERS);
    cli_set_json(&request, body);
    return change_and_tell(cli, &request, operand(cli, 0),
                           "is a member; holdfast status shows when it has caught up");
}

static enum cli_exit remove_member(struct cli *cli, const char *name)
{
    struct client_request request = member_request("DELETE", name);

    if (cli_given(cli->options, CLI_FORCE)) {
        cli_add_query(&request, "force", "true");
    }
    return change_and_tell(cli, &request, name, "is no member any more");
}

enum cli_exit run_member_remove(struct cli *cli)
{
    return remove_member(cli, operand(cli, 0));
}

static enum cli_exit set_role(struct cli *cli, const char *name, const char *role)
{
    struct client_request request = member_request("PATCH", name);
    char what[64];

    cli_set_json(&request, json_pack("{s:s, s:b}", "role", role, "force",
                                     (int)cli_given(cli->options, CLI_FORCE)));
    (void)snprintf(what, sizeof what, "is a %s", role); /* Fits. */
    return change_and_tell(cli, &request, name, what);
}

enum cli_exit run_member_promote(struct cli *cli)
{
    return set_role(cli, operand(cli, 0), "voter");
}

enum cli_exit run_member_demote(struct cli *cli)
{
    const char *role = cli->options->values[CLI_ROLE];

    if (role != NULL && strcmp(role, "voter") == 0) {
        return cli_fail(cli, CLI_USAGE, "--role: a demoted member is a standby or a spare");
    }
    return set_role(cli, operand(cli, 0), role == NULL ? "standby" : role);
}

/* --- Replacing --- */

static const json_t *find_member(const json_t *cluster, const char *name)
{
    const json_t *members = json_object_get(cluster, "members");
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        const char *found = json_string_value(json_object_get(member, "name"));

        if (found != NULL && strcmp(found, name) == 0) {
            return member;
        }
    }
    return NULL;
}

static enum cli_exit get_cluster(struct cli *cli, json_t **cluster)
{
    struct client_request request = {.method = "GET"};

    buffer_append_string(&request.path, "/v1/cluster");
    return cli_send_for_json(cli, &request, cluster, NULL);
}

/* One that is well keeps its vote until the other has one; one that is not holds everything up, and
 * so goes first. */
enum cli_exit run_member_replace(struct cli *cli)
{
    const char *old = operand(cli, 0);
    const char *new = operand(cli, 1);
    bool is_well;
    json_t *cluster;
    enum cli_exit code = get_cluster(cli, &cluster);

    if (code != CLI_OK) {
        return code;
    }
    is_well = json_is_true(json_object_get(find_member(cluster, old), "healthy"));
    if (find_member(cluster, old) == NULL || find_member(cluster, new) == NULL) {
        code = cli_fail(cli, CLI_NOT_FOUND,
                        "\"%s\" is no member: holdfast member list shows all, and a new node joins "
                        "first (holdfastd --join)",
                        find_member(cluster, old) == NULL ? old : new);
    }
    json_decref(cluster);
    if (code == CLI_OK) {
        code = is_well ? set_role(cli, new, "voter") : remove_member(cli, old);
    }
    if (code == CLI_OK) {
        code = is_well ? remove_member(cli, old) : set_role(cli, new, "voter");
    }
    return code;
}

/* --- Leadership --- */

enum cli_exit run_transfer(struct cli *cli)
{
    const char *to = cli->options->values[CLI_TO];
    struct client_request request = {.method = "POST"};
    json_t *answer;
    enum cli_exit code;
    json_t *cluster;

    buffer_append_string(&request.path, "/v1/cluster/transfer");
    cli_set_json(&request, to == NULL ? json_object() : json_pack("{s:s}", "to", to));
    code = change(cli, &request, &answer);
    json_decref(answer);
    if (code == CLI_OK) {
        code = get_cluster(cli, &cluster);
    }
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        json_t *leader = json_pack("{s:O}", "leader", json_object_get(cluster, "leader"));

        cli_print_json(cli, leader);
        json_decref(leader);
    } else {
        const char *leader = json_string_value(json_object_get(cluster, "leader"));

        text_append_escaped(&cli->out, slice_of_string(leader == NULL ? "nobody" : leader),
                            TEXT_LINE);
        buffer_append_string(&cli->out, " leads\n");
    }
    json_decref(cluster);
    return CLI_OK;
}

enum cli_exit run_drain(struct cli *cli)
{
    bool drains = !cli_given(cli->options, CLI_UNDO);
    struct client_request request = member_request("PATCH", operand(cli, 0));

    cli_set_json(&request, json_pack("{s:b}", "drained", (int)drains));
    return change_and_tell(cli, &request, operand(cli, 0),
                           drains ? "is drained: it does not lead, until it is undrained (--undo) "
                                    "or started again"
                                  : "may lead again");
}
