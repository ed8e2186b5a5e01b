#include "daemon/base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/memory.h"

enum status files_error(const char *action, const char *path, struct error *error)
{
    int number = errno;

    return error_set(error, status_from_errno(number), "could not %s \"%s\": %s", action, path,
                     strerror(number));
}

enum status files_write(int fd, struct slice bytes, const char *path, struct error *error)
{
    while (bytes.size > 0) {
        ssize_t n = write(fd, bytes.data, bytes.size);

        if (n < 0 && errno != EINTR) {
            return files_error("write", path, error);
        }
        bytes = slice_from(bytes, n > 0 ? (size_t)n : 0);
    }
    return STATUS_OK;
}

void files_write_back(int fd, uint64_t offset, size_t size)
{
    (void)sync_file_range(fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
    if (offset >= size) {
        (void)sync_file_range(fd, (off_t)(offset - size), (off_t)size,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                  SYNC_FILE_RANGE_WAIT_AFTER);
    }
}

enum status files_read(int fd, uint64_t offset, size_t size, const char *path, struct buffer *bytes,
                       struct error *error)
{
    uint8_t *place = buffer_reserve(bytes, size);
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, place + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno != EINTR) {
            return files_error("read", path, error);
        }
        if (n == 0) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    (void)buffer_extend(bytes, done); /* The bytes are there already. */
    return STATUS_OK;
}

char *files_join(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *joined = memory_new(size);

    (void)snprintf(joined, size, "%s%s", a, b); /* Fits. */
    return joined;
}

enum status files_empty_directory(const char *path, struct error *error)
{
    DIR *opened = opendir(path);
    const struct dirent *entry;
    enum status status = STATUS_OK;
    int rv = opened == NULL && errno != ENOENT ? -1 : 0;

    while (rv == 0 && opened != NULL && (entry = readdir(opened)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rv = unlinkat(dirfd(opened), entry->d_name, 0);
        }
    }
    if (rv != 0) {
        status = files_error("empty", path, error);
    }
    if (opened != NULL) {
        (void)closedir(opened); /* Only read. */
    }
    return status;
}

enum status files_remove_directory(const char *path, struct error *error)
{
    enum status status = files_empty_directory(path, error);

    if (status == STATUS_OK && rmdir(path) != 0 && errno != ENOENT) {
        status = files_error("remove", path, error);
    }
    return status;
}

enum status files_sync_parent(const char *path, struct error *error)
{
    char *copy = memory_copy_string(path);
    enum status status = STATUS_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0) {
        status = files_error("sync the directory of", path, error);
    }
    if (fd >= 0) {
        (void)close(fd); /* Nothing was written through it. */
    }
    free(copy);
    return status;
}

static enum status swap(const char *from, const char *to, const char *old, struct error *error)
{
    enum status status = files_remove_directory(old, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (renameat(AT_FDCWD, to, AT_FDCWD, old) != 0 && errno != ENOENT) {
        return files_error("move away", to, error);
    }
    if (renameat(AT_FDCWD, from, AT_FDCWD, to) != 0) {
        status = files_error("move to its place", from, error);
        (void)renameat(AT_FDCWD, old, AT_FDCWD,
                       to); /* As it was; if that fails too, files_repair() does it. */
        return status;
    }
    status = files_sync_parent(to, error);
    return status == STATUS_OK ? files_remove_directory(old, error) : status;
}

enum status files_replace(const char *from, const char *to, struct error *error)
{
    char *old = files_join(to, ".replaced");
    enum status status = swap(from, to, old, error);

    free(old);
    return status;
}

enum status files_repair(const char *to, struct error *error)
{
    char *old = files_join(to, ".replaced");
    enum status status = STATUS_OK;

    if (access(to, F_OK) == 0 || access(old, F_OK) != 0) {
        status = files_remove_directory(old, error);
    } else if (renameat(AT_FDCWD, old, AT_FDCWD, to) != 0) {
        status = files_error("move back", old, error);
    } else {
        status = files_sync_parent(to, error);
    }
    free(old);
    return status;
}
