/* holdfast session create, get, list, append, events, delete. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli_run.h"

static struct client_request request_for(const struct cli *cli, const char *method,
                                         const char *what)
{
    struct client_request request =
        cli_request(cli, method, "sessions/", cli->options->operands[0]);

    buffer_append_string(&request.path, what);
    return request;
}

static json_t *count_of(const char *text)
{
    return json_integer((json_int_t)strtoull(text, NULL, 10)); /* Checked when it was parsed. */
}

static void print_sessions(struct cli *cli, const json_t *rows)
{
    static const char *const names[] = {"ID",       "STATUS",   "AGENT",   "USER",    "EVENTS",
                                        "LAST SEQ", "REVISION", "EXPIRES", "UPDATED", NULL};
    struct table table;
    size_t i;
    json_t *row;

    table_init(&table, names);
    json_array_foreach(rows, i, row)
    {
        cli_add_cell(&table, row, "id");
        cli_add_cell(&table, row, "status");
        cli_add_cell(&table, row, "agent_id");
        cli_add_cell(&table, row, "user_id");
        cli_add_cell(&table, row, "event_count");
        cli_add_cell(&table, row, "last_seq");
        cli_add_cell(&table, row, "revision");
        cli_add_cell(&table, row, "expires_at");
        cli_add_cell(&table, row, "updated_at");
    }
    cli_print_table(cli, &table);
}

/* --- create
 * ----------------------------------------------------------------------------------------- */

static enum cli_exit add_metadata(struct cli *cli, json_t *document)
{
    const struct cli_texts *given = &cli->options->metadata;
    json_t *metadata = json_object();

    for (size_t i = 0; i < given->count; i++) {
        const char *text = given->list[i];
        const char *end = strchr(text, '=');

        if (end == NULL || end == text ||
            json_object_setn_new(metadata, text, (size_t)(end - text), json_string(end + 1)) != 0) {
            json_decref(metadata);
            return cli_fail(cli, CLI_USAGE, "--metadata: \"%s\" is not KEY=VALUE in UTF-8", text);
        }
    }
    if (given->count > 0) {
        (void)json_object_set(document, "metadata", metadata);
    }
    json_decref(metadata);
    return CLI_OK;
}

static enum cli_exit add_text(struct cli *cli, json_t *document, const char *name,
                              enum cli_flag flag)
{
    if (cli_given(cli->options, flag) &&
        json_object_set_new(document, name, json_string(cli->options->values[flag])) != 0) {
        return cli_fail(cli, CLI_USAGE, "--%s is not UTF-8", cli_flags[flag].name);
    }
    return CLI_OK;
}

static enum cli_exit make_document(struct cli *cli, json_t *document)
{
    const char *state = cli->options->values[CLI_STATE];
    enum cli_exit code = add_text(cli, document, "agent_id", CLI_AGENT);
    json_t *json;

    if (code == CLI_OK) {
        code = add_text(cli, document, "user_id", CLI_USER);
    }
    if (code == CLI_OK) {
        code = add_text(cli, document, "status", CLI_STATUS);
    }
    if (code == CLI_OK) {
        code = add_metadata(cli, document);
    }
    if (code == CLI_OK && state != NULL) {
        code = cli_read_json(cli, "state", state, false, &json);
        if (code == CLI_OK) {
            (void)json_object_set_new(document, "state", json);
        }
    }
    if (cli->options->ttl_ms > 0) {
        (void)json_object_set_new(document, "ttl_ms",
                                  json_integer((json_int_t)cli->options->ttl_ms));
    }
    return code;
}

enum cli_exit run_session_create(struct cli *cli)
{
    bool has_id = cli->options->n_operands > 0;
    struct client_request request;
    struct buffer bytes = BUFFER_EMPTY;
    json_t *document = json_object();
    json_t *row;
    enum cli_exit code = make_document(cli, document);

