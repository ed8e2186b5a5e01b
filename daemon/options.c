/* How a setting finds its value:
 *
 * 1. Defaults are put into the struct.
 * 2. --config FILE (or HOLDFAST_CONFIG) is read by libconfuse; each value goes through set().
 * 3. The environment, then the flags, go through set() as well and so overwrite it.
 * 4. check_together() looks at what must fit together.
 *
 * What can go wrong is always told with the place that the value came from. */
#include "daemon/options.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "storage/feature.h"

enum kind {
    KIND_TEXT,
    KIND_NAME,
    KIND_ADDRESS,
    KIND_COUNT,
    KIND_BYTES,
    KIND_FLAG,
    KIND_LEVEL,
    KIND_FORMAT
};

struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *fallback; /* The default, as text; NULL: not set. */
    uint64_t least;
    uint64_t most;
    const char *port; /* KIND_ADDRESS: appended when there is none. */
    const char *placeholder;
    const char *help;
};

#define FIELD(member) offsetof(struct options, member)

static const struct setting settings[] = {
    {"name", KIND_NAME, FIELD(name), NULL, 0, 0, NULL, "NAME",
     "this node's name in the cluster (required)"},
    {"data-dir", KIND_TEXT, FIELD(data_directory), "/var/lib/holdfast", 0, 0, NULL, "DIR",
     "where log and state are kept; belongs to this node alone"},
    {"api-address", KIND_ADDRESS, FIELD(api_address), "127.0.0.1:7080", 0, 0, "7080", "HOST:PORT",
     "where clients are served"},
    {"api-advertise", KIND_ADDRESS, FIELD(api_advertise), NULL, 0, 0, "7080", "HOST:PORT",
     "how others reach the API, if not by --api-address"},
    {"peer-address", KIND_ADDRESS, FIELD(peer_address), "127.0.0.1:7081", 0, 0, "7081", "HOST:PORT",
     "where the other nodes connect to"},
    {"peer-advertise", KIND_ADDRESS, FIELD(peer_advertise), NULL, 0, 0, "7081", "HOST:PORT",
     "how the other nodes reach this one, if not by --peer-address"},
    {"metrics-address", KIND_ADDRESS, FIELD(metrics_address), NULL, 0, 0, "7082", "HOST:PORT",
     "a second place for /livez, /readyz and /metrics, on a thread of its own"},
    {"initial-cluster", KIND_TEXT, FIELD(initial_cluster), NULL, 0, 0, NULL, "n1=HOST:PORT,n2=...",
     "all nodes of a new cluster with their peer addresses"},
    {"join", KIND_TEXT, FIELD(join), NULL, 0, 0, NULL, "URL,URL...",
     "members of a living cluster, by their API, that this node asks to be taken in"},
    {"role", KIND_TEXT, FIELD(role), "auto", 0, 0, NULL, "ROLE",
     "with --join: standby stays without a vote; auto gets one if --target-voters wants it"},
    {"zone", KIND_NAME, FIELD(zone), NULL, 0, 0, NULL, "ZONE",
     "where this node is; new voters are spread over zones"},
    {"target-voters", KIND_COUNT, FIELD(target_voters), "3", 1, 7, NULL, "N",
     "as the leader: nodes that join get a vote up to so many (3, 5, 7; the same on all nodes)"},
    {"allow-insecure-peers", KIND_FLAG, FIELD(allow_insecure_peers), "false", 0, 0, NULL, NULL,
     "let nodes talk unencrypted beyond loopback"},
    {"replace-dead-after", KIND_COUNT, FIELD(replace_dead_s), "300", 0, 1000000, NULL, "S",
     "as the leader: a voter silent for so many seconds loses its seat to a standby (0: never)"},
    {"api-threads", KIND_COUNT, FIELD(api_threads), "0", 0, 256, NULL, "N",
     "threads that serve clients (0: by the number of cores)"},
    {"max-connections", KIND_COUNT, FIELD(max_connections), "65536", 1, 1000000, NULL, "N",
     "connections of clients, at most"},
    {"election-timeout", KIND_COUNT, FIELD(election_timeout_ms), "150", 50, 60000, NULL, "MS",
     "without a leader for so long, another node takes over"},
    {"heartbeat", KIND_COUNT, FIELD(heartbeat_ms), "30", 5, 10000, NULL, "MS",
     "how often an idle leader shows that it is alive"},
    {"free-disk-floor", KIND_BYTES, FIELD(free_disk_floor_bytes), "256M", 16u << 20, UINT64_MAX,
     NULL, "BYTES", "with less free disk, what adds is refused (K, M, G may follow)"},
    {"scrub-interval", KIND_COUNT, FIELD(scrub_interval_s), "3600", 0, 2592000, NULL, "SECONDS",
     "how often all of the state on disk is read and checked (0: never)"},
    {"archive", KIND_TEXT, FIELD(archive), "local", 0, 0, NULL, "URL URL...",
     "where to archive to, with spaces between: local (DIR/archive), file:///DIR, s3://BUCKET/..., "
     "postgres://..., or none"},
    {"archive-key-file", KIND_TEXT, FIELD(archive_key_file), NULL, 0, 0, NULL, "FILE",
     "lines NAME HEX: the archive is encrypted with the first key, and read with all"},
    {"archive-interval", KIND_COUNT, FIELD(archive_interval_s), "10", 1, 3600, NULL, "SECONDS",
     "what was executed is archived so much later at most"},
    {"archive-full-interval", KIND_COUNT, FIELD(archive_full_interval_s), "86400", 60, 2592000,
     NULL, "SECONDS", "a full is made at least so often"},
    {"archive-retention", KIND_COUNT, FIELD(archive_retention_days), "30", 1, 3650, NULL, "DAYS",
     "every point of so many days can be restored"},
    {"archive-local-space", KIND_BYTES, FIELD(archive_local_bytes), "10G", 0, UINT64_MAX, NULL,
     "BYTES", "what DIR/archive may take before the oldest goes (0: no bound)"},
    {"mirror", KIND_TEXT, FIELD(mirror), NULL, 0, 0, NULL, "URL",
     "where to keep tables for SQL: postgres://USER@HOST/DATABASE?schema=NAME&reader=ROLE"},
    {"transfer-rate", KIND_BYTES, FIELD(transfer_rate_bytes), "64M", 64u << 10, 1ull << 40, NULL,
     "BYTES", "per second, of state that is read for images, and that is sent to members"},
    {"feature-level", KIND_COUNT, FIELD(feature_level), "0", 0, FEATURE_LEVEL, NULL, "N",
     "holds the cluster at this level, so that it can go back to an earlier version (0: no)"},
    {"log-level", KIND_LEVEL, FIELD(log_level), "info", 0, 0, NULL, "LEVEL",
     "error, warn, info or debug"},
    {"log-format", KIND_FORMAT, FIELD(log_format), "auto", 0, 0, NULL, "FORMAT",
     "text, json, or auto: text on a terminal, else json"},
};

