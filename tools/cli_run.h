/* What the commands of holdfast share, and the commands.
 *
 * Each command gives an exit status; unless that is CLI_OK, cli->error says why. What is to be
 * printed collects in cli->out, so that a command that fails halfway prints nothing. */
#ifndef HOLDFAST_TOOLS_CLI_RUN_H
#define HOLDFAST_TOOLS_CLI_RUN_H

#include <jansson.h>

#include "tools/cli_client.h"
#include "tools/cli_options.h"
#include "tools/cli_text.h"

struct cli {
    const struct cli_options *options;
    struct client *client;
    struct buffer out;
    bool is_terminal; /* Standard output. */
    size_t width;     /* Of the terminal; 0: not limited. */
    struct error error;
};

enum cli_exit run_status(struct cli *cli);
enum cli_exit run_get(struct cli *cli);
enum cli_exit run_put(struct cli *cli);
enum cli_exit run_delete(struct cli *cli);
enum cli_exit run_list(struct cli *cli);
enum cli_exit run_session_create(struct cli *cli);
enum cli_exit run_session_get(struct cli *cli);
enum cli_exit run_session_list(struct cli *cli);
enum cli_exit run_session_append(struct cli *cli);
enum cli_exit run_session_events(struct cli *cli);
enum cli_exit run_session_delete(struct cli *cli);
enum cli_exit run_member_add(struct cli *cli);
enum cli_exit run_member_remove(struct cli *cli);
enum cli_exit run_member_replace(struct cli *cli);
enum cli_exit run_member_promote(struct cli *cli);
enum cli_exit run_member_demote(struct cli *cli);
enum cli_exit run_transfer(struct cli *cli);
enum cli_exit run_drain(struct cli *cli);
enum cli_exit run_snapshot_save(struct cli *cli);
enum cli_exit run_snapshot_verify(struct cli *cli);
enum cli_exit run_snapshot_inspect(struct cli *cli);
enum cli_exit run_archive_list(struct cli *cli);
enum cli_exit run_archive_now(struct cli *cli);
enum cli_exit run_archive_verify(struct cli *cli);
enum cli_exit run_archive_show(struct cli *cli);
enum cli_exit run_archive_pin(struct cli *cli);
enum cli_exit run_archive_unpin(struct cli *cli);
enum cli_exit run_archive_prune(struct cli *cli);
enum cli_exit run_archive_copy(struct cli *cli);
enum cli_exit run_restore(struct cli *cli);
enum cli_exit run_recover(struct cli *cli);

/* A request for /v1/namespaces/{ns}/@path, followed by @name, percent-encoded, if it is not NULL.
 */
struct client_request cli_request(const struct cli *cli, const char *method, const char *path,
                                  const char *name);

/* Append "?name=value", or "&name=value" behind another one. */
void cli_add_query(struct client_request *request, const char *name, const char *value);

/* Append the queries and headers that the user's flags stand for: consistency, preconditions. */
void cli_add_flags(const struct cli *cli, struct client_request *request);

/* The same, and those of lists: order, limit. The cursor is cli_fetch_list()'s. */
void cli_add_list_flags(const struct cli *cli, struct client_request *request);

/* Take @json as the body and release it. */
void cli_set_json(struct client_request *request, json_t *json);

/* Send @request, which is closed, whatever comes back. */
enum cli_exit cli_send(struct cli *cli, struct client_request *request,
                       struct client_answer *answer);

/* The same for an answer that must be a JSON object; the caller releases *@json. The bytes of the
 * answer go into @bytes unless that is NULL; the caller closes it. */
enum cli_exit cli_send_for_json(struct cli *cli, struct client_request *request, json_t **json,
                                struct buffer *bytes);

/* GET the pages of a list: the first, or with --all every one, put together into one object. */
enum cli_exit cli_fetch_list(struct cli *cli, struct client_request *request, json_t **page);

/* The same, and print what came: as JSON, or by @print. @arrange may change it before, or is NULL.
 */
enum cli_exit cli_show_list(struct cli *cli, struct client_request *request,
                            void (*arrange)(struct cli *cli, json_t *page),
                            void (*print)(struct cli *cli, const json_t *page));

/* DELETE what the first operand names, and say so. */
enum cli_exit cli_delete(struct cli *cli, struct client_request *request);

/* The value that @text stands for: itself, standard input (-), or a file (@FILE). */
enum cli_exit cli_read_value(struct cli *cli, const char *text, struct buffer *value);

/* The same as JSON; with --string the text is put into a JSON string. @what is for the message. */
enum cli_exit cli_read_json(struct cli *cli, const char *what, const char *text, bool is_string,
                            json_t **json);

/* Print @json compactly, or the rows of @table and release them. */
void cli_print_json(struct cli *cli, const json_t *json);
void cli_print_bytes_of_json(struct cli *cli, struct slice json);
void cli_print_table(struct cli *cli, struct table *table);

/* Below a table: how to get the rows that are missing from it, if any are. */
void cli_print_cursor(struct cli *cli, const json_t *page);

/* Add the member @name of @object as a cell: a text bare, null as a dash, all else as JSON. */
void cli_add_cell(struct table *table, const json_t *object, const char *name);

enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
