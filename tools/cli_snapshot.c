/* holdfast snapshot: images of the state in files. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/limits.h"
#include "storage/feature.h"
#include "storage/image_file.h"
#include "storage/keys.h"
#include "storage/rows.h"
#include "tools/cli_download.h"
#include "tools/cli_progress.h"
#include "tools/cli_run.h"

#define FIRST_BYTE_MS (10u * 60 * 1000)
#define STANDSTILL_MS (60u * 1000)

/* What is in an image. */
struct contents {
    struct image_facts facts;
    struct image_totals totals;
    uint64_t by_kind[UINT8_MAX + 1];
    json_t *members; /* Their names. */
    unsigned feature_level;
    struct progress progress;
    uint64_t file_bytes;
};

static enum status on_record(void *data, struct slice key, struct slice payload,
                             struct error *error)
{
    struct contents *contents = data;
    struct member_row row;

    contents->by_kind[key.data[0]]++;
    if (key.data[0] == KEY_HEADER &&
        feature_level_decode(payload, &contents->feature_level) != STATUS_OK) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the state in the image has a format that a later version of Holdfast "
                         "wrote");
    }
    if (key.data[0] == KEY_MEMBER && member_row_decode(payload, &row) == STATUS_OK) {
        (void)json_array_append_new(
            contents->members,
            json_stringn(row.name.size == 0 ? "" : (const char *)row.name.data, row.name.size));
    }
    return STATUS_OK;
}

static void on_checked(void *data, uint64_t bytes)
{
    struct contents *contents = data;

    progress_show(&contents->progress, bytes, contents->file_bytes);
}

/* Check all of @file, and count what is in it. The caller releases contents->members. */
static enum status read_contents(const struct image_file *file, struct contents *contents,
                                 struct error *error)
{
    struct image_reader *reader = image_reader_open();
    enum status status;

    *contents = (struct contents){.members = json_array(),
                                  .feature_level = FEATURE_LEVEL_FIRST,
                                  .file_bytes = image_file_bytes(file)};
    progress_begin(&contents->progress, "verifying");
    status = image_file_feed(file, reader, on_record, contents, on_checked, error);
    progress_end(&contents->progress);
    if (status == STATUS_OK) {
        contents->facts = *image_reader_facts(reader);
        contents->totals = *image_reader_totals(reader);
    }
    image_reader_close(reader);
    return status;
}

static enum cli_exit open_and_read(struct cli *cli, const char *path, struct contents *contents)
{
    struct image_file *file;
    enum status status = image_file_open(path, &file, &cli->error);

    if (status != STATUS_OK) {
        return CLI_FAILURE;
    }
    status = read_contents(file, contents, &cli->error);
    image_file_close(file);
    if (status != STATUS_OK) {
        json_decref(contents->members);
        return CLI_FAILURE;
    }
    return CLI_OK;
}

/* --- Printing --- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *contents_to_json(const char *path, const struct contents *contents)
{
    const struct state *state = &contents->facts.state;
    char digest[2 * IMAGE_DIGEST_BYTES + 1];
    char hash_text[33];
    char time_text[TEXT_TIME_BYTES];
    uint64_t hash[2];

    store_state_hash(state, hash);
    (void)snprintf(hash_text, sizeof hash_text, "%016" PRIx64 "%016" PRIx64, hash[1], hash[0]);
    image_digest_text(contents->totals.digest, digest);
    text_time(state->time_ms, time_text);
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O}",
        "file", path, "cluster_id", contents->facts.cluster_id, "revision", number(state->revision),
        "applied_index", number(state->applied_index), "term", number(state->applied_term),
        "feature_level", number(contents->feature_level), "time", time_text, "state_hash",
        hash_text, "digest", digest, "bytes", number(contents->totals.file_bytes), "content_bytes",
        number(contents->totals.content_bytes), "records", number(contents->totals.records),
        "namespaces", number(contents->by_kind[KEY_NAMESPACE]), "sessions",
        number(contents->by_kind[KEY_SESSION]), "events", number(contents->by_kind[KEY_EVENT]),
        "items", number(contents->by_kind[KEY_ITEM]), "members", contents->members);
}

static void add_row(struct table *table, const json_t *json, const char *name, const char *label)
{
    table_add_string(table, label);
    cli_add_cell(table, json, name);
}

static void print_contents(struct cli *cli, const json_t *json)
{
    static const char *const heading[] = {"IMAGE", "", NULL};
    static const char *const rows[][2] = {
        {"file", "file"},
        {"cluster_id", "cluster"},
        {"revision", "revision"},
        {"time", "time"},
        {"applied_index", "log index"},
        {"term", "term"},
        {"feature_level", "features"},
        {"members", "members"},
        {"namespaces", "namespaces"},
        {"sessions", "sessions"},
        {"events", "events"},
        {"items", "items"},
        {"records", "records"},
        {"bytes", "bytes"},
        {"content_bytes", "uncompressed"},
        {"state_hash", "state hash"},
        {"digest", "digest"},
    };
    struct table table;

    table_init(&table, heading);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        add_row(&table, json, rows[i][0], rows[i][1]);
    }
    cli_print_table(cli, &table);
}

/* One line, or all of it as JSON. Releases the members. */
static void print_summary(struct cli *cli, const char *path, struct contents *contents,
                          const char *what)
{
    json_t *json = contents_to_json(path, contents);
    char time_text[TEXT_TIME_BYTES];

    if (cli->options->as_json) {
        cli_print_json(cli, json);
    } else {
        text_time(contents->facts.state.time_ms, time_text);
        text_append_escaped(&cli->out, slice_of_string(path), TEXT_LINE);
        buffer_append_format(&cli->out, ": %s, revision %" PRIu64 " of %s, %" PRIu64 " records, ",
                             what, contents->facts.state.revision, time_text,
                             contents->totals.records);
        progress_append_bytes(&cli->out, contents->totals.file_bytes);
        buffer_append_byte(&cli->out, '\n');
    }
    json_decref(json);
    json_decref(contents->members);
}