#define N_SETTINGS (sizeof settings / sizeof settings[0])
#define MAX_VALUE  4096

static void *place_of(struct options *options, const struct setting *setting)
{
    return (char *)options + setting->offset;
}

static void replace_text(char **place, const char *text)
{
    char *copy = memory_copy_string(text);

    free(*place);
    *place = copy;
}

static enum status parse_count(const char *text, uint64_t *value)
{
    char *end;

    if (!isdigit((unsigned char)text[0])) {
        return STATUS_INVALID; /* strtoull() would take signs and spaces. */
    }
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno != 0 || *end != '\0' ? STATUS_INVALID : STATUS_OK;
}

static enum status parse_bytes(const char *text, uint64_t *value)
{
    static const struct {
        char letter;
        unsigned shift;
    } units[] = {{'K', 10}, {'M', 20}, {'G', 30}, {'T', 40}};
    char digits[32];
    size_t size = strlen(text);
    unsigned shift = 0;

    if (size == 0 || size >= sizeof digits) {
        return STATUS_INVALID;
    }
    memcpy(digits, text, size + 1);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (digits[size - 1] == units[i].letter) {
            shift = units[i].shift;
            digits[size - 1] = '\0';
            break;
        }
    }
    if (parse_count(digits, value) != STATUS_OK || *value > UINT64_MAX >> shift) {
        return STATUS_INVALID;
    }
    *value <<= shift;
    return STATUS_OK;
}

