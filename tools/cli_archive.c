/* holdfast archive: what is archived, from a node or from the repository itself. */
#include "tools/cli_archive.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/archive/catalog.h"

#define POLL_MS 200

/* --- What to restore --- */

enum cli_exit cli_archive_exit(enum status status)
{
    switch (status) {
    case STATUS_NOT_FOUND:
        return CLI_NOT_FOUND;
    case STATUS_INVALID:
        return CLI_USAGE;
    case STATUS_EXISTS:
    case STATUS_BUSY:
    case STATUS_MISMATCH:
        return CLI_CONFLICT;
    default:
        return CLI_FAILURE;
    }
}

bool cli_archive_parse_number(const char *text, uint64_t *number)
{
    char *end;

    errno = 0;
    *number = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    return isdigit((unsigned char)text[0]) && errno == 0 && *end == '\0';
}

/* RFC 3339 in UTC, with up to three digits behind the seconds. */
static bool parse_time(const char *text, uint64_t *ms)
{
    struct tm fields = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &fields);
    uint64_t fraction = 0;
    unsigned weight = 100;
    time_t seconds;

    if (rest == NULL) {
        return false;
    }
    if (*rest == '.') {
        for (rest++; isdigit((unsigned char)*rest) && weight > 0; rest++) {
            fraction += (uint64_t)(*rest - '0') * weight;
            weight /= 10;
        }
    }
    seconds = timegm(&fields);
    if (strcmp(rest, "Z") != 0 || seconds < 0) {
        return false;
    }
    *ms = (uint64_t)seconds * 1000 + fraction;
    return true;
}

static void on_progress(void *data, enum restore_phase phase, uint64_t bytes, uint64_t of_bytes)
{
    struct cli_archive *archive = data;

    if (phase != archive->phase) {
        progress_end(&archive->progress);
        progress_begin(&archive->progress, "executing");
        archive->phase = phase;
    }
    progress_show(&archive->progress, bytes, of_bytes);
}

static void on_damage(void *data, const char *why)
{
    struct cli_archive *archive = data;

    progress_end(&archive->progress);
    (void)fprintf(stderr, "holdfast: warning: %s: the deltas that it was made of are used\n", why);
}

static enum cli_exit open_keys(struct cli *cli, struct cli_archive *archive)
{
    const char *path = cli->options->values[CLI_KEY_FILE];

    if (path == NULL) {
        return CLI_OK;
    }
    return master_keys_open(path, &archive->keys, &cli->error) == STATUS_OK
               ? CLI_OK
               : cli_archive_exit(cli->error.status);
}

enum cli_exit cli_archive_begin(struct cli *cli, const char *url, struct cli_archive *archive)
{
    const char *const *values = cli->options->values;
    struct restore_options *options = &archive->options;
    enum cli_exit code;

    *archive = (struct cli_archive){.phase = RESTORE_IMPORT};
    *options = (struct restore_options){.url = url,
                                        .cluster_id = values[CLI_CLUSTER],
                                        .to_revision = UINT64_MAX,
                                        .to_time_ms = UINT64_MAX,
                                        .data = archive,
                                        .on_progress = on_progress,
                                        .on_damage = on_damage};
    if (values[CLI_TO_REVISION] != NULL &&
        !cli_archive_parse_number(values[CLI_TO_REVISION], &options->to_revision)) {
        return cli_fail(cli, CLI_USAGE, "--to-revision: \"%s\" is not a number",
                        values[CLI_TO_REVISION]);
    }
    if (values[CLI_TO_TIME] != NULL && !parse_time(values[CLI_TO_TIME], &options->to_time_ms)) {
        return cli_fail(cli, CLI_USAGE,
                        "--to-time: \"%s\" is not a time in UTC, like 2026-11-29T12:00:00Z",
                        values[CLI_TO_TIME]);
    }
    code = open_keys(cli, archive);
    options->keys = archive->keys;
    return code;
}

void cli_archive_close(struct cli_archive *archive)
{
    progress_end(&archive->progress);
    master_keys_close(archive->keys);
}

