/* Steps go into one open file, until it is large enough, or the next step does not go on where it
 * ends. Then it is synced, and gets the name that says what is in it. So only the open file has to
 * be read at a start. */
#include "storage/journal_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"

#define NAME_BYTES 64
#define OPEN       "open"

struct file {
    uint64_t first_index;
    uint64_t last_index;
    uint64_t bytes;
};

struct journal_files {
    struct journal_options options;
    char *directory;
    int directory_fd;
    struct file *list; /* In order. The last one is the open file, if there is one. */
    size_t n;
    size_t capacity;
    uint64_t bytes; /* Of all of them. */

    int fd; /* The open file; -1: there is none. */
    /* Of the open file: what a failure goes back to. */
    uint64_t synced_bytes;
    uint64_t synced_index;
    bool is_unsynced;
    bool has_new_name; /* The directory is to be synced. */
};

/* --- Names --- */

static void name_of(const struct file *file, bool is_open, char name[NAME_BYTES])
{
    if (is_open) {
        (void)snprintf(name, NAME_BYTES, "%020" PRIu64 "-" OPEN, file->first_index); /* Fits. */
    } else {
        (void)snprintf(name, NAME_BYTES, "%020" PRIu64 "-%020" PRIu64, file->first_index,
                       file->last_index);
    }
}

/* False: it is not a name of ours. */
static bool parse_name(const char *name, struct file *file, bool *is_open)
{
    char again[NAME_BYTES];

    *file = (struct file){.bytes = 0};
    if (sscanf(name, "%20" SCNu64 "-%20" SCNu64, &file->first_index, &file->last_index) < 1) {
        return false;
    }
    *is_open = file->last_index == 0;
    name_of(file, *is_open, again);
    return strcmp(name, again) == 0 && file->first_index > 0 &&
           (*is_open || file->last_index >= file->first_index);
}

static struct file *last_of(const struct journal_files *files)
{
    return files->n == 0 ? NULL : &files->list[files->n - 1];
}

static void add(struct journal_files *files, const struct file *file)
{
    if (files->n == files->capacity) {
        files->capacity = files->capacity == 0 ? 16 : 2 * files->capacity;
        files->list = memory_resize(files->list, files->capacity * sizeof *files->list);
    }
    files->list[files->n++] = *file;
    files->bytes += file->bytes;
}

/* Remove the first file, which is not open. */
static void drop_first(struct journal_files *files)
{
    char name[NAME_BYTES];

    name_of(&files->list[0], false, name);
    if (unlinkat(files->directory_fd, name, 0) != 0 && errno != ENOENT) {
        /* It comes back with the next start, and is tried again then. */
        log_warn("journal", "could not remove \"%s/%s\": %s", files->directory, name,
                 strerror(errno));
    }
    files->bytes -= files->list[0].bytes;
    files->n--;
    memmove(files->list, files->list + 1, files->n * sizeof *files->list);
}

static size_t n_closed(const struct journal_files *files)
{
    return files->n - (files->fd >= 0 ? 1 : 0);
}

/* --- Reading a file --- */

static enum status load(const struct journal_files *files, size_t i, struct buffer *bytes,
                        struct error *error)
{
    const struct file *file = &files->list[i];
    bool is_open = i == n_closed(files);
    char name[NAME_BYTES];
    enum status status;
    int fd;

    name_of(file, is_open, name);
    fd = openat(files->directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(error, status_from_errno(errno), "could not open \"%s/%s\": %s",
                         files->directory, name, strerror(errno));
    }
    status = files_read(fd, 0, file->bytes, name, bytes, error);
    if (status != STATUS_OK) {
        status = error_prefix(error, "\"%s\"", files->directory);
    }
    (void)close(fd); /* Only read. */
    return status;
}

/* --- Opening --- */

