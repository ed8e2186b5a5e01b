/* Making one image: an export of the state, at a rate, or one that is fetched, and checked. */
#include "storage/image_spool_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/pace.h"
#include "storage/image_export.h"

#define MAX_WAIT_MS 100u /* Until it is looked again whether there is any hurry. */

void image_spool_release_file(struct image_spool *spool)
{
    (void)unlink(spool->path); /* What stays is removed at the next start. */
    image_file_close(spool->file);
    free(spool->path);
    free(spool);
}

uint64_t image_spools_spare_bytes(const struct image_spools *spools)
{
    struct statvfs facts;
    uint64_t free_bytes;

    if (statvfs(spools->directory, &facts) != 0) {
        return UINT64_MAX;
    }
    free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize;
    return free_bytes > spools->options.reserve_bytes ? free_bytes - spools->options.reserve_bytes
                                                      : 0;
}

struct making {
    struct image_spools *spools;
    struct pace pace;
};

static bool is_urgent(const struct image_spools *spools)
{
    return spools->options.is_urgent != NULL && spools->options.is_urgent(spools->options.data);
}

/* Wait until the rate allows more; not when the node is shutting down. */
static void keep_pace(struct making *making, uint64_t bytes)
{
    struct image_spools *spools = making->spools;

    if (is_urgent(spools)) {
        return;
    }
    pace_spend(&making->pace, bytes);
    image_spools_lock(spools);
    while (!atomic_load(&spools->is_closing) && !pace_allows(&making->pace, clock_ms()) &&
           !is_urgent(spools)) {
        uint64_t wait_ms = pace_wait_ms(&making->pace);

        image_spools_wait_until(spools,
                                clock_ms() + (wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS));
    }
    image_spools_unlock(spools);
}

static enum status on_progress(void *data, const struct image_facts *facts, uint64_t bytes,
                               struct error *error)
{
    struct making *making = data;
    struct image_spools *spools = making->spools;

    (void)facts;
    keep_pace(making, bytes);
    if (atomic_load(&spools->is_closing)) {
        return error_set(error, STATUS_CANCELED, "the node is shutting down");
    }
    if (image_spools_spare_bytes(spools) == 0) {
        return error_set(error, STATUS_DISK_FULL,
                         "there is no room for an image in \"%s\": %llu MiB have to stay free",
                         spools->directory,
                         (unsigned long long)(spools->options.reserve_bytes >> 20));
    }
    return STATUS_OK;
}

static char *make_path(struct image_spools *spools)
{
    struct buffer path = BUFFER_EMPTY;

    buffer_append_format(&path, "%s/" IMAGE_SPOOL_PREFIX "%llu", spools->directory,
                         (unsigned long long)spools->next_number++);
    buffer_append_byte(&path, 0);
    return (char *)path.data; /* From malloc, as buffers are. */
}

static void write_tag(struct image_spool *spool)
{
    char digest[2 * IMAGE_DIGEST_BYTES + 1];

    image_digest_text(spool->totals.digest, digest);
    (void)snprintf(spool->tag, sizeof spool->tag, "%" PRIu64 "-%.32s", spool->facts.state.revision,
                   digest); /* Fits. */
}

/* -1: it failed. */
static int make_file(const struct image_spool *spool, struct error *error)
{
    int fd = open(spool->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        (void)files_error("make", spool->path, error); /* Its status is in @error. */
    }
    return fd;
}

static enum status export_state(struct image_spools *spools, struct image_spool *spool,
                                struct error *error)
{
    char cluster_id[IMAGE_CLUSTER_BYTES + 1];
    struct making making = {.spools = spools,
                            .pace = pace_of(spools->options.bytes_per_second, clock_ms())};
    struct image_export options = {.store = spools->options.store,
                                   .cluster_id = cluster_id,
                                   .on_progress = on_progress,
                                   .data = &making};
    enum status status;

    memcpy(cluster_id, spool->facts.cluster_id, sizeof cluster_id); /* The export writes there. */
    options.fd = make_file(spool, error);
    if (options.fd < 0) {
        return error->status;
    }
    status = image_export(&options, &spool->facts, &spool->totals, error);
    if (status != STATUS_OK) {
        (void)close(options.fd); /* The first failure is the one to tell. */
        return status;
    }
    return image_file_of(options.fd, spool->path, &spool->file, error);
}

static bool is_closing(void *data)
{
    const struct image_spools *spools = data;

    return atomic_load(&spools->is_closing);
}

/* What comes from elsewhere is checked before anybody gets it. */
static enum status check_fetched(struct image_spool *spool, struct error *error)
{
    enum status status = image_file_verify(spool->file, &spool->totals, NULL, NULL, error);

    if (status == STATUS_OK) {
        spool->facts = *image_file_facts(spool->file);
    }
    return status;
}

static enum status fetch(struct image_spools *spools, struct image_spool *spool,
                         struct error *error)
{
    enum status status;
    int fd = make_file(spool, error);

    if (fd < 0) {
        return error->status;
    }
    CHECK(spools->options.fetch != NULL);
    status =
        spools->options.fetch(spools->options.data, spool->source, fd, is_closing, spools, error);
    if (status != STATUS_OK) {
        (void)close(fd); /* The first failure is the one to tell. */
        return status;
    }
    status = image_file_of(fd, spool->source, &spool->file, error);
    return status == STATUS_OK ? check_fetched(spool, error) : status;
}

struct image_spool *image_spool_new(struct image_spools *spools,
                                    const struct image_spool_request *request)
{
    struct image_spool *spool = memory_new_zeroed(1, sizeof *spool);

    spool->spools = spools;
    spool->path = make_path(spools);
    memcpy(spool->source, request->source, sizeof spool->source);
    memcpy(spool->facts.cluster_id, request->cluster_id, sizeof spool->facts.cluster_id);
    return spool;
}

enum status image_spool_make(struct image_spools *spools, struct image_spool *spool,
                             struct error *error)
{
    uint64_t started_ns = clock_ns();
    bool is_fetched = spool->source[0] != '\0';
    enum status status =
        is_fetched ? fetch(spools, spool, error) : export_state(spools, spool, error);

    image_spools_lock(spools);
    spools->statistics.exports++;
    spools->statistics.export_nanoseconds += clock_ns() - started_ns;
    spools->statistics.exported_bytes += spool->totals.file_bytes;
    spools->statistics.failures += status == STATUS_OK ? 0 : 1;
    image_spools_unlock(spools);
    if (status != STATUS_OK) {
        image_spool_release_file(spool);
        return status;
    }
    write_tag(spool);
    log_info("image",
             "%s revision=%" PRIu64 " index=%" PRIu64 " bytes=%" PRIu64 " duration_ms=%" PRIu64,
             is_fetched ? "fetched" : "exported", spool->facts.state.revision,
             spool->facts.state.applied_index, spool->totals.file_bytes,
             (clock_ns() - started_ns) / 1000000);
    return STATUS_OK;
}
