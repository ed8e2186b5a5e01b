/* A directory as a repository: an object is a file below it. Also one that several nodes share, by
 * NFS say: what is relied on is that link(2) fails if the name is taken.
 *
 * An object is written to a file in ROOT/.new, synced, linked to its name, and the directories on
 * the way are synced. Names that begin with "." are not objects. What a process that was killed
 * left in ROOT/.new is removed by a later one, when it is a day old. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "storage/archive/repository_private.h"

#define SCHEME         "file://"
#define SHARED         "?shared"
#define NEW            "/.new"
#define COPY_BYTES     (1u << 20)
#define LEFT_OVER_S    (24 * 3600)
#define CREATE_RETRIES 3 /* If a directory is removed, as it was empty, while we enter it. */

struct directory {
    struct repository repository;
    char *root;
};

static struct directory *directory_of(struct repository *repository)
{
    return CONTAINER_OF(repository, struct directory, repository);
}

static char *path_of(const struct directory *directory, const char *name)
{
    struct buffer path = BUFFER_EMPTY;

    buffer_append_format(&path, "%s/%s", directory->root, name);
    buffer_append_byte(&path, 0);
    return (char *)path.data; /* From malloc, as buffers are. */
}

static bool is_canceled(const struct directory *directory)
{
    const struct repository_options *options = &directory->repository.options;

    return options->is_canceled != NULL && options->is_canceled(options->data);
}

static enum status open_directory(const struct repository_options *options,
                                  struct repository **repository, struct error *error)
{
    const char *root = options->url + strlen(SCHEME);
    size_t size = strcspn(root, "?");
    bool is_shared = strcmp(root + size, SHARED) == 0;
    struct directory *directory;

    if (root[size] != '\0' && !is_shared) {
        return error_set(error, STATUS_INVALID,
                         "\"%s\": a directory knows no other setting than " SHARED, options->url);
    }
    while (size > 1 && root[size - 1] == '/') {
        size--;
    }
    if (root[0] != '/' || size < 2) {
        return error_set(error, STATUS_INVALID,
                         "\"%s\" names no directory: it must be like file:///var/archive",
                         options->url);
    }
    directory = memory_new_zeroed(1, sizeof *directory);
    directory->root = memory_copy_string(root);
    directory->root[size] = '\0';
    directory->repository.is_local = !is_shared;
    directory->repository.url = memory_copy_string(options->url);
    *repository = &directory->repository;
    return STATUS_OK;
}

static void close_directory(struct repository *repository)
{
    struct directory *directory = directory_of(repository);

    free(directory->root);
    free(repository->url);
    free(directory);
}

/* --- Creating --- */

/* Make the directory @path and those above it, durably. */
static enum status make_directories(const char *path, struct error *error)
{
    char *parent;
    enum status status;

    if (mkdir(path, 0700) == 0) {
        return files_sync_parent(path, error);
    }
    if (errno == EEXIST) {
        return STATUS_OK; /* If it is a file, what comes next tells. */
    }
    if (errno != ENOENT) {
        return files_error("make directory", path, error);
    }
    parent = memory_copy_string(path);
    *strrchr(parent, '/') = '\0';
    status = parent[0] == '\0' ? files_error("make directory", path, error)
                               : make_directories(parent, error);
    free(parent);
    if (status == STATUS_OK && mkdir(path, 0700) != 0 && errno != EEXIST) {
        status = files_error("make directory", path, error);
    }
    return status == STATUS_OK ? files_sync_parent(path, error) : status;
}

/* Remove what was left in ROOT/.new a day ago or longer. */
static void remove_left_overs(const char *new_directory)
{
    DIR *opened = opendir(new_directory);
    const struct dirent *entry;
    struct stat facts;
    time_t now = time(NULL);

    if (opened == NULL) {
        return;
    }
    while ((entry = readdir(opened)) != NULL) {
        if (entry->d_name[0] != '.' &&
            fstatat(dirfd(opened), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - facts.st_mtime > LEFT_OVER_S) {
            (void)unlinkat(dirfd(opened), entry->d_name, 0); /* The next one tries again. */
        }
    }
    (void)closedir(opened); /* Only read. */
}

/* A new file in ROOT/.new; gives its path. */
static enum status open_new(const struct directory *directory, char **path, int *fd,
                            struct error *error)
{
    char *parent = files_join(directory->root, NEW);
    char *wanted = files_join(parent, "/XXXXXX");
    enum status status = make_directories(parent, error);
    int opened;

    if (status == STATUS_OK) {
        remove_left_overs(parent);
        opened = mkostemp(wanted, O_CLOEXEC);
        if (opened < 0) {
            status = files_error("make a file in", parent, error);
        } else {
            *fd = opened;
            *path = wanted;
            wanted = NULL;
        }
    }
    free(wanted);
    free(parent);
    return status;
}

/* Copy @content to @fd, and see that it is what its hash says. */
static enum status copy_blocks(const struct directory *directory,
                               const struct repository_content *content, int fd, const char *path,
                               EVP_MD_CTX *hash, struct error *error)
{
    uint8_t *block = memory_new(COPY_BYTES);
    uint64_t offset = 0;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && offset < content->size_bytes) {
        uint64_t left = content->size_bytes - offset;
        ssize_t n =
            pread(content->fd, block, left < COPY_BYTES ? (size_t)left : COPY_BYTES, (off_t)offset);

        if (is_canceled(directory)) {
            status = error_set(error, STATUS_CANCELED, "the node is shutting down");
        } else if (n < 0 && errno != EINTR) {
            status = files_error("read what is to become", path, error);
        } else if (n == 0) {
            status = error_set(error, STATUS_CORRUPT, "what is to become \"%s\" was cut off", path);
        } else if (n > 0) {
            CHECK(EVP_DigestUpdate(hash, block, (size_t)n) == 1);
            status = files_write(fd, slice_of(block, (size_t)n), path, error);
            files_write_back(fd, offset, (size_t)n);
            offset += (uint64_t)n;
        }
    }
    free(block);
    return status;
}

