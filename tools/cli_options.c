/* 1. getopt_long() knows the flags of all commands, so flags and words may come in any order.
 * 2. The first words name the command; the rest are its operands.
 * 3. Each flag that was given must be one that the command knows. */
#include "tools/cli_options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/limits.h"

#define DEFAULT_TIMEOUT_MS 15000
#define MAX_TIMEOUT_MS     86400000
#define FIRST_FLAG         256 /* Behind all letters. */

enum status cli_parse_time(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value;

    if (!isdigit((unsigned char)text[0])) {
        return STATUS_INVALID;
    }
    value = strtod(text, &end);
    if (end != text + digits) {
        return STATUS_INVALID; /* An exponent, or a second point. */
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            value = value * units[i].ms + 0.5; /* Cut below: to the nearest. */
            if (value < 1 || value > (double)LIMIT_TTL_MS) {
                return STATUS_INVALID;
            }
            *ms = (uint64_t)value;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

/* Flags whose value is a whole number, with their bounds. */
static const struct {
    enum cli_flag flag;
    uint64_t least;
    uint64_t most;
} counts[] = {
    {CLI_MIN_REVISION, 0, INT64_MAX}, {CLI_LIMIT, 1, LIMIT_PAGE_ROWS},
    {CLI_EXPECTED_SEQ, 0, INT64_MAX}, {CLI_TRUNCATE_AFTER, 0, INT64_MAX},
    {CLI_AFTER, 0, INT64_MAX},        {CLI_BEFORE, 0, INT64_MAX},
    {CLI_LAST, 1, LIMIT_PAGE_ROWS},
};

static enum status check_count(enum cli_flag flag, const char *text, struct error *error)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t value;

        if (counts[i].flag != flag) {
            continue;
        }
        if (size == 0 || size > 18 || strspn(text, "0123456789") != size) {
            return error_set(error, STATUS_INVALID, "--%s: \"%s\" is not a number",
                             cli_flags[flag].name, text);
        }
        value = strtoull(text, NULL, 10);
        if (value < counts[i].least || value > counts[i].most) {
            return error_set(error, STATUS_INVALID, "--%s: %s is out of range",
                             cli_flags[flag].name, text);
        }
    }
    return STATUS_OK;
}

/* Flags whose value is one of a few words. */
static const struct {
    enum cli_flag flag;
    const char *words[4];
} choices[] = {
    {CLI_OUTPUT, {"table", "json"}},
    {CLI_ORDER, {"asc", "desc"}},
    {CLI_SORT, {"created", "updated"}},
    {CLI_STATUS, {"active", "paused", "closed"}},
    {CLI_IF_NONE_MATCH, {"", "*"}},
    {CLI_ROLE, {"voter", "standby", "spare"}},
    {CLI_CONTENT_TYPE, {"application/json", "application/octet-stream"}},
};

static enum status check_choice(enum cli_flag flag, const char *text, struct error *error)
{
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (choices[i].flag != flag) {
            continue;
        }
        for (size_t j = 0; j < 4 && choices[i].words[j] != NULL; j++) {
            if (strcmp(choices[i].words[j], text) == 0) {
                return STATUS_OK;
            }
        }
        return error_set(error, STATUS_INVALID,
                         "--%s: \"%s\" is not one of its values (try --help)", cli_flags[flag].name,
                         text);
    }
    return STATUS_OK;
}

static enum status set_time(enum cli_flag flag, const char *text, uint64_t most, uint64_t *ms,
                            struct error *error)
{
    if (cli_parse_time(text, ms) != STATUS_OK || *ms > most) {
        return error_set(error, STATUS_INVALID,
                         "--%s: \"%s\" is not a time like 500ms, 30s, 5m, 2h or 7d",
                         cli_flags[flag].name, text);
    }
    return STATUS_OK;
}

static enum status add_text(struct cli_texts *texts, enum cli_flag flag, const char *text,
                            struct error *error)
{
    if (texts->count == CLI_MAX_REPEATS) {
        return error_set(error, STATUS_INVALID, "--%s: given too often", cli_flags[flag].name);
    }
    texts->list[texts->count++] = text;
    return STATUS_OK;
}

static enum status check_revision(const char *text, struct error *error)
{
    if (strcmp(text, "*") != 0 && (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))) {
        return error_set(error, STATUS_INVALID, "--if-match: \"%s\" is neither a revision nor *",
                         text);
    }
    return STATUS_OK;
}

