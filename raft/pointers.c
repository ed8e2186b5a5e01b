#include "raft/pointers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/buffer.h"
#include "daemon/base/wire.h"
#include "raft/segments.h"

#define FORMAT          1
#define CHECKED_OFFSET  16u /* Of what the checksum is over. */
#define HEADER_BYTES    32u
#define MOST_META_BYTES (1u << 20) /* libraft's own bound, of the configuration. */
#define MAX_FILE_NAME   96

#define ADVICE                                                                                     \
    "; this node's log cannot be trusted: keep the directory for analysis, remove it, and let "    \
    "the node join again as a new member"

struct snapshot {
    uint64_t term;
    uint64_t index;
    uint64_t time;
};

enum status pointers_check_meta(struct slice bytes, struct error *error)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint64_t format = wire_get_u64(&reader);
    uint64_t checksum = wire_get_u64(&reader);
    uint64_t size;

    (void)wire_get_u64(&reader); /* The index of the configuration. */
    size = wire_get_u64(&reader);
    if (reader.failed || size == 0 || size != reader.rest.size) {
        return error_set(error, STATUS_CORRUPT, "it has %zu bytes, and should have %" PRIu64,
                         bytes.size, (uint64_t)HEADER_BYTES + size);
    }
    /* libraft uses the lower half of the place for the checksum. */
    if (segments_checksum(bytes.data + CHECKED_OFFSET, bytes.size - CHECKED_OFFSET, 0) !=
        (uint32_t)checksum) {
        return error_set(error, STATUS_CORRUPT, "it has a wrong checksum");
    }
    if (format == FORMAT) {
        return STATUS_OK;
    }
    /* The checksum does not cover it, so one that is far off is a flipped bit. */
    return error_set(error, format == FORMAT + 1 ? STATUS_UNSUPPORTED : STATUS_CORRUPT,
                     "it has format %" PRIu64, format);
}

/* --- Files --- */

static void name_snapshot(const struct snapshot *snapshot, const char *suffix,
                          char name[MAX_FILE_NAME])
{
    (void)snprintf(name, MAX_FILE_NAME, "snapshot-%" PRIu64 "-%" PRIu64 "-%" PRIu64 "%s",
                   snapshot->term, snapshot->index, snapshot->time, suffix); /* Fits. */
}

/* As libraft orders them. */
static bool is_newer(const struct snapshot *a, const struct snapshot *b)
{
    if (a->term != b->term) {
        return a->term > b->term;
    }
    return a->index != b->index ? a->index > b->index : a->time > b->time;
}

static bool exists(int directory, const char *name)
{
    struct stat status;

    return fstatat(directory, name, &status, 0) == 0;
}

/* Of those with both files; a crash may leave one without the other, which libraft ignores.
 * STATUS_NOT_FOUND: there is none. */
static enum status find_newest(DIR *directory, struct snapshot *newest)
{
    const struct dirent *entry;
    bool found = false;

    while (errno = 0, (entry = readdir(directory)) != NULL) {
        struct snapshot candidate;
        char name[MAX_FILE_NAME];

        if (sscanf(entry->d_name, "snapshot-%" SCNu64 "-%" SCNu64 "-%" SCNu64 ".meta",
                   &candidate.term, &candidate.index, &candidate.time) != 3) {
            continue;
        }
        name_snapshot(&candidate, ".meta", name);
        if (strcmp(name, entry->d_name) != 0) {
            continue;
        }
        name_snapshot(&candidate, "", name);
        if (exists(dirfd(directory), name) && (!found || is_newer(&candidate, newest))) {
            *newest = candidate;
            found = true;
        }
    }
    if (errno != 0) {
        return status_from_errno(errno);
    }
    return found ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status read_file(int directory, const char *name, struct buffer *bytes)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    int rv;

    if (fd >= 0) {
        n = read(fd, buffer_reserve(bytes, HEADER_BYTES + MOST_META_BYTES),
                 HEADER_BYTES + MOST_META_BYTES);
    }
    rv = errno;
    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    if (n < 0) {
        return status_from_errno(rv);
    }
    bytes->size = (size_t)n;
    return STATUS_OK;
}

static enum status check_snapshot(int directory, const char *path, const struct snapshot *snapshot,
                                  struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct error why = {.text = ""};
    char name[MAX_FILE_NAME];
    enum status status;

    name_snapshot(snapshot, ".meta", name);
    status = read_file(directory, name, &bytes);
    if (status != STATUS_OK) {
        status = error_set(error, status, "could not read \"%s/%s\": %s", path, name,
                           status_text(status));
        goto out;
    }
    status = pointers_check_meta(buffer_slice(&bytes), &why);
    if (status != STATUS_OK) {
        status = error_set(error, status, "the snapshot pointer \"%s/%s\" is damaged: %s" ADVICE,
                           path, name, why.text);
    }
out:
    buffer_close(&bytes);
    return status;
}

enum status pointers_check(const char *directory, struct error *error)
{
    DIR *list = opendir(directory);
    struct snapshot newest;
    enum status status;

    if (list == NULL) {
        return error_set(error, status_from_errno(errno), "could not read \"%s\": %s", directory,
                         strerror(errno));
    }
    status = find_newest(list, &newest);
    if (status == STATUS_OK) {
        status = check_snapshot(dirfd(list), directory, &newest, error);
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    } else {
        status =
            error_set(error, status, "could not read \"%s\": %s", directory, status_text(status));
    }
    (void)closedir(list); /* Only read. */
    return status;
}
