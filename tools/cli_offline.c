/* holdfast restore and holdfast recover: data directories on which no node runs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "raft/address.h"
#include "raft/offline.h"
#include "tools/cli_archive.h"
#include "tools/cli_progress.h"
#include "tools/cli_run.h"

#define DEFAULT_NAME         "n1"
#define DEFAULT_PEER_ADDRESS "127.0.0.1:7081"
#define DEFAULT_API_ADDRESS  "127.0.0.1:7080"

static enum cli_exit exit_of(enum status status)
{
    switch (status) {
    case STATUS_NOT_FOUND:
        return CLI_NOT_FOUND;
    case STATUS_INVALID:
        return CLI_USAGE;
    case STATUS_MISMATCH:
    case STATUS_EXISTS:
    case STATUS_BUSY:
        return CLI_CONFLICT;
    default:
        return CLI_FAILURE;
    }
}

static void append_escaped(struct buffer *out, const char *text)
{
    text_append_escaped(out, slice_of_string(text), TEXT_LINE);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* --- What was made --- */

static json_t *made_to_json(const char *directory, const struct offline_made *made)
{
    char id[17];

    (void)snprintf(id, sizeof id, "%016" PRIx64, made->identity.id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "data_dir", directory,
                     "cluster_id", made->identity.cluster_id, "old_cluster_id",
                     made->old_cluster_id, "name", made->identity.name, "id", id, "old_revision",
                     number(made->old_revision), "revision", number(made->revision), "index",
                     number(made->index), "term", number(made->term));
}

static void print_made(struct cli *cli, const char *directory, const struct offline_made *made)
{
    const struct identity_member *self = &made->identity.members[0];
    struct buffer *out = &cli->out;

    if (cli->options->as_json) {
        json_t *json = made_to_json(directory, made);

        cli_print_json(cli, json);
        json_decref(json);
        return;
    }
    append_escaped(out, directory);
    buffer_append_format(out,
                         " is now a cluster of one node, %s\n"
                         "  it holds revision %" PRIu64 " of cluster %s, and goes on from %" PRIu64
                         "\n\n"
                         "Start it, without --initial-cluster:\n"
                         "  holdfastd --name %s --data-dir ",
                         made->identity.cluster_id, made->old_revision, made->old_cluster_id,
                         made->revision, made->identity.name);
    append_escaped(out, directory);
    buffer_append_format(out, " --api-address %s --peer-address %s\n", self->api_address,
                         self->peer_address);
    buffer_append_string(out,
                         "\nOther nodes join it with empty data directories. Data directories of "
                         "the old cluster\nare of no use to it: keep or remove them.\n");
}

/* --- restore --- */

static bool is_name(const char *text)
{
    size_t size = strlen(text);

    return size >= 1 && size <= LIMIT_NAME_BYTES &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") ==
               size;
}

/* The flag's value as the daemon writes addresses. */
static bool take_address(struct cli *cli, enum cli_flag flag, const char *otherwise,
                         char text[LIMIT_ADDRESS_BYTES + 1])
{
    const char *given = cli->options->values[flag];
    struct address address;

    if (address_parse(slice_of_string(given == NULL ? otherwise : given), &address, &cli->error) !=
        STATUS_OK) {
        (void)error_prefix(&cli->error, "--%s", cli_flags[flag].name); /* Returned by the caller. */
        return false;
    }
    address_format(&address, text);
    return true;
}

static void on_restored(void *data, uint64_t bytes, uint64_t of_bytes)
{
    progress_show(data, bytes, of_bytes);
}

static bool is_url(const char *operand)
{
    return strstr(operand, "://") != NULL;
}

/* Only a snapshot, which is of one point and not encrypted. */
static enum cli_exit refuse_flags_of_archives(struct cli *cli)
{
    static const enum cli_flag flags[] = {CLI_TO_REVISION, CLI_TO_TIME, CLI_CLUSTER, CLI_KEY_FILE};

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (cli_given(cli->options, flags[i])) {
            return cli_fail(cli, CLI_USAGE,
                            "--%s goes with the URL of an archive, and \"%s\" is a file",
                            cli_flags[flags[i]].name, cli->options->operands[0]);
        }
    }
    return CLI_OK;
}

static enum cli_exit restore(struct cli *cli, struct offline_restore *options,
                             struct offline_made *made)
{
    bool is_archive = is_url(cli->options->operands[0]);
    struct cli_archive archive = {.keys = NULL};
    struct progress progress;
    enum cli_exit code = is_archive ? cli_archive_begin(cli, cli->options->operands[0], &archive)
                                    : refuse_flags_of_archives(cli);
    enum status status;

