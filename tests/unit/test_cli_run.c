/* The commands of holdfast against a server that answers as it was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/stub_server.h"
#include "tools/cli_run.h"

#define JSON "Content-Type: application/json\r\n"
#define OK                                                                                         \
    {                                                                                              \
        STUB_ANSWER, 200, JSON "ETag: \"41\"\r\n", "{}"                                            \
    }
#define NO_LEADER                                                                                  \
    {                                                                                              \
        STUB_ANSWER, 503, NULL, "{\"retry_after_ms\": 20}"                                         \
    }

struct fixture {
    struct stub_server *servers[2];
    size_t n_servers;
    struct cli_options options;
    struct cli cli;
    char endpoints[256];
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < f->n_servers; i++) {
        stub_server_close(f->servers[i]);
    }
    cli_options_close(&f->options);
    buffer_close(&f->cli.out);
    free(f);
    return 0;
}

static struct stub_server *add_server(struct fixture *f, const struct stub_step *script)
{
    struct stub_server *server = stub_server_open(script);

    f->servers[f->n_servers++] = server;
    strcat(f->endpoints, f->endpoints[0] == '\0' ? "" : ",");
    strcat(f->endpoints, stub_server_url(server));
    return server;
}

/* Run the command of the arguments up to the NULL; the output is text in cli.out afterwards. */
static enum cli_exit run(struct fixture *f, enum cli_exit (*command)(struct cli *cli), ...)
{
    char *argv[32] = {(char *)"holdfast", (char *)"-e", f->endpoints};
    enum cli_action action;
    enum cli_exit code;
    int argc = 3;
    va_list args;
    char *arg;

    va_start(args, command);
    while ((arg = va_arg(args, char *)) != NULL) {
        argv[argc++] = arg;
    }
    va_end(args);
    cli_options_close(&f->options);
    assert_int_equal(cli_options_parse(argc, argv, &f->options, &action, &f->cli.error), STATUS_OK);
    assert_int_equal(action, CLI_RUN);
    f->cli.options = &f->options;
    buffer_clear(&f->cli.out);
    assert_int_equal(
        client_open(&f->options.endpoints, f->options.timeout_ms, &f->cli.client, &f->cli.error),
        STATUS_OK);
    code = command(&f->cli);
    client_close(f->cli.client);
    buffer_append_byte(&f->cli.out, '\0');
    return code;
}

static const char *output(const struct fixture *f)
{
    return (const char *)f->cli.out.data;
}

/* The value of the header @name in the request, as a copy in @value. */
static void header_of(const char *request, const char *name, char value[64])
{
    char field[64];
    const char *found;

    (void)snprintf(field, sizeof field, "\r\n%s: ", name);
    found = strstr(request, field);
    assert_non_null(found);
    found += strlen(field);
    (void)snprintf(value, 64, "%.*s", (int)strcspn(found, "\r"), found);
}

static void a_put_says_all_that_the_flags_mean(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 201, JSON "ETag: \"7\"\r\n", "{}"},
                                              STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);
    const char *request;

    assert_int_equal(run(f, run_put, "put", "a/\xc3\xa4 ?", "{\"x\": 1.0}", "--ttl", "5s",
                         "--if-match", "41", "--user", "u&1", "-n", "blue", NULL),
                     CLI_OK);

    request = stub_server_request(server, 0);
    assert_memory_equal(request,
                        "PUT /v1/namespaces/blue/items/a%2F%C3%A4%20%3F?ttl_ms=5000&user_id=u%261 "
                        "HTTP/1.1\r\n",
                        83);
    assert_non_null(strstr(request, "\r\nIf-Match: \"41\"\r\n"));
    assert_non_null(strstr(request, "\r\nContent-Type: application/json\r\n"));
    assert_string_equal(strstr(request, "\r\n\r\n") + 4, "{\"x\": 1.0}"); /* Byte for byte. */
    assert_string_equal(output(f), "created a/\xc3\xa4 ? at revision 7\n");
}

