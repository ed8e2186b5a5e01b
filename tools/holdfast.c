/* holdfast: the operator's and the shell's way into a cluster. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/cli_run.h"

static enum cli_exit (*const runs[N_COMMANDS])(struct cli *cli) = {
    [COMMAND_STATUS] = run_status,
    [COMMAND_GET] = run_get,
    [COMMAND_PUT] = run_put,
    [COMMAND_DELETE] = run_delete,
    [COMMAND_LIST] = run_list,
    [COMMAND_SESSION_CREATE] = run_session_create,
    [COMMAND_SESSION_GET] = run_session_get,
    [COMMAND_SESSION_LIST] = run_session_list,
    [COMMAND_SESSION_APPEND] = run_session_append,
    [COMMAND_SESSION_EVENTS] = run_session_events,
    [COMMAND_SESSION_DELETE] = run_session_delete,
    [COMMAND_MEMBER_LIST] = run_status,
    [COMMAND_MEMBER_ADD] = run_member_add,
    [COMMAND_MEMBER_REMOVE] = run_member_remove,
    [COMMAND_MEMBER_REPLACE] = run_member_replace,
    [COMMAND_MEMBER_PROMOTE] = run_member_promote,
    [COMMAND_MEMBER_DEMOTE] = run_member_demote,
    [COMMAND_TRANSFER] = run_transfer,
    [COMMAND_DRAIN] = run_drain,
    [COMMAND_SNAPSHOT_SAVE] = run_snapshot_save,
    [COMMAND_SNAPSHOT_VERIFY] = run_snapshot_verify,
    [COMMAND_SNAPSHOT_INSPECT] = run_snapshot_inspect,
    [COMMAND_ARCHIVE_LIST] = run_archive_list,
    [COMMAND_ARCHIVE_NOW] = run_archive_now,
    [COMMAND_ARCHIVE_VERIFY] = run_archive_verify,
    [COMMAND_ARCHIVE_SHOW] = run_archive_show,
    [COMMAND_ARCHIVE_PIN] = run_archive_pin,
    [COMMAND_ARCHIVE_UNPIN] = run_archive_unpin,
    [COMMAND_ARCHIVE_PRUNE] = run_archive_prune,
    [COMMAND_ARCHIVE_COPY] = run_archive_copy,
    [COMMAND_RESTORE] = run_restore,
    [COMMAND_RECOVER] = run_recover,
};

/* Messages quote arguments and answers; both may hold anything. */
static void complain(const struct error *error)
{
    struct buffer text = BUFFER_EMPTY;

    text_append_escaped(&text, slice_of_string(error->text), TEXT_LINE);
    (void)fprintf(stderr, "holdfast: %.*s\n", (int)text.size, (const char *)text.data);
    buffer_close(&text);
}

static enum cli_exit print(struct buffer *out, enum cli_exit code)
{
    size_t written = out->size == 0 ? 0 : fwrite(out->data, 1, out->size, stdout);

    if (written < out->size || fflush(stdout) != 0) {
        perror("holdfast: could not write the result");
        code = code == CLI_OK ? CLI_FAILURE : code;
    }
    buffer_close(out);
    return code;
}

static size_t terminal_width(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static enum cli_exit run(const struct cli_options *options)
{
    struct cli cli = {.options = options, .is_terminal = isatty(STDOUT_FILENO) == 1};
    enum cli_exit code = CLI_FAILURE;

    cli.width = cli.is_terminal ? terminal_width() : 0;
    if (client_open(&options->endpoints, options->timeout_ms, &cli.client, &cli.error) ==
        STATUS_OK) {
        code = runs[options->command](&cli);
        client_close(cli.client);
    }
    if (code != CLI_OK) {
        complain(&cli.error);
    }
    return print(&cli.out, code);
}

static enum cli_exit show(const struct cli_options *options, enum cli_action action)
{
    struct buffer out = BUFFER_EMPTY;

    if (action == CLI_SHOW_VERSION) {
        buffer_append_string(&out, "holdfast " HOLDFAST_VERSION "\n");
    } else if (action == CLI_SHOW_COMMAND_HELP) {
        cli_append_command_help(&out, options->command);
    } else {
        cli_append_help(&out);
    }
    return print(&out, CLI_OK);
}

int main(int argc, char **argv)
{
    struct cli_options options;
    enum cli_action action;
    struct error error = {0};
    enum cli_exit code;

    /* For the width of characters only; without it each counts as one column. */
    (void)setlocale(LC_CTYPE, "");
    if (cli_options_parse(argc, argv, &options, &action, &error) != STATUS_OK) {
        complain(&error);
        code = CLI_USAGE;
    } else if (action == CLI_RUN) {
        code = run(&options);
    } else {
        code = show(&options, action);
    }
    cli_options_close(&options);
    return (int)code;
}