static bool is_port(const char *text)
{
    uint64_t port;

    return parse_count(text, &port) == STATUS_OK && port <= 65535;
}

/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; @port is appended where there is none. */
static enum status parse_address(const char *text, const char *port, char **address)
{
    char whole[LIMIT_ADDRESS_BYTES + 1];
    const char *host_end;

    if (text[0] == '[') {
        host_end = strchr(text, ']');
        host_end = host_end == NULL ? NULL : host_end + 1;
    } else {
        host_end = text + strcspn(text, ":");
    }
    if (host_end == NULL || host_end == text || (*host_end != '\0' && *host_end != ':') ||
        (*host_end == ':' && !is_port(host_end + 1)) ||
        strlen(text) + strlen(port) + 1 > LIMIT_ADDRESS_BYTES ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]%") !=
            strlen(text)) {
        return STATUS_INVALID;
    }
    (void)snprintf(whole, sizeof whole, *host_end == '\0' ? "%s:%s" : "%s", text, port);
    replace_text(address, whole);
    return STATUS_OK;
}

static bool is_name(const char *text)
{
    size_t size = strlen(text);

    return size > 0 && size <= LIMIT_NAME_BYTES && isalnum((unsigned char)text[0]) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               size;
}

static enum status set_number(uint64_t *place, const struct setting *setting, const char *text,
                              struct error *error)
{
    uint64_t value;
    enum status status =
        setting->kind == KIND_BYTES ? parse_bytes(text, &value) : parse_count(text, &value);

    if (status != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "\"%s\" is not a number%s", text,
                         setting->kind == KIND_BYTES ? " of bytes (like 256M)" : "");
    }
    if (value < setting->least || value > setting->most) {
        return error_set(error, STATUS_INVALID, "%s is out of range (%llu to %llu)", text,
                         (unsigned long long)setting->least, (unsigned long long)setting->most);
    }
    *place = value;
    return STATUS_OK;
}

static enum status set_flag(bool *place, const char *text, struct error *error)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        return error_set(error, STATUS_INVALID, "\"%s\" is neither true nor false", text);
    }
    *place = strcmp(text, "true") == 0;
    return STATUS_OK;
}

