#include "raft/promise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"

#define PLACES       2u
#define PLACE_BYTES  4096u /* No write of one touches a sector of the other. */
#define RECORD_BYTES 32u
#define FILE_BYTES   (PLACES * PLACE_BYTES)
#define FILE_MODE    0600

#define ADVICE "remove the data directory and join again as a new member"

struct promises {
    int fd;
    uint64_t sequence; /* Of what was kept last; 0: nothing. */
    struct promise kept;
};

enum place { PLACE_EMPTY, PLACE_GOOD, PLACE_BROKEN };

static enum status fail(int number, const char *what, const char *path, struct error *error)
{
    return error_set(error, status_from_errno(number), "could not %s \"%s\": %s", what, path,
                     strerror(number));
}

/* --- Reading --- */

static enum place read_place(struct slice bytes, uint64_t *sequence, struct promise *promise)
{
    static const uint8_t zeros[RECORD_BYTES];
    struct wire_reader reader = wire_reader_of(bytes);
    uint64_t checksum;

    if (memcmp(bytes.data, zeros, sizeof zeros) == 0) {
        return PLACE_EMPTY;
    }
    *sequence = wire_get_u64(&reader);
    promise->term = wire_get_u64(&reader);
    promise->vote = wire_get_u64(&reader);
    checksum = wire_get_u64(&reader);
    return checksum == XXH3_64bits(bytes.data, RECORD_BYTES - sizeof checksum) ? PLACE_GOOD
                                                                               : PLACE_BROKEN;
}

/* A crash may break the place that it writes; the other one holds what was kept before. */
static enum status find_newest(struct promises *promises, const uint8_t *bytes, const char *path,
                               struct error *error)
{
    unsigned n_broken = 0;

    for (unsigned i = 0; i < PLACES; i++) {
        uint64_t sequence = 0;
        struct promise promise = {.term = 0};
        enum place place =
            read_place(slice_of(bytes + i * PLACE_BYTES, RECORD_BYTES), &sequence, &promise);

        n_broken += place == PLACE_BROKEN ? 1 : 0;
        if (place == PLACE_GOOD && sequence > promises->sequence) {
            promises->sequence = sequence;
            promises->kept = promise;
        }
    }
    if (n_broken < PLACES) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CORRUPT,
                     "\"%s\" is damaged, so that it is not known whom this "
                     "node gave its vote: " ADVICE,
                     path);
}

/* Its name is not durable yet. */
static enum status make_file(int fd, const char *directory, const char *path, struct error *error)
{
    static const uint8_t zeros[FILE_BYTES];
    int parent;
    int rv = 0;

    if (lseek(fd, 0, SEEK_SET) != 0 || write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros ||
        fsync(fd) != 0) {
        return fail(errno, "write", path, error);
    }
    parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fsync(parent) != 0) {
        rv = errno;
    }
    if (parent >= 0) {
        (void)close(parent); /* Nothing was written through it. */
    }
    return rv == 0 ? STATUS_OK : fail(rv, "sync", directory, error);
}

static enum status load(struct promises *promises, const char *directory, const char *path,
                        struct error *error)
{
    static const uint8_t nothing[FILE_BYTES];
    uint8_t bytes[FILE_BYTES];
    ssize_t n = read(promises->fd, bytes, sizeof bytes);

    if (n < 0) {
        return fail(errno, "read", path, error);
    }
    /* Shorter: it was being made, and nothing was kept. */
    if (n < (ssize_t)sizeof bytes) {
        return memcmp(bytes, nothing, (size_t)n) == 0
                   ? make_file(promises->fd, directory, path, error)
                   : error_set(error, STATUS_CORRUPT, "\"%s\" was cut short: " ADVICE, path);
    }
    return find_newest(promises, bytes, path, error);
}

enum status promises_open(const char *directory, struct promises **promises, struct error *error)
{
    struct promises *opened;
    char path[PATH_MAX];
    enum status status;
    int size = snprintf(path, sizeof path, "%s/promise", directory);
    int fd;

    if (size < 0 || (size_t)size >= sizeof path) {
        return error_set(error, STATUS_TOO_LARGE, "the path of \"%s\" is too long", directory);
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return fail(errno, "open", path, error);
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    opened->fd = fd;
    status = load(opened, directory, path, error);
    if (status != STATUS_OK) {
        promises_close(opened);
        return status;
    }
    *promises = opened;
    return STATUS_OK;
}

/* --- Checking and keeping --- */

enum status promises_check(const struct promises *promises, const struct promise *loaded,
                           struct error *error)
{
    const struct promise *kept = &promises->kept;

    if (loaded->term > kept->term ||
        (loaded->term == kept->term && (kept->vote == 0 || loaded->vote == kept->vote))) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CORRUPT,
                     "term %" PRIu64 " and vote %016" PRIx64 " are less than %" PRIu64
                     " and %016" PRIx64 ", which were promised",
                     loaded->term, loaded->vote, kept->term, kept->vote);
}

enum status promises_keep(struct promises *promises, const struct promise *promise,
                          struct error *error)
{
    uint64_t sequence = promises->sequence + 1;
    struct buffer record = BUFFER_EMPTY;
    bool kept;

    wire_put_u64(&record, sequence);
    wire_put_u64(&record, promise->term);
    wire_put_u64(&record, promise->vote);
    wire_put_u64(&record, XXH3_64bits(record.data, record.size));
    kept = lseek(promises->fd, (off_t)(sequence % PLACES * PLACE_BYTES), SEEK_SET) >= 0 &&
           write(promises->fd, record.data, record.size) == (ssize_t)record.size &&
           fsync(promises->fd) == 0;
    buffer_close(&record);
    if (!kept) {
        return fail(errno, "keep", "term and vote", error);
    }
    promises->sequence = sequence;
    promises->kept = *promise;
    return STATUS_OK;
}

void promises_close(struct promises *promises)
{
    if (promises != NULL) {
        (void)close(promises->fd); /* All that counts was synced. */
        free(promises);
    }
}
