/* What the commands that restore from an archive share. */
#ifndef HOLDFAST_TOOLS_CLI_ARCHIVE_H
#define HOLDFAST_TOOLS_CLI_ARCHIVE_H

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
/* --work-dir, TMPDIR or /tmp. */
const char *cli_archive_work_directory(const struct cli *cli);

/* The exit status for what a repository or a restore says. */
enum cli_exit cli_archive_exit(enum status status);

#endif