enum cli_exit cli_archive_open_repository(struct cli *cli, const char *url,
                                          struct repository **repository)
{
    const struct repository_options options = {.url = url};
    enum status status = repository_open(&options, repository, &cli->error);

    return status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
}

const char *cli_archive_work_directory(const struct cli *cli)
{
    const char *given = cli->options->values[CLI_WORK_DIR];
    const char *fallback = getenv("TMPDIR");

    return given != NULL ? given : fallback != NULL ? fallback : "/tmp";
}

/* --- archive list --- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void add_bytes(struct table *table, uint64_t bytes)
{
    struct buffer text = BUFFER_EMPTY;

    progress_append_bytes(&text, bytes);
    table_add(table, buffer_slice(&text));
    buffer_close(&text);
}

static void print_repositories(struct cli *cli, const json_t *answer)
{
    static const char *const names[] = {"REPOSITORY", "ACTIVITY", "REVISION", "BEHIND",
                                        "FULLS",      "DELTAS",   "MERGED",   "SIZE",
                                        "RESTORE",    "URL",      NULL};
    const json_t *list = json_object_get(answer, "repositories");
    struct table table;
    size_t i;
    json_t *one;

    table_init(&table, names);
    json_array_foreach(list, i, one)
    {
        table_add_format(&table, "%" PRIu64 "%s", number_of(one, "number"),
                         json_is_true(json_object_get(one, "local")) ? " (local)" : "");
        table_add_string(&table, text_of(one, "activity"));
        table_add_format(&table, "%" PRIu64, number_of(one, "revision"));
        table_add_format(&table, "%.1f s", (double)number_of(one, "lag_ms") / 1000);
        table_add_format(&table, "%" PRIu64, number_of(one, "fulls"));
        table_add_format(&table, "%" PRIu64, number_of(one, "deltas"));
        table_add_format(&table, "%" PRIu64, number_of(one, "merged"));
        add_bytes(&table, number_of(one, "bytes"));
        table_add_format(&table, "%.0f s", (double)number_of(one, "restore_ms") / 1000);
        table_add_string(&table, text_of(one, "url"));
    }
    cli_print_table(cli, &table);
}

static void print_fulls(struct cli *cli, const json_t *answer)
{
    static const char *const names[] = {"FULL", "REVISION", "TIME", "SIZE", "RECORDS", "", NULL};
    const json_t *list = json_object_get(answer, "items");
    struct table table;
    size_t i;
    json_t *one;

    table_init(&table, names);
    json_array_foreach(list, i, one)
    {
        table_add_string(&table, text_of(one, "id"));
        table_add_format(&table, "%" PRIu64, number_of(one, "revision"));
        table_add_string(&table, text_of(one, "time"));
        add_bytes(&table, number_of(one, "size_bytes"));
        table_add_format(&table, "%" PRIu64, number_of(one, "records"));
        table_add_string(&table, !json_is_true(json_object_get(one, "whole"))   ? "incomplete"
                                 : json_is_true(json_object_get(one, "pinned")) ? "pinned"
                                 : json_is_string(json_object_get(one, "verified_at")) ? "verified"
                                                                                       : "");
    }
    buffer_append_byte(&cli->out, '\n');
    cli_print_table(cli, &table);
}

static void print_mirror(struct cli *cli, const json_t *answer)
{
    static const char *const names[] = {"MIRROR", "REVISION", "TIME", "BEHIND", "", "URL", NULL};
    const json_t *mirror = json_object_get(answer, "mirror");
    struct table table;

    if (!json_is_object(mirror)) {
        return;
    }
    table_init(&table, names);
    table_add_string(&table, text_of(mirror, "activity"));
    table_add_format(&table, "%" PRIu64, number_of(mirror, "revision"));
    table_add_string(&table, text_of(mirror, "time"));
    table_add_format(&table, "%.1f s", (double)number_of(mirror, "lag_ms") / 1000);
    table_add_string(&table, json_is_true(json_object_get(mirror, "exact")) ? "exact" : "");
    table_add_string(&table, text_of(mirror, "url"));
    buffer_append_byte(&cli->out, '\n');
    cli_print_table(cli, &table);
    if (text_of(mirror, "error")[0] != '\0') {
        buffer_append_string(&cli->out, "warning: mirror: ");
        text_append_escaped(&cli->out, slice_of_string(text_of(mirror, "error")), TEXT_LINE);
        buffer_append_byte(&cli->out, '\n');
    }
}

static void print_notes(struct cli *cli, const json_t *answer)
{
    const json_t *list = json_object_get(answer, "repositories");
    bool is_all_local = true;
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        is_all_local = is_all_local && json_is_true(json_object_get(one, "local"));
        if (text_of(one, "error")[0] != '\0') {
            buffer_append_format(&cli->out, "warning: repository %" PRIu64 ": ",
                                 number_of(one, "number"));
            text_append_escaped(&cli->out, slice_of_string(text_of(one, "error")), TEXT_LINE);
            buffer_append_byte(&cli->out, '\n');
        }
    }
    if (json_array_size(list) == 0) {
        buffer_append_string(&cli->out, "This node was started with --archive none.\n");
    } else if (is_all_local) {
        buffer_append_string(&cli->out,
                             "note: the archive is on the node's own disk, and is lost with it\n");
    }
}

static enum cli_exit list_of_node(struct cli *cli)
{
    struct client_request request = {.method = "GET"};
    json_t *answer;
    enum cli_exit code;

    buffer_append_string(&request.path, "/v1/archives");
    code = cli_send_for_json(cli, &request, &answer, NULL);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_json(cli, answer);
    } else {
        print_repositories(cli, answer);
        if (json_array_size(json_object_get(answer, "items")) > 0) {
            print_fulls(cli, answer);
        }
        print_notes(cli, answer);
        print_mirror(cli, answer);
    }
    json_decref(answer);
    return CLI_OK;
}

struct chains {
    const char *cluster_id;
    char (*bases)[NAMES_BASE_BYTES];
    size_t n;
};

static void add_base(void *data, const char *base)
{
    struct chains *chains = data;

    if (chains->cluster_id != NULL && strncmp(base, chains->cluster_id, NAMES_CLUSTER_BYTES) != 0) {
        return;
    }
    chains->bases = memory_resize(chains->bases, (chains->n + 1) * sizeof *chains->bases);
    (void)snprintf(chains->bases[chains->n++], NAMES_BASE_BYTES, "%s", base); /* Fits. */
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *full_to_json(const struct catalog_full *full)
{
    char time_text[TEXT_TIME_BYTES];
    char verified_text[TEXT_TIME_BYTES];
    bool is_verified = full->verified.when_ms != 0;

    text_time(full->time_ms, time_text);
    text_time(full->verified.when_ms, verified_text);
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:b, s:b, s:s?}", "id",
                     strrchr(full->directory, '/') + 1, "index", number(full->index), "revision",
                     number(full->revision), "time", time_text, "size_bytes", number(full->bytes),
                     "records", number(full->records), "whole", (int)full->is_whole, "pinned",
                     (int)full->is_pinned, "verified_at", is_verified ? verified_text : NULL);
}

