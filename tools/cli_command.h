/* The commands of holdfast and their flags, in one table each, and the help that is made from them.
 */
#ifndef HOLDFAST_TOOLS_CLI_COMMAND_H
#define HOLDFAST_TOOLS_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buffer.h"

enum cli_command {
    COMMAND_STATUS,
    COMMAND_GET,
    COMMAND_PUT,
    COMMAND_DELETE,
    COMMAND_LIST,
    COMMAND_SESSION_CREATE,
    COMMAND_SESSION_GET,
    COMMAND_SESSION_LIST,
    COMMAND_SESSION_APPEND,
    COMMAND_SESSION_EVENTS,
    COMMAND_SESSION_DELETE,
    COMMAND_MEMBER_LIST,
    COMMAND_MEMBER_ADD,
    COMMAND_MEMBER_REMOVE,
    COMMAND_MEMBER_REPLACE,
    COMMAND_MEMBER_PROMOTE,
    COMMAND_MEMBER_DEMOTE,
    COMMAND_TRANSFER,
    COMMAND_DRAIN,
    COMMAND_SNAPSHOT_SAVE,
    COMMAND_SNAPSHOT_VERIFY,
    COMMAND_SNAPSHOT_INSPECT,
    COMMAND_ARCHIVE_LIST,
    COMMAND_ARCHIVE_NOW,
    COMMAND_ARCHIVE_VERIFY,
    COMMAND_ARCHIVE_SHOW,
    COMMAND_ARCHIVE_PIN,
    COMMAND_ARCHIVE_UNPIN,
    COMMAND_ARCHIVE_PRUNE,
    COMMAND_ARCHIVE_COPY,
    COMMAND_RESTORE,
    COMMAND_RECOVER,
    N_COMMANDS
};

struct cli_command_info {
    const char *group; /* "session", or NULL. */
    const char *name;
    const char *operands;
    size_t least_operands;
    size_t most_operands; /* SIZE_MAX: any number. */
    const char *summary;
    const char *text; /* Paragraphs and examples for --help. */
};

extern const struct cli_command_info cli_commands[N_COMMANDS];

/* Each flag's value goes into the field of struct cli_options of the same name. */
enum cli_flag {
    CLI_ENDPOINT,
    CLI_NAMESPACE,
    CLI_OUTPUT,
    CLI_TIMEOUT,
    CLI_HELP,
    CLI_VERSION,
    CLI_STALE,
    CLI_MIN_REVISION,
    CLI_TTL,
    CLI_IF_MATCH,
    CLI_IF_NONE_MATCH,
    CLI_CONTENT_TYPE,
    CLI_STRING,
    CLI_AGENT,
    CLI_USER,
    CLI_METADATA,
    CLI_STATE,
    CLI_STATUS,
    CLI_SORT,
    CLI_ORDER,
    CLI_LIMIT,
    CLI_CURSOR,
    CLI_ALL,
    CLI_TYPE,
    CLI_CREATE,
    CLI_EVENT_ID,
    CLI_EXPECTED_SEQ,
    CLI_TRUNCATE_AFTER,
    CLI_AFTER,
    CLI_BEFORE,
    CLI_LAST,
    CLI_DATA_DIR,
    CLI_NAME,
    CLI_PEER_ADDRESS,
    CLI_API_ADDRESS,
    CLI_INSPECT,
    CLI_YES,
    CLI_ZONE,
    CLI_ROLE,
    CLI_FORCE,
    CLI_TO,
    CLI_UNDO,
    CLI_TO_REVISION,
    CLI_TO_TIME,
    CLI_CLUSTER,
    CLI_KEY_FILE,
    CLI_WORK_DIR,
    CLI_RETENTION,
    N_CLI_FLAGS
};

enum cli_value { VALUE_NONE, VALUE_OPTIONAL, VALUE_REQUIRED };

struct cli_flag_info {
    const char *name;
    char letter; /* 0: none. */
    enum cli_value value;
    const char *placeholder;
    uint32_t commands; /* Bits of those that know it; 0: all. */
    const char *help;
};

extern const struct cli_flag_info cli_flags[N_CLI_FLAGS];

bool cli_flag_fits(enum cli_flag flag, enum cli_command command);

/* Append the help of all, or of one command. */
void cli_append_help(struct buffer *out);
void cli_append_command_help(struct buffer *out, enum cli_command command);

#endif
