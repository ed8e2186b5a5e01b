/* A large answer of the cluster into a file, continued where it breaks off.
 *
 * One thread; blocks. */
#ifndef HOLDFAST_TOOLS_CLI_DOWNLOAD_H
#define HOLDFAST_TOOLS_CLI_DOWNLOAD_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "tools/cli_problem.h"
#include "tools/endpoint.h"

struct download {
    const struct endpoints *endpoints;
    const char *path;       /* From the first slash, with the query. */
    int fd;                 /* Empty, for reading and writing. */
    uint64_t first_byte_ms; /* How long to wait for an answer to begin ... */
    uint64_t standstill_ms; /* ... and for more of it, over all attempts. */
    /* @of is 0 as long as it is not known. May be NULL. */
    void (*on_progress)(void *data, uint64_t done, uint64_t of);
    void *data;
    /* Filled in. */
    uint64_t bytes;
    unsigned attempts;
    uint64_t kept_bytes; /* That did not have to be sent again, in all attempts. */
};

/* CLI_OK: the file holds all of one answer, in as many parts as it took. Else @error says what
 * happened, and the file is of no use. */
enum cli_exit download_run(struct download *download, struct error *error);

#endif