static void a_write_keeps_its_idempotency_key_over_all_attempts(void **state)
{
    static const struct stub_step first[] = {
        {STUB_CLOSE, 0, NULL, NULL}, STUB_LAST}; /* The connection breaks behind the request. */
    static const struct stub_step second[] = {NO_LEADER, OK, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *lost = add_server(f, first);
    struct stub_server *late = add_server(f, second);
    char keys[3][64];

    assert_int_equal(run(f, run_put, "put", "k", "1", NULL), CLI_OK);

    assert_int_equal(stub_server_count(late), 2);
    header_of(stub_server_request(lost, 0), "Idempotency-Key", keys[0]);
    header_of(stub_server_request(late, 0), "Idempotency-Key", keys[1]);
    header_of(stub_server_request(late, 1), "Idempotency-Key", keys[2]);
    assert_int_equal(strlen(keys[0]), 36);
    assert_string_equal(keys[0], keys[1]);
    assert_string_equal(keys[0], keys[2]);
    assert_int_equal(run(f, run_put, "put", "k", "1", NULL), CLI_OK);
    header_of(stub_server_request(late, 2), "Idempotency-Key", keys[2]);
    assert_string_not_equal(keys[0], keys[2]); /* Another command is another write. */
}

static void a_write_without_an_answer_has_an_unknown_outcome(void **state)
{
    static const struct stub_step script[] = {{STUB_CLOSE, 0, NULL, NULL}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_delete, "delete", "k", "-t", "100ms", NULL), CLI_UNAVAILABLE);

    assert_non_null(strstr(f->cli.error.text, "the outcome is unknown"));
}

static void a_write_that_was_only_refused_certainly_did_nothing(void **state)
{
    static const struct stub_step script[] = {NO_LEADER, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_put, "put", "k", "1", "-t", "100ms", NULL), CLI_UNAVAILABLE);

    assert_null(strstr(f->cli.error.text, "unknown"));
    assert_non_null(strstr(f->cli.error.text, "nothing was changed"));
}

static void a_silent_node_costs_no_more_than_the_time_out(void **state)
{
    static const struct stub_step script[] = {{STUB_SILENT, 0, NULL, NULL}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_get, "get", "k", "-t", "100ms", NULL), CLI_UNAVAILABLE);

    assert_int_equal(stub_server_count(server), 1);
    assert_null(strstr(f->cli.error.text, "outcome")); /* A read has none. */
}

static void a_value_comes_back_byte_for_byte_except_on_a_terminal(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, JSON "ETag: \"3\"\r\n",
                                               "\"a\x7f\xc2\x9b"
                                               "b\""},
                                              STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_get, "get", "k", NULL), CLI_OK);
    assert_string_equal(output(f), "\"a\x7f\xc2\x9b"
                                   "b\"");
    f->cli.is_terminal = true;
    assert_int_equal(run(f, run_get, "get", "k", NULL), CLI_OK);
    assert_string_equal(output(f), "\"a\\u007f\\u009bb\"\n");
    assert_int_equal(run(f, run_get, "get", "k", "-o", "json", NULL), CLI_OK);
    assert_string_equal(output(f), "{\"key\":\"k\",\"revision\":3,\"content_type\":"
                                   "\"application/json\",\"expires_at\":null,\"value\":"
                                   "\"a\\u007f\\u009bb\"}\n");
}

static void bytes_are_not_written_to_a_terminal(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, "Content-Type: application/octet-stream\r\n", "\x1b[2J!"}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    f->cli.is_terminal = true;
    assert_int_equal(run(f, run_get, "get", "k", NULL), CLI_FAILURE);
    assert_string_equal(output(f), "");
    assert_int_equal(run(f, run_get, "get", "k", "-o", "json", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "\"value_base64\":\"G1sySiE=\"}"));
}

static void problems_end_with_their_exit_status(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 412, NULL, "{\"title\":\"T\",\"revision\":41}"},
        {STUB_ANSWER, 404, NULL, NULL},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_put, "put", "k", "1", "--if-none-match", NULL), CLI_CONFLICT);
    assert_string_equal(f->cli.error.text, "T (revision 41)");
    assert_int_equal(run(f, run_session_get, "session", "get", "s", NULL), CLI_NOT_FOUND);
}

static void a_value_that_is_not_json_is_refused_before_it_is_sent(void **state)
{
    static const struct stub_step script[] = {OK, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_put, "put", "k", "hello", NULL), CLI_USAGE);
    assert_int_equal(run(f, run_put, "put", "k", "{\"a\":1,\"a\":2}", NULL), CLI_USAGE);
    assert_int_equal(run(f, run_session_append, "session", "append", "s", "1", "x", NULL),
                     CLI_USAGE);
    assert_int_equal(run(f, run_put, "put", "k", "@/nowhere/x", NULL), CLI_FAILURE);
    assert_int_equal(stub_server_count(server), 0);
    assert_int_equal(run(f, run_put, "put", "k", "--string", "say \"hi\"", NULL), CLI_OK);
    assert_non_null(strstr(stub_server_request(server, 0), "\r\n\r\n\"say \\\"hi\\\"\""));
}