/* --- The commands --- */

enum cli_exit run_snapshot_verify(struct cli *cli)
{
    const char *path = cli->options->operands[0];
    struct contents contents;
    enum cli_exit code = open_and_read(cli, path, &contents);

    if (code == CLI_OK) {
        print_summary(cli, path, &contents, "intact");
    }
    return code;
}

enum cli_exit run_snapshot_inspect(struct cli *cli)
{
    const char *path = cli->options->operands[0];
    struct contents contents;
    enum cli_exit code = open_and_read(cli, path, &contents);
    json_t *json;

    if (code != CLI_OK) {
        return code;
    }
    json = contents_to_json(path, &contents);
    if (cli->options->as_json) {
        cli_print_json(cli, json);
    } else {
        print_contents(cli, json);
    }
    json_decref(json);
    json_decref(contents.members);
    return CLI_OK;
}

static void on_received(void *data, uint64_t done, uint64_t of)
{
    progress_show(data, done, of);
}

static enum cli_exit receive(struct cli *cli, int fd)
{
    struct client_request request = {.method = "GET"};
    struct progress progress;
    struct download download = {
        .endpoints = &cli->options->endpoints,
        .fd = fd,
        .first_byte_ms = FIRST_BYTE_MS,
        .standstill_ms = STANDSTILL_MS,
        .on_progress = on_received,
        .data = &progress,
    };
    enum cli_exit code;

    if (cli_given(cli->options, CLI_TIMEOUT)) {
        download.first_byte_ms = cli->options->timeout_ms;
        download.standstill_ms = cli->options->timeout_ms;
    }
    buffer_append_string(&request.path, "/v1/snapshot");
    cli_add_flags(cli, &request);
    buffer_append_byte(&request.path, 0);
    download.path = (const char *)request.path.data;
    progress_begin(&progress, "receiving");
    code = download_run(&download, &cli->error);
    progress_end(&progress);
    client_request_close(&request);
    return code;
}

/* Check what is in @fd, which is taken, and make it durable. */
static enum cli_exit check_received(struct cli *cli, int fd, const char *path,
                                    struct contents *contents)
{
    struct image_file *file;

    if (fsync(fd) != 0) {
        (void)close(fd); /* The first failure is the one to tell. */
        (void)files_error("flush", path, &cli->error);
        return CLI_FAILURE;
    }
    if (image_file_of(fd, path, &file, &cli->error) != STATUS_OK) {
        return CLI_FAILURE;
    }
    if (read_contents(file, contents, &cli->error) != STATUS_OK) {
        image_file_close(file);
        json_decref(contents->members);
        return CLI_FAILURE;
    }
    image_file_close(file);
    return CLI_OK;
}

static enum cli_exit save(struct cli *cli, const char *partial, const char *path)
{
    struct contents contents;
    int fd = open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum cli_exit code;

    if (fd < 0) {
        (void)files_error("make", partial, &cli->error);
        return CLI_FAILURE;
    }
    code = receive(cli, fd);
    if (code != CLI_OK) {
        (void)close(fd); /* What is in it is of no use. */
        return code;
    }
    code = check_received(cli, fd, partial, &contents);
    if (code != CLI_OK) {
        return code;
    }
    if (rename(partial, path) != 0) {
        (void)files_error("replace", path, &cli->error);
        code = CLI_FAILURE;
    } else if (files_sync_parent(path, &cli->error) != STATUS_OK) {
        code = CLI_FAILURE;
    }
    if (code != CLI_OK) {
        json_decref(contents.members);
        return code;
    }
    print_summary(cli, path, &contents, "saved and verified");
    return CLI_OK;
}

enum cli_exit run_snapshot_save(struct cli *cli)
{
    const char *path = cli->options->operands[0];
    char *partial = files_join(path, ".partial");
    enum cli_exit code = save(cli, partial, path);

    if (code != CLI_OK) {
        (void)unlink(partial); /* It may not be there. */
    }
    free(partial);
    return code;
}