/* An earlier process was ended while it had this file open: keep what is whole in it. */
static enum status close_left_over(struct journal_files *files, struct file *file,
                                   struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct slice walk;
    struct step step;
    uint64_t next = file->first_index;
    char name[NAME_BYTES];
    char closed[NAME_BYTES];
    enum status status;
    int fd;

    name_of(file, true, name);
    fd = openat(files->directory_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return files_error("open the last file in", files->directory, error);
    }
    status = files_read(fd, 0, file->bytes, name, &bytes, error);
    if (status != STATUS_OK) {
        status = error_prefix(error, "\"%s\"", files->directory);
    }
    walk = buffer_slice(&bytes);
    while (status == STATUS_OK && step_take(&walk, &step) == STATUS_OK &&
           step.first_index == next) {
        next = step.index + 1;
        file->bytes = bytes.size - walk.size;
    }
    file->last_index = next - 1;
    if (status == STATUS_OK && next > file->first_index) {
        name_of(file, false, closed);
        if (ftruncate(fd, (off_t)file->bytes) != 0 || fsync(fd) != 0 ||
            renameat(files->directory_fd, name, files->directory_fd, closed) != 0 ||
            fsync(files->directory_fd) != 0) {
            status = files_error("mend the last file in", files->directory, error);
        }
    } else if (status == STATUS_OK && unlinkat(files->directory_fd, name, 0) != 0) {
        status = files_error("remove the last file in", files->directory, error);
    }
    (void)close(fd); /* Synced where it matters. */
    buffer_close(&bytes);
    return status;
}

static enum status add_found(struct journal_files *files, const char *name, struct error *error)
{
    struct stat facts;
    struct file file;
    bool is_open;
    enum status status = STATUS_OK;

    if (!parse_name(name, &file, &is_open)) {
        return STATUS_OK;
    }
    if (fstatat(files->directory_fd, name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        return files_error("look into", files->directory, error);
    }
    file.bytes = (uint64_t)facts.st_size;
    if (is_open) {
        status = close_left_over(files, &file, error);
    }
    if (status == STATUS_OK && file.last_index >= file.first_index) {
        add(files, &file);
    }
    return status;
}

static int compare_files(const void *a, const void *b)
{
    const struct file *left = a;
    const struct file *right = b;

    return left->first_index < right->first_index ? -1 : left->first_index > right->first_index;
}

static enum status find_files(struct journal_files *files, struct error *error)
{
    DIR *opened = opendir(files->directory);
    const struct dirent *entry;
    enum status status = STATUS_OK;

    if (opened == NULL) {
        return files_error("read", files->directory, error);
    }
    while (status == STATUS_OK && (entry = readdir(opened)) != NULL) {
        status = add_found(files, entry->d_name, error);
    }
    (void)closedir(opened); /* Only read. */
    if (status == STATUS_OK && files->n > 0) {
        qsort(files->list, files->n, sizeof *files->list, compare_files);
    }
    return status;
}

enum status journal_files_open(const struct journal_options *options, struct journal_files **files,
                               struct error *error)
{
    struct journal_files *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status = STATUS_OK;

    opened->options = *options;
    opened->directory = memory_copy_string(options->directory);
    opened->fd = -1;
    if (mkdir(options->directory, 0700) != 0 && errno != EEXIST) {
        status = files_error("make directory", options->directory, error);
    }
    opened->directory_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (status == STATUS_OK && opened->directory_fd < 0) {
        status = files_error("open", options->directory, error);
    }
    if (status == STATUS_OK) {
        status = find_files(opened, error);
    }
    if (status != STATUS_OK) {
        journal_files_close(opened);
        return status;
    }
    *files = opened;
    return STATUS_OK;
}

void journal_files_close(struct journal_files *files)
{
    if (files == NULL) {
        return;
    }
    if (files->fd >= 0) {
        (void)close(files->fd); /* What matters was synced. */
    }
    if (files->directory_fd >= 0) {
        (void)close(files->directory_fd); /* Only read. */
    }
    free(files->list);
    free(files->directory);
    free(files);
}

/* --- Writing --- */

/* The open file goes back to what is known to be on disk, and is closed; what cannot be done about
 * it is done by the next start, which reads it. */
static void give_up_unsynced(struct journal_files *files)
{
    struct file *file = last_of(files);

    CHECK(files->fd >= 0);
    files->bytes -= file->bytes - files->synced_bytes;
    file->bytes = files->synced_bytes;
    file->last_index = files->synced_index;
    if (ftruncate(files->fd, (off_t)files->synced_bytes) != 0) {
        log_warn("journal", "could not cut the last file in \"%s\": %s", files->directory,
                 strerror(errno));
    }
    files->is_unsynced = false;
}

/* The open file gets its name, or goes if nothing is in it. It is synced. */
static enum status close_file(struct journal_files *files, struct error *error)
{
    struct file *file = last_of(files);
    char name[NAME_BYTES];
    char closed[NAME_BYTES];
    int rv;