static enum status copy_content(const struct directory *directory,
                                const struct repository_content *content, int fd, const char *path,
                                struct error *error)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    uint8_t sha256[EVP_MAX_MD_SIZE];
    enum status status;

    CHECK(hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    status = copy_blocks(directory, content, fd, path, hash, error);
    CHECK(EVP_DigestFinal_ex(hash, sha256, NULL) == 1);
    EVP_MD_CTX_free(hash);
    if (status == STATUS_OK && memcmp(sha256, content->sha256, sizeof content->sha256) != 0) {
        status = error_set(error, STATUS_CORRUPT,
                           "what is to become \"%s\" is not what its hash says", path);
    }
    if (status == STATUS_OK && fsync(fd) != 0) {
        status = files_error("sync", path, error);
    }
    return status;
}

/* Give the file @from the name @to as well. STATUS_EXISTS: something has it. */
static enum status link_to(const char *from, const char *to, struct error *error)
{
    char *parent = memory_copy_string(to);
    enum status status = STATUS_OK;
    int rv = -1;

    *strrchr(parent, '/') = '\0';
    for (int i = 0; rv != 0 && i < CREATE_RETRIES && status == STATUS_OK; i++) {
        status = make_directories(parent, error);
        if (status == STATUS_OK) {
            rv = link(from, to);
            if (rv != 0 && errno != ENOENT) {
                status = files_error("create", to, error);
            }
        }
    }
    if (status == STATUS_OK && rv != 0) {
        status = files_error("create", to, error);
    }
    free(parent);
    return status;
}

/* @path has its object, perhaps since a call that could not make that durable. Gives @status. */
static enum status settle(enum status status, const char *path, struct error *error)
{
    if (files_sync_parent(path, error) != STATUS_OK) {
        return error_set(error, STATUS_UNCERTAIN, "could not make \"%s\" durable", path);
    }
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "\"%s\" is there already", path);
}

static enum status create(struct repository *repository, const char *name,
                          const struct repository_content *content, struct error *error)
{
    struct directory *directory = directory_of(repository);
    char *path = path_of(directory, name);
    char *from = NULL;
    int fd = -1;
    enum status status;

    if (access(path, F_OK) == 0) {
        status = settle(STATUS_EXISTS, path, error);
        goto out;
    }
    status = open_new(directory, &from, &fd, error);
    if (status != STATUS_OK) {
        goto out;
    }
    status = copy_content(directory, content, fd, from, error);
    if (close(fd) != 0 && status == STATUS_OK) {
        status = files_error("close", from, error);
    }
    if (status == STATUS_OK) {
        status = link_to(from, path, error);
    }
    if (status == STATUS_OK || status == STATUS_EXISTS) {
        status = settle(status, path, error);
    }
    (void)unlink(from); /* What stays is removed when it is a day old. */

out:
    free(from);
    free(path);
    return status;
}

/* --- Reading and removing --- */

static enum status read_object(struct repository *repository, const char *name, uint64_t offset,
                               size_t size, struct buffer *bytes, struct error *error)
{
    char *path = path_of(directory_of(repository), name);
    enum status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        status = files_error("open", path, error);
    } else {
        status = files_read(fd, offset, size, path, bytes, error);
        (void)close(fd); /* Only read. */
    }
    free(path);
    return status;
}

/* Directories in which nothing is left go too, up to the root, which stays. */
static void remove_empty_parents(const struct directory *directory, char *path)
{
    size_t root_size = strlen(directory->root);
    char *end = strrchr(path, '/');

    while (end != NULL && end > path + root_size) {
        *end = '\0';
        if (rmdir(path) != 0) {
            return;
        }
        end = strrchr(path, '/');
    }
}

