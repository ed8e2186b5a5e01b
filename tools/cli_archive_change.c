/* holdfast archive pin, unpin and copy: what changes a repository. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/archive/catalog.h"
#include "storage/archive/copy.h"
#include "storage/archive/full.h"
#include "tools/cli_archive.h"

static const char *operand(const struct cli *cli, size_t i)
{
    return cli->options->operands[i];
}

static const char *work_directory(const struct cli *cli)
{
    const char *given = cli->options->values[CLI_WORK_DIR];
    const char *fallback = getenv("TMPDIR");

    return given != NULL ? given : fallback != NULL ? fallback : "/tmp";
}

static enum cli_exit open_repository(struct cli *cli, const char *url,
                                     struct repository **repository)
{
    const struct repository_options options = {.url = url};
    enum status status = repository_open(&options, repository, &cli->error);

    return status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
}

/* --- pin and unpin --- */

struct search {
    const char *id;
    const char *cluster_id;
    char directory[NAMES_BYTES]; /* Of the full; "": not found. */
    unsigned n;
};

/* A full is named by the last part of its directory. */
static bool look_for_full(void *data, const struct repository_object *object)
{
    struct search *search = data;
    struct names_parsed parsed;

    if (names_parse(object->name, &parsed) && parsed.kind == NAMES_MANIFEST &&
        strcmp(strrchr(parsed.full_directory, '/') + 1, search->id) == 0 &&
        (search->cluster_id == NULL ||
         strncmp(object->name, search->cluster_id, NAMES_CLUSTER_BYTES) == 0)) {
        memcpy(search->directory, parsed.full_directory, sizeof search->directory);
        search->n++;
    }
    return true;
}

/* "0-INDEX-TOKEN", as a node lists it, is taken as well. */
static const char *id_of(const char *text)
{
    const char *dash = strchr(text, '-');

    return dash != NULL && strchr(dash + 1, '-') != NULL ? dash + 1 : text;
}

static enum cli_exit find_full(struct cli *cli, struct repository *repository,
                               struct search *search)
{
    enum status status = repository_list(repository, "", NULL, look_for_full, search, &cli->error);

    if (status != STATUS_OK) {
        return cli_archive_exit(status);
    }
    if (search->n != 1) {
        return cli_fail(cli, search->n == 0 ? CLI_NOT_FOUND : CLI_CONFLICT,
                        search->n == 0 ? "there is no full \"%s\" in %s (holdfast archive list URL)"
                                       : "there are several fulls \"%s\" in %s: say --cluster",
                        search->id, repository_url(repository));
    }
    return CLI_OK;
}

/* An object without bytes. */
static enum status create_pin(struct cli *cli, struct repository *repository, const char *name)
{
    struct repository_content content = {.size_bytes = 0};
    enum status status = full_work_file(work_directory(cli), &content.fd, &cli->error);

    if (status != STATUS_OK) {
        return status;
    }
    if (EVP_Digest("", 0, content.sha256, NULL, EVP_sha256(), NULL) != 1) {
        status = error_set(&cli->error, STATUS_IO, "could not hash");
    } else {
        status = repository_create(repository, name, &content, &cli->error);
    }
    (void)close(content.fd);                             /* It is gone now. */
    return status == STATUS_EXISTS ? STATUS_OK : status; /* It is pinned. */
}

static enum cli_exit change_pin(struct cli *cli, bool is_wanted)
{
    struct search search = {.id = id_of(operand(cli, 1)),
                            .cluster_id = cli->options->values[CLI_CLUSTER]};
    struct repository *repository;
    char name[NAMES_BYTES];
    enum status status;
    enum cli_exit code = open_repository(cli, operand(cli, 0), &repository);

    if (code != CLI_OK) {
        return code;
    }
    code = find_full(cli, repository, &search);
    if (code == CLI_OK) {
        names_pin(search.directory, name);
        status = is_wanted ? create_pin(cli, repository, name)
                           : repository_remove(repository, name, &cli->error);
        code = status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
    }
    repository_close(repository);
    if (code == CLI_OK && cli->options->as_json) {
        json_t *json = json_pack("{s:s, s:b}", "name", search.directory, "pinned", (int)is_wanted);

        cli_print_json(cli, json);
        json_decref(json);
    } else if (code == CLI_OK) {
        buffer_append_format(&cli->out, "%s %s\n", search.directory,
                             is_wanted ? "is pinned: it is kept until it is unpinned"
                                       : "is kept as long as others are");
    }
    return code;
}

enum cli_exit run_archive_pin(struct cli *cli)
{
    return change_pin(cli, true);
}

enum cli_exit run_archive_unpin(struct cli *cli)
{
    return change_pin(cli, false);
}

/* --- copy --- */

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
        .to = to,
        .prefix = cluster_id == NULL ? "" : cluster_id,
        .work_directory = work_directory(cli),
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
    enum cli_exit code = open_repository(cli, operand(cli, 0), &from);

    if (code != CLI_OK) {
        return code;
    }
    code = open_repository(cli, operand(cli, 1), &to);
    if (code == CLI_OK) {
        code = copy(cli, from, to);
        repository_close(to);
    }
    repository_close(from);
    return code;
}