static json_t *chain_to_json(const char *base, const struct catalog *catalog)
{
    json_t *fulls = json_array();
    char time_text[TEXT_TIME_BYTES];

    for (size_t i = catalog->n_fulls; i > 0; i--) {
        (void)json_array_append_new(fulls, full_to_json(&catalog->fulls[i - 1]));
    }
    text_time(catalog->last_time_ms, time_text);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:s*}", "chain", base, "items",
                     fulls, "deltas", number(catalog->n_deltas), "merged",
                     number(catalog->n_merged), "revision", number(catalog->last_revision), "time",
                     time_text, "index", number(catalog->last_index), "bytes",
                     number(catalog->bytes), "damage",
                     catalog->end_damage[0] == '\0' ? NULL : catalog->end_damage);
}

static void print_chain(struct cli *cli, const json_t *chain)
{
    buffer_append_format(&cli->out, "%s\n", text_of(chain, "chain"));
    buffer_append_format(&cli->out,
                         "  up to revision %" PRIu64 ", %s, in %zu fulls, %" PRIu64
                         " deltas and %" PRIu64 " merged, ",
                         number_of(chain, "revision"), text_of(chain, "time"),
                         json_array_size(json_object_get(chain, "items")),
                         number_of(chain, "deltas"), number_of(chain, "merged"));
    progress_append_bytes(&cli->out, number_of(chain, "bytes"));
    buffer_append_byte(&cli->out, '\n');
    if (json_object_get(chain, "damage") != NULL) {
        buffer_append_format(&cli->out, "  its end is damaged: %s\n", text_of(chain, "damage"));
    }
    print_fulls(cli, chain);
}

