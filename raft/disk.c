#include "raft/disk.h"

#include <inttypes.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "raft/loaded.h"
#include "raft/pointers.h"
#include "raft/preallocation.h"
#include "raft/promise.h"
#include "raft/segments.h"

/* Closing a segment stalls the loop for tens of milliseconds, so they are large. */
#define SEGMENT_BYTES (64u << 20)
/* The first write waits for the first segment, and libraft prepares two more then, which a node
 * that has little to write never uses and reads at its next start: so much of each is filled. */
#define FIRST_SEGMENTS   3
#define FIRST_FILL_BYTES (8u << 20)
#define CONNECT_RETRY_MS 50u
/* A full disk: how soon to try again to allocate a segment. */
#define DISK_RETRY_MS 100u
#define NEVER_MS      (24u * 3600 * 1000)
/* Asynchronous I/O events that one node may use: a segment in use, some prepared, some slack. */
#define AIO_EVENTS 64u

/* What libraft says when it is about to repeat a write that failed (its uv_append.c). */
#define RETRY_TRACE "retry failed write"

struct disk {
    struct raft_io io;
    struct promises *promises;
    struct promise promised; /* Of which libraft has stored the term at least. */
    /* What libraft put into io. */
    int (*load)(struct raft_io *io, raft_term *term, raft_id *voted_for,
                struct raft_snapshot **snapshot, raft_index *start_index,
                struct raft_entry *entries[], size_t *n_entries);
    int (*set_term)(struct raft_io *io, raft_term term);
    int (*set_vote)(struct raft_io *io, raft_id server_id);
    struct raft_tracer tracer;
    struct disk_options options;
    bool failed;
};

static void on_trace(struct raft_tracer *tracer, int type, const void *info)
{
    const struct raft_tracer_info *details = info;
    struct disk *disk = tracer->impl;
    struct error error;

    if (type != RAFT_TRACER_DIAGNOSTIC || disk->failed ||
        strncmp(details->diagnostic.message, RETRY_TRACE, strlen(RETRY_TRACE)) != 0) {
        return;
    }
    disk->failed = true;
    /* It says so before it sets the timer for the next try, in which it would crash: it finds
     * another object's data there. The process ends on its own terms first. */
    raft_uv_set_disk_retry(&disk->io, NEVER_MS);
    error_set(&error, STATUS_IO, "could not write to the log: %s",
              details->diagnostic.message + strlen("retry "));
    disk->options.on_failure(disk->options.data, &error);
}

/* --- Term and vote, kept once more --- */

static int tell_libraft(struct disk *disk, const struct error *error)
{
    (void)snprintf(disk->io.errmsg, sizeof disk->io.errmsg, "%.*s", (int)sizeof disk->io.errmsg - 1,
                   error->text);
    return error->status == STATUS_CORRUPT ? RAFT_CORRUPT : RAFT_IOERR;
}

static int on_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct disk *disk = CONTAINER_OF(io, struct disk, io);
    struct error error;
    int rv = disk->load(io, term, voted_for, snapshot, start_index, entries, n_entries);

    if (rv != 0) {
        return rv;
    }
    disk->promised = (struct promise){.term = *term, .vote = *voted_for};
    if (promises_check(disk->promises, &disk->promised, &error) != STATUS_OK) {
        loaded_release(*snapshot, *entries, *n_entries);
        return tell_libraft(disk, &error);
    }
    return 0;
}

/* A failure stops the process: what was kept is less than what libraft has, which is right. */
static int keep(struct disk *disk)
{
    struct error error;

    return promises_keep(disk->promises, &disk->promised, &error) == STATUS_OK
               ? 0
               : tell_libraft(disk, &error);
}

static int on_set_term(struct raft_io *io, raft_term term)
{
    struct disk *disk = CONTAINER_OF(io, struct disk, io);
    int rv = disk->set_term(io, term);

    if (rv != 0) {
        return rv;
    }
    disk->promised = (struct promise){.term = term};
    return keep(disk);
}