    if (code != CLI_OK) {
        cli_archive_close(&archive);
        return code;
    }
    options->image = is_archive ? NULL : cli->options->operands[0];
    options->archive = is_archive ? &archive.options : NULL;
    options->data = &progress;
    progress_begin(is_archive ? &archive.progress : &progress, "restoring");
    status = offline_restore(options, made, &cli->error);
    if (is_archive) {
        cli_archive_close(&archive);
    } else {
        progress_end(&progress);
    }
    return status == STATUS_OK ? CLI_OK : exit_of(status);
}

enum cli_exit run_restore(struct cli *cli)
{
    const char *const *values = cli->options->values;
    struct offline_made *made = memory_new_zeroed(1, sizeof *made); /* Large for a stack. */
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    struct offline_restore options = {
        .directory = values[CLI_DATA_DIR],
        .name = values[CLI_NAME] == NULL ? DEFAULT_NAME : values[CLI_NAME],
        .peer_address = peer_address,
        .api_address = api_address,
        .on_progress = on_restored,
    };
    enum cli_exit code = CLI_USAGE;

    if (!is_name(options.name)) {
        code = cli_fail(cli, CLI_USAGE, "--name: \"%s\" is not a name (letters, digits, -, _, .)",
                        options.name);
    } else if (take_address(cli, CLI_PEER_ADDRESS, DEFAULT_PEER_ADDRESS, peer_address) &&
               take_address(cli, CLI_API_ADDRESS, DEFAULT_API_ADDRESS, api_address)) {
        code = restore(cli, &options, made);
        if (code == CLI_OK) {
            print_made(cli, options.directory, made);
        }
    }
    free(made);
    return code;
}

/* --- recover: looking --- */

static json_t *facts_to_json(const char *directory, const struct offline_facts *facts)
{
    const struct identity *identity = &facts->identity;
    char time_text[TEXT_TIME_BYTES];

    text_time(facts->time_ms, time_text);
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:b}", "data_dir", directory, "name",
        identity->name, "cluster_id", identity->cluster_id, "members", number(identity->n_members),
        "revision", number(facts->state.revision), "executed_index",
        number(facts->state.applied_index), "last_index", number(facts->last_index), "last_term",
        number(facts->last_term), "entries_to_execute", number(facts->n_entries), "time", time_text,
        "unfinished", facts->unfinished.is_there);
}

struct survey {
    size_t n;
    struct offline_facts *facts;
    char **directories;
    size_t newest;
    bool same_cluster;
};

static enum cli_exit look(struct cli *cli, struct survey *survey)
{
    survey->facts = memory_new_zeroed(survey->n, sizeof *survey->facts);
    survey->same_cluster = true;
    for (size_t i = 0; i < survey->n; i++) {
        enum status status =
            offline_inspect(survey->directories[i], &survey->facts[i], &cli->error);

        if (status != STATUS_OK) {
            return exit_of(status);
        }
        if (offline_is_newer(&survey->facts[i], &survey->facts[survey->newest])) {
            survey->newest = i;
        }
        survey->same_cluster =
            survey->same_cluster &&
            strcmp(survey->facts[i].identity.cluster_id, survey->facts[0].identity.cluster_id) == 0;
    }
    return CLI_OK;
}

static void print_survey_table(struct cli *cli, const struct survey *survey)
{
    static const char *const heading[] = {"DIRECTORY", "NODE", "REVISION", "EXECUTED", "LOG END",
                                          "TERM",      "TIME", "",         NULL};
    struct table table;
    char time_text[TEXT_TIME_BYTES];

    table_init(&table, heading);
    for (size_t i = 0; i < survey->n; i++) {
        const struct offline_facts *facts = &survey->facts[i];

        text_time(facts->time_ms, time_text);
        table_add_string(&table, survey->directories[i]);
        table_add_string(&table, facts->identity.name);
        table_add_format(&table, "%" PRIu64, facts->state.revision);
        table_add_format(&table, "%" PRIu64, facts->state.applied_index);
        table_add_format(&table, "%" PRIu64, facts->last_index);
        table_add_format(&table, "%" PRIu64, facts->last_term);
        table_add_string(&table, time_text);
        table_add_string(&table, facts->unfinished.is_there                    ? "unfinished"
                                 : survey->same_cluster && i == survey->newest ? "newest"
                                                                               : "");
    }
    cli_print_table(cli, &table);
}

