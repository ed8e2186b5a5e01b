/* holdfast get, put, delete, list: items. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/base64.h"
#include "tools/cli_run.h"

static struct client_request request_for(const struct cli *cli, const char *method)
{
    return cli_request(cli, method, "items/", cli->options->operands[0]);
}

static bool is_json(const char *content_type)
{
    return strncmp(content_type, "application/json", strlen("application/json")) == 0;
}

/* --- get
 * -------------------------------------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : json_string(text);
}

/* The value keeps the bytes that it was written with, so the object is put together as text. */
static void print_item_json(struct cli *cli, const struct client_answer *answer)
{
    json_t *facts = json_object();
    struct buffer text = BUFFER_EMPTY;
    char *dumped;

    (void)json_object_set_new(facts, "key", json_string(cli->options->operands[0]));
    (void)json_object_set_new(facts, "revision",
                              json_integer((json_int_t)strtoll(answer->etag, NULL, 10)));
    (void)json_object_set_new(facts, "content_type", text_or_null(answer->content_type));
    (void)json_object_set_new(facts, "expires_at", text_or_null(answer->expires_at));
    dumped = json_dumps(facts, JSON_COMPACT);
    json_decref(facts);
    buffer_append(&text, dumped, strlen(dumped) - 1); /* Without the last brace. */
    free(dumped);
    if (is_json(answer->content_type)) {
        buffer_append_string(&text, ",\"value\":");
        buffer_append_slice(&text, buffer_slice(&answer->body));
    } else {
        buffer_append_string(&text, ",\"value_base64\":\"");
        base64_encode(BASE64_STANDARD, buffer_slice(&answer->body), &text);
        buffer_append_byte(&text, '"');
    }
    buffer_append_byte(&text, '}');
    cli_print_bytes_of_json(cli, buffer_slice(&text));
    buffer_close(&text);
}

static enum cli_exit print_item(struct cli *cli, const struct client_answer *answer)
{
    if (cli->options->as_json) {
        print_item_json(cli, answer);
    } else if (!cli->is_terminal) {
        buffer_append_slice(&cli->out, buffer_slice(&answer->body));
    } else if (is_json(answer->content_type)) {
        cli_print_bytes_of_json(cli, buffer_slice(&answer->body));
    } else {
        return cli_fail(cli, CLI_FAILURE,
                        "the value is %zu bytes that are not JSON: redirect them to a file, or use "
                        "-o json",
                        answer->body.size);
    }
    return CLI_OK;
}

enum cli_exit run_get(struct cli *cli)
{
    struct client_request request = request_for(cli, "GET");
    struct client_answer answer;
    enum cli_exit code;

    cli_add_flags(cli, &request);
    code = cli_send(cli, &request, &answer);
    if (code == CLI_OK) {
        code = print_item(cli, &answer);
        client_answer_close(&answer);
    }
    return code;
}

/* --- put
 * -------------------------------------------------------------------------------------------- */

/* The bytes go as they are; looking at them here only makes for a better message. */
static enum cli_exit check_json(struct cli *cli, struct slice value)
{
    json_error_t why;
    json_t *json = json_loadb(value.size == 0 ? "" : (const char *)value.data, value.size,
                              JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);

    if (json == NULL) {
        return cli_fail(cli, CLI_USAGE,
                        "the value is not JSON (%s): use --string for text, or --content-type "
                        "application/octet-stream",
                        why.text);
    }
    json_decref(json);
    return CLI_OK;
}

static enum cli_exit set_value(struct cli *cli, struct client_request *request)
{
    const char *type = cli->options->values[CLI_CONTENT_TYPE];
    enum cli_exit code;
    json_t *json;

    if (cli_given(cli->options, CLI_STRING)) {
        code = cli_read_json(cli, "value", cli->options->operands[1], true, &json);
        if (code == CLI_OK) {
            cli_set_json(request, json);
        }
        return code;
    }
    request->content_type = type == NULL ? "application/json" : type;
    code = cli_read_value(cli, cli->options->operands[1], &request->body);
    if (code == CLI_OK && is_json(request->content_type)) {
        code = check_json(cli, buffer_slice(&request->body));
    }
    return code;
}

static enum cli_exit send_put(struct cli *cli, struct client_request *request)
{
    struct client_answer answer;
    enum cli_exit code = cli_send(cli, request, &answer);

    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_bytes_of_json(cli, buffer_slice(&answer.body));
    } else {
        buffer_append_string(&cli->out, answer.status == 201 ? "created " : "replaced ");
        text_append_escaped(&cli->out, slice_of_string(cli->options->operands[0]), TEXT_LINE);
        buffer_append_string(&cli->out, " at revision ");
        text_append_escaped(&cli->out, slice_of_string(answer.etag), TEXT_LINE);
        buffer_append_byte(&cli->out, '\n');
    }
    client_answer_close(&answer);
    return CLI_OK;
}

enum cli_exit run_put(struct cli *cli)
{
    struct client_request request = request_for(cli, "PUT");
    char ttl[32];
    enum cli_exit code = set_value(cli, &request);

    if (code != CLI_OK) {
        client_request_close(&request);
        return code;
    }
    if (cli->options->ttl_ms > 0) {
        (void)snprintf(ttl, sizeof ttl, "%" PRIu64, cli->options->ttl_ms);
        cli_add_query(&request, "ttl_ms", ttl);
    }
    if (cli_given(cli->options, CLI_USER)) {
        cli_add_query(&request, "user_id", cli->options->values[CLI_USER]);
    }
    cli_add_flags(cli, &request);
    return send_put(cli, &request);
}

/* --- delete and list
 * -------------------------------------------------------------------------------- */

enum cli_exit run_delete(struct cli *cli)
{
    struct client_request request = request_for(cli, "DELETE");

    return cli_delete(cli, &request);
}

static void print_items(struct cli *cli, const json_t *page)
{
    static const char *const names[] = {"KEY",     "REVISION", "BYTES",        "TYPE",
                                        "EXPIRES", "USER",     "LAST WRITTEN", NULL};
    struct table table;
    size_t i;
    json_t *row;

    table_init(&table, names);
    json_array_foreach(json_object_get(page, "items"), i, row)
    {
        cli_add_cell(&table, row, "key");
        cli_add_cell(&table, row, "revision");
        cli_add_cell(&table, row, "size_bytes");
        cli_add_cell(&table, row, "content_type");
        cli_add_cell(&table, row, "expires_at");
        cli_add_cell(&table, row, "user_id");
        cli_add_cell(&table, row, "updated_at");
    }
    cli_print_table(cli, &table);
    cli_print_cursor(cli, page);
}

enum cli_exit run_list(struct cli *cli)
{
    struct client_request request = cli_request(cli, "GET", "items", NULL);

    if (cli->options->n_operands > 0) {
        cli_add_query(&request, "prefix", cli->options->operands[0]);
    }
    return cli_show_list(cli, &request, NULL, print_items);
}