static int on_set_vote(struct raft_io *io, raft_id id)
{
    struct disk *disk = CONTAINER_OF(io, struct disk, io);
    int rv = disk->set_vote(io, id);

    if (rv != 0) {
        return rv;
    }
    disk->promised.vote = id;
    return keep(disk);
}

static void wrap(struct disk *disk)
{
    disk->load = disk->io.load;
    disk->set_term = disk->io.set_term;
    disk->set_vote = disk->io.set_vote;
    disk->io.load = on_load;
    disk->io.set_term = on_set_term;
    disk->io.set_vote = on_set_vote;
}

/* The number in a file of /proc; false if it cannot be read. */
static bool read_number(const char *path, uint64_t *number)
{
    FILE *file = fopen(path, "re");
    bool found;

    if (file == NULL) {
        return false;
    }
    found = fscanf(file, "%" SCNu64, number) == 1;
    (void)fclose(file); /* Only read. */
    return found;
}

static enum status check_aio(struct error *error)
{
    uint64_t most;
    uint64_t used;

    if (!read_number("/proc/sys/fs/aio-max-nr", &most) ||
        !read_number("/proc/sys/fs/aio-nr", &used)) {
        return STATUS_OK; /* Not told: libraft will say if there are too few. */
    }
    if (used + AIO_EVENTS > most) {
        return error_set(error, STATUS_BUSY,
                         "the system's limit of asynchronous disk operations is reached (%" PRIu64
                         " of fs.aio-max-nr = %" PRIu64 "): raise it, for example with \"sysctl -w "
                         "fs.aio-max-nr=1048576\"",
                         used, most);
    }
    return STATUS_OK;
}

static enum status check_log(const struct disk_options *options, struct error *error)
{
    struct segments_summary summary;
    enum status status = segments_check(options->directory, options->state_stored, &summary, error);

    if (status == STATUS_OK) {
        status = pointers_check(options->directory, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    segments_drop_unused(options->directory);
    if (summary.torn) {
        log_info("raft",
                 "the last write to the log was cut off, as a crash does last_index=%" PRIu64,
                 summary.last_index);
    }
    return STATUS_OK;
}

enum status disk_open(const struct disk_options *options, struct disk **result, struct error *error)
{
    struct disk *disk;
    enum status status = check_aio(error);
    int rv;

    if (status == STATUS_OK) {
        status = check_log(options, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    disk = memory_new_zeroed(1, sizeof *disk);
    status = promises_open(options->directory, &disk->promises, error);
    if (status != STATUS_OK) {
        free(disk);
        return status;
    }
    disk->options = *options;
    disk->tracer.impl = disk;
    disk->tracer.version = 2;
    disk->tracer.emit = on_trace;
    preallocation_fill(SEGMENT_BYTES, FIRST_SEGMENTS, FIRST_FILL_BYTES);
    rv = raft_uv_init(&disk->io, options->loop, options->directory, options->transport);
    if (rv != 0) {
        status =
            error_set(error, STATUS_IO, "could not open the log in \"%s\": %s", options->directory,
                      disk->io.errmsg[0] != '\0' ? disk->io.errmsg : raft_strerror(rv));
        promises_close(disk->promises);
        free(disk);
        return status;
    }
    raft_uv_set_segment_size(&disk->io, SEGMENT_BYTES);
    raft_uv_set_auto_recovery(&disk->io,
                              false); /* It would move damaged segments out of the way. */
    raft_uv_set_disk_retry(&disk->io, DISK_RETRY_MS);
    raft_uv_set_connect_retry_delay(&disk->io, CONNECT_RETRY_MS);
    raft_uv_set_tracer(&disk->io, &disk->tracer);
    wrap(disk);
    *result = disk;
    return STATUS_OK;
}

struct raft_io *disk_io(struct disk *disk)
{
    return &disk->io;
}

void disk_abandon(struct disk *disk)
{
    if (disk != NULL) {
        promises_close(disk->promises);
    }
    free(disk);
}

void disk_close(struct disk *disk)
{
    if (disk != NULL) {
        raft_uv_close(&disk->io);
        promises_close(disk->promises);
        free(disk);
    }
}