static void print_survey(struct cli *cli, const struct survey *survey)
{
    if (cli->options->as_json) {
        json_t *json = json_object();
        json_t *list = json_array();

        for (size_t i = 0; i < survey->n; i++) {
            (void)json_array_append_new(list,
                                        facts_to_json(survey->directories[i], &survey->facts[i]));
        }
        (void)json_object_set_new(json, "directories", list);
        (void)json_object_set_new(
            json, "newest",
            survey->same_cluster ? json_string(survey->directories[survey->newest]) : json_null());
        cli_print_json(cli, json);
        json_decref(json);
        return;
    }
    print_survey_table(cli, survey);
    if (!survey->same_cluster) {
        buffer_append_string(&cli->out, "warning: these are of different clusters\n");
    }
}

static enum cli_exit inspect(struct cli *cli)
{
    const struct cli_options *options = cli->options;
    char *one = (char *)(uintptr_t)options->values[CLI_DATA_DIR];
    struct survey survey = {.n = options->n_operands, .directories = options->operands};
    enum cli_exit code;

    if (survey.n == 0) {
        survey.n = one == NULL ? 0 : 1;
        survey.directories = &one;
    }
    if (survey.n == 0) {
        return cli_fail(cli, CLI_USAGE, "name the directories to look at");
    }
    code = look(cli, &survey);
    if (code == CLI_OK) {
        print_survey(cli, &survey);
    }
    free(survey.facts);
    return code;
}

/* --- recover: doing it --- */

/* Two nodes of three, say, would go on as the old cluster if they were started. */
static void append_others(struct buffer *out, const struct identity *identity)
{
    unsigned n = 0;

    for (unsigned i = 0; i < identity->n_members; i++) {
        if (identity->members[i].id != identity->id) {
            buffer_append_format(out, "%s%s",
                                 n++ == 0 ? "Do it only if a majority of the voters is "
                                            "lost for good. The others of that cluster "
                                            "(as it\nwas formed: "
                                          : ", ",
                                 identity->members[i].name);
        }
    }
    if (n > 0) {
        buffer_append_string(out, ") must never be started again on their old data.\n");
    }
}

/* What is there, and what could be missing. */
static void print_plan(struct cli *cli, const char *directory, const struct offline_facts *facts)
{
    struct buffer *out = &cli->out;
    char time_text[TEXT_TIME_BYTES];

    text_time(facts->time_ms, time_text);
    append_escaped(out, directory);
    buffer_append_format(
        out,
        ": node %s, one of the %u that formed cluster %s\n"
        "  state: revision %" PRIu64 ", executed up to log index %" PRIu64 "\n"
        "  log: up to index %" PRIu64 " of term %" PRIu64 ", %" PRIu64 " entries behind the state\n"
        "  newest entry: %s, by the cluster's time\n\n",
        facts->identity.name, facts->identity.n_members, facts->identity.cluster_id,
        facts->state.revision, facts->state.applied_index, facts->last_index, facts->last_term,
        facts->n_entries, time_text);
    append_others(out, &facts->identity);
    if (facts->unfinished.was_removed) {
        buffer_append_string(out,
                             "warning: this node was removed from its cluster; what came later is "
                             "missing here\n");
    }

    buffer_append_format(out,
                         "What this node has is kept, with the %" PRIu64
                         " entries, acknowledged or not. What could be missing:\n"
                         "writes that were acknowledged and are behind index %" PRIu64
                         " in the logs of the lost nodes.\n"
                         "If any of those logs can still be read, compare them first: holdfast "
                         "recover --inspect DIR...\n",
                         facts->n_entries, facts->last_index);
}

static enum cli_exit plan(struct cli *cli, const char *directory)
{
    struct offline_facts *facts = memory_new_zeroed(1, sizeof *facts); /* Large for a stack. */
    enum status status = offline_inspect(directory, facts, &cli->error);

    if (status == STATUS_OK) {
        if (cli->options->as_json) {
            json_t *json = facts_to_json(directory, facts);

            cli_print_json(cli, json);
            json_decref(json);
        } else {
            print_plan(cli, directory, facts);
        }
    }
    free(facts);
    return status == STATUS_OK
               ? cli_fail(cli, CLI_CONFLICT, "nothing was changed: add --yes to do it")
               : exit_of(status);
}

static enum cli_exit recover(struct cli *cli, const char *directory)
{
    struct offline_made *made = memory_new_zeroed(1, sizeof *made); /* Large for a stack. */
    enum status status = offline_recover(directory, made, &cli->error);

    if (status == STATUS_OK) {
        print_made(cli, directory, made);
    }
    free(made);
    return status == STATUS_OK ? CLI_OK : exit_of(status);
}

enum cli_exit run_recover(struct cli *cli)
{
    const char *directory = cli->options->values[CLI_DATA_DIR];

    if (cli_given(cli->options, CLI_INSPECT)) {
        return inspect(cli);
    }
    return cli_given(cli->options, CLI_YES) ? recover(cli, directory) : plan(cli, directory);
}
