/* holdfast status: who is there, who leads, who lags, and what to worry about. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli_progress.h"
#include "tools/cli_run.h"

/* A member so many entries behind is worth a word. */
#define LAG_WARNING            1000
#define ARCHIVE_LAG_WARNING_MS 60000 /* Of the mirror too. */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static json_int_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool is_leader(const json_t *cluster, const json_t *member)
{
    return text_of(member, "name")[0] != '\0' &&
           strcmp(text_of(cluster, "leader"), text_of(member, "name")) == 0;
}

static void add_contact(struct table *table, const json_t *member)
{
    const json_t *contact = json_object_get(member, "last_contact_ms");
    json_int_t ms = json_integer_value(contact);

    if (!json_is_integer(contact)) {
        table_add_string(table, "never");
    } else if (ms < 10000) {
        table_add_format(table, "%" JSON_INTEGER_FORMAT " ms ago", ms);
    } else {
        table_add_format(table, "%" JSON_INTEGER_FORMAT " s ago", ms / 1000);
    }
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static void add_state(struct table *table, const json_t *member)
{
    bool is_leaving = strcmp(text_of(member, "wanted"), "removed") == 0;

    table_add_format(table, "%s%s%s%s", is_true(member, "healthy") ? "healthy" : "NOT HEALTHY",
                     is_true(member, "needs_state") ? ", waits for state" : "",
                     is_true(member, "drained") ? ", drained" : "",
                     is_leaving ? ", being removed" : "");
}

static void add_member(struct table *table, const json_t *cluster, const json_t *member)
{
    cli_add_cell(table, member, "name");
    if (is_leader(cluster, member)) {
        table_add_string(table, "leader");
    } else {
        cli_add_cell(table, member, "role");
    }
    add_state(table, member);
    cli_add_cell(table, member, "lag");
    add_contact(table, member);
    cli_add_cell(table, member, "api_address");
    cli_add_cell(table, member, "peer_address");
    cli_add_cell(table, member, "zone");
    cli_add_cell(table, member, "version");
}

static void print_line(struct cli *cli, const char *name, const json_t *object, const char *member)
{
    struct buffer text = BUFFER_EMPTY;
    const json_t *value = json_object_get(object, member);

    buffer_append_format(&cli->out, "%-9s ", name);
    if (json_is_integer(value)) {
        buffer_append_format(&cli->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        buffer_append_string(&text, json_is_string(value) ? json_string_value(value) : "none");
        text_append_escaped(&cli->out, buffer_slice(&text), TEXT_LINE);
    }
    buffer_append_byte(&cli->out, '\n');
    buffer_close(&text);
}

static void warn_in_words(struct cli *cli, const json_t *member, struct slice what)
{
    buffer_append_string(&cli->out, "warning: ");
    text_append_escaped(&cli->out, slice_of_string(text_of(member, "name")), TEXT_LINE);
    buffer_append_byte(&cli->out, ' ');
    text_append_escaped(&cli->out, what, TEXT_LINE);
    buffer_append_byte(&cli->out, '\n');
}

static void warn(struct cli *cli, const json_t *member, const char *what)
{
    warn_in_words(cli, member, slice_of_string(what));
}

/* "receives the state of n2: 10.0 MiB of 100.0 MiB, 5.0 MiB/s, 18 s left" */
static void warn_of_state(struct cli *cli, const json_t *member)
{
    const json_t *receiving = json_object_get(member, "receiving");
    struct buffer text = BUFFER_EMPTY;

    if (!json_is_object(receiving)) {
        warn(cli, member,
             "waits for another member's state: the leader's log does not reach back to what it "
             "has");
        return;
    }
    buffer_append_format(&text, "receives the state of %s: ", text_of(receiving, "from"));
    progress_amounts(&text, (uint64_t)number_of(receiving, "bytes"),
                     (uint64_t)number_of(receiving, "total_bytes"),
                     (uint64_t)number_of(receiving, "bytes_per_second"));
    warn_in_words(cli, member, buffer_slice(&text));
    buffer_close(&text);
}

static json_int_t highest_level(const json_t *members)
{
    json_int_t highest = 0;
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        json_int_t level = number_of(member, "feature_level");

        highest = level > highest ? level : highest;
    }
    return highest;
}

/* Some programs know more than the cluster may use: who holds it? */
static void warn_of_level(struct cli *cli, const json_t *cluster, const json_t *member)
{
    json_int_t used = number_of(cluster, "feature_level");
    json_int_t level = number_of(member, "feature_level");
    struct buffer text = BUFFER_EMPTY;

    if (level > used || highest_level(json_object_get(cluster, "members")) <= used) {
        return;
    }
    if (level == 0) {
        buffer_append_string(&text, "was not heard");
    } else {
        buffer_append_format(&text, "knows the features up to level %" JSON_INTEGER_FORMAT, level);
    }
    buffer_append_format(&text,
                         ": the cluster stays at level %" JSON_INTEGER_FORMAT
                         " until it is upgraded, or removed",
                         used);
    warn_in_words(cli, member, buffer_slice(&text));
    buffer_close(&text);
}

/* What is agreed upon, and not so yet. */
static void warn_of_changes(struct cli *cli, const json_t *member)
{
    const char *wanted = text_of(member, "wanted");
    const char *role = text_of(member, "role");

    if (is_true(member, "needs_state")) {
        warn_of_state(cli, member);
    }
    if (strcmp(wanted, "removed") == 0) {
        warn(cli, member, "is being removed: that waits until the voters that stay are well");
    } else if (strcmp(wanted, "voter") == 0 && strcmp(role, "voter") != 0) {
        warn(cli, member, "is to become a voter: that waits until it and all voters are well");
    } else if ((strcmp(wanted, "standby") == 0 || strcmp(wanted, "spare") == 0) &&
               strcmp(role, "voter") == 0) {
        warn(cli, member, "is to lose its vote: that waits until the voters that stay are well");
    }
}

static void print_archive(struct cli *cli, const json_t *cluster)
{
    const char *where = text_of(cluster, "archive");

    if (where[0] == '\0') {
        return; /* An earlier program. */
    }
    buffer_append_format(
        &cli->out, "archive   %s\n",
        strcmp(where, "local") == 0  ? "local: it does not outlive the disk of its node (--archive)"
        : strcmp(where, "none") == 0 ? "none: what is lost with all nodes is lost (--archive)"
                                     : where);
}

static void warn_of_lag(struct cli *cli, const json_t *cluster, const char *member,
                        const char *what)
{
    json_int_t lag_ms = number_of(cluster, member);

    if (lag_ms > ARCHIVE_LAG_WARNING_MS) {
        buffer_append_format(&cli->out,
                             "warning: the %s is %" JSON_INTEGER_FORMAT
                             " s behind what this node has executed (holdfast archive list)\n",
                             what, lag_ms / 1000);
    }
}

static void print_warnings(struct cli *cli, const json_t *cluster)
{
    const json_t *members = json_object_get(cluster, "members");
    size_t voters = 0;
    size_t healthy = 0;
    size_t i;
    json_t *member;

    if (text_of(cluster, "leader")[0] == '\0') {
        buffer_append_string(&cli->out,
                             "warning: there is no leader: writes and linearizable reads "
                             "wait for one\n");
    }
    json_array_foreach(members, i, member)
    {
        bool is_healthy = json_is_true(json_object_get(member, "healthy"));
        bool is_voter = strcmp(text_of(member, "role"), "voter") == 0;

        voters += is_voter ? 1 : 0;
        healthy += is_voter && is_healthy ? 1 : 0;
        if (!is_healthy) {
            warn(cli, member, "is not healthy: it was not heard lately, or is short of disk");
        } else if (number_of(member, "lag") >= LAG_WARNING) {
            warn(cli, member, "lags behind the leader");
        }
        warn_of_changes(cli, member);
        warn_of_level(cli, cluster, member);
    }
    if (voters > 0 && healthy * 2 <= voters) {
        buffer_append_format(&cli->out,
                             "warning: only %zu of %zu voters are healthy, which is no majority\n",
                             healthy, voters);
    } else if (healthy < voters && (healthy - 1) * 2 <= voters) {
        buffer_append_format(&cli->out,
                             "warning: %zu of %zu voters are healthy: no other may fail\n", healthy,
                             voters);
    }
    warn_of_lag(cli, cluster, "archive_lag_ms", "archive");
    warn_of_lag(cli, cluster, "mirror_lag_ms", "mirror");
    if (voters > 0 && voters % 2 == 0) {
        buffer_append_format(
            &cli->out,
            "warning: %zu voters bear no more failures than %zu: promote one more, "
            "or demote one\n",
            voters, voters - 1);
    }
}

static void print_cluster(struct cli *cli, const json_t *cluster)
{
    static const char *const names[] = {"NAME",        "ROLE",         "STATE", "LAG",     "HEARD",
                                        "API ADDRESS", "PEER ADDRESS", "ZONE",  "VERSION", NULL};
    const json_t *members = json_object_get(cluster, "members");
    struct table table;
    size_t i;
    json_t *member;

    print_line(cli, "cluster", cluster, "cluster_id");
    print_line(cli, "leader", cluster, "leader");
    print_line(cli, "term", cluster, "term");
    print_line(cli, "revision", cluster, "revision");
    print_line(cli, "features", cluster, "feature_level");
    print_archive(cli, cluster);
    print_line(cli, "asked", cluster, "name");
    buffer_append_byte(&cli->out, '\n');
    table_init(&table, names);
    json_array_foreach(members, i, member)
    {
        add_member(&table, cluster, member);
    }
    cli_print_table(cli, &table);
    print_warnings(cli, cluster);
}

enum cli_exit run_status(struct cli *cli)
{
    struct client_request request = {.method = "GET"};
    struct buffer bytes = BUFFER_EMPTY;
    json_t *cluster;
    enum cli_exit code;

    buffer_append_string(&request.path, "/v1/cluster");
    code = cli_send_for_json(cli, &request, &cluster, &bytes);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_bytes_of_json(cli, buffer_slice(&bytes));
    } else {
        print_cluster(cli, cluster);
    }
    if (text_of(cluster, "leader")[0] == '\0') {
        code = cli_fail(cli, CLI_UNAVAILABLE, "there is no leader");
    }
    buffer_close(&bytes);
    json_decref(cluster);
    return code;
}