    if (code != CLI_OK) {
        json_decref(document);
        return code;
    }
    request = has_id ? request_for(cli, "PUT", "") : cli_request(cli, "POST", "sessions", NULL);
    cli_set_json(&request, document);
    cli_add_flags(cli, &request);
    code = cli_send_for_json(cli, &request, &row, &bytes);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_bytes_of_json(cli, buffer_slice(&bytes));
    } else {
        json_t *rows = json_pack("[O]", row);

        print_sessions(cli, rows);
        json_decref(rows);
    }
    buffer_close(&bytes);
    json_decref(row);
    return CLI_OK;
}

/* --- get and list
 * ----------------------------------------------------------------------------------- */

static void print_document(struct cli *cli, json_t *document)
{
    static const char *const names[] = {"FIELD", "VALUE", NULL};
    struct table table;
    const char *name;
    json_t *value;

    (void)value;
    table_init(&table, names);
    json_object_foreach(document, name, value)
    {
        table_add_string(&table, name);
        cli_add_cell(&table, document, name);
    }
    cli_print_table(cli, &table);
}

enum cli_exit run_session_get(struct cli *cli)
{
    struct client_request request = request_for(cli, "GET", "");
    struct buffer bytes = BUFFER_EMPTY;
    json_t *document;
    enum cli_exit code;

    cli_add_flags(cli, &request);
    code = cli_send_for_json(cli, &request, &document, &bytes);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_bytes_of_json(cli, buffer_slice(&bytes));
    } else {
        print_document(cli, document);
    }
    buffer_close(&bytes);
    json_decref(document);
    return CLI_OK;
}

static void print_session_page(struct cli *cli, const json_t *page)
{
    print_sessions(cli, json_object_get(page, "items"));
    cli_print_cursor(cli, page);
}

enum cli_exit run_session_list(struct cli *cli)
{
    static const struct {
        enum cli_flag flag;
        const char *name;
    } filters[] = {
        {CLI_AGENT, "agent_id"}, {CLI_USER, "user_id"}, {CLI_STATUS, "status"}, {CLI_SORT, "sort"}};
    struct client_request request = cli_request(cli, "GET", "sessions", NULL);

    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        if (cli_given(cli->options, filters[i].flag)) {
            cli_add_query(&request, filters[i].name, cli->options->values[filters[i].flag]);
        }
    }
    return cli_show_list(cli, &request, NULL, print_session_page);
}

/* --- append
 * ----------------------------------------------------------------------------------------- */

static enum cli_exit add_event(struct cli *cli, json_t *events, size_t nth)
{
    const struct cli_options *options = cli->options;
    const char *type = cli_given(options, CLI_TYPE) ? options->values[CLI_TYPE] : "message";
    json_t *event;
    json_t *data;
    enum cli_exit code = cli_read_json(cli, "event", options->operands[nth + 1],
                                       cli_given(options, CLI_STRING), &data);

    if (code != CLI_OK) {
        return code;
    }
    event = json_pack("{s:s, s:o}", "type", type, "data", data);
    if (event == NULL) {
        return cli_fail(cli, CLI_USAGE, "--type is not UTF-8");
    }
    if (options->event_ids.count > 0 &&
        json_object_set_new(event, "id", json_string(options->event_ids.list[nth])) != 0) {
        json_decref(event);
        return cli_fail(cli, CLI_USAGE, "--id is not UTF-8");
    }
    (void)json_array_append_new(events, event);
    return CLI_OK;
}

static enum cli_exit make_append(struct cli *cli, json_t *body)
{
    const struct cli_options *options = cli->options;
    json_t *events = json_array();

    (void)json_object_set_new(body, "events", events); /* @body owns it from here on. */
    for (size_t i = 0; i + 1 < options->n_operands; i++) {
        enum cli_exit code = add_event(cli, events, i);

        if (code != CLI_OK) {
            return code;
        }
    }
    if (cli_given(options, CLI_EXPECTED_SEQ)) {
        (void)json_object_set_new(body, "expected_seq",
                                  count_of(options->values[CLI_EXPECTED_SEQ]));
    }
    if (cli_given(options, CLI_TRUNCATE_AFTER)) {
        (void)json_object_set_new(body, "truncate_after",
                                  count_of(options->values[CLI_TRUNCATE_AFTER]));
    }
    if (cli_given(options, CLI_CREATE)) {
        (void)json_object_set_new(body, "create", json_object());
    }
    return CLI_OK;
}

