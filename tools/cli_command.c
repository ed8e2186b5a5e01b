#include "tools/cli_command.h"

#include <stdio.h>

#include "tools/endpoint.h"

const struct cli_command_info cli_commands[N_COMMANDS] = {
    [COMMAND_STATUS] = {NULL, "status", "", 0, 0,
                        "show the members, the leader, and who lags behind",
                        "Asks one node, which answers without a leader too. Warnings are written "
                        "below the table.\n"
                        "The exit status is 5 if there is no leader.\n"
                        "\n"
                        "Examples:\n"
                        "  holdfast status\n"
                        "  holdfast status -o json | jq .leader\n"},
    [COMMAND_GET] =
        {NULL, "get", "KEY", 1, 1, "print the value of an item",
         "Prints the value alone, byte for byte. On a terminal, characters that could mislead you\n"
         "are escaped, and a value that is not JSON is not shown. With -o json the value comes\n"
         "with its key, revision, content type and time of expiry.\n"
         "\n"
         "Examples:\n"
         "  holdfast get settings/theme\n"
         "  holdfast get avatar.png >avatar.png\n"
         "  holdfast get --stale settings/theme        # from the local state of one node, at "
         "once\n"},
    [COMMAND_PUT] =
        {NULL, "put", "KEY VALUE", 2, 2, "write an item",
         "VALUE is JSON; - reads it from standard input and @FILE from a file. Put -- in front of\n"
         "a KEY or VALUE that begins with a dash.\n"
         "\n"
         "Examples:\n"
         "  holdfast put settings/theme '{\"dark\": true}'\n"
         "  holdfast put greeting --string 'hello, world'\n"
         "  holdfast put avatar.png @avatar.png --content-type application/octet-stream\n"
         "  holdfast put locks/nightly '\"me\"' --if-none-match --ttl 30s   # take a lock\n"
         "  holdfast put counter 8 --if-match 41       # only if nobody wrote since revision 41\n"},
    [COMMAND_DELETE] =
        {NULL, "delete", "KEY", 1, 1, "remove an item",
         "Examples:\n"
         "  holdfast delete settings/theme\n"
         "  holdfast delete locks/nightly --if-match 42  # give back our own lock\n"},
    [COMMAND_LIST] = {NULL, "list", "[PREFIX]", 0, 1, "list items, by key",
                      "Examples:\n"
                      "  holdfast list settings/\n"
                      "  holdfast list --all -o json\n"},
    [COMMAND_SESSION_CREATE] =
        {"session", "create", "[ID]", 0, 1, "make a session",
         "Without an ID the server makes one. With an ID, a session that exists gets this "
         "document\n"
         "instead of its own and keeps its log; --if-none-match refuses that.\n"
         "\n"
         "Examples:\n"
         "  holdfast session create --agent support --user u7\n"
         "  holdfast session create s1 --if-none-match --metadata team=blue --state '{\"n\": "
         "1}'\n"},
    [COMMAND_SESSION_GET] = {"session", "get", "ID", 1, 1, "show a session's document",
                             "Examples:\n"
                             "  holdfast session get s1\n"
                             "  holdfast session get s1 -o json | jq .state\n"},
    [COMMAND_SESSION_LIST] = {"session", "list", "", 0, 0, "list sessions, the newest first",
                              "Examples:\n"
                              "  holdfast session list --agent support --status active\n"
                              "  holdfast session list --sort updated --limit 10\n"},
    [COMMAND_SESSION_APPEND] =
        {"session", "append", "ID DATA...", 2, 257, "append events to a session's log",
         "Each DATA is the JSON of one event; - reads it from standard input and @FILE from a "
         "file.\n"
         "All of them are appended, or none.\n"
         "\n"
         "Examples:\n"
         "  holdfast session append s1 '{\"role\": \"user\", \"text\": \"hi\"}'\n"
         "  holdfast session append s2 --create --string 'first words'\n"
         "  holdfast session append s1 '{\"n\": 2}' --expected-seq 1    # only if 1 is the last\n"},
    [COMMAND_SESSION_EVENTS] = {"session", "events", "ID", 1, 1, "show a session's log",
                                "Examples:\n"
                                "  holdfast session events s1 --last 20\n"
                                "  holdfast session events s1 --after 100 --all -o json\n"},
    [COMMAND_SESSION_DELETE] = {"session", "delete", "ID", 1, 1, "remove a session and its log",
                                "Examples:\n"
                                "  holdfast session delete s1\n"},
    [COMMAND_MEMBER_LIST] = {"member", "list", "", 0, 0, "show the members",
                             "The same as holdfast status.\n"
                             "\n"
                             "Examples:\n"
                             "  holdfast member list -o json | jq '.members[].name'\n"},
    [COMMAND_MEMBER_ADD] =
        {"member", "add", "NAME", 1, 1, "take in a node that waits to join",
         "A node that was started with --join asks for this itself; use it where the node does "
         "not\n"
         "reach the cluster's API. The leader connects to the node before anything changes.\n"
         "Without --role it becomes a voter when it has caught up, if there are fewer voters than\n"
         "--target-voters of the leader says.\n"
         "\n"
         "Examples:\n"
         "  holdfast member add n4 --peer-address 10.0.0.4:7081 --api-address 10.0.0.4:7080\n"},
    [COMMAND_MEMBER_REMOVE] =
        {"member", "remove", "NAME", 1, 1, "remove a member, for good",
         "A leader hands leadership over first. The node learns that it was removed and ends; its\n"
         "data directory is of no use any more. What would leave too few voters is refused.\n"
         "\n"
         "Examples:\n"
         "  holdfast member remove n3\n"
         "  holdfast member remove n3 --force   # while another voter is missing, too\n"},
    [COMMAND_MEMBER_REPLACE] =
        {"member", "replace", "OLD NEW", 2, 2, "give the vote of one member to another",
         "NEW has joined before and has caught up. OLD is removed: if it is well, after NEW has\n"
         "become a voter; else before.\n"
         "\n"
         "Examples:\n"
         "  holdfast member replace n3 n4\n"},
    [COMMAND_MEMBER_PROMOTE] = {"member", "promote", "NAME", 1, 1, "make a voter of a standby",
                                "It has to be well; what it lacks is sent to it first.\n"
                                "\n"
                                "Examples:\n"
                                "  holdfast member promote n4\n"},
    [COMMAND_MEMBER_DEMOTE] =
        {"member", "demote", "NAME", 1, 1, "take the vote of a member",
         "As a standby it goes on getting everything; as a spare (--role spare) nothing.\n"
         "\n"
         "Examples:\n"
         "  holdfast member demote n3           # dead for longer: the others go on without it\n"},
    [COMMAND_TRANSFER] = {NULL, "transfer", "", 0, 0, "let another voter lead",
                          "Examples:\n"
                          "  holdfast transfer\n"
                          "  holdfast transfer --to n2\n"},
    [COMMAND_DRAIN] =
        {NULL, "drain", "NAME", 1, 1, "keep leadership away from a member",
         "It hands leadership over and takes none, until it is undrained or started again: for\n"
         "work on its machine. It stays a voter, and serves clients.\n"
         "\n"
         "Examples:\n"
         "  holdfast drain n1\n"
         "  holdfast drain n1 --undo\n"},
    [COMMAND_SNAPSHOT_SAVE] =
        {"snapshot", "save", "FILE", 1, 1, "fetch the whole state into a file, and verify it",
         "The file holds everything that was acknowledged before the command began. It is written\n"
         "to FILE.partial, continued if the connection breaks, verified, and only then put in the\n"
         "place of FILE. --timeout is for a standstill, not for the whole: without it, 60s, and "
         "10m\n"
         "until the first byte, as the node writes the image to its own disk first.\n"
         "\n"
         "Examples:\n"
         "  holdfast snapshot save backup.image\n"
         "  holdfast snapshot save --stale backup.image   # what one node has, without the "
         "leader\n"},
    [COMMAND_SNAPSHOT_VERIFY] = {"snapshot", "verify", "FILE", 1, 1,
                                 "check every byte of such a file",
                                 "Needs no cluster.\n"
                                 "\n"
                                 "Examples:\n"
                                 "  holdfast snapshot verify backup.image && echo good\n"},
    [COMMAND_SNAPSHOT_INSPECT] =
        {"snapshot", "inspect", "FILE", 1, 1, "say what is in such a file, and check it",
         "Needs no cluster.\n"
         "\n"
         "Examples:\n"
         "  holdfast snapshot inspect backup.image\n"
         "  holdfast snapshot inspect backup.image -o json | jq .revision\n"},
    [COMMAND_RESTORE] =
        {NULL, "restore", "FILE|URL", 1, 1,
         "make a new cluster of one node from a snapshot or an archive",
         "Fills DIR, which has to be missing or empty. The cluster is a new one: it has its own\n"
         "UUID, and its revisions go on far above those of the old one. Start the node on DIR as\n"
         "the output says; others join it. A restore that was cut off is run again.\n"
         "\n"
         "From an archive, the newest point is restored, or the last one that is not behind\n"
         "--to-revision or --to-time; after each step of the way the state is compared with what\n"
         "it was.\n"
         "\n"
         "Examples:\n"
         "  holdfast restore backup.image --data-dir /var/lib/holdfast --name n1\n"
         "  holdfast restore file:///mnt/n1/archive --data-dir /var/lib/holdfast\n"
         "  holdfast restore file:///mnt/n1/archive --to-time 2026-11-29T12:00:00Z --data-dir "
         "/srv/h\n"},
    [COMMAND_ARCHIVE_LIST] =
        {"archive", "list", "[URL]", 0, 1, "show what is archived, where, and how far behind it is",
         "Asks a node; with a URL, looks into that repository itself and needs no cluster.\n"
         "\n"
         "Examples:\n"
         "  holdfast archive list\n"
         "  holdfast archive list file:///var/lib/holdfast/archive\n"},
    [COMMAND_ARCHIVE_NOW] = {"archive", "now", "", 0, 0,
                             "archive all that was executed, and make a full",
                             "Asks one node, and waits until all its repositories have it.\n"
                             "\n"
                             "Examples:\n"
                             "  holdfast archive now --timeout 10m\n"},
    [COMMAND_ARCHIVE_VERIFY] =
        {"archive", "verify", "URL", 1, 1, "restore an archive to a scratch directory, and compare",
         "Every object is checked, every step is executed, and the state is compared with what it\n"
         "was, after each. What was restored is removed again.\n"
         "\n"
         "Examples:\n"
         "  holdfast archive verify file:///var/lib/holdfast/archive && echo good\n"},
    [COMMAND_ARCHIVE_SHOW] =
        {"archive", "show", "URL FULL", 2, 2, "show what one full is of, and what it consists of",
         "FULL is what \"archive list\" calls it.\n"
         "\n"
         "Examples:\n"
         "  holdfast archive show file:///mnt/archive 00000000000000000700-5d0a61c2\n"},
    [COMMAND_ARCHIVE_PIN] =
        {"archive", "pin", "URL FULL", 2, 2, "keep a full, however old it gets",
         "Examples:\n"
         "  holdfast archive list file:///mnt/archive\n"
         "  holdfast archive pin file:///mnt/archive 00000000000000000700-5d0a61c2\n"},
    [COMMAND_ARCHIVE_UNPIN] =
        {"archive", "unpin", "URL FULL", 2, 2, "keep it as long as others are, and no longer",
         "Examples:\n"
         "  holdfast archive unpin file:///mnt/archive 00000000000000000700-5d0a61c2\n"},
    [COMMAND_ARCHIVE_PRUNE] =
        {"archive", "prune", "URL", 1, 1, "remove what is old from a repository",
         "Nodes do that by themselves, for what they archive: this is for copies, and for "
         "clusters\n"
         "that are not there any more. Every point of --retention days stays, what is pinned, and\n"
         "the newest full of each chain with what follows. Without --yes it says what would go.\n"
         "\n"
         "Examples:\n"
         "  holdfast archive prune 's3://second?region=eu-north-1' --retention 90\n"
         "  holdfast archive prune 's3://second?region=eu-north-1' --retention 90 --yes\n"},
    [COMMAND_ARCHIVE_COPY] =
        {"archive", "copy", "FROM TO", 2, 2, "copy to another repository what it does not have",
         "Whole or not at all: a full counts there when all of it is there. Run it as often as "
         "you\n"
         "like. What is encrypted stays so, and needs no key to be copied.\n"
         "\n"
         "Examples:\n"
         "  holdfast archive copy file:///mnt/archive 's3://second?region=eu-north-1'\n"},
    [COMMAND_RECOVER] =
        {NULL, "recover", "[DIR...]", 0, 64,
         "make a survivor a new cluster of one, when a majority is lost for good",
         "Only when the other voters will never come back: what they alone had is lost. No node "
         "may\n"
         "run on DIR. Without --yes it says what is there and what could be missing, and changes\n"
         "nothing. The cluster is a new one, with its own UUID: nodes of the old one can neither\n"
         "join nor disturb it. With several survivors, use the one that --inspect calls newest.\n"
         "\n"
         "Examples:\n"
         "  holdfast recover --inspect /mnt/n1 /mnt/n2       # which one is newest?\n"
         "  holdfast recover --data-dir /var/lib/holdfast    # what would be done\n"
         "  holdfast recover --data-dir /var/lib/holdfast --yes\n"},
};