static void an_append_carries_its_conditions(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 201, JSON,
         "{\"first_seq\":13,\"last_seq\":14,\"duplicate\":false,\"session_created\":true}"},
        STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_session_append, "session", "append", "s1", "1", "[]", "--create",
                         "--expected-seq", "12", "--truncate-after", "11", "--type", "t", "--id",
                         "a", "--id", "b", NULL),
                     CLI_OK);

    assert_string_equal(strstr(stub_server_request(server, 0), "\r\n\r\n") + 4,
                        "{\"events\":[{\"type\":\"t\",\"data\":1,\"id\":\"a\"},{\"type\":\"t\","
                        "\"data\":[],\"id\":\"b\"}],\"expected_seq\":12,\"truncate_after\":11,"
                        "\"create\":{}}");
    assert_string_equal(output(f), "appended 13 to 14 to s1, which was created\n");
}

static void all_pages_become_one_list(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON, "{\"items\":[{\"key\":\"a\"}],\"next_cursor\":\"c/1\"}"},
        {STUB_ANSWER, 200, JSON, "{\"items\":[{\"key\":\"b\"}],\"next_cursor\":null}"},
        STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_list, "list", "p/", "--all", "-o", "json", NULL), CLI_OK);

    assert_non_null(strstr(stub_server_request(server, 0), "items?prefix=p%2F HTTP"));
    assert_non_null(strstr(stub_server_request(server, 1), "items?prefix=p%2F&cursor=c%2F1 HTTP"));
    assert_string_equal(output(f),
                        "{\"items\":[{\"key\":\"a\"},{\"key\":\"b\"}],\"next_cursor\":null}\n");
}

static void the_last_events_come_in_their_order(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"items\":[{\"seq\":2},{\"seq\":1}],\"next_cursor\":\"x\",\"last_seq\":2}"},
        STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_session_events, "session", "events", "s", "--last", "2", NULL),
                     CLI_OK);

    assert_non_null(strstr(stub_server_request(server, 0), "events?order=desc&limit=2 HTTP"));
    assert_string_equal(output(f), "SEQ  TYPE  CREATED  DATA\n"
                                   "1    -     -        -\n"
                                   "2    -     -        -\n");
}

static void sessions_are_a_table_whether_made_or_listed(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 201, JSON, "{\"id\":\"s1\",\"status\":\"open\"}"},
        {STUB_ANSWER, 200, JSON, "{\"items\":[{\"id\":\"s2\"}],\"next_cursor\":null}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_session_create, "session", "create", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "ID  "));
    assert_non_null(strstr(output(f), "\ns1  "));
    assert_int_equal(run(f, run_session_list, "session", "list", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "\ns2  "));
}

static void a_delete_says_what_was_deleted(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 204, "", ""}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_delete, "delete", "a\x1b", NULL), CLI_OK);
    assert_string_equal(output(f), "deleted a\\u001b\n");
}

static void an_answer_that_is_not_json_is_a_failure(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, NULL, "<html>"}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "status", NULL), CLI_FAILURE);
    assert_int_equal(run(f, run_list, "list", NULL), CLI_FAILURE);
}

static const char cluster[] =
    "{\"cluster_id\":\"c\",\"name\":\"n1\",\"leader\":\"n1\",\"term\":7,\"revision\":9,"
    "\"feature_level\":1,\"archive\":\"local\",\"members\":"
    "["
    "{\"name\":\"n1\",\"role\":\"voter\",\"api_address\":\"h:1\",\"peer_address\":\"h:2\",\"zone\":"
    "null,"
    "\"version\":\"1\",\"lag\":0,\"last_contact_ms\":0,\"healthy\":true},"
    "{\"name\":\"n2\",\"role\":\"voter\",\"lag\":5000,\"last_contact_ms\":40,\"healthy\":true},"
    "{\"name\":\"n\\u001b\",\"role\":\"voter\",\"lag\":1,\"last_contact_ms\":null,"
    "\"healthy\":false}]}";

