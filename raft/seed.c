/* libraft's own disk writes the files, so that they have whatever form it wants:
 *
 * 1. The term is stored.
 * 2. A snapshot pointer with trailing 0 is put, as at an install: it cuts all that is there.
 * 3. The disk is closed, which takes some turns of a loop.
 *
 * What can go wrong: a disk that is full has libraft try again for ever; LIMIT_MS ends that. */
#include "raft/seed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <raft.h>
#include <raft/uv.h>
#include <uv.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "raft/seam_private.h"

#define LIMIT_MS      30000
#define ADDRESS_BYTES 17 /* 16 hex digits and NUL. */

struct seeding {
    const struct seed *seed;
    uv_loop_t loop;
    uv_timer_t limit;
    struct raft_uv_transport transport;
    struct raft_io io;
    struct raft_io_snapshot_put put;
    struct raft_snapshot snapshot;
    struct raft_buffer buffer;
    int result; /* Of the put. */
    bool has_limit_passed;
    struct error *error;
};

/* --- A transport that goes nowhere --- */

static int init_transport(struct raft_uv_transport *transport, raft_id id, const char *address)
{
    (void)transport;
    (void)id;
    (void)address;
    return 0;
}

static int listen_nowhere(struct raft_uv_transport *transport, raft_uv_accept_cb cb)
{
    (void)transport;
    (void)cb;
    return 0;
}

static int connect_never(struct raft_uv_transport *transport, struct raft_uv_connect *request,
                         raft_id id, const char *address, raft_uv_connect_cb cb)
{
    (void)transport;
    (void)request;
    (void)id;
    (void)address;
    (void)cb;
    return RAFT_NOCONNECTION;
}

static void close_transport(struct raft_uv_transport *transport, raft_uv_transport_close_cb cb)
{
    cb(transport);
}

/* --- The steps --- */

static enum status fail(struct seeding *seeding, int rv, const char *what)
{
    const char *why = seeding->io.errmsg[0] != '\0' ? seeding->io.errmsg : raft_strerror(rv);

    return error_set(seeding->error, rv == RAFT_NOSPACE ? STATUS_DISK_FULL : STATUS_IO,
                     "could not %s in \"%s\": %s", what, seeding->seed->directory, why);
}

static void on_closed(struct raft_io *io)
{
    struct seeding *seeding = CONTAINER_OF(io, struct seeding, io);

    uv_close((uv_handle_t *)&seeding->limit, NULL);
}

static void on_put(struct raft_io_snapshot_put *put, int rv)
{
    struct seeding *seeding = CONTAINER_OF(put, struct seeding, put);

    seeding->result = rv;
    if (!seeding->has_limit_passed) {
        seeding->io.close(&seeding->io, on_closed);
    }
}

static void on_limit(uv_timer_t *limit)
{
    struct seeding *seeding = limit->data;

    seeding->has_limit_passed = true;
    seeding->io.close(&seeding->io, on_closed);
}

static int fill_snapshot(struct seeding *seeding, const char *address)
{
    struct raft_snapshot *snapshot = &seeding->snapshot;
    struct buffer pointer = BUFFER_EMPTY;

    snapshot->index = seeding->seed->index;
    snapshot->term = seeding->seed->term;
    snapshot->configuration_index = seeding->seed->index;
    raft_configuration_init(&snapshot->configuration);
    seam_encode_pointer(seeding->seed->cluster_id, seeding->seed->index, &pointer);
    seeding->buffer.len = pointer.size;
    seeding->buffer.base = seam_new(pointer.size);
    memcpy(seeding->buffer.base, pointer.data, pointer.size);
    buffer_close(&pointer);
    snapshot->bufs = &seeding->buffer;
    snapshot->n_bufs = 1;
    return raft_configuration_add(&snapshot->configuration, seeding->seed->self, address,
                                  RAFT_VOTER);
}

static void release_snapshot(struct seeding *seeding)
{
    raft_configuration_close(&seeding->snapshot.configuration);
    raft_free(seeding->buffer.base);
}

/* With the disk open, which this closes. */
static enum status write_log(struct seeding *seeding, const char *address)
{
    struct raft_io *io = &seeding->io;
    int rv = fill_snapshot(seeding, address);

    CHECK(rv == 0); /* It has no other member. */
    CHECK(uv_timer_init(&seeding->loop, &seeding->limit) == 0);
    seeding->limit.data = seeding;
    CHECK(uv_timer_start(&seeding->limit, on_limit, LIMIT_MS, 0) == 0);
    rv = io->set_term(io, seeding->seed->term);
    if (rv == 0) {
        rv = io->snapshot_put(io, 0, &seeding->put, &seeding->snapshot, on_put);
    }
    if (rv != 0) {
        io->close(io, on_closed);
    }
    (void)uv_run(&seeding->loop, UV_RUN_DEFAULT); /* To the end of all handles. */
    release_snapshot(seeding);
    rv = rv != 0 ? rv : seeding->result;
    if (seeding->has_limit_passed) {
        return error_set(seeding->error, STATUS_IO,
                         "could not begin a log in \"%s\" within %d s: is the disk full?",
                         seeding->seed->directory, LIMIT_MS / 1000);
    }
    return rv == 0 ? STATUS_OK : fail(seeding, rv, "begin a log");
}

static enum status open_and_write(struct seeding *seeding)
{
    char address[ADDRESS_BYTES];
    enum status status;
    int rv =
        raft_uv_init(&seeding->io, &seeding->loop, seeding->seed->directory, &seeding->transport);

    if (rv != 0) {
        return fail(seeding, rv, "open a log");
    }
    (void)snprintf(address, sizeof address, "%016" PRIx64, seeding->seed->self); /* Fits. */
    rv = seeding->io.init(&seeding->io, seeding->seed->self, address);
    status = rv == 0 ? write_log(seeding, address) : fail(seeding, rv, "open a log");
    raft_uv_close(&seeding->io);
    return status;
}

enum status seed_log(const struct seed *seed, struct error *error)
{
    struct seeding seeding = {
        .seed = seed,
        .error = error,
        .transport = {.version = 1,
                      .init = init_transport,
                      .listen = listen_nowhere,
                      .connect = connect_never,
                      .close = close_transport},
    };
    enum status status = files_remove_directory(seed->directory, error);

    CHECK(seed->self != 0 && seed->index > 0 && seed->term > 0);
    if (status == STATUS_OK && mkdir(seed->directory, 0700) != 0) {
        status = files_error("make directory", seed->directory, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    CHECK(uv_loop_init(&seeding.loop) == 0); /* Only without memory or descriptors. */
    status = open_and_write(&seeding);
    CHECK(uv_loop_close(&seeding.loop) == 0);
    return status == STATUS_OK ? files_sync_parent(seed->directory, error) : status;
}
