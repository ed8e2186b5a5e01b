/* holdfast archive show, pin and unpin: one full of a repository. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hex.h"
#include "storage/archive/full.h"
#include "storage/archive/marks.h"
#include "tools/cli_archive.h"

/* --- Which one --- */

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

/* "0-INDEX-TOKEN" and "NODE:0-INDEX-TOKEN", as nodes list them, are taken as well. */
static const char *id_of(const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *dash = strchr(colon == NULL ? text : colon, '-');

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

/* --- pin and unpin --- */

static enum cli_exit change_pin(struct cli *cli, bool is_wanted)
{
    struct search search = {.id = id_of(cli->options->operands[1]),
                            .cluster_id = cli->options->values[CLI_CLUSTER]};
    struct repository *repository;
    enum status status;
    enum cli_exit code = cli_archive_open_repository(cli, cli->options->operands[0], &repository);

    if (code != CLI_OK) {
        return code;
    }
    code = find_full(cli, repository, &search);
    if (code == CLI_OK) {
        status = is_wanted ? marks_pin(repository, search.directory,
                                       cli_archive_work_directory(cli), &cli->error)
                           : marks_unpin(repository, search.directory, &cli->error);
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

/* --- show --- */

static json_t *segments_to_json(const struct manifest *manifest)
{
    json_t *segments = json_array();
    char sha256[2 * REPOSITORY_SHA256_BYTES + 1];

    for (unsigned i = 0; i < manifest->n_segments; i++) {
        hex_text(manifest->segments[i].sha256, REPOSITORY_SHA256_BYTES, sha256);
        (void)json_array_append_new(
            segments, json_pack("{s:I, s:I, s:s}", "size_bytes",
                                (json_int_t)manifest->segments[i].size_bytes, "content_bytes",
                                (json_int_t)manifest->segments[i].content_bytes, "sha256", sha256));
    }
    return segments;
}

struct shown {
    char time[TEXT_TIME_BYTES];
    char created[TEXT_TIME_BYTES];
    char hash[40];
    char digest[2 * IMAGE_DIGEST_BYTES + 1];
};

static void describe(const struct manifest *manifest, struct shown *shown)
{
    text_time(manifest->facts.state.time_ms, shown->time);
    text_time(manifest->created_ms, shown->created);
    (void)snprintf(shown->hash, sizeof shown->hash, "%016" PRIx64 "%016" PRIx64,
                   manifest->state_hash[1], manifest->state_hash[0]);
    image_digest_text(manifest->digest, shown->digest);
}

static void show_as_json(struct cli *cli, const char *directory, const struct manifest *manifest,
                         const struct shown *shown)
{
    const struct state *state = &manifest->facts.state;
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:s, s:s, s:o}", "name",
        directory, "cluster_id", manifest->facts.cluster_id, "revision",
        (json_int_t)state->revision, "index", (json_int_t)state->applied_index, "term",
        (json_int_t)state->applied_term, "time", shown->time, "created_at", shown->created, "node",
        manifest->node, "program", manifest->program, "key",
        manifest->key[0] == '\0' ? NULL : manifest->key, "records", (json_int_t)manifest->records,
        "content_bytes", (json_int_t)manifest->content_bytes, "image_bytes",
        (json_int_t)manifest->image_bytes, "digest", shown->digest, "state_hash", shown->hash,
        "segments", segments_to_json(manifest));

    cli_print_json(cli, json);
    json_decref(json);
}

static void show_as_text(struct cli *cli, const char *directory, const struct manifest *manifest,
                         const struct shown *shown)
{
    struct buffer *out = &cli->out;

    buffer_append_format(out,
                         "name       %s\n"
                         "cluster    %s\n"
                         "revision   %" PRIu64 "\n"
                         "time       %s (cluster), %s (archived)\n"
                         "log        index %" PRIu64 ", term %" PRIu64 "\n"
                         "made by    %s, holdfastd %s\n"
                         "key        %s\n"
                         "records    %" PRIu64 ", ",
                         directory, manifest->facts.cluster_id, manifest->facts.state.revision,
                         shown->time, shown->created, manifest->facts.state.applied_index,
                         manifest->facts.state.applied_term, manifest->node, manifest->program,
                         manifest->key[0] == '\0' ? "none: not encrypted" : manifest->key,
                         manifest->records);
    progress_append_bytes(out, manifest->content_bytes);
    buffer_append_string(out, "\nimage      ");
    progress_append_bytes(out, manifest->image_bytes);
    buffer_append_format(out, " in %u segments\ndigest     %s\nstate hash %s\n",
                         manifest->n_segments, shown->digest, shown->hash);
}

static enum cli_exit show(struct cli *cli, struct repository *repository, const char *directory)
{
    struct manifest manifest;
    struct shown shown;
    enum status status = full_manifest(repository, directory, &manifest, &cli->error);

    if (status != STATUS_OK) {
        return cli_archive_exit(status);
    }
    describe(&manifest, &shown);
    if (cli->options->as_json) {
        show_as_json(cli, directory, &manifest, &shown);
    } else {
        show_as_text(cli, directory, &manifest, &shown);
    }
    manifest_close(&manifest);
    return CLI_OK;
}

enum cli_exit run_archive_show(struct cli *cli)
{
    struct search search = {.id = id_of(cli->options->operands[1]),
                            .cluster_id = cli->options->values[CLI_CLUSTER]};
    struct repository *repository;
    enum cli_exit code = cli_archive_open_repository(cli, cli->options->operands[0], &repository);

    if (code != CLI_OK) {
        return code;
    }
    code = find_full(cli, repository, &search);
    if (code == CLI_OK) {
        code = show(cli, repository, search.directory);
    }
    repository_close(repository);
    return code;
}