#define BIT(command) (1u << COMMAND_##command)
#define READS                                                                                      \
    (BIT(GET) | BIT(LIST) | BIT(SESSION_GET) | BIT(SESSION_LIST) | BIT(SESSION_EVENTS) |           \
     BIT(SNAPSHOT_SAVE))
#define FROM_ARCHIVE  (BIT(RESTORE) | BIT(ARCHIVE_VERIFY))
#define LISTS         (BIT(LIST) | BIT(SESSION_LIST) | BIT(SESSION_EVENTS))
#define PRECONDITIONS (BIT(PUT) | BIT(DELETE) | BIT(SESSION_CREATE) | BIT(SESSION_DELETE))

const struct cli_flag_info cli_flags[N_CLI_FLAGS] = {
    [CLI_ENDPOINT] = {"endpoint", 'e', VALUE_REQUIRED, "URL", 0,
                      "a node; several by commas or by repeating it, the first one that answers is "
                      "used [HOLDFAST_ENDPOINTS, else " ENDPOINT_DEFAULT "]"},
    [CLI_NAMESPACE] = {"namespace", 'n', VALUE_REQUIRED, "NAME", 0,
                       "[HOLDFAST_NAMESPACE, else default]"},
    [CLI_OUTPUT] = {"output", 'o', VALUE_REQUIRED, "table|json", 0, "[table]"},
    [CLI_TIMEOUT] = {"timeout", 't', VALUE_REQUIRED, "TIME", 0,
                     "for the whole command, with all attempts [15s]"},
    [CLI_HELP] = {"help", 'h', VALUE_NONE, NULL, 0, "print this and exit"},
    [CLI_VERSION] = {"version", 0, VALUE_NONE, NULL, 0, "print the version and exit"},
    [CLI_STALE] = {"stale", 0, VALUE_NONE, NULL, READS,
                   "read what one node has, without asking the others"},
    [CLI_MIN_REVISION] = {"min-revision", 0, VALUE_REQUIRED, "N", READS,
                          "read what one node has, once it has reached revision N"},
    [CLI_TTL] = {"ttl", 0, VALUE_REQUIRED, "TIME", BIT(PUT) | BIT(SESSION_CREATE),
                 "expire after so long: 500ms, 30s, 5m, 2h, 7d"},
    [CLI_IF_MATCH] = {"if-match", 0, VALUE_REQUIRED, "N|*", PRECONDITIONS,
                      "only if it is at revision N (*: only if it exists)"},
    [CLI_IF_NONE_MATCH] = {"if-none-match", 0, VALUE_OPTIONAL, NULL, BIT(PUT) | BIT(SESSION_CREATE),
                           "only if it does not exist"},
    [CLI_CONTENT_TYPE] = {"content-type", 0, VALUE_REQUIRED, "TYPE", BIT(PUT),
                          "application/json or application/octet-stream [the first]"},
    [CLI_STRING] = {"string", 0, VALUE_NONE, NULL, BIT(PUT) | BIT(SESSION_APPEND),
                    "the value is text: write it as a JSON string"},
    [CLI_AGENT] = {"agent", 0, VALUE_REQUIRED, "ID", BIT(SESSION_CREATE) | BIT(SESSION_LIST),
                   "the session's agent"},
    [CLI_USER] = {"user", 0, VALUE_REQUIRED, "ID",
                  BIT(PUT) | BIT(SESSION_CREATE) | BIT(SESSION_LIST), "whom it belongs to"},
    [CLI_METADATA] = {"metadata", 0, VALUE_REQUIRED, "KEY=VALUE", BIT(SESSION_CREATE),
                      "may be repeated"},
    [CLI_STATE] = {"state", 0, VALUE_REQUIRED, "JSON", BIT(SESSION_CREATE),
                   "an object; also - or @FILE"},
    [CLI_STATUS] = {"status", 0, VALUE_REQUIRED, "STATUS", BIT(SESSION_CREATE) | BIT(SESSION_LIST),
                    "active, paused or closed"},
    [CLI_SORT] = {"sort", 0, VALUE_REQUIRED, "created|updated", BIT(SESSION_LIST), "[created]"},
    [CLI_ORDER] = {"order", 0, VALUE_REQUIRED, "asc|desc", LISTS, NULL},
    [CLI_LIMIT] = {"limit", 0, VALUE_REQUIRED, "N", LISTS, "rows of one page, 1 to 500 [50]"},
    [CLI_CURSOR] = {"cursor", 0, VALUE_REQUIRED, "CURSOR", LISTS, "go on behind an earlier page"},
    [CLI_ALL] = {"all", 0, VALUE_NONE, NULL, LISTS, "all pages"},
    [CLI_TYPE] = {"type", 0, VALUE_REQUIRED, "TYPE", BIT(SESSION_APPEND),
                  "of the events [message]"},
    [CLI_CREATE] = {"create", 0, VALUE_NONE, NULL, BIT(SESSION_APPEND),
                    "make the session if it is absent"},
    [CLI_EVENT_ID] = {"id", 0, VALUE_REQUIRED, "ID", BIT(SESSION_APPEND),
                      "the event's id, under which it is appended once; repeat for each DATA"},
    [CLI_EXPECTED_SEQ] = {"expected-seq", 0, VALUE_REQUIRED, "N", BIT(SESSION_APPEND),
                          "only if N is the last event (0: none)"},
    [CLI_TRUNCATE_AFTER] = {"truncate-after", 0, VALUE_REQUIRED, "N", BIT(SESSION_APPEND),
                            "first remove all events behind N"},
    [CLI_AFTER] = {"after", 0, VALUE_REQUIRED, "N", BIT(SESSION_EVENTS), "only events behind N"},
    [CLI_BEFORE] = {"before", 0, VALUE_REQUIRED, "N", BIT(SESSION_EVENTS),
                    "only events in front of N"},
    [CLI_LAST] = {"last", 0, VALUE_REQUIRED, "N", BIT(SESSION_EVENTS),
                  "the last N events (1 to 500), the oldest of them first"},
    [CLI_DATA_DIR] = {"data-dir", 0, VALUE_REQUIRED, "DIR", BIT(RESTORE) | BIT(RECOVER),
                      "the node's data directory (required)"},
    [CLI_NAME] = {"name", 0, VALUE_REQUIRED, "NAME", BIT(RESTORE), "of the node [n1]"},
    [CLI_PEER_ADDRESS] = {"peer-address", 0, VALUE_REQUIRED, "HOST:PORT",
                          BIT(RESTORE) | BIT(MEMBER_ADD),
                          "where other nodes reach it [127.0.0.1:7081]"},
    [CLI_API_ADDRESS] = {"api-address", 0, VALUE_REQUIRED, "HOST:PORT",
                         BIT(RESTORE) | BIT(MEMBER_ADD), "where clients reach it [127.0.0.1:7080]"},
    [CLI_INSPECT] = {"inspect", 0, VALUE_NONE, NULL, BIT(RECOVER),
                     "only look at the directories, and compare them"},
    [CLI_YES] = {"yes", 0, VALUE_NONE, NULL, BIT(RECOVER) | BIT(ARCHIVE_PRUNE), "do it"},
    [CLI_ZONE] = {"zone", 0, VALUE_REQUIRED, "ZONE", BIT(MEMBER_ADD), "where it is"},
    [CLI_ROLE] = {"role", 0, VALUE_REQUIRED, "ROLE", BIT(MEMBER_ADD) | BIT(MEMBER_DEMOTE),
                  "voter, standby or spare"},
    [CLI_FORCE] = {"force", 0, VALUE_NONE, NULL,
                   BIT(MEMBER_REMOVE) | BIT(MEMBER_REPLACE) | BIT(MEMBER_PROMOTE) |
                       BIT(MEMBER_DEMOTE),
                   "also while voters are missing, as long as a majority is well"},
    [CLI_TO] = {"to", 0, VALUE_REQUIRED, "NAME", BIT(TRANSFER), "to this member"},
    [CLI_TO_REVISION] = {"to-revision", 0, VALUE_REQUIRED, "N", FROM_ARCHIVE,
                         "only up to this revision"},
    [CLI_TO_TIME] = {"to-time", 0, VALUE_REQUIRED, "TIME", FROM_ARCHIVE,
                     "only up to this time of the cluster, like 2026-11-29T12:00:00Z"},
    [CLI_CLUSTER] = {"cluster", 0, VALUE_REQUIRED, "UUID",
                     FROM_ARCHIVE | BIT(ARCHIVE_LIST) | BIT(ARCHIVE_SHOW) | BIT(ARCHIVE_PIN) |
                         BIT(ARCHIVE_UNPIN) | BIT(ARCHIVE_PRUNE) | BIT(ARCHIVE_COPY),
                     "of this cluster, if there are several"},
    [CLI_KEY_FILE] = {"archive-key-file", 0, VALUE_REQUIRED, "FILE",
                      FROM_ARCHIVE | BIT(ARCHIVE_LIST) | BIT(ARCHIVE_PRUNE),
                      "the keys of an encrypted archive"},
    [CLI_WORK_DIR] = {"work-dir", 0, VALUE_REQUIRED, "DIR",
                      BIT(ARCHIVE_VERIFY) | BIT(ARCHIVE_PIN) | BIT(ARCHIVE_COPY),
                      "where there is room: for all of the state (verify), 64 MiB (copy) "
                      "[TMPDIR, else /tmp]"},
    [CLI_RETENTION] = {"retention", 0, VALUE_REQUIRED, "DAYS", BIT(ARCHIVE_PRUNE),
                       "keep every point of so many days [30]"},
    [CLI_UNDO] = {"undo", 0, VALUE_NONE, NULL, BIT(DRAIN), "it may lead again"},
};