enum cli_exit cli_archive_each_chain(struct cli *cli, struct repository *repository,
                                     const struct cli_archive *archive, cli_chain_cb cb, void *data)
{
    struct chains chains = {.cluster_id = archive->options.cluster_id};
    enum status status = catalog_bases(repository, add_base, &chains, &cli->error);

    for (size_t i = 0; i < chains.n && status == STATUS_OK; i++) {
        struct catalog catalog;

        status = catalog_load(repository, chains.bases[i], archive->keys, &catalog, &cli->error);
        if (status == STATUS_OK) {
            status = cb(cli, repository, chains.bases[i], &catalog, data);
            catalog_close(&catalog);
        }
    }
    if (status == STATUS_OK && chains.n == 0) {
        status = error_set(&cli->error, STATUS_NOT_FOUND, "there is no archive in %s",
                           repository_url(repository));
    }
    free(chains.bases);
    return status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
}

static enum status list_chain(struct cli *cli, struct repository *repository, const char *base,
                              const struct catalog *catalog, void *data)
{
    json_t *all = data;
    json_t *chain = chain_to_json(base, catalog);

    (void)repository;
    if (!cli->options->as_json) {
        print_chain(cli, chain);
    }
    (void)json_array_append_new(all, chain);
    return STATUS_OK;
}

static enum cli_exit list_chains(struct cli *cli, struct repository *repository,
                                 const struct cli_archive *archive)
{
    json_t *all = json_array();
    enum cli_exit code = cli_archive_each_chain(cli, repository, archive, list_chain, all);

    if (code == CLI_OK && cli->options->as_json) {
        cli_print_json(cli, all);
    }
    json_decref(all);
    return code;
}

enum cli_exit run_archive_list(struct cli *cli)
{
    struct repository *repository;
    struct cli_archive archive;
    enum cli_exit code;

    if (cli->options->n_operands == 0) {
        return list_of_node(cli);
    }
    code = cli_archive_begin(cli, cli->options->operands[0], &archive);
    if (code == CLI_OK) {
        code = cli_archive_open_repository(cli, archive.options.url, &repository);
        if (code == CLI_OK) {
            code = list_chains(cli, repository, &archive);
            repository_close(repository);
        }
    }
    cli_archive_close(&archive);
    return code;
}

/* --- archive now --- */

/* Is every request of @asked completed, as @answer says? */
static bool is_completed(const json_t *asked, const json_t *answer)
{
    const json_t *requests = json_object_get(asked, "repositories");
    const json_t *repositories = json_object_get(answer, "repositories");
    size_t i;
    json_t *one;

    json_array_foreach(requests, i, one)
    {
        if (number_of(json_array_get(repositories, i), "completed") < number_of(one, "request")) {
            return false;
        }
    }
    return true;
}

/* The node that was asked is the only one to know how far that is. */
static enum cli_exit await(struct cli *cli, const json_t *asked, json_t **answer)
{
    enum cli_exit code;

