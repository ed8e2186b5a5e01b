#include "tools/cli_run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/limits.h"

/* Numbers in tables are for reading: 0.1 is shown as that. With -o json they are exact. */
#define TABLE_PRECISION 15
#define JSON_PRECISION  17
#define MAX_PAGES       100000 /* A server that never ends is stopped here. */

enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cli->error.text, sizeof cli->error.text, format, args); /* Cut if too long. */
    va_end(args);
    return code;
}

struct client_request cli_request(const struct cli *cli, const char *method, const char *path,
                                  const char *name)
{
    struct client_request request = {.method = method};

    buffer_append_string(&request.path, "/v1/namespaces/");
    client_append_encoded(&request.path, slice_of_string(cli->options->ns));
    buffer_append_format(&request.path, "/%s", path);
    if (name != NULL) {
        client_append_encoded(&request.path, slice_of_string(name));
    }
    return request;
}

void cli_add_query(struct client_request *request, const char *name, const char *value)
{
    bool is_first = memchr(request->path.data, '?', request->path.size) == NULL;

    buffer_append_format(&request->path, "%s%s=", is_first ? "?" : "&", name);
    client_append_encoded(&request->path, slice_of_string(value));
}

void cli_add_flags(const struct cli *cli, struct client_request *request)
{
    const char *const *values = cli->options->values;

    if (values[CLI_STALE] != NULL) {
        cli_add_query(request, "consistency", "stale");
    }
    if (values[CLI_MIN_REVISION] != NULL) {
        cli_add_query(request, "min_revision", values[CLI_MIN_REVISION]);
    }
    if (values[CLI_IF_MATCH] != NULL) {
        const char *quote = values[CLI_IF_MATCH][0] == '*' ? "" : "\"";

        buffer_append_format(&request->headers, "If-Match: %s%s%s\n", quote, values[CLI_IF_MATCH],
                             quote);
    }
    if (values[CLI_IF_NONE_MATCH] != NULL) {
        buffer_append_string(&request->headers, "If-None-Match: *\n");
    }
}

void cli_add_list_flags(const struct cli *cli, struct client_request *request)
{
    const char *const *values = cli->options->values;

    if (values[CLI_ORDER] != NULL) {
        cli_add_query(request, "order", values[CLI_ORDER]);
    }
    if (values[CLI_LIMIT] != NULL) {
        cli_add_query(request, "limit", values[CLI_LIMIT]);
    }
    cli_add_flags(cli, request);
}

static int append_dumped(const char *data, size_t size, void *user)
{
    buffer_append(user, data, size);
    return 0;
}

/* jansson gives pieces that end anywhere, so they are put together before they are escaped. */
static void dump(const json_t *json, size_t flags, struct buffer *out)
{
    (void)json_dump_callback(json, append_dumped, out, flags); /* The callback never fails. */
}

void cli_set_json(struct client_request *request, json_t *json)
{
    dump(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(JSON_PRECISION),
         &request->body);
    request->content_type = "application/json";
    json_decref(json);
}

enum cli_exit cli_send(struct cli *cli, struct client_request *request,
                       struct client_answer *answer)
{
    enum cli_exit code;

    *answer = (struct client_answer){0};
    code = client_send(cli->client, request, answer, &cli->error);
    client_request_close(request);
    return code;
}

enum cli_exit cli_send_for_json(struct cli *cli, struct client_request *request, json_t **json,
                                struct buffer *bytes)
{
    struct client_answer answer;
    json_error_t why;
    enum cli_exit code = cli_send(cli, request, &answer);

    if (code != CLI_OK) {
        return code;
    }
    *json = json_loadb((const char *)answer.body.data, answer.body.size,
                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!json_is_object(*json)) {
        json_decref(*json);
        client_answer_close(&answer);
        return cli_fail(cli, CLI_FAILURE,
                        "the answer is not the JSON that was expected: is this a Holdfast node?");
    }
    if (bytes != NULL) {
        *bytes = buffer_take(&answer.body);
    }
    client_answer_close(&answer);
    return CLI_OK;
}

/* --- Lists
 * ------------------------------------------------------------------------------------------ */

static struct client_request copy_request(const struct client_request *request)
{
    struct client_request copy = {.method = request->method};

    buffer_append_slice(&copy.path, buffer_slice(&request->path));
    return copy;
}

enum cli_exit cli_fetch_list(struct cli *cli, struct client_request *request, json_t **page)
{
    const char *cursor = cli->options->values[CLI_CURSOR];
    struct client_request base = copy_request(request);
    enum cli_exit code;
    json_t *whole = NULL;

    client_request_close(request);
    for (size_t i = 0;; i++) {
        struct client_request next = copy_request(&base);
        json_t *part;

        if (cursor != NULL) {
            cli_add_query(&next, "cursor", cursor);
        }
        code = cli_send_for_json(cli, &next, &part, NULL);
        if (code != CLI_OK) {
            break;
        }
        if (whole != NULL) { /* The rows so far come first, all else is as the last page says. */
            (void)json_array_extend(json_object_get(whole, "items"),
                                    json_object_get(part, "items"));
            (void)json_object_set(part, "items", json_object_get(whole, "items"));
            json_decref(whole);
        }
        whole = part;
        cursor = json_string_value(json_object_get(whole, "next_cursor"));
        if (!json_is_array(json_object_get(whole, "items"))) {
            code = cli_fail(cli, CLI_FAILURE, "the answer is not a list: is this a Holdfast node?");
            break;
        }
        if (!cli_given(cli->options, CLI_ALL) || cursor == NULL) {
            break;
        }
        if (i == MAX_PAGES) {
            code = cli_fail(cli, CLI_FAILURE, "the list does not end");
            break;
        }
    }
    client_request_close(&base);
    if (code == CLI_OK) {
        *page = whole;
    } else {
        json_decref(whole);
    }
    return code;
}