bool cli_flag_fits(enum cli_flag flag, enum cli_command command)
{
    return cli_flags[flag].commands == 0 || (cli_flags[flag].commands & 1u << command) != 0;
}

static void append_flag(struct buffer *out, const struct cli_flag_info *flag)
{
    char letter[8] = "    ";
    char text[64];

    if (flag->letter != 0) {
        (void)snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    }
    (void)snprintf(text, sizeof text, "%s--%s%s%s", letter, flag->name,
                   flag->placeholder == NULL ? "" : " ",
                   flag->placeholder == NULL ? "" : flag->placeholder);
    buffer_append_format(out, "  %-28s %s\n", text, flag->help == NULL ? "" : flag->help);
}

static void append_common_flags(struct buffer *out)
{
    for (int flag = 0; flag < N_CLI_FLAGS; flag++) {
        if (cli_flags[flag].commands == 0) {
            append_flag(out, &cli_flags[flag]);
        }
    }
}

static const char exit_text[] =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict or a precondition that\n"
    "does not hold, 5 unavailable, or an outcome that is not known.\n";

void cli_append_help(struct buffer *out)
{
    buffer_append_string(out, "holdfast talks to a Holdfast cluster.\n"
                              "\n"
                              "usage: holdfast COMMAND [OPERAND...] [FLAG...]\n"
                              "\n");
    for (int i = 0; i < N_COMMANDS; i++) {
        const struct cli_command_info *command = &cli_commands[i];
        char text[64];

        (void)snprintf(text, sizeof text, "%s%s%s %s", command->group == NULL ? "" : command->group,
                       command->group == NULL ? "" : " ", command->name, command->operands);
        buffer_append_format(out, "  %-28s %s\n", text, command->summary);
    }
    buffer_append_string(out,
                         "\nFlags of all commands (holdfast COMMAND --help shows the others):\n");
    append_common_flags(out);
    buffer_append_string(
        out, "\n"
             "Any node will do. With several endpoints, a node that does not answer or\n"
             "cannot serve is passed over. A write is safe to repeat: each attempt of one\n"
             "command carries the same idempotency key, so it is executed once.\n"
             "\n"
             "Examples:\n"
             "  holdfast status\n"
             "  holdfast put greeting '\"hello\"' && holdfast get greeting\n"
             "  holdfast session create s1 && holdfast session append s1 '{\"text\": \"hi\"}'\n"
             "  HOLDFAST_ENDPOINTS=http://n1:7080,http://n2:7080 holdfast session list\n"
             "\n");
    buffer_append_string(out, exit_text);
}

void cli_append_command_help(struct buffer *out, enum cli_command command)
{
    const struct cli_command_info *info = &cli_commands[command];
    bool has_own = false;

    buffer_append_format(out, "usage: holdfast %s%s%s%s%s [FLAG...]: %s\n\n%s\n",
                         info->group == NULL ? "" : info->group, info->group == NULL ? "" : " ",
                         info->name, info->operands[0] == '\0' ? "" : " ", info->operands,
                         info->summary, info->text);
    for (int flag = 0; flag < N_CLI_FLAGS; flag++) {
        if (cli_flags[flag].commands != 0 && cli_flag_fits((enum cli_flag)flag, command)) {
            buffer_append_string(out, has_own ? "" : "Flags:\n");
            has_own = true;
            append_flag(out, &cli_flags[flag]);
        }
    }
    buffer_append_string(out, has_own ? "\nFlags of all commands:\n" : "Flags of all commands:\n");
    append_common_flags(out);
    buffer_append_format(out, "\n%s", exit_text);
}