    for (;;) {
        struct client_request request = {.method = "GET"};
        const struct timespec rest = {.tv_nsec = POLL_MS * 1000000L};

        buffer_append_string(&request.path, "/v1/archives");
        code = cli_send_for_json(cli, &request, answer, NULL);
        if (code != CLI_OK) {
            return code;
        }
        if (strcmp(text_of(*answer, "node"), text_of(asked, "node")) != 0) {
            json_decref(*answer);
            return cli_fail(cli, CLI_FAILURE, "node %s, which archives, does not answer any more",
                            text_of(asked, "node"));
        }
        if (is_completed(asked, *answer)) {
            return CLI_OK;
        }
        json_decref(*answer);
        if (!client_has_time(cli->client)) {
            return cli_fail(cli, CLI_UNAVAILABLE,
                            "not done in time: node %s goes on with it (holdfast archive list)",
                            text_of(asked, "node"));
        }
        (void)nanosleep(&rest, NULL); /* Too early is no harm. */
    }
}

enum cli_exit run_archive_now(struct cli *cli)
{
    struct client_request request = {.method = "POST"};
    json_t *asked;
    json_t *answer = NULL;
    enum cli_exit code;

    buffer_append_string(&request.path, "/v1/archives");
    code = cli_send_for_json(cli, &request, &asked, NULL);
    if (code != CLI_OK) {
        return code;
    }
    code = await(cli, asked, &answer);
    json_decref(asked);
    if (code != CLI_OK) {
        return code;
    }
    if (cli->options->as_json) {
        cli_print_json(cli, answer);
    } else {
        print_repositories(cli, answer);
        print_notes(cli, answer);
    }
    json_decref(answer);
    return CLI_OK;
}

/* --- archive verify --- */

static void print_verified(struct cli *cli, const char *url, const struct restore_facts *facts)
{
    struct buffer *out = &cli->out;
    char time_text[TEXT_TIME_BYTES];
    char hash[40];

    text_time(facts->time_ms, time_text);
    (void)snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, facts->hash[1], facts->hash[0]);
    if (cli->options->as_json) {
        json_t *json = json_pack(
            "{s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:s}", "url", url, "chain", facts->base,
            "index", number(facts->index), "revision", number(facts->revision), "time", time_text,
            "steps", number(facts->steps), "full_revision", number(facts->full_revision), "damaged",
            number(facts->damaged), "state_hash", hash);

        cli_print_json(cli, json);
        json_decref(json);
        return;
    }
    buffer_append_format(
        out,
        "good: %s\n"
        "  restored the full of revision %" PRIu64 " and executed %" PRIu64 " steps behind it\n"
        "  up to revision %" PRIu64 ", %s\n"
        "  state hash %s, as it was\n",
        facts->base, facts->full_revision, facts->steps, facts->revision, time_text, hash);
}

static enum cli_exit verify(struct cli *cli, const struct cli_archive *archive,
                            const char *directory)
{
    char *state = files_join(directory, "/state");
    struct restore *restore;
    enum status status = restore_open(&archive->options, &restore, &cli->error);

    if (status == STATUS_OK) {
        status = restore_run(restore, state, &cli->error);
        if (status == STATUS_OK) {
            print_verified(cli, archive->options.url, restore_facts(restore));
        }
        restore_close(restore);
    }
    if (files_remove_directory(state, NULL) != STATUS_OK || rmdir(directory) != 0) {
        (void)fprintf(stderr, "holdfast: could not remove \"%s\"\n", directory);
    }
    free(state);
    return status == STATUS_OK ? CLI_OK : cli_archive_exit(status);
}

enum cli_exit run_archive_verify(struct cli *cli)
{
    const char *parent = cli_archive_work_directory(cli);
    char *directory = files_join(parent, "/holdfast-verify-XXXXXX");
    struct cli_archive archive;
    enum cli_exit code = cli_archive_begin(cli, cli->options->operands[0], &archive);

    if (code == CLI_OK && mkdtemp(directory) == NULL) {
        code = cli_fail(cli, CLI_FAILURE, "could not make a directory in \"%s\": %s", parent,
                        strerror(errno));
    } else if (code == CLI_OK) {
        progress_begin(&archive.progress, "restoring");
        code = verify(cli, &archive, directory);
    }
    cli_archive_close(&archive);
    free(directory);
    return code;
}