    name_of(file, true, name);
    name_of(file, false, closed);
    rv = file->bytes == 0 ? unlinkat(files->directory_fd, name, 0)
                          : renameat(files->directory_fd, name, files->directory_fd, closed);
    if (rv != 0) {
        return files_error("close the last file in", files->directory, error);
    }
    (void)close(files->fd); /* It is synced. */
    files->fd = -1;
    files->has_new_name = true;
    if (file->bytes == 0) {
        files->n--;
    }
    return STATUS_OK;
}

static enum status sync_open_file(struct journal_files *files, struct error *error)
{
    if (files->is_unsynced && fdatasync(files->fd) != 0) {
        enum status status = files_error("sync the last file in", files->directory, error);

        give_up_unsynced(files);
        return status;
    }
    files->is_unsynced = false;
    if (files->fd >= 0) {
        files->synced_bytes = last_of(files)->bytes;
        files->synced_index = last_of(files)->last_index;
    }
    return STATUS_OK;
}

enum status journal_files_sync(struct journal_files *files, struct error *error)
{
    enum status status = sync_open_file(files, error);

    if (status == STATUS_OK && files->has_new_name) {
        if (fsync(files->directory_fd) != 0) {
            return files_error("sync", files->directory, error);
        }
        files->has_new_name = false;
    }
    return status;
}

static bool is_short_of_disk(const struct journal_files *files)
{
    struct statvfs facts;

    return fstatvfs(files->directory_fd, &facts) == 0 &&
           (uint64_t)facts.f_bavail * facts.f_frsize < files->options.reserve_bytes;
}

static void keep_in_bounds(struct journal_files *files)
{
    while (n_closed(files) > 0 &&
           (files->bytes + files->options.file_bytes > files->options.max_bytes ||
            is_short_of_disk(files))) {
        log_warn("journal",
                 "dropped entries up to %" PRIu64
                 ", archived or not: they need more room than \"%s\" may take",
                 files->list[0].last_index, files->directory);
        drop_first(files);
    }
}

static enum status open_file(struct journal_files *files, uint64_t first_index, struct error *error)
{
    struct file file = {.first_index = first_index, .last_index = first_index - 1};
    char name[NAME_BYTES];
    int fd;

    keep_in_bounds(files);
    if (is_short_of_disk(files)) {
        return error_set(error, STATUS_DISK_FULL, "too little disk is free for \"%s\"",
                         files->directory);
    }
    name_of(&file, true, name);
    fd = openat(files->directory_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return files_error("make a file in", files->directory, error);
    }
    files->fd = fd;
    files->synced_bytes = 0;
    files->synced_index = first_index - 1;
    files->is_unsynced = false;
    files->has_new_name = true;
    add(files, &file);
    return STATUS_OK;
}

/* There is an open file in which the step at @first_index may come next. */
static enum status make_place(struct journal_files *files, uint64_t first_index,
                              struct error *error)
{
    enum status status = STATUS_OK;