static enum status set_format(enum log_format *place, const char *text, struct error *error)
{
    static const char *const names[] = {
        [LOG_FORMAT_AUTO] = "auto", [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json"};

    for (int i = LOG_FORMAT_AUTO; i <= LOG_FORMAT_JSON; i++) {
        if (strcmp(text, names[i]) == 0) {
            *place = (enum log_format)i;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_INVALID, "\"%s\" is not auto, text or json", text);
}

/* Give @setting the value that @text stands for; the error does not say where it came from. */
static enum status set(struct options *options, const struct setting *setting, const char *text,
                       struct error *error)
{
    void *place = place_of(options, setting);

    if (strlen(text) > MAX_VALUE) {
        return error_set(error, STATUS_INVALID, "the value is longer than %d bytes", MAX_VALUE);
    }
    switch (setting->kind) {
    case KIND_TEXT:
        if (text[0] == '\0') {
            return error_set(error, STATUS_INVALID, "the value is empty");
        }
        replace_text(place, text);
        return STATUS_OK;
    case KIND_NAME:
        if (!is_name(text)) {
            return error_set(error, STATUS_INVALID,
                             "\"%s\" is not a name (1 to %u letters, digits, \"-\", \"_\", \".\")",
                             text, LIMIT_NAME_BYTES);
        }
        replace_text(place, text);
        return STATUS_OK;
    case KIND_ADDRESS:
        if (parse_address(text, setting->port, place) != STATUS_OK) {
            return error_set(error, STATUS_INVALID, "\"%s\" is not HOST:PORT", text);
        }
        return STATUS_OK;
    case KIND_COUNT:
    case KIND_BYTES:
        return set_number(place, setting, text, error);
    case KIND_FLAG:
        return set_flag(place, text, error);
    case KIND_LEVEL:
        if (log_level_parse(text, place) != STATUS_OK) {
            return error_set(error, STATUS_INVALID, "\"%s\" is not error, warn, info or debug",
                             text);
        }
        return STATUS_OK;
    case KIND_FORMAT:
        return set_format(place, text, error);
    }
    CHECK(setting->kind <= KIND_FORMAT);
    return STATUS_INVALID;
}

static void set_defaults(struct options *options)
{
    *options = (struct options){0};
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (settings[i].fallback != NULL) {
            CHECK(set(options, &settings[i], settings[i].fallback, NULL) == STATUS_OK);
        }
    }
}

/* --- The file --- */

#define MAX_FILE_BYTES (1u << 20)

/* libconfuse's callbacks carry no data of ours, so what is being read is kept here. */
static struct {
    struct options *options;
    const char *path;
    struct error *error;
    bool failed;
} reading;

__attribute__((format(printf, 2, 0))) static void on_file_error(cfg_t *cfg, const char *format,
                                                                va_list args)
{
    char text[ERROR_MAX_TEXT];

    if (reading.failed) {
        return; /* The first error is the one to tell. */
    }
    reading.failed = true;
    (void)vsnprintf(text, sizeof text, format, args); /* Cut is fine. */
    (void)error_set(reading.error, STATUS_INVALID, "%s:%d: %s", reading.path, cfg->line, text);
}

static int on_file_value(cfg_t *cfg, cfg_opt_t *option)
{
    const char *text = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    struct error why;

    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (strcmp(settings[i].name, option->name) == 0 &&
            set(reading.options, &settings[i], text, &why) != STATUS_OK) {
            cfg_error(cfg, "%s: %s", option->name, why.text);
            return -1;
        }
    }
    return 0;
}

/* Put spaces in place of comments: libconfuse 3.3 counts the line of a comment more than once. */
static void blank_comments(char *text)
{
    char quote = '\0';

    for (char *c = text; *c != '\0'; c++) {
        if (quote != '\0') {
            if (*c == '\\' && c[1] != '\0') {
                c++;
            } else if (*c == quote) {
                quote = '\0';
            }
        } else if (*c == '"' || *c == '\'') {
            quote = *c;
        } else if (*c == '#' || (*c == '/' && c[1] == '/')) {
            size_t size = strcspn(c, "\n");

            memset(c, ' ', size);
            c += size - 1;
        }
    }
}

/* The whole file as a string that the caller frees, or NULL and @error. */
static char *load_file(const char *path, struct error *error)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size;

    if (file == NULL) {
        (void)error_set(error, STATUS_INVALID, "could not read \"%s\": %s", path, strerror(errno));
        return NULL;
    }
    text = memory_new(MAX_FILE_BYTES + 1);
    size = fread(text, 1, MAX_FILE_BYTES + 1, file);
    if (ferror(file) || size > MAX_FILE_BYTES || memchr(text, '\0', size) != NULL) {
        (void)error_set(error, STATUS_INVALID, "could not read \"%s\": %s", path,
                        ferror(file) ? "input failed" : "not a text file of at most 1 MiB");
        free(text);
        text = NULL;
    } else {
        text[size] = '\0';
    }
    (void)fclose(file); /* Nothing was written. */
    return text;
}

static enum status read_file(struct options *options, const char *path, struct error *error)
{
    cfg_opt_t known[N_SETTINGS + 1];
    char *text = load_file(path, error);
    cfg_t *cfg;
    int rv;