static enum status remove_object(struct repository *repository, const char *name,
                                 struct error *error)
{
    struct directory *directory = directory_of(repository);
    char *path = path_of(directory, name);
    enum status status = STATUS_OK;

    if (unlink(path) == 0) {
        status = files_sync_parent(path, error);
        remove_empty_parents(directory, path);
    } else if (errno != ENOENT && errno != ENOTDIR) {
        status = files_error("remove", path, error);
    }
    free(path);
    return status;
}

/* --- Listing --- */

struct found {
    char *name;
    uint64_t size_bytes;
};

struct listing {
    struct directory *directory;
    const char *prefix;
    const char *after;
    struct found *found;
    size_t n;
    size_t capacity;
};

static int compare_found(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

static void add_found(struct listing *listing, const char *name, uint64_t size_bytes)
{
    if (strncmp(name, listing->prefix, strlen(listing->prefix)) != 0 ||
        !repository_is_name(name, false) || /* Somebody else's. */
        (listing->after != NULL && strcmp(name, listing->after) <= 0)) {
        return;
    }
    if (listing->n == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 64 : 2 * listing->capacity;
        listing->found = memory_resize(listing->found, listing->capacity * sizeof *listing->found);
    }
    listing->found[listing->n++] =
        (struct found){.name = memory_copy_string(name), .size_bytes = size_bytes};
}

/* Whether names in the directory @name can begin with the prefix. */
static bool may_hold(const struct listing *listing, const char *name)
{
    size_t size = strlen(name);
    size_t prefix_size = strlen(listing->prefix);

    return strncmp(name, listing->prefix, size < prefix_size ? size : prefix_size) == 0 &&
           (size >= prefix_size || listing->prefix[size] == '/');
}

static enum status walk(struct listing *listing, const char *name, struct error *error);

static enum status look_at(struct listing *listing, DIR *opened, const char *name,
                           const char *entry_name, struct error *error)
{
    struct stat facts;

    if (fstatat(dirfd(opened), entry_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        /* It was removed meanwhile. */
        return errno == ENOENT ? STATUS_OK : files_error("look at", name, error);
    }
    if (S_ISDIR(facts.st_mode)) {
        return may_hold(listing, name) ? walk(listing, name, error) : STATUS_OK;
    }
    if (S_ISREG(facts.st_mode)) {
        add_found(listing, name, (uint64_t)facts.st_size);
    }
    return STATUS_OK;
}

static enum status walk_entries(struct listing *listing, DIR *opened, const char *name,
                                struct error *error)
{
    struct buffer below = BUFFER_EMPTY;
    const struct dirent *entry;
    enum status status = STATUS_OK;

    errno = 0;
    while (status == STATUS_OK && (entry = readdir(opened)) != NULL) {
        if (entry->d_name[0] != '.') {
            buffer_clear(&below);
            buffer_append_format(&below, "%s%s%s", name, name[0] == '\0' ? "" : "/", entry->d_name);
            buffer_append_byte(&below, 0);
            status = look_at(listing, opened, (const char *)below.data, entry->d_name, error);
        }
        errno = 0;
    }
    if (status == STATUS_OK && errno != 0) {
        status = files_error("list", listing->directory->root, error);
    }
    buffer_close(&below);
    return status;
}

static enum status walk(struct listing *listing, const char *name, struct error *error)
{
    char *path = path_of(listing->directory, name);
    DIR *opened;
    enum status status = STATUS_OK;

    if (is_canceled(listing->directory)) {
        status = error_set(error, STATUS_CANCELED, "the node is shutting down");
    } else {
        opened = opendir(path);
        if (opened != NULL) {
            status = walk_entries(listing, opened, name, error);
            (void)closedir(opened); /* Only read. */
        } else if (errno != ENOENT) {
            status = files_error("list", path, error);
        }
    }
    free(path);
    return status;
}

static enum status list(struct repository *repository, const char *prefix, const char *after,
                        repository_list_cb cb, void *data, struct error *error)
{
    struct listing listing = {
        .directory = directory_of(repository), .prefix = prefix, .after = after};
    enum status status = walk(&listing, "", error);
    bool goes_on = status == STATUS_OK;

    if (listing.n > 0) {
        qsort(listing.found, listing.n, sizeof *listing.found, compare_found);
    }
    for (size_t i = 0; i < listing.n; i++) {
        struct repository_object object = {.name = listing.found[i].name,
                                           .size_bytes = listing.found[i].size_bytes};

        goes_on = goes_on && cb(data, &object);
        free(listing.found[i].name);
    }
    free(listing.found);
    return status;
}

const struct repository_kind repository_directory = {
    .schemes = {"file"},
    .open = open_directory,
    .create = create,
    .read = read_object,
    .list = list,
    .remove = remove_object,
    .close = close_directory,
};