static void print_append(struct cli *cli, const json_t *answer)
{
    json_int_t first = json_integer_value(json_object_get(answer, "first_seq"));
    json_int_t last = json_integer_value(json_object_get(answer, "last_seq"));

    if (first == last) {
        buffer_append_format(&cli->out, "appended %" JSON_INTEGER_FORMAT " to ", last);
    } else {
        buffer_append_format(&cli->out,
                             "appended %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " to ",
                             first, last);
    }
    text_append_escaped(&cli->out, slice_of_string(cli->options->operands[0]), TEXT_LINE);
    buffer_append_string(&cli->out, json_is_true(json_object_get(answer, "session_created"))
                                        ? ", which was created"
                                        : "");
    buffer_append_string(&cli->out, json_is_true(json_object_get(answer, "duplicate"))
                                        ? " (it had been done before)\n"
                                        : "\n");
}

enum cli_exit run_session_append(struct cli *cli)
{
    struct client_request request;
    struct buffer bytes = BUFFER_EMPTY;
    json_t *body = json_object();
    json_t *answer;
    enum cli_exit code = make_append(cli, body);

    if (code != CLI_OK) {
        json_decref(body);
        return code;
    }
    request = request_for(cli, "POST", "/events");
    cli_set_json(&request, body);
    code = cli_send_for_json(cli, &request, &answer, &bytes);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_bytes_of_json(cli, buffer_slice(&bytes));
    } else {
        print_append(cli, answer);
    }
    buffer_close(&bytes);
    json_decref(answer);
    return CLI_OK;
}

/* --- events and delete
 * ------------------------------------------------------------------------------ */

static void print_events(struct cli *cli, const json_t *page)
{
    static const char *const names[] = {"SEQ", "TYPE", "CREATED", "DATA", NULL};
    struct table table;
    size_t i;
    json_t *event;

    table_init(&table, names);
    json_array_foreach(json_object_get(page, "items"), i, event)
    {
        cli_add_cell(&table, event, "seq");
        cli_add_cell(&table, event, "type");
        cli_add_cell(&table, event, "created_at");
        cli_add_cell(&table, event, "data");
    }
    cli_print_table(cli, &table);
    if (!cli_given(cli->options, CLI_LAST)) {
        cli_print_cursor(cli, page);
    }
}

/* The last events come newest first. */
static void reverse_last(struct cli *cli, json_t *page)
{
    json_t *array = json_object_get(page, "items");
    json_t *reversed;

    if (!cli_given(cli->options, CLI_LAST)) {
        return;
    }
    reversed = json_array();
    for (size_t i = json_array_size(array); i > 0; i--) {
        (void)json_array_append(reversed, json_array_get(array, i - 1));
    }
    (void)json_array_clear(array);
    (void)json_array_extend(array, reversed);
    json_decref(reversed);
}

enum cli_exit run_session_events(struct cli *cli)
{
    const char *const *values = cli->options->values;
    struct client_request request = request_for(cli, "GET", "/events");

    if (values[CLI_AFTER] != NULL) {
        cli_add_query(&request, "after_seq", values[CLI_AFTER]);
    }
    if (values[CLI_BEFORE] != NULL) {
        cli_add_query(&request, "before_seq", values[CLI_BEFORE]);
    }
    if (values[CLI_LAST] != NULL) {
        cli_add_query(&request, "order", "desc");
        cli_add_query(&request, "limit", values[CLI_LAST]);
    }
    return cli_show_list(cli, &request, reverse_last, print_events);
}

enum cli_exit run_session_delete(struct cli *cli)
{
    struct client_request request = request_for(cli, "DELETE", "");

    return cli_delete(cli, &request);
}
