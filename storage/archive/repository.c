#include "storage/archive/repository.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "storage/archive/repository_private.h"

static const struct repository_kind *const kinds[] = {
    &repository_directory,
    &repository_postgres,
    &repository_s3,
};

static bool begins_with_scheme_of(const char *url, const struct repository_kind *kind)
{
    for (size_t i = 0; i < sizeof kind->schemes / sizeof kind->schemes[0]; i++) {
        size_t size = kind->schemes[i] == NULL ? 0 : strlen(kind->schemes[i]);

        if (size > 0 && strncmp(url, kind->schemes[i], size) == 0 &&
            strncmp(url + size, "://", 3) == 0) {
            return true;
        }
    }
    return false;
}

bool repository_is_name(const char *name, bool is_prefix)
{
    bool at_start = true; /* Of a component. */
    size_t size = strlen(name);

    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '-' || c == '_';

        if (c == '/' || c == '.') {
            if (at_start) {
                return false;
            }
        } else if (!is_letter) {
            return false;
        }
        at_start = c == '/';
    }
    return size <= REPOSITORY_NAME_BYTES && (is_prefix || !at_start);
}

enum status repository_open(const struct repository_options *options,
                            struct repository **repository, struct error *error)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (begins_with_scheme_of(options->url, kinds[i])) {
            enum status status = kinds[i]->open(options, repository, error);

            if (status == STATUS_OK) {
                (*repository)->kind = kinds[i];
                (*repository)->options = *options;
                (*repository)->options.url = NULL;
            }
            return status;
        }
    }
    /* What is wrong with it may be a password, so it is not repeated. */
    return error_set(error, STATUS_INVALID,
                     "the URL of a repository must begin with file://, s3:// or postgres://");
}

const char *repository_url(const struct repository *repository)
{
    return repository->url;
}

bool repository_is_local(const struct repository *repository)
{
    return repository->is_local;
}

enum status repository_create(struct repository *repository, const char *name,
                              const struct repository_content *content, struct error *error)
{
    CHECK(repository_is_name(name, false));
    CHECK(content->size_bytes <= REPOSITORY_OBJECT_BYTES);
    return repository->kind->create(repository, name, content, error);
}

enum status repository_read(struct repository *repository, const char *name, uint64_t offset,
                            size_t size, struct buffer *bytes, struct error *error)
{
    CHECK(repository_is_name(name, false));
    return repository->kind->read(repository, name, offset, size, bytes, error);
}

enum status repository_list(struct repository *repository, const char *prefix, const char *after,
                            repository_list_cb cb, void *data, struct error *error)
{
    CHECK(repository_is_name(prefix, true));
    return repository->kind->list(repository, prefix, after, cb, data, error);
}

enum status repository_remove(struct repository *repository, const char *name, struct error *error)
{
    CHECK(repository_is_name(name, false));
    return repository->kind->remove(repository, name, error);
}

void repository_close(struct repository *repository)
{
    if (repository != NULL) {
        repository->kind->close(repository);
    }
}
