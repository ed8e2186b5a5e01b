/* The settings of the daemon: flags, environment, configuration file, defaults, in this precedence.
 *
 * One table in options.c holds each setting's name, kind, bounds, default and help; the flag
 * --data-dir, the variable HOLDFAST_DATA_DIR and the file's key data-dir are one setting. Used
 * once, before threads start. */
#ifndef HOLDFAST_DAEMON_OPTIONS_H
#define HOLDFAST_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/error.h"
#include "daemon/base/log.h"

enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_CHECK };

/* Strings are owned by the struct, and NULL where not set. Addresses are HOST:PORT, IPv6 hosts in
 * brackets. */
struct options {
    char *name;
    char *data_directory;
    char *api_address;
    char *api_advertise;
    char *peer_address;
    char *peer_advertise;
    char *metrics_address;
    char *initial_cluster;
    char *join; /* URLs of members' APIs, separated by commas. */
    char *role; /* "auto" or "standby": with join. */
    char *zone;
    uint64_t target_voters;
    uint64_t replace_dead_s;
    bool allow_insecure_peers;
    uint64_t api_threads;     /* 0: by the number of cores. */
    uint64_t max_connections; /* Of clients. */
    uint64_t election_timeout_ms;
    uint64_t heartbeat_ms;
    uint64_t free_disk_floor_bytes;
    uint64_t scrub_interval_s; /* 0: never. */
    char *archive;             /* Repositories, with spaces between. */
    char *archive_key_file;
    uint64_t archive_interval_s;
    uint64_t archive_full_interval_s;
    uint64_t archive_retention_days;
    uint64_t archive_local_bytes; /* 0: no bound. */
    char *mirror;                 /* NULL: none. */
    uint64_t transfer_rate_bytes; /* Per second. */
    uint64_t feature_level;       /* 0: what the program knows. */
    enum log_level log_level;
    enum log_format log_format;
};

/* Read the settings from the arguments of main(), the environment and the file. The caller ends
 * with options_close(). STATUS_INVALID with what is wrong and where: the flag, the variable, or the
 * file and line. *@action says what the user asked for; with OPTIONS_HELP and OPTIONS_VERSION no
 * other setting is looked at. */
MUST_USE enum status options_parse(int argc, char **argv, struct options *options,
                                   enum options_action *action, struct error *error);

/* What --help prints. */
void options_print_help(void);

void options_close(struct options *options);

#endif