static enum status apply(struct cli_options *options, enum cli_flag flag, const char *text,
                         struct error *error)
{
    enum status status = check_count(flag, text, error);

    if (status == STATUS_OK) {
        status = check_choice(flag, text, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    options->values[flag] = text;
    switch (flag) {
    case CLI_ENDPOINT:
        return endpoints_add(&options->endpoints, text, error);
    case CLI_TIMEOUT:
        return set_time(flag, text, MAX_TIMEOUT_MS, &options->timeout_ms, error);
    case CLI_TTL:
        return set_time(flag, text, LIMIT_TTL_MS, &options->ttl_ms, error);
    case CLI_METADATA:
        return add_text(&options->metadata, flag, text, error);
    case CLI_EVENT_ID:
        return add_text(&options->event_ids, flag, text, error);
    case CLI_IF_MATCH:
        return check_revision(text, error);
    default:
        return STATUS_OK;
    }
}

static enum status parse_flags(int argc, char **argv, struct cli_options *options,
                               struct error *error)
{
    struct option flags[N_CLI_FLAGS + 1] = {{0}};
    char letters[2 * N_CLI_FLAGS + 2] = ":";
    enum status status;
    int found;

    for (int i = 0; i < N_CLI_FLAGS; i++) {
        flags[i].name = cli_flags[i].name;
        flags[i].has_arg = cli_flags[i].value == VALUE_NONE       ? no_argument
                           : cli_flags[i].value == VALUE_OPTIONAL ? optional_argument
                                                                  : required_argument;
        flags[i].val = FIRST_FLAG + i;
        if (cli_flags[i].letter != 0) {
            size_t end = strlen(letters);

            letters[end] = cli_flags[i].letter;
            letters[end + 1] = cli_flags[i].value == VALUE_NONE ? '\0' : ':';
        }
    }
    optind = 0; /* The value by which GNU getopt starts anew. */
    opterr = 0;
    while ((found = getopt_long(argc, argv, letters, flags, NULL)) != -1) {
        for (int i = 0; i < N_CLI_FLAGS && found < FIRST_FLAG; i++) {
            found = found == cli_flags[i].letter ? FIRST_FLAG + i : found;
        }
        if (found == ':') {
            return error_set(error, STATUS_INVALID, "%s: a value is missing", argv[optind - 1]);
        }
        if (found < FIRST_FLAG) {
            return error_set(error, STATUS_INVALID,
                             "unknown flag \"%s\" (try --help; -- ends the flags)",
                             argv[optind - 1]);
        }
        status = apply(options, (enum cli_flag)(found - FIRST_FLAG), optarg == NULL ? "" : optarg,
                       error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    options->operands = argv + optind;
    options->n_operands = (size_t)(argc - optind);
    return STATUS_OK;
}

static void drop_operands(struct cli_options *options, size_t n)
{
    options->operands += n;
    options->n_operands -= n;
}

/* Take the words that name the command from the operands. */
static enum status find_command(struct cli_options *options, struct error *error)
{
    const char *first = options->operands[0];
    const char *second = options->n_operands > 1 ? options->operands[1] : "";
    bool is_group = false;

    for (int i = 0; i < N_COMMANDS; i++) {
        const struct cli_command_info *command = &cli_commands[i];
        const char *name = command->group == NULL ? first : second;

        if (command->group != NULL && strcmp(command->group, first) != 0) {
            continue;
        }
        is_group = is_group || command->group != NULL;
        if (strcmp(command->name, name) == 0) {
            options->command = (enum cli_command)i;
            drop_operands(options, command->group == NULL ? 1 : 2);
            return STATUS_OK;
        }
    }
    if (is_group && second[0] == '\0') {
        return error_set(error, STATUS_INVALID, "\"%s\" needs a second word (try --help)", first);
    }
    return error_set(error, STATUS_INVALID, "unknown command \"%s%s%s\" (try --help)", first,
                     is_group ? " " : "", is_group ? second : "");
}

static enum status check_operands(const struct cli_options *options, struct error *error)
{
    const struct cli_command_info *command = &cli_commands[options->command];

    if (options->n_operands < command->least_operands) {
        return error_set(error, STATUS_INVALID, "\"%s\" needs %s (try --help)", command->name,
                         command->operands);
    }
    if (options->n_operands > command->most_operands) {
        return error_set(error, STATUS_INVALID, "unexpected argument \"%s\" (try --help)",
                         options->operands[command->most_operands]);
    }
    return STATUS_OK;
}

static enum status check_together(const struct cli_options *options, struct error *error)
{
    for (int flag = 0; flag < N_CLI_FLAGS; flag++) {
        if (cli_given(options, (enum cli_flag)flag) &&
            !cli_flag_fits((enum cli_flag)flag, options->command)) {
            return error_set(error, STATUS_INVALID, "--%s does not go with \"%s\" (try --help)",
                             cli_flags[flag].name, cli_commands[options->command].name);
        }
    }
    if (cli_given(options, CLI_STALE) && cli_given(options, CLI_MIN_REVISION)) {
        return error_set(error, STATUS_INVALID, "--stale and --min-revision exclude each other");
    }
    if (cli_given(options, CLI_LAST) &&
        (cli_given(options, CLI_ORDER) || cli_given(options, CLI_LIMIT) ||
         cli_given(options, CLI_ALL) || cli_given(options, CLI_CURSOR))) {
        return error_set(error, STATUS_INVALID,
                         "--last excludes --order, --limit, --cursor and --all");
    }
    if ((options->command == COMMAND_RESTORE && !cli_given(options, CLI_DATA_DIR)) ||
        (options->command == COMMAND_RECOVER && !cli_given(options, CLI_DATA_DIR) &&
         !cli_given(options, CLI_INSPECT))) {
        return error_set(error, STATUS_INVALID, "--data-dir is missing (try --help)");
    }
    if (options->command == COMMAND_RECOVER && options->n_operands > 0 &&
        !cli_given(options, CLI_INSPECT)) {
        return error_set(error, STATUS_INVALID,
                         "directories to compare need --inspect; the one to recover is --data-dir");
    }
    if (cli_given(options, CLI_INSPECT) && cli_given(options, CLI_YES)) {
        return error_set(error, STATUS_INVALID, "--inspect and --yes exclude each other");
    }
    if (options->event_ids.count != 0 && options->event_ids.count != options->n_operands - 1) {
        return error_set(error, STATUS_INVALID, "give --id for each event or for none");
    }
    return STATUS_OK;
}

static enum status set_defaults(struct cli_options *options, struct error *error)
{
    const char *endpoints = getenv("HOLDFAST_ENDPOINTS");
    const char *ns = getenv("HOLDFAST_NAMESPACE");

    options->as_json =
        cli_given(options, CLI_OUTPUT) && strcmp(options->values[CLI_OUTPUT], "json") == 0;
    options->ns = cli_given(options, CLI_NAMESPACE) ? options->values[CLI_NAMESPACE]
                  : ns != NULL && ns[0] != '\0'     ? ns
                                                    : "default";
    if (options->endpoints.count > 0) {
        return STATUS_OK;
    }
    return endpoints_add(&options->endpoints,
                         endpoints != NULL && endpoints[0] != '\0' ? endpoints : ENDPOINT_DEFAULT,
                         error);
}

enum status cli_options_parse(int argc, char **argv, struct cli_options *options,
                              enum cli_action *action, struct error *error)
{
    enum status status;

    *options = (struct cli_options){.timeout_ms = DEFAULT_TIMEOUT_MS};
    *action = CLI_RUN;
    status = parse_flags(argc, argv, options, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (cli_given(options, CLI_VERSION)) {
        *action = CLI_SHOW_VERSION;
        return STATUS_OK;
    }
    if (options->n_operands > 0 && strcmp(options->operands[0], "help") == 0) {
        options->values[CLI_HELP] = "";
        drop_operands(options, 1);
    }
    if (options->n_operands == 0) {
        *action = CLI_SHOW_HELP;
        return cli_given(options, CLI_HELP)
                   ? STATUS_OK
                   : error_set(error, STATUS_INVALID, "a command is missing (try --help)");
    }
    status = find_command(options, error);
    if (cli_given(options, CLI_HELP)) {
        *action = status == STATUS_OK ? CLI_SHOW_COMMAND_HELP : CLI_SHOW_HELP;
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = check_operands(options, error);
    }
    if (status == STATUS_OK) {
        status = check_together(options, error);
    }
    return status == STATUS_OK ? set_defaults(options, error) : status;
}

void cli_options_close(struct cli_options *options)
{
    endpoints_close(&options->endpoints);
}
