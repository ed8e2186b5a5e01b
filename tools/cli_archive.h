/* What the commands that restore from an archive share. */
#ifndef HOLDFAST_TOOLS_CLI_ARCHIVE_H
#define HOLDFAST_TOOLS_CLI_ARCHIVE_H

#include "storage/archive/catalog.h"
#include "storage/archive/restore.h"
#include "tools/cli_progress.h"
#include "tools/cli_run.h"

struct cli_archive {
    struct restore_options options; /* Borrows from what follows, and from the command line. */
    struct master_keys *keys;
    struct progress progress;
    enum restore_phase phase;
};

/* Take the URL, and the flags that say what of it. The caller ends with cli_archive_close(),
 * whatever comes back. */
enum cli_exit cli_archive_begin(struct cli *cli, const char *url, struct cli_archive *archive);
void cli_archive_close(struct cli_archive *archive);

MUST_USE enum cli_exit cli_archive_open_repository(struct cli *cli, const char *url,
                                                   struct repository **repository);
/* Each chain of the repository, or of the cluster that the command line names, with its catalog,
 * borrowed; none at all is a failure. */
typedef enum status (*cli_chain_cb)(struct cli *cli, struct repository *repository,
                                    const char *base, const struct catalog *catalog, void *data);
MUST_USE enum cli_exit cli_archive_each_chain(struct cli *cli, struct repository *repository,
                                              const struct cli_archive *archive, cli_chain_cb cb,
                                              void *data);
/* --work-dir, TMPDIR or /tmp. */
const char *cli_archive_work_directory(const struct cli *cli);

/* A decimal number; false: it is none. */
bool cli_archive_parse_number(const char *text, uint64_t *number);

/* The exit status for what a repository or a restore says. */
enum cli_exit cli_archive_exit(enum status status);

#endif
