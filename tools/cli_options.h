/* What the user of holdfast asked for. Strings point into argv or the environment. One thread. */
#ifndef HOLDFAST_TOOLS_CLI_OPTIONS_H
#define HOLDFAST_TOOLS_CLI_OPTIONS_H

#include "daemon/base/error.h"
#include "tools/cli_command.h"
#include "tools/endpoint.h"

#define CLI_MAX_REPEATS 256 /* Of --metadata and --id. */

enum cli_action { CLI_RUN, CLI_SHOW_HELP, CLI_SHOW_COMMAND_HELP, CLI_SHOW_VERSION };

struct cli_texts {
    const char *list[CLI_MAX_REPEATS];
    size_t count;
};

struct cli_options {
    enum cli_command command;
    char **operands;
    size_t n_operands;
    struct endpoints endpoints;
    const char *ns;
    bool as_json;
    uint64_t timeout_ms;
    uint64_t ttl_ms; /* 0: none. */
    struct cli_texts metadata;
    struct cli_texts event_ids;
    /* The last value of each flag; NULL: not given. Of a flag without a value: "". */
    const char *values[N_CLI_FLAGS];
};

static inline bool cli_given(const struct cli_options *options, enum cli_flag flag)
{
    return options->values[flag] != NULL;
}

/* Read the arguments of main(), which are put in another order. The caller ends with
 * cli_options_close(), whatever comes back. STATUS_INVALID with what is wrong. */
MUST_USE enum status cli_options_parse(int argc, char **argv, struct cli_options *options,
                                       enum cli_action *action, struct error *error);

void cli_options_close(struct cli_options *options);

/* 500ms, 30s, 5m, 2h, 7d; a number alone is seconds. STATUS_INVALID for anything else, for 0, and
 * for more than an item's longest life. */
MUST_USE enum status cli_parse_time(const char *text, uint64_t *ms);

#endif