static void status_shows_members_and_warns(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, JSON, cluster}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_status, "status", NULL), CLI_OK);

    assert_memory_equal(stub_server_request(server, 0), "GET /v1/cluster HTTP/1.1\r\n", 26);
    assert_string_equal(
        output(f),
        "cluster   c\n"
        "leader    n1\n"
        "term      7\n"
        "revision  9\n"
        "features  1\n"
        "archive   local: it does not outlive the disk of its node (--archive)\n"
        "asked     n1\n"
        "\n"
        "NAME     ROLE    STATE        LAG   HEARD      API ADDRESS  PEER ADDRESS  ZONE  VERSION\n"
        "n1       leader  healthy      0     0 ms ago   h:1          h:2           -     1\n"
        "n2       voter   healthy      5000  40 ms ago  -            -             -     -\n"
        "n\\u001b  voter   NOT HEALTHY  1     never      -            -             -     -\n"
        "warning: n2 lags behind the leader\n"
        "warning: n\\u001b is not healthy: it was not heard lately, or is short of disk\n"
        "warning: 2 of 3 voters are healthy: no other may fail\n");
}

static void status_tells_how_far_archive_and_mirror_are_behind(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"leader\":\"n1\",\"archive_lag_ms\":61999,\"mirror_lag_ms\":70000,\"members\":[]}"},
        {STUB_ANSWER, 200, JSON,
         "{\"leader\":\"n1\",\"archive_lag_ms\":60000,\"mirror_lag_ms\":60000,\"members\":[]}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "status", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "warning: the archive is 61 s behind what this node has "));
    assert_non_null(strstr(output(f), "warning: the mirror is 70 s behind what this node has "));
    assert_int_equal(run(f, run_status, "status", NULL), CLI_OK);
    assert_null(strstr(output(f), "behind"));
}

static void status_tells_how_far_a_state_transfer_is(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"leader\":\"n1\",\"members\":[{\"name\":\"n1\",\"role\":\"voter\",\"healthy\":true},"
         "{\"name\":\"n2\",\"role\":\"standby\",\"healthy\":true,\"needs_state\":true,"
         "\"receiving\":{\"from\":\"n1\",\"bytes\":10485760,\"total_bytes\":104857600,"
         "\"bytes_per_second\":5242880}}]}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "status", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "warning: n2 receives the state of n1: 10.0 MiB of 100.0 "
                                      "MiB, 5.0 MiB/s, 18 s left\n"));
}

static void status_tells_who_holds_the_feature_level(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"leader\":\"n1\",\"feature_level\":1,\"members\":["
         "{\"name\":\"n1\",\"role\":\"voter\",\"healthy\":true,\"feature_level\":2},"
         "{\"name\":\"n2\",\"role\":\"voter\",\"healthy\":true,\"feature_level\":1},"
         "{\"name\":\"n3\",\"role\":\"voter\",\"healthy\":true,\"feature_level\":null}]}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "status", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "warning: n2 knows the features up to level 1: the cluster "
                                      "stays at level 1 until it is upgraded, or removed\n"));
    assert_non_null(strstr(output(f), "warning: n3 was not heard: the cluster stays at level 1"));
    assert_null(strstr(output(f), "warning: n1"));
}

static void status_tells_what_is_agreed_upon_and_not_so_yet(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"name\":\"n1\",\"leader\":\"n1\",\"members\":["
         "{\"name\":\"n1\",\"role\":\"voter\",\"healthy\":true,\"drained\":true},"
         "{\"name\":\"n2\",\"role\":\"voter\",\"healthy\":true,\"wanted\":\"removed\"},"
         "{\"name\":\"n3\",\"role\":\"standby\",\"healthy\":true,\"wanted\":\"voter\","
         "\"needs_state\":true}]}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "member", "list", NULL), CLI_OK);
    assert_non_null(strstr(output(f), "healthy, drained"));
    assert_non_null(strstr(output(f), "healthy, being removed"));
    assert_non_null(strstr(output(f), "healthy, waits for state"));
    assert_non_null(strstr(output(f), "warning: n2 is being removed"));
    assert_non_null(strstr(output(f), "warning: n3 is to become a voter"));
    assert_non_null(strstr(output(f), "warning: 2 voters bear no more failures than 1"));
}

/* --- Members --- */