enum cli_exit cli_show_list(struct cli *cli, struct client_request *request,
                            void (*arrange)(struct cli *cli, json_t *page),
                            void (*print)(struct cli *cli, const json_t *page))
{
    json_t *page;
    enum cli_exit code;

    cli_add_list_flags(cli, request);
    code = cli_fetch_list(cli, request, &page);
    if (code != CLI_OK) {
        return code;
    }
    if (arrange != NULL) {
        arrange(cli, page);
    }
    if (cli->options->as_json) {
        cli_print_json(cli, page);
    } else {
        print(cli, page);
    }
    json_decref(page);
    return CLI_OK;
}

enum cli_exit cli_delete(struct cli *cli, struct client_request *request)
{
    struct client_answer answer;
    enum cli_exit code;

    cli_add_flags(cli, request);
    code = cli_send(cli, request, &answer);
    client_answer_close(&answer);
    if (code == CLI_OK && !cli->options->as_json) {
        buffer_append_string(&cli->out, "deleted ");
        text_append_escaped(&cli->out, slice_of_string(cli->options->operands[0]), TEXT_LINE);
        buffer_append_byte(&cli->out, '\n');
    }
    return code;
}

/* --- Values
 * ----------------------------------------------------------------------------------------- */

static enum cli_exit read_file(struct cli *cli, const char *name, FILE *file, struct buffer *value)
{
    size_t n;

    do {
        n = fread(buffer_reserve(value, 65536), 1, 65536, file);
        (void)buffer_extend(value, n);
    } while (n > 0 && value->size <= LIMIT_BODY_BYTES);
    if (ferror(file)) {
        return cli_fail(cli, CLI_FAILURE, "could not read %s: %s", name, strerror(errno));
    }
    if (value->size > LIMIT_BODY_BYTES) {
        return cli_fail(cli, CLI_USAGE, "%s is larger than a request may be (4 MiB)", name);
    }
    return CLI_OK;
}

enum cli_exit cli_read_value(struct cli *cli, const char *text, struct buffer *value)
{
    enum cli_exit code;
    FILE *file;

    if (strcmp(text, "-") == 0) {
        return read_file(cli, "standard input", stdin, value);
    }
    if (text[0] != '@') {
        buffer_append_string(value, text);
        return CLI_OK;
    }
    file = fopen(text + 1, "rb");
    if (file == NULL) {
        return cli_fail(cli, CLI_FAILURE, "could not open %s: %s", text + 1, strerror(errno));
    }
    code = read_file(cli, text + 1, file, value);
    (void)fclose(file); /* It was only read. */
    return code;
}

enum cli_exit cli_read_json(struct cli *cli, const char *what, const char *text, bool is_string,
                            json_t **json)
{
    struct buffer value = BUFFER_EMPTY;
    enum cli_exit code = cli_read_value(cli, text, &value);
    json_error_t why = {0};

    if (code != CLI_OK) {
        buffer_close(&value);
        return code;
    }
    if (is_string) {
        *json = json_stringn(value.size == 0 ? "" : (const char *)value.data, value.size);
    } else {
        *json = json_loadb(value.size == 0 ? "" : (const char *)value.data, value.size,
                           JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    }
    buffer_close(&value);
    if (*json == NULL) {
        return cli_fail(cli, CLI_USAGE,
                        is_string ? "the %s is not UTF-8 text%s"
                                  : "the %s is not JSON (%s): quote text like '\"this\"', or use "
                                    "--string where there is one",
                        what, is_string ? "" : why.text);
    }
    return CLI_OK;
}

/* --- Printing
 * --------------------------------------------------------------------------------------- */

void cli_print_bytes_of_json(struct cli *cli, struct slice json)
{
    text_append_escaped(&cli->out, json, TEXT_JSON);
    if (json.size == 0 || json.data[json.size - 1] != '\n') {
        buffer_append_byte(&cli->out, '\n');
    }
}

void cli_print_json(struct cli *cli, const json_t *json)
{
    struct buffer text = BUFFER_EMPTY;

    dump(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(JSON_PRECISION), &text);
    cli_print_bytes_of_json(cli, buffer_slice(&text));
    buffer_close(&text);
}

void cli_print_table(struct cli *cli, struct table *table)
{
    table_print(table, cli->width, &cli->out);
    table_close(table);
}

void cli_print_cursor(struct cli *cli, const json_t *page)
{
    const char *cursor = json_string_value(json_object_get(page, "next_cursor"));

    if (cursor != NULL) {
        buffer_append_string(&cli->out, "there are more: add --all, or --cursor ");
        text_append_escaped(&cli->out, slice_of_string(cursor), TEXT_LINE);
        buffer_append_byte(&cli->out, '\n');
    }
}

void cli_add_cell(struct table *table, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    struct buffer text = BUFFER_EMPTY;

    if (value == NULL || json_is_null(value)) {
        table_add_string(table, "-");
    } else if (json_is_string(value)) {
        table_add(table, slice_of(json_string_value(value), json_string_length(value)));
    } else {
        dump(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(TABLE_PRECISION), &text);
        table_add(table, buffer_slice(&text));
        buffer_close(&text);
    }
}