    if (text == NULL) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < N_SETTINGS; i++) {
        known[i] = (cfg_opt_t)CFG_STR(settings[i].name, NULL, CFGF_NODEFAULT);
    }
    known[N_SETTINGS] = (cfg_opt_t)CFG_END();
    cfg = cfg_init(known, CFGF_NONE);
    CHECK(cfg != NULL);
    reading.options = options;
    reading.path = path;
    reading.error = error;
    reading.failed = false;
    (void)cfg_set_error_function(cfg, on_file_error); /* Gives the previous one. */
    for (size_t i = 0; i < N_SETTINGS; i++) {
        (void)cfg_set_validate_func(cfg, settings[i].name, on_file_value);
    }
    blank_comments(text);
    rv = cfg_parse_buf(cfg, text);
    (void)cfg_free(cfg); /* Only fails for NULL. */
    free(text);
    if (rv != CFG_SUCCESS && !reading.failed) {
        (void)error_set(error, STATUS_INVALID, "could not read \"%s\"", path);
    }
    return rv == CFG_SUCCESS ? STATUS_OK : STATUS_INVALID;
}

/* --- The environment --- */

static void variable_of(const char *name, char *variable, size_t size)
{
    (void)snprintf(variable, size, "HOLDFAST_%s", name); /* Names are short. */
    for (char *c = variable; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
}

static enum status read_environment(struct options *options, struct error *error)
{
    char variable[64];

    for (size_t i = 0; i < N_SETTINGS; i++) {
        const char *text;

        variable_of(settings[i].name, variable, sizeof variable);
        text = getenv(variable);
        if (text != NULL && set(options, &settings[i], text, error) != STATUS_OK) {
            return error_prefix(error, "%s", variable);
        }
    }
    return STATUS_OK;
}

/* --- The flags --- */

enum { FLAG_CONFIG = N_SETTINGS + 1, FLAG_CHECK, FLAG_HELP, FLAG_VERSION };

/* What the flags said, before they are applied on top of file and environment. */
struct flags {
    const char *values[N_SETTINGS];
    const char *config;
    enum options_action action;
};

static enum status read_flags(int argc, char **argv, struct flags *flags, struct error *error)
{
    struct option known[N_SETTINGS + 5];
    int found;

    for (size_t i = 0; i < N_SETTINGS; i++) {
        known[i] = (struct option){
            settings[i].name, settings[i].kind == KIND_FLAG ? optional_argument : required_argument,
            NULL, (int)i + 1};
    }
    known[N_SETTINGS] = (struct option){"config", required_argument, NULL, FLAG_CONFIG};
    known[N_SETTINGS + 1] = (struct option){"check-config", no_argument, NULL, FLAG_CHECK};
    known[N_SETTINGS + 2] = (struct option){"help", no_argument, NULL, FLAG_HELP};
    known[N_SETTINGS + 3] = (struct option){"version", no_argument, NULL, FLAG_VERSION};
    known[N_SETTINGS + 4] = (struct option){NULL, 0, NULL, 0};

    opterr = 0;
    optind = 0; /* Starts anew, also after an earlier call. */
    while ((found = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
        if (found == '?') {
            return error_set(error, STATUS_INVALID, "unknown flag \"%s\" (try --help)",
                             argv[optind - 1]);
        }
        if (found == ':') {
            return error_set(error, STATUS_INVALID, "%s: a value is missing", argv[optind - 1]);
        }
        if (found == FLAG_HELP || found == 'h') {
            flags->action = OPTIONS_HELP;
            return STATUS_OK;
        }
        if (found == FLAG_VERSION) {
            flags->action = OPTIONS_VERSION;
            return STATUS_OK;
        }
        if (found == FLAG_CONFIG) {
            flags->config = optarg;
        } else if (found == FLAG_CHECK) {
            flags->action = OPTIONS_CHECK;
        } else {
            flags->values[found - 1] = optarg == NULL ? "true" : optarg;
        }
    }
    if (optind < argc) {
        return error_set(error, STATUS_INVALID, "unexpected argument \"%s\" (try --help)",
                         argv[optind]);
    }
    return STATUS_OK;
}

static enum status apply_flags(struct options *options, const struct flags *flags,
                               struct error *error)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (flags->values[i] != NULL &&
            set(options, &settings[i], flags->values[i], error) != STATUS_OK) {
            return error_prefix(error, "--%s", settings[i].name);
        }
    }
    return STATUS_OK;
}

