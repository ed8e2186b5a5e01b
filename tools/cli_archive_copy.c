/* holdfast archive copy: from one repository to another. */
#include <inttypes.h>

#include "storage/archive/copy.h"
#include "tools/cli_archive.h"

static void on_copied(void *data, const struct copy_totals *totals)
{
    progress_show(data, totals->bytes, 0);
}

static void print_copied(struct cli *cli, const struct copy_totals *totals)
{
    if (cli->options->as_json) {
        json_t *json = json_pack("{s:I, s:I, s:I, s:I}", "objects", (json_int_t)totals->objects,
                                 "bytes", (json_int_t)totals->bytes, "copied_objects",
                                 (json_int_t)totals->copied_objects, "copied_bytes",
                                 (json_int_t)totals->copied_bytes);

        cli_print_json(cli, json);
        json_decref(json);
        return;
    }
    buffer_append_format(&cli->out, "copied %" PRIu64 " of %" PRIu64 " objects, ",
                         totals->copied_objects, totals->objects);
    progress_append_bytes(&cli->out, totals->copied_bytes);
    buffer_append_string(&cli->out, "; the others were there\n");
}

static enum cli_exit copy(struct cli *cli, struct repository *from, struct repository *to)
{
    const char *cluster_id = cli->options->values[CLI_CLUSTER];
    struct progress progress;
    struct copy_totals totals;
    const struct copy_options options = {
        .from = from,
        .from_url = cli->options->operands[0],
        .to = to,
        .prefix = cluster_id == NULL ? "" : cluster_id,
        .work_directory = cli_archive_work_directory(cli),
        .data = &progress,
        .on_progress = on_copied,
    };
    enum status status;

    progress_begin(&progress, "copying");
    status = copy_archive(&options, &totals, &cli->error);
    progress_end(&progress);
    if (status == STATUS_OK) {
        print_copied(cli, &totals);
    }
    return status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
}

enum cli_exit run_archive_copy(struct cli *cli)
{
    struct repository *from;
    struct repository *to;
    enum cli_exit code = cli_archive_open_repository(cli, cli->options->operands[0], &from);

    if (code != CLI_OK) {
        return code;
    }
    code = cli_archive_open_repository(cli, cli->options->operands[1], &to);
    if (code == CLI_OK) {
        code = copy(cli, from, to);
        repository_close(to);
    }
    repository_close(from);
    return code;
}