    if (files->fd >= 0 && (last_of(files)->bytes >= files->options.file_bytes ||
                           last_of(files)->last_index + 1 != first_index)) {
        status = sync_open_file(files, error);
        status = status == STATUS_OK ? close_file(files, error) : status;
    }
    return status == STATUS_OK && files->fd < 0 ? open_file(files, first_index, error) : status;
}

static enum status append_to_file(struct journal_files *files, struct slice bytes,
                                  uint64_t last_index, struct error *error)
{
    struct file *file = last_of(files);
    size_t done = 0;

    files->is_unsynced = true;
    while (done < bytes.size) {
        ssize_t n =
            pwrite(files->fd, bytes.data + done, bytes.size - done, (off_t)(file->bytes + done));

        if (n < 0 && errno != EINTR) {
            enum status status = files_error("write a file in", files->directory, error);

            if (ftruncate(files->fd, (off_t)file->bytes) != 0) {
                log_warn("journal", "could not cut the last file in \"%s\": %s", files->directory,
                         strerror(errno)); /* The next write goes over it. */
            }
            return status;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    file->bytes += bytes.size;
    file->last_index = last_index;
    files->bytes += bytes.size;
    return STATUS_OK;
}

/* Steps at the start of @walk that go into one file, behind @before bytes: taken off @walk. */
static struct slice take_run(const struct journal_files *files, struct slice *walk,
                             uint64_t *first_index, uint64_t *last_index)
{
    struct slice start = *walk;
    struct slice before = *walk;
    uint64_t room = files->options.file_bytes;
    struct step step;

    CHECK(step_take(walk, &step) == STATUS_OK); /* They are our own. */
    *first_index = step.first_index;
    do {
        *last_index = step.index;
        before = *walk;
    } while (start.size - walk->size < room && step_take(walk, &step) == STATUS_OK &&
             step.first_index == *last_index + 1);
    *walk = before;
    return slice_of(start.data, start.size - before.size);
}

enum status journal_files_write(struct journal_files *files, struct slice steps,
                                struct error *error)
{
    enum status status = STATUS_OK;

    while (steps.size > 0 && status == STATUS_OK) {
        uint64_t first_index;
        uint64_t last_index;
        struct slice run = take_run(files, &steps, &first_index, &last_index);

        status = make_place(files, first_index, error);
        if (status == STATUS_OK) {
            status = append_to_file(files, run, last_index, error);
        }
    }
    return status;
}

/* --- Reading --- */

/* The file that holds what comes behind @after; n: none. */
static size_t find(const struct journal_files *files, uint64_t after)
{
    size_t i = 0;

    while (i < files->n && files->list[i].last_index <= after) {
        i++;
    }
    return i < files->n && files->list[i].first_index <= after + 1 ? i : files->n;
}

/* Append the steps of @bytes that are behind @after. */
static enum status copy_steps(struct slice bytes, uint64_t *after, size_t max_bytes,
                              struct buffer *steps)
{
    size_t before = steps->size;
    struct slice rest = bytes;
    struct step step;
    enum status status = STATUS_OK;

    while (steps->size - before < max_bytes && (status = step_take(&rest, &step)) == STATUS_OK) {
        struct slice encoded = slice_of(bytes.data, bytes.size - rest.size);

        bytes = rest;
        if (step.index <= *after) {
            continue;
        }
        if (step.first_index == *after + 1) {
            buffer_append_slice(steps, encoded);
        } else if (step.entry.size == 0 && step.first_index <= *after) {
            step.first_index = *after + 1; /* The rest of a run. */
            step_append(steps, &step);
        } else {
            return STATUS_CORRUPT;
        }
        *after = step.index;
    }
    return status == STATUS_END ? STATUS_OK : status;
}

enum status journal_files_read(struct journal_files *files, uint64_t after, size_t max_bytes,
                               struct buffer *steps, struct error *error)
{
    struct buffer bytes = BUFFER_EMPTY;
    size_t before = steps->size;
    size_t i = find(files, after);
    enum status status = STATUS_OK;

    if (i == files->n) {
        return after >= journal_files_last_index(files)
                   ? STATUS_END
                   : error_set(error, STATUS_NOT_FOUND,
                               "entries behind %" PRIu64 " are not in \"%s\"", after,
                               files->directory);
    }
    while (status == STATUS_OK && i < files->n && files->list[i].first_index <= after + 1 &&
           steps->size - before < max_bytes) {
        buffer_clear(&bytes);
        status = load(files, i++, &bytes, error);
        if (status == STATUS_OK &&
            copy_steps(buffer_slice(&bytes), &after, max_bytes - (steps->size - before), steps) !=
                STATUS_OK) {
            status = error_set(error, STATUS_NOT_FOUND,
                               "entries behind %" PRIu64 " are damaged in \"%s\"", after,
                               files->directory);
        }
    }
    buffer_close(&bytes);
    return steps->size > before ? STATUS_OK : status; /* The rest is told when it is asked for. */
}

void journal_files_release(struct journal_files *files, uint64_t index)
{
    while (n_closed(files) > 0 && files->list[0].last_index <= index) {
        drop_first(files);
    }
}

uint64_t journal_files_last_index(const struct journal_files *files)
{
    return files->n == 0 ? 0 : last_of(files)->last_index;
}

size_t journal_files_count(const struct journal_files *files)
{
    return files->n;
}

uint64_t journal_files_bytes(const struct journal_files *files)
{
    return files->bytes;
}

uint64_t journal_files_bytes_after(const struct journal_files *files, uint64_t after)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < files->n; i++) {
        bytes += files->list[i].last_index > after ? files->list[i].bytes : 0;
    }
    return bytes;
}