#define DONE  "{\"name\":\"n4\",\"id\":\"1\",\"done\":true,\"detail\":null}"
#define WAITS "{\"name\":\"n4\",\"id\":\"1\",\"done\":false,\"detail\":\"it waits\"}"

static void assert_request(struct stub_server *server, size_t nth, const char *line,
                           const char *body)
{
    const char *request = stub_server_request(server, nth);

    if (strncmp(request, line, strlen(line)) != 0 || strstr(request, body) == NULL) {
        fail_msg("%s", request);
    }
}

static void a_member_is_added_with_what_was_said(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 201, JSON, DONE}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_member_add, "member", "add", "n4", NULL), CLI_USAGE);
    assert_int_equal(stub_server_count(server), 0);
    assert_int_equal(run(f, run_member_add, "member", "add", "n4", "--peer-address", "h:1",
                         "--api-address", "h:2", "--zone", "z", "--role", "standby", NULL),
                     CLI_OK);
    assert_request(server, 0, "POST /v1/cluster/members HTTP/1.1\r\n",
                   "{\"name\":\"n4\",\"peer_address\":\"h:1\",\"api_address\":\"h:2\","
                   "\"zone\":\"z\",\"role\":\"standby\"}");
}

static void what_takes_longer_is_asked_for_until_it_is_done(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 202, JSON, WAITS},
                                              {STUB_ANSWER, 202, JSON, WAITS},
                                              {STUB_ANSWER, 204, NULL, NULL},
                                              STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_member_remove, "member", "remove", "a b", "--force", NULL), CLI_OK);
    assert_int_equal(stub_server_count(server), 3);
    assert_request(server, 2, "DELETE /v1/cluster/members/a%20b?force=true HTTP/1.1\r\n", "");
    assert_string_equal(output(f), "a b is no member any more\n");
}

static void a_removal_that_was_asked_for_before_is_done_when_it_is_so(void **state)
{
    static const struct stub_step gone[] = {
        {STUB_ANSWER, 404, JSON, "{\"title\":\"There is no such thing\"}"}, STUB_LAST};
    static const struct stub_step first[] = {{STUB_CLOSE, 0, NULL, NULL}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, first);
    (void)add_server(f, gone);
    assert_int_equal(run(f, run_member_remove, "member", "remove", "n1", NULL), CLI_OK);
    assert_string_equal(output(f), "n1 is no member any more\n");
}

static void a_member_that_never_was_is_not_removed(void **state)
{
    static const struct stub_step gone[] = {
        {STUB_ANSWER, 404, JSON, "{\"title\":\"There is no such thing\"}"}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, gone);
    assert_int_equal(run(f, run_member_remove, "member", "remove", "n9", NULL), CLI_NOT_FOUND);
}

static void what_is_not_done_in_time_is_told_as_agreed_upon(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 202, JSON, WAITS}, STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_member_promote, "member", "promote", "n4", "-t", "700ms", NULL),
                     CLI_UNAVAILABLE);
    assert_non_null(strstr(f->cli.error.text, "agreed upon and goes on by itself"));
    assert_non_null(strstr(f->cli.error.text, "it waits"));
}

static void a_refused_change_is_a_conflict_with_its_reason(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 409, JSON,
         "{\"title\":\"Refused\",\"detail\":\"it is the last voter\",\"reason\":\"last-voter\"}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_member_demote, "member", "demote", "n1", NULL), CLI_CONFLICT);
    assert_non_null(strstr(f->cli.error.text, "it is the last voter"));
    assert_int_equal(run(f, run_member_demote, "member", "demote", "n1", "--role", "voter", NULL),
                     CLI_USAGE);
}

/* One that is well is removed last, one that is not first. */
static void a_replacement_takes_the_safe_order(void **state)
{
    static const char members[] =
        "{\"members\":[{\"name\":\"n1\",\"healthy\":true},{\"name\":\"n2\",\"healthy\":false},"
        "{\"name\":\"n4\",\"healthy\":true}]}";
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON, members}, {STUB_ANSWER, 200, JSON, DONE},
        {STUB_ANSWER, 204, NULL, NULL},    {STUB_ANSWER, 200, JSON, members},
        {STUB_ANSWER, 204, NULL, NULL},    {STUB_ANSWER, 200, JSON, DONE},
        {STUB_ANSWER, 200, JSON, members}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_member_replace, "member", "replace", "n1", "n4", NULL), CLI_OK);
    assert_request(server, 1, "PATCH /v1/cluster/members/n4 ",
                   "{\"role\":\"voter\",\"force\":false}");
    assert_request(server, 2, "DELETE /v1/cluster/members/n1 ", "");
    assert_int_equal(run(f, run_member_replace, "member", "replace", "n2", "n4", NULL), CLI_OK);
    assert_request(server, 4, "DELETE /v1/cluster/members/n2 ", "");
    assert_request(server, 5, "PATCH /v1/cluster/members/n4 ", "voter");
    assert_int_equal(run(f, run_member_replace, "member", "replace", "n1", "n9", NULL),
                     CLI_NOT_FOUND);
    assert_int_equal(stub_server_count(server), 7);
}