static enum status check_together(const struct options *options, struct error *error)
{
    if (options->name == NULL) {
        return error_set(error, STATUS_INVALID,
                         "--name is missing: each node needs a name of its own");
    }
    if (options->join != NULL && options->initial_cluster != NULL) {
        return error_set(error, STATUS_INVALID,
                         "--join and --initial-cluster exclude each other: a node joins a cluster "
                         "that lives, or is one of those that form a new one");
    }
    if (strcmp(options->role, "auto") != 0 && strcmp(options->role, "standby") != 0) {
        return error_set(error, STATUS_INVALID,
                         "--role: \"%s\" is neither auto nor standby (holdfast member promote "
                         "makes a voter of a standby)",
                         options->role);
    }
    if (options->election_timeout_ms < 3 * options->heartbeat_ms) {
        return error_set(error, STATUS_INVALID,
                         "--election-timeout (%llu ms) must be at least three times --heartbeat "
                         "(%llu ms), or a late heartbeat costs the leader its place",
                         (unsigned long long)options->election_timeout_ms,
                         (unsigned long long)options->heartbeat_ms);
    }
    return STATUS_OK;
}

enum status options_parse(int argc, char **argv, struct options *options,
                          enum options_action *action, struct error *error)
{
    struct flags flags = {.action = OPTIONS_RUN};
    enum status status;

    status = read_flags(argc, argv, &flags, error);
    if (status != STATUS_OK) {
        return status;
    }
    *action = flags.action;
    set_defaults(options);
    if (flags.action == OPTIONS_HELP || flags.action == OPTIONS_VERSION) {
        return STATUS_OK;
    }
    if (flags.config == NULL) {
        flags.config = getenv("HOLDFAST_CONFIG");
    }
    if (flags.config != NULL) {
        status = read_file(options, flags.config, error);
    }
    if (status == STATUS_OK) {
        status = read_environment(options, error);
    }
    if (status == STATUS_OK) {
        status = apply_flags(options, &flags, error);
    }
    if (status == STATUS_OK) {
        status = check_together(options, error);
    }
    if (status != STATUS_OK) {
        options_close(options);
    }
    return status;
}

void options_print_help(void)
{
    (void)printf(
        "holdfastd keeps the state of agents and sessions on three or more nodes.\n"
        "\n"
        "usage: holdfastd --name NAME [FLAG...]\n"
        "\n"
        "Three nodes on one machine, each in a terminal of its own (n1 shown):\n"
        "  holdfastd --name n1 --data-dir n1 --api-address 127.0.0.1:7080 \\\n"
        "      --peer-address 127.0.0.1:7081 --initial-cluster \\\n"
        "      n1=127.0.0.1:7081,n2=127.0.0.1:7181,n3=127.0.0.1:7281\n"
        "\n"
        "Each flag may also be given as a variable (HOLDFAST_DATA_DIR for --data-dir) or in the\n"
        "configuration file (data-dir = \"/var/lib/holdfast\"). A flag wins over a variable, a\n"
        "variable over the file.\n"
        "\n");
    for (size_t i = 0; i < N_SETTINGS; i++) {
        char flag[64];

        (void)snprintf(flag, sizeof flag, "--%s%s%s", settings[i].name,
                       settings[i].placeholder == NULL ? "" : " ",
                       settings[i].placeholder == NULL ? "" : settings[i].placeholder);
        (void)printf("  %-40s %s", flag, settings[i].help);
        if (settings[i].fallback != NULL && settings[i].kind != KIND_FLAG) {
            (void)printf(" [%s]", settings[i].fallback);
        }
        (void)printf("\n");
    }
    (void)printf("  %-40s %s\n", "--config FILE", "read settings from FILE");
    (void)printf("  %-40s %s\n", "--check-config", "check all settings and exit");
    (void)printf("  %-40s %s\n", "--help, --version", "print this, or the version, and exit");
}

void options_close(struct options *options)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (settings[i].kind == KIND_TEXT || settings[i].kind == KIND_NAME ||
            settings[i].kind == KIND_ADDRESS) {
            char **text = place_of(options, &settings[i]);

            free(*text);
            *text = NULL;
        }
    }
}
