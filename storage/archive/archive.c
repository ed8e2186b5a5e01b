#include "storage/archive/archive.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "storage/archive/contents.h"

struct archive {
    struct archive_options options;
    struct master_keys *keys;
    struct archiver *archivers[ARCHIVE_REPOSITORIES];
    size_t n;
    atomic_size_t n_started; /* Of them; all when it is open. */
    struct contents *contents;
};

/* The next word of @list, as a string for free(); NULL: there is none. */
static char *next_word(const char **list)
{
    size_t size;
    char *word;

    *list += strspn(*list, " \t\r\n");
    size = strcspn(*list, " \t\r\n");
    if (size == 0) {
        return NULL;
    }
    word = memory_copy_string(*list);
    word[size] = '\0';
    *list += size;
    return word;
}

bool archive_is_off(const char *urls)
{
    return strcmp(urls, ARCHIVE_NONE) == 0;
}

enum status archive_check(const char *urls, struct error *error)
{
    struct repository *repository;
    size_t n = 0;
    char *url;
    enum status status = STATUS_OK;

    if (archive_is_off(urls)) {
        return STATUS_OK;
    }
    while (status == STATUS_OK && (url = next_word(&urls)) != NULL) {
        if (++n > ARCHIVE_REPOSITORIES) {
            status = error_set(error, STATUS_INVALID, "there are more than %u repositories",
                               ARCHIVE_REPOSITORIES);
        } else if (strcmp(url, ARCHIVE_LOCAL) != 0) {
            status = repository_open(&(struct repository_options){.url = url}, &repository, error);
            if (status == STATUS_OK) {
                repository_close(repository);
            }
        }
        free(url);
    }
    return status == STATUS_OK && n == 0
               ? error_set(error, STATUS_INVALID,
                           "the list is empty: for no archive, say " ARCHIVE_NONE)
               : status;
}

/* What no repository needs any more. One that could not be asked yet may need everything. */
static void on_turn(void *data)
{
    struct archive *archive = data;
    uint64_t index = UINT64_MAX;

    if (atomic_load(&archive->n_started) < archive->n) {
        return;
    }
    for (size_t i = 0; i < archive->n; i++) {
        uint64_t needs_after = archiver_needs_after(archive->archivers[i]);

        index = needs_after < index ? needs_after : index;
    }
    journal_release(archive->options.archiver.journal, index);
}

static enum status add(struct archive *archive, const char *url, struct error *error)
{
    struct archiver_options options = archive->options.archiver;
    char *local = NULL;
    enum status status;

    options.url = url;
    options.keys = archive->keys;
    options.work_directory = archive->options.work_directory;
    options.number = (unsigned)archive->n_started;
    options.turn_data = archive;
    options.on_turn = on_turn;
    if (strcmp(url, ARCHIVE_LOCAL) == 0) {
        local = files_join("file://", archive->options.local_directory);
        options.url = local;
        options.retention.max_bytes = archive->options.local_bytes;
    }
    status = archiver_open(&options, &archive->archivers[archive->n_started], error);
    free(local);
    return status;
}

static size_t count_words(const char *list)
{
    size_t n = 0;
    char *word;

    while ((word = next_word(&list)) != NULL) {
        free(word);
        n++;
    }
    return n;
}

static enum status open_all(struct archive *archive, struct error *error)
{
    const char *list = archive->options.urls;
    enum status status = archive_check(list, error);
    char *url;

    if (status != STATUS_OK) {
        return status;
    }
    archive->n = count_words(list);
    while (status == STATUS_OK && (url = next_word(&list)) != NULL) {
        status = add(archive, url, error);
        if (status == STATUS_OK) {
            atomic_fetch_add(&archive->n_started, 1);
        }
        free(url);
    }
    return status;
}

static const char *find_url(void *data, size_t number)
{
    const struct archive *archive = data;

    return number < archive->n ? archiver_url(archive->archivers[number]) : NULL;
}

static enum status open_contents(struct archive *archive, struct error *error)
{
    const struct archiver_options *archiver = &archive->options.archiver;
    char *directory = files_join(archive->options.work_directory, "/contents");
    const struct contents_options options = {
        .store = archiver->store,
        .keys = archive->keys,
        .directory = directory,
        .reserve_bytes = archiver->reserve_bytes,
        .bytes_per_second =
            archiver->bytes_per_second == 0 ? LIMIT_TRANSFER_RATE : archiver->bytes_per_second,
        .data = archive,
        .find_url = find_url,
    };
    enum status status = contents_open(&options, &archive->contents, error);

    free(directory);
    return status;
}

enum status archive_open(const struct archive_options *options, struct archive **archive,
                         struct error *error)
{
    struct archive *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status = STATUS_OK;

    CHECK(!archive_is_off(options->urls));
    opened->options = *options;
    if (options->key_file != NULL) {
        status = master_keys_open(options->key_file, &opened->keys, error);
    }
    if (status == STATUS_OK && mkdir(options->work_directory, 0700) != 0 && errno != EEXIST) {
        status = files_error("make directory", options->work_directory, error);
    }
    if (status == STATUS_OK) {
        status = open_all(opened, error);
    }
    if (status == STATUS_OK) {
        status = open_contents(opened, error);
    }
    if (status != STATUS_OK) {
        archive_close(opened);
        return status;
    }
    *archive = opened;
    return STATUS_OK;
}

void archive_close(struct archive *archive)
{
    size_t n_started;

    if (archive == NULL) {
        return;
    }
    contents_close(archive->contents);
    n_started = atomic_exchange(&archive->n_started, 0); /* on_turn() looks at none from now on. */
    for (size_t i = 0; i < n_started; i++) {
        archiver_stop(archive->archivers[i]);
    }
    for (size_t i = 0; i < n_started; i++) {
        archiver_close(archive->archivers[i]);
    }
    master_keys_close(archive->keys);
    free(archive);
}

size_t archive_count(const struct archive *archive)
{
    return archive == NULL ? 0 : archive->n;
}

struct archiver *archive_at(const struct archive *archive, size_t i)
{
    CHECK(i < archive->n);
    return archive->archivers[i];
}

struct image_spools *archive_contents(const struct archive *archive)
{
    return contents_spools(archive->contents);
}