static void transfer_says_who_leads_then(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON, DONE}, {STUB_ANSWER, 200, JSON, "{\"leader\":\"n2\"}"}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_transfer, "transfer", "--to", "n2", NULL), CLI_OK);
    assert_request(server, 0, "POST /v1/cluster/transfer ", "{\"to\":\"n2\"}");
    assert_string_equal(output(f), "n2 leads\n");
}

static void drain_can_be_undone(void **state)
{
    static const struct stub_step script[] = {{STUB_ANSWER, 200, JSON, DONE}, STUB_LAST};
    struct fixture *f = *state;
    struct stub_server *server = add_server(f, script);

    assert_int_equal(run(f, run_drain, "drain", "n2", NULL), CLI_OK);
    assert_request(server, 0, "PATCH /v1/cluster/members/n2 ", "{\"drained\":true}");
    assert_int_equal(run(f, run_drain, "drain", "n2", "--undo", NULL), CLI_OK);
    assert_request(server, 1, "PATCH /v1/cluster/members/n2 ", "{\"drained\":false}");
}

static void status_without_a_leader_is_unavailable(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, JSON,
         "{\"name\":\"n1\",\"leader\":null,\"members\":[{\"name\":\"n1\",\"role\":\"voter\","
         "\"healthy\":"
         "true},{\"name\":\"n2\",\"role\":\"voter\",\"healthy\":false}]}"},
        STUB_LAST};
    struct fixture *f = *state;

    (void)add_server(f, script);
    assert_int_equal(run(f, run_status, "status", NULL), CLI_UNAVAILABLE);
    assert_non_null(strstr(output(f), "leader    none\n"));
    assert_non_null(strstr(output(f), "warning: there is no leader"));
    assert_non_null(strstr(output(f), "only 1 of 2 voters are healthy, which is no majority"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_put_says_all_that_the_flags_mean),
        TEST(a_write_keeps_its_idempotency_key_over_all_attempts),
        TEST(a_write_without_an_answer_has_an_unknown_outcome),
        TEST(a_write_that_was_only_refused_certainly_did_nothing),
        TEST(a_silent_node_costs_no_more_than_the_time_out),
        TEST(a_value_comes_back_byte_for_byte_except_on_a_terminal),
        TEST(bytes_are_not_written_to_a_terminal),
        TEST(problems_end_with_their_exit_status),
        TEST(a_value_that_is_not_json_is_refused_before_it_is_sent),
        TEST(an_append_carries_its_conditions),
        TEST(all_pages_become_one_list),
        TEST(the_last_events_come_in_their_order),
        TEST(sessions_are_a_table_whether_made_or_listed),
        TEST(a_delete_says_what_was_deleted),
        TEST(an_answer_that_is_not_json_is_a_failure),
        TEST(status_shows_members_and_warns),
        TEST(status_tells_how_far_archive_and_mirror_are_behind),
        TEST(status_tells_how_far_a_state_transfer_is),
        TEST(status_tells_who_holds_the_feature_level),
        TEST(status_tells_what_is_agreed_upon_and_not_so_yet),
        TEST(a_member_is_added_with_what_was_said),
        TEST(what_takes_longer_is_asked_for_until_it_is_done),
        TEST(a_removal_that_was_asked_for_before_is_done_when_it_is_so),
        TEST(a_member_that_never_was_is_not_removed),
        TEST(what_is_not_done_in_time_is_told_as_agreed_upon),
        TEST(a_refused_change_is_a_conflict_with_its_reason),
        TEST(a_replacement_takes_the_safe_order),
        TEST(transfer_says_who_leads_then),
        TEST(drain_can_be_undone),
        TEST(status_without_a_leader_is_unavailable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
